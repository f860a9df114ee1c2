//! One kernel on one shape with one filling, and what it is compared with.

use std::future::Future;

use super::compare::{Worst, bound, terms};
use super::maker::{Maker, PARTS, elementwise, pairs};
use super::tracked::Tracked;
use crate::Cost;
use crate::backend::{Engine, Prepared, Slot};
use crate::cpu::{self, Buffer};
use crate::error::{Error, Result};
use crate::kernel::{Access, Element, Kernel, Params};
use crate::optimizer::Rule;
use crate::plan::{BufferSpec, Plan, PlanKind, Role, Round, Step};

/// Words after the last element of each buffer, inside what the kernel can reach: robust access would hide a write past the
/// end of the binding.
const GUARDS: usize = 4;
/// What the guards of each buffer hold; as a number it is a NaN. No two buffers have the same: a NaN that is read past the end of one
/// may come out with its bits at the end of another.
#[allow(clippy::cast_possible_truncation, reason = "a kernel binds eight buffers at most")]
const fn guards(buffer: usize) -> [u32; GUARDS] {
    [0x7fc0_de00 | buffer as u32 & 0xff; GUARDS]
}

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

/// A case whose results are on their way.
pub(super) struct Started<'c, F> {
    case: &'c Case,
    after: Vec<F>,
}

impl<F: Future<Output = Result<Vec<u32>>>> Started<'_, F> {
    /// Waits for the results, and compares them with the reference.
    ///
    /// # Errors
    /// What the device reports, and [`Error::Disagreement`] for a written guard or input.
    pub(super) async fn finish(self) -> Result<Vec<(&'static str, Worst)>> {
        let mut after = Vec::with_capacity(self.after.len());
        for words in self.after {
            after.push(words.await?);
        }
        self.case.judge_each(&after)
    }
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
    /// live row counts; every kernel has [`Case::variants`] of them, and from there on they come again.
    ///
    /// # Panics
    /// If a size of the shape is not from 1 to 65,536, or two of them make more than 2^24 elements.
    #[must_use]
    pub fn new(kernel: Kernel, shape: Shape, fill: Fill, variant: u32, seed: u64) -> Self {
        assert!(Self::fits(shape), "shape {shape:?}");
        Maker::new(kernel, shape, fill, variant % Self::variants(kernel), seed).make()
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
            Kernel::OutputError | Kernel::OutputLayer | Kernel::Persistent => 2 * count(pairs().len()),
            Kernel::Gather => 12,
            Kernel::CountRight | Kernel::Tally | Kernel::Answers | Kernel::CountAnswers | Kernel::Residuals => 4,
            Kernel::ClipGradients | Kernel::MaxNorm => 2,
            Kernel::Update | Kernel::DenseUpdate => 2 * count(Rule::ALL.len()),
            Kernel::Dropout => 4,
            Kernel::Hadamard | Kernel::Softmax | Kernel::GradientSquares => 1,
            Kernel::MatmulNt | Kernel::MatmulNn | Kernel::OuterProducts | Kernel::BiasGradient => PARTS,
            // Whole again, with the fifth tile.
            Kernel::DenseGradient => PARTS + 1,
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
        Plan { kind: PlanKind::Textbook, rows, buffers: buffers.collect(), steps, rounds, networks: 1, held: 0 }
    }

    /// Runs the case on an engine and compares every output with the reference. Fails if a guard or an input was written.
    ///
    /// # Errors
    /// Whatever the engine reports, and [`Error::Disagreement`] for a written guard or input.
    pub(super) async fn check(&self, engine: &mut Engine) -> Result<Vec<(&'static str, Worst)>> {
        self.start(engine)?.finish().await
    }

    /// Runs the case, and asks for what its buffers hold afterwards, which it does not wait for.
    ///
    /// # Errors
    /// Whatever the engine reports.
    pub(super) fn start<'c>(
        &'c self,
        engine: &mut Engine,
    ) -> Result<Started<'c, impl Future<Output = Result<Vec<u32>>> + use<>>> {
        let plan = self.plan();
        let mut slots = Vec::with_capacity(plan.buffers.len());
        let started = self.run(engine, plan, &mut slots);
        // A GPU keeps what it is still at work on.
        slots.into_iter().for_each(|slot| engine.release(slot));
        Ok(Started { case: self, after: started? })
    }

    fn run(
        &self,
        engine: &mut Engine,
        plan: Plan,
        slots: &mut Vec<Slot>,
    ) -> Result<Vec<impl Future<Output = Result<Vec<u32>>> + use<>>> {
        for (index, (spec, (_, _, words))) in plan.buffers.iter().zip(&self.buffers).enumerate() {
            let slot = engine.alloc(spec)?;
            slots.push(slot);
            engine.write(slot, 0, words)?;
            engine.write(slot, words.len(), &guards(index))?;
        }
        let prepared: Prepared = engine.prepare(plan, slots.clone())?;
        engine.run(&prepared, std::iter::once((0..1, 1)))?;
        Ok(self
            .buffers
            .iter()
            .zip(slots)
            .map(|((.., words), slot)| engine.read(*slot, 0, words.len() + GUARDS))
            .collect())
    }

    /// Compares what the buffers hold afterwards with the reference.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of buffers than the kernel has; [`Error::Disagreement`] for a written guard or input.
    pub fn judge(&self, after: &[Vec<u32>]) -> Result<Worst> {
        if after.len() != self.buffers.len() {
            let want = format!("{}, as the kernel has", self.buffers.len());
            return Err(Error::shape("judge: buffers", want, after.len().to_string()));
        }
        let mut worst = Worst::default();
        self.judge_each(after)?.iter().for_each(|(_, of_buffer)| worst.merge(of_buffer));
        Ok(worst)
    }

    /// As [`judge`](Self::judge), each buffer that the kernel writes by itself.
    fn judge_each(&self, after: &[Vec<u32>]) -> Result<Vec<(&'static str, Worst)>> {
        let kernel = self.step.kernel;
        let oracle = self.oracle();
        let mut found = Vec::new();
        for (index, ((_, access, before), after)) in self.buffers.iter().zip(after).enumerate() {
            let name = kernel.info().bindings[index].name;
            let fail = |what: &str| Err(Error::Disagreement(format!("kernel {}: {what} {name}", kernel.name())));
            let Some((after, last)) = after.split_at_checked(before.len()) else {
                return fail("too few words in buffer");
            };
            if last != guards(index) {
                return fail("wrote past the end of buffer");
            }
            if *access == Access::In && after != before {
                return fail("changed its input");
            }
            if !matches!(access, Access::In | Access::Scratch) {
                found.push((name, self.compare(before, after, oracle.buffer(index))));
            }
        }
        Ok(found)
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
        let mut engine = cpu::Engine::<Tracked>::new(cpu::Teams::of(1));
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

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "how many answers are undecided is the result")]
mod tests {
    use super::super::selection;
    use super::*;
    use crate::kernel::Tiling;
    use crate::real::Real;

    /// The kernels that judge outputs which they computed themselves.
    const JUDGES: [Kernel; 3] = [Kernel::OutputError, Kernel::OutputLayer, Kernel::Persistent];

    /// What a device leaves that computes as the reference does.
    fn right_words(case: &Case) -> Vec<Vec<u32>> {
        let oracle = case.oracle();
        let words = |(index, (_, _, before)): (usize, &(Element, Access, Vec<u32>))| {
            let mut words = match oracle.buffer(index) {
                Buffer::Word(words) => words.clone(),
                Buffer::Real(numbers) => numbers.iter().map(|x| x.to_f32().to_bits()).collect(),
            };
            words.iter_mut().zip(before).filter(|(_, before)| **before == GARBAGE).for_each(|(word, before)| {
                if f32::from_bits(*word).is_nan() {
                    *word = *before;
                }
            });
            words.extend(guards(index));
            words
        };
        case.buffers.iter().enumerate().map(words).collect()
    }

    /// Where a case has its right answers: the buffer and the elements in it.
    fn answers(case: &Case) -> (usize, Vec<usize>) {
        let last = case.buffers.len() - 1;
        let rows = case.step.params.rows as usize;
        match case.kernel() {
            Kernel::Persistent => (last, (1..case.buffers[last].2.len()).step_by(2).collect()),
            _ => (last, (rows..2 * rows).collect()),
        }
    }

    /// By how many answers each of these may be off.
    fn undecided(case: &Case) -> Vec<f64> {
        let oracle = case.oracle();
        let (buffer, places) = answers(case);
        let Buffer::Real(numbers) = oracle.buffer(buffer) else { panic!("answers are numbers") };
        places.iter().map(|&at| numbers[at].flushed.floor()).collect()
    }

    /// A wrong answer is seen wherever rounding does not decide it, and that is nearly everywhere.
    #[test]
    fn a_wrong_answer_is_seen_but_in_a_tie() {
        for kernel in JUDGES {
            let (mut ties, mut rows, mut seen) = (0.0, 0.0, 0);
            for chosen in selection::cases(kernel, Tiling::GPU, 64, 3) {
                let case = chosen.case;
                let right = right_words(&case);
                let judge = |words: &[Vec<u32>]| case.judge(words).expect("only answers are wrong");
                assert!(judge(&right).passed(), "{}: {}", case.step.label, judge(&right));
                let (buffer, places) = answers(&case);
                let params = case.params();
                // At least: in a persistent case two networks score these rows and a third more.
                rows += f64::from(params.rows) * if kernel == Kernel::Persistent { 2.0 } else { 1.0 };
                for (place, ties_here) in places.into_iter().zip(undecided(&case)) {
                    ties += ties_here;
                    let mut wrong = right.clone();
                    let answer = f32::from_bits(right[buffer][place]);
                    if answer.is_nan() {
                        continue;
                    }
                    wrong[buffer][place] = if answer == 0.0 { 1.0 } else { answer - 1.0 }.to_bits();
                    assert_eq!(judge(&wrong).passed(), ties_here > 0.0, "{}, place {place}", case.step.label);
                    seen += usize::from(ties_here == 0.0);
                }
            }
            println!("{}: {ties} of {rows} answers are undecided; {seen} wrong ones were seen", kernel.name());
            assert!(ties <= 0.01 * rows && seen > 100, "{}: {ties} of {rows} answers", kernel.name());
        }
    }

    /// Where all outputs of a layer are the same numbers, every answer is as right as any other; where one is larger, one is right.
    #[test]
    fn outputs_of_the_same_weights_tie() {
        let mut case = Case::new(Kernel::OutputLayer, [7, 8, 9], Fill::Ordinary, 0, 1);
        let Params { inputs, outputs, w, b, .. } = case.step.params;
        let [inputs, outputs, w, b] = [inputs, outputs, w, b].map(|n| n as usize);
        let params = &mut case.buffers[4].2;
        for o in 1..outputs {
            params.copy_within(w..w + inputs, w + o * inputs);
            params[b + o] = params[b];
        }
        assert_eq!(undecided(&case), [1.0; 7]);
        let (buffer, places) = answers(&case);
        let mut words = right_words(&case);
        for &place in &places {
            words[buffer][place] = if words[buffer][place] == 0 { 1.0_f32 } else { 0.0 }.to_bits();
        }
        assert!(case.judge(&words).expect("numbers").passed());
        words[buffer][places[0]] = 2.5_f32.to_bits();
        assert!(!case.judge(&words).expect("numbers").passed(), "the answer of a tie is 0 or 1 all the same");

        let params = &mut case.buffers[4].2;
        params[b + 3] = (f32::from_bits(params[b + 3]) + 0.01).to_bits();
        assert_eq!(undecided(&case), [0.0; 7]);
        let mut words = right_words(&case);
        assert!(case.judge(&words).expect("numbers").passed());
        words[buffer][places[0]] = if words[buffer][places[0]] == 0 { 1.0_f32 } else { 0.0 }.to_bits();
        assert!(!case.judge(&words).expect("numbers").passed());
    }
}
