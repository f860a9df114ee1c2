//! Data sets in memory, the order of mini-batches, and the built-in digits.

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use wgrad::data::{ascii, synthetic_digits};
use wgrad::{Batches, Dataset, Error, Inputs, Targets};

/// What a byte is multiplied with.
const BYTE: f32 = 1.0 / 255.0;

/// Three rows of two floats with targets of one, two or three numbers a row.
fn regression() -> Dataset {
    Dataset::new(vec![0.5, -1.0, 2.0, 3.0, 5.0, 7.0], 2, (0..6u8).map(f32::from).collect(), 2).unwrap()
}

/// Four rows of three bytes in three classes.
fn pictures() -> Dataset {
    Dataset::from_bytes(vec![0, 51, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9], 3, vec![2, 0, 1, 0], 3).unwrap()
}

// ---- Dataset ----------------------------------------------------------------------------------------------------

#[test]
fn floats_come_out_as_they_went_in() {
    let data = regression();
    assert_eq!((data.len(), data.features(), data.outputs(), data.is_empty()), (3, 2, 2, false));
    assert_eq!(data.input_row(2).unwrap(), [5.0, 7.0]);
    assert_eq!(data.target_row(1).unwrap(), [2.0, 3.0]);
    assert_eq!(data.label(0), None);
    assert!(matches!(data.inputs(), Inputs::F32(values) if values.len() == 6));
    assert!(matches!(data.targets(), Targets::Values { values, outputs: 2 } if values[5] == 5.0));
}

#[test]
fn bytes_stay_bytes_and_stand_for_255ths() {
    let data = pictures();
    assert_eq!((data.len(), data.features(), data.outputs()), (4, 3, 3));
    assert_eq!(data.input_row(0).unwrap(), [0.0, 51.0 * BYTE, 1.0]);
    assert_eq!(data.target_row(0).unwrap(), [0.0, 0.0, 1.0]);
    assert_eq!((0..5).map(|i| data.label(i)).collect::<Vec<_>>(), [Some(2), Some(0), Some(1), Some(0), None]);
    assert!(matches!(data.inputs(), Inputs::U8(bytes) if bytes[..3] == [0, 51, 255]));
}

#[test]
fn labels_go_with_floats_and_vectors_with_bytes() {
    let floats = Dataset::with_labels(vec![1.0, 2.0], 1, vec![0, 1], 2).unwrap();
    assert_eq!((floats.input_row(1).unwrap(), floats.target_row(1).unwrap()), (vec![2.0], vec![0.0, 1.0]));
    let targets = Targets::Values { values: vec![0.25, -4.0], outputs: 1 };
    let bytes = Dataset::from_parts(Inputs::U8(vec![255, 0]), 1, targets).unwrap();
    assert_eq!((bytes.input_row(0).unwrap(), bytes.target_row(1).unwrap()), (vec![1.0], vec![-4.0]));
}

#[test]
fn a_mini_batch_is_gathered_in_the_order_named() {
    let data = pictures();
    let (mut x, mut y) = ([f32::NAN; 6], [f32::NAN; 6]);
    data.copy_inputs(&[3, 0], &mut x).unwrap();
    data.copy_targets(&[3, 0], &mut y).unwrap();
    assert_eq!(x, [7.0 * BYTE, 8.0 * BYTE, 9.0 * BYTE, 0.0, 51.0 * BYTE, 1.0]);
    assert_eq!(y, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);

    let vectors = regression();
    let mut y = [f32::NAN; 4];
    vectors.copy_targets(&[2, 1], &mut y).unwrap();
    assert_eq!(y, [4.0, 5.0, 2.0, 3.0]);
    vectors.copy_inputs(&[], &mut []).unwrap();
}

#[test]
fn wrong_rows_and_buffers_are_errors() {
    let data = pictures();
    let is_shape = |result: wgrad::Result<()>| assert!(matches!(result, Err(Error::Shape { .. })), "{result:?}");
    is_shape(data.copy_inputs(&[0], &mut [0.0; 2]));
    is_shape(data.copy_inputs(&[0], &mut [0.0; 4]));
    is_shape(data.copy_inputs(&[4], &mut [0.0; 3]));
    is_shape(data.copy_targets(&[0, 1], &mut [0.0; 3]));
    is_shape(data.copy_targets(&[u32::MAX], &mut [0.0; 3]));
    is_shape(data.input_row(4).map(drop));
    is_shape(data.target_row(usize::MAX).map(drop));
    assert_eq!(data.input_row(4).unwrap_err().to_string(), "row number: expected below 4, got 4");
}

#[test]
fn each_wrong_argument_has_its_error() {
    type Expected = fn(&Error) -> bool;
    let shape: Expected = |e| matches!(e, Error::Shape { .. });
    let empty: Expected = |e| matches!(e, Error::Empty { .. });
    let option: Expected = |e| matches!(e, Error::InvalidOption { .. });
    let nan = f32::NAN;
    let cases: [(&str, wgrad::Result<Dataset>, Expected); 13] = [
        ("no features", Dataset::new(vec![1.0], 0, vec![1.0], 1), option),
        ("no outputs", Dataset::new(vec![1.0], 1, vec![1.0], 0), option),
        ("no classes", Dataset::with_labels(vec![1.0], 1, vec![0], 0), option),
        ("no inputs", Dataset::new(vec![], 1, vec![1.0], 1), empty),
        ("no targets", Dataset::new(vec![1.0], 1, vec![], 1), empty),
        ("no rows", Dataset::from_bytes(vec![], 3, vec![], 2), empty),
        ("part of a row", Dataset::new(vec![1.0; 5], 2, vec![1.0; 2], 1), shape),
        ("part of a target", Dataset::new(vec![1.0; 4], 2, vec![1.0; 5], 2), shape),
        ("too few labels", Dataset::from_bytes(vec![1; 4], 2, vec![0], 1), shape),
        ("too many targets", Dataset::new(vec![1.0; 4], 2, vec![1.0; 3], 1), shape),
        (
            "NaN input",
            Dataset::new(vec![1.0, 2.0, nan], 1, vec![0.0; 3], 1),
            |e| matches!(e, Error::NotFinite { what, index: 2, value } if what == "inputs" && value.is_nan()),
        ),
        (
            "infinite target",
            Dataset::new(vec![1.0; 2], 1, vec![0.0, f32::NEG_INFINITY], 1),
            |e| matches!(e, Error::NotFinite { what, index: 1, .. } if what == "targets"),
        ),
        ("label", Dataset::with_labels(vec![1.0; 2], 1, vec![1, 2], 2), |e| {
            matches!(e, Error::Label { row: 1, label: 2, classes: 2 })
        }),
    ];
    for (name, result, expected) in cases {
        let error = result.expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
    }
    // More features than 32 bits can count, where there are more.
    if let Ok(features) = usize::try_from(1u64 << 32) {
        assert!(option(&Dataset::new(vec![1.0], features, vec![1.0], 1).unwrap_err()));
        assert!(option(&Dataset::new(vec![1.0], usize::MAX, vec![1.0], 1).unwrap_err()));
        assert!(option(&Dataset::with_labels(vec![1.0], 1, vec![0], usize::MAX).unwrap_err()));
    }
}

#[test]
fn slices_keep_rows_with_their_targets() {
    for data in [pictures(), regression()] {
        let (head, tail) = data.split_at(1).unwrap();
        assert_eq!((head.len(), tail.len()), (1, data.len() - 1));
        assert_eq!((tail.features(), tail.outputs()), (data.features(), data.outputs()));
        for row in 0..tail.len() {
            assert_eq!(tail.input_row(row).unwrap(), data.input_row(row + 1).unwrap());
            assert_eq!(tail.target_row(row).unwrap(), data.target_row(row + 1).unwrap());
            assert_eq!(tail.label(row), data.label(row + 1));
        }
        assert_eq!(data.take(1).unwrap(), head);
        assert_ne!(data.take(2).unwrap(), head);
        assert_eq!(data.slice(0..data.len()).unwrap(), data);
    }
}

#[test]
#[allow(clippy::reversed_empty_ranges, reason = "a caller may pass one")]
fn slices_beyond_the_data_are_errors() {
    let data = pictures();
    assert!(matches!(data.take(5), Err(Error::Shape { .. })));
    assert!(matches!(data.slice(1..usize::MAX), Err(Error::Shape { .. })));
    assert!(matches!(data.take(0), Err(Error::Empty { .. })));
    assert!(matches!(data.slice(3..1), Err(Error::Empty { .. })));
    assert!(matches!(data.slice(9..9), Err(Error::Shape { .. })));
    assert!(matches!(data.split_at(4), Err(Error::Empty { .. })));
}

#[test]
fn a_clone_shares_the_data_and_debug_is_short() {
    let data = pictures();
    let copy = data.clone();
    assert!(std::ptr::eq(data.inputs(), copy.inputs()) && std::ptr::eq(data.targets(), copy.targets()));
    let text = format!("{data:?}");
    assert_eq!(text, "Dataset { len: 4, features: 3, outputs: 3, inputs: u8, targets: labels }");
}

// ---- Batches ----------------------------------------------------------------------------------------------------

#[test]
fn the_order_is_pinned() {
    // From another program, with NumPy's implementation of the same generator.
    let order = |len, seed, epoch| Batches::new(len, 10, seed).unwrap().order(epoch);
    assert_eq!(order(10, 1, 0), [4, 6, 0, 2, 3, 1, 5, 8, 7, 9]);
    assert_eq!(order(10, 1, 1), [9, 6, 8, 4, 7, 0, 5, 1, 2, 3]);
    assert_eq!(order(10, 2, 0), [7, 5, 8, 2, 1, 4, 0, 6, 9, 3]);
    let long = order(60_000, 1, 0);
    assert_eq!(long[..12], [6091, 10656, 16606, 51981, 50644, 59373, 39515, 15306, 38037, 21849, 1775, 4985]);
    let long = order(60_000, 2, 3);
    assert_eq!(long[..12], [52777, 50079, 24753, 54114, 1894, 2559, 21097, 37541, 47921, 18791, 31950, 19244]);
}

#[test]
fn each_place_gets_each_row_equally_often() {
    let batches = Batches::new(5, 2, 7).unwrap();
    let mut count = [[0u32; 5]; 5];
    for epoch in 0..5000 {
        for (place, row) in batches.order(epoch).into_iter().enumerate() {
            count[place][row as usize] += 1;
        }
    }
    // 1000 expected, standard deviation 28.
    assert!(count.iter().flatten().all(|&n| n.abs_diff(1000) < 140), "{count:?}");
}

#[test]
fn unshuffled_is_the_order_of_the_data() {
    let batches = Batches::new(5, 2, 1).unwrap().unshuffled();
    assert_eq!(batches.order(0), [0, 1, 2, 3, 4]);
    assert_eq!(batches.order(9), batches.order(0));
    assert_eq!((batches.len(), batches.batch_size(), batches.seed()), (5, 2, 1));
}

#[test]
fn a_batch_larger_than_the_data_is_one_step() {
    let batches = Batches::new(3, usize::MAX, 1).unwrap();
    assert_eq!((batches.steps(), batches.rows(0), batches.rows(1), batches.rows(usize::MAX)), (1, 3, 0, 0));
    assert_eq!(batches.split(&batches.order(0)).count(), 1);
}

#[test]
fn impossible_batches_are_errors() {
    assert!(matches!(Batches::new(0, 1, 0), Err(Error::Empty { .. })));
    assert!(matches!(Batches::new(1, 0, 0), Err(Error::InvalidOption { option: "batch_size", .. })));
    if let Ok(len) = usize::try_from(1u64 << 32) {
        assert!(matches!(Batches::new(len, 1, 0), Err(Error::InvalidOption { option: "len", .. })));
        assert_eq!(Batches::new(len - 1, len, 0).unwrap().steps(), 1);
    }
}

proptest! {
    #[test]
    fn an_epoch_visits_each_row_once(len in 1usize..400, batch in 1usize..50, seed: u64, epoch: u64) {
        let batches = Batches::new(len, batch, seed).unwrap();
        let order = batches.order(epoch);
        // Pure: asked again, in another object, after other epochs, it is the same.
        let _ = batches.order(epoch.wrapping_add(1));
        prop_assert_eq!(&Batches::new(len, batch + 1, seed).unwrap().order(epoch), &order);

        let rows: Vec<usize> = (0..batches.steps()).map(|step| batches.rows(step)).collect();
        prop_assert_eq!(batches.split(&order).map(<[u32]>::len).collect::<Vec<_>>(), rows.clone());
        prop_assert_eq!(rows.iter().sum::<usize>(), len);
        prop_assert!(rows.iter().rev().skip(1).all(|&r| r == batch) && rows.iter().all(|&r| (1..=batch).contains(&r)));

        let mut sorted = order;
        sorted.sort_unstable();
        prop_assert!(sorted.into_iter().eq(0..len as u32));
    }

    #[test]
    fn epochs_and_seeds_differ(seed: u64, epoch: u64) {
        let order = |seed, epoch| Batches::new(1000, 10, seed).unwrap().order(epoch);
        prop_assert_ne!(order(seed, epoch), order(seed, epoch.wrapping_add(1)));
        prop_assert_ne!(order(seed, epoch), order(seed.wrapping_add(1), epoch));
    }
}

// ---- digits -----------------------------------------------------------------------------------------------------

fn bytes(data: &Dataset) -> &[u8] {
    match data.inputs() {
        Inputs::U8(bytes) => bytes,
        other => panic!("digits are bytes, not {other:?}"),
    }
}

fn labels(data: &Dataset) -> Vec<u32> {
    (0..data.len()).filter_map(|row| data.label(row)).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn digits_are_the_same_bytes_everywhere() {
    // A change of these is a change of the data set: every accuracy measured on it then counts no longer.
    let data = synthetic_digits(1000, 1).unwrap();
    assert_eq!(labels(&data)[..20], [6, 5, 3, 8, 2, 7, 4, 1, 9, 0, 4, 1, 2, 7, 5, 6, 8, 9, 0, 3]);
    assert_eq!(sha256(bytes(&data)), "36408aacb2d0aef9eecaf540119b5eb79500d96bfa5e695c94c12aad01034ad2");
}

#[test]
fn digits_depend_on_the_seed_and_fewer_are_the_first_of_more() {
    let data = synthetic_digits(25, 3).unwrap();
    assert_eq!(data, synthetic_digits(25, 3).unwrap());
    assert_eq!(data, synthetic_digits(40, 3).unwrap().take(25).unwrap());
    assert_ne!(data, synthetic_digits(25, 4).unwrap());
}

#[test]
fn each_ten_digits_are_all_ten() {
    let data = synthetic_digits(95, 5).unwrap();
    assert_eq!((data.len(), data.features(), data.outputs()), (95, 784, 10));
    let all = labels(&data);
    for ten in all.chunks_exact(10) {
        let mut ten = ten.to_vec();
        ten.sort_unstable();
        assert_eq!(ten, (0..10).collect::<Vec<u32>>());
    }
    assert!(all.chunks_exact(10).any(|ten| ten != &all[..10]), "the order of the ten changes");
}

#[test]
fn digits_are_written_on_the_paper_and_all_differ() {
    let data = synthetic_digits(500, 6).unwrap();
    let mut seen = std::collections::HashSet::new();
    for picture in bytes(&data).chunks_exact(784) {
        // A stroke across the picture at least, never a filled page; paper is at most 16 of 255.
        let inked = picture.iter().filter(|&&byte| byte > 60).count();
        assert!((15..350).contains(&inked), "{inked} pixels of ink");
        let border = (0..28).flat_map(|i| [picture[i], picture[27 * 28 + i], picture[28 * i], picture[28 * i + 27]]);
        assert!(border.filter(|&byte| byte > 60).count() < 12, "the digit leaves the paper");
        assert!(seen.insert(picture));
    }
}

#[test]
fn impossible_numbers_of_digits_are_errors() {
    assert!(matches!(synthetic_digits(0, 1), Err(Error::Empty { .. })));
    assert!(matches!(synthetic_digits(usize::MAX, 1), Err(Error::InvalidOption { option: "count", .. })));
    assert!(matches!(synthetic_digits(usize::MAX / 1000, 1), Err(Error::InvalidOption { option: "count", .. })));
}

#[test]
fn a_picture_as_text() {
    let data = synthetic_digits(1, 1).unwrap();
    let text = ascii(&data.input_row(0).unwrap(), 28);
    assert_eq!(text.lines().count(), 14);
    assert!(text.lines().all(|line| line.len() <= 28 && !line.ends_with(' ')));
    assert!(text.contains(['*', '#', '@']));
    // Odd numbers of rows, a row cut short, no width, values that are no levels.
    assert_eq!(ascii(&[1.0, 1.0, 0.0, 1.0, 9.0], 2), "*@\n*\n");
    assert_eq!(ascii(&[f32::NAN, -1.0, f32::INFINITY], 0), "\n*\n");
}
