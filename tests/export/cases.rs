//! The networks that are exported: every activation, one to four layers, odd widths, drawn and trained weights.

use wgrad::{Activation, Adam, Cost, Device, Network};

use crate::common::nets::{Numbers, elementwise};

/// A network with a name that a file can have, and rows for it.
pub struct Case {
    pub name: String,
    pub net: Network,
    pub x: Vec<f32>,
}

/// Rows of each case.
pub const ROWS: usize = 6;

/// Inputs and widths.
const SHAPES: [(usize, &[usize]); 4] = [(7, &[5]), (1, &[13, 3]), (3, &[17, 1, 9]), (11, &[2, 19, 8, 4])];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in elementwise() {
        for (inputs, widths) in SHAPES {
            for trained in [false, true] {
                // The last layer of every other one is a softmax, as classes have.
                let softmax = trained && widths.len() > 1 && widths.len() % 2 == 0;
                cases.push(case(activation, inputs, widths, trained, softmax));
            }
        }
    }
    cases.push(case(Activation::Relu, 2, &[1], true, true));
    cases
}

fn case(activation: Activation, inputs: usize, widths: &[usize], trained: bool, softmax: bool) -> Case {
    let seed = (inputs * 100 + widths.len()) as u64;
    let last = if softmax { Activation::Softmax } else { activation };
    let start = Network::new(inputs).seed(seed);
    let builder = widths
        .iter()
        .enumerate()
        .fold(start, |net, (l, &width)| net.dense(width, if l + 1 == widths.len() { last } else { activation }));
    let mut net = builder.build(&Device::cpu()).expect("a network that can be");
    let mut numbers = Numbers(seed);
    // Inputs reach beyond the middle of every activation.
    let x: Vec<f32> = numbers.many(ROWS * inputs).into_iter().map(|x| 4.0 * x).collect();
    if trained {
        let outputs = net.outputs();
        let y: Vec<f32> = (0..ROWS * outputs)
            .map(
                |at| if softmax { f32::from(u8::from(at % outputs == at / outputs % outputs)) } else { numbers.unit() },
            )
            .collect();
        let cost = if softmax { Cost::CategoricalCrossEntropy } else { Cost::Quadratic };
        for _ in 0..40 {
            net.update_mini_batch(&x, &y, cost, Adam::new(0.02)).expect("a step");
        }
    }
    let shape: Vec<_> = std::iter::once(inputs).chain(widths.iter().copied()).map(|size| size.to_string()).collect();
    let (what, end) = (if trained { "trained" } else { "drawn" }, if softmax { "_softmax" } else { "" });
    let name = format!("{}_{}_{what}{end}", activation.name().replace('-', "_"), shape.join("_"));
    Case { name, net, x }
}

#[test]
fn every_activation_is_among_them() {
    let cases = cases();
    for activation in Activation::ALL {
        let has =
            cases.iter().filter(|case| case.net.layers().iter().any(|layer| layer.activation == activation)).count();
        assert!(has >= 8, "{activation}: {has}");
    }
    let names: std::collections::HashSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    assert!(cases.len() > 80, "{}", cases.len());
}
