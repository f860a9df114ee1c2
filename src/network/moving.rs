//! A network as the host knows it, to be put on another device: its own may be gone.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;

use super::state::{Moments, State};
use super::{Network, predict};
use crate::error::Result;
use crate::session;
use crate::{Device, Init};

/// Numbers that the host keeps a copy of, at most: 64 MiB a network. Of larger ones a file is the better copy.
const MOST_GIVEN: usize = 1 << 24;

/// What a network has on its device: parameters, and what the optimiser remembers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AtRest {
    pub(crate) parameters: Vec<f32>,
    pub(crate) memory: Vec<f32>,
    /// The kind of optimiser, and the steps that it has taken.
    of: Option<&'static str>,
    pub(crate) taken: u64,
}

/// What the host knows of a network's numbers without asking its device: where they come from, as long as they have stayed as they
/// were. With it a network can go on elsewhere whose device is lost before anything was read from it.
#[derive(Debug, Default)]
pub(super) enum Known {
    /// They were drawn, and can be again.
    Drawn { inits: Vec<Init>, seed: u64 },
    /// The host gave them to the device, and kept a copy.
    Given(AtRest),
    /// The device alone has them.
    #[default]
    Nothing,
}

impl Known {
    /// A copy of these, unless they are too many.
    fn given(rest: AtRest) -> Self {
        if rest.parameters.len() + rest.memory.len() <= MOST_GIVEN { Self::Given(rest) } else { Self::Nothing }
    }
}

impl AtRest {
    /// Whether every parameter is a number.
    pub(crate) fn is_finite(&self) -> bool {
        self.parameters.iter().all(|w| w.is_finite())
    }
}

impl Network {
    /// What is on the device, after all that it was given until now. The future borrows nothing.
    pub(crate) fn at_rest_async(&self) -> impl Future<Output = Result<AtRest>> + use<> {
        let (of, taken, read) = {
            let mut state = self.lock();
            let parameters = state.parameters;
            (state.moments.of, state.moments.steps, state.engine.read(parameters, 0, self.len))
        };
        let memory = self.memory_async();
        async move {
            let parameters = read.await?.into_iter().map(f32::from_bits).collect();
            Ok(AtRest { parameters, memory: memory.await?, of, taken })
        }
    }

    /// These numbers, as those of this network after so many steps of its optimiser.
    pub(crate) fn at_rest_with(&self, parameters: Vec<f32>, memory: Vec<f32>, taken: u64) -> AtRest {
        AtRest { parameters, memory, of: self.lock().moments.of, taken }
    }

    /// What the optimiser, which was prepared, remembers of what it was at rest: zeros where it was another.
    pub(crate) fn remembers<'a>(&self, rest: &'a AtRest) -> Cow<'a, [f32]> {
        let Moments { of, len, .. } = self.lock().moments;
        if of == rest.of && rest.memory.len() == len { Cow::Borrowed(&rest.memory) } else { Cow::Owned(vec![0.0; len]) }
    }

    /// What is on the device, where the host knows it by itself.
    pub(crate) fn known(&self) -> Option<AtRest> {
        match &self.known {
            Known::Drawn { inits, seed } => {
                let parameters = Init::draw_each(inits, &self.layers, self.len, *seed);
                Some(AtRest { parameters, ..AtRest::default() })
            }
            Known::Given(rest) => Some(rest.clone()),
            Known::Nothing => None,
        }
    }

    /// The host has just written these parameters.
    pub(super) fn note_parameters(&mut self, parameters: &[f32]) {
        // The CPU backend cannot be lost.
        if self.device.kind() == "cpu" {
            return;
        }
        let (of, taken, remembers) = {
            let Moments { of, steps, len, .. } = self.lock().moments;
            (of, steps, len > 0)
        };
        self.known = match std::mem::take(&mut self.known) {
            Known::Given(rest) => Known::given(AtRest { parameters: parameters.to_vec(), ..rest }),
            // What is remembered are zeros still, with which an optimiser begins anyway.
            Known::Drawn { .. } => Known::given(AtRest { parameters: parameters.to_vec(), ..AtRest::default() }),
            Known::Nothing if !remembers => {
                Known::given(AtRest { parameters: parameters.to_vec(), memory: Vec::new(), of, taken })
            }
            Known::Nothing => Known::Nothing,
        };
    }

    /// The host has just written what the optimiser remembers, after so many steps.
    pub(super) fn note_memory(&mut self, memory: &[f32], taken: u64) {
        let of = self.lock().moments.of;
        if let Some(rest) = self.known() {
            self.known = Known::given(AtRest { memory: memory.to_vec(), of, taken, ..rest });
        }
    }

    /// The optimiser has forgotten everything.
    pub(super) fn note_forgotten(&mut self) {
        if let Known::Given(AtRest { parameters: _, memory, of, taken }) = &mut self.known {
            (*memory, *of, *taken) = (Vec::new(), None, 0);
        }
    }

    /// Writes parameters, what the optimiser remembers, and its steps: all that a run leaves.
    pub(crate) fn put(&mut self, parameters: &[f32], memory: &[f32], taken: u64) -> Result<()> {
        let (engine, shared) = self.parts();
        engine.write_f32(shared.parameters, 0, parameters)?;
        self.known = Known::Nothing;
        self.remember(memory, taken)?;
        let rest = self.at_rest_with(parameters.to_vec(), memory.to_vec(), taken);
        self.note(&rest);
        Ok(())
    }

    /// The host has just read or written all of this.
    pub(crate) fn note(&mut self, rest: &AtRest) {
        if self.device.kind() != "cpu" {
            self.known = Known::given(rest.clone());
        }
    }

    /// Puts the network on a device, with these numbers in the place of all that it had. Where that fails it is as before.
    pub(crate) fn move_to(&mut self, device: &Device, rest: &AtRest) -> Result<()> {
        let AtRest { parameters, memory, of, taken } = rest;
        let mut engine = device.engine();
        engine.counters = self.counters();
        let slot = session::parameters(&mut engine, self.len)?;
        engine.write_f32(slot, 0, parameters)?;
        let moments = Moments::new(&mut engine)?;
        let mut state =
            State { engine, parameters: slot, moments, sessions: VecDeque::new(), version: self.lock().version + 1 };
        if of.is_some() {
            state.forget(*of, memory.len() / self.len, self.len)?;
            if !memory.is_empty() {
                state.engine.write_f32(state.moments.slot, 0, memory)?;
            }
        }
        state.moments.steps = *taken;
        self.device = device.clone();
        self.state = Mutex::new(state);
        // Who moved it has them.
        self.known = Known::Nothing;
        self.host = predict::Host::default();
        Ok(())
    }
}
