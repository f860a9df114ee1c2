//! CPU function of `shaders/data.wgsl`: the meaning, where the shader is the method.

use crate::kernel::Params;
use crate::real::Real;

/// One byte of an input is worth `1/255`, as the nearest `f32`; a product with it has the same bits everywhere.
pub(crate) const BYTE: f32 = 1.0 / 255.0;

/// Resident examples, of which the words are the inputs or the targets, and which of them are the mini-batch.
pub(crate) struct Examples<'a> {
    pub(crate) control: &'a [u32],
    pub(crate) order: &'a [u32],
    pub(crate) words: &'a [u32],
}

impl Examples<'_> {
    /// The example in this row; none past the live ones.
    fn at(&self, p: &Params, row: usize) -> Option<usize> {
        let first = self.control[0] as usize * p.rows as usize;
        (row < self.control[1] as usize).then(|| self.order[first + row] as usize)
    }

    /// The rows of `x` from this one on, as many as there is room for: inputs in the format that `p` says, in the columns that are the
    /// terms of this part of a sum.
    pub(crate) fn inputs<T: Real>(&self, p: &Params, row: usize, x: &mut [T]) {
        let part = p.k_begin as usize..p.k_end as usize;
        for (r, x) in (row..).zip(x.chunks_exact_mut(p.inputs as usize)) {
            let first = part.start;
            let x = &mut x[part.clone()];
            match self.at(p, r) {
                Some(example) => numbers(p.format & 3, example * p.inputs as usize + first, self.words, x),
                None => x.fill(T::ZERO),
            }
        }
    }

    /// All rows of `y`, with their weights after them where rows have some.
    pub(crate) fn targets<T: Real>(&self, p: &Params, y: &mut [T]) {
        gather(&Params { format: p.format >> 2 & 3 | p.format & 16, ..*p }, self, y);
    }
}

/// `picked[r,j]` = column `j` of example `order[step * B + r]`, and the rows' weights after all of them, where they have any; rows
/// past the live count are 0.
pub(crate) fn gather<T: Real>(p: &Params, from: &Examples<'_>, picked: &mut [T]) {
    let (picked, weights) = picked.split_at_mut((p.rows * p.outputs) as usize);
    gather_rows(p, from, 0, picked);
    gather_weights(p, from, weights);
}

/// The rows of [`gather`] from this one on, as many as there is room for.
pub(crate) fn gather_rows<T: Real>(p: &Params, from: &Examples<'_>, row: usize, picked: &mut [T]) {
    let label = [p.b, p.k_begin].map(f32::from_bits);
    for (r, out) in (row..).zip(picked.chunks_exact_mut(p.outputs as usize)) {
        match from.at(p, r) {
            Some(example) => columns(p.format & 3, example, from.words, label, out),
            None => out.fill(T::ZERO),
        }
    }
}

/// The weight of each row, 0 past the live count; nothing where rows have none. They stand after all `p.count` examples that are there.
pub(crate) fn gather_weights<T: Real>(p: &Params, from: &Examples<'_>, weights: &mut [T]) {
    if p.format & 16 == 0 {
        return;
    }
    let columns = if p.format & 3 == 2 { 1 } else { p.outputs };
    let all = &from.words[(p.count * columns) as usize..];
    for (r, weight) in weights[..p.rows as usize].iter_mut().enumerate() {
        *weight = from.at(p, r).map_or(T::ZERO, |example| T::exact(f32::from_bits(all[example])));
    }
}

/// One row of a resident array, in this format; of a label the columns of other classes, and its own, are the two numbers.
fn columns<T: Real>(format: u32, example: usize, words: &[u32], [off, on]: [f32; 2], out: &mut [T]) {
    if format == 2 {
        for (j, out) in out.iter_mut().enumerate() {
            *out = T::exact(if words[example] as usize == j { on } else { off });
        }
        return;
    }
    numbers(format, example * out.len(), words, out);
}

/// Numbers of a resident array, from one of them on, in this format.
fn numbers<T: Real>(format: u32, first: usize, words: &[u32], out: &mut [T]) {
    match format {
        0 => {
            for (out, &word) in out.iter_mut().zip(&words[first..]) {
                *out = T::exact(f32::from_bits(word));
            }
        }
        // Words are little-endian bytes on the device; where the host is too, they can be read as such.
        1 if cfg!(target_endian = "little") => {
            let bytes: &[u8] = bytemuck::cast_slice(words);
            for (out, &byte) in out.iter_mut().zip(&bytes[first..]) {
                *out = T::exact(f32::from(byte) * BYTE);
            }
        }
        _ => {
            for (at, out) in (first..).zip(out) {
                *out = T::exact(f32::from(words[at / 4].to_le_bytes()[at % 4]) * BYTE);
            }
        }
    }
}
