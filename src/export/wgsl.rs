//! A network as one WGSL function, for an application's own shader.

use std::fmt::Write;

use super::{Trained, function, refuse, text, wanted, wgsl_words};
use crate::error::{Error, Result};
use crate::{Activation, Network};

const FUNCTIONS: &str = include_str!("functions.wgsl");

/// Bytes of the variables of a function that every WGSL implementation has to take (the same).
const FUNCTION_BYTES: usize = 8192;

/// Parameters up to which [`Weights::Auto`] takes constants (`docs/measurements.md`).
const AUTO_CONSTANTS: usize = 512;

/// Parameters up to which constants can be asked for.
const MOST_CONSTANTS: usize = 4096;

/// Products in a statement: long expressions are beyond some compilers.
const TERMS: usize = 8;

/// Where the function has its weights and biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Weights {
    /// Constants for at most 512 parameters, else the storage buffer `@group(0) @binding(0)`.
    #[default]
    Auto,
    /// Constants in the text, at most 4,096: each is an operation of its own, `z += 0.5f * a0[3]`, without a loop. An array of
    /// constants would be shorter, but compilers copy the whole of it whenever it is indexed.
    Constants,
    /// A storage buffer, `var<storage, read>`, at this place; [`WgslFunction::bytes`] is what it holds.
    Storage {
        /// `@group`.
        group: u32,
        /// `@binding`.
        binding: u32,
    },
}

/// How [`Network::to_wgsl_async`] writes the function.
///
/// ```
/// use wgrad::export::{Weights, Wgsl};
/// let options = Wgsl::new("steering").weights(Weights::Storage { group: 1, binding: 3 });
/// # let _ = options;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "give it to Network::to_wgsl"]
pub struct Wgsl {
    name: String,
    weights: Weights,
    encoded_rows: bool,
}

impl Default for Wgsl {
    /// A function called `net`.
    fn default() -> Self {
        Self::new("net")
    }
}

impl Wgsl {
    /// A function of this name. Whatever else the text declares has a name that starts with it and `_`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), weights: Weights::Auto, encoded_rows: false }
    }

    /// Where the weights are; [`Weights::Auto`] unless set.
    pub const fn weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// Allows a network with a [`Preparation`](crate::Preparation), whose rows the shader then has to encode and whose outputs it
    /// has to scale back by itself: a shader has no texts and no `f64`.
    pub const fn encoded_rows(mut self) -> Self {
        self.encoded_rows = true;
        self
    }
}

/// A network as text in WGSL.
#[derive(Debug, Clone, PartialEq)]
pub struct WgslFunction {
    /// The text: put it before or after that of the shader that calls it.
    pub source: String,
    /// What the storage buffer holds, in the order of [`Network::parameters_async`]; none where the weights are constants.
    pub parameters: Vec<f32>,
    /// `@group` and `@binding` of the storage buffer, where there is one.
    pub binding: Option<[u32; 2]>,
}

impl WgslFunction {
    /// The content of the storage buffer: [`parameters`](Self::parameters) as little-endian bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.parameters.iter().flat_map(|x| x.to_le_bytes()).collect()
    }
}

impl Network {
    /// The network as the text of one WGSL function, `fn net(x: array<f32, N>) -> array<f32, M>`, that an application puts into its
    /// own shader and calls from any stage, for one row in one invocation. It needs no extension, and no other text.
    ///
    /// The weights are constants in the text or stand in a storage buffer ([`Weights`]). The variables of the function are the
    /// input and the layers: WGSL promises 8,192 bytes for them, which are 2,048 numbers, and what needs more is an error. An output differs from that of [`predict`](Self::predict_async) by rounding only: by no more than
    /// `2 (8 + 2 sqrt(K)) 2^-23 (sum_k |w_jk a_k| + |b_j|)` a layer, for `K` neurons below, and what WGSL allows `exp` and division.
    ///
    /// Lavapipe before Mesa 23 stops an invocation's loops after 65,535 iterations in total, without a word: a network of so
    /// many weights is not for it.
    ///
    /// ```
    /// use wgrad::export::Wgsl;
    /// use wgrad::{Activation, Device, Network};
    /// let net = Network::new(2).dense(3, Activation::Tanh).dense(1, Activation::Sigmoid).build(&Device::cpu())?;
    /// let function = net.to_wgsl(&Wgsl::new("brain"))?;
    /// assert!(function.source.contains("fn brain(x: array<f32, 2>) -> array<f32, 1>"));
    /// assert!(function.binding.is_none()); // 13 parameters are constants
    ///
    /// // the application's own shader
    /// let shader = format!("{}
    /// @group(0) @binding(0) var<storage, read_write> steering: array<f32>;
    /// @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    ///     steering[id.x] = brain(array(0.5, f32(id.x)))[0];
    /// }}", function.source);
    /// # assert!(shader.len() > 100);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the name is no identifier of WGSL, or one that WGSL keeps for itself or uses.
    /// [`Error::Export`] if the layers are too wide, if the network has a preparation and [`Wgsl::encoded_rows`] does not allow it, or if
    /// there are more than 4,096 parameters and constants were asked for. [`Error::NotFinite`] if a parameter is NaN or infinite; what
    /// the device reports.
    pub async fn to_wgsl_async(&self, options: &Wgsl) -> Result<WgslFunction> {
        if !wgsl_words::is_free(&options.name) {
            let want = "letters, digits and _, not a digit or __ first, and no word of WGSL itself";
            return Err(Error::InvalidOption {
                option: "name of the WGSL function",
                value: options.name.clone(),
                want,
            });
        }
        let net = Trained::of(self, "WGSL").await?;
        if net.preparation.is_some() && !options.encoded_rows {
            return Err(refuse(
                "WGSL",
                "the network has a preparation for raw rows, which a shader cannot do; Wgsl::encoded_rows() exports the network \
                 without it, for rows that are encoded already",
            ));
        }
        write(&net, options)
    }

    /// Blocking form of [`to_wgsl_async`](Self::to_wgsl_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn to_wgsl(&self, options: &Wgsl) -> Result<WgslFunction> {
        crate::blocking::block_on(self.to_wgsl_async(options))
    }
}

fn write(net: &Trained<'_>, options: &Wgsl) -> Result<WgslFunction> {
    let widths: Vec<usize> =
        std::iter::once(net.inputs()).chain(net.layers.iter().map(|layer| layer.outputs)).collect();
    let most = FUNCTION_BYTES / size_of::<f32>();
    // The few numbers beside the arrays are counted too.
    let needed = widths.iter().sum::<usize>() + 8;
    if needed > most {
        let problem = format!(
            "input and layers have {needed} numbers, where WGSL promises room for {most} in the variables of a function \
             ({FUNCTION_BYTES} bytes); use fewer neurons, or run the network on a wgrad device"
        );
        return Err(refuse("WGSL", problem));
    }
    let count = net.parameters.len();
    let binding = match options.weights {
        Weights::Auto if count <= AUTO_CONSTANTS => None,
        Weights::Auto => Some([0, 0]),
        Weights::Storage { group, binding } => Some([group, binding]),
        Weights::Constants => None,
    };
    if binding.is_none() && count > MOST_CONSTANTS {
        let problem = format!(
            "{count} parameters, where {MOST_CONSTANTS} is the most for constants, each of which is an operation of its own in the \
             text; use Weights::Storage"
        );
        return Err(refuse("WGSL", problem));
    }
    let name = &options.name;
    let mut out = format!("// {name}: a network of {}.\n", net.summary());
    let _ = writeln!(
        out,
        "// Written by wgrad {}. Every name in it is {name}, or starts with {name}_.\n",
        env!("CARGO_PKG_VERSION")
    );
    if let Some([group, binding]) = binding {
        let _ = writeln!(out, "// All weights, each layer's (out, in), then all biases: {count} numbers.");
        let _ =
            writeln!(out, "@group({group}) @binding({binding}) var<storage, read> {name}_parameters: array<f32>;\n");
    }
    out.push_str(&text::functions(FUNCTIONS, &wanted(net.layers), &format!("{name}_")));
    let _ = writeln!(out, "fn {name}(x: array<f32, {}>) -> array<f32, {}> {{", net.inputs(), net.outputs());
    out.push_str("    var a0 = x;\n");
    for (l, layer) in net.layers.iter().enumerate() {
        let l = l + 1;
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let a = match function(layer.activation) {
            Some(f) => format!("{name}_{f}(z)"),
            None => "z".to_owned(),
        };
        let _ = writeln!(out, "    var a{l}: array<f32, {outputs}>;");
        if binding.is_some() {
            let at = |at: usize| if at == 0 { String::new() } else { format!("{at}u + ") };
            let (w, b) = (at(layer.w), at(layer.b));
            let _ = write!(
                out,
                "    for (var j = 0u; j < {outputs}u; j++) {{\n        var z = {name}_parameters[{b}j];\n        \
                 for (var i = 0u; i < {inputs}u; i++) {{ z += {name}_parameters[{w}j * {inputs}u + i] * a{}[i]; }}\n        \
                 a{l}[j] = {a};\n    }}\n",
                l - 1
            );
        } else {
            // Without a loop and an index: compilers copy an array of constants whenever it is indexed.
            for (j, (w, b)) in net.weights(layer).chunks(inputs).zip(net.biases(layer)).enumerate() {
                let _ = writeln!(out, "    {{\n        var z = {b:?}f;");
                for (at, terms) in w.chunks(TERMS).enumerate() {
                    let terms = terms.iter().enumerate();
                    let terms =
                        terms.map(|(i, w)| format!("{w:?}f * a{}[{}]", l - 1, at * TERMS + i)).collect::<Vec<_>>();
                    let _ = writeln!(out, "        z += {};", terms.join(" + "));
                }
                let _ = writeln!(out, "        a{l}[{j}] = {a};\n    }}");
            }
        }
        if layer.activation == Activation::Softmax {
            let _ = write!(
                out,
                "    var m = a{l}[0];\n    for (var j = 1u; j < {outputs}u; j++) {{ m = max(m, a{l}[j]); }}\n    \
                 var sum = 0.0;\n    for (var j = 0u; j < {outputs}u; j++) {{\n        \
                 a{l}[j] = exp(a{l}[j] - m);\n        sum += a{l}[j];\n    }}\n    \
                 for (var j = 0u; j < {outputs}u; j++) {{ a{l}[j] /= sum; }}\n"
            );
        }
    }
    let _ = write!(out, "    return a{};\n}}\n", net.layers.len());
    let parameters = if binding.is_some() { net.parameters.clone() } else { Vec::new() };
    Ok(WgslFunction { source: out, parameters, binding })
}
