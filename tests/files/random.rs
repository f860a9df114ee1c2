//! Any bytes at all.

use proptest::prelude::*;
use proptest::sample::Index;
use wgrad::Error;
use wgrad::data::{IdxArray, IdxData, read_idx_from};

use crate::make::{floats, gzip, idx, small};
use crate::memory::peak;

/// Whether an array keeps what [`IdxArray`] promises.
fn consistent(array: &IdxArray) -> bool {
    (1..=8).contains(&array.dims.len())
        && array.dims.iter().try_fold(1usize, |n, &size| n.checked_mul(size)) == Some(array.data.len())
        && !array.data.is_empty()
}

#[test]
fn inconsistent_arrays_are_noticed() {
    let wrong = |dims: &[usize], len| !consistent(&IdxArray { dims: dims.to_vec(), data: IdxData::U8(vec![0; len]) });
    assert!(wrong(&[], 1) && wrong(&[2, 3], 5) && wrong(&[2, 0], 0) && wrong(&[1; 9], 1) && wrong(&[usize::MAX, 3], 3));
    assert!(!wrong(&[2, 3], 6));
}

/// Neither a panic, nor nonsense, nor much memory.
fn survives(file: &[u8]) -> Result<(), TestCaseError> {
    let (result, held) = peak(|| read_idx_from(file, "file"));
    prop_assert!(held < (1 << 20) + 4 * file.len(), "{} bytes for {}", held, file.len());
    match result {
        Ok(array) => prop_assert!(consistent(&array), "{:?}", array.dims),
        Err(error) => prop_assert!(matches!(error, Error::File { .. }), "{:?}", error),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(file in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&file)?;
        survives(&gzip(&file))?;
        survives(&[&[0x1f, 0x8b, 8][..], &file].concat())?;
    }

    #[test]
    fn random_headers(
        float: bool,
        dims in prop::collection::vec(0u32..6, 0..10),
        file in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        survives(&idx(if float { 0x0d } else { 8 }, &dims, &file))?;
    }

    #[test]
    fn flipped_and_cut_files(
        float: bool,
        packed: bool,
        flips in prop::collection::vec((any::<Index>(), 1u8..), 0..4),
        cut in prop::option::of(any::<Index>()),
    ) {
        let mut file = if float { floats(&[2, 3], &[0.5, 1.0, 2.0, 3.0, 4.0, 5.0]) } else { small() };
        if packed {
            file = gzip(&file);
        }
        let whole = file.len();
        for (at, bits) in &flips {
            let at = at.index(file.len());
            file[at] ^= bits;
        }
        if let Some(at) = cut {
            file.truncate(at.index(file.len()));
        }
        survives(&file)?;
        if file.len() < whole {
            prop_assert!(!flips.is_empty() || read_idx_from(&file[..], "cut").is_err());
        }
    }

    #[test]
    fn what_is_written_is_read(dims in prop::collection::vec(1u32..5, 1..=8), seed: u8, packed: bool) {
        let count = dims.iter().product::<u32>();
        let data: Vec<u8> = (0..count).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
        let file = idx(8, &dims, &data);
        let file = if packed { gzip(&file) } else { file };
        let array = read_idx_from(&file[..], "file").unwrap();
        prop_assert!(array.dims.iter().eq(dims.iter().map(|&size| size as usize).collect::<Vec<_>>().iter()));
        prop_assert_eq!(array.data, IdxData::U8(data));
    }
}
