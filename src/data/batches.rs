//! Mini-batches: which rows an epoch visits, and in what order.

use crate::error::{Error, Result};
use crate::random;

/// The mini-batches of every epoch of a training run, as a pure function of length, batch size, seed and epoch.
///
/// An epoch visits each row once, `batch_size` rows a step; the last step takes what is left and is never dropped.
/// The order of epoch `e` depends on nothing that happened before it, so a run resumed at epoch `e` meets the rows
/// in the order in which it would have met them anyway.
///
/// The order is a Fisher-Yates shuffle driven by PCG XSL RR 128/64, seeded from `(seed, epoch)`, with a bounded draw by
/// Lemire's method. All of it is integer arithmetic: it is the same on every machine, and in every version of this
/// crate.
///
/// ```
/// use wgrad::Batches;
/// let batches = Batches::new(10, 4, 1)?;
/// assert_eq!(batches.steps(), 3);
/// assert_eq!((0..3).map(|step| batches.rows(step)).collect::<Vec<_>>(), [4, 4, 2]);
///
/// let order = batches.order(0);
/// assert_eq!(order, [4, 6, 0, 2, 3, 1, 5, 8, 7, 9]);
/// for rows in batches.split(&order) {
///     assert!(rows.len() <= 4);
/// }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    len: u32,
    batch_size: usize,
    seed: u64,
    shuffled: bool,
}

impl Batches {
    /// The mini-batches of `len` rows, `batch_size` rows each, shuffled anew every epoch.
    ///
    /// A `batch_size` above `len` makes one step of all rows.
    ///
    /// # Errors
    /// [`Error::Empty`] if `len` is 0; [`Error::InvalidOption`] if `batch_size` is 0, or if `len` is above
    /// `u32::MAX` (row numbers have 32 bits on the GPU).
    pub fn new(len: usize, batch_size: usize, seed: u64) -> Result<Self> {
        if len == 0 {
            return Err(Error::Empty { what: "the training data".to_owned() });
        }
        if batch_size == 0 {
            return Err(invalid("batch_size", batch_size, "at least 1"));
        }
        let len = u32::try_from(len).map_err(|_| invalid("len", len, "at most 4294967295 rows"))?;
        Ok(Self { len, batch_size, seed, shuffled: true })
    }

    /// The same batches with every epoch in the order `0, 1, 2, ...`.
    #[must_use]
    pub const fn unshuffled(self) -> Self {
        Self { shuffled: false, ..self }
    }

    /// How many rows an epoch visits.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// How many rows a step takes, but for the last.
    #[must_use]
    pub const fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The seed of the orders.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many steps an epoch has: `ceil(len / batch_size)`.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.len().div_ceil(self.batch_size)
    }

    /// How many rows are live in this step of an epoch, both counted from 0: `batch_size`, or fewer in the last step,
    /// or 0 past the end.
    #[must_use]
    pub const fn rows(&self, step: usize) -> usize {
        let left = self.len().saturating_sub(step.saturating_mul(self.batch_size));
        if left < self.batch_size { left } else { self.batch_size }
    }

    /// The rows in the order in which epoch `epoch`, from 0, visits them: a permutation of `0..len`.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        if self.shuffled {
            random::permutation(&mut random::generator(self.seed, epoch), self.len)
        } else {
            (0..self.len).collect()
        }
    }

    /// Cuts an order into the rows of its steps: `batch_size` rows each, the last with what is left.
    pub fn split<'a>(&self, order: &'a [u32]) -> std::slice::Chunks<'a, u32> {
        order.chunks(self.batch_size)
    }
}

fn invalid(option: &'static str, value: usize, want: &'static str) -> Error {
    Error::InvalidOption { option, value: value.to_string(), want }
}
