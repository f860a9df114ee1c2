//! Optimisers and regularisation: 20 steps against PyTorch's numbers, whole runs against the f64 reference, what each setting does,
//! and what a network remembers between steps.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices, the values and the worst errors are the result of these tests")]

mod common;

use common::nets::{Arch, Numbers, arena, bits, examples};
use serde_json::Value;
use wgrad::plan::PlanKind;
use wgrad::reference::{Descent, Example};
use wgrad::{
    Activation, Adam, AdamW, Batches, Cost, Dataset, Device, Error, Layer, Momentum, Nesterov, Network, Optimizer,
    RmsProp, Sgd, Trainer,
};

// ---- PyTorch's numbers ------------------------------------------------------------------------------------------

/// The reference repeats PyTorch's f64, up to the order of its sums.
const REFERENCE: f64 = 1e-13;
/// The default settings are no numbers of f32: 0.999 is off by 1e-8 there.
const REFERENCE_WITH_DEFAULTS: f64 = 1e-6;
/// 20 steps in f32; a few times what they are off by in practice.
const BACKENDS: f64 = 2e-5;

struct Golden {
    arch: Arch,
    x: Vec<f32>,
    y: Vec<f32>,
    parameters: Vec<f32>,
    cases: Vec<GoldenCase>,
}

struct GoldenCase {
    name: String,
    optimizer: Optimizer,
    defaults: bool,
    costs: Vec<f64>,
    /// The arena after some steps.
    steps: Vec<(usize, Vec<f64>)>,
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

#[allow(clippy::cast_possible_truncation, reason = "these are exact in f32, or are wanted as f32 has them")]
fn f32s(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn optimizer(name: &str, settings: &Value) -> Optimizer {
    let get = |key: &str| settings.get(key).map(|v| f32s(&numbers(v))[0]);
    let want = |key: &str| get(key).unwrap_or_else(|| panic!("{name} has no {key}"));
    let eta = want("eta");
    let decay = get("weight_decay").unwrap_or(0.0);
    macro_rules! finish {
        ($optimizer:expr) => {{
            let mut optimizer = $optimizer.weight_decay(decay);
            if let Some(c) = get("clip_value") {
                optimizer = optimizer.clip_value(c);
            }
            if let Some(c) = get("clip_norm") {
                optimizer = optimizer.clip_norm(c);
            }
            optimizer.into()
        }};
    }
    match name {
        "sgd" => finish!(Sgd::new(eta)),
        "momentum" => finish!(Momentum::new(eta).mu(want("mu"))),
        "nesterov" => finish!(Nesterov::new(eta).mu(want("mu"))),
        "rmsprop" => finish!(RmsProp::new(eta).alpha(want("alpha")).epsilon(want("epsilon"))),
        "adam" => finish!(Adam::new(eta).betas(want("beta_1"), want("beta_2")).epsilon(want("epsilon"))),
        "adamw" => finish!(AdamW::new(eta).betas(want("beta_1"), want("beta_2")).epsilon(want("epsilon"))),
        other => panic!("no optimiser is called {other}"),
    }
}

fn golden() -> Golden {
    let file: Value = serde_json::from_str(include_str!("golden/optimizers.json")).expect("optimizers.json is JSON");
    let sizes: Vec<usize> =
        file["sizes"].as_array().expect("sizes").iter().map(|n| n.as_u64().expect("a size") as usize).collect();
    let arch = Arch::new(sizes[0], &[(sizes[1], Activation::Tanh), (sizes[2], Activation::Sigmoid)], Cost::Quadratic);
    // All weights, then all biases, as in the arena.
    let flat = |value: &Value| [numbers(&value["w"]), numbers(&value["b"])].concat();
    let parameters = flat(&file);
    assert!(f32s(&parameters).iter().zip(&parameters).all(|(&got, &want)| (f64::from(got) - want).abs() == 0.0));
    let cases = file["cases"].as_array().expect("cases").iter().map(|case| {
        let name = case["optimizer"].as_str().expect("a name");
        let settings = &case["settings"];
        let steps = case["steps"].as_object().expect("steps");
        let mut steps: Vec<(usize, Vec<f64>)> =
            steps.iter().map(|(number, step)| (number.parse().expect("a number"), flat(step))).collect();
        steps.sort_by_key(|step| step.0);
        assert!(steps.len() == 5 && steps.iter().all(|(_, flat)| flat.len() == parameters.len()));
        GoldenCase {
            name: format!("{name} {settings}"),
            optimizer: optimizer(name, settings),
            defaults: settings.get("beta_2").is_some_and(|b| numbers(b)[0] == 0.999),
            costs: numbers(&case["costs"]),
            steps,
        }
    });
    Golden {
        x: f32s(&numbers(&file["x"])),
        y: f32s(&numbers(&file["y"])),
        parameters: f32s(&parameters),
        cases: cases.collect(),
        arch,
    }
}

/// The largest difference, as a part of the largest wanted number; NaN is infinitely far.
fn distance(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(0.0_f64, |scale, w| scale.max(w.abs()));
    got.iter().zip(want).fold(0.0, |far: f64, (got, want)| {
        let error = (got - want).abs() / scale;
        if error.is_nan() { f64::INFINITY } else { far.max(error) }
    })
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| x.into()).collect()
}

/// The file has each optimiser with and without decay, and each kind of clipping.
#[test]
fn the_golden_file_has_every_optimizer() {
    let golden = golden();
    for name in ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"] {
        let of = |decays: bool| {
            let decay = |o: &Optimizer| o.regularization().l2 + o.regularization().decoupled > 0.0;
            golden.cases.iter().filter(|case| case.optimizer.name() == name && decay(&case.optimizer) == decays).count()
        };
        assert!(of(true) >= 1 && of(false) >= 1, "{name}");
    }
    assert!(golden.cases.iter().any(|case| case.optimizer.regularization().clip_value.is_some()));
    assert!(golden.cases.iter().any(|case| case.optimizer.regularization().clip_norm.is_some()));
    assert!(golden.cases.iter().all(|case| case.costs.len() == 21));
}

fn reference_run(golden: &Golden, case: &GoldenCase, optimizer: Optimizer) -> f64 {
    let net = golden.arch.build(&Device::cpu(), PlanKind::Fused, 0);
    let rows = examples(&golden.x, 4, &golden.y, 3);
    let mut reference = golden.arch.reference(net.layers(), &golden.parameters);
    let mut descent = Descent::new(&reference, optimizer).expect("settings that can be");
    let mut worst = 0.0_f64;
    for (number, &cost) in (1..).zip(&case.costs) {
        worst = worst.max(distance(&[reference.mean_cost(&rows).expect("a cost")], &[cost]));
        if number == case.costs.len() {
            break;
        }
        descent.step(&mut reference, &rows).expect("a step");
        if let Some((_, want)) = case.steps.iter().find(|step| step.0 == number) {
            worst = worst.max(distance(&arena(net.layers(), &reference.weights, &reference.biases), want));
        }
    }
    worst
}

#[test]
fn the_reference_repeats_20_steps_of_pytorch() {
    let golden = golden();
    let mut values = 0;
    for case in &golden.cases {
        let worst = reference_run(&golden, case, case.optimizer);
        let bound = if case.defaults { REFERENCE_WITH_DEFAULTS } else { REFERENCE };
        println!("{}: within {worst:.1e}", case.name);
        assert!(worst <= bound, "{}: {worst:e}", case.name);
        values += case.costs.len() + case.steps.len() * golden.parameters.len();
    }
    println!("{} optimisers, {values} values", golden.cases.len());
    assert!(values >= 16 * (21 + 5 * 43));
}

/// Each setting that a case has matters to its numbers: with another one the comparison fails.
#[test]
fn other_settings_than_pytorchs_are_refused() {
    let golden = golden();
    let mut refused = 0;
    for case in &golden.cases {
        let mut others: Vec<Optimizer> = Vec::new();
        match case.optimizer {
            Optimizer::Sgd(o) => {
                let mut other = o;
                other.eta *= 1.001;
                others.extend::<[Optimizer; 2]>([other.into(), o.l1(1e-3).into()]);
            }
            Optimizer::Momentum(o) => {
                others.extend::<[Optimizer; 2]>([o.mu(o.mu * 1.001).into(), o.weight_decay(1e-3).into()])
            }
            Optimizer::Nesterov(o) => {
                let mut momentum = Momentum::new(o.eta).mu(o.mu);
                momentum.regularization = o.regularization;
                others.extend::<[Optimizer; 2]>([o.mu(o.mu * 1.001).into(), momentum.into()]);
            }
            Optimizer::RmsProp(o) => {
                others.extend::<[Optimizer; 2]>([o.alpha(o.alpha * 1.001).into(), o.epsilon(o.epsilon * 2.0).into()])
            }
            Optimizer::Adam(o) => {
                others.extend::<[Optimizer; 2]>([
                    o.betas(o.beta_1 * 1.001, o.beta_2).into(),
                    o.betas(o.beta_1, o.beta_2 * 0.999).into(),
                ]);
            }
            Optimizer::AdamW(o) => {
                others.extend::<[Optimizer; 2]>([
                    o.betas(o.beta_1 * 1.001, o.beta_2).into(),
                    o.weight_decay(0.02).into(),
                ]);
            }
            other => panic!("an optimiser that nobody knows: {other}"),
        }
        for other in others {
            let worst = reference_run(&golden, case, other);
            assert!(worst > REFERENCE_WITH_DEFAULTS, "{}: {other:?} is only {worst:e} off", case.name);
            refused += 1;
        }
    }
    println!("negative controls: {refused} refused");
    assert!(refused >= 32);
}

#[test]
fn backends_repeat_20_steps_of_pytorch() {
    let golden = golden();
    for (device, kind) in common::devices_and_plans() {
        let (mut worst, mut values) = (0.0_f64, 0);
        for case in &golden.cases {
            let mut net = golden.arch.build(&device, kind, 0);
            net.set_parameters(&golden.parameters).expect("finite");
            for (number, &cost) in (1..).zip(&case.costs) {
                let got = net.cost(&golden.x, &golden.y, Cost::Quadratic).expect("a cost");
                let far = distance(&[got.into()], &[cost]);
                assert!(far <= BACKENDS, "{device}, {kind} plan, {}: cost {number} is {far:e} off", case.name);
                values += 1;
                if number == case.costs.len() {
                    break;
                }
                net.update_mini_batch(&golden.x, &golden.y, Cost::Quadratic, case.optimizer).expect("a step");
                assert_eq!(net.optimizer_steps(), number as u64);
                if let Some((_, want)) = case.steps.iter().find(|step| step.0 == number) {
                    let far = distance(&wide(&net.parameters().expect("parameters")), want);
                    assert!(far <= BACKENDS, "{device}, {kind} plan, {}: step {number} is {far:e} off", case.name);
                    worst = worst.max(far);
                    values += want.len();
                }
            }
        }
        println!("{device}, {kind} plan: {} optimisers, {values} values, within {worst:.1e}", golden.cases.len());
    }
}

// ---- whole runs -------------------------------------------------------------------------------------------------

/// Every optimiser with every kind of regularisation.
fn all() -> Vec<Optimizer> {
    let mut all = Vec::new();
    macro_rules! with_regularization {
        ($($optimizer:expr),*) => {$(
            let o = $optimizer;
            all.extend::<[Optimizer; 7]>([
                o.into(),
                o.weight_decay(0.01).into(),
                o.l1(0.003).into(),
                o.decoupled_decay(0.05).into(),
                o.max_norm(0.9).into(),
                o.clip_value(0.01).into(),
                o.clip_norm(0.1).into(),
            ]);
            // All at once.
            let o = o.weight_decay(0.01).l1(0.002).decoupled_decay(0.02).max_norm(1.0).clip_value(0.02).clip_norm(0.2);
            all.push(o.into());
        )*};
    }
    with_regularization!(
        Sgd::new(0.3),
        Momentum::new(0.1),
        Nesterov::new(0.1),
        RmsProp::new(0.01).epsilon(1e-3),
        Adam::new(0.02).epsilon(1e-3),
        AdamW::new(0.02).epsilon(1e-3).weight_decay(0.0)
    );
    all
}

/// Where the data comes from: mini-batches of the host, or a data set on the device.
fn run(net: &mut Network, x: &[f32], y: &[f32], cost: Cost, optimizer: Optimizer, resident: bool) {
    let (inputs, outputs) = (net.inputs(), net.outputs());
    let rows = x.len() / inputs;
    if resident {
        let data = Dataset::new(x.to_vec(), inputs, y.to_vec(), outputs).expect("data");
        Trainer::new(cost, optimizer).batch_size(5).epochs(3).seed(7).fit(net, &data, None).expect("training");
        return;
    }
    for rows in mini_batches(rows) {
        let pick = |from: &[f32], n: usize| -> Vec<f32> {
            rows.iter().flat_map(|&row| &from[row as usize * n..][..n]).copied().collect()
        };
        net.update_mini_batch(&pick(x, inputs), &pick(y, outputs), cost, optimizer).expect("a step");
    }
}

/// Those of three epochs.
fn mini_batches(rows: usize) -> Vec<Vec<u32>> {
    let batches = Batches::new(rows, 5, 7).expect("mini-batches");
    (0..3).flat_map(|epoch| batches.split(&batches.order(epoch)).map(<[u32]>::to_vec).collect::<Vec<_>>()).collect()
}

#[test]
fn three_epochs_are_what_the_reference_computes() {
    let cost = Cost::CategoricalCrossEntropy;
    let arch = Arch::new(6, &[(9, Activation::Tanh), (4, Activation::Softmax)], cost);
    let (x, y) = arch.data(23, 3);
    let every: Vec<Example> = examples(&x, 6, &y, 4);
    for (device, kind) in common::devices_and_plans() {
        let (mut worst, mut compared) = (0.0_f64, 0);
        for optimizer in all() {
            let start = arch.build(&device, kind, 2);
            let first = start.parameters().expect("parameters");
            let layers: Vec<Layer> = start.layers().to_vec();
            let mut reference = arch.reference(&layers, &first);
            let mut descent = Descent::new(&reference, optimizer).expect("settings that can be");
            for rows in mini_batches(23) {
                let rows: Vec<_> = rows.iter().map(|&row| every[row as usize].clone()).collect();
                descent.step(&mut reference, &rows).expect("a step");
            }
            let want = arena(&layers, &reference.weights, &reference.biases);
            assert!(distance(&wide(&first), &want) > 0.01, "{optimizer:?} hardly moves");
            for resident in [true, false] {
                let mut net = arch.build(&device, kind, 2);
                run(&mut net, &x, &y, cost, optimizer, resident);
                assert_eq!(net.optimizer_steps(), 15);
                let far = distance(&wide(&net.parameters().expect("parameters")), &want);
                assert!(far <= 1e-4, "{device}, {kind} plan, {optimizer:?}, resident {resident}: {far:e}");
                worst = worst.max(far);
                compared += want.len();
            }
        }
        println!("{device}, {kind} plan: {compared} parameters of {} optimisers, within {worst:.1e}", all().len());
        assert!(compared == all().len() * 2 * 103);
    }
}

#[test]
fn every_setting_changes_the_result() {
    let arch = Arch::new(6, &[(9, Activation::Tanh), (4, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(23, 5);
    let base = Adam::new(0.02);
    let nesterov = Nesterov::new(0.1);
    let changed: Vec<(&str, Optimizer, Optimizer)> = vec![
        ("eta", base.into(), Adam::new(0.021).into()),
        ("beta_1", base.into(), base.betas(0.8, 0.999).into()),
        ("beta_2", base.into(), base.betas(0.9, 0.99).into()),
        ("epsilon", base.into(), base.epsilon(1e-3).into()),
        ("weight_decay", base.into(), base.weight_decay(0.01).into()),
        ("lambda", base.into(), base.lambda(0.23, 23).into()),
        ("l1", base.into(), base.l1(0.01).into()),
        ("decoupled_decay", base.into(), base.decoupled_decay(0.1).into()),
        ("max_norm", base.into(), base.max_norm(0.8).into()),
        ("clip_value", base.clip_value(0.1).into(), base.clip_value(0.001).into()),
        ("clip_norm", Sgd::new(0.3).into(), Sgd::new(0.3).clip_norm(0.1).into()),
        ("decoupled, not coupled", base.weight_decay(0.1).into(), AdamW::new(0.02).weight_decay(0.1).into()),
        ("mu", nesterov.into(), nesterov.mu(0.8).into()),
        ("Nesterov", nesterov.into(), Momentum::new(0.1).into()),
        ("momentum", Momentum::new(0.1).into(), Sgd::new(0.1).into()),
        ("alpha", RmsProp::new(0.01).into(), RmsProp::new(0.01).alpha(0.9).into()),
        ("epsilon of rmsprop", RmsProp::new(0.01).into(), RmsProp::new(0.01).epsilon(0.1).into()),
    ];
    for (device, kind) in common::devices_and_plans() {
        let end = |optimizer: Optimizer| {
            let mut net = arch.build(&device, kind, 2);
            run(&mut net, &x, &y, Cost::Quadratic, optimizer, true);
            net.parameters().expect("parameters")
        };
        for (what, one, other) in &changed {
            let [one, other] = [end(*one), end(*other)];
            let far = distance(&wide(&one), &wide(&other));
            assert!(far > 1e-4 && far.is_finite(), "{device}, {kind} plan: {what} moves nothing by more than {far:e}");
        }
        println!("{device}, {kind} plan: {} settings change the result", changed.len());
    }
    // The book's lambda is a weight decay of lambda / n.
    assert_eq!(base.lambda(0.23, 23).regularization.l2.to_bits(), 0.01_f32.to_bits());
}

#[test]
fn bounds_are_kept() {
    let arch = Arch::new(6, &[(9, Activation::Tanh), (4, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(23, 5);
    let norm = |numbers: &[f32]| numbers.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    for (device, kind) in common::devices_and_plans() {
        let mut net = arch.build(&device, kind, 2);
        net.update_mini_batch(&x, &y, Cost::Quadratic, Adam::new(0.5).max_norm(0.75)).expect("a step");
        let parameters = net.parameters().expect("parameters");
        let (mut largest, mut neurons) = (0.0_f64, 0);
        for layer in net.layers() {
            for row in parameters[layer.weights()].chunks(layer.inputs) {
                largest = largest.max(norm(row));
                neurons += 1;
            }
        }
        assert!(neurons == 13 && largest <= 0.75 * (1.0 + 1e-6) && largest > 0.74, "{device}, {kind} plan: {largest}");
        let before = parameters;
        net.update_mini_batch(&x, &y, Cost::Quadratic, Sgd::new(1.0).clip_norm(1e-3)).expect("a step");
        let moved = |after: &[f32]| -> Vec<f32> { after.iter().zip(&before).map(|(a, b)| a - b).collect() };
        let step = norm(&moved(&net.parameters().expect("parameters")));
        assert!((step / 1e-3 - 1.0).abs() < 1e-3, "{device}, {kind} plan: a step of {step}");
        net.set_parameters(&before).expect("finite");
        net.update_mini_batch(&x, &y, Cost::Quadratic, Sgd::new(1.0).clip_value(1e-4)).expect("a step");
        let step = moved(&net.parameters().expect("parameters")).iter().fold(0.0_f32, |m, s| m.max(s.abs()));
        assert!((step / 1e-4 - 1.0).abs() < 1e-2, "{device}, {kind} plan: a component of {step}");
    }
}

// ---- what is remembered -----------------------------------------------------------------------------------------

#[test]
fn memory_goes_on_from_call_to_call_and_ends_as_stated() {
    let arch = Arch::new(3, &[(4, Activation::Tanh), (2, Activation::Sigmoid)], Cost::Quadratic);
    let (x, y) = arch.data(1, 5);
    let data = Dataset::new(x.clone(), 3, y.clone(), 2).expect("data");
    let cost = Cost::Quadratic;
    for (device, kind) in common::devices_and_plans() {
        let fits = |epochs: &[usize], between: &dyn Fn(&mut Network)| {
            let mut net = arch.build(&device, kind, 2);
            for (i, &epochs) in epochs.iter().enumerate() {
                if i > 0 {
                    between(&mut net);
                }
                Trainer::new(cost, Adam::new(0.02)).epochs(epochs).fit(&mut net, &data, None).expect("training");
            }
            (bits(&net.parameters().expect("parameters")), net.optimizer_steps())
        };
        let whole = fits(&[5], &|_| {});
        assert_eq!(whole.1, 5);
        assert_eq!(fits(&[2, 3], &|_| {}), whole, "{device}, {kind} plan: a second fit goes on");
        let reset = fits(&[2, 3], &|net| net.reset_optimizer().expect("zeros"));
        assert!(reset.0 != whole.0 && reset.1 == 3, "{device}, {kind} plan: a reset forgets");
        let read = fits(&[2, 3], &|net| {
            net.predict(&x).expect("outputs");
            net.cost(&x, &y, cost).expect("a cost");
            net.evaluate(&data, cost).expect("an evaluation");
        });
        assert_eq!(read, whole, "{device}, {kind} plan: looking changes nothing");

        // Another kind starts again, and so does the first after it.
        let other = fits(&[2, 3], &|net| {
            let before = net.parameters().expect("parameters");
            net.update_mini_batch(&x, &y, cost, Momentum::new(1e-3)).expect("a step");
            assert_eq!(net.optimizer_steps(), 1);
            net.set_parameters(&before).expect("finite");
        });
        assert_eq!(other, reset, "{device}, {kind} plan: another kind forgets");
        // The same kind with other numbers goes on.
        let mut net = arch.build(&device, kind, 2);
        net.update_mini_batch(&x, &y, cost, Adam::new(0.02)).expect("a step");
        net.update_mini_batch(&x, &y, cost, Adam::new(0.01).clip_norm(1.0)).expect("a step");
        assert_eq!(net.optimizer_steps(), 2);
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let mut numbers = Numbers(1);
    let (x, y) = (numbers.many(3), numbers.many(2));
    let mut net = Arch::new(3, &[(2, Activation::Identity)], Cost::Quadratic).build(&Device::cpu(), PlanKind::Fused, 1);
    let adam = Adam::new(0.1);
    let refused: Vec<(&str, Optimizer)> = vec![
        ("eta", Sgd::new(0.0).into()),
        ("eta", Adam::new(f32::NAN).into()),
        ("mu", Momentum::new(0.1).mu(1.0).into()),
        ("mu", Nesterov::new(0.1).mu(-0.1).into()),
        ("alpha", RmsProp::new(0.1).alpha(1.5).into()),
        ("epsilon", RmsProp::new(0.1).epsilon(0.0).into()),
        ("beta_1", adam.betas(1.0, 0.9).into()),
        ("beta_2", AdamW::new(0.1).betas(0.9, f32::NAN).into()),
        ("epsilon", adam.epsilon(-1.0).into()),
        ("weight_decay", adam.weight_decay(-1.0).into()),
        ("weight_decay", adam.lambda(1.0, 0).into()),
        ("l1", adam.l1(f32::INFINITY).into()),
        ("decoupled_decay", AdamW::new(0.1).weight_decay(-0.1).into()),
        ("max_norm", adam.max_norm(0.0).into()),
        ("clip_value", adam.clip_value(-1.0).into()),
        ("clip_norm", adam.clip_norm(f32::NAN).into()),
    ];
    let before = net.parameters().expect("parameters");
    for (name, optimizer) in &refused {
        let result = net.update_mini_batch(&x, &y, Cost::Quadratic, *optimizer);
        let Err(Error::InvalidOption { option, .. }) = result else { panic!("{optimizer:?}: {result:?}") };
        assert_eq!(option, *name, "{optimizer:?}");
        let data = Dataset::new(x.clone(), 3, y.clone(), 2).expect("data");
        assert!(Trainer::new(Cost::Quadratic, *optimizer).fit(&mut net, &data, None).is_err(), "{optimizer:?}");
    }
    assert_eq!(bits(&net.parameters().expect("parameters")), bits(&before));
    assert_eq!(net.optimizer_steps(), 0);
}
