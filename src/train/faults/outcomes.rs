//! What became of runs with faults, and what may.

use std::collections::HashSet;

use super::run::{Case, EPOCHS, Place, STEPS, Way, bits};
use crate::gpu::fault::{Fault, Op, Script, begin};
use crate::{Device, Error, History};

/// What an undisturbed run comes to, and what it passes through.
pub(super) struct Undisturbed {
    pub(super) state: Vec<u32>,
    memory: Vec<u32>,
    histories: Vec<History>,
    /// The parameters of each network after each step, and before the first.
    moments: HashSet<Vec<u32>>,
    /// How many of them a network has.
    len: usize,
    pub(super) script: Script,
}

/// Without what depends on the clock, and on whether the data were streamed.
fn untimed(histories: &[History]) -> Vec<History> {
    let mut histories = histories.to_vec();
    for history in &mut histories {
        history.streamed = false;
    }
    for epoch in histories.iter_mut().flat_map(|history| &mut history.epochs) {
        (epoch.seconds, epoch.steps_per_second) = (0.0, 0.0);
    }
    histories
}

impl Undisturbed {
    pub(super) fn of(case: &Case) -> Self {
        let ran = case.run(Script::default());
        assert_eq!(ran.kept(), 0, "{case:?}: wgpu keeps what nobody has any more");
        let histories = untimed(&ran.result.unwrap().unwrap());
        let (mut moments, mut len) = (HashSet::new(), 0);
        for alone in (1..=STEPS).flat_map(|steps| case.alone(steps)) {
            let ran = alone.run(Script::default());
            ran.result.unwrap().unwrap();
            moments.insert(ran.state.unwrap().unwrap());
            begin(Script::default());
            let begun = bits(&alone.net().build(&Device::cpu()).unwrap().parameters().unwrap());
            len = begun.len();
            moments.insert(begun);
        }
        let (state, memory) = (ran.state.unwrap().unwrap(), ran.memory.unwrap());
        if case.place != Place::Noop {
            let networks = state.len() / len;
            assert_eq!(moments.len(), networks * (0..=STEPS).count(), "each step moves the parameters");
            assert!(state.chunks(len).all(|state| moments.contains(state)), "{case:?}: other bits than alone");
        }
        Self { state, memory, histories, moments, len, script: ran.script }
    }

    /// Whether each network is as it was at some moment of this run.
    fn passed(&self, state: &[u32]) -> bool {
        state.chunks(self.len).all(|state| self.moments.contains(state))
    }
}

/// What became of the runs with one kind of fault.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) injected: usize,
    /// The run ended with the bits of the undisturbed one.
    pub(super) same_bits: usize,
    /// So many of these streamed their data, for which there was no memory.
    pub(super) streamed: usize,
    /// The run ended on the CPU, near the undisturbed one.
    pub(super) on_cpu: usize,
    /// An error with a type; the network has the parameters of a moment of the undisturbed run, or was not built yet.
    pub(super) refused: usize,
    /// An error with a type, before the run had begun to keep its state: parameters are an error too.
    pub(super) refused_gone: usize,
    /// The run ended as the undisturbed one, and the device was lost then.
    pub(super) lost_after: usize,
    /// Anything else, in words.
    pub(super) otherwise: Vec<String>,
}

impl std::fmt::Display for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { injected, same_bits, streamed, on_cpu, refused, refused_gone, lost_after, otherwise } = self;
        let otherwise = otherwise.len();
        write!(
            f,
            "{injected} | {same_bits} ({streamed} streamed) | {on_cpu} | {refused} | {refused_gone} | {lost_after} | {otherwise}"
        )
    }
}

impl Outcomes {
    pub(super) fn join(&mut self, other: Self) {
        let Self { injected, same_bits, streamed, on_cpu, refused, refused_gone, lost_after, otherwise } = other;
        self.injected += injected;
        self.same_bits += same_bits;
        self.streamed += streamed;
        self.on_cpu += on_cpu;
        self.refused += refused;
        self.refused_gone += refused_gone;
        self.lost_after += lost_after;
        self.otherwise.extend(otherwise);
    }

    pub(super) fn add(&mut self, case: &Case, undisturbed: &Undisturbed, faults: &[Fault]) {
        let script = Script { faults: faults.to_vec(), ..Script::default() };
        let ran = case.run(script);
        let is_same = match (&ran.result, &ran.state) {
            (Some(Ok(histories)), Some(Ok(state))) => {
                *state == undisturbed.state
                    && ran.memory.as_ref() == Some(&undisturbed.memory)
                    && untimed(histories) == undisturbed.histories
            }
            _ => false,
        };
        // How often a run in slices asks for its state hangs on the clock: it may have had fewer operations this time.
        if ran.script.struck == 0 && case.way == Way::Slices && is_same {
            return;
        }
        if ran.script.struck == 0 {
            return self.otherwise.push(format!("{faults:?} was not injected"));
        }
        self.injected += 1;
        // A silent device is let go of by nobody, since that would wait for it.
        let is_hung = faults.iter().any(|fault| matches!(fault, Fault::Fails { op: Op::Answer, .. }));
        let kept = if is_hung { 0 } else { ran.kept() };
        if kept > 0 {
            self.otherwise.push(format!("{faults:?}: wgpu keeps {kept} things"));
        }
        let is_typed = |error: &Error| {
            let own = matches!(
                error,
                Error::DeviceLost { .. }
                    | Error::Gpu { .. }
                    | Error::Timeout { .. }
                    | Error::OutOfMemory { .. }
                    | Error::NoAdapter { .. }
                    | Error::Device { .. }
                    | Error::NotRecovered { .. }
                    | Error::ParametersLost { .. }
            );
            own && !error.to_string().is_empty()
        };
        match (&ran.result, &ran.state) {
            (Some(Ok(histories)), Some(Ok(state))) if ran.is_on_cpu && case.place != Place::Noop => {
                let off = |(&a, &b): (&u32, &u32)| (f32::from_bits(a) - f32::from_bits(b)).abs();
                let off = state.iter().zip(&undisturbed.state).map(off).fold(0.0, |worst: f32, off| worst.max(off));
                if off <= 1e-4 && histories.iter().all(|history| history.epochs.len() == EPOCHS) {
                    self.on_cpu += 1;
                } else {
                    self.otherwise.push(format!("{faults:?}: the CPU ended {off} from the undisturbed run"));
                }
            }
            (Some(Ok(_)), Some(Ok(_))) if ran.is_on_cpu => self.on_cpu += 1,
            (Some(Ok(histories)), Some(Ok(state))) => {
                let is_streamed = histories.iter().any(|history| history.streamed);
                let is_full = faults.iter().any(|fault| matches!(fault, Fault::Fails { op: Op::Buffer, .. }));
                let is_known =
                    ran.memory.is_none() && *state == undisturbed.state && untimed(histories) == undisturbed.histories;
                if is_streamed && !is_full {
                    self.otherwise.push(format!("{faults:?}: streamed, though there was memory"));
                } else if is_known {
                    // The host knows the parameters; what the optimiser remembers cannot be asked for.
                    self.lost_after += 1;
                } else if is_same {
                    self.same_bits += 1;
                    self.streamed += usize::from(is_streamed);
                } else {
                    self.otherwise.push(format!("{faults:?}: the run ended with other bits"));
                }
            }
            (Some(Err(error)), Some(Ok(state))) if is_typed(error) && undisturbed.passed(state) => self.refused += 1,
            (Some(Err(error)), None) if is_typed(error) => self.refused += 1,
            (Some(Err(error)), Some(Err(gone)))
                if is_typed(error) && is_typed(gone) && !matches!(error, Error::NotRecovered { .. }) =>
            {
                self.refused_gone += 1;
            }
            (None, _) => self.otherwise.push(format!("{faults:?}: a panic")),
            (Some(Ok(histories)), Some(Err(gone))) if is_typed(gone) && untimed(histories) == undisturbed.histories => {
                self.lost_after += 1;
            }
            (Some(result), Some(state)) => {
                let state = state.as_ref().map(|_| "parameters of no moment of the undisturbed run");
                self.otherwise.push(format!("{faults:?}: {:?}, {state:?}", result.as_ref().err()));
            }
            (Some(result), None) => self.otherwise.push(format!("{faults:?}: {:?}", result.as_ref().err())),
        }
    }
}
