//! The one comparison of a result with the reference, and the one formula of its tolerance.

use serde::Serialize;

use super::tracked::{SMALLEST_K, Tracked};
use crate::kernel::{Kernel, Params, SQUARES};

/// How far a result may be from the reference: `|got - want| <= k * 2^-23 * scale + flushed`, with `k = 8 + 2 sqrt(K)` for a
/// sum of `K` terms, and `scale` and `flushed` from [`Tracked`].
#[must_use]
pub fn bound(terms: u64, want: &Tracked) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a count of terms is far below 2^53")]
    let k = SMALLEST_K + 2.0 * (terms as f64).sqrt();
    // The last f64::from is for a result that is itself below the smallest normal number.
    k * f64::from(f32::EPSILON) * want.scale + want.flushed + f64::from(f32::MIN_POSITIVE)
}

/// How many terms the longest sum of this dispatch has.
pub(crate) fn terms(kernel: Kernel, p: &Params) -> u64 {
    match kernel {
        Kernel::Softmax | Kernel::CostValue | Kernel::OutputError => u64::from(p.outputs),
        Kernel::OutputLayer => u64::from(p.inputs) + u64::from(p.outputs),
        Kernel::Tally | Kernel::Residuals => u64::from(p.rows),
        // The sum before it may have been cut, or not.
        Kernel::DenseUpdate => u64::from(p.rows),
        Kernel::GradientSquares => u64::from(p.count).div_ceil(SQUARES.into()),
        Kernel::ClipGradients => SQUARES.into(),
        Kernel::MaxNorm => u64::from(p.inputs),
        // Every sum of its steps, one after another.
        Kernel::Persistent => {
            let widths = [p.rows, p.inputs, p.outputs].into_iter().map(u64::from).sum::<u64>();
            (u64::from(p.count) * u64::from(p.k_end)).saturating_mul(widths)
        }
        _ if kernel.sum_length(p).is_some() => u64::from(p.k_end.saturating_sub(p.k_begin)),
        _ => 1,
    }
}

/// The worst element of a comparison, and how many there were.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Worst {
    /// Elements compared.
    pub elements: u64,
    /// The largest error, in units of its bound: above 1 is a failure. NaN counts as infinite.
    pub ratio: f64,
    /// Where it was.
    pub index: usize,
    /// What was computed there.
    pub got: f64,
    /// What the reference has there.
    pub want: f64,
    /// The bound there.
    pub bound: f64,
}

impl Worst {
    /// Of no elements at all.
    pub(super) const NOTHING: Self = Self { elements: 0, ratio: 0.0, index: 0, got: 0.0, want: 0.0, bound: 0.0 };

    /// Takes one more element in. A NaN on either side fails, as does an infinity.
    pub fn add(&mut self, index: usize, got: f64, want: f64, bound: f64) {
        self.elements += 1;
        let error = (got - want).abs();
        let within = error <= bound && error.is_finite() && bound.is_finite();
        // A NaN compares as false, so it cannot be left to the comparisons: it is the worst there is.
        let ratio = match error / bound {
            ratio if within => ratio,
            ratio if ratio.is_finite() => ratio.max(1.000_001),
            _ => f64::INFINITY,
        };
        if ratio > self.ratio || self.elements == 1 {
            *self = Self { elements: self.elements, ratio, index, got, want, bound };
        }
    }

    /// Takes one more whole number in, which has to be equal.
    pub fn add_word(&mut self, index: usize, got: u32, want: u32) {
        self.add(index, got.into(), want.into(), f64::MIN_POSITIVE);
    }

    /// Takes in what another comparison found.
    pub fn merge(&mut self, other: &Self) {
        let elements = self.elements + other.elements;
        if other.ratio > self.ratio {
            *self = *other;
        }
        self.elements = elements;
    }

    /// Whether every element was within its bound, and there was one.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.elements > 0 && self.ratio <= 1.0
    }
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { elements, ratio, index, got, want, bound } = self;
        write!(f, "element {index} of {elements}: got {got:e}, want {want:e} +- {bound:e} ({ratio:.3} of the bound)")
    }
}

/// Compares numbers with the reference.
#[must_use]
pub fn compare(got: &[f32], want: &[Tracked], terms: u64) -> Worst {
    let mut worst = Worst::default();
    for (index, (&got, want)) in got.iter().zip(want).enumerate() {
        worst.add(index, got.into(), want.value, bound(terms, want));
    }
    if got.len() != want.len() {
        worst.ratio = f64::INFINITY;
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::Real;

    /// The comparison must be able to fail: an error just past the bound, a NaN or an infinity on either side, a missing
    /// element, nothing at all.
    #[test]
    fn negative_controls() {
        let want = [1.0_f32, -2.0, 3.0].map(Tracked::exact);
        assert!(compare(&[1.0, -2.0, 3.0], &want, 1).passed());
        let within = 3.0 + f32::EPSILON * 16.0;
        assert!(compare(&[1.0, -2.0, within], &want, 1).passed());
        let past = 3.0 + f32::EPSILON * 48.0;
        let failed = compare(&[1.0, -2.0, past], &want, 1);
        assert!(!failed.passed() && failed.index == 2, "{failed}");
        assert!(!compare(&[1.0, f32::NAN, 3.0], &want, 1).passed());
        assert!(!compare(&[f32::INFINITY, -2.0, 3.0], &want, 1).passed());
        assert!(!compare(&[1.0, -2.0], &want, 1).passed());
        assert!(!compare(&[], &[], 1).passed());
        let nan = [Tracked::exact(f32::NAN)];
        assert!(!compare(&[0.0], &nan, 1).passed());
        assert!(!compare(&[f32::NAN], &nan, 1).passed());
        let infinite = [Tracked::exact(f32::INFINITY)];
        assert!(!compare(&[f32::INFINITY], &infinite, 1).passed());
    }

    #[test]
    fn the_formula() {
        let eps = f64::from(f32::EPSILON);
        assert!((bound(100, &Tracked::exact(2.0)) / (28.0 * eps * 2.0) - 1.0).abs() < 1e-12);
        assert!(bound(1, &Tracked::exact(0.0)) > 0.0, "a device may flush what is below the smallest normal number");
        let tiny = Tracked::exact(1e-39) * Tracked::exact(1000.0);
        assert!(bound(1, &tiny) >= 1e-36, "flushed before the product, all of it is lost");
    }
}
