//! Activation functions `a = f(z)` and their derivatives `f'(z)`.
//!
//! Adding one: a variant, its name and its arms in [`Activation::f`] and [`Activation::f_prime`] here, its arm in the
//! functions `f` and `f_prime` of `shaders/activation.wgsl` and `shaders/dense.wgsl`, and its arms in
//! `reference.rs`. Parity, finite differences and names then follow, since the tests walk [`Activation::ALL`].

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `f(z) = 1 / (1 + e^-z)`, `f'(z) = f(z) (1 - f(z))`; values in (0, 1).
    Sigmoid,
    /// `f(z) = tanh z`, `f'(z) = 1 - f(z)^2`; values in (-1, 1).
    Tanh,
    /// `f(z) = max(z, 0)`, `f'(z) = 1` for `z > 0`, else `0`. NaN stays NaN.
    Relu,
    /// `f(z) = z`, `f'(z) = 1`.
    Identity,
    /// `f(z)_j = e^z_j / sum_k e^z_k` over one row; only as the last layer, with
    /// [`Cost::CategoricalCrossEntropy`](crate::Cost::CategoricalCrossEntropy).
    Softmax,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 5] = [Self::Sigmoid, Self::Tanh, Self::Relu, Self::Identity, Self::Softmax];

    /// The name in lower case, as the examples take it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
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
        }
    }

    /// The elementwise activation with this code: what a kernel does with `Params::activation`.
    pub(crate) const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Sigmoid,
            1 => Self::Tanh,
            2 => Self::Relu,
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
            // `z < 0`, not `max(z, 0)`: a NaN must not be hidden.
            Self::Relu => {
                if z < T::ZERO {
                    T::ZERO
                } else {
                    z
                }
            }
            Self::Identity | Self::Softmax => z,
        }
    }

    /// `f'(z)`, computed from the activation `a = f(z)`, which is at hand and costs no second exponential.
    #[inline(always)]
    pub(crate) fn f_prime<T: Real>(self, a: T) -> T {
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
            Self::Identity | Self::Softmax => T::ONE,
        }
    }
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
