//! Every way this crate can refuse or fail, as one enum.
//!
//! A message names what was wrong, where, and what to do about it. Nothing that comes from outside (data, files,
//! configuration, the machine) panics.

use std::path::PathBuf;

use crate::{Activation, Cost};

/// The result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the values a caller needs to act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- configuration: found before any work starts -------------------------------------------------------------
    /// The network has no layers, or a layer of width zero, or its sizes do not fit in 32 bits.
    #[error("network: {problem}")]
    Architecture {
        /// What is wrong, naming the layer.
        problem: String,
    },
    /// This cost cannot be used with this output activation.
    #[error("cost {cost} does not go with {activation} outputs; {cost} goes with: {allowed}")]
    Pairing {
        /// The cost asked for.
        cost: Cost,
        /// The activation of the last layer.
        activation: Activation,
        /// The output activations that this cost goes with.
        allowed: String,
    },
    /// An option has a value outside its range.
    #[error("{option} is {value}; it must be {want}")]
    InvalidOption {
        /// The option's name, as in the builder.
        option: &'static str,
        /// The value given.
        value: String,
        /// The range allowed.
        want: &'static str,
    },
    /// More than one thing is wrong with a configuration. What is wrong alone is an error by itself.
    #[error("{} problems:{}", problems.len(), listed(problems))]
    Several {
        /// Each of them, at least two.
        problems: Vec<Self>,
    },
    /// A word that names no activation, cost, initialisation or plan.
    #[error("unknown {what} '{word}'; known: {known}")]
    UnknownName {
        /// What the word should have named.
        what: &'static str,
        /// The word given.
        word: String,
        /// All the words that would do.
        known: String,
    },

    // ---- data ----------------------------------------------------------------------------------------------------
    /// An array has the wrong number of elements or columns.
    #[error("{what}: expected {want}, got {got}")]
    Shape {
        /// Which array, and of which call.
        what: String,
        /// The shape needed, in words.
        want: String,
        /// The shape given, in words.
        got: String,
    },
    /// There are no rows to work on.
    #[error("{what} has no rows")]
    Empty {
        /// Which data set or array.
        what: String,
    },
    /// A class label is not below the number of classes.
    #[error("label {label} of row {row} is out of range: there are {classes} classes, numbered from 0")]
    Label {
        /// The row, from 0.
        row: usize,
        /// The label found there.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A target is none that the cost has a meaning for.
    #[error("{what}: the target of row {row}: {problem}, as {cost} needs")]
    Target {
        /// Which data set or array.
        what: String,
        /// The row, from 0.
        row: usize,
        /// The cost.
        cost: Cost,
        /// What is wrong with it.
        problem: String,
    },
    /// A row or a class has a weight that it cannot have.
    #[error("{what} {problem}")]
    Weight {
        /// Whose weight, and of which call.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that must be finite is NaN or infinite.
    #[error("{what}: value {index} is {value}; every value must be finite")]
    NotFinite {
        /// Which array.
        what: String,
        /// The element, from 0, row by row.
        index: usize,
        /// The value found.
        value: f32,
    },

    // ---- files ---------------------------------------------------------------------------------------------------
    /// The operating system refused to open, read or write a file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is not what its format says it must be.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
    },

    /// A network has something that the format it is exported to cannot say, or has no room for.
    #[error("export to {format}: {problem}")]
    Export {
        /// Which format.
        format: &'static str,
        /// What it cannot say, and what to do.
        problem: String,
    },
    /// A node of an ONNX graph does what this crate's networks do not.
    #[error("{model}: node '{node}' ({operator}): {problem}; supported are {supported}", model = model.display())]
    Operator {
        /// The file, or the name that the bytes were given.
        model: PathBuf,
        /// The node's name, or that of its output where it has none.
        node: String,
        /// The operator, with its domain where that is not ONNX's own.
        operator: String,
        /// What is the matter with it.
        problem: String,
        /// The operators that are taken.
        supported: &'static str,
    },

    /// A table, or a field of it, cannot be used as it is.
    #[error("{place}: {problem}")]
    Table {
        /// Which table, and where in it.
        place: Place,
        /// What is wrong there, and what to do.
        problem: String,
    },

    // ---- training ------------------------------------------------------------------------------------------------
    /// The cost became NaN or infinite. The network keeps its parameters, which can be read and looked at.
    #[error(
        "training diverged: the cost became {cost} in epoch {epoch}, step {step} (both counted from 1); \
         a smaller learning rate usually helps"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The mini-batch within the epoch, from 1.
        step: usize,
        /// The value of the cost there.
        cost: f32,
    },

    /// The device was lost, and the run could not go on with another. The network is on the CPU backend now, with the parameters and the
    /// optimiser's memory of the last state that was kept; see [`Recovery`](crate::Recovery).
    #[error(
        "training stopped in epoch {epoch}, after step {step} (both counted from 1): {source}; {tries}; the network has its \
         state of then, on the CPU backend{saved}",
        tries = match problem {
            Some(problem) => format!("{retries} tries to go on failed, the last with: {problem}"),
            None if *retries > 0 => format!("{retries} tries to go on failed"),
            None => "there was no other device to go on with".to_owned(),
        },
        saved = saved.as_ref().map_or_else(String::new, |path| format!(", and so has the checkpoint {}", path.display()))
    )]
    NotRecovered {
        /// The epoch of that state, from 1.
        epoch: usize,
        /// Mini-batches of the epoch that were done then.
        step: usize,
        /// How often a new device was asked for, or tried, since there was progress.
        retries: u32,
        /// The checkpoint with the run as it was then, where checkpoints are on and it could be written.
        saved: Option<PathBuf>,
        /// What the last try failed with, where there was one.
        problem: Option<String>,
        /// What ended the training.
        source: Box<Error>,
    },

    /// The device was lost before anything of the run was kept, and the network's numbers were on it alone: it had been trained on since it
    /// was built, loaded or given its parameters, or it has too many for a copy (more than 2^24). They are gone.
    #[error(
        "{source}; the parameters, or what the optimiser remembers, were on that device alone and are lost with it: build or load the \
         network again, on another device (Device::reopen)"
    )]
    ParametersLost {
        /// What the device failed with.
        source: Box<Error>,
    },

    /// A step of training came out otherwise than on the CPU: see [`Trainer::verify_every`](crate::Trainer::verify_every). The network
    /// has the parameters that the device computed.
    #[error(
        "epoch {epoch}, step {step} (both counted from 1) disagrees with the CPU: {what}, element {index}: got {got:e}, want {want:e} \
         +- {bound:e}; do not trust this device, see Device::self_check, and report it"
    )]
    WrongStep {
        /// The epoch, from 1.
        epoch: usize,
        /// The mini-batch within the epoch, from 1.
        step: usize,
        /// The part of the step that is off, with the buffer.
        what: String,
        /// The element of that buffer that is furthest off, from 0.
        index: usize,
        /// What the device has there.
        got: f64,
        /// What the reference has there.
        want: f64,
        /// How far the two may be apart.
        bound: f64,
    },

    // ---- devices -------------------------------------------------------------------------------------------------
    /// No adapter fits what was asked for.
    #[error("no adapter fits '{wanted}'; found: {found}")]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The adapters that exist, or why there are none.
        found: String,
    },
    /// The adapter exists but gave no device.
    #[error("adapter {adapter}: {problem}")]
    Device {
        /// The adapter's name.
        adapter: String,
        /// What it said.
        problem: String,
    },
    /// The work needs more than the adapter allows.
    #[error("{what} needs {need}, but the limit {limit} of this device is {have}; {advice}")]
    Limit {
        /// What needs it.
        what: String,
        /// The limit's name, as in WebGPU where it has one.
        limit: &'static str,
        /// How much is needed.
        need: u64,
        /// How much there is.
        have: u64,
        /// What the user can do.
        advice: &'static str,
    },
    /// The device, or the host, has no memory left for a buffer.
    #[error("out of memory: {what} needs {bytes} bytes; use a smaller batch, data set or network, or another device")]
    OutOfMemory {
        /// The buffer.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// The device is gone: reset by its driver, unplugged, or destroyed by the application.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },
    /// The device did not finish in time.
    #[error("the device did not answer within {seconds} s while waiting for {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The graphics interface reported an error that this crate did not expect.
    #[error("graphics interface, during {during}: {message}")]
    Gpu {
        /// What was being done.
        during: String,
        /// What it said.
        message: String,
    },
    /// A chart could not be drawn.
    #[error("chart: {0}")]
    Chart(String),
    /// Two backends disagree, or a kernel is further from the reference than its bound.
    #[error("{0}")]
    Disagreement(String),
}

/// A line for each.
fn listed(problems: &[Error]) -> String {
    problems.iter().map(|problem| format!("\n- {problem}")).collect()
}

/// A place in a table: shown as `wine.csv, line 7, column 'pH'`, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file, or the name that a table in memory has.
    pub table: PathBuf,
    /// The line of the file, from 1.
    pub line: Option<u64>,
    /// The row, from 0, where the table is no file.
    pub row: Option<usize>,
    /// The column's name, or its number from 0 where there is no header.
    pub column: Option<String>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.table.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(row) = self.row {
            write!(f, ", row {row}")?;
        }
        match &self.column {
            Some(column) => write!(f, ", column '{}'", brief(column)),
            None => Ok(()),
        }
    }
}

/// A text from outside, cut to a length that a message can bear, without control characters.
pub(crate) fn brief(text: &str) -> String {
    const MOST: usize = 40;
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

impl Error {
    pub(crate) fn shape(what: impl Into<String>, want: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Shape { what: what.into(), want: want.into(), got: got.into() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }
}
