//! Targets that a cost has no meaning for are an error that names the row, wherever they are handed in.

#![cfg(feature = "blocking")]

mod common;

use wgrad::{Activation, Cost, Dataset, Device, Error, Network, Result, Sgd, Trainer};

fn net(cost: Cost) -> Network {
    let output = match cost {
        Cost::BinaryCrossEntropy => Activation::Sigmoid,
        Cost::CategoricalCrossEntropy => Activation::Softmax,
        _ => Activation::Identity,
    };
    Network::new(1).dense(3, output).build(&Device::cpu()).expect("a network")
}

/// What each way of handing two rows of targets in says.
fn results(cost: Cost, y: &[f32]) -> Vec<Result<()>> {
    let (mut net, x) = (net(cost), [0.5, -0.5]);
    let data = Dataset::new(x.to_vec(), 1, y.to_vec(), 3).expect("finite numbers");
    let good = Dataset::new(x.to_vec(), 1, vec![1.0, 0.0, 0.0, 0.0, 0.5, 0.5], 3).expect("finite numbers");
    let trainer = || Trainer::new(cost, Sgd::new(0.1)).epochs(1);
    vec![
        net.cost(&x, y, cost).map(drop),
        net.gradients(&x, y, cost).map(drop),
        net.update_mini_batch(&x, y, cost, Sgd::new(0.1)),
        net.evaluate(&data, cost).map(drop),
        trainer().fit(&mut net, &data, None).map(drop),
        trainer().fit(&mut net, &good, Some(&data)).map(drop),
        trainer().start(&mut net, &data).map(drop),
    ]
}

#[test]
fn targets_without_a_meaning_are_refused_with_their_row() {
    let binary = [[0.0, 1.5, 0.0], [-0.1, 0.0, 1.0]];
    let categorical = [[0.5, 0.6, 0.0], [0.0, 0.0, 0.0], [1.5, -0.5, 0.0], [0.0, 0.99, 0.0]];
    let mut refused = 0;
    for (cost, bad) in [(Cost::BinaryCrossEntropy, &binary[..]), (Cost::CategoricalCrossEntropy, &categorical)] {
        for bad in bad {
            for result in results(cost, &[&[0.0, 1.0, 0.0][..], bad].concat()) {
                assert!(matches!(result, Err(Error::Target { row: 1, .. })), "{cost}, {bad:?}: {result:?}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 6 * 7);
}

#[test]
fn targets_with_a_meaning_are_taken() {
    for cost in Cost::ALL {
        for y in [[0.25, 0.25, 0.5, 1.0, 0.0, 0.0], [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.1, 0.2, 0.7]] {
            for result in results(cost, &y) {
                assert!(result.is_ok(), "{cost}, {y:?}: {result:?}");
            }
        }
    }
    for cost in [Cost::Quadratic, Cost::Huber, Cost::Absolute] {
        assert!(results(cost, &[-5.0, 3.0, 100.0, 0.0, 1.0, 2.0]).iter().all(Result::is_ok), "{cost}");
    }
}
