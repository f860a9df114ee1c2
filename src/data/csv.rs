//! Tables from CSV files, and their relatives with semicolons or tabs, plain or compressed by gzip.
//!
//! A file is not believed: its bytes after unpacking, its columns, its fields, and the length of a row have limits, and memory
//! grows with what arrives.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::column::{Kind, Raw, missing_words};
use super::sniff;
use super::table::{MAX_COLUMNS, Table, too_long};
use super::text::{Text, failure};
use crate::error::{Error, Place, Result};

/// Reads tables from CSV files. What is not set here is found out by stated rules.
///
/// * **Delimiter**: the first of tab, semicolon and comma that cuts the first 100 rows evenly.
/// * **Header**: the first row is one if some column has a text there and nothing but numbers or dates below it; it is none if it
///   has a number, a date or a missing value itself; in a table of nothing but texts it is one if they are all different and
///   none of them comes again below. Without a header, columns are named by their numbers from 0. A column without a name gets
///   its number, and one that has the name of an earlier one gets a number after it.
/// * **Missing**: an empty field, or one of `NA`, `N/A`, `NaN`, `null`, `?`, `-`, `.`, `#N/A`, `<NA>`, in capital letters or
///   small ones.
/// * **Kind**: a column whose fields are all numbers is one of numbers, one whose fields are all dates is one of dates, and all
///   others are of categories. Up to 5 % of the fields may be no numbers, or up to half of them if they are all the same word
///   and there are more than 20 different numbers: these fields count as missing ([`Column::misfits`](super::Column::misfits)).
/// * **Numbers** may have thousands parted (`1,234.5`), a currency sign or a per cent sign; the comma is the decimal point of a
///   column if more of its fields are numbers that way. **Dates** are `2024-12-31`, `31.12.2024`, `12/31/2024` or `31/12/2024`,
///   with a time of day or without.
///
/// Spaces around fields do not count. Fields in double quotes may have delimiters and line ends in them, and `""` for a quote.
/// A byte order mark is passed over; text is UTF-8; lines may end in any way. A file that starts with the gzip bytes `1f 8b` is
/// unpacked on the way, whatever its name.
///
/// ```
/// use wgrad::data::{Kind, TableReader};
/// let file = "litres;colour\n1,5;red\n;blue\n";
/// let table = TableReader::new().read_from(file.as_bytes(), "paint.csv")?;
/// assert_eq!(table.len(), 2);
/// assert_eq!(table.column("litres")?.kind(), Kind::Number);
/// assert_eq!(table.column("litres")?.missing(), 1);
///
/// let error = TableReader::new().numeric("colour").read_from(file.as_bytes(), "paint.csv").unwrap_err();
/// assert_eq!(error.to_string(), "paint.csv, line 2, column 'colour': 'red' is no number");
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "call .read(path)"]
pub struct TableReader {
    delimiter: Option<u8>,
    header: Option<bool>,
    missing: Vec<String>,
    kinds: Vec<(String, Kind)>,
    /// Columns that may be there, and their kinds; tables without a header have them in this order, or more.
    expected: Vec<(String, Option<Kind>)>,
    max_bytes: u64,
    max_fields: usize,
}

impl Default for TableReader {
    fn default() -> Self {
        Self::new()
    }
}

impl TableReader {
    /// A reader that finds everything out.
    pub fn new() -> Self {
        let missing = missing_words();
        Self {
            delimiter: None,
            header: None,
            missing,
            kinds: Vec::new(),
            expected: Vec::new(),
            max_bytes: 1 << 30,
            max_fields: 100_000_000,
        }
    }

    /// The byte between two fields.
    pub const fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = Some(delimiter);
        self
    }

    /// Whether the first row names the columns.
    pub const fn header(mut self, header: bool) -> Self {
        self.header = Some(header);
        self
    }

    /// The words that count as missing, in place of those above; an empty field always does.
    pub fn missing_words(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.missing = words.into_iter().map(|word| word.into().trim().to_owned()).collect();
        self
    }

    /// This column, by name or number, is one of numbers; a field that is none is an error.
    pub fn numeric(self, column: impl Into<String>) -> Self {
        self.kind(column, Kind::Number)
    }

    /// This column, by name or number, is one of categories, even if they look like numbers, as postal codes do.
    pub fn categorical(self, column: impl Into<String>) -> Self {
        self.kind(column, Kind::Category)
    }

    /// This column, by name or number, is of this kind.
    pub fn kind(mut self, column: impl Into<String>, kind: Kind) -> Self {
        self.kinds.push((column.into(), kind));
        self
    }

    /// Columns that are of these kinds if they are there.
    pub(super) fn expecting(mut self, columns: Vec<(String, Option<Kind>)>) -> Self {
        self.expected = columns;
        self
    }

    /// How many bytes a file may have, after unpacking; 2^30 unless set.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many fields a table may have, rows times columns; 100 million unless set. Each takes its text and up to 12 bytes
    /// more.
    pub const fn max_fields(mut self, fields: usize) -> Self {
        self.max_fields = fields;
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened or read. [`Error::File`] if it is a directory, a damaged gzip stream, longer
    /// than allowed, or not text in UTF-8. [`Error::Table`], with line and column, if it has no rows, a row with another number
    /// of fields than the first, more than 16,384 columns, or a field that is not of the kind that was set for its column; or if
    /// a kind was set for a column that there is not. [`Error::InvalidOption`] if the delimiter is a quote or a line end.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Error::file(path, "this is a directory, where a CSV file was expected"));
        }
        self.read_from(file, path)
    }

    /// As [`read`](Self::read), from any reader: a file in memory, in an archive, or from the network. `name` stands for the
    /// path in errors.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(&self, reader: impl Read, name: impl AsRef<Path>) -> Result<Table> {
        let path = name.as_ref();
        if let Some(delimiter @ (b'"' | b'\n' | b'\r' | 128..)) = self.delimiter {
            let value = format!("byte {delimiter}");
            return Err(Error::InvalidOption { option: "delimiter", value, want: "ASCII, no quote and no line end" });
        }
        let (text, sample) = Text::open(reader, path, self.max_bytes)?;
        let delimiter = self.delimiter.unwrap_or_else(|| sniff::delimiter(&sample));
        let header = self.header.unwrap_or_else(|| sniff::header(&sample, delimiter, &self.missing));

        let mut rows = Rows::new(text, path, delimiter);
        let mut table = Table::new(path);
        table.named = header;
        table.missing.clone_from(&self.missing);
        let Some(first) = rows.next()? else {
            return Err(Error::file(path, "there are no rows in this table"));
        };
        let width = first.fields.len();
        if width > MAX_COLUMNS {
            let problem = format!("{width} columns; a table has at most {MAX_COLUMNS}");
            return Err(Error::Table { place: rows.place(first.line), problem });
        }
        let names = names(if header { Some(&first) } else { None }, width, &rows)?;
        let mut raw: Vec<Raw> = (0..width).map(|_| Raw::default()).collect();
        let mut next = if header { rows.next()? } else { Some(first) };
        while let Some(row) = next {
            if row.fields.len() != width {
                return Err(rows.ragged(&row, width));
            }
            table.lines.push(row.line);
            if table.lines.len().saturating_mul(width) > self.max_fields {
                let problem =
                    format!("the table has more than the {} fields that are allowed (max_fields)", self.max_fields);
                return Err(Error::Table { place: rows.place(row.line), problem });
            }
            for ((raw, name), field) in raw.iter_mut().zip(&names).zip(&row.fields) {
                let place = || Place { column: Some(name.clone()), ..rows.place(row.line) };
                let field = std::str::from_utf8(field).map_err(|_| Error::Table {
                    place: place(),
                    problem: "this is not UTF-8; save the file as UTF-8".to_owned(),
                })?;
                if !raw.push(field) {
                    return Err(too_long(place()));
                }
            }
            next = rows.next()?;
        }
        table.len = table.lines.len();
        if table.is_empty() {
            return Err(Error::file(path, "there are no rows below the header"));
        }
        self.finish(table, names, raw, delimiter == b';')
    }

    /// Gives each column its kind.
    fn finish(&self, mut table: Table, names: Vec<String>, raw: Vec<Raw>, semicolons: bool) -> Result<Table> {
        // Names are looked up in a table without fields yet.
        let mut bare = Table { lines: Vec::new(), columns: Vec::new(), ..table.clone() };
        for name in &names {
            bare.columns.push(Raw::default().column(name.clone(), None, &[], false));
        }
        let by_place = !table.named && names.len() == self.expected.len();
        let expected: HashMap<&str, Option<Kind>> = self.expected.iter().map(|(n, kind)| (n.as_str(), *kind)).collect();
        let expected = |(at, name): (usize, &String)| {
            if by_place { self.expected[at].1 } else { expected.get(name.as_str()).copied().flatten() }
        };
        let mut kinds: Vec<_> = names.iter().enumerate().map(expected).collect();
        for (column, kind) in &self.kinds {
            kinds[bare.find(column)?] = Some(*kind);
        }
        for ((name, raw), kind) in names.into_iter().zip(raw).zip(kinds) {
            let column = raw.column(name, kind, &self.missing, semicolons);
            if let (Some(kind), Some(odd)) = (kind, &column.odd) {
                return Err(table.wrong(Some(odd.row), &column.name, format!("'{}' is no {kind}", odd.text)));
            }
            // The names are different, and few enough.
            table.columns.push(column);
        }
        Ok(table)
    }
}

/// A record, and the line on which it starts.
struct Row {
    fields: Vec<Vec<u8>>,
    line: u64,
    /// Line ends within its fields.
    inner: u64,
}

struct Rows<'a> {
    reader: csv::Reader<Text<'a>>,
    path: &'a Path,
    record: csv::ByteRecord,
}

impl<'a> Rows<'a> {
    fn new(text: Text<'a>, path: &'a Path, delimiter: u8) -> Self {
        let mut reader = csv::ReaderBuilder::new();
        // Rows are compared here, where the line is known.
        reader.has_headers(false).flexible(true).delimiter(delimiter).terminator(csv::Terminator::Any(b'\n'));
        Self { reader: reader.from_reader(text), path, record: csv::ByteRecord::new() }
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let read = self.reader.read_byte_record(&mut self.record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => failure(self.path, false, error),
            // Rows of any length are taken, as bytes, and nothing is deserialised.
            kind => Error::file(self.path, format!("this is no table: {kind:?}")),
        })?;
        if !read {
            return Ok(None);
        }
        self.reader.get_ref().next_record();
        let fields: Vec<Vec<u8>> = self.record.iter().map(<[u8]>::to_vec).collect();
        let inner = fields.iter().flatten().filter(|&&byte| byte == b'\n').count() as u64;
        if self.reader.get_ref().ended() {
            let line = self.reader.position().line().saturating_sub(inner);
            let problem = "a quote that is opened in this row is never closed".to_owned();
            return Err(Error::Table { place: self.place(line), problem });
        }
        // The reader stands on the line below the record; where it started, it does not say if empty lines come before it.
        let line = self.reader.position().line().saturating_sub(1 + inner);
        Ok(Some(Row { fields, line, inner }))
    }

    fn place(&self, line: u64) -> Place {
        Place { table: self.path.to_owned(), line: Some(line), ..Place::default() }
    }

    fn ragged(&self, row: &Row, width: usize) -> Error {
        let (got, wanted) = (counted(row.fields.len(), "field"), counted(width, "field"));
        let mut problem = format!("{got}, where the rows before it have {wanted}");
        if row.inner > 0 {
            let last = row.line + row.inner;
            problem.push_str(&format!("; the row goes on to line {last}, so perhaps a quote is missing"));
        } else if width == 1 {
            problem.push_str("; perhaps the delimiter is another one");
        }
        Error::Table { place: self.place(row.line), problem }
    }
}

/// `1 field`, `2 fields`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The names of the columns: of the header, each different, or their numbers.
fn names(header: Option<&Row>, width: usize, rows: &Rows<'_>) -> Result<Vec<String>> {
    let mut names = Vec::with_capacity(width);
    let mut taken = HashSet::new();
    // How often each name came so far: a file with one name in all columns must not take the time of all pairs.
    let mut copies: HashMap<String, usize> = HashMap::new();
    for at in 0..width {
        let mut given = at.to_string();
        if let Some((header, field)) = header.and_then(|row| Some((row, row.fields.get(at)?))) {
            let field = std::str::from_utf8(field).map_err(|_| {
                let problem = "this is not UTF-8; save the file as UTF-8".to_owned();
                Error::Table { place: Place { column: Some(given.clone()), ..rows.place(header.line) }, problem }
            })?;
            if !field.trim().is_empty() {
                field.trim().clone_into(&mut given);
            }
        }
        let copy = copies.entry(given.clone()).or_insert(1);
        let mut name = given.clone();
        while !taken.insert(name.clone()) {
            *copy += 1;
            name = format!("{given} ({copy})");
        }
        names.push(name);
    }
    Ok(names)
}
