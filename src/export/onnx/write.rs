//! A network as an ONNX graph.

use super::graph::{Attribute, GraphWriter};
use super::model::FLOAT;
use super::{OLDEST_WRITTEN, OPSET, Onnx, table};
use crate::error::{Error, Result};
use crate::export::{Trained, refuse};
use crate::{Activation, Network};

impl Network {
    /// The network as an ONNX model, for other frameworks and runtimes; any number of rows at once.
    ///
    /// Without a preparation the graph has one input `x` (rows, inputs) and one output `y` (rows, outputs), both `float`; a softmax
    /// is part of it. With one ([`set_preparation`](Self::set_preparation)) it takes raw rows: an input (rows, 1) for each column
    /// that is used, `double` for numbers, with NaN for a missing one, and for dates, as days since 1970-01-01; `string` for
    /// categories. Scaling, filled gaps and one-hot categories are operators of the graph. It answers in an output with the name of the
    /// target, a `double` in the target's units (rows, 1), or the `string` that names the class (rows), and then
    /// `probabilities` (rows, classes).
    ///
    /// What [`predict_rows`](Self::predict_rows_async) does with texts goes beyond ONNX in one thing: texts have to come
    /// without spaces around them. An infinite number, which is an error there, is a very large one here.
    ///
    /// Outputs differ from those of [`predict`](Self::predict_async) by rounding, within
    /// `2 (8 + 2 sqrt(K)) 2^-23 (sum_k |w_jk a_k| + |b_j|)` a layer for `K` neurons below; `scripts/onnx` checks it with onnxruntime.
    ///
    /// ```
    /// use wgrad::export::Onnx;
    /// use wgrad::{Activation, Device, Network};
    /// let net = Network::new(4).dense(8, Activation::Gelu).dense(3, Activation::Softmax).build(&Device::cpu())?;
    /// let model = net.to_onnx(&Onnx::new())?;
    /// // std::fs::write("iris.onnx", &model)
    /// let again = Network::from_onnx(&model, &Device::cpu())?;
    /// assert_eq!(again.parameters()?, net.parameters()?);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Export`] for a preparation that refuses fields (`Missing::Error`, `Unknown::Error`), which no operator can do, and for
    /// a model of 2 GiB or more, which no protocol buffer can be; [`Error::InvalidOption`] for an unknown opset;
    /// [`Error::NotFinite`] if a parameter is NaN or infinite; what the device reports.
    pub async fn to_onnx_async(&self, options: &Onnx) -> Result<Vec<u8>> {
        if !(OLDEST_WRITTEN..=OPSET).contains(&options.opset) {
            let value = options.opset.to_string();
            return Err(Error::InvalidOption { option: "opset", value, want: "from 20 to 28" });
        }
        let net = Trained::of(self, "ONNX").await?;
        // Half of what a protocol buffer can hold is far from what its rest takes.
        if net.parameters.len() >= 1 << 28 {
            let problem =
                format!("{} parameters, where ONNX has room for less than 2^28 in one file", net.parameters.len());
            return Err(refuse("ONNX", problem));
        }
        write(&net, options)
    }

    /// Blocking form of [`to_onnx_async`](Self::to_onnx_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn to_onnx(&self, options: &Onnx) -> Result<Vec<u8>> {
        crate::blocking::block_on(self.to_onnx_async(options))
    }
}

fn write(net: &Trained<'_>, options: &Onnx) -> Result<Vec<u8>> {
    let mut graph = GraphWriter::default();
    let about = format!("A network of {}.", net.summary());
    let preparation = net.preparation.filter(|_| !options.encoded_rows);
    let mut ml = None;
    if let Some(preparation) = preparation {
        let names = table::Names::new(&mut graph, preparation);
        let x = table::inputs(&mut graph, preparation, &names)?;
        let y = layers(&mut graph, net, x, None);
        table::answers(&mut graph, preparation, &names, &y);
        ml = Some((table::DOMAIN, table::VERSION));
    } else {
        let (x, y) = (graph.fresh("x"), graph.fresh("y"));
        graph.input(&x, FLOAT, net.inputs(), "rows of inputs");
        layers(&mut graph, net, x, Some(&y));
        graph.output(&y, FLOAT, Some(net.outputs()), "rows of outputs");
    }
    Ok(graph.model(&about, options.opset, ir_version(options.opset), ml))
}

/// The first version of the file format that goes with an opset.
const fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=20 => 9,
        21 | 22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

/// The layers' nodes; the last output gets this name, where one is given.
fn layers(graph: &mut GraphWriter, net: &Trained<'_>, x: String, y: Option<&str>) -> String {
    let mut a = x;
    for (at, layer) in net.layers.iter().enumerate() {
        let l = at + 1;
        let w = graph.floats(&format!("w_{l}"), &[layer.outputs, layer.inputs], net.weights(layer));
        let b = graph.floats(&format!("b_{l}"), &[layer.outputs], net.biases(layer));
        let z = graph.node("Gemm", &[&a, &w, &b], &format!("z_{l}"), &[("transB", Attribute::Int(1))]);
        let last = y.filter(|_| l == net.layers.len());
        let output = last.map_or_else(|| graph.fresh(&format!("a_{l}")), str::to_owned);
        let mut one = |operator: &str, attributes: &[(&str, Attribute<'_>)]| {
            graph.node_to("", operator, &[&z], &output, attributes);
        };
        match layer.activation {
            Activation::Sigmoid => one("Sigmoid", &[]),
            Activation::Tanh => one("Tanh", &[]),
            Activation::Relu => one("Relu", &[]),
            Activation::LeakyRelu => one("LeakyRelu", &[("alpha", Attribute::Float(0.01))]),
            Activation::Elu => one("Elu", &[("alpha", Attribute::Float(1.0))]),
            Activation::Gelu => one("Gelu", &[("approximate", Attribute::Text("none"))]),
            Activation::GeluTanh => one("Gelu", &[("approximate", Attribute::Text("tanh"))]),
            Activation::Softplus => one("Softplus", &[]),
            Activation::Identity => one("Identity", &[]),
            Activation::Softmax => one("Softmax", &[("axis", Attribute::Int(1))]),
            // Swish is an operator of its own from opset 24 on, but runtimes have it not.
            Activation::Silu => {
                let gate = graph.node("Sigmoid", &[&z], &format!("s_{l}"), &[]);
                graph.node_to("", "Mul", &[&z, &gate], &output, &[]);
            }
        }
        a = output;
    }
    a
}
