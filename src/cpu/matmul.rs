//! CPU functions of `shaders/matmul.wgsl`: the meaning, where the shader is the method. Shapes as stated there.

use crate::kernel::Params;
use crate::real::Real;

/// `z[b,o] = bias[o] + sum_i a[b,i] w[o,i]`, `a` (B,I), `w` (O,I).
pub(crate) fn matmul_nt<T: Real>(p: &Params, a: &[T], params: &[T], z: &mut [T]) {
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    for b in 0..p.rows as usize {
        for o in 0..outputs {
            let w = &params[p.w as usize + o * inputs..][..inputs];
            let start = if p.k_begin == 0 { params[p.b as usize + o] } else { z[b * outputs + o] };
            z[b * outputs + o] = start + dot(p, &a[b * inputs..][..inputs], w);
        }
    }
}

/// The terms `k_begin <= k < k_end` of `sum_k x[k] y[k]`.
fn dot<T: Real>(p: &Params, x: &[T], y: &[T]) -> T {
    let part = p.k_begin as usize..p.k_end as usize;
    x[part.clone()].iter().zip(&y[part]).fold(T::ZERO, |sum, (&x, &y)| sum + x * y)
}

/// `e[b,i] = sum_o delta[b,o] w[o,i]`, `delta` (B,O), `w` (O,I).
pub(crate) fn matmul_nn<T: Real>(p: &Params, delta: &[T], params: &[T], e: &mut [T]) {
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    for b in 0..p.rows as usize {
        for i in 0..inputs {
            let mut sum = if p.k_begin == 0 { T::ZERO } else { e[b * inputs + i] };
            for o in p.k_begin as usize..p.k_end as usize {
                sum = sum + delta[b * outputs + o] * params[p.w as usize + o * inputs + i];
            }
            e[b * inputs + i] = sum;
        }
    }
}

/// `dw[o,i] = sum_b delta[b,o] a[b,i]`, `delta` (B,O), `a` (B,I), into the arena at `p.w`.
pub(crate) fn outer_products<T: Real>(p: &Params, delta: &[T], a: &[T], gradients: &mut [T]) {
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    for o in 0..outputs {
        for i in 0..inputs {
            let dw = &mut gradients[p.w as usize + o * inputs + i];
            let mut sum = if p.k_begin == 0 { T::ZERO } else { *dw };
            for b in p.k_begin as usize..p.k_end as usize {
                sum = sum + delta[b * outputs + o] * a[b * inputs + i];
            }
            *dw = sum;
        }
    }
}

/// `db[o] = sum_b delta[b,o]`, into the arena at `p.b`.
pub(crate) fn bias_gradient<T: Real>(p: &Params, delta: &[T], gradients: &mut [T]) {
    let outputs = p.outputs as usize;
    for o in 0..outputs {
        let db = &mut gradients[p.b as usize + o];
        let mut sum = if p.k_begin == 0 { T::ZERO } else { *db };
        for b in p.k_begin as usize..p.k_end as usize {
            sum = sum + delta[b * outputs + o];
        }
        *db = sum;
    }
}
