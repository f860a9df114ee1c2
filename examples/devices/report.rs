//! What was found, as files that one can attach to a bug report.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wgrad::verify::{KernelCheck, KernelChecks, SelfCheck, Worst};
use wgrad::{AdapterSummary, Device, Error, Result};

use crate::timing::Timing;

/// What was found of a device.
pub struct Checked {
    device: Device,
    pub self_check: Option<SelfCheck>,
    pub kernels: Option<KernelChecks>,
    pub timings: Vec<Timing>,
    /// What it reported.
    pub problems: Vec<String>,
}

impl Checked {
    pub fn new(device: &Device) -> Self {
        let (timings, problems) = (Vec::new(), Vec::new());
        Self { device: device.clone(), self_check: None, kernels: None, timings, problems }
    }

    pub fn fail(&mut self, error: &Error) {
        self.problems.push(error.to_string());
    }

    pub fn passed(&self) -> bool {
        let right = self.self_check.as_ref().is_some_and(SelfCheck::passed);
        right && self.problems.is_empty() && self.kernels.as_ref().is_none_or(KernelChecks::passed)
    }

    fn verdict(&self) -> &'static str {
        if self.passed() { "passed" } else { "FAILED" }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// Makes the folder, and sees whether files can be written there.
pub fn open(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    for name in ["report.md", "report.json"] {
        let path = folder.join(name);
        std::fs::File::create(&path).map_err(io(&path))?;
    }
    Ok(())
}

/// Writes both files, and says where.
pub fn write(folder: &Path, adapters: &[AdapterSummary], checked: &[Checked]) -> Result<[PathBuf; 2]> {
    let [markdown, json] = ["report.md", "report.json"].map(|name| folder.join(name));
    std::fs::write(&markdown, in_markdown(adapters, checked)).map_err(io(&markdown))?;
    std::fs::write(&json, format!("{:#}\n", in_json(adapters, checked))).map_err(io(&json))?;
    Ok([markdown, json])
}

/// What all of it ran on.
fn machine() -> [(&'static str, String); 4] {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        ("wgrad", env!("CARGO_PKG_VERSION").to_owned()),
        ("operating system", format!("{}, {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("cores", cores.to_string()),
        ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
    ]
}

/// What wgpu knows of an adapter, by name.
fn facts(adapter: &AdapterSummary) -> [(&'static str, String); 8] {
    let info = &adapter.info;
    [
        ("name", info.name.clone()),
        ("backend", info.backend.to_string()),
        ("type", format!("{:?}{}", info.device_type, if adapter.software { ", a software adapter" } else { "" })),
        ("vendor", format!("{:#06x}", info.vendor)),
        ("device", format!("{:#06x}", info.device)),
        ("bus", info.device_pci_bus_id.clone()),
        ("driver", info.driver.clone()),
        ("driver info", info.driver_info.clone()),
    ]
}

fn features(adapter: &AdapterSummary) -> Vec<&'static str> {
    adapter.features.iter_names().map(|(name, _)| name).collect()
}

/// Every limit by its name, from the words that wgpu has for them.
fn limits(adapter: &AdapterSummary) -> Vec<(String, String)> {
    let words = format!("{:?}", adapter.limits);
    let fields = words.trim_start_matches("Limits {").trim_end_matches('}').split(", ");
    fields
        .filter_map(|field| field.split_once(": "))
        .map(|(name, n)| (name.trim().to_owned(), n.trim().to_owned()))
        .collect()
}

fn in_markdown(adapters: &[AdapterSummary], checked: &[Checked]) -> String {
    let mut text = String::from("# wgrad: what this machine's devices compute\n\n");
    let mut say = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a text takes it");
    say(format_args!("| device | verdict | worst error of a kernel, 1 = its bound |\n|---|---|---|"));
    for checked in checked {
        let worst = of_kernels(checked).map(|kernel| kernel.worst.ratio).fold(0.0, f64::max);
        say(format_args!("| {} | {} | {worst:.3} |", checked.device, checked.verdict()));
    }
    say(format_args!("\n| | |\n|---|---|"));
    for (name, value) in machine() {
        say(format_args!("| {name} | {value} |"));
    }
    for checked in checked {
        let Checked { device, self_check, kernels, timings, problems } = checked;
        say(format_args!("\n## {device}: {}\n", checked.verdict()));
        for problem in problems {
            say(format_args!("FAILED: {problem}\n"));
        }
        say(format_args!("What the planner keeps to: `{:?}`\n", device.limits()));
        if let Some(check) = self_check {
            say(format_args!("### Self-check\n\n{check}"));
        }
        if let Some(kernels) = kernels {
            say(format_args!("### Every kernel on more shapes: {} cases\n", kernels.cases()));
            say(format_args!(
                "| kernel | cases | elements | worst error, 1 = its bound | where | |\n|---|--:|--:|--:|---|---|"
            ));
            for KernelCheck { kernel, cases, worst, place, left_out, .. } in &kernels.kernels {
                let Worst { elements, ratio, .. } = worst;
                let verdict = match left_out {
                    Some(why) => format!("left out: {why}"),
                    None if worst.passed() => String::new(),
                    None => format!("FAILED: {worst}"),
                };
                let name = kernel.name();
                say(format_args!("| {name} | {cases} | {elements} | {ratio:.4} | {place} | {verdict} |"));
            }
        }
        if !timings.is_empty() {
            say(format_args!("\n### Microseconds a step\n"));
            say(format_args!("| network | rows | plan | median | shortest | longest |\n|---|--:|---|--:|--:|--:|"));
            for Timing { sizes, batch, plan, chosen, us: [median, shortest, longest] } in timings {
                let mark = if *chosen { ", the device's choice" } else { "" };
                say(format_args!("| {sizes} | {batch} | {plan}{mark} | {median:.1} | {shortest:.1} | {longest:.1} |"));
            }
        }
    }
    for adapter in adapters {
        say(format_args!("\n## Adapter {} ({})\n\n| | |\n|---|---|", adapter.info.name, adapter.info.backend));
        for (name, value) in facts(adapter) {
            say(format_args!("| {name} | {value} |"));
        }
        say(format_args!("\nFeatures: {}\n\nLimits:\n", features(adapter).join(", ")));
        for (name, value) in limits(adapter) {
            say(format_args!("- {name}: {value}"));
        }
    }
    text
}

fn of_kernels(checked: &Checked) -> impl Iterator<Item = &KernelCheck> {
    let own = checked.self_check.iter().flat_map(|check| &check.kernels);
    own.chain(checked.kernels.iter().flat_map(|check| &check.kernels))
}

fn in_json(adapters: &[AdapterSummary], checked: &[Checked]) -> Value {
    let adapter = |adapter: &AdapterSummary| {
        let limits =
            limits(adapter).into_iter().map(|(name, n)| (name, n.parse::<u64>().map_or(json!(n), |n| json!(n))));
        json!({
            "facts": object(facts(adapter)),
            "software": adapter.software,
            "features": features(adapter),
            "limits": limits.collect::<serde_json::Map<_, _>>(),
        })
    };
    let one = |checked: &Checked| {
        let timing = |timing: &Timing| {
            let Timing { sizes, batch, plan, chosen, us: [median, shortest, longest] } = timing;
            json!({
                "sizes": sizes, "batch": batch, "plan": plan, "chosen": chosen,
                "us_per_step": { "median": median, "shortest": shortest, "longest": longest },
            })
        };
        json!({
            "device": checked.device.to_string(),
            "shaders_with_run_time_checks": checked.device.is_checked(),
            "planner_limits": format!("{:?}", checked.device.limits()),
            "passed": checked.passed(),
            "problems": checked.problems,
            "self_check": checked.self_check,
            "kernels": checked.kernels,
            "timings": checked.timings.iter().map(timing).collect::<Vec<_>>(),
        })
    };
    json!({
        "machine": object(machine()),
        "devices": checked.iter().map(one).collect::<Vec<_>>(),
        "adapters": adapters.iter().map(adapter).collect::<Vec<_>>(),
    })
}

fn object<const N: usize>(pairs: [(&'static str, String); N]) -> Value {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into()
}
