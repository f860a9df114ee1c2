//! Learns one column of a table from the others: `cargo run --release --example tabular -- --csv FILE --target COLUMN`.
//!
//! What the columns are, whether the target is a class or a number, how the net looks and how long it is trained: all of it is
//! found out. `--help` tells what can be set.

#[path = "../common/mod.rs"]
mod common;
mod report;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use common::{expect_different, expect_folder, expect_writable, fail, fail_with, say, share};
use wgrad::data::{Preparation, Table, TableReader, Task};
use wgrad::progress::Progress;
use wgrad::{
    Activation, AdamW, Dataset, Device, EarlyStopping, History, Metric, Network, Result, Schedule, Span, Trainer,
};

/// What a trained net knows already, or has no use for.
const OF_TRAINING: [&str; 10] =
    ["target", "task", "without", "categories", "class_weights", "label_smoothing", "epochs", "seed", "save", "charts"];

/// Learns one column of a table from the others, and says how well it predicts rows that it has not seen.
#[derive(Parser)]
#[command(allow_negative_numbers = true)]
struct Options {
    /// Table: CSV, or with semicolons or tabs; plain or .gz
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Column to predict: its name, or its number from 0 (-1 is the last) [default: the last]
    #[arg(long, value_name = "COLUMN", default_value = "-1", hide_default_value = true)]
    target: String,
    /// Whether the target is a class or a number [default: classify texts and few whole numbers]
    #[arg(long, value_parser = PossibleValuesParser::new(["classify", "regress"]).map(|word| task(&word)))]
    task: Option<Task>,
    /// Columns that are not to be used, by name or number
    #[arg(long, value_name = "COLUMN[,COLUMN...]", value_delimiter = ',')]
    without: Vec<String>,
    /// Columns whose numbers are names of categories, such as postal codes
    #[arg(long, value_name = "COLUMN[,COLUMN...]", value_delimiter = ',')]
    categories: Vec<String>,
    /// How much the rows of a class count: all alike, or so that the classes count alike, as where one is rare (balanced)
    #[arg(long, default_value = "none", value_parser = PossibleValuesParser::new(["none", "balanced"]))]
    class_weights: String,
    /// Train towards labels of which a share of X is dealt out to all classes; at least 0 and below 1
    #[arg(long, value_name = "X", default_value_t = 0.0, hide_default_value = true, value_parser = share)]
    label_smoothing: f32,
    /// Times to go through the training rows, at most; it ends earlier when it gets no better
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000))]
    epochs: Option<usize>,
    /// Seed of the split, of the first weights and of the order of the rows
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole(0..=usize::MAX))]
    seed: usize,
    /// auto, cpu, gpu, or part of an adapter's name [default: the variable `WGRAD_DEVICE`, else auto]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Save the trained net to this file, with all that it needs for other rows of such a table
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Take the net of this file, and train nothing: what does it say of this table, which may do without the target, and how well?
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_TRAINING)]
    load: Option<PathBuf>,
    /// With --load: write what it says of each row to this file, as CSV: the class and its probability, or the number
    #[arg(long, value_name = "FILE", requires = "load")]
    answers: Option<PathBuf>,
    /// Folder for the charts
    #[arg(long, value_name = "FOLDER", default_value = "charts")]
    charts: PathBuf,
    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn task(word: &str) -> Task {
    if word == "classify" { Task::Classification } else { Task::Regression }
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

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

/// The rows to learn from, to see with when the net is best, and to test it with in the end.
struct Parts {
    train: Table,
    validation: Table,
    test: Table,
}

fn run(options: &Options) -> Result<()> {
    let (save, load, json) = (options.save.as_deref(), options.load.as_deref(), options.json.as_deref());
    let files = [("--csv", Some(&*options.csv)), ("--save", save), ("--load", load), ("--json", json)];
    let files = files.into_iter().chain([("--answers", options.answers.as_deref())]);
    expect_different(files.filter_map(|(option, path)| Some((option, path?))));
    let device = match &options.device {
        Some(word) => Device::named(word)?,
        None => Device::auto()?,
    };
    if let Some(file) = &options.load {
        return loaded(options, file, &device);
    }
    let table = read(options)?;
    // Of all rows for the task, and to tell what is wrong with the table before a part of it does.
    let task = prepare(options, options.task, &table)?.task();
    expect_classes(options, task);
    let parts = split(options, &table, task)?;
    let preparation = prepare(options, Some(task), &parts.train)?;
    let [mut train, validation] = [preparation.dataset(&parts.train)?, preparation.dataset(&parts.validation)?];
    if options.class_weights == "balanced" {
        train = train.balanced()?;
    }
    preparation.dataset(&parts.test)?; // What is wrong with it is told before the training.
    expect_writable(options.json.as_deref().into_iter().chain(options.save.as_deref()));
    expect_folder(&options.charts);

    let mut net = network(options, &preparation, &train, &device)?;
    report::table(&table, &preparation, true);
    report::net(&net, [parts.train.len(), parts.validation.len(), parts.test.len()]);
    let history = fit(options, &preparation, &mut net, &train, &validation)?;
    report::training(&history);

    net.set_preparation(preparation)?;
    if let Some(file) = &options.save {
        net.save(file)?;
    }
    let (train, test) = (net.table_metrics(&parts.train)?, net.table_metrics(&parts.test)?);
    report::scores(&net, &[("training", &train), ("test", &test)]);
    report::examples(&net, &parts.test, "test rows", true)?;
    let name = options.csv.file_stem().unwrap_or_default().to_string_lossy();
    report::charts(&net, &history, &parts.test, &test, &options.charts.join(&*name))?;
    if let Some(path) = &options.json {
        common::write(path, format!("{:#}\n", report::json(&table, &net, &history, &train, &test)));
    }
    Ok(())
}

/// What a net that was trained before says of a table, and how well where the target is known.
fn loaded(options: &Options, file: &Path, device: &Device) -> Result<()> {
    expect_writable(options.json.as_deref().into_iter().chain(options.answers.as_deref()));
    let net = Network::load(file, device)?;
    let Some(preparation) = net.preparation() else {
        fail(
            &format!("{}: it has a net that does not know tables; --save of this program writes one", file.display()),
            2,
        );
    };
    let table = preparation.reader().read(&options.csv)?;
    let has_target = has_target(&table, preparation);
    report::table(&table, preparation, has_target);
    let answers = net.predict_table(&table)?;
    if let Some(path) = &options.answers {
        common::write(path, report::answers(preparation, &answers));
        say!("answers   to {} rows are in {}", answers.len(), path.display());
    }
    let known = if has_target { table.drop_missing(&[preparation.target()])? } else { table.select(&[])? };
    let metrics = if known.is_empty() { None } else { Some(net.table_metrics(&known)?) };
    if let Some(metrics) = &metrics {
        tell_of_missing(&table, &known, "are not measured");
        report::scores(&net, &[("table", metrics)]);
        report::examples(&net, &known, "rows", true)?;
    } else {
        report::examples(&net, &table, "rows", false)?;
    }
    if let Some(path) = &options.json {
        common::write(path, format!("{:#}\n", report::json_of_loaded(&table, &net, metrics.as_ref())));
    }
    Ok(())
}

/// Whether a table has the target. Where columns have numbers for names, the last of the others may have the target's.
fn has_target(table: &Table, preparation: &Preparation) -> bool {
    let named = preparation.columns().any(|name| name.parse::<usize>().is_err());
    let there = table.columns().iter().any(|column| column.name() == preparation.target());
    there && (named || table.columns().len() > preparation.columns().len())
}

fn tell_of_missing(table: &Table, known: &Table, so: &str) {
    if known.len() < table.len() {
        say!("{} of {} rows have no target, and {so}", table.len() - known.len(), table.len());
    }
}

/// The rows of the table whose target is known.
fn read(options: &Options) -> Result<Table> {
    let mut reader = TableReader::new();
    for column in &options.categories {
        reader = reader.categorical(column);
    }
    let table = reader.read(&options.csv)?;
    let known = table.drop_missing(&[&options.target])?;
    if known.len() < 10 {
        let of = if known.len() < table.len() { " with a target" } else { "" };
        fail(&format!("{}: {} rows{of}; at least 10 are needed", options.csv.display(), known.len()), 2);
    }
    tell_of_missing(&table, &known, "are left out");
    Ok(known)
}

/// Ends the program where an option is for classes, and the target is a number.
fn expect_classes(options: &Options, task: Task) {
    let balanced = ("--class-weights balanced", options.class_weights == "balanced");
    let smoothed = ("--label-smoothing", options.label_smoothing > 0.0);
    for (option, is_set) in [balanced, smoothed] {
        if is_set && task == Task::Regression {
            fail(
                &format!(
                    "{option} is for classes, and the target is learned as a number; --task classify changes that"
                ),
                2,
            );
        }
    }
}

/// A fifth to test with, and of the rest 15 % to see when the net is best.
fn split(options: &Options, table: &Table, task: Task) -> Result<Parts> {
    let seed = options.seed as u64;
    let cut = |table: &Table, shares| table.split_stratified_as(&options.target, task, shares, seed);
    let [rest, test] = cut(table, [0.8, 0.2])?;
    let [train, validation] = cut(&rest, [0.85, 0.15])?;
    Ok(Parts { train, validation, test })
}

/// What the training rows say of the columns.
fn prepare(options: &Options, task: Option<Task>, training_rows: &Table) -> Result<Preparation> {
    let mut preparation = Preparation::new(&options.target);
    if let Some(task) = task {
        preparation = preparation.task(task);
    }
    for column in &options.without {
        preparation = preparation.leave_out(column);
    }
    preparation.fit(training_rows)
}

/// Two hidden layers: narrow ones for few rows, which cannot tell a large net what to do.
fn network(options: &Options, preparation: &Preparation, train: &Dataset, device: &Device) -> Result<Network> {
    let width = match train.len() {
        0..500 => 32,
        500..2000 => 64,
        _ => 128,
    };
    Network::new(preparation.inputs())
        .dense(width, Activation::Relu)
        .dense(width, Activation::Relu)
        .dense(preparation.outputs(), preparation.output_activation())
        .seed(options.seed as u64)
        .build(device)
}

/// Trains with a learning rate that rises at first and then falls to nothing, and gives the net the parameters of the epoch
/// with the least cost of the validation rows, or the best F1 where classes are balanced. If it gets no better for a third of the epochs, it ends.
fn fit(
    options: &Options,
    preparation: &Preparation,
    net: &mut Network,
    train: &Dataset,
    validation: &Dataset,
) -> Result<History> {
    let rows = train.len();
    // Some 50 steps an epoch, of 16 to 256 rows, and 4,000 steps in all; more for large tables.
    let batch = (rows / 50).clamp(16, 256).max((rows / 400).min(1024)).next_power_of_two();
    let epochs = options.epochs.unwrap_or((4000 / rows.div_ceil(batch)).clamp(20, 200));
    // The fewer rows, the more a net is tempted to learn them by heart.
    let decay = (1000.0 / rows as f32).clamp(0.1, 1.0);
    // Where a rare class is to count as much as any other, the plain cost of the validation rows says little.
    let metric = if options.class_weights == "balanced" { Metric::TestF1 } else { Metric::TestCost };
    Trainer::new(preparation.cost(), AdamW::new(0.005).weight_decay(decay))
        .batch_size(batch)
        .epochs(epochs)
        .seed(options.seed as u64)
        .schedule(Schedule::cosine(Span::Run(1.0)).warm_up(Span::Run(0.05)))
        .label_smoothing(options.label_smoothing)
        .early_stopping(EarlyStopping::new(epochs.div_ceil(3)).metric(metric))
        .on_event(Progress::new().callback())
        .fit(net, train, Some(validation))
}
