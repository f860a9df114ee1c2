//! A trained network taken elsewhere, as text or bytes that need nothing of this crate.
//!
//! | to | by | what a table's [`Preparation`] becomes |
//! |---|---|---|
//! | a Rust module without dependencies, `no_std` | [`Network::to_rust_async`] | a function from a row's fields to an answer |
//! | one function in WGSL, for an application's own shader | [`Network::to_wgsl_async`] | an error: it takes encoded rows, if told to |
//! | ONNX, for other frameworks and runtimes, with the feature `onnx` | `Network::to_onnx_async` | operators before and after the network |
//!
//! All of them compute what [`predict`](Network::predict_async) does, but for rounding: sums may be in another order, and `exp` is
//! another. `Network::from_onnx` goes the other way.

#[cfg(test)]
mod accuracy;
#[cfg(feature = "onnx")]
mod onnx;
mod rust;
mod rust_table;
mod text;
mod wgsl;
mod wgsl_words;

#[cfg(feature = "onnx")]
pub use onnx::Onnx;
pub use wgsl::{Weights, Wgsl, WgslFunction};

use crate::data::Preparation;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::{Activation, Network};

/// A network as it is exported: its layers, its parameters in memory, and what it does with raw rows.
struct Trained<'a> {
    layers: &'a [Layer],
    parameters: Vec<f32>,
    preparation: Option<&'a Preparation>,
}

impl<'a> Trained<'a> {
    async fn of(network: &'a Network, format: &'static str) -> Result<Self> {
        let parameters = network.parameters_async().await?;
        if let Some(index) = parameters.iter().position(|x| !x.is_finite()) {
            let what = format!("export to {format}: the parameters");
            return Err(Error::NotFinite { what, index, value: parameters[index] });
        }
        Ok(Self { layers: network.layers(), parameters, preparation: network.preparation() })
    }

    fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.inputs)
    }

    fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// `w` (O,I) of a layer.
    fn weights(&self, layer: &Layer) -> &[f32] {
        &self.parameters[layer.weights()]
    }

    /// `b` (O) of a layer.
    fn biases(&self, layer: &Layer) -> &[f32] {
        &self.parameters[layer.biases()]
    }

    /// What the head of a text says: `4-8-3: tanh, softmax`.
    fn summary(&self) -> String {
        let sizes = std::iter::once(self.inputs()).chain(self.layers.iter().map(|layer| layer.outputs));
        let sizes = sizes.map(|size| size.to_string()).collect::<Vec<_>>().join("-");
        let names = self.layers.iter().map(|layer| layer.activation.name()).collect::<Vec<_>>().join(", ");
        format!("{sizes}: {names}")
    }
}

/// The function of an activation in `functions.rs` and `functions.wgsl`; none where there is nothing to do to each number.
const fn function(activation: Activation) -> Option<&'static str> {
    match activation {
        Activation::Sigmoid => Some("f_sigmoid"),
        Activation::Tanh => Some("f_tanh"),
        Activation::Relu => Some("f_relu"),
        Activation::LeakyRelu => Some("f_leaky_relu"),
        Activation::Elu => Some("f_elu"),
        Activation::Gelu => Some("f_gelu"),
        Activation::GeluTanh => Some("f_gelu_tanh"),
        Activation::Silu => Some("f_silu"),
        Activation::Softplus => Some("f_softplus"),
        Activation::Identity | Activation::Softmax => None,
    }
}

/// The names that the layers' activations have in a file of functions.
fn wanted(layers: &[Layer]) -> Vec<&'static str> {
    layers.iter().filter_map(|layer| function(layer.activation)).collect()
}

/// A refusal.
fn refuse(format: &'static str, problem: impl Into<String>) -> Error {
    Error::Export { format, problem: problem.into() }
}
