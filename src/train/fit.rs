//! A whole run: epochs with their evaluations, what ends it, and its saves.

use std::ops::ControlFlow;
use std::time::Duration;

use super::run::Training;
use super::state::{Identity, Position};
use super::stopping::{Metric, Watch};
use super::{Callback, EpochReport, Event, History, Settings, StopReason, Trainer};
use crate::Checkpoints;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::session::Stopwatch;

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
    clock: Clock,
    callback: &'t mut Option<Callback<'c>>,
    checkpoints: Option<Checkpoints>,
    /// Since the last save.
    since: Stopwatch,
    /// Whether the network has the best parameters now.
    is_best: bool,
}

impl Trainer<'_> {
    /// Trains the network on `train`, and evaluates it on `test` after every epoch.
    ///
    /// The data is uploaded once. An epoch is a few submissions of many mini-batches each, and the host reads the costs and
    /// right answers of all of them once, at its end.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Pairing`], [`Error::Shape`] and [`Error::Limit`] before anything is trained;
    /// [`Error::Diverged`] at the end of the epoch in which the cost became NaN or infinite; [`Error::Io`] where a checkpoint cannot
    /// be written; what the device reports.
    pub async fn fit_async(&mut self, net: &mut Network, train: &Dataset, test: Option<&Dataset>) -> Result<History> {
        let Settings { epochs, max_steps, max_time, .. } = self.settings;
        if epochs == 0 {
            return Err(Error::InvalidOption { option: "epochs", value: "0".to_owned(), want: "at least 1" });
        }
        if max_steps == Some(0) {
            return Err(Error::InvalidOption { option: "most steps", value: "0".to_owned(), want: "at least 1" });
        }
        let watch = Stopwatch::start();
        let (record, is_best) = {
            let mut run = Training::open(self, net, train, test)?;
            if let Some(checkpoints) = &self.checkpoints {
                run.train = Some(Identity::of(train));
                run.test = test.map(Identity::of);
                // Settings that could not be read again, such as infinite ones, are found before any work.
                run.settings.check_storable()?;
                checkpoints.open()?;
            }
            let resumed = self.resumed.take().is_some();
            let before = Duration::try_from_secs_f64(run.record.elapsed).unwrap_or_default();
            let clock = Clock { watch, before, most: max_time };
            let (callback, checkpoints) = (&mut self.callback, self.checkpoints.clone());
            let mut fit = Fit { run, clock, callback, checkpoints, since: Stopwatch::start(), is_best: false };
            fit.until_it_ends(resumed).await?;
            (std::mem::take(&mut fit.run.record), fit.is_best)
        };
        let (mut history, best_parameters, best_memory) = (record.history, record.best_parameters, record.best_memory);
        let best = record.best.best.map(|(epoch, _)| epoch);
        history.restored = best;
        if best.is_some() && !is_best {
            net.set_parameters(&best_parameters)?;
            net.remember(&best_memory, record.best_steps)?;
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
    fn check_storable(&self) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string());
        let read = text.and_then(|text| serde_json::from_str::<Self>(&text).map_err(|error| error.to_string()));
        let (option, want) = ("settings of a run with checkpoints", "such that they can be stored");
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
    async fn until_it_ends(&mut self, resumed: bool) -> Result<()> {
        self.run.record.history.stop = None;
        // What was saved at its end has nothing left to do.
        if resumed && self.run.place.step == 0 {
            self.run.record.history.stop = self.reason(None);
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
                let Self { run, clock, callback, checkpoints, since, .. } = self;
                let is_due = || checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_time(since.elapsed()));
                let first = run.place.step;
                let mut tell =
                    |event: Event<'_>| callback.as_mut().map_or(ControlFlow::Continue(()), |tell| tell(event));
                let progress = |step| tell(Event::Progress { epoch, epochs, step: first + step, steps });
                let walked = run.advance(most, || clock.is_up() || is_due(), progress).await?;
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
            self.save().await?;
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
        let bytes = self.bytes().await?;
        checkpoints.save(&bytes)?;
        self.since = Stopwatch::start();
        Ok(())
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
                checkpoints.save_best(&self.bytes().await?)?;
            }
        }
        if is_end || checkpoints.after_epoch(epoch, steps, self.since.elapsed()) {
            self.save().await?;
        }
        Ok(())
    }

    async fn bytes(&mut self) -> Result<Vec<u8>> {
        self.run.record.elapsed = self.clock.elapsed().as_secs_f64();
        self.run.to_bytes_async().await
    }
}
