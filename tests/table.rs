//! Tables in memory, splits, preparations, and networks that are asked about raw rows.

use std::collections::HashMap;

use proptest::prelude::*;
use wgrad::data::{Field, Kind, Missing, Predictions, Preparation, Scaling, Table, TableReader, Task, Unknown};
use wgrad::{Activation, Adam, Cost, Dataset, Device, Error, Network, Sgd, Targets, Trainer};

fn csv(text: &str) -> Table {
    TableReader::new().read_from(text.as_bytes(), "t.csv").unwrap()
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, Error>, want: &str) {
    assert_eq!(result.unwrap_err().to_string(), want);
}

fn inputs(preparation: &Preparation, table: &Table) -> Vec<Vec<f32>> {
    let numbers = preparation.encode_table(table).unwrap();
    numbers.chunks(preparation.inputs()).map(<[f32]>::to_vec).collect()
}

#[track_caller]
fn near(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{got:?} {want:?}");
    for (g, w) in got.iter().zip(want) {
        assert!((f64::from(*g) - w).abs() <= 1e-6 * (1.0 + w.abs()), "{got:?} {want:?}");
    }
}

// ---- tables ----------------------------------------------------------------------------------------------------

#[test]
fn a_table_from_rows_is_that_of_the_file_with_these_fields() {
    let file = csv("n,c,d,b\n1.5,red,2020-01-01,true\n,blue,2021-01-01,false\n0.1,red,,true\n");
    let rows: [[Field<'_>; 4]; 3] = [
        [1.5.into(), "red".into(), "2020-01-01".into(), true.into()],
        [f64::NAN.into(), "blue".into(), "2021-01-01".into(), false.into()],
        [0.1.into(), "red".into(), Field::Missing, true.into()],
    ];
    let table = Table::from_rows("t", ["n", "c", "d", "b"], rows).unwrap();
    assert_eq!(table.columns(), file.columns());
    let text =
        [["1.5", "red", "2020-01-01", "true"], ["", "blue", "2021-01-01", "false"], ["0.1", "red", "NA", "true"]];
    assert_eq!(Table::from_rows("t", ["n", "c", "d", "b"], text).unwrap().columns(), file.columns());
}

#[test]
fn tables_that_cannot_be() {
    let t = || Table::new("t").with_numbers("x", [1.0, 2.0]).unwrap();
    says(t().with_numbers("x", [1.0, 2.0]), "t, column 'x': there is a column of that name already");
    says(t().with_texts("y", ["a"]), "t, column 'y': 1 rows, where the columns before it have 2");
    says(t().with_numbers("y", [1.0, f64::INFINITY]), "t, row 1, column 'y': the number is infinite");
    says(Table::from_rows("t", ["x"], [[f64::NEG_INFINITY]]), "t, row 0, column 'x': the number is infinite");
    says(Table::from_rows("t", [""; 0], [[1.0]]), "the list of columns of t has no rows");
    says(Table::from_rows("t", ["x"], [vec![1.0, 2.0]]), "t, row 0: 2 fields, where there are 1 columns");
    says(Table::new("t").column("x").cloned(), "t: there is no column 'x'; the table has no columns");
    assert!(matches!(t().select(&[2]), Err(Error::Shape { .. })));
    says(t().drop_missing(&["z"]), "t: there is no column 'z'; the columns are: x");
}

#[test]
fn lines_of_the_file_stay_with_the_rows() {
    let table = csv("n,c\n1,a\n\n2,b\n3,zzz\n");
    let picked = table.select(&[2, 0]).unwrap();
    let preparation = Preparation::new("c").fit(&table.select(&[0, 1]).unwrap()).unwrap();
    says(preparation.dataset(&picked), "t.csv, line 5, column 'c': 'zzz' is none of the classes that were trained on");
}

// ---- splits ----------------------------------------------------------------------------------------------------

#[test]
fn a_split_is_the_same_everywhere() {
    let table = Table::new("t").with_numbers("x", (0..10).map(f64::from)).unwrap();
    let [a, b] = table.split([0.7, 0.3], 1).unwrap();
    let holds = |t: &Table, xs: &[i32]| {
        let got: Vec<_> = (0..t.len()).map(|i| t.columns()[0].field(i)).collect();
        assert_eq!(got, xs.iter().map(|&x| Field::from(x)).collect::<Vec<_>>());
    };
    holds(&a, &[6, 3, 9, 7, 0, 8, 4]);
    holds(&b, &[1, 2, 5]);
    // A data set is cut in the same places.
    let data = Dataset::from_rows((0_u8..10).map(|i| ([f32::from(i)], [0.0]))).unwrap();
    let [c, d] = data.split([7.0, 3.0], 1).unwrap();
    assert_eq!(c.inputs(), &wgrad::Inputs::F32(vec![6., 3., 9., 7., 0., 8., 4.]));
    assert_eq!(d.inputs(), &wgrad::Inputs::F32(vec![1., 2., 5.]));
    assert_ne!(data.split([7.0, 3.0], 2).unwrap()[0], c);
}

#[test]
fn splits_that_cannot_be() {
    let table = Table::new("t").with_numbers("x", [1.0, 2.0]).unwrap();
    for share in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(table.split([1.0, share], 0), Err(Error::InvalidOption { option: "share", .. })));
    }
    says(table.split([0.9, 0.05, 0.05], 0), "part 2 of a split of 2 rows has no rows");
    assert!(matches!(table.split([], 0), Err(Error::Empty { .. })));
    let data = Dataset::new(vec![1.0, 2.0], 1, vec![1.0, 2.0], 1).unwrap();
    assert!(matches!(data.split_stratified([1.0, 1.0], 0), Err(Error::Shape { .. })));
}

#[test]
fn numbers_are_shared_out_by_their_tenths() {
    let table = Table::new("t").with_numbers("x", (0..200).map(|i| f64::from(i * i))).unwrap();
    let [_, test] = table.split_stratified("x", [0.8, 0.2], 1).unwrap();
    for tenth in 0..10 {
        let of =
            |row: usize| matches!(test.columns()[0].field(row), Field::Number(x) if x.sqrt() as usize / 20 == tenth);
        assert_eq!((0..test.len()).filter(|&row| of(row)).count(), 4);
    }
    // Of few rows too there is a fifth to test with.
    for rows in [10, 13, 15, 21] {
        let table = Table::new("t").with_numbers("x", (0..rows).map(f64::from)).unwrap();
        let [rest, test] = table.split_stratified("x", [0.8, 0.2], 1).unwrap();
        assert!(test.len() * 5 >= rows as usize - 4 && rest.len() + test.len() == rows as usize, "{}", test.len());
    }
}

/// More whole numbers than are taken for classes by themselves, some of them rare, whatever the seed.
#[test]
fn numbers_that_are_to_be_classes_are_shared_out_as_classes() {
    let zone = |row: u32| f64::from(if row < 20 { 100 + row } else { row % 30 });
    let table = Table::new("t").with_numbers("x", (0..400).map(f64::from)).unwrap();
    let table = table.with_numbers("zone", (0..400).map(zone)).unwrap();
    assert_eq!(Task::of(table.column("zone").unwrap()), Task::Regression);
    let mut by_tenths = 0;
    for seed in 0..20 {
        let cut =
            |table: &Table, shares| table.split_stratified_as("zone", Task::Classification, shares, seed).unwrap();
        let [rest, test] = cut(&table, [0.8, 0.2]);
        let [train, validation] = cut(&rest, [0.85, 0.15]);
        let preparation = Preparation::new("zone").task(Task::Classification).fit(&train).unwrap();
        assert_eq!(preparation.classes().len(), 50);
        for part in [&validation, &test] {
            assert_eq!(preparation.dataset(part).unwrap().len(), part.len());
        }
        // What is not told of the task shares out tenths, as it always did.
        let [train, test] = table.split_stratified("zone", [0.8, 0.2], seed).unwrap();
        assert_eq!(train, table.split_stratified_as("zone", Task::Regression, [0.8, 0.2], seed).unwrap()[0]);
        let preparation = Preparation::new("zone").task(Task::Classification).fit(&train).unwrap();
        by_tenths += usize::from(preparation.dataset(&test).is_err());
    }
    assert!(by_tenths > 0, "tenths would have done");
    // Few numbers are shared out value by value whatever is said, texts category by category, and dates by tenths.
    let split = |table: &Table, task| table.split_stratified_as("0", task, [0.5, 0.5], 3).unwrap();
    let few = Table::new("t").with_numbers("y", (0..40).map(|row| f64::from(row % 4))).unwrap();
    let texts = Table::new("t").with_texts("y", (0..40).map(|row| format!("c{}", row % 7))).unwrap();
    let dates = csv(&format!("d\n{}", (10..30).map(|day| format!("2020-01-{day}\n")).collect::<String>()));
    for table in [few, texts, dates] {
        assert_eq!(split(&table, Task::Classification), split(&table, Task::Regression));
        assert_eq!(split(&table, Task::Classification), table.split_stratified("0", [0.5, 0.5], 3).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Every row is in one part, and each class is shared out like the whole, to a row.
    #[test]
    fn stratified_parts_are_a_partition(
        labels in proptest::collection::vec(0_u32..6, 12..200),
        shares in [0.2_f64..1.0, 0.2..1.0, 0.2..1.0],
        seed in any::<u64>(),
    ) {
        let rows = labels.iter().enumerate().map(|(i, &label)| ([i as f32], label));
        let data = Dataset::from_labelled_rows(rows, 6).unwrap();
        let Ok(parts) = data.split_stratified(shares, seed) else { return Ok(()) };
        let mut seen = vec![false; labels.len()];
        let sum: f64 = shares.iter().sum();
        let count = |label| labels.iter().filter(|&&l| l == label).count();
        for (part, share) in parts.iter().zip(shares) {
            let mut of: HashMap<u32, usize> = HashMap::new();
            for row in 0..part.len() {
                let (index, label) = (part.input_row(row).unwrap()[0] as usize, part.label(row).unwrap());
                prop_assert_eq!(label, labels[index]);
                prop_assert!(!std::mem::replace(&mut seen[index], true));
                *of.entry(label).or_default() += 1;
            }
            for label in 0..6 {
                let (got, want) = (of.get(&label).copied().unwrap_or(0) as f64, count(label) as f64 * share / sum);
                prop_assert!((got - want).abs() <= 1.0 + 1e-6 || want < 1.0, "{got} of class {label}, not {want}");
            }
            let want = labels.len() as f64 * share / sum;
            prop_assert!((part.len() as f64 - want).abs() < 7.0, "{} rows, not {want}", part.len());
        }
        prop_assert!(seen.into_iter().all(|s| s));
        for label in (0..6).filter(|&label| count(label) > 0) {
            prop_assert!((0..parts[0].len()).any(|row| parts[0].label(row) == Some(label)), "class {label} is not trained on");
        }
    }
}

// ---- what is fitted --------------------------------------------------------------------------------------------

/// Numbers, categories and a target with known mean and deviation.
fn training() -> Table {
    let t = Table::new("train").with_numbers("n", [1.0, 3.0, f64::NAN, 5.0]).unwrap();
    t.with_texts("c", ["red", "blue", "red", ""]).unwrap().with_numbers("y", [10.0, 20.0, 30.0, 40.0]).unwrap()
}

#[test]
fn each_scaling_is_as_written() {
    let deviation = (8.0_f64 / 3.0).sqrt();
    let cases = [
        (Scaling::Auto, [-2.0 / deviation, 0.0, 0.0, 2.0 / deviation]),
        (Scaling::Standard, [-2.0 / deviation, 0.0, 0.0, 2.0 / deviation]),
        (Scaling::MinMax, [0.0, 0.5, 0.5, 1.0]),
        (Scaling::None, [1.0, 3.0, 3.0, 5.0]),
    ];
    for (scaling, want) in cases {
        let p = Preparation::new("y").scaling(scaling).fit(&training()).unwrap();
        let got: Vec<f32> = inputs(&p, &training()).iter().map(|row| row[0]).collect();
        near(&got, &want);
    }
    let p = Preparation::new("y").fit(&training()).unwrap();
    assert_eq!(p.input_names(), ["n", "n missing", "c = blue", "c = red", "c missing"]);
    let rows = inputs(&p, &training());
    assert_eq!(
        rows.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>(),
        [[0., 0., 1., 0.], [0., 1., 0., 0.], [1., 0., 1., 0.], [0., 0., 0., 1.]]
    );
}

#[test]
fn heavy_tails_are_bent_and_only_they() {
    let mut values: Vec<f64> = (0..100).map(f64::from).collect();
    values.push(100_000.0);
    let table = Table::new("t").with_numbers("x", values.clone()).unwrap().with_numbers("y", values).unwrap();
    let p = Preparation::new("y").task(Task::Regression).keep("x").fit(&table).unwrap();
    let rows = inputs(&p, &table);
    // Neighbours stay apart, the far one is near, and order is kept.
    assert!(rows[99][0] - rows[0][0] > 2.0, "{} {}", rows[0][0], rows[99][0]);
    assert!(rows[100][0] < 8.0 && rows.windows(2).all(|pair| pair[0] < pair[1]));
    let plain = Preparation::new("y").task(Task::Regression).keep("x").scaling(Scaling::Standard).fit(&table).unwrap();
    let rows = inputs(&plain, &table);
    assert!(rows[99][0] - rows[0][0] < 0.1 && rows[100][0] > 9.0);
}

#[test]
fn missing_fields_are_filled_as_asked() {
    let with = |policy| {
        let t = Table::new("t").with_numbers("n", [1.0, 2.0, 9.0, f64::NAN]).unwrap();
        let t = t.with_numbers("y", [1.0, 2.5, 3.0, 4.0]).unwrap();
        let p = Preparation::new("y").scaling(Scaling::None).missing(policy).fit(&t)?;
        Ok::<_, Error>(inputs(&p, &t)[3].clone())
    };
    assert_eq!(with(Missing::Mean).unwrap(), [4.0, 1.0]);
    assert_eq!(with(Missing::Median).unwrap(), [2.0, 1.0]);
    says(with(Missing::Error), "t, row 3, column 'n': the field is missing, and missing fields are errors");
    // Dropped: nothing is missing, so there is no second input; later a gap is filled or an error.
    let t = training().drop_missing(&["n", "c"]).unwrap();
    assert_eq!(t.len(), 2);
    let p = Preparation::new("y").task(Task::Regression).fit(&t).unwrap();
    assert_eq!(p.input_names(), ["n", "c = blue", "c = red"]);
    assert_eq!(inputs(&p, &training())[3][1..], [0.0, 0.0]);
    let p = Preparation::new("y").task(Task::Regression).missing(Missing::Error).fit(&t).unwrap();
    let text = "train, row 2, column 'n': the field is missing, and missing fields were set to be errors";
    says(p.encode_table(&training()), text);
}

#[test]
fn the_test_rows_teach_nothing() {
    let train = training().drop_missing(&["n"]).unwrap();
    let p = Preparation::new("y").task(Task::Regression).fit(&train).unwrap();
    let other = Table::new("test")
        .with_numbers("n", [1e9])
        .unwrap()
        .with_texts("c", ["green"])
        .unwrap()
        .with_numbers("y", [1e9])
        .unwrap();
    let before = p.clone();
    let data = p.dataset(&other).unwrap();
    assert_eq!(p, before);
    // Far away, but not out of sight; and a colour that nobody knew.
    assert_eq!(data.input_row(0).unwrap(), [20.0, 0.0, 0.0, 0.0]);
    assert!(data.target_row(0).unwrap()[0] > 1e6);
}

#[test]
fn unknown_categories() {
    let p = Preparation::new("y").unknown(Unknown::Error).fit(&training()).unwrap();
    says(
        p.encode_rows(&[["1", "green"]]),
        "rows to predict, row 0, column 'c': no training row has the category 'green'",
    );
    // With rare ones in training, it is one of them.
    let colours = (0..60).map(|i| if i < 40 { format!("c{}", i % 10) } else { format!("rare{i}") });
    let t = Table::new("t").with_texts("c", colours).unwrap();
    let t = t.with_numbers("y", (0..60).map(|i| f64::from(i) + 0.5)).unwrap();
    let p = Preparation::new("y").fit(&t).unwrap();
    assert_eq!(p.inputs(), 11);
    assert_eq!(p.input_names()[10], "c other");
    for field in ["new", "rare41", ""] {
        assert_eq!(p.encode_rows(&[[field]]).unwrap()[10], 1.0, "{field}");
    }
    let p = Preparation::new("y").max_categories(4).fit(&t).unwrap();
    assert_eq!(p.input_names(), ["c = c0", "c = c1", "c = c2", "c = c3", "c other"]);
    assert!(matches!(
        Preparation::new("y").max_categories(0).fit(&t),
        Err(Error::InvalidOption { option: "max_categories", .. })
    ));
}

#[test]
fn dates_become_day_and_angles() {
    let t = csv("d,y\n2020-01-01,1.5\n2020-04-01,2\n2020-12-31,3\n2021-01-01,4\n");
    assert_eq!(t.column("d").unwrap().kind(), Kind::Date);
    let p = Preparation::new("y").fit(&t).unwrap();
    assert_eq!(p.input_names()[..3], ["d", "d year, sine", "d year, cosine"]);
    assert_eq!(p.inputs(), 5);
    let rows = inputs(&p, &t);
    let apart = |a: usize, b: usize| (rows[a][1] - rows[b][1]).hypot(rows[a][2] - rows[b][2]);
    assert!(apart(2, 3) < 0.02 && apart(0, 3) < 0.02 && apart(0, 1) > 1.0);
    assert_eq!(p.encode_rows(&[["2020-04-01"]]).unwrap(), rows[1]);
    says(p.encode_rows(&[["soon"]]), "rows to predict, row 0, column 'd': 'soon' is no date");
    // With times of day, also the angle in the day.
    let t = csv("d,y\n2020-01-01 00:00,1.5\n2020-01-01 12:00,2\n");
    assert_eq!(Preparation::new("y").fit(&t).unwrap().inputs(), 7);
}

#[test]
fn columns_that_cannot_help_are_left_out_and_said_to_be() {
    let n = 40;
    let mut text = String::from("PassengerId,name,same,empty,key,score,y\n");
    for i in 0..n {
        text.push_str(&format!("{},name {i},7,,{},{},{}\n", i + 1, (i * 37) % 40 + 9000, i * i, i % 2));
    }
    let t = csv(&text);
    let p = Preparation::new("y").fit(&t).unwrap();
    let left: Vec<_> = p.left_out().collect();
    assert_eq!(
        left,
        [
            ("PassengerId", "looks like a number that each row has for itself"),
            ("name", "has 40 different texts in 40 rows"),
            ("same", "is always 7"),
            ("empty", "has no values"),
            ("key", "looks like a number that each row has for itself"),
        ]
    );
    assert_eq!(p.input_names(), ["score"]);
    // Rows to predict are rows of the table all the same.
    assert_eq!(p.columns().collect::<Vec<_>>(), ["PassengerId", "name", "same", "empty", "key", "score"]);
    assert_eq!(p.encode_rows(&[["99", "x", "?", "", "", "0"]]).unwrap().len(), 1);
    let p = Preparation::new("y").keep("key").keep("name").leave_out("score").max_categories(3).fit(&t).unwrap();
    assert_eq!(p.input_names(), ["name = name 0", "name = name 1", "name = name 10", "name other", "key"]);
    assert!(p.left_out().any(|(name, why)| name == "score" && why == "was to be left out"));
    // Row numbers are better than nothing.
    let p = Preparation::new("y").leave_out("score").fit(&t).unwrap();
    assert_eq!(p.input_names(), ["PassengerId", "key"]);
    let p = Preparation::new("y").leave_out("score").leave_out("key").leave_out("0");
    let text = p.fit(&t).unwrap_err().to_string();
    assert!(text.starts_with("t.csv: no column is left to learn from: 'PassengerId' was to be left out"), "{text}");
    says(Preparation::new("y").leave_out("scores").fit(&t), &t.column("scores").unwrap_err().to_string());
}

#[test]
fn a_number_that_counts_is_a_row_number_only_by_its_name_or_place() {
    let rows =
        |front: &str| (0..40).map(|i| format!("{i},{},{i}.5\n", i % 7)).fold(front.to_owned(), |t, row| t + &row);
    let left = |text: String| Preparation::new("2").fit(&csv(&text)).unwrap().left_out().count();
    assert_eq!(left(rows("x,z,y\n")), 0);
    assert_eq!(left(rows("id,z,y\n")), 1);
    assert_eq!(left(rows("paid,z,y\n")), 0);
    assert_eq!(left(rows(",z,y\n")), 1);
    assert_eq!(left(rows("")), 1);
}

#[test]
fn of_texts_that_are_all_different_it_is_kept_whether_there_is_one() {
    let cabins = (0..100).map(|i| if i % 4 == 0 { format!("C{i}") } else { String::new() });
    let t = Table::new("t").with_texts("cabin", cabins).unwrap();
    let t = t.with_numbers("y", (0..100).map(|i| f64::from(i) + 0.5)).unwrap();
    let p = Preparation::new("y").fit(&t).unwrap();
    assert_eq!(p.input_names(), ["cabin other", "cabin missing"]);
    assert_eq!(inputs(&p, &t)[..2], [[1.0, 0.0], [0.0, 1.0]]);
    let back: Preparation = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
    assert_eq!(back, p);
}

// ---- targets ---------------------------------------------------------------------------------------------------

#[test]
fn the_task_is_seen_from_the_target() {
    let of = |values: Vec<&str>| {
        let t = Table::from_rows("t", ["y"], values.iter().map(|v| [*v])).unwrap();
        Task::of(&t.columns()[0])
    };
    let many = |n: usize, rows: usize| (0..rows).map(|i| i % n).map(|i| i.to_string()).collect::<Vec<_>>();
    let refs = |v: &[String]| of(v.iter().map(String::as_str).collect());
    assert_eq!(of(vec!["a", "b"]), Task::Classification);
    assert_eq!(of(vec!["true", "false"]), Task::Classification);
    assert_eq!(of(vec!["0", "1", "0", "1", "1", "0"]), Task::Classification);
    assert_eq!(of(vec!["1.0", "2.0", "1", "2", "1", "2", ""]), Task::Classification);
    assert_eq!(of(vec!["0.5", "1.5", "0.5", "1.5", "0.5", "1.5"]), Task::Regression);
    assert_eq!(of(vec!["1", "2", "3", "4", "5"]), Task::Regression);
    assert_eq!(refs(&many(12, 36)), Task::Classification);
    assert_eq!(refs(&many(12, 35)), Task::Regression);
    assert_eq!(refs(&many(13, 630)), Task::Regression);
}

#[test]
fn classes_keep_their_names_and_order() {
    let t = csv("x,y\n1,10\n2,9\n3,10\n4,9\n5,2\n6,2\n7,9\n8,10\n9,2\n");
    let p = Preparation::new("y").fit(&t).unwrap();
    assert_eq!((p.task(), p.classes()), (Task::Classification, &["2", "9", "10"].map(String::from)[..]));
    let data = p.dataset(&t).unwrap();
    assert!(matches!(data.targets(), Targets::Labels { labels, classes: 3 } if labels[..3] == [2, 1, 2]));
    // The same classes as text, from a table that was read apart.
    let texts = Table::new("u").with_numbers("x", [1.0, 2.0]).unwrap().with_texts("y", ["9.0", " 10"]).unwrap();
    assert_eq!([0, 1].map(|row| p.dataset(&texts).unwrap().label(row)), [Some(1), Some(2)]);
    let answers = p.answers(&[0.1, 0.2, 0.7, 0.5, 0.5, 0.0]).unwrap();
    assert_eq!(answers.classes().collect::<Vec<_>>(), ["10", "2"]);
    assert_eq!(answers.probabilities(1), Some(&[0.5, 0.5, 0.0][..]));
    assert_eq!((answers.class(2), answers.class_index(2), answers.value(0)), (None, None, None));
    assert!(matches!(p.answers(&[0.0; 4]), Err(Error::Shape { .. })));
}

#[test]
fn numbers_come_back_in_their_units() {
    let t = csv("x,price\n1,\"$1,000\"\n2,$3000\n4,$5000\n");
    let p = Preparation::new("price").fit(&t).unwrap();
    let [center, scale] = p.target_scale().unwrap();
    assert_eq!(center, 3000.0);
    assert!((scale - (8e6_f64 / 3.0).sqrt()).abs() < 1e-9);
    let data = p.dataset(&t).unwrap();
    let Targets::Values { values, outputs: 1 } = data.targets() else { panic!("{data:?}") };
    let back = p.answers(values).unwrap();
    assert!(back.values().iter().zip([1000.0, 3000.0, 5000.0]).all(|(got, want)| (got - want).abs() < 1e-3));
    assert_eq!((back.class(0), back.classes().count(), back.len()), (None, 0, 3));
    let plain = Preparation::new("price").scale_target(false).fit(&t).unwrap();
    assert_eq!(plain.target_scale(), Some([0.0, 1.0]));
}

#[test]
fn targets_that_cannot_be_learned() {
    let fit = |text: &str, task: Option<Task>| {
        let mut p = Preparation::new("y");
        if let Some(task) = task {
            p = p.task(task);
        }
        p.fit(&csv(text))
    };
    says(
        fit("x,y\n1,a\n2,\n", None),
        "t.csv, line 3, column 'y': the target is missing; leave such rows out first (Table::drop_missing)",
    );
    says(fit("x,y\n1,a\n2,a\n", None), "t.csv, column 'y': the target is always 'a', so there is nothing to learn");
    says(fit("x,y\n1,1.5\n2,1.5\n", None), "t.csv, column 'y': the target is always 1.5, so there is nothing to learn");
    let regression = Some(Task::Regression);
    says(
        fit("x,y\n1,a\n2,b\n", regression),
        "t.csv, line 2, column 'y': 'a' is no number; a regression needs a target of numbers",
    );
    says(
        fit("x,y\n1,2020-01-01\n2,2020-01-02\n", None),
        "t.csv, column 'y': dates cannot be predicted; take another target",
    );
    let names: String = (0..50).map(|i| format!("{i},name {i}\n")).collect();
    says(
        fit(&format!("x,y\n{names}"), None),
        "t.csv, column 'y': the target has 50 different values in 50 rows, which is too many for classes; \
         take another target, or regression if they are numbers",
    );
    says(fit("y\n1.5\n2\n", None), "t.csv: no column is left to learn from: there is none but the target");
    says(Preparation::new("z").fit(&csv("x,y\n1,2\n")), "t.csv: there is no column 'z'; the columns are: x, y");
    assert!(Preparation::new("-1").fit(&csv("x,y\n1,2\n2,3\n")).is_ok());
    // A slip in a target of numbers is named.
    let rows: String = (0..99).map(|i| format!("{i},{i}.5\n")).collect();
    says(fit(&format!("x,y\n{rows}1,oops\n"), None), "t.csv, line 101, column 'y': 'oops' is no number");
}

// ---- prediction ------------------------------------------------------------------------------------------------

/// A network that has learned which of two lines a point is near.
fn trained(table: &Table, target: &str) -> Network {
    let p = Preparation::new(target).fit(table).unwrap();
    let data = p.dataset(table).unwrap();
    let mut net = Network::new(p.inputs())
        .dense(8, Activation::Tanh)
        .dense(p.outputs(), p.output_activation())
        .seed(1)
        .build(&Device::cpu())
        .unwrap();
    Trainer::new(p.cost(), Sgd::new(0.1)).epochs(40).fit(&mut net, &data, None).unwrap();
    net.set_preparation(p).unwrap();
    net
}

#[test]
fn raw_rows_are_answered_in_the_users_words() {
    let rows =
        (0..100).map(|i| format!("{},{},{}\n", i % 10, ["a", "b"][i % 2], ["no", "yes"][usize::from(i % 10 > 4)]));
    let table = csv(&format!("n,c,y\n{}", rows.collect::<String>()));
    let net = trained(&table, "y");
    let classes = |p: &Predictions| p.classes().map(str::to_owned).collect::<Vec<_>>();
    let text = net.predict_rows(&[["9", "a"], ["0", "b"], [" 8 ", ""], ["", "zzz"]]).unwrap();
    assert_eq!(classes(&text)[..3], ["yes", "no", "yes"]);
    let typed = net.predict_rows(&[vec![Field::from(9), "a".into()], vec![Field::from(0), "b".into()]]).unwrap();
    assert_eq!(typed.probabilities(1), text.probabilities(1));
    // By name: another order, more columns, a target or none; and line ends in the error.
    let other = csv("c,z,n\na,1,9\nb,2,0\n");
    assert_eq!(classes(&net.predict_table(&other).unwrap()), ["yes", "no"]);
    assert_eq!(net.predict_table(&table).unwrap().len(), 100);
    says(net.predict_table(&csv("c,m\na,1\n")), "t.csv: there is no column 'n'; the columns are: c, m");
    says(net.predict_rows(&[["9", "a"], ["x", "b"]]), "rows to predict, row 1, column 'n': 'x' is no number");
    says(
        net.predict_rows(&[vec![1.0]]),
        "rows to predict, row 0: 1 fields, where there are 2 columns without the target 'y'",
    );
    says(
        net.predict_rows(&[[Field::from(f64::INFINITY), Field::Missing]]),
        "rows to predict, row 0, column 'n': the number is infinite",
    );
    assert!(matches!(net.predict_rows(&[] as &[[&str; 2]]), Err(Error::Empty { .. })));
}

#[test]
fn metrics_are_in_the_units_of_the_table() {
    let table = csv(&(0..60).map(|i| format!("{},{}\n", i % 13, 5000 + 700 * (i % 13) + i)).collect::<String>());
    let net = trained(&table, "1");
    let metrics = net.table_metrics(&table).unwrap();
    let answers = net.predict_table(&table).unwrap();
    let error = |row: usize| answers.value(row).unwrap() - (5000 + 700 * (row % 13) + row) as f64;
    let mean = |f: fn(f64) -> f64| (0..60).map(|row| f(error(row))).sum::<f64>() / 60.0;
    let (mse, mae) = (mean(|e| e * e), mean(f64::abs));
    assert!((metrics.errors[0].mse - mse).abs() <= 1e-3 * mse, "{metrics:?} {mse}");
    assert!((metrics.errors[0].mae - mae).abs() <= 1e-3 * mae, "{metrics:?} {mae}");
    // The errors are not those of the scaled numbers, and the summary can be put into units too.
    let p = net.preparation().unwrap();
    let data = p.dataset(&table).unwrap();
    let plain = net.evaluate(&data, p.cost()).unwrap();
    assert!(mae > 1.5 * plain.mae.unwrap());
    let scaled = plain.in_units_of(p);
    assert!(
        (scaled.mae.unwrap() - mae).abs() <= 1e-3 * mae
            && (scaled.rmse.unwrap() - mse.sqrt()).abs() <= 1e-3 * mse.sqrt()
    );
    assert_eq!((scaled.r2, scaled.cost), (plain.r2, plain.cost));
}

#[test]
fn a_network_takes_only_a_preparation_that_fits() {
    let p = Preparation::new("y").fit(&training()).unwrap();
    let mut net = Network::new(4).dense(1, Activation::Identity).build(&Device::cpu()).unwrap();
    says(
        net.set_preparation(p.clone()),
        "set_preparation: inputs of the network: expected 5, as the preparation makes, got 4",
    );
    assert!(net.preparation().is_none());
    says(
        net.predict_rows(&[["1", "red"]]),
        "network: it has no preparation for raw rows; give it one with set_preparation",
    );
    let mut net = Network::new(5).dense(3, Activation::Identity).build(&Device::cpu()).unwrap();
    let text = net.set_preparation(p.clone()).unwrap_err().to_string();
    assert!(text.starts_with("set_preparation: outputs of the network: expected"), "{text}");
    let mut net = Network::new(5).dense(p.outputs(), Activation::Identity).build(&Device::cpu()).unwrap();
    net.set_preparation(p.clone()).unwrap();
    assert_eq!(net.preparation(), Some(&p));
}

#[test]
fn the_reader_of_a_preparation_takes_columns_for_what_they_were() {
    let codes = TableReader::new().categorical("code").read_from(&b"code,y\n01,a\n2,b\n01,a\n"[..], "t").unwrap();
    let p = Preparation::new("y").fit(&codes).unwrap();
    let later = p.reader().read_from(&b"y,code\nb,01\n"[..], "u").unwrap();
    assert_eq!(later.column("code").unwrap().kind(), Kind::Category);
    assert_eq!(inputs(&p, &later), [[1.0, 0.0]]);
    let error = p.reader().read_from(&b"code\n7\n"[..], "u").map(|t| p.encode_table(&t));
    assert_eq!(error.unwrap().unwrap(), [0.0, 0.0]);
    // Without a header: by place, with the target or without it, wherever that is.
    let first = csv("a,1,5\nb,2,7\na,3,5\nb,1,9\n");
    let p = Preparation::new("0").fit(&first).unwrap();
    let bare = p.reader().read_from(&b"3,7\n"[..], "u").unwrap();
    let whole = p.reader().read_from(&b"b,3,7\n"[..], "u").unwrap();
    assert_eq!(p.encode_table(&bare).unwrap(), p.encode_table(&whole).unwrap());
}

// ---- storage ---------------------------------------------------------------------------------------------------

fn awkward() -> Preparation {
    let t = csv(
        "n,d,c,h,y\n1.5,2020-01-01 10:00,a,1,5\n,2020-02-01 11:00,b,2,7\n3.25,,a,90000000000,11.5\n9,2021-01-01 01:00,\"é \"\"q\"\"\",3,7\n",
    );
    Preparation::new("y").fit(&t).unwrap()
}

#[test]
fn a_stored_preparation_is_the_same_to_the_bit() {
    for p in [awkward(), Preparation::new("c").fit(&training().drop_missing(&["c"]).unwrap()).unwrap()] {
        let text = serde_json::to_string(&p).unwrap();
        let back: Preparation = serde_json::from_str(&text).unwrap();
        assert_eq!(back, p);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}

#[test]
fn a_stored_preparation_is_not_believed() {
    let good = serde_json::to_value(awkward()).unwrap();
    let damage = |path: &str, value: serde_json::Value| {
        let mut json = good.clone();
        *json.pointer_mut(path).unwrap_or_else(|| panic!("{path} in {good:#}")) = value;
        serde_json::from_value::<Preparation>(json).unwrap_err().to_string()
    };
    use serde_json::json;
    for (path, value, want) in [
        ("/inputs/0/encoding/Number/scale/scale", json!(0.0), "column 'n': its scale must be finite, and above 0"),
        ("/inputs/0/encoding/Number/scale/scale", json!(null), "invalid type: null"),
        ("/inputs/0/encoding/Number/fill", json!("x"), "invalid type"),
        ("/inputs/2/encoding/Category/categories", json!(["b", "a"]), "column 'c': its categories must be sorted"),
        ("/inputs/2/encoding/Category/categories", json!([]), "its categories must be sorted"),
        ("/inputs/1/name", json!("n"), "two columns have the name 'n'"),
        ("/inputs/1/name", json!("y"), "two columns have the name 'y'"),
        ("/inputs", json!([]), "no column is left to learn from"),
        ("/target/Number/scale/scale", json!(-1.0), "target 'y': its scale must be"),
        (
            "/target",
            json!({"Classes": {"names": ["a"], "comma": false}}),
            "target 'y': its classes must be different, from 2",
        ),
        ("/target", json!({"Classes": {"names": ["a", "a"], "comma": false}}), "its classes must be different"),
        ("/target", json!({"Sorcery": {}}), "unknown variant"),
        ("/inputs/0/encoding", json!({"LeftOut": {"why": "x", "more": 1}}), "unknown field"),
    ] {
        let text = damage(path, value);
        assert!(text.contains(want), "{path}: '{text}' does not contain '{want}'");
    }
    let wide: Vec<String> = (0..70_000).map(|i| format!("{i:06}")).collect();
    let text = damage("/inputs/2/encoding/Category/categories", json!(wide));
    assert!(text.contains("where 65536 is the most"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the numbers of a column, its inputs are finite, in order, and equal for text and number.
    #[test]
    fn any_numbers_make_finite_inputs_in_order(
        values in proptest::collection::vec(prop_oneof![any::<f64>(), -10.0..10.0_f64, Just(0.0), Just(f64::NAN)], 2..40),
        asked in any::<f64>(),
        scaling in proptest::sample::select(vec![Scaling::Auto, Scaling::Standard, Scaling::MinMax, Scaling::None]),
    ) {
        let values: Vec<f64> = values.into_iter().map(|x| if x.is_infinite() { 1e308 } else { x }).collect();
        let t = Table::new("t").with_numbers("x", values.clone()).unwrap();
        let t = t.with_numbers("y", (0..values.len()).map(|i| i as f64 + 0.5)).unwrap();
        let Ok(p) = Preparation::new("y").keep("x").scaling(scaling).fit(&t) else { return Ok(()) };
        let rows = p.encode_table(&t).unwrap();
        prop_assert!(rows.iter().all(|x| x.is_finite()), "{rows:?}");
        let mut pairs: Vec<(f64, f32)> = values.iter().copied().zip(rows.chunks(p.inputs()).map(|row| row[0])).filter(|(x, _)| !x.is_nan()).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        prop_assert!(pairs.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{pairs:?}");
        if asked.is_finite() {
            let (number, text) = (p.encode_rows(&[[asked]]).unwrap(), p.encode_rows(&[[format!("{asked:?}").as_str()]]).unwrap());
            prop_assert!(number.iter().all(|x| x.is_finite()));
            prop_assert_eq!(number, text);
        }
        let stored: Preparation = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
        prop_assert_eq!(stored, p);
    }

    /// Any text at all is an answer or an error.
    #[test]
    fn any_fields_are_taken_or_refused(fields in proptest::collection::vec(".{0,12}", 0..6)) {
        let p = awkward();
        match p.encode_rows(&[fields.iter().map(String::as_str).collect::<Vec<_>>()]) {
            Ok(row) => prop_assert!(row.len() == p.inputs() && row.iter().all(|x| x.is_finite())),
            Err(error) => prop_assert!(error.to_string().starts_with("rows to predict, row 0"), "{error}"),
        }
    }

    /// Any JSON with these names is a preparation or an error, and one that loads can be used.
    #[test]
    fn any_stored_numbers_are_taken_or_refused(numbers in [any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>()]) {
        let [m, u, center, scale] = numbers;
        let mut json = serde_json::to_value(awkward()).unwrap();
        json["inputs"][0]["encoding"]["Number"]["scale"] = serde_json::json!({"log": [m, u], "center": center, "scale": scale});
        if let Ok(p) = serde_json::from_value::<Preparation>(json) {
            let row = p.encode_rows(&[["1e300", "", "a", "-1"]]).unwrap();
            prop_assert!(row.iter().all(|x| x.is_finite()), "{row:?} {numbers:?}");
        }
    }
}

/// Prices: none is negative, some are far above the others; no answer is negative either, nor is the scale bent.
#[test]
fn targets_with_a_heavy_tail_have_positive_answers() {
    // x over [-1, 1), in an order that is none; the exponent makes the tail.
    let x = |i: u32| (i * 263 % 400) as f32 / 200.0 - 1.0;
    let rows: Vec<(f32, f32)> = (0..400).map(|i| (x(i), (12.0 * x(i)).exp())).collect();
    let text =
        |rows: &[(f32, f32)]| rows.iter().fold("x,price\n".to_owned(), |text, (x, y)| text + &format!("{x},{y}\n"));
    let t = csv(&text(&rows));
    let p = Preparation::new("price").fit(&t).unwrap();
    assert_eq!((p.output_activation(), p.cost()), (Activation::Softplus, Cost::Quadratic));
    let [center, scale] = p.target_scale().unwrap();
    assert!(center == 0.0 && scale > 1.0, "{center}, {scale}");
    // What is stored is read back, and a preparation that was stored before this was known has none of it.
    let stored = serde_json::to_string(&p).unwrap();
    assert_eq!(serde_json::from_str::<Preparation>(&stored).unwrap(), p);
    let older = stored.replace(",\"positive\":true", "");
    assert_ne!(older, stored);
    assert_eq!(serde_json::from_str::<Preparation>(&older).unwrap().output_activation(), Activation::Identity);

    let data = p.dataset(&t).unwrap();
    let mut net = Network::new(p.inputs())
        .dense(16, Activation::Tanh)
        .dense(1, p.output_activation())
        .seed(1)
        .build(&Device::cpu())
        .unwrap();
    Trainer::new(p.cost(), Adam::new(0.02)).epochs(100).fit(&mut net, &data, None).unwrap();
    net.set_preparation(p).unwrap();
    assert!(net.predict_table(&t).unwrap().values().iter().all(|&y| y > 0.0));
    let scores = net.table_metrics(&t).unwrap();
    assert!(scores.errors[0].r2 > 0.7, "{:?}", scores.errors[0]);

    // A negative one among them, or no tail: the plain scale.
    let mut below = rows.clone();
    below[0].1 = -1.0;
    assert_eq!(Preparation::new("price").fit(&csv(&text(&below))).unwrap().output_activation(), Activation::Identity);
    let level: Vec<_> = rows.iter().map(|&(x, y)| (x, y.ln() + 10.0)).collect();
    let p = Preparation::new("price").fit(&csv(&text(&level))).unwrap();
    assert_eq!(p.output_activation(), Activation::Identity);
    assert!(p.target_scale().unwrap()[0] > 9.0);
}
