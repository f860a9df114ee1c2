//! What the examples share: how they print, and how they end.
#![allow(dead_code, reason = "each example uses its part")]

use std::fmt::Arguments;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::exit;

use wgrad::Error;

/// Prints to standard output. Where nobody reads it any more (`| head -1`) the program ends in silence, as others do;
/// `println!` would panic.
pub fn print(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(error) => fail(&format!("cannot write the output: {error}"), 1),
    }
}

/// `println!` by way of [`print`].
macro_rules! say {
    ($($argument:tt)*) => { crate::common::print(format_args!("{}\n", format_args!($($argument)*))) };
}
pub(crate) use say;

/// Ends the program with a message on standard error.
pub fn fail(message: &str, code: i32) -> ! {
    // If standard error is closed, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {message}");
    exit(code)
}

/// As [`fail`], with the exit code that fits: 2 for what was asked for, 1 for what went wrong on the way or is wrong with a
/// file.
pub fn fail_with(error: &Error) -> ! {
    let code = match error {
        Error::Diverged { .. }
        | Error::Device { .. }
        | Error::OutOfMemory { .. }
        | Error::DeviceLost { .. }
        | Error::NotRecovered { .. }
        | Error::Timeout { .. }
        | Error::Gpu { .. }
        | Error::Disagreement(_)
        | Error::WrongStep { .. }
        | Error::File { .. } => 1,
        _ => 2,
    };
    fail(&error.to_string(), code)
}

/// Reads a share, at least 0 and below 1.
pub fn share(word: &str) -> Result<f32, &'static str> {
    let number = word.parse().ok().filter(|number| (0.0..1.0).contains(number));
    number.ok_or("must be a number, at least 0 and below 1")
}

/// Ends the program unless files can be written there, as far as can be told without it: a path that cannot be written is to
/// cost nobody an hour. What is there stays as it is until there is something to put in its place.
pub fn expect_writable<'a>(paths: impl IntoIterator<Item = &'a Path>) {
    for path in paths {
        probe(path).unwrap_or_else(|error| fail(&format!("cannot write {}: {error}", path.display()), 2));
    }
}

fn probe(path: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        // A pipe's reader would take it for the end.
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(()),
        // A symbolic link to what is not there yet is written through.
        Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            std::fs::remove_file(path)
        }
        _ => OpenOptions::new().append(true).open(path).map(drop),
    }
}

/// Ends the program where two options name one file, so that one would take the place of the other.
pub fn expect_different<'a>(files: impl IntoIterator<Item = (&'static str, &'a Path)>) {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (option, path) in files {
        let place = place(path);
        if let Some((other, _)) = seen.iter().find(|(_, there)| *there == place) {
            fail(&format!("{other} and {option} are one file, {}; name another for one of them", path.display()), 2);
        }
        seen.push((option, place));
    }
}

/// A path as it is told from others: by the file where there is one, else by the folder and the name.
fn place(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let by_folder = || Some(std::fs::canonicalize(parent).ok()?.join(path.file_name()?));
    std::fs::canonicalize(path).ok().or_else(by_folder).unwrap_or_else(|| path.to_owned())
}

/// Makes the folder where it is missing, and ends the program unless files can be made in it.
pub fn expect_folder(folder: &Path) {
    if let Err(error) = std::fs::create_dir_all(folder) {
        fail(&format!("cannot make the folder {}: {error}", folder.display()), 2);
    }
    let probed = probe(&folder.join(format!(".wgrad-probe-{}", std::process::id())));
    probed.unwrap_or_else(|error| fail(&format!("cannot write to the folder {}: {error}", folder.display()), 2));
}

/// Writes a file, or ends the program.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    let written = std::fs::write(path, content);
    written.unwrap_or_else(|error| fail(&format!("cannot write {}: {error}", path.display()), 1));
}

/// Whole numbers with a comma every three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Random numbers that are the same every time: the `SplitMix64` of Steele, Lea and Flood.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to 1.
    pub fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[allow(clippy::cast_precision_loss, reason = "24 bits are exact")]
        let number = ((z ^ z >> 31) >> 40) as f32;
        number / 16_777_216.0
    }

    /// Of the standard normal distribution, by Box and Muller.
    pub fn normal(&mut self) -> f32 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    }
}
