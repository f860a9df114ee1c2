//! Other systems at the same work, where their programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::fail;

/// What runs every peer but those in Rust.
const PROGRAM: &str = "python_peers.py";

/// The folder of the programs: `python_peers.py WHICH SIZES BATCH STEPS`, and `burn_candle WHICH SIZES BATCH STEPS` where it was
/// built. Each prints `NAME SIZES bBATCH : STEPS steps/s, ...`.
pub struct Peers {
    folder: PathBuf,
    python: PathBuf,
}

impl Peers {
    /// Ends the program where there are none in the folder, or no Python: that is known before hours of measuring.
    pub fn new(folder: &Path, python: &Path) -> Self {
        let program = folder.join(PROGRAM);
        if !program.is_file() {
            fail(&format!("--peers: there is no {}", program.display()), 2);
        }
        if let Err(error) = Command::new(python).arg("--version").output() {
            fail(&format!("--python: cannot run {}: {error}", python.display()), 2);
        }
        Self { folder: folder.to_owned(), python: python.to_owned() }
    }

    /// Steps a second of one of them, or why there are none.
    pub fn run(&self, which: &str, sizes: &str, batch: usize, steps: usize) -> Result<f64, String> {
        let mut command = if which.starts_with("burn") || which == "candle" {
            Command::new(self.folder.join("burn_candle"))
        } else {
            let mut command = Command::new(&self.python);
            command.arg(self.folder.join(PROGRAM));
            command
        };
        let output = command.args([which, sizes, &batch.to_string(), &steps.to_string()]).output();
        let output = output.map_err(|error| format!("{which} is missing: {error}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(format!("{which} is missing: {last}"));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split(" : ").nth(1).and_then(|rest| rest.split(" steps/s").next()?.trim().parse().ok());
        number.ok_or_else(|| format!("{which} printed no steps/s: {text}"))
    }
}
