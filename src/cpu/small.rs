//! Matrix products too small for a general library: no packing, no cache blocking, the accumulators in registers.
//!
//! Written once in terms of SIMD vectors and compiled for each instruction set; which one runs is decided once a call.

use pulp::{Arch, Simd, WithSimd};

/// A matrix in a slice: element `(r, c)` is `data[r * row + c * column]`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> View<'a> {
    /// Row-major, `columns` wide.
    pub(super) const fn new(data: &'a [f32], columns: usize) -> Self {
        Self { data, row: columns, column: 1 }
    }

    pub(super) const fn transposed(self) -> Self {
        Self { data: self.data, row: self.column, column: self.row }
    }
}

/// `out = keep * out + factor * left right`, `left` (M,K) with any strides, `right` (K,N) with rows together, `out` (M,N)
/// row-major; `keep` is 0 or 1. Sum order: k ascending.
pub(super) fn outer_form(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    keep: bool,
    factor: f32,
    left: View<'_>,
    right: View<'_>,
) {
    debug_assert_eq!(right.column, 1);
    Arch::new().dispatch(OuterForm { size: [m, n, k], out, keep, factor, left, right });
}

/// `out = keep * out + left right^T`, `left` (M,K) and `right` (N,K) both with rows together, `out` (M,N) row-major. Sum order:
/// every lane its own k ascending, then the lanes.
pub(super) fn dot_form([m, n, k]: [usize; 3], out: &mut [f32], keep: bool, left: View<'_>, right: View<'_>) {
    debug_assert_eq!((left.column, right.column), (1, 1));
    Arch::new().dispatch(DotForm { size: [m, n, k], out, keep, left, right });
}

struct OuterForm<'a> {
    size: [usize; 3],
    out: &'a mut [f32],
    keep: bool,
    factor: f32,
    left: View<'a>,
    right: View<'a>,
}

impl WithSimd for OuterForm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.size[0];
        // As many accumulators as leave room for a row of `right` and one element of `left`.
        if S::REGISTER_COUNT >= 32 {
            for row in (0..rows).step_by(6) {
                match rows - row {
                    1 => self.rows::<S, 1, 4>(simd, row),
                    2 => self.rows::<S, 2, 4>(simd, row),
                    3 => self.rows::<S, 3, 4>(simd, row),
                    4 => self.rows::<S, 4, 4>(simd, row),
                    5 => self.rows::<S, 5, 4>(simd, row),
                    _ => self.rows::<S, 6, 4>(simd, row),
                }
            }
        } else {
            for row in (0..rows).step_by(4) {
                match rows - row {
                    1 => self.rows::<S, 1, 3>(simd, row),
                    2 => self.rows::<S, 2, 3>(simd, row),
                    3 => self.rows::<S, 3, 3>(simd, row),
                    _ => self.rows::<S, 4, 3>(simd, row),
                }
            }
        }
    }
}

impl OuterForm<'_> {
    /// `R` rows of the result, all columns, `V` vectors of them at a time.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize) {
        let n = self.size[1];
        let wide = V * S::F32_LANES;
        let mut column = 0;
        while column + wide <= n {
            self.tile::<S, R, V>(simd, row, column);
            column += wide;
        }
        while column + S::F32_LANES <= n {
            self.tile::<S, R, 1>(simd, row, column);
            column += S::F32_LANES;
        }
        if column < n {
            self.edge::<S, R>(simd, row, column);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize, column: usize) {
        let Self { size: [_, n, k], keep, factor, left, right, .. } = *self;
        let factor = simd.splat_f32s(factor);
        let wide = V * S::F32_LANES;
        let mut sum = [[simd.splat_f32s(0.0); V]; R];
        for k in 0..k {
            let (vectors, _) = S::as_simd_f32s(&right.data[k * right.row + column..][..wide]);
            for (r, sum) in sum.iter_mut().enumerate() {
                let l = simd.splat_f32s(left.data[(row + r) * left.row + k * left.column]);
                for (sum, &vector) in sum.iter_mut().zip(&vectors[..V]) {
                    *sum = simd.mul_add_e_f32s(l, vector, *sum);
                }
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            let (out, _) = S::as_mut_simd_f32s(&mut self.out[(row + r) * n + column..][..wide]);
            for (out, &sum) in out[..V].iter_mut().zip(sum) {
                *out = if keep { simd.mul_add_e_f32s(factor, sum, *out) } else { simd.mul_f32s(factor, sum) };
            }
        }
    }

    /// The last columns, fewer than a vector holds.
    #[inline(always)]
    fn edge<S: Simd, const R: usize>(&mut self, simd: S, row: usize, column: usize) {
        let Self { size: [_, n, k], keep, factor, left, right, .. } = *self;
        let factor = simd.splat_f32s(factor);
        let mut sum = [simd.splat_f32s(0.0); R];
        for k in 0..k {
            let vector = simd.partial_load_f32s(&right.data[k * right.row + column..][..n - column]);
            for (r, sum) in sum.iter_mut().enumerate() {
                let l = simd.splat_f32s(left.data[(row + r) * left.row + k * left.column]);
                *sum = simd.mul_add_e_f32s(l, vector, *sum);
            }
        }
        for (r, &sum) in sum.iter().enumerate() {
            let out = &mut self.out[(row + r) * n + column..][..n - column];
            let new = if keep {
                simd.mul_add_e_f32s(factor, sum, simd.partial_load_f32s(out))
            } else {
                simd.mul_f32s(factor, sum)
            };
            simd.partial_store_f32s(out, new);
        }
    }
}

struct DotForm<'a> {
    size: [usize; 3],
    out: &'a mut [f32],
    keep: bool,
    left: View<'a>,
    right: View<'a>,
}

impl WithSimd for DotForm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.size[0];
        if S::REGISTER_COUNT >= 32 {
            for row in (0..rows).step_by(5) {
                match rows - row {
                    1 => self.rows::<S, 1, 4>(simd, row),
                    2 => self.rows::<S, 2, 4>(simd, row),
                    3 => self.rows::<S, 3, 4>(simd, row),
                    4 => self.rows::<S, 4, 4>(simd, row),
                    _ => self.rows::<S, 5, 4>(simd, row),
                }
            }
        } else {
            for row in (0..rows).step_by(3) {
                match rows - row {
                    1 => self.rows::<S, 1, 3>(simd, row),
                    2 => self.rows::<S, 2, 3>(simd, row),
                    _ => self.rows::<S, 3, 3>(simd, row),
                }
            }
        }
    }
}

impl DotForm<'_> {
    /// `R` rows of the result, all columns, `C` of them at a time.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, row: usize) {
        let n = self.size[1];
        let mut column = 0;
        while column + C <= n {
            self.tile::<S, R, C>(simd, row, column);
            column += C;
        }
        while column + 2 <= n {
            self.tile::<S, R, 2>(simd, row, column);
            column += 2;
        }
        if column < n {
            self.tile::<S, R, 1>(simd, row, column);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, row: usize, column: usize) {
        let Self { size: [_, n, k], keep, left, right, .. } = *self;
        let l: [_; R] = std::array::from_fn(|r| S::as_simd_f32s(&left.data[(row + r) * left.row..][..k]));
        let r: [_; C] = std::array::from_fn(|c| S::as_simd_f32s(&right.data[(column + c) * right.row..][..k]));
        let vectors = k / S::F32_LANES;
        let l_head: [_; R] = std::array::from_fn(|i| &l[i].0[..vectors]);
        let r_head: [_; C] = std::array::from_fn(|i| &r[i].0[..vectors]);
        let mut sum = [[simd.splat_f32s(0.0); C]; R];
        for k in 0..vectors {
            let r: [_; C] = std::array::from_fn(|i| r_head[i][k]);
            for (sum, l) in sum.iter_mut().zip(&l_head) {
                let l = l[k];
                for (sum, r) in sum.iter_mut().zip(r) {
                    *sum = simd.mul_add_e_f32s(l, r, *sum);
                }
            }
        }
        if k > vectors * S::F32_LANES {
            let l = l.map(|l| simd.partial_load_f32s(l.1));
            let r = r.map(|r| simd.partial_load_f32s(r.1));
            for (sum, &l) in sum.iter_mut().zip(&l) {
                for (sum, &r) in sum.iter_mut().zip(&r) {
                    *sum = simd.mul_add_e_f32s(l, r, *sum);
                }
            }
        }
        for (i, sum) in sum.iter().enumerate() {
            for (j, &sum) in sum.iter().enumerate() {
                let out = &mut self.out[(row + i) * n + column + j];
                let start = if keep { *out } else { 0.0 };
                *out = start + simd.reduce_sum_f32s(sum);
            }
        }
    }
}
