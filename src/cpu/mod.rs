//! Runs a plan on the CPU.
//!
//! The kernels are plain loops in files named like the shaders, generic over the arithmetic; in `f32` some have
//! faster forms ([`product`]), which are checked against those loops too.

mod activation;
mod cost;
mod data;
mod dense;
mod dropout;
mod matmul;
mod memory;
mod metrics;
mod output_error;
mod output_layer;
mod packed;
mod persistent;
mod product;
mod small;
mod threads;
mod transpose;
mod update;

pub(crate) use cost::{argmax, row_right};
pub(crate) use data::BYTE;
pub(crate) use dropout::random_bits;
pub(crate) use memory::{Bound, Buffer, Memory, room_for};
pub(crate) use threads::Teams;
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub(crate) use threads::at_most;

use crate::error::{Error, Result};
use crate::kernel::{Element, Kernel, Params};
use crate::plan::Step;
use crate::real::Real;

/// An arithmetic that may have faster forms of some kernels.
pub(crate) trait Arithmetic: Real {
    /// Runs the kernel if there is a faster form of it, and says whether it did.
    fn accelerate(_: Kernel, _: &Params, _: &mut Memory<Self>, _: &[Bound], _threads: usize) -> bool {
        false
    }
}

impl Arithmetic for f32 {
    fn accelerate(kernel: Kernel, p: &Params, memory: &mut Memory<Self>, slots: &[Bound], threads: usize) -> bool {
        product::accelerate(kernel, p, memory, slots, threads)
    }
}

/// The CPU backend in one arithmetic.
#[derive(Debug)]
pub(crate) struct Engine<T> {
    memory: Memory<T>,
    teams: Teams,
    free: Vec<usize>,
}

impl<T: Arithmetic> Engine<T> {
    pub(crate) const fn new(teams: Teams) -> Self {
        Self { memory: Memory::new(), teams, free: Vec::new() }
    }

    pub(crate) const fn memory(&self) -> &Memory<T> {
        &self.memory
    }

    pub(crate) fn into_memory(self) -> Memory<T> {
        self.memory
    }

    /// A new buffer of zeros.
    pub(crate) fn alloc(&mut self, element: Element, len: usize) -> usize {
        let Some(slot) = self.free.pop() else { return self.memory.alloc(element, len) };
        *self.memory.buffer_mut(slot) = Buffer::zeros(element, len);
        slot
    }

    /// Gives a buffer back.
    pub(crate) fn release(&mut self, slot: usize) {
        *self.memory.buffer_mut(slot) = Buffer::Word(Vec::new());
        self.free.push(slot);
    }

    /// Writes words (the bits of `f32`, or whole numbers) from an offset on.
    pub(crate) fn write(&mut self, slot: usize, offset: usize, words: &[u32]) -> Result<()> {
        let range = offset..offset + words.len();
        let fits = match self.memory.buffer_mut(slot) {
            Buffer::Real(v) => v.get_mut(range).map(|v| {
                for (v, &w) in v.iter_mut().zip(words) {
                    *v = T::exact(f32::from_bits(w));
                }
            }),
            Buffer::Word(v) => v.get_mut(range).map(|v| v.copy_from_slice(words)),
        };
        fits.ok_or_else(|| Error::shape("buffer write", "a range inside the buffer", "one past its end"))
    }

    /// Reads a buffer as words; numbers are rounded to `f32` first.
    pub(crate) fn read(&self, slot: usize) -> Vec<u32> {
        match self.memory.buffer(slot) {
            Buffer::Real(v) => v.iter().map(|v| v.to_f32().to_bits()).collect(),
            Buffer::Word(v) => v.clone(),
        }
    }

    /// Copies numbers from an offset on, rounded to `f32`.
    pub(crate) fn copy(&self, slot: usize, offset: usize, out: &mut [f32]) -> Result<()> {
        let numbers = match self.memory.buffer(slot) {
            Buffer::Real(v) => v.get(offset..offset + out.len()),
            Buffer::Word(_) => None,
        };
        let numbers =
            numbers.ok_or_else(|| Error::shape("buffer copy", "a range inside the buffer", "one past its end"))?;
        out.iter_mut().zip(numbers).for_each(|(out, v)| *out = v.to_f32());
        Ok(())
    }

    /// Runs these steps in order, all of them `times` over; `slots` are the buffers of each in the order of its kernel's row.
    /// Small steps stay on the calling thread.
    pub(crate) fn run(&mut self, steps: &[Step], slots: &[Vec<Bound>], times: usize) {
        let Self { memory, teams, .. } = self;
        let mut all = |threads| {
            for _ in 0..times {
                for (step, slots) in steps.iter().zip(slots) {
                    if !T::accelerate(step.kernel, &step.params, memory, slots, threads) {
                        dispatch(step.kernel, &step.params, memory, slots);
                    }
                }
            }
        };
        if steps.iter().any(|step| product::is_large(step.kernel, &step.params)) { teams.run(all) } else { all(1) }
    }

    /// Runs one step by the plain loops, whatever is faster.
    pub(crate) fn run_plain(&mut self, step: &Step, slots: &[Bound]) {
        dispatch(step.kernel, &step.params, &mut self.memory, slots);
    }
}

/// Unpacks the buffers in the order of the kernel's row, and calls its function.
fn dispatch<T: Real>(kernel: Kernel, p: &Params, memory: &mut Memory<T>, s: &[Bound]) {
    match kernel {
        Kernel::Gather => memory.write(s[3], |m, picked| {
            let [control, order, words] = [s[0], s[1], s[2]].map(|slot| m.word(slot));
            data::gather(p, &data::Examples { control, order, words }, picked);
        }),
        Kernel::MatmulNt => memory.write(s[2], |m, z| matmul::matmul_nt(p, m.real(s[0]), m.real(s[1]), z)),
        Kernel::MatmulNn => memory.write(s[2], |m, e| matmul::matmul_nn(p, m.real(s[0]), m.real(s[1]), e)),
        Kernel::OuterProducts => {
            memory.write(s[2], |m, dw| matmul::outer_products(p, m.real(s[0]), m.real(s[1]), dw));
        }
        Kernel::BiasGradient => memory.write(s[1], |m, db| matmul::bias_gradient(p, m.real(s[0]), db)),
        Kernel::Activation => memory.write(s[1], |m, a| activation::activation(p, m.real(s[0]), a)),
        Kernel::ActivationPrime => memory.write(s[1], |m, a| activation::activation_prime(p, m.real(s[0]), a)),
        Kernel::Hadamard => memory.write(s[2], |m, c| activation::hadamard(p, m.real(s[0]), m.real(s[1]), c)),
        Kernel::Softmax => memory.write(s[1], |m, a| activation::softmax(p, m.real(s[0]), a)),
        Kernel::CostDerivative => {
            memory.write(s[3], |m, g| cost::cost_derivative(p, m.word(s[0]), m.real(s[1]), m.real(s[2]), g));
        }
        Kernel::CostValue => {
            memory.write(s[3], |m, c| cost::cost_value(p, m.real(s[0]), m.real(s[1]), m.real(s[2]), c));
        }
        Kernel::CountRight => {
            memory.write(s[3], |m, n| cost::count_right(p, m.word(s[0]), m.real(s[1]), m.real(s[2]), n));
        }
        Kernel::Answers => {
            memory.write_words(s[3], |m, out| metrics::answers(p, m.word(s[0]), m.real(s[1]), m.real(s[2]), out));
        }
        Kernel::CountAnswers => {
            memory.write_words(s[2], |m, counts| metrics::count_answers(p, m.word(s[0]), m.word(s[1]), counts));
        }
        Kernel::Residuals => {
            memory.write(s[3], |m, errors| metrics::residuals(p, m.word(s[0]), m.real(s[1]), m.real(s[2]), errors));
        }
        Kernel::Tally => memory.write_words(s[0], |m, control| {
            m.write(s[2], |m, scores| cost::tally(p, control, m.real(s[1]), scores));
        }),
        Kernel::Update => memory.write(s[2], |m, state| {
            m.write(s[3], |m, w| update::update(p, m.word(s[0]), m.real(s[1]), state, w));
        }),
        Kernel::GradientSquares => memory.write(s[1], |m, squares| update::gradient_squares(p, m.real(s[0]), squares)),
        Kernel::ClipGradients => {
            memory.write(s[2], |m, g| update::clip_gradients(p, m.word(s[0]), m.real(s[1]), g));
        }
        Kernel::MaxNorm => memory.write(s[1], |m, w| update::max_norm(p, m.word(s[0]), w)),
        Kernel::Dropout => memory.write(s[2], |m, to| dropout::dropout(p, m.word(s[0]), m.real(s[1]), to)),
        Kernel::DenseForward => memory.write(s[2], |m, z| {
            m.write(s[3], |m, a| dense::dense_forward(p, m.real(s[0]), m.real(s[1]), z, a));
        }),
        Kernel::GatherForward => memory.write(s[2], |m, z| {
            m.write(s[3], |m, a| {
                m.write(s[4], |m, x| {
                    let from = data::Examples { control: m.word(s[5]), order: m.word(s[6]), words: m.word(s[0]) };
                    dense::gather_forward(p, &from, m.real(s[1]), x, z, a);
                });
            });
        }),
        Kernel::OutputError => output_error_buffers(memory, s, |from, out| output_error::output_error(p, from, out)),
        Kernel::OutputLayer => memory.write_words(s[0], |m, control| {
            m.write(s[5], |m, delta| {
                m.write(s[6], |m, rows| {
                    let [order, targets] = [s[1], s[2]].map(|slot| m.word(slot));
                    let from = output_layer::From { order, targets, below: m.real(s[3]), params: m.real(s[4]) };
                    output_layer::output_layer(p, &from, &mut output_layer::Out { control, delta, rows });
                });
            });
        }),
        Kernel::DenseBackward => memory.write(s[4], |m, out| {
            dense::dense_backward(p, m.real(s[0]), m.real(s[1]), [m.real(s[2]), m.real(s[3])], out);
        }),
        Kernel::DenseGradient => memory.write_words(s[4], |m, walk| {
            m.write(s[5], |m, scoring| {
                m.write(s[6], |m, gradients| {
                    dense::dense_gradient(p, &m.signals(s), &mut dense::Walked { walk, scoring }, gradients);
                });
            });
        }),
        Kernel::DenseUpdate => memory.write_words(s[4], |m, walk| {
            m.write(s[5], |m, scoring| {
                m.write(s[6], |m, state| {
                    m.write(s[7], |m, weights| {
                        dense::dense_update(p, &m.signals(s), &mut dense::Walked { walk, scoring }, state, weights);
                    });
                });
            });
        }),
        Kernel::Persistent => memory.write_words(s[0], |m, walk| {
            m.write(s[4], |m, params| {
                m.write(s[5], |m, state| {
                    m.write(s[7], |m, scores| {
                        let from = persistent::In { inputs: m.word(s[1]), targets: m.word(s[2]), hyper: m.real(s[3]) };
                        persistent::persistent(p, walk, &from, &mut persistent::Moved { params, state, scores });
                    });
                });
            });
        }),
    }
}

/// The buffers of [`Kernel::OutputError`], unpacked.
fn output_error_buffers<T: Real>(
    memory: &mut Memory<T>,
    s: &[Bound],
    f: impl FnOnce(&output_error::From<'_, T>, &mut output_error::Out<'_, T>),
) {
    memory.write_words(s[0], |m, control| {
        m.write(s[3], |m, y| {
            m.write(s[4], |m, a| {
                m.write(s[6], |m, delta| {
                    m.write(s[7], |m, rows| {
                        let from = output_error::From { order: m.word(s[1]), targets: m.word(s[2]), z: m.real(s[5]) };
                        f(&from, &mut output_error::Out { control, y, a, delta, rows });
                    });
                });
            });
        });
    });
}

impl<T: Real> Memory<T> {
    /// The first four buffers of the kernels of all layers.
    fn signals(&self, s: &[Bound]) -> dense::Signals<'_, T> {
        dense::Signals { a: [self.real(s[0]), self.real(s[1])], deltas: [self.real(s[2]), self.real(s[3])] }
    }
}
