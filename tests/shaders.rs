//! Every shader against the kernel table, without a GPU: entry points, bindings, sizes, texts that stand twice, twins.
//!
//! The checks are functions that return what is wrong as text, so that they can be shown shaders that are wrong.

#![allow(clippy::print_stdout, reason = "what was counted is the result of these tests")]

use std::collections::BTreeMap;

use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use wgrad::kernel::{Access, Element, Entry, Kernel, KernelInfo, Params, SHADERS, Tiling};

/// A name and a text.
type File = (String, String);

/// WebGPU promises 256, but a workgroup of 64 is what makes the smallest devices and injected limits work.
const MOST_INVOCATIONS: u32 = 64;
/// WebGPU promises 16 KiB to all that a workgroup shares: the tiles take half of it, and little else is needed.
const MOST_SHARED_BYTES: u32 = 9 << 10;
/// What WebGPU promises a shader stage.
const MOST_STORAGE_BUFFERS: usize = 8;

fn files() -> Vec<File> {
    SHADERS.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn path(relative: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The CPU functions' file for each shader.
fn twins() -> Vec<File> {
    let text = |name: &str| std::fs::read_to_string(path("src/cpu").join(name)).unwrap_or_default();
    SHADERS.iter().map(|(name, _)| (twin(name), text(&twin(name)))).collect()
}

/// The Rust file of a shader's CPU functions; a second way to compute the same thing has the same twin.
fn twin(shader: &str) -> String {
    shader.replace("_registers", "").replace(".wgsl", ".rs")
}

/// Every entry point that some tiling runs, with the kernel's row.
fn entries() -> Vec<(Entry, &'static KernelInfo)> {
    let mut entries: Vec<(Entry, &'static KernelInfo)> = Vec::new();
    for tiling in [Tiling::GPU, Tiling::Registers] {
        for kernel in Kernel::ALL {
            let entry = kernel.entry(tiling);
            if entries.iter().all(|(known, _)| *known != entry) {
                entries.push((entry, kernel.info()));
            }
        }
    }
    entries
}

// ---- the checks -------------------------------------------------------------------------------------------------

/// All that is wrong with the shaders and their twins.
fn problems(files: &[File], twins: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, text) in files {
        let (module, info) = match parse(text) {
            Ok(parsed) => parsed,
            Err(problem) => {
                problems.push(format!("{name}: {problem}"));
                continue;
            }
        };
        for entry in &module.entry_points {
            found.entry(entry.name.clone()).or_default().push(name);
        }
        let mut told: Vec<String> = file_problems(&module, &info);
        told.extend(header_problems(name, text, &module));
        told.extend(twin_problems(&twin(name), twins, &module));
        problems.extend(told.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    for (row, _) in entries() {
        match found.remove(row.name).as_deref() {
            Some([file]) if *file == row.file => {}
            other => problems.push(format!("{}: its row says {}, found in {other:?}", row.name, row.file)),
        }
    }
    problems.extend(found.keys().map(|name| format!("{name}: an entry point without a row")));
    problems.extend(repeated_text_problems(files));
    problems.extend(params_text_problems(files));
    problems
}

/// The module of a text, validated for what WebGPU has at least.
fn parse(text: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(text))?;
    Ok((module, info))
}

fn row_of(name: &str) -> Option<(Entry, &'static KernelInfo)> {
    entries().into_iter().find(|(entry, _)| entry.name == name)
}

/// Invocations of a workgroup; where the text leaves them to an `override`, what it starts from.
fn workgroup_size(module: &Module, entry: &naga::EntryPoint) -> [u32; 3] {
    let Some(overrides) = &entry.workgroup_size_overrides else { return entry.workgroup_size };
    std::array::from_fn(|axis| {
        let expression = overrides[axis].map(|handle| &module.global_expressions[handle]);
        let number = match expression {
            Some(&naga::Expression::Override(handle)) => {
                module.overrides[handle].init.map(|handle| &module.global_expressions[handle])
            }
            other => other,
        };
        match number {
            Some(&naga::Expression::Literal(naga::Literal::U32(size))) => size,
            Some(_) => 0,
            None => entry.workgroup_size[axis],
        }
    })
}

/// What a file's entry points, bindings and sizes have that the table has not.
fn file_problems(module: &Module, info: &ModuleInfo) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, entry) in module.entry_points.iter().enumerate() {
        let name = &entry.name;
        let [x, y, z] = workgroup_size(module, entry);
        if x * y * z > MOST_INVOCATIONS {
            problems.push(format!("{name}: {x} x {y} x {z} invocations a workgroup are more than {MOST_INVOCATIONS}"));
        }
        let Some((table, row)) = row_of(name) else { continue };
        if [x, y, z] != table.workgroup {
            problems.push(format!("{name}: workgroup size [{x}, {y}, {z}], its row says {:?}", table.workgroup));
        }
        if row.bindings.len() > MOST_STORAGE_BUFFERS {
            problems.push(format!("{name}: {} storage buffers", row.bindings.len()));
        }
        let got = bindings(module, |variable| info.get_entry_point(index)[variable]);
        let mut want: BTreeMap<u32, String> = BTreeMap::from([(0, params_layout())]);
        want.extend((1..).zip(row.bindings.iter().map(wanted)));
        for number in got.keys().chain(want.keys()) {
            let [got, want] = [&got, &want].map(|map| map.get(number).map_or("nothing", String::as_str));
            let told = format!("{name}: binding {number} is {got}; its row says {want}");
            if got != want && !problems.contains(&told) {
                problems.push(told);
            }
        }
    }
    let shared = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx())).sum();
    if bytes > MOST_SHARED_BYTES {
        problems.push(format!("{bytes} bytes of workgroup memory"));
    }
    problems
}

/// What an entry point uses at each binding number of group 0, in words; a `use_of` variable that is empty is not used.
fn bindings(
    module: &Module,
    use_of: impl Fn(naga::Handle<naga::GlobalVariable>) -> GlobalUse,
) -> BTreeMap<u32, String> {
    let mut bindings = BTreeMap::new();
    for (handle, variable) in module.global_variables.iter() {
        let used = use_of(handle);
        let Some(binding) = &variable.binding else { continue };
        if used.is_empty() {
            continue;
        }
        let name = variable.name.as_deref().unwrap_or("?");
        let inner = &module.types[variable.ty].inner;
        let mut words = match variable.space {
            AddressSpace::Uniform => layout(module, inner),
            AddressSpace::Storage { access } => {
                let access = match access {
                    StorageAccess::LOAD => "read",
                    _ if used.contains(GlobalUse::WRITE) => "read_write",
                    _ => "read_write, never written,",
                };
                format!("{access} {name}: {}", element(module, inner))
            }
            other => format!("{name} in {other:?}"),
        };
        if binding.group != 0 {
            words.push_str(&format!(" in group {}", binding.group));
        }
        let before = bindings.insert(binding.binding, words);
        if let Some(before) = before {
            bindings.insert(binding.binding, format!("{before}, and {name} too"));
        }
    }
    bindings
}

/// What a row of the table wants, in the words of [`bindings`].
fn wanted(binding: &wgrad::kernel::Binding) -> String {
    let access = if binding.access == Access::In { "read" } else { "read_write" };
    let element = match binding.element {
        Element::F32 => "array<f32>",
        Element::U32 => "array<u32>",
        Element::F32x4 => "array<vec4<f32>>",
    };
    format!("{access} {}: {element}", binding.name)
}

fn scalar(module: &Module, ty: naga::Handle<naga::Type>) -> &'static str {
    match module.types[ty].inner {
        TypeInner::Scalar(scalar) if scalar.width == 4 => match scalar.kind {
            ScalarKind::Float => "f32",
            ScalarKind::Uint => "u32",
            _ => "another scalar",
        },
        _ => "no scalar",
    }
}

fn element(module: &Module, inner: &TypeInner) -> String {
    match inner {
        TypeInner::Array { base, size: naga::ArraySize::Dynamic, stride: 4 } => {
            format!("array<{}>", scalar(module, *base))
        }
        TypeInner::Array { base, size: naga::ArraySize::Dynamic, stride: 16 } => match module.types[*base].inner {
            TypeInner::Vector {
                size: naga::VectorSize::Quad,
                scalar: naga::Scalar { kind: ScalarKind::Float, width: 4 },
            } => "array<vec4<f32>>".to_owned(),
            _ => format!("{inner:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// Names, types and offsets of a structure's members.
fn layout(module: &Module, inner: &TypeInner) -> String {
    let TypeInner::Struct { members, span } = inner else { return format!("a uniform {inner:?}") };
    let member = |m: &naga::StructMember| {
        format!("{}: {} at {}", m.name.as_deref().unwrap_or("?"), scalar(module, m.ty), m.offset)
    };
    format!("uniform {{{}}} of {span} bytes", members.iter().map(member).collect::<Vec<_>>().join(", "))
}

/// The same of [`Params`].
fn params_layout() -> String {
    let fields: Vec<_> =
        Params::FIELDS.iter().enumerate().map(|(i, name)| format!("{name}: u32 at {}", 4 * i)).collect();
    format!("uniform {{{}}} of {} bytes", fields.join(", "), 4 * fields.len())
}

/// What the comment at the head of a file leaves out.
fn header_problems(name: &str, text: &str, module: &Module) -> Vec<String> {
    let header: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//")).map(str::trim_start).collect();
    let mut problems = Vec::new();
    for entry in &module.entry_points {
        let explained =
            |line: &&str| line.strip_prefix(&entry.name).is_some_and(|rest| rest.trim_start().starts_with(':'));
        if !header.iter().any(explained) {
            problems.push(format!("its head does not explain {}", entry.name));
        }
    }
    for wanted in [format!("{name}: "), format!("src/cpu/{}", twin(name))] {
        if !header.iter().any(|line| line.contains(&wanted)) {
            problems.push(format!("its head does not say '{wanted}'"));
        }
    }
    problems
}

/// The entry points that have no function in the Rust file.
fn twin_problems(twin: &str, twins: &[File], module: &Module) -> Vec<String> {
    let text = twins.iter().find(|(name, _)| name == twin).map_or("", |(_, text)| text);
    let missing = |name: &String| !["<", "("].iter().any(|after| text.contains(&format!("fn {name}{after}")));
    let entries = module.entry_points.iter().map(|entry| entry.name.replace("_registers", ""));
    entries.filter(missing).map(|name| format!("src/cpu/{twin} has no fn {name}")).collect()
}

/// Texts that stand in several files say so, and are the same there: from `// -- TITLE; the same text stands in A and B, ...`
/// to `// -- end of TITLE --`.
fn repeated_text_problems(files: &[File]) -> Vec<String> {
    let mut sections: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, text) in files {
        for (start, _) in text.match_indices("// -- ") {
            let Some((title, _)) = text[start..].split_once("; the same text stands in ") else { continue };
            let title = title.trim_start_matches("// -- ");
            if title.contains('\n') {
                continue;
            }
            match text[start..].split_once(&format!("// -- end of {title} --")) {
                Some((section, _)) => sections.entry(title.to_owned()).or_default().push((name, section)),
                None => problems.push(format!("{name}: '{title}' has no end")),
            }
        }
    }
    for title in [
        "ln(1 + e)",
        "elementary functions",
        "the activations",
        "the optimisers",
        "the cost of one output",
        "one row's cost and answer",
    ] {
        if !sections.contains_key(title) {
            problems.push(format!("no file has the text '{title}'"));
        }
    }
    for (title, copies) in &sections {
        let (_, first) = copies[0];
        let said = first.lines().next().unwrap_or_default();
        let mut said: Vec<_> = said.split([' ', ',']).filter(|word| word.ends_with(".wgsl")).collect();
        said.sort_unstable();
        let mut found: Vec<_> = copies.iter().map(|(name, _)| *name).collect();
        found.sort_unstable();
        if said != found {
            problems.push(format!("'{title}' says it stands in {said:?}; it is in {found:?}"));
        }
        let others = copies.iter().filter(|(_, text)| *text != first);
        problems.extend(others.map(|(name, _)| format!("{name}: '{title}' differs from that of {}", copies[0].0)));
    }
    problems
}

/// The structure that every kernel is told is written alike in all files, comments included.
fn params_text_problems(files: &[File]) -> Vec<String> {
    let text_of = |text: &str| {
        let (_, rest) = text.split_once("struct Params {")?;
        rest.split_once("var<uniform> p: Params;").map(|(params, _)| params.to_owned())
    };
    let first = text_of(&files[0].1);
    let differs = |(_, text): &&File| text_of(text).is_none() || text_of(text) != first;
    files.iter().filter(differs).map(|(name, _)| format!("{name}: another struct Params than {}", files[0].0)).collect()
}

// ---- the tests --------------------------------------------------------------------------------------------------

#[test]
fn shaders_are_as_the_table_says() {
    let found = problems(&files(), &twins());
    assert!(found.is_empty(), "{}", found.join("\n"));
    let bindings: usize = Kernel::ALL.iter().map(|kernel| kernel.info().bindings.len() + 1).sum();
    println!("{} files, {} kernels, {bindings} bindings", SHADERS.len(), Kernel::ALL.len());
    assert!(SHADERS.len() >= 6 && Kernel::ALL.len() >= 19);
}

#[test]
fn every_file_of_the_folder_is_in_the_list() {
    let mut there: Vec<_> = std::fs::read_dir(path("shaders"))
        .expect("the folder of shaders")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    there.sort();
    let mut listed: Vec<_> = SHADERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(there, listed);
    for (name, text) in SHADERS {
        let file = std::fs::read_to_string(path("shaders").join(name)).expect("a text");
        assert!(file == *text, "{name}");
    }
}

/// The table says how much workgroup memory an entry point has.
#[test]
fn workgroup_memory_is_as_the_table_says() {
    let mut most = 0;
    for kernel in Kernel::ALL {
        for tiling in [Tiling::GPU, Tiling::Registers] {
            let entry = kernel.entry(tiling);
            let text = SHADERS.iter().find(|(name, _)| *name == entry.file).expect("a file").1;
            let module = naga::front::wgsl::parse_str(text).expect("WGSL");
            let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
            let info = validator.validate(&module).expect("a valid module");
            let at = module.entry_points.iter().position(|point| point.name == entry.name).expect("an entry point");
            let used = info.get_entry_point(at);
            let bytes: u32 = module
                .global_variables
                .iter()
                .filter(|(handle, global)| global.space == AddressSpace::WorkGroup && !used[*handle].is_empty())
                .map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx()))
                .sum();
            assert_eq!(bytes, kernel.workgroup_bytes(tiling), "{} in {}", entry.name, entry.file);
            most = most.max(bytes);
        }
    }
    println!("{most} bytes of workgroup memory at most");
    assert_eq!(most, 8200);
}

#[test]
fn params_are_written_in_the_order_of_their_names() {
    let [rows, inputs, outputs, w, b, k_begin, k_end, activation, cost, format, count, rule, first] =
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
    let params = Params { rows, inputs, outputs, w, b, k_begin, k_end, activation, cost, format, count, rule, first };
    let debug = format!("{params:?}");
    for (name, word) in Params::FIELDS.iter().zip(params.words()) {
        assert!(debug.contains(&format!(" {name}: {word}")), "{name} is {word} of {debug}");
    }
}

/// A shader with one thing wrong, and what has to be said of it.
struct Control {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    said: &'static str,
}

const fn control(file: &'static str, from: &'static str, to: &'static str, said: &'static str) -> Control {
    Control { file, from, to, said }
}

#[test]
fn each_doctored_shader_is_reported() {
    let controls = [
        // A binding that is not there, is not used, has another number, access, element, name or group.
        control("update.wgsl", "gradients[e], e < p.b", "0.0, e < p.b", "update: binding 2 is nothing"),
        control(
            "update.wgsl",
            "@binding(3)",
            "@binding(7)",
            "update: binding 7 is read_write state: array<f32>; its row says nothing",
        ),
        control("update.wgsl", "read_write> params", "read> params", "update.wgsl: "),
        control(
            "update.wgsl",
            "read> gradients",
            "read_write> gradients",
            "update: binding 2 is read_write, never written, gradients",
        ),
        control("data.wgsl", "read_write> picked", "read> picked", "data.wgsl: "),
        control("data.wgsl", "order: array<u32>", "order: array<i32>", "data.wgsl: "),
        control("cost.wgsl", "rows: array<f32>", "rows: array<vec2<f32>>", "cost.wgsl: "),
        control("update.wgsl", "walk: array<u32>", "walk: array<u32, 8>", "update: binding 1 is read walk"),
        control("activation.wgsl", "product", "c", "hadamard: binding 3 is read_write c"),
        control("update.wgsl", "@group(0) @binding(2)", "@group(1) @binding(2)", "in group 1"),
        control(
            "matmul.wgsl",
            "sum = db[p.b + o]",
            "sum = out[p.b + o]",
            "bias_gradient: binding 3 is read_write, never written, out",
        ),
        // Sizes.
        control(
            "update.wgsl",
            "workgroup_size(64, 1, 1)",
            "workgroup_size(32, 1, 1)",
            "update: workgroup size [32, 1, 1]",
        ),
        control("data.wgsl", "workgroup_size(64, 1, 1)", "workgroup_size(64, 1, 2)", "gather: 64 x 1 x 2 invocations"),
        control("cost.wgsl", "spoilt: array<u32, 64>", "spoilt: array<u32, 4096>", "bytes of workgroup memory"),
        // What the kernels are told.
        control("matmul.wgsl", "w: u32,  ", "weights: u32,  ", "matmul.wgsl: "),
        control("update.wgsl", "k_end: u32,", "k_end: i32,", "update: binding 0 is uniform {"),
        control("update.wgsl", "    cost: u32,  ", "//", "of 48 bytes"),
        control("update.wgsl", "// B: rows a mini-batch can hold", "// rows", "another struct Params"),
        // Entry points.
        control("update.wgsl", "fn update(", "fn descend(", "descend: an entry point without a row"),
        control("update.wgsl", "fn update(", "fn descend(", "update: its row says update.wgsl, found in None"),
        control("update.wgsl", "fn update(", "fn hadamard(", "hadamard: its row says activation.wgsl, found in Some"),
        control(
            "update.wgsl",
            "@compute @workgroup_size(64, 1, 1)",
            "",
            "update: its row says update.wgsl, found in None",
        ),
        control("update.wgsl", "number(h + L2)", "number(4.5)", "update.wgsl: "),
        // Texts that have to be the same.
        control(
            "activation.wgsl",
            "abs(z) < 0.02",
            "abs(z) < 0.03",
            "dense.wgsl: 'the activations' differs from that of",
        ),
        control("output_error.wgsl", "first of equals", "last of equals", "'one row's cost and answer' differs"),
        control("cost.wgsl", "by its series", "by a series", "'ln(1 + e)' differs"),
        control("dense.wgsl", "x < -87.33654", "x < -88.0", "'elementary functions' differs"),
        control("output_error.wgsl", "may assume x == x", "may assume that x == x", "'the cost of one output' differs"),
        control("dense.wgsl", "The step of one parameter.", "One step.", "'the optimisers' differs"),
        control("dense.wgsl", "// -- end of the activations --", "", "dense.wgsl: 'the activations' has no end"),
        control(
            "dense.wgsl",
            "// -- the activations; the same text stands in",
            "//",
            "'the activations' says it stands in",
        ),
        // Comments.
        control("cost.wgsl", "// tally  ", "// tallied", "its head does not explain tally"),
        control("cost.wgsl", "src/cpu/cost.rs", "src/cpu/", "its head does not say 'src/cpu/cost.rs'"),
    ];
    for Control { file, from, to, said } in &controls {
        let mut files = files();
        let text = &mut files.iter_mut().find(|(name, _)| name == file).expect("a shader").1;
        let doctored = text.replace(from, to);
        assert!(*text != doctored, "{file} has no '{from}'");
        *text = doctored;
        let found = problems(&files, &twins());
        assert!(found.iter().any(|problem| problem.contains(said)), "'{from}' as '{to}' in {file}: {found:?}");
    }
    println!("negative controls: {} doctored shaders reported", controls.len());
}

/// Members in another order have the same types at the same offsets: only the names tell.
#[test]
fn members_in_another_order_are_reported_for_every_kernel_of_the_file() {
    let mut files = files();
    let text = &mut files.iter_mut().find(|(name, _)| name == "dense.wgsl").expect("a shader").1;
    let doctored =
        text.replace("    inputs: u32, ", "    xxx: u32, ").replace("    outputs: u32, ", "    inputs: u32, ");
    *text = doctored.replace("    xxx: u32, ", "    outputs: u32, ");
    let found = problems(&files, &twins());
    for kernel in Kernel::ALL.iter().filter(|kernel| kernel.info().file == "dense.wgsl") {
        let said =
            format!("{}: binding 0 is uniform {{rows: u32 at 0, outputs: u32 at 4, inputs: u32 at 8", kernel.name());
        assert!(found.iter().any(|problem| problem.contains(&said)), "{said}: {found:?}");
    }
}

#[test]
fn missing_twins_are_reported() {
    for kernel in Kernel::ALL {
        let row = kernel.info();
        let mut twins = twins();
        let twin = twin(row.file);
        for (_, text) in twins.iter_mut().filter(|(name, _)| *name == twin) {
            for after in ["<", "("] {
                *text = text.replace(&format!("fn {}{after}", row.name), &format!("fn other{after}"));
            }
        }
        let found = problems(&files(), &twins);
        // Each shader file that computes it says so.
        let files = [Tiling::GPU, Tiling::Registers].map(|tiling| kernel.entry(tiling).file);
        let files: std::collections::BTreeSet<_> = files.into_iter().collect();
        let want: Vec<_> = files.iter().map(|file| format!("{file}: src/cpu/{twin} has no fn {}", row.name)).collect();
        assert_eq!(found, want);
    }
}
