//! Columns of a table: what their fields are taken for.

use std::collections::{HashMap, HashSet};

use super::date::DateForm;
use super::number::number;

/// The code of a missing text.
pub(super) const MISSING: u32 = u32::MAX;

/// Different texts that a column keeps apart; those that come later are all one.
pub(super) const MAX_TEXTS: usize = 1 << 16;

/// One field of a table, as it is given to [`Table::from_rows`](super::Table::from_rows) and
/// [`Network::predict_rows_async`](crate::Network::predict_rows_async).
///
/// A text that is given where a number is wanted is read as one; NaN is missing.
///
/// ```
/// use wgrad::data::Field;
/// let row: [Field; 4] = [5.1.into(), "NEAR BAY".into(), true.into(), None::<f64>.into()];
/// assert_eq!(row, [Field::Number(5.1), Field::Text("NEAR BAY"), Field::Text("true"), Field::Missing]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Field<'a> {
    /// Nothing is known.
    Missing,
    /// A number. A date is the days since 1970-01-01.
    Number(f64),
    /// A text, as it stands in the file.
    Text(&'a str),
}

macro_rules! field_from {
    ($($number:ty)*) => { $(
        impl From<$number> for Field<'_> {
            fn from(number: $number) -> Self {
                Self::Number(f64::from(number))
            }
        }
        impl From<&$number> for Field<'_> {
            fn from(number: &$number) -> Self {
                Self::Number(f64::from(*number))
            }
        }
    )* };
}
field_from!(f64 f32 i32 u32 i16 u16 i8 u8);

impl<'a> From<&'a str> for Field<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&&'a str> for Field<'a> {
    fn from(text: &&'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Field<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

/// The texts `true` and `false`.
impl From<bool> for Field<'_> {
    fn from(value: bool) -> Self {
        Self::Text(if value { "true" } else { "false" })
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Field<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl<'a> From<&Self> for Field<'a> {
    fn from(field: &Self) -> Self {
        *field
    }
}

/// What the fields of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Numbers.
    Number,
    /// Dates, with or without a time of day.
    Date,
    /// Texts, each of which names a category.
    Category,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::Category => "category",
        })
    }
}

/// A column of a [`Table`](super::Table).
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub(super) name: String,
    pub(super) values: Values,
    /// Fields of a column of numbers or dates that are neither: how many, and the first of them.
    pub(super) odd: Option<Odd>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Odd {
    pub(super) count: usize,
    pub(super) row: usize,
    pub(super) text: String,
}

#[derive(Debug, Clone)]
pub(super) enum Values {
    /// NaN is missing; `comma`: the texts have a decimal comma.
    Numbers { values: Vec<f64>, comma: bool },
    /// Days since 1970-01-01; NaN is missing.
    Dates { values: Vec<f64>, form: DateForm },
    /// A place in `texts`, or `MISSING`.
    Texts { codes: Vec<u32>, texts: Vec<Box<str>> },
}

/// Missing numbers are equal, as missing texts are.
impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.total_cmp(b).is_eq() || (a.is_nan() && b.is_nan()))
        };
        match (self, other) {
            (Self::Numbers { values: a, comma: c }, Self::Numbers { values: b, comma: d }) => c == d && same(a, b),
            (Self::Dates { values: a, form: f }, Self::Dates { values: b, form: g }) => f == g && same(a, b),
            (Self::Texts { codes: a, texts: t }, Self::Texts { codes: b, texts: u }) => a == b && t == u,
            _ => false,
        }
    }
}

impl Values {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Numbers { .. } => Kind::Number,
            Self::Dates { .. } => Kind::Date,
            Self::Texts { .. } => Kind::Category,
        }
    }
}

impl Column {
    /// The name, or the number from 0 where the table has no header.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its fields are.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.values.kind()
    }

    /// How many fields are missing; those that are no number in a column of numbers are among them.
    #[must_use]
    pub fn missing(&self) -> usize {
        match &self.values {
            Values::Numbers { values, .. } | Values::Dates { values, .. } => {
                values.iter().filter(|x| x.is_nan()).count()
            }
            Values::Texts { codes, .. } => codes.iter().filter(|&&code| code == MISSING).count(),
        }
    }

    /// The field of this row, from 0; missing if there is no such row.
    #[must_use]
    pub fn field(&self, row: usize) -> Field<'_> {
        match &self.values {
            Values::Numbers { values, .. } | Values::Dates { values, .. } => {
                values.get(row).filter(|x| !x.is_nan()).map_or(Field::Missing, |&x| Field::Number(x))
            }
            Values::Texts { codes, texts } => {
                let text = codes.get(row).and_then(|&code| texts.get(code as usize));
                text.map_or(Field::Missing, |text| Field::Text(text))
            }
        }
    }

    /// Where the column was taken for one of numbers or dates, how many of its fields are neither and so count as missing, and
    /// the first of them; of the whole table that was read, also in a part of it.
    #[must_use]
    pub fn misfits(&self) -> Option<(usize, &str)> {
        self.odd.as_ref().map(|odd| (odd.count, odd.text.as_str()))
    }

    pub(super) fn is_missing(&self, row: usize) -> bool {
        self.field(row) == Field::Missing
    }

    /// The rows named, in that order; there must be such rows.
    pub(super) fn select(&self, rows: &[u32]) -> Self {
        let pick = |values: &[f64]| rows.iter().map(|&row| values[row as usize]).collect();
        let values = match &self.values {
            Values::Numbers { values, comma } => Values::Numbers { values: pick(values), comma: *comma },
            Values::Dates { values, form } => Values::Dates { values: pick(values), form: *form },
            Values::Texts { codes, texts } => {
                let codes = rows.iter().map(|&row| codes[row as usize]).collect();
                Values::Texts { codes, texts: texts.clone() }
            }
        };
        let odd = self.odd.as_ref().map(|odd| {
            let row = rows.iter().position(|&row| row as usize == odd.row).unwrap_or(usize::MAX);
            Odd { row, ..odd.clone() }
        });
        Self { name: self.name.clone(), values, odd }
    }
}

/// The words that count as missing, beside an empty field, unless others are set. Capital letters do not matter.
pub(super) fn missing_words() -> Vec<String> {
    ["na", "n/a", "nan", "null", "?", "-", ".", "#n/a", "<na>"].map(str::to_owned).to_vec()
}

/// Whether a trimmed field is empty or one of the words, in whatever case.
pub(super) fn is_missing(text: &str, words: &[String]) -> bool {
    text.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// The fields of a column as text, one after the other.
#[derive(Debug, Default)]
pub(super) struct Raw {
    text: String,
    ends: Vec<u32>,
}

impl Raw {
    /// Adds a field, trimmed; `false` if the column is full.
    pub(super) fn push(&mut self, text: &str) -> bool {
        self.text.push_str(text.trim());
        match u32::try_from(self.text.len()) {
            Ok(end) => {
                self.ends.push(end);
                true
            }
            Err(_) => false,
        }
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let field = self.text.get(start..end as usize).unwrap_or_default();
            start = end as usize;
            field
        })
    }

    /// The column: of the kind that is asked for, else of the one that its fields show. With `semicolons` a decimal comma is
    /// looked for first.
    pub(super) fn column(self, name: String, kind: Option<Kind>, words: &[String], semicolons: bool) -> Column {
        let (values, odd) = match kind {
            Some(Kind::Category) => (self.texts(words), None),
            Some(Kind::Number) => self.numbers(self.decimal_comma(words, semicolons).0, words),
            Some(Kind::Date) => self.dates(self.date_form(words).0, words),
            None => self.inferred(words, semicolons),
        };
        Column { name, values, odd }
    }

    fn inferred(&self, words: &[String], semicolons: bool) -> (Values, Option<Odd>) {
        let given = || self.fields().filter(|text| !is_missing(text, words));
        let all = given().count();
        let (comma, numbers) = self.decimal_comma(words, semicolons);
        if numbers == all || numbers > 0 && self.mostly(all, words, |text| number(text, comma).is_some()) {
            return self.numbers(comma, words);
        }
        let (form, dates) = self.date_form(words);
        if dates > 0 && self.mostly(all, words, |text| form.days(text).is_some()) {
            return self.dates(form, words);
        }
        (self.texts(words), None)
    }

    /// Whether so many fields read that the others count as slips: 95 of 100, or half of them with more than 20 different
    /// ones, if the others are all one word.
    fn mostly(&self, all: usize, words: &[String], reads: impl Fn(&str) -> bool) -> bool {
        let (mut different, mut others, mut rest) = (HashSet::new(), HashSet::new(), 0);
        for text in self.fields().filter(|text| !is_missing(text, words)) {
            let set = if reads(text) { &mut different } else { &mut others };
            rest += usize::from(!reads(text));
            if set.len() <= 20 {
                set.insert(text);
            }
        }
        rest * 20 <= all || (rest * 2 <= all && different.len() > 20 && others.len() == 1)
    }

    /// Whether numbers have a decimal comma here, and how many fields are numbers then: with the comma only if more are.
    fn decimal_comma(&self, words: &[String], semicolons: bool) -> (bool, usize) {
        let count = |comma| {
            self.fields().filter(|text| !is_missing(text, words)).filter(|text| number(text, comma).is_some()).count()
        };
        let (point, comma) = (count(false), count(true));
        let has_comma = self.text.contains(',');
        if comma > point || (semicolons && has_comma && comma == point) { (true, comma) } else { (false, point) }
    }

    /// The form in which most dates read, and how many do.
    fn date_form(&self, words: &[String]) -> (DateForm, usize) {
        let count = |form: DateForm| {
            self.fields().filter(|text| !is_missing(text, words)).filter(|text| form.days(text).is_some()).count()
        };
        let forms = DateForm::ALL.map(|form| (form, count(form)));
        forms.into_iter().rev().max_by_key(|(_, count)| *count).unwrap_or((DateForm::YearFirst, 0))
    }

    fn numbers(&self, comma: bool, words: &[String]) -> (Values, Option<Odd>) {
        let (values, odd) = self.read(words, |text| number(text, comma));
        (Values::Numbers { values, comma }, odd)
    }

    fn dates(&self, form: DateForm, words: &[String]) -> (Values, Option<Odd>) {
        let (values, odd) = self.read(words, |text| form.days(text));
        (Values::Dates { values, form }, odd)
    }

    fn read(&self, words: &[String], read: impl Fn(&str) -> Option<f64>) -> (Vec<f64>, Option<Odd>) {
        let mut odd: Option<Odd> = None;
        let values = self.fields().enumerate().map(|(row, text)| {
            if is_missing(text, words) {
                return f64::NAN;
            }
            read(text).unwrap_or_else(|| {
                odd.get_or_insert_with(|| Odd { count: 0, row, text: crate::error::brief(text) }).count += 1;
                f64::NAN
            })
        });
        (values.collect(), odd)
    }

    fn texts(&self, words: &[String]) -> Values {
        coded(self.fields().map(|text| (!is_missing(text, words)).then_some(text)))
    }
}

/// Texts as codes, numbered as they come.
pub(super) fn coded<'a>(fields: impl Iterator<Item = Option<&'a str>>) -> Values {
    let mut codes: HashMap<&str, u32> = HashMap::new();
    let mut texts: Vec<Box<str>> = Vec::new();
    let codes = fields
        .map(|text| {
            let Some(text) = text else { return MISSING };
            if let Some(&code) = codes.get(text) {
                return code;
            }
            #[allow(clippy::cast_possible_truncation, reason = "at most MAX_TEXTS")]
            let code = texts.len().min(MAX_TEXTS) as u32;
            if texts.len() < MAX_TEXTS {
                codes.insert(text, code);
                texts.push(text.into());
            } else if texts.len() == MAX_TEXTS {
                texts.push("(any other text)".into());
            }
            code
        })
        .collect();
    Values::Texts { codes, texts }
}
