//! A network as a Rust module: `static` arrays and a `forward` function, with nothing but `core`.

use std::fmt::Write;

use super::{Trained, function, refuse, rust_table, text, wanted};
use crate::error::Result;
use crate::{Activation, Network};

const FUNCTIONS: &str = include_str!("functions.rs");

/// Numbers on a line.
const A_LINE: usize = 8;

/// Parameters that a module has at most: what `rustc` compiles in about a minute (`docs/measurements.md`).
const MOST: usize = 4_000_000;

impl Network {
    /// The network as the text of a Rust module: its parameters in `static` arrays, and
    /// `pub fn forward(x: &[f32; INPUTS]) -> [f32; OUTPUTS]` for one row. The module needs neither dependencies, nor `std`, nor
    /// `alloc`, and no other file; it compiles without warnings as a file of its own or by `include!`, with Rust 1.85 or later.
    ///
    /// A network that carries a [`Preparation`](crate::Preparation) gets in addition `predict`, from the fields of a raw row, in the
    /// order of [`Preparation::columns`](crate::Preparation::columns), to a number in the units of the target, or to a place in
    /// `CLASSES`. What [`predict_rows`](Self::predict_rows_async) refuses, it refuses. Two things it leaves to its caller: a number is
    /// given as `Field::Number`, never as text, and a date as days since 1970-01-01.
    ///
    /// Sums are made eight terms side by side, `exp` and the rest are this crate's own, within 2 ULP or what each says. An output
    /// differs from that of [`predict`](Self::predict_async) by no more than rounding: each layer adds at most
    /// `2 (8 + 2 sqrt(K)) 2^-23 (sum_k |w_jk a_k| + |b_j|)` for the `K` neurons below, which `tests/export` checks for every activation.
    /// A call needs `4 (n_0 + n_1 + ...)` bytes of stack and a little.
    ///
    /// ```
    /// use wgrad::{Activation, Device, Network};
    /// let net = Network::new(2).dense(3, Activation::Tanh).dense(1, Activation::Identity).build(&Device::cpu())?;
    /// let text = net.to_rust()?;
    /// assert!(text.contains("pub fn forward(x: &[f32; INPUTS]) -> [f32; OUTPUTS]"));
    /// // std::fs::write("src/net.rs", text)
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Export`](crate::Error::Export) for more than 4 million parameters; [`Error::NotFinite`](crate::Error::NotFinite) if a parameter is NaN or infinite;
    /// what the device reports.
    pub async fn to_rust_async(&self) -> Result<String> {
        module(&Trained::of(self, "Rust").await?)
    }

    /// Blocking form of [`to_rust_async`](Self::to_rust_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn to_rust(&self) -> Result<String> {
        crate::blocking::block_on(self.to_rust_async())
    }
}

fn module(net: &Trained<'_>) -> Result<String> {
    let count = net.parameters.len();
    if count > MOST {
        let problem = format!("{count} parameters, where {MOST} is the most that rustc compiles in reasonable time");
        return Err(refuse("Rust", format!("{problem}; load them from a file instead")));
    }
    let mut out = String::with_capacity(count * 16 + 8192);
    let (inputs, outputs) = (net.inputs(), net.outputs());
    let _ = write!(
        out,
        "// A network of {}.\n// Written by wgrad {}; only `core` is used.\n\n\
         /// Columns of the input.\npub const INPUTS: usize = {inputs};\n\n\
         /// Columns of the output.\npub const OUTPUTS: usize = {outputs};\n\n",
        net.summary(),
        env!("CARGO_PKG_VERSION"),
    );
    out.push_str("/// The outputs for one row of inputs.\n#[must_use]\n");
    out.push_str("pub fn forward(x: &[f32; INPUTS]) -> [f32; OUTPUTS] {\n");
    let mut functions = wanted(net.layers);
    functions.push("weighted_input");
    for (l, layer) in net.layers.iter().enumerate() {
        let l = l + 1;
        let below = if l == 1 { "x".to_owned() } else { format!("&a{}", l - 1) };
        let mutable = if layer.activation == Activation::Identity { "" } else { "mut " };
        let _ = writeln!(out, "    let {mutable}a{l} = weighted_input(&W{l}, {below}, &B{l});");
        if layer.activation == Activation::Softmax {
            functions.push("softmax");
            let _ = writeln!(out, "    softmax(&mut a{l});");
        } else if let Some(f) = function(layer.activation) {
            let _ = writeln!(out, "    for a in &mut a{l} {{\n        *a = {f}(*a);\n    }}");
        }
    }
    let _ = write!(out, "    a{}\n}}\n\n", net.layers.len());
    if let Some(preparation) = net.preparation {
        rust_table::write(&mut out, preparation, &mut functions);
    }
    out.push_str(&text::functions(FUNCTIONS, &functions, ""));
    for (l, layer) in net.layers.iter().enumerate() {
        let (l, wide, below) = (l + 1, layer.outputs, layer.inputs);
        let _ = write!(out, "/// `w` of layer {l}, (out, in).\n#[allow(clippy::all, clippy::pedantic)]\n");
        let _ = writeln!(out, "static W{l}: [[f32; {below}]; {wide}] = [");
        for row in net.weights(layer).chunks(below) {
            out.push_str("    [\n");
            numbers(&mut out, row, "        ");
            out.push_str("    ],\n");
        }
        let _ = write!(out, "];\n\n/// `b` of layer {l}.\n#[allow(clippy::all, clippy::pedantic)]\n");
        let _ = writeln!(out, "static B{l}: [f32; {wide}] = [");
        numbers(&mut out, net.biases(layer), "    ");
        out.push_str("];\n\n");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    Ok(out)
}

/// Numbers with commas, in the shortest digits that read back to the same bits.
fn numbers(out: &mut String, numbers: &[f32], indent: &str) {
    for line in numbers.chunks(A_LINE) {
        out.push_str(indent);
        for (at, x) in line.iter().enumerate() {
            let _ = write!(out, "{}{x:?},", if at == 0 { "" } else { " " });
        }
        out.push('\n');
    }
}
