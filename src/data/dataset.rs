//! A set of examples in memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::split;
use crate::cpu::BYTE;
use crate::error::{Error, Result};

/// Columns of a row: sizes have 32 bits.
const MOST_COLUMNS: usize = 4_294_967_295;
const MOST_COLUMNS_WORDS: &str = "from 1 to 4294967295";
/// Classes of labels: a target row has a number for each, whatever the data are, and so have counts by class.
const MOST_CLASSES: usize = 1 << 24;

/// The inputs of a [`Dataset`], row-major `(len, features)`, kept as they came.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Inputs {
    /// Finite numbers of any size.
    F32(Vec<f32>),
    /// Bytes, such as the grey levels of a picture. A byte `v` stands for the input `v / 255`, in \[0, 1\], computed as `v`
    /// times the `f32` nearest to `1 / 255`. They stay bytes, also on the GPU, where they take a quarter of the memory.
    U8(Vec<u8>),
}

impl Inputs {
    /// How many numbers there are: rows times features.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8(bytes) => bytes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The targets `y` of a [`Dataset`]: what the network's output should be.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// One class a row. The target vector is one-hot: 1 at the label, 0 elsewhere.
    Labels {
        /// The class of each row, from 0 to `classes - 1`.
        labels: Vec<u32>,
        /// How many classes there are, which is the number of outputs.
        classes: usize,
    },
    /// One vector a row, of finite numbers.
    Values {
        /// Row-major `(len, outputs)`.
        values: Vec<f32>,
        /// How many numbers a row has.
        outputs: usize,
    },
}

impl Targets {
    /// How many outputs a row has: the number of classes, or of values.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        match self {
            Self::Labels { classes, .. } => *classes,
            Self::Values { outputs, .. } => *outputs,
        }
    }
}

/// A set of examples `(x, y)`: inputs and targets, row by row, checked once and never changed.
///
/// There is at least one row; all numbers are finite; all labels are below the number of classes. A clone is cheap: it
/// shares the data.
///
/// ```
/// use wgrad::Dataset;
/// // XOR: four rows of two inputs, one output each.
/// let xor = Dataset::new(vec![0., 0., 0., 1., 1., 0., 1., 1.], 2, vec![0., 1., 1., 0.], 1)?;
/// assert_eq!((xor.len(), xor.features(), xor.outputs()), (4, 2, 1));
/// assert_eq!(xor.input_row(1)?, [0., 1.]);
/// assert_eq!(xor.target_row(1)?, [1.]);
///
/// // Two tiny grey pictures of three classes.
/// let pictures = Dataset::from_bytes(vec![0, 255, 51, 0], 2, vec![2, 0], 3)?;
/// assert_eq!(pictures.input_row(0)?, [0., 1.]);
/// assert_eq!(pictures.target_row(0)?, [0., 0., 1.]);
/// assert_eq!(pictures.label(1), Some(0));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Dataset {
    len: usize,
    features: usize,
    inputs: Arc<Inputs>,
    targets: Arc<Targets>,
    pub(super) weights: Option<Arc<Vec<f32>>>,
}

impl Dataset {
    /// Tells data sets apart: a checksum over all that one is.
    pub(crate) fn fingerprint(&self) -> u32 {
        let Self { len, features, inputs, targets, weights } = self;
        let mut hasher = crc32fast::Hasher::new();
        let mut add = |kind: u64, width: usize, bytes: &[u8]| {
            [kind, *len as u64, width as u64].iter().for_each(|n| hasher.update(&n.to_le_bytes()));
            hasher.update(bytes);
        };
        match &**inputs {
            Inputs::F32(values) => add(0, *features, bytemuck::cast_slice(values)),
            Inputs::U8(bytes) => add(1, *features, bytes),
        }
        match &**targets {
            Targets::Labels { labels, classes } => add(2, *classes, bytemuck::cast_slice(labels)),
            Targets::Values { values, outputs } => add(3, *outputs, bytemuck::cast_slice(values)),
        }
        if let Some(weights) = weights {
            add(4, 1, bytemuck::cast_slice(weights));
        }
        hasher.finalize()
    }

    /// Refuses targets that a cost has no meaning for. Class labels suit every cost.
    pub(crate) fn suits(&self, call: &str, cost: crate::Cost) -> Result<()> {
        match self.targets() {
            Targets::Labels { .. } => Ok(()),
            Targets::Values { values, .. } => {
                cost.check_targets(&format!("{call}: the data set"), values, self.outputs())
            }
        }
    }

    /// Examples with vectors as targets, as in regression: `inputs` is row-major `(len, features)`, `targets`
    /// `(len, outputs)`.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn new(inputs: Vec<f32>, features: usize, targets: Vec<f32>, outputs: usize) -> Result<Self> {
        Self::from_parts(Inputs::F32(inputs), features, Targets::Values { values: targets, outputs })
    }

    /// Examples with class labels: `inputs` is row-major `(len, features)`, `labels` has one class below `classes` a
    /// row.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn with_labels(inputs: Vec<f32>, features: usize, labels: Vec<u32>, classes: usize) -> Result<Self> {
        Self::from_parts(Inputs::F32(inputs), features, Targets::Labels { labels, classes })
    }

    /// Examples with bytes as inputs, each standing for `byte / 255`, and class labels.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn from_bytes(inputs: Vec<u8>, features: usize, labels: Vec<u32>, classes: usize) -> Result<Self> {
        Self::from_parts(Inputs::U8(inputs), features, Targets::Labels { labels, classes })
    }

    /// Examples from an iterator over rows, each of inputs and target vector: what a program has that makes them one by one.
    ///
    /// ```
    /// use wgrad::Dataset;
    /// let squares = Dataset::from_rows((0_u8..10).map(|i| ([f32::from(i)], [f32::from(i * i)])))?;
    /// assert_eq!((squares.len(), squares.target_row(3)?), (10, vec![9.0]));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if a row is not as long as the first; else as [`from_parts`](Self::from_parts).
    pub fn from_rows<X: AsRef<[f32]>, Y: AsRef<[f32]>>(rows: impl IntoIterator<Item = (X, Y)>) -> Result<Self> {
        let (mut inputs, mut targets) = (Wide::new("inputs"), Wide::new("targets"));
        for (x, y) in rows {
            inputs.push(x.as_ref())?;
            targets.push(y.as_ref())?;
        }
        Self::new(inputs.numbers, inputs.width.unwrap_or(1), targets.numbers, targets.width.unwrap_or(1))
    }

    /// As [`from_rows`](Self::from_rows), with a class below `classes` as the target of each row.
    ///
    /// # Errors
    /// As there.
    pub fn from_labelled_rows<X: AsRef<[f32]>>(
        rows: impl IntoIterator<Item = (X, u32)>,
        classes: usize,
    ) -> Result<Self> {
        let (mut inputs, mut labels) = (Wide::new("inputs"), Vec::new());
        for (x, label) in rows {
            inputs.push(x.as_ref())?;
            labels.push(label);
        }
        Self::with_labels(inputs.numbers, inputs.width.unwrap_or(1), labels, classes)
    }

    /// Examples from any kind of inputs and any kind of targets; the other constructors come down to this one.
    ///
    /// # Errors
    /// * [`Error::InvalidOption`]: `features`, `classes` or `outputs` is 0, or has more than 32 bits, or `classes` is above 2^24.
    /// * [`Error::Empty`]: there are no rows.
    /// * [`Error::Shape`]: the inputs are not whole rows, or inputs and targets have different numbers of rows.
    /// * [`Error::NotFinite`]: an input or target is NaN or infinite; the index counts elements, row by row.
    /// * [`Error::Label`]: a label is not below `classes`.
    pub fn from_parts(inputs: Inputs, features: usize, targets: Targets) -> Result<Self> {
        let outputs = targets.outputs();
        let (per_row, most, want) = match targets {
            Targets::Labels { .. } => ("classes", MOST_CLASSES, "from 1 to 16777216"),
            Targets::Values { .. } => ("outputs", MOST_COLUMNS, MOST_COLUMNS_WORDS),
        };
        for (option, value, most, want) in
            [("features", features, MOST_COLUMNS, MOST_COLUMNS_WORDS), (per_row, outputs, most, want)]
        {
            if value == 0 || value > most {
                return Err(Error::InvalidOption { option, value: value.to_string(), want });
            }
        }
        let len = rows("inputs", inputs.len(), features)?;
        let target_rows = match &targets {
            Targets::Labels { labels, .. } => labels.len(),
            Targets::Values { values, .. } => rows("targets", values.len(), outputs)?,
        };
        if target_rows != len {
            return Err(Error::shape("targets", format!("{len} rows, as the inputs have"), format!("{target_rows}")));
        }
        if let Inputs::F32(values) = &inputs {
            finite("inputs", values)?;
        }
        match &targets {
            Targets::Values { values, .. } => finite("targets", values)?,
            Targets::Labels { labels, classes } => {
                if let Some((row, &label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= *classes) {
                    return Err(Error::Label { row, label, classes: *classes });
                }
            }
        }
        Ok(Self { len, features, inputs: Arc::new(inputs), targets: Arc::new(targets), weights: None })
    }

    /// How many rows (examples) there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Always `false`: a data set without rows cannot be made.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many inputs a row has.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// How many outputs a row has: the number of classes, or the length of a target vector.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.targets.outputs()
    }

    /// All inputs, `(len, features)`, in the type they came in.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// All targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The inputs of row `row`, from 0, as the network sees them, to the bit: bytes times `1 / 255`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such row.
    pub fn input_row(&self, row: usize) -> Result<Vec<f32>> {
        self.check_row(row)?;
        let mut out = vec![0.0; self.features];
        self.input_into(row, &mut out)?;
        Ok(out)
    }

    /// The target vector of row `row`, from 0; one-hot for labels.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such row.
    pub fn target_row(&self, row: usize) -> Result<Vec<f32>> {
        self.check_row(row)?;
        let mut out = vec![0.0; self.outputs()];
        self.target_into(row, &mut out)?;
        Ok(out)
    }

    /// The class of row `row`, from 0; `None` if there is no such row, or if the targets are no labels.
    #[must_use]
    pub fn label(&self, row: usize) -> Option<u32> {
        match &*self.targets {
            Targets::Labels { labels, .. } => labels.get(row).copied(),
            Targets::Values { .. } => None,
        }
    }

    /// Gathers the inputs of the rows named, in that order, into `out`, `(rows.len(), features)`: the `a_0` of a
    /// mini-batch. Bytes are multiplied by `1 / 255`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another length or a row does not exist; `out` may then be half written.
    pub fn copy_inputs(&self, rows: &[u32], out: &mut [f32]) -> Result<()> {
        whole("copy_inputs: out", rows.len(), self.features, out.len())?;
        rows.iter().zip(out.chunks_exact_mut(self.features)).try_for_each(|(&row, o)| self.input_into(row as usize, o))
    }

    /// Gathers the target vectors of the rows named, in that order, into `out`, `(rows.len(), outputs)`: the `y` of a
    /// mini-batch. Labels become one-hot.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another length or a row does not exist; `out` may then be half written.
    pub fn copy_targets(&self, rows: &[u32], out: &mut [f32]) -> Result<()> {
        whole("copy_targets: out", rows.len(), self.outputs(), out.len())?;
        let rows_out = out.chunks_exact_mut(self.outputs());
        rows.iter().zip(rows_out).try_for_each(|(&row, o)| self.target_into(row as usize, o))
    }

    /// The first `n` rows.
    ///
    /// # Errors
    /// As [`slice`](Self::slice).
    pub fn take(&self, n: usize) -> Result<Self> {
        self.slice(0..n)
    }

    /// The rows of a range, copied; the whole range shares the data instead.
    ///
    /// # Errors
    /// [`Error::Shape`] if the range goes beyond the last row, [`Error::Empty`] if it has no rows.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        let Range { start, end } = range;
        if end > self.len {
            return Err(Error::shape("slice", format!("rows up to {}", self.len), format!("rows {start} to {end}")));
        }
        if start >= end {
            return Err(Error::Empty { what: format!("the slice from row {start} to row {end}") });
        }
        if end - start == self.len {
            return Ok(self.clone());
        }
        Ok(self.gathered(end - start, start..end))
    }

    /// The rows named, from 0, in that order, copied; a row may come more than once.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such row, [`Error::Empty`] if none is named.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::Empty { what: "the selection".to_owned() });
        }
        rows.iter().try_for_each(|&row| self.check_row(row as usize))?;
        Ok(self.gathered(rows.len(), rows.iter().map(|&row| row as usize)))
    }

    /// Rows that are there, and of which there is at least one.
    fn gathered(&self, len: usize, rows: impl Iterator<Item = usize> + Clone) -> Self {
        let inputs = match &*self.inputs {
            Inputs::F32(values) => Inputs::F32(gather(values, self.features, rows.clone())),
            Inputs::U8(bytes) => Inputs::U8(gather(bytes, self.features, rows.clone())),
        };
        let weights = self.weights.as_ref().map(|weights| Arc::new(gather(weights, 1, rows.clone())));
        let targets = match &*self.targets {
            Targets::Labels { labels, classes } => {
                Targets::Labels { labels: gather(labels, 1, rows), classes: *classes }
            }
            Targets::Values { values, outputs } => {
                Targets::Values { values: gather(values, *outputs, rows), outputs: *outputs }
            }
        };
        Self { len, features: self.features, inputs: Arc::new(inputs), targets: Arc::new(targets), weights }
    }

    /// Deals the rows at random into parts with these shares: training, validation and test data, for instance. The parts are
    /// the same for the same seed on every machine. Each share is divided by their sum.
    ///
    /// ```
    /// use wgrad::data;
    /// let digits = data::synthetic_digits(1000, 1)?;
    /// let [train, validation, test] = digits.split([0.7, 0.15, 0.15], 1)?;
    /// assert_eq!([train.len(), validation.len(), test.len()], [700, 150, 150]);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if a share is not above 0; [`Error::Empty`] if a part gets no row.
    pub fn split<const N: usize>(&self, shares: [f64; N], seed: u64) -> Result<[Self; N]> {
        self.dealt(&split::plain(self.len, &shares, seed)?)
    }

    /// As [`split`](Self::split), with the rows of each class shared out like the whole, to less than one row; a class of a
    /// single row is in the first part.
    ///
    /// # Errors
    /// As [`split`](Self::split); [`Error::Shape`] if the targets are no class labels.
    pub fn split_stratified<const N: usize>(&self, shares: [f64; N], seed: u64) -> Result<[Self; N]> {
        match &*self.targets {
            Targets::Labels { labels, .. } => self.dealt(&split::stratified(labels, &shares, seed, true)?),
            Targets::Values { .. } => Err(Error::shape("split_stratified: targets", "class labels", "vectors")),
        }
    }

    fn dealt<const N: usize>(&self, parts: &[Vec<u32>]) -> Result<[Self; N]> {
        let parts = parts.iter().map(|rows| self.select(rows)).collect::<Result<Vec<_>>>()?;
        // There are as many parts as shares.
        parts.try_into().map_err(|_| Error::Empty { what: "the list of shares".to_owned() })
    }

    /// The first `n` rows, and the rest: training and validation data, for instance. Both must have rows.
    ///
    /// The rows are not shuffled first; a file sorted by class needs [`split`](Self::split).
    ///
    /// # Errors
    /// As [`slice`](Self::slice).
    pub fn split_at(&self, n: usize) -> Result<(Self, Self)> {
        Ok((self.slice(0..n)?, self.slice(n..self.len)?))
    }

    fn input_into(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.check_row(row)?;
        let columns = row * self.features..(row + 1) * self.features;
        match &*self.inputs {
            Inputs::F32(values) => out.copy_from_slice(&values[columns]),
            Inputs::U8(bytes) => {
                for (o, &byte) in out.iter_mut().zip(&bytes[columns]) {
                    // As the kernels have it, to the bit: a shader's division need not be the nearest number.
                    *o = f32::from(byte) * BYTE;
                }
            }
        }
        Ok(())
    }

    fn target_into(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.check_row(row)?;
        match &*self.targets {
            Targets::Values { values, outputs } => out.copy_from_slice(&values[row * outputs..(row + 1) * outputs]),
            Targets::Labels { labels, .. } => {
                out.fill(0.0);
                out[labels[row] as usize] = 1.0;
            }
        }
        Ok(())
    }

    fn check_row(&self, row: usize) -> Result<()> {
        if row < self.len {
            return Ok(());
        }
        Err(Error::shape("row number", format!("below {}", self.len), row.to_string()))
    }
}

/// Shape and type; the data itself may have millions of numbers.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs = if matches!(*self.inputs, Inputs::U8(_)) { "u8" } else { "f32" };
        let targets = if matches!(*self.targets, Targets::Labels { .. }) { "labels" } else { "values" };
        let mut shown = f.debug_struct("Dataset");
        shown
            .field("len", &self.len)
            .field("features", &self.features)
            .field("outputs", &self.outputs())
            .field("inputs", &format_args!("{inputs}"))
            .field("targets", &format_args!("{targets}"));
        if self.weights.is_some() {
            shown.field("weighted", &true);
        }
        shown.finish()
    }
}

/// Rows of one length, one after the other.
struct Wide {
    what: &'static str,
    width: Option<usize>,
    rows: usize,
    numbers: Vec<f32>,
}

impl Wide {
    const fn new(what: &'static str) -> Self {
        Self { what, width: None, rows: 0, numbers: Vec::new() }
    }

    fn push(&mut self, row: &[f32]) -> Result<()> {
        let width = *self.width.get_or_insert(row.len());
        if row.len() != width {
            let want = format!("{width} numbers in every row");
            return Err(Error::shape(self.what, want, format!("{} in row {}", row.len(), self.rows)));
        }
        self.numbers.extend_from_slice(row);
        self.rows += 1;
        Ok(())
    }
}

/// The rows named of an array of rows of `width`.
fn gather<T: Copy>(values: &[T], width: usize, rows: impl Iterator<Item = usize>) -> Vec<T> {
    rows.flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
}

/// How many rows of `width` numbers `count` numbers are.
fn rows(what: &str, count: usize, width: usize) -> Result<usize> {
    if count == 0 {
        return Err(Error::Empty { what: what.to_owned() });
    }
    if !count.is_multiple_of(width) {
        return Err(Error::shape(what, format!("whole rows of {width}"), format!("{count} numbers")));
    }
    Ok(count / width)
}

/// That a buffer holds `rows * width` numbers.
fn whole(what: &str, rows: usize, width: usize, got: usize) -> Result<()> {
    if rows.checked_mul(width) == Some(got) {
        return Ok(());
    }
    Err(Error::shape(what, format!("{rows} rows of {width}"), format!("{got} numbers")))
}

fn finite(what: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { what: what.to_owned(), index, value: values[index] }),
    }
}
