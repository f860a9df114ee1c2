//! What a network has on its device: parameters, the optimiser's memory, and the plans it keeps prepared.

use std::collections::VecDeque;

use super::Network;
use crate::Cost;
use crate::backend::{Engine, Slot};
use crate::error::Result;
use crate::plan::{Emphasis, Goal, Limits, Request, Role, Source, Update};
use crate::session::{self, Session, Shared};

/// Prepared plans that a network keeps for calls with rows of its own.
const KEPT_SESSIONS: usize = 8;

/// All that a network has on its device.
#[derive(Debug)]
pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) parameters: Slot,
    pub(super) moments: Moments,
    /// The most recently used first.
    pub(super) sessions: VecDeque<(Key, Session)>,
    /// Rises whenever the parameters may have changed.
    pub(super) version: u64,
}

/// What a kept session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) goal: Goal,
    pub(super) cost: Option<Cost>,
    pub(super) update: Update,
}

impl Key {
    /// For a goal without an optimiser.
    pub(super) fn new(goal: Goal, cost: Option<Cost>) -> Self {
        Self { goal, cost, update: Update::default() }
    }
}

/// What an optimiser remembers between steps, on the network's device.
#[derive(Debug)]
pub(super) struct Moments {
    pub(super) slot: Slot,
    /// Numbers in it.
    pub(super) len: usize,
    /// Which kind of optimiser it belongs to.
    pub(super) of: Option<&'static str>,
    /// Steps taken.
    pub(super) steps: u64,
}

impl Moments {
    pub(super) fn new(engine: &mut Engine) -> Result<Self> {
        Ok(Self { slot: engine.alloc(&session::state_spec(1))?, len: 0, of: None, steps: 0 })
    }
}

impl State {
    /// A session with room for `live` rows: a kept one that is not much too large, or a new one.
    pub(super) fn ready(&mut self, net: &Network, key: Key, live: usize) -> Result<Session> {
        let fits = |session: &Session| (live..=2 * live).contains(&session.rows());
        let at = self.sessions.iter().position(|(kept, session)| *kept == key && fits(session));
        if let Some((_, session)) = at.and_then(|at| self.sessions.remove(at)) {
            return Ok(session);
        }
        let source = Source::Direct;
        let Key { goal, cost, update } = key;
        // The host's copy of a network on a GPU keeps to nobody's limits.
        let is_copy = self.engine.is_immediate() && net.device.kind() != "cpu";
        let limits = if is_copy { Limits::HOST } else { net.device.limits() };
        let dropout = net.dropout();
        let (layers, rows, emphasis) = (&net.layers[..], live, Emphasis::default());
        let request = Request { layers, cost, goal, source, held: None, rows, limits, update, dropout, emphasis };
        let shared = self.shared();
        Session::open(&mut self.engine, net.kind(&request), &request, shared)
    }

    pub(super) const fn shared(&self) -> Shared {
        Shared { parameters: self.parameters, state: self.moments.slot }
    }

    /// Starts the optimiser's memory from zeros, for a kind that remembers so many numbers of each of `len` parameters.
    pub(super) fn forget(&mut self, of: Option<&'static str>, remembers: usize, len: usize) -> Result<()> {
        // Plans are bound to the old buffer.
        let (training, others) =
            self.sessions.drain(..).partition(|(key, _)| matches!(key.goal, Goal::Train | Goal::Update));
        self.sessions = others;
        let training: VecDeque<(Key, Session)> = training;
        for (_, mut session) in training {
            session.close(&mut self.engine);
        }
        let len = len.saturating_mul(remembers);
        let slot = self.engine.alloc(&session::state_spec(len.max(1)))?;
        let moments = Moments { slot, len, of, steps: 0 };
        let old = std::mem::replace(&mut self.moments, moments);
        self.engine.release(old.slot);
        Ok(())
    }

    /// Keeps a session for later calls; the one not used for longest goes when there are many.
    pub(super) fn keep(&mut self, key: Key, session: Session) {
        self.sessions.push_front((key, session));
        if self.sessions.len() > KEPT_SESSIONS
            && let Some((_, mut session)) = self.sessions.pop_back()
        {
            session.close(&mut self.engine);
        }
    }
}

impl Session {
    /// One pass over rows given by the host.
    pub(super) fn step(
        &self,
        engine: &mut Engine,
        x: &[f32],
        y: &[f32],
        live: usize,
        hyper: Option<&[f32]>,
        taken: u64,
    ) -> Result<()> {
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        self.write_control(engine, 0, [0, live, live, session::low(taken)])?;
        self.write_rows(engine, Role::X, x)?;
        self.write_rows(engine, Role::Y, y)?;
        if let Some(hyper) = hyper {
            self.write(engine, Role::Hyper, bytemuck::cast_slice(hyper))?;
        }
        self.run(engine, 1)
    }
}
