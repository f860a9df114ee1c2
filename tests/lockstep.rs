//! Whole plans, step by step from equal buffers: the CPU backend and each adapter, held to the f64 reference of each kernel.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the adapters, the steps and the worst errors are the result of these tests")]

mod common;

use common::nets::{Arch, elementwise, pairings};
use wgrad::kernel::{Access, Element, Kernel, Tiling};
use wgrad::plan::{
    BufferId, Dropout, Emphasis, Format, Goal, Limits, Plan, PlanKind, Request, Round, Rule, Source, Step, Update,
};
use wgrad::verify::{DeviceRunner, Lockstep, Runner, Worst, lockstep};
use wgrad::{Activation, Cost, Device, Error, Result};

/// Rows of a mini-batch, and of the data set: the third and last mini-batch has three.
const ROWS: usize = 4;
const EXAMPLES: usize = 11;
/// Every mini-batch of an epoch.
const PASSES: usize = EXAMPLES.div_ceil(ROWS);

/// Data as pictures with labels come, and as regression does.
const SOURCES: [Source; 3] = [
    Source::Direct,
    Source::Dataset { len: EXAMPLES, inputs: Format::U8, targets: Format::Label },
    Source::Dataset { len: EXAMPLES, inputs: Format::F32, targets: Format::F32 },
];

/// One layer with each pairing of output and cost; two and three layers, so that each activation is hidden at either place.
fn nets() -> Vec<Arch> {
    let hidden = elementwise();
    let mut nets = Vec::new();
    for (i, (output, cost)) in pairings().into_iter().enumerate() {
        let n = hidden.len();
        let [f, g] = [hidden[i % n], hidden[(i + 1 + i / n) % n]];
        nets.push(Arch::new(5, &[(3, output)], cost));
        nets.push(Arch::new(9, &[(6, f), (4, output)], cost));
        nets.push(Arch::new(6, &[(10, g), (5, f), (3, output)], cost));
    }
    nets.push(Arch::new(3, &[(4, Activation::Tanh), (1, Activation::Sigmoid)], Cost::BinaryCrossEntropy));
    nets
}

fn plan(arch: &Arch, kind: PlanKind, goal: Goal, source: Source, limits: Limits) -> Plan {
    let net = arch.build(&Device::cpu(), kind, 1);
    let request = Request { limits, ..net.request(goal, arch.cost, source, ROWS) };
    let mut plan = Plan::new(kind, &request).expect("a plan that can be");
    // Lockstep compares the round of one training step; here a plan has no other.
    let round = plan.rounds.pop().expect("a round");
    plan.steps = plan.steps[round.steps.clone()].to_vec();
    plan.rounds = vec![Round { steps: 0..plan.steps.len(), ..round }];
    plan
}

fn runner(device: &Device, plan: &Plan) -> DeviceRunner {
    DeviceRunner::new(device, plan).expect("the device takes the plan")
}

/// How often the plan is run: each mini-batch of the data set once; a second time where the host brings the rows.
fn passes(source: Source) -> usize {
    if source == Source::Direct { 2 } else { PASSES }
}

/// Runs these nets by these kinds of plans for every goal and source on the CPU backend and this device.
fn walk(device: &Device, nets: &[Arch], kinds: &[PlanKind], goals: &[Goal]) -> (usize, Lockstep) {
    let mut total = Lockstep { steps: 0, worst: Worst::default() };
    let mut plans = 0;
    for (seed, arch) in (0..).zip(nets) {
        for (kind, &goal) in kinds.iter().flat_map(|&kind| goals.iter().map(move |goal| (kind, goal))) {
            for source in SOURCES {
                let plan = plan(arch, kind, goal, source, device.limits());
                let (mut a, mut b) = (runner(&Device::cpu(), &plan), runner(device, &plan));
                let report = lockstep(&plan, &mut a, &mut b, seed, passes(source))
                    .unwrap_or_else(|error| panic!("{device}, {kind} plan, {goal:?}, {source:?}, {arch:?}: {error}"));
                assert_eq!(report.steps, plan.steps.len() * passes(source));
                total.steps += report.steps;
                total.worst.merge(&report.worst);
                plans += 1;
            }
        }
    }
    assert!(total.worst.passed() && total.worst.ratio.is_finite());
    println!("CPU backend against {device}: {plans} plans, {} steps, worst: {}", total.steps, total.worst);
    (plans, total)
}

#[test]
fn the_nets_have_every_activation_and_pairing() {
    let nets = nets();
    for (output, cost) in pairings() {
        for layers in 1..=3 {
            let fits = |net: &Arch| net.dense.len() == layers && net.dense[layers - 1].1 == output && net.cost == cost;
            assert!(nets.iter().any(fits), "{layers} layers, {output} outputs, {cost}");
        }
    }
    for f in elementwise() {
        let hidden = |net: &Arch, at: usize| net.dense.len() > at + 1 && net.dense[at].1 == f;
        assert!((0..2).all(|at| nets.iter().any(|net| hidden(net, at))), "{f} in hidden layers");
    }
}

#[test]
fn cpu_against_itself() {
    let (plans, total) = walk(
        &Device::cpu(),
        &nets(),
        &PlanKind::ALL,
        &[Goal::Predict, Goal::Cost, Goal::Answers, Goal::Errors, Goal::Gradients, Goal::Train],
    );
    assert_eq!(plans, nets().len() * 3 * 6 * 3);
    assert!(total.worst.elements > 100_000, "{}", total.worst.elements);
}

/// Every rule, with and without bounds on gradients and weights, at once and by way of written gradients.
#[test]
fn every_update() {
    let arch = Arch::new(9, &[(6, Activation::Tanh), (4, Activation::Sigmoid)], Cost::Quadratic);
    let (rows, source) = (120, Source::Dataset { len: 270, inputs: Format::F32, targets: Format::F32 });
    for device in common::devices() {
        let (mut plans, mut worst) = (0, Worst::default());
        for (kind, rule) in PlanKind::ALL.iter().flat_map(|&kind| Rule::ALL.map(|rule| (kind, rule))) {
            for [clip_norm, max_norm, cut] in
                [[false; 3], [true, false, false], [false, true, false], [true, true, true]]
            {
                let net = arch.build(&Device::cpu(), kind, 1);
                let update = Update { rule, clip_norm, max_norm };
                let limits = device.limits();
                let request = Request { limits, update, ..net.request(Goal::Train, arch.cost, source, rows) };
                // So few rounds of a loop that gradients are summed in parts. Which plan it is, the device's limits say.
                let made = Plan::new(kind, &request).expect("a plan that can be").kind;
                let few = match (made, limits.tiling) {
                    (PlanKind::Textbook, _) => 35,
                    (_, Tiling::Registers) => 200,
                    _ => 70,
                };
                let limits = Limits { max_iterations: if cut { few } else { limits.max_iterations }, ..limits };
                let request = Request { limits, ..request };
                let plan = Plan::new(kind, &request).expect("a plan that can be");
                let parts = |step: &Step| {
                    step.label.contains("gradient, terms 0..") || step.label.contains("gradients, terms 0..")
                };
                assert_eq!(plan.steps.iter().any(parts), cut);
                let (mut a, mut b) = (runner(&Device::cpu(), &plan), runner(&device, &plan));
                let report = lockstep(&plan, &mut a, &mut b, 5, 3)
                    .unwrap_or_else(|error| panic!("{device}, {kind} plan, {update:?}: {error}"));
                worst.merge(&report.worst);
                plans += 1;
            }
        }
        println!("CPU backend against {device}: {plans} updates, worst: {worst}");
        assert!(worst.passed() && plans == PlanKind::ALL.len() * 5 * 4);
    }
}

/// Random networks with everything that changes a step: rule, bounds, dropout, weights, smoothing, data, batch.
#[test]
fn random_plans() {
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
    let layers = (
        prop::collection::vec((1_usize..=12, select(elementwise()), select(vec![0.0_f32, 0.0, 0.3, 0.8])), 0..=3),
        1_usize..=9,
    );
    let data = (1_usize..=9, 1_usize..=14, select(SOURCES.to_vec()));
    let update = (select(Rule::ALL.to_vec()), any::<bool>(), any::<bool>());
    let drawn = (
        1_usize..=15,
        layers,
        select(pairings()),
        data,
        update,
        any::<bool>(),
        select(vec![0.0_f32, 0.1]),
        any::<u64>(),
    );
    for (device, kind) in common::devices_and_plans() {
        let count = if device.kind() == "cpu" { 300 } else { 60 };
        let config = ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let worst = std::cell::Cell::new(Worst::default());
        let outcome = runner.run(
            &drawn,
            |(inputs, (hidden, outputs), (output, cost), data, update, weighted, smoothing, seed)| {
                let (rows, len, source) = data;
                let dense: Vec<_> = hidden.iter().map(|&(width, f, _)| (width, f)).chain([(outputs, output)]).collect();
                let rates: Vec<f32> = hidden.iter().map(|h| h.2).collect();
                let (rule, clip_norm, max_norm) = update;
                let smooths = matches!(cost, Cost::BinaryCrossEntropy | Cost::CategoricalCrossEntropy);
                let source = match source {
                    Source::Dataset { inputs, targets, .. } => Source::Dataset { len, inputs, targets },
                    source => source,
                };
                let net = Arch::new(inputs, &dense, cost).build(&Device::cpu(), kind, 1);
                let request = Request {
                    limits: device.limits(),
                    update: Update { rule, clip_norm, max_norm },
                    dropout: Dropout { rates: &rates, seed: 5 },
                    emphasis: Emphasis { weighted, smoothing: if smooths { smoothing } else { 0.0 } },
                    ..net.request(Goal::Train, cost, source, rows)
                };
                let failed = |error: Error| TestCaseError::fail(error.to_string());
                let mut plan = Plan::new(kind, &request).map_err(failed)?;
                let round = plan.rounds.pop().ok_or_else(|| TestCaseError::fail("no round"))?;
                plan.steps = plan.steps[round.steps.clone()].to_vec();
                plan.rounds = vec![Round { steps: 0..plan.steps.len(), ..round }];
                let passes = if source == Source::Direct { 1 } else { len.div_ceil(rows) };
                let (mut a, mut b) = (self::runner(&Device::cpu(), &plan), self::runner(&device, &plan));
                let report = lockstep(&plan, &mut a, &mut b, seed, passes).map_err(failed)?;
                let mut sum = worst.get();
                sum.merge(&report.worst);
                worst.set(sum);
                Ok(())
            },
        );
        outcome.unwrap_or_else(|error| panic!("{device}, {kind} plan: {error}"));
        println!("CPU backend against {device}, {kind} plan: {count} random plans, worst: {}", worst.get());
        assert!(worst.get().passed() && worst.get().elements > u64::from(count) * 100);
    }
}

/// Weights of rows, and smoothed labels, with every cost in every plan.
#[test]
fn weights_and_smoothed_labels() {
    for device in common::devices() {
        let (mut plans, mut worst) = (0, Worst::default());
        for (kind, (output, cost)) in
            PlanKind::ALL.iter().flat_map(|&kind| pairings().into_iter().map(move |p| (kind, p)))
        {
            let arch = Arch::new(9, &[(6, Activation::Tanh), (4, output)], cost);
            let smooths = matches!(cost, Cost::BinaryCrossEntropy | Cost::CategoricalCrossEntropy);
            let emphasis = Emphasis { weighted: true, smoothing: if smooths { 0.2 } else { 0.0 } };
            for (source, goal) in
                SOURCES.iter().flat_map(|&s| [Goal::Train, Goal::Gradients, Goal::Cost].map(|g| (s, g)))
            {
                let net = arch.build(&Device::cpu(), kind, 1);
                // The last layer forward and its error as two kernels, and as one.
                let output_layer_up_to = if goal == Goal::Gradients { 0 } else { 4096 };
                let limits = Limits { output_layer_up_to, ..device.limits() };
                let request = Request { limits, emphasis, ..net.request(goal, cost, source, ROWS) };
                let mut plan = Plan::new(kind, &request).expect("a plan that can be");
                let round = plan.rounds.pop().expect("a round");
                plan.steps = plan.steps[round.steps.clone()].to_vec();
                plan.rounds = vec![Round { steps: 0..plan.steps.len(), ..round }];
                let (mut a, mut b) = (runner(&Device::cpu(), &plan), runner(&device, &plan));
                let report = lockstep(&plan, &mut a, &mut b, 8, passes(source))
                    .unwrap_or_else(|error| panic!("{device}, {kind} plan, {goal:?}, {output}, {cost}: {error}"));
                worst.merge(&report.worst);
                plans += 1;
            }
        }
        println!("CPU backend against {device}: {plans} plans with weights, worst: {worst}");
        assert!(worst.passed() && plans == PlanKind::ALL.len() * pairings().len() * 9);
    }
}

/// Dropout of one hidden layer and of both, in every plan.
#[test]
fn dropout() {
    let arch = Arch::new(
        9,
        &[(10, Activation::Tanh), (6, Activation::Gelu), (4, Activation::Softmax)],
        Cost::CategoricalCrossEntropy,
    );
    for device in common::devices() {
        let mut plans = 0;
        for (kind, rates) in
            PlanKind::ALL.iter().flat_map(|&kind| [&[0.5_f32][..], &[0.2, 0.7]].map(|rates| (kind, rates)))
        {
            for source in SOURCES {
                let net = arch.build(&Device::cpu(), kind, 1);
                let dropout = Dropout { rates, seed: 77 };
                let limits = Limits { output_layer_up_to: if rates.len() == 1 { 0 } else { 4096 }, ..device.limits() };
                let request = Request { limits, dropout, ..net.request(Goal::Train, arch.cost, source, ROWS) };
                let plan = Plan::new(kind, &request).expect("a plan that can be");
                // The activation and its error, each.
                let drops = plan.steps.iter().filter(|step| step.kernel == Kernel::Dropout).count();
                assert_eq!(drops, 2 * rates.len(), "{kind} plan");
                let (mut a, mut b) = (runner(&Device::cpu(), &plan), runner(&device, &plan));
                lockstep(&plan, &mut a, &mut b, 6, passes(source))
                    .unwrap_or_else(|error| panic!("{device}, {kind} plan, {rates:?}: {error}"));
                // Nothing is dropped where nothing is learned.
                for goal in [Goal::Predict, Goal::Cost, Goal::Gradients] {
                    let plan = Plan::new(kind, &Request { goal, ..request }).expect("a plan that can be");
                    assert!(plan.steps.iter().all(|step| step.kernel != Kernel::Dropout));
                }
                plans += 1;
            }
        }
        println!("CPU backend against {device}: {plans} plans with dropout");
        assert_eq!(plans, PlanKind::ALL.len() * 2 * 3);
    }
}

#[test]
fn cpu_against_each_adapter() {
    for device in common::adapters() {
        assert_ne!(device.adapter(), Device::cpu().adapter(), "both sides are the same");
        // The other plans' kernels are the same ones under every tiling.
        for (tiling, kinds) in [(Tiling::GPU, &[PlanKind::Fused][..]), (Tiling::Registers, &PlanKind::ALL)] {
            println!("{tiling:?} tiling:");
            let device = device.clone().with_tiling(tiling);
            let nets = nets();
            let goals = [Goal::Answers, Goal::Errors, Goal::Gradients, Goal::Train];
            let halves = nets.chunks(nets.len().div_ceil(2)).collect();
            let walked = common::at_once(&device, halves, |device, nets| walk(device, nets, kinds, &goals));
            let plans: usize = walked.iter().map(|(plans, _)| plans).sum();
            let elements: u64 = walked.iter().map(|(_, total)| total.worst.elements).sum();
            assert_eq!(plans, nets.len() * kinds.len() * 4 * 3);
            assert!(elements > 15_000 * kinds.len() as u64, "{elements}");
        }
    }
}

// ---- negative controls ------------------------------------------------------------------------------------------

/// What a faulty device does at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// One element is off.
    Off,
    /// One element is NaN, or a whole number that it cannot be.
    Nan,
    /// The step is not run.
    Skip,
}

/// A device that does one step of one pass wrongly.
struct Faulty {
    inner: DeviceRunner,
    plan: Plan,
    /// Counted through all passes.
    at: usize,
    fault: Fault,
    runs: usize,
}

impl Faulty {
    fn new(device: &Device, plan: &Plan, at: usize, fault: Fault) -> Self {
        Self { inner: runner(device, plan), plan: plan.clone(), at, fault, runs: 0 }
    }

    /// Spoils one element of one buffer that this step wrote; which ones depends on the step.
    fn spoil(&mut self, step: usize) -> Result<()> {
        let step = &self.plan.steps[step];
        let written = step.bindings.iter().zip(step.kernel.info().bindings);
        let written: Vec<_> = written.filter(|(_, b)| !matches!(b.access, Access::In | Access::Scratch)).collect();
        let (&id, binding) = written[self.at % written.len()];
        let mut words = pollster::block_on(self.inner.read(id))?;
        let place = (self.at * 7 + 3) % words.len();
        words[place] = match (self.fault, binding.element) {
            (Fault::Nan, Element::F32 | Element::F32x4) => 0x7fc0_0001,
            (_, Element::F32 | Element::F32x4) => {
                let x = f32::from_bits(words[place]);
                // Far beyond rounding, far below what one would see in a training curve.
                (if x.is_nan() { 1.0 } else { x + 2e-4 * x.abs().max(1.0) }).to_bits()
            }
            (_, Element::U32) => words[place] ^ 1,
        };
        self.inner.write(id, &words)
    }
}

impl Runner for Faulty {
    fn name(&self) -> String {
        format!("faulty {}", self.inner.name())
    }

    fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<()> {
        self.inner.write(buffer, words)
    }

    fn run(&mut self, step: usize) -> Result<()> {
        let now = self.runs == self.at;
        self.runs += 1;
        if now && self.fault == Fault::Skip {
            return Ok(());
        }
        self.inner.run(step)?;
        if now { self.spoil(step) } else { Ok(()) }
    }

    async fn read(&mut self, buffer: BufferId) -> Result<Vec<u32>> {
        self.inner.read(buffer).await
    }
}

/// That lockstep blames this side at this step.
fn assert_blamed(result: Result<Lockstep>, plan: &Plan, at: usize, guilty: &str, innocent: &str, what: &str) {
    let Err(Error::Disagreement(message)) = result else { panic!("{what} passed: {result:?}") };
    let (step, pass) = (at % plan.steps.len(), at / plan.steps.len() + 1);
    let (number, steps) = (step + 1, plan.steps.len());
    let (label, kernel) = (&plan.steps[step].label, plan.steps[step].kernel.name());
    let place = format!("step {number} of {steps} ('{label}', kernel {kernel}, pass {pass})");
    assert!(message.starts_with(&place), "{what}: {place} expected; {message}");
    assert!(message.contains(&format!("; {guilty} is off: ")), "{what}: {message}");
    assert!(message.contains(&format!("; {innocent} agrees with the reference")), "{what}: {message}");
}

/// Every step of a plan, in every pass, on either side, gone wrong in every way.
fn blame(device: &Device, arch: &Arch, kind: PlanKind, source: Source) -> usize {
    let plan = plan(arch, kind, Goal::Train, source, device.limits());
    let passes = if source == Source::Direct { 1 } else { PASSES };
    let mut named = 0;
    for at in 0..plan.steps.len() * passes {
        for fault in [Fault::Off, Fault::Nan, Fault::Skip] {
            let what = format!("{device}, {kind} plan, {fault:?} at {at}");
            let mut good = runner(&Device::cpu(), &plan);
            let mut bad = Faulty::new(device, &plan, at, fault);
            let (innocent, guilty) = (good.name(), bad.name());
            // The reference is neither side, so it has to be able to blame the first as well as the second.
            let result = if at % 2 == 0 {
                lockstep(&plan, &mut good, &mut bad, 6, passes)
            } else {
                lockstep(&plan, &mut bad, &mut good, 6, passes)
            };
            assert_blamed(result, &plan, at, &guilty, &innocent, &what);
            named += 1;
        }
    }
    named
}

fn faulty_devices(devices: &[Device]) {
    let arch = Arch::new(5, &[(4, Activation::Tanh), (3, Activation::Softmax)], Cost::CategoricalCrossEntropy);
    let quadratic = Arch::new(5, &[(4, Activation::Sigmoid), (3, Activation::Tanh)], Cost::Quadratic);
    for device in devices {
        let mut named = 0;
        for kind in PlanKind::ALL {
            named += blame(device, &arch, kind, SOURCES[1]);
            named += blame(device, &quadratic, kind, Source::Direct);
        }
        println!("{device}: {named} faults, each named with its step, its pass and its side");
        assert!(named > 3 * 50, "{named}");
    }
}

#[test]
fn a_faulty_cpu_is_found_out() {
    faulty_devices(&[Device::cpu()]);
}

#[test]
fn a_faulty_adapter_is_found_out() {
    faulty_devices(&common::adapters());
}

#[test]
fn a_fault_that_never_comes_is_not_found() {
    let plan = plan(&nets()[1], PlanKind::Textbook, Goal::Train, Source::Direct, Limits::HOST);
    let mut never = Faulty::new(&Device::cpu(), &plan, usize::MAX, Fault::Off);
    let report = lockstep(&plan, &mut runner(&Device::cpu(), &plan), &mut never, 5, 1).expect("no fault");
    assert_eq!(report.steps, plan.steps.len());
}

/// There is no mini-batch after the last: its scores would have no place.
#[test]
fn more_passes_than_mini_batches_are_refused() {
    for (kind, source) in PlanKind::ALL.into_iter().flat_map(|kind| SOURCES.map(|source| (kind, source))) {
        let plan = plan(&nets()[1], kind, Goal::Train, source, Limits::HOST);
        let run =
            |times| lockstep(&plan, &mut runner(&Device::cpu(), &plan), &mut runner(&Device::cpu(), &plan), 5, times);
        assert!(run(PASSES).is_ok());
        let more = run(PASSES + 1);
        match source {
            Source::Direct => assert!(more.is_ok()),
            Source::Dataset { .. } => {
                assert!(matches!(more, Err(Error::InvalidOption { option: "times", .. })), "{more:?}")
            }
        }
    }
}
