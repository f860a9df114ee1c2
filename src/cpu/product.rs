//! Kernels in `f32`, faster than the plain loops: which form a product takes, and on how many threads.

use super::activation::{activation, times_prime};
use super::data::{Resident, gather_rows, gather_weights};
use super::dense::layer_step;
use super::memory::Memory;
use super::output_error::{OutputErrorOut, output_error};
use super::packed::{Product, TILE_ROWS};
use super::small::{View, dot_form, outer_form};
use super::threads::{split, split_two};
use super::transpose::transpose;
use super::update::{numbers, update as all_step};
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
/// with the first row and the numbers of each part. `keep` is 0 or 1.
fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    product: Product<'_>,
    parts: usize,
    after: impl Fn(usize, &mut [f32]) + Sync,
) {
    let Product { keep, factor, left, right, .. } = product;
    let packed = m > OUTER_ROWS && k > OUTER_TERMS;
    split(&mut out[..m * n], n, TILE_ROWS, parts, &|first, out: &mut [f32]| {
        if packed {
            product.rows(first, out);
        } else {
            let left = View { data: &left.data[first * left.row..], ..left };
            outer_form([out.len() / n, n, k], out, keep, factor, left, right);
        }
        after(first, out);
    });
}

/// Runs the kernels that have a faster form; says whether this kernel was one of them.
pub(super) fn accelerate(kernel: Kernel, p: &Params, memory: &mut Memory<f32>, s: &[usize], threads: usize) -> bool {
    match kernel {
        Kernel::MatmulNt => memory.write(s[2], |m, z| forward(p, m, [s[0], s[1]], z, None, threads)),
        Kernel::DenseForward => memory.write(s[2], |m, z| {
            m.write(s[3], |m, a| forward(p, m, [s[0], s[1]], z, Some(a), threads));
        }),
        Kernel::Gather => memory.write(s[4], |m, x| {
            m.write(s[5], |m, y| {
                let [control, order, inputs, targets] = [s[0], s[1], s[2], s[3]].map(|slot| m.word(slot));
                let from = Resident { control, order, inputs, targets };
                let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
                let (x, (y, weights)) = (&mut x[..rows * inputs], y.split_at_mut(rows * outputs));
                gather_weights(p, &from, weights);
                let work = parts(x.len(), PART_NUMBERS, threads);
                split_two((x, inputs), (y, outputs), 1, work, &|first, x: &mut [f32], y: &mut [f32]| {
                    gather_rows(p, &from, first, x, y);
                });
            });
        }),
        Kernel::OutputError => memory.write(s[4], |m, delta| {
            m.write(s[5], |m, row_cost| {
                m.write_words(s[6], |m, row_right| {
                    let mut out = OutputErrorOut { delta, row_cost, row_right };
                    let [y, a, z] = [s[1], s[2], s[3]].map(|slot| m.real(slot));
                    pulp::Arch::new().dispatch(|| output_error(p, m.word(s[0]), y, a, z, &mut out));
                });
            });
        }),
        Kernel::Activation => memory.write(s[1], |m, a| activate(p, m.real(s[0]), a)),
        Kernel::MatmulNn => memory.write(s[2], |m, e| backward(p, m.real(s[0]), m.real(s[1]), e, threads, |_, _| ())),
        Kernel::DenseBackward => memory.write(s[4], |m, out| {
            let (f, inputs) = (Activation::from_code(p.activation), p.inputs as usize);
            let (z, a) = (m.real(s[2]), m.real(s[3]));
            backward(p, m.real(s[0]), m.real(s[1]), out, threads, |first, out| {
                if p.k_end == p.outputs {
                    let at = first * inputs;
                    pulp::Arch::new().dispatch(|| times_prime(f, &z[at..], &a[at..], out));
                }
            });
        }),
        Kernel::OuterProducts => memory.write(s[2], |m, gradients| {
            outer_products(p, m.real(s[0]), m.real(s[1]), gradients, p.k_begin != 0, 1.0, threads);
        }),
        Kernel::DenseGradient => memory.write(s[2], |m, gradients| {
            let delta = m.real(s[0]);
            outer_products(p, delta, m.real(s[1]), gradients, p.k_begin != 0, 1.0, threads);
            let db = &mut gradients[p.b as usize..][..p.outputs as usize];
            if p.k_begin == 0 {
                db.fill(0.0);
            }
            add_rows(p, delta, db, 1.0);
        }),
        Kernel::DenseUpdate => {
            memory.write(s[4], |m, state| m.write(s[5], |m, params| update(p, m, s, state, params, threads)))
        }
        Kernel::Update => memory.write(s[3], |m, state| {
            m.write(s[4], |m, params| {
                let [hyper, gradients] = [s[1], s[2]].map(|slot| m.real(slot));
                pulp::Arch::new().dispatch(|| all_step(p, m.word(s[0]), hyper, gradients, state, params));
            });
        }),
        _ => return false,
    }
    true
}

/// The optimiser's step of one layer: plain gradient descent adds the products to the weights, any other takes their sum first.
fn update(p: &Params, m: &mut Memory<f32>, s: &[usize], state: &mut [f32], params: &mut [f32], threads: usize) {
    let mut scratch = m.take_scratch();
    let (delta, below, h) = (m.real(s[0]), m.real(s[1]), numbers(m.word(s[3]), m.real(s[2])));
    let is_0 = |at: usize| h[at].to_bits() == 0;
    let plain = p.rule == Rule::Sgd.code() && [L2, L1, CLIP_VALUE].into_iter().all(is_0) && is_1(h[KEEP]);
    if plain {
        outer_products(p, delta, below, params, true, -h[ETA], threads);
        add_rows(p, delta, &mut params[p.b as usize..][..p.outputs as usize], -h[ETA]);
    } else {
        let weights = (p.inputs * p.outputs) as usize;
        let gradients = scratch.at_least(weights + p.outputs as usize);
        outer_products(&Params { w: 0, ..*p }, delta, below, gradients, false, 1.0, threads);
        gradients[weights..].fill(0.0);
        add_rows(p, delta, &mut gradients[weights..], 1.0);
        pulp::Arch::new().dispatch(|| layer_step(p, gradients, h, state, params));
    }
    m.put_scratch(scratch);
}

const fn is_1(x: f32) -> bool {
    x.to_bits() == 1.0_f32.to_bits()
}

/// `a = f(z)`, by the plain loop, compiled for each instruction set.
fn activate(p: &Params, z: &[f32], a: &mut [f32]) {
    pulp::Arch::new().dispatch(|| activation(p, z, a));
}

/// `z = a w^T + b`, and `out = f(z)` where it is asked for; `below` and the parameters are in these slots.
fn forward(
    p: &Params,
    memory: &mut Memory<f32>,
    [below, params]: [usize; 2],
    z: &mut [f32],
    out: Option<&mut [f32]>,
    threads: usize,
) {
    let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let mut scratch = memory.take_scratch();
    let (below, params) = (memory.real(below), memory.real(params));
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
        split_two((z, outputs), (a, a_row), TILE_ROWS, work, &|first, z: &mut [f32], a: &mut [f32]| {
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
        split(z_t, rows, TILE_ROWS, work, &|first, z_t: &mut [f32]| product.rows(first, z_t));
        let work = parts(rows * outputs, PART_NUMBERS, threads);
        split_two((z, outputs), (a, a_row), TILE_ROWS, work, &|first, z: &mut [f32], a: &mut [f32]| {
            transpose([z.len() / outputs, outputs], &z_t[first..], rows, z, outputs);
            for z in z.chunks_exact_mut(outputs) {
                z.iter_mut().zip(bias).for_each(|(z, b)| *z += b);
            }
            finish(z, a);
        });
    }
    memory.put_scratch(scratch);
}

/// `e = delta w`, and what comes after it.
fn backward(
    p: &Params,
    delta: &[f32],
    params: &[f32],
    e: &mut [f32],
    threads: usize,
    after: impl Fn(usize, &mut [f32]) + Sync,
) {
    let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let left = View::new(&delta[begin..], outputs);
    let right = View::new(&params[p.w as usize + begin * inputs..], inputs);
    let e_is = Product { n: inputs, k: terms, keep: begin != 0, factor: 1.0, left, right };
    product([rows, inputs, terms], e, e_is, parts(multiplications(p), PART, threads), after);
}

/// `w = keep w + factor delta^T a`, `w` in the arena at `p.w`.
fn outer_products(p: &Params, delta: &[f32], a: &[f32], arena: &mut [f32], keep: bool, factor: f32, threads: usize) {
    let [inputs, outputs] = [p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let left = View::new(&delta[begin * outputs..], outputs).transposed();
    let right = View::new(&a[begin * inputs..], inputs);
    let dw = Product { n: inputs, k: terms, keep, factor, left, right };
    let work = parts(multiplications(p), PART, threads);
    product([outputs, inputs, terms], &mut arena[p.w as usize..], dw, work, |_, _| ());
}

/// `b += factor sum_b delta[b]`, each sum whole before it is added: one by one, small terms would be lost in a large `b`.
fn add_rows(p: &Params, delta: &[f32], b: &mut [f32], factor: f32) {
    const COLUMNS: usize = 32;
    let outputs = p.outputs as usize;
    let (begin, end) = (p.k_begin as usize, p.k_end as usize);
    for (first, b) in (0..).step_by(COLUMNS).zip(b.chunks_mut(COLUMNS)) {
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
