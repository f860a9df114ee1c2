//! One step of training as a device did it, held to the `f64` reference: from the buffers before the step and after it.

use std::borrow::Cow;
use std::ops::Range;

use super::compare::{Worst, terms};
use super::lockstep::distance;
use super::tracked::Tracked;
use crate::backend::{Slot, slots};
use crate::cpu;
use crate::error::Result;
use crate::kernel::{Access, Element};
use crate::plan::{BufferId, Plan, PlanKind, Role, WALK_HEAD, WALK_LAYER};

/// Where the device has what a buffer of the reference's plan holds.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// In words of one of its own, from an element on.
    Buffer { id: usize, start: usize, len: usize },
    /// In the persistent kernel's `work`: so many neurons, each with its rows side by side, from this quad on.
    Work { quad: usize, neurons: usize },
    /// Nowhere: it works that out on its way.
    Nowhere,
}

/// What was off.
#[derive(Debug, Clone)]
pub(crate) struct Off {
    /// The step of the plan, and the buffer.
    pub(crate) what: String,
    pub(crate) worst: Worst,
}

/// Follows single steps of a device's plan on the CPU.
///
/// Whatever the step left in a buffer is compared with the reference, which then goes on from the device's numbers, so that each kernel
/// is held to its own inputs: an activation that jumps where a sum is rounded to either side of 0 is no disagreement. What a later
/// kernel of the step overwrites is not seen, and neither is what the persistent kernel never stores: there the reference goes on from
/// its own numbers, and the bound of what follows has the terms of both.
#[derive(Debug)]
pub(crate) struct StepCheck {
    /// The device's buffers.
    device: Plan,
    /// What the reference runs: the same plan, or in place of the persistent one the textbook's.
    plan: Plan,
    origins: Vec<Origin>,
    oracle: cpu::Engine<Tracked>,
    slots: Vec<Slot>,
    /// Quads of rows a neuron, in `work`.
    quads: usize,
}

impl StepCheck {
    /// For this plan of one network, whose resident data are these words; none where they are [`put`](Self::put) before each step. `textbook` is the textbook plan for the same request, which
    /// takes the place of a persistent one.
    pub(crate) fn new(device: &Plan, textbook: Plan, inputs: &[u32], targets: &[u32]) -> Result<Self> {
        let persistent = device.kind == PlanKind::Persistent;
        let plan = if persistent { textbook } else { device.clone() };
        let quads = device.buffer(Role::Walk).map_or(0, |walk| device.buffers[walk.0].head[4] as usize);
        let origin = |id: usize| if persistent { in_persistent(device, &plan, id) } else { whole(device, id) };
        let origins = (0..plan.buffers.len()).map(origin).collect();
        let mut oracle = cpu::Engine::new(cpu::Teams::of(1));
        let slots = slots(&plan, |_| None, |spec| Ok(Slot::whole(oracle.alloc(spec.element, spec.len))))?;
        let mut check = Self { device: device.clone(), plan, origins, oracle, slots, quads };
        check.put(Role::Inputs, 0, inputs)?;
        check.put(Role::Targets, 0, targets)?;
        Ok(check)
    }

    /// Puts words of the data where the device has them.
    pub(crate) fn put(&mut self, role: Role, at: usize, words: &[u32]) -> Result<()> {
        let Some(id) = self.plan.buffer(role) else { return Ok(()) };
        let slot = self.slots[id.0];
        self.oracle.write(slot.buffer, slot.start + at, words)
    }

    /// The buffers that have to be read before the step and after it.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = BufferId> {
        let is_wanted = |id: &usize| {
            let spec = &self.device.buffers[*id];
            spec.part_of.is_none() && !matches!(spec.role, Role::Inputs | Role::Targets)
        };
        (0..self.device.buffers.len()).filter(is_wanted).map(BufferId)
    }

    /// Compares a step; the words are those of the [`wanted`](Self::wanted) buffers, in their order.
    pub(crate) fn compare(&mut self, before: &[Vec<u32>], after: &[Vec<u32>]) -> Result<Option<Off>> {
        for (id, spec) in self.plan.buffers.iter().enumerate() {
            if !matches!(spec.role, Role::Inputs | Role::Targets)
                && let Some(words) = self.seen(before, self.origins[id])
            {
                self.oracle.write(self.slots[id].buffer, self.slots[id].start, &words)?;
            }
        }
        if self.device.kind == PlanKind::Persistent
            && let Some(control) = self.plan.buffer(Role::Control)
        {
            // The step whose gradients are there, which the persistent plan has no word for.
            let step = self.seen(before, self.origins[control.0]).unwrap_or_default();
            self.oracle.write(self.slots[control.0].buffer, 4, &step[..1.min(step.len())])?;
        }

        // How many terms the sums have that a buffer comes from and that were not compared yet.
        let mut pending = vec![0_u64; self.plan.buffers.len()];
        let round = self.plan.rounds.last().map_or(0..self.plan.steps.len(), |round| round.steps.clone());
        for number in round.clone() {
            let step = &self.plan.steps[number];
            let bound = step.bindings.iter().map(|id| cpu::Bound::of(&self.plan.buffers[id.0], self.slots[id.0]));
            self.oracle.run_plain(step, &bound.collect::<Vec<_>>());
            let bindings = step.bindings.iter().zip(step.kernel.info().bindings);
            let reads = bindings.clone().filter(|(_, binding)| matches!(binding.access, Access::In | Access::InOut));
            let carried = reads.map(|(id, _)| pending[self.plan.root(*id).0]).max().unwrap_or(0);
            let terms = terms(step.kernel, &step.params).saturating_add(carried);
            for (&id, binding) in bindings {
                if !matches!(binding.access, Access::Out | Access::InOut) {
                    continue;
                }
                let part = range(&self.plan, id);
                // The device has it by itself, or as a part of what it is a part of here.
                let (origin, begins) = match self.origins[id.0] {
                    Origin::Nowhere => (self.origins[self.plan.root(id).0], 0),
                    own => (own, part.start),
                };
                let is_last = !self.is_written(number + 1..round.end, id);
                let Some(words) = is_last.then(|| self.seen(after, origin)).flatten() else {
                    pending[self.plan.root(id).0] = terms;
                    continue;
                };
                // The persistent plan has fewer words of control than the textbook's.
                let (first, end) = (part.start - begins, part.end - begins);
                let Some(words) = words.get(first..end.min(words.len())) else { continue };
                let part = part.start..part.start + words.len();
                let buffer = self.slots[id.0].buffer;
                let worst = distance(words, &(self.oracle.memory().buffer(buffer), part.clone()), terms);
                if !worst.passed() {
                    let what = format!("{}, buffer {}", step.label, self.plan.buffers[id.0].name);
                    return Ok(Some(Off { what, worst }));
                }
                self.oracle.write(buffer, part.start, words)?;
                pending[self.plan.root(id).0] = 0;
            }
        }
        Ok(None)
    }

    /// What a buffer of the reference holds on the device, of which these are the wanted buffers.
    fn seen<'w>(&self, all: &'w [Vec<u32>], origin: Origin) -> Option<Cow<'w, [u32]>> {
        let words_of = |id: usize| self.wanted().position(|wanted| wanted.0 == id).and_then(|at| all.get(at));
        match origin {
            Origin::Nowhere => None,
            Origin::Buffer { id, start, len } => words_of(id)?.get(start..start + len).map(Cow::Borrowed),
            Origin::Work { quad, neurons } => {
                let work = words_of(self.device.buffers.iter().position(|spec| spec.element == Element::F32x4)?)?;
                let number = |row: usize, neuron: usize| work.get(4 * (quad + neuron * self.quads) + row).copied();
                let places = (0..self.plan.rows).flat_map(|row| (0..neurons).map(move |neuron| (row, neuron)));
                places.map(|(row, neuron)| number(row, neuron)).collect::<Option<Vec<_>>>().map(Cow::Owned)
            }
        }
    }

    /// Whether one of these steps writes where this buffer is.
    fn is_written(&self, steps: Range<usize>, id: BufferId) -> bool {
        let (root, part) = (self.plan.root(id), range(&self.plan, id));
        let touches = |other: &BufferId| {
            let other_part = range(&self.plan, *other);
            self.plan.root(*other) == root && other_part.start < part.end && part.start < other_part.end
        };
        self.plan.steps[steps].iter().any(|step| {
            let written = step.bindings.iter().zip(step.kernel.info().bindings);
            written
                .into_iter()
                .any(|(id, binding)| matches!(binding.access, Access::Out | Access::InOut) && touches(id))
        })
    }
}

/// The elements of its root that a buffer is.
fn range(plan: &Plan, BufferId(id): BufferId) -> Range<usize> {
    let spec = &plan.buffers[id];
    let start = spec.part_of.map_or(0, |(_, start)| start);
    start..start + spec.len
}

/// A buffer of the device's own plan.
fn whole(device: &Plan, id: usize) -> Origin {
    match device.buffers[id].part_of {
        None => Origin::Buffer { id, start: 0, len: device.buffers[id].len },
        Some(_) => Origin::Nowhere,
    }
}

/// A buffer of the textbook plan, in the persistent one.
fn in_persistent(device: &Plan, textbook: &Plan, id: usize) -> Origin {
    let spec = &textbook.buffers[id];
    let outside = [Role::Parameters, Role::State, Role::Hyper, Role::Order, Role::Control, Role::Scores];
    if outside.contains(&spec.role) {
        let place = device.place(spec.role, 0);
        return place.map_or(Origin::Nowhere, |place| Origin::Buffer {
            id: place.buffer.0,
            start: place.offset,
            len: place.len.min(spec.len),
        });
    }
    // z_2, a_2, delta_2: the layer's number says where.
    let head = device.buffer(Role::Walk).map_or(&[][..], |walk| &device.buffers[walk.0].head);
    let Some((symbol, layer)) = spec.name.rsplit_once('_') else { return Origin::Nowhere };
    let word = match symbol {
        "z" => 8,
        "a" => 9,
        "delta" => 10,
        _ => return Origin::Nowhere,
    };
    let at = layer.parse::<usize>().ok().and_then(|layer| layer.checked_sub(1)).map(|l| WALK_HEAD + l * WALK_LAYER);
    let found = at.and_then(|at| Some((*head.get(at + word)?, *head.get(at + 1)?)));
    found.map_or(Origin::Nowhere, |(quad, neurons)| Origin::Work { quad: quad as usize, neurons: neurons as usize })
}
