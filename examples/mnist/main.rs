//! Trains a net to read digits: `cargo run --release --example mnist`, with `-- --help` for what can be set.
//!
//! Without arguments it takes digits that this crate makes up; `--data DIR` takes MNIST's files, or any data set laid out
//! like them. The settings are those of the book that the notes on backpropagation follow.

#[path = "../common/mod.rs"]
mod common;
mod options;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Parser;
use common::{expect_different, expect_folder, expect_writable, fail, fail_with, grouped, say};
use options::Options;
use sha2::{Digest, Sha256};
use wgrad::progress::Progress;
use wgrad::{
    Activation, Confusion, Cost, Dataset, Device, EpochReport, Error, Event, History, Metrics, Network, Result,
    Trainer, data, plot,
};

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with_hint(&error));
}

/// As [`fail_with`]; where a run was to go on with other data, with the options that these hang on.
fn fail_with_hint(error: &Error) -> ! {
    match error {
        Error::InvalidOption { option: "training data" | "held-out data", .. } => {
            let options = "--data, --train-limit, --validation and --class-weights";
            fail(&format!("{error}; give {options} as they were when that run began"), 2)
        }
        _ => fail_with(error),
    }
}

fn run(options: &Options) -> Result<()> {
    let device = match &options.device {
        Some(word) => Device::named(word)?,
        None => Device::auto()?,
    };
    let (train, test) = digits(options)?;
    let (train, validation) = match options.validation {
        Some(images) if images >= train.len() => {
            fail(&format!("--validation {images} leaves none of {} images to train on", train.len()), 2)
        }
        Some(images) => train.split_at(train.len() - images).map(|(train, validation)| (train, Some(validation)))?,
        None => (train, None),
    };
    let train = options.weighted(train)?;
    let (mut net, trainer) = match options.resumed(&device)? {
        Some(resumed) => resumed,
        None => (options.network(&train, &device)?, options.trainer(train.len())),
    };
    let kept = options.save.as_ref().or(options.resume.as_ref()).map(|path| ("--save", path.as_path()));
    let json = options.json.as_deref().map(|path| ("--json", path));
    let history = options.history.iter().map(|path| ("--history", path.as_path()));
    expect_different(kept.into_iter().chain(json).chain(history));
    expect_writable(options.json.iter().chain(&options.history).map(PathBuf::as_path));
    if let Some(folder) = &options.charts {
        expect_folder(folder);
    }

    announce(options, [&train, validation.as_ref().unwrap_or(&test), &test], &net, &trainer);
    let history = fit(trainer, &mut net, &train, validation.as_ref(), &test)?;
    options.history.iter().try_for_each(|path| write_history(&history, path))?;
    let Metrics { accuracy, confusion, .. } = net.metrics(&test, cost_for(&net))?;
    if let Some(path) = &options.json {
        common::write(path, format!("{:#}\n", results(&net, &history, options, accuracy)?));
    }
    let steps: usize = history.epochs.iter().map(|report| report.steps).sum();
    let seconds: f64 = history.epochs.iter().map(|report| report.seconds).sum();
    let why = history.stop.map_or_else(String::new, |reason| format!("; {reason}"));
    say!("\n{} steps in {seconds:.2} s{why}", grouped(steps as u64));
    if let Some(epoch) = history.restored {
        say!("the parameters are those of epoch {epoch} again");
    }
    if validation.is_some() {
        say!("{:.2} % of the test images are read right", 100.0 * accuracy);
    }
    if let Some(confusion) = &confusion {
        say!("\n{confusion}");
    }
    let mistakes = answers(&net, &test)?;
    if let Some(folder) = &options.charts {
        charts(folder, &net, &history, confusion.as_ref(), &test, &mistakes)?;
        say!("\ncharts are in {}", folder.display());
    }
    show(&test, &mistakes)
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

/// A cost that goes with the outputs. A net that was resumed has its own, whatever is set here; the right answers do not hang on it.
fn cost_for(net: &Network) -> Cost {
    match net.layers().last() {
        Some(layer) if layer.activation == Activation::Softmax => Cost::CategoricalCrossEntropy,
        _ => Cost::Quadratic,
    }
}

/// What is going to happen, and where.
fn announce(options: &Options, images: [&Dataset; 3], net: &Network, trainer: &Trainer<'_>) {
    let source = match &options.data {
        Some(folder) => format!("from {}", folder.display()),
        None => "made up by wgrad (--data DIR takes MNIST's files)".to_owned(),
    };
    let [trained, watched, tested] = images.map(|images| grouped(images.len() as u64));
    let watched = if options.validation.is_some() { format!(", {watched} validation") } else { String::new() };
    let parameters = grouped(net.parameter_count() as u64);
    let sizes = net.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    say!("data      {trained} training{watched} and {tested} test images, {source}");
    let activations = net.layers().iter().map(|layer| layer.activation.name()).collect::<Vec<_>>().join(", ");
    say!("net       {sizes}, {activations}, {parameters} parameters");
    match (&options.resume, trainer.position()) {
        (Some(file), Some((epoch, step))) => {
            say!("training  goes on from {}, after {epoch} epochs and {step} steps", file.display());
        }
        _ => say!("training  {}", options.training()),
    }
    say!("device    {}, because {}", net.device(), net.device().reason());
    // It hangs on the images a step, which a resumed run keeps to itself.
    if options.resume.is_none() {
        let (plan, why) = net.plan(options.batch_size);
        say!("plan      {plan}, because {why}");
    }
}

/// Trains, with a line for each epoch; on standard error the progress, a bar where somebody watches.
fn fit(
    trainer: Trainer<'_>,
    net: &mut Network,
    train: &Dataset,
    validation: Option<&Dataset>,
    test: &Dataset,
) -> Result<History> {
    let mut progress = Progress::new();
    let name = if validation.is_some() { "validation" } else { "test" };
    say!("\nepoch   training cost   right {:>13}   right          eta      steps/s", format!("{name} cost"));
    let mut trainer = trainer.on_event(move |event| {
        progress.see(&event);
        if let Event::Epoch(report) = event {
            progress.suspend(|| say!("{}", line(report)));
        }
        ControlFlow::Continue(())
    });
    trainer.fit(net, train, Some(validation.unwrap_or(test)))
}

/// An epoch as a line of the table.
fn line(report: &EpochReport) -> String {
    let EpochReport { epoch, eta, train_cost, train_accuracy, test, steps_per_second, .. } = report;
    let (test_cost, test_accuracy) = test.map_or((f64::NAN, f64::NAN), |test| (test.cost, test.accuracy));
    let speed = grouped(steps_per_second.round() as u64);
    let [train_right, test_right] = [train_accuracy, &test_accuracy].map(|accuracy| 100.0 * accuracy);
    let head = format!("{epoch:>5} {train_cost:>15.4} {train_right:>6.1} % {test_cost:>11.4} {test_right:>6.2} %");
    format!("{head} {eta:>12.6} {speed:>12}")
}

fn write_history(history: &History, path: &Path) -> Result<()> {
    if path.extension().is_some_and(|end| end == "csv") { history.write_csv(path) } else { history.write_json(path) }
}

/// What the net says to every test image: (rows, outputs).
fn answers(net: &Network, test: &Dataset) -> Result<Vec<f32>> {
    let mut outputs = Vec::with_capacity(test.len() * net.outputs());
    let rows: Vec<u32> = (0_u32..).take(test.len()).collect();
    for rows in rows.chunks(1000) {
        let mut x = vec![0.0; rows.len() * test.features()];
        test.copy_inputs(rows, &mut x)?;
        outputs.extend(net.predict(&x)?);
    }
    Ok(outputs)
}

/// Every chart, in both formats.
fn charts(
    folder: &Path,
    net: &Network,
    history: &History,
    confusion: Option<&Confusion>,
    test: &Dataset,
    outputs: &[f32],
) -> Result<()> {
    let mut charts = vec![("learning-curves", plot::learning_curves(history))];
    charts.extend(confusion.map(|confusion| ("confusion", plot::confusion_matrix(confusion, &[]))));
    if let Some(width) = width(test) {
        let first = net.parameters()?[net.layers()[0].weights()].to_vec();
        charts.push(("weights", plot::weight_pictures(&first, test.features(), width)?));
        charts.push(("misread", plot::misread_pictures(test, outputs, width, &[], 48)?));
    }
    for (name, chart) in charts {
        for end in ["svg", "png"] {
            chart.save(folder.join(name).with_extension(end))?;
        }
    }
    Ok(())
}

/// The pictures are squares, as far as this program knows.
fn width(test: &Dataset) -> Option<usize> {
    let width = test.features().isqrt();
    (width * width == test.features()).then_some(width)
}

/// Draws some test images that the net reads right, and some that it does not.
fn show(test: &Dataset, outputs: &[f32]) -> Result<()> {
    let Some(width) = width(test).filter(|width| *width <= 40) else { return Ok(()) };
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for (row, outputs) in outputs.chunks(test.outputs()).enumerate() {
        let Some(label) = test.label(row) else { continue };
        let answer = (1..outputs.len()).fold(0, |best, j| if outputs[j] > outputs[best] { j } else { best });
        let (list, title) = match answer == label as usize {
            true => (&mut right, label.to_string()),
            false => (&mut wrong, format!("{label}, read as {answer}")),
        };
        if list.len() < 3 {
            list.push((title, test.input_row(row)?));
        }
    }
    for (title, pictures) in [("Read right:", right), ("Read wrong:", wrong)] {
        if !pictures.is_empty() {
            say!("\n{title}\n{}", beside(&pictures, width));
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
fn results(net: &Network, history: &History, options: &Options, test_accuracy: f64) -> Result<serde_json::Value> {
    let bytes: Vec<u8> = net.parameters()?.into_iter().flat_map(f32::to_le_bytes).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let held_out = if options.validation.is_some() { "validation" } else { "test" };
    let epochs: Vec<_> = history
        .epochs
        .iter()
        .map(|report| {
            let mut epoch = serde_json::json!({
                "epoch": report.epoch,
                "steps": report.steps,
                "eta": report.eta,
                "train_cost": report.train_cost,
                "train_accuracy": report.train_accuracy,
                "seconds": report.seconds,
                "steps_per_second": report.steps_per_second,
            });
            let seen = report.test;
            epoch[format!("{held_out}_cost")] = seen.map(|seen| seen.cost).into();
            epoch[format!("{held_out}_accuracy")] = seen.map(|seen| seen.accuracy).into();
            epoch[format!("{held_out}_f1")] = seen.and_then(|seen| seen.f1).into();
            epoch[format!("{held_out}_top5")] = seen.and_then(|seen| seen.top5).into();
            epoch
        })
        .collect();
    Ok(serde_json::json!({
        "device": net.device().kind(),
        "adapter": net.device().adapter(),
        "plan": options.resume.is_none().then(|| net.plan(options.batch_size).0.name()),
        "sizes": net.sizes(),
        "epochs": epochs,
        "stop": history.stop,
        "restored": history.restored,
        "final_test_accuracy": test_accuracy,
        "parameters_sha256": digest,
    }))
}
