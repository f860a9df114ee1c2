//! The reference: lengths are checked, numbers go through.

use wgrad::reference::{Descent, Example, Network, activation, activation_prime, penalised_gradient, penalty};
use wgrad::reference::{sigmoid, sigmoid_prime, smoothed, softmax};
use wgrad::{Activation, Adam, Cost, Regularization, Sgd};

use crate::common::nets::pairings;
use crate::{NUMBERS, refused};

fn net(output: Activation, cost: Cost) -> Network {
    let mut net = Network::new(&[2, 3, 2], &[Activation::Tanh, output], cost).expect("a network");
    net.weights.iter_mut().flatten().enumerate().for_each(|(i, w)| *w = 0.3 - 0.1 * i as f64);
    net
}

#[test]
fn sizes_that_overflow_are_refused() {
    let wide = usize::MAX;
    for sizes in [[wide, 3, 1], [3, wide, 1], [1, 2, wide], [1 << 32, 1 << 32, 1], [1 << 15, 1 << 14, 1], [1, 0, 1]] {
        let made = Network::new(&sizes, &[Activation::Tanh, Activation::Sigmoid], Cost::Quadratic);
        refused(made.map(drop), "architecture", &format!("{sizes:?}"));
    }
}

/// Whatever numbers come in, as many come out as the shapes say, and a NaN stays one.
#[test]
fn numbers_of_any_kind_go_through() {
    let mut cases = 0;
    for (output, cost) in pairings() {
        let mut net = net(output, cost);
        for &a in &NUMBERS {
            for &b in &NUMBERS {
                let (x, y) = (vec![a, b], vec![b, a]);
                let ordinary = [a, b].iter().all(|x| x.abs() < 1e30);
                let outputs = net.feedforward(&x).expect("two inputs");
                let (zs, activations) = net.weighted_inputs_and_activations(&x).expect("two inputs");
                assert_eq!((zs.len(), activations.len(), outputs.len()), (2, 3, 2));
                let nan = a.is_nan() || b.is_nan();
                assert!(!nan || outputs.iter().all(|a| a.is_nan()), "{output}: {x:?} gives {outputs:?}");
                assert!(!ordinary || outputs.iter().all(|a| a.is_finite()), "{output}: {x:?} gives {outputs:?}");
                let batch: [Example; 1] = [(x.clone(), y.clone())];
                let found = [net.cost(&x, &y), net.mean_cost(&batch)];
                for found in found.into_iter().chain([net.weighted_cost(&batch, &[b])]) {
                    let found = found.expect("a number");
                    assert!(!nan || found.is_nan(), "{cost}: {x:?} gives {found}");
                }
                assert_eq!(net.cost_derivative(&x, &y).expect("two outputs").len(), 2);
                assert_eq!(net.deltas(&x, &y).expect("errors").len(), 2);
                let (nabla_b, nabla_w) = net.backprop(&x, &y).expect("gradients");
                assert_eq!((nabla_b[1].len(), nabla_w[0].len()), (2, 6));
                assert!(net.mean_gradient(&batch).is_ok());
                assert!(net.weighted_gradient(&batch, &[a]).is_ok());
                let regularization = Regularization { l2: 0.1, l1: f32::NAN, ..Regularization::default() };
                assert!(penalty(&net, &regularization).is_nan());
                let (_, gradient) = penalised_gradient(&net, &batch, &regularization).expect("gradients");
                assert!(gradient.iter().flatten().all(|g| g.is_nan()));
                let before = net.clone();
                net.update_mini_batch(&batch, a).expect("a step");
                net = before;
                cases += 1;
            }
        }
        refused(net.weighted_cost(&[(vec![0.0; 2], vec![0.0; 2])], &[]), "shape", "no weights");
        refused(net.weighted_gradient(&[(vec![0.0; 2], vec![0.0; 2])], &[1.0; 2]), "shape", "two weights");
        refused(net.weighted_cost(&[], &[]), "empty", "nothing");
        refused(penalised_gradient(&net, &[], &Regularization::default()), "empty", "nothing");
    }
    println!("{cases} pairs of numbers");
}

#[test]
fn single_functions_of_any_numbers() {
    for &z in &NUMBERS {
        for s in [sigmoid(z), sigmoid_prime(z)] {
            assert!(if z.is_nan() { s.is_nan() } else { (0.0..=1.0).contains(&s) }, "{z}: {s}");
        }
        assert_eq!(softmax(&[z, 0.0]).len(), 2);
        assert_eq!(smoothed(&[z], z, 0).len(), 1);
        for f in Activation::ALL {
            assert_eq!(activation(f, &[z]).len(), 1, "{f}");
            assert!(activation_prime(f, &[z]).map_or(f == Activation::Softmax, |a| a.len() == 1), "{f}");
        }
    }
    assert!(softmax(&[]).is_empty() && smoothed(&[], 0.5, 3).is_empty());
    for f in Activation::ALL {
        assert!(activation(f, &[]).is_empty());
    }
}

/// An optimiser is at work on the network that it was made for, or changes nothing.
#[test]
fn a_descent_keeps_to_its_network() {
    let first = net(Activation::Sigmoid, Cost::Quadratic);
    refused(Descent::new(&first, Sgd::new(f32::NAN)).map(drop), "option", "eta is NaN");
    let mut descent = Descent::new(&first, Adam::new(0.1)).expect("an optimiser");
    for sizes in [&[2, 1][..], &[2, 3, 3, 2], &[3, 3, 2], &[2, 4, 2]] {
        let mut other = Network::new(sizes, &vec![Activation::Tanh; sizes.len() - 1], Cost::Quadratic).expect("one");
        let (before, state) = (other.clone(), descent.clone());
        let example = (vec![1.0; sizes[0]], vec![0.5; sizes[sizes.len() - 1]]);
        refused(descent.step(&mut other, &[example]), "shape", &format!("{sizes:?}"));
        assert!(other == before && descent == state, "{sizes:?}");
    }
    // Its lists are public.
    let mut cut = first.clone();
    cut.weights.pop();
    refused(descent.step(&mut cut, &[(vec![0.0; 2], vec![0.0; 2])]), "shape", "a layer less");
    refused(descent.step(&mut first.clone(), &[]), "empty", "no examples");
    assert!(descent.step(&mut first.clone(), &[(vec![0.0; 2], vec![0.0; 2])]).is_ok());
}
