//! IDX files, the format of MNIST and its relatives, plain or compressed by gzip.
//!
//! All numbers are big-endian: two zero bytes, one byte for the element type, one for the number of dimensions, a `u32`
//! for each dimension, then the elements, row-major, up to the end of the file.
//!
//! A file is not believed. Memory grows with the bytes that arrive, never with the size that a header claims, and of a
//! compressed file no more is unpacked than the header announces, and one byte.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// More dimensions than this and the file is taken for damaged.
const MAX_DIMS: usize = 8;

/// How many bytes are read at a time; a multiple of the size of every element.
const CHUNK: usize = 64 * 1024;

/// The elements of an [`IdxArray`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum IdxData {
    /// IDX type `0x08`.
    U8(Vec<u8>),
    /// IDX type `0x0D`. Not checked to be finite; [`Dataset`](super::Dataset) does that.
    F32(Vec<f32>),
}

impl IdxData {
    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::U8(bytes) => bytes.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there are none. Never so in an array read from a file.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The content of an IDX file.
#[derive(Debug, Clone, PartialEq)]
pub struct IdxArray {
    /// The size of each dimension, outermost first; at least one, at most 8, none of them 0.
    pub dims: Vec<usize>,
    /// The elements, row-major, as many as the product of `dims`.
    pub data: IdxData,
}

/// Reads an IDX file of unsigned bytes or 32-bit floats.
///
/// A file that starts with the gzip bytes `1f 8b` is unpacked on the way, whatever its name; it may have several
/// members.
///
/// ```no_run
/// use wgrad::data::read_idx;
/// let labels = read_idx("mnist/t10k-labels-idx1-ubyte.gz")?;
/// assert_eq!(labels.dims, [10_000]);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened or read. [`Error::File`] if it is a directory or not what it should be:
/// empty, no IDX header, an element type other than `u8` and `f32`, no or more than 8 dimensions, a dimension of size
/// 0, fewer or more data than the header says, a damaged gzip stream.
pub fn read_idx(path: impl AsRef<Path>) -> Result<IdxArray> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    // Reading a directory fails too, but with words that differ between systems.
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(Error::file(path, "this is a directory, where an IDX file was expected"));
    }
    read_idx_from(file, path)
}

/// As [`read_idx`], from any reader: a file in memory, in an archive, or from the network. `name` stands for the path
/// in errors.
///
/// ```
/// use wgrad::data::{IdxData, read_idx_from};
/// let file: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 10, 20, 30];
/// let array = read_idx_from(file, "three bytes")?;
/// assert_eq!(array.dims, [1, 3]);
/// assert_eq!(array.data, IdxData::U8(vec![10, 20, 30]));
///
/// let error = read_idx_from(&file[..14], "three bytes").unwrap_err();
/// assert_eq!(error.to_string(), "three bytes: the data end after 2 of 3 bytes; the file is cut short");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`read_idx`].
pub fn read_idx_from(reader: impl Read, name: impl AsRef<Path>) -> Result<IdxArray> {
    let path = name.as_ref();
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    let mut first = [0; 2];
    let got = Source { reader: &mut reader, path, gzip: false, at: 0 }.fill(&mut first)?;
    let reader = first.get(..got).unwrap_or_default().chain(reader);
    if first == [0x1f, 0x8b] {
        parse(Source { reader: MultiGzDecoder::new(reader), path, gzip: true, at: 0 })
    } else {
        parse(Source { reader, path, gzip: false, at: 0 })
    }
}

/// Whether an error comes from the unpacker, and not from what it reads: an operating system's carries a number.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    error.raw_os_error().is_none() && matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// A reader that knows what to say when it fails.
struct Source<'a, R> {
    reader: R,
    path: &'a Path,
    gzip: bool,
    /// How many bytes it has given, after unpacking.
    at: u64,
}

impl<R: Read> Source<'_, R> {
    /// Reads until `buffer` is full or the file ends; returns how many bytes that were.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.reader.read(&mut buffer[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if self.gzip && is_damage(&e) => {
                    let after = self.at + got as u64;
                    return Err(self.wrong(format!(
                        "the gzip stream is damaged or cut short, after {after} bytes of its content ({e}); \
                         fetch or copy the file again"
                    )));
                }
                Err(e) => return Err(Error::io(self.path, e)),
            }
        }
        self.at += got as u64;
        Ok(got)
    }

    /// The next `N` bytes of the header.
    fn header<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        if self.fill(&mut bytes)? < N {
            return Err(match self.at {
                0 => self.wrong("the file is empty"),
                at => self.wrong(format!("the file ends after {at} bytes, within its IDX header")),
            });
        }
        Ok(bytes)
    }

    /// `count` elements of `SIZE` bytes each, and then the end of the file.
    fn elements<T, const SIZE: usize>(&mut self, count: u64, decode: fn([u8; SIZE]) -> T) -> Result<Vec<T>> {
        const { assert!(CHUNK.is_multiple_of(SIZE)) };
        let (mut values, mut left) = (Vec::new(), count);
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK / SIZE);
            let got = self.fill(&mut buffer[..want * SIZE])?;
            if got < want * SIZE {
                let bytes = |elements: u64| elements.saturating_mul(SIZE as u64);
                let (have, need) = (bytes(count - left) + got as u64, bytes(count));
                return Err(self.wrong(format!("the data end after {have} of {need} bytes; the file is cut short")));
            }
            // Grows by what is there already, so that memory follows the data; the last step makes it exact.
            if values.capacity() - values.len() < want {
                let grow = usize::try_from(left).unwrap_or(usize::MAX).min(values.len().max(want));
                values.try_reserve_exact(grow).map_err(|_| {
                    self.wrong(format!("its {count} elements do not fit in memory; use a part of the data"))
                })?;
            }
            values.extend(buffer[..got].as_chunks().0.iter().copied().map(decode));
            left -= want as u64;
        }
        // This read also makes the unpacker compare the checksum.
        if self.fill(&mut [0])? > 0 {
            return Err(self.wrong(format!(
                "data go on after the {count} elements that the header announces; the header or the file is wrong"
            )));
        }
        Ok(values)
    }

    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::file(self.path, problem)
    }
}

fn parse<R: Read>(mut source: Source<'_, R>) -> Result<IdxArray> {
    let [zero, also_zero, kind, dimensions] = source.header()?;
    if (zero, also_zero) != (0, 0) {
        return Err(source.wrong(format!(
            "this is no IDX file: it starts with the bytes {zero:02x} {also_zero:02x}, where 00 00 was expected"
        )));
    }
    let name = match kind {
        0x08 | 0x0d => None,
        0x09 => Some("i8"),
        0x0b => Some("i16"),
        0x0c => Some("i32"),
        0x0e => Some("f64"),
        _ => return Err(source.wrong(format!("byte 2 of the header, the IDX type, is 0x{kind:02x}, which is none"))),
    };
    if let Some(name) = name {
        return Err(source.wrong(format!(
            "IDX type 0x{kind:02x} ({name}) is not supported; convert the file to 0x08 (u8) or 0x0d (f32)"
        )));
    }
    if dimensions == 0 || usize::from(dimensions) > MAX_DIMS {
        return Err(source.wrong(format!(
            "byte 3 of the header, the number of dimensions, is {dimensions}; it must be from 1 to {MAX_DIMS}"
        )));
    }
    let (mut dims, mut count) = (Vec::new(), 1u64);
    for i in 0..dimensions {
        let size = u32::from_be_bytes(source.header()?);
        if size == 0 {
            return Err(source.wrong(format!("dimension {i}, counted from 0, has size 0: there are no data")));
        }
        dims.push(size);
        // Four bytes an element at most, so that no size in bytes overflows below.
        count = count.checked_mul(u64::from(size)).filter(|&n| n <= u64::MAX / 4).ok_or_else(|| {
            source.wrong(format!("the dimensions {dims:?} make more elements than there can be; the header is damaged"))
        })?;
    }
    let data = if kind == 0x08 {
        IdxData::U8(source.elements(count, u8::from_be_bytes)?)
    } else {
        IdxData::F32(source.elements(count, f32::from_be_bytes)?)
    };
    Ok(IdxArray { dims: dims.into_iter().map(|size| size as usize).collect(), data })
}
