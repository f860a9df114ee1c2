//! CPU functions of `shaders/update.wgsl`: the meaning, where the shader is the method. Shapes as stated there.

use crate::kernel::Params;
use crate::real::Real;

/// `params[i] -= eta gradients[i]`, `eta = hyper[4 step]`.
pub(crate) fn sgd<T: Real>(p: &Params, control: &[u32], hyper: &[T], gradients: &[T], params: &mut [T]) {
    let eta = hyper[4 * control[0] as usize];
    for (w, &dw) in params[..p.count as usize].iter_mut().zip(gradients) {
        *w = *w - eta * dw;
    }
}
