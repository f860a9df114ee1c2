//! CPU functions of `shaders/cost.wgsl`: the meaning, where the shader is the method. Shapes as stated there.

use super::activation::largest;
use crate::kernel::Params;
use crate::real::Real;
use crate::{Activation, Cost};

/// `1 / live` as a number of the arithmetic; a count below 2^24 is exact.
fn live_rows<T: Real>(control: &[u32]) -> T {
    #[allow(clippy::cast_precision_loss, reason = "the shader converts it in the same way")]
    T::exact(control[1] as f32)
}

/// The weight of row `b`: the numbers after the targets, where rows have weights.
#[inline(always)]
pub(crate) fn weight_of<T: Real>(p: &Params, y: &[T], b: usize) -> T {
    if p.format & 16 == 0 { T::ONE } else { y[(p.rows * p.outputs) as usize + b] }
}

/// `g[b,j]` = the weight of the row times the slope of the cost along `a[b,j]`, over `live`; 0 in rows past live.
pub(crate) fn cost_derivative<T: Real>(p: &Params, control: &[u32], y: &[T], a: &[T], g: &mut [T]) {
    let count = p.count as usize;
    let live = (control[1] as usize * p.outputs as usize).min(count);
    let cost = Cost::from_code(p.cost);
    for (e, ((g, &a), &y_e)) in g[..live].iter_mut().zip(a).zip(y).enumerate() {
        *g = cost.slope(a, y_e) / live_rows(control) * weight_of(p, y, e / p.outputs as usize);
    }
    g[live..count].fill(T::ZERO);
}

/// `c[b]` = the cost of row `b` times its weight.
pub(crate) fn cost_value<T: Real>(p: &Params, z: &[T], y: &[T], a: &[T], c: &mut [T]) {
    let outputs = p.outputs as usize;
    for (b, c) in c[..p.rows as usize].iter_mut().enumerate() {
        let row = b * outputs..(b + 1) * outputs;
        *c = row_cost(p, &y[row.clone()], &a[row.clone()], &z[row]) * weight_of(p, y, b);
    }
}

/// The cost of one row.
#[inline(always)]
pub(crate) fn row_cost<T: Real>(p: &Params, y: &[T], a: &[T], z: &[T]) -> T {
    let cost = Cost::from_code(p.cost);
    let log_sum = if cost == Cost::CategoricalCrossEntropy {
        let m = largest(z);
        [m, z.iter().fold(T::ZERO, |sum, &z| sum + (z - m).exp()).ln()]
    } else {
        [T::ZERO; 2]
    };
    z.iter().zip(a).zip(y).fold(T::ZERO, |sum, ((&z, &a), &y)| sum + cost.term(z, a, y, log_sum))
}

/// `n[b]` = 1 if row `b` is right, 0 past live; after the costs of all rows.
pub(crate) fn count_right<T: Real>(p: &Params, control: &[u32], y: &[T], a: &[T], rows: &mut [T]) {
    let (outputs, count) = (p.outputs as usize, p.rows as usize);
    for (b, n) in rows[count..2 * count].iter_mut().enumerate() {
        let row = b * outputs..(b + 1) * outputs;
        *n = if b < control[1] as usize { right(p, &y[row.clone()], &a[row]) } else { T::ZERO };
    }
}

/// 1 if the row is right, else 0; undecided where rounding may make it the other.
#[inline(always)]
pub(super) fn right<T: Real>(p: &Params, y: &[T], a: &[T]) -> T {
    let right = if row_right(p, y, a) { T::ONE } else { T::ZERO };
    if T::KNOWS_ERRORS && is_tie(p, y, a) { right.undecided() } else { right }
}

/// Whether an answer that is as good but for rounding would be right where this one is not, or the other way round: one that ties with the
/// largest output, and is the true one or takes the place of it.
fn is_tie<T: Real>(p: &Params, y: &[T], a: &[T]) -> bool {
    if a.iter().any(|a| a.is_nan()) {
        return false;
    }
    if let [a] = a {
        return a.ties_with(middle(p));
    }
    let (best, truth) = (argmax(a), argmax(y));
    let ties = |&j: &usize| a[j].ties_with(a[best]);
    if best == truth { (0..a.len()).filter(|&j| j != best).any(|j| ties(&j)) } else { ties(&truth) }
}

/// Whether the largest output is where the target is largest (the first of equals); with one output, whether both lie on the
/// same side of the middle of its range. A row with a NaN is never right.
#[inline(always)]
pub(crate) fn row_right<T: Real>(p: &Params, y: &[T], a: &[T]) -> bool {
    if a.iter().any(|a| a.is_nan()) {
        return false;
    }
    if let ([a], [y]) = (a, y) {
        return (*a >= middle(p)) == (*y >= middle(p));
    }
    argmax(a) == argmax(y)
}

/// The middle of the range of an output that tells two classes apart.
pub(super) fn middle<T: Real>(p: &Params) -> T {
    let tanh = Activation::from_code(p.activation) == Activation::Tanh;
    if tanh { T::ZERO } else { T::exact(0.5) }
}

/// Where the first of the largest is.
#[inline(always)]
pub(crate) fn argmax<T: PartialOrd + Copy>(row: &[T]) -> usize {
    let Some(&first) = row.first() else { return 0 };
    let mut best = (first, 0);
    for (j, &x) in row.iter().enumerate() {
        best = if x > best.0 { (x, j) } else { best };
    }
    best.1
}

/// The costs of the live rows and all right answers, added up into the place of this step; then, if `p.count` is 1, `control`
/// moves on to the next mini-batch.
pub(crate) fn tally<T: Real>(p: &Params, control: &mut [u32], rows: &[T], scores: &mut [T]) {
    let [step, live] = [control[0], control[1]];
    add_up(p, step, rows, scores);
    let costs = &rows[..live.min(p.rows) as usize];
    scores[2 * step as usize] = costs.iter().fold(T::ZERO, |sum, &x| sum + x);
    if p.count == 1 {
        move_on(p, step, control);
        control[4] = control[0];
    }
}

/// The rows' costs and right answers, added up into the place of this step.
pub(super) fn add_up<T: Real>(p: &Params, step: u32, rows: &[T], scores: &mut [T]) {
    let count = p.rows as usize;
    for which in 0..2 {
        let sum = rows[which * count..][..count].iter().fold(T::ZERO, |sum, &x| sum + x);
        scores[2 * step as usize + which] = sum;
    }
}

/// On to the mini-batch after this step.
pub(super) fn move_on(p: &Params, step: u32, control: &mut [u32]) {
    control[0] = step + 1;
    control[1] = p.rows.min(control[2] - (step + 1).saturating_mul(p.rows).min(control[2]));
}
