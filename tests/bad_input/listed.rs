//! The list of all public functions that take something, held to the sources: one that has no test of bad input fails this one.

use std::collections::BTreeMap;
use std::path::Path;

/// Type, or file of functions that belong to none; the test file below `tests/` that gives them what they should not be given; names.
const TESTED: &[(&str, &str, &str)] = &[
    ("$optimizer", "bad_input/runs.rs", "lambda weight_decay l1 decoupled_decay max_norm clip_value clip_norm"),
    ("Adam", "bad_input/numbers.rs", "new betas epsilon"),
    ("AdamW", "bad_input/numbers.rs", "new betas epsilon"),
    ("AdamW", "bad_input/runs.rs", "weight_decay"),
    ("Batches", "bad_input/data.rs", "new rows order split"),
    ("Case", "bad_input/plans.rs", "new variants judge"),
    ("CaseRunner", "bad_input/plans.rs", "new run"),
    ("Chart", "bad_input/charts.rs", "title size save"),
    ("Checkpoints", "bad_input/runs.rs", "new every_epochs every_steps every keep_last keep_best path_before"),
    ("Column", "bad_input/tables.rs", "field"),
    ("Confusion", "bad_input/data.rs", "from_pairs count support answered top_k precision recall f1"),
    (
        "Dataset",
        "bad_input/data.rs",
        "new with_labels from_bytes from_rows from_labelled_rows from_parts input_row target_row",
    ),
    (
        "Dataset",
        "bad_input/data.rs",
        "label copy_inputs copy_targets take slice select split split_stratified split_at",
    ),
    ("Dataset", "bad_input/data.rs", "with_weights with_class_weights"),
    ("Descent", "bad_input/reference.rs", "new step"),
    ("Device", "bad_input/exports.rs", "cpu_with_threads with_limits with_data_memory with_tiling named_with_limits"),
    ("Device", "misuse.rs", "named with_adapter"),
    ("DeviceRunner", "bad_input/plans.rs", "new"),
    ("EarlyStopping", "bad_input/runs.rs", "new metric min_change restore_best"),
    ("Gradients", "misuse.rs", "nabla_w nabla_b"),
    ("History", "bad_input/runs.rs", "best write_csv write_json read_json read_csv"),
    ("Kernel", "bad_input/plans.rs", "entry constants workgroup_bytes groups sum_length most_terms iterations"),
    ("Limits", "bad_input/plans.rs", "grids"),
    ("Metric", "bad_input/runs.rs", "of"),
    ("Momentum", "bad_input/numbers.rs", "new mu"),
    ("Nesterov", "bad_input/numbers.rs", "new mu"),
    ("Network", "misuse.rs", "new cost gradients update_mini_batch set_parameters evaluate"),
    ("Network", "bad_input/numbers.rs", "predict predict_into predict_on_device"),
    ("Network", "bad_input/runs.rs", "plan request update metrics"),
    ("Network", "bad_input/tables.rs", "set_preparation predict_rows predict_table table_metrics"),
    ("Network", "bad_input/exports.rs", "save load from_bytes to_wgsl to_onnx from_onnx read_onnx"),
    ("NetworkBuilder", "bad_input/runs.rs", "dense dropout init layer_init plan build"),
    ("Onnx", "bad_input/exports.rs", "opset"),
    ("Plan", "bad_input/plans.rs", "new population place root buffer"),
    ("Plateau", "bad_input/runs.rs", "new metric min_change by stop see"),
    ("Population", "bad_input/runs.rs", "new batch_size epochs label_smoothing recovery add fit evaluate_ensemble"),
    ("Population", "bad_input/numbers.rs", "predict"),
    ("Predictions", "bad_input/tables.rs", "class class_index probabilities value"),
    ("Preparation", "bad_input/tables.rs", "new dataset encode_table encode_rows answers"),
    (
        "PreparationBuilder",
        "bad_input/tables.rs",
        "task scaling missing unknown max_categories leave_out keep scale_target fit",
    ),
    ("Progress", "bad_input/runs.rs", "lines suspend see"),
    ("Recovery", "bad_input/runs.rs", "retries every pause allow_cpu device_from"),
    ("RmsProp", "bad_input/numbers.rs", "new alpha epsilon"),
    ("Schedule", "bad_input/numbers.rs", "step exponential cosine_restarts one_cycle_with warm_up factor"),
    ("Schedule", "bad_input/runs.rs", "cosine custom then"),
    ("Sgd", "bad_input/numbers.rs", "new"),
    (
        "Table",
        "bad_input/tables.rs",
        "new read from_rows with_numbers with_texts column select drop_missing split split_stratified",
    ),
    ("Table", "bad_input/tables.rs", "split_stratified_as"),
    (
        "TableReader",
        "bad_input/tables.rs",
        "delimiter header missing_words numeric categorical kind max_bytes max_fields read",
    ),
    ("TableReader", "bad_input/tables.rs", "read_from"),
    ("Task", "bad_input/tables.rs", "of"),
    (
        "Trainer",
        "bad_input/runs.rs",
        "new epochs batch_size seed label_smoothing schedule plateau early_stopping keep_best",
    ),
    (
        "Trainer",
        "bad_input/runs.rs",
        "max_steps max_time on_event checkpoints verify_every start check fit recovery resume",
    ),
    ("Trainer", "bad_input/exports.rs", "from_bytes"),
    ("Training", "bad_input/runs.rs", "step_for save"),
    ("Watch", "bad_input/runs.rs", "see"),
    ("Weights", "bad_input/exports.rs", "read read_converted from_bytes network give"),
    ("Wgsl", "bad_input/exports.rs", "new weights"),
    ("Worst", "bad_input/plans.rs", "add add_word merge"),
    ("ascii.rs", "bad_input/data.rs", "ascii"),
    ("compare.rs", "bad_input/plans.rs", "bound compare"),
    ("confusion.rs", "bad_input/charts.rs", "confusion_matrix"),
    ("curves.rs", "bad_input/charts.rs", "learning_curves"),
    ("descent.rs", "bad_input/reference.rs", "penalty penalised_gradient"),
    ("digits.rs", "bad_input/data.rs", "synthetic_digits"),
    ("idx.rs", "bad_input/tables.rs", "read_idx"),
    ("idx.rs", "files/random.rs", "read_idx_from"),
    ("kernels.rs", "misuse.rs", "check_kernels"),
    ("kernels.rs", "bad_input/plans.rs", "check_kernel check_case"),
    ("lockstep.rs", "bad_input/plans.rs", "lockstep"),
    ("mnist.rs", "bad_input/tables.rs", "load_idx_pair load_mnist_dir"),
    ("pictures.rs", "bad_input/charts.rs", "weight_pictures misread_pictures"),
    ("reference.rs", "bad_input/reference.rs", "sigmoid sigmoid_prime softmax activation activation_prime"),
    (
        "reference.rs Network",
        "bad_input/reference.rs",
        "new feedforward weighted_inputs_and_activations cost mean_cost",
    ),
    (
        "reference.rs Network",
        "bad_input/reference.rs",
        "cost_derivative deltas backprop mean_gradient update_mini_batch",
    ),
    ("scatter.rs", "bad_input/charts.rs", "predictions"),
    ("self_check.rs", "self_check.rs", "with_shader check_with_shader_async"),
    ("weighted.rs", "bad_input/reference.rs", "smoothed"),
    ("weighted.rs Network", "bad_input/reference.rs", "weighted_cost weighted_gradient"),
];

/// What needs none, and why.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("Cost", "goes_with check", "takes one of a few words, all of which the tests of pairings go through"),
    ("Device", "from_wgpu", "takes what wgpu made; tests/sharing.rs has those that are lost"),
    ("Evaluation", "in_units_of", "takes a preparation, which is whole"),
    ("Metrics", "in_units_of", "takes a preparation, which is whole"),
    ("NetworkBuilder", "seed", "takes any number for what it is"),
    ("rust_table.rs", "encode predict", "the text of an exported module; tests/export/tables.rs has its rows"),
];

/// A public function that takes something beside `self`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    owner: String,
    name: String,
    /// Whether it is called on a value.
    method: bool,
}

/// The text of a source file up to its unit tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            found.push((name, text.split("\n#[cfg(test)]\nmod ").next().expect("a text").to_owned()));
        }
    }
}

/// The type that an `impl` is for.
fn implemented(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("impl")?;
    let rest = if rest.starts_with('<') { rest.split_once("> ")?.1 } else { rest.strip_prefix(' ')? };
    let of = rest.split(" for ").last()?;
    Some(of.chars().take_while(|c| c.is_alphanumeric() || *c == '$').collect())
}

fn functions() -> Vec<Function> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut found = Vec::new();
    for (file, text) in &files {
        let mut owner = None;
        for (at, line) in text.match_indices('\n').map(|(at, _)| (at + 1, text[at + 1..].lines().next().unwrap_or("")))
        {
            if let Some(of) = implemented(line) {
                owner = Some(of);
            } else if line == "}" {
                owner = None;
            }
            let words =
                line.trim_start().strip_prefix("pub ").map(|rest| rest.replace("const ", "").replace("async ", ""));
            let Some(rest) = words.as_deref().and_then(|words| words.strip_prefix("fn ")) else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // From the first round bracket that no angle bracket is open at, to the one that closes it.
            let (mut depth, mut angles, mut arguments) = (0, 0, String::new());
            for c in text[at..].chars().skip_while(|c| !matches!(c, '<' | '(')) {
                match c {
                    '<' if depth == 0 => angles += 1,
                    '>' if depth == 0 => angles -= 1,
                    '(' if angles == 0 || depth > 0 => depth += 1,
                    ')' if depth > 0 => depth -= 1,
                    _ => {}
                }
                if depth > 0 {
                    arguments.push(c);
                } else if !arguments.is_empty() {
                    break;
                }
            }
            let arguments = arguments.trim_start_matches('(').trim();
            let method = arguments.split(',').next().is_some_and(|first| first.trim_end().ends_with("self"));
            let others = if method { arguments.split_once(',').map_or("", |(_, rest)| rest.trim()) } else { arguments };
            if !others.is_empty() {
                let owner = match &owner {
                    // Of two types with this name, one is the reference's.
                    Some(of) if ["reference.rs", "weighted.rs"].contains(&file.as_str()) => format!("{file} {of}"),
                    Some(of) => of.clone(),
                    None => file.clone(),
                };
                found.push(Function { owner, name, method });
            }
        }
    }
    found.sort();
    found.dedup();
    // A blocking form is the async one, waited for.
    let all = found.clone();
    found.retain(|function| {
        let blocking = function.name.strip_suffix("_async");
        !blocking.is_some_and(|name| all.iter().any(|other| other.name == name && other.owner == function.owner))
    });
    found
}

/// Whether a test calls a function.
fn is_called(function: &Function, test: &str) -> bool {
    let Function { owner, name, method } = function;
    let of = owner.split(' ').next_back().unwrap_or_default();
    let paths = match (owner.ends_with(".rs"), method) {
        (true, _) => vec![format!("{name}(")],
        (false, true) => vec![format!(".{name}("), format!("{of}::{name}")],
        (false, false) => vec![format!("{of}::{name}(")],
    };
    paths.iter().any(|path| test.contains(path.as_str()))
}

#[test]
fn every_public_function_has_a_test_of_bad_input() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut texts = BTreeMap::new();
    let mut listed: Vec<(String, String, Option<&str>)> = Vec::new();
    for &(owner, file, names) in TESTED {
        texts.entry(file).or_insert_with(|| std::fs::read_to_string(tests.join(file)).expect("a test file"));
        listed.extend(names.split(' ').map(|name| (owner.to_owned(), name.to_owned(), Some(file))));
    }
    for &(owner, names, reason) in EXEMPT {
        assert!(reason.split(' ').count() > 3, "{owner}: a reason");
        listed.extend(names.split(' ').map(|name| (owner.to_owned(), name.to_owned(), None)));
    }
    let found = functions();
    let mut problems = Vec::new();
    for function in &found {
        let entries: Vec<_> =
            listed.iter().filter(|(owner, name, _)| (owner, name) == (&function.owner, &function.name)).collect();
        match entries[..] {
            [] => problems.push(format!("{} {} is new: give it bad input, and list it", function.owner, function.name)),
            [(_, _, None)] => {}
            [(_, _, Some(file))] if is_called(function, &texts[file]) => {}
            [(_, _, Some(file))] => problems.push(format!("{file} never calls {} {}", function.owner, function.name)),
            _ => problems.push(format!("{} {} is listed twice", function.owner, function.name)),
        }
    }
    for (owner, name, _) in &listed {
        if !found.iter().any(|function| (&function.owner, &function.name) == (owner, name)) {
            problems.push(format!("{owner} {name} is listed, but is no public function that takes something"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{} public functions that take something, {} of them exempt", found.len(), EXEMPT.len());
    assert!(found.len() > 250);
}

/// What it must notice: a function that no test calls.
#[test]
fn a_function_without_a_test_is_noticed() {
    let function =
        |owner: &str, name: &str, method| Function { owner: owner.to_owned(), name: name.to_owned(), method };
    let test = "let x = Dataset::new(); x.take(3); bound(1);";
    assert!(is_called(&function("Dataset", "new", false), test) && is_called(&function("Dataset", "take", true), test));
    assert!(is_called(&function("compare.rs", "bound", false), test));
    assert!(
        !is_called(&function("Table", "new", false), test) && !is_called(&function("Dataset", "slice", true), test)
    );
    assert!(!is_called(&function("compare.rs", "compare", false), test));
}
