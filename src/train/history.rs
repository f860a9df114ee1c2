//! What became of a run, epoch by epoch, and how it is written to files and read again.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stopping::{Metric, StopReason};
use crate::error::{Error, Result};
use crate::metrics::Evaluation;

/// The longest file that is read: millions of epochs.
const MOST_BYTES: u64 = 1 << 30;
/// Columns of a CSV file, with those that are none of ours.
const MOST_COLUMNS: usize = 1000;
/// `1,1,1,1,1,1` and the end of the line.
const SHORTEST_LINE: usize = 12;

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mini-batches of it that were trained on: all, but where the run ended within it.
    pub steps: usize,
    /// The learning rate of its last step.
    pub eta: f64,
    /// The mean cost over the training rows, each as it was just before its mini-batch's step.
    pub train_cost: f64,
    /// The share of training rows that were right, as seen just before their mini-batch's step.
    pub train_accuracy: f64,
    /// How the network does on the held-out data after the epoch, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
    /// Time that the training of this epoch took, in seconds, without the evaluation.
    pub seconds: f64,
    /// Mini-batches a second.
    pub steps_per_second: f64,
}

/// All epochs of a run, and why it ended.
///
/// ```
/// # #[cfg(feature = "blocking")] {
/// use wgrad::{Activation, Cost, Device, History, Network, Sgd, Trainer, data};
/// let (train, test) = data::synthetic_digits(300, 1)?.split_at(200)?;
/// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&Device::cpu())?;
/// let history = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(3).fit(&mut net, &train, Some(&test))?;
///
/// let folder = std::env::temp_dir();
/// let file = folder.join(format!("wgrad history {}.json", std::process::id()));
/// history.write_json(&file)?;
/// assert_eq!(History::read_json(&file)?, history); // to the bit
/// # std::fs::remove_file(&file).expect("it was there");
/// assert_eq!(history.to_csv().lines().count(), 1 + 3); // a head and a line an epoch
/// # }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// One report an epoch.
    pub epochs: Vec<EpochReport>,
    /// Why the run ended; `None` where that is not known, as in a CSV file.
    #[serde(default)]
    pub stop: Option<StopReason>,
    /// The epoch, from 1, whose parameters the network was given back in the end, where
    /// [`EarlyStopping`](crate::EarlyStopping) or [`Trainer::keep_best`](crate::Trainer::keep_best) asked for the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<usize>,
    /// Whether the training rows were sent to the device mini-batch by mini-batch, since all of them together did not fit
    /// ([`Device::with_data_memory`](crate::Device::with_data_memory)). The results are the same to the bit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streamed: bool,
}

/// A column of the CSV file: its name, and its number in a report.
type Column = (&'static str, fn(&EpochReport) -> Option<f64>);

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
const COLUMNS: [Column; 14] = [
    ("epoch", |report| Some(report.epoch as f64)),
    ("steps", |report| Some(report.steps as f64)),
    ("eta", |report| Some(report.eta)),
    ("train_cost", |report| Metric::TrainCost.of(report)),
    ("train_accuracy", |report| Metric::TrainAccuracy.of(report)),
    ("test_cost", |report| Metric::TestCost.of(report)),
    ("test_accuracy", |report| Metric::TestAccuracy.of(report)),
    ("test_rows", |report| report.test.map(|test| test.rows as f64)),
    ("test_top5", |report| Metric::TestTop5.of(report)),
    ("test_f1", |report| Metric::TestF1.of(report)),
    ("test_rmse", |report| Metric::TestRmse.of(report)),
    ("test_mae", |report| Metric::TestMae.of(report)),
    ("test_r2", |report| Metric::TestR2.of(report)),
    ("seconds", |report| Some(report.seconds)),
];

impl History {
    /// The accuracy on the held-out data after the last epoch, 0 to 1; of the parameters that the network has in the end, where
    /// earlier ones were restored.
    #[must_use]
    pub fn final_test_accuracy(&self) -> Option<f64> {
        let restored = self.restored.and_then(|epoch| self.epochs.iter().find(|report| report.epoch == epoch));
        restored.or(self.epochs.last())?.test.map(|test| test.accuracy)
    }

    /// The best value of a metric, and the epoch that had it first, from 1.
    #[must_use]
    pub fn best(&self, metric: Metric) -> Option<(usize, f64)> {
        let mut watch = super::stopping::Watch::default();
        self.epochs.iter().for_each(|report| _ = watch.see(metric, 0.0, report));
        watch.best
    }

    /// Whether the run ended before its time: for any other reason than that its epochs were done.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.is_some_and(|reason| reason != StopReason::Epochs)
    }

    /// A table with a head, a line an epoch, and a column a number: `epoch,steps,eta,train_cost,...`. Columns that no epoch has
    /// are left out. Numbers are written so that they read back to the same bits.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let has = |column: &&Column| self.epochs.iter().any(|report| column.1(report).is_some());
        let columns: Vec<&Column> = COLUMNS.iter().filter(has).collect();
        let mut text = columns.iter().map(|column| column.0).collect::<Vec<_>>().join(",");
        for report in &self.epochs {
            text.push('\n');
            for (i, column) in columns.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                // Writing to a string cannot fail.
                let _ = match column.1(report) {
                    Some(number) => write!(text, "{comma}{number}"),
                    None => write!(text, "{comma}"),
                };
            }
        }
        text.push('\n');
        text
    }

    /// As one JSON object: `{"epochs": [...], "stop": ...}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Its maps have text as keys, and its numbers are finite: there is nothing to refuse.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Writes [`to_csv`](Self::to_csv) to a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        std::fs::write(&path, self.to_csv()).map_err(|error| Error::io(path.as_ref(), error))
    }

    /// Writes [`to_json`](Self::to_json) to a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<()> {
        std::fs::write(&path, self.to_json() + "\n").map_err(|error| Error::io(path.as_ref(), error))
    }

    /// Reads what [`write_json`](Self::write_json) wrote.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::File`] for what is no such JSON, with line and column.
    pub fn read_json(path: impl AsRef<Path>) -> Result<Self> {
        let text = text_of(path.as_ref())?;
        let history: Self =
            serde_json::from_str(&text).map_err(|error| Error::file(path.as_ref(), error.to_string()))?;
        Ok(history)
    }

    /// Reads what [`write_csv`](Self::write_csv) wrote; columns may stand in any order, and those it does not know are passed over.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::File`] for what is no such table, with line and column.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        let text = text_of(path.as_ref())?;
        let epochs = from_csv(&text).map_err(|problem| Error::file(path.as_ref(), problem))?;
        Ok(Self { epochs, ..Self::default() })
    }
}

/// The whole of a file that is not absurdly long.
fn text_of(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| Error::io(path, error))?;
    if read as u64 > MOST_BYTES {
        return Err(Error::file(path, format!("it is longer than {MOST_BYTES} bytes, and no history")));
    }
    Ok(text)
}

/// The epochs of a table, or what is wrong with it.
fn from_csv(text: &str) -> Result<Vec<EpochReport>, String> {
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
    if head.len() > MOST_COLUMNS {
        return Err(format!(
            "its head has {} columns, more than the {MOST_COLUMNS} that a history may have",
            head.len()
        ));
    }
    let place = |name: &str| head.iter().position(|column| *column == name);
    // A line has six numbers at least. Grown as it is filled, it would be held twice.
    let rows = lines.clone().filter(|line| !line.trim().is_empty()).count();
    let mut epochs = Vec::with_capacity(rows.min(text.len() / SHORTEST_LINE + 1));
    for (number, line) in (2..).zip(lines) {
        if line.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != head.len() {
            return Err(format!("line {number} has {} columns, the head has {}", cells.len(), head.len()));
        }
        let optional = |name: &str| -> Result<Option<f64>, String> {
            let Some(cell) = place(name).map(|place| cells[place]).filter(|cell| !cell.is_empty()) else {
                return Ok(None);
            };
            let value = cell.parse().ok().filter(|value: &f64| value.is_finite());
            value.map(Some).ok_or_else(|| format!("line {number}, column {name}: '{cell}' is no finite number"))
        };
        let needed =
            |name: &str| optional(name)?.ok_or_else(|| format!("line {number} has nothing in a column {name}"));
        let count = |name: &str| {
            let value = needed(name)?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
            let whole = (value.fract() == 0.0 && (0.0..9e15).contains(&value)).then_some(value as usize);
            whole.ok_or_else(|| format!("line {number}, column {name}: '{value}' is no count"))
        };
        let test = match optional("test_cost")? {
            None => None,
            Some(cost) => Some(Evaluation {
                cost,
                accuracy: needed("test_accuracy")?,
                rows: count("test_rows")?,
                top5: optional("test_top5")?,
                f1: optional("test_f1")?,
                rmse: optional("test_rmse")?,
                mae: optional("test_mae")?,
                r2: optional("test_r2")?,
            }),
        };
        let (steps, seconds) = (count("steps")?, needed("seconds")?);
        epochs.push(EpochReport {
            epoch: count("epoch")?,
            steps,
            eta: needed("eta")?,
            train_cost: needed("train_cost")?,
            train_accuracy: needed("train_accuracy")?,
            test,
            seconds,
            steps_per_second: EpochReport::speed(steps, seconds),
        });
    }
    Ok(epochs)
}

impl EpochReport {
    /// Mini-batches a second.
    pub(crate) fn speed(steps: usize, seconds: f64) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a count of steps is far below 2^53")]
        let steps = steps as f64;
        steps / seconds.max(1e-9)
    }
}
