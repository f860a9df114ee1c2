//! A number that knows the scale of the rounding error that `f32` arithmetic may have made in it.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::cpu::Arithmetic;
use crate::real::Real;

/// A value in `f64` with the scale of its error: a kernel that computed it in `f32`, in whatever order, may be off by
/// `k * 2^-23 * scale + flushed` for the `k` of [`bound`](super::bound).
///
/// For a sum the scale is the sum of the absolute terms, never the absolute value of the sum, which cancellation makes small. For a
/// product it is that of either factor times the value of the other: what was off before comes through multiplied, no more.
/// Functions add what the WGSL specification allows them (15.7.4), as multiples of the smallest `k`, 8.
///
/// A device may also take a number below the smallest normal one as 0, before or after any operation. What that can add up to,
/// and be multiplied to, is `flushed`.
#[derive(Debug, Clone, Copy)]
pub struct Tracked {
    /// The value.
    pub value: f64,
    /// The scale of its rounding error.
    pub scale: f64,
    /// How much of it flushing to zero can have taken or added, in absolute terms; 1 for a 0 or 1 that rounding decides.
    pub flushed: f64,
    /// Whether it was read from memory, so that it has no rounding error yet.
    exact: bool,
}

/// The smallest factor that a bound has; intrinsic errors are given in units of it.
pub(super) const SMALLEST_K: f64 = 8.0;

/// The largest `k * 2^-23` there is, of sums of 10,000 terms: what an error is at most, per unit of its scale. A product of two errors
/// is that of the other, which matters only where a sum cancelled so far that its error is as large as itself.
const LARGEST: f64 = 1.0 / 32_768.0;

/// What one operation can flush: anything below the smallest normal number.
const FLUSH: f64 = f32::MIN_POSITIVE as f64;

impl Tracked {
    const fn exact_value(value: f64) -> Self {
        let flushed = if value.abs() < FLUSH { value.abs() } else { 0.0 };
        Self { value, scale: value.abs(), flushed, exact: true }
    }

    /// The result of one operation: of exact numbers it has the rounding error of the result alone.
    fn result(value: f64, scale: f64, flushed: f64, exact: bool) -> Self {
        let scale = if exact { value.abs() } else { scale.max(value.abs()) };
        // Any order of a sum has partial sums of its own, so any operation may flush.
        Self { value, scale, flushed: flushed + FLUSH, exact: false }
    }

    /// The scale of the error that it comes with: none if it was read from memory.
    fn error(self) -> f64 {
        if self.exact { 0.0 } else { self.scale }
    }

    /// Whether it is 0 for certain, so that adding it, or multiplying by it, is no operation that rounds.
    fn is_nothing(self) -> bool {
        self.exact && self.value == 0.0
    }

    /// `f(self)`, where `slope` is `f'` and the function itself may be off by `intrinsic` units of 2^-23.
    fn function(self, value: f64, slope: f64, intrinsic: f64) -> Self {
        let carried = (slope * self.error()).abs();
        let scale = carried + value.abs() / SMALLEST_K + intrinsic / SMALLEST_K;
        Self { value, scale, flushed: slope.abs() * self.flushed + FLUSH, exact: false }
    }
}

impl PartialEq for Tracked {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Tracked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Tracked {
    type Output = Self;
    /// A sum may be added up in any order, so even of two exact numbers the scale is that of both.
    fn add(self, other: Self) -> Self {
        if self.is_nothing() {
            return other;
        }
        if other.is_nothing() {
            return self;
        }
        Self::result(self.value + other.value, self.scale + other.scale, self.flushed + other.flushed, false)
    }
}

impl Sub for Tracked {
    type Output = Self;
    /// A difference of two exact numbers is one operation.
    fn sub(self, other: Self) -> Self {
        let exact = self.exact && other.exact;
        Self::result(self.value - other.value, self.scale + other.scale, self.flushed + other.flushed, exact)
    }
}

impl Mul for Tracked {
    type Output = Self;
    /// The error of either factor times the other: of the scales alone the product would grow without end from layer to layer.
    /// Where a factor has all but cancelled, the product of both errors, each a small part of its scale, may be more than that.
    fn mul(self, other: Self) -> Self {
        if self.is_nothing() && other.value.is_finite() || other.is_nothing() && self.value.is_finite() {
            return Self::ZERO;
        }
        let flushed = self.value.abs() * other.flushed + other.value.abs() * self.flushed;
        let exact = self.exact && other.exact;
        let (a, b) = (self.error(), other.error());
        let scale = self.value.abs() * b + other.value.abs() * a + LARGEST * a * b;
        Self::result(self.value * other.value, scale, flushed, exact)
    }
}

impl Div for Tracked {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let (a, b) = (self.error() / other.value.abs(), other.error() / other.value.abs());
        let scale = a + value.abs() * b + LARGEST * a * b;
        let flushed = (self.flushed + value.abs() * other.flushed) / other.value.abs();
        Self::result(value, scale, flushed, self.exact && other.exact)
    }
}

impl Neg for Tracked {
    type Output = Self;
    fn neg(self) -> Self {
        Self { value: -self.value, ..self }
    }
}

impl Real for Tracked {
    const ZERO: Self = Self::exact_value(0.0);
    const ONE: Self = Self::exact_value(1.0);
    const KNOWS_ERRORS: bool = true;

    fn exact(x: f32) -> Self {
        Self::exact_value(x.into())
    }

    fn constant(x: f64) -> Self {
        Self::exact_value(x)
    }

    #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what this is for")]
    fn to_f32(self) -> f32 {
        self.value as f32
    }

    fn to_f64(self) -> f64 {
        self.value
    }

    /// 3 + 2|x| ULP.
    fn exp(self) -> Self {
        let value = self.value.exp();
        self.function(value, value, value * (3.0 + 2.0 * self.value.abs()))
    }

    /// 2^-21 absolute between 0.5 and 2, 3 ULP outside.
    fn ln(self) -> Self {
        let value = self.value.ln();
        let intrinsic = if (0.5..=2.0).contains(&self.value) { 4.0 } else { 3.0 * value.abs() };
        self.function(value, 1.0 / self.value, intrinsic)
    }

    /// A series of positive terms, and two divisions of 2.5 ULP each.
    fn ln_1p(self) -> Self {
        let value = self.value.ln_1p();
        self.function(value, 1.0 / (1.0 + self.value), 10.0 * value)
    }

    /// From `e^x`, which near 0 costs an absolute error; the series above -0.2 is better than that.
    fn exp_m1(self) -> Self {
        let (value, e) = (self.value.exp_m1(), self.value.exp());
        self.function(value, e, e * (3.0 + 2.0 * self.value.abs()) + 4.0 * value.abs() + 1.0)
    }

    /// `e^(-x^2/2)`, whose argument is rounded twice, times a polynomial of 9 terms.
    fn normal_tail(self) -> Self {
        let square = self.value * self.value;
        let value = 0.5 * libm::erfc(self.value.abs() * std::f64::consts::FRAC_1_SQRT_2);
        let density = (-0.5 * square).exp() / std::f64::consts::TAU.sqrt();
        self.function(value, density, value * (12.0 + 2.0 * square))
    }

    /// From `e^(-2|x|)`, which near 0 costs an absolute error; the series below 0.02 is better than that.
    fn tanh(self) -> Self {
        let value = self.value.tanh();
        let e = (-2.0 * self.value.abs()).exp();
        self.function(value, 1.0 - value * value, e * (3.0 + 4.0 * self.value.abs()) + 4.0 * value.abs() + 1.0)
    }

    /// As the inverse of an inverse square root: 2 + 2.5 ULP. At 0 the slope is infinite; what may have been flushed there is a
    /// square, too.
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        let slope = if value > 0.0 { 0.5 / value } else { 0.0 };
        let tracked = Self { flushed: 0.0, ..self }.function(value, slope, 5.0 * value);
        let root = self.flushed.sqrt();
        Self { flushed: FLUSH + if slope > 0.0 { root.min(slope * self.flushed) } else { root }, ..tracked }
    }

    fn abs(self) -> Self {
        Self { value: self.value.abs(), ..self }
    }

    fn is_nan(self) -> bool {
        self.value.is_nan()
    }

    /// If they are nearer to each other than both may be off. Two numbers that were read from memory never tie: equal or not, they are so
    /// on every device, as long as it need not flush them.
    fn ties_with(self, other: Self) -> bool {
        let off = |x: Self| LARGEST * x.error() + x.flushed;
        let off = off(self) + off(other);
        off > 0.0 && (self.value - other.value).abs() <= off
    }

    /// Off by 1, in absolute terms: so is every sum of such numbers, by how many of them are undecided.
    fn undecided(self) -> Self {
        Self { flushed: 1.0, exact: false, ..self }
    }
}

impl Arithmetic for Tracked {}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_cancels_keeps_the_scale_of_its_terms() {
        let [a, b] = [1e6, -1e6].map(|x: f32| Tracked::exact(x) * Tracked::exact(3.0));
        let sum = a + b;
        assert_eq!((sum.value, sum.scale), (0.0, 6e6));
    }

    #[test]
    fn a_sum_of_numbers_read_from_memory_may_take_any_order() {
        let [a, b, c] = [100.0, -99.0, 0.5].map(Tracked::exact);
        assert_eq!((a + b + c).scale, 199.5);
    }

    #[test]
    fn numbers_read_from_memory_carry_no_error() {
        let difference = Tracked::exact(1.0) - Tracked::exact(0.75);
        assert_eq!(difference.scale, 0.25);
    }

    /// What is computed ties where it is as near as rounding may take it; what was read, or computed without rounding, never does.
    #[test]
    fn a_tie_is_what_rounding_decides() {
        let [third, half, zero] = [1.0 / 3.0, 0.5, 0.0_f32].map(Tracked::exact);
        let computed = third * third;
        let near = |by: f64| Tracked { value: computed.value + by, ..computed };
        assert!(computed.ties_with(computed) && computed.ties_with(near(1e-7)) && near(1e-7).ties_with(computed));
        assert!(!computed.ties_with(near(1e-4)) && !computed.ties_with(half));

        assert!(!half.ties_with(half) && !half.ties_with(Tracked::constant(0.5)));
        let sum = half + zero * third + third * zero;
        assert!(sum.exact && sum.value == 0.5 && !sum.ties_with(half));
        assert!((half + third).ties_with(half + third));
        assert!((zero * Tracked::exact(f32::INFINITY)).value.is_nan());

        let count = Tracked::ONE.undecided() + Tracked::ONE + Tracked::ZERO.undecided();
        assert!(count.value == 2.0 && (2.0..2.001).contains(&count.flushed));
    }
}
