//! CPU functions of `shaders/data.wgsl`: the meaning, where the shader is the method.

use crate::kernel::Params;
use crate::real::Real;

/// One byte of an input is worth `1/255`, as the nearest `f32`; a product with it has the same bits everywhere.
pub(crate) const BYTE: f32 = 1.0 / 255.0;

/// `out[r,j]` = column `j` of example `order[step * B + r]`; rows past the live count are 0.
pub(crate) fn gather<T: Real>(p: &Params, control: &[u32], order: &[u32], data: &[u32], out: &mut [T]) {
    let (rows, columns) = (p.rows as usize, p.outputs as usize);
    let (first, live) = (control[0] as usize * rows, control[1] as usize);
    for (r, out) in out.chunks_exact_mut(columns).take(rows).enumerate() {
        if r >= live {
            out.fill(T::ZERO);
            continue;
        }
        let example = order[first + r] as usize;
        match p.format {
            0 => {
                for (out, &word) in out.iter_mut().zip(&data[example * columns..][..columns]) {
                    *out = T::exact(f32::from_bits(word));
                }
            }
            1 => {
                // Words are little-endian bytes on the device; where the host is too, they can be read as such.
                if cfg!(target_endian = "little") {
                    let bytes: &[u8] = bytemuck::cast_slice(data);
                    for (out, &byte) in out.iter_mut().zip(&bytes[example * columns..][..columns]) {
                        *out = T::exact(f32::from(byte) * BYTE);
                    }
                    continue;
                }
                for (j, out) in out.iter_mut().enumerate() {
                    let at = example * columns + j;
                    let byte = data[at / 4].to_le_bytes()[at % 4];
                    *out = T::exact(f32::from(byte) * BYTE);
                }
            }
            _ => {
                for (j, out) in out.iter_mut().enumerate() {
                    *out = if data[example] as usize == j { T::ONE } else { T::ZERO };
                }
            }
        }
    }
}

/// `control` moves on to the next mini-batch.
pub(crate) fn advance(p: &Params, next: &mut [u32]) {
    let step = next[0] + 1;
    let first = step.saturating_mul(p.rows).min(next[2]);
    next[0] = step;
    next[1] = p.rows.min(next[2] - first);
}
