//! What each operator makes of its inputs.
//!
//! A value of the graph is a tensor of the file, or a stage on the way of the rows through the network. A stage knows the one below
//! it, so that in the end the way from the output down to the input is the network, whatever else is in the graph. Formulas that
//! exporters write for SiLU and GELU are recognised as products with a common base.

use super::model::{FLOAT, Node, Tensor, Value as Attribute, type_name};
use crate::Activation;

/// The operators that are taken, as errors list them.
pub(super) const SUPPORTED: &str = "Gemm, MatMul, Add (of a bias), Sigmoid, Tanh, Relu, LeakyRelu (0.01), Elu (1), Gelu, Swish (1), \
    Softplus, Softmax (last), Identity, Cast (to float), Flatten and Reshape (to rows), Constant; and x Sigmoid(x), x (1 + Erf(x / sqrt 2)) / 2 by Mul, \
    Div, Erf and Add";

/// What an operator says of its inputs.
pub(super) type Made<T> = Result<T, String>;

/// A value of the graph.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Tensor(Tensor<'a>),
    /// Its place in [`Stages::list`].
    Stage(usize),
}

/// A stage on the way of the rows.
#[derive(Debug, Clone)]
pub(super) struct Stage<'a> {
    /// The stage below; its own place for the input.
    pub(super) below: usize,
    /// The node that made it.
    pub(super) node: usize,
    pub(super) what: What<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum What<'a> {
    /// The input: its columns, where they are known, and whether it is rows of numbers.
    Input {
        columns: Option<usize>,
        flat: bool,
    },
    /// `z = x w^T + b`.
    Dense {
        w: Matrix<'a>,
        b: Option<Bias<'a>>,
    },
    Activation(Activation),
    /// A part of a formula: `factor * x^power * gate(x)`, with `x` the stage below.
    Part {
        factor: f64,
        power: u8,
        gate: Gate,
    },
}

/// `w` of a layer, as it lies in a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) elements: &'a [[u8; 4]],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Whether it lies as (in, out).
    pub(super) input_first: bool,
    pub(super) factor: f32,
}

/// `b` of a layer: one number for each output, or one for all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bias<'a> {
    pub(super) elements: &'a [[u8; 4]],
    pub(super) factor: f32,
}

/// A function in a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    None,
    Sigmoid,
    /// `erf(x / sqrt 2)`.
    Erf,
    /// `1 + erf(x / sqrt 2)`.
    OnePlusErf,
}

/// The stages so far.
#[derive(Debug)]
pub(super) struct Stages<'a> {
    pub(super) list: Vec<Stage<'a>>,
}

/// A product of a base with factors.
#[derive(Debug, Clone, Copy)]
struct Product {
    base: usize,
    factor: f64,
    power: u8,
    gate: Gate,
}

fn near(x: f64, want: f64) -> bool {
    (x - want).abs() <= 1e-5 * want.abs()
}

impl<'a> Stages<'a> {
    /// The value that a node makes. `at` is its place in the graph.
    pub(super) fn apply(&mut self, at: usize, node: &Node<'a>, inputs: &[&Value<'a>]) -> Made<Value<'a>> {
        let activation = match node.operator {
            "Sigmoid" => Some(Activation::Sigmoid),
            "Tanh" => Some(Activation::Tanh),
            "Relu" => Some(Activation::Relu),
            "Softplus" => Some(Activation::Softplus),
            "LeakyRelu" => {
                only(float(node, "alpha", 0.01)?, 0.01, "alpha")?;
                Some(Activation::LeakyRelu)
            }
            "Elu" => {
                only(float(node, "alpha", 1.0)?, 1.0, "alpha")?;
                Some(Activation::Elu)
            }
            "Swish" => {
                only(float(node, "alpha", 1.0)?, 1.0, "alpha")?;
                Some(Activation::Silu)
            }
            "Gelu" => match node.attribute("approximate") {
                None | Some(Attribute::Text(b"none")) => Some(Activation::Gelu),
                Some(Attribute::Text(b"tanh")) => Some(Activation::GeluTanh),
                Some(_) => return Err("approximate must be none or tanh".to_owned()),
            },
            "Softmax" => match int(node, "axis", -1)? {
                1 | -1 => Some(Activation::Softmax),
                axis => return Err(format!("axis is {axis}; it must be 1 or -1, the columns of a row")),
            },
            _ => None,
        };
        if let Some(activation) = activation {
            let below = self.rows(one(inputs)?)?;
            return Ok(self.push(at, below, What::Activation(activation)));
        }
        match node.operator {
            "Gemm" => self.gemm(at, node, inputs),
            "MatMul" => {
                let [x, w] = inputs else { return Err(format!("it has {} inputs, not 2", inputs.len())) };
                let w = matrix(constant(w, "the second factor")?, true, 1.0)?;
                self.dense(at, self.rows(x)?, w, None)
            }
            "Add" => self.add(at, inputs),
            "Mul" | "Div" => self.product(at, node.operator == "Div", inputs),
            "Erf" => {
                let product = self.factors(self.rows(one(inputs)?)?);
                if product.gate != Gate::None
                    || product.power != 1
                    || !near(product.factor, std::f64::consts::FRAC_1_SQRT_2)
                {
                    return Err("Erf is taken of x / sqrt 2 only, as a part of GELU".to_owned());
                }
                Ok(self.part(at, Product { factor: 1.0, power: 0, gate: Gate::Erf, ..product }))
            }
            "Identity" => Ok(one(inputs)?.clone()),
            "Cast" => match (int(node, "to", 0)?, one(inputs)?) {
                (FLOAT, rows @ Value::Stage(_)) => Ok((*rows).clone()),
                (FLOAT, Value::Tensor(_)) => Err("it casts a constant; it must stand in the file as float".to_owned()),
                (to, _) => Err(format!("it casts to {}; rows have to stay float", type_name(to))),
            },
            "Flatten" => match int(node, "axis", 1)? {
                1 => self.flat(at, one(inputs)?, None),
                axis => Err(format!("axis is {axis}; it must be 1, which makes rows")),
            },
            "Reshape" => {
                let [x, shape] = inputs else { return Err(format!("it has {} inputs, not 2", inputs.len())) };
                let shape = constant(shape, "the shape")?.small_ints()?;
                // 0 keeps the number of rows, unless the attribute allowzero gives it a meaning.
                match shape[..] {
                    [-1 | 0, columns] if columns != 0 => self.flat(at, x, Some(columns)),
                    _ => Err(format!("the shape is {shape:?}; it must be [-1, columns] or [0, -1], rows of numbers")),
                }
            }
            "Constant" => match node.attribute("value") {
                Some(Attribute::Tensor(tensor)) => Ok(Value::Tensor((**tensor).clone())),
                _ => Err("the constant must be a tensor, in the attribute value".to_owned()),
            },
            _ => Err("the operator is not supported".to_owned()),
        }
    }

    /// The stage of a value that has to be rows of numbers.
    fn rows(&self, value: &Value<'a>) -> Made<usize> {
        let stage = self.stage(value)?;
        if let What::Input { flat: false, .. } = self.list[stage].what {
            return Err("the graph's input has not two dimensions, rows and columns; flatten it first".to_owned());
        }
        Ok(stage)
    }

    fn stage(&self, value: &Value<'a>) -> Made<usize> {
        match value {
            Value::Stage(stage) => Ok(*stage),
            Value::Tensor(_) => Err("it works on constants, where the rows of the input were expected".to_owned()),
        }
    }

    fn push(&mut self, node: usize, below: usize, what: What<'a>) -> Value<'a> {
        self.list.push(Stage { below, node, what });
        Value::Stage(self.list.len() - 1)
    }

    /// The columns of a stage, where they are known.
    pub(super) fn columns(&self, mut stage: usize) -> Option<usize> {
        loop {
            match self.list[stage].what {
                What::Input { columns, .. } => return columns,
                What::Dense { w, .. } => return Some(w.outputs),
                What::Activation(_) | What::Part { .. } => stage = self.list[stage].below,
            }
        }
    }

    fn dense(&mut self, at: usize, below: usize, w: Matrix<'a>, b: Option<Bias<'a>>) -> Made<Value<'a>> {
        match self.columns(below) {
            Some(columns) if columns != w.inputs => {
                Err(format!("its weights take {} columns, where the rows have {columns}", w.inputs))
            }
            _ => Ok(self.push(at, below, What::Dense { w, b })),
        }
    }

    fn gemm(&mut self, at: usize, node: &Node<'a>, inputs: &[&Value<'a>]) -> Made<Value<'a>> {
        let (x, w, c) = match inputs {
            [x, w] => (x, w, None),
            [x, w, c] => (x, w, Some(c)),
            _ => return Err(format!("it has {} inputs, not 2 or 3", inputs.len())),
        };
        if int(node, "transA", 0)? != 0 {
            return Err("transA is set, which would mix up rows and columns of the input".to_owned());
        }
        let w = matrix(constant(w, "B")?, int(node, "transB", 0)? == 0, float(node, "alpha", 1.0)?)?;
        let factor = float(node, "beta", 1.0)?;
        let b = c.map(|c| bias(constant(c, "C")?, w.outputs, factor)).transpose()?;
        self.dense(at, self.rows(x)?, w, b)
    }

    fn add(&mut self, at: usize, inputs: &[&Value<'a>]) -> Made<Value<'a>> {
        let ([Value::Stage(stage), Value::Tensor(tensor)] | [Value::Tensor(tensor), Value::Stage(stage)]) = inputs
        else {
            return Err("it must add a constant bias to rows".to_owned());
        };
        let stage = self.list[*stage].clone();
        match stage.what {
            What::Dense { w, b: None } => {
                let b = bias(tensor, w.outputs, 1.0)?;
                Ok(self.push(at, stage.below, What::Dense { w, b: Some(b) }))
            }
            What::Part { factor, power: 0, gate: Gate::Erf } if near(factor, 1.0) => match tensor.scalar()? {
                Some(1.0) => {
                    Ok(self.push(at, stage.below, What::Part { factor: 1.0, power: 0, gate: Gate::OnePlusErf }))
                }
                _ => Err("to Erf only 1 is added, as a part of GELU".to_owned()),
            },
            _ => Err("a bias is added to what a MatMul or Gemm without one makes, and nothing else".to_owned()),
        }
    }

    /// `Mul` and `Div`: parts of SiLU and GELU.
    fn product(&mut self, at: usize, divide: bool, inputs: &[&Value<'a>]) -> Made<Value<'a>> {
        let number = |tensor: &Tensor<'a>| {
            tensor
                .scalar()?
                .map(f64::from)
                .ok_or_else(|| "it must be with a single number, as a part of GELU".to_owned())
        };
        let made = match inputs {
            [Value::Stage(a), Value::Stage(b)] if !divide => {
                let (a, b) = (self.factors(*a), self.factors(*b));
                let gate = match (a.gate, b.gate) {
                    (gate, Gate::None) | (Gate::None, gate) => gate,
                    _ => return Err("it is no part of SiLU or GELU".to_owned()),
                };
                if a.base != b.base || a.power + b.power > 1 {
                    return Err("it is no part of SiLU or GELU".to_owned());
                }
                Product { base: a.base, factor: a.factor * b.factor, power: a.power + b.power, gate }
            }
            [Value::Stage(stage), Value::Tensor(tensor)] => {
                let (product, number) = (self.factors(*stage), number(tensor)?);
                Product { factor: if divide { product.factor / number } else { product.factor * number }, ..product }
            }
            [Value::Tensor(tensor), Value::Stage(stage)] if !divide => {
                let product = self.factors(*stage);
                Product { factor: product.factor * number(tensor)?, ..product }
            }
            _ => return Err("it is no part of SiLU or GELU".to_owned()),
        };
        Ok(self.part(at, made))
    }

    /// What a stage is as a product.
    fn factors(&self, stage: usize) -> Product {
        let Stage { below, what, .. } = &self.list[stage];
        match *what {
            What::Part { factor, power, gate } => Product { base: *below, factor, power, gate },
            What::Activation(Activation::Sigmoid) => {
                Product { base: *below, factor: 1.0, power: 0, gate: Gate::Sigmoid }
            }
            _ => Product { base: stage, factor: 1.0, power: 1, gate: Gate::None },
        }
    }

    /// The stage of a product: an activation once it is whole.
    fn part(&mut self, at: usize, product: Product) -> Value<'a> {
        let Product { base, factor, power, gate } = product;
        let what = match gate {
            Gate::Sigmoid if power == 1 && near(factor, 1.0) => What::Activation(Activation::Silu),
            Gate::OnePlusErf if power == 1 && near(factor, 0.5) => What::Activation(Activation::Gelu),
            _ => What::Part { factor, power, gate },
        };
        self.push(at, base, what)
    }

    /// Rows of numbers: the input, flattened; all else is that already.
    fn flat(&mut self, at: usize, value: &Value<'a>, columns: Option<i64>) -> Made<Value<'a>> {
        let stage = self.stage(value)?;
        let known = self.columns(stage);
        let wanted = columns.and_then(|columns| usize::try_from(columns).ok());
        if let (Some(known), Some(wanted)) = (known, wanted)
            && known != wanted
        {
            return Err(format!("it makes rows of {wanted} columns of rows of {known}"));
        }
        match self.list[stage].what {
            What::Input { .. } => Ok(self.push(at, stage, What::Input { columns: known.or(wanted), flat: true })),
            _ => Ok(value.clone()),
        }
    }
}

fn one<'v, 'a>(inputs: &[&'v Value<'a>]) -> Made<&'v Value<'a>> {
    if let [input] = inputs { Ok(input) } else { Err(format!("it has {} inputs, not 1", inputs.len())) }
}

fn constant<'v, 'a>(value: &'v Value<'a>, what: &str) -> Made<&'v Tensor<'a>> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        Value::Stage(_) => Err(format!("{what} is worked out of the input; it must be a constant")),
    }
}

fn float(node: &Node<'_>, name: &str, default: f32) -> Made<f32> {
    match node.attribute(name) {
        None => Ok(default),
        Some(Attribute::Float(value)) => Ok(*value),
        Some(_) => Err(format!("{name} is no number")),
    }
}

fn int(node: &Node<'_>, name: &str, default: i64) -> Made<i64> {
    match node.attribute(name) {
        None => Ok(default),
        Some(Attribute::Int(value)) => Ok(*value),
        Some(_) => Err(format!("{name} is no whole number")),
    }
}

fn only(got: f32, want: f32, name: &str) -> Made<()> {
    if near(f64::from(got), f64::from(want)) {
        Ok(())
    } else {
        Err(format!("{name} is {got}; only {want} is supported"))
    }
}

/// The weights of a layer, of a tensor with two dimensions.
fn matrix<'a>(tensor: &Tensor<'a>, input_first: bool, factor: f32) -> Made<Matrix<'a>> {
    let elements = tensor.floats()?;
    let size = |size: i64| usize::try_from(size).ok().filter(|&size| size > 0);
    let &[rows, columns] = &tensor.dims[..] else {
        return Err(format!("its weights have {} dimensions, not 2", tensor.dims.len()));
    };
    let (Some(rows), Some(columns)) = (size(rows), size(columns)) else {
        return Err(format!("its weights are {rows} x {columns}"));
    };
    let (inputs, outputs) = if input_first { (rows, columns) } else { (columns, rows) };
    Ok(Matrix { elements, inputs, outputs, input_first, factor })
}

/// The biases of a layer: (out), (1, out), or one number for all.
fn bias<'a>(tensor: &Tensor<'a>, outputs: usize, factor: f32) -> Made<Bias<'a>> {
    let elements = tensor.floats()?;
    let leading_ones = tensor.dims.len() <= 2 && tensor.dims.iter().rev().skip(1).all(|&size| size == 1);
    if leading_ones && (elements.len() == outputs || elements.len() == 1) {
        return Ok(Bias { elements, factor });
    }
    Err(format!("its bias has the sizes {:?}, where {outputs} numbers are needed", tensor.dims))
}
