//! The Rust export: compiled by `rustc` without `std` and without a warning, and run.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use wgrad::{Activation, Device, Error, Network};

use crate::bound::{Worst, compare};
use crate::cases::{ROWS, cases};

/// `rustc`, with warnings as errors.
pub fn rustc(folder: &Path, arguments: &[&str]) {
    let program = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let mut command = Command::new(program);
    command.current_dir(folder).args(["--edition", "2024", "-D", "warnings", "-C", "opt-level=1"]).args(arguments);
    let done = command.output().expect("rustc");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "rustc {arguments:?}:\n{}",
        errors.get(..errors.len().min(4000)).unwrap_or_default()
    );
}

/// What a program in the folder prints, one number a line, as bits.
pub fn run(program: &Path) -> Vec<u32> {
    let done = Command::new(program).output().expect("the program");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).lines().map(|line| line.parse().expect("bits")).collect()
}

/// An array of numbers as Rust text, by their bits.
pub fn array(numbers: &[f32]) -> String {
    let bits: Vec<_> = numbers.iter().map(|x| format!("f32::from_bits({})", x.to_bits())).collect();
    format!("[{}]", bits.join(", "))
}

/// All cases as modules of one crate without `std`; a program that calls them prints the bits of what they return.
#[test]
fn the_modules_compute_what_predict_does() {
    let folder = tempfile::tempdir().unwrap();
    let (mut library, mut program) = ("#![no_std]\n".to_owned(), "extern crate nets;\nfn main() {\n".to_owned());
    let cases = cases();
    for case in &cases {
        std::fs::write(folder.path().join(format!("{}.rs", case.name)), case.net.to_rust().unwrap()).unwrap();
        let _ = writeln!(library, "pub mod {};", case.name);
        for x in case.x.chunks(case.net.inputs()) {
            let _ = writeln!(
                program,
                "    for a in nets::{}::forward(&{}) {{ println!(\"{{}}\", a.to_bits()); }}",
                case.name,
                array(x)
            );
        }
    }
    program.push_str("}\n");
    std::fs::write(folder.path().join("nets.rs"), library).unwrap();
    std::fs::write(folder.path().join("main.rs"), program).unwrap();
    rustc(folder.path(), &["--crate-type", "lib", "nets.rs"]);
    rustc(folder.path(), &["main.rs", "-L", "."]);

    let bits = run(&folder.path().join("main"));
    let mut rest: &[u32] = &bits;
    let mut worst = Worst::default();
    for case in &cases {
        let (here, later) = rest.split_at(ROWS * case.net.outputs());
        let got: Vec<f32> = here.iter().map(|&bits| f32::from_bits(bits)).collect();
        let seen = compare(&case.net, &case.x, &got).unwrap_or_else(|problem| panic!("{}: {problem}", case.name));
        worst.merge(seen);
        rest = later;
    }
    assert!(rest.is_empty());
    println!(
        "Rust export: {} networks, {} outputs, largest difference from predict {:.2e}, {:.3} of the bound",
        cases.len(),
        worst.values,
        worst.difference,
        worst.ratio
    );
    assert!(worst.ratio > 0.0);
}

/// As a private module of a program that calls `forward` alone, and by `include!`.
#[test]
fn a_program_can_have_it_as_a_module_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let net = Network::new(2).dense(3, Activation::Gelu).dense(2, Activation::Softmax).build(&Device::cpu()).unwrap();
    std::fs::write(folder.path().join("net.rs"), net.to_rust().unwrap()).unwrap();
    let program = "mod net;\nmod again { include!(\"net.rs\"); }\nfn main() {\n    \
                   for a in net::forward(&[0.5, -1.0]).into_iter().chain(again::forward(&[0.5, -1.0])) { println!(\"{}\", a.to_bits()); }\n}\n";
    std::fs::write(folder.path().join("main.rs"), program).unwrap();
    rustc(folder.path(), &["main.rs"]);
    let got: Vec<f32> = run(&folder.path().join("main")).into_iter().map(f32::from_bits).collect();
    compare(&net, &[0.5, -1.0, 0.5, -1.0], &got).unwrap();
}

#[test]
fn parameters_that_are_no_numbers_are_refused() {
    let mut net = Network::new(1).dense(1, Activation::Identity).build(&Device::cpu()).unwrap();
    // What a run that diverged leaves.
    let x = [f32::MAX; 1];
    for _ in 0..4 {
        net.update_mini_batch(&x, &[-f32::MAX], wgrad::Cost::Quadratic, wgrad::Sgd::new(1e30)).unwrap();
    }
    let error = net.to_rust().unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(error.to_string().starts_with("export to Rust: the parameters: value 0 is "), "{error}");
}

/// How long `rustc` takes for how many parameters: `cargo test --release --test export -- --ignored --nocapture rustc`.
#[test]
#[ignore = "a measurement"]
fn rustc_takes_so_long() {
    for wide in [100, 300, 1000, 1900] {
        let folder = tempfile::tempdir().unwrap();
        let net = Network::new(wide).dense(wide, Activation::Tanh).build(&Device::cpu()).unwrap();
        let text = net.to_rust().unwrap();
        std::fs::write(folder.path().join("net.rs"), &text).unwrap();
        let start = std::time::Instant::now();
        rustc(folder.path(), &["--crate-type", "lib", "net.rs"]);
        println!(
            "{} parameters: {} bytes of text, {:.1} s",
            net.parameter_count(),
            text.len(),
            start.elapsed().as_secs_f32()
        );
    }
}
