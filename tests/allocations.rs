//! On the CPU a training step allocates nothing, once the first ones are done.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was counted is the result of this test")]
#![allow(unsafe_code, reason = "an allocator cannot be counted without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wgrad::data::Dataset;
use wgrad::{Activation, Adam, Cost, Device, Network, Optimizer, Sgd, Trainer};

static COUNT: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that is asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn counted(work: impl FnOnce()) -> u64 {
    let before = COUNT.load(Ordering::Relaxed);
    work();
    COUNT.load(Ordering::Relaxed) - before
}

fn data(rows: usize, inputs: usize) -> Dataset {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let x = (0..rows * inputs).map(|i| (i % 251) as f32 / 251.0).collect();
    let labels = (0..rows).map(|row| u32::try_from(row % 3).expect("small")).collect();
    Dataset::with_labels(x, inputs, labels, 3).expect("data")
}

/// Allocations of so many calls of `step_for`, a step each, in the middle of an epoch; and of one call that trains for long.
fn of_steps(widths: [usize; 2], batch: usize, device: &Device, optimizer: impl Into<Optimizer>) -> (u64, u64, usize) {
    let data = data(batch * 400, widths[0]);
    let mut net = Network::new(widths[0])
        .dense(widths[1], Activation::Sigmoid)
        .dense(3, Activation::Sigmoid)
        .build(device)
        .expect("a network");
    let mut run =
        Trainer::new(Cost::Quadratic, optimizer).batch_size(batch).start(&mut net, &data).expect("a run of training");
    let mut step = |budget| run.step_for(budget).expect("a step").steps;
    for _ in 0..20 {
        step(Duration::ZERO);
    }
    let single = counted(|| (0..50).for_each(|_| assert_eq!(step(Duration::ZERO), 1)));
    let mut steps = 0;
    let many = counted(|| steps = step(Duration::from_millis(200)));
    (single, many, steps)
}

/// One test, so that no other thread allocates meanwhile.
#[test]
fn steps_allocate_nothing() {
    // Negative control: what does allocate is counted.
    let control = counted(|| (0..50).for_each(|i| drop(std::hint::black_box(vec![i; 10]))));
    assert!(control >= 50, "{control}");

    for optimizer in [Optimizer::from(Sgd::new(0.1)), Adam::new(0.01).into()] {
        let (single, _, _) = of_steps([50, 20], 10, &Device::cpu(), optimizer);
        println!("50-20-3, {optimizer:?}: {single} allocations in 50 steps");
        assert_eq!(single, 0);
    }
    // Beyond what one thread does. To hand a submission to the team may allocate, and so may a thread with its first piece;
    // a step may not.
    let (single, many, steps) = of_steps([300, 100], 64, &Device::cpu_with_threads(2), Sgd::new(0.1));
    println!("300-100-3 on two threads: {single} allocations in 50 submissions, {many} in one of {steps} steps");
    assert!(single <= 16 && steps > 50 && many <= 16, "{single}, {many}, {steps}");
}
