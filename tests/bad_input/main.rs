//! Every public function given what it should not be given: a typed error or a right answer, no panic, and no endless loop.
//!
//! `listed.rs` has the list of them all, held to the sources, and where each has its test: here, in `misuse.rs`, or in the file of
//! its own subject.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "how many cases there were is a result")]

mod charts;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod exports;
mod listed;
mod numbers;
mod plans;
mod reference;
mod runs;
mod tables;

use wgrad::{Error, Result};

/// Numbers that are not ordinary, and some that are.
pub const NUMBERS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    5e-324,
    -5e-324,
    f64::MIN_POSITIVE,
    1e-40,
    f64::MAX,
    f64::MIN,
    f32::MAX as f64,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// Counts from none to as many as can be said.
pub const COUNTS: [usize; 8] = [0, 1, 2, 1000, 1 << 31, 1 << 32, usize::MAX - 1, usize::MAX];

/// Which kind of error it is: more would tie a test to wording. That a message says more than a word is seen to here.
#[track_caller]
pub fn kind(error: &Error) -> &'static str {
    assert!(error.to_string().split(' ').count() > 3, "'{error}'");
    match error {
        Error::Architecture { .. } => "architecture",
        Error::Pairing { .. } => "pairing",
        Error::InvalidOption { .. } => "option",
        Error::UnknownName { .. } => "name",
        Error::Several { .. } => "several",
        Error::Shape { .. } => "shape",
        Error::Empty { .. } => "empty",
        Error::Label { .. } => "label",
        Error::Target { .. } => "target",
        Error::Weight { .. } => "weight",
        Error::NotFinite { .. } => "not finite",
        Error::Table { .. } => "table",
        Error::File { .. } => "file",
        Error::Io { .. } => "io",
        Error::Limit { .. } => "limit",
        Error::Diverged { .. } => "diverged",
        Error::Export { .. } => "export",
        Error::Disagreement(_) => "disagreement",
        _ => "other",
    }
}

/// Fails unless it is an error of this kind.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T>, want: &str, what: &str) {
    match result {
        Ok(value) => panic!("{what} passed: {value:?}"),
        Err(error) => assert_eq!(kind(&error), want, "{what}: {error}"),
    }
}
