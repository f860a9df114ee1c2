//! From rows of a table to the inputs of a network, and from its outputs to answers: fitted to training rows, kept with the
//! network.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::column::Field;
use super::encoding::Encoding;
use super::predictions::Predictions;
use super::table::{MAX_COLUMNS, Table};
use super::target::{Target, Task};
use super::{Dataset, TableReader};
use crate::error::{Error, Place, Result, brief};
use crate::{Activation, Cost};

/// Inputs that a preparation makes at most.
const MAX_INPUTS: usize = 1 << 16;

/// How numbers and dates are scaled. Mean, deviation and the rest are those of the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scaling {
    /// As [`Standard`](Self::Standard), but where a training value is more than 6 deviations from the mean, it is the soft
    /// logarithm `sign(x - m) ln(1 + |x - m| / u)` that is standardised; `m` is the median, and `u` the median of `|x - m|`.
    #[default]
    Auto,
    /// `(x - mean) / deviation`.
    Standard,
    /// `(x - least) / (largest - least)`: training rows lie in \[0, 1\].
    MinMax,
    /// `x` as it is.
    None,
}

/// What stands for a missing number or date. Missing categories are a category of their own, whatever this says, but for
/// [`Error`](Self::Error). Where training rows had missing ones, a second input says whether the field was missing.
///
/// To leave such rows out instead, call [`Table::drop_missing`] first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Missing {
    /// A missing field is an error, in a category too.
    Error,
    /// The mean of the training rows.
    Mean,
    /// The median of the training rows.
    #[default]
    Median,
}

/// What becomes of a category that no training row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unknown {
    /// It is taken for one of those that share an input, where there are such, and else all inputs of the column are 0.
    #[default]
    Allow,
    /// It is an error, unless some categories share an input: which ones these are, is not kept.
    Error,
}

/// The settings of a [`Preparation`]; [`fit`](Self::fit) makes one.
#[derive(Debug, Clone)]
#[must_use = "call .fit(&training_rows) to get the preparation"]
pub struct PreparationBuilder {
    target: String,
    task: Option<Task>,
    settings: Settings,
    leave_out: Vec<String>,
    scale_target: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) scaling: Scaling,
    pub(super) missing: Missing,
    pub(super) unknown: Unknown,
    pub(super) max_categories: usize,
    pub(super) keep: Vec<String>,
}

impl PreparationBuilder {
    /// Classification or regression; [`Task::of`] the target unless set.
    pub const fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// How numbers and dates are scaled.
    pub const fn scaling(mut self, scaling: Scaling) -> Self {
        self.settings.scaling = scaling;
        self
    }

    /// What stands for a missing field.
    pub const fn missing(mut self, missing: Missing) -> Self {
        self.settings.missing = missing;
        self
    }

    /// What becomes of a category that no training row has.
    pub const fn unknown(mut self, unknown: Unknown) -> Self {
        self.settings.unknown = unknown;
        self
    }

    /// How many categories of a column get an input of their own, the most frequent first; the others, and where there are more
    /// than 20 those of a single row, share one. 500 unless set; at least 1.
    pub const fn max_categories(mut self, categories: usize) -> Self {
        self.settings.max_categories = categories;
        self
    }

    /// This column, by name or number, is no input.
    pub fn leave_out(mut self, column: impl Into<String>) -> Self {
        self.leave_out.push(column.into());
        self
    }

    /// This column, by name or number, is an input even if it looks like a row number or like free text.
    pub fn keep(mut self, column: impl Into<String>) -> Self {
        self.settings.keep.push(column.into());
        self
    }

    /// Whether the targets of a regression are standardised for the network, as they are unless set; answers are in the user's
    /// units either way.
    pub const fn scale_target(mut self, scaled: bool) -> Self {
        self.scale_target = scaled;
        self
    }

    /// Learns from training rows, and from nothing else, what the columns are like.
    ///
    /// Columns that cannot help are left out: those with one value or none; numbers that each row has for itself (20 or more,
    /// whole and all different, in a column called `id`, `user_id`, `index`, ..., or counting from 0 or 1 in a first column
    /// without a name), unless no other column is left; texts of which more than 20 are different, and more than half. Of these, an input is left that says whether there is one, if
    /// between 5 % and 95 % of them are missing.
    ///
    /// # Errors
    /// [`Error::Table`] with line and column for a target that is missing, or of the wrong kind, or always the same, or for a
    /// missing field where those are errors; if no column is left, or if there is none of a name given here.
    /// [`Error::InvalidOption`] if `max_categories` is 0.
    pub fn fit(&self, training_rows: &Table) -> Result<Preparation> {
        let table = training_rows;
        if self.settings.max_categories == 0 {
            return Err(Error::InvalidOption { option: "max_categories", value: "0".to_owned(), want: "at least 1" });
        }
        let at = table.find(&self.target)?;
        let name = |given: &String| Ok(table.columns[table.find(given)?].name.clone());
        let leave_out = self.leave_out.iter().map(name).collect::<Result<Vec<_>>>()?;
        let keep = self.settings.keep.iter().map(name).collect::<Result<Vec<_>>>()?;
        let settings = Settings { keep, ..self.settings.clone() };
        let target = Target::fit(table, &table.columns[at], self.task, self.scale_target)?;

        let mut inputs = Vec::with_capacity(table.columns.len().saturating_sub(1));
        for (index, column) in table.columns.iter().enumerate().filter(|(index, _)| *index != at) {
            let name = column.name.clone();
            let encoding = if leave_out.contains(&name) {
                Encoding::LeftOut { why: "was to be left out".to_owned() }
            } else {
                if settings.missing == Missing::Error
                    && let Some(row) = (0..table.len()).find(|&row| table.columns[index].is_missing(row))
                {
                    return Err(table.wrong(Some(row), &name, "the field is missing, and missing fields are errors"));
                }
                Encoding::fit(column, &settings)
            };
            inputs.push(Input { name, encoding });
        }
        if inputs.iter().all(|input| input.encoding.width() == 0) {
            // Then it is they that the target hangs on.
            let settings = Settings { keep: inputs.iter().map(|input| input.name.clone()).collect(), ..settings };
            for input in inputs.iter_mut().filter(|input| input.encoding.is_row_number()) {
                input.encoding = Encoding::fit(table.column(&input.name)?, &settings);
            }
        }
        let missing_words = table.missing.clone();
        let stored =
            Stored { target_name: table.columns[at].name.clone(), target, inputs, missing_words, named: table.named };
        Preparation::try_from(stored).map_err(|problem| {
            let place = Place { table: table.name.clone(), ..Place::default() };
            Error::Table { place, problem }
        })
    }
}

/// How rows of a table become the inputs of a network, and its outputs answers: which columns are used, how they are scaled,
/// what the categories and classes are. It is fitted to training rows, and belongs to the network that was trained with it:
/// [`Network::set_preparation`](crate::Network::set_preparation).
///
/// Numbers become one input each, scaled ([`Scaling`]) and kept within 20 of 0; categories one input each, 1 for that of the
/// row; dates the day, scaled, with sine and cosine of the angle in the year, in the week, and if there are times in the day.
/// The target becomes a class, or a number that is standardised for the network.
///
/// ```
/// use wgrad::data::{Preparation, Table, Task};
/// let table = Table::new("flats")
///     .with_numbers("area", [40.0, 60.0, f64::NAN, 80.0])?
///     .with_texts("district", ["north", "south", "south", "north"])?
///     .with_numbers("rent", [400.0, 660.0, 700.0, 810.0])?;
/// let preparation = Preparation::new("rent").fit(&table)?;
/// assert_eq!(preparation.task(), Task::Regression);
/// assert_eq!(preparation.input_names(), ["area", "area missing", "district = north", "district = south"]);
///
/// let data = preparation.dataset(&table)?;
/// assert_eq!((data.features(), data.outputs()), (4, 1));
/// assert_eq!(data.input_row(2)?[1..], [1.0, 0.0, 1.0]);
/// // What a network says of the four flats, in the units of the table:
/// let answers = preparation.answers(&[0.0, 0.0, 1.0, -1.0])?;
/// assert_eq!(answers.value(0), Some(642.5)); // the mean rent
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// It can be stored with `serde`. What is loaded is checked: a damaged one is an error, and never a wrong answer or a panic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Preparation {
    stored: Stored,
    width: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    target_name: String,
    target: Target,
    inputs: Vec<Input>,
    missing_words: Vec<String>,
    named: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    encoding: Encoding,
}

impl From<Preparation> for Stored {
    fn from(preparation: Preparation) -> Self {
        preparation.stored
    }
}

impl TryFrom<Stored> for Preparation {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.inputs.len() >= MAX_COLUMNS {
            return Err(format!("a preparation has fewer than {MAX_COLUMNS} columns"));
        }
        stored.target.check().map_err(|problem| format!("target '{}': {problem}", brief(&stored.target_name)))?;
        let mut seen = HashSet::from([stored.target_name.as_str()]);
        let mut width = 0_usize;
        for Input { name, encoding } in &stored.inputs {
            encoding.check().map_err(|problem| format!("column '{}': {problem}", brief(name)))?;
            if !seen.insert(name) {
                return Err(format!("two columns have the name '{}'", brief(name)));
            }
            width = width.saturating_add(encoding.width());
        }
        if width == 0 {
            let why = stored.inputs.iter().filter_map(|input| match &input.encoding {
                Encoding::LeftOut { why } => Some(format!("'{}' {why}", brief(&input.name))),
                _ => None,
            });
            let why = why.take(5).collect::<Vec<_>>().join("; ");
            let why = if why.is_empty() { "there is none but the target".to_owned() } else { why };
            return Err(format!("no column is left to learn from: {why}"));
        }
        if width > MAX_INPUTS {
            return Err(format!(
                "the columns make {width} inputs, where {MAX_INPUTS} is the most; lower max_categories"
            ));
        }
        Ok(Self { stored, width })
    }
}

impl Preparation {
    /// Starts a preparation of tables with this target column, given by its name or number.
    #[allow(clippy::new_ret_no_self, reason = "the settings come first; fit makes the preparation")]
    pub fn new(target: impl Into<String>) -> PreparationBuilder {
        let settings = Settings {
            scaling: Scaling::Auto,
            missing: Missing::Median,
            unknown: Unknown::Allow,
            max_categories: 500,
            keep: Vec::new(),
        };
        PreparationBuilder { target: target.into(), task: None, settings, leave_out: Vec::new(), scale_target: true }
    }

    /// Classification or regression.
    #[must_use]
    pub const fn task(&self) -> Task {
        self.stored.target.task()
    }

    /// The name of the target column.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.stored.target_name
    }

    /// The classes, in the order of the network's outputs; none in regression.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        match &self.stored.target {
            Target::Classes { names, .. } => names,
            Target::Number { .. } => &[],
        }
    }

    /// `[center, scale]` of a regression: an output `a` of the network means `center + scale * a`, so that an error in the
    /// user's units is `scale` times that of the network. `None` in classification.
    #[must_use]
    pub const fn target_scale(&self) -> Option<[f64; 2]> {
        match &self.stored.target {
            Target::Classes { .. } => None,
            Target::Number { scale, .. } => Some([scale.center, scale.scale]),
        }
    }

    /// How many inputs the network needs.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.width
    }

    /// How many outputs the network needs: one a class, or one.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.stored.target.outputs()
    }

    /// The activation of the last layer that goes with [`cost`](Self::cost): softmax for classes, identity for numbers. For numbers with
    /// a heavy tail above 0 (no training row's is negative, and the largest is more than 6 standard deviations above the mean, as prices
    /// and counts are) it is softplus, so that no answer is negative; the center of [`target_scale`](Self::target_scale) is 0 then.
    #[must_use]
    pub const fn output_activation(&self) -> Activation {
        match &self.stored.target {
            Target::Classes { .. } => Activation::Softmax,
            Target::Number { positive: true, .. } => Activation::Softplus,
            Target::Number { .. } => Activation::Identity,
        }
    }

    /// The usual cost: categorical cross-entropy for classes, quadratic for numbers.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        match self.task() {
            Task::Classification => Cost::CategoricalCrossEntropy,
            Task::Regression => Cost::Quadratic,
        }
    }

    /// The columns of a row that is to be predicted, in their order: those of the table without the target. Columns that were
    /// left out are among them; what stands there does not matter.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> {
        self.stored.inputs.iter().map(|input| input.name.as_str())
    }

    /// The columns that are no inputs, and why: `was to be left out`, `is always 5`.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, &str)> {
        self.stored.inputs.iter().filter_map(|input| match &input.encoding {
            Encoding::LeftOut { why } => Some((input.name.as_str(), why.as_str())),
            _ => None,
        })
    }

    /// What each input of the network stands for: `age`, `age missing`, `colour = red`.
    #[must_use]
    pub fn input_names(&self) -> Vec<String> {
        self.stored.inputs.iter().flat_map(|input| input.encoding.names(&input.name)).collect()
    }

    /// What becomes of each of [`columns`](Self::columns).
    pub(crate) fn encodings(&self) -> impl ExactSizeIterator<Item = (&str, &Encoding)> {
        self.stored.inputs.iter().map(|input| (input.name.as_str(), &input.encoding))
    }

    /// The words that stand for a missing field, beside the empty text.
    pub(crate) fn missing_words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.stored.missing_words.iter().map(String::as_str)
    }

    /// A reader that takes each column for what it was in training, so that a file with a few rows is not taken for something
    /// else.
    pub fn reader(&self) -> TableReader {
        let columns = self.stored.inputs.iter().map(|input| (input.name.clone(), input.encoding.kind())).collect();
        let words = self.stored.missing_words.iter().cloned();
        TableReader::new().header(self.stored.named).missing_words(words).expecting(columns)
    }

    /// Inputs and targets of the rows of a table.
    ///
    /// # Errors
    /// [`Error::Table`], with line and column, if a column is not there, a field is not of its kind, a target is missing or a
    /// class that no training row had; [`Error::Empty`] if there are no rows.
    pub fn dataset(&self, table: &Table) -> Result<Dataset> {
        let target = table.column(&self.stored.target_name)?;
        let inputs = self.encode_table(table)?;
        self.stored.target.dataset(table, target, inputs, self.width, &self.stored.missing_words)
    }

    /// The inputs of the rows of a table, row-major `(rows, inputs)`. Columns are found by name; where the tables have no header,
    /// by place, with the target column or without it.
    ///
    /// # Errors
    /// [`Error::Table`], with line and column, if a column is not there, or a field is not of its kind.
    pub fn encode_table(&self, table: &Table) -> Result<Vec<f32>> {
        let by_place = !self.stored.named && table.columns.len() == self.stored.inputs.len();
        let mut columns = Vec::with_capacity(self.stored.inputs.len());
        for (place, input) in self.stored.inputs.iter().enumerate() {
            let used = !matches!(input.encoding, Encoding::LeftOut { .. });
            let at = if by_place { Some(place) } else { table.columns.iter().position(|c| c.name == input.name) };
            match at {
                Some(at) => columns.push(Some(&table.columns[at])),
                None if used => {
                    return Err(table.find(&input.name).err().unwrap_or_else(|| {
                        // A number that names another column by its place.
                        table.wrong(None, &input.name, "there is no such column")
                    }));
                }
                None => columns.push(None),
            }
        }
        self.encode(table.len, |row, place, out| {
            let field = columns[place].map_or(Field::Missing, |column| column.field(row));
            let encoding = &self.stored.inputs[place].encoding;
            encoding
                .encode(field, &self.stored.missing_words, out)
                .map_err(|problem| table.wrong(Some(row), &self.stored.inputs[place].name, problem))
        })
    }

    /// The inputs of rows of fields, row-major `(rows, inputs)`; each row has one field for each of [`columns`](Self::columns).
    ///
    /// # Errors
    /// [`Error::Table`], with row and column, if a row has another number of fields, or a field is not of its kind.
    pub fn encode_rows<'a, R, F>(&self, rows: &'a [R]) -> Result<Vec<f32>>
    where
        R: AsRef<[F]>,
        F: 'a,
        &'a F: Into<Field<'a>>,
    {
        let place = |row: usize, column: Option<String>| Place {
            table: "rows to predict".into(),
            row: Some(row),
            column,
            ..Place::default()
        };
        let wanted = self.stored.inputs.len();
        if let Some((row, fields)) = rows.iter().enumerate().find(|(_, fields)| fields.as_ref().len() != wanted) {
            let got = fields.as_ref().len();
            let problem = format!(
                "{got} fields, where there are {wanted} columns without the target '{}'",
                brief(&self.stored.target_name)
            );
            return Err(Error::Table { place: place(row, None), problem });
        }
        self.encode(rows.len(), |row, at, out| {
            let field = rows[row].as_ref().get(at).map_or(Field::Missing, Into::into);
            let input = &self.stored.inputs[at];
            let encoded = input.encoding.encode(field, &self.stored.missing_words, out);
            encoded.map_err(|problem| Error::Table { place: place(row, Some(input.name.clone())), problem })
        })
    }

    fn encode(&self, rows: usize, mut field: impl FnMut(usize, usize, &mut [f32]) -> Result<()>) -> Result<Vec<f32>> {
        let mut numbers: Vec<f32> = Vec::new();
        let len = rows.saturating_mul(self.width);
        numbers.try_reserve_exact(len).map_err(|_| {
            let want = "what fits in memory".to_owned();
            Error::shape("inputs of a table", want, format!("{rows} rows of {} inputs", self.width))
        })?;
        numbers.resize(len, 0.0);
        for (row, out) in numbers.chunks_exact_mut(self.width).enumerate() {
            let mut rest = out;
            for (place, input) in self.stored.inputs.iter().enumerate() {
                let (here, later) = rest.split_at_mut(input.encoding.width());
                field(row, place, here)?;
                rest = later;
            }
        }
        Ok(numbers)
    }

    /// What the outputs of a network, row-major `(rows, outputs)`, mean: classes with their probabilities, or numbers in the
    /// user's units.
    ///
    /// # Errors
    /// [`Error::Shape`] if these are no whole rows; [`Error::NotFinite`] for what a network says that has diverged.
    pub fn answers(&self, outputs: &[f32]) -> Result<Predictions> {
        Predictions::new(&self.stored.target, outputs)
    }
}
