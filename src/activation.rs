//! Activation functions `a = f(z)` and their derivatives `f'(z)`.
//!
//! Adding one: a variant, its name and its arms in [`Activation::f`] and [`Activation::f_prime`] here, its arm in the
//! functions `f` and `f_prime` of `shaders/activation.wgsl` and the copies of that text, and its arms in
//! `reference.rs`. Parity, finite differences and names then follow, since the tests walk [`Activation::ALL`].

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::real::Real;

/// The function `f` that turns a layer's weighted input `z` into its activation `a` (the notes' equation 2).
///
/// ```
/// use wgrad::Activation;
/// assert_eq!("relu".parse::<Activation>()?, Activation::Relu);
/// assert_eq!(Activation::Sigmoid.to_string(), "sigmoid");
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// `f(z) = 1 / (1 + e^-z)`, `f'(z) = f(z) (1 - f(z))`; values in (0, 1).
    Sigmoid,
    /// `f(z) = tanh z`, `f'(z) = 1 - f(z)^2`; values in (-1, 1).
    Tanh,
    /// `f(z) = max(z, 0)`, `f'(z) = 1` for `z > 0`, else `0`. NaN stays NaN.
    Relu,
    /// `f(z) = z` for `z >= 0`, else `0.01 z`; `f'(z) = 1` for `z > 0`, else `0.01` (Maas et al. 2013).
    LeakyRelu,
    /// `f(z) = z` for `z >= 0`, else `e^z - 1`; `f'(z) = 1`, or `e^z` (Clevert et al. 2015, with alpha 1). Values above -1.
    Elu,
    /// `f(z) = z Phi(z)`, `f'(z) = Phi(z) + z phi(z)`, with `Phi(z) = (1 + erf(z / sqrt 2)) / 2` and its density `phi`
    /// (Hendrycks and Gimpel 2016).
    Gelu,
    /// `f(z) = z (1 + tanh u) / 2`, `u = sqrt(2/pi) (z + 0.044715 z^3)`: the usual approximation of [`Gelu`](Self::Gelu), within
    /// 5e-4 of it.
    GeluTanh,
    /// `f(z) = z s(z)`, `f'(z) = s(z) + z s(z) (1 - s(z))`, with the sigmoid `s`; also called swish.
    Silu,
    /// `f(z) = ln(1 + e^z)`, `f'(z) = 1 / (1 + e^-z)`. Values above 0.
    Softplus,
    /// `f(z) = z`, `f'(z) = 1`.
    Identity,
    /// `f(z)_j = e^z_j / sum_k e^z_k` over one row; only as the last layer, with
    /// [`Cost::CategoricalCrossEntropy`](crate::Cost::CategoricalCrossEntropy).
    Softmax,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 11] = [
        Self::Sigmoid,
        Self::Tanh,
        Self::Relu,
        Self::LeakyRelu,
        Self::Elu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Silu,
        Self::Softplus,
        Self::Identity,
        Self::Softmax,
    ];

    /// The name in lower case, as the examples take it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky-relu",
            Self::Elu => "elu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::Silu => "silu",
            Self::Softplus => "softplus",
            Self::Identity => "identity",
            Self::Softmax => "softmax",
        }
    }

    /// Whether each output depends on its own `z` alone. Softmax is the one that does not.
    #[must_use]
    pub const fn is_elementwise(self) -> bool {
        !matches!(self, Self::Softmax)
    }

    /// The number by which the shaders know this activation.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Sigmoid => 0,
            Self::Tanh => 1,
            Self::Relu => 2,
            Self::Identity | Self::Softmax => 3,
            Self::LeakyRelu => 4,
            Self::Elu => 5,
            Self::Gelu => 6,
            Self::GeluTanh => 7,
            Self::Silu => 8,
            Self::Softplus => 9,
        }
    }

    /// The elementwise activation with this code: what a kernel does with `Params::activation`.
    pub(crate) const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Sigmoid,
            1 => Self::Tanh,
            2 => Self::Relu,
            4 => Self::LeakyRelu,
            5 => Self::Elu,
            6 => Self::Gelu,
            7 => Self::GeluTanh,
            8 => Self::Silu,
            9 => Self::Softplus,
            _ => Self::Identity,
        }
    }

    /// `f(z)`. Softmax has a kernel of its own; here it passes `z` on to it.
    #[inline(always)]
    pub(crate) fn f<T: Real>(self, z: T) -> T {
        match self {
            // e^-|z| never overflows, and both tails keep their relative accuracy.
            Self::Sigmoid => {
                let e = (-z.abs()).exp();
                (if z >= T::ZERO { T::ONE } else { e }) / (T::ONE + e)
            }
            Self::Tanh => z.tanh(),
            Self::Relu => above_0(z),
            Self::LeakyRelu => {
                if z < T::ZERO {
                    T::constant(0.01) * z
                } else {
                    z
                }
            }
            Self::Elu => {
                if z < T::ZERO {
                    z.exp_m1()
                } else {
                    z
                }
            }
            Self::Gelu => z * normal(z)[0],
            Self::GeluTanh => z * logistic(gelu_argument(z)[0])[0],
            Self::Silu => z * logistic(z)[0],
            Self::Softplus => above_0(z) + (-z.abs()).exp().ln_1p(),
            Self::Identity | Self::Softmax => z,
        }
    }

    /// `f'(z)`, from whichever of `z` and `a = f(z)` says it better: both are at hand.
    #[inline(always)]
    pub(crate) fn f_prime<T: Real>(self, z: T, a: T) -> T {
        match self {
            Self::Sigmoid => a * (T::ONE - a),
            Self::Tanh => T::ONE - a * a,
            Self::Relu => {
                if a > T::ZERO {
                    T::ONE
                } else {
                    T::ZERO
                }
            }
            Self::LeakyRelu => {
                if z > T::ZERO {
                    T::ONE
                } else {
                    T::constant(0.01)
                }
            }
            Self::Elu => {
                if z < T::ZERO {
                    a + T::ONE
                } else {
                    T::ONE
                }
            }
            Self::Gelu => {
                let [cdf, density] = normal(z);
                cdf + z * density
            }
            Self::GeluTanh => {
                let [v, slope] = gelu_argument(z);
                let [s, other] = logistic(v);
                s + a * other * slope
            }
            Self::Silu => {
                let [s, other] = logistic(z);
                s + a * other
            }
            Self::Softplus => logistic(z)[0],
            Self::Identity | Self::Softmax => T::ONE,
        }
    }
}

/// `max(z, 0)`, but a NaN is not hidden.
#[inline(always)]
fn above_0<T: Real>(z: T) -> T {
    if z < T::ZERO { T::ZERO } else { z }
}

/// `1 / (1 + e^-z)` and `1 / (1 + e^z)`, which add up to 1; neither loses its digits where it is small.
#[inline(always)]
fn logistic<T: Real>(z: T) -> [T; 2] {
    let e = (-z.abs()).exp();
    let sum = T::ONE + e;
    if z >= T::ZERO { [T::ONE / sum, e / sum] } else { [e / sum, T::ONE / sum] }
}

/// `Phi(z)`, the standard normal distribution, and its density `phi(z)`.
#[inline(always)]
fn normal<T: Real>(z: T) -> [T; 2] {
    let tail = z.normal_tail();
    let density = T::constant(0.398_942_280_401_432_7) * (-(T::constant(0.5) * (z * z))).exp();
    [if z < T::ZERO { tail } else { T::ONE - tail }, density]
}

/// The argument of the logistic function in the `gelu` by `tanh`, `2 sqrt(2/pi) (z + 0.044715 z^3)`, and its slope. Beyond 12 nothing
/// changes in the result, and nothing overflows.
#[inline(always)]
fn gelu_argument<T: Real>(z: T) -> [T; 2] {
    let most = T::constant(12.0);
    let x = if z > most { most } else { z };
    let x = if x < -most { -most } else { x };
    let square = x * x;
    let factor = T::constant(1.595_769_121_605_730_7);
    [factor * (x + T::constant(0.044_715) * (square * x)), factor * (T::ONE + T::constant(0.134_145) * square)]
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "activation", word)
    }
}

/// The member of `all` whose name is `word`, or an error that lists the names.
pub(crate) fn by_name<T: Copy>(all: &[T], name: fn(T) -> &'static str, what: &'static str, word: &str) -> Result<T> {
    all.iter().copied().find(|&item| name(item).eq_ignore_ascii_case(word)).ok_or_else(|| Error::UnknownName {
        what,
        word: word.to_owned(),
        known: all.iter().map(|&item| name(item)).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far out every function is 0, 1 or -1, or z times one of them, and so is its slope; a NaN stays one.
    #[test]
    #[allow(clippy::float_cmp, reason = "these are exact")]
    fn nothing_overflows_and_nan_stays() {
        for f in Activation::ALL.into_iter().filter(|f| f.is_elementwise()) {
            for z in [100.0, 1e10, 1e30, f32::MAX] {
                let [above, below] = [z, -z].map(|z| (f.f(z), f.f_prime(z, f.f(z))));
                let bounded = matches!(f, Activation::Sigmoid | Activation::Tanh);
                let want = if bounded { (1.0, 0.0) } else { (z, 1.0) };
                assert_eq!(above, want, "{f} at {z}");
                let want = match f {
                    Activation::Tanh => (-1.0, 0.0),
                    Activation::Elu => (-1.0, 0.0),
                    Activation::LeakyRelu => (-0.01 * z, 0.01),
                    Activation::Identity => (-z, 1.0),
                    _ => (0.0, 0.0),
                };
                assert!((below.0 - want.0).abs() <= 1e-37 && below.1 == want.1, "{f} at -{z}: {below:?}");
            }
            assert!(f.f(f32::NAN).is_nan(), "{f}");
            let slope = f.f_prime(f32::NAN, f32::NAN);
            let jumps = matches!(f, Activation::Relu | Activation::LeakyRelu | Activation::Elu | Activation::Identity);
            assert!(jumps || slope.is_nan(), "{f}: {slope}");
        }
    }
}
