//! CPU functions of `shaders/metrics.wgsl`: the meaning, where the shader is the method. Shapes as stated there.

use super::cost::{argmax, middle};
use crate::kernel::Params;
use crate::real::Real;

/// `K`: a single output tells two classes apart.
fn classes(p: &Params) -> u32 {
    p.outputs.max(2)
}

/// `answer[b]` = the true class, the class answered, and how many outputs come before the true one; `K` where there is none.
pub(crate) fn answers<T: Real>(p: &Params, control: &[u32], y: &[T], a: &[T], answer: &mut [u32]) {
    let outputs = p.outputs as usize;
    for (b, answer) in answer.chunks_exact_mut(3).take(p.rows as usize).enumerate() {
        answer.fill(classes(p));
        if b >= control[1] as usize {
            continue;
        }
        let (y, a) = (&y[b * outputs..(b + 1) * outputs], &a[b * outputs..(b + 1) * outputs]);
        let [truth, guess, rank] = row_answer(p, y, a);
        answer[0] = truth;
        if !a.iter().any(|a| a.is_nan()) {
            answer[1..].copy_from_slice(&[guess, rank]);
        }
    }
}

/// The true class of one row, the class answered, and the rank of the true one.
fn row_answer<T: Real>(p: &Params, y: &[T], a: &[T]) -> [u32; 3] {
    if let ([a], [y]) = (a, y) {
        let [truth, guess] = [y, a].map(|x| *x >= middle(p));
        return [truth, guess, truth != guess].map(u32::from);
    }
    let (truth, guess) = (argmax(y), argmax(a));
    let before = |&j: &usize| a[j] > a[truth] || a[j] == a[truth] && j < truth;
    let rank = (0..a.len()).filter(before).count();
    [truth, guess, rank].map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// `counts[t,g]` = rows with truth `t` and guess `g`, `counts[K,r]` = rows with rank `r`; added to what is there, but at step 0.
pub(crate) fn count_answers(p: &Params, control: &[u32], answer: &[u32], counts: &mut [u32]) {
    let wide = classes(p) as usize + 1;
    if control[0] == 0 {
        counts[..p.count as usize].fill(0);
    }
    for answer in answer.chunks_exact(3).take(control[1].min(p.rows) as usize) {
        let [truth, guess, rank] = [answer[0], answer[1], answer[2]].map(|n| n as usize);
        for place in [truth * wide + guess, (wide - 1) * wide + rank] {
            if let Some(count) = counts.get_mut(place) {
                *count += 1;
            }
        }
    }
}

/// `errors[step,j]` = the sums of `(a - y)^2` and of `|a - y|` over the live rows of column `j`.
pub(crate) fn residuals<T: Real>(p: &Params, control: &[u32], y: &[T], a: &[T], errors: &mut [T]) {
    let outputs = p.outputs as usize;
    let live = control[1].min(p.rows) as usize * outputs;
    let here = &mut errors[2 * outputs * control[0] as usize..][..2 * outputs];
    here.fill(T::ZERO);
    for (y, a) in y[..live].chunks_exact(outputs).zip(a.chunks_exact(outputs)) {
        for ((sums, &y), &a) in here.chunks_exact_mut(2).zip(y).zip(a) {
            let off = a - y;
            sums[0] = sums[0] + off * off;
            sums[1] = sums[1] + off.abs();
        }
    }
}
