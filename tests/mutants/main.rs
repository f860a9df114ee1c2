//! Whether the self-check finds faults: shaders with one fault each, every one of which it has to refuse or which has to be
//! explained.
//!
//! `WGRAD_MUTANTS=docs/mutants.md cargo test --release --test mutants -- --ignored --nocapture` runs all and writes the table; with
//! `WGRAD_MUTANTS_ONLY='cost.wgsl 153,dropout.wgsl'` it runs those alone whose file, line and operator begin like one of these.

#![cfg(all(feature = "blocking", feature = "gpu"))]
#![allow(clippy::print_stdout, reason = "the table is the result")]

#[path = "../common/mod.rs"]
mod common;
mod explained;
mod make;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use make::Mutant;
use wgrad::kernel::{SHADERS, Tiling};
use wgrad::verify::{SelfCheck, check_with_shader_async, with_shader};
use wgrad::{Device, Error};

/// One mutant in so many is run by everyone.
const SAMPLE: usize = 18;

/// The devices on which the files' kernels run.
struct Devices {
    ready: BTreeMap<bool, Device>,
    plain: Device,
    /// Whether the true shaders are checked and compiled first: that pays where many mutants share what is compiled.
    compiled: bool,
}

impl Devices {
    fn new(plain: Device, compiled: bool) -> Self {
        Self { ready: BTreeMap::new(), plain, compiled }
    }

    fn of(&mut self, file: &str) -> Device {
        // Whichever tiling the device would choose: as GPUs have it, but for the file that software adapters alone have, and for the one
        // whose loops over the outputs go round once with as many lanes as a GPU has.
        let tiled = !["dense_registers.wgsl", "output_layer.wgsl"].contains(&file);
        let (plain, compiled) = (&self.plain, self.compiled);
        let ready = self.ready.entry(tiled).or_insert_with(|| {
            let device = plain.clone().with_tiling(if tiled { Tiling::GPU } else { Tiling::Registers });
            // A true text in place of itself: run-time checks are on, as they are for the mutants, which share what is compiled here.
            let (name, text) = SHADERS[0];
            let device = with_shader(&device, name, text).expect("a file that there is");
            if compiled {
                let check = device.self_check().expect("the device runs every kernel");
                println!(
                    "{device}, {:?}: {} cases, {} pipelines",
                    device.limits().tiling,
                    check.cases(),
                    check.pipelines
                );
                check.result().unwrap_or_else(|error| panic!("without a fault: {error}"));
            }
            device
        });
        ready.clone()
    }
}

/// What became of a mutant.
enum Fate {
    Caught(String),
    /// No driver would take it.
    Refused(String),
    Survived,
}

fn fate(device: &Device, mutant: &Mutant) -> Fate {
    match pollster::block_on(check_with_shader_async(device, mutant.file, &mutant.text)) {
        Ok(check) => caught(&check).map_or(Fate::Survived, Fate::Caught),
        Err(Error::Gpu { message, .. }) => Fate::Refused(message.lines().next().unwrap_or_default().to_owned()),
        Err(error) => panic!("{} line {}: {error}", mutant.file, mutant.line),
    }
}

/// By what.
fn caught(check: &SelfCheck) -> Option<String> {
    if let Some(kernel) = check.kernels.iter().find(|kernel| !kernel.passed()) {
        let place = kernel.problem.clone().unwrap_or_else(|| kernel.place.clone());
        return Some(format!("{} case: {place}", kernel.kernel.name()));
    }
    let plan = check.plans.iter().find(|plan| !plan.passed())?;
    Some(format!("{} plan: {}", plan.plan, plan.problem.as_deref().unwrap_or_default()))
}

/// What became of some mutants.
#[derive(Default)]
struct Outcome {
    /// Rows of the table.
    table: String,
    caught: usize,
    of: usize,
    /// Survivors that compute the same as the true shader.
    harmless: usize,
    /// File, operator and line of each survivor.
    survivors: Vec<[String; 3]>,
    unexplained: Vec<String>,
}

impl Outcome {
    /// Survivors have to be explained.
    fn expect_explained(&self) {
        assert!(self.unexplained.is_empty(), "survivors that nobody explained:\n{}", self.unexplained.join("\n"));
    }
}

/// In percent.
fn share(part: usize, of: usize) -> String {
    format!("{:.1}", 100.0 * part as f64 / of as f64)
}

/// Runs these mutants.
fn run(mutants: &[Mutant], compiled: bool) -> Outcome {
    let adapters = common::adapters();
    let Some(device) = adapters.first() else { return Outcome::default() };
    let mut devices = Devices::new(device.clone(), compiled);
    let mut outcome = Outcome::default();
    for mutant in mutants {
        let Mutant { file, line, operator, now, .. } = mutant;
        let what = format!("`{file}` {line} | {operator} | `{}`", now.replace('|', "\\|"));
        let row = match fate(&devices.of(file), mutant) {
            Fate::Refused(why) => {
                println!("refused | {what} | {why}");
                continue;
            }
            Fate::Caught(by) => {
                outcome.caught += 1;
                format!("| {what} | {} |", by.replace('|', "\\|"))
            }
            Fate::Survived => {
                outcome.survivors.push([file, operator, now.as_str()].map(str::to_owned));
                match explained::of(file, operator, now) {
                    Some(why) => {
                        outcome.harmless += usize::from(why.starts_with("no fault"));
                        format!("| {what} | **survives**: {why} |")
                    }
                    None => {
                        outcome.unexplained.push(what.clone());
                        format!("| {what} | **survives** |")
                    }
                }
            }
        };
        outcome.of += 1;
        println!("{row}");
        writeln!(outcome.table, "{row}").expect("a text takes it");
    }
    println!("{device}: {} of {} mutants caught", outcome.caught, outcome.of);
    outcome
}

#[test]
fn a_sample_is_caught() {
    let (mutants, _) = make::all();
    // Those that survive take the longest, since nothing ends their check.
    let known = |mutant: &Mutant| explained::of(mutant.file, mutant.operator, &mutant.now).is_some();
    let sample: Vec<_> = mutants.into_iter().filter(|mutant| !known(mutant)).step_by(SAMPLE).collect();
    let outcome = run(&sample, false);
    outcome.expect_explained();
    let Outcome { caught, of, .. } = outcome;
    assert!(caught == of && (of >= 8 || common::adapters().is_empty()), "{caught} of {of}");
}

#[test]
fn every_shader_and_operator_has_mutants() {
    let (mutants, invalid) = make::all();
    println!("{} mutants, {invalid} texts that were no valid shader", mutants.len());
    for (file, text) in SHADERS {
        let of_file: Vec<_> = mutants.iter().filter(|mutant| mutant.file == *file).collect();
        println!("{file}: {}", of_file.len());
        assert!(of_file.len() >= 5, "{file} has only {} mutants", of_file.len());
        assert!(
            of_file.iter().all(|mutant| mutant.text.lines().count() == text.lines().count() && mutant.text != *text)
        );
    }
    assert!(mutants.len() >= 60);
}

#[test]
#[ignore = "takes many minutes; the table in docs/mutants.md is what it printed"]
fn all_are_caught() {
    let (mut mutants, _) = make::all();
    let only = std::env::var("WGRAD_MUTANTS_ONLY").ok();
    if let Some(only) = &only {
        let name = |mutant: &Mutant| format!("{} {} {}", mutant.file, mutant.line, mutant.operator);
        mutants.retain(|mutant| only.split(',').any(|front| name(mutant).starts_with(front.trim())));
        assert!(!mutants.is_empty(), "no mutant begins like '{only}'");
    }
    let outcome = run(&mutants, only.is_none());
    if only.is_some() {
        return outcome.expect_explained();
    }
    let Outcome { table, caught, of, harmless, .. } = &outcome;
    if let Ok(path) = std::env::var("WGRAD_MUTANTS") {
        let device = &common::adapters()[0];
        let head = include_str!("head.md")
            .replace("{caught}", &caught.to_string())
            .replace("{of}", &of.to_string())
            .replace("{share}", &share(*caught, *of))
            .replace("{harmless}", &harmless.to_string())
            .replace("{faults}", &(of - harmless).to_string())
            .replace("{of faults}", &share(*caught, of - harmless));
        let text = format!("{}{table}", head.replace("{device}", &device.to_string()));
        std::fs::write(path, text).expect("the file that was asked for");
    }
    outcome.expect_explained();
    let stale = explained::stale(&outcome.survivors);
    assert!(stale.is_empty(), "no survivor has these explanations any more:\n{}", stale.join("\n"));
    let faults = of - harmless;
    println!("{caught} of {of} ({} %), of {faults} faults {} %", share(*caught, *of), share(*caught, faults));
    assert!(faults >= 60 && caught * 100 >= faults * 95, "{caught} of {faults}");
}
