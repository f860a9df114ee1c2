//! A process that is killed at any moment leaves a file from which the run ends as it would have.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wgrad::plan::PlanKind;
use wgrad::{Adam, Checkpoints, Cost, Dataset, Device, History, Network, Trainer};

use crate::common::nets::Numbers;
use crate::make::{bits, data, net, timeless};

/// The variable by which a child knows that it is one, and where it saves.
const FILE: &str = "WGRAD_TEST_KILL_FILE";

fn digits() -> Dataset {
    data(997, 5)
}

fn trainer() -> Trainer<'static> {
    Trainer::new(Cost::BinaryCrossEntropy, Adam::new(1e-3)).batch_size(4).epochs(2).seed(3)
}

fn checkpoints(file: &Path) -> Checkpoints {
    Checkpoints::new(file).every_steps(7).keep_last(2)
}

/// Trains to the end, from the file if it is there, with saves or without.
fn to_its_end(file: &Path, saves: bool) -> (Network, History) {
    let device = Device::cpu();
    let (mut net, mut trainer) = match file.exists() {
        true => Trainer::resume(file, &device).expect("a whole checkpoint"),
        false => (net(&device, PlanKind::Fused, 0.25), trainer()),
    };
    if saves {
        trainer = trainer.checkpoints(checkpoints(file));
    }
    let history = trainer.fit(&mut net, &digits(), None).expect("a run");
    (net, timeless(history))
}

/// What the child process runs.
#[test]
fn child() {
    if let Some(file) = std::env::var_os(FILE) {
        to_its_end(Path::new(&file), true);
    }
}

/// The newest file after each kill is the start of the next process, so that a run is killed many times over; a run that came to
/// its end begins anew.
#[test]
#[cfg(unix)]
fn killed_at_random_moments() {
    use std::os::unix::process::ExitStatusExt;
    let wanted = match std::env::var("WGRAD_KILLS") {
        Ok(number) => number.parse().expect("WGRAD_KILLS is a number"),
        Err(_) => 200,
    };
    let device = Device::cpu();
    let mut whole = net(&device, PlanKind::Fused, 0.25);
    let want = timeless(trainer().fit(&mut whole, &digits(), None).expect("a run"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.st");
    let program = std::env::current_exe().expect("a path");
    let child = || {
        let mut command = Command::new(&program);
        command.args(["--exact", "kill::child", "--test-threads=1"]).env(FILE, &file);
        command.stdout(Stdio::null()).spawn().expect("a child")
    };

    // How long a whole run takes in a child; the first one is let be, and tells.
    let mut takes = Duration::from_secs(60);
    let mut numbers = Numbers(8);
    let (mut kills, mut ends, mut within, mut fresh) = (0, 0, 0, 0);
    while kills < wanted {
        let is_whole = !file.exists();
        let (mut child, began) = (child(), Instant::now());
        let moment = takes.mul_f64(f64::from(numbers.unit()));
        while began.elapsed() < moment {
            if child.try_wait().expect("a status").is_some() {
                if is_whole {
                    takes = began.elapsed();
                }
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("a child to kill");
        let status = child.wait().expect("a status");
        if status.signal().is_none() {
            assert!(status.success(), "the child failed: {status}");
            ends += 1;
        } else {
            kills += 1;
        }
        if file.exists() {
            // It loads, whatever the moment was.
            let (resumed, _) = Trainer::resume(&file, &device).unwrap_or_else(|error| panic!("kill {kills}: {error}"));
            within += usize::from(resumed.optimizer_steps() % 250 != 0);
        } else {
            fresh += 1;
        }
        let (net, history) = to_its_end(&file, false);
        assert!(bits(&net) == bits(&whole), "kill {kills}: other bits in the end");
        assert_eq!(history, want, "kill {kills}");
        if status.signal().is_none() {
            std::fs::remove_file(&file).expect("a finished run");
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    println!(
        "{kills} kills and {ends} ends in {takes:?} each: {within} files within an epoch, {fresh} times none yet; left: {left:?}"
    );
    assert!(within * 2 > wanted, "most kills are to fall within epochs: {within} of {wanted}");
    let temporary = left.iter().filter(|name| name.to_string_lossy().starts_with(".wgrad-")).count();
    assert!(temporary <= 2, "what killed processes left is swept up by the next: {left:?}");
}
