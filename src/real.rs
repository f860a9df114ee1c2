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
    /// The constant or datum `x`, taken as exact.
    fn exact(x: f32) -> Self;
    /// The value, rounded to `f32`.
    fn to_f32(self) -> f32;
    /// The value as `f64`.
    fn to_f64(self) -> f64;
    /// `e^x`.
    fn exp(self) -> Self;
    /// `ln x`.
    fn ln(self) -> Self;
    /// `ln(1 + x)`.
    fn ln_1p(self) -> Self;
    /// `tanh x`.
    fn tanh(self) -> Self;
    /// `|x|`.
    fn abs(self) -> Self;
    /// NaN or not. Comparisons are not enough: a shader compiler may assume that there is none.
    fn is_nan(self) -> bool;

    /// The larger of two numbers; `self` when they are equal.
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline]
            fn exact(x: f32) -> Self {
                x.into()
            }
            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what this is for")]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline]
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            #[inline]
            fn tanh(self) -> Self {
                self.tanh()
            }
            #[inline]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}
real!(f32);
real!(f64);
