//! A graph that is being written: names, nodes, tensors, inputs and outputs.

use std::collections::HashSet;

use super::model::{DOUBLE, FLOAT, INT64, STRING};
use super::wire::Message;

/// The name of the first dimension of every input and output.
const ROWS: &str = "rows";

/// An attribute of a node.
#[derive(Debug, Clone)]
pub(super) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
    Texts(&'a [String]),
}

#[derive(Debug, Default)]
pub(super) struct GraphWriter {
    message: Message,
    names: HashSet<String>,
}

impl GraphWriter {
    /// A name that nothing has yet: this one, or this one with a number.
    pub(super) fn fresh(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        let mut copy = 1_u32;
        while !self.names.insert(name.clone()) {
            copy += 1;
            name = format!("{wish} ({copy})");
        }
        name
    }

    /// A node of ONNX's own operators with one output, which gets a name like `wish`.
    pub(super) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        wish: &str,
        attributes: &[(&str, Attribute<'_>)],
    ) -> String {
        let output = self.fresh(wish);
        self.node_to("", operator, inputs, &output, attributes);
        output
    }

    /// A node whose output has this name.
    pub(super) fn node_to(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute<'_>)],
    ) {
        self.message.message(1, |node| {
            inputs.iter().for_each(|input| node.text(1, input));
            node.text(2, output);
            node.text(3, &format!("{output}: {operator}"));
            node.text(4, operator);
            for (name, value) in attributes {
                node.message(5, |attribute| {
                    attribute.text(1, name);
                    let kind = match value {
                        Attribute::Float(value) => {
                            attribute.float(2, *value);
                            1
                        }
                        Attribute::Int(value) => {
                            attribute.int(3, *value);
                            2
                        }
                        Attribute::Text(value) => {
                            attribute.text(4, value);
                            3
                        }
                        Attribute::Ints(values) => {
                            values.iter().for_each(|value| attribute.int(8, *value));
                            7
                        }
                        Attribute::Texts(values) => {
                            values.iter().for_each(|value| attribute.text(9, value));
                            8
                        }
                    };
                    attribute.int(20, kind);
                });
            }
            if !domain.is_empty() {
                node.text(7, domain);
            }
        });
    }

    fn tensor(&mut self, wish: &str, data_type: i64, dims: &[usize], data: impl FnOnce(&mut Message)) -> String {
        let name = self.fresh(wish);
        self.message.message(5, |tensor| {
            for &size in dims {
                tensor.int(1, i64::try_from(size).unwrap_or(i64::MAX));
            }
            tensor.int(2, data_type);
            tensor.text(8, &name);
            data(tensor);
        });
        name
    }

    pub(super) fn floats(&mut self, wish: &str, dims: &[usize], numbers: &[f32]) -> String {
        let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(wish, FLOAT, dims, |tensor| tensor.bytes(9, &raw))
    }

    /// A single `f64`.
    pub(super) fn double(&mut self, wish: &str, number: f64) -> String {
        self.tensor(wish, DOUBLE, &[], |tensor| tensor.bytes(9, &number.to_le_bytes()))
    }

    /// Whole numbers, in one dimension, or none of it.
    pub(super) fn ints(&mut self, wish: &str, dims: &[usize], numbers: &[i64]) -> String {
        let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(wish, INT64, dims, |tensor| tensor.bytes(9, &raw))
    }

    pub(super) fn texts(&mut self, wish: &str, texts: &[String]) -> String {
        self.tensor(wish, STRING, &[texts.len()], |tensor| texts.iter().for_each(|text| tensor.text(6, text)))
    }

    /// An input of the graph: rows of `columns` elements. The name must be one that [`fresh`](Self::fresh) gave.
    pub(super) fn input(&mut self, name: &str, data_type: i64, columns: usize, about: &str) {
        self.value_info(11, name, data_type, Some(columns), about);
    }

    /// An output of the graph: rows of `columns` elements, or of one element without a dimension.
    pub(super) fn output(&mut self, name: &str, data_type: i64, columns: Option<usize>, about: &str) {
        self.value_info(12, name, data_type, columns, about);
    }

    fn value_info(&mut self, field: u32, name: &str, data_type: i64, columns: Option<usize>, about: &str) {
        self.message.message(field, |info| {
            info.text(1, name);
            info.message(2, |kind| {
                kind.message(1, |tensor| {
                    tensor.int(1, data_type);
                    tensor.message(2, |shape| {
                        shape.message(1, |rows| rows.text(2, ROWS));
                        if let Some(columns) = columns {
                            shape.message(1, |size| size.int(1, i64::try_from(columns).unwrap_or(i64::MAX)));
                        }
                    });
                });
            });
            info.text(3, about);
        });
    }

    /// The whole model.
    pub(super) fn model(mut self, about: &str, opset: i64, ir: i64, other_opset: Option<(&str, i64)>) -> Vec<u8> {
        self.message.text(2, "wgrad");
        let mut model = Message::default();
        model.int(1, ir);
        model.text(2, "wgrad");
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.text(6, about);
        for (domain, version) in std::iter::once(("", opset)).chain(other_opset) {
            model.message(8, |set| {
                set.text(1, domain);
                set.int(2, version);
            });
        }
        model.bytes(7, &self.message.0);
        model.0
    }
}
