//! Files to read, right and wrong, and what is said about them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use wgrad::data::read_idx;
use wgrad::{Error, Result};

use crate::memory::peak;

/// An IDX file of this type, these dimensions and these data, right or wrong.
pub fn idx(kind: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, dims.len() as u8];
    file.extend(dims.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(data);
    file
}

pub fn floats(dims: &[u32], values: &[f32]) -> Vec<u8> {
    idx(0x0d, dims, &values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<_>>())
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// 3 x 2 x 2 bytes that are all different.
pub fn small() -> Vec<u8> {
    idx(8, &[3, 2, 2], &(1..13).collect::<Vec<u8>>())
}

/// A folder that is gone after the test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub fn path(&self) -> &Path {
        self.0.path()
    }
    pub fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

/// Reads these bytes as a file, checks that this is an error that names the file, and returns its words.
#[track_caller]
pub fn refusal(content: &[u8]) -> String {
    let folder = Folder::new();
    let path = folder.put("file", content);
    let (result, held) = peak(|| read_idx(&path));
    assert!(held < 1 << 20, "{held} bytes for a file of {}", content.len());
    problem(&path, result)
}

/// The words after the path of an error about that file.
#[track_caller]
pub fn problem<T: std::fmt::Debug>(path: &Path, result: Result<T>) -> String {
    match result.unwrap_err() {
        Error::File { path: named, problem } => {
            assert_eq!(named, path);
            problem
        }
        other => panic!("{other:?}"),
    }
}

/// As [`problem`], of what is not there.
#[track_caller]
pub fn missing<T: std::fmt::Debug>(path: &Path, result: Result<T>) -> String {
    match result.unwrap_err() {
        Error::Io { path: named, source } => {
            assert_eq!((named.as_path(), source.kind()), (path, std::io::ErrorKind::NotFound));
            source.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "'{text}' does not contain '{part}'");
}
