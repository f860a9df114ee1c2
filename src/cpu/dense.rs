//! CPU functions of `shaders/dense.wgsl`, the fused kernels: the meaning, where the shader is the method. Each is the
//! composition of the textbook kernels that it fuses. Shapes as stated there.

use super::activation::times_prime;
use super::cost::{add_up, move_on};
use super::data::Examples;
use super::matmul::{bias_gradient, matmul_nn, matmul_nt, outer_products};
use super::update::{Part, arenas, part};
use crate::Activation;
use crate::kernel::{NO_TALLY, Params};
use crate::optimizer::{HYPER, Rule};
use crate::plan::{CONTROL, LAYER};
use crate::real::Real;

/// `z = a w^T + b`, `out = f(z)` (equation 2).
pub(crate) fn dense_forward<T: Real>(p: &Params, below: &[T], params: &[T], z: &mut [T], out: &mut [T]) {
    matmul_nt(p, below, params, z);
    let f = Activation::from_code(p.activation);
    for (a, &z) in out.iter_mut().zip(&z[..(p.rows * p.outputs) as usize]) {
        *a = f.f(z);
    }
}

/// The same of the first layer: the mini-batch's inputs are gathered on the way, and kept in `x`.
pub(crate) fn gather_forward<T: Real>(
    p: &Params,
    from: &Examples<'_>,
    params: &[T],
    x: &mut [T],
    z: &mut [T],
    out: &mut [T],
) {
    from.inputs(p, 0, &mut x[..(p.rows * p.inputs) as usize]);
    dense_forward(p, x, params, z, out);
}

/// `delta_l = (delta w) (.) f'(z_l)` (BP2), `f'` with the last part of the sum.
pub(crate) fn dense_backward<T: Real>(p: &Params, delta: &[T], params: &[T], [z, a]: [&[T]; 2], out: &mut [T]) {
    matmul_nn(p, delta, params, out);
    if p.k_end == p.outputs {
        let count = (p.rows * p.inputs) as usize;
        times_prime(Activation::from_code(p.activation), z, a, &mut out[..count]);
    }
}

/// `dw = delta^T a` (BP4), `db = sum_b delta[b]` (BP3), of one layer.
pub(crate) fn layer_gradient<T: Real>(p: &Params, delta: &[T], below: &[T], gradients: &mut [T]) {
    outer_products(p, delta, below, gradients);
    bias_gradient(p, delta, gradients);
}

/// The optimiser's step of one layer with its gradients `delta^T a` and `sum_b delta[b]`, and the numbers `h` of the step.
pub(crate) fn layer_update<T: Real>(p: &Params, [delta, below]: [&[T]; 2], h: &[T], state: &mut [T], params: &mut [T]) {
    let mut gradients = vec![T::ZERO; (p.inputs * p.outputs + p.outputs) as usize];
    let b = p.inputs * p.outputs;
    layer_gradient(&Params { w: 0, b, k_begin: 0, k_end: p.rows, ..*p }, delta, below, &mut gradients);
    layer_step(p, &gradients, h, state, params);
}

/// The activations and the errors of all layers: those of the even ones, and of the odd ones.
pub(crate) struct Signals<'a, T> {
    pub(crate) a: [&'a [T]; 2],
    pub(crate) deltas: [&'a [T]; 2],
}

/// What the kernels of all layers move on, besides gradients or parameters.
pub(crate) struct Walked<'a, T> {
    pub(crate) walk: &'a mut [u32],
    pub(crate) scoring: &'a mut [T],
}

impl<'a, T> Signals<'a, T> {
    /// The parameters of layer `l`, from 0, by the table in `walk`, with its error and the activations below it.
    pub(crate) fn layer(&self, p: &Params, walk: &[u32], l: usize) -> (Params, [&'a [T]; 2]) {
        let words = &walk[CONTROL + LAYER * l..][..LAYER];
        let [inputs, outputs, w, b] = [words[0], words[1], words[2], words[3]];
        let signals = [&self.deltas[(l + 1) % 2][words[5] as usize..], &self.a[l % 2][words[4] as usize..]];
        (Params { inputs, outputs, w, b, ..*p }, signals)
    }
}

impl<T: Real> Walked<'_, T> {
    /// The optimiser's numbers of the step whose gradients are there.
    pub(crate) fn numbers(&self, p: &Params) -> [T; HYPER] {
        let first = p.b as usize + HYPER * self.walk[4] as usize;
        std::array::from_fn(|i| T::exact(f32::from_bits(self.walk[first + i])))
    }

    /// What the step scored, and on to the next mini-batch: with the last part of the sums.
    pub(crate) fn tally(&mut self, p: &Params) {
        if p.k_end == p.rows && p.cost != NO_TALLY {
            let (rows, scores) = self.scoring.split_at_mut(p.w as usize);
            add_up(p, self.walk[4], rows, scores);
            if p.cost == 1 {
                move_on(p, self.walk[4], self.walk);
            }
        }
    }
}

/// The gradients of all layers, and the tally.
pub(crate) fn dense_gradient<T: Real>(
    p: &Params,
    signals: &Signals<'_, T>,
    walked: &mut Walked<'_, T>,
    gradients: &mut [T],
) {
    for l in 0..p.outputs as usize {
        let (p, [delta, below]) = signals.layer(p, walked.walk, l);
        layer_gradient(&p, delta, below, gradients);
    }
    walked.tally(p);
}

/// The optimiser's step of all layers with their gradients, and the tally.
pub(crate) fn dense_update<T: Real>(
    p: &Params,
    signals: &Signals<'_, T>,
    walked: &mut Walked<'_, T>,
    state: &mut [T],
    params: &mut [T],
) {
    let h = walked.numbers(p);
    for l in 0..p.outputs as usize {
        let (p, signals) = signals.layer(p, walked.walk, l);
        layer_update(&p, signals, &h, state, params);
    }
    walked.tally(p);
}

/// The optimiser's step of one layer, from its gradients: those of the weights, then those of the biases.
#[inline(always)]
pub(crate) fn layer_step<T: Real>(p: &Params, gradients: &[T], h: &[T], state: &mut [T], params: &mut [T]) {
    let [w, b, inputs, outputs] = [p.w, p.b, p.inputs, p.outputs].map(|n| n as usize);
    let rule = Rule::from_code(p.rule);
    let [m, v] = arenas(rule, p.count as usize, state);
    let (of_weights, of_biases) = gradients.split_at(inputs * outputs);
    for (range, gradients, are_weights) in
        [(w..w + inputs * outputs, of_weights, true), (b..b + outputs, &of_biases[..outputs], false)]
    {
        let (m, v) = (part(m, range.clone()), part(v, range.clone()));
        Part { params: &mut params[range], gradients, m, v, are_weights }.step(rule, h);
    }
}
