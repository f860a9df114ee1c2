//! The golden file `tests/golden/golden.json`, and the comparison of anything that computes the same with it.
//!
//! `tests/golden/make_golden.py` wrote the file and describes it. Every first parameter, input and learning rate in it
//! is exact in `f32` too, so a backend can be held against it with nothing but a wider tolerance.

#![allow(dead_code, unreachable_pub, reason = "a module of several test programs, none of which need use all of it")]

use serde_json::Value;
use wgrad::{Activation, Cost};

/// One array for each layer after the input, row-major.
pub type Layers = Vec<Vec<f64>>;

/// One network on one mini-batch: where it starts, and all that must come of it.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    /// Neurons of each layer, input first.
    pub sizes: Vec<usize>,
    /// One for each layer after the input.
    pub activations: Vec<Activation>,
    pub cost_function: Cost,
    pub eta: f64,
    /// The number of examples, `m`.
    pub rows: usize,
    /// `(rows, sizes[0])`.
    pub x: Vec<f64>,
    /// `(rows, n_L)`.
    pub y: Vec<f64>,
    /// The first parameters; each array is `(n_l, n_(l-1))`.
    pub weights: Layers,
    /// Each array is `(n_l)`.
    pub biases: Layers,
    /// Each array is `(rows, n_l)`.
    pub z: Layers,
    /// Each array is `(rows, n_l)`.
    pub a: Layers,
    /// Each array is `(rows, n_l)`: the errors of each example, not yet divided by the number of rows.
    pub delta: Layers,
    /// The gradient of the mean cost, shaped as the weights.
    pub nabla_w: Layers,
    /// The gradient of the mean cost, shaped as the biases.
    pub nabla_b: Layers,
    /// The mean cost at the first parameters.
    pub cost: f64,
    /// Steps of gradient descent on this mini-batch, one after the other.
    pub steps: Vec<Step>,
    /// The mean cost after the last step.
    pub cost_after: f64,
}

/// One step of gradient descent.
#[derive(Clone)]
pub struct Step {
    /// The mean cost before the step.
    pub cost: f64,
    /// The weights after it.
    pub weights: Layers,
    /// The biases after it.
    pub biases: Layers,
}

/// Every case of the golden file, its shapes checked.
pub fn load() -> Vec<Case> {
    let file: Value = serde_json::from_str(include_str!("../golden/golden.json")).expect("golden.json is JSON");
    let rows = whole(&file["rows"]);
    list(&file["cases"]).iter().map(|case| Case::parse(case, rows)).collect()
}

impl Case {
    fn parse(case: &Value, rows: usize) -> Self {
        let sizes: Vec<usize> = list(&case["sizes"]).iter().map(whole).collect();
        let activations: Vec<Activation> =
            list(&case["activations"]).iter().map(|f| word(f).parse().expect("a known activation")).collect();
        let outputs = &sizes[1..];
        assert_eq!(activations.len(), outputs.len());

        let layers = |value: &Value, array: &dyn Fn(&Value, usize) -> Vec<f64>| -> Layers {
            let layers = list(value);
            assert_eq!(layers.len(), outputs.len());
            layers.iter().enumerate().map(|(l, layer)| array(layer, l)).collect()
        };
        let batch = |value: &Value| layers(value, &|layer, l| matrix(layer, rows, outputs[l]));
        let weights = |value: &Value| layers(value, &|layer, l| matrix(layer, outputs[l], sizes[l]));
        let biases = |value: &Value| layers(value, &|layer, l| vector(layer, outputs[l]));
        Self {
            name: word(&case["name"]).to_owned(),
            cost_function: word(&case["cost_function"]).parse().expect("a known cost"),
            eta: number(&case["eta"]),
            rows,
            x: matrix(&case["x"], rows, sizes[0]),
            y: matrix(&case["y"], rows, outputs[outputs.len() - 1]),
            weights: weights(&case["w"]),
            biases: biases(&case["b"]),
            z: batch(&case["z"]),
            a: batch(&case["a"]),
            delta: batch(&case["delta"]),
            nabla_w: weights(&case["nabla_w"]),
            nabla_b: biases(&case["nabla_b"]),
            cost: number(&case["cost"]),
            steps: list(&case["steps"])
                .iter()
                .map(|step| Step {
                    cost: number(&step["cost"]),
                    weights: weights(&step["w"]),
                    biases: biases(&step["b"]),
                })
                .collect(),
            cost_after: number(&case["cost_after"]),
            sizes,
            activations,
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("golden.json: {value} is no list"))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("golden.json: {value} is no word"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("golden.json: {value} is no number"))
}

fn whole(value: &Value) -> usize {
    let n = value.as_u64().unwrap_or_else(|| panic!("golden.json: {value} is no whole number"));
    n.try_into().expect("a small number")
}

fn vector(value: &Value, length: usize) -> Vec<f64> {
    let numbers: Vec<f64> = list(value).iter().map(number).collect();
    assert_eq!(numbers.len(), length, "golden.json: {value}");
    numbers
}

/// The rows of a matrix one after the other.
fn matrix(value: &Value, rows: usize, columns: usize) -> Vec<f64> {
    assert_eq!(list(value).len(), rows, "golden.json: {value}");
    list(value).iter().flat_map(|row| vector(row, columns)).collect()
}

/// Gathers what differs from a case by more than a fraction `tolerance` of the scale of its array.
///
/// The scale is the largest magnitude in the wanted array, never that of the one element, which may have cancelled.
#[must_use = "a comparison says nothing until it is finished"]
pub struct Comparison {
    case: String,
    tolerance: f64,
    report: Report,
    problems: Vec<String>,
}

/// What was compared, when all of it agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// How many numbers.
    pub values: usize,
    /// The largest difference, as a fraction of its scale.
    pub worst: f64,
}

impl Comparison {
    pub fn new(case: &Case, tolerance: f64) -> Self {
        Self { case: case.name.clone(), tolerance, report: Report::default(), problems: Vec::new() }
    }

    /// One array for each layer.
    pub fn layers<T: Copy + Into<f64>>(&mut self, what: &str, got: &[Vec<T>], want: &[Vec<f64>]) {
        if got.len() != want.len() {
            self.problems.push(format!("{what}: {} layers, not {}", got.len(), want.len()));
        }
        for (l, (got, want)) in got.iter().zip(want).enumerate() {
            self.array(&format!("{what} of layer {}", l + 2), got, want);
        }
    }

    /// One array. NaN and infinity fail on either side, as does a wanted array of zeros, which has no scale.
    pub fn array<T: Copy + Into<f64>>(&mut self, what: &str, got: &[T], want: &[f64]) {
        if got.len() != want.len() {
            self.problems.push(format!("{what}: {} values, not {}", got.len(), want.len()));
        }
        let scale = want.iter().fold(0.0_f64, |scale, v| scale.max(v.abs()));
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            let got: f64 = got.into();
            let error = (got - want).abs() / scale;
            self.report.values += 1;
            if error <= self.tolerance && got.is_finite() && want.is_finite() {
                self.report.worst = self.report.worst.max(error);
            } else {
                self.problems.push(format!("{what}[{i}]: got {got:e}, want {want:e}, error {error:e} of its scale"));
            }
        }
    }

    /// One number.
    pub fn value(&mut self, what: &str, got: impl Into<f64>, want: f64) {
        self.array(what, &[got.into()], &[want]);
    }

    /// What was compared; else the first difference, which is the nearest to its cause, and how many there are.
    pub fn finish(self) -> Result<Report, String> {
        match self.problems.first() {
            None if self.report.values > 0 => Ok(self.report),
            None => Err(format!("{}: nothing was compared", self.case)),
            Some(first) => {
                let tolerance = self.tolerance;
                Err(format!("{}: {first}; {} differ by more than {tolerance:e}", self.case, self.problems.len()))
            }
        }
    }
}
