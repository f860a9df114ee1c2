//! Tables: named columns of numbers, dates and texts, as they come from a file or from a program.

use std::path::{Path, PathBuf};

use super::column::{Column, Field, Kind, MISSING, Raw, Values, coded, missing_words};
use super::split;
use super::target::Task;
use crate::error::{Error, Place, Result, brief};

/// Columns that a table has at most.
pub(super) const MAX_COLUMNS: usize = 16_384;

/// Rows with named columns, each of numbers, of dates or of texts; fields may be missing.
///
/// A [`TableReader`](super::TableReader) makes one of a CSV file, [`from_rows`](Self::from_rows) of rows of fields, and
/// [`with_numbers`](Self::with_numbers) and [`with_texts`](Self::with_texts) of columns. A
/// [`Preparation`](super::Preparation) turns it into the numbers that a network takes.
///
/// ```
/// use wgrad::data::{Kind, Table};
/// let table = Table::new("flowers")
///     .with_numbers("petal", [1.4, 4.7, f64::NAN])? // NaN is missing
///     .with_texts("species", ["setosa", "versicolor", "setosa"])?;
/// assert_eq!((table.len(), table.columns().len()), (3, 2));
/// assert_eq!(table.column("species")?.kind(), Kind::Category);
/// assert_eq!(table.column("petal")?.missing(), 1);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub(super) name: PathBuf,
    pub(super) columns: Vec<Column>,
    pub(super) len: usize,
    /// The line on which each row starts; empty where there is no file.
    pub(super) lines: Vec<u64>,
    /// Whether the columns have names, and not only numbers.
    pub(super) named: bool,
    /// Words that count as missing.
    pub(super) missing: Vec<String>,
}

impl Table {
    /// A table without columns. `name` stands for the file in errors.
    #[must_use]
    pub fn new(name: impl AsRef<Path>) -> Self {
        let name = name.as_ref().to_owned();
        Self { name, columns: Vec::new(), len: 0, lines: Vec::new(), named: true, missing: missing_words() }
    }

    /// Reads a CSV file with [`TableReader`](super::TableReader)'s defaults.
    ///
    /// # Errors
    /// As [`TableReader::read`](super::TableReader::read).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        super::TableReader::new().read(path)
    }

    /// A table of rows of fields; each row has one field a column. What a column is, follows from its fields, as when they are
    /// read from a file: texts that are numbers become numbers.
    ///
    /// ```
    /// use wgrad::data::{Field, Kind, Table};
    /// let rows = [[Field::from(1.5), "red".into()], [Field::Missing, "blue".into()]];
    /// let table = Table::from_rows("paint", ["litres", "colour"], rows)?;
    /// assert_eq!(table.column("litres")?.kind(), Kind::Number);
    ///
    /// let error = Table::from_rows("paint", ["litres", "colour"], [vec!["1.5"], vec!["2", "red"]]).unwrap_err();
    /// assert_eq!(error.to_string(), "paint, row 0: 1 fields, where there are 2 columns");
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Table`] if a row has another number of fields, or two columns the same name; [`Error::NotFinite`] for an
    /// infinite number; [`Error::Empty`] without columns.
    pub fn from_rows<'a, R, F>(
        name: impl AsRef<Path>,
        columns: impl IntoIterator<Item = impl Into<String>>,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Self>
    where
        R: IntoIterator<Item = F>,
        F: Into<Field<'a>>,
    {
        let mut table = Self::new(name);
        let names: Vec<String> = columns.into_iter().map(Into::into).collect();
        if names.is_empty() {
            return Err(Error::Empty { what: format!("the list of columns of {}", table.name.display()) });
        }
        let mut raw: Vec<Raw> = names.iter().map(|_| Raw::default()).collect();
        for (index, row) in rows.into_iter().enumerate() {
            let fields: Vec<Field<'_>> = row.into_iter().map(Into::into).collect();
            if fields.len() != names.len() {
                let problem = format!("{} fields, where there are {} columns", fields.len(), names.len());
                return Err(Error::Table { place: table.place(Some(index), None), problem });
            }
            for ((column, name), field) in raw.iter_mut().zip(&names).zip(fields) {
                let fits = match field {
                    Field::Missing => column.push(""),
                    Field::Number(x) if x.is_nan() => column.push(""),
                    Field::Number(x) if x.is_infinite() => {
                        let problem = "the number is infinite".to_owned();
                        return Err(Error::Table { place: table.place(Some(index), Some(name)), problem });
                    }
                    Field::Number(x) => column.push(&x.to_string()),
                    Field::Text(text) => column.push(text),
                };
                if !fits {
                    return Err(too_long(table.place(Some(index), Some(name))));
                }
            }
            table.len += 1;
        }
        for (name, raw) in names.into_iter().zip(raw) {
            let column = raw.column(name, None, &table.missing, false);
            table.add(column)?;
        }
        Ok(table)
    }

    /// Adds a column of numbers; NaN is missing.
    ///
    /// # Errors
    /// [`Error::Table`] if there is such a column already, if it has another number of rows than the others, or if a number is
    /// infinite.
    pub fn with_numbers(mut self, name: &str, numbers: impl IntoIterator<Item = f64>) -> Result<Self> {
        let values: Vec<f64> = numbers.into_iter().collect();
        if let Some(row) = values.iter().position(|x| x.is_infinite()) {
            return Err(self.wrong(Some(row), name, "the number is infinite"));
        }
        self.start(name, values.len())?;
        self.add(Column { name: name.to_owned(), values: Values::Numbers { values, comma: false }, odd: None })?;
        Ok(self)
    }

    /// Adds a column of texts, which stay texts even if they could be read as numbers; an empty one is missing.
    ///
    /// # Errors
    /// [`Error::Table`] if there is such a column already, or if it has another number of rows than the others.
    pub fn with_texts(mut self, name: &str, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let texts: Vec<_> = texts.into_iter().collect();
        self.start(name, texts.len())?;
        let values = coded(texts.iter().map(|text| Some(text.as_ref().trim()).filter(|text| !text.is_empty())));
        self.add(Column { name: name.to_owned(), values, odd: None })?;
        Ok(self)
    }

    fn start(&mut self, name: &str, rows: usize) -> Result<()> {
        if self.columns.is_empty() {
            self.len = rows;
        }
        if rows == self.len {
            return Ok(());
        }
        Err(self.wrong(None, name, format!("{rows} rows, where the columns before it have {}", self.len)))
    }

    pub(super) fn add(&mut self, column: Column) -> Result<()> {
        if self.columns.iter().any(|other| other.name == column.name) {
            return Err(self.wrong(None, &column.name, "there is a column of that name already"));
        }
        if self.columns.len() == MAX_COLUMNS {
            return Err(self.wrong(None, &column.name, format!("a table has at most {MAX_COLUMNS} columns")));
        }
        self.columns.push(column);
        Ok(())
    }

    /// The file it comes from, or the name that it was given.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns, in their order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column with this name, or else with this number: `0` is the first, `-1` the last.
    ///
    /// # Errors
    /// [`Error::Table`] with the names that there are.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let at = self.find(name)?;
        Ok(&self.columns[at])
    }

    pub(super) fn find(&self, name: &str) -> Result<usize> {
        let count = self.columns.len();
        let numbered = || {
            let number: i64 = name.trim().parse().ok()?;
            let at = if number < 0 { number.checked_add(i64::try_from(count).ok()?)? } else { number };
            usize::try_from(at).ok().filter(|&at| at < count)
        };
        self.columns.iter().position(|column| column.name == name).or_else(numbered).ok_or_else(|| {
            const SHOWN: usize = 20;
            let mut known: Vec<_> = self.columns.iter().take(SHOWN).map(|column| brief(&column.name)).collect();
            if count > SHOWN {
                known.push(format!("and {} more", count - SHOWN));
            }
            let known = known.join(", ");
            let problem = match (count, self.named) {
                (0, _) => format!("there is no column '{}'; the table has no columns", brief(name)),
                (_, true) => format!("there is no column '{}'; the columns are: {known}", brief(name)),
                (_, false) => format!(
                    "there is no column '{}'; the table has no header, and its columns are numbered from 0 to {}",
                    brief(name),
                    count - 1
                ),
            };
            Error::Table { place: Place { table: self.name.clone(), ..Place::default() }, problem }
        })
    }

    /// The rows named, from 0, in that order.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such row.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.len) {
            return Err(Error::shape("select: row number", format!("below {}", self.len), row.to_string()));
        }
        let columns = self.columns.iter().map(|column| column.select(rows)).collect();
        let lines = rows.iter().filter_map(|&row| self.lines.get(row as usize).copied()).collect();
        let (name, missing) = (self.name.clone(), self.missing.clone());
        Ok(Self { name, columns, len: rows.len(), lines, named: self.named, missing })
    }

    /// The rows in which none of these columns is missing: what to do about rows whose target is unknown, or, with all names,
    /// about any missing field.
    ///
    /// ```
    /// use wgrad::data::Table;
    /// let table = Table::new("t").with_numbers("x", [1.0, f64::NAN])?.with_texts("y", ["a", "b"])?;
    /// assert_eq!(table.drop_missing(&["x"])?.len(), 1);
    /// assert_eq!(table.drop_missing(&["y"])?.len(), 2);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Table`] if there is no such column.
    pub fn drop_missing(&self, columns: &[&str]) -> Result<Self> {
        let columns = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        let rows = 0..u32::try_from(self.len).unwrap_or(u32::MAX);
        let kept: Vec<u32> = rows.filter(|&row| !columns.iter().any(|c| c.is_missing(row as usize))).collect();
        self.select(&kept)
    }

    /// Cuts the table into parts with these shares of its rows, which are dealt at random: training, validation and test
    /// rows, for instance. The parts are the same for the same seed on every machine. Each share is divided by their sum.
    ///
    /// ```
    /// use wgrad::data::Table;
    /// let table = Table::new("t").with_numbers("x", (0..10).map(f64::from))?;
    /// let [train, test] = table.split([0.8, 0.2], 1)?;
    /// assert_eq!((train.len(), test.len()), (8, 2));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if a share is not above 0; [`Error::Empty`] if a part gets no row.
    pub fn split<const N: usize>(&self, shares: [f64; N], seed: u64) -> Result<[Self; N]> {
        let parts = split::plain(self.len, &shares, seed)?;
        self.parts(&parts)
    }

    /// As [`split`](Self::split), with each category of a column shared out like the whole: for the classes of a target. A
    /// category of a single row is in the first part. So it is for numbers that [`Task::of`](super::Task::of) takes for classes;
    /// of other numbers the tenths by size are shared out, so that each part has its share of large and of small ones. A task that
    /// is not to be found out takes [`split_stratified_as`](Self::split_stratified_as).
    ///
    /// # Errors
    /// As [`split`](Self::split); [`Error::Table`] if there is no such column.
    pub fn split_stratified<const N: usize>(&self, column: &str, shares: [f64; N], seed: u64) -> Result<[Self; N]> {
        let task = Task::of(self.column(column)?);
        self.split_stratified_as(column, task, shares, seed)
    }

    /// As [`split_stratified`](Self::split_stratified), for a target whose task is set
    /// ([`PreparationBuilder::task`](super::PreparationBuilder::task)): with [`Task::Classification`](super::Task::Classification) each
    /// number is a class, however many there are, so that no class is in a later part alone. With
    /// [`Task::Regression`](super::Task::Regression) all is as there: numbers of which there are few values have the same share of each in
    /// every part, which is good for quantities too.
    ///
    /// ```
    /// use wgrad::data::{Preparation, Table, Task};
    /// // Twenty zones, which are numbers, and look like a quantity; the last has a row alone.
    /// let zone = |row: u32| f64::from(if row == 0 { 20 } else { 1 + row % 19 });
    /// let table = Table::new("trips").with_numbers("x", (0..400).map(f64::from))?.with_numbers("zone", (0..400).map(zone))?;
    /// let [train, test] = table.split_stratified_as("zone", Task::Classification, [0.8, 0.2], 1)?;
    /// let preparation = Preparation::new("zone").task(Task::Classification).fit(&train)?;
    /// assert_eq!(preparation.classes().len(), 20); // no class of the test rows is new
    /// assert_eq!(preparation.dataset(&test)?.len(), test.len());
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn split_stratified_as<const N: usize>(
        &self,
        column: &str,
        task: Task,
        shares: [f64; N],
        seed: u64,
    ) -> Result<[Self; N]> {
        let column = self.column(column)?;
        let classes = [task, Task::of(column)].contains(&Task::Classification) && column.kind() != Kind::Date;
        let codes = match &column.values {
            Values::Texts { codes, .. } => codes.clone(),
            Values::Numbers { values, .. } | Values::Dates { values, .. } => strata(values, classes),
        };
        let parts = split::stratified(&codes, &shares, seed, classes)?;
        self.parts(&parts)
    }

    fn parts<const N: usize>(&self, parts: &[Vec<u32>]) -> Result<[Self; N]> {
        let parts = parts.iter().map(|rows| self.select(rows)).collect::<Result<Vec<_>>>()?;
        // There are as many parts as shares.
        parts.try_into().map_err(|_| Error::Empty { what: "the list of shares".to_owned() })
    }

    pub(super) fn place(&self, row: Option<usize>, column: Option<&str>) -> Place {
        let line = row.and_then(|row| self.lines.get(row).copied());
        let row = if self.lines.is_empty() { row } else { None };
        Place { table: self.name.clone(), line, row, column: column.map(str::to_owned) }
    }

    pub(super) fn wrong(&self, row: Option<usize>, column: &str, problem: impl Into<String>) -> Error {
        Error::Table { place: self.place(row, Some(column)), problem: problem.into() }
    }
}

/// A code for each number: its own where they are classes, else that of its tenth.
fn strata(values: &[f64], classes: bool) -> Vec<u32> {
    let mut bounds: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    bounds.sort_by(f64::total_cmp);
    if classes {
        bounds.dedup();
    } else {
        bounds = (1..10).filter_map(|tenth| bounds.get(bounds.len() * tenth / 10).copied()).collect();
    }
    let code = |x: f64| u32::try_from(bounds.partition_point(|bound| *bound <= x)).unwrap_or(MISSING);
    values.iter().map(|&x| if x.is_nan() { MISSING } else { code(x) }).collect()
}

pub(super) fn too_long(place: Place) -> Error {
    Error::Table { place, problem: "the texts of this column have more than 4 GiB together".to_owned() }
}
