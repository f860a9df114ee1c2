//! ONNX: protocol buffers by hand, for the few messages and operators that a feed-forward network needs.
//!
//! `wire` has fields, `model` the messages as they are read, `graph` a graph as it is written; `write` puts a network into a graph,
//! `table` what is before and after it for raw rows; `read` makes a network of a graph, by the rules of `operators`.

mod graph;
mod model;
mod operators;
mod read;
mod table;
mod wire;
mod write;

/// The version of ONNX's operators that is written unless another is asked for: that of ONNX 1.23. Those that are used here have not
/// changed since version 20.
const OPSET: i64 = 28;

/// The oldest that can be written: the first with GELU.
const OLDEST_WRITTEN: i64 = 20;

/// How [`Network::to_onnx_async`](crate::Network::to_onnx_async) writes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "give it to Network::to_onnx"]
pub struct Onnx {
    opset: i64,
    encoded_rows: bool,
}

impl Default for Onnx {
    fn default() -> Self {
        Self::new()
    }
}

impl Onnx {
    /// The opset of today, 28, and raw rows where the network has a preparation for them.
    pub const fn new() -> Self {
        Self { opset: OPSET, encoded_rows: false }
    }

    /// The version of the operators, from 20 to 28, for runtimes that know no newer one; the file format goes with it.
    pub const fn opset(mut self, version: i64) -> Self {
        self.opset = version;
        self
    }

    /// Leaves a network's preparation out: the model takes rows that are encoded already, and its outputs are not scaled back.
    /// Such a model can be imported again.
    pub const fn encoded_rows(mut self) -> Self {
        self.encoded_rows = true;
        self
    }
}
