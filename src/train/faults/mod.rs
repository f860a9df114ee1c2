//! Every operation of a short run fails once, and from some point on for good: what becomes of the run.
//!
//! A run opens a device, builds a network and trains it for two epochs, its state being kept after every submission. First its
//! operations are counted, by kind; then it is repeated for each of them, with this one failing. Either the run ends with the bits of
//! the undisturbed one, or with an error that has a type, and the network then has the parameters of a moment of the undisturbed
//! run. Whatever else may happen is counted too, and has to be 0.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "tests")]

mod memory;
mod outcomes;
mod rows;
mod run;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use outcomes::{Outcomes, Undisturbed};
use run::{Case, Place, Way};

use super::rescue::{SPOIL, SPOILT};
use super::state::Rest;
use crate::gpu::fault::{Fault, Op, Script};
use crate::plan::PlanKind;
use crate::population::recovery::SPOIL as SPOIL_MANY;

/// Longer than any wait of a run under these tests; a run that takes longer hangs.
const HANG: Duration = Duration::from_secs(120);

const OPS: [(Op, &str); 9] = [
    (Op::Adapter, "adapter request"),
    (Op::Device, "device request"),
    (Op::Buffer, "buffer: out of memory"),
    (Op::Pipeline, "pipeline creation"),
    (Op::Submission, "submission"),
    (Op::Mapping, "mapping"),
    (Op::Readback, "readback"),
    (Op::Answer, "an answer that never comes"),
    (Op::Poll, "a panic inside poll"),
];

/// Which operations fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Once,
    FromThenOn,
    /// The device is lost before the operation, and says so at the next wait, or at once.
    Lost {
        noticed: bool,
    },
}

/// A row of the table: its name, how many operations there are to fail, and the fault of each.
type Row = (String, usize, Box<dyn Fn(usize) -> Fault>);

fn rows(how: How, script: &Script) -> Vec<Row> {
    match how {
        How::Lost { noticed } => {
            let name = if noticed { "device lost, noticed at once" } else { "device lost, noticed at the next wait" };
            vec![(name.to_owned(), script.on_devices, Box::new(move |nth| Fault::Lost { nth, noticed }))]
        }
        How::Once | How::FromThenOn => {
            let (times, more) = if how == How::Once { (1, "") } else { (usize::MAX, ", from then on") };
            let count = |op: Op| script.counts.get(&op).copied().unwrap_or(0);
            let row = |(op, name): (Op, &str)| -> Row {
                (format!("{name}{more}"), count(op), Box::new(move |nth| Fault::Fails { op, nth, times }))
            };
            OPS.map(row).into_iter().collect()
        }
    }
}

/// Every `stride`-th operation fails in turn. Prints the table, a row a kind of fault, and gives its sum, in which nothing is allowed
/// that is not listed there.
fn sweep(case: Case, how: How, stride: usize) -> Outcomes {
    let kind = case.kind.map_or_else(|| "its own plan".to_owned(), |kind| kind.to_string());
    let label = format!("{} | {}, {kind}", case.place, case.way);
    let (tell, told) = channel();
    // On a thread of its own, so that a hang is seen.
    let worker = std::thread::spawn(move || {
        let undisturbed = Undisturbed::of(&case);
        for (name, count, fault) in rows(how, &undisturbed.script) {
            let mut outcomes = Outcomes::default();
            for nth in (0..count).step_by(stride) {
                outcomes.add(&case, &undisturbed, &[fault(nth)]);
                let _ = tell.send(None);
            }
            let _ = tell.send(Some((name, outcomes)));
        }
    });
    let mut sum = Outcomes::default();
    loop {
        match told.recv_timeout(HANG) {
            Ok(None) => {}
            Ok(Some((name, outcomes))) => {
                println!("| {label} | {name} | {outcomes} |");
                sum.join(outcomes);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{label}: a run hangs"),
        }
    }
    worker.join().unwrap();
    assert!(sum.injected > 0, "{label}: nothing was injected");
    assert!(sum.otherwise.is_empty(), "{label}: {:#?}", sum.otherwise);
    assert_eq!(sum.refused_gone, 0, "{label}: the host knew the parameters");
    sum
}

/// All of every sweep, for the table in the documentation, in place of what a test run has time for.
fn is_all() -> bool {
    std::env::var("WGRAD_FAULTS").is_ok_and(|value| value == "all")
}

/// wgpu's calls, callbacks and errors are those of any backend here; only the numbers are none.
#[test]
fn every_operation_fails_once_where_nothing_is_computed() {
    for kind in PlanKind::ALL {
        let sum = sweep(Case::new(&Place::Noop, kind), How::Once, 1);
        // Each buffer of the plan that trains, of which the persistent one has fewest.
        assert!(sum.streamed >= 8, "{kind}: {sum:?}");
    }
    for kind in if is_all() { &PlanKind::ALL[..] } else { &[PlanKind::Fused] } {
        sweep(Case::new(&Place::Noop, *kind), How::FromThenOn, if is_all() { 1 } else { 4 });
    }
}

#[test]
fn the_device_is_lost_at_every_operation_where_nothing_is_computed() {
    for kind in PlanKind::ALL {
        for noticed in [false, true] {
            let stride = if is_all() || !noticed && kind == PlanKind::Fused { 1 } else { 4 };
            sweep(Case::new(&Place::Noop, kind), How::Lost { noticed }, stride);
        }
    }
}

#[test]
fn the_device_is_lost_at_every_operation_and_the_run_ends_with_the_same_bits() {
    let Some(place) = Place::adapter() else { return };
    for kind in PlanKind::ALL {
        let sum = sweep(Case::new(&place, kind), How::Lost { noticed: false }, if is_all() { 1 } else { 6 });
        // All but the first ones, before there is a network, and the very last.
        assert!(sum.same_bits + 6 >= sum.injected, "{place}, {kind}: {sum:?}");
        if is_all() {
            sweep(Case::new(&place, kind), How::Lost { noticed: true }, 1);
        }
    }
}

#[test]
fn every_operation_fails_once_on_an_adapter_and_the_run_ends_with_the_same_bits() {
    let Some(place) = Place::adapter() else { return };
    for kind in PlanKind::ALL {
        let stride = if is_all() { 1 } else { 8 };
        sweep(Case::new(&place, kind), How::Once, stride);
        if is_all() {
            sweep(Case::new(&place, kind), How::FromThenOn, 1);
        }
    }
}

#[test]
fn a_run_goes_on_on_the_cpu_where_it_is_allowed_and_no_device_works() {
    let Some(place) = Place::adapter() else { return };
    let mut case = Case::new(&place, PlanKind::Fused);
    case.recovery = case.recovery.allow_cpu(true);
    let sum = sweep(case, How::FromThenOn, if is_all() { 1 } else { 5 });
    assert!(sum.on_cpu > 0, "{sum:?}");
}

/// The device is lost, and then the adapter is not there, or gives no device, for some tries.
#[test]
fn a_device_that_comes_back_late_is_waited_for_so_often_and_no_more() {
    let place = Place::adapter().unwrap_or(Place::Noop);
    let case = Case::new(&place, PlanKind::Fused);
    let undisturbed = Undisturbed::of(&case);
    for (op, name) in [(Op::Adapter, "adapter"), (Op::Device, "device")] {
        for times in 1..=4 {
            let mut outcomes = Outcomes::default();
            for nth in (40..undisturbed.script.on_devices - 1).step_by(if is_all() { 1 } else { 25 }) {
                // The first request is that of the device which is lost.
                let late = Fault::Fails { op, nth: 1, times };
                outcomes.add(&case, &undisturbed, &[Fault::Lost { nth, noticed: false }, late]);
            }
            println!("| {place} | fused | device lost, then {times} times no {name} | {outcomes} |");
            let of = if times < 3 { outcomes.same_bits } else { outcomes.refused };
            assert!(
                of == outcomes.injected && of > 0 && outcomes.otherwise.is_empty(),
                "{name}, {times}: {outcomes:#?}"
            );
        }
    }
}

/// The ways of training that keep their state by themselves besides [`Trainer::fit`](crate::Trainer::fit).
const OTHER_WAYS: [Way; 3] = [Way::Slices, Way::Population { at_once: true }, Way::Population { at_once: false }];

#[test]
fn runs_in_slices_and_populations_go_on_where_nothing_is_computed() {
    for way in OTHER_WAYS {
        for how in [How::Once, How::Lost { noticed: false }, How::Lost { noticed: true }, How::FromThenOn] {
            sweep(Case::new(&Place::Noop, PlanKind::Fused).by(way), how, if is_all() { 1 } else { 5 });
        }
    }
}

#[test]
fn runs_in_slices_and_populations_end_with_the_same_bits() {
    let Some(place) = Place::adapter() else { return };
    for way in OTHER_WAYS {
        let case = Case::new(&place, PlanKind::Fused).by(way);
        let sum = sweep(case.clone(), How::Lost { noticed: false }, if is_all() { 1 } else { 11 });
        // All but those before there is a network, or before a run in slices has started.
        assert!(sum.same_bits * 10 >= sum.injected * 6, "{place}, {way}: {sum:?}");
        sweep(case.clone(), How::Once, if is_all() { 1 } else { 20 });
        if is_all() {
            sweep(case.clone(), How::Lost { noticed: true }, 1);
            sweep(case, How::FromThenOn, 1);
        }
    }
}

/// What is done to a state that is kept.
type Spoil = fn(&mut Rest);

/// The negative controls: a state that is kept not quite as it was is noticed by the comparisons above.
#[test]
fn a_recovery_that_is_off_by_a_bit_or_a_step_is_found() {
    // Of the lower ones some are rounded away within a step, and then do no harm.
    const BIT: u32 = 1 << 16;
    let Some(place) = Place::adapter() else { return };
    let spoils: [(&str, Spoil); 4] = [
        ("a bit of a parameter", |rest| {
            let w = &mut rest.net.parameters[0];
            *w = f32::from_bits(w.to_bits() ^ BIT);
        }),
        ("a bit of what the optimiser remembers", |rest| {
            let m = &mut rest.net.memory[1];
            *m = f32::from_bits(m.to_bits() ^ BIT);
        }),
        ("one step", |rest| {
            if rest.place.step > 0 {
                rest.place.step -= 1;
                rest.scores.truncate(2 * rest.place.step);
            } else {
                rest.net.taken += 1;
            }
        }),
        ("an epoch of the history", |rest| rest.record.history.epochs.clear()),
    ];
    for kind in PlanKind::ALL {
        let case = Case::new(&place, kind);
        let undisturbed = Undisturbed::of(&case);
        // In the second epoch, whose state has all that a state can have.
        let last = undisturbed.script.on_devices;
        let nths = (last * 4 / 5..last - 4).step_by(7);
        for (what, spoil) in spoils {
            SPOIL.set(Some(spoil));
            let mut outcomes = Outcomes::default();
            nths.clone().for_each(|nth| outcomes.add(&case, &undisturbed, &[Fault::Lost { nth, noticed: false }]));
            SPOIL.set(None);
            assert!(outcomes.injected > 0, "{kind}");
            assert_eq!(
                outcomes.otherwise.len(),
                outcomes.injected,
                "{place}, {kind}: {what} was not noticed: {outcomes:?}"
            );
        }
        println!("{place}, {kind}: {} spoilt states were all found", 4 * nths.len());
    }
    let case = Case::new(&place, PlanKind::Fused);
    // A run in slices has no history that it keeps.
    for (what, spoil) in &spoils[..3] {
        SPOIL.set(Some(*spoil));
        all_are_found(&case.clone().by(Way::Slices), what);
        SPOIL.set(None);
    }
    SPOIL_MANY.set(Some(|rest| rest.parameters[0] = f32::from_bits(rest.parameters[0].to_bits() ^ BIT)));
    all_are_found(&case.by(Way::Population { at_once: true }), "a bit of a parameter");
    SPOIL_MANY.set(None);
}

/// Spoilt states of a run in slices that are enough.
const ENOUGH: usize = 10;

/// Losses late in a run whose kept states are spoilt. What is lost after the last step needs no state; and a run in slices may be so fast
/// that the device is lost before a state is there, and begins again. How many operations such a run has hangs on the clock, many times
/// over: it is lost from its start on, until enough states were there.
fn all_are_found(case: &Case, what: &str) {
    let spoils = (SPOIL.take(), SPOIL_MANY.take());
    let undisturbed = Undisturbed::of(case);
    SPOIL.set(spoils.0);
    SPOIL_MANY.set(spoils.1);
    let last = undisturbed.script.on_devices;
    let (mut found, mut unspoilt) = (0, 0);
    let first = if case.way == Way::Slices { 0 } else { last * 3 / 4 };
    let nths = || (first..last - 12).step_by(3);
    for nth in nths().chain(nths()).chain(nths()) {
        if found > 0 && nth == first || case.way == Way::Slices && found == ENOUGH {
            break;
        }
        SPOILT.set(0);
        let mut outcomes = Outcomes::default();
        outcomes.add(case, &undisturbed, &[Fault::Lost { nth, noticed: false }]);
        let is_spoilt = case.way != Way::Slices || SPOILT.get() > 0;
        if is_spoilt && outcomes.lost_after == 0 {
            assert_eq!(outcomes.otherwise.len(), 1, "{case:?}: {what} was not noticed: {outcomes:?}");
            found += 1;
        } else {
            assert!(outcomes.otherwise.is_empty(), "{case:?}: nothing was spoilt: {outcomes:?}");
            unspoilt += 1;
        }
    }
    assert!(found > 0, "{case:?}: {what}: {unspoilt} runs needed no state");
    println!("{}, {}, {what}: {found} spoilt states were all found, {unspoilt} runs needed none", case.place, case.way);
}
