//! How gradients move the parameters.
//!
//! Adding one: a struct, a variant with its arms here and, if it computes something else, a [`Rule`] with its arms in
//! `cpu/update.rs`, in `shaders/update.wgsl` and the copies of that text, and in `reference/descent.rs`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::problems::Problems;
use crate::regularization::{Regularization, coupled, regularized};

/// Stochastic gradient descent: `w -> w - eta * g`, the notes' rule.
///
/// ```
/// use wgrad::Sgd;
/// let sgd = Sgd::new(3.0);
/// assert_eq!(sgd.eta, 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Sgd {
    /// The learning rate, above 0.
    pub eta: f32,
    /// Weight decay and bounds; none unless set.
    pub regularization: Regularization,
}

impl Sgd {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        Self { eta, regularization: NONE }
    }
}

/// Gradient descent with momentum: `m -> mu m + g`, `w -> w - eta m` (Polyak 1964, in PyTorch's form).
///
/// ```
/// use wgrad::Momentum;
/// assert_eq!(Momentum::new(0.1).mu, 0.9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Momentum {
    /// The learning rate, above 0.
    pub eta: f32,
    /// How much of the last step is kept, in \[0, 1\); 0.9 unless set.
    pub mu: f32,
    /// Weight decay and bounds; none unless set.
    pub regularization: Regularization,
}

impl Momentum {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        Self { eta, mu: 0.9, regularization: NONE }
    }

    /// With this momentum, in \[0, 1\).
    #[must_use]
    pub const fn mu(mut self, mu: f32) -> Self {
        self.mu = mu;
        self
    }
}

/// Nesterov's momentum: `m -> mu m + g`, `w -> w - eta (g + mu m)` (Sutskever et al. 2013, in PyTorch's form).
///
/// ```
/// use wgrad::Nesterov;
/// assert_eq!(Nesterov::new(0.1).mu(0.95).mu, 0.95);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Nesterov {
    /// The learning rate, above 0.
    pub eta: f32,
    /// How much of the last step is kept, in \[0, 1\); 0.9 unless set.
    pub mu: f32,
    /// Weight decay and bounds; none unless set.
    pub regularization: Regularization,
}

impl Nesterov {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        Self { eta, mu: 0.9, regularization: NONE }
    }

    /// With this momentum, in \[0, 1\).
    #[must_use]
    pub const fn mu(mut self, mu: f32) -> Self {
        self.mu = mu;
        self
    }
}

/// RMSProp: `v -> alpha v + (1 - alpha) g^2`, `w -> w - eta g / (sqrt v + epsilon)` (Hinton 2012, in PyTorch's form).
///
/// ```
/// use wgrad::RmsProp;
/// assert_eq!(RmsProp::new(0.01).alpha, 0.99);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RmsProp {
    /// The learning rate, above 0.
    pub eta: f32,
    /// How slowly the mean of the squares forgets, in \[0, 1\); 0.99 unless set.
    pub alpha: f32,
    /// What keeps the quotient finite, above 0; 1e-8 unless set.
    pub epsilon: f32,
    /// Weight decay and bounds; none unless set.
    pub regularization: Regularization,
}

impl RmsProp {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        Self { eta, alpha: 0.99, epsilon: 1e-8, regularization: NONE }
    }

    /// With this smoothing, in \[0, 1\).
    #[must_use]
    pub const fn alpha(mut self, alpha: f32) -> Self {
        self.alpha = alpha;
        self
    }

    /// With this in the denominator, above 0.
    #[must_use]
    pub const fn epsilon(mut self, epsilon: f32) -> Self {
        self.epsilon = epsilon;
        self
    }
}

/// Adam (Kingma and Ba 2014): `m -> beta_1 m + (1 - beta_1) g`, `v -> beta_2 v + (1 - beta_2) g^2`, and in step `t`, from 1,
/// `w -> w - eta (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)`. Weight decay is a part of `g`.
///
/// ```
/// use wgrad::Adam;
/// let adam = Adam::default();
/// assert_eq!((adam.eta, adam.beta_1, adam.beta_2, adam.epsilon), (1e-3, 0.9, 0.999, 1e-8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Adam {
    /// The learning rate, above 0; 0.001 by default.
    pub eta: f32,
    /// How slowly the mean of the gradients forgets, in \[0, 1\); 0.9 unless set.
    pub beta_1: f32,
    /// How slowly the mean of their squares forgets, in \[0, 1\); 0.999 unless set.
    pub beta_2: f32,
    /// What keeps the quotient finite, above 0; 1e-8 unless set.
    pub epsilon: f32,
    /// Weight decay and bounds; none unless set.
    pub regularization: Regularization,
}

impl Adam {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        Self { eta, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, regularization: NONE }
    }

    /// With these smoothings, in \[0, 1\).
    #[must_use]
    pub const fn betas(mut self, beta_1: f32, beta_2: f32) -> Self {
        (self.beta_1, self.beta_2) = (beta_1, beta_2);
        self
    }

    /// With this in the denominator, above 0.
    #[must_use]
    pub const fn epsilon(mut self, epsilon: f32) -> Self {
        self.epsilon = epsilon;
        self
    }
}

impl Default for Adam {
    fn default() -> Self {
        Self::new(1e-3)
    }
}

/// [`Adam`] with decoupled weight decay (Loshchilov and Hutter 2017): `w -> w (1 - eta decay)`, then the step without it.
///
/// ```
/// use wgrad::AdamW;
/// let adam = AdamW::new(1e-3).weight_decay(0.1);
/// assert_eq!((adam.regularization.decoupled, adam.regularization.l2), (0.1, 0.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AdamW {
    /// The learning rate, above 0; 0.001 by default.
    pub eta: f32,
    /// How slowly the mean of the gradients forgets, in \[0, 1\); 0.9 unless set.
    pub beta_1: f32,
    /// How slowly the mean of their squares forgets, in \[0, 1\); 0.999 unless set.
    pub beta_2: f32,
    /// What keeps the quotient finite, above 0; 1e-8 unless set.
    pub epsilon: f32,
    /// Weight decay and bounds; a decoupled decay of 0.01 unless set.
    pub regularization: Regularization,
}

impl AdamW {
    /// With this learning rate.
    #[must_use]
    pub const fn new(eta: f32) -> Self {
        let Adam { beta_1, beta_2, epsilon, .. } = Adam::new(eta);
        Self { eta, beta_1, beta_2, epsilon, regularization: Regularization { decoupled: 0.01, ..NONE } }
    }

    /// With this decoupled decay; at least 0.
    #[must_use]
    pub const fn weight_decay(self, decay: f32) -> Self {
        self.decoupled_decay(decay)
    }

    /// With these smoothings, in \[0, 1\).
    #[must_use]
    pub const fn betas(mut self, beta_1: f32, beta_2: f32) -> Self {
        (self.beta_1, self.beta_2) = (beta_1, beta_2);
        self
    }

    /// With this in the denominator, above 0.
    #[must_use]
    pub const fn epsilon(mut self, epsilon: f32) -> Self {
        self.epsilon = epsilon;
        self
    }
}

impl Default for AdamW {
    fn default() -> Self {
        Self::new(1e-3)
    }
}

/// As `Default`, in constant expressions.
const NONE: Regularization =
    Regularization { l2: 0.0, l1: 0.0, decoupled: 0.0, max_norm: None, clip_value: None, clip_norm: None };

regularized!(Sgd, Momentum, Nesterov, RmsProp, Adam, AdamW);
coupled!(Sgd, Momentum, Nesterov, RmsProp, Adam);

/// Any optimiser.
///
/// What it remembers between steps (`m`, `v`, the count of steps) belongs to the network that it trains, and stays there from one
/// call to the next, of [`update_mini_batch`](crate::Network::update_mini_batch) as of [`fit`](crate::Trainer::fit_async), whatever
/// numbers the optimiser then has. It starts again from nothing when another kind of optimiser takes over, and when
/// [`reset_optimizer`](crate::Network::reset_optimizer) is called.
///
/// ```
/// use wgrad::{Adam, Optimizer};
/// let optimizer: Optimizer = Adam::new(0.01).into();
/// assert_eq!(optimizer.to_string(), "adam");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// With momentum.
    Momentum(Momentum),
    /// With Nesterov's momentum.
    Nesterov(Nesterov),
    /// RMSProp.
    RmsProp(RmsProp),
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
}

macro_rules! from {
    ($($optimizer:ident),*) => {$(
        impl From<$optimizer> for Optimizer {
            fn from(optimizer: $optimizer) -> Self {
                Self::$optimizer(optimizer)
            }
        }
    )*};
}
from!(Sgd, Momentum, Nesterov, RmsProp, Adam, AdamW);

/// Numbers that the update kernels are told for a step; the constants below are their places, and the shaders have the same ones.
pub(crate) const HYPER: usize = 14;
/// The learning rate.
pub(crate) const ETA: usize = 0;
/// `eta / (1 - beta_1^t)`.
pub(crate) const STEP_SIZE: usize = 1;
/// `1 - eta decoupled`.
pub(crate) const KEEP: usize = 2;
/// The factor of `w` in the gradient.
pub(crate) const L2: usize = 3;
/// The factor of `sign(w)` in the gradient.
pub(crate) const L1: usize = 4;
/// The largest component of the gradient; 0: any.
pub(crate) const CLIP_VALUE: usize = 5;
/// The largest norm of the gradient, where the plan clips it.
pub(crate) const CLIP_NORM: usize = 6;
/// The largest norm of a neuron's weights, where the plan keeps them to it.
pub(crate) const MAX_NORM: usize = 7;
/// `mu`, or `beta_1`.
pub(crate) const BETA_1: usize = 8;
/// `1 - beta_1`.
pub(crate) const REST_1: usize = 9;
/// `alpha`, or `beta_2`.
pub(crate) const BETA_2: usize = 10;
/// `1 - beta_2`.
pub(crate) const REST_2: usize = 11;
/// `1 / sqrt(1 - beta_2^t)`.
pub(crate) const ROOT: usize = 12;
/// `epsilon`.
pub(crate) const EPSILON: usize = 13;

/// What is done to one parameter, whatever the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rule {
    /// [`Sgd`].
    #[default]
    Sgd,
    /// [`Momentum`].
    Momentum,
    /// [`Nesterov`].
    Nesterov,
    /// [`RmsProp`].
    RmsProp,
    /// [`Adam`] and [`AdamW`].
    Adam,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] = [Self::Sgd, Self::Momentum, Self::Nesterov, Self::RmsProp, Self::Adam];

    /// The number by which the shaders know it.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Sgd => 0,
            Self::Momentum => 1,
            Self::Nesterov => 2,
            Self::RmsProp => 3,
            Self::Adam => 4,
        }
    }

    /// The rule with this code: what a kernel does with `Params::rule`.
    pub(crate) const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Sgd,
            1 => Self::Momentum,
            2 => Self::Nesterov,
            3 => Self::RmsProp,
            _ => Self::Adam,
        }
    }

    /// How many numbers it remembers of each parameter: those of all parameters lie one arena after the other, `m` before `v`.
    pub(crate) const fn remembers(self) -> usize {
        match self {
            Self::Sgd => 0,
            Self::Momentum | Self::Nesterov | Self::RmsProp => 1,
            Self::Adam => 2,
        }
    }
}

/// What a plan has to know of an optimiser; its numbers come with each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Update {
    /// What is done to each parameter.
    pub rule: Rule,
    /// Whether the norm of the gradient is bounded.
    pub clip_norm: bool,
    /// Whether the norm of each neuron's weights is bounded.
    pub max_norm: bool,
}

impl Optimizer {
    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Momentum(_) => "momentum",
            Self::Nesterov(_) => "nesterov",
            Self::RmsProp(_) => "rmsprop",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
        }
    }

    /// What a plan has to know of it.
    #[must_use]
    pub const fn update(self) -> Update {
        let rule = match self {
            Self::Sgd(_) => Rule::Sgd,
            Self::Momentum(_) => Rule::Momentum,
            Self::Nesterov(_) => Rule::Nesterov,
            Self::RmsProp(_) => Rule::RmsProp,
            Self::Adam(_) | Self::AdamW(_) => Rule::Adam,
        };
        let Regularization { clip_norm, max_norm, .. } = self.regularization();
        Update { rule, clip_norm: clip_norm.is_some(), max_norm: max_norm.is_some() }
    }

    /// Weight decay and bounds.
    #[must_use]
    pub const fn regularization(self) -> Regularization {
        match self {
            Self::Sgd(Sgd { regularization, .. })
            | Self::Momentum(Momentum { regularization, .. })
            | Self::Nesterov(Nesterov { regularization, .. })
            | Self::RmsProp(RmsProp { regularization, .. })
            | Self::Adam(Adam { regularization, .. })
            | Self::AdamW(AdamW { regularization, .. }) => regularization,
        }
    }

    /// The learning rate.
    #[must_use]
    pub const fn eta(self) -> f32 {
        match self {
            Self::Sgd(Sgd { eta, .. })
            | Self::Momentum(Momentum { eta, .. })
            | Self::Nesterov(Nesterov { eta, .. })
            | Self::RmsProp(RmsProp { eta, .. })
            | Self::Adam(Adam { eta, .. })
            | Self::AdamW(AdamW { eta, .. }) => eta,
        }
    }

    /// The learning rate times a schedule's factor, as the device gets it.
    #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what is wanted")]
    pub(crate) fn eta_times(self, factor: f64) -> f64 {
        f64::from((f64::from(self.eta()) * factor) as f32)
    }

    /// Refuses values that cannot work.
    pub(crate) fn check(self) -> Result<()> {
        let above_0 = |option: &'static str, value: f32| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(Error::InvalidOption { option, value: value.to_string(), want: "finite and above 0" })
        };
        let below_1 = |option: &'static str, value: f32| {
            if (0.0..1.0).contains(&value) {
                return Ok(());
            }
            Err(Error::InvalidOption { option, value: value.to_string(), want: "at least 0 and below 1" })
        };
        let mut problems = Problems::default();
        problems.see(above_0("eta", self.eta()));
        problems.see(self.regularization().check());
        match self {
            Self::Sgd(_) => {}
            Self::Momentum(Momentum { mu, .. }) | Self::Nesterov(Nesterov { mu, .. }) => {
                problems.see(below_1("mu", mu));
            }
            Self::RmsProp(RmsProp { alpha, epsilon, .. }) => {
                problems.see(below_1("alpha", alpha));
                problems.see(above_0("epsilon", epsilon));
            }
            Self::Adam(Adam { beta_1, beta_2, epsilon, .. }) | Self::AdamW(AdamW { beta_1, beta_2, epsilon, .. }) => {
                problems.see(below_1("beta_1", beta_1));
                problems.see(below_1("beta_2", beta_2));
                problems.see(above_0("epsilon", epsilon));
            }
        }
        problems.end()
    }

    /// The numbers that the update kernels are told for step `step`, counted from 1 over all that the optimiser remembers, with the
    /// learning rate times `factor`. The corrections of Adam's means, which are biased towards 0 at first, are computed here.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "each number is rounded once")]
    pub(crate) fn hyper(self, step: u64, factor: f64) -> [f32; HYPER] {
        let Regularization { l2, l1, decoupled, max_norm, clip_value, clip_norm } = self.regularization();
        let eta = f64::from(self.eta()) * factor;
        let mut hyper = [0.0; HYPER];
        hyper[ETA] = eta as f32;
        hyper[KEEP] = (1.0 - eta * f64::from(decoupled)) as f32;
        hyper[L2] = l2;
        hyper[L1] = l1;
        // Without a bound the plan has no kernel that would read one.
        hyper[CLIP_VALUE] = clip_value.unwrap_or(0.0);
        hyper[CLIP_NORM] = clip_norm.unwrap_or(0.0);
        hyper[MAX_NORM] = max_norm.unwrap_or(0.0);
        match self {
            Self::Sgd(_) => {}
            Self::Momentum(Momentum { mu, .. }) | Self::Nesterov(Nesterov { mu, .. }) => hyper[BETA_1] = mu,
            Self::RmsProp(RmsProp { alpha, epsilon, .. }) => {
                (hyper[BETA_2], hyper[REST_2]) = (alpha, (1.0 - f64::from(alpha)) as f32);
                hyper[EPSILON] = epsilon;
            }
            Self::Adam(Adam { beta_1, beta_2, epsilon, .. }) | Self::AdamW(AdamW { beta_1, beta_2, epsilon, .. }) => {
                // The power of libm has the same bits everywhere.
                let [rest_1, rest_2] = [beta_1, beta_2].map(|beta| 1.0 - libm::pow(beta.into(), step as f64));
                hyper[STEP_SIZE] = (eta / rest_1) as f32;
                hyper[ROOT] = (1.0 / rest_2.sqrt()) as f32;
                (hyper[BETA_1], hyper[REST_1]) = (beta_1, (1.0 - f64::from(beta_1)) as f32);
                (hyper[BETA_2], hyper[REST_2]) = (beta_2, (1.0 - f64::from(beta_2)) as f32);
                hyper[EPSILON] = epsilon;
            }
        }
        hyper
    }
}

impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
