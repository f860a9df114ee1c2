//! Images with their labels, folders laid out like MNIST's, and the real one.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use wgrad::data::{load_idx_pair, load_mnist_dir};
use wgrad::{Error, Inputs, Result};

use crate::make::{Folder, contains, floats, gzip, idx, missing, problem, small};

// ---- images and labels -----------------------------------------------------------------------------------------

/// Reads images and labels made of these bytes.
fn pair(images: &[u8], labels: &[u8], classes: Option<usize>) -> (Folder, Result<wgrad::Dataset>) {
    let folder = Folder::new();
    let result = load_idx_pair(folder.put("images", images), folder.put("labels", labels), classes);
    (folder, result)
}

#[track_caller]
fn pair_refusal(file: &str, images: &[u8], labels: &[u8], classes: Option<usize>) -> String {
    let (folder, result) = pair(images, labels, classes);
    problem(&folder.path().join(file), result)
}

#[test]
fn images_and_labels_become_a_data_set() {
    let data = pair(&small(), &idx(8, &[3], &[2, 0, 1]), None).1.unwrap();
    assert_eq!((data.len(), data.features(), data.outputs()), (3, 4, 3));
    assert!(matches!(data.inputs(), Inputs::U8(bytes) if bytes[..] == (1..13).collect::<Vec<u8>>()[..]));
    assert_eq!((data.label(0), data.label(2)), (Some(2), Some(1)));

    let images = floats(&[2, 1], &[0.25, -3.0]);
    let data = pair(&gzip(&images), &gzip(&floats(&[2], &[0.0, 1.0])), Some(7)).1.unwrap();
    assert_eq!((data.len(), data.features(), data.outputs()), (2, 1, 7));
    assert_eq!((data.input_row(1).unwrap(), data.label(1)), (vec![-3.0], Some(1)));
}

#[test]
fn different_numbers_of_images_and_labels() {
    let text = pair_refusal("images", &small(), &idx(8, &[4], &[0; 4]), None);
    contains(&text, "there are 3 images, but 4 labels in");
}

#[test]
fn files_in_each_others_place() {
    let labels = idx(8, &[3], &[0; 3]);
    contains(
        &pair_refusal("labels", &labels, &small(), None),
        "labels need 1 dimension, but this file has 3 (3 x 2 x 2)",
    );
    contains(
        &pair_refusal("images", &labels, &labels, None),
        "at least 2 dimensions, count first, but this file has 1 (3)",
    );
}

#[test]
fn label_that_is_no_class() {
    let labels = idx(8, &[3], &[0, 1, 10]);
    let text = pair_refusal("labels", &small(), &labels, Some(10));
    assert_eq!(text, "label 10 of row 2 is out of range: there are 10 classes, numbered from 0");
    assert!(matches!(pair(&small(), &labels, Some(0)).1, Err(Error::InvalidOption { option: "classes", .. })));
    assert_eq!(pair(&small(), &labels, None).1.unwrap().outputs(), 11);
}

#[test]
fn label_that_is_no_whole_number() {
    for value in [0.5, -1.0, f32::NAN, f32::INFINITY, 3e7] {
        let text = pair_refusal("labels", &small(), &floats(&[3], &[0.0, value, 1.0]), None);
        contains(&text, "label 1 is ");
        contains(&text, "must be a whole number from 0");
    }
}

#[test]
fn more_classes_than_are_inferred() {
    let labels = floats(&[3], &[0.0, 256.0, 1.0]);
    contains(&pair_refusal("labels", &small(), &labels, None), "the largest label is 256");
    assert_eq!(pair(&small(), &labels, Some(257)).1.unwrap().outputs(), 257);
    assert_eq!(pair(&small(), &idx(8, &[3], &[255, 0, 0]), None).1.unwrap().outputs(), 256);
}

#[test]
fn image_that_is_not_finite() {
    let images = floats(&[3, 2], &[0.0, 1.0, 2.0, f32::NAN, 4.0, 5.0]);
    let (folder, result) = pair(&images, &idx(8, &[3], &[0; 3]), None);
    let path = folder.path().join("images").display().to_string();
    assert!(matches!(result, Err(Error::NotFinite { what, index: 3, value }) if what == path && value.is_nan()));
}

// ---- a folder like MNIST's -------------------------------------------------------------------------------------

const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// The contents of the four files: three training images of 2 x 2, one test image.
fn contents() -> [Vec<u8>; 4] {
    [small(), idx(8, &[3], &[0, 1, 2]), idx(8, &[1, 2, 2], &[9; 4]), idx(8, &[1], &[1])]
}

fn mnist(names: impl IntoIterator<Item = String>, contents: [Vec<u8>; 4]) -> Folder {
    let folder = Folder::new();
    for (name, content) in names.into_iter().zip(contents) {
        folder.put(&name, &content);
    }
    folder
}

#[test]
fn the_usual_names_with_dash_or_dot_plain_or_packed() {
    let want = load_mnist_dir(mnist(NAMES.map(String::from), contents()).path()).unwrap();
    assert_eq!((want.0.len(), want.1.len(), want.0.outputs(), want.1.outputs()), (3, 1, 3, 3));
    let dotted = NAMES.map(|name| name.replace("-idx", ".idx"));
    assert_eq!(load_mnist_dir(mnist(dotted.clone(), contents()).path()).unwrap(), want);
    for names in [NAMES.map(String::from), dotted] {
        let packed = mnist(names.map(|name| name + ".gz"), contents().map(|file| gzip(&file)));
        // Some archives unpack to a folder of the file's name.
        fs::create_dir(packed.path().join(NAMES[0])).unwrap();
        assert_eq!(load_mnist_dir(packed.path()).unwrap(), want);
    }
}

#[test]
fn missing_folder() {
    let folder = Folder::new();
    for path in [folder.path().join("nothing"), folder.put("file", &[])] {
        contains(&missing(&path, load_mnist_dir(&path)), "this is no folder");
    }
}

#[test]
fn missing_file_of_the_four() {
    for name in NAMES {
        let folder = mnist(NAMES.map(String::from), contents());
        fs::remove_file(folder.path().join(name)).unwrap();
        let text = missing(folder.path(), load_mnist_dir(folder.path()));
        let dotted = name.replace("-idx", ".idx");
        contains(&text, &format!("none of {name}, {name}.gz, {dotted}, {dotted}.gz is in this folder"));
    }
}

#[test]
fn test_images_of_another_size() {
    let mut files = contents();
    files[2] = idx(8, &[1, 2, 3], &[9; 6]);
    let folder = mnist(NAMES.map(String::from), files);
    let text = problem(&folder.path().join(NAMES[2]), load_mnist_dir(folder.path()));
    contains(&text, "a test image has 6 values, but a training image in");
}

#[test]
fn test_class_that_is_not_in_the_training_set() {
    let mut files = contents();
    files[3] = idx(8, &[1], &[3]);
    let folder = mnist(NAMES.map(String::from), files);
    contains(
        &problem(&folder.path().join(NAMES[3]), load_mnist_dir(folder.path())),
        "label 3 of row 0 is out of range",
    );
}

// ---- the real one ----------------------------------------------------------------------------------------------

/// The SHA-256 of the unpacked files whose MD5 sums are the published ones.
const MNIST: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
];

#[test]
fn mnist_is_read_to_the_last_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist");
    if !folder.is_dir() {
        println!("skipped: there is no MNIST in {}", folder.display());
        return;
    }
    let (train, test) = load_mnist_dir(&folder).unwrap();
    for (data, count, files) in [(&train, 60_000u32, &MNIST[..2]), (&test, 10_000, &MNIST[2..])] {
        assert_eq!((data.len(), data.features(), data.outputs()), (count as usize, 784, 10));
        let Inputs::U8(pixels) = data.inputs() else { panic!("images of bytes are expected") };
        let labels: Vec<u8> = (0..data.len()).map(|row| data.label(row).unwrap() as u8).collect();
        for ((name, want), file) in files.iter().zip([idx(8, &[count, 28, 28], pixels), idx(8, &[count], &labels)]) {
            let got: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(got, *want, "{name}");
        }
    }
}
