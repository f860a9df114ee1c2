//! The messages of ONNX that a feed-forward network can be in, as they lie in a file. Field numbers are those of `onnx.proto`.

use super::wire::{Fields, Read, Wire, ints, push};
use crate::error::brief;

/// Nodes, tensors, inputs or outputs of a graph, at most: a network has a few a layer.
const MOST: usize = 4096;
/// Inputs and outputs of a node that are looked at, and attributes that it has, at most.
const MOST_OF_A_NODE: usize = 16;
/// Dimensions of a tensor, and numbers of an attribute, at most.
const MOST_DIMS: usize = 8;

/// `TensorProto.DataType`: 32-bit floats.
pub(super) const FLOAT: i64 = 1;
/// 64-bit whole numbers.
pub(super) const INT64: i64 = 7;
/// Texts.
pub(super) const STRING: i64 = 8;
/// 64-bit floats.
pub(super) const DOUBLE: i64 = 11;

/// How messages call a data type.
pub(super) fn type_name(data_type: i64) -> String {
    const NAMES: [&str; 17] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
    ];
    let name = usize::try_from(data_type).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| format!("data type {data_type}"), |name| (*name).to_owned())
}

#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub(super) graph: Graph<'a>,
    /// The version of ONNX's own operators.
    pub(super) opset: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) inputs: Vec<ValueInfo<'a>>,
    pub(super) outputs: Vec<ValueInfo<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) operator: &'a str,
    pub(super) domain: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a str,
    pub(super) value: Value<'a>,
}

#[derive(Debug, Default)]
pub(super) enum Value<'a> {
    /// None, or a kind that no supported operator has.
    #[default]
    Other,
    Float(f32),
    Int(i64),
    Text(&'a [u8]),
    Tensor(Box<Tensor<'a>>),
}

#[derive(Debug, Default, Clone)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) dims: Vec<i64>,
    pub(super) data_type: i64,
    raw: Option<&'a [u8]>,
    /// Packed 32-bit floats.
    floats: Option<&'a [u8]>,
    ints: Vec<i64>,
    external: bool,
}

#[derive(Debug, Default)]
pub(super) struct ValueInfo<'a> {
    pub(super) name: &'a str,
    pub(super) data_type: i64,
    /// The sizes that are fixed; none if the number of dimensions is not known.
    pub(super) dims: Option<Vec<Option<i64>>>,
}

impl<'a> Model<'a> {
    pub(super) fn read(message: &'a [u8]) -> Read<Self> {
        let mut model = Self::default();
        let mut graphs = 0;
        for field in Fields::new(message) {
            match field? {
                (7, value) => {
                    graphs += 1;
                    model.graph = Graph::read(value.bytes("the graph")?)?;
                }
                (8, value) => {
                    let (mut domain, mut version) = ("", None);
                    for field in Fields::new(value.bytes("an operator set")?) {
                        match field? {
                            (1, value) => domain = value.text("the domain of an operator set")?,
                            (2, value) => version = Some(value.int("the version of an operator set")?),
                            _ => {}
                        }
                    }
                    if matches!(domain, "" | "ai.onnx") {
                        model.opset = version;
                    }
                }
                _ => {}
            }
        }
        match graphs {
            0 => Err("there is no graph in it; this is no ONNX model, or it is cut short".to_owned()),
            1 => Ok(model),
            _ => Err(format!("it has {graphs} graphs, where a model has one")),
        }
    }
}

impl<'a> Graph<'a> {
    fn read(message: &'a [u8]) -> Read<Self> {
        let mut graph = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => push(&mut graph.nodes, Node::read(value.bytes("a node")?)?, MOST, "nodes")?,
                (5, value) => push(&mut graph.tensors, Tensor::read(value.bytes("a tensor")?)?, MOST, "tensors")?,
                (11, value) => push(&mut graph.inputs, ValueInfo::read(value.bytes("an input")?)?, MOST, "inputs")?,
                (12, value) => push(&mut graph.outputs, ValueInfo::read(value.bytes("an output")?)?, MOST, "outputs")?,
                (15, _) => return Err("it has sparse tensors, which are not supported".to_owned()),
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn read(message: &'a [u8]) -> Read<Self> {
        let mut node = Self::default();
        for field in Fields::new(message) {
            match field? {
                // No operator that is taken has nearly so many, so that what is left out is not missed.
                (1, value) => {
                    let name = value.text("an input of a node")?;
                    if node.inputs.len() < MOST_OF_A_NODE {
                        node.inputs.push(name);
                    }
                }
                (2, value) => {
                    let name = value.text("an output of a node")?;
                    if node.outputs.len() < MOST_OF_A_NODE {
                        node.outputs.push(name);
                    }
                }
                (3, value) => node.name = value.text("the name of a node")?,
                (4, value) => node.operator = value.text("the operator of a node")?,
                (5, value) => {
                    let attribute = Attribute::read(value.bytes("an attribute")?)?;
                    push(&mut node.attributes, attribute, MOST_OF_A_NODE, "the attributes of a node")?;
                }
                (7, value) => node.domain = value.text("the domain of a node")?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// What errors call it.
    pub(super) fn title(&self) -> String {
        let name = if self.name.is_empty() { self.outputs.first().copied().unwrap_or_default() } else { self.name };
        brief(name)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Value<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }
}

impl<'a> Attribute<'a> {
    fn read(message: &'a [u8]) -> Read<Self> {
        let mut attribute = Self::default();
        let (mut kind, mut float, mut int, mut text, mut tensor) = (0, 0.0, 0, &[][..], None);
        for field in Fields::new(message) {
            match field? {
                (1, value) => attribute.name = value.text("the name of an attribute")?,
                (2, Wire::Fixed32(bytes)) => float = f32::from_le_bytes(bytes),
                (3, value) => int = value.int("an attribute")?,
                (4, value) => text = value.bytes("an attribute")?,
                (5, value) => tensor = Some(Tensor::read(value.bytes("an attribute")?)?),
                (20, value) => kind = value.int("the type of an attribute")?,
                _ => {}
            }
        }
        attribute.value = match (kind, tensor) {
            (1, _) => Value::Float(float),
            (2, _) => Value::Int(int),
            (3, _) => Value::Text(text),
            (4, Some(tensor)) => Value::Tensor(Box::new(tensor)),
            _ => Value::Other,
        };
        Ok(attribute)
    }
}

impl<'a> Tensor<'a> {
    fn read(message: &'a [u8]) -> Read<Self> {
        let mut tensor = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => ints(value, MOST_DIMS, "the dimensions of a tensor", &mut tensor.dims)?,
                (2, value) => tensor.data_type = value.int("the type of a tensor")?,
                (3, _) => return Err("a tensor is in segments, which is not supported".to_owned()),
                (4, value) => {
                    let earlier = tensor.floats.replace(value.bytes("float_data of a tensor")?);
                    if earlier.is_some() {
                        return Err("float_data of a tensor comes in several parts, which is not supported".to_owned());
                    }
                }
                // Lists of other tensors may be long, and what they hold is not wanted.
                (7, value) => {
                    let read = ints(value, MOST_DIMS, "int64_data", &mut tensor.ints);
                    if read.is_err() {
                        tensor.ints.clear();
                    }
                }
                (8, value) => tensor.name = value.text("the name of a tensor")?,
                (9, value) => tensor.raw = Some(value.bytes("raw_data of a tensor")?),
                (13, _) => tensor.external = true,
                (14, value) => tensor.external |= value.int("data_location of a tensor")? != 0,
                _ => {}
            }
        }
        Ok(tensor)
    }

    /// How many elements it says it has; at most what a file can hold.
    fn count(&self) -> Read<usize> {
        let count = self.dims.iter().try_fold(1_usize, |count, &size| count.checked_mul(usize::try_from(size).ok()?));
        count
            .filter(|count| count.checked_mul(8).is_some())
            .ok_or_else(|| format!("tensor '{}' has the sizes {:?}, which no tensor has", brief(self.name), self.dims))
    }

    fn check(&self, wanted: i64) -> Read<()> {
        let name = brief(self.name);
        if self.external {
            return Err(format!(
                "tensor '{name}' is in another file (external data); save the model with its data inside"
            ));
        }
        if self.data_type != wanted {
            let (got, wanted) = (type_name(self.data_type), type_name(wanted));
            return Err(format!(
                "tensor '{name}' has elements of type {got}, where {wanted} is needed; convert the model"
            ));
        }
        Ok(())
    }

    /// Its elements, four little-endian bytes each, as many as its sizes say.
    pub(super) fn floats(&self) -> Read<&'a [[u8; 4]]> {
        self.check(FLOAT)?;
        let count = self.count()?;
        let bytes = self.raw.or(self.floats).unwrap_or_default();
        let (floats, rest) = bytes.as_chunks::<4>();
        if floats.len() != count || !rest.is_empty() {
            let (name, got) = (brief(self.name), bytes.len());
            return Err(format!(
                "tensor '{name}' has {got} bytes of data, where its sizes {:?} need {}",
                self.dims,
                4 * count
            ));
        }
        Ok(floats)
    }

    /// Its one number, where it has one.
    pub(super) fn scalar(&self) -> Read<Option<f32>> {
        Ok(match self.floats()? {
            [one] => Some(f32::from_le_bytes(*one)),
            _ => None,
        })
    }

    /// Its few whole numbers.
    pub(super) fn small_ints(&self) -> Read<Vec<i64>> {
        self.check(INT64)?;
        let count = self.count()?;
        let ints = match self.raw {
            Some(raw) if raw.len() <= 8 * MOST_DIMS => {
                raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
            }
            Some(_) => Vec::new(),
            None => self.ints.clone(),
        };
        if ints.len() != count || self.raw.is_some_and(|raw| raw.len() != 8 * count) {
            return Err(format!("tensor '{}' has other data than its sizes {:?} say", brief(self.name), self.dims));
        }
        Ok(ints)
    }
}

impl<'a> ValueInfo<'a> {
    fn read(message: &'a [u8]) -> Read<Self> {
        let mut info = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => info.name = value.text("the name of an input or output")?,
                (2, value) => info.read_type(value.bytes("the type of an input or output")?)?,
                _ => {}
            }
        }
        Ok(info)
    }

    fn read_type(&mut self, message: &[u8]) -> Read<()> {
        for field in Fields::new(message) {
            // Sequences, maps and the like leave the type undefined.
            let (1, value) = field? else { continue };
            for field in Fields::new(value.bytes("a tensor's type")?) {
                match field? {
                    (1, value) => self.data_type = value.int("a type of elements")?,
                    (2, value) => {
                        let mut dims = Vec::new();
                        for field in Fields::new(value.bytes("a shape")?) {
                            if let (1, value) = field? {
                                let mut size = None;
                                for field in Fields::new(value.bytes("a dimension")?) {
                                    if let (1, value) = field? {
                                        size = Some(value.int("a size")?);
                                    }
                                }
                                push(&mut dims, size, MOST_DIMS, "the dimensions of an input or output")?;
                            }
                        }
                        self.dims = Some(dims);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
