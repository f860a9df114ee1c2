//! Weights from PyTorch, and to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wgrad::{Activation, Device, Network, Weights};

use crate::common::devices;

const ACTIVATIONS: [Activation; 3] = [Activation::Relu, Activation::Tanh, Activation::Identity];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Rows of inputs, and what PyTorch's network says of them in double precision.
fn told() -> (Vec<f32>, Vec<f64>) {
    let text = std::fs::read_to_string(golden("torch.json")).expect("the golden file");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let numbers = |name: &str| -> Vec<f64> {
        let rows = value[name].as_array().expect("rows").iter().flat_map(|row| row.as_array().expect("a row"));
        rows.map(|number| number.as_f64().expect("a number")).collect()
    };
    #[allow(clippy::cast_possible_truncation, reason = "they are exact in f32")]
    let x = numbers("x").into_iter().map(|x| x as f32).collect();
    (x, numbers("outputs"))
}

fn furthest(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let off = got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs());
    off.fold(0.0, |most, off| if off <= most { most } else { off })
}

/// An `nn.Sequential` of PyTorch, as `safetensors.torch.save_file` wrote it, in each kind of number.
#[test]
fn pytorch_networks_are_read() {
    let (x, outputs) = told();
    for device in devices() {
        for (name, bound) in [("f32", 2e-6), ("f64", 2e-6), ("bf16", 0.02), ("f16", 0.002)] {
            let file = golden(&format!("torch_{name}.safetensors"));
            let weights = Weights::read_converted(&file).expect("weights");
            assert_eq!(weights.sizes(), [5, 11, 7, 3]);
            assert_eq!(Weights::read(&file).is_ok(), name == "f32", "only F32 is taken unasked");
            let net = weights.network(&ACTIVATIONS, &device).expect("a network");
            let off = furthest(&net.predict_on_device(&x).expect("outputs"), &outputs);
            println!("{device}, {name}: {off:e} from PyTorch");
            assert!(off <= bound, "{device}, {name}: {off}");
        }
        // Negative control: another activation is further off.
        let weights = Weights::read(golden("torch_f32.safetensors")).expect("weights");
        let other =
            weights.network(&[Activation::Tanh, Activation::Tanh, Activation::Identity], &device).expect("a network");
        assert!(furthest(&other.predict(&x).expect("outputs"), &outputs) > 0.05);
    }
}

/// What is saved is what PyTorch's file had, and goes into a network that exists.
#[test]
fn weights_survive_the_way_back() {
    let weights = Weights::read(golden("torch_f32.safetensors")).expect("weights");
    let net = weights.network(&ACTIVATIONS, &Device::cpu()).expect("a network");
    let again = Weights::from_bytes(&net.to_bytes().expect("bytes")).expect("weights");
    assert_eq!(again.sizes(), weights.sizes());
    let layers = Network::new(5).dense(11, Activation::Relu).dense(7, Activation::Tanh).dense(3, Activation::Identity);
    let mut other = layers.seed(5).build(&Device::cpu()).expect("a network");
    again.give(&mut other).expect("the same layers");
    assert_eq!(other.parameters().expect("parameters"), net.parameters().expect("parameters"));
}

/// The program of `WGRAD_PYTHON`, which has PyTorch and safetensors, reads what this crate saves.
#[test]
fn pytorch_reads_what_is_saved() {
    let Some(python) = std::env::var_os("WGRAD_PYTHON") else {
        eprintln!("SKIPPED: PyTorch reads what is saved: WGRAD_PYTHON names no Python with torch and safetensors");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("net.safetensors");
    let layers = Network::new(5).dense(11, Activation::Relu).dense(7, Activation::Tanh).dense(3, Activation::Identity);
    let net = layers.seed(9).build(&Device::cpu()).expect("a network");
    net.save(&file).expect("a file");
    let (x, _) = told();
    let asked = serde_json::json!({ "x": x, "outputs": net.predict(&x).expect("outputs") });
    std::fs::write(folder.path().join("asked.json"), asked.to_string()).expect("a file");
    let output = Command::new(python)
        .arg(golden("make_torch.py"))
        .arg("--check")
        .args([&file, &folder.path().join("asked.json")])
        .output()
        .expect("a Python");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{}", said.trim());
    assert!(output.status.success(), "{said}");
}
