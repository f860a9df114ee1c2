//! Kernels, plans and their checks, of any sizes.

use wgrad::kernel::{Kernel, Params, Tiling};
use wgrad::plan::{BufferId, Dropout, Emphasis, Format, Goal, Limits, Plan, PlanKind, Request, Role, Source, Update};
use wgrad::real::Real;
use wgrad::verify::{
    Case, CaseRunner, DeviceRunner, Fill, Runner, Tracked, Worst, bound, check_case, check_kernel, compare, lockstep,
};
use wgrad::{Activation, Cost, Device, Layer, Network};

use crate::common::nets::Numbers;
use crate::{NUMBERS, kind, refused};

const WORDS: [u32; 8] = [0, 1, 2, 63, 65_537, 1 << 24, u32::MAX - 1, u32::MAX];

/// What the table says of a kernel is a number, whatever the kernel is told.
#[test]
fn kernels_told_anything() {
    let mut numbers = Numbers(5);
    let tilings = [Tiling::GPU, Tiling::Registers, Tiling::Workgroup { busy: 0 }, Tiling::Workgroup { busy: u32::MAX }];
    let mut cases = 0;
    for &kernel in Kernel::ALL {
        for tiling in tilings {
            assert!(kernel.workgroup_bytes(tiling) <= 16 << 10 && kernel.entry(tiling).workgroup[0] > 0);
            for _ in 0..300 {
                let mut word = || WORDS[numbers.below(8) as usize];
                let (rows, inputs, outputs, w, b) = (word(), word(), word(), word(), word());
                let (k_begin, k_end, activation, cost) = (word(), word(), word(), word());
                let (format, count, rule, first) = (word(), word(), word(), word());
                let mut p =
                    Params { rows, inputs, outputs, w, b, k_begin, k_end, activation, cost, ..Params::default() };
                (p.format, p.count, p.rule, p.first) = (format, count, rule, first);
                assert_eq!(p.words()[12], first);
                let groups = kernel.groups(&p, tiling);
                for max_groups in [0, 1, 65_535, u32::MAX] {
                    let limits = Limits { max_groups, ..Limits::HOST };
                    match limits.grids(kernel, groups) {
                        Err(error) => assert_eq!(kind(&error), "limit"),
                        Ok(grids) => {
                            let all: u128 =
                                grids.iter().map(|grid| grid.size.map(u128::from).iter().product::<u128>()).sum();
                            assert!(all >= u128::from(groups) && grids.len() <= 4096, "{}: {grids:?}", kernel.name());
                        }
                    }
                }
                for iterations in [0, 1, 30_000, u64::MAX] {
                    let _ = kernel.most_terms(&p, iterations, tiling);
                }
                let _ = (kernel.iterations(&p, tiling), kernel.sum_length(&p), kernel.constants(&p, tiling, word()));
                cases += 1;
            }
        }
    }
    println!("{cases} kernels with parameters");
    // Such a layer is in no network, but its fields are public.
    let endless = Layer { inputs: usize::MAX, outputs: usize::MAX, activation: Activation::Tanh, w: 7, b: usize::MAX };
    assert!(endless.weights().start == 7 && endless.biases().is_empty());
}

/// A plan for any request is one that can be, or a typed error; and is recorded in no time.
#[test]
fn plans_of_any_request() {
    let mut numbers = Numbers(9);
    let mut pick = |from: &[u64]| from[numbers.below(u32::try_from(from.len()).expect("few")) as usize];
    let sizes = |n: u64| usize::try_from(n).expect("64 bits");
    let net =
        Network::new(5).dense(7, Activation::Tanh).dense(3, Activation::Sigmoid).build(&Device::cpu()).expect("one");
    let mut layers = [net.layers().to_vec(), net.layers()[1..].to_vec(), Vec::new(), net.layers().to_vec()];
    layers[3][1].inputs = usize::MAX;
    let counts = [0, 1, 2, 10, 1000, 1 << 24, (1 << 24) + 1, u64::from(u32::MAX), 1 << 40, u64::MAX];
    let goals = [
        Goal::Predict,
        Goal::Cost,
        Goal::Answers,
        Goal::Errors,
        Goal::Gradients,
        Goal::Train,
        Goal::Update,
        Goal::Train,
    ];
    let formats = [Format::F32, Format::U8, Format::Label];
    let rates = [&[][..], &[0.5], &[0.0; 9], &[f32::NAN], &[1.0], &[0.1, -1.0]];
    let (mut made, mut refused) = (0_u32, 0_u32);
    for _ in 0..20_000 {
        let source = match pick(&[0, 1, 1]) {
            0 => Source::Direct,
            _ => Source::Dataset {
                len: sizes(pick(&counts)),
                inputs: formats[sizes(pick(&[0, 1, 2]))],
                targets: formats[sizes(pick(&[0, 1, 2]))],
            },
        };
        let small =
            |pick: &mut dyn FnMut(&[u64]) -> u64| u32::try_from(pick(&[0, 1, 7, 1 << 14, 1 << 31])).expect("32 bits");
        let host = pick(&[0, 1]) == 0;
        let limits = Limits {
            max_groups: small(&mut pick),
            max_storage_buffers: small(&mut pick),
            max_workgroup_bytes: small(&mut pick),
            max_binding_bytes: pick(&counts),
            max_data_bytes: pick(&counts),
            max_iterations: pick(&counts),
            tiling: if host { Tiling::Registers } else { Tiling::Workgroup { busy: small(&mut pick) } },
            lanes: small(&mut pick),
            persistent_up_to: pick(&counts),
            output_layer_up_to: pick(&counts),
        };
        let request = Request {
            layers: &layers[sizes(pick(&[0, 0, 0, 0, 0, 1, 2, 3]))],
            cost: [Some(Cost::Quadratic), Some(Cost::BinaryCrossEntropy), Some(Cost::CategoricalCrossEntropy), None]
                [sizes(pick(&[0, 0, 1, 2, 3]))],
            goal: goals[sizes(pick(&[0, 1, 2, 3, 4, 5, 6, 7]))],
            source,
            held: [None, Some(sizes(pick(&counts)))][sizes(pick(&[0, 1]))],
            rows: sizes(pick(&counts)),
            limits: if pick(&[0, 1, 2]) > 0 { Limits::HOST } else { limits },
            update: Update::default(),
            dropout: Dropout { rates: rates[sizes(pick(&[0, 0, 1, 2, 3, 4, 5]))], seed: 3 },
            emphasis: Emphasis { smoothing: [0.0, f32::NAN][sizes(pick(&[0, 0, 0, 1]))], ..Emphasis::default() },
        };
        let _ = request.choice();
        let kind_of = PlanKind::ALL[sizes(pick(&[0, 1, 2]))];
        let networks = sizes(pick(&[0, 1, 3, 1 << 32, u64::MAX]));
        for plan in [Plan::new(kind_of, &request), Plan::population(&request, networks)] {
            match plan {
                Ok(plan) => {
                    made += 1;
                    assert!(plan.rows == request.rows && plan.networks > 0, "{request:?}");
                    let longest = plan.buffers.iter().map(|buffer| buffer.len).max().expect("a buffer");
                    assert!(longest as u64 <= request.limits.max_binding_bytes.min(u32::MAX.into()) / 4, "{request:?}");
                    // Sizes that had overflowed would be too short.
                    if let (Source::Dataset { len, .. }, Some(order)) = (source, plan.place(Role::Order, 0)) {
                        assert!(order.len >= len, "{len} examples in an order of {}", order.len);
                    }
                    let rows = |role, columns: usize| {
                        plan.buffer(role).is_none_or(|id| plan.buffers[id.0].len >= request.rows * columns)
                    };
                    assert!(rows(Role::X, 5) && rows(Role::Y, 3) && rows(Role::Output, 3), "{request:?}");
                    assert!(plan.place(Role::Parameters, usize::MAX).is_none() || plan.kind != PlanKind::Persistent);
                    assert_eq!(plan.root(BufferId(usize::MAX)), BufferId(usize::MAX));
                }
                Err(error) => {
                    refused += 1;
                    let kinds = ["architecture", "pairing", "option", "limit", "empty", "several"];
                    assert!(kinds.contains(&kind(&error)), "{error}");
                }
            }
        }
    }
    println!("{made} plans, {refused} refused");
    assert!(made > 500 && refused > 500);
}

fn plan(kind: PlanKind) -> Plan {
    let net =
        Network::new(3).dense(4, Activation::Tanh).dense(2, Activation::Sigmoid).build(&Device::cpu()).expect("one");
    let source = Source::Dataset { len: 7, inputs: Format::F32, targets: Format::Label };
    let request = net.request(Goal::Train, Cost::Quadratic, source, 4);
    Plan::new(kind, &Request { limits: Limits::default(), ..request }).expect("a plan")
}

type Change = (&'static str, fn(&mut Plan));

/// What a plan is made of is public; one that cannot be is refused before anything of it is run.
#[test]
fn plans_that_were_changed() {
    let changes: [Change; 9] = [
        ("shape", |plan| plan.rows = 0),
        ("shape", |plan| plan.networks = 0),
        ("shape", |plan| plan.rounds[0].steps = 0..usize::MAX),
        #[allow(clippy::reversed_empty_ranges, reason = "it is what is tested")]
        ("shape", |plan| plan.rounds[0].steps = 1..0),
        ("shape", |plan| plan.buffers.clear()),
        ("shape", |plan| plan.steps[0].bindings.clear()),
        ("shape", |plan| plan.buffers[0].head = vec![7; plan.buffers[0].len + 1]),
        ("limit", |plan| plan.buffers[1].len = 1 << 40),
        ("limit", |plan| plan.buffers.iter_mut().for_each(|buffer| buffer.len = buffer.len.max(usize::MAX - 3))),
    ];
    let mut count = 0;
    for device in crate::common::devices() {
        for kind in PlanKind::ALL {
            let good = plan(kind);
            let runner = || DeviceRunner::new(&device, &good).expect("a runner");
            for (want, change) in changes {
                let mut changed = good.clone();
                change(&mut changed);
                let _ = (changed.place(Role::Order, 0), changed.place(Role::Parameters, 1), changed.buffer(Role::X));
                refused(DeviceRunner::new(&device, &changed), want, &format!("{device}, {kind} plan: a runner"));
                let stepped = lockstep(&changed, &mut runner(), &mut runner(), 1, 1);
                refused(stepped, want, &format!("{device}, {kind} plan: lockstep"));
                count += 2;
            }
            let mut runner = runner();
            refused(runner.run(usize::MAX), "shape", "a step that there is not");
            refused(runner.write(BufferId(usize::MAX), &[1]), "shape", "a buffer that there is not");
            refused(pollster::block_on(runner.read(BufferId(good.buffers.len()))), "shape", "one past the last");
            let long = vec![0; good.buffers[0].len + 1];
            assert!(runner.write(BufferId(0), &long).is_err(), "{device}: more words than the buffer has");
            assert!(runner.write(BufferId(0), &[]).is_ok(), "{device}");
        }
    }
    println!("{count} plans refused");
}

#[test]
fn cases_that_cannot_be() {
    for shape in [[0, 1, 1], [1, 65_537, 1], [1 << 13, 1 << 13, 1], [u32::MAX; 3]] {
        let made = || Case::new(Kernel::MatmulNt, shape, Fill::Ordinary, 0, 0);
        assert!(std::panic::catch_unwind(made).is_err(), "{shape:?} panics, as documented");
        refused(check_kernel(&Device::cpu(), Kernel::Tally, &[shape], 1), "option", "the same as an error");
    }
    for &kernel in Kernel::ALL {
        let case = Case::new(kernel, [2, 3, 2], Fill::Extreme, u32::MAX, u64::MAX);
        assert!(case.kernel() == kernel && Case::variants(kernel) > 0);
        refused(case.judge(&[]), "shape", "no buffers");
        let none = vec![Vec::new(); kernel.info().bindings.len()];
        refused(case.judge(&none), "disagreement", "buffers without words");
        let mut runner = CaseRunner::new(&Device::cpu(), &case).expect("a runner");
        runner.run(0).expect("nothing to do");
        runner.run(1).expect("once");
        let check = check_case(&Device::cpu(), &case).expect("the CPU runs every case");
        assert!(check.kernel == kernel && check.cases == 1 && check.passed(), "{}: {}", kernel.name(), check.worst);
    }
}

#[test]
fn comparisons_of_any_numbers() {
    for &got in &NUMBERS {
        for &want in &NUMBERS {
            let tracked = Tracked::constant(want);
            let limit = bound(u64::MAX, &tracked);
            let mut worst = Worst::default();
            worst.add(usize::MAX, got, want, limit);
            let good = (got - want).abs() <= limit && limit.is_finite() && (got - want).is_finite();
            assert_eq!(worst.passed(), good, "{got} for {want} +- {limit}");
            worst.merge(&Worst::default());
            worst.add_word(0, u32::MAX, 0);
            assert!(!worst.passed());
        }
    }
    assert!(!compare(&[], &[], u64::MAX).passed() && !compare(&[1.0], &[], 0).passed());
}
