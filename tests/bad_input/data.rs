//! Data sets of any numbers and sizes.

use proptest::collection::vec;
use proptest::prelude::{any, prop_oneof};
use proptest::sample::select;
use wgrad::{Batches, Confusion, Dataset, Error, Inputs, Targets, data};

use crate::numbers::{number, runner};
use crate::{COUNTS, kind, refused};

/// Whatever a data set is made of, it is whole, or refused with a typed error.
#[test]
fn data_sets_of_anything() {
    let sizes = select(vec![0, 1, 1, 1, 2, 2, 2, 3, 3, 5, 1 << 24, (1 << 24) + 1, 1 << 32, usize::MAX]);
    let numbers = || prop_oneof![vec(number(), 0..8), vec(-1.0_f32..1.0, 0..5)];
    let labels = vec(select(vec![0, 0, 0, 1, 1, 2, 7, u32::MAX]), 0..5);
    let cases = (any::<u8>(), numbers(), sizes.clone(), numbers(), labels, sizes);
    let counted = std::cell::Cell::new([0_u32; 2]);
    runner(20_000)
        .run(&cases, |(which, x, features, y, labels, outputs)| {
            let finite = x.iter().all(|x| x.is_finite());
            let targets = match which / 5 % 2 {
                0 => Targets::Values { values: y.clone(), outputs },
                _ => Targets::Labels { labels: labels.clone(), classes: outputs },
            };
            let bytes: Vec<u8> = x.iter().map(|&x| x as u8).collect();
            let made = match which % 5 {
                0 => Dataset::new(x, features, y, outputs),
                1 => Dataset::with_labels(x, features, labels, outputs),
                2 => Dataset::from_bytes(bytes, features, labels, outputs),
                3 => Dataset::from_parts(Inputs::U8(bytes), features, targets),
                _ => Dataset::from_parts(Inputs::F32(x), features, targets),
            };
            let [good, bad] = counted.get();
            match made {
                Ok(data) => {
                    counted.set([good + 1, bad]);
                    assert!(!data.is_empty() && data.features() == features && data.outputs() == outputs);
                    assert_eq!(data.inputs().len(), data.len() * features);
                    assert!(finite || matches!(data.inputs(), Inputs::U8(_)));
                    assert!(data.input_row(data.len() - 1).is_ok() && data.input_row(data.len()).is_err());
                    assert!(data.target_row(usize::MAX).is_err() && data.label(usize::MAX).is_none());
                }
                Err(error) => {
                    counted.set([good, bad + 1]);
                    let kinds = ["option", "shape", "empty", "label", "not finite"];
                    assert!(kinds.contains(&kind(&error)), "{error}");
                }
            }
            Ok(())
        })
        .expect("every case");
    println!("{:?} data sets made and refused", counted.get());
    assert!(counted.get().iter().all(|&count| count > 300));
}

#[test]
fn rows_of_any_lengths() {
    let lengths = vec((0_usize..4, 0_usize..4, number(), 0_u32..4), 0..5);
    runner(4000)
        .run(&lengths, |rows| {
            let even = rows.iter().all(|row| (row.0, row.1) == (rows[0].0, rows[0].1));
            let whole = even && rows.first().is_some_and(|row| row.0 > 0 && row.1 > 0);
            let good = whole && rows.iter().all(|row| row.2.is_finite());
            let made = Dataset::from_rows(rows.iter().map(|&(n, m, x, _)| (vec![x; n], vec![x; m])));
            assert_eq!(made.is_ok(), good, "{rows:?}: {made:?}");
            let labelled = Dataset::from_labelled_rows(rows.iter().map(|&(n, _, x, label)| (vec![x; n], label)), 3);
            let even = rows.first().is_some_and(|row| row.0 > 0) && rows.iter().all(|row| row.0 == rows[0].0);
            let good = even && rows.iter().all(|row| row.2.is_finite() && row.3 < 3);
            assert_eq!(labelled.is_ok(), good, "{rows:?}: {labelled:?}");
            Ok(())
        })
        .expect("every case");
}

fn six() -> Dataset {
    Dataset::with_labels((0..12).map(|i| i as f32).collect(), 2, vec![0, 1, 2, 0, 1, 2], 3).expect("data")
}

#[test]
#[allow(clippy::reversed_empty_ranges, reason = "it is what is tested")]
fn parts_of_a_data_set() {
    let data = six();
    for count in COUNTS {
        assert_eq!(data.take(count).is_ok(), (1..=6).contains(&count), "take {count}");
        assert_eq!(data.split_at(count).is_ok(), (1..6).contains(&count), "split_at {count}");
        assert_eq!(data.slice(count..6).is_ok(), count < 6, "slice from {count}");
        assert_eq!(data.slice(3..count).is_ok(), (4..=6).contains(&count), "slice to {count}");
        let row = u32::try_from(count).unwrap_or(u32::MAX);
        assert_eq!(data.select(&[0, row]).is_ok(), row < 6, "select {row}");
        for (columns, copy) in
            [(2, Dataset::copy_inputs as fn(&Dataset, &[u32], &mut [f32]) -> _), (3, Dataset::copy_targets)]
        {
            assert_eq!(copy(&data, &[row], &mut vec![0.0; columns]).is_ok(), row < 6, "copy {row}");
            assert!(copy(&data, &[0], &mut vec![0.0; columns - 1]).is_err() && copy(&data, &[], &mut []).is_ok());
        }
    }
    assert!(data.slice(5..2).is_err() && data.select(&[]).is_err());
    for a in crate::NUMBERS {
        for b in crate::NUMBERS {
            for parts in [data.split([a, b], u64::MAX), data.split_stratified([a, b], 0)] {
                match parts {
                    Ok([one, two]) => assert!(one.len() + two.len() == 6 && a > 0.0 && b > 0.0, "{a} and {b}"),
                    Err(error) => {
                        let few = matches!(&error, Error::Empty { .. }) && a > 0.0 && b > 0.0;
                        let bad = kind(&error) == "option" && [a, b].iter().any(|x| !(x.is_finite() && *x > 0.0));
                        assert!(few || bad, "{a} and {b}: {error}");
                    }
                }
            }
        }
    }
    let [one, two] = data.split([f64::MAX, f64::MAX], 1).expect("halves");
    assert_eq!((one.len(), two.len()), (3, 3), "the largest shares are shares");
    assert!(data.split::<0>([], 1).is_err());
}

#[test]
fn weights_of_any_numbers() {
    let data = six();
    for a in crate::NUMBERS {
        let a = a as f32;
        let good = a > 0.0 && a.is_finite();
        for made in [data.with_weights(vec![a; 6]), data.with_class_weights(&[a; 3])] {
            match made {
                Ok(made) => assert!(good && made.weights().is_some_and(|weights| weights == [a; 6]), "{a}"),
                Err(error) => assert!(!good && kind(&error) == "weight", "{a}: {error}"),
            }
        }
        // Their product may be too large, or nothing.
        if let Ok(twice) = data.with_weights(vec![a; 6]).and_then(|data| data.with_weights(vec![a; 6])) {
            assert!((a * a).is_finite() && a * a > 0.0 && twice.weights().is_some_and(|w| w == [a * a; 6]), "{a}");
        }
    }
    refused(data.with_weights(Vec::new()), "shape", "no weights");
    refused(data.with_class_weights(&[1.0; 4]), "shape", "four weights of three classes");
    let values = Dataset::new(vec![0.0; 2], 1, vec![0.5, 0.5], 1).expect("data");
    refused(values.balanced(), "shape", "values");
    refused(values.split_stratified([0.5, 0.5], 1), "shape", "values");
    assert!(six().balanced().is_ok());
}

#[test]
fn mini_batches_of_any_sizes() {
    for len in COUNTS {
        for batch in COUNTS {
            let made = Batches::new(len, batch, u64::MAX);
            assert_eq!(made.is_ok(), len > 0 && batch > 0 && u32::try_from(len).is_ok(), "{len} rows by {batch}");
            let Ok(batches) = made else { continue };
            assert_eq!(batches.rows(batches.steps()), 0);
            assert!(batches.rows(0) > 0 && batches.rows(usize::MAX) == 0 && batches.split(&[]).next().is_none());
            if len <= 1000 {
                assert_eq!(batches.order(u64::MAX).len(), len);
            }
        }
    }
}

#[test]
fn small_things_of_any_size() {
    for classes in COUNTS {
        let made = Confusion::from_pairs(classes, [(classes, 0), (0, classes), (1, 1)]);
        if classes > 10_000 {
            refused(made, "option", "classes");
            continue;
        }
        let confusion = made.expect("few classes");
        let rows = confusion.rows();
        assert!(confusion.classes() == classes.max(2) && rows >= 1);
        for class in COUNTS {
            assert!(confusion.count(class, class) <= rows && confusion.support(class) <= rows, "{class}");
            assert!(confusion.answered(class) <= rows && (0.0..=1.0).contains(&confusion.top_k(class)), "{class}");
            for share in [confusion.precision(class), confusion.recall(class), confusion.f1(class)] {
                assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)), "{class}");
            }
        }
    }
    for count in [0, usize::MAX, usize::MAX / 784] {
        assert!(data::synthetic_digits(count, 1).is_err(), "{count}");
    }
    for width in COUNTS {
        assert!(data::ascii(&[f32::NAN, 1.0, f32::INFINITY, -1.0], width).len() < 20, "{width}");
    }
}
