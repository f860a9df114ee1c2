//! ONNX: what is written is read again, is right by onnxruntime, and models of others come in.
//!
//! `WGRAD_PYTHON` names a Python that has `onnx` and `onnxruntime`, as `scripts/onnx` does; without it that check is left out, which is
//! an error where `WGRAD_REQUIRE_ONNX=1`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wgrad::data::{Field, Missing, Preparation, Scaling, Unknown};
use wgrad::export::Onnx;
use wgrad::{Activation, Adam, Cost, Device, Error, Network};

use crate::bound::{compare, outputs};
use crate::cases::{ROWS, cases};
use crate::common::nets::bits;
use crate::tables;

fn read(model: &[u8]) -> wgrad::Result<Network> {
    Network::from_onnx(model, &Device::cpu())
}

#[test]
fn what_is_written_is_read() {
    for case in cases() {
        for opset in [20, 28] {
            let again = read(&case.net.to_onnx(&Onnx::new().opset(opset)).unwrap()).unwrap();
            assert_eq!(again.layers(), case.net.layers(), "{}", case.name);
            assert_eq!(bits(&again.parameters().unwrap()), bits(&case.net.parameters().unwrap()), "{}", case.name);
        }
    }
}

#[test]
fn other_opsets_are_refused() {
    let net = Network::new(1).dense(1, Activation::Relu).build(&Device::cpu()).unwrap();
    for opset in [i64::MIN, -1, 0, 19, 29, i64::MAX] {
        assert!(matches!(net.to_onnx(&Onnx::new().opset(opset)), Err(Error::InvalidOption { .. })), "{opset}");
    }
}

/// What one output is to be, row by row.
#[derive(Serialize)]
struct Wanted {
    values: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Vec<f64>>,
}

impl Wanted {
    fn numbers(values: impl IntoIterator<Item = f64>, bounds: Vec<f64>) -> Self {
        Self { values: values.into_iter().map(|x| json!(x)).collect(), bounds: Some(bounds) }
    }
}

/// A case of `check_onnx.py`, whose model is written into the folder.
fn plain(folder: &Path, case: &crate::cases::Case, opset: i64) -> serde_json::Value {
    let name = format!("{}_{opset}", case.name);
    std::fs::write(folder.join(format!("{name}.onnx")), case.net.to_onnx(&Onnx::new().opset(opset)).unwrap()).unwrap();
    let (y, arena) = (case.net.predict(&case.x).unwrap(), case.net.parameters().unwrap());
    let bounds =
        case.x.chunks(case.net.inputs()).flat_map(|x| outputs(&case.net, &arena, x).1).map(|bound| 2.0 * bound);
    let wanted = Wanted::numbers(y.into_iter().map(f64::from), bounds.collect());
    json!({"name": name, "rows": ROWS, "inputs": {"x": case.x}, "outputs": {"y": wanted}})
}

/// The same for a network with a preparation: raw rows in, answers out.
fn tabular(folder: &Path, target: &str, scaling: Scaling) -> serde_json::Value {
    let (net, table) = tables::network(target, scaling);
    let name = format!("table_{target}_{scaling:?}");
    std::fs::write(folder.join(format!("{name}.onnx")), net.to_onnx(&Onnx::new()).unwrap()).unwrap();
    let rows = tables::rows(&net, &table, 60);
    let (preparation, answers) = (net.preparation().unwrap(), net.predict_rows(&rows).unwrap());
    let mut inputs: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
    for row in &rows {
        for (column, field) in preparation.columns().zip(row) {
            let text = table.column(column).unwrap().kind() == wgrad::data::Kind::Category;
            inputs.entry(column).or_default().push(match field {
                Field::Number(x) => json!(x),
                Field::Text(text) => json!(text),
                _ if text => json!(""),
                _ => json!(null),
            });
        }
    }
    let count = rows.len();
    let mut outputs: BTreeMap<&str, Wanted> = BTreeMap::new();
    if let Some([_, scale]) = preparation.target_scale() {
        outputs.insert(target, Wanted::numbers(answers.values().iter().copied(), vec![1e-5 * scale; count]));
    } else {
        let values = answers.classes().map(|class| json!(class)).collect();
        outputs.insert(target, Wanted { values, bounds: None });
        let all: Vec<f64> =
            (0..count).flat_map(|row| answers.probabilities(row).unwrap()).map(|&p| f64::from(p)).collect();
        let bounds = vec![1e-5; all.len()];
        // A column has that name already.
        outputs.insert("probabilities (2)", Wanted::numbers(all, bounds));
    }
    json!({"name": name, "rows": count, "inputs": inputs, "outputs": outputs})
}

/// Runs the check on the folder; whether it was content, and what it said.
fn check(python: &str, folder: &Path, cases: &[serde_json::Value]) -> (bool, String) {
    std::fs::write(folder.join("cases.json"), serde_json::to_string(cases).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/check_onnx.py");
    let done = Command::new(python).arg(script).arg(folder).output().expect("Python");
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (done.status.success(), said)
}

#[test]
fn onnxruntime_computes_what_predict_does() {
    let Ok(python) = std::env::var("WGRAD_PYTHON") else {
        let required = std::env::var("WGRAD_REQUIRE_ONNX").is_ok_and(|value| value == "1");
        assert!(!required, "WGRAD_REQUIRE_ONNX=1, but WGRAD_PYTHON names no Python with onnxruntime; use scripts/onnx");
        // Past the test harness, which hides what passing tests print.
        let _ =
            std::io::stderr().write_all(b"SKIPPED: ONNX models are not checked by onnxruntime; scripts/onnx does it\n");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let nets = cases();
    let mut all: Vec<_> = nets.iter().map(|case| plain(folder.path(), case, 28)).collect();
    for opset in 20..28 {
        // Each activation once, with the operators of that version.
        all.extend(
            nets.iter()
                .filter(|case| case.name.contains("_1_13_3_drawn"))
                .map(|case| plain(folder.path(), case, opset)),
        );
    }
    for (target, scaling) in
        [("price", Scaling::Auto), ("kind", Scaling::Auto), ("price", Scaling::MinMax), ("kind", Scaling::Standard)]
    {
        all.push(tabular(folder.path(), target, scaling));
    }
    assert!(all.len() > 160, "{}", all.len());
    let (good, said) = check(&python, folder.path(), &all);
    println!("ONNX export by {said}");
    assert!(good, "{said}");
    assert!(said.contains(&format!("{} models", all.len())), "{said}");

    // The check finds what is off: a wrong number, a NaN, a wrong class.
    let wrong = |at: usize, pointer: &str, value: serde_json::Value| {
        let mut case = all[at].clone();
        *case.pointer_mut(pointer).expect("such a place") = value;
        let (good, said) = check(&python, folder.path(), &[case]);
        assert!(!good && said.contains("FAILED"), "{at} {pointer}: {said}");
    };
    let first = all[0]["outputs"]["y"]["values"][3].as_f64().unwrap();
    wrong(0, "/outputs/y/values/3", json!(first + 1e-3));
    wrong(0, "/inputs/x/2", json!(null));
    wrong(all.len() - 3, "/outputs/kind/values/5", json!("ash"));
}

#[derive(Deserialize)]
struct Expected {
    x: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
}

/// Models of other programs, with what onnxruntime said of them: `tests/golden/make_onnx.py`.
#[test]
fn models_of_others_come_in_and_train_on() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx");
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let all: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    assert_eq!(all.len(), 8);
    for (name, expected) in all {
        let mut net = Network::read_onnx(folder.join(format!("{name}.onnx")), &Device::cpu()).unwrap();
        let (x, y) = (expected.x.concat(), expected.y.concat());
        let worst = compare(&net, &x, &y).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        println!(
            "{name}: {:?} {:?}, largest difference from onnxruntime {:.1e}",
            net.sizes(),
            net.layers().iter().map(|l| l.activation.name()).collect::<Vec<_>>(),
            worst.difference
        );
        // Towards the outputs of its rows in another order.
        let softmax = net.layers().last().unwrap().activation == Activation::Softmax;
        let cost = if softmax { Cost::CategoricalCrossEntropy } else { Cost::Quadratic };
        let other: Vec<f32> = if softmax {
            (0..y.len()).map(|at| f32::from(u8::from(at % net.outputs() == 0))).collect()
        } else {
            expected.y.iter().rev().flatten().copied().collect()
        };
        let before = net.cost(&x, &other, cost).unwrap();
        for _ in 0..50 {
            net.update_mini_batch(&x, &other, cost, Adam::new(0.01)).unwrap();
        }
        let after = net.cost(&x, &other, cost).unwrap();
        assert!(after < 0.9 * before, "{name}: {before} to {after}");
    }
}

/// What operators cannot do with rows of a table is refused, and the way out works.
#[test]
fn preparations_that_raise_errors_are_refused() {
    let table = tables::table(240).drop_missing(&["x", "colour", "day"]).unwrap();
    for (preparation, says) in [
        (Preparation::new("price").missing(Missing::Error), "Missing::Error"),
        (Preparation::new("price").unknown(Unknown::Error), "Unknown::Error"),
    ] {
        let preparation = preparation.fit(&table).unwrap();
        let mut net = Network::new(preparation.inputs()).dense(1, Activation::Identity).build(&Device::cpu()).unwrap();
        net.set_preparation(preparation).unwrap();
        let error = net.to_onnx(&Onnx::new()).unwrap_err();
        assert!(matches!(error, Error::Export { format: "ONNX", .. }));
        assert!(error.to_string().contains(says) && error.to_string().contains("encoded_rows"), "{error}");
        let again = read(&net.to_onnx(&Onnx::new().encoded_rows()).unwrap()).unwrap();
        assert_eq!(again.layers(), net.layers());
    }
}

/// A model with a preparation names what cannot come back.
#[test]
fn a_model_of_raw_rows_is_not_read() {
    let (net, _) = tables::network("price", Scaling::Auto);
    let error = read(&net.to_onnx(&Onnx::new()).unwrap()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("inputs and 1 outputs, where a network has one of each") && said.contains("encoded_rows"),
        "{said}"
    );
}
