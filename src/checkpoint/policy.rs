//! When a run is saved, and what is kept of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file;
use crate::Metric;
use crate::error::{Error, Result};
use crate::problems::Problems;

/// When and where a run of training is saved: [`Trainer::checkpoints`](crate::Trainer::checkpoints) takes it, and
/// [`Trainer::resume`](crate::Trainer::resume) goes on from such a file.
///
/// The file always holds the newest state. It is replaced as a whole, so that whatever ends the process, the old one or the new one
/// is there. A run is also saved when it ends, whatever ends it but an error.
///
/// ```
/// use wgrad::{Checkpoints, Metric};
/// // digits.safetensors, before it digits.1.safetensors and digits.2.safetensors; and digits.best.safetensors
/// let checkpoints = Checkpoints::new("digits.safetensors").every_epochs(5).keep_last(3).keep_best(Metric::TestAccuracy);
/// assert_eq!(checkpoints.best_path().to_str(), Some("digits.best.safetensors"));
/// assert_eq!(checkpoints.path_before(2).to_str(), Some("digits.2.safetensors"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "give it to Trainer::checkpoints"]
pub struct Checkpoints {
    path: PathBuf,
    every: Every,
    keep_last: usize,
    keep_best: Option<Metric>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Every {
    Epochs(usize),
    Steps(u64),
    Time(Duration),
}

impl Checkpoints {
    /// To this file, after every epoch; only the newest is kept.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), every: Every::Epochs(1), keep_last: 1, keep_best: None }
    }

    /// After every so many epochs; at least 1.
    pub const fn every_epochs(mut self, epochs: usize) -> Self {
        self.every = Every::Epochs(epochs);
        self
    }

    /// After every so many mini-batches, also within an epoch; at least 1.
    pub const fn every_steps(mut self, steps: u64) -> Self {
        self.every = Every::Steps(steps);
        self
    }

    /// Whenever about so much time has gone by, also within an epoch.
    pub const fn every(mut self, time: Duration) -> Self {
        self.every = Every::Time(time);
        self
    }

    /// Keeps this many files, the newest among them; 1 unless set, at least 1. Those before it are found by
    /// [`path_before`](Self::path_before).
    pub const fn keep_last(mut self, files: usize) -> Self {
        self.keep_last = files;
        self
    }

    /// Keeps another file, [`best_path`](Self::best_path), of the epoch with the best value of this metric.
    pub const fn keep_best(mut self, metric: Metric) -> Self {
        self.keep_best = Some(metric);
        self
    }

    /// The file of the newest state.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the best epoch: `digits.best.safetensors` beside `digits.safetensors`.
    #[must_use]
    pub fn best_path(&self) -> PathBuf {
        self.beside("best")
    }

    /// The file that was the newest so many saves ago: `digits.2.safetensors` beside `digits.safetensors`.
    #[must_use]
    pub fn path_before(&self, saves: usize) -> PathBuf {
        if saves == 0 { self.path.clone() } else { self.beside(&saves.to_string()) }
    }

    /// The path with a word before its extension; names need not be UTF-8.
    fn beside(&self, word: &str) -> PathBuf {
        let mut name = self.path.file_stem().map_or_else(OsString::new, OsString::from);
        name.push(".");
        name.push(word);
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// The metric whose best epoch is kept.
    pub(crate) const fn best_metric(&self) -> Option<Metric> {
        self.keep_best
    }

    /// Removes what processes left that were ended in the act.
    pub(crate) fn sweep(&self) {
        file::sweep(&self.path);
    }

    /// Refuses what cannot work, and where nothing can be written.
    pub(crate) fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        let none = match self.every {
            Every::Epochs(epochs) => (epochs == 0).then_some("epochs between checkpoints"),
            Every::Steps(steps) => (steps == 0).then_some("steps between checkpoints"),
            Every::Time(_) => None,
        };
        for option in [none, (self.keep_last == 0).then_some("checkpoints to keep")].into_iter().flatten() {
            problems.see::<()>(Err(Error::InvalidOption { option, value: "0".to_owned(), want: "at least 1" }));
        }
        let best = self.keep_best.map(|_| self.best_path());
        let before = (self.keep_last > 1).then(|| self.path_before(1));
        for path in [Some(self.path.clone()), best, before].into_iter().flatten() {
            problems.see(file::probe(&path));
        }
        problems.end()
    }

    /// How many more mini-batches there may be before the next save, where `done` are done in all.
    pub(crate) const fn steps_left(&self, done: u64) -> Option<u64> {
        match self.every {
            Every::Steps(steps) => Some(steps - done % steps),
            _ => None,
        }
    }

    /// Whether so much time since the last save is enough.
    pub(crate) fn is_time(&self, since: Duration) -> bool {
        matches!(self.every, Every::Time(time) if since >= time)
    }

    /// Whether to save within an epoch, `done` mini-batches being done in all.
    pub(crate) fn within_epoch(&self, done: u64, since: Duration) -> bool {
        match self.every {
            Every::Steps(every) => done.is_multiple_of(every),
            Every::Epochs(_) | Every::Time(_) => self.is_time(since),
        }
    }

    /// Whether to save after an epoch, of which `epochs` are done, and `done` mini-batches in all.
    pub(crate) fn after_epoch(&self, epochs: usize, done: u64, since: Duration) -> bool {
        match self.every {
            Every::Epochs(every) => epochs.is_multiple_of(every),
            Every::Steps(every) => done.is_multiple_of(every),
            Every::Time(_) => self.is_time(since),
        }
    }

    /// Writes the newest state, and lets those before it move on by one.
    pub(crate) fn save(&self, bytes: &[u8]) -> Result<()> {
        // As far as there are files: how many are kept may be any number.
        let missing = (1..self.keep_last).find(|&saves| !self.path_before(saves).exists());
        let end = missing.unwrap_or(self.keep_last.saturating_sub(1));
        // From the last on: at each moment every file is whole, and the newest in its place.
        for saves in (1..=end).rev() {
            let (from, to) = (self.path_before(saves - 1), self.path_before(saves));
            if saves == 1 {
                if from.exists() {
                    file::also(&from, &to)?;
                }
            } else if from.exists() {
                std::fs::rename(&from, &to).map_err(|error| Error::io(&from, error))?;
            }
        }
        file::write(&self.path, bytes)
    }

    /// Writes the state of the best epoch.
    pub(crate) fn save_best(&self, bytes: &[u8]) -> Result<()> {
        file::write(&self.best_path(), bytes)
    }
}
