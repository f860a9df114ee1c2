//! The text of a table on its way in: unpacked, without a byte order mark, its lines ended by `\n`, and never more than was
//! allowed.

use std::cell::Cell;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::idx::is_damage;
use crate::error::{Error, Result};

/// How much of the text is looked at to find delimiter and header.
const SAMPLE: usize = 64 * 1024;

/// The longest record that is read: a quote that is never closed must not take the memory of a whole file.
const MAX_RECORD: usize = 4 << 20;

/// Text to be cut into records.
pub(super) struct Text<'a> {
    inner: io::Chain<Cursor<Vec<u8>>, Lines<'a>>,
    /// Bytes handed out since the last record.
    record: Cell<usize>,
    ended: Cell<bool>,
}

impl<'a> Text<'a> {
    /// Opens a text of at most `max_bytes` after unpacking, and takes a sample from its beginning: whole lines, unless the
    /// first is longer than the sample.
    pub(super) fn open(reader: impl Read + 'a, name: &'a Path, max_bytes: u64) -> Result<(Self, Vec<u8>)> {
        let mut reader = BufReader::with_capacity(SAMPLE, reader);
        let mut magic = [0; 2];
        let got = fill(&mut reader, &mut magic).map_err(|error| failure(name, false, error))?;
        let packed = magic == [0x1f, 0x8b];
        let reader = Cursor::new(magic.get(..got).unwrap_or_default().to_vec()).chain(reader);
        let mut reader: Box<dyn Read + 'a> =
            if packed { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) };
        let refused = |error| failure(name, packed, error);
        let mut front = [0; 3];
        let got = fill(&mut reader, &mut front).map_err(refused)?;
        let front = front.get(..got).unwrap_or_default();
        if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = front {
            return Err(Error::file(name, "this is UTF-16 text; save the file as UTF-8"));
        }
        let front = if front == [0xef, 0xbb, 0xbf] { Vec::new() } else { front.to_vec() };
        let reader = Box::new(Cursor::new(front).chain(reader));
        let mut lines = Lines { reader, name, packed, max_bytes, taken: 0, after_cr: false, last: b'\n' };
        let mut sample = vec![0; SAMPLE];
        let got = fill(&mut lines, &mut sample).map_err(refused)?;
        sample.truncate(got);
        let whole = if got < SAMPLE { got } else { sample.iter().rposition(|&b| b == b'\n').map_or(got, |at| at + 1) };
        let looked_at = sample.get(..whole).unwrap_or_default().to_vec();
        Ok((Self { inner: Cursor::new(sample).chain(lines), record: Cell::new(0), ended: Cell::new(false) }, looked_at))
    }

    /// A record is done, and the next may be as long again.
    pub(super) fn next_record(&self) {
        self.record.set(0);
    }

    /// Whether the end was asked for. Every line ends, so that a record for which it was is one that no line end has ended: a
    /// quote is open.
    pub(super) fn ended(&self) -> bool {
        self.ended.get()
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.ended.set(got == 0 && !buffer.is_empty());
        let record = self.record.get() + got;
        self.record.set(record);
        // What has been handed out and not yet been cut into records is a buffer's worth at most.
        if record > MAX_RECORD + buffer.len() {
            let (_, lines) = self.inner.get_ref();
            let problem = format!(
                "a row is longer than {} MiB; perhaps a quote is opened and never closed, or this is no table",
                MAX_RECORD >> 20
            );
            return Err(io::Error::other(Error::file(lines.name, problem)));
        }
        Ok(got)
    }
}

/// Line ends of Windows and of old Macs become `\n`; the last line gets one if it has none.
struct Lines<'a> {
    reader: Box<dyn Read + 'a>,
    name: &'a Path,
    packed: bool,
    max_bytes: u64,
    taken: u64,
    after_cr: bool,
    last: u8,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if buffer.is_empty() {
                return Ok(0);
            }
            let got = match self.reader.read(buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io::Error::other(failure(self.name, self.packed, e))),
            };
            self.taken += got as u64;
            if self.taken > self.max_bytes {
                let packed = if self.packed { ", unpacked," } else { "" };
                let problem = format!(
                    "the table has{packed} more than the {} bytes that are allowed; raise max_bytes if it is trusted",
                    self.max_bytes
                );
                return Err(io::Error::other(Error::file(self.name, problem)));
            }
            if got == 0 {
                if self.last == b'\n' {
                    return Ok(0);
                }
                self.last = b'\n';
                buffer[0] = b'\n';
                return Ok(1);
            }
            let mut kept = 0;
            for at in 0..got {
                let byte = buffer[at];
                let second_half = byte == b'\n' && self.after_cr;
                self.after_cr = byte == b'\r';
                if !second_half {
                    self.last = if self.after_cr { b'\n' } else { byte };
                    buffer[kept] = self.last;
                    kept += 1;
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

/// Reads until the buffer is full or the text ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// What a failed read means: an error of this crate that has come through a reader, damage to a gzip stream, or the disk.
pub(super) fn failure(name: &Path, packed: bool, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) if packed && is_damage(&error) => Error::file(
            name,
            format!("the gzip stream is damaged or cut short ({error}); fetch or copy the file again"),
        ),
        Err(error) => Error::io(name, error),
    }
}
