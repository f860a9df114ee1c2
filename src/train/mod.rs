//! Training: epochs of mini-batches, what is reported of them, and when to stop.

mod check;
#[cfg(all(test, feature = "gpu", feature = "blocking", not(target_arch = "wasm32")))]
mod faults;
mod fit;
mod history;
mod pace;
mod recovery;
mod rescue;
mod run;
mod schedule;
mod slices;
mod state;
mod stopping;
mod verifying;

use std::ops::ControlFlow;
use std::time::Duration;

pub use history::{EpochReport, History};
pub use recovery::Recovery;
pub(crate) use rescue::{gone, known};
pub(crate) use run::report;
pub use run::{Stepped, Training};
pub use schedule::{Moment, Schedule, Span};
use state::Position;
pub(crate) use state::{Snapshot, TRAINING};
pub use stopping::{EarlyStopping, Metric, Plateau, Slowed, StopReason, Watch};

use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::{Checkpoints, Cost, Device, Optimizer};

/// What a run of training reports while it goes on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Some mini-batches of an epoch are done.
    Progress {
        /// The epoch, from 1.
        epoch: usize,
        /// Epochs that the run is to have.
        epochs: usize,
        /// Mini-batches done in this epoch.
        step: usize,
        /// Mini-batches an epoch has.
        steps: usize,
    },
    /// An epoch is done.
    Epoch(&'a EpochReport),
    /// The device failed, and the run goes on with another, from the last state that was kept (see [`Recovery`]). What is done once
    /// more is told once more.
    Recovered {
        /// What the device failed with.
        error: &'a Error,
        /// Where the network is now.
        device: &'a Device,
        /// The epoch in which the run goes on, from 1.
        epoch: usize,
        /// Mini-batches of it that are done.
        step: usize,
    },
}

#[cfg(not(target_arch = "wasm32"))]
type Callback<'a> = Box<dyn FnMut(Event<'_>) -> ControlFlow<()> + Send + 'a>;
#[cfg(target_arch = "wasm32")]
type Callback<'a> = Box<dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a>;

/// Stochastic gradient descent over epochs of shuffled mini-batches.
///
/// ```
/// use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data};
/// let digits = data::synthetic_digits(1200, 1)?;
/// let (train, test) = digits.split_at(1000)?;
/// let mut net = Network::new(784)
///     .dense(30, Activation::Sigmoid)
///     .dense(10, Activation::Sigmoid)
///     .build(&Device::cpu())?;
/// let history = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(3).fit(&mut net, &train, Some(&test))?;
/// assert_eq!(history.epochs.len(), 3);
/// assert!(history.epochs[2].train_cost < history.epochs[0].train_cost);
/// # Ok::<(), wgrad::Error>(())
/// ```
pub struct Trainer<'a> {
    pub(crate) settings: Settings,
    checkpoints: Option<Checkpoints>,
    recovery: Recovery,
    /// One step in so many is done on the CPU too.
    verify_every: Option<u64>,
    /// The run that goes on.
    resumed: Option<Box<state::Resumed>>,
    callback: Option<Callback<'a>>,
}

/// What a run is to be: all of it is stored with the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) cost: Cost,
    pub(crate) optimizer: Optimizer,
    epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    pub(crate) smoothing: f32,
    schedule: Schedule,
    plateau: Option<Plateau>,
    early_stopping: Option<EarlyStopping>,
    keep_best: Option<Metric>,
    max_steps: Option<u64>,
    max_time: Option<Duration>,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { settings, checkpoints, recovery, verify_every, resumed, callback } = self;
        f.debug_struct("Trainer")
            .field("settings", settings)
            .field("checkpoints", checkpoints)
            .field("recovery", recovery)
            .field("verify_every", verify_every)
            .field("resumed", &resumed.is_some())
            .field("callback", &callback.is_some())
            .finish()
    }
}

/// A line a setting, without those that are off.
impl std::fmt::Display for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Settings { cost, optimizer, epochs, batch_size, seed, .. } = &self.settings;
        let Settings { smoothing, schedule, plateau, early_stopping, keep_best, max_steps, max_time, .. } =
            &self.settings;
        write!(f, "cost            {cost}")?;
        write!(f, "\noptimizer       {}", in_words(optimizer))?;
        write!(f, "\nepochs          {epochs}, of {batch_size} rows a step, in an order from seed {seed}")?;
        if *smoothing > 0.0 {
            write!(f, "\nlabel smoothing {smoothing}")?;
        }
        write!(f, "\nlearning rate   {}", in_words(schedule))?;
        if let Some(Plateau { metric, patience, by, .. }) = plateau {
            write!(f, "\n                times {by} where {metric} is no better for {patience} epochs")?;
        }
        if let Some(EarlyStopping { metric, patience, .. }) = early_stopping {
            write!(f, "\nends            where {metric} is no better for {patience} epochs")?;
        }
        if let Some(metric) = keep_best {
            write!(f, "\nkeeps           the parameters with the best {metric}")?;
        }
        if let Some(steps) = max_steps {
            write!(f, "\nat most         {steps} steps")?;
        }
        if let Some(time) = max_time {
            write!(f, "\nat most         {time:?}")?;
        }
        if let Some(every) = self.verify_every {
            write!(f, "\nverifies        one step in {every} against the CPU")?;
        }
        Ok(())
    }
}

/// What is stored of it in words, without what is off.
fn in_words(stored: &impl Serialize) -> String {
    fn add(value: &serde_json::Value, words: &mut Vec<String>) {
        let serde_json::Value::Object(fields) = value else {
            return words.push(value.to_string().trim_matches('"').to_owned());
        };
        for (name, value) in fields {
            match value {
                serde_json::Value::Null => {}
                value if value.as_f64() == Some(0.0) => {}
                serde_json::Value::Object(_) => {
                    if name != "regularization" {
                        words.push(name.clone());
                    }
                    add(value, words);
                }
                // Most are f32, which have fewer digits than what JSON has of them.
                #[allow(clippy::cast_possible_truncation, reason = "for the eye")]
                value if value.is_f64() => {
                    words.push(format!("{name} {:?}", value.as_f64().unwrap_or_default() as f32))
                }
                value => words.push(format!("{name} {}", value.to_string().trim_matches('"'))),
            }
        }
    }
    let mut words = Vec::new();
    let Ok(value) = serde_json::to_value(stored) else { return "custom".to_owned() };
    add(&value, &mut words);
    words.join(", ")
}

impl<'a> Trainer<'a> {
    /// With the notes' habits: mini-batches of 10 rows, 30 epochs, seed 0.
    #[must_use]
    pub fn new(cost: Cost, optimizer: impl Into<Optimizer>) -> Self {
        let settings = Settings {
            cost,
            optimizer: optimizer.into(),
            epochs: 30,
            batch_size: 10,
            seed: 0,
            smoothing: 0.0,
            schedule: Schedule::constant(),
            plateau: None,
            early_stopping: None,
            keep_best: None,
            max_steps: None,
            max_time: None,
        };
        let recovery = Recovery::default();
        Self { settings, checkpoints: None, recovery, verify_every: None, resumed: None, callback: None }
    }

    /// How many times to go through the data; at least 1.
    #[must_use]
    pub const fn epochs(mut self, epochs: usize) -> Self {
        self.settings.epochs = epochs;
        self
    }

    /// Rows a mini-batch; at least 1. The last mini-batch of an epoch takes what is left.
    #[must_use]
    pub const fn batch_size(mut self, rows: usize) -> Self {
        self.settings.batch_size = rows;
        self
    }

    /// The seed of the order in which each epoch takes the rows.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Trains towards `y' = (1 - eps) y + eps / K` in place of the targets `y`, for `K` classes (Szegedy et al. 2016, section 7): the
    /// network is to leave every class a little, so that its outputs do not saturate. `eps` is at least 0, and below 1; 0.1 is usual.
    /// With [`Cost::CategoricalCrossEntropy`] `K` counts the outputs; with [`Cost::BinaryCrossEntropy`] each output is a choice
    /// between two, and `K` is 2. Other costs have no label smoothing.
    ///
    /// It is part of the training cost alone: [`EpochReport::train_cost`] has it, and what is evaluated does not. Which answer is
    /// right stays as it is.
    ///
    /// ```
    /// use wgrad::{Activation, Adam, Cost, Device, Network, Trainer, data};
    /// let (train, test) = data::synthetic_digits(600, 1)?.split_at(500)?;
    /// let mut net = Network::new(784).dense(10, Activation::Softmax).build(&Device::cpu())?;
    /// let mut trainer = Trainer::new(Cost::CategoricalCrossEntropy, Adam::new(0.01)).epochs(2).label_smoothing(0.1);
    /// assert!(trainer.fit(&mut net, &train, Some(&test))?.epochs[1].train_accuracy > 0.5);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub const fn label_smoothing(mut self, eps: f32) -> Self {
        self.settings.smoothing = eps;
        self
    }

    /// How the learning rate changes with the step, as a factor on the optimiser's; constant unless set.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.settings.schedule = schedule;
        self
    }

    /// Lowers the learning rate when a metric has stopped getting better, on top of the schedule.
    #[must_use]
    pub const fn plateau(mut self, plateau: Plateau) -> Self {
        self.settings.plateau = Some(plateau);
        self
    }

    /// Ends a [`fit`](Self::fit_async) when a metric has stopped getting better.
    #[must_use]
    pub const fn early_stopping(mut self, early_stopping: EarlyStopping) -> Self {
        self.settings.early_stopping = Some(early_stopping);
        self
    }

    /// Gives the network the parameters of the epoch with the best value of this metric at the end of a
    /// [`fit`](Self::fit_async), whatever ends it but an error. It goes before the metric of
    /// [`early_stopping`](Self::early_stopping), which keeps the best by itself.
    ///
    /// The optimiser goes back with them: what it remembers, and its count of steps, are those of that epoch, so that training on is as
    /// if the run had ended there. An epoch that is the best so far costs a read of all that, four bytes a number.
    #[must_use]
    pub const fn keep_best(mut self, metric: Metric) -> Self {
        self.settings.keep_best = Some(metric);
        self
    }

    /// Ends a [`fit`](Self::fit_async) after so many mini-batches, at least 1, also within an epoch; what was done of the epoch is
    /// reported.
    #[must_use]
    pub const fn max_steps(mut self, steps: u64) -> Self {
        self.settings.max_steps = Some(steps);
        self
    }

    /// Ends a [`fit`](Self::fit_async) after about this time, evaluations included, also within an epoch; what was done of the
    /// epoch is reported. At least one submission of mini-batches is done. How far a run comes then depends on the machine.
    #[must_use]
    pub const fn max_time(mut self, time: Duration) -> Self {
        self.settings.max_time = Some(time);
        self
    }

    /// Calls this for every [`Event`]; [`ControlFlow::Break`] ends the run, with the parameters as they are then, or the best
    /// where those are kept.
    #[must_use]
    #[cfg(not(target_arch = "wasm32"))]
    pub fn on_event(mut self, callback: impl FnMut(Event<'_>) -> ControlFlow<()> + Send + 'a) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Calls this for every [`Event`]; [`ControlFlow::Break`] ends the run, with the parameters as they are then, or the best
    /// where those are kept.
    #[must_use]
    #[cfg(target_arch = "wasm32")]
    pub fn on_event(mut self, callback: impl FnMut(Event<'_>) -> ControlFlow<()> + 'a) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Saves the run while it goes on and when it ends, so that [`resume`](Self::resume) can go on with it. Training ends with
    /// [`Error::Io`](crate::Error::Io) where that fails; the network keeps what it has learned, and the last file is still there.
    ///
    /// Where a run is saved is not stored: it is said again when it is resumed.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Does every `steps`-th step of the run on the CPU too, from the same parameters and the same memory of the optimiser, and ends
    /// training with [`Error::WrongStep`](crate::Error::WrongStep) where the device is further off than rounding allows. For a device
    /// that one does not trust, or that may fail on the way: a driver's fault, bad memory, a chip that is too hot. `steps` is at least 1.
    ///
    /// The bits of the run are the same with and without. Such a step costs a read of all that the plan has on the device but the data,
    /// before the step and after it, and the step by plain loops in `f64` on one core of the CPU: about 10 ns a multiplication, so that
    /// 784-30-10 with 10 rows takes some 10 ms. The data set is held in the host's memory once more, four bytes a number or byte quad (of
    /// one that is streamed, as many rows as one of its two buffers has), and 32 bytes for each number that the plan has besides.
    /// [`Training::step_for`] takes that time too, in the call after the device is done.
    ///
    /// It is no part of what a checkpoint stores: it is said again when a run is resumed.
    ///
    /// ```
    /// use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data};
    /// # #[cfg(feature = "blocking")] {
    /// let digits = data::synthetic_digits(200, 1)?;
    /// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&Device::auto()?)?;
    /// Trainer::new(Cost::Quadratic, Sgd::new(1.0)).epochs(2).verify_every(10).fit(&mut net, &digits, None)?;
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub const fn verify_every(mut self, steps: u64) -> Self {
        self.verify_every = Some(steps);
        self
    }

    /// Every metric that is watched.
    fn watched(&self) -> impl Iterator<Item = Metric> {
        let Settings { early_stopping, plateau, keep_best, .. } = &self.settings;
        let (stopping, plateau) = (early_stopping.map(|s| s.metric), plateau.map(|p| p.metric));
        let kept = self.checkpoints.as_ref().and_then(Checkpoints::best_metric);
        [stopping, plateau, *keep_best, kept].into_iter().flatten()
    }

    /// Starts a run that the caller advances a little at a time, with [`Training::step_for`]. It has no end of its own: the number
    /// of epochs and of steps matter to the schedule alone, and when to stop is the caller's to say, if it likes with a
    /// [`Watch`]. There are no held-out data, so that a [`Plateau`] can only watch the training rows. The run goes on by itself when its
    /// device fails ([`recovery`](Self::recovery)); one that is lost already when the run is started is an error.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); [`Error::Limit`](crate::Error::Limit) and [`Error::OutOfMemory`](crate::Error::OutOfMemory);
    /// what the device reports.
    pub fn start<'n>(&self, net: &'n mut Network, train: &Dataset) -> Result<Training<'n>> {
        let mut run = Training::open(self, self.resumed.as_deref(), net, train, None)?;
        // It goes on, and its end is the caller's to say.
        run.record.history.stop = None;
        run.train = Some(state::Identity::of(train));
        run.with_recovery(self, train);
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Element;
    use crate::{Activation, Sgd};

    /// The slot that the next buffer gets after a run with this callback.
    #[allow(clippy::unwrap_used, reason = "a test")]
    fn next_slot(callback: fn(Event<'_>) -> ControlFlow<()>) -> crate::backend::Slot {
        let mut net =
            Network::new(2).dense(3, Activation::Tanh).dense(1, Activation::Sigmoid).build(&Device::cpu()).unwrap();
        let data = Dataset::new(vec![0.0, 1.0, 1.0, 0.0], 2, vec![0.0, 1.0], 1).unwrap();
        let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.1)).epochs(2).on_event(callback);
        let run = std::panic::AssertUnwindSafe(|| pollster::block_on(trainer.fit_async(&mut net, &data, Some(&data))));
        let _ = std::panic::catch_unwind(run);
        net.parts().0.alloc(&crate::backend::buffer("next", 1, Element::F32)).unwrap()
    }

    /// The buffers of a run are free again, whatever its end: the next one is one of theirs.
    #[test]
    fn a_run_gives_its_buffers_back_when_its_callback_panics() {
        let whole = next_slot(|_| ControlFlow::Continue(()));
        assert_eq!(whole, next_slot(|_| ControlFlow::Break(())));
        assert_eq!(whole, next_slot(|_| panic!("a callback that panics")));
    }
}
