//! How gradients move the parameters.

use crate::error::{Error, Result};

/// Stochastic gradient descent: `w -> w - eta * dw`, the notes' rule.
///
/// ```
/// use wgrad::Sgd;
/// let sgd = Sgd::new(3.0);
/// assert_eq!(sgd.eta, 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Sgd {
    /// The learning rate, above 0.
    pub eta: f32,
}

impl Sgd {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        Self { eta }
    }
}

/// Any optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
}

impl From<Sgd> for Optimizer {
    fn from(sgd: Sgd) -> Self {
        Self::Sgd(sgd)
    }
}

impl Optimizer {
    /// Refuses values that cannot work.
    pub(crate) fn check(self) -> Result<()> {
        let Self::Sgd(Sgd { eta }) = self;
        if eta.is_finite() && eta > 0.0 {
            return Ok(());
        }
        Err(Error::InvalidOption { option: "eta", value: eta.to_string(), want: "finite and above 0" })
    }

    /// With its learning rate multiplied by a schedule's factor.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let Self::Sgd(Sgd { eta }) = self;
        #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what is wanted")]
        let eta = (f64::from(eta) * factor) as f32;
        Self::Sgd(Sgd { eta })
    }

    /// The learning rate.
    pub(crate) const fn eta(self) -> f32 {
        let Self::Sgd(Sgd { eta }) = self;
        eta
    }

    /// The four numbers that the update kernels are told for a step.
    pub(crate) const fn hyper(self) -> [f32; 4] {
        let Self::Sgd(Sgd { eta }) = self;
        [eta, 0.0, 0.0, 0.0]
    }
}
