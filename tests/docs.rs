//! What README.md and ARCHITECTURE.md say of the code, held to the code.

use std::path::Path;

use wgrad::kernel::{Access, Kernel};
use wgrad::plan::{Format, Goal, Limits, Plan, PlanKind, Request, Source};
use wgrad::{Activation, Cost, Device, Network};

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The step of a mini-batch of 10 for 784-30-10, as ARCHITECTURE.md lists it: label, kernel, what it reads -> what it writes.
fn listing(kind: PlanKind) -> String {
    let net = Network::new(784).dense(30, Activation::Sigmoid).dense(10, Activation::Sigmoid);
    let net = net.build(&Device::cpu()).expect("a network that can be");
    let source = Source::Dataset { len: 60_000, inputs: Format::U8, targets: Format::Label };
    let request = net.request(Goal::Train, Cost::Quadratic, source, 10);
    let plan = Plan::new(kind, &Request { limits: Limits::default(), ..request }).expect("a plan that can be");
    let line = |(number, step): (usize, &wgrad::plan::Step)| {
        let names = |wanted: &[Access]| {
            let bound = step.kernel.info().bindings.iter().zip(&step.bindings);
            let bound = bound.filter(|(binding, _)| wanted.contains(&binding.access));
            bound.map(|(_, id)| plan.buffers[id.0].name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (read, written) = (names(&[Access::In]), names(&[Access::Out, Access::InOut, Access::Scratch]));
        format!("{:>2}  {:<36}{:<17}{read} -> {written}\n", number + 1, step.label, step.kernel.name())
    };
    plan.steps.iter().enumerate().map(line).collect()
}

#[test]
fn the_steps_of_every_plan_are_as_listed() {
    let architecture = text("ARCHITECTURE.md");
    for kind in PlanKind::ALL {
        let listing = listing(kind);
        assert!(
            architecture.contains(&listing),
            "ARCHITECTURE.md lists other steps than the {kind} plan has:\n{listing}"
        );
    }
}

/// The words between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn files_that_are_named_exist() {
    let mut count = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = text(document);
        let named = code(&text).filter(|word| {
            ["src/", "shaders/", "tests/", "examples/", "scripts/", "docs/"].iter().any(|front| word.starts_with(front))
                && !word.contains([' ', '*', '<'])
        });
        for path in links(&text).chain(named) {
            count += 1;
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{document} names {path}");
        }
    }
    assert!(count > 30, "only {count} names were found");
}

/// The targets of links to files of this repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|target| !target.contains("://") && !target.starts_with('#'))
}

#[test]
fn files_that_are_linked_are_in_the_package() {
    let manifest = text("Cargo.toml");
    let excluded = manifest.lines().find(|line| line.starts_with("exclude = ")).expect("a list");
    let excluded: Vec<&str> = excluded.split('"').skip(1).step_by(2).map(|path| path.trim_start_matches('/')).collect();
    let mut count = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"] {
        for link in links(&text(document)) {
            count += 1;
            let out = excluded.iter().find(|out| Path::new(link).starts_with(out));
            assert!(out.is_none(), "{document} links {link}, and the package leaves out {out:?}");
        }
    }
    assert!(count >= 8, "only {count} links were found");
}

#[test]
fn the_map_has_every_file() {
    let architecture = text("ARCHITECTURE.md");
    let mut count = 0;
    for folder in [
        "src",
        "src/checkpoint",
        "src/cpu",
        "src/data",
        "src/export",
        "src/export/onnx",
        "src/gpu",
        "src/network",
        "src/plan",
        "src/plot",
        "src/train",
        "src/verify",
        "src/verify/maker",
        "shaders",
        "examples",
    ] {
        let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder");
        for entry in entries {
            let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
            if [".rs", ".wgsl"].iter().any(|end| name.ends_with(end)) && name != "mod.rs" {
                count += 1;
                let listed = code(&architecture).any(|word| word == name || word == format!("{folder}/{name}"));
                assert!(listed, "ARCHITECTURE.md says nothing of {folder}/{name}");
            }
        }
    }
    assert!(count > 45, "only {count} files were found");
}

/// The table of equations: every function of the reference exists, and every kernel and no other name stands in it.
#[test]
fn the_equations_are_where_the_readme_says() {
    let readme = text("README.md");
    let table = readme.split("## The equations in the code").nth(1).expect("a section on the equations");
    let table = table.split("\n## ").next().expect("its text");
    let reference = text("src/reference.rs");
    let mut kernels = 0;
    for row in
        table.lines().filter(|line| line.starts_with("| (") || line.starts_with("| BP") || line.starts_with("| update"))
    {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for name in code(cells[3]) {
            assert!(reference.contains(&format!("fn {name}(")), "src/reference.rs has no fn {name}");
        }
        for name in code(cells[4]).chain(code(cells[5])) {
            assert!(Kernel::ALL.iter().any(|kernel| kernel.name() == name), "no kernel is called {name}");
            kernels += 1;
        }
    }
    assert!(kernels >= 15, "only {kernels} kernels were found in the table");
}
