//! Matrix products by the `gemm` crate, in place of the plain loops, for `f32`.

use gemm::Parallelism;

use super::dense::layer_step;
use super::small::{View, dot_form, outer_form};
use super::update::{numbers, update as all_step};
use super::{
    Memory, Threads,
    activation::{activation, times_prime},
};
use crate::Activation;
use crate::kernel::{Kernel, Params};
use crate::optimizer::{CLIP_VALUE, ETA, KEEP, L1, L2, Rule};

/// Below this many multiplications a product stays on the calling thread: waking others takes longer than they save, and on a
/// busy machine much longer (docs/rejected.md).
const PARALLEL_FROM: usize = 1 << 24;

/// A few rows by long sums, `a w^T` of a small batch: gemm would transpose `w` every time.
const DOT_ROWS: usize = 16;
const DOT_TERMS: usize = 64;
/// Multiplications of a product over before gemm has set itself up.
const OUTER_MOST: usize = 1 << 13;

/// `out = keep * out + factor * left right`, `left` (M,K), `right` (K,N), `out` (M,N) row-major; `keep` is 0 or 1.
/// Sum order: as the crate has it, the same for every number of threads.
#[allow(unsafe_code, reason = "the gemm crate has only an unsafe interface; every access is bounded here")]
pub(super) fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    keep: bool,
    factor: f32,
    left: View<'_>,
    right: View<'_>,
    threads: Threads,
) {
    if m == 0 || n == 0 || k == 0 {
        if !keep {
            out[..m * n].fill(0.0);
        }
        return;
    }
    // Saturating: where a usize has 32 bits a product could wrap round to a small one, and pass.
    let last = |view: View<'_>, rows: usize, columns: usize| {
        let (down, along) = ((rows - 1).saturating_mul(view.row), (columns - 1).saturating_mul(view.column));
        down.saturating_add(along)
    };
    assert!(
        out.len() >= m.saturating_mul(n) && last(left, m, k) < left.data.len() && last(right, k, n) < right.data.len()
    );
    // Measured against gemm on products from 10x10x30 to 1024x1024x1024 (docs/rejected.md): it wins but for these two.
    let dot = left.column == 1 && right.row == 1 && factor.to_bits() == 1.0_f32.to_bits();
    if dot && m <= DOT_ROWS && k >= DOT_TERMS {
        return dot_form([m, n, k], out, keep, left, right.transposed());
    }
    // With one row or column gemm adds each term to `out` by itself, where the small ones are lost.
    let line = keep && (m == 1 || n == 1);
    let multiplications = m.saturating_mul(n).saturating_mul(k);
    if right.column == 1 && (line || multiplications <= OUTER_MOST) {
        return outer_form([m, n, k], out, keep, factor, left, right);
    }
    let parallelism = if multiplications < PARALLEL_FROM { Parallelism::None } else { Parallelism::Rayon(threads.0) };
    // SAFETY: gemm reads left at r * row + c * column for r < m, c < k, right likewise for r < k, c < n, and reads and writes
    // out at r * n + c for r < m, c < n. All strides are non-negative, so the largest index is that of the last element, which
    // the assertion above holds below each length. `out` is borrowed mutably, so it overlaps neither. A slice's length in
    // bytes fits an isize, and no stride is longer than its slice where it is used.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n.cast_signed(),
            keep,
            left.data.as_ptr(),
            left.column.cast_signed(),
            left.row.cast_signed(),
            right.data.as_ptr(),
            right.column.cast_signed(),
            right.row.cast_signed(),
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Runs the matrix kernels; says whether this kernel was one of them.
pub(super) fn accelerate(kernel: Kernel, p: &Params, memory: &mut Memory<f32>, s: &[usize], threads: Threads) -> bool {
    match kernel {
        Kernel::MatmulNt => {
            memory.write(s[2], |m, z| forward(p, m.real(s[0]), m.real(s[1]), z, threads));
        }
        Kernel::DenseForward => memory.write(s[2], |m, z| {
            forward(p, m.real(s[0]), m.real(s[1]), z, threads);
            m.write(s[3], |_, a| activate(&Params { count: p.rows * p.outputs, ..*p }, z, a));
        }),
        Kernel::Activation => memory.write(s[1], |m, a| activate(p, m.real(s[0]), a)),
        Kernel::MatmulNn => {
            memory.write(s[2], |m, e| backward(p, m.real(s[0]), m.real(s[1]), e, threads));
        }
        Kernel::DenseBackward => memory.write(s[4], |m, out| {
            backward(p, m.real(s[0]), m.real(s[1]), out, threads);
            if p.k_end == p.outputs {
                let (z, a, count) = (m.real(s[2]), m.real(s[3]), (p.rows * p.inputs) as usize);
                let f = Activation::from_code(p.activation);
                pulp::Arch::new().dispatch(|| times_prime(f, z, a, &mut out[..count]));
            }
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
fn update(p: &Params, m: &mut Memory<f32>, s: &[usize], state: &mut [f32], params: &mut [f32], threads: Threads) {
    let mut gradients = std::mem::take(&mut m.scratch);
    let (delta, below, h) = (m.real(s[0]), m.real(s[1]), numbers(m.word(s[3]), m.real(s[2])));
    let is_0 = |at: usize| h[at].to_bits() == 0;
    let plain = p.rule == Rule::Sgd.code() && [L2, L1, CLIP_VALUE].into_iter().all(is_0) && is_1(h[KEEP]);
    if plain {
        outer_products(p, delta, below, params, true, -h[ETA], threads);
        add_rows(p, delta, &mut params[p.b as usize..][..p.outputs as usize], -h[ETA]);
    } else {
        let weights = (p.inputs * p.outputs) as usize;
        let len = weights + p.outputs as usize;
        if gradients.len() < len {
            gradients.resize(len, 0.0);
        }
        outer_products(&Params { w: 0, ..*p }, delta, below, &mut gradients, false, 1.0, threads);
        gradients[weights..len].fill(0.0);
        add_rows(p, delta, &mut gradients[weights..len], 1.0);
        pulp::Arch::new().dispatch(|| layer_step(p, &gradients[..len], h, state, params));
    }
    m.scratch = gradients;
}

const fn is_1(x: f32) -> bool {
    x.to_bits() == 1.0_f32.to_bits()
}

/// `a = f(z)`, by the plain loop, compiled for each instruction set.
fn activate(p: &Params, z: &[f32], a: &mut [f32]) {
    pulp::Arch::new().dispatch(|| activation(p, z, a));
}

/// `z = a w^T + b`.
fn forward(p: &Params, a: &[f32], params: &[f32], z: &mut [f32], threads: Threads) {
    let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    if begin == 0 {
        let bias = &params[p.b as usize..][..outputs];
        for z in z.chunks_exact_mut(outputs).take(rows) {
            z.copy_from_slice(bias);
        }
    }
    let left = View::new(&a[begin..], inputs);
    let right = View::new(&params[p.w as usize + begin..], inputs).transposed();
    product([rows, outputs, terms], z, true, 1.0, left, right, threads);
}

/// `e = delta w`.
fn backward(p: &Params, delta: &[f32], params: &[f32], e: &mut [f32], threads: Threads) {
    let [rows, inputs, outputs] = [p.rows, p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let left = View::new(&delta[begin..], outputs);
    let right = View::new(&params[p.w as usize + begin * inputs..], inputs);
    product([rows, inputs, terms], e, begin != 0, 1.0, left, right, threads);
}

/// `w = keep w + factor delta^T a`, `w` in the arena at `p.w`.
fn outer_products(p: &Params, delta: &[f32], a: &[f32], arena: &mut [f32], keep: bool, factor: f32, threads: Threads) {
    let [inputs, outputs] = [p.inputs, p.outputs].map(|n| n as usize);
    let (begin, terms) = (p.k_begin as usize, (p.k_end - p.k_begin) as usize);
    let left = View::new(&delta[begin * outputs..], outputs).transposed();
    let right = View::new(&a[begin * inputs..], inputs);
    product([outputs, inputs, terms], &mut arena[p.w as usize..], keep, factor, left, right, threads);
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
