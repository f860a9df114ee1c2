//! Cost functions `C`, averaged over the live rows of a mini-batch.
//!
//! Adding one: a variant, its name, the outputs it goes with and its arms here, its arm in `shaders/cost.wgsl` and
//! `shaders/dense.wgsl`, and its arms in `reference.rs`. The tests walk [`Cost::ALL`].

use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// `C = sum_j h(a_j - y_j)`, with `h(r) = r^2/2` for `r` from -1 to 1, else `|r| - 1/2` (Huber 1964): quadratic, but not drawn
    /// far by single rows that are far off. With any elementwise output.
    Huber,
    /// `C = sum_j |a_j - y_j|`; its slope at 0 is taken as 0. With any elementwise output.
    Absolute,
}

impl Cost {
    /// Every cost.
    pub const ALL: [Self; 5] =
        [Self::Quadratic, Self::BinaryCrossEntropy, Self::CategoricalCrossEntropy, Self::Huber, Self::Absolute];

    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::BinaryCrossEntropy => "binary-cross-entropy",
            Self::CategoricalCrossEntropy => "categorical-cross-entropy",
            Self::Huber => "huber",
            Self::Absolute => "absolute",
        }
    }

    /// Whether this cost can be used with this activation of the last layer.
    #[must_use]
    pub const fn goes_with(self, output: Activation) -> bool {
        match self {
            Self::Quadratic | Self::Huber | Self::Absolute => output.is_elementwise(),
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
        matches!(self, Self::Quadratic | Self::Huber | Self::Absolute)
    }

    /// The number by which the shaders know this cost.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Quadratic => 0,
            Self::BinaryCrossEntropy => 1,
            Self::CategoricalCrossEntropy => 2,
            Self::Huber => 3,
            Self::Absolute => 4,
        }
    }

    /// The cost with this code: what a kernel does with `Params::cost`.
    pub(crate) const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Quadratic,
            1 => Self::BinaryCrossEntropy,
            2 => Self::CategoricalCrossEntropy,
            3 => Self::Huber,
            _ => Self::Absolute,
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
            Self::Huber => {
                let r = (a - y).abs();
                if r <= T::ONE { T::exact(0.5) * (r * r) } else { r - T::exact(0.5) }
            }
            Self::Absolute => (a - y).abs(),
        }
    }

    /// The slope of [`term`](Self::term) along the activation; of the cross-entropies, times `f'`, which cancels.
    #[inline(always)]
    pub(crate) fn slope<T: Real>(self, a: T, y: T) -> T {
        let r = a - y;
        let most = match self {
            Self::Quadratic | Self::BinaryCrossEntropy | Self::CategoricalCrossEntropy => return r,
            Self::Huber => T::ONE,
            Self::Absolute => T::ZERO,
        };
        // Written so that a NaN is passed on.
        if r > most {
            T::ONE
        } else if r < -most {
            -T::ONE
        } else {
            r
        }
    }

    /// A target under label smoothing: `(1 - eps) y + eps / K`, with `K` outputs, of which the binary cross-entropy sees each as a
    /// choice between two.
    pub(crate) fn smoothed(self, y: f32, eps: f32, outputs: usize) -> f32 {
        if eps <= 0.0 {
            return y;
        }
        let classes = if self == Self::BinaryCrossEntropy { 2 } else { outputs };
        #[allow(clippy::cast_precision_loss, reason = "a count of classes")]
        let (eps, classes) = (f64::from(eps), classes as f64);
        #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
        let smoothed = ((1.0 - eps) * f64::from(y) + eps / classes) as f32;
        smoothed
    }

    /// Refuses label smoothing that cannot be.
    pub(crate) fn check_smoothing(self, eps: f32) -> Result<()> {
        let (option, value) = ("label smoothing", eps.to_string());
        if !(0.0..1.0).contains(&eps) {
            return Err(Error::InvalidOption { option, value, want: "at least 0 and below 1" });
        }
        if eps > 0.0 && !matches!(self, Self::BinaryCrossEntropy | Self::CategoricalCrossEntropy) {
            return Err(Error::InvalidOption { option, value, want: "0, except with a cross-entropy" });
        }
        Ok(())
    }

    /// Refuses targets that this cost has no meaning for: `y` holds rows of `columns` numbers.
    pub(crate) fn check_targets(self, what: &str, y: &[f32], columns: usize) -> Result<()> {
        let refuse =
            |row: usize, problem: String| Err(Error::Target { what: what.to_owned(), row, cost: self, problem });
        match self {
            Self::Quadratic | Self::Huber | Self::Absolute => Ok(()),
            Self::BinaryCrossEntropy => match y.iter().position(|y| !(0.0..=1.0).contains(y)) {
                Some(at) => refuse(at / columns, format!("{} is not between 0 and 1", y[at])),
                None => Ok(()),
            },
            Self::CategoricalCrossEntropy => {
                for (row, y) in y.chunks(columns).enumerate() {
                    if let Some(y) = y.iter().find(|y| !(0.0..=1.0).contains(*y)) {
                        return refuse(row, format!("{y} is not between 0 and 1"));
                    }
                    let sum: f64 = y.iter().map(|&y| f64::from(y)).sum();
                    if (sum - 1.0).abs() > 1e-3 {
                        return refuse(row, format!("its numbers add up to {sum}, not 1"));
                    }
                }
                Ok(())
            }
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
