//! What is kept of a population on the host, and how it goes on from there when its device fails.

use super::Population;
use crate::Device;
use crate::error::{Error, Result};
use crate::network::{AtRest, Network};
use crate::stopwatch::Stopwatch;
use crate::train::{History, Recovery, gone, known};

#[cfg(test)]
thread_local! {
    /// What a test does to every state of networks under way, to see that it is noticed.
    pub(crate) static SPOIL: std::cell::Cell<Option<fn(&mut AtRest)>> = const { std::cell::Cell::new(None) };
}

/// What is kept of a population under way.
pub(super) struct Kept {
    is_on: bool,
    /// Every network: as it begins, as it was within its training, or as that left it.
    pub(super) networks: Vec<AtRest>,
    /// What became of those that are done, the first ones.
    pub(super) done: Vec<Result<History>>,
    /// What became so far of those that are trained at once now, and their epochs that are done.
    pub(super) under_way: Vec<Result<History>>,
    pub(super) epochs: usize,
    /// Since it was kept.
    since: Stopwatch,
    tries: u32,
    /// How often it was put on another device.
    pub(super) recovered: usize,
    /// What the device failed with before anything was trained.
    pub(super) failed: Option<Error>,
}

impl Kept {
    /// For networks that are read, or whose numbers the host knows where their device is lost already.
    pub(super) async fn of(recovery: &Recovery, device: &Device, networks: &[Network]) -> Result<Self> {
        let is_on = recovery.is_on(device);
        let mut kept = Vec::with_capacity(networks.len());
        let mut failed = None;
        // A GPU's numbers are needed anyway.
        for net in networks.iter().filter(|_| device.kind() != "cpu") {
            let read = match failed.take() {
                None => net.at_rest_async().await,
                Some(error) => Err(error),
            };
            kept.push(match read {
                Ok(rest) => rest,
                Err(error) if !is_on => return Err(error),
                Err(error) => match known(net, &error) {
                    Some(rest) => {
                        failed = Some(error);
                        rest
                    }
                    None => return Err(gone(net, error)),
                },
            });
        }
        let (done, under_way, since) = (Vec::with_capacity(networks.len()), Vec::new(), Stopwatch::start());
        let (epochs, tries, recovered) = (0, 0, 0);
        Ok(Self { is_on, networks: kept, done, under_way, epochs, since, tries, recovered, failed })
    }

    /// Whether it is time to keep the networks that are trained at once, so many. Not while others are kept with them that wait at an
    /// earlier epoch, since a device with less memory than the last takes fewer at once.
    pub(super) fn is_due(&self, recovery: &Recovery, networks: usize) -> bool {
        self.is_on && self.under_way.len() <= networks && self.since.elapsed() >= recovery.every
    }

    /// How many of the next networks begin with the same epoch.
    pub(super) fn together(&self) -> usize {
        if self.under_way.is_empty() { usize::MAX } else { self.under_way.len() }
    }

    /// Keeps those as they are after so many epochs, from this one on.
    pub(super) fn keep(
        &mut self,
        first: usize,
        #[cfg_attr(not(test), allow(unused_mut, reason = "a test spoils it"))] mut networks: Vec<AtRest>,
        epochs: usize,
        members: &[Result<History>],
    ) {
        #[cfg(test)]
        SPOIL.with(|spoil| spoil.get().map(|spoil| networks.iter_mut().for_each(spoil)));
        self.networks.splice(first..first + networks.len(), networks);
        (self.under_way, self.epochs) = (members.iter().map(copy).collect(), epochs);
        (self.since, self.tries) = (Stopwatch::start(), 0);
    }

    /// The next ones are done.
    pub(super) fn finish(&mut self, members: impl IntoIterator<Item = Result<History>>) {
        let before = self.done.len();
        self.done.extend(members);
        let finished = self.done.len() - before;
        self.under_way.drain(..finished.min(self.under_way.len()));
        if self.under_way.is_empty() {
            self.epochs = 0;
        }
        (self.since, self.tries) = (Stopwatch::start(), 0);
    }

    /// The failure of the device that this error comes from, where another may help.
    pub(super) fn cause(&self, error: Error) -> Result<Error> {
        match error {
            // That one network has none is no matter: they are here.
            Error::ParametersLost { source } if self.is_on => Ok(*source),
            error if self.is_on && Recovery::helps(&error) => Ok(error),
            error => Err(error),
        }
    }
}

impl Population {
    /// What becomes of networks when their device fails: as [`Trainer::recovery`](crate::Trainer::recovery), whose default holds here too.
    ///
    /// Networks that are trained at once are kept at the end of an epoch, where [`Recovery::every`] has gone by; those that are done, and
    /// those that have not begun, are kept as well. All of them are put on another device, and end **with the same bits** as without the
    /// failure; [`PopulationReport::recovered`](super::PopulationReport::recovered) counts how often. Where the population goes on on the CPU, or ends with
    /// [`Error::NotRecovered`], all networks are there, each with what was kept of it.
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Puts every network, as it was kept, on another device, or says why that cannot be.
    pub(super) async fn recover(&mut self, cause: Error, kept: &mut Kept) -> Result<()> {
        let (old, mut tries) = (self.device.clone(), kept.tries);
        let networks = &mut self.networks;
        let rests = &kept.networks;
        let put = |device: &Device| move_all(networks, rests, device);
        let done = self.recovery.put_on_another(&old, &cause, &mut tries, put).await;
        kept.tries = tries;
        kept.recovered += 1;
        let Err(last) = done else {
            self.device = self.networks.first().map_or(old, |net| net.device().clone());
            return Ok(());
        };
        self.give_up(kept)?;
        if self.recovery.allows_cpu() {
            return Ok(());
        }
        Err(Error::NotRecovered {
            epoch: kept.epochs + 1,
            step: 0,
            retries: kept.tries,
            saved: None,
            problem: last.map(|error| error.to_string()),
            source: Box::new(cause),
        })
    }

    fn give_up(&mut self, kept: &mut Kept) -> Result<()> {
        kept.is_on = false;
        self.device = self.recovery.no_device();
        move_all(&mut self.networks, &kept.networks, &self.device)
    }

    /// After one network was trained alone, by a run that may have gone on elsewhere, or ended on the CPU: the others follow it.
    pub(super) fn follow(&mut self, member: usize, kept: &mut Kept) -> Result<()> {
        let device = self.networks[member].device().clone();
        if device.is_same(&self.device) {
            return Ok(());
        }
        kept.recovered += 1;
        kept.is_on &= device.kind() != "cpu";
        for (_, (net, rest)) in self.networks.iter_mut().zip(&kept.networks).enumerate().filter(|(at, _)| *at != member)
        {
            net.move_to(&device, rest)?;
        }
        self.device = device;
        Ok(())
    }
}

fn move_all(networks: &mut [Network], kept: &[AtRest], device: &Device) -> Result<()> {
    networks.iter_mut().zip(kept).try_for_each(|(net, rest)| net.move_to(device, rest))
}

/// What became of a network so far, once more.
pub(super) fn copy(member: &Result<History>) -> Result<History> {
    match member {
        Ok(history) => Ok(history.clone()),
        // The one error that a member has of its own.
        &Err(Error::Diverged { epoch, step, cost }) => Err(Error::Diverged { epoch, step, cost }),
        Err(other) => Err(Error::Gpu { during: "training".to_owned(), message: other.to_string() }),
    }
}
