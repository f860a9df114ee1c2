//! Single steps of a run that are done on the CPU too.

use std::ops::ControlFlow;

use super::Settings;
use super::run::{Later, Training, at_once};
use crate::error::{Error, Result};
use crate::feed::{Feed, Words};
use crate::network::Network;
use crate::plan::{Dropout, Goal, Plan, PlanKind, Request};
use crate::resident::Resident;
use crate::verify::{Off, StepCheck};

/// Which steps are verified, and by what.
pub(super) struct Verifying {
    every: u64,
    /// It is away while it waits for the device's numbers.
    check: Option<Box<StepCheck>>,
    under_way: Option<Later<(Box<StepCheck>, Option<Error>)>>,
}

impl Verifying {
    /// # Errors
    /// [`Error::InvalidOption`] for every 0th step.
    pub(super) fn new(
        net: &Network,
        training: &Resident,
        settings: &Settings,
        feed: &Feed,
        every: u64,
    ) -> Result<Self> {
        if every == 0 {
            let (option, want) = ("steps of which one is verified", "at least 1");
            return Err(Error::InvalidOption { option, value: every.to_string(), want });
        }
        let plan = training.session().plan();
        let drops = net.dropout();
        let request = Request {
            update: settings.optimizer.update(),
            dropout: Dropout { rates: drops.rates, seed: drops.seed },
            emphasis: feed.emphasis,
            held: Some(plan.held),
            // The reference cuts no sums.
            limits: crate::plan::Limits::HOST,
            ..net.request(Goal::Train, settings.cost, feed.source, plan.rows)
        };
        let textbook = Plan::new(PlanKind::Textbook, &request)?;
        let check = if training.is_streamed() {
            StepCheck::new(plan, textbook, &[], &[])?
        } else {
            let Words { inputs, targets, weights } = feed.all();
            StepCheck::new(plan, textbook, &inputs, &[&targets[..], &weights].concat())?
        };
        Ok(Self { every, check: Some(Box::new(check)), under_way: None })
    }
}

impl Training<'_> {
    /// Steps before the next that is to be verified.
    pub(super) fn until_verified(&self) -> usize {
        let Some(verifying) = &self.verifying else { return usize::MAX };
        let left = verifying.every - 1 - self.place.steps % verifying.every;
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// As [`walk`](Self::walk), with the steps that are to be verified among them.
    pub(super) async fn advance(
        &mut self,
        most: usize,
        is_up: impl Fn() -> bool,
        mut progress: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut done = 0;
        loop {
            let plain = self.until_verified().min(most - done);
            if plain > 0 {
                let before = self.place.step;
                if self.walk(plain, &is_up, |step| progress(done + step)).await?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                done += self.place.step - before;
            }
            if done == most || (done > 0 && is_up()) {
                return Ok(ControlFlow::Continue(()));
            }
            self.verify_step()?;
            self.verified().await?;
            done += 1;
            if done == most || is_up() {
                return Ok(ControlFlow::Continue(()));
            }
            if progress(done).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// Does the next step of the epoch, and asks for what the device has before it and after it.
    pub(super) fn verify_step(&mut self) -> Result<()> {
        let Some(mut check) = self.verifying.as_mut().and_then(|verifying| verifying.check.take()) else {
            return Ok(());
        };
        for (role, at, words) in self.training.words_of(self.place.step) {
            check.put(role, at, &words)?;
        }
        let (engine, counted) = self.net.parts_and_steps();
        let session = self.training.session();
        let before: Vec<_> = check.wanted().map(|buffer| session.read_buffer(engine, buffer)).collect();
        self.training.submit_just(engine, 1)?;
        let session = self.training.session();
        let after: Vec<_> = check.wanted().map(|buffer| session.read_buffer(engine, buffer)).collect();
        self.place.step += 1;
        self.place.steps += 1;
        *counted += 1;
        let (epoch, step) = (self.place.epoch + 1, self.place.step);
        let compared: Later<_> = Box::pin(async move {
            let (mut words_before, mut words_after) =
                (Vec::with_capacity(before.len()), Vec::with_capacity(after.len()));
            for words in before {
                words_before.push(words.await?);
            }
            for words in after {
                words_after.push(words.await?);
            }
            let off = check.compare(&words_before, &words_after)?;
            let error = off.map(|Off { what, worst }| Error::WrongStep {
                epoch,
                step,
                what,
                index: worst.index,
                got: worst.got,
                want: worst.want,
                bound: worst.bound,
            });
            Ok((check, error))
        });
        if let Some(verifying) = &mut self.verifying {
            verifying.under_way = Some(compared);
        }
        Ok(())
    }

    /// Waits for the comparison that is under way, if one is.
    async fn verified(&mut self) -> Result<()> {
        let Some(compared) = self.verifying.as_mut().and_then(|verifying| verifying.under_way.take()) else {
            return Ok(());
        };
        self.take_back(compared.await?)
    }

    /// Whether no comparison is under way any more.
    pub(super) fn is_verified(&mut self) -> Result<bool> {
        let Some(verifying) = &mut self.verifying else { return Ok(true) };
        let Some(mut compared) = verifying.under_way.take() else { return Ok(true) };
        match at_once(&mut compared) {
            Some(done) => self.take_back(done?).map(|()| true),
            None => {
                verifying.under_way = Some(compared);
                Ok(false)
            }
        }
    }

    fn take_back(&mut self, (check, error): (Box<StepCheck>, Option<Error>)) -> Result<()> {
        if let Some(verifying) = &mut self.verifying {
            verifying.check = Some(check);
        }
        error.map_or(Ok(()), Err)
    }
}
