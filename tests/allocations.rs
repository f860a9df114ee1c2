//! On the CPU a training step allocates nothing, once the first ones are done, nor does a prediction of few rows for any device; and what
//! loading a file allocates is bounded by the file.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was counted is the result of this test")]
#![allow(unsafe_code, reason = "an allocator cannot be counted without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

mod common;
#[path = "checkpoint/make.rs"]
#[allow(dead_code, reason = "its forgery is all that is needed here")]
mod make;

use wgrad::data::{Dataset, Preparation, Table};
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Adam, Cost, Device, EarlyStopping, Metric, Network, Optimizer, Plateau, Sgd, Trainer, Training,
};

/// Allocations of all threads.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Bytes allocated now, and at most since this was set.
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Allocations of this thread.
    static OWN: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        OWN.set(OWN.get() + 1);
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that is asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What all threads allocated meanwhile.
fn counted(work: impl FnOnce()) -> u64 {
    let before = COUNT.load(Ordering::Relaxed);
    work();
    COUNT.load(Ordering::Relaxed) - before
}

/// What this thread allocated, and what all did.
fn counted_here(work: impl FnOnce()) -> (u64, u64) {
    let before = OWN.get();
    let all = counted(work);
    (OWN.get() - before, all)
}

/// That this does not allocate, however often. Threads that have nothing to do with it may: the team of a dropped device as its threads
/// end, the harness as it waits. So what all threads did must be nothing in one try of five, what this one did in each.
fn nothing_allocated(what: &str, mut work: impl FnMut()) {
    let tries = [(); 5].map(|()| {
        std::thread::sleep(Duration::from_millis(1));
        counted_here(&mut work)
    });
    println!("{what}: allocations (here, everywhere): {tries:?}");
    assert!(tries.iter().all(|&(here, _)| here == 0), "{what}: {tries:?}");
    assert!(tries.iter().any(|&(_, everywhere)| everywhere == 0), "{what}: {tries:?}");
}

/// Bytes that were allocated at one time, beyond those before.
fn most_bytes(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed) - before
}

/// Predictions into numbers that are there already, on every device.
fn predictions_allocate_nothing() {
    for device in common::devices() {
        let net =
            Network::new(50).dense(20, Activation::Tanh).dense(3, Activation::Softmax).build(&device).expect("a net");
        for rows in [1, 7, 16] {
            let (x, mut outputs) = (vec![0.5; 50 * rows], vec![0.0; 3 * rows]);
            let mut predict = || net.predict_into(&x, &mut outputs).expect("outputs");
            predict();
            nothing_allocated(&format!("50 predictions of {rows} rows on {device}"), || {
                (0..50).for_each(|_| predict())
            });
        }
    }
}

/// Files that were made to cost more memory than they have bytes.
fn loading_is_bounded() {
    let net = |inputs| Network::new(inputs).dense(100, Activation::Tanh).dense(2, Activation::Softmax);
    let table = Table::new("t").with_numbers("a", [1.0, 2.0, 3.0]).and_then(|t| t.with_texts("b", ["x", "y", "x"]));
    let preparation = Preparation::new("b").fit(&table.expect("a table")).expect("a preparation");
    let mut small = net(1).build(&Device::cpu()).expect("a net");
    small.set_preparation(preparation).expect("it fits");
    let small = small.to_bytes().expect("bytes");
    let swollen = |from: &'static str, to: String| {
        make::forged(&small, move |header, _| {
            assert!(header.contains(from), "{header}");
            *header = header.replacen(from, &to, 1);
        })
    };
    let words = r#"\"missing_words\":["#;
    for (what, bytes, loads) in [
        ("a net", net(300).build(&Device::cpu()).expect("a net").to_bytes().expect("bytes"), true),
        ("empty words", swollen(words, format!("{words}{}", r#"\"\","#.repeat(300_000))), true),
        ("empty words without end", swollen(words, format!("{words}{}7", r#"\"\","#.repeat(300_000))), false),
        (
            "layers",
            swollen(
                r#"\"layers\":["#,
                format!(
                    r#"\"layers\":[{}"#,
                    r#"{\"outputs\":1,\"activation\":\"tanh\",\"dropout\":0},"#.repeat(50_000)
                ),
            ),
            false,
        ),
        (
            "tensors",
            swollen(
                r#""layers.0.bias":"#,
                (0..50_000)
                    .map(|i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},"#))
                    .collect::<String>()
                    + r#""layers.0.bias":"#,
            ),
            false,
        ),
        (
            "keys",
            swollen(
                r#"{"wgrad":"#,
                format!(r#"{{{}"wgrad":"#, (0..50_000).map(|i| format!(r#""{i}":"","#)).collect::<String>()),
            ),
            false,
        ),
    ] {
        let mut loaded = false;
        let most = most_bytes(|| loaded = Network::from_bytes(&bytes, &Device::cpu()).is_ok());
        bounded(what, most, &bytes);
        assert_eq!(loaded, loads, "{what}");
    }
    let epoch = r#"{"epoch":1,"steps":1,"eta":1,"train_cost":1,"train_accuracy":1,"seconds":1,"steps_per_second":1}"#;
    for (what, from, to, loads) in [
        ("a run", "", String::new(), true),
        (
            "epochs of a run",
            r#""epochs":["#,
            format!(r#""epochs":[{epoch}{}"#, format!(",{epoch}").repeat(30_000)),
            true,
        ),
        ("epochs without end", r#""epochs":["#, format!(r#""epochs":[{}"#, format!("{epoch},").repeat(30_000)), false),
        ("brackets", r#""epochs":["#, format!(r#""epochs":[{}"#, "[".repeat(300_000)), false),
        ("schedules", r#""schedule":"#, format!(r#""schedule":{}"#, r#"{"warm-up":{"then":"#.repeat(50_000)), false),
        ("keys", r#"{"settings""#, format!(r#"{{{}"settings""#, r#""a":0,"#.repeat(50_000)), false),
    ] {
        let bytes = swollen_run(from, &to);
        let mut loaded = false;
        let most = most_bytes(|| loaded = Trainer::from_bytes(&bytes, &Device::cpu()).is_ok());
        bounded(what, most, &bytes);
        assert_eq!(loaded, loads, "{what}");
    }
}

/// A run whose text, which is the last of its tensors, has something else in the place of something.
fn swollen_run(from: &str, to: &str) -> Vec<u8> {
    let mut net = make::net(&Device::cpu(), PlanKind::Fused, 0.0);
    let mut run = make::trainer(Adam::new(0.01).into());
    run = run.keep_best(Metric::TrainCost).early_stopping(EarlyStopping::new(4).metric(Metric::TrainCost));
    run = run.plateau(Plateau::new(4).metric(Metric::TrainCost));
    let bytes = run.start(&mut net, &make::data(make::ROWS, 1)).and_then(|mut run| run.to_bytes()).expect("bytes");
    make::forged(&bytes, |header, data| {
        let tensor = |len: usize, start: usize, end: usize| {
            format!(r#""training":{{"dtype":"U8","shape":[{len}],"data_offsets":[{start},{end}]}}"#)
        };
        let text = data.windows(12).position(|window| window == br#"{"settings":"#).expect("its text");
        let changed = String::from_utf8(data.split_off(text)).expect("text");
        let old = tensor(changed.len(), text, text + changed.len());
        assert!(header.contains(&old) && changed.contains(from), "{header} {changed}");
        let changed = changed.replacen(from, to, 1);
        *header = header.replacen(&old, &tensor(changed.len(), text, text + changed.len()), 1);
        data.extend(changed.bytes());
    })
}

/// That loading took at most 32 times what the file has.
fn bounded(what: &str, most: usize, bytes: &[u8]) {
    let ratio = most as f64 / bytes.len() as f64;
    println!("{what}: {most} bytes for a file of {}, {ratio:.1} times as much", bytes.len());
    assert!(most <= 32 * bytes.len(), "{what}: {most} bytes for {}", bytes.len());
}

fn data(rows: usize, inputs: usize) -> Dataset {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let x = (0..rows * inputs).map(|i| (i % 251) as f32 / 251.0).collect();
    let labels = (0..rows).map(|row| u32::try_from(row % 3).expect("small")).collect();
    Dataset::with_labels(x, inputs, labels, 3).expect("data")
}

/// A run of training far enough from its start that all it needs is there, and far from the end of its epoch.
fn with_run(
    widths: [usize; 2],
    batch: usize,
    device: &Device,
    optimizer: impl Into<Optimizer>,
    work: impl FnOnce(&mut Training<'_>),
) {
    let data = data(batch * 1000, widths[0]);
    let mut net = Network::new(widths[0])
        .dense(widths[1], Activation::Sigmoid)
        .dense(3, Activation::Sigmoid)
        .build(device)
        .expect("a network");
    let trainer = Trainer::new(Cost::Quadratic, optimizer).batch_size(batch);
    let mut run = trainer.start(&mut net, &data).expect("a run of training");
    for _ in 0..20 {
        step(&mut run);
    }
    work(&mut run);
}

fn step(run: &mut Training<'_>) {
    assert_eq!(run.step_for(Duration::ZERO).expect("a step").steps, 1);
}

/// One test, so that no other test allocates meanwhile.
#[test]
fn steps_allocate_nothing() {
    // Negative control: what does allocate is counted.
    let some = || (0..50).for_each(|i| drop(std::hint::black_box(vec![i; 10])));
    let (here, everywhere) = counted_here(some);
    assert!(here >= 50 && everywhere >= here, "{here}, {everywhere}");
    let (here, everywhere) = counted_here(|| std::thread::scope(|scope| drop(scope.spawn(some).join())));
    assert!(here < 50 && everywhere >= here + 50, "{here}, {everywhere}");

    for optimizer in [Optimizer::from(Sgd::new(0.1)), Adam::new(0.01).into()] {
        with_run([50, 20], 10, &Device::cpu(), optimizer, |run| {
            nothing_allocated(&format!("50 steps of 50-20-3, {optimizer:?}"), || (0..50).for_each(|_| step(run)));
        });
    }
    // Beyond what one thread does. To hand a submission to the team may allocate, and so may a thread with its first piece;
    // a step may not.
    with_run([300, 100], 64, &Device::cpu_with_threads(2), Sgd::new(0.1), |run| {
        let single = counted(|| (0..50).for_each(|_| step(run)));
        let mut steps = 0;
        let many = counted(|| steps = run.step_for(Duration::from_millis(100)).expect("steps").steps);
        println!("300-100-3 on two threads: {single} allocations in 50 submissions, {many} in one of {steps} steps");
        assert!(single <= 16 && steps > 50 && many <= 16, "{single}, {many}, {steps}");
    });

    predictions_allocate_nothing();
    loading_is_bounded();
}
