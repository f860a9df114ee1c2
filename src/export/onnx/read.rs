//! From an ONNX graph to a network.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::model::{FLOAT, Graph, Model, Node, type_name};
use super::operators::{Bias, Matrix, SUPPORTED, Stage, Stages, Value, What};
use crate::error::{Error, Result, brief};
use crate::{Activation, Device, Init, Network};

/// The versions of ONNX's operators that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=super::OPSET;

/// What a protocol buffer can hold.
const MOST_BYTES: u64 = 1 << 31;

impl Network {
    /// A network of an ONNX model, to be trained further here: the graph has to be a chain of dense layers, each `Gemm` or `MatMul`
    /// and `Add`, with the activations that this crate has. Its parameters are the model's bits where `alpha` and `beta` are 1.
    ///
    /// Taken are `Gemm` (any `alpha`, `beta`, `transB`), `MatMul` with `Add`, `Sigmoid`, `Tanh`, `Relu`, `LeakyRelu` (0.01), `Elu`
    /// (1), `Gelu`, `Swish`, `Softplus`, a `Softmax` at the end, `Identity`, `Cast` to float, `Flatten` and `Reshape` to rows, `Constant`, and what
    /// exporters write for SiLU and GELU with `Mul`, `Div`, `Erf`, `Add`; opsets 7 to 28; tensors of 32-bit floats within the file.
    /// A [`Preparation`](crate::data::Preparation) does not come back from the operators that it became: a network that has one comes back
    /// from what [`Onnx::encoded_rows`](crate::export::Onnx::encoded_rows) writes, and all of it from a checkpoint.
    ///
    /// The bytes are not believed: nothing in them panics or loops, and beside the network itself at most three times their
    /// number is allocated, and 16 MiB.
    ///
    /// ```
    /// # #[cfg(feature = "blocking")] {
    /// use wgrad::export::Onnx;
    /// use wgrad::{Activation, Cost, Device, Network, Sgd};
    /// let elsewhere = Network::new(2).dense(3, Activation::Silu).dense(1, Activation::Identity).build(&Device::cpu())?;
    /// let model = elsewhere.to_onnx(&Onnx::new())?;
    ///
    /// let mut net = Network::from_onnx(&model, &Device::cpu())?;
    /// assert_eq!(net.layers()[0].activation, Activation::Silu);
    /// net.update_mini_batch(&[1.0, 2.0], &[3.0], Cost::Quadratic, Sgd::new(0.1))?;
    ///
    /// let error = Network::from_onnx(&model[..model.len() - 9], &Device::cpu()).unwrap_err();
    /// assert!(matches!(error, wgrad::Error::File { .. }));
    /// # }
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Operator`] for a node that is not supported, with its name, its operator and those that are. [`Error::File`] for what is
    /// no ONNX model or a damaged one, for another number of inputs or outputs, for tensors of other types or in other files;
    /// [`Error::NotFinite`] if a parameter is NaN or infinite; what [`NetworkBuilder::build`](crate::NetworkBuilder::build) refuses.
    pub fn from_onnx(model: &[u8], device: &Device) -> Result<Self> {
        from_bytes(model, Path::new("the ONNX model"), device)
    }

    /// As [`from_onnx`](Self::from_onnx), from a file.
    ///
    /// # Errors
    /// As there, and [`Error::Io`] if the file cannot be read, [`Error::File`] if it is a directory or has more than 2 GiB.
    pub fn read_onnx(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        if file.metadata().is_ok_and(|about| about.is_dir()) {
            return Err(Error::file(path, "this is a directory, where an ONNX model was expected"));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(Error::file(path, "it has more than 2 GiB, where an ONNX model has less"));
        }
        from_bytes(&bytes, path, device)
    }
}

fn from_bytes(bytes: &[u8], path: &Path, device: &Device) -> Result<Network> {
    let wrong = |problem: String| Error::file(path, problem);
    let model = Model::read(bytes).map_err(wrong)?;
    let opset =
        model.opset.ok_or_else(|| wrong("it does not say which version of ONNX's operators it has".to_owned()))?;
    if !OPSETS.contains(&opset) {
        let (first, last) = (OPSETS.start(), OPSETS.end());
        return Err(wrong(format!("it has version {opset} of ONNX's operators; {first} to {last} are supported")));
    }
    let layers = layers(&model.graph, path)?;
    let first =
        layers.first().ok_or_else(|| wrong("there is no Gemm and no MatMul between input and output".to_owned()))?;
    // What a file makes this crate allocate is bounded by its size.
    let count = layers.iter().map(|layer| layer.w.elements.len()).fold(0_usize, usize::saturating_add);
    if count > bytes.len() / 4 {
        return Err(wrong("several layers have the same weights, which is not supported".to_owned()));
    }
    // Drawn values would be thrown away.
    let start = Network::new(first.w.inputs).init(Init::Constant(0.0));
    let builder = layers.iter().fold(start, |net, layer| net.dense(layer.w.outputs, layer.activation));
    let mut net = builder.build(device)?;
    let mut parameters = Vec::new();
    parameters.try_reserve_exact(net.parameter_count()).map_err(|_| wrong("it does not fit in memory".to_owned()))?;
    layers.iter().for_each(|layer| weights(&layer.w, &mut parameters));
    layers.iter().for_each(|layer| biases(layer, &mut parameters));
    if let Some(index) = parameters.iter().position(|x| !x.is_finite()) {
        let what = format!("{}: the parameters", path.display());
        return Err(Error::NotFinite { what, index, value: parameters[index] });
    }
    net.set_parameters(&parameters)?;
    Ok(net)
}

/// A dense layer, as it lies in the file.
struct Layer<'a> {
    w: Matrix<'a>,
    b: Option<Bias<'a>>,
    activation: Activation,
    /// Whether a node said so.
    activated: bool,
}

/// `w` (O,I), row-major.
fn weights(w: &Matrix<'_>, out: &mut Vec<f32>) {
    let value = |bytes: [u8; 4]| scaled(bytes, w.factor);
    if w.input_first {
        for o in 0..w.outputs {
            out.extend((0..w.inputs).map(|i| value(w.elements[i * w.outputs + o])));
        }
    } else {
        out.extend(w.elements.iter().map(|&bytes| value(bytes)));
    }
}

fn biases(layer: &Layer<'_>, out: &mut Vec<f32>) {
    let wide = layer.w.outputs;
    match &layer.b {
        Some(Bias { elements: [one], factor }) => out.extend(std::iter::repeat_n(scaled(*one, *factor), wide)),
        Some(Bias { elements, factor }) => out.extend(elements.iter().map(|&bytes| scaled(bytes, *factor))),
        None => out.extend(std::iter::repeat_n(0.0, wide)),
    }
}

fn scaled(bytes: [u8; 4], factor: f32) -> f32 {
    factor * f32::from_le_bytes(bytes)
}

/// The layers between the input and the output, from the input up.
fn layers<'a>(graph: &Graph<'a>, path: &Path) -> Result<Vec<Layer<'a>>> {
    let wrong = |problem: String| Error::file(path, problem);
    let refused = |node: &Node<'_>, problem: String| {
        let domain = if matches!(node.domain, "" | "ai.onnx") { "" } else { node.domain };
        let operator =
            if domain.is_empty() { brief(node.operator) } else { brief(&format!("{domain}.{}", node.operator)) };
        Error::Operator { model: path.to_owned(), node: node.title(), operator, problem, supported: SUPPORTED }
    };
    let mut values: HashMap<&str, Value<'a>> = HashMap::new();
    for tensor in &graph.tensors {
        if values.insert(tensor.name, Value::Tensor(tensor.clone())).is_some() {
            return Err(wrong(format!("two tensors are called '{}'", brief(tensor.name))));
        }
    }
    // Before version 4 of the format, every tensor is listed among the inputs too.
    let inputs: Vec<_> = graph.inputs.iter().filter(|input| !values.contains_key(input.name)).collect();
    let (&[input], [output]) = (&inputs[..], &graph.outputs[..]) else {
        let (inputs, outputs) = (inputs.len(), graph.outputs.len());
        // A preparation could not be told from other operators, and its exceptions not at all.
        return Err(wrong(format!(
            "it has {inputs} inputs and {outputs} outputs, where a network has one of each; a model that takes the columns of a \
             table is not read, but what Onnx::encoded_rows() writes of its network is"
        )));
    };
    if input.data_type != FLOAT {
        let got = type_name(input.data_type);
        return Err(wrong(format!(
            "its input '{}' has elements of type {got}, where float is needed",
            brief(input.name)
        )));
    }
    let what = match &input.dims {
        None => What::Input { columns: None, flat: true },
        Some(dims) if dims.len() < 2 => {
            let (name, got) = (brief(input.name), dims.len());
            return Err(wrong(format!("its input '{name}' has {got} dimensions, where rows and columns are needed")));
        }
        Some(dims) => {
            let columns = dims.iter().skip(1).try_fold(1_usize, |columns, size| {
                columns.checked_mul(usize::try_from((*size)?).ok().filter(|&size| size > 0)?)
            });
            What::Input { columns, flat: dims.len() == 2 }
        }
    };
    values.insert(input.name, Value::Stage(0));
    let mut stages = Stages { list: vec![Stage { below: 0, node: 0, what }] };
    for (at, node) in graph.nodes.iter().enumerate() {
        if !matches!(node.domain, "" | "ai.onnx") {
            return Err(refused(node, "its operators are not supported".to_owned()));
        }
        let mut used = node.inputs.len();
        // Inputs that are left out at the end have no name.
        while used > 0 && node.inputs[used - 1].is_empty() {
            used -= 1;
        }
        let mut arguments = Vec::with_capacity(used);
        for name in &node.inputs[..used] {
            arguments.push(values.get(name).ok_or_else(|| {
                let problem = format!(
                    "its input '{}' is made by no node before it; the nodes are out of order, or in a circle",
                    brief(name)
                );
                refused(node, problem)
            })?);
        }
        let made = stages.apply(at, node, &arguments).map_err(|problem| refused(node, problem))?;
        let [name] = node.outputs[..] else {
            return Err(refused(node, format!("it has {} outputs, not 1", node.outputs.len())));
        };
        if values.insert(name, made).is_some() {
            return Err(refused(node, format!("its output '{}' is made twice", brief(name))));
        }
    }
    let Some(Value::Stage(last)) = values.get(output.name) else {
        return Err(wrong(format!("its output '{}' is made by no node", brief(output.name))));
    };
    collect(&stages, *last).map_err(|(node, problem)| match graph.nodes.get(node) {
        Some(node) => refused(node, problem),
        None => wrong(problem),
    })
}

/// The way from a stage down to the input, the other way round. An error has the place of its node.
fn collect<'a>(stages: &Stages<'a>, last: usize) -> Result<Vec<Layer<'a>>, (usize, String)> {
    let mut way = Vec::new();
    let mut stage = last;
    while !matches!(stages.list[stage].what, What::Input { .. }) {
        way.push(stage);
        stage = stages.list[stage].below;
    }
    let mut layers: Vec<Layer<'a>> = Vec::new();
    for (place, &stage) in way.iter().rev().enumerate() {
        let Stage { node, what, .. } = &stages.list[stage];
        match *what {
            What::Input { .. } => {}
            What::Dense { w, b } => layers.push(Layer { w, b, activation: Activation::Identity, activated: false }),
            What::Activation(activation) => match layers.last_mut() {
                Some(layer) if !layer.activated => {
                    if activation == Activation::Softmax && place + 1 != way.len() {
                        return Err((*node, "a softmax can only be the last of a network".to_owned()));
                    }
                    layer.activation = activation;
                    layer.activated = true;
                }
                _ => return Err((*node, "an activation has to follow a Gemm or MatMul, and only one".to_owned())),
            },
            What::Part { .. } => {
                return Err((*node, "it is a part of a formula that is none of the activations".to_owned()));
            }
        }
    }
    Ok(layers)
}
