//! A whole run: epochs with their evaluations, what ends it, and its saves.

use std::ops::ControlFlow;
use std::time::Duration;

use super::rescue::Rescue;
use super::run::Training;
use super::state::{Identity, Position, Rest, Resumed};
use super::stopping::{Metric, Watch};
use super::{Callback, EpochReport, Event, History, Settings, StopReason, Trainer};
use crate::Checkpoints;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::stopwatch::Stopwatch;

/// Pieces of a schedule that can be read again: each is within the one before, and text is not read to any depth.
const MOST_PIECES: usize = 50;

/// How long a run has gone on, and may.
struct Clock {
    watch: Stopwatch,
    /// What it took before it was resumed.
    before: Duration,
    most: Option<Duration>,
}

impl Clock {
    fn elapsed(&self) -> Duration {
        self.before.saturating_add(self.watch.elapsed())
    }

    fn is_up(&self) -> bool {
        self.most.is_some_and(|most| self.elapsed() >= most)
    }
}

/// A run with what it needs besides the device's work.
struct Fit<'n, 't, 'c> {
    run: Training<'n>,
    clock: &'t Clock,
    callback: &'t mut Option<Callback<'c>>,
    checkpoints: Option<Checkpoints>,
    rescue: &'t mut Rescue,
    /// Since the last save.
    since: Stopwatch,
    /// What a run that ends within an epoch goes on with, if it goes on.
    within: Option<Rest>,
    /// Whether the network has the best parameters now.
    is_best: bool,
}

impl Trainer<'_> {
    /// Trains the network on `train`, and evaluates it on `test` after every epoch.
    ///
    /// The data is uploaded once, or sent a little ahead of the training where it does not fit the device
    /// ([`Device::with_data_memory`](crate::Device::with_data_memory), [`History::streamed`]). An epoch is a few submissions of many mini-batches each, and the host reads the costs and
    /// right answers of all of them once, at its end.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), all at once, and [`Error::Limit`] before anything is trained;
    /// [`Error::Diverged`] at the end of the epoch in which the cost became NaN or infinite; [`Error::Io`] where a checkpoint cannot
    /// be written; [`Error::NotRecovered`] where the device failed and the run could not go on with another (see
    /// [`Recovery`](crate::Recovery)); what the device reports.
    pub async fn fit_async(&mut self, net: &mut Network, train: &Dataset, test: Option<&Dataset>) -> Result<History> {
        let max_time = self.settings.max_time;
        // Time goes on while a device is looked for.
        let mut clock = Clock { watch: Stopwatch::start(), before: Duration::ZERO, most: max_time };
        let mut rescue = Rescue::of(&self.recovery, net).await?;
        // The trainer has it until the run has ended well: another try after an error, a panic or a dropped future would begin with the
        // first epoch, and write that over what was saved.
        let mut resumed = self.resumed.clone();
        loop {
            let ended = match rescue.failed.take() {
                Some(error) => Err(error),
                None => self.attempt(net, train, test, &mut resumed, &mut clock, &mut rescue).await,
            };
            match ended {
                Err(error) if rescue.helps(&error) => {
                    self.recover(error, net, [Some(train), test], &mut rescue).await?;
                }
                Ok(history) => {
                    self.resumed = None;
                    return Ok(history);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A run from its start, or from where it was when the last device failed, to its end.
    async fn attempt(
        &mut self,
        net: &mut Network,
        train: &Dataset,
        test: Option<&Dataset>,
        resumed: &mut Option<Box<Resumed>>,
        clock: &mut Clock,
        rescue: &mut Rescue,
    ) -> Result<History> {
        let (record, is_best) = {
            let mut run = Training::open(self, resumed.as_deref(), net, train, test)?;
            if let Some(checkpoints) = &self.checkpoints {
                run.train = Some(Identity::of(train));
                run.test = test.map(Identity::of);
                // Settings that could not be read again, such as infinite ones, are found before any work.
                run.settings.check_storable()?;
                checkpoints.sweep();
            }
            let resumed = resumed.take().is_some();
            if resumed {
                clock.before = Duration::try_from_secs_f64(run.record.elapsed).unwrap_or_default();
            }
            let is_rescued = rescue.restore(&mut run);
            let (callback, checkpoints) = (&mut self.callback, self.checkpoints.clone());
            let mut fit = Fit {
                run,
                clock,
                callback,
                checkpoints,
                rescue,
                since: Stopwatch::start(),
                within: None,
                is_best: false,
            };
            fit.until_it_ends(resumed, is_rescued).await?;
            (std::mem::take(&mut fit.run.record), fit.is_best)
        };
        let (mut history, best_parameters, best_memory) = (record.history, record.best_parameters, record.best_memory);
        let best = record.best.best.map(|(epoch, _)| epoch);
        history.restored = best;
        if best.is_some() && !is_best {
            net.put(&best_parameters, &best_memory, record.best_steps)?;
        }
        if test.is_none() {
            // Costs are taken before each step, so only the parameters can tell that the last one was too large.
            let parameters = net.parameters_async().await?;
            if !parameters.iter().all(|w| w.is_finite()) {
                let (epoch, step) = history.epochs.last().map_or((1, 1), |report| (report.epoch, report.steps));
                return Err(Error::Diverged { epoch, step, cost: f32::NAN });
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

impl Settings {
    /// The metric whose best parameters are kept.
    pub(super) fn keeps(&self) -> Option<Metric> {
        let stopping = self.early_stopping.filter(|stopping| stopping.restore_best);
        self.keep_best.or(stopping.map(|stopping| stopping.metric))
    }

    /// That they are the same after they were stored, but for a schedule that is a function.
    pub(super) fn check_storable(&self) -> Result<()> {
        let pieces = self.schedule.pieces();
        if pieces > MOST_PIECES {
            let (option, value) =
                ("schedule of a run that is saved", format!("of {pieces} pieces, one within another"));
            return Err(Error::InvalidOption { option, value, want: "of at most 50, or a Schedule::custom" });
        }
        let text = serde_json::to_string(self).map_err(|error| error.to_string());
        let read = text.and_then(|text| serde_json::from_str::<Self>(&text).map_err(|error| error.to_string()));
        let (option, want) = ("settings of a run that is saved", "such that they can be stored");
        match read {
            Ok(again) if format!("{again:?}") == format!("{self:?}") => Ok(()),
            Ok(again) => Err(Error::InvalidOption { option, value: format!("{self:?}, stored as {again:?}"), want }),
            Err(problem) => Err(Error::InvalidOption { option, value: format!("{self:?}: {problem}"), want }),
        }
    }
}

impl Fit<'_, '_, '_> {
    fn tell(&mut self, event: Event<'_>) -> ControlFlow<()> {
        self.callback.as_mut().map_or(ControlFlow::Continue(()), |tell| tell(event))
    }

    /// Epoch after epoch, until something ends it.
    async fn until_it_ends(&mut self, resumed: bool, is_rescued: bool) -> Result<()> {
        // What was rescued knows whether it had come to its end.
        if !is_rescued {
            self.run.record.history.stop = None;
        }
        // What was saved at its end has nothing left to do.
        if resumed && !is_rescued && self.run.place.step == 0 {
            self.run.record.history.stop = self.reason(None);
        }
        self.rescue.begin(&self.run);
        if is_rescued && self.run.record.history.stop.is_some() {
            // The callback ended it where it went on: the file may be older than that.
            return self.save().await;
        }
        while self.run.record.history.stop.is_none() {
            let Some(report) = self.epoch().await? else {
                self.is_best = false;
                self.run.record.history.stop = Some(StopReason::Callback);
                return self.save().await;
            };
            self.see(&report).await?;
            let told = self.tell(Event::Epoch(&report));
            let stop = if told.is_break() { Some(StopReason::Callback) } else { self.reason(Some(&report)) };
            self.run.record.history.stop = stop;
            // What was done of an epoch is no epoch: the run goes on within it, if it goes on.
            if report.steps == self.run.steps_per_epoch() {
                self.save_after_epoch(&report, stop.is_some()).await?;
                if self.rescue.is_due() {
                    let rest = self.rest().await?;
                    self.rescue.keep(rest);
                }
            } else if let (Some(stop), Some(rest)) = (stop, self.within.take()) {
                self.save_within(rest, stop)?;
            }
        }
        Ok(())
    }

    /// Why the run ends after what it has done, if it does; `last` is the report of the epoch just done, or begun.
    fn reason(&self, last: Option<&EpochReport>) -> Option<StopReason> {
        let (run, settings) = (&self.run, &self.run.settings);
        let is_part = last.is_some_and(|report| report.steps < run.steps_per_epoch());
        let waited = |patience| run.record.waiting.waited >= patience;
        if run.is_slowest() {
            Some(StopReason::Plateau)
        } else if settings.early_stopping.is_some_and(|stopping| waited(stopping.patience)) {
            Some(StopReason::EarlyStopping)
        } else if !is_part && run.place.epoch >= settings.epochs {
            Some(StopReason::Epochs)
        } else if self.steps_left() == 0 {
            Some(StopReason::Steps)
        } else if is_part || self.clock.is_up() {
            Some(StopReason::Time)
        } else {
            None
        }
    }

    /// Steps that the run may still do.
    fn steps_left(&self) -> u64 {
        self.run.settings.max_steps.unwrap_or(u64::MAX).saturating_sub(self.run.place.steps)
    }

    /// One epoch, or what is left of it and may be done, and the evaluation after it; `None` if the callback ended it.
    async fn epoch(&mut self) -> Result<Option<EpochReport>> {
        let watch = Stopwatch::start();
        let mut saving = Duration::ZERO;
        self.run.begin()?;
        let (epoch, epochs) = (self.run.place.epoch + 1, self.run.settings.epochs);
        let steps = self.run.steps_per_epoch();
        let before = self.run.place.seconds;
        loop {
            let left = usize::try_from(self.steps_left()).unwrap_or(steps).min(steps - self.run.place.step);
            let done = self.run.place.steps;
            let until_save = self.checkpoints.as_ref().and_then(|checkpoints| checkpoints.steps_left(done));
            let most = until_save.map_or(left, |until| usize::try_from(until).unwrap_or(left).min(left));
            // A resumed run may have nothing left of its epoch, or no time.
            if most > 0 && !(self.run.place.step > 0 && self.clock.is_up()) {
                let Self { run, clock, callback, checkpoints, rescue, since, .. } = self;
                let is_due = || checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_time(since.elapsed()));
                let first = run.place.step;
                let mut tell =
                    |event: Event<'_>| callback.as_mut().map_or(ControlFlow::Continue(()), |tell| tell(event));
                let progress = |step| tell(Event::Progress { epoch, epochs, step: first + step, steps });
                let walked = run.advance(most, || clock.is_up() || is_due() || rescue.is_due(), progress).await?;
                self.run.place.seconds = before + watch.elapsed().saturating_sub(saving).as_secs_f64();
                if walked.is_break() {
                    return Ok(None);
                }
            }
            let step = self.run.place.step;
            let stops = step == steps || self.steps_left() == 0 || self.clock.is_up();
            if stops && step == steps {
                break;
            }
            let pause = Stopwatch::start();
            let since = self.since.elapsed();
            let saves = |to: &Checkpoints| to.within_epoch(self.run.place.steps, since);
            if stops && self.checkpoints.is_some() {
                let rest = self.rest().await?;
                self.rescue.keep(rest.clone());
                self.within = Some(rest);
            } else if self.checkpoints.as_ref().is_some_and(saves) {
                self.save().await?;
            } else if self.rescue.is_due() {
                let rest = self.rest().await?;
                self.rescue.keep(rest);
            }
            saving += pause.elapsed();
            if stops {
                break;
            }
            if self.tell(Event::Progress { epoch, epochs, step, steps }).is_break() {
                return Ok(None);
            }
        }
        let scores = self.run.scores().await?;
        let step = self.run.place.step;
        if self.tell(Event::Progress { epoch, epochs, step, steps }).is_break() {
            return Ok(None);
        }
        let seconds = before + watch.elapsed().saturating_sub(saving).as_secs_f64();
        self.run.report(&scores, seconds).await.map(Some)
    }

    /// Takes the report of an epoch in, and its parameters if they are the best so far.
    async fn see(&mut self, report: &EpochReport) -> Result<()> {
        let Training { record, settings, .. } = &mut self.run;
        record.history.epochs.push(*report);
        if let Some(stopping) = &settings.early_stopping {
            record.waiting.see(stopping.metric, stopping.min_change, report);
        }
        if let Some(metric) = settings.keeps() {
            self.is_best = record.best.see(metric, 0.0, report);
            if self.is_best {
                self.run.record.best_parameters = self.run.network().parameters_async().await?;
                self.run.record.best_memory = self.run.network().memory_async().await?;
                self.run.record.best_steps = self.run.network().optimizer_steps();
            }
        }
        Ok(())
    }

    /// Saves the run as it is.
    async fn save(&mut self) -> Result<()> {
        let Some(checkpoints) = self.checkpoints.clone() else { return Ok(()) };
        let rest = self.rest().await?;
        checkpoints.save(&self.run.bytes_of(&rest)?)?;
        self.since = Stopwatch::start();
        self.rescue.keep(rest);
        Ok(())
    }

    /// Saves a run that ends within an epoch, as it was before that part of an epoch was evaluated: with what network it leaves.
    fn save_within(&mut self, mut rest: Rest, stop: StopReason) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        rest.record.history.stop = Some(stop);
        rest.is_best = self.is_best;
        checkpoints.save(&self.run.bytes_of(&rest)?)
    }

    /// Saves the run where it is time to, at its end, and where the epoch was the best.
    async fn save_after_epoch(&mut self, report: &EpochReport, is_end: bool) -> Result<()> {
        let Some(checkpoints) = self.checkpoints.clone() else { return Ok(()) };
        let Position { epoch, steps, .. } = self.run.place;
        if let Some(metric) = checkpoints.best_metric() {
            let record = &mut self.run.record;
            if record.kept_by.replace(metric) != Some(metric) {
                record.kept = Watch::default();
            }
            if record.kept.see(metric, 0.0, report) {
                // Before the newest state, which says that it was done.
                let rest = self.rest().await?;
                checkpoints.save_best(&self.run.bytes_of(&rest)?)?;
            }
        }
        if is_end || checkpoints.after_epoch(epoch, steps, self.since.elapsed()) {
            self.save().await?;
        }
        Ok(())
    }

    /// The run as it is.
    async fn rest(&mut self) -> Result<Rest> {
        self.run.record.elapsed = self.clock.elapsed().as_secs_f64();
        self.run.rest().await
    }
}
