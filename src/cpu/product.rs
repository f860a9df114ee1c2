//! Kernels in `f32`, faster than the plain loops: which form a product takes, and on how many threads.

use super::activation::{activation, times_prime};
use super::data::{Examples, gather_rows, gather_weights};
use super::dense::{Walked, layer_step};
use super::memory::{Aligned, Bound, Memory};
use super::output_error::output_error;
use super::output_error_buffers;
use super::packed::{Product, tile_rows};
use super::small::{View, dot_form, outer_form};
use super::threads::{split, split_two};
use super::transpose::transpose;
use super::update::update as all_step;
use crate::Activation;
use crate::kernel::{Kernel, Params};
use crate::optimizer::{CLIP_VALUE, ETA, KEEP, L1, L2, Rule};

/// Multiplications that are worth a thread of their own: about ten microseconds.
const PART: usize = 1 << 19;
/// Numbers that are worth one where each is only moved or mapped.
const PART_NUMBERS: usize = 1 << 12;

/// Up to so many rows or columns of a result, `a w^T` is a dot product an element: packing would not pay.
const DOT_MOST: usize = 16;
/// Unless its sums are shorter, and `w` is so small that it is transposed at once.
const DOT_TERMS: usize = 64;
const TRANSPOSED_MOST: usize = 1 << 12;
/// Rows that are transposed at once: they read whole cache lines.
const TRANSPOSED_ROWS: usize = 16;
/// Columns that are worth being taken together.
const COLUMNS: usize = 64;
/// Up to so many rows of a result, or terms of its sums, the others are not packed either.
const OUTER_ROWS: usize = 16;
const OUTER_TERMS: usize = 32;

/// Whether more threads than one would have work in this step.
pub(super) fn is_large(kernel: Kernel, p: &Params) -> bool {
    kernel.sum_length(p).is_some() && kernel != Kernel::BiasGradient && multiplications(p) >= 2 * PART
}

/// Saturating: where a `usize` has 32 bits a product could wrap round to a small one.
fn multiplications(p: &Params) -> usize {
    let terms = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    terms.into_iter().fold(1, usize::saturating_mul)
}

/// How many parts to cut work into, of this size and with so many threads.
fn parts(work: usize, part: usize, threads: usize) -> usize {
    (work / part).min(threads)
}

/// `out = keep * out + factor * left right`, `left` (M,K), `right` (K,N) with rows together, `out` (M,N) row-major; then `after`
/// with the first row, the numbers of each part, and those of `beside`, which has a number a row or none. `keep` is 0 or 1.
fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    beside: &mut [f32],
    product: Product<'_>,
    parts: usize,
    after: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let Product { keep, factor, left, right, .. } = product;
    let packed = is_packed(m, k);
    let a_row = usize::from(!beside.is_empty());
    split_two(
        (&mut out[..m * n], n),
        (beside, a_row),
        tile_rows(),
        parts,
        &|first, out: &mut [f32], beside: &mut [f32]| {
            if packed {
                product.rows(first, out);
            } else {
                let left = View { data: &left.data[first * left.row..], ..left };
                outer_form([out.len() / n, n, k], out, keep, factor, left, right);
            }
            after(first, out, beside);
        },
    );
}

/// Whether a product of so many rows, and terms of each sum, is worth packing.
const fn is_packed(m: usize, k: usize) -> bool {
    m > OUTER_ROWS && k > OUTER_TERMS
}

/// Runs the kernels that have a faster form; says whether this kernel was one of them.
pub(super) fn accelerate(kernel: Kernel, p: &Params, memory: &mut Memory<f32>, s: &[Bound], threads: usize) -> bool {
    match kernel {
        Kernel::MatmulNt => memory.write(s[2], |m, z| {
            let mut scratch = m.take_scratch();
            forward(p, &mut scratch, [m.real(s[0]), m.real(s[1])], z, None, threads);
            m.put_scratch(scratch);
        }),
        Kernel::DenseForward => memory.write(s[2], |m, z| {
            m.write(s[3], |m, a| {
                let mut scratch = m.take_scratch();
                forward(p, &mut scratch, [m.real(s[0]), m.real(s[1])], z, Some(a), threads);
                m.put_scratch(scratch);
            });
        }),
        Kernel::Gather => memory.write(s[3], |m, picked| {
            let from = Examples { control: m.word(s[0]), order: m.word(s[1]), words: m.word(s[2]) };
            let (picked, weights) = picked.split_at_mut((p.rows * p.outputs) as usize);
            gather_weights(p, &from, weights);
            let work = parts(picked.len(), PART_NUMBERS, threads);
            split(picked, p.outputs as usize, 1, work, &|first, out: &mut [f32]| gather_rows(p, &from, first, out));
        }),
        Kernel::GatherForward => memory.write(s[4], |m, x| {
            let inputs = p.inputs as usize;
            let x = &mut x[..p.rows as usize * inputs];
            let from = Examples { control: m.word(s[5]), order: m.word(s[6]), words: m.word(s[0]) };
            let work = parts(x.len(), PART_NUMBERS, threads);
            split(x, inputs, 1, work, &|first, x: &mut [f32]| from.inputs(p, first, x));
            m.write(s[2], |m, z| {
                m.write(s[3], |m, a| {
                    let mut scratch = m.take_scratch();
                    forward(p, &mut scratch, [x, m.real(s[1])], z, Some(a), threads);
                    m.put_scratch(scratch);
                });
            });
        }),
        Kernel::OutputError => output_error_buffers(memory, s, |from, out| {
            pulp::Arch::new().dispatch(|| output_error(p, from, out));
        }),
        Kernel::Activation => memory.write(s[1], |m, a| activate(p, m.real(s[0]), a)),
        Kernel::MatmulNn => memory.write(s[2], |m, e| backward(p, m, [s[0], s[1]], e, threads, |_, _, _| ())),
        Kernel::DenseBackward => memory.write(s[4], |m, out| {
            let (f, inputs) = (Activation::from_code(p.activation), p.inputs as usize);
            backward(p, m, [s[0], s[1]], out, threads, |m, first, out| {
                if p.k_end == p.outputs {
                    let at = first * inputs;
                    let (z, a) = (&m.real(s[2])[at..], &m.real(s[3])[at..]);
                    pulp::Arch::new().dispatch(|| times_prime(f, z, a, out));
                }
            });
        }),
        Kernel::OuterProducts => memory.write(s[2], |m, gradients| {
            let to = [&mut gradients[p.w as usize..], &mut []];
            outer_products(p, m.real(s[0]), m.real(s[1]), to, p.k_begin != 0, 1.0, threads);
        }),
        Kernel::DenseGradient => memory.write_words(s[4], |m, walk| {
            m.write(s[5], |m, scoring| {
                m.write(s[6], |m, gradients| {
                    let signals = m.signals(s);
                    for l in 0..p.outputs as usize {
                        let (p, [delta, below]) = signals.layer(p, walk, l);
                        let to = weights_and_biases(&p, gradients);
                        outer_products(&p, delta, below, to, p.k_begin != 0, 1.0, threads);
                    }
                    Walked { walk, scoring }.tally(p);
                });
            });
        }),
        Kernel::DenseUpdate => memory.write_words(s[4], |m, walk| {
            m.write(s[5], |m, scoring| {
                m.write(s[6], |m, state| {
                    m.write(s[7], |m, weights| update(p, m, s, &mut Walked { walk, scoring }, state, weights, threads))
                });
            });
        }),
        Kernel::Update => memory.write(s[2], |m, state| {
            m.write(s[3], |m, params| {
                pulp::Arch::new().dispatch(|| all_step(p, m.word(s[0]), m.real(s[1]), state, params));
            });
        }),
        _ => return false,
    }
    true
}

/// The optimiser's step of all layers: plain gradient descent adds the products to the weights, any other takes their sum first.
fn update(
    p: &Params,
    m: &mut Memory<f32>,
    s: &[Bound],
    walked: &mut Walked<'_, f32>,
    state: &mut [f32],
    params: &mut [f32],
    threads: usize,
) {
    let mut scratch = m.take_scratch();
    let (signals, h) = (m.signals(s), walked.numbers(p));
    let is_0 = |at: usize| h[at].to_bits() == 0;
    let plain = p.rule == Rule::Sgd.code() && [L2, L1, CLIP_VALUE].into_iter().all(is_0) && is_1(h[KEEP]);
    // From the last layer down: its errors are the freshest in the cache.
    for l in (0..p.outputs as usize).rev() {
        let (p, [delta, below]) = &signals.layer(p, walked.walk, l);
        if plain {
            outer_products(p, delta, below, weights_and_biases(p, params), true, -h[ETA], threads);
        } else {
            let weights = (p.inputs * p.outputs) as usize;
            let gradients = scratch.at_least(weights + p.outputs as usize);
            let (w, b) = gradients.split_at_mut(weights);
            outer_products(p, delta, below, [w, b], false, 1.0, threads);
            pulp::Arch::new().dispatch(|| layer_step(p, gradients, &h, state, params));
        }
    }
    walked.tally(p);
    m.put_scratch(scratch);
}

const fn is_1(x: f32) -> bool {
    x.to_bits() == 1.0_f32.to_bits()
}

/// `a = f(z)`, by the plain loop, compiled for each instruction set.
fn activate(p: &Params, z: &[f32], a: &mut [f32]) {
    pulp::Arch::new().dispatch(|| activation(p, z, a));
}

/// `z = a w^T + b`, and `out = f(z)` where it is asked for.
fn forward(
    p: &Params,
    scratch: &mut Aligned<f32>,
    [below, params]: [&[f32]; 2],
    z: &mut [f32],
    out: Option<&mut [f32]>,
    threads: usize,
) {
    let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let bias = &params[p.b as usize..][..outputs];
    let below = View::new(&below[begin..], inputs);
    let w = View::new(&params[p.w as usize + begin..], inputs);
    // With the last of `a`'s part: `f` of what `z` is then.
    let finish = |z: &[f32], a: &mut [f32]| {
        if !a.is_empty() {
            #[allow(clippy::cast_possible_truncation, reason = "not more than rows x outputs, which are two u32")]
            activate(&Params { count: z.len() as u32, ..*p }, z, a);
        }
    };
    let z = &mut z[..rows * outputs];
    let (a, a_row) = match out {
        Some(a) => (&mut a[..rows * outputs], outputs),
        None => (&mut [][..], 0),
    };
    let work = parts(multiplications(p), PART, threads);
    if begin != 0 || rows <= DOT_MOST || outputs <= DOT_MOST {
        // The lanes of a short sum cost more to add up than its terms.
        let w_t = (terms < DOT_TERMS && terms * outputs <= TRANSPOSED_MOST).then(|| {
            let w_t = scratch.at_least(terms * outputs);
            transpose([terms, outputs], w.data, inputs, w_t, outputs);
            &*w_t
        });
        split_two((z, outputs), (a, a_row), tile_rows(), work, &|first, z: &mut [f32], a: &mut [f32]| {
            if begin == 0 {
                z.chunks_exact_mut(outputs).for_each(|z| z.copy_from_slice(bias));
            }
            let below = View { data: &below.data[first * inputs..], ..below };
            let size = [z.len() / outputs, outputs, terms];
            match w_t {
                Some(w_t) => outer_form(size, z, true, 1.0, below, View::new(w_t, outputs)),
                None => dot_form(size, z, true, below, w),
            }
            finish(z, a);
        });
    } else {
        // z^T = w a^T: so the rows of `w`, and with them each core's share of it, stay where the update leaves them, and only
        // `a`, mostly the smaller, has to be transposed.
        let z_t = scratch.at_least(rows * outputs);
        let product = Product { n: rows, k: terms, keep: false, factor: 1.0, left: w, right: below.transposed() };
        split(z_t, rows, tile_rows(), work, &|first, z_t: &mut [f32]| product.rows(first, z_t));
        let work = parts(rows * outputs, PART_NUMBERS, threads);
        split_two((z, outputs), (a, a_row), TRANSPOSED_ROWS, work, &|first, z: &mut [f32], a: &mut [f32]| {
            // So few rows at a time that they are still at hand when the next thing is done with them.
            let mut a = a.chunks_mut(TRANSPOSED_ROWS * outputs);
            for (first, z) in (first..).step_by(TRANSPOSED_ROWS).zip(z.chunks_mut(TRANSPOSED_ROWS * outputs)) {
                transpose([z.len() / outputs, outputs], &z_t[first..], rows, z, outputs);
                pulp::Arch::new().dispatch(|| {
                    for z in z.chunks_exact_mut(outputs) {
                        z.iter_mut().zip(bias).for_each(|(z, b)| *z += b);
                    }
                });
                finish(z, a.next().unwrap_or_default());
            }
        });
    }
}

/// `e = delta w`, and what comes after it.
fn backward(
    p: &Params,
    memory: &mut Memory<f32>,
    [delta, params]: [Bound; 2],
    e: &mut [f32],
    threads: usize,
    after: impl Fn(&Memory<f32>, usize, &mut [f32]) + Sync,
) {
    let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let mut scratch = memory.take_scratch();
    let left = View::new(&memory.real(delta)[begin..], outputs);
    let right = View::new(&memory.real(params)[p.w as usize + begin * inputs..], inputs);
    let e_is = Product { n: inputs, k: terms, keep: begin != 0, factor: 1.0, left, right };
    let work = parts(multiplications(p), PART, threads);
    if work > 1 && begin == 0 && is_packed(rows, terms) && inputs > COLUMNS {
        // Shared out by columns, so that each part of `w`, here the larger, is packed once. Each part's result lies by itself.
        let width = inputs.div_ceil(work).next_multiple_of(COLUMNS);
        let by_columns = scratch.at_least(rows * inputs);
        split(by_columns, rows, width, work, &|first, out: &mut [f32]| {
            let right = View { data: &right.data[first..], ..right };
            for (first, out) in (0..).step_by(width).zip(out.chunks_mut(width * rows)) {
                let right = View { data: &right.data[first..], ..right };
                Product { n: out.len() / rows, right, ..e_is }.rows(0, out);
            }
        });
        let work = parts(rows * inputs, PART_NUMBERS, threads);
        split(&mut e[..rows * inputs], inputs, 1, work, &|first, e: &mut [f32]| {
            for (row, e) in (first..).zip(e.chunks_exact_mut(inputs)) {
                for (e, from) in e.chunks_mut(width).zip(by_columns.chunks(width * rows)) {
                    e.copy_from_slice(&from[row * e.len()..][..e.len()]);
                }
                after(memory, row, e);
            }
        });
    } else {
        product([rows, inputs, terms], e, &mut [], e_is, work, |first, e, _| after(memory, first, e));
    }
    memory.put_scratch(scratch);
}

/// The weights and the biases of a layer in an arena.
fn weights_and_biases<'a>(p: &Params, arena: &'a mut [f32]) -> [&'a mut [f32]; 2] {
    let (w, b) = arena.split_at_mut(p.b as usize);
    [&mut w[p.w as usize..], &mut b[..p.outputs as usize]]
}

/// `w = keep w + factor delta^T a`, `b = keep b + factor sum_b delta[b]`; without biases where `b` is empty.
fn outer_products(
    p: &Params,
    delta: &[f32],
    a: &[f32],
    [w, b]: [&mut [f32]; 2],
    keep: bool,
    factor: f32,
    threads: usize,
) {
    let [inputs, outputs] = [p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let left = View::new(&delta[begin * outputs..], outputs).transposed();
    let right = View::new(&a[begin * inputs..], inputs);
    let dw = Product { n: inputs, k: terms, keep, factor, left, right };
    let work = parts(multiplications(p), PART, threads);
    product([outputs, inputs, terms], w, b, dw, work, |first, _, b| {
        if !keep {
            b.fill(0.0);
        }
        add_rows(p, delta, first, b, factor);
    });
}

/// `b += factor sum_b delta[b]` for the columns from `first` on, each sum whole before it is added: one by one, small terms would
/// be lost in a large `b`.
fn add_rows(p: &Params, delta: &[f32], first: usize, b: &mut [f32], factor: f32) {
    let outputs = p.outputs as usize;
    let (begin, end) = (p.k_begin as usize, p.k_end as usize);
    for (first, b) in (first..).step_by(COLUMNS).zip(b.chunks_mut(COLUMNS)) {
        let mut sums = [0.0; COLUMNS];
        for row in delta.chunks_exact(outputs).take(end).skip(begin) {
            for (sum, &d) in sums.iter_mut().zip(&row[first..][..b.len()]) {
                *sum += d;
            }
        }
        for (b, sum) in b.iter_mut().zip(sums) {
            *b += factor * sum;
        }
    }
}
