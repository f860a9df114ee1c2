//! How far `f32` may be from the f64 reference in all that a network computes.
//!
//! The same equations once more, example by example, in numbers that carry the scale of their rounding error
//! ([`Tracked`]): from exact parameters and data on, each sum adds the scales of its terms, each product takes either factor's
//! times the other, each function multiplies its argument's by the slope and adds what WGSL allows it. A result may be off by
//!
//! ```text
//! |got - want| <= (8 + 2 sqrt(K)) * 2^-23 * scale + flushed          (verify::bound)
//! ```
//!
//! `K` being the longest sum of the network: an input width, or the number of rows. The wanted value itself is the
//! reference's, or the golden file's; that of this calculation only has to agree with it.

use wgrad::real::Real;
use wgrad::verify::{Tracked, Worst, bound};
use wgrad::{Activation, Cost, Layer};

/// All that comes of one mini-batch.
#[derive(Debug, Clone)]
pub struct Expected {
    /// `a_L`, (rows, outputs).
    pub outputs: Vec<Tracked>,
    /// The mean cost.
    pub cost: Tracked,
    /// The gradient of it, in the order of the arena.
    pub gradients: Vec<Tracked>,
    /// `K`.
    pub terms: u64,
    /// Whether a relu is so near its kink that rounding decides about its slope, and with it about gradients.
    pub kinked: bool,
}

/// `a b`. The product of [`Tracked`] itself multiplies the scales, which is right for the terms of one kernel's sum, but from
/// layer to layer would square them; here it is `|a| scale(b) + |b| scale(a)`, the error to first order.
fn times(a: Tracked, b: Tracked) -> Tracked {
    let (x, y) = (a.value.abs(), b.value.abs());
    let mut product = a * b;
    product.scale = x * b.scale + y * a.scale;
    product
}

/// `a / b`, likewise.
fn over(a: Tracked, b: Tracked) -> Tracked {
    let mut quotient = a / b;
    quotient.scale = (a.scale + quotient.value.abs() * b.scale) / b.value.abs();
    quotient
}

/// Numbers that are exact in memory.
pub fn exact(numbers: &[f32]) -> Vec<Tracked> {
    numbers.iter().map(|&x| Tracked::exact(x)).collect()
}

impl Expected {
    /// The forward and backward pass over `x` (rows, inputs) and `y` (rows, outputs).
    pub fn new(layers: &[Layer], cost: Cost, arena: &[Tracked], x: &[f32], y: &[f32]) -> Self {
        let (inputs, outputs) = (layers[0].inputs, layers[layers.len() - 1].outputs);
        let rows = x.len() / inputs;
        let longest = layers.iter().map(|layer| layer.inputs.max(layer.outputs)).max().expect("a layer").max(rows);
        let mut expected = Self {
            outputs: Vec::new(),
            cost: Tracked::ZERO,
            gradients: vec![Tracked::ZERO; arena.len()],
            terms: longest as u64,
            kinked: false,
        };
        #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
        let n = Tracked::exact(rows as f32);
        for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
            expected.example(layers, cost, arena, &exact(x), &exact(y), n);
        }
        expected.cost = over(expected.cost, n);
        expected
    }

    fn example(
        &mut self,
        layers: &[Layer],
        cost: Cost,
        arena: &[Tracked],
        x: &[Tracked],
        y: &[Tracked],
        rows: Tracked,
    ) {
        let mut a = vec![x.to_vec()];
        let mut zs = Vec::new();
        for (l, layer) in layers.iter().enumerate() {
            let weights = arena[layer.weights()].chunks(layer.inputs);
            let dot = |w: &[Tracked]| w.iter().zip(&a[l]).fold(Tracked::ZERO, |sum, (&w, &a)| sum + times(w, a));
            let z: Vec<_> = weights.zip(&arena[layer.biases()]).map(|(w, &b)| b + dot(w)).collect();
            if matches!(layer.activation, Activation::Relu | Activation::LeakyRelu) {
                self.kinked |= z.iter().any(|z| z.value.abs() <= bound(self.terms, z));
            }
            a.push(activate(layer.activation, &z));
            zs.push(z);
        }
        let (z_last, last) = (&zs[layers.len() - 1], &a[layers.len()]);
        self.cost = self.cost + row_cost(cost, z_last, last, y);
        self.outputs.extend(last);

        if cost == Cost::Absolute {
            self.kinked |= last.iter().zip(y).any(|(&a, &y)| (a - y).value.abs() <= bound(self.terms, &(a - y)));
        }
        let mut delta: Vec<_> = last.iter().zip(y).map(|(&a, &y)| over(cost_slope(cost, a - y), rows)).collect();
        if matches!(cost, Cost::Quadratic | Cost::Huber | Cost::Absolute) {
            let f = layers[layers.len() - 1].activation;
            delta = (0..delta.len()).map(|j| times(delta[j], slope(f, z_last[j], last[j]))).collect();
        }
        for (l, layer) in layers.iter().enumerate().rev() {
            for (o, &d) in delta.iter().enumerate() {
                let row = layer.w + o * layer.inputs;
                for (g, &a) in self.gradients[row..row + layer.inputs].iter_mut().zip(&a[l]) {
                    *g = *g + times(d, a);
                }
                let g = &mut self.gradients[layer.b + o];
                *g = *g + d;
            }
            if l > 0 {
                let column = |i: usize| arena[layer.w + i..].iter().step_by(layer.inputs);
                let back =
                    |i: usize| delta.iter().zip(column(i)).fold(Tracked::ZERO, |sum, (&d, &w)| sum + times(d, w));
                let f = layers[l - 1].activation;
                delta = (0..layer.inputs).map(|i| times(back(i), slope(f, zs[l - 1][i], a[l][i]))).collect();
            }
        }
    }

    /// One step of gradient descent on an arena.
    pub fn step(&self, arena: &mut [Tracked], eta: f32) {
        for (p, &g) in arena.iter_mut().zip(&self.gradients) {
            *p = *p - times(Tracked::exact(eta), g);
        }
    }
}

/// `1 / (1 + e^-z)` and `1 / (1 + e^z)`.
fn logistic(z: Tracked) -> [Tracked; 2] {
    let e = (-z.abs()).exp();
    let [small, large] = [e, Tracked::ONE].map(|x| over(x, Tracked::ONE + e));
    if z.value >= 0.0 { [large, small] } else { [small, large] }
}

fn sigmoid(z: Tracked) -> Tracked {
    logistic(z)[0]
}

/// `Phi(z)` and `phi(z)`.
fn normal(z: Tracked) -> [Tracked; 2] {
    let tail = z.normal_tail();
    let density = (-times(Tracked::constant(0.5), times(z, z))).exp();
    let density = times(Tracked::constant(1.0 / std::f64::consts::TAU.sqrt()), density);
    [if z.value < 0.0 { tail } else { Tracked::ONE - tail }, density]
}

/// `2 sqrt(2/pi) (z + 0.044715 z^3)` and its slope.
fn gelu_argument(z: Tracked) -> [Tracked; 2] {
    let constant = Tracked::constant;
    let square = times(z, z);
    let factor = constant(2.0 * std::f64::consts::FRAC_2_PI.sqrt());
    let v = z + times(constant(0.044715), times(square, z));
    [times(factor, v), times(factor, Tracked::ONE + times(constant(3.0 * 0.044715), square))]
}

/// `z`, or `below(z)` where it is negative, with the error of `z` on either side of 0.
fn bent(z: Tracked, below: impl Fn(Tracked) -> Tracked) -> Tracked {
    let mut a = if z.value < 0.0 { below(z) } else { z };
    a.scale = a.scale.max(z.scale);
    a
}

fn largest(z: &[Tracked]) -> Tracked {
    z.iter().fold(z[0], |m, &z| m.larger(z))
}

fn activate(f: Activation, z: &[Tracked]) -> Vec<Tracked> {
    let each = |f: &dyn Fn(Tracked) -> Tracked| z.iter().map(|&z| f(z)).collect();
    match f {
        Activation::Sigmoid => each(&sigmoid),
        Activation::Tanh => each(&Tracked::tanh),
        Activation::Relu => each(&|z| bent(z, |_| Tracked::ZERO)),
        Activation::LeakyRelu => each(&|z| bent(z, |z| times(Tracked::constant(0.01), z))),
        Activation::Elu => each(&|z| bent(z, Tracked::exp_m1)),
        Activation::Gelu => each(&|z| times(z, normal(z)[0])),
        Activation::GeluTanh => each(&|z| times(z, sigmoid(gelu_argument(z)[0]))),
        Activation::Silu => each(&|z| times(z, sigmoid(z))),
        Activation::Softplus => each(&|z| bent(z, |_| Tracked::ZERO) + (-z.abs()).exp().ln_1p()),
        Activation::Softmax => {
            let m = largest(z);
            let e: Vec<_> = z.iter().map(|&z| (z - m).exp()).collect();
            let sum = e.iter().fold(Tracked::ZERO, |sum, &e| sum + e);
            e.iter().map(|&e| over(e, sum)).collect()
        }
        _ => z.to_vec(),
    }
}

/// `f'(z)`.
fn slope(f: Activation, z: Tracked, a: Tracked) -> Tracked {
    match f {
        Activation::Sigmoid => times(a, Tracked::ONE - a),
        Activation::Tanh => Tracked::ONE - times(a, a),
        Activation::Relu if a.value <= 0.0 => Tracked::ZERO,
        Activation::LeakyRelu if z.value <= 0.0 => Tracked::constant(0.01),
        Activation::Elu => {
            let mut slope = if z.value < 0.0 { a + Tracked::ONE } else { Tracked::ONE };
            slope.scale = slope.scale.max(a.scale);
            slope
        }
        Activation::Gelu => {
            let [cdf, density] = normal(z);
            cdf + times(z, density)
        }
        Activation::GeluTanh => {
            let [v, slope] = gelu_argument(z);
            let [s, other] = logistic(v);
            s + times(times(a, other), slope)
        }
        Activation::Silu => {
            let [s, other] = logistic(z);
            s + times(a, other)
        }
        Activation::Softplus => sigmoid(z),
        _ => Tracked::ONE,
    }
}

/// The slope of the cost along an output that is off by `r`.
fn cost_slope(cost: Cost, mut r: Tracked) -> Tracked {
    match cost {
        Cost::Absolute => Tracked::constant(r.value.signum()),
        // The error of r stays, on either side of the bend.
        Cost::Huber => {
            r.value = r.value.clamp(-1.0, 1.0);
            r
        }
        _ => r,
    }
}

fn row_cost(cost: Cost, z: &[Tracked], a: &[Tracked], y: &[Tracked]) -> Tracked {
    let m = largest(z);
    let log_sum = || z.iter().fold(Tracked::ZERO, |sum, &z| sum + (z - m).exp()).ln();
    let log_sum = if cost == Cost::CategoricalCrossEntropy { log_sum() } else { Tracked::ZERO };
    let term = |j: usize| match cost {
        Cost::Quadratic => times(Tracked::exact(0.5), times(a[j] - y[j], a[j] - y[j])),
        Cost::Huber => {
            let r = (a[j] - y[j]).abs();
            if r.value <= 1.0 { times(Tracked::exact(0.5), times(r, r)) } else { r - Tracked::exact(0.5) }
        }
        Cost::Absolute => (a[j] - y[j]).abs(),
        Cost::BinaryCrossEntropy => Tracked::ZERO.larger(z[j]) - times(z[j], y[j]) + (-z[j].abs()).exp().ln_1p(),
        _ => times(y[j], (m - z[j]) + log_sum),
    };
    (0..y.len()).fold(Tracked::ZERO, |sum, j| sum + term(j))
}

/// Compares `got` with wanted values, each within the bound that the tracked number beside it has. A missing element, a NaN,
/// and a wanted value that the tracked one does not agree with to 1e-9 of its scale, fail.
pub fn within(what: &str, got: &[f32], want: &[f64], tracked: &[Tracked], terms: u64) -> Result<Worst, String> {
    if got.len() != want.len() || want.len() != tracked.len() {
        return Err(format!("{what}: {} values for {} wanted, {} bounds", got.len(), want.len(), tracked.len()));
    }
    let mut worst = Worst::default();
    for (index, ((&got, &want), tracked)) in got.iter().zip(want).zip(tracked).enumerate() {
        let agrees = (tracked.value - want).abs() <= 1e-9 * tracked.scale + f64::MIN_POSITIVE;
        if !agrees {
            return Err(format!("{what}[{index}]: wanted {want:e}, but the tracked value is {:e}", tracked.value));
        }
        worst.add(index, got.into(), want, bound(terms, tracked));
    }
    if worst.passed() { Ok(worst) } else { Err(format!("{what}: {worst}")) }
}
