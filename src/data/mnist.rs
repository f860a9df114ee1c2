//! Pairs of IDX files as data sets: images beside labels, and folders named as MNIST's are.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::idx::{IdxArray, IdxData, read_idx};
use super::{Dataset, Inputs, Targets};
use crate::error::{Error, Result};

/// As many classes as are taken from the labels without being told; a byte has no more.
const MAX_INFERRED: u32 = 256;

/// Reads an IDX file of images and the IDX file of their labels.
///
/// Images have at least two dimensions, count first; a row is all the rest, so 28 x 28 images have 784 features. Bytes
/// stay bytes (each stands for `byte / 255`); floats are taken as they are and must be finite.
///
/// Labels have one dimension. They are bytes, or floats that are whole numbers from 0; targets that are no classes are
/// for [`Dataset::new`](super::Dataset::new) on what [`read_idx`] returns. `classes` is the number of classes, of which
/// each label must be below. With `None` it is the largest label plus 1, up to 256: right for a full training set, but
/// a small or a test set may lack the last class, and then its outputs do not match the network's.
///
/// ```no_run
/// use wgrad::data::load_idx_pair;
/// let test = load_idx_pair("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", Some(10))?;
/// assert_eq!((test.len(), test.features(), test.outputs()), (10_000, 784, 10));
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`read_idx`], and [`Error::File`] if images and labels differ in number, have the wrong number of dimensions, or
/// a label is no class; [`Error::NotFinite`] if an image holds NaN or an infinity, with the path and the element;
/// [`Error::InvalidOption`] if `classes` is 0.
pub fn load_idx_pair(images: impl AsRef<Path>, labels: impl AsRef<Path>, classes: Option<usize>) -> Result<Dataset> {
    let (images, labels) = (images.as_ref(), labels.as_ref());
    let target = read_idx(labels)?;
    let [count] = target.dims[..] else {
        return Err(Error::file(labels, format!("labels need 1 dimension, but this file has {}", shape(&target))));
    };
    let input = read_idx(images)?;
    let [rows, ref row @ ..] = input.dims[..] else {
        return Err(Error::file(images, "images need at least 2 dimensions, but this file has none"));
    };
    if row.is_empty() {
        return Err(Error::file(
            images,
            format!("images need at least 2 dimensions, count first, but this file has {}", shape(&input)),
        ));
    }
    if rows != count {
        return Err(Error::file(
            images,
            format!("there are {rows} images, but {count} labels in {}; they must belong together", labels.display()),
        ));
    }
    let features = row.iter().product();
    let target = whole_numbers(labels, target.data)?;
    let classes = match classes {
        Some(classes) => classes,
        None => infer_classes(labels, &target)?,
    };
    let inputs = match input.data {
        IdxData::U8(bytes) => Inputs::U8(bytes),
        IdxData::F32(values) => Inputs::F32(values),
    };
    Dataset::from_parts(inputs, features, Targets::Labels { labels: target, classes }).map_err(|error| match error {
        Error::NotFinite { index, value, .. } => Error::NotFinite { what: images.display().to_string(), index, value },
        Error::Label { .. } => Error::file(labels, error.to_string()),
        other => other,
    })
}

/// Reads a folder with the four files of MNIST, or of a data set laid out like it (Fashion-MNIST, KMNIST, ...): the
/// training set and the test set.
///
/// The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`; the `-` before `idx` may be a `.`, as some distributions have it, and each file may be
/// plain or have `.gz` at its end. Where there are several, the plain one counts.
///
/// The number of classes is the largest training label plus 1.
///
/// ```no_run
/// use wgrad::data::load_mnist_dir;
/// let (train, test) = load_mnist_dir("mnist")?;
/// assert_eq!((train.len(), test.len(), train.outputs()), (60_000, 10_000, 10));
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`load_idx_pair`], with [`Error::Io`] of the kind [`NotFound`](io::ErrorKind::NotFound) if the folder does not exist or
/// lacks a file, and [`Error::File`] if the test set has other features, or a class that the training set has not.
pub fn load_mnist_dir(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    if !metadata(dir)?.is_some_and(|m| m.is_dir()) {
        return Err(missing(dir, "this is no folder; the folder with the four MNIST files was expected"));
    }
    // All four are looked for before any is read, which takes time.
    let train_images = find(dir, "train-images", "idx3-ubyte")?;
    let train_labels = find(dir, "train-labels", "idx1-ubyte")?;
    let test_images = find(dir, "t10k-images", "idx3-ubyte")?;
    let test_labels = find(dir, "t10k-labels", "idx1-ubyte")?;
    let train = load_idx_pair(&train_images, &train_labels, None)?;
    let test = load_idx_pair(&test_images, &test_labels, Some(train.outputs()))?;
    if test.features() != train.features() {
        return Err(Error::file(
            test_images,
            format!(
                "a test image has {} values, but a training image in {} has {}",
                test.features(),
                train_images.display(),
                train.features()
            ),
        ));
    }
    Ok((train, test))
}

/// The first of the names that a file may have.
fn find(dir: &Path, stem: &str, kind: &str) -> Result<PathBuf> {
    let names = ["-", "."].map(|dot| ["", ".gz"].map(|gz| format!("{stem}{dot}{kind}{gz}"))).concat();
    for name in &names {
        let path = dir.join(name);
        // A folder of that name, as some archives unpack to, is passed over.
        if metadata(&path)?.is_some_and(|m| m.is_file()) {
            return Ok(path);
        }
    }
    Err(missing(dir, format!("none of {} is in this folder; put one of them there", names.join(", "))))
}

/// What was asked for is not there, which is no fault of a file.
fn missing(path: &Path, problem: impl Into<String>) -> Error {
    Error::io(path, io::Error::new(io::ErrorKind::NotFound, problem.into()))
}

/// What the system knows of a path; `None` if there is nothing there. A path that may not be looked at is an error of its own:
/// to say that there is nothing would send the user looking in the wrong place.
fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::io(path, error)),
        Err(_) => Ok(None),
    }
}

/// Labels as integers.
fn whole_numbers(path: &Path, data: IdxData) -> Result<Vec<u32>> {
    match data {
        IdxData::U8(bytes) => Ok(bytes.into_iter().map(u32::from).collect()),
        IdxData::F32(values) => values
            .into_iter()
            .enumerate()
            .map(|(row, value)| {
                // Up to 2^24 every whole number is one in f32; beyond, a label may have been rounded.
                if (0.0..=16_777_216.0).contains(&value) && value.fract() == 0.0 {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, up to 2^24")]
                    return Ok(value as u32);
                }
                Err(Error::file(path, format!("label {row} is {value}; a label must be a whole number from 0")))
            })
            .collect(),
    }
}

fn infer_classes(path: &Path, labels: &[u32]) -> Result<usize> {
    let largest = labels.iter().copied().max().unwrap_or(0);
    if largest >= MAX_INFERRED {
        return Err(Error::file(
            path,
            format!("the largest label is {largest}; for more than {MAX_INFERRED} classes, give their number"),
        ));
    }
    Ok(largest as usize + 1)
}

fn shape(array: &IdxArray) -> String {
    let sizes = array.dims.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    format!("{} ({sizes})", array.dims.len())
}
