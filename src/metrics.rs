//! How well a network does on a data set: the numbers that are looked at, beside the one that is made small.

use serde::{Deserialize, Serialize};

use crate::Cost;
use crate::data::{Dataset, Targets};
use crate::error::{Error, Result};
use crate::plan::Goal;
use crate::scores::Scores;

/// Classes up to which every evaluation counts answers by class: beyond, that is a million counters and more.
const MOST_CLASSES: usize = 256;
/// Classes of a matrix that is made of pairs.
const MOST_PAIRED: usize = 10_000;

/// How a network does on a data set, in single numbers; [`Metrics`] has the details.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The mean cost over the rows.
    pub cost: f64,
    /// The share of rows whose largest output is where the target is largest, 0 to 1. With one output: whose output lies on
    /// the same side of the middle as the target.
    pub accuracy: f64,
    /// Rows.
    pub rows: usize,
    /// The share of rows where the true class is among the five largest outputs, where there are more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// The mean of [`Confusion::f1`] over the classes, 0 to 1, where the targets are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// The root of the mean squared error, where the targets are values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// The mean absolute error, where the targets are values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// The coefficient of determination, at most 1, where the targets are values; see [`OutputErrors::r2`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl Evaluation {
    /// Without details.
    pub(crate) const fn new(cost: f64, accuracy: f64, rows: usize) -> Self {
        Self { cost, accuracy, rows, top5: None, f1: None, rmse: None, mae: None, r2: None }
    }

    /// Without details that are infinite, as the squares of errors beyond 1e19 are: no file could hold them.
    pub(crate) fn finite(self) -> Self {
        let Self { cost, accuracy, rows, .. } = self;
        let [top5, f1, rmse, mae, r2] =
            [self.top5, self.f1, self.rmse, self.mae, self.r2].map(|detail| detail.filter(|x| x.is_finite()));
        Self { cost, accuracy, rows, top5, f1, rmse, mae, r2 }
    }
}

/// All that is measured of a network on a data set; [`Network::metrics_async`](crate::Network::metrics_async) makes it.
///
/// What the network answers and how far off it is are worked out on the device. Counts are exact. Sums of errors are `f32` within
/// a mini-batch of at most 1,000 rows, in a fixed order, and `f64` from there on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The mean cost over the rows.
    pub cost: f64,
    /// As [`Evaluation::accuracy`].
    pub accuracy: f64,
    /// Rows.
    pub rows: usize,
    /// What was answered, where the targets are classes: labels, or whatever goes with a cross-entropy.
    pub confusion: Option<Confusion>,
    /// How far off each output is, where the targets are values; empty elsewhere.
    pub errors: Vec<OutputErrors>,
}

impl Metrics {
    /// In single numbers.
    #[must_use]
    pub fn summary(&self) -> Evaluation {
        let classes = self.confusion.as_ref();
        let has_errors = !self.errors.is_empty();
        Evaluation {
            cost: self.cost,
            accuracy: self.accuracy,
            rows: self.rows,
            top5: classes.filter(|c| c.classes() > 5).map(|c| c.top_k(5)),
            f1: classes.map(Confusion::macro_f1),
            rmse: has_errors.then(|| self.rmse()),
            mae: has_errors.then(|| mean(self.errors.iter().map(|e| e.mae))),
            r2: has_errors.then(|| mean(self.errors.iter().map(|e| e.r2))),
        }
    }

    /// The root of the mean of `(a - y)^2` over rows and outputs; NaN where the targets are classes.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        mean(self.errors.iter().map(|e| e.mse)).sqrt()
    }

    pub(crate) fn new(scores: &Scores, rows: usize, spread: &[f64]) -> Self {
        Self {
            cost: scores.mean_cost(),
            accuracy: scores.accuracy(),
            rows,
            confusion: Confusion::from_counts(&scores.counts),
            errors: errors(&scores.errors, rows, spread),
        }
    }
}

/// How far off one output is, over all rows: `a` what the network says, `y` the target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputErrors {
    /// The mean of `(a - y)^2`.
    pub mse: f64,
    /// The mean of `|a - y|`.
    pub mae: f64,
    /// `1 - sum (a - y)^2 / sum (y - mean y)^2`: 1 is perfect, 0 is no better than the mean. Where all targets are the same, 1 if
    /// they are met to the bit, else 0.
    pub r2: f64,
}

impl OutputErrors {
    /// The root of the mean squared error, in the units of the target.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        self.mse.sqrt()
    }
}

/// Which rows were taken for what: rows counted by their true class and by the class that the network answered.
///
/// ```
/// # #[cfg(feature = "blocking")] {
/// use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data};
/// let (train, test) = data::synthetic_digits(1500, 1)?.split_at(1200)?;
/// let mut net = Network::new(784).dense(30, Activation::Sigmoid).dense(10, Activation::Sigmoid).build(&Device::cpu())?;
/// Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(4).fit(&mut net, &train, None)?;
///
/// let metrics = net.metrics(&test, Cost::Quadratic)?;
/// let confusion = metrics.confusion.expect("digits have classes");
/// assert_eq!(confusion.rows(), 300);
/// assert_eq!(confusion.accuracy(), metrics.accuracy);
/// assert!(confusion.top_k(2) >= confusion.top_k(1));
/// println!("nines taken for fours: {}", confusion.count(9, 4));
/// println!("{confusion}"); // precision, recall and F1 of every class
/// # }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    classes: usize,
    /// `(classes + 1)^2`: a row a true class, a column a class answered, the last column for no answer (a NaN among the outputs);
    /// the last row counts ranks instead.
    counts: Vec<u64>,
}

impl Confusion {
    /// Of the words that `count_answers` wrote; `None` if there are none.
    fn from_counts(counts: &[u32]) -> Option<Self> {
        let classes = counts.len().isqrt().checked_sub(1).filter(|&classes| classes >= 2)?;
        Some(Self { classes, counts: counts.iter().map(|&n| u64::from(n)).collect() })
    }

    /// From the true class and the answered class of each row, both below `classes`, of which there are two at least; others are
    /// left out. It knows no ranks, so that [`top_k`](Self::top_k) is the accuracy for every `k` below the number of classes.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for more than 10,000 classes, whose counts would be a hundred million numbers.
    pub fn from_pairs(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Result<Self> {
        if classes > MOST_PAIRED {
            let (option, value) = ("classes of a confusion matrix", classes.to_string());
            return Err(Error::InvalidOption { option, value, want: "at most 10,000" });
        }
        let classes = classes.max(2);
        let wide = classes + 1;
        let mut counts = vec![0; wide * wide];
        for (truth, guess) in pairs {
            if truth < classes && guess < classes {
                counts[truth * wide + guess] += 1;
                counts[classes * wide + if truth == guess { 0 } else { classes - 1 }] += 1;
            }
        }
        Ok(Self { classes, counts })
    }

    /// How many classes there are.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// Rows counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts[..self.classes * (self.classes + 1)].iter().sum()
    }

    /// Rows of class `truth` that were answered with class `answer`; 0 for classes that there are not.
    #[must_use]
    pub fn count(&self, truth: usize, answer: usize) -> u64 {
        if truth.max(answer) < self.classes { self.counts[truth * (self.classes + 1) + answer] } else { 0 }
    }

    /// Rows of this true class.
    #[must_use]
    pub fn support(&self, class: usize) -> u64 {
        let wide = self.classes + 1;
        if class < self.classes { self.counts[class * wide..(class + 1) * wide].iter().sum() } else { 0 }
    }

    /// Rows that were answered with this class.
    #[must_use]
    pub fn answered(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }

    /// The share of rows answered right, 0 to 1.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio((0..self.classes).map(|class| self.count(class, class)).sum(), self.rows()).unwrap_or(0.0)
    }

    /// The share of rows whose true class is among the `k` largest outputs, 0 to 1; of equal outputs the first come first.
    #[must_use]
    pub fn top_k(&self, k: usize) -> f64 {
        let ranks = &self.counts[self.classes * (self.classes + 1)..];
        ratio(ranks[..k.min(self.classes)].iter().sum(), self.rows()).unwrap_or(0.0)
    }

    /// The share of the rows answered with this class that are of it; `None` if there are none.
    #[must_use]
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.answered(class))
    }

    /// The share of the rows of this class that were answered with it; `None` if there are none.
    #[must_use]
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.support(class))
    }

    /// `2 p r / (p + r)`, the harmonic mean of precision and recall, as `2 right / (answered + support)`; `None` for a class
    /// that neither is nor was answered.
    #[must_use]
    pub fn f1(&self, class: usize) -> Option<f64> {
        ratio(2 * self.count(class, class), self.answered(class) + self.support(class))
    }

    /// The mean of [`f1`](Self::f1) over the classes that have it, each counting the same.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let scores: Vec<f64> = (0..self.classes).filter_map(|class| self.f1(class)).collect();
        if scores.is_empty() { 0.0 } else { mean(scores.into_iter()) }
    }
}

/// A table: precision, recall, F1 and rows of every class.
impl std::fmt::Display for Confusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "class  precision  recall     F1   rows")?;
        for class in 0..self.classes {
            let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
            let [p, r, f1] = [self.precision(class), self.recall(class), self.f1(class)].map(percent);
            write!(f, "\n{class:>5} {p:>10} {r:>7} {f1:>6} {:>6}", self.support(class))?;
        }
        Ok(())
    }
}

/// Two counts as a share.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// NaN of nothing.
fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a count of outputs is far below 2^53")]
    let count = numbers.len() as f64;
    numbers.sum::<f64>() / count
}

/// The sums of each step, (steps, outputs, 2), as means; `spread` has `sum (y - mean y)^2` of each output.
fn errors(sums: &[f32], rows: usize, spread: &[f64]) -> Vec<OutputErrors> {
    let outputs = spread.len();
    if sums.is_empty() || outputs == 0 {
        return Vec::new();
    }
    let mut total = vec![[0.0_f64; 2]; outputs];
    for step in sums.chunks_exact(2 * outputs) {
        for (total, sums) in total.iter_mut().zip(step.chunks_exact(2)) {
            total[0] += f64::from(sums[0]);
            total[1] += f64::from(sums[1]);
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
    let rows = rows as f64;
    let of_output = |(&[squares, absolutes], &spread): (&[f64; 2], &f64)| {
        let r2 = match (squares > 0.0, spread > 0.0) {
            (_, true) => 1.0 - squares / spread,
            (false, false) => 1.0,
            (true, false) => 0.0,
        };
        OutputErrors { mse: squares / rows, mae: absolutes / rows, r2 }
    };
    total.iter().zip(spread).map(of_output).collect()
}

/// What an evaluation of this data measures beside the cost; `details` whatever it costs.
pub(crate) fn goal(data: &Dataset, cost: Cost, details: bool) -> Goal {
    let cross_entropy = match cost {
        Cost::Quadratic | Cost::Huber | Cost::Absolute => false,
        Cost::BinaryCrossEntropy | Cost::CategoricalCrossEntropy => true,
    };
    let classes = cross_entropy || matches!(data.targets(), Targets::Labels { .. });
    match classes {
        true if details || data.outputs() <= MOST_CLASSES => Goal::Answers,
        true => Goal::Cost,
        false => Goal::Errors,
    }
}

/// `sum (y - mean y)^2` of each output, for the goal that needs it: it is the data's own, and no device is more exact than this.
pub(crate) fn spread(data: &Dataset, goal: Goal) -> Vec<f64> {
    let Targets::Values { values, outputs } = data.targets() else { return Vec::new() };
    if goal != Goal::Errors {
        return Vec::new();
    }
    let add = |sums: &mut [f64], term: &dyn Fn(usize, f64) -> f64| {
        for row in values.chunks_exact(*outputs) {
            for (j, (sum, &y)) in sums.iter_mut().zip(row).enumerate() {
                *sum += term(j, f64::from(y));
            }
        }
    };
    let mut means = vec![0.0; *outputs];
    add(&mut means, &|_, y| y);
    #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
    means.iter_mut().for_each(|mean| *mean /= data.len() as f64);
    let mut spread = vec![0.0; *outputs];
    add(&mut spread, &|j, y| (y - means[j]) * (y - means[j]));
    spread
}
