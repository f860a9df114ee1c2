//! Random numbers that are the same on every machine and in every version of this crate.
//!
//! The generator is PCG XSL RR 128/64, whose stream is fixed by its definition; what is drawn from it is integer
//! arithmetic (or exactly rounded `+`, `*`) written out here, so that no other crate's idea of a distribution can
//! change an order or a picture.

use rand::Rng;
use rand_pcg::Pcg64;

/// PCG's own default stream; any constant would do.
const STREAM: u128 = 0xa02b_db8d_0d85_7a1b;

/// The finaliser of `SplitMix64`: a bijection of 64 bits in which each input bit reaches each output bit.
const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The generator of item `index` (an epoch, a picture) of the sequence `seed`.
///
/// With `high = mix(seed)` and `low = mix(high ^ index)` the starting state is `high * 2^64 + low`. No two pairs
/// `(seed, index)` share a state, since `mix` is a bijection: neighbouring seeds and epochs are unrelated.
pub(crate) fn generator(seed: u64, index: u64) -> Pcg64 {
    let high = mix(seed);
    let low = mix(high ^ index);
    Pcg64::new((u128::from(high) << 64) | u128::from(low), STREAM)
}

/// A number from 0 to `n - 1`, each equally likely, by Lemire's multiplication with rejection. `n` must not be 0.
#[allow(clippy::cast_possible_truncation, reason = "the two halves of a 128-bit product, and a result below n")]
pub(crate) fn below(rng: &mut Pcg64, n: u32) -> u32 {
    let n = u64::from(n);
    let mut product = u128::from(rng.next_u64()) * u128::from(n);
    if (product as u64) < n {
        // The first 2^64 mod n products of each interval are surplus: without them all n intervals are equally long.
        let surplus = n.wrapping_neg() % n;
        while (product as u64) < surplus {
            product = u128::from(rng.next_u64()) * u128::from(n);
        }
    }
    (product >> 64) as u32
}

/// The numbers `0..n` in a random order, by Fisher and Yates.
pub(crate) fn permutation(rng: &mut Pcg64, n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i as usize, below(rng, i + 1) as usize);
    }
    order
}

/// A number in `[low, high)`, in steps of 2^-24 of the interval.
#[allow(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
pub(crate) fn uniform(rng: &mut Pcg64, low: f32, high: f32) -> f32 {
    low + (high - low) * ((rng.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0))
}

/// Roughly a standard normal number: the sum of four uniform ones, scaled to variance 1. Never beyond 3.5.
#[allow(clippy::cast_precision_loss, reason = "18 bits are exact in f32")]
pub(crate) fn normal(rng: &mut Pcg64) -> f32 {
    let bits = rng.next_u64();
    let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    // Each 16-bit draw has mean 65535/2 and variance 65536^2/12, so the sum has deviation 65536/sqrt(3).
    (sum as f32 - 131_070.0) * (1.732_050_8 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_draws_stay_below_their_bound_and_reach_all_of_it() {
        let mut rng = generator(1, 2);
        for n in [1, 2, 3, 7, 10] {
            let mut seen = vec![0u32; n as usize];
            for _ in 0..1000 * n {
                seen[below(&mut rng, n) as usize] += 1;
            }
            // 1000 expected each; 150 is more than four deviations.
            assert!(seen.iter().all(|&count| count.abs_diff(1000) < 150), "{n}: {seen:?}");
        }
        assert!((0..1000).any(|_| below(&mut rng, u32::MAX) > u32::MAX / 2));
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut rng = generator(3, 4);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn seeds_and_indices_do_not_stand_for_each_other() {
        let first = |seed, index| generator(seed, index).next_u64();
        let draws = [first(0, 0), first(0, 1), first(1, 0), first(1, 1), first(2, 0), first(0, 2)];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[i + 1..].iter().all(|b| a != b), "{draws:?}");
        }
    }
}
