//! Checkpoints: exact resume, writing that survives being killed, files that are not what they should be.
#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what was counted is the result of these tests")]

mod bad;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod interchange;
mod kill;
mod make;
mod resume;
