//! The f64 reference against what can be worked out by hand: the notes' examples, saturated outputs, wrong shapes.

#![allow(clippy::unwrap_used, reason = "an error fails the test")]
#![allow(clippy::float_cmp, reason = "where an exact value is asked for, the arithmetic is exact")]

use wgrad::reference::{Network, activation, activation_prime, sigmoid, sigmoid_prime, softmax};
use wgrad::{Activation, Cost, Error};

fn network(sizes: &[usize], activations: &[Activation], cost: Cost) -> Network {
    Network::new(sizes, activations, cost).expect("a network that the reference accepts")
}

#[track_caller]
fn assert_close(got: f64, want: f64) {
    let bound = 1e-14 * (1.0 + want.abs());
    assert!((got - want).abs() <= bound, "got {got:e}, want {want:e}");
}

#[track_caller]
fn assert_all_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (&got, &want) in got.iter().zip(want) {
        assert_close(got, want);
    }
}

/// A 2-2-1 network of sigmoid neurons with the quadratic cost, small enough for pencil and paper.
fn two_two_one() -> Network {
    let mut net = network(&[2, 2, 1], &[Activation::Sigmoid; 2], Cost::Quadratic);
    net.weights = vec![vec![0.5, -1.0, 1.5, 0.25], vec![2.0, -0.75]];
    net.biases = vec![vec![0.125, -0.25], vec![0.375]];
    net
}

#[test]
fn w_jk_connects_neuron_k_to_neuron_j_of_the_next_layer() {
    // Section 1 of the notes: w^3_24 connects the fourth neuron of layer 2 to the second neuron of layer 3.
    let mut net = network(&[3, 4, 2], &[Activation::Identity; 2], Cost::Quadratic);
    assert_eq!((net.num_layers(), net.sizes()), (3, &[3, 4, 2][..]));
    assert_eq!((net.activations(), net.cost_function()), (&[Activation::Identity; 2][..], Cost::Quadratic));
    assert_eq!(net.weights.iter().map(Vec::len).collect::<Vec<_>>(), [12, 8]);
    assert_eq!(net.biases.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
    net.biases[0] = vec![2.0, 3.0, 5.0, 7.0];
    net.weights[1][4 + 3] = 11.0;
    assert_eq!(net.feedforward(&[1.0, 1.0, 1.0]).unwrap(), [0.0, 77.0]);
    net.weights[0][3 * 3] = 13.0; // w^2_41
    assert_eq!(net.feedforward(&[17.0, 19.0, 23.0]).unwrap(), [0.0, 11.0 * (7.0 + 13.0 * 17.0)]);
}

#[test]
fn the_algorithm_worked_by_hand() {
    let net = two_two_one();
    let (x, y) = ([1.0, -2.0], [0.75]);
    let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());

    // Feedforward (2).
    let (z2, a2) = ([0.5 + 2.0 + 0.125, 1.5 - 0.5 - 0.25], [logistic(2.625), logistic(0.75)]);
    let z3 = 2.0 * a2[0] - 0.75 * a2[1] + 0.375;
    let a3 = logistic(z3);
    let (zs, activations) = net.weighted_inputs_and_activations(&x).unwrap();
    assert_eq!(activations[0], x);
    assert_all_close(&zs[0], &z2);
    assert_all_close(&activations[1], &a2);
    assert_all_close(&zs[1], &[z3]);
    assert_all_close(&activations[2], &[a3]);
    assert_eq!(net.feedforward(&x).unwrap(), activations[2]);

    // The cost (4), its derivative, the output error (6) and BP2.
    assert_close(net.cost(&x, &y).unwrap(), 0.5 * (0.75 - a3).powi(2));
    assert_all_close(&net.cost_derivative(&[a3], &y).unwrap(), &[a3 - 0.75]);
    let delta3 = (a3 - 0.75) * a3 * (1.0 - a3);
    let delta2 = [2.0 * delta3 * a2[0] * (1.0 - a2[0]), -0.75 * delta3 * a2[1] * (1.0 - a2[1])];
    let deltas = net.deltas(&x, &y).unwrap();
    assert_all_close(&deltas[0], &delta2);
    assert_all_close(&deltas[1], &[delta3]);

    // BP3 and BP4.
    let (nabla_b, nabla_w) = net.backprop(&x, &y).unwrap();
    assert_eq!(nabla_b, deltas);
    assert_all_close(&nabla_w[0], &[delta2[0], -2.0 * delta2[0], delta2[1], -2.0 * delta2[1]]);
    assert_all_close(&nabla_w[1], &[a2[0] * delta3, a2[1] * delta3]);
}

#[test]
fn a_mini_batch_averages_cost_and_gradient_and_steps_once() {
    let mini_batch = [(vec![1.0, -2.0], vec![0.75]), (vec![0.5, 3.0], vec![0.0]), (vec![-1.0, 0.25], vec![1.0])];
    let mut net = two_two_one();
    let before = net.clone();
    let each: Vec<_> = mini_batch.iter().map(|(x, y)| before.backprop(x, y).unwrap()).collect();
    let mean = |part: &dyn Fn(usize) -> f64| (part(0) + part(1) + part(2)) / 3.0;

    let cost = mean(&|i| before.cost(&mini_batch[i].0, &mini_batch[i].1).unwrap());
    assert_close(before.mean_cost(&mini_batch).unwrap(), cost);
    net.update_mini_batch(&mini_batch, 0.5).unwrap();
    let mut moved = 0;
    for l in 0..2 {
        for i in 0..before.weights[l].len() {
            let want = before.weights[l][i] - 0.5 * mean(&|x| each[x].1[l][i]);
            assert_close(net.weights[l][i], want);
            moved += usize::from((want - before.weights[l][i]).abs() > 1e-6);
        }
        for i in 0..before.biases[l].len() {
            let want = before.biases[l][i] - 0.5 * mean(&|x| each[x].0[l][i]);
            assert_close(net.biases[l][i], want);
            moved += usize::from((want - before.biases[l][i]).abs() > 1e-6);
        }
    }
    assert_eq!(moved, 9, "every parameter of this network must move, or the test would not see it");
}

#[test]
fn training_learns_xor() {
    let examples: Vec<_> = [([0.0, 0.0], 0.0), ([0.0, 1.0], 1.0), ([1.0, 0.0], 1.0), ([1.0, 1.0], 0.0)]
        .map(|(x, y)| (x.to_vec(), vec![y]))
        .to_vec();
    let mut net = network(&[2, 3, 1], &[Activation::Tanh, Activation::Sigmoid], Cost::BinaryCrossEntropy);
    net.weights = vec![vec![0.7, -0.4, -0.3, 0.9, 0.2, 0.5], vec![0.6, -0.8, 0.3]];
    for _ in 0..1000 {
        net.update_mini_batch(&examples, 0.5).unwrap();
    }
    assert!(net.mean_cost(&examples).unwrap() < 0.02);
    for (x, y) in &examples {
        assert_eq!(net.feedforward(x).unwrap()[0] > 0.5, y[0] > 0.5);
    }
}

#[test]
fn cross_entropies_stay_right_where_outputs_saturate() {
    for z in [40.0, 100.0, 1000.0] {
        let mut binary = network(&[1, 2], &[Activation::Sigmoid], Cost::BinaryCrossEntropy);
        binary.biases[0] = vec![z, -z];
        // Wrong by z on both outputs, then right on both.
        assert_close(binary.cost(&[1.0], &[0.0, 1.0]).unwrap(), 2.0 * z);
        assert_all_close(&binary.deltas(&[1.0], &[0.0, 1.0]).unwrap()[0], &[1.0, -1.0]);
        let right = binary.cost(&[1.0], &[1.0, 0.0]).unwrap();
        let tail = 2.0 * (-z).exp();
        assert!((right - tail).abs() <= 1e-12 * tail, "got {right:e}, want {tail:e}");

        let mut categorical = network(&[1, 3], &[Activation::Softmax], Cost::CategoricalCrossEntropy);
        categorical.biases[0] = vec![z, -z, 0.0];
        assert_close(categorical.cost(&[1.0], &[0.0, 1.0, 0.0]).unwrap(), 2.0 * z);
        assert_close(categorical.cost(&[1.0], &[0.25, 0.5, 0.25]).unwrap(), 1.25 * z);
        assert_close(categorical.cost(&[1.0], &[1.0, 0.0, 0.0]).unwrap(), 0.0);
        assert_all_close(&categorical.deltas(&[1.0], &[0.0, 1.0, 0.0]).unwrap()[0], &[1.0, -1.0, 0.0]);
    }
}

#[test]
fn activations_at_their_limits() {
    assert_eq!((sigmoid(-1000.0), sigmoid(0.0), sigmoid(1000.0)), (0.0, 0.5, 1.0));
    assert_eq!((sigmoid_prime(0.0), sigmoid_prime(1000.0), sigmoid_prime(-1000.0)), (0.25, 0.0, 0.0));
    // In the tail sigmoid' is e^-|z|, which sigmoid (1 - sigmoid) would round to 0.
    assert!((sigmoid_prime(40.0) / (-40.0_f64).exp() - 1.0).abs() <= 1e-14);
    assert_eq!(softmax(&[-1000.0, 1000.0]), [0.0, 1.0]);
    assert_all_close(&softmax(&[3.0_f64.ln(), 0.0, 4.0_f64.ln()]), &[0.375, 0.125, 0.5]);
    assert_eq!(activation(Activation::Relu, &[-2.0, 0.0, 3.0]), [0.0, 0.0, 3.0]);
    assert_eq!(activation_prime(Activation::Relu, &[-2.0, 0.0, 3.0]).unwrap(), [0.0, 0.0, 1.0]);
    assert_eq!(activation_prime(Activation::Tanh, &[0.0, 1000.0, -1000.0]).unwrap(), [1.0, 0.0, 0.0]);
    assert_eq!(activation_prime(Activation::Identity, &[5.0, -7.0]).unwrap(), [1.0, 1.0]);
    assert!(matches!(activation_prime(Activation::Softmax, &[1.0]), Err(Error::Architecture { .. })));
}

#[test]
fn nan_is_not_hidden() {
    for f in Activation::ALL {
        assert!(activation(f, &[f64::NAN, 1.0])[0].is_nan(), "{f}");
    }
    let mut pairs = 0;
    for (hidden, output, cost) in pairings() {
        let mut net = network(&[2, 2, 3], &[hidden, output], cost);
        net.weights = vec![vec![0.5, -0.25, 0.75, 1.0], vec![0.5, 0.25, -0.75, 1.0, -0.5, 0.125]];
        net.biases[0][0] = f64::NAN;
        let y = [0.5, 0.25, 0.25];
        assert!(net.cost(&[1.0, 2.0], &y).unwrap().is_nan(), "cost of {hidden}, {output}, {cost}");
        let delta = &net.deltas(&[1.0, 2.0], &y).unwrap()[0];
        // A ReLU output has the slope 0 at NaN, but 0 * NaN is NaN.
        assert!(delta[0].is_nan(), "error of {hidden}, {output}, {cost}: {delta:?}");
        pairs += 1;
    }
    assert_eq!(pairs, 320);
}

/// Every hidden activation with every output and cost that go together.
fn pairings() -> Vec<(Activation, Activation, Cost)> {
    let mut all = Vec::new();
    for hidden in Activation::ALL.into_iter().filter(|f| f.is_elementwise()) {
        for output in Activation::ALL {
            all.extend(Cost::ALL.into_iter().filter(|c| c.goes_with(output)).map(|cost| (hidden, output, cost)));
        }
    }
    all
}

#[test]
fn the_derivative_of_the_cost_times_that_of_the_output_is_the_output_error() {
    let z = vec![0.5, -1.25, 2.0];
    let y = [0.25, 0.625, 0.125];
    let mut net = network(&[1, 3], &[Activation::Sigmoid], Cost::BinaryCrossEntropy);
    net.biases[0].clone_from(&z);
    let a = net.feedforward(&[0.0]).unwrap();
    let nabla_a = net.cost_derivative(&a, &y).unwrap();
    let sp = activation_prime(Activation::Sigmoid, &z).unwrap();
    assert_all_close(&net.deltas(&[0.0], &y).unwrap()[0], &[0, 1, 2].map(|j| nabla_a[j] * sp[j]));

    let mut net = network(&[1, 3], &[Activation::Softmax], Cost::CategoricalCrossEntropy);
    net.biases[0] = z;
    let a = net.feedforward(&[0.0]).unwrap();
    let nabla_a = net.cost_derivative(&a, &y).unwrap();
    let sum = |j: usize| -> f64 { (0..3).map(|k| nabla_a[k] * a[k] * (if j == k { 1.0 } else { 0.0 } - a[j])).sum() };
    assert_all_close(&net.deltas(&[0.0], &y).unwrap()[0], &[0, 1, 2].map(sum));
}

#[test]
fn wrong_lengths_are_errors_that_name_the_array() {
    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: wgrad::Result<T>, name: &str, want: &str, got: &str) {
        let message = match result {
            Err(error @ Error::Shape { .. }) => error.to_string(),
            other => panic!("expected a shape error about {name}, got {other:?}"),
        };
        assert_eq!(message, format!("reference: {name}: expected {want} elements, got {got}"));
    }
    let net = two_two_one();
    refused(net.feedforward(&[1.0]), "input x", "2", "1");
    refused(net.weighted_inputs_and_activations(&[1.0; 3]), "input x", "2", "3");
    refused(net.cost(&[1.0; 2], &[1.0; 2]), "target y", "1", "2");
    refused(net.cost(&[1.0; 2], &[]), "target y", "1", "0");
    refused(net.backprop(&[1.0; 2], &[]), "target y", "1", "0");
    refused(net.backprop(&[], &[1.0]), "input x", "2", "0");
    refused(net.deltas(&[1.0; 2], &[1.0; 3]), "target y", "1", "3");
    refused(net.cost_derivative(&[1.0; 2], &[1.0]), "output activations a", "1", "2");
    refused(net.cost_derivative(&[1.0], &[1.0; 2]), "target y", "1", "2");
    let mini_batch = [(vec![1.0, 2.0], vec![1.0]), (vec![1.0, 2.0], vec![])];
    refused(net.mean_cost(&mini_batch), "target y", "1", "0");
    refused(net.mean_gradient(&mini_batch), "target y", "1", "0");
    let mut stepped = net.clone();
    refused(stepped.update_mini_batch(&mini_batch, 1.0), "target y", "1", "0");
    assert_eq!(stepped, net, "a refused step must leave the network unchanged");

    let (x, y) = ([1.0, 2.0], [1.0]);
    let spoilt = |spoil: fn(&mut Network)| {
        let mut net = two_two_one();
        spoil(&mut net);
        net.backprop(&x, &y)
    };
    refused(spoilt(|net| net.weights[1].push(0.0)), "weights[1]", "2", "3");
    refused(spoilt(|net| net.biases[0].clear()), "biases[0]", "2", "0");
    refused(spoilt(|net| net.weights.clear()), "list of weights", "2", "0");
    refused(spoilt(|net| net.biases.push(vec![])), "list of biases", "2", "3");
}

#[test]
fn no_examples_are_an_error() {
    let mut net = two_two_one();
    assert!(matches!(net.mean_cost(&[]), Err(Error::Empty { .. })));
    assert!(matches!(net.mean_gradient(&[]), Err(Error::Empty { .. })));
    assert!(matches!(net.update_mini_batch(&[], 1.0), Err(Error::Empty { .. })));
    assert_eq!(net, two_two_one());
}

#[test]
fn architectures_that_make_no_sense_are_refused() {
    let f = Activation::Tanh;
    let problem = |sizes: &[usize], activations: &[Activation]| match Network::new(sizes, activations, Cost::Quadratic)
    {
        Err(Error::Architecture { problem }) => problem,
        other => panic!("expected an architecture error, got {other:?}"),
    };
    assert!(problem(&[3], &[]).contains("at least one layer"));
    assert!(problem(&[], &[]).contains("at least one layer"));
    assert!(problem(&[], &[f]).contains("0 sizes"));
    assert!(problem(&[3, 2], &[f, f]).contains("2 sizes"));
    assert!(problem(&[3, 2, 1], &[f]).contains("3 sizes"));
    assert!(problem(&[3, 0, 1], &[f, f]).contains("layer 2 has no neurons"));
    assert!(problem(&[0, 1], &[f]).contains("layer 1 has no neurons"));
    assert!(problem(&[3, 2, 1], &[Activation::Softmax, f]).contains("layer 2 is softmax"));
}

#[test]
fn costs_go_only_with_the_outputs_they_are_made_for() {
    let (mut accepted, mut refused) = (0, 0);
    for output in Activation::ALL {
        for cost in Cost::ALL {
            let allowed = match cost {
                Cost::BinaryCrossEntropy => output == Activation::Sigmoid,
                Cost::CategoricalCrossEntropy => output == Activation::Softmax,
                _ => output != Activation::Softmax,
            };
            match Network::new(&[2, 3], &[output], cost) {
                Ok(_) => {
                    assert!(allowed, "{cost} with {output}");
                    accepted += 1;
                }
                Err(Error::Pairing { .. }) => {
                    assert!(!allowed, "{cost} with {output}");
                    refused += 1;
                }
                Err(other) => panic!("{cost} with {output}: {other}"),
            }
        }
    }
    assert_eq!((accepted, refused), (32, 23));
}
