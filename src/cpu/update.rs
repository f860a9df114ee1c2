//! CPU functions of `shaders/update.wgsl`: the meaning, where the shader is the method. Shapes as stated there.

use crate::kernel::{Params, SQUARES};
use crate::optimizer::{
    BETA_1, BETA_2, CLIP_NORM, CLIP_VALUE, EPSILON, ETA, HYPER, KEEP, L1, L2, MAX_NORM, REST_1, REST_2, ROOT, Rule,
    STEP_SIZE,
};
use crate::real::Real;

/// The numbers of the step whose gradients are there: `walk` has the control, and from `p.k_begin` on the numbers of all steps.
fn numbers<T: Real>(p: &Params, walk: &[u32]) -> [T; HYPER] {
    let first = p.k_begin as usize + HYPER * walk[4] as usize;
    std::array::from_fn(|i| T::exact(f32::from_bits(walk[first + i])))
}

/// A parameter, and what the optimiser remembers of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved<T> {
    pub(crate) w: T,
    pub(crate) m: T,
    pub(crate) v: T,
}

/// The gradient of a parameter as the optimiser sees it: clipped, and with the penalties of a weight.
#[inline(always)]
fn regularized<T: Real>(h: &[T], w: T, gradient: T, is_weight: bool) -> T {
    let c = h[CLIP_VALUE];
    let mut g = gradient;
    if c > T::ZERO {
        g = if g > c { c } else { g };
        g = if g < -c { -c } else { g };
    }
    if !is_weight {
        return g;
    }
    let positive = if w > T::ZERO { T::ONE } else { T::ZERO };
    let sign = if w < T::ZERO { -T::ONE } else { positive };
    g + (h[L2] * w + h[L1] * sign)
}

/// The step of one parameter.
#[inline(always)]
pub(crate) fn moved<T: Real>(rule: Rule, h: &[T], at: Moved<T>, gradient: T, is_weight: bool) -> Moved<T> {
    let g = regularized(h, at.w, gradient, is_weight);
    let kept = if is_weight { at.w * h[KEEP] } else { at.w };
    match rule {
        Rule::Sgd => Moved { w: kept - h[ETA] * g, ..at },
        Rule::Momentum => {
            let m = h[BETA_1] * at.m + g;
            Moved { w: kept - h[ETA] * m, m, ..at }
        }
        Rule::Nesterov => {
            let m = h[BETA_1] * at.m + g;
            Moved { w: kept - h[ETA] * (g + h[BETA_1] * m), m, ..at }
        }
        Rule::RmsProp => {
            let v = h[BETA_2] * at.v + h[REST_2] * (g * g);
            Moved { w: kept - h[ETA] * (g / (v.sqrt() + h[EPSILON])), v, ..at }
        }
        Rule::Adam => {
            let m = h[BETA_1] * at.m + h[REST_1] * g;
            let v = h[BETA_2] * at.v + h[REST_2] * (g * g);
            Moved { w: kept - h[STEP_SIZE] * (m / (v.sqrt() * h[ROOT] + h[EPSILON])), m, v }
        }
    }
}

/// Parameters that lie together, the gradients of them, and what is remembered of them; all of one length, but for what the rule does
/// not remember.
pub(crate) struct Part<'a, T> {
    pub(crate) params: &'a mut [T],
    pub(crate) gradients: &'a [T],
    pub(crate) m: &'a mut [T],
    pub(crate) v: &'a mut [T],
    pub(crate) are_weights: bool,
}

impl<T: Real> Part<'_, T> {
    /// The step of each.
    #[inline(always)]
    pub(crate) fn step(self, rule: Rule, h: &[T]) {
        // One loop a rule, so that none has to ask in the middle which it is.
        match rule {
            Rule::Sgd => self.each(|at, g, weights| moved(Rule::Sgd, h, at, g, weights)),
            Rule::Momentum => self.each(|at, g, weights| moved(Rule::Momentum, h, at, g, weights)),
            Rule::Nesterov => self.each(|at, g, weights| moved(Rule::Nesterov, h, at, g, weights)),
            Rule::RmsProp => self.each(|at, g, weights| moved(Rule::RmsProp, h, at, g, weights)),
            Rule::Adam => self.each(|at, g, weights| moved(Rule::Adam, h, at, g, weights)),
        }
    }

    #[inline(always)]
    fn each(self, moved: impl Fn(Moved<T>, T, bool) -> Moved<T>) {
        let Self { params, gradients, m, v, are_weights } = self;
        let pairs = params.iter_mut().zip(gradients);
        match (m.is_empty(), v.is_empty()) {
            (true, true) => {
                for (w, &g) in pairs {
                    *w = moved(Moved { w: *w, m: T::ZERO, v: T::ZERO }, g, are_weights).w;
                }
            }
            (false, true) => {
                for ((w, &g), m) in pairs.zip(m) {
                    let next = moved(Moved { w: *w, m: *m, v: T::ZERO }, g, are_weights);
                    (*w, *m) = (next.w, next.m);
                }
            }
            (true, false) => {
                for ((w, &g), v) in pairs.zip(v) {
                    let next = moved(Moved { w: *w, m: T::ZERO, v: *v }, g, are_weights);
                    (*w, *v) = (next.w, next.v);
                }
            }
            (false, false) => {
                for (((w, &g), m), v) in pairs.zip(m).zip(v) {
                    let next = moved(Moved { w: *w, m: *m, v: *v }, g, are_weights);
                    (*w, *m, *v) = (next.w, next.m, next.v);
                }
            }
        }
    }
}

/// The two arenas of what is remembered of `count` parameters, `m` and `v`; empty where the rule remembers none.
pub(crate) fn arenas<T>(rule: Rule, count: usize, state: &mut [T]) -> [&mut [T]; 2] {
    match rule {
        Rule::Sgd => [&mut [], &mut []],
        Rule::Momentum | Rule::Nesterov => [&mut state[..count], &mut []],
        Rule::RmsProp => [&mut [], &mut state[..count]],
        Rule::Adam => {
            let (m, v) = state.split_at_mut(count);
            [m, &mut v[..count]]
        }
    }
}

/// The part of an arena, or nothing of an empty one.
pub(crate) fn part<T>(arena: &mut [T], range: std::ops::Range<usize>) -> &mut [T] {
    if arena.is_empty() { arena } else { &mut arena[range] }
}

/// Every parameter as the optimiser has it; those below `p.b` are weights.
#[inline(always)]
pub(crate) fn update<T: Real>(p: &Params, walk: &[u32], gradients: &[T], state: &mut [T], params: &mut [T]) {
    let (count, weights) = (p.count as usize, p.b as usize);
    let (rule, h) = (Rule::from_code(p.rule), numbers(p, walk));
    let [m, v] = arenas(rule, count, state);
    for (range, are_weights) in [(0..weights, true), (weights..count, false)] {
        let (m, v) = (part(m, range.clone()), part(v, range.clone()));
        let part = Part { params: &mut params[range.clone()], gradients: &gradients[range], m, v, are_weights };
        part.step(rule, &h);
    }
}

/// Gradients that lie together in a part.
const BLOCK: usize = 64;

/// `s[g]` = the sum of the squares of the gradients of part `g`: every 64th block of 64.
pub(crate) fn gradient_squares<T: Real>(p: &Params, gradients: &[T], squares: &mut [T]) {
    squares[..SQUARES as usize].fill(T::ZERO);
    for (block, gradients) in gradients[..p.count as usize].chunks(BLOCK).enumerate() {
        let sum = &mut squares[block % SQUARES as usize];
        *sum = gradients.iter().fold(*sum, |sum, &g| sum + g * g);
    }
}

/// All gradients times `c / norm`, where their norm is above `c`.
pub(crate) fn clip_gradients<T: Real>(p: &Params, walk: &[u32], squares: &[T], gradients: &mut [T]) {
    let sum = squares[..SQUARES as usize].iter().fold(T::ZERO, |sum, &s| sum + s);
    let factor = factor(numbers::<T>(p, walk)[CLIP_NORM], sum);
    for g in &mut gradients[..p.count as usize] {
        *g = *g * factor;
    }
}

/// The weights of each neuron times `c / norm`, where their norm is above `c`.
pub(crate) fn max_norm<T: Real>(p: &Params, walk: &[u32], params: &mut [T]) {
    let c = numbers::<T>(p, walk)[MAX_NORM];
    let weights = &mut params[p.w as usize..][..(p.inputs * p.outputs) as usize];
    for row in weights.chunks_exact_mut(p.inputs as usize) {
        let factor = factor(c, row.iter().fold(T::ZERO, |sum, &w| sum + w * w));
        for w in row {
            *w = *w * factor;
        }
    }
}

/// The factor that brings a vector down to the norm `c`, from the sum of its squares.
fn factor<T: Real>(c: T, squares: T) -> T {
    let norm = squares.sqrt();
    if norm > c { c / norm } else { T::ONE }
}
