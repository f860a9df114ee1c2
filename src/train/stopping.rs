//! When a run ends, and what it does where it gets no better: the metric that is watched, patience, reasons.

use serde::{Deserialize, Serialize};

use super::EpochReport;
use crate::activation::by_name;
use crate::error::{Error, Result};
use crate::plan::Goal;
use crate::problems::Problems;

/// A number of an [`EpochReport`] that can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The mean cost of the training rows, each as it was before its mini-batch's step.
    TrainCost,
    /// The share of right training rows, seen likewise.
    TrainAccuracy,
    /// The mean cost of the held-out rows.
    TestCost,
    /// The share of right held-out rows.
    TestAccuracy,
    /// [`Evaluation::top5`](crate::Evaluation::top5) of the held-out rows.
    TestTop5,
    /// [`Evaluation::f1`](crate::Evaluation::f1) of the held-out rows.
    TestF1,
    /// [`Evaluation::rmse`](crate::Evaluation::rmse) of the held-out rows.
    TestRmse,
    /// [`Evaluation::mae`](crate::Evaluation::mae) of the held-out rows.
    TestMae,
    /// [`Evaluation::r2`](crate::Evaluation::r2) of the held-out rows.
    TestR2,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 9] = [
        Self::TrainCost,
        Self::TrainAccuracy,
        Self::TestCost,
        Self::TestAccuracy,
        Self::TestTop5,
        Self::TestF1,
        Self::TestRmse,
        Self::TestMae,
        Self::TestR2,
    ];

    /// The name in lower case, as a column of [`History::to_csv`](crate::History::to_csv) has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrainCost => "train_cost",
            Self::TrainAccuracy => "train_accuracy",
            Self::TestCost => "test_cost",
            Self::TestAccuracy => "test_accuracy",
            Self::TestTop5 => "test_top5",
            Self::TestF1 => "test_f1",
            Self::TestRmse => "test_rmse",
            Self::TestMae => "test_mae",
            Self::TestR2 => "test_r2",
        }
    }

    /// Whether more of it is better.
    #[must_use]
    pub const fn rises(self) -> bool {
        match self {
            Self::TrainAccuracy | Self::TestAccuracy | Self::TestTop5 | Self::TestF1 | Self::TestR2 => true,
            Self::TrainCost | Self::TestCost | Self::TestRmse | Self::TestMae => false,
        }
    }

    /// Its value in a report, where it was measured.
    #[must_use]
    pub fn of(self, report: &EpochReport) -> Option<f64> {
        let test = report.test.as_ref();
        match self {
            Self::TrainCost => Some(report.train_cost),
            Self::TrainAccuracy => Some(report.train_accuracy),
            Self::TestCost => test.map(|test| test.cost),
            Self::TestAccuracy => test.map(|test| test.accuracy),
            Self::TestTop5 => test?.top5,
            Self::TestF1 => test?.f1,
            Self::TestRmse => test?.rmse,
            Self::TestMae => test?.mae,
            Self::TestR2 => test?.r2,
        }
    }

    /// Refuses a metric that a run does not measure; `goal` is that of the evaluation on held-out data, where there is any.
    pub(crate) fn check(self, goal: Option<Goal>, outputs: usize) -> Result<()> {
        let measured = match self {
            Self::TrainCost | Self::TrainAccuracy => true,
            Self::TestCost | Self::TestAccuracy => goal.is_some(),
            Self::TestTop5 => goal == Some(Goal::Answers) && outputs > 5,
            Self::TestF1 => goal == Some(Goal::Answers),
            Self::TestRmse | Self::TestMae | Self::TestR2 => goal == Some(Goal::Errors),
        };
        if measured {
            return Ok(());
        }
        let want = match (goal, self) {
            (None, _) => "of the training data, or the run needs held-out data",
            (_, Self::TestTop5) => "another one: this needs from 6 to 256 classes as targets",
            (_, Self::TestF1) => "another one: this needs at most 256 classes as targets",
            _ => "another one: this needs values as targets, and no cross-entropy",
        };
        Err(Error::InvalidOption { option: "watched metric", value: self.name().to_owned(), want })
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Metric {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "metric", word)
    }
}

/// The best value of a metric so far, and how long ago it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The best value, and the epoch that had it, from 1; `None` before the first epoch.
    pub best: Option<(usize, f64)>,
    /// Epochs since then.
    pub waited: usize,
}

impl Watch {
    /// Takes an epoch in, and says whether it was better than the best by more than `min_change`. What is not finite, or not there, is
    /// never better.
    pub fn see(&mut self, metric: Metric, min_change: f64, report: &EpochReport) -> bool {
        let gain = |value, best| if metric.rises() { value - best } else { best - value };
        let is_better = |value: f64| self.best.is_none_or(|(_, best)| gain(value, best) > min_change);
        // Of NaN nothing would be better ever after, and infinity is no number in a file.
        match metric.of(report).filter(|value| value.is_finite()).filter(|&value| is_better(value)) {
            Some(value) => {
                *self = Self { best: Some((report.epoch, value)), waited: 0 };
                true
            }
            None => {
                // It is public, and a file has it.
                self.waited = self.waited.saturating_add(1);
                false
            }
        }
    }
}

/// Ends a run when a metric has stopped getting better.
///
/// ```
/// use wgrad::{Activation, Cost, Device, EarlyStopping, Metric, Network, Sgd, Trainer, data};
/// let (train, test) = data::synthetic_digits(600, 1)?.split_at(400)?;
/// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&Device::cpu())?;
/// let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(3.0))
///     .epochs(500)
///     .early_stopping(EarlyStopping::new(3).metric(Metric::TestAccuracy));
/// let history = trainer.fit(&mut net, &train, Some(&test))?;
/// assert!(history.epochs.len() < 500);
/// // The network has the parameters of the best epoch again.
/// let best = history.restored.expect("an epoch was restored");
/// assert_eq!(history.epochs.len(), best + 3);
/// assert_eq!(net.evaluate(&test, Cost::Quadratic)?, history.epochs[best - 1].test.expect("held-out data"));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// What is watched.
    pub metric: Metric,
    /// Epochs in a row that may be no better than the best before the run ends; at least 1.
    pub patience: usize,
    /// What counts as better: a gain of more than this, in the units of the metric; at least 0.
    pub min_change: f64,
    /// Whether the network gets the parameters of the best epoch back in the end.
    pub restore_best: bool,
}

impl EarlyStopping {
    /// Watches the cost on the held-out data with this patience; any gain counts, and the best parameters are restored.
    #[must_use]
    pub const fn new(patience: usize) -> Self {
        Self { metric: Metric::TestCost, patience, min_change: 0.0, restore_best: true }
    }

    /// Watches this.
    #[must_use]
    pub const fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Counts a gain only if it is more than this.
    #[must_use]
    pub const fn min_change(mut self, min_change: f64) -> Self {
        self.min_change = min_change;
        self
    }

    /// Whether the network gets the parameters of the best epoch back.
    #[must_use]
    pub const fn restore_best(mut self, restore: bool) -> Self {
        self.restore_best = restore;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_waiting("patience of early stopping", self.patience, self.min_change)
    }
}

/// Multiplies the learning rate by a factor, on top of any schedule, when a metric has stopped getting better; ends the run when
/// the rate has come down far enough. [`Plateau::new`] has the numbers of the notes' book: halved, down to 1/128.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plateau {
    /// What is watched.
    pub metric: Metric,
    /// Epochs in a row that may be no better than the best before the rate goes down; at least 1.
    pub patience: usize,
    /// What counts as better, as in [`EarlyStopping::min_change`].
    pub min_change: f64,
    /// What the rate is multiplied by, above 0 and below 1.
    pub by: f64,
    /// The least factor there is, above 0 and at most 1.
    pub least: f64,
    /// Whether the run ends when the factor has come down to the least one.
    pub stop: bool,
}

/// How far a [`Plateau`] has brought the learning rate down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slowed {
    /// The factor on the learning rate, from 1 down.
    pub factor: f64,
    /// The best value so far; the waiting starts anew after each reduction.
    pub watch: Watch,
}

impl Default for Slowed {
    fn default() -> Self {
        Self { factor: 1.0, watch: Watch::default() }
    }
}

impl Plateau {
    /// Halves the rate after so many epochs without a better accuracy on the held-out data, and ends the run at 1/128 (M. Nielsen,
    /// *Neural Networks and Deep Learning*, chapter 3, "How to choose a neural network's hyper-parameters?").
    #[must_use]
    pub const fn new(patience: usize) -> Self {
        let metric = Metric::TestAccuracy;
        Self { metric, patience, min_change: 0.0, by: 0.5, least: 1.0 / 128.0, stop: true }
    }

    /// Watches this.
    #[must_use]
    pub const fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Counts a gain only if it is more than this.
    #[must_use]
    pub const fn min_change(mut self, min_change: f64) -> Self {
        self.min_change = min_change;
        self
    }

    /// Multiplies the rate by this, down to this factor at least.
    #[must_use]
    pub const fn by(mut self, by: f64, least: f64) -> Self {
        self.by = by;
        self.least = least;
        self
    }

    /// Whether the run ends at the least factor.
    #[must_use]
    pub const fn stop(mut self, stop: bool) -> Self {
        self.stop = stop;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.see(check_waiting("patience of the plateau", self.patience, self.min_change));
        if !(self.by > 0.0 && self.by < 1.0) {
            let (option, value) = ("factor of the plateau", self.by.to_string());
            problems.see::<()>(Err(Error::InvalidOption { option, value, want: "above 0 and below 1" }));
        }
        if !(self.least > 0.0 && self.least <= 1.0) {
            let (option, value) = ("least factor of the plateau", self.least.to_string());
            problems.see::<()>(Err(Error::InvalidOption { option, value, want: "above 0, at most 1" }));
        }
        problems.end()
    }

    /// Takes an epoch in, and says whether the run is to end.
    pub fn see(&self, slowed: &mut Slowed, report: &EpochReport) -> bool {
        slowed.watch.see(self.metric, self.min_change, report);
        if slowed.watch.waited >= self.patience {
            slowed.watch.waited = 0;
            slowed.factor = (slowed.factor * self.by).max(self.least);
        }
        self.ends(slowed)
    }

    /// Whether a run that was slowed so far is to end.
    pub(crate) fn ends(&self, slowed: &Slowed) -> bool {
        self.stop && slowed.factor <= self.least
    }
}

fn check_waiting(option: &'static str, patience: usize, min_change: f64) -> Result<()> {
    let mut problems = Problems::default();
    if patience == 0 {
        problems.see::<()>(Err(Error::InvalidOption { option, value: "0".to_owned(), want: "at least 1" }));
    }
    if !(min_change >= 0.0 && min_change.is_finite()) {
        let (option, value) = ("least change that counts", min_change.to_string());
        problems.see::<()>(Err(Error::InvalidOption { option, value, want: "finite and at least 0" }));
    }
    problems.end()
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// All its epochs are done.
    Epochs,
    /// The callback ended it.
    Callback,
    /// The metric that [`EarlyStopping`] watches got no better.
    EarlyStopping,
    /// The learning rate came down to the least one of its [`Plateau`].
    Plateau,
    /// The time of [`Trainer::max_time`](crate::Trainer::max_time) was up.
    Time,
    /// The steps of [`Trainer::max_steps`](crate::Trainer::max_steps) are done.
    Steps,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Epochs => "all epochs are done",
            Self::Callback => "the callback ended it",
            Self::EarlyStopping => "the watched metric got no better",
            Self::Plateau => "the learning rate came down to its least value",
            Self::Time => "its time was up",
            Self::Steps => "its steps are done",
        })
    }
}
