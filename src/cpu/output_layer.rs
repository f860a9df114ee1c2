//! CPU function of `shaders/output_layer.wgsl`: the meaning, where the shader is the method. It is the composition of the two
//! kernels that it fuses.

use super::dense::dense_forward;
use super::output_error::{self, output_error};
use crate::kernel::Params;
use crate::real::Real;

/// What [`output_layer`] reads.
pub(crate) struct From<'a, T> {
    pub(crate) order: &'a [u32],
    pub(crate) targets: &'a [u32],
    pub(crate) below: &'a [T],
    pub(crate) params: &'a [T],
}

/// What it writes.
pub(crate) struct Out<'a, T> {
    pub(crate) control: &'a mut [u32],
    pub(crate) delta: &'a mut [T],
    pub(crate) rows: &'a mut [T],
}

/// The last layer forward (equation 2), its error (BP1), and what the rows score, as [`output_error`] has them of the resident targets.
pub(crate) fn output_layer<T: Real>(p: &Params, from: &From<'_, T>, out: &mut Out<'_, T>) {
    let here = (p.rows * p.outputs) as usize;
    let [mut z, mut a] = [(); 2].map(|()| vec![T::ZERO; here]);
    let mut y = vec![T::ZERO; here + (p.rows * (p.format >> 4 & 1)) as usize];
    let forward = Params { k_begin: 0, k_end: p.inputs, ..*p };
    dense_forward(&forward, from.below, from.params, &mut z, &mut a);
    let error = Params { b: p.k_begin, k_begin: p.k_end, ..*p };
    let from = output_error::From { order: from.order, targets: from.targets, z: &z };
    let Out { control, delta, rows } = out;
    output_error(&error, &from, &mut output_error::Out { control, y: &mut y, a: &mut a, delta, rows });
}
