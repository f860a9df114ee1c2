//! ONNX models: what is wrong with them is said, and costs little memory.

use proptest::prelude::*;
use proptest::sample::Index;
use wgrad::export::Onnx;
use wgrad::{Activation, Device, Error, Network, Result};

use crate::memory::peak;

// ---- protocol buffers, written by hand ------------------------------------------------------------------------------

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

fn int(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value.cast_unsigned())].concat()
}

fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// `TensorProto` of type 1, float, in `raw_data`.
fn tensor(name: &str, dims: &[i64], numbers: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    [typed(name, dims, 1), bytes(9, raw)].concat()
}

fn typed(name: &str, dims: &[i64], data_type: i64) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&size| int(1, size)).collect();
    [dims, int(2, data_type), bytes(8, name)].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| bytes(1, input)).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| bytes(5, attribute)).collect();
    [inputs, bytes(2, output), bytes(3, format!("the {output}")), bytes(4, operator), attributes].concat()
}

fn attribute(name: &str, value: i64) -> Vec<u8> {
    [bytes(1, name), int(3, value), int(20, 2)].concat()
}

fn factor(name: &str, value: f32) -> Vec<u8> {
    [bytes(1, name), vec![2 << 3 | 5], value.to_le_bytes().to_vec(), int(20, 1)].concat()
}

/// `ValueInfoProto` of rows with so many columns; 0 leaves a size open.
fn rows(name: &str, data_type: i64, dims: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> =
        dims.iter().flat_map(|&size| bytes(1, if size == 0 { Vec::new() } else { int(1, size) })).collect();
    [bytes(1, name), bytes(2, bytes(1, [int(1, data_type), bytes(2, dims)].concat()))].concat()
}

/// A graph's parts, and the whole.
#[derive(Clone)]
struct Model {
    nodes: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    opset: i64,
    more: Vec<u8>,
}

impl Model {
    /// Two columns, two neurons, `Relu`.
    fn good() -> Self {
        Self {
            nodes: vec![node("Gemm", &["x", "w", "b"], "z", &[]), node("Relu", &["z"], "y", &[])],
            tensors: vec![tensor("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), tensor("b", &[2], &[0.5, -0.5])],
            inputs: vec![rows("x", 1, &[0, 2])],
            outputs: vec![rows("y", 1, &[0, 2])],
            opset: 18,
            more: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut graph = Vec::new();
        for (field, parts) in [(1, &self.nodes), (5, &self.tensors), (11, &self.inputs), (12, &self.outputs)] {
            parts.iter().for_each(|part| graph.extend(bytes(field, part)));
        }
        graph.extend(&self.more);
        [int(1, 9), bytes(8, int(2, self.opset)), bytes(7, graph)].concat()
    }
}

fn read(model: &[u8]) -> Result<Network> {
    Network::from_onnx(model, &Device::cpu())
}

/// What is said of a model that differs from the good one, which must not take much memory.
#[track_caller]
fn refusal(change: impl FnOnce(&mut Model)) -> Error {
    let mut model = Model::good();
    change(&mut model);
    let file = model.bytes();
    let (result, held) = peak(|| read(&file));
    assert!(held < (1 << 20) + 4 * file.len(), "{held} bytes for {}", file.len());
    result.expect_err("a refusal")
}

#[test]
fn the_good_one_is_good() {
    let net = read(&Model::good().bytes()).unwrap();
    assert_eq!(net.predict(&[1.0, 10.0]).unwrap(), [31.5, 41.5]);
    assert_eq!(net.layers()[0].activation, Activation::Relu);
}

#[test]
fn nodes_that_are_not_supported_have_names() {
    type Change = fn(&mut Model);
    let rows: [(&str, &str, &str, Change); 16] = [
        ("the y", "Conv", "not supported", |m| m.nodes[1] = node("Conv", &["z"], "y", &[])),
        ("the y", "com.microsoft.Gelu", "not supported", |m| {
            m.nodes[1] = [node("Gelu", &["z"], "y", &[]), bytes(7, "com.microsoft")].concat();
        }),
        ("the z", "Gemm", "transA", |m| m.nodes[0] = node("Gemm", &["x", "w", "b"], "z", &[attribute("transA", 1)])),
        ("the y", "LeakyRelu", "only 0.01", |m| m.nodes[1] = node("LeakyRelu", &["z"], "y", &[factor("alpha", 0.2)])),
        ("the y", "Elu", "only 1", |m| m.nodes[1] = node("Elu", &["z"], "y", &[factor("alpha", f32::NAN)])),
        ("the y", "Softmax", "axis is 0", |m| m.nodes[1] = node("Softmax", &["z"], "y", &[attribute("axis", 0)])),
        ("the a", "Softmax", "can only be the last", |m| {
            m.nodes = vec![
                node("Gemm", &["x", "w", "b"], "z", &[]),
                node("Softmax", &["z"], "a", &[]),
                node("MatMul", &["a", "w"], "y", &[]),
            ];
        }),
        ("the y", "Relu", "has to follow a Gemm", |m| {
            m.nodes[0] = node("Gemm", &["x", "w", "b"], "q", &[]);
            m.nodes.insert(1, node("Tanh", &["q"], "z", &[]));
        }),
        ("the z", "Gemm", "take 3 columns, where the rows have 2", |m| {
            m.tensors[0] = tensor("w", &[3, 1], &[1.0; 3]);
            m.tensors[1] = tensor("b", &[1], &[1.0]);
        }),
        ("the z", "Gemm", "bias has the sizes [3]", |m| m.tensors[1] = tensor("b", &[3], &[1.0; 3])),
        ("the z", "Gemm", "in a circle", |m| m.nodes[0] = node("Gemm", &["y", "w", "b"], "z", &[])),
        ("the y", "Relu", "made twice", |m| m.nodes.push(node("Relu", &["z"], "y", &[]))),
        ("the z", "Gemm", "of type float16", |m| m.tensors[0] = [typed("w", &[2, 2], 10), bytes(9, [0; 8])].concat()),
        ("the z", "Gemm", "of type double", |m| m.tensors[0] = [typed("w", &[2, 2], 11), bytes(9, [0; 32])].concat()),
        ("the y", "Mul", "no part of SiLU or GELU", |m| m.nodes[1] = node("Mul", &["z", "z"], "y", &[])),
        ("the y", "Mul", "a part of a formula", |m| {
            m.tensors.push(tensor("c", &[], &[3.0]));
            m.nodes[1] = node("Mul", &["z", "c"], "y", &[]);
        }),
    ];
    for (want_node, want_operator, says, change) in rows {
        let error = refusal(change);
        let text = error.to_string();
        let Error::Operator { node, operator, supported, .. } = error else { panic!("{error}") };
        assert_eq!((node.as_str(), operator.as_str()), (want_node, want_operator), "{text}");
        assert!(text.contains(says) && supported.contains("Gemm") && text.contains(supported), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    type Change = fn(&mut Model);
    let rows: [(&str, Change); 17] = [
        ("0 inputs and 1 outputs", |m| m.inputs.clear()),
        ("2 inputs and 1 outputs", |m| m.inputs.push(rows("t", 1, &[0, 2]))),
        ("1 inputs and 2 outputs", |m| m.outputs.push(rows("z", 1, &[0, 2]))),
        ("elements of type int64", |m| m.inputs[0] = rows("x", 7, &[0, 2])),
        ("has 1 dimensions", |m| m.inputs[0] = rows("x", 1, &[2])),
        ("'y' is made by no node", |m| m.nodes.truncate(1)),
        ("no Gemm and no MatMul", |m| m.outputs[0] = rows("x", 1, &[0, 2])),
        ("version 6 of", |m| m.opset = 6),
        ("version 29 of", |m| m.opset = 29),
        ("sparse", |m| m.more = bytes(15, [])),
        ("two tensors are called 'w'", |m| m.tensors.push(tensor("w", &[1], &[1.0]))),
        ("in another file (external data)", |m| {
            m.tensors[0].extend([bytes(13, bytes(1, "location")), int(14, 1)].concat())
        }),
        ("has 16 bytes of data, where its sizes [2, 3] need 24", |m| m.tensors[0] = tensor("w", &[2, 3], &[1.0; 4])),
        ("which no tensor has", |m| m.tensors[0] = tensor("w", &[i64::MAX, i64::MAX], &[])),
        ("which no tensor has", |m| m.tensors[0] = tensor("w", &[-2, -2], &[1.0; 4])),
        ("in segments", |m| m.tensors[0].extend(bytes(3, []))),
        ("the same weights", |m| {
            m.nodes =
                (0..40).map(|at| node("MatMul", &[&format!("a{at}"), "w"], &format!("a{}", at + 1), &[])).collect();
            m.tensors = vec![tensor("w", &[20, 20], &[0.5; 400])];
            m.inputs[0] = rows("a0", 1, &[0, 20]);
            m.outputs[0] = rows("a40", 1, &[0, 20]);
        }),
    ];
    for (says, change) in rows {
        let error = refusal(change);
        assert!(matches!(error, Error::File { .. } | Error::Operator { .. }), "{error:?}");
        assert!(
            error.to_string().starts_with("the ONNX model: ") && error.to_string().contains(says),
            "{says}: {error}"
        );
    }
    let error = refusal(|m| m.tensors[1] = tensor("b", &[2], &[f32::NAN, 0.0]));
    assert!(matches!(error, Error::NotFinite { index: 4, .. }), "{error}");
    let error = refusal(|m| m.nodes[0] = node("Gemm", &["x", "w", "b"], "z", &[factor("alpha", f32::INFINITY)]));
    assert!(matches!(error, Error::NotFinite { index: 0, .. }), "{error}");
}

/// Claims that a file does not hold cost nothing, and neither do lists without an end.
#[test]
fn what_a_file_claims_is_not_allocated() {
    // No data behind a tensor of a terabyte.
    let error = refusal(|m| m.tensors[0] = typed("w", &[1 << 20, 1 << 18], 1));
    assert!(error.to_string().contains("has 0 bytes of data"), "{error}");
    // Five million nodes, tensors, inputs, dimensions of two bytes each.
    for (field, message) in [(1, vec![]), (5, vec![]), (11, vec![]), (12, vec![])] {
        let more: Vec<u8> = bytes(field, &message).repeat(5_000_000);
        let file = bytes(7, more);
        let (result, held) = peak(|| read(&file));
        assert!(held < 16 << 20, "{held}");
        assert!(result.unwrap_err().to_string().contains("more than 4096 of"));
    }
    let wide = [typed("w", &vec![1; 100_000], 1), bytes(9, [0; 4])].concat();
    let (result, held) = peak(|| read(&bytes(7, bytes(5, &wide))));
    assert!(held < 1 << 20, "{held}");
    assert!(result.unwrap_err().to_string().contains("more than 8 of the dimensions of a tensor"));
}

/// Every part of what the limits allow, at once.
#[test]
fn the_largest_graph_costs_what_is_said() {
    let mut crowded = Model::good();
    let inputs = vec![""; 16];
    let attributes = vec![attribute("alpha", 1); 16];
    crowded.nodes = vec![node("Conv", &inputs, "y", &attributes); 4096];
    crowded.tensors = (0..4096).map(|at| tensor(&format!("t{at}"), &[1; 8], &[1.0])).collect();
    crowded.inputs = vec![rows("x", 1, &[0; 8]); 4096];
    let file = crowded.bytes();
    let (result, held) = peak(|| read(&file));
    assert!(result.is_err());
    assert!(held < 16 << 20, "{held} bytes for {}", file.len());
}

#[test]
fn a_large_network_takes_little_more_than_itself() {
    let net = Network::new(500).dense(1000, Activation::Relu).build(&Device::cpu()).unwrap();
    let model = net.to_onnx(&Onnx::new()).unwrap();
    drop(net);
    let (result, held) = peak(|| read(&model));
    assert!(held < 4 * model.len() + (1 << 20), "{held} bytes for {}", model.len());
    assert_eq!(result.unwrap().parameter_count(), 501_000);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Network::read_onnx(folder.path(), &Device::cpu()).unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if path == folder.path()), "{error}");
    let path = folder.path().join("net.onnx");
    assert!(matches!(Network::read_onnx(&path, &Device::cpu()), Err(Error::Io { .. })));
    std::fs::write(&path, "not a model").unwrap();
    let error = Network::read_onnx(&path, &Device::cpu()).unwrap_err();
    assert!(matches!(&error, Error::File { .. }) && error.to_string().contains("net.onnx"), "{error}");
    for empty in [&[][..], &[0; 64], b"PK\x03\x04"] {
        assert!(matches!(read(empty), Err(Error::File { .. })));
    }
}

/// Neither a panic, nor much memory, nor an error that is not about the file.
fn survives(model: &[u8]) -> Result<bool, TestCaseError> {
    let (result, held) = peak(|| read(model));
    prop_assert!(held < (16 << 20) + 4 * model.len(), "{} bytes for {}", held, model.len());
    match result {
        Ok(net) => {
            let outputs = net.predict(&vec![1.0; net.inputs()]).unwrap();
            prop_assert_eq!(outputs.len(), net.outputs());
            Ok(true)
        }
        Err(Error::File { .. } | Error::Operator { .. } | Error::NotFinite { .. } | Error::Architecture { .. }) => {
            Ok(false)
        }
        Err(error) => Err(TestCaseError::fail(format!("{error:?}"))),
    }
}

/// Every byte of a small model with every bit flipped, and every length.
#[test]
fn damaged_models_are_refused_or_are_networks() {
    let whole = Model::good().bytes();
    let (mut networks, mut refused) = (0, 0);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut model = whole.clone();
            model[at] ^= 1 << bit;
            if survives(&model).unwrap() { networks += 1 } else { refused += 1 }
        }
        assert!(!survives(&whole[..at]).unwrap(), "cut to {at}");
    }
    println!("{} bytes: {networks} networks, {refused} refused", whole.len());
    assert!(networks > 100 && refused > 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(model in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&model)?;
        survives(&bytes(7, &model))?;
        survives(&bytes(7, bytes(1, &model)))?;
        survives(&bytes(7, bytes(5, &model)))?;
    }

    #[test]
    fn flipped_and_cut_models(
        flips in prop::collection::vec((any::<Index>(), 1u8..), 1..5),
        cut in prop::option::of(any::<Index>()),
    ) {
        let mut model = Model::good().bytes();
        for (at, bits) in &flips {
            let at = at.index(model.len());
            model[at] ^= bits;
        }
        if let Some(at) = cut {
            model.truncate(at.index(model.len()));
        }
        survives(&model)?;
    }
}
