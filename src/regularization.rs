//! What is asked of the parameters besides a small cost, and what bounds their step.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::problems::Problems;

/// Weight decay and bounds, which every optimiser has; its builder methods set them.
///
/// In a step, with the gradient `g` of the mean cost with respect to a weight `w`, in this order:
///
/// | setting | what it does |
/// |---|---|
/// | `clip_norm: Some(c)` | all gradients times `c / norm` where their norm (the root of the sum of squares, over all weights and biases) is above `c` (Pascanu et al. 2013) |
/// | `clip_value: Some(c)` | `g` to at most `c`, at least `-c` |
/// | `l2` | `g + l2 w`, the gradient of the penalty `l2/2 sum w^2` |
/// | `l1` | `g + l1 sign(w)`, the gradient of the penalty `l1 sum abs(w)`, 0 where `w` is 0 |
/// | `decoupled` | `w (1 - eta decoupled)` before the step, past the optimiser (Loshchilov and Hutter 2017) |
/// | `max_norm: Some(c)` | after the step, the weights that come into a neuron times `c / norm` where their norm is above `c` (Srivastava et al. 2014) |
///
/// Biases are clipped, but neither decay nor have a norm to keep to. The cost that is reported is without the penalties.
///
/// ```
/// use wgrad::{Adam, Regularization, Sgd};
/// let adam = Adam::new(1e-3).weight_decay(1e-4).clip_norm(1.0);
/// assert_eq!((adam.regularization.l2, adam.regularization.clip_norm), (1e-4, Some(1.0)));
/// // The book's lambda is divided by the number of training rows: lambda = 5 on MNIST's 50,000.
/// let sgd = Sgd::new(0.5).lambda(5.0, 50_000);
/// assert_eq!(sgd.regularization, Regularization { l2: 1e-4, ..Regularization::default() });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regularization {
    /// Factor of the squared weights' penalty, at least 0.
    pub l2: f32,
    /// Factor of the absolute weights' penalty, at least 0.
    pub l1: f32,
    /// Decoupled weight decay, at least 0.
    pub decoupled: f32,
    /// The largest norm of the weights that come into one neuron, above 0.
    pub max_norm: Option<f32>,
    /// The largest component of the gradient, above 0.
    pub clip_value: Option<f32>,
    /// The largest norm of the whole gradient, above 0.
    pub clip_norm: Option<f32>,
}

impl Regularization {
    /// Refuses values that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        for (option, value) in [("weight_decay", self.l2), ("l1", self.l1), ("decoupled_decay", self.decoupled)] {
            if !(value.is_finite() && value >= 0.0) {
                let value = value.to_string();
                problems.see::<()>(Err(Error::InvalidOption { option, value, want: "finite and at least 0" }));
            }
        }
        for (option, value) in
            [("max_norm", self.max_norm), ("clip_value", self.clip_value), ("clip_norm", self.clip_norm)]
        {
            if let Some(value) = value
                && !(value.is_finite() && value > 0.0)
            {
                let value = value.to_string();
                problems.see::<()>(Err(Error::InvalidOption { option, value, want: "finite and above 0" }));
            }
        }
        problems.end()
    }
}

/// The builder methods of every optimiser.
macro_rules! regularized {
    ($($optimizer:ident),*) => {$(
        impl $optimizer {
            /// With an L1 penalty: `g + l1 sign(w)` for weights; at least 0.
            #[must_use]
            pub const fn l1(mut self, l1: f32) -> Self {
                self.regularization.l1 = l1;
                self
            }

            /// With decay past the optimiser: weights times `1 - eta decay` before each step; at least 0.
            #[must_use]
            pub const fn decoupled_decay(mut self, decay: f32) -> Self {
                self.regularization.decoupled = decay;
                self
            }

            /// With this largest norm of the weights that come into one neuron; above 0.
            #[must_use]
            pub const fn max_norm(mut self, norm: f32) -> Self {
                self.regularization.max_norm = Some(norm);
                self
            }

            /// With gradients that are clipped to this, each by itself; above 0.
            #[must_use]
            pub const fn clip_value(mut self, value: f32) -> Self {
                self.regularization.clip_value = Some(value);
                self
            }

            /// With gradients that are scaled down together to this norm; above 0.
            #[must_use]
            pub const fn clip_norm(mut self, norm: f32) -> Self {
                self.regularization.clip_norm = Some(norm);
                self
            }
        }
    )*};
}
pub(crate) use regularized;

/// `weight_decay` as a penalty, for all optimisers but the one that has it decoupled.
macro_rules! coupled {
    ($($optimizer:ident),*) => {$(
        impl $optimizer {
            /// With an L2 penalty: `g + l2 w` for weights; at least 0.
            #[must_use]
            pub const fn weight_decay(mut self, l2: f32) -> Self {
                self.regularization.l2 = l2;
                self
            }

            /// With the book's L2 penalty `lambda / (2 n) sum w^2`, for `n` training rows: a weight decay of `lambda / n`.
            #[must_use]
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a quotient, rounded once")]
            pub const fn lambda(mut self, lambda: f32, rows: usize) -> Self {
                self.regularization.l2 = (lambda as f64 / rows as f64) as f32;
                self
            }
        }
    )*};
}
pub(crate) use coupled;
