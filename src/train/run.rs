//! A run of training under way: a data set resident on the device, walked through epoch after epoch.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::pace::Pace;
use super::slices::Slices;
use super::state::{Identity, Position, Record, Rest, Resumed};
use super::verifying::Verifying;
use super::{EpochReport, Settings, Trainer};
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::metrics::{self, Metrics};
use crate::network::Network;
use crate::plan::{Dropout, Goal, Request};
use crate::resident::{MOST_STEPS, Resident, evaluation_rows};
use crate::scores::Scores;
use crate::stopwatch::Stopwatch;

/// A run that its caller advances a little at a time: for programs with a loop of their own, such as a game with four
/// milliseconds a frame. [`Trainer::start`] makes it.
///
/// When its GPU fails it goes on by itself, as [`Recovery`](super::Recovery) says of a whole run, and ends with the same bits; here too no
/// call waits for a GPU. A call finds the failure, each try of another device is within a call, the pause between two tries goes by
/// while calls do nothing, and [`Stepped::recovered`] says that the run is on another one. To ask for a device and to upload the
/// data takes some tenths of a second, and the kernels are compiled anew.
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
    pub(super) net: &'n mut Network,
    batches: Batches,
    pub(super) training: Resident,
    held_out: Option<HeldOut>,
    pub(super) settings: Settings,
    pub(super) pace: Pace,
    pub(super) place: Position,
    pub(super) record: Record,
    /// What the data are, where the run may be saved.
    pub(super) train: Option<Identity>,
    pub(super) test: Option<Identity>,
    /// Scores of the first steps of the epoch, where another process did these.
    carried: Vec<u32>,
    /// Whether the device has the order and the numbers of the epoch at `place`.
    begun: bool,
    /// What one step takes, in seconds, as last seen.
    per_step: Option<f64>,
    /// The most steps of the next submission.
    growth: usize,
    in_flight: Option<(usize, Later<Duration>)>,
    scores: Option<Later<Scores>>,
    pub(super) verifying: Option<Verifying>,
    /// For a run in slices: what it goes on with when its device fails.
    pub(super) slices: Option<Box<Slices>>,
    /// What it ended with, where nobody knows how far the device had come then.
    ended: Option<String>,
}

/// Data that are only looked at.
struct HeldOut {
    resident: Resident,
    rows: usize,
    /// How much the targets of each output differ among themselves.
    spread: Vec<f64>,
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) type Later<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;
#[cfg(target_arch = "wasm32")]
pub(super) type Later<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// What [`Training::step_for`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// Mini-batches handed to the device by this call; 0 while it is still busy with those of an earlier one.
    pub steps: usize,
    /// The report of an epoch, once all of it is done and its costs have arrived; every epoch is reported once.
    pub epoch: Option<EpochReport>,
    /// The device had failed, and the run is on another since this call, as it was when its state was last kept
    /// ([`Recovery`](super::Recovery)). Steps since then are done once more.
    pub recovered: bool,
}

impl std::fmt::Debug for Training<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { net, batches, place, per_step, .. } = self;
        f.debug_struct("Training")
            .field("net", net)
            .field("batches", batches)
            .field("place", place)
            .field("per_step", per_step)
            .finish_non_exhaustive()
    }
}

/// Gives the buffers of the data back, also when a future of `fit_async` is dropped on its way.
impl Drop for Training<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<'n> Training<'n> {
    pub(super) fn close(&mut self) {
        let engine = self.net.parts().0;
        self.training.close(engine);
        if let Some(held_out) = &mut self.held_out {
            held_out.resident.close(engine);
        }
    }

    /// Nothing of the epoch at its place is on the device.
    pub(super) fn begin_again(&mut self) {
        (self.begun, self.per_step, self.in_flight, self.scores) = (false, None, None, None);
    }

    /// Checks what was asked for, uploads the data, and prepares the plans.
    pub(super) fn open(
        trainer: &Trainer<'_>,
        resumed: Option<&Resumed>,
        net: &'n mut Network,
        train: &Dataset,
        test: Option<&Dataset>,
    ) -> Result<Self> {
        trainer.check(net, train, test)?;
        let settings = &trainer.settings;
        let batches = Batches::new(train.len(), settings.batch_size, settings.seed)?;
        let mut pace = Pace::new(settings, train.len().div_ceil(settings.batch_size));
        let cost = settings.cost;
        let goal = test.map(|test| metrics::goal(test, cost, false));
        // A mini-batch has no use for more rows than there are.
        let rows = settings.batch_size.min(train.len());
        let (mut place, mut record, mut carried) = (Position::default(), Record::default(), Vec::new());
        if let Some(Resumed { state, scores }) = resumed {
            let of = [Some(Identity::of(train)), test.map(Identity::of)];
            state.suits(settings, of, net.optimizer_steps(), batches.steps())?;
            (place, record, carried) = (state.place, state.record_for(settings), scores.clone());
            // How far it came is taken over; whether that is the end, the plateau of now says.
            if let (Some(now), Some(then)) = (settings.plateau, state.settings.plateau)
                && now.metric == then.metric
            {
                (pace.slowed, pace.slowest) = (state.slowed, now.ends(&state.slowed));
            }
        }
        net.prepare(settings.optimizer)?;
        let feed = Feed::to_train(train, cost, settings.smoothing);
        let training = resident(net, Goal::Train, settings, &feed, Some(rows))?;
        record.history.streamed = training.is_streamed();
        let mut run = Self {
            net,
            batches,
            training,
            held_out: None,
            settings: settings.clone(),
            pace,
            place,
            record,
            train: None,
            test: None,
            carried,
            begun: false,
            per_step: None,
            growth: 1,
            in_flight: None,
            scores: None,
            verifying: None,
            slices: None,
            ended: None,
        };
        if let Some(every) = trainer.verify_every {
            run.verifying = Some(Verifying::new(run.net, &run.training, &run.settings, &feed, every)?);
        }
        if let (Some(test), Some(goal)) = (test, goal) {
            let resident = resident(run.net, goal, settings, &Feed::of(test), None)?;
            run.held_out = Some(HeldOut { resident, rows: test.len(), spread: metrics::spread(test, goal) });
        }
        Ok(run)
    }

    /// On from where this run came to, in the place of where it begins.
    pub(super) fn go_on(&mut self, rest: &Rest) {
        let Rest { net: _, place, record, slowed, slowest, is_best: _, scores } = rest;
        (self.place, self.record, self.carried) = (*place, record.clone(), scores.clone());
        (self.pace.slowed, self.pace.slowest) = (*slowed, *slowest);
    }

    /// Scores of the epoch's first steps, where these were done elsewhere.
    pub(super) fn carried(&self) -> &[u32] {
        &self.carried
    }

    /// Does the next `most` steps of the epoch, or as many as there are before `is_up`, and at least one submission; `Break` if
    /// `progress`, which is told how many are done, ended it. None of them is verified.
    pub(super) async fn walk(
        &mut self,
        most: usize,
        is_up: impl Fn() -> bool,
        progress: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let Self { net, training, place, .. } = self;
        let (engine, counted) = net.parts_and_steps();
        let count = |steps: usize| {
            place.step += steps;
            place.steps += steps as u64;
            *counted += steps as u64;
        };
        training.walk(engine, count, most, is_up, progress).await
    }

    /// The scores of the steps done of the epoch.
    pub(super) fn scores(&mut self) -> Later<Scores> {
        Box::pin(self.training.scores(self.net.parts().0, self.place.step))
    }

    /// The words that say the same, as a later process takes them.
    pub(super) fn score_words(&mut self) -> Later<Vec<u32>> {
        if !self.begun {
            let carried = self.carried.clone();
            return Box::pin(async move { Ok(carried) });
        }
        Box::pin(self.training.score_words(self.net.parts().0, self.place.step))
    }

    /// The report of the epoch, or of what was done of it, with the evaluation after it. A whole epoch is done then.
    pub(super) async fn report(&mut self, scores: &Scores, seconds: f64) -> Result<EpochReport> {
        let Position { epoch, step, .. } = self.place;
        let eta = self.pace.eta(epoch, step.saturating_sub(1));
        let mut report = report(epoch + 1, step, seconds, scores, eta)?;
        if let Some(HeldOut { resident, rows, spread }) = &mut self.held_out {
            let engine = self.net.parts().0;
            resident.start_in_order(engine)?;
            let (most, never) = (resident.steps(), || false);
            let _ = resident.walk(engine, |_| {}, most, never, |_| ControlFlow::Continue(())).await?;
            let scores = resident.scores(engine, most).await?;
            report.test = Some(Metrics::new(&scores, *rows, spread).summary().finite());
        }
        if let Some(test) = report.test.filter(|test| !test.cost.is_finite()) {
            #[allow(clippy::cast_possible_truncation, reason = "NaN and infinity stay what they are")]
            return Err(Error::Diverged { epoch: epoch + 1, step, cost: test.cost as f32 });
        }
        self.pace.see(&report);
        if step == self.steps_per_epoch() {
            self.next_epoch();
        }
        Ok(report)
    }

    /// On to the next epoch, which is not begun yet.
    fn next_epoch(&mut self) {
        self.place = Position { epoch: self.place.epoch + 1, step: 0, seconds: 0.0, steps: self.place.steps };
        self.begun = false;
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
    /// [`Error::Diverged`] with the report that shows it; [`Error::NotRecovered`] where the device failed and the run could not go on with
    /// another: it is on the CPU backend then, as it was when its state was last kept, to be saved
    /// ([`to_bytes`](Self::to_bytes_async)), or to go on there by further calls; [`Error::ParametersLost`] where nothing was kept yet; what the
    /// device reports, and after that [`Error::Gpu`] from every call, for the run is over.
    pub fn step_for(&mut self, budget: Duration) -> Result<Stepped> {
        self.has_not_ended()?;
        let stepped = match self.slices.take() {
            None => self.step(budget),
            Some(mut slices) => {
                let stepped = self.step_or_go_on(budget, &mut slices);
                self.slices = Some(slices);
                stepped
            }
        };
        match &stepped {
            Ok(_) | Err(Error::Diverged { .. } | Error::WrongStep { .. } | Error::NotRecovered { .. }) => {}
            Err(error) => self.ended = Some(error.to_string()),
        }
        stepped
    }

    /// Refuses to go on where an error left open which steps the device has done: the next would be of other rows, or of none.
    pub(super) fn has_not_ended(&self) -> Result<()> {
        let Some(problem) = &self.ended else { return Ok(()) };
        let message = format!("the run is over, since an earlier call failed: {problem}");
        Err(Error::Gpu { during: "a run in slices".to_owned(), message })
    }

    /// As [`step_for`](Self::step_for), on this device.
    pub(super) fn step(&mut self, budget: Duration) -> Result<Stepped> {
        let mut stepped = Stepped { steps: 0, epoch: None, recovered: false };
        let watch = Stopwatch::start();
        loop {
            if !self.is_verified()? {
                return Ok(stepped);
            }
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

    /// Gives the device the order of the epoch and the numbers of its steps, and the walk its place, unless that is done.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.begun {
            return Ok(());
        }
        let Position { epoch, step, .. } = self.place;
        let taken = self.net.optimizer_steps().saturating_sub(step as u64);
        let hyper = self.pace.hyper(epoch, taken)?;
        let order = self.batches.order(epoch as u64);
        self.training.start_at(self.net.parts().0, &order, &hyper, taken, (step, &self.carried))?;
        self.carried.clear();
        self.begun = true;
        Ok(())
    }

    /// Hands the device about as many steps as take this long, but not past the end of the epoch, and says how many.
    fn submit(&mut self, budget: Duration) -> Result<usize> {
        let steps = self.training.steps();
        self.begin()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rough number of steps")]
        let fits = self.per_step.map_or(1, |step| (budget.as_secs_f64() / step) as usize);
        let left = steps - self.place.step;
        let count = fits.clamp(1, self.growth).min(left).min(self.until_verified());
        if count == 0 && left > 0 {
            self.verify_step()?;
        }
        if count > 0 {
            let (engine, counted) = self.net.parts_and_steps();
            let watch = Stopwatch::start();
            self.training.submit_just(engine, count)?;
            self.place.step += count;
            self.place.steps += count as u64;
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
        }
        if self.place.step == steps {
            self.scores = Some(self.scores());
        }
        Ok(if left > 0 { count.max(1) } else { 0 })
    }

    /// Learns from how long some steps took.
    fn note(&mut self, steps: usize, took: Duration) {
        #[allow(clippy::cast_precision_loss, reason = "at most MOST_STEPS")]
        let per_step = took.as_secs_f64().max(1e-7) / steps as f64;
        self.per_step = Some(per_step);
        // At most four times as many as ever before: a clock that is rounded may say that those took no time.
        self.growth = self.growth.max(steps.saturating_mul(4).min(MOST_STEPS));
        self.place.seconds += took.as_secs_f64();
    }

    /// The report of the epoch that was waited for, if its costs are there.
    fn arrived(&mut self) -> Result<Option<EpochReport>> {
        let Some(mut scores) = self.scores.take() else { return Ok(None) };
        let Some(arrived) = at_once(&mut scores) else {
            self.scores = Some(scores);
            return Ok(None);
        };
        let (Position { epoch, seconds, .. }, steps) = (self.place, self.training.steps());
        self.next_epoch();
        let report = report(epoch + 1, steps, seconds, &arrived?, self.pace.eta(epoch, steps - 1))?;
        self.pace.see(&report);
        Ok(Some(report))
    }
}

/// What a future has if it is ready now.
pub(super) fn at_once<T>(future: &mut Later<T>) -> Option<Result<T>> {
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
pub(super) fn resident(
    net: &mut Network,
    goal: Goal,
    settings: &Settings,
    feed: &Feed,
    rows: Option<usize>,
) -> Result<Resident> {
    let layers = net.layers().to_vec();
    let update = settings.optimizer.update();
    let (rates, seed) = (net.dropout().rates.to_vec(), net.dropout().seed);
    let dropout = Dropout { rates: &rates, seed };
    let emphasis = feed.emphasis;
    let request = net.request(goal, settings.cost, feed.source, 1);
    let mut request = Request { layers: &layers, update, dropout, emphasis, ..request };
    request.rows = rows.unwrap_or(request.rows);
    let kind = net.kind(&request);
    if rows.is_none() {
        request.rows = evaluation_rows(kind, &request, feed);
    }
    let (engine, shared) = net.parts();
    Resident::open(engine, kind, &request, shared, feed)
}
