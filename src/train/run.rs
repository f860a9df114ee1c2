//! A run of training under way: a data set resident on the device, walked through epoch after epoch.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::pace::Pace;
use super::{Clock, EpochReport, Event, Trainer};
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::metrics::{self, Metrics};
use crate::network::Network;
use crate::plan::{Dropout, Goal, Request};
use crate::session::{self, MOST_STEPS, Resident, Scores, Stopwatch, Words};

/// A run that its caller advances a little at a time: for programs with a loop of their own, such as a game with four
/// milliseconds a frame. [`Trainer::start`] makes it.
///
/// ```
/// use std::time::Duration;
/// use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data};
/// let digits = data::synthetic_digits(1000, 1)?;
/// let mut net = Network::new(784)
///     .dense(30, Activation::Sigmoid)
///     .dense(10, Activation::Sigmoid)
///     .build(&Device::cpu())?;
/// let mut run = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).start(&mut net, &digits)?;
/// // The application's loop:
/// let mut epochs = 0;
/// while epochs < 2 {
///     let stepped = run.step_for(Duration::from_millis(4))?;
///     if let Some(report) = stepped.epoch {
///         println!("epoch {}: cost {:.4}", report.epoch, report.train_cost);
///         epochs += 1;
///     }
///     // ... draw a frame ...
/// }
/// # Ok::<(), wgrad::Error>(())
/// ```
pub struct Training<'n> {
    net: &'n mut Network,
    batches: Batches,
    pace: Pace,
    training: Resident,
    held_out: Option<HeldOut>,
    /// Epochs begun by `step_for`, steps submitted of the last of them, and the time they took so far.
    begun: usize,
    submitted: usize,
    seconds: f64,
    /// What one step takes, in seconds, as last seen.
    per_step: Option<f64>,
    in_flight: Option<(usize, Later<Duration>)>,
    scores: Option<Later<Scores>>,
}

/// Data that are only looked at.
struct HeldOut {
    resident: Resident,
    rows: usize,
    /// How much the targets of each output differ among themselves.
    spread: Vec<f64>,
}

/// What an epoch has to keep to.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'b> {
    /// Its number, from 1, of so many.
    pub(super) epoch: usize,
    pub(super) epochs: usize,
    /// The most steps it may do.
    pub(super) most: u64,
    pub(super) clock: &'b Clock,
}

#[cfg(not(target_arch = "wasm32"))]
type Later<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;
#[cfg(target_arch = "wasm32")]
type Later<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// What [`Training::step_for`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// Mini-batches handed to the device by this call; 0 while it is still busy with those of an earlier one.
    pub steps: usize,
    /// The report of an epoch, once all of it is done and its costs have arrived; every epoch is reported once.
    pub epoch: Option<EpochReport>,
}

impl std::fmt::Debug for Training<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { net, batches, begun, submitted, per_step, .. } = self;
        f.debug_struct("Training")
            .field("net", net)
            .field("batches", batches)
            .field("epoch", begun)
            .field("step", submitted)
            .field("per_step", per_step)
            .finish_non_exhaustive()
    }
}

/// Gives the buffers of the data back, also when a future of `fit_async` is dropped on its way.
impl Drop for Training<'_> {
    fn drop(&mut self) {
        let engine = self.net.parts().0;
        self.training.close(engine);
        if let Some(held_out) = &mut self.held_out {
            held_out.resident.close(engine);
        }
    }
}

impl<'n> Training<'n> {
    /// Checks what was asked for, uploads the data, and prepares the plans.
    pub(crate) fn open(
        trainer: &Trainer<'_>,
        net: &'n mut Network,
        train: &Dataset,
        test: Option<&Dataset>,
    ) -> Result<Self> {
        let batches = Batches::new(train.len(), trainer.batch_size, trainer.seed)?;
        let pace = Pace::new(trainer, train.len().div_ceil(trainer.batch_size))?;
        if let Some(stopping) = &trainer.early_stopping {
            stopping.check()?;
        }
        net.fits("fit: training", train)?;
        net.goes_with(trainer.cost)?;
        train.suits("fit: training", trainer.cost)?;
        train.check_weights("fit: training")?;
        trainer.cost.check_smoothing(trainer.smoothing)?;
        if let Some(test) = test {
            test.suits("fit: held-out", trainer.cost)?;
            net.fits("fit: held-out", test)?;
        }
        let goal = test.map(|test| metrics::goal(test, trainer.cost, false));
        trainer.watched().try_for_each(|metric| metric.check(goal, net.outputs()))?;
        // A mini-batch has no use for more rows than there are.
        let rows = trainer.batch_size.min(train.len());
        net.prepare(trainer.optimizer)?;
        let words = Words::to_train(train, trainer.cost, trainer.smoothing);
        let training = resident(net, Goal::Train, trainer, &words, train.len(), Some(rows))?;
        let mut run = Self {
            net,
            batches,
            pace,
            training,
            held_out: None,
            begun: 0,
            submitted: 0,
            seconds: 0.0,
            per_step: None,
            in_flight: None,
            scores: None,
        };
        if let (Some(test), Some(goal)) = (test, goal) {
            let resident = resident(run.net, goal, trainer, &Words::of(test), test.len(), None)?;
            run.held_out = Some(HeldOut { resident, rows: test.len(), spread: metrics::spread(test, goal) });
        }
        Ok(run)
    }

    /// One epoch within its bounds, and the evaluation after it; `None` if `tell` ended it.
    pub(super) async fn epoch(
        &mut self,
        Bounds { epoch, epochs, most, clock }: Bounds<'_>,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Option<EpochReport>> {
        let watch = Stopwatch::start();
        self.start(epoch - 1)?;
        let steps = self.training.steps();
        let most = usize::try_from(most).unwrap_or(steps).min(steps);
        let progress = |step| tell(Event::Progress { epoch, epochs, step, steps });
        let Some((done, scores)) = walk(self.net, &mut self.training, true, most, Some(clock), progress).await? else {
            return Ok(None);
        };
        let eta = self.pace.eta(epoch - 1, done.saturating_sub(1));
        let mut report = report(epoch, done, watch.elapsed().as_secs_f64(), &scores, eta)?;
        if let Some(HeldOut { resident, rows, spread }) = &mut self.held_out {
            resident.start_in_order(self.net.parts().0)?;
            let steps = resident.steps();
            let walked = walk(self.net, resident, false, steps, None, |_| ControlFlow::Continue(())).await?;
            report.test = walked.map(|(_, scores)| Metrics::new(&scores, *rows, spread).summary());
        }
        if let Some(test) = report.test.filter(|test| !test.cost.is_finite()) {
            #[allow(clippy::cast_possible_truncation, reason = "NaN and infinity stay what they are")]
            return Err(Error::Diverged { epoch, step: done, cost: test.cost as f32 });
        }
        self.pace.see(&report);
        Ok(Some(report))
    }

    /// Mini-batches a whole epoch has.
    pub(super) const fn steps_per_epoch(&self) -> usize {
        self.training.steps()
    }

    /// Whether the learning rate came down so far that the run is to end.
    pub(super) const fn is_slowest(&self) -> bool {
        self.pace.is_slowest()
    }

    /// The network as it is now: a prediction sees every step submitted so far.
    #[must_use]
    pub const fn network(&self) -> &Network {
        self.net
    }

    /// Trains for about `budget` of the device's time, and returns without waiting for a GPU: what is submitted runs while the
    /// caller goes on, and a call that finds the GPU still busy submits nothing. On the CPU the calling thread does the work.
    /// At least one mini-batch is trained on, however short the budget; the first calls find out how long one takes. A call
    /// never goes past the end of an epoch, and the next epoch begins with the call after the one that reports the last.
    ///
    /// The results are those of [`Trainer::fit_async`], bit for bit, whatever the budgets.
    ///
    /// # Errors
    /// [`Error::Diverged`] with the report that shows it; what the device reports.
    pub fn step_for(&mut self, budget: Duration) -> Result<Stepped> {
        let mut stepped = Stepped { steps: 0, epoch: None };
        let watch = Stopwatch::start();
        loop {
            if let Some((steps, mut done)) = self.in_flight.take() {
                match at_once(&mut done) {
                    Some(took) => self.note(steps, took?),
                    None => {
                        self.in_flight = Some((steps, done));
                        return Ok(stepped);
                    }
                }
            }
            stepped.epoch = self.arrived()?;
            let left = budget.saturating_sub(watch.elapsed());
            // No further than an epoch's end and its report, so that the caller can stop there; else at least one step.
            let between_epochs = self.scores.is_some() || stepped.epoch.is_some();
            if between_epochs || stepped.steps > 0 && left.is_zero() {
                return Ok(stepped);
            }
            stepped.steps += self.submit(left)?;
        }
    }

    /// The walk back to its first step, with the order of an epoch, counted from 0, and the numbers of its steps.
    fn start(&mut self, epoch: usize) -> Result<()> {
        let taken = self.net.optimizer_steps();
        let hyper = self.pace.hyper(epoch, taken)?;
        self.training.start(self.net.parts().0, &self.batches.order(epoch as u64), &hyper, taken)
    }

    /// Hands the device about as many steps as take this long, but not past the end of the epoch, and says how many.
    fn submit(&mut self, budget: Duration) -> Result<usize> {
        let steps = self.training.steps();
        if self.begun == 0 || self.submitted == steps {
            self.start(self.begun)?;
            self.begun += 1;
            self.submitted = 0;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rough number of steps")]
        let fits = self.per_step.map_or(1, |step| (budget.as_secs_f64() / step) as usize);
        let count = fits.clamp(1, MOST_STEPS).min(steps - self.submitted);
        let (engine, counted) = self.net.parts_and_steps();
        let watch = Stopwatch::start();
        self.training.submit_just(engine, count)?;
        self.submitted += count;
        *counted += count as u64;
        if engine.is_immediate() {
            self.note(count, watch.elapsed());
        } else {
            let mut done: Later<Duration> = Box::pin(engine.done());
            // The first poll sets a thread to watch the device, unless the work is done already.
            match at_once(&mut done) {
                Some(took) => self.note(count, took?),
                None => self.in_flight = Some((count, done)),
            }
        }
        if self.submitted == steps {
            self.scores = Some(Box::pin(self.training.scores(self.net.parts().0, steps)));
        }
        Ok(count)
    }

    /// Learns from how long some steps took.
    fn note(&mut self, steps: usize, took: Duration) {
        #[allow(clippy::cast_precision_loss, reason = "at most MOST_STEPS")]
        let per_step = took.as_secs_f64().max(1e-7) / steps as f64;
        self.per_step = Some(per_step);
        self.seconds += took.as_secs_f64();
    }

    /// The report of the epoch that was waited for, if its costs are there.
    fn arrived(&mut self) -> Result<Option<EpochReport>> {
        let Some(mut scores) = self.scores.take() else { return Ok(None) };
        let Some(arrived) = at_once(&mut scores) else {
            self.scores = Some(scores);
            return Ok(None);
        };
        let seconds = std::mem::take(&mut self.seconds);
        let steps = self.training.steps();
        let report = report(self.begun, steps, seconds, &arrived?, self.pace.eta(self.begun - 1, steps - 1))?;
        self.pace.see(&report);
        Ok(Some(report))
    }
}

/// What a future has if it is ready now.
fn at_once<T>(future: &mut Later<T>) -> Option<Result<T>> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// The report of an epoch of training, or of its first steps, still without an evaluation.
pub(crate) fn report(epoch: usize, steps: usize, seconds: f64, scores: &Scores, eta: f64) -> Result<EpochReport> {
    if let Some((step, cost)) = scores.first_not_finite() {
        return Err(Error::Diverged { epoch, step: step + 1, cost });
    }
    Ok(EpochReport {
        epoch,
        steps,
        eta,
        train_cost: scores.mean_cost(),
        train_accuracy: scores.accuracy(),
        test: None,
        seconds,
        steps_per_second: EpochReport::speed(steps, seconds),
    })
}

/// The data set on the network's device, with the plan that walks through it, so many rows at a time, or as many as an
/// evaluation takes.
fn resident(
    net: &mut Network,
    goal: Goal,
    trainer: &Trainer<'_>,
    words: &Words,
    len: usize,
    rows: Option<usize>,
) -> Result<Resident> {
    let layers = net.layers().to_vec();
    let update = trainer.optimizer.update();
    let (rates, seed) = (net.dropout().rates.to_vec(), net.dropout().seed);
    let dropout = Dropout { rates: &rates, seed };
    let emphasis = words.emphasis;
    let request = net.request(goal, trainer.cost, words.source, 1);
    let mut request = Request { layers: &layers, update, dropout, emphasis, ..request };
    request.rows = rows.unwrap_or(request.rows);
    let kind = net.kind(&request);
    if rows.is_none() {
        request.rows = session::evaluation_rows(kind, &request, len);
    }
    let (engine, shared) = net.parts();
    Resident::open(engine, kind, &request, shared, words)
}

/// The first `most` steps of a walk, or as many as there is time for, and their scores; `None` if the callback ended it.
async fn walk(
    net: &mut Network,
    resident: &mut Resident,
    trains: bool,
    most: usize,
    clock: Option<&Clock>,
    mut progress: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<(usize, Scores)>> {
    let (engine, trained) = net.parts_and_steps();
    let mut evaluated = 0;
    let counted = if trains { trained } else { &mut evaluated };
    let is_up = || clock.is_some_and(Clock::is_up);
    let Some(steps) = resident.walk(engine, counted, most, is_up, &mut progress).await? else { return Ok(None) };
    let scores = resident.scores(engine, steps).await?;
    if progress(steps).is_break() { Ok(None) } else { Ok(Some((steps, scores))) }
}
