//! What is to be predicted: one of some classes, or a number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::column::{Column, Field, Kind, MAX_TEXTS, Values, is_missing};
use super::encoding::Scale;
use super::number::number;
use super::preparation::Scaling;
use super::table::Table;
use super::{Dataset, Inputs, Targets};
use crate::error::{Error, Result, brief};

/// Numbers with at most so many different values are taken for classes.
const FEW: usize = 12;

/// What a network is to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Task {
    /// One of some classes.
    Classification,
    /// A number.
    Regression,
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
        })
    }
}

impl Task {
    /// The task that a target column shows: classification for texts, and for whole numbers of which there are at most 12
    /// different ones, with three rows each or more on average; else regression.
    #[must_use]
    pub fn of(target: &Column) -> Self {
        let Values::Numbers { values, .. } = &target.values else { return Self::Classification };
        let mut different: Vec<f64> = Vec::new();
        let mut rows = 0;
        for &x in values.iter().filter(|x| !x.is_nan()) {
            rows += 1;
            if !different.contains(&x) {
                different.push(x);
            }
            if x.fract() != 0.0 || different.len() > FEW {
                return Self::Regression;
            }
        }
        if rows >= 3 * different.len() { Self::Classification } else { Self::Regression }
    }
}

/// How targets become what a network learns, and back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Target {
    /// The classes, numbers by size and texts by the alphabet.
    Classes { names: Vec<String>, comma: bool },
    /// `y = (value - center) / scale`; where no value is negative and some are far above the others, `center` is 0 and the output is
    /// positive too.
    Number {
        scale: Scale,
        comma: bool,
        #[serde(default)]
        positive: bool,
    },
}

impl Target {
    /// What training rows say. No field may be missing.
    pub(super) fn fit(table: &Table, column: &Column, task: Option<Task>, scaled: bool) -> Result<Self> {
        let wrong = |problem: String| Err(table.wrong(None, &column.name, problem));
        if column.kind() == Kind::Date {
            return wrong("dates cannot be predicted; take another target".to_owned());
        }
        if let Some(row) = (0..table.len()).find(|&row| column.is_missing(row)) {
            return Err(missing(table, column, row));
        }
        match (task.unwrap_or_else(|| Task::of(column)), &column.values) {
            (Task::Regression, Values::Numbers { values, comma }) => {
                if values.iter().all(|x| Some(x) == values.first()) {
                    let always = values.first().copied().unwrap_or_default();
                    return wrong(format!("the target is always {always}, so there is nothing to learn"));
                }
                let mut scale = Scale::fit(values, if scaled { Scaling::Standard } else { Scaling::None });
                let positive = scaled && scale.has_positive_tail(values);
                if positive {
                    scale.center = 0.0;
                }
                Ok(Self::Number { scale, comma: *comma, positive })
            }
            (Task::Regression, _) => {
                let Field::Text(text) = column.field(0) else { return wrong("the target has no rows".to_owned()) };
                let problem = format!("'{}' is no number; a regression needs a target of numbers", brief(text));
                Err(table.wrong(Some(0), &column.name, problem))
            }
            (Task::Classification, values) => Self::classes(table, column, values),
        }
    }

    fn classes(table: &Table, column: &Column, values: &Values) -> Result<Self> {
        let wrong = |problem: String| Err(table.wrong(None, &column.name, problem));
        let (mut names, comma) = match values {
            Values::Numbers { values, comma } => {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                sorted.dedup();
                (sorted.iter().map(f64::to_string).collect::<Vec<_>>(), *comma)
            }
            Values::Texts { codes, texts } => {
                let mut used = vec![false; texts.len()];
                codes.iter().filter_map(|&code| used.get_mut(code as usize).map(|used| *used = true)).for_each(drop);
                let used = texts.iter().zip(used).filter(|(_, used)| *used);
                let mut names: Vec<_> = used.map(|(text, _)| text.to_string()).collect();
                names.sort();
                (names, false)
            }
            Values::Dates { .. } => (Vec::new(), false),
        };
        // -0 and 0 are two bit patterns of one class.
        names.dedup();
        match names.len() {
            0 => wrong("the target has no rows".to_owned()),
            1 => wrong(format!("the target is always '{}', so there is nothing to learn", brief(&names[0]))),
            // A few classes may have a row each, in a table of nothing but examples.
            n if n > FEW && n * 2 > table.len() || n > MAX_TEXTS => wrong(format!(
                "the target has {n} different values in {} rows, which is too many for classes; \
                 take another target, or regression if they are numbers",
                table.len()
            )),
            _ => Ok(Self::Classes { names, comma }),
        }
    }

    pub(super) const fn task(&self) -> Task {
        match self {
            Self::Classes { .. } => Task::Classification,
            Self::Number { .. } => Task::Regression,
        }
    }

    pub(super) const fn outputs(&self) -> usize {
        match self {
            Self::Classes { names, .. } => names.len(),
            Self::Number { .. } => 1,
        }
    }

    /// The data set of a table whose inputs are encoded.
    #[allow(clippy::cast_possible_truncation, reason = "class numbers have 32 bits, and scaled targets are small")]
    pub(super) fn dataset(
        &self,
        table: &Table,
        column: &Column,
        inputs: Vec<f32>,
        width: usize,
        words: &[String],
    ) -> Result<Dataset> {
        let targets = match self {
            Self::Classes { names, comma } => {
                let places: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
                let label = |row| {
                    let field = column.field(row);
                    let name = class_name(field, *comma, words, |name| places.contains_key(name));
                    let name = name.ok_or_else(|| missing(table, column, row))?;
                    places.get(name.as_str()).copied().ok_or_else(|| {
                        let problem = format!("'{}' is none of the classes that were trained on", brief(&name));
                        table.wrong(Some(row), &column.name, problem)
                    })
                };
                let labels = (0..table.len()).map(label).collect::<Result<_>>()?;
                Targets::Labels { labels, classes: names.len() }
            }
            Self::Number { scale, comma, .. } => {
                let value = |row| match column.field(row) {
                    Field::Number(x) => Ok(scale.exact(x) as f32),
                    Field::Missing => Err(missing(table, column, row)),
                    Field::Text(text) => number(text, *comma)
                        .map(|x| scale.exact(x) as f32)
                        .ok_or_else(|| table.wrong(Some(row), &column.name, format!("'{}' is no number", brief(text)))),
                };
                Targets::Values { values: (0..table.len()).map(value).collect::<Result<_>>()?, outputs: 1 }
            }
        };
        Dataset::from_parts(Inputs::F32(inputs), width, targets)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Number { scale, .. } => scale.check(),
            Self::Classes { names, .. } => {
                let different: std::collections::HashSet<_> = names.iter().collect();
                if (2..=MAX_TEXTS).contains(&names.len()) && different.len() == names.len() {
                    return Ok(());
                }
                Err(format!("its classes must be different, from 2 to {MAX_TEXTS} of them"))
            }
        }
    }
}

/// The name of the class that a field stands for: its text, or where that is none, the number that it reads as.
fn class_name(field: Field<'_>, comma: bool, words: &[String], known: impl Fn(&str) -> bool) -> Option<String> {
    match field {
        Field::Missing => None,
        Field::Number(x) => Some(if x == 0.0 { "0".to_owned() } else { x.to_string() }),
        Field::Text(text) if is_missing(text, words) => None,
        Field::Text(text) if known(text) => Some(text.to_owned()),
        Field::Text(text) => {
            let number = number(text, comma).map(|x| x.to_string());
            Some(number.filter(|name| known(name)).unwrap_or_else(|| text.to_owned()))
        }
    }
}

fn missing(table: &Table, column: &Column, row: usize) -> Error {
    let problem = match &column.odd {
        Some(odd) if odd.row == row => format!("'{}' is no {}", odd.text, column.kind()),
        _ => "the target is missing; leave such rows out first (Table::drop_missing)".to_owned(),
    };
    table.wrong(Some(row), &column.name, problem)
}
