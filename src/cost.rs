//! Cost functions `C`, averaged over the live rows of a mini-batch.
//!
//! Adding one: a variant, its name, the outputs it goes with and its arms here, its arm in `shaders/cost.wgsl` and
//! `shaders/dense.wgsl`, and its arms in `reference.rs`. The tests walk [`Cost::ALL`].

use crate::Activation;
use crate::activation::by_name;
use crate::error::{Error, Result};
use crate::real::Real;

/// What training makes small. `a` is the network's output, `y` the target, both of one row.
///
/// The cost of a mini-batch is the mean over its rows (the notes' equation 3); that `1/rows` is applied once, in the
/// output error.
///
/// ```
/// use wgrad::{Activation, Cost};
/// assert!(Cost::Quadratic.goes_with(Activation::Tanh));
/// assert!(Cost::BinaryCrossEntropy.check(Activation::Relu).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cost {
    /// `C = 1/2 sum_j (a_j - y_j)^2` (equation 4). Output error by BP1: `delta = (a - y) (.) f'(z)` (equation 6).
    /// With any elementwise output.
    Quadratic,
    /// `C = -sum_j [y_j ln a_j + (1 - y_j) ln(1 - a_j)]`, `y` in \[0, 1\]. Only with sigmoid outputs, where `f'` cancels
    /// and the output error is `delta = a - y`. Computed from `z`, so that it stays finite when an output saturates.
    BinaryCrossEntropy,
    /// `C = -sum_j y_j ln a_j`, with the `y_j` of a row adding up to 1. Only with softmax outputs, where the output error
    /// is `delta = a - y`. Computed from `z` by log-sum-exp.
    CategoricalCrossEntropy,
}

impl Cost {
    /// Every cost.
    pub const ALL: [Self; 3] = [Self::Quadratic, Self::BinaryCrossEntropy, Self::CategoricalCrossEntropy];

    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::BinaryCrossEntropy => "binary-cross-entropy",
            Self::CategoricalCrossEntropy => "categorical-cross-entropy",
        }
    }

    /// Whether this cost can be used with this activation of the last layer.
    #[must_use]
    pub const fn goes_with(self, output: Activation) -> bool {
        match self {
            Self::Quadratic => output.is_elementwise(),
            Self::BinaryCrossEntropy => matches!(output, Activation::Sigmoid),
            Self::CategoricalCrossEntropy => matches!(output, Activation::Softmax),
        }
    }

    /// As [`goes_with`](Self::goes_with), with the reason.
    ///
    /// # Errors
    /// [`Error::Pairing`] names the outputs that this cost goes with.
    pub fn check(self, output: Activation) -> Result<()> {
        if self.goes_with(output) {
            return Ok(());
        }
        let allowed = Activation::ALL.iter().filter(|&&f| self.goes_with(f)).map(|f| f.name()).collect::<Vec<_>>();
        Err(Error::Pairing { cost: self, activation: output, allowed: allowed.join(", ") })
    }

    /// Whether `f'(z)` is a factor of the output error (BP1), or has cancelled against the cost.
    pub(crate) const fn has_f_prime(self) -> bool {
        matches!(self, Self::Quadratic)
    }

    /// The number by which the shaders know this cost.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Quadratic => 0,
            Self::BinaryCrossEntropy => 1,
            Self::CategoricalCrossEntropy => 2,
        }
    }

    /// The cost with this code: what a kernel does with `Params::cost`.
    pub(crate) const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Quadratic,
            1 => Self::BinaryCrossEntropy,
            _ => Self::CategoricalCrossEntropy,
        }
    }

    /// One output's part of a row's cost. `m` is the row's largest `z`, `log_sum` its `ln sum_k e^(z_k - m)`; the categorical one
    /// alone uses them. Added up before `z` is taken off, they would lose what the smaller one has to say.
    #[inline]
    pub(crate) fn term<T: Real>(self, z: T, a: T, y: T, [m, log_sum]: [T; 2]) -> T {
        match self {
            Self::Quadratic => T::exact(0.5) * ((a - y) * (a - y)),
            // -[y ln s(z) + (1-y) ln(1 - s(z))] = max(z, 0) - z y + ln(1 + e^-|z|)
            Self::BinaryCrossEntropy => T::ZERO.larger(z) - z * y + (-z.abs()).exp().ln_1p(),
            Self::CategoricalCrossEntropy => y * ((m - z) + log_sum),
        }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Cost {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "cost", word)
    }
}
