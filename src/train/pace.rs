//! The learning rate of each step of a run: the optimiser's, times the schedule's factor, times that of the plateau.

use super::schedule::{Moment, Schedule};
use super::stopping::{Plateau, Slowed};
use super::{EpochReport, Settings};
use crate::Optimizer;
use crate::error::{Error, Result};
use crate::optimizer::HYPER;

/// What the numbers of a step follow from: settings, and how far the plateau has come.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    optimizer: Optimizer,
    schedule: Schedule,
    plateau: Option<Plateau>,
    pub(super) slowed: Slowed,
    pub(super) slowest: bool,
    steps_per_epoch: usize,
    /// Of the whole run.
    steps: u64,
}

impl Pace {
    /// For settings that [`Trainer::check`](super::Trainer::check) has passed.
    pub(super) fn new(settings: &Settings, steps_per_epoch: usize) -> Self {
        let all = (settings.epochs as u64).saturating_mul(steps_per_epoch as u64);
        Self {
            optimizer: settings.optimizer,
            schedule: settings.schedule.clone(),
            plateau: settings.plateau,
            slowed: Slowed::default(),
            slowest: false,
            steps_per_epoch,
            steps: all.min(settings.max_steps.unwrap_or(u64::MAX)),
        }
    }

    /// The factor on the learning rate of a step of an epoch, both counted from 0.
    fn factor(&self, epoch: usize, step: usize) -> f64 {
        let steps_per_epoch = self.steps_per_epoch as u64;
        let step = (epoch as u64).saturating_mul(steps_per_epoch).saturating_add(step as u64);
        self.slowed.factor * self.schedule.factor(Moment { step, steps_per_epoch, steps: self.steps })
    }

    /// The learning rate of a step of an epoch, both counted from 0.
    pub(super) fn eta(&self, epoch: usize, step: usize) -> f64 {
        self.optimizer.eta_times(self.factor(epoch, step))
    }

    /// The numbers that the update is told for each step of an epoch, counted from 0, by an optimiser that has taken `taken` steps.
    pub(super) fn hyper(&self, epoch: usize, taken: u64) -> Result<Vec<f32>> {
        let mut hyper = Vec::with_capacity(HYPER * self.steps_per_epoch);
        for step in 0..self.steps_per_epoch {
            let factor = self.factor(epoch, step);
            if !(factor >= 0.0 && factor.is_finite()) {
                let (option, value) =
                    ("factor of the schedule", format!("{factor} in epoch {}, step {}", epoch + 1, step + 1));
                return Err(Error::InvalidOption { option, value, want: "finite and at least 0" });
            }
            // A factor of the largest numbers makes an infinite rate of any other.
            if !self.optimizer.eta_times(factor).is_finite() {
                let (option, value) = (
                    "learning rate",
                    format!("infinite in epoch {}, step {}, by a factor of {factor}", epoch + 1, step + 1),
                );
                return Err(Error::InvalidOption { option, value, want: "finite: the schedule's factor is too large" });
            }
            hyper.extend(self.optimizer.hyper(taken + step as u64 + 1, factor));
        }
        Ok(hyper)
    }

    /// Takes an epoch in, before the numbers of the next are asked for.
    pub(super) fn see(&mut self, report: &EpochReport) {
        if let Some(plateau) = &self.plateau {
            self.slowest = plateau.see(&mut self.slowed, report);
        }
    }

    /// Whether the plateau wants the run to end.
    pub(super) const fn is_slowest(&self) -> bool {
        self.slowest
    }
}
