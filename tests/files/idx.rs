//! One IDX file: right, or wrong in one way.

use std::io::{self, Read};

use wgrad::Error;
use wgrad::data::{IdxArray, IdxData, read_idx, read_idx_from};

use crate::make::{Folder, contains, floats, gzip, idx, problem, refusal, small};
use crate::memory::peak;

// ---- files that are right --------------------------------------------------------------------------------------

#[test]
fn bytes_and_floats_are_read() {
    let folder = Folder::new();
    let array = read_idx(folder.put("bytes", &small())).unwrap();
    assert_eq!(array, IdxArray { dims: vec![3, 2, 2], data: IdxData::U8((1..13).collect()) });

    let values = [0.0, -1.5, f32::MAX, f32::INFINITY];
    let array = read_idx(folder.put("floats", &floats(&[2, 2], &values))).unwrap();
    assert_eq!(array, IdxArray { dims: vec![2, 2], data: IdxData::F32(values.to_vec()) });
}

#[test]
fn one_and_eight_dimensions_are_read() {
    assert_eq!(read_idx_from(&idx(8, &[1], &[9])[..], "one").unwrap().dims, [1]);
    let eight = read_idx_from(&idx(8, &[1, 2, 1, 2, 1, 1, 1, 1], &[9; 4])[..], "eight").unwrap();
    assert_eq!((eight.dims.len(), eight.data.len()), (8, 4));
}

#[test]
fn sizes_around_the_chunk_of_reading_are_whole() {
    for count in [65_535u32, 65_536, 65_537, 131_072, 200_001] {
        let data: Vec<u8> = (0..count).map(|i| (i % 251) as u8).collect();
        assert_eq!(read_idx_from(&idx(8, &[count], &data)[..], "").unwrap().data, IdxData::U8(data.clone()));
        let values: Vec<f32> = data.iter().map(|&byte| f32::from(byte) - 7.5).collect();
        assert_eq!(read_idx_from(&floats(&[count], &values)[..], "").unwrap().data, IdxData::F32(values));
    }
}

#[test]
fn gzip_is_known_by_its_first_bytes_and_not_by_the_name() {
    let folder = Folder::new();
    let want = read_idx(folder.put("plain", &small())).unwrap();
    assert_eq!(read_idx(folder.put("packed.gz", &gzip(&small()))).unwrap(), want);
    assert_eq!(read_idx(folder.put("packed", &gzip(&small()))).unwrap(), want);
    assert_eq!(read_idx(folder.put("plain.gz", &small())).unwrap(), want);
}

#[test]
fn several_gzip_members_are_one_file() {
    let folder = Folder::new();
    let file = [gzip(&small()[..7]), gzip(&[]), gzip(&small()[7..])].concat();
    assert_eq!(read_idx(folder.put("members", &file)).unwrap(), read_idx(folder.put("plain", &small())).unwrap());
}

#[test]
fn a_slow_reader_that_is_interrupted_gives_the_same() {
    struct Slow<R>(R, bool);
    impl<R: Read> Read for Slow<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..1]) }
        }
    }
    let want = read_idx_from(&small()[..], "").unwrap();
    assert_eq!(read_idx_from(Slow(&small()[..], false), "").unwrap(), want);
    assert_eq!(read_idx_from(Slow(&gzip(&small())[..], false), "").unwrap(), want);
}

// ---- files that are wrong --------------------------------------------------------------------------------------

#[test]
fn missing_file() {
    let path = Folder::new().path().join("nothing");
    let error = read_idx(&path).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, source } if *named == path
        && source.kind() == io::ErrorKind::NotFound));
    contains(&error.to_string(), "nothing");
}

#[test]
fn directory_in_place_of_a_file() {
    let folder = Folder::new();
    let result = read_idx(folder.path());
    // Some systems refuse to open one in the first place.
    assert!(matches!(&result, Err(Error::Io { .. } | Error::File { .. })), "{result:?}");
    #[cfg(unix)]
    contains(&problem(folder.path(), result), "directory");
}

#[test]
fn failing_disk_or_connection() {
    struct Failing(fn() -> io::Error);
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0())
        }
    }
    // The last one looks like damage, but a plain file has no gzip stream to be damaged.
    let disk = || io::Error::from_raw_os_error(5);
    let errors = [disk, || io::Error::other("cable"), || io::Error::from(io::ErrorKind::InvalidData)];
    for (i, error) in errors.into_iter().enumerate() {
        let plain = read_idx_from(small()[..6].chain(Failing(error)), "disk").unwrap_err();
        assert!(matches!(&plain, Error::Io { source, .. } if source.kind() == error().kind()), "{plain:?}");
        let packed = read_idx_from(gzip(&small())[..20].chain(Failing(error)), "disk").unwrap_err();
        assert_eq!(matches!(packed, Error::Io { .. }), i < 2, "{packed:?}");
    }
}

#[test]
fn empty_file() {
    contains(&refusal(&[]), "is empty");
    contains(&refusal(&gzip(&[])), "is empty");
}

#[test]
fn header_cut_short() {
    for len in 1..16 {
        contains(&refusal(&small()[..len]), &format!("ends after {len} bytes, within its IDX header"));
    }
    contains(&refusal(&gzip(&small()[..10])), "ends after 10 bytes");
}

#[test]
fn another_format() {
    contains(&refusal(b"<!DOCTYPE html>"), "starts with the bytes 3c 21");
    contains(&refusal(&[0, 1, 8, 1, 0, 0, 0, 1, 5]), "starts with the bytes 00 01");
}

#[test]
fn unsupported_type() {
    for (kind, name) in [(0x09, "i8"), (0x0b, "i16"), (0x0c, "i32"), (0x0e, "f64")] {
        let text = refusal(&idx(kind, &[1], &[0; 8]));
        contains(&text, &format!("0x{kind:02x} ({name}) is not supported"));
    }
}

#[test]
fn unknown_type() {
    for kind in [0x00, 0x07, 0x0a, 0x0f, 0xff] {
        contains(&refusal(&idx(kind, &[1], &[0])), &format!("is 0x{kind:02x}, which is none"));
    }
}

#[test]
fn no_dimensions() {
    contains(&refusal(&idx(8, &[], &[7])), "number of dimensions, is 0");
}

#[test]
fn too_many_dimensions() {
    contains(&refusal(&idx(8, &[1; 9], &[7])), "number of dimensions, is 9");
    contains(&refusal(&idx(8, &[1; 255], &[7])), "number of dimensions, is 255");
}

#[test]
fn dimension_of_size_zero() {
    contains(&refusal(&idx(8, &[3, 0, 2], &[])), "dimension 1, counted from 0, has size 0");
    contains(&refusal(&idx(8, &[0], &[])), "size 0");
}

#[test]
fn more_elements_than_can_be_counted() {
    contains(&refusal(&idx(8, &[u32::MAX; 8], &[1])), "more elements than there can be");
    // Countable as elements, but not as bytes.
    contains(&refusal(&idx(0x0d, &[u32::MAX, u32::MAX], &[1])), "more elements than there can be");
}

#[test]
fn data_cut_short() {
    for len in 16..28 {
        contains(&refusal(&small()[..len]), &format!("the data end after {} of 12 bytes", len - 16));
    }
    let floats = floats(&[3], &[1.0; 3]);
    contains(&refusal(&floats[..floats.len() - 1]), "the data end after 11 of 12 bytes");
    contains(&refusal(&gzip(&small()[..20])), "the data end after 4 of 12 bytes");
}

#[test]
fn data_beyond_the_header() {
    contains(&refusal(&[&small()[..], &[0]].concat()), "data go on after the 12 elements");
    contains(&refusal(&gzip(&[&small()[..], &[0]].concat())), "data go on after the 12 elements");
    contains(&refusal(&[gzip(&small()), gzip(&small())].concat()), "data go on after the 12 elements");
}

#[test]
fn gzip_cut_short() {
    let packed = gzip(&small());
    for len in 2..packed.len() {
        contains(&refusal(&packed[..len]), "the gzip stream is damaged or cut short");
    }
    // The two bytes by which it is known are then all there is to see: no IDX header.
    contains(&refusal(&packed[..1]), "ends after 1 bytes");
}

#[test]
fn gzip_with_a_wrong_checksum_or_length() {
    let packed = gzip(&small());
    for from_end in 1..=8 {
        let mut damaged = packed.clone();
        let at = damaged.len() - from_end;
        damaged[at] ^= 1;
        contains(&refusal(&damaged), "the gzip stream is damaged");
    }
}

#[test]
fn gzip_followed_by_something_else() {
    contains(&refusal(&[gzip(&small()), b"more".to_vec()].concat()), "the gzip stream is damaged");
}

#[test]
fn header_that_promises_a_terabyte() {
    // `refusal` checks the memory held.
    for dims in [&[1 << 20, 1 << 20][..], &[u32::MAX], &[1 << 30, 1 << 31]] {
        contains(&refusal(&idx(8, dims, &[1, 2, 3, 4])), "the data end after 4 of");
        contains(&refusal(&idx(0x0d, &dims[..1], &[1, 2, 3, 4])), "the data end after 4 of");
        contains(&refusal(&gzip(&idx(8, dims, &[1, 2, 3, 4]))), "the data end after 4 of");
    }
    // Half a mebibyte that is there makes no more than a few of the same.
    contains(&refusal(&idx(8, &[u32::MAX], &vec![7; 1 << 18])), "the data end after 262144 of 4294967295");
}

#[test]
fn gzip_that_unpacks_to_much_more_than_its_header_says() {
    let bomb = gzip(&idx(8, &[10], &vec![0; 64 << 20]));
    assert!(bomb.len() < 100_000);
    contains(&refusal(&bomb), "data go on after the 10 elements");
}

#[test]
fn memory_is_the_data_and_little_more() {
    let file = idx(8, &[3000, 1000], &vec![5; 3_000_000]);
    let (array, held) = peak(|| read_idx_from(&file[..], "").unwrap());
    assert_eq!(array.data.len(), 3_000_000);
    // While the last growth copies, what was there is held twice.
    assert!(held < 2 * 3_000_000 + 300_000, "{held}");
    let IdxData::U8(bytes) = array.data else { panic!() };
    assert_eq!(bytes.capacity(), bytes.len());
}
