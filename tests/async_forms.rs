//! The async forms on executors that know nothing of wgrad: they wait without blocking, are woken, and give the same bits.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "what was counted, and where, is the result of these tests")]

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common::nets::{Arch, bits};
use wgrad::plan::PlanKind;
use wgrad::{Activation, Cost, Dataset, Device, Network, Sgd, Trainer};

/// Longer than anything here takes; a future that is not woken by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

/// What an executor saw of a future.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    polls: usize,
    pending: usize,
    wakes: usize,
    longest_poll: Duration,
    whole: Duration,
}

/// Wakes the one thread of [`run`], and counts how often.
struct Bell {
    wakes: AtomicUsize,
    sender: mpsc::Sender<()>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        // Nobody may be listening any more.
        let _ = self.sender.send(());
    }
}

/// An executor of one thread that polls only when it was woken.
fn run<F: Future>(future: F) -> (F::Output, Seen) {
    let (sender, receiver) = mpsc::channel();
    let bell = Arc::new(Bell { wakes: AtomicUsize::new(0), sender });
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    let mut seen = Seen::default();
    let start = Instant::now();
    loop {
        let poll = Instant::now();
        let state = future.as_mut().poll(&mut Context::from_waker(&waker));
        seen.polls += 1;
        seen.longest_poll = seen.longest_poll.max(poll.elapsed());
        if let Poll::Ready(value) = state {
            seen.wakes = bell.wakes.load(Ordering::SeqCst);
            seen.whole = start.elapsed();
            return (value, seen);
        }
        seen.pending += 1;
        receiver.recv_timeout(PATIENCE).expect("a future that is pending is woken");
    }
}

/// Polls a future once and drops it.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Two futures at once, on one thread.
fn join<A: Future, B: Future>(a: A, b: B) -> impl Future<Output = (A::Output, B::Output)> {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut a_is, mut b_is) = (None, None);
    std::future::poll_fn(move |context| {
        fn poll<F: Future>(future: &mut Pin<Box<F>>, is: &mut Option<F::Output>, context: &mut Context<'_>) {
            if is.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *is = Some(value);
            }
        }
        poll(&mut a, &mut a_is, context);
        poll(&mut b, &mut b_is, context);
        match (a_is.take(), b_is.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (a_is, b_is) = (a, b);
                Poll::Pending
            }
        }
    })
}

fn arch() -> Arch {
    Arch::new(12, &[(20, Activation::Tanh), (4, Activation::Softmax)], Cost::CategoricalCrossEntropy)
}

fn data(rows: usize, seed: u64) -> Dataset {
    let (x, y) = arch().data(rows, seed);
    Dataset::new(x, 12, y, 4).expect("data")
}

fn trainer<'a>() -> Trainer<'a> {
    Trainer::new(Cost::CategoricalCrossEntropy, Sgd::new(0.2)).batch_size(8).epochs(3)
}

/// All that can be asked of a network, by one kind of executor, as bits.
async fn all(net: &mut Network) -> wgrad::Result<Vec<Vec<u32>>> {
    let ((x, y), data, cost) = (arch().data(20, 4), data(50, 5), arch().cost);
    let history = trainer().fit_async(net, &data, Some(&data)).await?;
    net.update_mini_batch(&x, &y, cost, Sgd::new(0.1))?;
    net.finish_async().await?;
    let evaluation = net.evaluate_async(&data, cost).await?;
    let gradients = net.gradients_async(&x, &y, cost).await?;
    let costs = history.epochs.iter().flat_map(|epoch| [epoch.train_cost, epoch.test.expect("a test").cost]);
    let numbers = costs.chain([evaluation.cost, evaluation.accuracy]);
    Ok(vec![
        bits(&net.parameters_async().await?),
        bits(&net.predict_async(&x).await?),
        bits(&[net.cost_async(&x, &y, cost).await?, gradients.cost]),
        bits(gradients.as_slice()),
        numbers.flat_map(|x| [x.to_bits() as u32, (x.to_bits() >> 32) as u32]).collect(),
    ])
}

/// The same by the blocking forms.
fn all_blocking(net: &mut Network) -> wgrad::Result<Vec<Vec<u32>>> {
    let ((x, y), data, cost) = (arch().data(20, 4), data(50, 5), arch().cost);
    let history = trainer().fit(net, &data, Some(&data))?;
    net.update_mini_batch(&x, &y, cost, Sgd::new(0.1))?;
    net.finish()?;
    let evaluation = net.evaluate(&data, cost)?;
    let gradients = net.gradients(&x, &y, cost)?;
    let costs = history.epochs.iter().flat_map(|epoch| [epoch.train_cost, epoch.test.expect("a test").cost]);
    let numbers = costs.chain([evaluation.cost, evaluation.accuracy]);
    Ok(vec![
        bits(&net.parameters()?),
        bits(&net.predict(&x)?),
        bits(&[net.cost(&x, &y, cost)?, gradients.cost]),
        bits(gradients.as_slice()),
        numbers.flat_map(|x| [x.to_bits() as u32, (x.to_bits() >> 32) as u32]).collect(),
    ])
}

#[test]
fn async_forms_give_the_bits_of_the_blocking_ones() {
    for (device, kind) in common::devices_and_plans() {
        let build = || arch().build(&device, kind, 1);
        let want = all_blocking(&mut build()).expect("the blocking forms");
        let pollster = pollster::block_on(all(&mut build())).expect("the async forms");
        assert!(pollster == want, "{device}, {kind} plan");
        // Whether an answer is there already when it is asked for is chance, so one run that waits is enough.
        let waits = device.kind() != "cpu" && !device.adapter().contains("(gl,");
        let mut tries = 0;
        let seen = loop {
            let (own, seen) = run(all(&mut build()));
            assert!(own.expect("the async forms") == want, "{device}, {kind} plan");
            tries += 1;
            if !waits || seen.pending > 0 || tries == 20 {
                break seen;
            }
        };
        // The comparison can fail.
        let other = pollster::block_on(all(&mut arch().build(&device, kind, 2))).expect("the async forms");
        assert!(other.iter().zip(&want).all(|(a, b)| a != b), "{device}, {kind} plan");
        if device.kind() == "cpu" {
            assert_eq!((seen.polls, seen.pending), (1, 0), "the CPU backend has nothing to wait for");
        } else if waits {
            // By OpenGL, software does the work within the call that submits it.
            assert!(seen.pending > 0 && seen.wakes >= seen.pending, "{device}: it never waited: {seen:?}");
        }
        println!("{device}, {kind} plan: {} arrays alike; {seen:?}", want.len());
    }
}

/// A readback behind a long queue of work answers at once that it is not there yet, and wakes its task when it is. Software
/// drivers do the earlier work within the call that submits the readback's copy, so that there little is left to wait for.
#[test]
fn a_readback_behind_long_work_is_pending_and_wakes() {
    for device in common::adapters() {
        let arch = Arch::new(256, &[(256, Activation::Tanh), (10, Activation::Softmax)], arch().cost);
        let (x, y) = arch.data(64, 7);
        let most = if device.is_software() { 4 } else { 4096 };
        let [mut net, mut twin] = [1, 1].map(|seed| arch.build(&device, PlanKind::Fused, seed));
        let mut steps = 1;
        let seen = loop {
            let train = |net: &mut Network| {
                for _ in 0..steps {
                    net.update_mini_batch(&x, &y, arch.cost, Sgd::new(0.01)).expect("a step");
                }
            };
            train(&mut net);
            let (parameters, seen) = run(net.parameters_async());
            train(&mut twin);
            let want = twin.parameters().expect("parameters");
            assert!(bits(&parameters.expect("parameters")) == bits(&want), "{device}");
            assert!(seen.polls == seen.pending + 1 && seen.wakes >= seen.pending, "{device}: {seen:?}");
            if seen.pending > 0 || steps >= most {
                break seen;
            }
            steps *= 4;
        };
        println!("{device}: a readback behind {steps} steps: {seen:?}");
        assert!(device.is_software() || seen.pending > 0, "{device}: a readback behind {steps} steps blocked");
    }
}

#[test]
fn two_networks_wait_at_the_same_time() {
    for (device, kind) in common::devices_and_plans() {
        let [mut a, mut b] = [1, 2].map(|seed| arch().build(&device, kind, seed));
        let ((got_a, got_b), seen) = run(join(all(&mut a), all(&mut b)));
        for (seed, got) in [(1, got_a), (2, got_b)] {
            let alone = all_blocking(&mut arch().build(&device, kind, seed)).expect("the blocking forms");
            assert!(got.expect("the async forms") == alone, "{device}, {kind} plan, seed {seed}");
        }
        println!("{device}, {kind} plan: two networks on one thread; {seen:?}");
    }
}

/// One network, two questions at once: both are asked before either is answered.
#[test]
fn one_network_answers_two_questions_at_once() {
    for device in common::devices() {
        let net = arch().build(&device, PlanKind::Fused, 1);
        let (x, y) = arch().data(20, 4);
        let (x2, _) = arch().data(9, 8);
        let ((first, second), _) = run(join(net.predict_async(&x), net.predict_async(&x2)));
        let want = [&x, &x2].map(|x| net.predict(x).expect("outputs"));
        let got = [first.expect("outputs"), second.expect("outputs")];
        assert_eq!(got.map(|outputs| bits(&outputs)), want.map(|outputs| bits(&outputs)), "{device}");
        let ((cost, gradients), _) =
            run(join(net.cost_async(&x, &y, arch().cost), net.gradients_async(&x, &y, arch().cost)));
        let (cost, gradients) = (cost.expect("a cost"), gradients.expect("gradients"));
        assert_eq!(bits(gradients.as_slice()), bits(net.gradients(&x, &y, arch().cost).expect("gradients").as_slice()));
        assert_eq!(cost.to_bits(), net.cost(&x, &y, arch().cost).expect("a cost").to_bits(), "{device}");
    }
}

/// A future may go to another thread, and may be dropped at any point.
#[test]
fn futures_are_send_and_can_be_dropped() {
    for (device, kind) in common::devices_and_plans() {
        let mut net = arch().build(&device, kind, 1);
        let (x, _) = arch().data(20, 4);
        let before = bits(&net.parameters().expect("parameters"));
        // Dropped before and after the first poll.
        drop(net.parameters_async());
        let _ = poll_once(net.parameters_async());
        let _ = poll_once(net.predict_async(&x));
        assert_eq!(bits(&net.parameters().expect("parameters")), before, "{device}");
        for polled in [false, true] {
            let data = data(500, 5);
            let mut trainer = trainer();
            let fit = trainer.fit_async(&mut net, &data, None);
            if polled {
                let _ = poll_once(fit);
            } else {
                drop(fit);
            }
            assert!(net.parameters().expect("parameters").iter().all(|p| p.is_finite()), "{device}");
            assert_eq!(net.predict(&x).expect("outputs").len(), 80, "{device}");
        }
        let start = bits(&net.parameters().expect("parameters"));
        let moved = std::thread::spawn(move || {
            let data = data(50, 5);
            pollster::block_on(trainer().fit_async(&mut net, &data, None)).expect("training");
            net
        });
        let net = moved.join().expect("the other thread");
        assert_ne!(bits(&net.parameters().expect("parameters")), start, "{device}");
    }
}

fn assert_send<T: Send>(_: &T) {}

#[test]
fn what_is_waited_for_is_send() {
    let mut net = arch().build(&Device::cpu(), PlanKind::Fused, 1);
    let ((x, y), data, cost) = (arch().data(4, 4), data(4, 5), arch().cost);
    assert_send(&Device::auto_async());
    assert_send(&net.parameters_async());
    assert_send(&net.predict_async(&x));
    assert_send(&net.cost_async(&x, &y, cost));
    assert_send(&net.gradients_async(&x, &y, cost));
    assert_send(&net.evaluate_async(&data, cost));
    assert_send(&trainer().fit_async(&mut net, &data, None));
    assert_send(&net);
}
