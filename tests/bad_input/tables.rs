//! Tables, readers and preparations of anything.

use wgrad::data::load_mnist_dir;
use wgrad::data::{
    Field, Kind, Missing, Preparation, Scaling, Table, TableReader, Task, Unknown, load_idx_pair, read_idx,
};
use wgrad::{Device, Error, Network};

use crate::{COUNTS, NUMBERS, kind, refused};

const TEXT: &str = "a,b,c\n1,x,2\n2,y,3\n3,x,5\n";

#[test]
fn readers_of_any_settings() {
    let read = |reader: &TableReader| reader.read_from(TEXT.as_bytes(), "t");
    for byte in 0..=u8::MAX {
        match read(&TableReader::new().delimiter(byte)) {
            Ok(table) => assert!(!table.is_empty() && !table.columns().is_empty(), "byte {byte}"),
            Err(error) => assert!(["option", "table"].contains(&kind(&error)), "byte {byte}: {error}"),
        }
    }
    for count in COUNTS {
        assert_eq!(read(&TableReader::new().max_fields(count)).is_ok(), count >= 9, "{count} fields");
        assert_eq!(read(&TableReader::new().max_bytes(count as u64)).is_ok(), count >= TEXT.len(), "{count} bytes");
    }
    for header in [true, false] {
        let table = read(&TableReader::new().header(header)).expect("a table");
        assert_eq!(table.len(), if header { 3 } else { 4 });
        for only in ["a,b", "", "\n\n", "\"", "\u{feff}"] {
            let made = TableReader::new().header(header).read_from(only.as_bytes(), "t");
            assert!(made.is_err() || !header && only == "a,b", "{only:?}: {made:?}");
        }
    }
    refused(read(&TableReader::new().numeric("b")), "table", "texts as numbers");
    refused(read(&TableReader::new().kind("a", Kind::Date)), "table", "numbers as dates");
    for name in ["", "z", "-4", "3", "99999999999999999999"] {
        refused(read(&TableReader::new().categorical(name)), "table", name);
    }
    let all = read(&TableReader::new().missing_words(["x", "y", "", " 1 ", "1"])).expect("a table");
    assert_eq!((all.columns()[1].missing(), all.columns()[0].missing()), (3, 1));
    assert!(read(&TableReader::new().missing_words([""; 0])).is_ok());
    for path in ["", "no such file", "nul\0", "/"] {
        for made in [Table::read(path), TableReader::new().read(path)] {
            assert!(made.is_err_and(|error| ["io", "file"].contains(&kind(&error))), "{path}");
        }
        assert!(read_idx(path).is_err() && load_idx_pair(path, path, Some(usize::MAX)).is_err(), "{path}");
        assert!(load_mnist_dir(path).is_err(), "{path}");
    }
}

#[test]
fn tables_of_anything() {
    let none: [f64; 0] = [];
    let table = || Table::new("").with_numbers("", [1.0, f64::NAN]).expect("a table");
    assert_eq!((table().len(), table().columns()[0].missing()), (2, 1));
    assert!(Table::new("t").with_numbers("x", none).is_ok_and(|table| table.is_empty()));
    for &x in &NUMBERS {
        let made = Table::new("t").with_numbers("x", [x]);
        assert_eq!(made.is_ok(), !x.is_infinite(), "{x}");
        let rows = Table::from_rows("t", ["x"], [[x]]);
        assert_eq!(rows.is_ok(), !x.is_infinite(), "{x}");
        if let (Ok(made), Ok(rows)) = (made, rows) {
            let same = |field: Field<'_>| if x.is_nan() { field == Field::Missing } else { field == Field::Number(x) };
            assert!(same(made.columns()[0].field(0)) && same(rows.columns()[0].field(0)), "{x}: {rows:?}");
            assert_eq!(made.columns()[0].field(usize::MAX), Field::Missing);
        }
    }
    for text in ["", " ", "\u{0}", "\u{1f4a5}", "na", "1e999", "\"", "a\nb"] {
        assert!(table().with_texts(text, [text, text]).is_ok() != text.is_empty(), "'{text}'");
    }
    refused(table().with_texts("y", ["a"]), "table", "a row less");
    refused(Table::from_rows("t", ["a", "a"], [["1", "2"]]), "table", "a name twice");
    refused(Table::from_rows("t", [""; 0], [["1"]]), "empty", "no columns");
    for name in ["x", "-2", "1", "18446744073709551616"] {
        refused(table().column(name).cloned(), "table", name);
        refused(table().drop_missing(&[name]), "table", name);
        refused(table().split_stratified(name, [0.5, 0.5], 1), "table", name);
        refused(table().split_stratified_as(name, Task::Classification, [0.5, 0.5], 1), "table", name);
    }
    assert!(table().drop_missing(&[]).is_ok_and(|table| table.len() == 2));
    assert!(table().select(&[]).is_ok_and(|table| table.is_empty()));
    refused(table().select(&[2]), "shape", "a row that there is not");
    for &share in &NUMBERS {
        let good = share > 0.0 && share.is_finite();
        match table().split([share, share], 3) {
            Ok([one, two]) => assert!(good && one.len() == 1 && two.len() == 1, "{share}"),
            Err(error) => assert!(!good && kind(&error) == "option", "{share}: {error}"),
        }
    }
    refused(Table::new("t").split([0.5, 0.5], 1), "empty", "no rows");
    refused(table().split_stratified("", [1.0, f64::NAN], 1), "option", "a share that is none");
    for task in [Task::Classification, Task::Regression] {
        refused(table().split_stratified_as("", task, [1.0, f64::NAN], 1), "option", "a share that is none");
        refused(table().split_stratified_as("", task, [], 1), "empty", "no shares");
        refused(table().split_stratified_as("", task, [1.0; 3], 1), "empty", "more parts than rows");
    }
}

fn prepared(target: &str) -> Preparation {
    let table = TableReader::new().read_from(TEXT.as_bytes(), "t").expect("a table");
    Preparation::new(target).fit(&table).expect("a preparation")
}

#[test]
fn preparations_of_any_settings() {
    let table = TableReader::new().read_from(TEXT.as_bytes(), "t").expect("a table");
    for name in ["", "z", "7"] {
        refused(Preparation::new(name).fit(&table), "table", name);
        refused(Preparation::new("c").leave_out(name).fit(&table), "table", name);
        refused(Preparation::new("c").keep(name).fit(&table), "table", name);
    }
    for count in COUNTS {
        let made = Preparation::new("c").max_categories(count).fit(&table);
        assert_eq!(made.is_ok(), count > 0, "{count} categories");
    }
    let both = Preparation::new("c").leave_out("a").leave_out("b").fit(&table);
    refused(both, "table", "nothing is left");
    assert!(Preparation::new("c").leave_out("a").keep("a").fit(&table).is_ok());
    for task in [Task::Classification, Task::Regression] {
        let made = Preparation::new("b").task(task).fit(&table);
        assert_eq!(made.is_ok(), task == Task::Classification, "a target of texts as {task}");
        let _ = Task::of(&table.columns()[1]);
    }
    for scaling in [Scaling::Auto, Scaling::Standard, Scaling::MinMax, Scaling::None] {
        for (missing, unknown) in [(Missing::Error, Unknown::Error), (Missing::Mean, Unknown::Allow)] {
            // Numbers at both ends, and gaps.
            let ends = [f64::MAX, f64::MIN, 5e-324, if missing == Missing::Mean { f64::NAN } else { 0.0 }];
            let table = Table::new("t").with_numbers("x", ends).and_then(|t| t.with_numbers("y", [1.0, 2.0, 3.0, 9.0]));
            let table = table.expect("a table");
            for scaled in [true, false] {
                let fit = Preparation::new("y").scaling(scaling).missing(missing).unknown(unknown).scale_target(scaled);
                let fitted = fit.fit(&table).expect("a preparation");
                let inputs = fitted.encode_table(&table).expect("inputs");
                assert!(inputs.iter().all(|x| x.is_finite()), "{scaling:?}: {inputs:?}");
                assert!(fitted.dataset(&table).is_ok());
            }
        }
    }
    refused(Preparation::new("c").fit(&table.select(&[]).expect("no rows")), "table", "no rows");
}

#[test]
fn rows_and_answers_of_anything() {
    let preparation = prepared("c");
    for &x in &NUMBERS {
        let encoded = preparation.encode_rows(&[[Field::Number(x), Field::Text("x")]]);
        assert_eq!(encoded.is_ok(), !x.is_infinite(), "{x}");
        assert!(encoded.is_ok_and(|numbers| numbers.iter().all(|n| n.is_finite())) || x.is_infinite(), "{x}");
        let answers = preparation.answers(&[x as f32]);
        assert_eq!(answers.is_ok(), (x as f32).is_finite(), "{x}");
    }
    refused(preparation.encode_rows(&[["1"]]), "table", "a field less");
    refused(preparation.encode_rows(&[["one", "x"]]), "table", "a word where a number belongs");
    assert!(preparation.encode_rows::<[&str; 2], &str>(&[]).is_ok_and(|numbers| numbers.is_empty()));
    let other = Table::new("u").with_numbers("a", [1.0]).expect("a table");
    refused(preparation.encode_table(&other), "table", "a column less");
    refused(preparation.dataset(&other), "table", "no target");

    let classes = prepared("b");
    refused(classes.answers(&[0.5; 3]), "shape", "one number and a half a row");
    refused(classes.answers(&[0.5, f32::NAN]), "not finite", "no number");
    let answers = classes.answers(&[0.5, 0.25]).expect("one row");
    for row in [1, usize::MAX] {
        assert!(answers.class(row).is_none() && answers.class_index(row).is_none());
        assert!(answers.probabilities(row).is_none() && answers.value(row).is_none());
    }
    assert!(classes.answers(&[]).is_ok_and(|answers| answers.is_empty()));

    // A network that carries none, and one that it does not fit.
    let mut net = Network::new(2).dense(1, wgrad::Activation::Identity).build(&Device::cpu()).expect("a network");
    refused(net.predict_rows(&[["1", "x"]]), "architecture", "no preparation");
    refused(net.predict_table(&other), "architecture", "no preparation");
    refused(net.table_metrics(&other), "architecture", "no preparation");
    refused(net.set_preparation(preparation), "shape", "other inputs");
    assert!(net.preparation().is_none());
    let error = Table::new("t").column("x").cloned().expect_err("no columns");
    assert!(matches!(error, Error::Table { .. }));
}
