//! How far an exported network may be from `predict`: a running error analysis beside the `f64` reference.

use wgrad::{Activation, Cost, Network, reference};

use crate::common::nets::Arch;

/// 2^-23.
const UNIT: f64 = f32::EPSILON as f64;

/// The outputs of one row in `f64`, and how far off each may be in `f32`: each layer adds `(8 + 2 sqrt(K)) 2^-23 (sum_k |w_jk a_k| + |b_j|)`,
/// and passes on what came in. Functions may be off by 8 units of 2^-23 relative to the larger of 1 and their value, which includes
/// what `exp` is allowed in WGSL; a softmax by 16 and twice the exponent, relative to its value.
pub fn outputs(net: &Network, arena: &[f32], x: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let mut a: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mut error = vec![0.0; a.len()];
    for layer in net.layers() {
        let (mut z, mut off) = (Vec::new(), Vec::new());
        #[allow(clippy::cast_precision_loss, reason = "small widths")]
        let k = 8.0 + 2.0 * (layer.inputs as f64).sqrt();
        for (w, &b) in arena[layer.weights()].chunks(layer.inputs).zip(&arena[layer.biases()]) {
            let terms = || w.iter().zip(&a).map(|(&w, a)| f64::from(w) * a);
            let size = f64::from(b.abs()) + terms().map(f64::abs).sum::<f64>();
            z.push(f64::from(b) + terms().sum::<f64>());
            let carried: f64 = w.iter().zip(&error).map(|(&w, error)| f64::from(w.abs()) * error).sum();
            off.push(carried + k * UNIT * size);
        }
        a = reference::activation(layer.activation, &z);
        error = if layer.activation == Activation::Softmax {
            let most = z.iter().fold(f64::MIN, |m, &z| m.max(z));
            let worst = off.iter().fold(0.0_f64, |m, &off| m.max(off));
            a.iter().zip(&z).map(|(a, z)| a * (2.0 * worst + UNIT * (16.0 + 2.0 * (z - most).abs())) + 1e-37).collect()
        } else {
            // No slope is steeper than that of GELU, 1.13.
            off.iter().zip(&a).map(|(off, a)| 1.13 * off + 8.0 * UNIT * a.abs().max(1.0)).collect()
        };
    }
    (a, error)
}

/// The worst that was seen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Worst {
    pub values: usize,
    /// Largest difference from `predict`.
    pub difference: f64,
    /// Largest part of what is allowed.
    pub ratio: f64,
}

impl Worst {
    pub fn merge(&mut self, other: Self) {
        self.values += other.values;
        self.difference = self.difference.max(other.difference);
        self.ratio = self.ratio.max(other.ratio);
    }
}

/// Outputs for rows, from somewhere else, against `predict` and the reference.
pub fn compare(net: &Network, x: &[f32], got: &[f32]) -> Result<Worst, String> {
    let (want, arena) = (net.predict(x).expect("a prediction"), net.parameters().expect("the parameters"));
    if got.len() != want.len() || got.is_empty() {
        return Err(format!("{} outputs, where there are {}", got.len(), want.len()));
    }
    let mut worst = Worst { values: got.len(), ..Worst::default() };
    let wide = net.outputs();
    for (row, x) in x.chunks(net.inputs()).enumerate() {
        let (exact, bounds) = outputs(net, &arena, x);
        for j in 0..wide {
            let (got, want) = (f64::from(got[row * wide + j]), f64::from(want[row * wide + j]));
            let (difference, off) = ((got - want).abs(), (got - exact[j]).abs());
            let (part, other) = (difference / (2.0 * bounds[j]), off / bounds[j]);
            let ratio = part.max(other);
            // NaN is within nothing.
            let within = part <= 1.0 && other <= 1.0;
            if !within {
                let exact = exact[j];
                return Err(format!(
                    "row {row}, output {j}: {got} beside {want} of predict and {exact}, {ratio:.2} of the bound"
                ));
            }
            worst.difference = worst.difference.max(difference);
            worst.ratio = worst.ratio.max(ratio);
        }
    }
    Ok(worst)
}

#[test]
fn what_is_off_is_noticed() {
    let net = Arch::new(7, &[(5, Activation::Tanh), (3, Activation::Softmax)], Cost::CategoricalCrossEntropy);
    let net = net.build(&wgrad::Device::cpu(), wgrad::plan::PlanKind::Fused, 3);
    let x: Vec<f32> = crate::common::nets::Numbers(5).many(14);
    let good = net.predict(&x).unwrap();
    let worst = compare(&net, &x, &good).unwrap();
    assert_eq!(worst.values, 6);
    for (at, wrong) in [(0, good[0] * 1.0001), (4, good[4] + 1e-4), (5, f32::NAN), (2, f32::INFINITY)] {
        let mut got = good.clone();
        got[at] = wrong;
        assert!(compare(&net, &x, &got).is_err(), "{at}: {wrong}");
    }
    assert!(compare(&net, &x, &good[..5]).is_err() && compare(&net, &x, &[]).is_err());
    // One weight that is off by a part in a thousand shows.
    let mut other =
        Network::new(7).dense(5, Activation::Tanh).dense(3, Activation::Softmax).build(net.device()).unwrap();
    let mut parameters = net.parameters().unwrap();
    parameters[1] *= 1.001;
    other.set_parameters(&parameters).unwrap();
    assert!(compare(&net, &x, &other.predict(&x).unwrap()).is_err());
}
