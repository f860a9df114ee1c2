//! The algorithm of the notes line by line: `f64`, one example at a time, plain loops.
//!
//! The backends are checked against this module, so it shares no formula with them: each is written again here, from
//! its equation, and in `f64`, where finite differences can check it sharply. It is slow on purpose. Numbers in
//! brackets, and BP1 to BP4, are those of the notes' equations.
//!
//! | step of the algorithm | equation | here |
//! |---|---|---|
//! | 1, 2. input `x = a^1`, feedforward | (2) `z^l = w^l a^(l-1) + b^l`, `a^l = f(z^l)` | [`Network::feedforward`] |
//! | 3. output error | BP1 `delta^L = nabla_a C (.) f'(z^L)` | [`Network::deltas`] |
//! | 4. backpropagate the error | BP2 `delta^l = ((w^(l+1))^T delta^(l+1)) (.) f'(z^l)` | [`Network::deltas`] |
//! | 5. output: the gradient | BP3 `dC/db^l = delta^l`, BP4 `dC/dw^l = delta^l (a^(l-1))^T` | [`Network::backprop`] |
//! | gradient descent | `w -> w - eta/m sum_x dC_x/dw`, the same for `b` | [`Network::update_mini_batch`]; [`Descent`] has the other optimisers |
//!
//! `(.)` is the elementwise (Hadamard) product. The notes count layers from 1, the input; lists here count from 0, as
//! the notes' Python does: the lists of weights, biases, weighted inputs, errors and gradients start with layer 2,
//! while the list of activations starts with `a^1 = x`. So `weights[l]` takes `activations[l]` to `zs[l]`, from
//! `sizes[l]` neurons to `sizes[l + 1]`.
//!
//! Lengths are checked, numbers are not: a NaN or an infinity that is handed in goes through the equations as `f64` arithmetic
//! has it, so that a test can see what becomes of one.

#![expect(clippy::needless_range_loop, reason = "the indices j, k and l are those of the equations")]

mod descent;
mod weighted;

pub use descent::{Descent, penalised_gradient, penalty};
pub use weighted::smoothed;

use crate::error::{Error, Result};
use crate::{Activation, Cost};

/// Weights of one layer, at most: two gibibytes of them.
const MOST_WEIGHTS: usize = 1 << 28;

/// One list of numbers for each layer.
pub type Layers = Vec<Vec<f64>>;

/// One training example: the input `x` and the desired output `y`.
pub type Example = (Vec<f64>, Vec<f64>);

/// A feed-forward network and the cost it is to make small.
///
/// One step of gradient descent on a 2-2-1 network of sigmoid neurons, with the quadratic cost (3):
///
/// ```
/// use wgrad::reference::Network;
/// use wgrad::{Activation, Cost};
///
/// let mut net = Network::new(&[2, 2, 1], &[Activation::Sigmoid; 2], Cost::Quadratic)?;
/// net.weights = vec![vec![0.5, -1.0, 1.5, 0.25], vec![2.0, -0.75]]; // w^2 (2, 2) and w^3 (1, 2)
/// net.biases = vec![vec![0.1, -0.2], vec![0.3]];
///
/// let mini_batch = [(vec![1.0, 0.0], vec![1.0]), (vec![1.0, 1.0], vec![0.0])];
/// let before = net.mean_cost(&mini_batch)?;
/// net.update_mini_batch(&mini_batch, 0.5)?;
/// assert!(net.mean_cost(&mini_batch)? < before);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    sizes: Vec<usize>,
    activations: Vec<Activation>,
    cost: Cost,
    /// The weights: `weights[l][j * sizes[l] + k]` is `w_jk`, from neuron `k` of one layer to neuron `j` of the next.
    /// Row-major, `(sizes[l + 1], sizes[l])`.
    pub weights: Layers,
    /// The biases: `biases[l][j]` is `b_j`, `(sizes[l + 1])`.
    pub biases: Layers,
}

impl Network {
    /// A network with all weights and biases 0. `sizes` counts the neurons of each layer, input first; `activations`
    /// has the function of each layer after the input.
    ///
    /// # Errors
    /// [`Error::Architecture`] for fewer than two layers, a layer without neurons or with more than 2^28 weights, another number of
    /// activations than of layers after the input, or softmax before the last layer; [`Error::Pairing`] for a cost that does not go with
    /// the last activation.
    pub fn new(sizes: &[usize], activations: &[Activation], cost: Cost) -> Result<Self> {
        let refuse = |problem: String| Err(Error::Architecture { problem });
        let [hidden @ .., last] = activations else {
            return refuse("there must be at least one layer after the input".to_owned());
        };
        if sizes.len() != activations.len() + 1 {
            return refuse(format!(
                "{} sizes, of which the first is the input's, for {} activations",
                sizes.len(),
                activations.len()
            ));
        }
        if let Some(l) = sizes.iter().position(|&n| n == 0) {
            return refuse(format!("layer {} has no neurons", l + 1));
        }
        if let Some(l) = hidden.iter().position(|f| !f.is_elementwise()) {
            return refuse(format!("layer {} is {}, which can only be the last", l + 2, hidden[l]));
        }
        let weights = |n: &[usize]| n[0].checked_mul(n[1]).filter(|&count| count <= MOST_WEIGHTS);
        if let Some(l) = sizes.windows(2).position(|n| weights(n).is_none()) {
            return refuse(format!("layer {} of {} x {} weights is too large", l + 2, sizes[l], sizes[l + 1]));
        }
        cost.check(*last)?;
        Ok(Self {
            sizes: sizes.to_vec(),
            activations: activations.to_vec(),
            cost,
            weights: sizes.windows(2).map(|n| vec![0.0; n[1] * n[0]]).collect(),
            biases: sizes[1..].iter().map(|&n| vec![0.0; n]).collect(),
        })
    }

    /// The number of neurons of each layer, input first.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The notes' `L`: the number of layers, the input included.
    #[must_use]
    pub fn num_layers(&self) -> usize {
        self.sizes.len()
    }

    /// The activation function of each layer after the input.
    #[must_use]
    pub fn activations(&self) -> &[Activation] {
        &self.activations
    }

    /// The cost function `C`.
    #[must_use]
    pub fn cost_function(&self) -> Cost {
        self.cost
    }

    /// `a^L(x)`, the network's output: equation (2), layer after layer. `x (sizes[0])` gives `(sizes[L - 1])`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x`, or one of the public `weights` and `biases`, has the wrong length.
    pub fn feedforward(&self, x: &[f64]) -> Result<Vec<f64>> {
        let (_, mut activations) = self.weighted_inputs_and_activations(x)?;
        Ok(activations.swap_remove(self.num_layers() - 1))
    }

    /// Equation (2) in its two parts, `z^l = w^l a^(l-1) + b^l` and `a^l = f(z^l)`, kept for every layer.
    ///
    /// The first list is `z^2, ..., z^L`; the second, one longer, is `a^1 = x, a^2, ..., a^L`.
    ///
    /// # Errors
    /// As [`feedforward`](Self::feedforward).
    pub fn weighted_inputs_and_activations(&self, x: &[f64]) -> Result<(Layers, Layers)> {
        check_length("input x", self.sizes[0], x)?;
        self.check_parameters()?;
        let mut activations = vec![x.to_vec()];
        let mut zs = Vec::new();
        for l in 0..self.weights.len() {
            let (rows, columns) = (self.sizes[l + 1], self.sizes[l]);
            let mut z = vec![0.0; rows];
            for j in 0..rows {
                for k in 0..columns {
                    z[j] += self.weights[l][j * columns + k] * activations[l][k];
                }
                z[j] += self.biases[l][j];
            }
            activations.push(activation(self.activations[l], &z));
            zs.push(z);
        }
        Ok((zs, activations))
    }

    /// `C_x`, the cost of one example.
    ///
    /// | cost | `C_x` |
    /// |---|---|
    /// | quadratic (4) | `1/2 sum_j (y_j - a_j)^2` |
    /// | binary cross-entropy | `-sum_j [y_j ln a_j + (1 - y_j) ln(1 - a_j)]` |
    /// | categorical cross-entropy | `-sum_j y_j ln a_j` |
    /// | Huber | `sum_j h(y_j - a_j)`, `h(r) = r^2/2` up to 1, else `abs(r) - 1/2` |
    /// | absolute | `sum_j abs(y_j - a_j)` |
    ///
    /// The cross-entropies are computed from `z^L`, not `a^L`: where an output saturates, `a` rounds to 0 or 1 and its
    /// logarithm would be infinite, while the cost itself is about `|z|`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x`, `y` or a parameter has the wrong length.
    pub fn cost(&self, x: &[f64], y: &[f64]) -> Result<f64> {
        let (zs, activations) = self.weighted_inputs_and_activations(x)?;
        let (z, a) = (&zs[zs.len() - 1], &activations[zs.len()]);
        check_length("target y", a.len(), y)?;
        let outputs = 0..a.len();
        Ok(match self.cost {
            Cost::Quadratic => 0.5 * outputs.map(|j| (y[j] - a[j]) * (y[j] - a[j])).sum::<f64>(),
            // ln a = ln sigmoid(z) = -softplus(-z), and ln(1 - a) = ln sigmoid(-z) = -softplus(z)
            Cost::BinaryCrossEntropy => outputs.map(|j| y[j] * softplus(-z[j]) + (1.0 - y[j]) * softplus(z[j])).sum(),
            Cost::CategoricalCrossEntropy => {
                let log_a = log_softmax(z);
                -outputs.map(|j| y[j] * log_a[j]).sum::<f64>()
            }
            Cost::Huber => {
                outputs.map(|j| (y[j] - a[j]).abs()).map(|r| if r > 1.0 { r - 0.5 } else { 0.5 * r * r }).sum()
            }
            Cost::Absolute => outputs.map(|j| (y[j] - a[j]).abs()).sum(),
        })
    }

    /// `C = 1/n sum_x C_x`, the average over the examples: equation (3).
    ///
    /// # Errors
    /// As [`cost`](Self::cost), and [`Error::Empty`] without examples.
    pub fn mean_cost(&self, examples: &[Example]) -> Result<f64> {
        let n = count(examples)?;
        let mut sum = 0.0;
        for (x, y) in examples {
            sum += self.cost(x, y)?;
        }
        Ok(sum / n)
    }

    /// `nabla_a C`, the vector of the partial derivatives `dC_x/da^L_j`.
    ///
    /// | cost | `dC_x/da_j` |
    /// |---|---|
    /// | quadratic | `a_j - y_j` |
    /// | binary cross-entropy | `(a_j - y_j) / (a_j (1 - a_j))` |
    /// | categorical cross-entropy | `-y_j / a_j` |
    /// | Huber | `a_j - y_j`, at most 1, at least -1 |
    /// | absolute | the sign of `a_j - y_j` |
    ///
    /// The last two are infinite or NaN where an output has saturated; [`deltas`](Self::deltas) has no need of them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `a` or `y` has not the length of the last layer.
    pub fn cost_derivative(&self, a: &[f64], y: &[f64]) -> Result<Vec<f64>> {
        let outputs = self.sizes[self.num_layers() - 1];
        check_length("output activations a", outputs, a)?;
        check_length("target y", outputs, y)?;
        Ok((0..outputs)
            .map(|j| match self.cost {
                Cost::Quadratic => a[j] - y[j],
                Cost::BinaryCrossEntropy => (a[j] - y[j]) / (a[j] * (1.0 - a[j])),
                Cost::CategoricalCrossEntropy => -y[j] / a[j],
                Cost::Huber => (a[j] - y[j]).clamp(-1.0, 1.0),
                Cost::Absolute => sign(a[j] - y[j]),
            })
            .collect())
    }

    /// The errors `delta^2, ..., delta^L` of one example, `delta^l_j = dC_x/dz^l_j` (5): BP1, then BP2 back to layer 2.
    ///
    /// With the quadratic cost BP1 reads `delta^L = (a^L - y) (.) f'(z^L)` (6). With either cross-entropy `f'` cancels
    /// and `delta^L = a^L - y`:
    ///
    /// - Sigmoid outputs, binary cross-entropy: `dC/da = (a - y) / (a (1 - a))`, and `f'(z) = a (1 - a)`.
    /// - Softmax outputs, categorical cross-entropy: `dC/da_k = -y_k / a_k`. Each `a_k` depends on every `z_j`, with
    ///   `da_k/dz_j = a_k ([j = k] - a_j)`, so BP1 needs a sum: `delta_j = sum_k dC/da_k da_k/dz_j
    ///   = sum_k -y_k ([j = k] - a_j) = a_j sum_k y_k - y_j`, and the `y_k` of an example add up to 1.
    ///
    /// # Errors
    /// As [`cost`](Self::cost).
    pub fn deltas(&self, x: &[f64], y: &[f64]) -> Result<Layers> {
        let (zs, activations) = self.weighted_inputs_and_activations(x)?;
        self.backpropagate_error(&zs, &activations, y)
    }

    /// Steps 3 and 4 of the algorithm: BP1, then BP2 for `l = L-1, ..., 2`.
    fn backpropagate_error(&self, zs: &Layers, activations: &Layers, y: &[f64]) -> Result<Layers> {
        let last = zs.len() - 1;
        let nabla_a = self.cost_derivative(&activations[last + 1], y)?;
        let mut deltas = vec![Vec::new(); zs.len()];
        deltas[last] = match self.cost {
            Cost::Quadratic | Cost::Huber | Cost::Absolute => {
                hadamard(&nabla_a, &activation_prime(self.activations[last], &zs[last])?)
            }
            Cost::BinaryCrossEntropy | Cost::CategoricalCrossEntropy => {
                (0..y.len()).map(|j| activations[last + 1][j] - y[j]).collect()
            }
        };
        for l in (0..last).rev() {
            let (rows, columns) = (self.sizes[l + 2], self.sizes[l + 1]);
            // (w^T delta)_k: column k of w against delta
            let mut w_t_delta = vec![0.0; columns];
            for k in 0..columns {
                for j in 0..rows {
                    w_t_delta[k] += self.weights[l + 1][j * columns + k] * deltas[l + 1][j];
                }
            }
            deltas[l] = hadamard(&w_t_delta, &activation_prime(self.activations[l], &zs[l])?);
        }
        Ok(deltas)
    }

    /// The gradient of `C_x`: `(nabla_b, nabla_w)`, layer by layer, in the shapes of `biases` and `weights`.
    ///
    /// BP3: `dC_x/db_j = delta_j`. BP4: `dC_x/dw_jk = a_k delta_j`, with the `a_k` of the layer before.
    ///
    /// # Errors
    /// As [`cost`](Self::cost).
    pub fn backprop(&self, x: &[f64], y: &[f64]) -> Result<(Layers, Layers)> {
        let (zs, activations) = self.weighted_inputs_and_activations(x)?;
        let deltas = self.backpropagate_error(&zs, &activations, y)?;
        let mut nabla_w: Layers = self.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        for l in 0..deltas.len() {
            let (rows, columns) = (self.sizes[l + 1], self.sizes[l]);
            for j in 0..rows {
                for k in 0..columns {
                    nabla_w[l][j * columns + k] = activations[l][k] * deltas[l][j];
                }
            }
        }
        let nabla_b = deltas;
        Ok((nabla_b, nabla_w))
    }

    /// The gradient of the mean cost (3) of a mini-batch, `(nabla_b, nabla_w)`: the mean of what
    /// [`backprop`](Self::backprop) gives for each example.
    ///
    /// # Errors
    /// As [`mean_cost`](Self::mean_cost).
    pub fn mean_gradient(&self, mini_batch: &[Example]) -> Result<(Layers, Layers)> {
        let m = count(mini_batch)?;
        let mut nabla_b: Layers = self.biases.iter().map(|b| vec![0.0; b.len()]).collect();
        let mut nabla_w: Layers = self.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        for (x, y) in mini_batch {
            let (delta_nabla_b, delta_nabla_w) = self.backprop(x, y)?;
            add(&mut nabla_b, 1.0 / m, &delta_nabla_b);
            add(&mut nabla_w, 1.0 / m, &delta_nabla_w);
        }
        Ok((nabla_b, nabla_w))
    }

    /// One step of gradient descent with the learning rate `eta`, on `m` examples:
    /// `w^l -> w^l - eta/m sum_x delta^(x,l) (a^(x,l-1))^T` and `b^l -> b^l - eta/m sum_x delta^(x,l)`.
    ///
    /// # Errors
    /// As [`mean_cost`](Self::mean_cost); the network is then unchanged.
    pub fn update_mini_batch(&mut self, mini_batch: &[Example], eta: f64) -> Result<()> {
        let (nabla_b, nabla_w) = self.mean_gradient(mini_batch)?;
        add(&mut self.weights, -eta, &nabla_w);
        add(&mut self.biases, -eta, &nabla_b);
        Ok(())
    }

    /// The parameters are public, so that their lengths may be anything by the time they are used.
    fn check_parameters(&self) -> Result<()> {
        check_length("list of weights", self.sizes.len() - 1, &self.weights)?;
        check_length("list of biases", self.sizes.len() - 1, &self.biases)?;
        for l in 0..self.weights.len() {
            check_length(&format!("weights[{l}]"), self.sizes[l + 1] * self.sizes[l], &self.weights[l])?;
            check_length(&format!("biases[{l}]"), self.sizes[l + 1], &self.biases[l])?;
        }
        Ok(())
    }
}

/// `sigmoid(z) = 1 / (1 + e^-z)`.
///
/// For `z < 0` the fraction is extended by `e^z`, so that the exponential never overflows.
///
/// ```
/// use wgrad::reference::sigmoid;
/// assert_eq!(sigmoid(0.0), 0.5);
/// assert!(sigmoid(-700.0) > 0.0 && sigmoid(-1000.0) == 0.0);
/// ```
#[must_use]
pub fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// `sigmoid'(z) = sigmoid(z) (1 - sigmoid(z))`, with `1 - sigmoid(z)` as `sigmoid(-z)`, which does not cancel.
#[must_use]
pub fn sigmoid_prime(z: f64) -> f64 {
    sigmoid(z) * sigmoid(-z)
}

/// `softmax(z)_j = e^z_j / sum_k e^z_k`: positive numbers that add up to 1. `z` is taken from its largest value, which
/// changes nothing but keeps the exponentials at most 1.
///
/// ```
/// assert_eq!(wgrad::reference::softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
/// ```
#[must_use]
pub fn softmax(z: &[f64]) -> Vec<f64> {
    let largest = largest(z);
    let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
    z.iter().map(|z| (z - largest).exp() / sum).collect()
}

/// `a = f(z)` for one layer, the second half of equation (2). A NaN in `z` is not hidden by any of them.
#[must_use]
pub fn activation(f: Activation, z: &[f64]) -> Vec<f64> {
    match f {
        Activation::Sigmoid => z.iter().map(|&z| sigmoid(z)).collect(),
        Activation::Tanh => z.iter().map(|&z| z.tanh()).collect(),
        // `max(z, 0)` would be 0 for NaN.
        Activation::Relu => z.iter().map(|&z| if z < 0.0 { 0.0 } else { z }).collect(),
        Activation::LeakyRelu => z.iter().map(|&z| if z < 0.0 { 0.01 * z } else { z }).collect(),
        Activation::Elu => z.iter().map(|&z| if z < 0.0 { z.exp_m1() } else { z }).collect(),
        Activation::Gelu => z.iter().map(|&z| z * normal_distribution(z)).collect(),
        // (1 + tanh u) / 2 = sigmoid(2 u), without the cancellation
        Activation::GeluTanh => z.iter().map(|&z| z * sigmoid(2.0 * gelu_u(z))).collect(),
        Activation::Silu => z.iter().map(|&z| z * sigmoid(z)).collect(),
        Activation::Softplus => {
            z.iter().map(|&z| if z < 0.0 { z.exp().ln_1p() } else { z + (-z).exp().ln_1p() }).collect()
        }
        Activation::Identity => z.to_vec(),
        Activation::Softmax => softmax(z),
    }
}

/// `f'(z)` for one layer, the factor in BP1 and BP2. The slope of `relu` at its kink, `z = 0`, is taken as 0.
///
/// # Errors
/// [`Error::Architecture`] for softmax: every output depends on every `z`, so there is no elementwise derivative.
pub fn activation_prime(f: Activation, z: &[f64]) -> Result<Vec<f64>> {
    Ok(match f {
        Activation::Sigmoid => z.iter().map(|&z| sigmoid_prime(z)).collect(),
        // 1 - tanh^2 = 1 / cosh^2, without the cancellation
        Activation::Tanh => z.iter().map(|z| 1.0 / z.cosh()).map(|s| s * s).collect(),
        Activation::Relu => z.iter().map(|&z| if z > 0.0 { 1.0 } else { 0.0 }).collect(),
        Activation::LeakyRelu => z.iter().map(|&z| if z > 0.0 { 1.0 } else { 0.01 }).collect(),
        Activation::Elu => z.iter().map(|&z| z.min(0.0).exp()).collect(),
        Activation::Gelu => z.iter().map(|&z| normal_distribution(z) + z * normal_density(z)).collect(),
        Activation::GeluTanh => z.iter().map(|&z| gelu_tanh_prime(z)).collect(),
        Activation::Silu => z.iter().map(|&z| sigmoid(z) + z * sigmoid_prime(z)).collect(),
        Activation::Softplus => z.iter().map(|&z| sigmoid(z)).collect(),
        Activation::Identity => vec![1.0; z.len()],
        Activation::Softmax => {
            let problem = "softmax has no elementwise derivative; it goes with a cost in which f' cancels".to_owned();
            return Err(Error::Architecture { problem });
        }
    })
}

/// `Phi(z) = (1 + erf(z / sqrt 2)) / 2 = erfc(-z / sqrt 2) / 2`; the second form does not cancel for `z < 0`.
fn normal_distribution(z: f64) -> f64 {
    0.5 * libm::erfc(-z / 2.0_f64.sqrt())
}

/// `phi(z) = e^(-z^2/2) / sqrt(2 pi)`.
fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
}

/// `u(z) = sqrt(2/pi) (z + 0.044715 z^3)`.
fn gelu_u(z: f64) -> f64 {
    std::f64::consts::FRAC_2_PI.sqrt() * (z + 0.044715 * z.powi(3))
}

/// The derivative of `z sigmoid(2 u(z))`.
fn gelu_tanh_prime(z: f64) -> f64 {
    let u_prime = std::f64::consts::FRAC_2_PI.sqrt() * (1.0 + 3.0 * 0.044715 * z * z);
    sigmoid(2.0 * gelu_u(z)) + z * sigmoid_prime(2.0 * gelu_u(z)) * 2.0 * u_prime
}

/// `softplus(z) = ln(1 + e^z)`, with an exponential that never overflows.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// `ln softmax(z)_j = z_j - ln sum_k e^z_k`, the sum again taken from the largest `z`.
fn log_softmax(z: &[f64]) -> Vec<f64> {
    let largest = largest(z);
    let log_sum = z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
    z.iter().map(|z| (z - largest) - log_sum).collect()
}

fn largest(z: &[f64]) -> f64 {
    z.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// -1, 0 or 1; a NaN stays one.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// `u (.) v`, the elementwise product.
fn hadamard(u: &[f64], v: &[f64]) -> Vec<f64> {
    u.iter().zip(v).map(|(u, v)| u * v).collect()
}

/// `sum += factor * term`, layer by layer.
fn add(sum: &mut Layers, factor: f64, term: &Layers) {
    for l in 0..sum.len() {
        for i in 0..sum[l].len() {
            sum[l][i] += factor * term[l][i];
        }
    }
}

/// The number of examples, the notes' `n` or `m`; a mean over none is an error.
fn count(examples: &[Example]) -> Result<f64> {
    if examples.is_empty() {
        return Err(Error::Empty { what: "the mini-batch".to_owned() });
    }
    Ok(examples.len() as f64)
}

fn check_length<T>(what: &str, want: usize, got: &[T]) -> Result<()> {
    if got.len() == want {
        return Ok(());
    }
    Err(Error::shape(format!("reference: {what}"), format!("{want} elements"), got.len().to_string()))
}
