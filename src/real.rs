//! The arithmetic that the CPU kernels are written in, so that one text serves `f32`, `f64` and error analysis.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number the kernels can compute with: `f32` (the backend), `f64` (the oracle of one kernel) or
/// [`Tracked`](crate::verify::Tracked) (the oracle that also carries the scale of its rounding error).
pub trait Real:
    Copy
    + Debug
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + PartialOrd
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Whether numbers know how far off rounding may be: then a comparison of two may be a [tie](Self::ties_with).
    const KNOWS_ERRORS: bool = false;
    /// The constant or datum `x`, taken as exact.
    fn exact(x: f32) -> Self;
    /// A constant of the mathematics, as near as this arithmetic has it.
    fn constant(x: f64) -> Self;
    /// The value, rounded to `f32`.
    fn to_f32(self) -> f32;
    /// The value as `f64`.
    fn to_f64(self) -> f64;
    /// `e^x`.
    fn exp(self) -> Self;
    /// `ln x`.
    fn ln(self) -> Self;
    /// `ln(1 + x)` for `0 <= x <= 1`.
    fn ln_1p(self) -> Self;
    /// `e^x - 1` for `x <= 0`.
    fn exp_m1(self) -> Self;
    /// `Phi(-|x|)`, the part of the standard normal distribution that lies beyond `|x|` on one side.
    fn normal_tail(self) -> Self;
    /// `tanh x`.
    fn tanh(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// `|x|`.
    fn abs(self) -> Self;
    /// NaN or not. Comparisons are not enough: a shader compiler may assume that there is none.
    fn is_nan(self) -> bool;

    /// Whether rounding may decide which of the two is the larger.
    fn ties_with(self, _other: Self) -> bool {
        false
    }
    /// This 0 or 1, where the other of the two would be as right.
    #[must_use]
    fn undecided(self) -> Self {
        self
    }

    /// The larger of two numbers; `self` when they are equal.
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

macro_rules! real {
    ($t:ty, $exp:path, $tanh:path, $ln_1p:path, $exp_m1:path, $normal_tail:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn exact(x: f32) -> Self {
                x.into()
            }
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, clippy::cast_lossless, reason = "rounding is what this is for")]
            fn constant(x: f64) -> Self {
                x as Self
            }
            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what this is for")]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $ln_1p(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $exp_m1(self)
            }
            #[inline(always)]
            fn normal_tail(self) -> Self {
                $normal_tail(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}
real!(f32, exp, tanh, ln_1p, exp_m1, normal_tail);
real!(f64, f64::exp, f64::tanh, f64::ln_1p, f64::exp_m1, normal_tail_f64);

/// `e^x` in `f32`, within 2 ULP, with the same bits on every platform, and in a form that a compiler turns into SIMD: no
/// branch, no call, no conversion. Below -87.3 it is 0, above 88.3 infinity.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // From -126.0 to 127.5 times ln 2: there n is the exponent of a normal number.
    const LOWEST: f32 = -87.336_54;
    const HIGHEST: f32 = 88.376_26;
    // e^x = 2^n e^r, n whole, |r| <= ln(2)/2. Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first so short that its product with n is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    // The polynomial of the Cephes library.
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = (p * r) * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let e = p * power;
    let e = if x < LOWEST { 0.0 } else { e };
    if x > HIGHEST { f32::INFINITY } else { e }
}

/// `tanh x` in `f32`, as the shaders have it: from `e^(-2|x|)`, and by its series near 0, where that would lose digits.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    let t = (1.0 - e) / (1.0 + e);
    let t = if x < 0.0 { -t } else { t };
    if x.abs() < 0.02 { x - x * x * x * 0.333_333_34 } else { t }
}

/// `ln(1 + e)` in `f32` for `0 <= e <= 1`, as the shaders have it: `2 artanh(e / (2 + e))` by its series.
#[inline(always)]
pub(crate) fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let p = 0.076_923_08 + q * 0.066_666_67;
    let p = 0.111_111_11 + q * (0.090_909_09 + q * p);
    let p = 0.333_333_34 + q * (0.2 + q * (0.142_857_15 + q * p));
    2.0 * s + 2.0 * s * q * p
}

/// `e^x - 1` in `f32` for `x <= 0`, as the shaders have it: near 0 by its series.
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let p = 0.041_666_668 + x * (0.008_333_334 + x * 0.001_388_888_9);
    let series = x + x * x * (0.5 + x * (0.166_666_67 + x * p));
    let difference = exp(x) - 1.0;
    if x > -0.2 { series } else { difference }
}

/// `Phi(-|x|)` in `f32`, as the shaders have it: `e^(-x^2/2)` times a polynomial of `t = 1 / (1 + 0.21 |x|)`, the form of Abramowitz
/// and Stegun 7.1.26, fitted for the smallest relative error (`docs/normal_tail.py`).
#[inline(always)]
pub(crate) fn normal_tail(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.21 * x.abs());
    let p = 0.285_453_4 + t * -0.072_033_97;
    let p = -0.097_245_73 + t * (0.354_033_68 + t * (-0.334_189_65 + t * p));
    let p = 0.083_707_705 + t * (0.085_129_41 + t * (0.068_790_04 + t * (0.126_355_16 + t * p)));
    exp(-(0.5 * (x * x))) * (t * p)
}

fn normal_tail_f64(x: f64) -> f64 {
    0.5 * libm::erfc(x.abs() * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    /// Many numbers of the range that each function is for, with its ends.
    #[test]
    fn the_other_functions_are_near_the_f64_ones() {
        /// A name, the function and the `f64` one, the range, and the largest relative error.
        type Row = (&'static str, fn(f32) -> f32, fn(f64) -> f64, [f32; 2], f64);
        let rows: [Row; 3] = [
            ("ln_1p", super::ln_1p, f64::ln_1p, [0.0, 1.0], 3.0),
            ("exp_m1", super::exp_m1, f64::exp_m1, [-100.0, 0.0], 10.0),
            // The exponent may be off by half a unit in its last place.
            ("normal_tail", super::normal_tail, super::normal_tail_f64, [-6.0, 6.0], 24.0),
        ];
        for (name, got, want, [low, high], units) in rows {
            let mut worst = 0.0_f64;
            let tiny = (0..0x3e00_0000_u32).step_by(100_003).map(f32::from_bits);
            let steps = (0..=60_000_u16).map(|i| low + (high - low) * (f32::from(i) / 60_000.0));
            for x in steps.chain(tiny.flat_map(|x| [x, -x])).filter(|x| (low..=high).contains(x)) {
                let (got, want) = (f64::from(got(x)), want(f64::from(x)));
                let error = (got - want).abs() / want.abs().max(f64::from(f32::MIN_POSITIVE));
                assert!(!error.is_nan(), "{name}({x})");
                worst = worst.max(error / f64::from(f32::EPSILON));
            }
            println!("{name}: within {worst:.2} units of 2^-23");
            assert!(worst < units, "{name}: {worst}");
            assert!(got(f32::NAN).is_nan(), "{name}");
        }
        for x in [14.0, 100.0, 1e30, f32::MAX] {
            assert!(super::normal_tail(x) < 1e-38 && super::normal_tail(-x) < 1e-38, "{x}");
        }
    }

    /// Every thousandth number, on both sides.
    #[test]
    fn exp_and_tanh_are_near_the_f64_ones() {
        let (mut worst_exp, mut worst_tanh) = (0.0_f64, 0.0_f64);
        let mut count = 0;
        for bits in (0..0x7f80_0000_u32).step_by(997) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let (got, want) = (f64::from(super::exp(x)), f64::from(x).exp());
                if want > f64::from(f32::MIN_POSITIVE) && x < 88.376 {
                    worst_exp = worst_exp.max((got - want).abs() / want);
                } else if want < 1.0 {
                    assert!(got <= f64::from(f32::MIN_POSITIVE) * 1.1, "exp({x}) = {got}");
                } else {
                    assert!(got.is_infinite(), "exp({x}) = {got}");
                }
                let error = (f64::from(super::tanh(x)) - f64::from(x).tanh()).abs();
                assert!(!error.is_nan(), "tanh({x})");
                worst_tanh = worst_tanh.max(error);
                count += 1;
            }
        }
        println!("{count} numbers: exp within {worst_exp:e} relative, tanh within {worst_tanh:e}");
        assert!(worst_exp < 2.0 * f64::from(f32::EPSILON) && worst_tanh < 2e-7, "{worst_exp:e} {worst_tanh:e}");
        assert!(super::exp(f32::NAN).is_nan() && super::tanh(f32::NAN).is_nan());
        assert_eq!(super::exp(0.0).to_bits(), 1.0_f32.to_bits());
    }
}
