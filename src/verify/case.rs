//! One kernel on one shape with one filling, and what it is compared with.

use super::compare::{Worst, bound, terms};
use super::maker::{Maker, PARTS, elementwise, pairs};
use super::tracked::Tracked;
use crate::Cost;
use crate::backend::{Engine, Prepared};
use crate::cpu::{self, Buffer};
use crate::error::{Error, Result};
use crate::kernel::{Access, Element, Kernel, Params};
use crate::optimizer::Rule;
use crate::plan::{BufferSpec, Plan, PlanKind, Role, Round, Step};

/// Words after the last element of each buffer, inside what the kernel can reach: robust access would hide a write past the
/// end of the binding.
const GUARDS: usize = 4;
/// What the guards hold; as a number it is a NaN.
const GUARD: u32 = 0x7fc0_dead;
/// What outputs hold before the kernel runs: garbage, never zeros; as a number it is a NaN.
pub(super) const GARBAGE: u32 = 0x7fc0_beef;

/// What the inputs of a case are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Between -1 and 1, no symmetry.
    Ordinary,
    /// Among them 0, +-100 and numbers so small that a device may flush them; several equal maxima a row.
    Extreme,
}

/// The shape of a case: rows, inputs, outputs.
pub type Shape = [u32; 3];

/// A dispatch with the contents of its buffers.
#[derive(Debug, Clone)]
pub struct Case {
    pub(crate) step: Step,
    pub(crate) buffers: Vec<(Element, Access, Vec<u32>)>,
}

impl Case {
    /// The kernel under test.
    #[must_use]
    pub const fn kernel(&self) -> Kernel {
        self.step.kernel
    }

    /// What it is told.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.step.params
    }

    /// Builds the case of this kernel for this shape. `variant` goes through activations, costs, formats, parts of sums and
    /// live row counts; every kernel has at most [`Case::variants`] of them.
    ///
    /// # Panics
    /// If a size of the shape is not from 1 to 65,536, or two of them make more than 2^24 elements.
    #[must_use]
    pub fn new(kernel: Kernel, shape: Shape, fill: Fill, variant: u32, seed: u64) -> Self {
        assert!(Self::fits(shape), "shape {shape:?}");
        Maker::new(kernel, shape, fill, variant, seed).make()
    }

    /// Whether there can be cases of this shape: offsets are 32-bit numbers.
    pub(crate) fn fits(shape: Shape) -> bool {
        let [rows, inputs, outputs] = shape.map(u64::from);
        let largest = (rows * inputs).max(rows * outputs).max(inputs * outputs);
        shape.iter().all(|size| (1..=1 << 16).contains(size)) && largest <= 1 << 24
    }

    /// How many variants a kernel has.
    #[must_use]
    pub fn variants(kernel: Kernel) -> u32 {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match kernel {
            Kernel::Activation | Kernel::ActivationPrime => count(elementwise().len()),
            Kernel::DenseForward | Kernel::DenseBackward => count(elementwise().len()) * PARTS,
            Kernel::GatherForward => 2 * PARTS,
            Kernel::CostValue | Kernel::CostDerivative => 2 * count(Cost::ALL.len()),
            Kernel::OutputError | Kernel::Persistent => 2 * count(pairs().len()),
            Kernel::Gather => 16,
            Kernel::CountRight | Kernel::Tally | Kernel::Answers | Kernel::CountAnswers | Kernel::Residuals => 4,
            Kernel::ClipGradients | Kernel::MaxNorm => 2,
            Kernel::Update | Kernel::DenseUpdate => 2 * count(Rule::ALL.len()),
            Kernel::Dropout => 3,
            Kernel::Hadamard | Kernel::Softmax | Kernel::GradientSquares => 1,
            Kernel::MatmulNt
            | Kernel::MatmulNn
            | Kernel::OuterProducts
            | Kernel::BiasGradient
            | Kernel::DenseGradient => PARTS,
        }
    }

    /// The plan of this one dispatch.
    pub(super) fn plan(&self) -> Plan {
        let buffers =
            self.buffers.iter().zip(self.step.kernel.info().bindings).map(|((element, _, words), binding)| {
                let name = binding.name.to_owned();
                BufferSpec {
                    name,
                    len: words.len() + GUARDS,
                    element: *element,
                    role: Role::Between,
                    head: Vec::new(),
                    part_of: None,
                }
            });
        let rows = self.step.params.rows as usize;
        let rounds = vec![Round { steps: 0..1, advances: 1 }];
        let steps = vec![self.step.clone()];
        Plan { kind: PlanKind::Textbook, rows, buffers: buffers.collect(), steps, rounds, networks: 1 }
    }

    /// Runs the case on an engine and compares every output with the reference. Fails if a guard or an input was written.
    ///
    /// # Errors
    /// Whatever the engine reports, and [`Error::Disagreement`] for a written guard or input.
    pub(crate) async fn check(&self, engine: &mut Engine) -> Result<Worst> {
        let plan = self.plan();
        let slots = plan.buffers.iter().map(|spec| engine.alloc(spec)).collect::<Result<Vec<_>>>()?;
        let result = self.check_on(engine, plan, &slots).await;
        for slot in slots {
            engine.release(slot);
        }
        result
    }

    async fn check_on(&self, engine: &mut Engine, plan: Plan, slots: &[crate::backend::Slot]) -> Result<Worst> {
        for ((_, _, words), &slot) in self.buffers.iter().zip(slots) {
            engine.write(slot, 0, words)?;
            engine.write(slot, words.len(), &[GUARD; GUARDS])?;
        }
        let prepared: Prepared = engine.prepare(plan, slots.to_vec())?;
        engine.run(&prepared, std::iter::once((0..1, 1)))?;
        let mut after = Vec::with_capacity(slots.len());
        for ((_, _, words), &slot) in self.buffers.iter().zip(slots) {
            after.push(engine.read(slot, 0, words.len() + GUARDS).await?);
        }
        self.judge(&after)
    }

    /// Compares what the buffers hold afterwards with the reference.
    ///
    /// # Errors
    /// [`Error::Disagreement`] for a written guard or input.
    pub fn judge(&self, after: &[Vec<u32>]) -> Result<Worst> {
        let kernel = self.step.kernel;
        let oracle = self.oracle();
        let mut worst = Worst::default();
        for (index, ((_, access, before), after)) in self.buffers.iter().zip(after).enumerate() {
            let name = kernel.info().bindings[index].name;
            let fail = |what: &str| Err(Error::Disagreement(format!("kernel {}: {what} {name}", kernel.name())));
            let Some((after, guards)) = after.split_at_checked(before.len()) else {
                return fail("too few words in buffer");
            };
            if guards != [GUARD; GUARDS] {
                return fail("wrote past the end of buffer");
            }
            if *access == Access::In && after != before {
                return fail("changed its input");
            }
            if !matches!(access, Access::In | Access::Scratch) {
                worst.merge(&self.compare(before, after, oracle.buffer(index)));
            }
        }
        Ok(worst)
    }

    fn compare(&self, before: &[u32], after: &[u32], want: &Buffer<Tracked>) -> Worst {
        let mut worst = Worst::default();
        let terms = terms(self.step.kernel, &self.step.params);
        match want {
            Buffer::Word(want) => {
                for (i, (&got, &want)) in after.iter().zip(want).enumerate() {
                    worst.add_word(i, got, want);
                }
            }
            Buffer::Real(want) => {
                for (i, (&got, want)) in after.iter().zip(want.iter()).enumerate() {
                    if want.value.is_nan() && before[i] == GARBAGE {
                        // The kernel has no business here: the garbage must still be there, bit for bit.
                        worst.add_word(i, u32::from(got != GARBAGE), 0);
                    } else {
                        worst.add(i, f32::from_bits(got).into(), want.value, bound(terms, want));
                    }
                }
            }
        }
        worst
    }

    /// The buffers as the plain loops leave them, in `f64` with the scale of the error.
    fn oracle(&self) -> cpu::Memory<Tracked> {
        let mut engine = cpu::Engine::<Tracked>::new(cpu::Threads(1));
        for (element, _, words) in &self.buffers {
            let slot = engine.alloc(*element, words.len());
            // The buffer was just made this long.
            let _ = engine.write(slot, 0, words);
        }
        let slots: Vec<_> = (0..self.buffers.len()).map(cpu::Bound::whole).collect();
        engine.run_plain(&self.step, &slots);
        engine.into_memory()
    }
}
