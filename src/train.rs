//! Training: epochs of mini-batches, what is reported of them, and when to stop.

use std::ops::ControlFlow;

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::network::{Evaluation, Network, evaluation};
use crate::plan::{Goal, Request};
use crate::session::{Resident, Scores, Stopwatch, Words};
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
    cost: Cost,
    optimizer: Optimizer,
    epochs: usize,
    batch_size: usize,
    seed: u64,
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
        self.optimizer.check()?;
        net.fits("fit: training", train)?;
        if let Some(test) = test {
            net.fits("fit: held-out", test)?;
        }
        let batches = Batches::new(train.len(), self.batch_size, self.seed)?;
        // A mini-batch has no use for more rows than there are.
        let rows = self.batch_size.min(train.len());

        let training = open(net, Goal::Train, self.cost, train, rows)?;
        let mut opened = Opened { net, training, held_out: None };
        if let Some(test) = test {
            let rows = opened.net.evaluation_rows(test.len());
            let resident = open(opened.net, Goal::Cost, self.cost, test, rows)?;
            opened.held_out = Some((resident, test.len()));
        }
        let Opened { net, training, held_out } = &mut opened;
        self.run(net, &batches, training, held_out.as_mut()).await
    }

    async fn run(
        &mut self,
        net: &mut Network,
        batches: &Batches,
        training: &mut Resident,
        mut held_out: Option<&mut (Resident, usize)>,
    ) -> Result<History> {
        let mut history = History::default();
        let hyper = self.optimizer.hyper().repeat(training.steps());
        for epoch in 1..=self.epochs {
            let watch = Stopwatch::start();
            training.start(net.parts().0, &batches.order(epoch as u64 - 1), &hyper)?;
            let steps = training.steps();
            let callback = &mut self.callback;
            let walked = walk(net, training, |step| match callback {
                Some(callback) => callback(Event::Progress { epoch, step, steps }),
                None => ControlFlow::Continue(()),
            });
            let Some(scores) = walked.await? else {
                history.stopped = true;
                return Ok(history);
            };
            let seconds = watch.elapsed().as_secs_f64();
            if let Some((step, cost)) = scores.first_not_finite() {
                return Err(Error::Diverged { epoch, step: step + 1, cost });
            }
            let test = match &mut held_out {
                Some((resident, rows)) => {
                    resident.start_in_order(net.parts().0)?;
                    let walked = walk(net, resident, |_| ControlFlow::Continue(()));
                    walked.await?.map(|scores| evaluation(&scores, *rows))
                }
                None => None,
            };
            if let Some(test) = test.filter(|test| !test.cost.is_finite()) {
                #[allow(clippy::cast_possible_truncation, reason = "NaN and infinity stay what they are")]
                return Err(Error::Diverged { epoch, step: steps, cost: test.cost as f32 });
            }
            #[allow(clippy::cast_precision_loss, reason = "a count of steps is far below 2^53")]
            let report = EpochReport {
                epoch,
                train_cost: scores.mean_cost(),
                train_accuracy: scores.accuracy(),
                test,
                seconds,
                steps_per_second: steps as f64 / seconds.max(1e-9),
            };
            history.epochs.push(report);
            if let Some(callback) = &mut self.callback
                && callback(Event::Epoch(&report)).is_break()
            {
                history.stopped = true;
                return Ok(history);
            }
        }
        Ok(history)
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

/// The data sets of a run on the network's device. They are given back however the run ends: at its end, by an error, by a
/// callback that panics, or because its future is dropped half-way.
struct Opened<'n> {
    net: &'n mut Network,
    training: Resident,
    held_out: Option<(Resident, usize)>,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let engine = self.net.parts().0;
        self.training.close(engine);
        if let Some((resident, _)) = &mut self.held_out {
            resident.close(engine);
        }
    }
}

/// The data set on the network's device, with the plan that walks through it.
fn open(net: &mut Network, goal: Goal, cost: Cost, data: &Dataset, rows: usize) -> Result<Resident> {
    let words = Words::of(data);
    let layers = net.layers().to_vec();
    let request = Request { layers: &layers, ..net.request(goal, cost, words.source, rows) };
    let kind = net.plan();
    let (engine, parameters) = net.parts();
    Resident::open(engine, kind, &request, parameters, &words)
}

/// All steps of a walk, with two submissions in flight; `None` if the callback ended it.
async fn walk(
    net: &mut Network,
    resident: &mut Resident,
    mut progress: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Scores>> {
    let engine = net.parts().0;
    let steps = resident.steps();
    let mut submitted = 0;
    let mut done = 0;
    let mut in_flight = None;
    let mut watch = Stopwatch::start();
    while submitted < steps {
        let count = resident.submit(engine, steps - submitted)?;
        submitted += count;
        let earlier = in_flight.replace((count, engine.done()));
        if let Some((count, finished)) = earlier {
            finished.await?;
            resident.adapt(count, watch.elapsed());
            watch = Stopwatch::start();
            done += count;
            if progress(done).is_break() {
                return Ok(None);
            }
        }
    }
    let scores = resident.scores(engine).await?;
    if progress(steps).is_break() { Ok(None) } else { Ok(Some(scores)) }
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
