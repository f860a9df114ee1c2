//! Any bytes as an IDX file: an array whose sizes fit its data, or `Error::File`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgrad::Error;
use wgrad::data::read_idx_from;

fuzz_target!(|file: &[u8]| {
    match read_idx_from(file, "file") {
        Ok(array) => {
            assert!((1..=8).contains(&array.dims.len()), "{:?}", array.dims);
            assert_eq!(array.dims.iter().product::<usize>(), array.data.len());
        }
        Err(error) => assert!(matches!(error, Error::File { .. }), "{error:?}"),
    }
});
