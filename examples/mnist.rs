//! Trains a net to read digits: `cargo run --release --example mnist`, with `-- --help` for what can be set.
//!
//! Without arguments it takes digits that this crate makes up; `--data DIR` takes MNIST's files, or any data set laid out
//! like them. The settings are those of the book that the notes on backpropagation follow.

mod common;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use common::{fail, fail_with, grouped, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use sha2::{Digest, Sha256};
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Cost, Dataset, Device, EpochReport, Event, History, Init, Network, Result, Sgd, Trainer, data,
};

/// Trains a net to read digits, by stochastic gradient descent, and shows what it makes of some of them.
#[derive(Parser)]
#[command(allow_negative_numbers = true)]
struct Options {
    /// Folder with the four files of MNIST, or of another IDX data set with such names, plain or .gz [default: built-in digits]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Neurons of each hidden layer
    #[arg(long, value_name = "N[,N...]", default_value = "30", value_delimiter = ',', value_parser = whole(1..=65_536))]
    hidden: Vec<usize>,
    /// Activation function of the hidden layers; the outputs are sigmoid
    #[arg(long, default_value = "sigmoid", value_parser = one_of(["sigmoid", "tanh", "relu"]).try_map(|s| s.parse::<Activation>()))]
    activation: Activation,
    /// Cost to make small; cross-entropy is the binary one, summed over the outputs
    #[arg(long, default_value = "quadratic", value_parser = one_of(["quadratic", "cross-entropy"]).map(|s| cost(&s)))]
    cost: Cost,
    /// How the weights and biases start
    #[arg(long, default_value_t, value_parser = one_of(Init::ALL.map(Init::name)).try_map(|s| s.parse::<Init>()))]
    init: Init,
    /// Times to go through the training data
    #[arg(long, value_name = "N", default_value = "10", value_parser = whole(1..=1_000_000))]
    epochs: usize,
    /// Images a step
    #[arg(long, value_name = "N", default_value = "10", value_parser = whole(1..=1 << 24))]
    batch_size: usize,
    /// Learning rate [default: 3 for quadratic, 0.5 for cross-entropy]
    #[arg(long, value_parser = rate)]
    eta: Option<f32>,
    /// Seed of the first weights and of the order of the images
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole(0..=usize::MAX))]
    seed: usize,
    /// Take the first N training images only
    #[arg(long, value_name = "N", value_parser = whole(1..=usize::MAX))]
    train_limit: Option<usize>,
    /// auto, cpu, gpu, or part of an adapter's name [default: the variable `WGRAD_DEVICE`, else auto]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// How finely a step is cut into kernels
    #[arg(long, default_value = "auto", value_parser = one_of(std::iter::once("auto").chain(PlanKind::ALL.map(PlanKind::name))))]
    plan: String,
    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn one_of(words: impl IntoIterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(words)
}

/// The cost that goes with sigmoid outputs.
fn cost(word: &str) -> Cost {
    if word == "quadratic" { Cost::Quadratic } else { Cost::BinaryCrossEntropy }
}

/// Reads a whole number of a range.
fn whole(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |word| {
        let number = word.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match (range.start(), range.end()) {
            (least, &usize::MAX) => format!("must be a whole number, at least {least}"),
            (least, most) => format!("must be a whole number from {least} to {most}"),
        })
    }
}

/// Reads a learning rate.
fn rate(word: &str) -> Result<f32, &'static str> {
    let rate = word.parse().ok().filter(|eta: &f32| eta.is_finite() && *eta > 0.0);
    rate.ok_or("must be a number above 0, such as 0.5")
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> Result<()> {
    let device = match &options.device {
        Some(word) => Device::named(word)?,
        None => Device::auto()?,
    };
    let (train, test) = digits(options)?;
    let mut net = network(options, &train, &device)?;
    // Opened before the training, so that a path that cannot be written costs nobody an hour.
    let json = options.json.as_ref().map(|path| {
        File::create(path).unwrap_or_else(|error| fail(&format!("cannot write {}: {error}", path.display()), 2))
    });

    let eta = options.eta.unwrap_or(if options.cost == Cost::Quadratic { 3.0 } else { 0.5 });
    announce(options, &train, &test, &net, eta);
    let history = fit(options, &mut net, &train, &test, eta)?;
    if let (Some(file), Some(path)) = (json, &options.json) {
        let results = results(&net, &history, options.batch_size)?;
        if let Err(error) = writeln!(&file, "{results:#}") {
            fail(&format!("cannot write {}: {error}", path.display()), 1);
        }
    }
    let steps = history.epochs.len() * train.len().div_ceil(options.batch_size);
    let seconds: f64 = history.epochs.iter().map(|report| report.seconds).sum();
    say!("\n{} steps in {seconds:.2} s", grouped(steps as u64));
    show(&net, &test)
}

/// Training and test data.
fn digits(options: &Options) -> Result<(Dataset, Dataset)> {
    let limit = options.train_limit.unwrap_or(usize::MAX);
    match &options.data {
        Some(folder) => {
            let (train, test) = data::load_mnist_dir(folder)?;
            Ok((train.take(limit.min(train.len()))?, test))
        }
        None => Ok((data::synthetic_digits(limit.min(10_000), 1)?, data::synthetic_digits(2_000, 2)?)),
    }
}

fn network(options: &Options, train: &Dataset, device: &Device) -> Result<Network> {
    let mut net = Network::new(train.features()).init(options.init).seed(options.seed as u64);
    for &width in &options.hidden {
        net = net.dense(width, options.activation);
    }
    net = net.dense(train.outputs(), Activation::Sigmoid);
    if options.plan != "auto" {
        net = net.plan(options.plan.parse()?);
    }
    net.build(device)
}

/// What is going to happen, and where.
fn announce(options: &Options, train: &Dataset, test: &Dataset, net: &Network, eta: f32) {
    let source = match &options.data {
        Some(folder) => format!("from {}", folder.display()),
        None => "made up by wgrad (--data DIR takes MNIST's files)".to_owned(),
    };
    let [trained, tested, parameters] = [train.len(), test.len(), net.parameter_count()].map(|n| grouped(n as u64));
    let sizes = net.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    let (activation, cost, init) = (options.activation, options.cost, options.init);
    say!("data      {trained} training and {tested} test images, {source}");
    say!("net       {sizes}, {activation} hidden layers, sigmoid outputs, {parameters} parameters");
    say!("training  {cost} cost, {} images a step, eta {eta}, {init} start, seed {}", options.batch_size, options.seed);
    say!("device    {}, because {}", net.device(), net.device().reason());
    let (plan, why) = net.plan(options.batch_size);
    say!("plan      {plan}, because {why}\n");
}

/// Trains, with a line for each epoch, and a bar below them where somebody watches.
fn fit(options: &Options, net: &mut Network, train: &Dataset, test: &Dataset, eta: f32) -> Result<History> {
    // In a pipe or a file the lines come alone.
    let watched = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{prefix} {bar:40} {percent:>3} %, {speed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("speed", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // Over the whole time: the bar's own mean starts with the first steps, which are slow.
            let speed = state.pos() as f64 / state.elapsed().as_secs_f64().max(1e-9);
            let left = state.len().unwrap_or(0).saturating_sub(state.pos()) as f64 / speed;
            let _ = if left.is_finite() { write!(out, "{speed:.0} steps/s, {left:.0} s left") } else { Ok(()) };
        })
        .progress_chars("=> ");
    bar.set_style(style);

    say!("epoch   training cost   right     test cost   right      steps/s");
    let epochs = options.epochs;
    let mut trainer = Trainer::new(options.cost, Sgd::new(eta))
        .batch_size(options.batch_size)
        .epochs(epochs)
        .seed(options.seed as u64)
        .on_event(|event| {
            match event {
                Event::Progress { epoch, step, steps, .. } => {
                    bar.set_length((epochs * steps) as u64);
                    bar.set_prefix(format!("epoch {epoch}/{epochs}"));
                    bar.set_position(((epoch - 1) * steps + step) as u64);
                }
                Event::Epoch(report) => bar.suspend(|| say!("{}", line(report))),
                _ => {}
            }
            ControlFlow::Continue(())
        });
    let history = trainer.fit(net, train, Some(test));
    drop(trainer);
    bar.finish_and_clear();
    history
}

/// An epoch as a line of the table.
fn line(report: &EpochReport) -> String {
    let EpochReport { epoch, train_cost, train_accuracy, test, steps_per_second, .. } = report;
    let (test_cost, test_accuracy) = test.map_or((f64::NAN, f64::NAN), |test| (test.cost, test.accuracy));
    let speed = grouped(steps_per_second.round() as u64);
    let [train_right, test_right] = [train_accuracy, &test_accuracy].map(|accuracy| 100.0 * accuracy);
    format!("{epoch:>5} {train_cost:>15.4} {train_right:>6.1} % {test_cost:>11.4} {test_right:>6.1} % {speed:>12}")
}

/// Draws some test images that the net reads right, and some that it does not.
fn show(net: &Network, test: &Dataset) -> Result<()> {
    // The pictures are squares, as far as this program knows.
    let width = test.features().isqrt();
    if width * width != test.features() || width > 40 {
        return Ok(());
    }
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    let rows: Vec<u32> = (0_u32..).take(test.len()).collect();
    for rows in rows.chunks(100) {
        let mut x = vec![0.0; rows.len() * test.features()];
        test.copy_inputs(rows, &mut x)?;
        let a = net.predict(&x)?;
        for ((&row, pixels), outputs) in rows.iter().zip(x.chunks(test.features())).zip(a.chunks(net.outputs())) {
            let Some(label) = test.label(row as usize) else { continue };
            let answer = (1..outputs.len()).fold(0, |best, j| if outputs[j] > outputs[best] { j } else { best });
            if answer == label as usize {
                right.push((label.to_string(), pixels.to_vec()));
            } else {
                wrong.push((format!("{label}, read as {answer}"), pixels.to_vec()));
            }
        }
        if right.len() >= 3 && wrong.len() >= 3 {
            break;
        }
    }
    for (title, pictures) in [("Read right:", right), ("Read wrong:", wrong)] {
        if !pictures.is_empty() {
            say!("\n{title}\n{}", beside(&pictures[..pictures.len().min(3)], width));
        }
    }
    Ok(())
}

/// Pictures with their titles, side by side.
fn beside(pictures: &[(String, Vec<f32>)], width: usize) -> String {
    let columns: Vec<Vec<String>> = pictures
        .iter()
        .map(|(title, pixels)| {
            let drawn = data::ascii(pixels, width);
            std::iter::once(format!("{title:^width$}").trim_end().to_owned())
                .chain(drawn.lines().map(str::to_owned))
                .collect()
        })
        .collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    let rows = (0..height).map(|y| {
        let row: String =
            columns.iter().map(|column| format!("{:width$}", column.get(y).map_or("", String::as_str))).collect();
        row.trim_end().to_owned()
    });
    // Rows that are blank in all of them only take room.
    rows.filter(|row| !row.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The results as one JSON object.
fn results(net: &Network, history: &History, batch_size: usize) -> Result<serde_json::Value> {
    let bytes: Vec<u8> = net.parameters()?.into_iter().flat_map(f32::to_le_bytes).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let epochs: Vec<_> = history
        .epochs
        .iter()
        .map(|report| {
            serde_json::json!({
                "epoch": report.epoch,
                "train_cost": report.train_cost,
                "train_accuracy": report.train_accuracy,
                "test_cost": report.test.map(|test| test.cost),
                "test_accuracy": report.test.map(|test| test.accuracy),
                "seconds": report.seconds,
                "steps_per_second": report.steps_per_second,
            })
        })
        .collect();
    Ok(serde_json::json!({
        "device": net.device().kind(),
        "adapter": net.device().adapter(),
        "plan": net.plan(batch_size).0.name(),
        "sizes": net.sizes(),
        "epochs": epochs,
        "final_test_accuracy": history.final_test_accuracy(),
        "parameters_sha256": digest,
    }))
}
