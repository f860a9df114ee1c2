//! Two backends side by side, one step of a plan at a time.

use std::future::Future;
use std::ops::Range;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::case::GARBAGE;
use super::compare::{Worst, bound, terms};
use super::tracked::Tracked;
use crate::Device;
use crate::backend::{Engine, Prepared, Slot, slots};
use crate::cpu::{self, Buffer};
use crate::error::{Error, Result};
use crate::kernel::{Access, Element, Kernel};
use crate::plan::{BufferId, BufferSpec, Limits, Plan, Role, Step, check_sizes};

/// Something that runs a plan step by step: a device, or a test's twin of one.
pub trait Runner {
    /// Who this is, for messages.
    fn name(&self) -> String;
    /// Puts words into a buffer of the plan.
    ///
    /// # Errors
    /// What the device reports.
    fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<()>;
    /// Runs step `step` of the plan.
    ///
    /// # Errors
    /// What the device reports.
    fn run(&mut self, step: usize) -> Result<()>;
    /// Reads a buffer of the plan.
    fn read(&mut self, buffer: BufferId) -> impl Future<Output = Result<Vec<u32>>>;
}

/// A plan on a device.
#[derive(Debug)]
pub struct DeviceRunner {
    name: String,
    engine: Engine,
    prepared: Prepared,
}

impl DeviceRunner {
    /// Makes the plan's buffers on the device. Shaders keep wgpu's run-time checks here, whatever the device's setting: the plan
    /// and what is written into its buffers may come from anywhere.
    ///
    /// # Errors
    /// [`Error::Shape`] for a plan without rows or networks, and for a step whose bindings are not those of its kernel;
    /// [`Error::Limit`] for a buffer of more than 4 GiB; what the device reports.
    ///
    /// # Panics
    /// Nothing here does. On the CPU backend [`run`](Runner::run) panics where parameters of a step that were changed by hand, or
    /// numbers that index (an order, a table of layers, which are zeros before they are written), reach past the end of a buffer; a GPU
    /// reads and writes nothing there.
    pub fn new(device: &Device, plan: &Plan) -> Result<Self> {
        check_bindings(plan)?;
        Self::on(device, device.checked_engine(), plan)
    }

    /// As [`new`](Self::new), for a plan that this crate made, and of whose buffers it alone writes those that index others:
    /// with the pipelines that training takes.
    pub(super) fn of_own_plan(device: &Device, plan: &Plan) -> Result<Self> {
        Self::on(device, device.engine(), plan)
    }

    fn on(device: &Device, mut engine: Engine, plan: &Plan) -> Result<Self> {
        let slots = slots(plan, |_| None, |spec| engine.alloc(spec))?;
        let prepared = engine.prepare(plan.clone(), slots)?;
        Ok(Self { name: device.adapter(), engine, prepared })
    }

    /// The number of a buffer that the plan has.
    fn known(&self, BufferId(id): BufferId) -> Result<usize> {
        let buffers = self.prepared.slots.len();
        if id < buffers {
            return Ok(id);
        }
        Err(Error::shape("the number of a buffer", format!("below {buffers}"), id.to_string()))
    }
}

impl Runner for DeviceRunner {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<()> {
        let slot = self.prepared.slots[self.known(buffer)?];
        self.engine.write(slot, 0, words)
    }

    fn run(&mut self, step: usize) -> Result<()> {
        let steps = self.prepared.plan.steps.len();
        if step >= steps {
            return Err(Error::shape("the number of a step", format!("below {steps}"), step.to_string()));
        }
        self.engine.run(&self.prepared, std::iter::once((step..step + 1, 1)))
    }

    async fn read(&mut self, buffer: BufferId) -> Result<Vec<u32>> {
        let id = self.known(buffer)?;
        self.engine.read(self.prepared.slots[id], 0, self.prepared.plan.buffers[id].len).await
    }
}

/// Whether a plan, whose fields are public, has rows, networks, rounds of steps that it has, and buffers that can be.
fn check_whole(plan: &Plan) -> Result<()> {
    for (what, count) in [("rows of a mini-batch", plan.rows), ("networks", plan.networks)] {
        if count == 0 {
            return Err(Error::shape(format!("plan: {what}"), "at least 1", "0"));
        }
    }
    let steps = plan.steps.len();
    if let Some(round) = plan.rounds.iter().find(|round| round.steps.start > round.steps.end || round.steps.end > steps)
    {
        let want = format!("within the {steps} that the plan has");
        return Err(Error::shape("plan: steps of a round", want, format!("{:?}", round.steps)));
    }
    if let Some(spec) = plan.buffers.iter().find(|spec| spec.head.len() > spec.len) {
        let (want, got) = (format!("at most its {} elements", spec.len), format!("{}", spec.head.len()));
        return Err(Error::shape(format!("plan: the first words of buffer {}", spec.name), want, got));
    }
    check_sizes(&plan.buffers, &Limits::HOST)
}

/// Whether every step of a plan binds buffers that exist, as many and of the kind that its kernel wants, and none that it writes
/// a second time.
fn check_bindings(plan: &Plan) -> Result<()> {
    check_whole(plan)?;
    for (index, spec) in plan.buffers.iter().enumerate() {
        let Some((BufferId(of), start)) = spec.part_of else { continue };
        let whole = plan.buffers[..index].get(of).filter(|whole| whole.part_of.is_none());
        if whole.is_none_or(|whole| start.checked_add(spec.len).is_none_or(|end| end > whole.len)) {
            let want = "inside a whole buffer that comes before it";
            return Err(Error::shape(format!("buffer {}", spec.name), want, format!("{:?}", spec.part_of)));
        }
    }
    for step in &plan.steps {
        let row = step.kernel.info().bindings;
        let fits = |id: &BufferId, want: Element| plan.buffers.get(id.0).is_some_and(|spec| spec.element == want);
        let once = |at: usize| {
            let root = plan.root(step.bindings[at]);
            step.bindings.iter().filter(|&&id| plan.root(id) == root).count() == 1
        };
        let good = step.bindings.len() == row.len()
            && step.bindings.iter().zip(row).all(|(id, binding)| fits(id, binding.element))
            && (0..row.len()).all(|at| row[at].access == Access::In || once(at));
        if !good {
            let what = format!("the bindings of step '{}'", step.label);
            let want = format!("{} buffers as kernel {} has them", row.len(), step.kernel.name());
            return Err(Error::shape(what, want, format!("{:?}", step.bindings)));
        }
    }
    Ok(())
}

/// What [`lockstep_async`] saw.
#[derive(Debug, Clone)]
pub struct Lockstep {
    /// Steps compared.
    pub steps: usize,
    /// The worst element of all of them, in units of the bound.
    pub worst: Worst,
}

/// Runs a plan on two backends, one step at a time from equal buffers, and compares what each step wrote with the other and
/// with the `f64` reference of its kernel. `times` repeats the plan, so that a later mini-batch is seen too. Buffers that come
/// from outside (parameters, data, order) are filled from `seed`; those in between start as garbage.
///
/// # Errors
/// [`Error::Disagreement`] names the first step that differs, the element, and which of the two is off;
/// [`Error::InvalidOption`] if `times` is more than the mini-batches of the plan's data set; else as
/// [`DeviceRunner::new`], and what the devices report.
pub async fn lockstep_async<A: Runner, B: Runner>(
    plan: &Plan,
    a: &mut A,
    b: &mut B,
    seed: u64,
    times: usize,
) -> Result<Lockstep> {
    check_bindings(plan)?;
    if plan.place(Role::Order, 0).is_some_and(|order| times > order.len.div_ceil(plan.rows)) {
        let want = "at most the number of mini-batches of the data set";
        return Err(Error::InvalidOption { option: "times", value: times.to_string(), want });
    }
    let mut oracle = cpu::Engine::<Tracked>::new(cpu::Teams::of(1));
    let slots = slots(plan, |_| None, |spec| Ok(Slot::whole(oracle.alloc(spec.element, spec.len))))?;
    for (index, words) in contents(plan, seed).iter().enumerate() {
        oracle.write(slots[index].buffer, slots[index].start, words)?;
        a.write(BufferId(index), words)?;
        b.write(BufferId(index), words)?;
    }
    let mut report = Lockstep { steps: 0, worst: Worst::default() };
    for time in 0..times {
        // The round that trains one step: what more do at once is the same again.
        let round = plan.rounds.last().map_or(0..plan.steps.len(), |round| round.steps.clone());
        for number in round {
            let step = &plan.steps[number];
            let bound = step.bindings.iter().map(|id| cpu::Bound::of(&plan.buffers[id.0], slots[id.0]));
            oracle.run_plain(step, &bound.collect::<Vec<_>>());
            a.run(number)?;
            b.run(number)?;
            for (&id, binding) in step.bindings.iter().zip(step.kernel.info().bindings) {
                if matches!(binding.access, Access::In | Access::Scratch) {
                    continue;
                }
                let (words_a, words_b) = (a.read(id).await?, b.read(id).await?);
                let Slot { buffer, start } = slots[id.0];
                let want = (oracle.memory().buffer(buffer), start..start + plan.buffers[id.0].len);
                let terms = terms(step.kernel, &step.params);
                let [off_a, off_b] = [&words_a, &words_b].map(|words| distance(words, &want, terms));
                report.worst.merge(&off_a);
                report.worst.merge(&off_b);
                if !off_a.passed() || !off_b.passed() {
                    let mut message = format!(
                        "step {} of {} ('{}', kernel {}, pass {}) differs in {}",
                        number + 1,
                        plan.steps.len(),
                        step.label,
                        step.kernel.name(),
                        time + 1,
                        plan.buffers[id.0].name,
                    );
                    for (name, off) in [(a.name(), off_a), (b.name(), off_b)] {
                        let verdict = if off.passed() { "agrees with the reference" } else { "is off" };
                        message.push_str(&format!("; {name} {verdict}: {off}"));
                    }
                    return Err(Error::Disagreement(message));
                }
                // The next step starts from equal buffers on all three.
                b.write(id, &words_a)?;
                oracle.write(buffer, start, &words_a)?;
            }
            report.steps += 1;
        }
    }
    Ok(report)
}

/// How far words are from the reference, which is this part of a buffer.
pub(super) fn distance(words: &[u32], (want, part): &(&Buffer<Tracked>, Range<usize>), terms: u64) -> Worst {
    let mut worst = Worst::default();
    match want {
        Buffer::Word(want) => {
            for (i, (&got, &want)) in words.iter().zip(&want[part.clone()]).enumerate() {
                worst.add_word(i, got, want);
            }
        }
        Buffer::Real(want) => {
            for (i, (&got, want)) in words.iter().zip(&want[part.clone()]).enumerate() {
                // Nobody has written here yet.
                if got == GARBAGE && want.value.is_nan() {
                    worst.add_word(i, 0, 0);
                } else {
                    worst.add(i, f32::from_bits(got).into(), want.value, bound(terms, want));
                }
            }
        }
    }
    if words.len() != part.len() {
        worst.ratio = f64::INFINITY;
    }
    worst
}

/// The first contents of every buffer of a plan.
fn contents(plan: &Plan, seed: u64) -> Vec<Vec<u32>> {
    let mut random = Pcg64Mcg::new(u128::from(seed) << 1 | 1);
    let examples = plan.place(Role::Order, 0).map_or(plan.rows, |order| order.len);
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let live = word(plan.rows.min(examples));
    plan.buffers
        .iter()
        .map(|spec| match spec.role {
            Role::Control => vec![0, live, word(examples), 0, 0],
            Role::Order => (0..word(spec.len)).rev().map(|at| at % word(plan.held.max(1))).collect(),
            Role::Walk => {
                let own = [0, live, word(examples), 0]
                    .into_iter()
                    .chain((0..word(examples)).rev().map(|at| at % word(plan.held.max(1))));
                let networks = (0..plan.networks).flat_map(|_| own.clone());
                spec.head.iter().copied().chain(networks).collect()
            }
            Role::Inputs | Role::Targets => data(plan, spec, &mut random),
            // Of these a square root is taken, or they stand in a denominator.
            Role::State => numbers(spec, &mut random, 0.0),
            Role::Hyper => numbers(spec, &mut random, 0.1),
            Role::Parameters | Role::X => numbers(spec, &mut random, -1.0),
            Role::Y => numbers(spec, &mut random, 0.0),
            _ => {
                let mut words = spec.head.clone();
                words.resize(spec.len, GARBAGE);
                words
            }
        })
        .collect()
}

fn numbers(spec: &BufferSpec, random: &mut Pcg64Mcg, low: f32) -> Vec<u32> {
    (0..spec.len).map(|_| random.random_range(low..1.0_f32).to_bits()).collect()
}

/// Resident data in the format that the plan gathers it in.
fn data(plan: &Plan, spec: &BufferSpec, random: &mut Pcg64Mcg) -> Vec<u32> {
    let own = match spec.role {
        Role::Inputs => [Kernel::GatherForward; 2],
        _ => [Kernel::OutputError, Kernel::OutputLayer],
    };
    let binds = |step: &Step| step.bindings.iter().any(|id| plan.buffers[id.0].role == spec.role);
    let is_one = |kernel| own.contains(&kernel) || [Kernel::Gather, Kernel::Persistent].contains(&kernel);
    let gathers = |step: &&Step| is_one(step.kernel) && binds(step);
    let Some(gather) = plan.steps.iter().find(gathers) else { return vec![0; spec.len] };
    let alone = gather.kernel == Kernel::Gather || spec.role == Role::Inputs;
    let format = if alone { gather.params.format & 3 } else { gather.params.format >> 2 };
    match format & 3 {
        0 => (0..spec.len).map(|_| random.random_range(0.0..1.0_f32).to_bits()).collect(),
        1 => (0..spec.len).map(|_| random.random()).collect(),
        // Labels, and weights after them where there is more room.
        _ => (0..spec.len)
            .map(|at| match at < plan.held {
                true => random.random_range(0..gather.params.outputs),
                false => random.random_range(0.1..2.0_f32).to_bits(),
            })
            .collect(),
    }
}

/// Blocking form of [`lockstep_async`].
///
/// # Errors
/// As there.
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub fn lockstep<A: Runner, B: Runner>(plan: &Plan, a: &mut A, b: &mut B, seed: u64, times: usize) -> Result<Lockstep> {
    crate::blocking::block_on(lockstep_async(plan, a, b, seed, times))
}
