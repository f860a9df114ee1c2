//! CPU function of `shaders/dropout.wgsl`: the meaning, where the shader is the method.

use crate::kernel::Params;
use crate::real::Real;

/// PCG as a hash, RXS-M-XS 32 (Jarzynski and Olano 2020): a bijection of 32 bits.
#[inline(always)]
const fn pcg(x: u32) -> u32 {
    let state = x.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

/// The random bits of each element in this step.
#[inline(always)]
pub(crate) fn random_bits(p: &Params, control: &[u32]) -> impl Fn(u32) -> u32 {
    let step = control[3].wrapping_add(control[0]);
    let first = pcg(step.wrapping_add(pcg(p.b.wrapping_add(pcg(p.w)))));
    move |e| pcg(e.wrapping_add(first))
}

/// `to[e] = from[e] / (1 - rate)` where the random bits of element `e` in this step are below `p.k_end`, else 0.
#[inline(always)]
pub(crate) fn dropout<T: Real>(p: &Params, control: &[u32], from: &[T], to: &mut [T]) {
    let scale = T::exact(f32::from_bits(p.format));
    let random = random_bits(p, control);
    for (e, (to, &from)) in (0_u32..).zip(to[..p.count as usize].iter_mut().zip(from)) {
        let kept = from * scale;
        *to = if random(e) < p.k_end { kept } else { T::ZERO };
    }
}
