//! Failures of a real driver: a Vulkan driver in between, `lose.c`, says in the place of the nth call of a function that the device is
//! lost, or that there is no memory. That goes the whole way through wgpu, the panic inside its `Device::poll` included.
//!
//! It needs Linux, a C compiler and Mesa's lavapipe; without them it says SKIPPED. Each run is a process of its own.

#![cfg(all(feature = "gpu", feature = "blocking", target_os = "linux"))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what became of the runs is the result of this test")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wgrad::plan::PlanKind;
use wgrad::{Activation, Adam, Cost, Dataset, Device, Event, Network, Recovery, Result, Trainer};

/// What a driver may answer.
const LOST: i32 = -4;
const NO_MEMORY: i32 = -2;

/// After this wgpu panics where nobody expects it: see `LastHandle` in `src/gpu/context.rs`.
const END: (&str, i32) = ("vkEndCommandBuffer", NO_MEMORY);

/// What the driver says where all that it made was given back.
const NOTHING: &str = "0 devices 0 memories 0 buffers 0 command pools";

/// The run, in a process whose driver fails.
#[test]
#[ignore = "the other test runs it, in a process of its own"]
fn a_run() {
    let run = || -> Result<(Vec<f32>, usize)> {
        let numbers = |seed: u16, count: u16| (0..count).map(move |i| f32::from((i * 37 + seed) % 101) / 101.0);
        let data = Dataset::new(numbers(1, 120).collect(), 6, numbers(7, 40).collect(), 2)?;
        let device = Device::with_adapter("vulkan:llvmpipe")?;
        let mut net = Network::new(6).dense(3, Activation::Tanh).dense(2, Activation::Sigmoid).seed(3);
        net = net.plan(PlanKind::Fused);
        let mut net = net.build(&device)?;
        let mut recovered = 0;
        Trainer::new(Cost::Quadratic, Adam::new(0.05))
            .batch_size(7)
            .epochs(2)
            .recovery(Recovery::default().every(Duration::ZERO).pause(Duration::ZERO))
            .on_event(|event| {
                recovered += usize::from(matches!(event, Event::Recovered { .. }));
                ControlFlow::Continue(())
            })
            .fit(&mut net, &data, Some(&data))?;
        Ok((net.parameters()?, recovered))
    };
    match run() {
        Ok((parameters, recovered)) => {
            let bits: Vec<_> = parameters.iter().map(|w| format!("{:08x}", w.to_bits())).collect();
            println!("\nEND {recovered} {}", bits.join(""));
        }
        Err(error) => println!("\nERROR {}", format!("{error:?}").replace('\n', " ")),
    }
}

/// A run on more data than the driver may have memory for, in a process of its own.
#[test]
#[ignore = "the other test runs it, in a process of its own"]
fn a_large_run() {
    let run = || -> Result<(Vec<f32>, bool)> {
        // 125 MiB of inputs, which are one buffer, and 63 of targets.
        const ROWS: u32 = 4_100_000;
        let numbers = |seed: u32, count: u32| -> Vec<f32> {
            let bits = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16;
            (0..count).map(|i| f32::from(u16::try_from(bits(i)).unwrap_or(0)) / 65_536.0).collect()
        };
        let data = Dataset::new(numbers(1, 8 * ROWS), 8, numbers(7, 4 * ROWS), 4)?;
        let device = Device::with_adapter("vulkan:llvmpipe")?;
        let net = Network::new(8).dense(4, Activation::Sigmoid).seed(3).plan(PlanKind::Fused);
        let mut net = net.build(&device)?;
        let mut trainer = Trainer::new(Cost::Quadratic, Adam::new(0.05)).batch_size(1 << 16).epochs(1);
        let history = trainer.fit(&mut net, &data, None)?;
        Ok((net.parameters()?, history.streamed))
    };
    match run() {
        Ok((parameters, streamed)) => {
            let bits: Vec<_> = parameters.iter().map(|w| format!("{:08x}", w.to_bits())).collect();
            println!("\nEND {streamed} {}", bits.join(""));
        }
        Err(error) => println!("\nERROR {}", format!("{error:?}").replace('\n', " ")),
    }
}

/// The driver in between, and the file that has the loader take it; `None` where it cannot be made.
fn driver(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let real = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/libvulkan_lvp.so")))
        .into_iter()
        .find(|path| path.exists())?;
    let (library, manifest) = (folder.join("liblose.so"), folder.join("lose.json"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/driver/lose.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    if !compiled.is_ok_and(|status| status.success()) {
        return None;
    }
    let text = format!(
        r#"{{"ICD": {{"api_version": "1.1.230", "library_path": "{}"}}, "file_format_version": "1.0.0"}}"#,
        library.display()
    );
    std::fs::write(&manifest, text).ok()?;
    Some((manifest, real))
}

/// What a process said: its last line, whether the driver failed it, and whether wgpu panicked on the way.
struct Said {
    end: String,
    struck: bool,
    panicked: bool,
    in_poll: bool,
    /// What the driver made and did not get back.
    left: String,
    /// How often memory was asked for that the driver does not have.
    no_room: usize,
}

/// The run with a driver that fails the nth call, or none.
fn run(manifest: &Path, real: &Path, fault: Option<(&str, usize, i32)>) -> Said {
    let mut with = Vec::new();
    if let Some((call, nth, result)) = fault {
        with = vec![("WGRAD_CALL", call.to_owned()), ("WGRAD_NTH", nth.to_string())];
        with.push(("WGRAD_RESULT", result.to_string()));
    }
    process("a_run", manifest, real, &with)
}

/// One of the ignored tests in a process with this driver and these variables.
fn process(test: &str, manifest: &Path, real: &Path, with: &[(&str, String)]) -> Said {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--ignored", "--nocapture"]).env("VK_DRIVER_FILES", manifest);
    command.env("VK_ICD_FILENAMES", manifest).env("WGRAD_DRIVER", real).env_remove("RUST_BACKTRACE");
    command.envs(with.iter().map(|(name, value)| (name, value)));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let start = Instant::now();
    while child.try_wait().expect("a state").is_none() {
        if start.elapsed() > Duration::from_secs(120) {
            let _ = child.kill();
            panic!("{with:?}: the run hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("its output");
    let [out, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{with:?}: {}\n{out}\n{errors}", output.status);
    let end = out.lines().find(|line| line.starts_with("END ") || line.starts_with("ERROR "));
    let end = end.unwrap_or_else(|| panic!("{with:?}: {out}\n{errors}")).to_owned();
    Said {
        end,
        struck: errors.contains("struck: "),
        panicked: errors.contains("panicked at"),
        in_poll: errors.contains("Error in Device::poll"),
        left: errors.lines().find_map(|line| line.strip_prefix("left: ")).unwrap_or("nothing is known").to_owned(),
        no_room: errors.matches("no room: ").count(),
    }
}

#[test]
fn a_driver_that_fails_ends_in_the_same_bits_or_an_error_with_a_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((manifest, real)) = driver(folder.path()) else {
        assert!(
            std::env::var("WGRAD_REQUIRE_GPU").is_err() || !cfg!(target_arch = "x86_64"),
            "no C compiler, or no lavapipe"
        );
        return eprintln!("SKIPPED: failures of a real driver: no C compiler, or no lavapipe");
    };
    let undisturbed = run(&manifest, &real, None);
    let want = undisturbed.end.strip_prefix("END 0 ").expect("an undisturbed run").to_owned();
    assert!(!undisturbed.struck && want.len() == 8 * (6 * 3 + 3 + 3 * 2 + 2));
    assert_eq!(undisturbed.left, NOTHING, "of an undisturbed run");
    let stride = if std::env::var("WGRAD_FAULTS").is_ok_and(|value| value == "all") { 1 } else { 12 };
    println!(
        "| call | answers | injected | same bits | refused | wgpu panicked, inside poll |\n|---|---|---|---|---|---|"
    );
    let mut panics = 0;
    for (call, result) in [
        ("vkQueueSubmit", LOST),
        ("vkGetSemaphoreCounterValue", LOST),
        ("vkQueueWaitIdle", LOST),
        ("vkBeginCommandBuffer", LOST),
        ("vkEndCommandBuffer", LOST),
        END,
        ("vkAllocateMemory", NO_MEMORY),
        ("vkCreateBuffer", NO_MEMORY),
        ("vkCreateComputePipelines", NO_MEMORY),
    ] {
        let (mut same, mut refused, mut panicked, mut in_poll) = (0, 0, 0, 0);
        // Of buffer writes in the third call, and in every fourth from then on: those that wgpu panics after.
        let (first, stride) = if (call, result) == END { (3.min(stride), stride.min(4)) } else { (1, stride) };
        for nth in (first..).step_by(stride) {
            let said = run(&manifest, &real, Some((call, nth, result)));
            if !said.struck {
                break;
            }
            assert_eq!(said.left, NOTHING, "{call} {nth} {result}: a leak");
            panicked += usize::from(said.panicked);
            in_poll += usize::from(said.in_poll);
            if let Some(bits) = said.end.strip_prefix("END ").and_then(|end| end.split_once(' ')).map(|(_, bits)| bits)
            {
                assert!(bits == want, "{call} {nth}: other bits");
                same += 1;
            } else {
                let typed = ["DeviceLost", "OutOfMemory", "NotRecovered", "Device {", "NoAdapter", "Gpu {"];
                assert!(
                    typed.iter().any(|name| said.end.starts_with(&format!("ERROR {name}"))),
                    "{call} {nth}: {}",
                    said.end
                );
                refused += 1;
            }
        }
        println!("| {call} | {result} | {} | {same} | {refused} | {panicked}, {in_poll} |", same + refused);
        assert!(same + refused > 0, "{call}: nothing was injected");
        assert!((call, result) != END || panicked > in_poll, "no panic was provoked as a queue goes");
        panics += in_poll;
    }
    assert!(panics > 0, "no panic inside poll was provoked");
}

/// A driver that has no memory for a data set which should fit: it is streamed, and no bit is another. The unit tests have the like
/// everywhere, by faults that are injected; this is wgpu's own way there.
#[test]
#[ignore = "twenty seconds of two cores, and 700 MB"]
fn data_that_the_driver_has_no_memory_for_are_streamed() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((manifest, real)) = driver(folder.path()) else {
        return eprintln!("SKIPPED: a driver without memory: no C compiler, or no lavapipe");
    };
    let plenty = process("a_large_run", &manifest, &real, &[]);
    let want = plenty.end.strip_prefix("END false ").expect("a resident run").to_owned();
    assert!(plenty.no_room == 0 && want.len() == 8 * (8 * 4 + 4));
    // wgpu takes blocks of 64 and 128 MiB: inputs have one, and targets would need another.
    let few = process("a_large_run", &manifest, &real, &[("WGRAD_ROOM", (256_u64 << 20).to_string())]);
    println!("lavapipe with 256 MiB: {} times no memory; {}", few.no_room, few.end);
    assert!(few.no_room > 0 && !few.panicked, "{}", few.end);
    assert_eq!(few.end, format!("END true {want}"));
}
