//! CPU function of `shaders/output_error.wgsl`: the meaning, where the shader is the method.

use super::activation::times_prime;
use super::cost::{row_cost, row_right, weight_of};
use crate::kernel::Params;
use crate::real::Real;
use crate::{Activation, Cost};

/// What [`output_error`] writes.
pub(crate) struct OutputErrorOut<'a, T> {
    pub(crate) delta: &'a mut [T],
    pub(crate) row_cost: &'a mut [T],
    pub(crate) row_right: &'a mut [u32],
}

/// `delta = weight (a - y) (.) f'(z) / live` (BP1; without `f'` for the cross-entropies), the row's cost times its weight, and
/// whether it is right.
#[inline(always)]
pub(crate) fn output_error<T: Real>(
    p: &Params,
    control: &[u32],
    y: &[T],
    a: &[T],
    z: &[T],
    out: &mut OutputErrorOut<'_, T>,
) {
    let outputs = p.outputs as usize;
    let (f, cost) = (Activation::from_code(p.activation), Cost::from_code(p.cost));
    #[allow(clippy::cast_precision_loss, reason = "the shader converts it in the same way")]
    let live = T::exact(control[1] as f32);
    let (rows, live_rows) = (p.rows as usize, (control[1] as usize).min(p.rows as usize));
    let (delta, past) = out.delta[..rows * outputs].split_at_mut(live_rows * outputs);
    for ((d, &a), &y) in delta.iter_mut().zip(a).zip(y) {
        *d = cost.slope(a, y) / live;
    }
    if cost.has_f_prime() {
        times_prime(f, z, a, delta);
    }
    if p.format >= 16 {
        for (b, delta) in delta.chunks_exact_mut(outputs).enumerate() {
            delta.iter_mut().for_each(|d| *d = *d * weight_of(p, y, b));
        }
    }
    past.fill(T::ZERO);
    for b in 0..live_rows {
        let row = b * outputs..(b + 1) * outputs;
        let weight = weight_of(p, y, b);
        let (y, a, z) = (&y[row.clone()], &a[row.clone()], &z[row]);
        out.row_cost[b] = row_cost(p, y, a, z) * weight;
        out.row_right[b] = u32::from(row_right(p, y, a));
    }
    out.row_cost[live_rows..rows].fill(T::ZERO);
    out.row_right[live_rows..rows].fill(0);
}
