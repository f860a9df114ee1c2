//! Transposes, for operands and results that a product has the other way round.

use pulp::Arch;

/// Rows of a block where there is no faster form: a cache line of the source is read whole.
const BLOCK: usize = 16;

/// `to[r * to_row + c] = from[c * from_row + r]` for `r < rows`, `c < columns`.
pub(super) fn transpose([rows, columns]: [usize; 2], from: &[f32], from_row: usize, to: &mut [f32], to_row: usize) {
    let whole = match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(simd) => x86::by_sixteen(simd, [rows, columns], from, from_row, to, to_row),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) => x86::by_eight(simd, [rows, columns], from, from_row, to, to_row),
        _ => [0; 2],
    };
    plainly([0, rows], [whole[1], columns], from, from_row, to, to_row);
    plainly([whole[0], rows], [0, whole[1]], from, from_row, to, to_row);
}

fn plainly(
    [row, rows]: [usize; 2],
    [column, columns]: [usize; 2],
    from: &[f32],
    from_row: usize,
    to: &mut [f32],
    to_row: usize,
) {
    if column == columns {
        return;
    }
    for first in (row..rows).step_by(BLOCK) {
        let to = &mut to[first * to_row..];
        let count = BLOCK.min(rows - first);
        for c in column..columns {
            for (r, &x) in from[c * from_row + first..][..count].iter().enumerate() {
                to[r * to_row + c] = x;
            }
        }
    }
}

/// A vector is filled with four numbers each of some rows, so that four vectors hold squares of 4x4 side by side, and
/// instructions that work within 128 bits transpose them all.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::x86::{V3, V4};
    use pulp::{cast, f32x8, f32x16};

    /// Four numbers of each of `N` rows, `apart` apart.
    #[inline(always)]
    fn fours<const N: usize>(from: &[f32], apart: usize) -> [[f32; 4]; N] {
        std::array::from_fn(|i| {
            let row = &from[i * apart..][..4];
            [row[0], row[1], row[2], row[3]]
        })
    }

    macro_rules! transpose {
        ($name:ident, $simd:ty, $lanes:literal, $vector:ty, $set:ident, [$low_s:ident, $high_s:ident, $low_d:ident, $high_d:ident, $to_d:ident, $to_s:ident]) => {
            /// As much of the transpose as whole blocks cover, and how many rows and columns that is.
            pub(super) fn $name(
                simd: $simd,
                [rows, columns]: [usize; 2],
                from: &[f32],
                from_row: usize,
                to: &mut [f32],
                to_row: usize,
            ) -> [usize; 2] {
                let whole = [rows / 4 * 4, columns / $lanes * $lanes];
                simd.vectorize(
                    #[inline(always)]
                    || {
                        let set = simd.$set;
                        let low_d = |a, b| set.$to_s(set.$low_d(set.$to_d(a), set.$to_d(b)));
                        let high_d = |a, b| set.$to_s(set.$high_d(set.$to_d(a), set.$to_d(b)));
                        for c in (0..whole[1]).step_by($lanes) {
                            for r in (0..whole[0]).step_by(4) {
                                let v: [_; 4] = std::array::from_fn(|i| {
                                    let from = &from[(c + i) * from_row + r..];
                                    let vector: $vector = cast(fours::<{ $lanes / 4 }>(from, 4 * from_row));
                                    cast(vector)
                                });
                                let (s, t) = (set.$low_s(v[0], v[1]), set.$low_s(v[2], v[3]));
                                let (x, y) = (set.$high_s(v[0], v[1]), set.$high_s(v[2], v[3]));
                                let out = [low_d(s, t), high_d(s, t), low_d(x, y), high_d(x, y)];
                                for (i, out) in out.into_iter().enumerate() {
                                    let numbers: [f32; $lanes] = cast(out);
                                    to[(r + i) * to_row + c..][..$lanes].copy_from_slice(&numbers);
                                }
                            }
                        }
                    },
                );
                whole
            }
        };
    }
    transpose!(
        by_sixteen,
        V4,
        16,
        f32x16,
        avx512f,
        [
            _mm512_unpacklo_ps,
            _mm512_unpackhi_ps,
            _mm512_unpacklo_pd,
            _mm512_unpackhi_pd,
            _mm512_castps_pd,
            _mm512_castpd_ps
        ]
    );
    transpose!(
        by_eight,
        V3,
        8,
        f32x8,
        avx,
        [
            _mm256_unpacklo_ps,
            _mm256_unpackhi_ps,
            _mm256_unpacklo_pd,
            _mm256_unpackhi_pd,
            _mm256_castps_pd,
            _mm256_castpd_ps
        ]
    );
}

#[cfg(test)]
mod tests {
    use super::{plainly, transpose};

    #[test]
    fn every_element_goes_to_its_place_and_nothing_else_is_touched() {
        for (rows, columns) in [(1, 1), (3, 5), (4, 16), (16, 16), (17, 33), (64, 7), (7, 64), (50, 41)] {
            let (from_row, to_row) = (rows + 3, columns + 2);
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let from: Vec<f32> = (0..columns * from_row).map(|i| i as f32).collect();
            let mut got = vec![-1.0; rows * to_row];
            let (mut want, mut plain) = (got.clone(), got.clone());
            for r in 0..rows {
                for c in 0..columns {
                    want[r * to_row + c] = from[c * from_row + r];
                }
            }
            transpose([rows, columns], &from, from_row, &mut got, to_row);
            plainly([0, rows], [0, columns], &from, from_row, &mut plain, to_row);
            assert_eq!(got, want, "{rows}x{columns}");
            assert_eq!(plain, want, "{rows}x{columns}");
        }
    }
}
