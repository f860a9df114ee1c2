//! A plan with its buffers on an engine: what a network calls.

use std::future::Future;

use crate::backend::{Engine, Prepared, Slot, buffer, slots};
use crate::error::Result;
use crate::kernel::Element;
use crate::plan::{BufferId, BufferSpec, Place, Plan, PlanKind, Request, Role};

/// The buffers of a network that its plans share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) parameters: Slot,
    /// What the optimiser remembers.
    pub(crate) state: Slot,
}

/// A prepared plan, and which of its buffers are its own.
#[derive(Debug)]
pub(crate) struct Session {
    prepared: Prepared,
    owned: Vec<Slot>,
}

impl Shared {
    const fn of(self, role: Role) -> Option<Slot> {
        match role {
            Role::Parameters => Some(self.parameters),
            Role::State => Some(self.state),
            _ => None,
        }
    }
}

impl Session {
    /// Builds the plan and allocates its buffers, but for the shared ones.
    pub(crate) fn open(engine: &mut Engine, kind: PlanKind, request: &Request<'_>, shared: Shared) -> Result<Self> {
        Self::with_plan(engine, Plan::new(kind, request)?, Some(shared))
    }

    /// Allocates the buffers of a plan, but for the shared ones where they are given.
    pub(crate) fn with_plan(engine: &mut Engine, plan: Plan, shared: Option<Shared>) -> Result<Self> {
        Self::given(engine, plan, |spec| shared.and_then(|shared| shared.of(spec.role)))
    }

    /// The same plan as another session's, on the same buffers but for the data.
    pub(crate) fn beside(engine: &mut Engine, first: &Self) -> Result<Self> {
        let Prepared { plan, slots, .. } = &first.prepared;
        let mut slots = slots.iter();
        Self::given(engine, plan.clone(), |spec| {
            let slot = slots.next().copied();
            slot.filter(|_| !matches!(spec.role, Role::Inputs | Role::Targets))
        })
    }

    /// Allocates the buffers of a plan, but for those that are given; it is asked for each in turn.
    fn given(engine: &mut Engine, plan: Plan, given: impl FnMut(&BufferSpec) -> Option<Slot>) -> Result<Self> {
        let mut owned = Vec::with_capacity(plan.buffers.len());
        let prepared = Self::prepare(engine, plan, given, &mut owned);
        if prepared.is_err() {
            owned.drain(..).for_each(|slot| engine.release(slot));
        }
        Ok(Self { prepared: prepared?, owned })
    }

    /// Notes in `owned` what it has allocated, also where it fails.
    fn prepare(
        engine: &mut Engine,
        plan: Plan,
        given: impl FnMut(&BufferSpec) -> Option<Slot>,
        owned: &mut Vec<Slot>,
    ) -> Result<Prepared> {
        let slots = slots(&plan, given, |spec| {
            let slot = engine.alloc(spec)?;
            owned.push(slot);
            if !spec.head.is_empty() {
                engine.write(slot, 0, &spec.head)?;
            }
            Ok(slot)
        })?;
        engine.prepare(plan, slots)
    }

    /// Asks for all of a buffer of the plan.
    pub(crate) fn read_buffer(
        &self,
        engine: &mut Engine,
        BufferId(id): BufferId,
    ) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        engine.read(self.prepared.slots[id], 0, self.prepared.plan.buffers[id].len)
    }

    /// Gives the buffers back; the session is of no use afterwards.
    pub(crate) fn close(&mut self, engine: &mut Engine) {
        self.owned.drain(..).for_each(|slot| engine.release(slot));
    }

    pub(crate) fn rows(&self) -> usize {
        self.prepared.plan.rows
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.prepared.plan
    }

    /// The slot, offset and length of what the role says, where the plan has it.
    fn find(&self, role: Role, network: usize) -> Option<(Slot, usize, usize)> {
        let Place { buffer, offset, len } = self.prepared.plan.place(role, network)?;
        Some((self.prepared.slots[buffer.0], offset, len))
    }

    /// Elements of what the role says; none where the plan does not have it.
    pub(crate) fn len_of(&self, role: Role) -> usize {
        self.find(role, 0).map_or(0, |(_, _, len)| len)
    }

    pub(crate) fn write(&self, engine: &mut Engine, role: Role, words: &[u32]) -> Result<()> {
        self.write_of(engine, role, 0, words)
    }

    /// As [`write`](Self::write), from this element on.
    pub(crate) fn write_at(&self, engine: &mut Engine, role: Role, at: usize, words: &[u32]) -> Result<()> {
        match self.find(role, 0) {
            Some((slot, offset, _)) => engine.write(slot, offset + at, words),
            None => Ok(()),
        }
    }

    /// As [`write`](Self::write), what belongs to one network of a population.
    pub(crate) fn write_of(&self, engine: &mut Engine, role: Role, network: usize, words: &[u32]) -> Result<()> {
        match self.find(role, network) {
            Some((slot, offset, _)) => engine.write(slot, offset, words),
            None => Ok(()),
        }
    }

    /// Writes step, live rows, examples and steps taken before this epoch; no gradients are there yet, so their step is this one.
    pub(crate) fn write_control(&self, engine: &mut Engine, network: usize, control: [u32; 4]) -> Result<()> {
        let [step, ..] = control;
        self.write_of(engine, Role::Control, network, &control)?;
        match self.find(Role::Control, network) {
            Some((slot, offset, len)) if len > control.len() => engine.write(slot, offset + control.len(), &[step]),
            _ => Ok(()),
        }
    }

    /// Writes live rows, and zeros in the rows after them: what an earlier call left there could overflow under today's
    /// parameters, and 0 times infinity is not 0.
    pub(crate) fn write_rows(&self, engine: &mut Engine, role: Role, numbers: &[f32]) -> Result<()> {
        let Some((slot, offset, len)) = self.find(role, 0) else { return Ok(()) };
        engine.write_f32(slot, offset, numbers)?;
        if numbers.len() < len {
            engine.zero(slot, offset + numbers.len(), len - numbers.len())?;
        }
        Ok(())
    }

    /// The first numbers of the buffer with this role, where the work is done when it was asked for.
    pub(crate) fn copy(&self, engine: &Engine, role: Role, out: &mut [f32]) -> Result<()> {
        match self.find(role, 0) {
            Some((slot, offset, _)) => engine.copy(slot, offset, out),
            None => Ok(()),
        }
    }

    /// Trains (or evaluates, or predicts) this many mini-batches, as one submission.
    pub(crate) fn run(&self, engine: &mut Engine, times: usize) -> Result<()> {
        let parts = self.prepared.plan.rounds.iter().scan(times, |left, round| {
            let times = *left / round.advances;
            *left %= round.advances;
            Some((round.steps.clone(), times))
        });
        engine.run(&self.prepared, parts)
    }

    /// The first `len` words of the buffer with this role; none where the plan has no such buffer.
    pub(crate) fn read(
        &self,
        engine: &mut Engine,
        role: Role,
        len: usize,
    ) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        let read = self.find(role, 0).map(|(slot, offset, _)| engine.read(slot, offset, len));
        async move {
            match read {
                Some(read) => read.await,
                None => Ok(Vec::new()),
            }
        }
    }
}

/// What the kernels are told of a count of steps: random bits repeat after 2^32 of them.
#[allow(clippy::cast_possible_truncation, reason = "the low half")]
pub(crate) const fn low(steps: u64) -> u32 {
    steps as u32
}

/// The parameter arena.
pub(crate) fn parameters(engine: &mut Engine, len: usize) -> Result<Slot> {
    engine.alloc(&buffer("params", len, Element::F32))
}

/// The buffer of what an optimiser remembers.
pub(crate) fn state_spec(len: usize) -> BufferSpec {
    buffer("state", len, Element::F32)
}
