//! Any bytes as a table, with any settings; then all that is done with a table before a network sees it.
//!
//! The first byte chooses the settings, the rest is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgrad::data::{Missing, Preparation, Scaling, Table, TableReader, Task, Unknown};
use wgrad::{Error, Result};

fuzz_target!(|input: &[u8]| {
    let Some((&settings, file)) = input.split_first() else { return };
    let bit = |at: u8| settings >> at & 1 == 1;
    let mut reader = TableReader::new().max_bytes(1 << 20).max_fields(1 << 16);
    if bit(0) {
        reader = reader.header(bit(1));
    }
    if bit(2) {
        reader = reader.delimiter(if bit(3) { b';' } else { b',' });
    }
    if bit(4) {
        reader = reader.kind("0", if bit(1) { wgrad::data::Kind::Number } else { wgrad::data::Kind::Date });
    }
    match reader.read_from(file, "file") {
        Ok(table) => {
            assert!(!table.columns().is_empty() && !table.is_empty());
            if let Err(error) = prepare(&table, settings) {
                assert!(matches!(error, Error::Table { .. } | Error::Empty { .. }), "{error:?}");
            }
        }
        Err(error) => assert!(matches!(error, Error::File { .. } | Error::Table { .. }), "{error:?}"),
    }
});

/// Inputs and targets of the table's own rows, with the last column as the target.
fn prepare(table: &Table, settings: u8) -> Result<()> {
    let bit = |at: u8| settings >> at & 1 == 1;
    let mut builder = Preparation::new(table.columns()[table.columns().len() - 1].name())
        .scaling([Scaling::Auto, Scaling::MinMax][usize::from(bit(5))])
        .missing([Missing::Median, Missing::Error][usize::from(bit(6))])
        .unknown([Unknown::Allow, Unknown::Error][usize::from(bit(7))])
        .max_categories(3 + usize::from(bit(3)));
    if bit(2) {
        builder = builder.task(if bit(3) { Task::Regression } else { Task::Classification });
    }
    let preparation = builder.fit(table)?;
    let data = preparation.dataset(table)?;
    assert_eq!((data.len(), data.features()), (table.len(), preparation.inputs()));
    for row in 0..data.len() {
        assert!(data.input_row(row)?.iter().all(|x| x.is_finite()), "row {row}");
    }
    preparation.answers(&vec![0.5; preparation.outputs()])?;
    Ok(())
}
