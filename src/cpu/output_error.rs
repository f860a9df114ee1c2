//! CPU function of `shaders/output_error.wgsl`: the meaning, where the shader is the method.

use super::activation::{softmax, times_prime};
use super::cost::{right, row_cost, weight_of};
use super::data::Examples;
use crate::kernel::Params;
use crate::real::Real;
use crate::{Activation, Cost};

/// What [`output_error`] reads.
pub(crate) struct From<'a, T> {
    pub(crate) order: &'a [u32],
    pub(crate) targets: &'a [u32],
    pub(crate) z: &'a [T],
}

/// What it writes.
pub(crate) struct Out<'a, T> {
    pub(crate) control: &'a mut [u32],
    pub(crate) y: &'a mut [T],
    pub(crate) a: &'a mut [T],
    pub(crate) delta: &'a mut [T],
    pub(crate) rows: &'a mut [T],
}

/// `y` from the resident targets, unless it is there; `a` = softmax of `z` for the categorical cross-entropy; the error
/// `delta = weight (a - y) (.) f'(z) / live` (BP1; without `f'` for the cross-entropies); the row's cost times its weight, and whether it
/// is right. The step whose gradients follow is this one.
#[inline(always)]
pub(crate) fn output_error<T: Real>(p: &Params, from: &From<'_, T>, out: &mut Out<'_, T>) {
    let outputs = p.outputs as usize;
    if p.format & 32 == 0 {
        Examples { control: out.control, order: from.order, words: from.targets }.targets(p, out.y);
    }
    out.control[4] = out.control[0];
    let (f, cost) = (Activation::from_code(p.activation), Cost::from_code(p.cost));
    let (rows, live_rows) = (p.rows as usize, (out.control[1] as usize).min(p.rows as usize));
    if cost == Cost::CategoricalCrossEntropy {
        softmax(p, from.z, out.a);
    }
    let (y, a, z) = (&*out.y, &*out.a, from.z);
    #[allow(clippy::cast_precision_loss, reason = "the shader converts it in the same way")]
    let live = T::exact(out.control[1] as f32);
    let (delta, past) = out.delta[..rows * outputs].split_at_mut(live_rows * outputs);
    for ((d, &a), &y) in delta.iter_mut().zip(a).zip(y) {
        *d = cost.slope(a, y) / live;
    }
    if cost.has_f_prime() {
        times_prime(f, z, a, delta);
    }
    if p.format & 16 != 0 {
        for (b, delta) in delta.chunks_exact_mut(outputs).enumerate() {
            delta.iter_mut().for_each(|d| *d = *d * weight_of(p, y, b));
        }
    }
    past.fill(T::ZERO);
    let (costs, rights) = out.rows[..2 * rows].split_at_mut(rows);
    for b in 0..live_rows {
        let row = b * outputs..(b + 1) * outputs;
        let weight = weight_of(p, y, b);
        let (y, a, z) = (&y[row.clone()], &a[row.clone()], &z[row]);
        costs[b] = row_cost(p, y, a, z) * weight;
        rights[b] = right(p, y, a);
    }
    costs[live_rows..].fill(T::ZERO);
    rights[live_rows..].fill(T::ZERO);
}
