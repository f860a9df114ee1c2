//! Weights of rows and classes, and label smoothing: what they do to a step, that they do something, and that nothing evaluated has them.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the devices and what was compared on them are the result of these tests")]

mod common;

use common::nets::{Arch, arena, bits};
use wgrad::data::Batches;
use wgrad::plan::PlanKind;
use wgrad::reference::{Example, smoothed};
use wgrad::{Activation, Adam, Cost, Dataset, Device, Error, Network, Population, Sgd, Trainer};

/// A network of every plan, and whether its data are labels.
fn archs() -> [(Arch, bool); 5] {
    use Activation::{Identity, Sigmoid, Softmax, Tanh};
    [
        (Arch::new(3, &[(6, Tanh), (4, Softmax)], Cost::CategoricalCrossEntropy), true),
        (Arch::new(3, &[(5, Tanh), (3, Softmax)], Cost::CategoricalCrossEntropy), false),
        (Arch::new(3, &[(5, Tanh), (4, Sigmoid)], Cost::BinaryCrossEntropy), true),
        (Arch::new(5, &[(1, Sigmoid)], Cost::BinaryCrossEntropy), false),
        (Arch::new(4, &[(5, Sigmoid), (2, Identity)], Cost::Huber), false),
    ]
}

/// Labels that a cost has smoothing for.
fn smooths(cost: Cost) -> bool {
    matches!(cost, Cost::CategoricalCrossEntropy | Cost::BinaryCrossEntropy)
}

/// So many rows of a kind, without weights.
fn data(arch: &Arch, labels: bool, rows: usize) -> Dataset {
    let (x, y) = arch.data(rows, 7);
    if labels {
        let classes = arch.outputs();
        let labels = (0..rows).map(|row| u32::try_from(row * row % classes).expect("a class")).collect();
        return Dataset::with_labels(x, arch.inputs, labels, classes).expect("data");
    }
    Dataset::new(x, arch.inputs, y, arch.outputs()).expect("data")
}

/// Weights none of which is another's, one of them 0.
fn weights(rows: usize) -> Vec<f32> {
    (0..rows).map(|row| if row == 2 { 0.0 } else { 0.25 + 0.5 * (row * 5 % 7) as f32 }).collect()
}

/// The rows of a data set as the reference takes them, their targets smoothed.
fn examples(data: &Dataset, cost: Cost, eps: f64, rows: &[u32]) -> (Vec<Example>, Vec<f64>) {
    let wide = |row: Vec<f32>| row.into_iter().map(f64::from).collect::<Vec<_>>();
    let classes = if cost == Cost::BinaryCrossEntropy { 2 } else { data.outputs() };
    let example = |&row: &u32| {
        let (x, y) = (data.input_row(row as usize).expect("a row"), data.target_row(row as usize).expect("a row"));
        (wide(x), if eps > 0.0 { smoothed(&wide(y), eps, classes) } else { wide(y) })
    };
    let weight = |&row: &u32| data.weights().map_or(1.0, |weights| f64::from(weights[row as usize]));
    (rows.iter().map(example).collect(), rows.iter().map(weight).collect())
}

/// Three steps, the last on what is left of the data, against the reference's; and the cost and answers that are reported.
#[test]
fn steps_are_those_of_the_reference() {
    let (rows, batch, eta) = (11, 4, 0.4_f32);
    for (device, kind) in common::devices_and_plans() {
        let (mut compared, mut worst) = (0, 0.0_f64);
        for (arch, labels) in archs() {
            for (weighted, eps) in [(false, 0.0), (true, 0.0), (false, 0.25_f32), (true, 0.25)] {
                if eps > 0.0 && !smooths(arch.cost) {
                    continue;
                }
                let mut train = data(&arch, labels, rows);
                if weighted {
                    train = train.with_weights(weights(rows)).expect("weights");
                }
                let mut net = arch.build(&device, kind, 3);
                let mut reference = arch.reference(net.layers(), &net.parameters().expect("parameters"));
                let trainer = Trainer::new(arch.cost, Sgd::new(eta)).batch_size(batch).epochs(1).seed(5);
                let history = trainer.label_smoothing(eps).fit(&mut net, &train, None).expect("training");

                let order = Batches::new(rows, batch, 5).expect("batches").order(0);
                let mut cost = 0.0;
                for step in order.chunks(batch) {
                    let (examples, weights) = examples(&train, arch.cost, eps.into(), step);
                    cost += reference.weighted_cost(&examples, &weights).expect("a cost") * examples.len() as f64;
                    let (nabla_b, nabla_w) = reference.weighted_gradient(&examples, &weights).expect("a gradient");
                    let moved = reference.weights.iter_mut().flatten().zip(nabla_w.iter().flatten());
                    let biases = reference.biases.iter_mut().flatten().zip(nabla_b.iter().flatten());
                    moved.chain(biases).for_each(|(w, g)| *w -= f64::from(eta) * g);
                }
                let case = format!("{device}, {kind} plan, {arch:?}, weights {weighted}, smoothing {eps}");
                let want = arena(net.layers(), &reference.weights, &reference.biases);
                for (&got, &want) in net.parameters().expect("parameters").iter().zip(&want) {
                    let far = (f64::from(got) - want).abs();
                    assert!(far <= 3e-6, "{case}: {got}, not {want}");
                    worst = worst.max(far);
                    compared += 1;
                }
                let (got, want) = (history.epochs[0].train_cost, cost / rows as f64);
                assert!((got - want).abs() <= 1e-5 * want, "{case}: cost {got}, not {want}");
                let hits = history.epochs[0].train_accuracy * rows as f64;
                assert!((hits - hits.round()).abs() < 1e-9, "{case}: {hits} rows are right");
            }
        }
        println!("{device}, {kind} plan: {compared} parameters, within {worst:.1e}");
        assert_eq!(compared, 4 * (52 + 38 + 44 + 6) + 2 * 37);
    }
}

/// The parameters after training, and what was held out afterwards.
fn run(
    device: &Device,
    kind: PlanKind,
    (arch, _): &(Arch, bool),
    train: &Dataset,
    test: &Dataset,
    eps: f32,
) -> [Vec<u32>; 2] {
    let mut net = arch.build(device, kind, 3);
    let mut trainer = Trainer::new(arch.cost, Adam::new(0.01)).batch_size(4).epochs(2).label_smoothing(eps);
    let history = trainer.fit(&mut net, train, Some(test)).expect("training");
    let held_out = history.epochs[1].test.expect("a test");
    let evaluated = net.evaluate(test, arch.cost).expect("an evaluation");
    assert_eq!(held_out.cost.to_bits(), evaluated.cost.to_bits());
    let evaluated = vec![(evaluated.cost as f32).to_bits(), (evaluated.accuracy as f32).to_bits()];
    [bits(&net.parameters().expect("parameters")), evaluated]
}

#[test]
fn each_changes_the_result_and_none_of_them_what_is_evaluated() {
    for (device, kind) in common::devices_and_plans() {
        for arch in archs() {
            let plain = data(&arch.0, arch.1, 11);
            let weighted = plain.with_weights(weights(11)).expect("weights");
            let ones = plain.with_weights(vec![1.0; 11]).expect("weights");
            let case = format!("{device}, {kind} plan, {:?}", arch.0);
            let first = run(&device, kind, &arch, &plain, &plain, 0.0);
            assert_eq!(run(&device, kind, &arch, &ones, &plain, 0.0), first, "{case}: weights of 1 do something");
            assert_eq!(run(&device, kind, &arch, &plain, &weighted, 0.0), first, "{case}: a test row has a weight");
            assert_ne!(run(&device, kind, &arch, &weighted, &plain, 0.0)[0], first[0], "{case}: weights do nothing");
            if smooths(arch.0.cost) {
                let smoothed = run(&device, kind, &arch, &plain, &plain, 0.1);
                assert_ne!(smoothed[0], first[0], "{case}: smoothing does nothing");
                assert_ne!(
                    run(&device, kind, &arch, &plain, &plain, 0.2)[0],
                    smoothed[0],
                    "{case}: its size does nothing"
                );
            }
        }
    }
}

/// A row of weight 0 might as well not be there, but for the count that is divided by.
#[test]
fn a_row_without_weight_is_a_row_less() {
    for (device, kind) in common::devices_and_plans() {
        let (arch, labels) = &archs()[0];
        let all = data(arch, *labels, 8);
        let train = |data: &Dataset, eta: f32| {
            let mut net = arch.build(&device, kind, 3);
            let mut trainer = Trainer::new(arch.cost, Sgd::new(eta)).batch_size(8).epochs(1);
            trainer.fit(&mut net, data, None).expect("training");
            net.parameters().expect("parameters")
        };
        let some = all.with_weights(vec![1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]).expect("weights");
        let fewer = all.select(&[0, 2, 3, 5, 6, 7]).expect("rows");
        for (a, b) in train(&some, 0.8).iter().zip(train(&fewer, 0.6)) {
            assert!((a - b).abs() <= 1e-6, "{device}, {kind} plan: {a}, {b}");
        }
    }
}

#[test]
fn a_population_weighs_and_smooths_as_its_members_alone() {
    for device in common::devices() {
        let (arch, labels) = &archs()[0];
        let train = data(arch, *labels, 11).with_weights(weights(11)).expect("weights");
        let builder = |seed| {
            let start = Network::new(arch.inputs).seed(seed);
            arch.dense.iter().fold(start, |net, &(width, f)| net.dense(width, f))
        };
        let fitted = |smoothing: f32, data: &Dataset| {
            let mut population = Population::new(&device, arch.cost).epochs(2).batch_size(4).label_smoothing(smoothing);
            for seed in [1, 2] {
                population.add(builder(seed), Adam::new(0.01), seed).expect("a member");
            }
            let report = population.fit(data).expect("training");
            let costs: Vec<_> =
                report.members.iter().map(|m| m.as_ref().expect("a member").epochs[1].train_cost.to_bits()).collect();
            let parameters: Vec<_> =
                population.networks().iter().map(|net| bits(&net.parameters().expect("parameters"))).collect();
            (report.plan, costs, parameters)
        };
        let (kind, costs, parameters) = fitted(0.1, &train);
        for (member, seed) in [1, 2].into_iter().enumerate() {
            let mut net = builder(seed).plan(kind).build(&device).expect("a network that can be");
            let trainer = Trainer::new(arch.cost, Adam::new(0.01)).epochs(2).batch_size(4).seed(seed);
            let alone = trainer.label_smoothing(0.1).fit(&mut net, &train, None).expect("training");
            assert_eq!(alone.epochs[1].train_cost.to_bits(), costs[member], "{device}");
            assert_eq!(bits(&net.parameters().expect("parameters")), parameters[member], "{device}, {kind} plan");
        }
        assert_ne!(fitted(0.0, &train).2, parameters, "{device}: smoothing does nothing");
        assert_ne!(fitted(0.1, &data(arch, *labels, 11)).2, parameters, "{device}: weights do nothing");
        println!("{device}: a population by the {kind} plan");
    }
}

/// One step of plain gradient descent with a rate of 1, by PyTorch 2.15 and Keras 3.15 in float64:
///
/// ```python
/// x = torch.tensor([[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0], [0.0, 1.0]], dtype=torch.float64)
/// labels = torch.tensor([2, 0, 0, 1])
/// def show(loss, outputs):
///     w = (torch.tensor([[0.5, -0.25], [1.0, 0.75], [-0.5, 0.25]], dtype=torch.float64)[:outputs]).requires_grad_()
///     b = torch.tensor([0.125, -0.5, 0.25], dtype=torch.float64)[:outputs].requires_grad_()
///     c = loss(x @ w.T + b)
///     c.backward()
///     print(f"{c.item():.8f}", [round(g, 8) for g in w.grad.flatten().tolist() + b.grad.tolist()])
/// w_k = torch.tensor([0.5, 3.0, 2.0], dtype=torch.float64)
/// hot = F.one_hot(labels, 3).double()
/// rows = torch.tensor([0.25, 1.0, 3.0, 0.0], dtype=torch.float64)
/// y = torch.tensor([[1.0], [0.0], [1.0], [0.0]], dtype=torch.float64)
/// show(lambda z: F.cross_entropy(z, labels, label_smoothing=0.1), 3)
/// show(lambda z: F.cross_entropy(z, labels, weight=w_k), 3)
/// show(lambda z: F.binary_cross_entropy_with_logits(z, y, pos_weight=torch.tensor(2.5)), 1)
/// show(lambda z: keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)(hot, z, sample_weight=rows), 3)
/// show(lambda z: keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)(y, z, sample_weight=rows), 1)
/// ```
#[test]
fn numbers_of_pytorch_and_keras() {
    let x = || vec![0.5, -1.0, 1.5, 0.25, -0.75, 2.0, 0.0, 1.0];
    let three = Dataset::with_labels(x(), 2, vec![2, 0, 0, 1], 3).expect("data");
    let one = Dataset::new(x(), 2, vec![1.0, 0.0, 1.0, 0.0], 1).expect("data");
    // PyTorch divides by the sum of the rows' weights, which is 6 here: so a mean weight of 1 gives its numbers.
    let mean_1 = [0.5, 3.0, 2.0].map(|w: f32| w * 4.0 / 6.0);
    let rows = vec![0.25, 1.0, 3.0, 0.0];
    let cases: [(&Dataset, f32, f64, &[f64]); 5] = [
        (
            &three,
            0.1,
            1.43409178,
            &[
                0.01417147,
                -0.54527013,
                0.1577576,
                -0.03155834,
                -0.17192907,
                0.57682848,
                -0.16017166,
                0.06271388,
                0.09745778,
            ],
        ),
        (
            &three.with_class_weights(&mean_1).expect("weights"),
            0.0,
            1.28494371,
            &[
                0.07680972,
                -0.24760567,
                0.07498659,
                -0.32689672,
                -0.15179631,
                0.57450239,
                0.18715963,
                -0.21489753,
                0.02773789,
            ],
        ),
        (
            &one.with_class_weights(&[1.0, 2.5]).expect("weights"),
            0.0,
            1.43156757,
            &[0.46915415, -0.47058238, -0.35203174],
        ),
        (
            &three.with_weights(rows.clone()).expect("weights"),
            0.3,
            1.88742042,
            &[
                0.24744107,
                -1.11188683,
                0.07004769,
                0.27192709,
                -0.31748877,
                0.83995974,
                -0.60437846,
                0.23500688,
                0.36937159,
            ],
        ),
        (&one.with_weights(rows).expect("weights"), 0.2, 1.10172629, &[0.5402586, -0.8161876, -0.30176385]),
    ];
    let (w, b) = ([0.5, -0.25, 1.0, 0.75, -0.5, 0.25], [0.125, -0.5, 0.25]);
    for (device, kind) in common::devices_and_plans() {
        for (number, (data, eps, cost, gradient)) in cases.iter().enumerate() {
            let outputs = data.outputs();
            let (f, with) = match outputs {
                1 => (Activation::Sigmoid, Cost::BinaryCrossEntropy),
                _ => (Activation::Softmax, Cost::CategoricalCrossEntropy),
            };
            let mut net = Network::new(2).dense(outputs, f).plan(kind).build(&device).expect("a network that can be");
            let before: Vec<f32> = w[..2 * outputs].iter().chain(&b[..outputs]).copied().collect();
            net.set_parameters(&before).expect("parameters");
            let mut trainer = Trainer::new(with, Sgd::new(1.0)).epochs(1).label_smoothing(*eps);
            let history = trainer.fit(&mut net, data, None).expect("training");
            let case = format!("{device}, {kind} plan, case {number}");
            let got = history.epochs[0].train_cost;
            assert!((got - cost).abs() <= 1e-6, "{case}: cost {got}, not {cost}");
            let after = net.parameters().expect("parameters");
            for ((before, after), want) in before.iter().zip(&after).zip(*gradient) {
                let got = f64::from(before - after);
                assert!((got - want).abs() <= 1e-6, "{case}: {got}, not {want}");
            }
            assert_eq!(after.len(), gradient.len());
        }
    }
}

#[test]
fn weights_go_with_their_rows_and_multiply() {
    let labels = vec![0, 0, 0, 1, 1, 3];
    let data = Dataset::with_labels(vec![0.0; 6], 1, labels, 4).expect("data");
    assert_eq!(data.weights(), None);
    // Three classes have rows: 6 / (3 n_k).
    let balanced = data.balanced().expect("classes");
    let third = 2.0_f32 / 3.0;
    assert_eq!(balanced.weights(), Some(&[third, third, third, 1.0, 1.0, 2.0][..]));
    let both = balanced.with_weights(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("weights");
    assert_eq!(both.weights().expect("weights")[3..], [4.0, 5.0, 12.0]);
    let other = data.with_weights(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("weights").balanced().expect("classes");
    assert_eq!(other, both);
    assert_eq!(both.slice(4..6).expect("rows").weights(), Some(&[5.0, 12.0][..]));
    assert_eq!(both.select(&[5, 3, 5]).expect("rows").weights(), Some(&[12.0, 4.0, 12.0][..]));
    let [a, b] = both.split([0.5, 0.5], 1).expect("parts");
    let mut all = [a.weights().expect("weights"), b.weights().expect("weights")].concat();
    all.sort_by(f32::total_cmp);
    let mut want = both.weights().expect("weights").to_vec();
    want.sort_by(f32::total_cmp);
    assert_eq!(all, want);
    assert!(format!("{both:?}").contains("weighted: true"));

    let two = Dataset::new(vec![0.0; 3], 1, vec![0.0, 1.0, 0.0], 1).expect("data");
    assert_eq!(two.balanced().expect("classes").weights(), Some(&[0.75, 1.5, 0.75][..]));
}

#[test]
fn weights_and_smoothing_that_cannot_be_are_refused() {
    let data = Dataset::with_labels(vec![0.0, 1.0, 2.0], 1, vec![0, 0, 1], 2).expect("data");
    for (bad, at) in [(-1.0, 1), (f32::NAN, 1), (f32::INFINITY, 1)] {
        let rows = data.with_weights(vec![1.0, bad, 1.0]).expect_err("a bad weight").to_string();
        assert!(rows.contains(&format!("row {at} is {bad}")), "{rows}");
        let class = data.with_class_weights(&[1.0, bad]).expect_err("a bad weight").to_string();
        assert!(class.contains(&format!("class {at} is {bad}")), "{class}");
    }
    for refused in [data.with_weights(vec![0.0; 3]), data.with_class_weights(&[0.0; 2])] {
        assert!(matches!(refused, Err(Error::Weight { .. })), "{refused:?}");
        assert!(refused.expect_err("no weight").to_string().contains("every row"));
    }
    let huge = data.with_weights(vec![3e38; 3]).expect("weights").with_weights(vec![2.0; 3]);
    assert!(matches!(huge, Err(Error::Weight { .. })), "{huge:?}");
    for refused in [data.with_weights(vec![1.0; 2]), data.with_class_weights(&[1.0; 3])] {
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
    }
    let values = Dataset::new(vec![0.0; 2], 1, vec![0.5, 1.0], 1).expect("data");
    for refused in [values.balanced(), values.with_class_weights(&[1.0; 2])] {
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
    }
    // Rows that count, but not those that are left.
    let rest = data.with_weights(vec![0.0, 1.0, 0.0]).expect("weights").select(&[0, 2]).expect("rows");
    let build = |cost| {
        let f = if cost == Cost::Quadratic { Activation::Sigmoid } else { Activation::Softmax };
        Network::new(1).dense(2, f).build(&Device::cpu()).expect("a network that can be")
    };
    let fit = |cost: Cost, data: &Dataset, eps: f32| {
        Trainer::new(cost, Sgd::new(0.1)).label_smoothing(eps).fit(&mut build(cost), data, None)
    };
    let refused = fit(Cost::CategoricalCrossEntropy, &rest, 0.0);
    assert!(matches!(refused, Err(Error::Weight { .. })), "{refused:?}");
    for eps in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
        let refused = fit(Cost::CategoricalCrossEntropy, &data, eps);
        assert!(matches!(refused, Err(Error::InvalidOption { option: "label smoothing", .. })), "{eps}: {refused:?}");
    }
    let refused = fit(Cost::Quadratic, &data, 0.1);
    assert!(matches!(refused, Err(Error::InvalidOption { option: "label smoothing", .. })), "{refused:?}");
    assert!(fit(Cost::Quadratic, &data, 0.0).is_ok());
}
