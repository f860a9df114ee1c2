//! What is kept of a run on the host, for the case that its device fails.

use std::path::PathBuf;
use std::time::Duration;

use super::recovery::Recovery;
use super::run::Training;
use super::state::Rest;
use super::{Position, StopReason};
use crate::error::{Error, Result};
use crate::network::{AtRest, Network};
use crate::stopwatch::Stopwatch;

#[cfg(test)]
thread_local! {
    /// What a test does to every state that is kept, to see that it is noticed.
    pub(super) static SPOIL: std::cell::Cell<Option<fn(&mut Rest)>> = const { std::cell::Cell::new(None) };
    /// How often a run went on from a state that was spoilt.
    pub(super) static SPOILT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What is kept of a run on the host, and how often it has been needed.
pub(super) struct Rescue {
    pub(super) is_on: bool,
    every: Duration,
    /// The network before the run began.
    start: AtRest,
    /// The run, once it began.
    pub(super) rest: Option<Rest>,
    /// Since it was kept.
    since: Stopwatch,
    pub(super) tries: u32,
    /// The callback ended the run.
    pub(super) is_over: bool,
    /// What the device failed with before the run began.
    pub(super) failed: Option<Error>,
    #[cfg(test)]
    is_spoilt: bool,
}

impl Rescue {
    /// For a run of this network, which is read if it can be lost. Where it is lost already, the host may know what was there.
    pub(super) async fn of(recovery: &Recovery, net: &Network) -> Result<Self> {
        let is_on = recovery.is_on(net.device());
        let mut rescue = Self::with(recovery, is_on);
        if is_on {
            match net.at_rest_async().await {
                Ok(start) => rescue.start = start,
                Err(error) => match known(net, &error) {
                    Some(start) => (rescue.start, rescue.failed) = (start, Some(error)),
                    None => return Err(gone(net, error)),
                },
            }
        }
        Ok(rescue)
    }

    /// Of which nothing is known yet.
    pub(super) fn with(recovery: &Recovery, is_on: bool) -> Self {
        let (every, since) = (recovery.every, Stopwatch::start());
        let start = AtRest::default();
        Self {
            is_on,
            every,
            start,
            rest: None,
            since,
            tries: 0,
            is_over: false,
            failed: None,
            #[cfg(test)]
            is_spoilt: false,
        }
    }

    /// Whether it is time to keep the state.
    pub(super) fn is_due(&self) -> bool {
        self.is_on && self.since.elapsed() >= self.every
    }

    /// Keeps this state, unless it has come to numbers that are none: the run gets there again from the last one.
    pub(super) fn keep(
        &mut self,
        #[cfg_attr(not(test), allow(unused_mut, reason = "a test spoils it"))] mut rest: Rest,
    ) {
        #[cfg(test)]
        SPOIL.with(|spoil| spoil.get().map(|spoil| spoil(&mut rest)));
        if !self.is_on || !rest.net.is_finite() {
            return;
        }
        let at = |rest: &Rest| (rest.place.epoch, rest.place.steps);
        if self.rest.as_ref().is_some_and(|kept| at(&rest) > at(kept)) {
            self.tries = 0;
        }
        self.rest = Some(rest);
        #[cfg(test)]
        {
            self.is_spoilt = SPOIL.get().is_some();
        }
        self.since = Stopwatch::start();
    }

    /// Has the run go on from what was kept, and says whether there was anything.
    pub(super) fn restore(&self, run: &mut Training<'_>) -> bool {
        #[cfg(test)]
        SPOILT.set(SPOILT.get() + usize::from(self.is_spoilt));
        if let Some(rest) = &self.rest {
            run.go_on(rest);
        }
        if self.is_over {
            run.record.history.stop = Some(StopReason::Callback);
        }
        self.rest.is_some() || self.is_over
    }

    /// Keeps a run that begins, of whose network the host has the numbers.
    pub(super) fn begin(&mut self, run: &Training<'_>) {
        if self.is_on && self.rest.is_none() {
            self.rest = Some(run.rest_with(std::mem::take(&mut self.start), run.carried().to_vec()));
        }
    }

    /// Whether to try to go on after this error.
    pub(super) const fn helps(&self, error: &Error) -> bool {
        self.is_on && Recovery::helps(error)
    }

    pub(super) fn net(&self) -> &AtRest {
        self.rest.as_ref().map_or(&self.start, |rest| &rest.net)
    }

    pub(super) fn place(&self) -> Position {
        self.rest.as_ref().map(|rest| rest.place).unwrap_or_default()
    }

    /// The error of a run that cannot go on; `last` is what the last try failed with.
    pub(super) fn not_recovered(&self, cause: Error, last: Option<&Error>, saved: Option<PathBuf>) -> Error {
        let (Position { epoch, step, .. }, retries, source) = (self.place(), self.tries, Box::new(cause));
        Error::NotRecovered { epoch: epoch + 1, step, retries, saved, problem: last.map(ToString::to_string), source }
    }
}

/// What was on a device that failed with this, where another device may help and the host knows it.
pub(crate) fn known(net: &Network, error: &Error) -> Option<AtRest> {
    if Recovery::helps(error) { net.known() } else { None }
}

/// The error, and that the network's numbers are gone with the device, where they are.
pub(crate) fn gone(net: &Network, error: Error) -> Error {
    if matches!(error, Error::DeviceLost { .. }) || Recovery::helps(&error) && !net.device().answers() {
        return Error::ParametersLost { source: Box::new(error) };
    }
    error
}
