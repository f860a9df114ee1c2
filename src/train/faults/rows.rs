//! Rows of a streamed data set that do not arrive: a step that is verified finds it, wherever in a buffer its rows are.

use super::run::{Place, bits};
use crate::gpu::fault::{Fault, Op, Script, begin};
use crate::plan::PlanKind;
use crate::{Activation, Cost, Dataset, Device, Error, Inputs, Network, Result, Sgd, Targets, Trainer};

/// Twenty-one mini-batches, the last of one row.
const ROWS: usize = 101;
const BATCH: usize = 5;
/// Mini-batches that each of the two buffers holds.
const HALF: usize = 6;

/// Numbers with weights, or bytes with labels: of these a mini-batch is no whole words.
fn data(bytes: bool) -> Dataset {
    let numbers = |seed: usize, count: usize| (0..count).map(move |i| ((i * 37 + seed) % 101) as f32 / 101.0);
    if bytes {
        let inputs = Inputs::U8((0..ROWS * 7).map(|i| u8::try_from(i * 59 % 251).unwrap()).collect());
        let labels = [0, 1, 2].into_iter().cycle().take(ROWS).collect();
        return Dataset::from_parts(inputs, 7, Targets::Labels { labels, classes: 3 }).unwrap();
    }
    let data = Dataset::new(numbers(1, ROWS * 7).collect(), 7, numbers(7, ROWS * 3).collect(), 3).unwrap();
    data.with_weights(numbers(5, ROWS).map(|w| w + 0.1).collect()).unwrap()
}

/// One epoch, of which every `every`th step is verified. The nth write of rows does not arrive; says how many there were.
fn run(
    device: &Device,
    kind: PlanKind,
    bytes: bool,
    every: Option<u64>,
    nth: Option<usize>,
) -> (Result<Vec<u32>>, usize) {
    let builder = Network::new(7).dense(5, Activation::Tanh).dense(3, Activation::Sigmoid);
    let mut net = builder.seed(3).plan(kind).build(device).unwrap();
    let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(0.5)).batch_size(BATCH).seed(4);
    if let Some(every) = every {
        trainer = trainer.verify_every(every);
    }
    let data = data(bytes);
    let mut run = trainer.start(&mut net, &data).unwrap();
    let plan = run.training.session().plan();
    assert!(run.training.is_streamed() && plan.held == HALF * BATCH);
    // From here on, rows are all that is written.
    run.begin().unwrap();
    let faults = nth.map(|nth| Fault::Fails { op: Op::Write, nth, times: 1 });
    begin(Script { faults: faults.into_iter().collect(), ..Script::default() });
    let ended = loop {
        match run.step_for(std::time::Duration::ZERO) {
            Ok(stepped) if stepped.epoch.is_some() => break Ok(()),
            Ok(_) => std::thread::yield_now(),
            Err(error) => break Err(error),
        }
    };
    let script = begin(Script::default());
    drop(run);
    let parameters = ended.and_then(|()| net.parameters()).map(|parameters| bits(&parameters));
    (parameters, script.counts.get(&Op::Write).copied().unwrap_or(0))
}

#[test]
fn rows_that_do_not_arrive_are_found_where_their_step_is_verified() {
    let Some(place) = Place::adapter() else { return };
    for (kind, bytes) in PlanKind::ALL.iter().flat_map(|&kind| [false, true].map(|bytes| (kind, bytes))) {
        let a_batch = if bytes { 4 * (usize::div_ceil(BATCH * 7, 4) + BATCH) } else { 4 * BATCH * 11 };
        let memory = u64::try_from((2 * HALF + 1) * a_batch).unwrap();
        let device = place.open().unwrap().with_data_memory(memory);
        let (want, writes) = run(&device, kind, bytes, None, None);
        let want = want.unwrap();
        // Without a fault no step is stopped, and every bit is as without.
        for every in [1, 2, 5] {
            assert_eq!(run(&device, kind, bytes, Some(every), None).0.unwrap(), want, "{place}, {kind}, {every}");
        }
        let (mut steps, mut unseen) = (Vec::new(), 0);
        for nth in 0..writes {
            // Nobody would know.
            let spoilt = run(&device, kind, bytes, None, Some(nth)).0.unwrap();
            match run(&device, kind, bytes, Some(1), Some(nth)).0 {
                Err(Error::WrongStep { epoch: 1, step, got, want, bound, .. }) => {
                    let is_within = (got - want).abs() <= bound;
                    assert!(!is_within);
                    steps.push(step - 1);
                }
                // What shares a word with rows that follow is sent again with these, before it is needed.
                Ok(same) if same == want && bytes => unseen += 1,
                other => panic!("{place}, {kind}, write {nth}: {other:?}"),
            }
            unseen += usize::from(spoilt == want && !bytes);
        }
        steps.dedup();
        println!(
            "{place}, {kind}, bytes {bytes}: {writes} writes, lost ones seen at steps {steps:?}, {unseen} unneeded"
        );
        let at_border = steps.iter().filter(|&&step| step % HALF == 0).count();
        assert!(at_border > 1 && steps.len() > at_border, "{steps:?}");
        assert!(if bytes { unseen < writes / 2 } else { unseen == 0 });
    }
}
