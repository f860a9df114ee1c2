//! Training: epochs of mini-batches, what is reported of them, and when to stop.

use std::ops::ControlFlow;

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::{Evaluation, Network};
use crate::training::Training;
use crate::{Cost, Optimizer};

/// What a run of training reports while it goes on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Some mini-batches of an epoch are done.
    Progress {
        /// The epoch, from 1.
        epoch: usize,
        /// Mini-batches done in this epoch.
        step: usize,
        /// Mini-batches an epoch has.
        steps: usize,
    },
    /// An epoch is done.
    Epoch(&'a EpochReport),
}

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean cost over the training rows, each as it was just before its mini-batch's step.
    pub train_cost: f64,
    /// The share of training rows that were right, as seen just before their mini-batch's step.
    pub train_accuracy: f64,
    /// How the network does on the held-out data after the epoch, where there is any.
    pub test: Option<Evaluation>,
    /// Time that the training of this epoch took, in seconds, without the evaluation.
    pub seconds: f64,
    /// Mini-batches a second.
    pub steps_per_second: f64,
}

/// All epochs of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// One report an epoch.
    pub epochs: Vec<EpochReport>,
    /// Whether the callback ended the run before its time.
    pub stopped: bool,
}

impl History {
    /// The accuracy on the held-out data after the last epoch, 0 to 1.
    #[must_use]
    pub fn final_test_accuracy(&self) -> Option<f64> {
        self.epochs.last()?.test.map(|test| test.accuracy)
    }
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
    pub(crate) cost: Cost,
    pub(crate) optimizer: Optimizer,
    epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    callback: Option<Callback<'a>>,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cost, optimizer, epochs, batch_size, seed, callback: _ } = self;
        f.debug_struct("Trainer")
            .field("cost", cost)
            .field("optimizer", optimizer)
            .field("epochs", epochs)
            .field("batch_size", batch_size)
            .field("seed", seed)
            .finish_non_exhaustive()
    }
}

impl<'a> Trainer<'a> {
    /// With the notes' habits: mini-batches of 10 rows, 30 epochs, seed 0.
    #[must_use]
    pub fn new(cost: Cost, optimizer: impl Into<Optimizer>) -> Self {
        Self { cost, optimizer: optimizer.into(), epochs: 30, batch_size: 10, seed: 0, callback: None }
    }

    /// How many times to go through the data; at least 1.
    #[must_use]
    pub const fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Rows a mini-batch; at least 1. The last mini-batch of an epoch takes what is left.
    #[must_use]
    pub const fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// The seed of the order in which each epoch takes the rows.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls this for every [`Event`]; [`ControlFlow::Break`] ends the run, with the parameters as they are then.
    #[must_use]
    #[cfg(not(target_arch = "wasm32"))]
    pub fn on_event(mut self, callback: impl FnMut(Event<'_>) -> ControlFlow<()> + Send + 'a) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Calls this for every [`Event`]; [`ControlFlow::Break`] ends the run, with the parameters as they are then.
    #[must_use]
    #[cfg(target_arch = "wasm32")]
    pub fn on_event(mut self, callback: impl FnMut(Event<'_>) -> ControlFlow<()> + 'a) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Trains the network on `train`, and evaluates it on `test` after every epoch.
    ///
    /// The data is uploaded once. An epoch is a few submissions of many mini-batches each, and the host reads the costs and
    /// right answers of all of them once, at its end.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Pairing`], [`Error::Shape`] and [`Error::Limit`] before anything is trained;
    /// [`Error::Diverged`] at the end of the epoch in which the cost became NaN or infinite; what the device reports.
    pub async fn fit_async(&mut self, net: &mut Network, train: &Dataset, test: Option<&Dataset>) -> Result<History> {
        if self.epochs == 0 {
            return Err(Error::InvalidOption { option: "epochs", value: "0".to_owned(), want: "at least 1" });
        }
        let mut run = Training::open(self, net, train, test)?;
        let mut history = History::default();
        while history.epochs.len() < self.epochs {
            let epoch = history.epochs.len() + 1;
            let callback = &mut self.callback;
            let mut tell = |event: Event<'_>| callback.as_mut().map_or(ControlFlow::Continue(()), |tell| tell(event));
            let Some(report) = run.epoch(epoch, &mut tell).await? else {
                history.stopped = true;
                break;
            };
            history.epochs.push(report);
            if tell(Event::Epoch(&report)).is_break() {
                history.stopped = true;
                break;
            }
        }
        if test.is_none() {
            // Costs are taken before each step, so only the parameters can tell that the last one was too large.
            drop(run);
            let parameters = net.parameters_async().await?;
            if !parameters.iter().all(|w| w.is_finite()) {
                let steps = train.len().div_ceil(self.batch_size);
                return Err(Error::Diverged { epoch: history.epochs.len().max(1), step: steps, cost: f32::NAN });
            }
        }
        Ok(history)
    }

    /// Starts a run that the caller advances a little at a time, with [`Training::step_for`]; the number of epochs does not
    /// matter to it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Pairing`], [`Error::Shape`], [`Error::Limit`]; what the device reports.
    pub fn start<'n>(&self, net: &'n mut Network, train: &Dataset) -> Result<Training<'n>> {
        Training::open(self, net, train, None)
    }

    /// Blocking form of [`fit_async`](Self::fit_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn fit(&mut self, net: &mut Network, train: &Dataset, test: Option<&Dataset>) -> Result<History> {
        crate::blocking::block_on(self.fit_async(net, train, test))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Element;
    use crate::{Activation, Device, Sgd};

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
