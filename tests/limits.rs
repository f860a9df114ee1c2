//! What a device does not allow: long sums are cut, wide grids are folded, and what cannot be made to fit is an error that
//! names the limit.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared on them are the result of these tests")]

mod common;

use common::expect::{Expected, exact, within};
use common::nets::{Arch, arena, bits, examples};
use wgrad::kernel::{Kernel, Params, Tiling};
use wgrad::plan::{Format, Goal, Grid, Limits, Plan, PlanKind, Request, Source};
use wgrad::verify::{DeviceRunner, Worst, lockstep};
use wgrad::{Activation, Cost, Dataset, Device, Error, Network, Result, Sgd, Trainer};

/// A software adapter ends all loops of an invocation after 65,535 iterations and says nothing.
const LONG: usize = 70_000;

/// Outputs, cost and gradients of one mini-batch as the reference has them, and how far off they may be.
struct Wanted {
    arch: Arch,
    x: Vec<f32>,
    y: Vec<f32>,
    parameters: Vec<f32>,
    outputs: Vec<f64>,
    cost: f64,
    gradients: Vec<f64>,
    expected: Expected,
}

impl Wanted {
    fn new(arch: &Arch, rows: usize) -> Self {
        let (x, y) = arch.data(rows, 11);
        let net = arch.build(&Device::cpu(), PlanKind::Fused, 1);
        let parameters = net.parameters().expect("parameters");
        let reference = arch.reference(net.layers(), &parameters);
        let batch = examples(&x, arch.inputs, &y, arch.outputs());
        let (nabla_b, nabla_w) = reference.mean_gradient(&batch).expect("gradients");
        Self {
            arch: arch.clone(),
            outputs: batch.iter().flat_map(|(x, _)| reference.feedforward(x).expect("outputs")).collect(),
            cost: reference.mean_cost(&batch).expect("a cost"),
            gradients: arena(net.layers(), &nabla_w, &nabla_b),
            expected: Expected::new(net.layers(), arch.cost, &exact(&parameters), &x, &y),
            x,
            y,
            parameters,
        }
    }

    fn compare(&self, device: &Device, kind: PlanKind) -> Worst {
        let Self { arch, x, y, parameters, expected, .. } = self;
        let mut net = arch.build(device, kind, 2);
        net.set_parameters(parameters).expect("finite");
        let k = expected.terms;
        let outputs = net.predict_on_device(x).expect("outputs");
        let gradients = net.gradients(x, y, arch.cost).expect("gradients");
        let mut worst = Worst::default();
        for found in [
            within("a_L", &outputs, &self.outputs, &expected.outputs, k),
            within("cost", &[gradients.cost], &[self.cost], &[expected.cost], k),
            within("gradients", gradients.as_slice(), &self.gradients, &expected.gradients, k),
        ] {
            worst.merge(&found.unwrap_or_else(|problem| panic!("{device}, {kind} plan: {problem}")));
        }
        println!("{device}, {kind} plan: {} values, worst {:.1e} of its bound", worst.elements, worst.ratio);
        worst
    }
}

fn plan(arch: &Arch, kind: PlanKind, goal: Goal, rows: usize, limits: Limits) -> Result<Plan> {
    let net = arch.build(&Device::cpu(), kind, 1);
    Plan::new(kind, &Request { limits, ..net.request(goal, arch.cost, Source::Direct, rows) })
}

/// The steps of a kernel, which do the terms of its sum one part after the other.
fn assert_cut(plan: &Plan, kernel: Kernel, terms: u32, limits: Limits) -> usize {
    let Limits { max_iterations: most, tiling, .. } = limits;
    let parts: Vec<&Params> = plan.steps.iter().filter(|s| s.kernel == kernel).map(|step| &step.params).collect();
    assert!(parts.len() > 1, "{} is not cut", kernel.name());
    assert_eq!((parts[0].k_begin, parts[parts.len() - 1].k_end), (0, terms), "{}", kernel.name());
    assert!(parts.windows(2).all(|pair| pair[0].k_end == pair[1].k_begin), "{}: {parts:?}", kernel.name());
    assert!(parts.iter().all(|p| kernel.iterations(p, tiling) <= most), "{}: {parts:?}", kernel.name());
    for step in plan.steps.iter().filter(|step| step.kernel == kernel) {
        let said = format!("terms {}..{}", step.params.k_begin, step.params.k_end);
        assert!(step.label.ends_with(&said), "{}", step.label);
    }
    parts.len()
}

// ---- long sums --------------------------------------------------------------------------------------------------

#[test]
fn a_layer_of_seventy_thousand_inputs_sums_right() {
    let arch = Arch::new(LONG, &[(3, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic);
    let wanted = Wanted::new(&arch, 2);
    for (device, kind) in common::devices_and_plans() {
        assert!(wanted.compare(&device, kind).elements > 3 * LONG as u64);
        if device.is_software() {
            let plan = plan(&arch, kind, Goal::Gradients, 2, device.limits()).expect("a plan");
            let forward = if plan.kind == PlanKind::Textbook { Kernel::MatmulNt } else { Kernel::DenseForward };
            let first: Vec<_> = plan.steps.iter().filter(|step| step.label.contains("terms")).collect();
            assert!(first.len() > 1 && first.iter().all(|step| step.kernel == forward), "{first:?}");
            assert!(device.limits().max_iterations < 65_535, "{:?}", device.limits());
        }
    }
}

/// As many rows as kernels with a workgroup a row may have on this device, up to [`LONG`]: 4,096 dispatches of them.
fn rows_on(device: &Device) -> usize {
    let groups = u64::from(device.limits().max_groups);
    usize::try_from(groups.saturating_mul(groups).saturating_mul(4096)).map_or(LONG, |most| LONG.min(most))
}

#[test]
fn a_mini_batch_of_seventy_thousand_rows_sums_right() {
    let arch = Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Softmax)], Cost::CategoricalCrossEntropy);
    let long = Wanted::new(&arch, LONG);
    let mut shorter: Option<Wanted> = None;
    for (device, kind) in common::devices_and_plans() {
        let rows = rows_on(&device);
        let mut wanted = &long;
        if rows < LONG {
            // It is split as far as it can be; what is more is refused, by name.
            let refused = arch.build(&device, kind, 1).gradients(&long.x, &long.y, arch.cost);
            assert_limit(
                refused,
                "max_compute_workgroups_per_dimension, squared and in 4096 dispatches",
                "70,000 rows",
            );
            let needs = format!("5 workgroups a dimension; {rows} are taken");
            common::left_out(&format!("{device}, {kind} plan: a mini-batch of {LONG} rows"), &needs);
            shorter = shorter.filter(|shorter| shorter.x.len() == rows * arch.inputs);
            wanted = shorter.get_or_insert_with(|| Wanted::new(&arch, rows));
        }
        assert!(wanted.compare(&device, kind).elements > 2 * rows as u64 - 1);
        if device.is_software() {
            let plan = plan(&arch, kind, Goal::Gradients, rows, device.limits()).expect("a plan");
            for layer in ["layer 1", "layer 2"] {
                let mut one = plan.clone();
                one.steps.retain(|step| step.label.starts_with(layer) || step.label.starts_with("all layers"));
                let kernels = match plan.kind {
                    PlanKind::Textbook => vec![Kernel::OuterProducts, Kernel::BiasGradient],
                    _ => vec![Kernel::DenseGradient],
                };
                for kernel in kernels {
                    assert_cut(&one, kernel, u32::try_from(rows).expect("few"), device.limits());
                }
            }
        }
    }
}

/// Why sums are cut: what an adapter makes of one that is not. The sum over rows has a plain loop; a compiler may unroll the
/// tiles of a product, so that it takes fewer iterations than it is counted for.
#[test]
fn the_uncut_sum_shows_whether_the_driver_ends_loops() {
    let arch = Arch::new(1, &[(2, Activation::Identity)], Cost::Quadratic);
    for device in common::adapters() {
        let terms = rows_on(&device);
        let plan = |limits| plan(&arch, PlanKind::Textbook, Goal::Gradients, terms, limits).expect("a plan");
        let uncut = plan(Limits::HOST);
        assert!(uncut.steps.iter().all(|step| !step.label.contains("terms")));
        if terms < LONG {
            let what = format!("{device}: a loop of more than 65,535 iterations, here of {terms},");
            common::left_out(&what, "5 workgroups a dimension");
        }
        let cut = plan(device.limits());
        let run = |plan: &Plan| {
            let runner = |device: &Device| DeviceRunner::new(device, plan).expect("a runner");
            lockstep(plan, &mut runner(&Device::cpu()), &mut runner(&device), 3, 1)
        };
        run(&cut).unwrap_or_else(|error| panic!("{device}: {error}"));
        match run(&uncut) {
            Ok(_) => println!("{device}: {terms} terms in one dispatch are right too"),
            Err(error) => {
                println!("{device}: {terms} terms in one dispatch: {error}");
                // Only a driver whose sums are cut may be wrong without it.
                assert!(
                    device.is_software()
                        && cut.steps.len() > uncut.steps.len()
                        && matches!(error, Error::Disagreement(_)),
                    "{error}"
                );
            }
        }
    }
}

// ---- tiny limits ------------------------------------------------------------------------------------------------

/// Three workgroups a dimension and so few iterations that grids fold, and sums of more than some tens of terms are cut.
const TINY: Limits = Limits { max_groups: 3, max_iterations: 40, ..Limits::HOST };

#[test]
fn training_under_tiny_limits_is_the_same_but_for_rounding() {
    // Wide rows cut the sums of a layer, many rows those of a gradient.
    let less_tiny = Limits { max_groups: 7, ..TINY };
    for (limits, inputs, rows, batch) in [(TINY, 40, 45, 9), (less_tiny, 6, 90, 41)] {
        for (device, kind) in common::devices_and_plans() {
            compare_under_tiny_limits(&device, limits, kind, inputs, rows, batch);
        }
    }
}

fn compare_under_tiny_limits(
    device: &Device,
    limits: Limits,
    kind: PlanKind,
    inputs: usize,
    rows: usize,
    batch: usize,
) {
    let arch = Arch::new(inputs, &[(8, Activation::Tanh), (5, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(rows, 2);
    let data = Dataset::new(x.clone(), inputs, y.clone(), 5).expect("data");
    let run = |device: &Device, eta: f32| {
        let mut net = arch.build(device, kind, 1);
        let mut trainer = Trainer::new(arch.cost, Sgd::new(eta)).batch_size(batch).epochs(3);
        trainer.fit(&mut net, &data, Some(&data)).expect("training");
        let (x, y) = (&x[..9 * inputs], &y[..9 * 5]);
        net.update_mini_batch(x, y, arch.cost, Sgd::new(eta)).expect("a step");
        let gradients = net.gradients(x, y, arch.cost).expect("gradients");
        [
            net.parameters().expect("parameters"),
            net.predict_on_device(x).expect("outputs"),
            gradients.as_slice().to_vec(),
        ]
    };
    let far = |a: &[f32], b: &[f32]| {
        assert!(a.len() == b.len() && a.iter().chain(b).all(|x| x.is_finite()));
        a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
    };
    // A tile in registers takes more than forty rounds to store.
    let device = &device.clone().with_tiling(Tiling::GPU);
    let tiny = device.clone().with_limits(limits);
    let (free, bound, other) = (run(device, 0.3), run(&tiny, 0.3), run(device, 0.31));
    for (i, (free, bound)) in free.iter().zip(&bound).enumerate() {
        let (near, control) = (far(free, bound), far(free, &other[i]));
        assert!(near <= 2e-6, "{device}, {kind} plan: array {i} differs by {near}");
        assert!(control > 2e-5, "{device}, {kind} plan: a learning rate of 0.31 differs by {control} only");
    }
    // They were at work: sums cut elsewhere round elsewhere.
    let rounded = free.iter().zip(&bound).any(|(free, bound)| bits(free) != bits(bound));
    assert!(rounded, "{device}, {kind} plan: not one bit differs");
    let plan = plan(&arch, kind, Goal::Train, batch, tiny.limits()).expect("a plan");
    let folded = plan
        .steps
        .iter()
        .filter(|step| step.kernel.groups(&step.params, tiny.limits().tiling) > u64::from(limits.max_groups))
        .count();
    let cut = plan.steps.iter().filter(|step| step.label.contains("terms")).count();
    let steps = plan.steps.len();
    println!("{device}, {kind} plan, {inputs} inputs: {steps} steps, {folded} of them folded, {cut} of them parts");
    assert!(folded > 0 && cut > 1);
}

/// What `WGRAD_LIMITS` asks for is what the planner keeps to, and what wgpu holds the device to.
#[test]
fn limits_of_the_environment_are_those_of_the_device() {
    for device in common::adapters() {
        let Limits { max_groups, max_storage_buffers, max_workgroup_bytes, lanes, .. } = device.limits();
        let word = std::env::var("WGRAD_LIMITS").unwrap_or_default();
        println!("{device}, WGRAD_LIMITS '{word}': {:?}", device.limits());
        match word.as_str() {
            "default" => assert_eq!((max_groups, max_storage_buffers, max_workgroup_bytes), (65_535, 8, 16_384)),
            "tiny" => assert_eq!((max_groups, max_storage_buffers, max_workgroup_bytes, lanes), (3, 4, 8_192, 64)),
            _ => assert!(max_groups >= 65_535 && max_storage_buffers >= 4),
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_device_can_be_asked_for_with_limits_of_its_own() {
    use wgrad::wgpu;
    let few = wgpu::Limits { max_compute_workgroups_per_dimension: 5, ..wgpu::Limits::default() };
    for device in common::adapters() {
        let word = std::env::var("WGRAD_DEVICE").unwrap_or_default();
        if word.is_empty() {
            // Several adapters may be meant.
            common::say("SKIPPED: a device with limits of its own: WGRAD_DEVICE names no adapter");
            continue;
        }
        // No more than this one has, so that plans are the same.
        let have = device.limits();
        let few = wgpu::Limits {
            max_storage_buffers_per_shader_stage: have.max_storage_buffers.min(8),
            max_compute_workgroup_storage_size: have.max_workgroup_bytes.min(16 << 10),
            ..few.clone()
        };
        let limited = Device::named_with_limits(&word, &few).expect("a device");
        assert_eq!((limited.limits().max_groups, limited.adapter()), (5, device.adapter()));
        // 60 rows of 100 neurons are 94 workgroups, and more than 25 are several dispatches.
        let arch = Arch::new(3, &[(100, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic);
        let (x, y) = arch.data(60, 1);
        for kind in PlanKind::ALL {
            let [want, got] = [&device, &limited].map(|device| {
                let mut net = arch.build(device, kind, 1);
                net.update_mini_batch(&x, &y, arch.cost, Sgd::new(0.5)).expect("a step");
                bits(&net.parameters().expect("parameters"))
            });
            assert_eq!(got, want, "{device}, {kind} plan: several dispatches are not as one");
        }
    }
    let refused = Device::named_with_limits("no such adapter", &few);
    assert!(matches!(refused, Err(Error::NoAdapter { .. })), "{refused:?}");
}

/// Just within the limit of a buffer there is a plan, and one byte below it there is none, or one of another kind that needs less.
#[test]
fn a_binding_is_enough_or_refused_at_the_byte() {
    let (mut refused, mut another) = (0, 0);
    let goals = [Goal::Predict, Goal::Cost, Goal::Answers, Goal::Errors, Goal::Gradients, Goal::Train, Goal::Update];
    let dataset = Source::Dataset { len: 200, inputs: Format::F32, targets: Format::F32 };
    for (kind, goal) in PlanKind::ALL.into_iter().flat_map(|kind| goals.map(|goal| (kind, goal))) {
        for (source, rows, hidden) in
            [(Source::Direct, 64, 10), (dataset, 64, 10), (dataset, 2, 10), (Source::Direct, 3, 400)]
        {
            if goal == Goal::Update && source == dataset {
                continue;
            }
            let arch = Arch::new(20, &[(hidden, Activation::Tanh), (4, Activation::Sigmoid)], Cost::Quadratic);
            let net = arch.build(&Device::cpu(), kind, 1);
            let request = net.request(goal, arch.cost, source, rows);
            let plan = Plan::new(kind, &request).expect("a plan");
            let whole = plan.buffers.iter().filter(|buffer| buffer.part_of.is_none());
            let longest = whole.max_by_key(|buffer| buffer.len).expect("a buffer");
            let bytes = 4 * longest.len as u64;
            let within =
                |max_binding_bytes| Request { limits: Limits { max_binding_bytes, ..Limits::HOST }, ..request };
            let enough = Plan::new(kind, &within(bytes)).expect("it fits");
            assert_eq!(enough.kind, plan.kind, "{kind} plan, {goal:?}");
            match Plan::new(kind, &within(bytes - 1)) {
                Ok(smaller) => {
                    assert!(smaller.kind != plan.kind, "{kind} plan, {goal:?}: {} bytes in {}", bytes, bytes - 1);
                    another += 1;
                }
                Err(error) => {
                    let message = error.to_string();
                    let Error::Limit { need, have, .. } = error else { panic!("{message}") };
                    assert!(need > have && have == bytes - 1, "{message}");
                    assert!(message.starts_with("buffer ") && message.contains("; use "), "{message}");
                    refused += 1;
                }
            }
        }
    }
    println!("{refused} plans refused one byte below what they need, {another} in another kind that needs less");
    assert!(refused > 40 && another > 0, "{refused}, {another}");
}

#[test]
fn lowered_limits_never_rise() {
    for device in common::devices() {
        let before = device.limits();
        // What the host never gains by is not chosen either.
        let same = Limits { persistent_up_to: 0, output_layer_up_to: 0, ..before };
        assert_eq!(device.clone().with_limits(Limits::HOST).limits(), same, "{device}");
        let tiny = device.with_limits(TINY).with_limits(Limits::HOST).limits();
        assert_eq!((tiny.max_groups, tiny.max_iterations), (3, 40));
        assert_eq!(tiny.max_binding_bytes, before.max_binding_bytes);
    }
}

#[test]
fn grids_fold_without_losing_a_group() {
    for max_groups in [1, 2, 3, 7, 65_535, u32::MAX] {
        let limits = Limits { max_groups, ..Limits::HOST };
        let each = u64::from(max_groups) * u64::from(max_groups);
        let most = each.saturating_mul(4096).min(u32::MAX.into()).max(each);
        for groups in [0, 1, 2, 3, 4, 7, 8, 9, 49, 50, 65_535, 65_536, 1 << 31, u64::from(u32::MAX), 1 << 40] {
            match limits.grids(Kernel::Update, groups) {
                Ok(grids) => {
                    let mut made = 0;
                    for Grid { first, size: [x, y] } in grids {
                        // None twice, since some kernels add to what is there.
                        assert_eq!(u64::from(first), made, "{max_groups}, {groups}");
                        assert!(
                            x <= max_groups && y <= max_groups && made <= groups,
                            "{max_groups}, {groups}: {x} x {y}"
                        );
                        made += u64::from(x) * u64::from(y);
                        // Less than a row more than needed.
                        assert!(made < groups + u64::from(y).max(1), "{max_groups}, {groups}: {x} x {y}");
                    }
                    assert!(made >= groups, "{max_groups}, {groups}: {made}");
                }
                Err(Error::Limit { need, have, .. }) => assert!(need == groups && have == most && need > have),
                Err(other) => panic!("{max_groups}, {groups}: {other}"),
            }
        }
    }
    let none = Limits { max_groups: 0, ..Limits::HOST };
    assert!(matches!(none.grids(Kernel::Update, 1), Err(Error::Limit { need: 1, have: 0, .. })));
}

// ---- errors -----------------------------------------------------------------------------------------------------

/// That this is an error about the limit with this in its name, with a need above what there is, and both in its message.
fn assert_limit<T: std::fmt::Debug>(result: Result<T>, name: &str, what: &str) {
    let Err(error) = result else { panic!("{what} passed: {result:?}") };
    let message = error.to_string();
    let Error::Limit { limit, need, have, .. } = error else { panic!("{what}: {error:?}") };
    assert!(limit.contains(name) && need > have, "{what}: {limit}: {need}, {have}");
    for part in [limit.to_owned(), need.to_string(), have.to_string()] {
        assert!(message.contains(&part), "{what}: {message} does not say {part}");
    }
}

#[test]
fn what_is_over_a_limit_is_an_error_that_names_it() {
    let arch = Arch::new(20, &[(10, Activation::Tanh), (4, Activation::Softmax)], Cost::CategoricalCrossEntropy);
    let (x, y) = arch.data(64, 1);
    let data = Dataset::new(x.clone(), 20, y.clone(), 4).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let within = |limits: Limits| device.clone().with_tiling(Tiling::GPU).with_limits(limits);
        // The parameters have 254 numbers, a mini-batch of 64 rows has 1280 in its inputs.
        let bytes = within(Limits { max_binding_bytes: 254 * 4, ..Limits::HOST });
        let mut net = arch.build(&bytes, kind, 1);
        let name = "max_storage_buffer_binding_size";
        let before = bits(&net.parameters().expect("parameters"));
        assert_limit(net.cost(&x, &y, arch.cost), name, "cost");
        assert_limit(net.gradients(&x, &y, arch.cost), name, "gradients");
        assert_limit(net.update_mini_batch(&x, &y, arch.cost, Sgd::new(0.1)), name, "update_mini_batch");
        let mut trainer = Trainer::new(arch.cost, Sgd::new(0.1)).batch_size(13).epochs(1);
        assert_limit(trainer.fit(&mut net, &data, None), name, "fit: a mini-batch of 260 numbers");
        assert_eq!(bits(&net.parameters().expect("parameters")), before, "{device}: an error changed parameters");
        // And afterwards the network works as ever: the data set itself is too long, and so it is streamed.
        net.update_mini_batch(&x[..40], &y[..8], arch.cost, Sgd::new(0.1)).expect("a step");
        assert_eq!(net.evaluate(&data, arch.cost).expect("in parts").rows, 64);
        let history = trainer.batch_size(8).fit(&mut net, &data, Some(&data)).expect("training");
        assert!(history.streamed, "{device}, {kind} plan");

        let none = within(Limits { max_groups: 0, ..Limits::HOST });
        let net = arch.build(&none, kind, 1);
        assert_limit(net.cost(&x, &y, arch.cost), "max_compute_workgroups_per_dimension", "no workgroup at all");
        let iterations = within(Limits { max_iterations: 5, ..Limits::HOST });
        let net = arch.build(&iterations, kind, 1);
        assert_limit(net.predict(&x), "loop iterations", "any product");
        let nothing = within(Limits { max_groups: 0, max_iterations: 0, ..Limits::HOST });
        let refused = arch.build(&nothing, kind, 1).predict(&x);
        assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
        println!("{device}, {kind} plan: 7 refusals");
    }
}

/// Predictions and evaluations take as many rows at a time as fit: there the caller has no say in it.
#[test]
fn predictions_and_evaluations_take_fewer_rows_where_fewer_fit() {
    let arch = Arch::new(20, &[(10, Activation::Tanh), (4, Activation::Softmax)], Cost::CategoricalCrossEntropy);
    let (x, y) = arch.data(150, 1);
    let bytes = x.iter().map(|x| if *x > 0.0 { 200 } else { 20 }).collect();
    let labels = y.chunks(4).map(|y| (0..4).find(|&j| y[j as usize] > 0.0).expect("a class")).collect();
    let data = Dataset::from_bytes(bytes, 20, labels, 4).expect("data");
    for (device, kind) in common::devices_and_plans() {
        let device = device.with_tiling(Tiling::GPU);
        let wide = arch.build(&device, kind, 1);
        for limits in [
            Limits { max_binding_bytes: 3000, ..Limits::HOST },
            Limits { max_groups: 2, ..Limits::HOST },
            Limits { max_groups: 3, max_iterations: 40, max_binding_bytes: 3200, ..Limits::HOST },
        ] {
            let narrow = arch.build(&device.clone().with_limits(limits), kind, 1);
            let [want, got] = [&wide, &narrow].map(|net| net.predict(&x).expect("outputs"));
            let near = |a: f64, b: f64| (a - b).abs() <= 2e-6 * b.abs().max(0.1);
            assert_eq!(got.len(), 600);
            assert!(
                got.iter().zip(&want).all(|(&a, &b)| near(a.into(), b.into())),
                "{device}, {kind} plan, {limits:?}"
            );
            let [want, got] = [&wide, &narrow].map(|net| net.evaluate(&data, arch.cost).expect("an evaluation"));
            assert!(near(got.cost, want.cost) && got.accuracy == want.accuracy, "{device}: {got:?}, not {want:?}");
        }
    }
}

/// A network whose parameters alone are too many.
#[test]
fn a_network_too_large_for_the_device_is_an_error() {
    for device in common::adapters() {
        let small = device.clone().with_limits(Limits { max_binding_bytes: 100, ..Limits::HOST });
        let refused = Network::new(5).dense(5, Activation::Relu).build(&small).map(|_| ());
        assert_limit(refused, "max_storage_buffer_binding_size", "30 parameters in 100 bytes");
        assert!(Network::new(4).dense(5, Activation::Relu).build(&small).is_ok(), "{device}");
    }
}

#[test]
fn plans_that_cannot_be_are_typed_errors() {
    let arch = Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Softmax)], Cost::CategoricalCrossEntropy);
    let net = arch.build(&Device::cpu(), PlanKind::Fused, 1);
    let good = net.request(Goal::Train, arch.cost, Source::Direct, 5);
    for kind in PlanKind::ALL {
        assert!(Plan::new(kind, &good).is_ok());
        for cost in [Cost::Quadratic, Cost::BinaryCrossEntropy] {
            let refused = Plan::new(kind, &Request { cost: Some(cost), ..good });
            let said =
                matches!(&refused, Err(Error::Pairing { cost: c, activation: Activation::Softmax, .. }) if *c == cost);
            assert!(said, "{refused:?}");
        }
        for goal in [Goal::Cost, Goal::Gradients, Goal::Train] {
            let refused = Plan::new(kind, &Request { cost: None, goal, ..good });
            assert!(matches!(refused, Err(Error::InvalidOption { option: "cost", .. })), "{refused:?}");
        }
        // Outputs alone need no cost, and any will do.
        for cost in [None, Some(Cost::Quadratic)] {
            assert!(Plan::new(kind, &Request { cost, goal: Goal::Predict, ..good }).is_ok());
        }
        for rows in [0, (1 << 24) + 1, usize::MAX] {
            let refused = Plan::new(kind, &Request { rows, ..good });
            assert!(matches!(refused, Err(Error::InvalidOption { option: "batch size", .. })), "{refused:?}");
        }
        let refused = Plan::new(kind, &Request { layers: &[], ..good });
        assert!(matches!(refused, Err(Error::Architecture { .. })), "{refused:?}");
        // Data sets that no memory holds.
        for (inputs, targets) in [(Format::F32, Format::F32), (Format::U8, Format::Label)] {
            let source = Source::Dataset { len: usize::MAX, inputs, targets };
            let refused = Plan::new(kind, &Request { source, ..good });
            assert_limit(refused, "bytes of one buffer", "endless data");
        }
    }
}
