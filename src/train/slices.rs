//! A run in slices of time whose device fails. As in a whole run its state is kept on the host, and it goes on from there on another
//! device; but no call waits: a state is asked for in one call and there in a later one, and a call tries one device at most.

use std::time::Duration;

use super::recovery::{Asked, Recovery};
use super::rescue::{Rescue, gone};
use super::run::{Later, Stepped, Training, at_once};
use super::state::Rest;
use super::verifying::Verifying;
use super::{Trainer, run};
use crate::Device;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::plan::Goal;
use crate::stopwatch::Stopwatch;

/// What a run in slices goes on with when its device fails.
pub(super) struct Slices {
    recovery: Recovery,
    rescue: Rescue,
    data: Dataset,
    verify_every: Option<u64>,
    /// A state that was asked for.
    keeping: Option<Later<Rest>>,
    lost: Option<Lost>,
    /// Epochs whose reports the caller has.
    reported: usize,
}

/// A device that failed, and the search for another.
struct Lost {
    cause: Error,
    /// What the last try failed with.
    last: Option<Error>,
    asked: Option<Asked>,
    /// Since the last try.
    since: Stopwatch,
}

impl Slices {
    /// Keeps the state that was asked for, if it is there.
    fn arrived(&mut self) -> Result<()> {
        let Some(mut keeping) = self.keeping.take() else { return Ok(()) };
        match at_once(&mut keeping) {
            Some(rest) => self.rescue.keep(rest?),
            None => self.keeping = Some(keeping),
        }
        Ok(())
    }

    /// The state that the run is to go on from, while there is no device to go on with.
    pub(super) fn kept(&self) -> Option<&Rest> {
        self.lost.as_ref().and(self.rescue.rest.as_ref())
    }
}

impl Training<'_> {
    /// Has the run go on by itself when its device fails.
    pub(super) fn with_recovery(&mut self, trainer: &Trainer<'_>, data: &Dataset) {
        let recovery = trainer.recovery.clone();
        if !recovery.is_on(self.net.device()) {
            return;
        }
        let mut rescue = Rescue::with(&recovery, true);
        rescue.rest = self.net.known().map(|net| self.rest_with(net, self.carried().to_vec()));
        let keeping = if rescue.rest.is_none() { Some(self.rest_later()) } else { None };
        let (verify_every, reported) = (trainer.verify_every, self.place.epoch);
        let slices = Slices { recovery, rescue, data: data.clone(), verify_every, keeping, lost: None, reported };
        self.slices = Some(Box::new(slices));
    }

    /// As [`step`](Self::step), or on to another device where this one fails.
    pub(super) fn step_or_go_on(&mut self, budget: Duration, slices: &mut Slices) -> Result<Stepped> {
        if slices.lost.is_none() {
            match slices.arrived().and_then(|()| self.step(budget)) {
                Ok(stepped) => return Ok(self.seen(stepped, slices)),
                Err(error) if slices.rescue.helps(&error) && slices.rescue.rest.is_some() => {
                    slices.keeping = None;
                    let since = Stopwatch::start();
                    slices.lost = Some(Lost { cause: error, last: None, asked: None, since });
                }
                Err(error) if slices.rescue.helps(&error) => return Err(gone(self.net, error)),
                Err(error) => return Err(error),
            }
        }
        let recovered = self.go_on_elsewhere(slices)?;
        Ok(Stepped { steps: 0, epoch: None, recovered })
    }

    /// Asks for the state where it is time to, and leaves out what was reported before the device failed.
    fn seen(&mut self, mut stepped: Stepped, slices: &mut Slices) -> Stepped {
        let Slices { rescue, keeping, reported, .. } = slices;
        if rescue.is_due() && keeping.is_none() {
            *keeping = Some(self.rest_later());
        }
        stepped.epoch = stepped.epoch.filter(|report| report.epoch > *reported);
        *reported = stepped.epoch.map_or(*reported, |report| report.epoch);
        stepped
    }

    /// One try to go on with another device; whether it is done.
    fn go_on_elsewhere(&mut self, slices: &mut Slices) -> Result<bool> {
        let Slices { recovery, rescue, lost: Some(lost), .. } = slices else { return Ok(true) };
        if lost.asked.is_none() {
            let is_first = rescue.tries == 0;
            if rescue.tries < recovery.retries {
                if !is_first && lost.since.elapsed() < recovery.pause {
                    return Ok(false);
                }
                lost.asked = recovery.device(self.net.device(), lost.last.as_ref().unwrap_or(&lost.cause), is_first);
            }
            rescue.tries += u32::from(lost.asked.is_some());
        }
        let Some(asked) = &mut lost.asked else { return self.give_up(slices) };
        let Some(device) = at_once(asked) else { return Ok(false) };
        (lost.asked, lost.since) = (None, Stopwatch::start());
        let put = device.and_then(|device| self.put_on(&device, slices));
        match (put, &mut slices.lost) {
            (Ok(()), lost) => *lost = None,
            (Err(error), Some(lost)) => lost.last = Some(error),
            (Err(error), None) => return Err(error),
        }
        Ok(slices.lost.is_none())
    }

    /// On on the CPU, where that is allowed; else the run is there with the state that was kept, and that is an error.
    fn give_up(&mut self, slices: &mut Slices) -> Result<bool> {
        self.put_on(&slices.recovery.no_device(), slices)?;
        slices.rescue.is_on = false;
        match slices.lost.take() {
            Some(Lost { cause, last, .. }) if !slices.recovery.cpu => {
                Err(slices.rescue.not_recovered(cause, last.as_ref(), None))
            }
            _ => Ok(true),
        }
    }

    /// Puts the run, as it was kept, on a device. Where that fails it is nowhere until the next try.
    fn put_on(&mut self, device: &Device, slices: &Slices) -> Result<()> {
        self.close();
        self.net.move_to(device, slices.rescue.net())?;
        let Self { net, settings, .. } = self;
        net.prepare(settings.optimizer)?;
        let feed = Feed::to_train(&slices.data, settings.cost, settings.smoothing);
        let rows = settings.batch_size.min(slices.data.len());
        self.training = run::resident(net, Goal::Train, settings, &feed, Some(rows))?;
        self.verifying = match slices.verify_every {
            Some(every) => Some(Verifying::new(net, &self.training, settings, &feed, every)?),
            None => None,
        };
        self.begin_again();
        slices.rescue.restore(self);
        Ok(())
    }
}
