//! The optimisers and what goes with them, once more in `f64`, parameter by parameter: the rules as PyTorch documents them.

use super::{Example, Layers, Network, add, sign};
use crate::error::{Error, Result};
use crate::{Adam, AdamW, Momentum, Nesterov, Optimizer, Regularization, RmsProp, Sgd};

/// An optimiser at work on a [`Network`], with what it remembers between steps.
///
/// ```
/// use wgrad::reference::{Descent, Network};
/// use wgrad::{Activation, Adam, Cost};
///
/// let mut net = Network::new(&[1, 1], &[Activation::Identity], Cost::Quadratic)?;
/// let mut descent = Descent::new(&net, Adam::new(0.125))?;
/// descent.step(&mut net, &[(vec![1.0], vec![3.0])])?;
/// // Adam's first step is eta long, whatever the gradient.
/// assert!((net.weights[0][0] - 0.125).abs() < 1e-8);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Descent {
    optimizer: Optimizer,
    steps: i32,
    weights: Vec<Vec<Memory>>,
    biases: Vec<Vec<Memory>>,
}

/// What is remembered of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Memory {
    m: f64,
    v: f64,
}

impl Descent {
    /// An optimiser that has not seen a gradient yet.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for numbers that cannot work.
    pub fn new(net: &Network, optimizer: impl Into<Optimizer>) -> Result<Self> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        let blank = |layers: &Layers| layers.iter().map(|layer| vec![Memory::default(); layer.len()]).collect();
        Ok(Self { optimizer, steps: 0, weights: blank(&net.weights), biases: blank(&net.biases) })
    }

    /// One step on a mini-batch: its mean gradient, clipped by its norm, then every parameter, then the norms of the weights.
    ///
    /// # Errors
    /// As [`Network::mean_gradient`], and [`Error::Shape`] for a network of other sizes than the one that this
    /// was made for; nothing is changed then.
    pub fn step(&mut self, net: &mut Network, mini_batch: &[Example]) -> Result<()> {
        let lengths = |memory: &[Vec<Memory>]| memory.iter().map(Vec::len).collect::<Vec<_>>();
        for (what, memory, now) in [("weights", &self.weights, &net.weights), ("biases", &self.biases, &net.biases)] {
            let (want, got) = (lengths(memory), now.iter().map(Vec::len).collect::<Vec<_>>());
            if want != got {
                let want = format!("{want:?}, as the network has that this descent was made for");
                return Err(Error::shape(
                    format!("reference: numbers of {what} of each layer"),
                    want,
                    format!("{got:?}"),
                ));
            }
        }
        let (mut nabla_b, mut nabla_w) = net.mean_gradient(mini_batch)?;
        let Regularization { max_norm, clip_norm, .. } = self.optimizer.regularization();
        if let Some(most) = clip_norm {
            let squares: f64 = nabla_b.iter().chain(&nabla_w).flatten().map(|g| g * g).sum();
            let factor = (f64::from(most) / squares.sqrt()).min(1.0);
            nabla_b.iter_mut().chain(&mut nabla_w).flatten().for_each(|g| *g *= factor);
        }
        self.steps += 1;
        for l in 0..net.weights.len() {
            for i in 0..net.weights[l].len() {
                let memory = &mut self.weights[l][i];
                let w = net.weights[l][i];
                net.weights[l][i] = moved(self.optimizer, self.steps, memory, w, nabla_w[l][i], true);
            }
            for j in 0..net.biases[l].len() {
                let memory = &mut self.biases[l][j];
                let b = net.biases[l][j];
                net.biases[l][j] = moved(self.optimizer, self.steps, memory, b, nabla_b[l][j], false);
            }
            if let Some(most) = max_norm {
                for row in net.weights[l].chunks_mut(net.sizes[l]) {
                    let norm = row.iter().map(|w| w * w).sum::<f64>().sqrt();
                    if norm > f64::from(most) {
                        row.iter_mut().for_each(|w| *w *= f64::from(most) / norm);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The parameter after step `t`, counted from 1.
fn moved(optimizer: Optimizer, t: i32, memory: &mut Memory, w: f64, gradient: f64, is_weight: bool) -> f64 {
    let Regularization { l2, l1, decoupled, clip_value, .. } = optimizer.regularization();
    let eta = f64::from(optimizer.eta());
    let mut g = clip_value.map_or(gradient, |most| gradient.clamp(-f64::from(most), f64::from(most)));
    let mut w = w;
    if is_weight {
        g += f64::from(l2) * w + f64::from(l1) * sign(w);
        w -= eta * f64::from(decoupled) * w;
    }
    match optimizer {
        Optimizer::Sgd(Sgd { .. }) => w - eta * g,
        Optimizer::Momentum(Momentum { mu, .. }) => {
            memory.m = f64::from(mu) * memory.m + g;
            w - eta * memory.m
        }
        Optimizer::Nesterov(Nesterov { mu, .. }) => {
            memory.m = f64::from(mu) * memory.m + g;
            w - eta * (g + f64::from(mu) * memory.m)
        }
        Optimizer::RmsProp(RmsProp { alpha, epsilon, .. }) => {
            let alpha = f64::from(alpha);
            memory.v = alpha * memory.v + (1.0 - alpha) * g * g;
            w - eta * g / (memory.v.sqrt() + f64::from(epsilon))
        }
        Optimizer::Adam(Adam { beta_1, beta_2, epsilon, .. })
        | Optimizer::AdamW(AdamW { beta_1, beta_2, epsilon, .. }) => {
            let [beta_1, beta_2] = [beta_1, beta_2].map(f64::from);
            memory.m = beta_1 * memory.m + (1.0 - beta_1) * g;
            memory.v = beta_2 * memory.v + (1.0 - beta_2) * g * g;
            let m_hat = memory.m / (1.0 - beta_1.powi(t));
            let v_hat = memory.v / (1.0 - beta_2.powi(t));
            w - eta * m_hat / (v_hat.sqrt() + f64::from(epsilon))
        }
    }
}

/// What the penalties add to the mean cost: `l2/2 sum w^2 + l1 sum abs(w)`, over the weights.
#[must_use]
pub fn penalty(net: &Network, regularization: &Regularization) -> f64 {
    let (l2, l1) = (f64::from(regularization.l2), f64::from(regularization.l1));
    net.weights.iter().flatten().map(|w| 0.5 * l2 * w * w + l1 * w.abs()).sum()
}

/// The gradient of the mean cost with its penalties, `(nabla_b, nabla_w)`; that of `abs(w)` is taken as 0 where `w` is 0.
///
/// # Errors
/// As [`Network::mean_gradient`].
pub fn penalised_gradient(
    net: &Network,
    mini_batch: &[Example],
    regularization: &Regularization,
) -> Result<(Layers, Layers)> {
    let (l2, l1) = (f64::from(regularization.l2), f64::from(regularization.l1));
    let (nabla_b, mut nabla_w) = net.mean_gradient(mini_batch)?;
    let signs = net.weights.iter().map(|layer| layer.iter().map(|&w| sign(w)).collect()).collect();
    add(&mut nabla_w, l2, &net.weights);
    add(&mut nabla_w, l1, &signs);
    Ok((nabla_b, nabla_w))
}
