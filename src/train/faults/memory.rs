//! A device that has no memory for a data set: it is streamed, in halves that become smaller until there is memory for them, with the
//! bits of the resident run; and nothing of what was made in vain is kept.

use super::is_all;
use super::run::{Place, bits};
use crate::gpu::fault::{Fault, Op, Script, begin};
use crate::plan::PlanKind;
use crate::{Activation, Adam, Cost, Dataset, Device, Error, Metrics, Network, Population, Recovery, Result, Trainer};

/// Of the data set; a mini-batch has [`BATCH`].
const ROWS: usize = 61;
const BATCH: usize = 7;
/// Rows of each of the two buffers, in the order in which they are tried.
const HELD: [usize; 3] = [28, 14, 7];

fn numbers(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / 101.0).collect()
}

fn data(rows: usize) -> Dataset {
    Dataset::new(numbers(1, rows * 6), 6, numbers(7, rows * 2), 2).unwrap()
}

/// A network that has what Adam remembers already, so that a run allocates nothing of its own for it.
fn net(device: &Device, kind: PlanKind) -> Network {
    let builder = Network::new(6).dense(5, Activation::Tanh).dense(2, Activation::Sigmoid);
    let mut net = builder.seed(3).plan(kind).build(device).unwrap();
    net.update_mini_batch(&numbers(3, 6), &numbers(5, 2), Cost::Quadratic, Adam::new(0.05)).unwrap();
    net
}

fn trainer(seed: u64) -> Trainer<'static> {
    // Where the state is kept, buffers are asked for to read it.
    let trainer = Trainer::new(Cost::Quadratic, Adam::new(0.05)).recovery(Recovery::none());
    trainer.batch_size(BATCH).epochs(2).seed(seed)
}

/// What becomes of `work` where these buffers cannot be had, and how many it asked for.
fn without<T>(faults: &[Fault], work: impl FnOnce() -> T) -> (T, usize) {
    begin(Script { faults: faults.to_vec(), ..Script::default() });
    let done = work();
    let script = begin(Script::default());
    (done, script.counts.get(&Op::Buffer).copied().unwrap_or(0))
}

const fn buffers(nth: usize, times: usize) -> Fault {
    Fault::Fails { op: Op::Buffer, nth, times }
}

/// All that a run leaves, as bits.
fn fit(net: &mut Network, seed: u64) -> Result<(bool, Vec<u32>)> {
    let history = trainer(seed).fit(net, &data(ROWS), None)?;
    let mut words = bits(&net.parameters()?);
    words.extend(bits(&pollster::block_on(net.memory_async())?));
    let costs = history.epochs.iter().map(|epoch| epoch.train_cost.to_bits());
    words.extend(costs.flat_map(bytemuck::cast::<u64, [u32; 2]>));
    Ok((history.streamed, words))
}

/// Rows that an open run holds at a time, and the buffers that there are: of the network, and of the run.
fn opened(net: &mut Network) -> Result<(usize, usize)> {
    let data = data(ROWS);
    let run = trainer(5).start(net, &data)?;
    let held = run.training.session().plan().held;
    Ok((held, run.net.parts().0.live()))
}

#[test]
fn no_memory_for_the_data_ends_in_a_stream_with_the_bits_of_the_resident_run() {
    let Some(place) = Place::adapter() else { return };
    let device = place.open().unwrap();
    for kind in PlanKind::ALL {
        let ((resident, want), _) = without(&[], || fit(&mut net(&device, kind), 5).unwrap());
        assert!(!resident);
        let other = fit(&mut net(&device, kind), 6).unwrap().1;
        assert_ne!(other, want, "{kind}: the comparison sees another order");
        let mut plain = net(&device, kind);
        let before = plain.parts().0.live();
        let ((held, live), asked) = without(&[], || opened(&mut plain).unwrap());
        assert_eq!((held, plain.parts().0.live()), (ROWS, before));
        // As a run that was to be streamed from its start: the two buffers of the other half more.
        let few = device.clone().with_data_memory(u64::try_from(4 * 8 * 2 * HELD[0]).unwrap());
        let mut streams = net(&few, kind);
        assert_eq!(opened(&mut streams).unwrap(), (HELD[0], live + 2));

        let (mut streamed, mut refused) = (0, 0);
        for nth in (0..asked).step_by(if is_all() { 1 } else { 3 }) {
            // Each try ends at its first buffer that cannot be had; then what is asked for is less.
            for times in 1..=HELD.len() + 1 {
                let mut net = net(&device, kind);
                let (open, _) = without(&[buffers(nth, times)], || opened(&mut net));
                assert_eq!(net.parts().0.live(), before, "{place}, {kind}: buffers of a run that is over");
                let ran = without(&[buffers(nth, times)], || fit(&mut net, 5)).0;
                match HELD.get(times - 1) {
                    Some(&held) => {
                        assert_eq!(open.unwrap(), (held, live + 2), "{place}, {kind}, buffer {nth}, {times} times");
                        assert_eq!(ran.unwrap(), (true, want.clone()), "{place}, {kind}, buffer {nth}, {times} times");
                        streamed += 1;
                    }
                    None => {
                        for error in [open.err(), ran.err()] {
                            let typed = matches!(&error, Some(Error::OutOfMemory { bytes, .. }) if *bytes > 0);
                            assert!(typed, "{place}, {kind}, buffer {nth}: {error:?}");
                        }
                        // The network is as it was.
                        assert_eq!(fit(&mut net, 5).unwrap(), (false, want.clone()));
                        refused += 1;
                    }
                }
                assert_eq!(net.parts().0.live(), before, "{place}, {kind}: buffers are left");
            }
        }
        println!("{place}, {kind} plan: {asked} buffers, {streamed} streamed, {refused} refused, none left over");
        assert!(asked >= 8 && refused >= asked / 3 && streamed == HELD.len() * refused);
    }
}

/// A device is lost later in such a run, which then goes on with another, that has memory or has none.
#[test]
fn a_run_that_has_to_stream_recovers_with_the_same_bits() {
    use super::outcomes::{Outcomes, Undisturbed};
    use super::run::Case;
    let Some(place) = Place::adapter() else { return };
    for kind in PlanKind::ALL {
        let case = Case::new(&place, kind);
        let undisturbed = Undisturbed::of(&case);
        // The first buffers are the network's.
        let Some(first) = (0..20).find(|&nth| {
            let mut outcomes = Outcomes::default();
            outcomes.add(&case, &undisturbed, &[buffers(nth, 1)]);
            outcomes.streamed == 1
        }) else {
            panic!("{place}, {kind}: no buffer's lack ends in a stream")
        };
        let mut outcomes = Outcomes::default();
        for nth in (undisturbed.script.on_devices / 2..undisturbed.script.on_devices - 4).step_by(9) {
            let lost = Fault::Lost { nth, noticed: false };
            outcomes.add(&case, &undisturbed, &[buffers(first, 1), lost]);
        }
        println!("| {place} | {kind} | no memory, then lost | {outcomes} |");
        assert!(outcomes.injected > 2 && outcomes.same_bits == outcomes.injected, "{place}, {kind}: {outcomes:?}");
    }
}

#[test]
fn no_memory_for_an_evaluation_gives_the_same_bits() {
    let Some(place) = Place::adapter() else { return };
    let device = place.open().unwrap();
    // Three steps of an evaluation, of which two may be held.
    let tested = data(2500);
    for kind in PlanKind::ALL {
        let mut net = net(&device, kind);
        let before = net.parts().0.live();
        let metrics = |net: &Network| net.metrics(&tested, Cost::Quadratic);
        let (want, asked) = without(&[], || metrics(&net).unwrap());
        let (mut same, mut refused) = (0, 0);
        for nth in (0..asked).step_by(if is_all() { 1 } else { 2 }) {
            let got: Result<Metrics> = without(&[buffers(nth, 1)], || metrics(&net)).0;
            match got {
                Ok(got) => {
                    assert_eq!(got, want, "{place}, {kind}, buffer {nth}");
                    same += 1;
                }
                // A readback.
                Err(Error::OutOfMemory { what, .. }) if what == "a readback" => refused += 1,
                Err(error) => panic!("{place}, {kind}, buffer {nth}: {error}"),
            }
            assert_eq!(net.parts().0.live(), before, "{place}, {kind}: buffers are left");
        }
        println!("{place}, {kind} plan: {same} evaluations streamed, {refused} readbacks refused");
        assert!(same >= 8 && refused <= 3, "{same}, {refused}");
    }
}

/// A population that finds no memory for all of its networks at once is trained in smaller groups.
#[test]
fn no_memory_for_a_population_gives_the_same_bits_of_fewer_at_once() {
    let Some(place) = Place::adapter() else { return };
    let device = place.open().unwrap();
    let population = || {
        let mut population = Population::new(&device, Cost::Quadratic).batch_size(BATCH).epochs(2);
        for member in 0..5_u8 {
            let builder = Network::new(6).dense(5, Activation::Tanh).dense(2, Activation::Sigmoid);
            population.add(builder.seed(u64::from(member)), Adam::new(0.05), member.into()).unwrap();
        }
        population.recovery(Recovery::none())
    };
    let ran = |faults: &[Fault]| {
        let mut population = population();
        let (report, asked) = without(faults, || population.fit(&data(ROWS)));
        let report = report.map(|report| {
            let nets = population.networks().iter().map(|net| bits(&net.parameters().unwrap())).collect::<Vec<_>>();
            (report.at_once, report.plan, nets, report.members.len())
        });
        (report, asked)
    };
    let (want, asked) = ran(&[]);
    let (at_once, plan, nets, members) = want.unwrap();
    if plan != PlanKind::Persistent {
        // Its kernel binds eight buffers.
        println!("{place}: no population at once");
        return;
    }
    assert_eq!((at_once, members), (5, 5));
    let (mut fewer, mut refused) = (0, 0);
    for nth in 0..asked {
        // Of five at once two are left, then one.
        for (times, left) in [(1, Some(2)), (2, Some(1)), (3, None)] {
            match (ran(&[buffers(nth, times)]).0, left) {
                (Ok((at_once, _, got, 5)), Some(left)) => {
                    assert!(at_once == left && got == nets, "{place}, buffer {nth}, {times} times: {at_once} at once");
                    fewer += 1;
                }
                (Err(Error::OutOfMemory { .. }), _) => refused += 1,
                (got, _) => panic!("{place}, buffer {nth}, {times} times: {got:?}"),
            }
        }
    }
    println!("{place}: {asked} buffers, {fewer} times in smaller groups, {refused} refused");
    assert!(fewer >= 10, "{fewer} of {asked}");
}

/// After an error that nobody helps with it is open what the device has done: a run in slices says that it is over, and neither does
/// other steps than it reports, nor none for ever, nor saves what it does not know.
#[test]
fn a_run_in_slices_that_failed_is_over() {
    let Some(place) = Place::adapter() else { return };
    let device = place.open().unwrap();
    let data = data(ROWS);
    let (mut over, mut done) = (0, 0);
    for op in [Op::Buffer, Op::Mapping, Op::Readback, Op::Submission] {
        for nth in 0..12 {
            let mut net = net(&device, PlanKind::Fused);
            let mut run = trainer(5).verify_every(2).start(&mut net, &data).unwrap();
            begin(Script { faults: vec![Fault::Fails { op, nth, times: 1 }], ..Script::default() });
            let mut epochs = 0;
            let failed = loop {
                match run.step_for(std::time::Duration::ZERO) {
                    Ok(stepped) => epochs += usize::from(stepped.epoch.is_some()),
                    Err(error) => break Some(error),
                }
                if epochs == 2 {
                    break None;
                }
            };
            begin(Script::default());
            let Some(first) = failed else {
                done += 1;
                continue;
            };
            for error in [run.step_for(std::time::Duration::ZERO).err(), run.to_bytes().err()] {
                let told = error.map(|error| error.to_string()).unwrap_or_default();
                assert!(told.contains("the run is over") && told.contains(&first.to_string()), "{op:?} {nth}: {told}");
            }
            over += 1;
        }
    }
    println!("{place}: {over} runs over, {done} went on");
    assert!(over >= 20, "{over}");
}
