//! What training makes of the targets.

use super::{Format, Request};

/// What training makes of the targets, beyond making the outputs like them.
///
/// The weights of the rows travel with the targets: after all of them in [`Role::Targets`](super::Role::Targets), and after those
/// of the mini-batch in [`Role::Y`](super::Role::Y), one number a row. So no kernel binds a buffer more.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Emphasis {
    /// Whether each row has a weight, by which its cost and its error are multiplied.
    pub weighted: bool,
    /// Label smoothing, `eps`, at least 0 and below 1. It is done where a label becomes a row of numbers; targets that are numbers
    /// already are smoothed by who uploads them.
    pub smoothing: f32,
}

impl Emphasis {
    /// What [`Params::format`](crate::kernel::Params::format) says of it.
    pub(crate) const fn code(self) -> u32 {
        if self.weighted { 16 } else { 0 }
    }

    /// [`Params::format`](crate::kernel::Params::format) of a kernel that gathers.
    pub(crate) const fn format(self, inputs: Format, targets: Format) -> u32 {
        inputs.code() + 4 * targets.code() + self.code()
    }

    /// Words that the targets of so many rows take, with their weights.
    pub(crate) const fn words(self, format: Format, rows: usize, columns: usize) -> usize {
        format.words(rows, columns).saturating_add(if self.weighted { rows } else { 0 })
    }
}

impl Request<'_> {
    /// Examples of a data set of this length that the device holds at a time.
    pub(crate) fn held(&self, len: usize) -> usize {
        self.held.map_or(len, |held| held.clamp(1, len.max(1)))
    }

    /// What the columns of a label are: those of the other classes, and its own.
    pub(crate) fn label(&self) -> [f32; 2] {
        let outputs = self.layers.last().map_or(1, |last| last.outputs);
        let eps = self.emphasis.smoothing;
        [0.0, 1.0].map(|y| self.cost.map_or(y, |cost| cost.smoothed(y, eps, outputs)))
    }
}
