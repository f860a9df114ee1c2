//! What runs plans: one interface over the CPU and the GPU.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use crate::cpu;
use crate::error::Result;
use crate::kernel::Element;
use crate::plan::{BufferSpec, Limits, Plan, Step};

/// A buffer of an engine, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) buffer: usize,
    /// The first element.
    pub(crate) start: usize,
}

impl Slot {
    pub(crate) const fn whole(buffer: usize) -> Self {
        Self { buffer, start: 0 }
    }
}

/// The buffers of a plan: those given for some, the others made by `alloc`, parts where the buffers are that they belong to.
pub(crate) fn slots(
    plan: &Plan,
    mut given: impl FnMut(&BufferSpec) -> Option<Slot>,
    mut alloc: impl FnMut(&BufferSpec) -> Result<Slot>,
) -> Result<Vec<Slot>> {
    let mut slots: Vec<Slot> = Vec::with_capacity(plan.buffers.len());
    for spec in &plan.buffers {
        let slot = match (spec.part_of, given(spec)) {
            (Some((of, start)), _) => Slot { start, ..slots[of.0] },
            (None, Some(slot)) => slot,
            (None, None) => alloc(spec)?,
        };
        slots.push(slot);
    }
    Ok(slots)
}

/// A plan whose buffers exist: [`BufferId`](crate::plan::BufferId) `i` is `slots[i]`.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) slots: Vec<Slot>,
    /// Where each step's buffers are.
    pub(crate) bound: Vec<Vec<cpu::Bound>>,
    #[cfg(feature = "gpu")]
    pub(crate) gpu: Option<crate::gpu::Recorded>,
}

impl Prepared {
    pub(crate) fn new(plan: Plan, slots: Vec<Slot>) -> Self {
        let of_step =
            |step: &Step| step.bindings.iter().map(|id| cpu::Bound::of(&plan.buffers[id.0], slots[id.0])).collect();
        let bound = plan.steps.iter().map(of_step).collect();
        Self {
            plan,
            slots,
            bound,
            #[cfg(feature = "gpu")]
            gpu: None,
        }
    }
}

/// What a network has asked of its device so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Command buffers handed to the GPU's queue; on the CPU, runs of a plan.
    pub submissions: u64,
    /// Kernels run.
    pub dispatches: u64,
    /// Bytes written to the device.
    pub bytes_up: u64,
    /// Bytes read from it.
    pub bytes_down: u64,
}

/// The memory of one network on one device, and what runs there.
#[derive(Debug)]
pub(crate) struct Engine {
    place: Place,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
enum Place {
    Cpu(cpu::Engine<f32>),
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::Engine),
}

impl Engine {
    pub(crate) fn cpu(engine: cpu::Engine<f32>) -> Self {
        Self { place: Place::Cpu(engine), counters: Counters::default() }
    }

    #[cfg(feature = "gpu")]
    pub(crate) fn gpu(engine: crate::gpu::Engine) -> Self {
        Self { place: Place::Gpu(engine), counters: Counters::default() }
    }

    /// Makes what the device has to compile for these steps, under these limits, before they are needed.
    #[cfg_attr(not(feature = "gpu"), allow(unused_variables, reason = "the CPU compiles nothing"))]
    pub(crate) fn warm(&self, steps: &[(&Step, Limits)]) -> Result<()> {
        match &self.place {
            Place::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.warm(steps),
        }
    }

    /// A new buffer; on every device it starts as zeros.
    pub(crate) fn alloc(&mut self, spec: &BufferSpec) -> Result<Slot> {
        match &mut self.place {
            Place::Cpu(engine) => {
                cpu::room_for(&format!("buffer {}", spec.name), spec.len)?;
                Ok(Slot::whole(engine.alloc(spec.element, spec.len)))
            }
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.alloc(spec),
        }
    }

    pub(crate) fn release(&mut self, slot: Slot) {
        match &mut self.place {
            Place::Cpu(engine) => engine.release(slot.buffer),
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.release(slot),
        }
    }

    /// Buffers that there are on a GPU.
    #[cfg(all(test, feature = "gpu"))]
    pub(crate) fn live(&self) -> usize {
        if let Place::Gpu(engine) = &self.place { engine.live() } else { 0 }
    }

    /// After buffers were released for want of memory: has the device give back what it keeps of them until it is done with what
    /// was written to them.
    #[cfg_attr(not(feature = "gpu"), allow(clippy::unnecessary_wraps, reason = "the CPU frees memory at once"))]
    pub(crate) fn reclaim(&self) -> Result<()> {
        match &self.place {
            Place::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.reclaim(),
        }
    }

    /// Writes words from an element offset on: the bits of `f32` numbers, or whole numbers. The words are taken over before
    /// this returns, and are in place for every later `run`.
    pub(crate) fn write(&mut self, slot: Slot, offset: usize, words: &[u32]) -> Result<()> {
        self.counters.bytes_up += 4 * words.len() as u64;
        match &mut self.place {
            Place::Cpu(engine) => engine.write(slot.buffer, slot.start + offset, words),
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.write(slot, offset, words),
        }
    }

    pub(crate) fn write_f32(&mut self, slot: Slot, offset: usize, numbers: &[f32]) -> Result<()> {
        self.write(slot, offset, bytemuck::cast_slice(numbers))
    }

    /// Writes zeros from an element offset on.
    pub(crate) fn zero(&mut self, slot: Slot, offset: usize, len: usize) -> Result<()> {
        const ZEROS: [u32; 256] = [0; 256];
        if !self.is_immediate() {
            // One write, since each costs the GPU a copy of its own.
            return self.write(slot, offset, &vec![0; len]);
        }
        (0..len)
            .step_by(ZEROS.len())
            .try_for_each(|at| self.write(slot, offset + at, &ZEROS[..ZEROS.len().min(len - at)]))
    }

    /// Copies numbers from an element offset on, where work is done when `run` returns.
    pub(crate) fn copy(&self, slot: Slot, offset: usize, out: &mut [f32]) -> Result<()> {
        match &self.place {
            Place::Cpu(engine) => engine.copy(slot.buffer, slot.start + offset, out),
            #[cfg(feature = "gpu")]
            Place::Gpu(_) => Err(crate::Error::shape("buffer copy", "a buffer of the host", "one of a GPU")),
        }
    }

    /// Makes what the device needs to run this plan on these buffers.
    pub(crate) fn prepare(&mut self, plan: Plan, slots: Vec<Slot>) -> Result<Prepared> {
        debug_assert_eq!(plan.buffers.len(), slots.len());
        match &mut self.place {
            Place::Cpu(_) => Ok(Prepared::new(plan, slots)),
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.prepare(plan, slots),
        }
    }

    /// Runs, for each part, these steps of the plan in order, the whole range so many times over. On a GPU this is one
    /// submission, and returns before the work is done.
    pub(crate) fn run(
        &mut self,
        prepared: &Prepared,
        parts: impl Iterator<Item = (Range<usize>, usize)> + Clone,
    ) -> Result<()> {
        self.counters.submissions += 1;
        self.counters.dispatches += parts.clone().map(|(steps, times)| (steps.len() * times) as u64).sum::<u64>();
        match &mut self.place {
            Place::Cpu(engine) => {
                for (steps, times) in parts {
                    engine.run(&prepared.plan.steps[steps.clone()], &prepared.bound[steps.clone()], times);
                }
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => engine.run(prepared, parts),
        }
    }

    /// Asks for `len` words of a buffer, from an element offset on, as they are after everything run so far. The request is made before this returns; the
    /// future borrows nothing.
    pub(crate) fn read(
        &mut self,
        slot: Slot,
        offset: usize,
        len: usize,
    ) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        self.counters.bytes_down += 4 * len as u64;
        #[cfg(feature = "gpu")]
        if matches!(self.place, Place::Gpu(_)) {
            self.counters.submissions += 1;
        }
        enum Read {
            Done(Vec<u32>),
            #[cfg(feature = "gpu")]
            Wait(Result<crate::gpu::Readback>),
        }
        let read = match &mut self.place {
            Place::Cpu(engine) => {
                let mut words = engine.read(slot.buffer);
                let first = slot.start + offset;
                words.truncate(first + len);
                Read::Done(words.split_off(first.min(words.len())))
            }
            #[cfg(feature = "gpu")]
            Place::Gpu(engine) => Read::Wait(engine.read(slot, offset, len)),
        };
        async move {
            match read {
                Read::Done(words) => Ok(words),
                #[cfg(feature = "gpu")]
                Read::Wait(readback) => readback?.words().await,
            }
        }
    }

    /// A future that is ready when everything run so far is done; it says how long after this call that was.
    pub(crate) fn done(&mut self) -> impl Future<Output = Result<Duration>> + use<> {
        #[cfg(feature = "gpu")]
        let wait = match &mut self.place {
            Place::Cpu(_) => None,
            Place::Gpu(engine) => Some(engine.done()),
        };
        async move {
            #[cfg(feature = "gpu")]
            if let Some(wait) = wait {
                return wait?.await;
            }
            Ok(Duration::ZERO)
        }
    }

    /// Whether work is done when `run` returns.
    pub(crate) const fn is_immediate(&self) -> bool {
        matches!(self.place, Place::Cpu(_))
    }
}

/// A buffer of `len` numbers or words, for [`Engine::alloc`].
pub(crate) fn buffer(name: &str, len: usize, element: Element) -> BufferSpec {
    BufferSpec {
        name: name.to_owned(),
        len,
        element,
        role: crate::plan::Role::Between,
        head: Vec::new(),
        part_of: None,
    }
}
