//! CPU functions of `shaders/dense.wgsl`, the fused kernels: the meaning, where the shader is the method. Each is the
//! composition of the textbook kernels that it fuses. Shapes as stated there.

use super::activation::times_prime;
use super::matmul::{bias_gradient, matmul_nn, matmul_nt, outer_products};
use super::update::{Part, arenas, numbers, part};
use crate::Activation;
use crate::kernel::Params;
use crate::optimizer::Rule;
use crate::real::Real;

/// `z = a w^T + b`, `out = f(z)` (equation 2).
pub(crate) fn dense_forward<T: Real>(p: &Params, below: &[T], params: &[T], z: &mut [T], out: &mut [T]) {
    matmul_nt(p, below, params, z);
    let f = Activation::from_code(p.activation);
    for (a, &z) in out.iter_mut().zip(&z[..(p.rows * p.outputs) as usize]) {
        *a = f.f(z);
    }
}

/// `delta_l = (delta w) (.) f'(z_l)` (BP2), `f'` with the last part of the sum.
pub(crate) fn dense_backward<T: Real>(p: &Params, delta: &[T], params: &[T], [z, a]: [&[T]; 2], out: &mut [T]) {
    matmul_nn(p, delta, params, out);
    if p.k_end == p.outputs {
        let count = (p.rows * p.inputs) as usize;
        times_prime(Activation::from_code(p.activation), z, a, &mut out[..count]);
    }
}

/// `dw = delta^T a` (BP4), `db = sum_b delta[b]` (BP3).
pub(crate) fn dense_gradient<T: Real>(p: &Params, delta: &[T], below: &[T], gradients: &mut [T]) {
    outer_products(p, delta, below, gradients);
    bias_gradient(p, delta, gradients);
}

/// The optimiser's step with the gradients `delta^T a` and `sum_b delta[b]`.
pub(crate) fn dense_update<T: Real>(
    p: &Params,
    [delta, below]: [&[T]; 2],
    hyper: &[T],
    control: &[u32],
    state: &mut [T],
    params: &mut [T],
) {
    let mut gradients = vec![T::ZERO; (p.inputs * p.outputs + p.outputs) as usize];
    let b = p.inputs * p.outputs;
    dense_gradient(&Params { w: 0, b, k_begin: 0, k_end: p.rows, ..*p }, delta, below, &mut gradients);
    layer_step(p, &gradients, numbers(control, hyper), state, params);
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
