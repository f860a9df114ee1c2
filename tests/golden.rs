//! The f64 reference against numbers from `numpy`, layer by layer, example by example, through three steps.

#![allow(clippy::print_stdout, reason = "the number of values and the worst error are the result of these tests")]

#[path = "common/golden.rs"]
mod golden_file;

use golden_file::{Case, Comparison, Layers, Report};
use wgrad::reference::{Example, Network};
use wgrad::{Activation, Cost};

/// Two orders of summation in `f64`, a few thousand times its rounding.
const TOLERANCE: f64 = 1e-12;

fn network(case: &Case) -> Network {
    let mut net = Network::new(&case.sizes, &case.activations, case.cost_function).expect("an allowed pairing");
    net.weights.clone_from(&case.weights);
    net.biases.clone_from(&case.biases);
    net
}

fn examples(case: &Case) -> Vec<Example> {
    let outputs = case.sizes[case.sizes.len() - 1];
    let rows = case.x.chunks(case.sizes[0]).zip(case.y.chunks(outputs));
    rows.map(|(x, y)| (x.to_vec(), y.to_vec())).collect()
}

/// One row under the other: the layers of each example as the batched arrays of the file.
fn stack(rows: Vec<Layers>) -> Layers {
    let mut batch = vec![Vec::new(); rows[0].len()];
    for row in rows {
        for (layer, row) in batch.iter_mut().zip(row) {
            layer.extend(row);
        }
    }
    batch
}

/// All that the reference computes of a case against all that the file has of it.
fn compare(case: &Case) -> Result<Report, String> {
    let mut net = network(case);
    let mini_batch = examples(case);
    let mut comparison = Comparison::new(case, TOLERANCE);
    let expect = "shapes that the file was checked for";

    let (mut zs, mut activations, mut deltas) = (Vec::new(), Vec::new(), Vec::new());
    for (x, y) in &mini_batch {
        let (z, mut a) = net.weighted_inputs_and_activations(x).expect(expect);
        assert_eq!(&a.remove(0), x);
        zs.push(z);
        activations.push(a);
        deltas.push(net.deltas(x, y).expect(expect));
    }
    comparison.layers("z", &stack(zs), &case.z);
    comparison.layers("a", &stack(activations), &case.a);
    comparison.value("cost", net.mean_cost(&mini_batch).expect(expect), case.cost);
    comparison.layers("delta", &stack(deltas), &case.delta);
    let (nabla_b, nabla_w) = net.mean_gradient(&mini_batch).expect(expect);
    comparison.layers("nabla_w", &nabla_w, &case.nabla_w);
    comparison.layers("nabla_b", &nabla_b, &case.nabla_b);

    for (number, step) in case.steps.iter().enumerate() {
        comparison.value("cost before a step", net.mean_cost(&mini_batch).expect(expect), step.cost);
        net.update_mini_batch(&mini_batch, case.eta).expect(expect);
        comparison.layers(&format!("w after step {}", number + 1), &net.weights, &step.weights);
        comparison.layers(&format!("b after step {}", number + 1), &net.biases, &step.biases);
    }
    comparison.value("cost after all steps", net.mean_cost(&mini_batch).expect(expect), case.cost_after);
    comparison.finish()
}

/// How many numbers a case has to compare: `z`, `a` and `delta` for each row and neuron, a gradient and three steps for
/// each parameter, and the costs.
fn values(case: &Case) -> usize {
    let neurons: usize = case.sizes[1..].iter().sum();
    let parameters: usize = case.sizes.windows(2).map(|n| n[1] * (n[0] + 1)).sum();
    3 * case.rows * neurons + (1 + 3) * parameters + 1 + 3 + 1
}

#[test]
fn the_reference_computes_what_numpy_does() {
    let mut total = Report::default();
    for case in golden_file::load() {
        let report = compare(&case).unwrap_or_else(|problem| panic!("{problem}"));
        println!("{}: {} values, worst error {:.1e}", case.name, report.values, report.worst);
        assert_eq!(report.values, values(&case), "{}: some values were not compared", case.name);
        total.values += report.values;
        total.worst = total.worst.max(report.worst);
    }
    println!("golden: {} values, worst error {:.1e}", total.values, total.worst);
    assert!(total.values > 3000, "{} values", total.values);
}

#[test]
fn the_file_has_every_activation_and_cost() {
    let cases = golden_file::load();
    for f in Activation::ALL {
        assert!(cases.iter().any(|case| case.activations.last() == Some(&f)), "no case has {f} outputs");
        let hidden = |case: &Case| case.activations[..case.activations.len() - 1].contains(&f);
        assert_eq!(cases.iter().any(hidden), f.is_elementwise(), "{f} in hidden layers");
    }
    for cost in Cost::ALL {
        assert!(cases.iter().any(|case| case.cost_function == cost), "no case has {cost}");
    }
    for case in &cases {
        assert_eq!((case.rows, case.steps.len()), (6, 3), "{}", case.name);
    }
}

#[test]
fn what_the_file_starts_from_is_exact_in_f32() {
    #[allow(clippy::cast_possible_truncation, reason = "whether anything is lost is the question")]
    let exact = |v: &f64| f64::from(*v as f32).to_bits() == v.to_bits();
    for case in golden_file::load() {
        let parameters = case.weights.iter().chain(&case.biases).flatten();
        assert!(parameters.chain(&case.x).chain(&case.y).chain([&case.eta]).all(exact), "{}", case.name);
    }
}

/// A part of a case that has one array a layer.
type Part = fn(&mut Case) -> &mut Layers;
/// A way to spoil an array whose scale is the second argument.
type Spoil = fn(&mut Vec<f64>, f64);

#[test]
fn a_spoilt_file_is_refused() {
    let parts: [(&str, Part); 11] = [
        ("z", |case| &mut case.z),
        ("a", |case| &mut case.a),
        ("delta", |case| &mut case.delta),
        ("nabla_w", |case| &mut case.nabla_w),
        ("nabla_b", |case| &mut case.nabla_b),
        ("w after step 1", |case| &mut case.steps[0].weights),
        ("w after step 2", |case| &mut case.steps[1].weights),
        ("w after step 3", |case| &mut case.steps[2].weights),
        ("b after step 1", |case| &mut case.steps[0].biases),
        ("b after step 2", |case| &mut case.steps[1].biases),
        ("b after step 3", |case| &mut case.steps[2].biases),
    ];
    let mut refused = 0;
    for case in golden_file::load() {
        for (part, of) in parts {
            for l in 0..case.activations.len() {
                let scale = of(&mut case.clone())[l].iter().fold(0.0_f64, |scale, v| scale.max(v.abs()));
                let spoils: [(&str, Spoil); 5] = [
                    ("one value off", |array, scale| array[1] += 10.0 * TOLERANCE * scale),
                    ("one NaN", |array, _| array[1] = f64::NAN),
                    ("one infinity", |array, _| array[1] = f64::INFINITY),
                    ("one value missing", |array, _| array.truncate(array.len() - 1)),
                    ("one value more", |array, _| array.push(0.0)),
                ];
                for (how, spoil) in spoils {
                    let mut spoilt = case.clone();
                    spoil(&mut of(&mut spoilt)[l], scale);
                    let problem = compare(&spoilt).expect_err(how);
                    // The message leads to the layer.
                    let place = format!("{}: {part} of layer {}", case.name, l + 2);
                    assert!(problem.starts_with(&place), "{how} in {place}: {problem}");
                    refused += 1;
                }
            }
        }
        let costs: [fn(&mut Case) -> &mut f64; 3] =
            [|case| &mut case.cost, |case| &mut case.steps[2].cost, |case| &mut case.cost_after];
        for cost in costs {
            let mut spoilt = case.clone();
            *cost(&mut spoilt) *= 1.0 + 10.0 * TOLERANCE;
            assert!(compare(&spoilt).is_err(), "{}: a wrong cost passed", case.name);
            refused += 1;
        }
    }
    println!("negative controls: {refused} refused");
    assert_eq!(refused, 11 * 5 * 40 + 3 * 19);
}

#[test]
fn a_wrong_network_is_refused() {
    let case = &golden_file::load()[0];
    assert!(compare(case).is_ok());
    let spoils: [fn(&mut Case); 6] = [
        |case| case.activations[0] = Activation::Tanh,
        |case| case.cost_function = Cost::BinaryCrossEntropy,
        |case| case.eta *= 1.01,
        |case| case.weights[0].swap(0, 1),
        |case| case.x.swap(0, 1),
        |case| case.y.swap(0, 1),
    ];
    for spoil in spoils {
        let mut spoilt = case.clone();
        spoil(&mut spoilt);
        assert!(compare(&spoilt).is_err());
    }
}

#[test]
fn the_comparison_refuses_what_is_not_a_number() {
    let case = &golden_file::load()[0];
    let verdict = |got: &[f32], want: &[f64]| {
        let mut comparison = Comparison::new(case, 1e-6);
        comparison.array("test", got, want);
        comparison.finish()
    };
    assert_eq!(verdict(&[1.0, -2.0], &[1.0, -2.0]).map(|report| report.values), Ok(2));
    for (got, want) in [
        (&[f32::NAN, 2.0][..], &[1.0, 2.0][..]),
        (&[1.0, 2.0], &[f64::NAN, 2.0]),
        (&[f32::NAN, 2.0], &[f64::NAN, 2.0]),
        (&[f32::INFINITY, 2.0], &[f64::INFINITY, 2.0]),
        (&[1.0, 2.0], &[1.0, 2.001]),
        (&[1.0], &[1.0, 2.0]),
        (&[1.0, 2.0], &[1.0]),
        (&[0.0, 0.0], &[0.0, 0.0]),
        (&[], &[]),
    ] {
        assert!(verdict(got, want).is_err(), "{got:?} passed for {want:?}");
    }
}
