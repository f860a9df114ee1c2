//! Large matrix products: both operands packed into the order in which the innermost loop reads them, the accumulators in
//! registers.
//!
//! Each element of the result is one chain of fused multiply-adds, k ascending, for every [`TERMS`] terms, whatever tile or
//! part it falls into. So the bits do not depend on how many parts there are, and who computes them.

use std::cell::RefCell;

use pulp::{Arch, Simd, WithSimd};

use super::memory::Aligned;
use super::small::View;
use super::transpose::transpose;

/// Terms of a sum that are added up in registers; then they go to the result.
const TERMS: usize = 1024;
/// Numbers of the right operand that are packed at once: half a megabyte, which a core's second cache holds.
const RIGHT_MOST: usize = 1 << 18;
/// Tiles of which the left rows are packed at once: theirs is a whole number of cache lines, so that none is fetched twice.
const TOGETHER: usize = 8;

thread_local! {
    /// Where a thread packs operands; kept, so that a step allocates nothing.
    static PANELS: RefCell<Aligned<f32>> = const { RefCell::new(Aligned::new()) };
}

/// Rows of `out = keep * out + factor * left right`: `left` (M,K) from its row `first` on, as many rows as `out` has; `right`
/// (K,N) whole; `out` row-major. `keep` is 0 or 1.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Columns of the result.
    pub(super) n: usize,
    /// Terms of each sum.
    pub(super) k: usize,
    pub(super) keep: bool,
    pub(super) factor: f32,
    pub(super) left: View<'a>,
    pub(super) right: View<'a>,
}

impl Product<'_> {
    /// Computes the rows of the result from `first` on, as many as `out` has.
    pub(super) fn rows(self, first: usize, out: &mut [f32]) {
        PANELS.with_borrow_mut(|panels| Arch::new().dispatch(Rows { product: self, first, out, panels }));
    }
}

/// Rows of a tile here: a part of a result that is a whole number of tiles leaves no odd one.
pub(super) fn tile_rows() -> usize {
    struct TileRows;
    impl WithSimd for TileRows {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            if S::REGISTER_COUNT >= 32 { 6 } else { 4 }
        }
    }
    Arch::new().dispatch(TileRows)
}

struct Rows<'a> {
    product: Product<'a>,
    first: usize,
    out: &'a mut [f32],
    panels: &'a mut Aligned<f32>,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many accumulators as leave room for a row of `right` and one element of `left`.
        if S::REGISTER_COUNT >= 32 { self.all::<S, 6, 4>(simd) } else { self.all::<S, 4, 3>(simd) }
    }
}

/// A block of the right operand, packed: `k` rows of `width` columns, panel after panel.
#[derive(Clone, Copy)]
struct Block {
    begin: usize,
    k: usize,
    column: usize,
    n: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn all<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { product, first, out, panels } = self;
        let wide = V * S::F32_LANES;
        let Product { n, k, .. } = product;
        let rows = out.len() / n;
        for begin in (0..k).step_by(TERMS) {
            let terms = TERMS.min(k - begin);
            let columns = (RIGHT_MOST / terms / wide * wide).max(wide);
            for column in (0..n).step_by(columns) {
                let block = Block { begin, k: terms, column, n: columns.min(n - column) };
                let width = block.n.next_multiple_of(S::F32_LANES);
                let (right, left) = panels.at_least(terms * (width + TOGETHER * R)).split_at_mut(terms * width);
                pack_right::<S, V>(product.right, block, right);
                for row in (0..rows).step_by(R) {
                    let at = first + row;
                    if product.left.row == 1 && (row / R).is_multiple_of(TOGETHER) {
                        pack_left::<R>(product.left, [at, (rows - row).min(TOGETHER * R)], block, left);
                    }
                    let left = &left[row / R % TOGETHER * terms * R..];
                    let tile = Tiles { product, block, left, right, out: &mut *out, row };
                    match (rows - row).min(R) {
                        1 => tile.row::<S, 1, V>(simd, at),
                        2 => tile.row::<S, 2, V>(simd, at),
                        3 => tile.row::<S, 3, V>(simd, at),
                        4 => tile.row::<S, 4, V>(simd, at),
                        5 => tile.row::<S, 5, V>(simd, at),
                        _ => tile.row::<S, 6, V>(simd, at),
                    }
                }
            }
        }
    }
}

/// Panels of `V` vectors of columns, the last narrower; columns past the end are zeros.
#[inline(always)]
fn pack_right<S: Simd, const V: usize>(right: View<'_>, block: Block, to: &mut [f32]) {
    let Block { begin, k: terms, column, n } = block;
    let wide = V * S::F32_LANES;
    if right.column != 1 {
        debug_assert_eq!(right.row, 1);
        for (first, to) in (0..n).step_by(wide).zip(to.chunks_mut(terms * wide)) {
            let (live, width) = (wide.min(n - first), to.len() / terms);
            if live < width {
                to.fill(0.0);
            }
            transpose([terms, live], &right.data[(column + first) * right.column + begin..], right.column, to, width);
        }
        return;
    }
    // Row by row, which is how they lie in memory: rows may be a page apart.
    let (whole, rest) = to.split_at_mut(n / wide * wide * terms);
    let width = rest.len() / terms;
    for k in 0..terms {
        let from = &right.data[(begin + k) * right.row + column..][..n];
        let panels = from.chunks_exact(wide);
        let last = panels.remainder();
        for (panel, from) in panels.enumerate() {
            let (from, _) = S::as_simd_f32s(from);
            let (to, _) = S::as_mut_simd_f32s(&mut whole[(panel * terms + k) * wide..][..wide]);
            to[..V].copy_from_slice(&from[..V]);
        }
        if !last.is_empty() {
            let (to, past) = rest[k * width..][..width].split_at_mut(last.len());
            to.copy_from_slice(last);
            past.fill(0.0);
        }
    }
}

/// Some rows of `left`, of which the columns lie together: tiles of `R` rows, or what is left of them, for each k together.
#[inline(always)]
fn pack_left<const R: usize>(left: View<'_>, [row, rows]: [usize; 2], block: Block, to: &mut [f32]) {
    debug_assert_eq!(left.row, 1);
    let Block { begin, k: terms, .. } = block;
    for k in 0..terms {
        let from = &left.data[(begin + k) * left.column + row..][..rows];
        let (tiles, last) = from.as_chunks::<R>();
        for (tile, from) in tiles.iter().enumerate() {
            to[(tile * terms + k) * R..][..R].copy_from_slice(from);
        }
        if !last.is_empty() {
            to[tiles.len() * terms * R + k * last.len()..][..last.len()].copy_from_slice(last);
        }
    }
}

/// Some rows of the result, all columns of a block.
struct Tiles<'a> {
    product: Product<'a>,
    block: Block,
    left: &'a [f32],
    right: &'a [f32],
    out: &'a mut [f32],
    row: usize,
}

impl Tiles<'_> {
    /// `R` rows, of which the first is row `at` of `left`.
    #[inline(always)]
    fn row<S: Simd, const R: usize, const V: usize>(mut self, simd: S, at: usize) {
        let Block { begin, k, n, .. } = self.block;
        let left = self.product.left;
        let (packed, _) = self.left[..k * R].as_chunks::<R>();
        let rows = (left.row != 1).then(|| std::array::from_fn(|r| &left.data[(at + r) * left.row + begin..][..k]));
        for column in (0..n).step_by(V * S::F32_LANES) {
            match (n - column).div_ceil(S::F32_LANES).min(V) {
                1 => self.tile::<S, R, 1>(simd, column, packed, rows),
                2 => self.tile::<S, R, 2>(simd, column, packed, rows),
                3 => self.tile::<S, R, 3>(simd, column, packed, rows),
                _ => self.tile::<S, R, 4>(simd, column, packed, rows),
            }
        }
    }

    /// One tile: from `rows` of `left` where they lie together, else from the packed ones.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        column: usize,
        packed: &[[f32; R]],
        rows: Option<[&[f32]; R]>,
    ) {
        let Product { n, keep, factor, .. } = self.product;
        let Block { begin, k, column: block, n: columns } = self.block;
        let width = V * S::F32_LANES;
        let (right, _) = S::as_simd_f32s(&self.right[column * k..][..k * width]);
        let (right, _) = right.as_chunks::<V>();
        let sum = match rows {
            Some(rows) => sums_of_rows::<S, R, V>(simd, rows, right),
            None => sums::<S, R, V>(simd, packed, right),
        };
        let keep = keep || begin > 0;
        let factor = simd.splat_f32s(factor);
        let live = width.min(columns - column);
        for (r, sum) in sum.iter().enumerate() {
            let out = &mut self.out[(self.row + r) * n + block + column..][..live];
            if live == width {
                let (out, _) = S::as_mut_simd_f32s(out);
                for (out, &sum) in out.iter_mut().zip(sum) {
                    *out = if keep { simd.mul_add_e_f32s(factor, sum, *out) } else { simd.mul_f32s(factor, sum) };
                }
            } else {
                for (out, &sum) in out.chunks_mut(S::F32_LANES).zip(sum) {
                    let new = if keep {
                        simd.mul_add_e_f32s(factor, sum, simd.partial_load_f32s(out))
                    } else {
                        simd.mul_f32s(factor, sum)
                    };
                    simd.partial_store_f32s(out, new);
                }
            }
        }
    }
}

/// `sum over k of left right`, `left` packed.
#[inline(always)]
fn sums<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: &[[f32; R]],
    right: &[[S::f32s; V]],
) -> [[S::f32s; V]; R] {
    let mut sum = [[simd.splat_f32s(0.0); V]; R];
    for (left, right) in left.iter().zip(right) {
        for (sum, &l) in sum.iter_mut().zip(left) {
            let l = simd.splat_f32s(l);
            for (sum, &r) in sum.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(l, r, *sum);
            }
        }
    }
    sum
}

/// The same, `left` as it is.
#[inline(always)]
fn sums_of_rows<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: [&[f32]; R],
    right: &[[S::f32s; V]],
) -> [[S::f32s; V]; R] {
    let left = left.map(|row| &row[..right.len()]);
    let mut sum = [[simd.splat_f32s(0.0); V]; R];
    for (k, right) in right.iter().enumerate() {
        for (sum, left) in sum.iter_mut().zip(left) {
            let l = simd.splat_f32s(left[k]);
            for (sum, &r) in sum.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(l, r, *sum);
            }
        }
    }
    sum
}
