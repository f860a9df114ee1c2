//! How one column of a table becomes numbers for a network, and how that is found from training rows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::column::{Column, Field, Kind, MISSING, Values, is_missing};
use super::date::{DateForm, circles};
use super::number::number;
use super::preparation::{Missing, Scaling, Settings, Unknown};

/// Scaled numbers are kept within this distance of 0, so that one field that is far from all training rows cannot drown a row.
const FAR: f64 = 20.0;

/// Where a training value lies further than this from the mean, in standard deviations, the column has a heavy tail.
const HEAVY: f64 = 6.0;

/// `x -> (g(x) - center) / scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    /// `g(x) = sign(x - m) ln(1 + |x - m| / u)` with these `[m, u]`; else `g(x) = x`.
    pub(crate) log: Option<[f64; 2]>,
    pub(crate) center: f64,
    pub(crate) scale: f64,
}

impl Scale {
    const IDENTITY: Self = Self { log: None, center: 0.0, scale: 1.0 };

    /// From the values of training rows, of which there must be some.
    pub(super) fn fit(values: &[f64], scaling: Scaling) -> Self {
        match scaling {
            Scaling::None => Self::IDENTITY,
            Scaling::MinMax => {
                let (least, most) = range(values);
                Self { center: least, scale: nonzero(most - least, most), ..Self::IDENTITY }
            }
            Scaling::Standard => {
                let (mean, deviation) = moments(values);
                Self { center: mean, scale: nonzero(deviation, mean), ..Self::IDENTITY }
            }
            Scaling::Auto => {
                let plain = Self::fit(values, Scaling::Standard);
                let (least, most) = range(values);
                if plain.apply(least).abs().max(plain.apply(most).abs()) <= HEAVY {
                    return plain;
                }
                let middle = median(values);
                let spread = median(&values.iter().map(|x| (x - middle).abs()).collect::<Vec<_>>());
                // More than half of the values may be the same.
                let unit = if spread > 0.0 { spread } else { plain.scale };
                let bend = Self { log: Some([middle, unit]), ..Self::IDENTITY };
                let bent: Vec<f64> = values.iter().map(|&x| bend.apply_unlimited(x)).collect();
                let (mean, deviation) = moments(&bent);
                Self { center: mean, scale: nonzero(deviation, mean), ..bend }
            }
        }
    }

    fn apply_unlimited(&self, x: f64) -> f64 {
        let g = match self.log {
            None => x,
            Some([middle, unit]) => {
                // Halved, so that the difference of two large numbers does not overflow.
                let halves = x / 2.0 - middle / 2.0;
                libm::log1p((halves.abs() / unit) * 2.0).min(f64::MAX).copysign(halves)
            }
        };
        (g / 2.0 - self.center / 2.0) / self.scale * 2.0
    }

    /// The scaled number, however large.
    pub(super) fn exact(&self, x: f64) -> f64 {
        self.apply_unlimited(x).clamp(f64::from(f32::MIN), f64::from(f32::MAX))
    }

    /// The scaled number, within what the network is given.
    pub(super) fn apply(&self, x: f64) -> f64 {
        let most = self.limit().unwrap_or(f64::from(f32::MAX));
        self.apply_unlimited(x).clamp(-most, most)
    }

    /// The distance from 0 that scaled numbers are kept within; none where numbers stay as they are.
    pub(crate) fn limit(&self) -> Option<f64> {
        (*self != Self::IDENTITY).then_some(FAR)
    }

    /// Whether these values, of which it is the standard scale, are none of them negative, and some far above the others: prices,
    /// counts, times.
    pub(super) fn has_positive_tail(&self, values: &[f64]) -> bool {
        let (least, most) = range(values);
        least >= 0.0 && self.apply_unlimited(most) > HEAVY
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let good = |unit: f64| unit.is_finite() && unit > 0.0;
        let log = self.log.is_none_or(|[middle, unit]| middle.is_finite() && good(unit));
        if log && self.center.is_finite() && good(self.scale) {
            return Ok(());
        }
        Err("its scale must be finite, and above 0".to_owned())
    }
}

/// A divisor: where there is no spread, any does.
fn nonzero(spread: f64, size: f64) -> f64 {
    // A spread in the rounding of the numbers is none.
    if spread.is_finite() && spread > size.abs() * 1e-12 && spread > f64::MIN_POSITIVE { spread } else { 1.0 }
}

/// The least and the largest.
fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &x| (least.min(x), most.max(x)))
}

/// Mean and standard deviation; numbers near the largest do not overflow.
#[allow(clippy::cast_precision_loss, reason = "rows have 32-bit numbers")]
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let (least, most) = range(values);
    let size = least.abs().max(most.abs());
    if size == 0.0 || !size.is_finite() {
        return (0.0, 0.0);
    }
    let mean = values.iter().map(|x| x / size).sum::<f64>() / n;
    let variance = values.iter().map(|x| (x / size - mean) * (x / size - mean)).sum::<f64>() / n;
    (mean * size, variance.sqrt() * size)
}

/// The middle value, or the lower of the two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    if values.is_empty() {
        return 0.0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Why a column that numbers the rows is no input.
const ROW_NUMBER: &str = "looks like a number that each row has for itself";

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Encoding {
    /// Nothing.
    LeftOut {
        /// Because it ...
        why: String,
    },
    /// One scaled number, and where training rows had missing ones a second, which is 1 there and else 0.
    Number {
        comma: bool,
        scale: Scale,
        /// What stands for a missing number.
        fill: Option<f64>,
        flag: bool,
    },
    /// The scaled day, where it lies in the year and the week, and for dates with a time in the day; and perhaps the flag.
    Date { form: DateForm, scale: Scale, clock: bool, fill: Option<f64>, flag: bool },
    /// One number a category, 1 for that of the row and else 0: `categories`, then all others together, then the missing.
    Category {
        /// Sorted.
        categories: Vec<String>,
        other: bool,
        missing: bool,
        /// Whether an unknown category is an error.
        strict: bool,
    },
}

impl Encoding {
    /// What the training rows say.
    pub(super) fn fit(column: &Column, settings: &Settings) -> Self {
        let keep = settings.keep.contains(&column.name);
        let found = match &column.values {
            Values::Numbers { values, comma } => numbers(column, values, settings, keep).map(|(scale, fill, flag)| {
                let comma = *comma;
                Self::Number { comma, scale, fill, flag }
            }),
            Values::Dates { values, form } => dates(values, settings).map(|(scale, fill, flag)| {
                let clock = values.iter().any(|x| x.is_finite() && x.fract() != 0.0);
                Self::Date { form: *form, scale, clock, fill, flag }
            }),
            Values::Texts { codes, texts } => categories(codes, texts, settings, keep),
        };
        found.unwrap_or_else(|why| Self::LeftOut { why })
    }

    /// Whether it was left out because it numbers the rows.
    pub(super) fn is_row_number(&self) -> bool {
        matches!(self, Self::LeftOut { why } if why == ROW_NUMBER)
    }

    /// How many inputs it makes.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::LeftOut { .. } => 0,
            Self::Number { flag, .. } => 1 + usize::from(*flag),
            Self::Date { clock, flag, .. } => 5 + 2 * usize::from(*clock) + usize::from(*flag),
            Self::Category { categories, other, missing, .. } => {
                categories.len() + usize::from(*other) + usize::from(*missing)
            }
        }
    }

    /// What kind of column it takes.
    pub(super) const fn kind(&self) -> Option<Kind> {
        match self {
            Self::LeftOut { .. } => None,
            Self::Number { .. } => Some(Kind::Number),
            Self::Date { .. } => Some(Kind::Date),
            Self::Category { .. } => Some(Kind::Category),
        }
    }

    /// What each input stands for.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        let flagged = |mut names: Vec<String>, flag: bool| {
            if flag {
                names.push(format!("{name} missing"));
            }
            names
        };
        match self {
            Self::LeftOut { .. } => Vec::new(),
            Self::Number { flag, .. } => flagged(vec![name.to_owned()], *flag),
            Self::Date { clock, flag, .. } => {
                let parts = ["year, sine", "year, cosine", "week, sine", "week, cosine", "day, sine", "day, cosine"];
                let parts = parts.iter().take(if *clock { 6 } else { 4 }).map(|part| format!("{name} {part}"));
                flagged(std::iter::once(name.to_owned()).chain(parts).collect(), *flag)
            }
            Self::Category { categories, other, missing, .. } => {
                let mut names: Vec<_> = categories.iter().map(|category| format!("{name} = {category}")).collect();
                if *other {
                    names.push(format!("{name} other"));
                }
                flagged(names, *missing)
            }
        }
    }

    /// The inputs of a field, into `out`, which has [`width`](Self::width) numbers, all 0. The error is what is wrong with it.
    #[allow(clippy::cast_possible_truncation, reason = "within f32's range")]
    pub(super) fn encode(&self, field: Field<'_>, words: &[String], out: &mut [f32]) -> Result<(), String> {
        let field = match field {
            Field::Text(text) if is_missing(text.trim(), words) => Field::Missing,
            Field::Number(x) if x.is_nan() => Field::Missing,
            Field::Number(x) if x.is_infinite() => return Err("the number is infinite".to_owned()),
            field => field,
        };
        match self {
            Self::LeftOut { .. } => {}
            Self::Number { comma, scale, fill, flag } => {
                let x = value(field, |text| number(text, *comma), "number", *fill)?;
                out[0] = scale.apply(x) as f32;
                if *flag && field == Field::Missing {
                    out[1] = 1.0;
                }
            }
            Self::Date { form, scale, clock, fill, flag } => {
                let x = value(field, |text| form.days(text), "date", *fill)?;
                out[0] = scale.apply(x) as f32;
                for (out, angle) in out[1..].iter_mut().zip(circles(x)).take(if *clock { 6 } else { 4 }) {
                    *out = angle as f32;
                }
                if *flag && field == Field::Missing {
                    out[self.width() - 1] = 1.0;
                }
            }
            Self::Category { categories, other, missing, strict } => {
                let place = |text: &str| categories.binary_search_by(|c| c.as_str().cmp(text)).ok();
                let at = match field {
                    Field::Missing if *missing => Some(categories.len() + usize::from(*other)),
                    Field::Missing => None,
                    Field::Text(text) => place(text.trim()),
                    Field::Number(x) => place(&x.to_string()),
                };
                match at.or(other.then_some(categories.len())) {
                    Some(at) => out[at] = 1.0,
                    None if *strict => {
                        let problem = match field {
                            Field::Text(text) => {
                                format!("no training row has the category '{}'", crate::error::brief(text))
                            }
                            Field::Number(x) => format!("no training row has the category '{x}'"),
                            Field::Missing => "the field is missing, as it is in no training row".to_owned(),
                        };
                        return Err(problem);
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Whether what was loaded can be.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::LeftOut { .. } => Ok(()),
            Self::Number { scale, fill, .. } | Self::Date { scale, fill, .. } => {
                scale.check()?;
                if fill.is_some_and(|x| !x.is_finite()) {
                    return Err("what fills its gaps must be finite".to_owned());
                }
                Ok(())
            }
            Self::Category { categories, other, .. } => {
                if categories.is_empty() && !other || !categories.is_sorted_by(|a, b| a < b) {
                    return Err("its categories must be sorted and different".to_owned());
                }
                Ok(())
            }
        }
    }
}

/// The number of a field.
fn value(field: Field<'_>, read: impl Fn(&str) -> Option<f64>, kind: &str, fill: Option<f64>) -> Result<f64, String> {
    match field {
        Field::Number(x) => Ok(x),
        Field::Text(text) => read(text).ok_or_else(|| format!("'{}' is no {kind}", crate::error::brief(text))),
        Field::Missing => {
            fill.ok_or_else(|| "the field is missing, and missing fields were set to be errors".to_owned())
        }
    }
}

type Found = Result<(Scale, Option<f64>, bool), String>;

fn dates(values: &[f64], settings: &Settings) -> Found {
    let given: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    let gaps = given.len() < values.len();
    if given.is_empty() {
        return Err("has no values".to_owned());
    }
    let (least, most) = range(&given);
    if least >= most && !gaps {
        return Err("is always the same day".to_owned());
    }
    Ok((Scale::fit(&given, settings.scaling), fill(&given, settings.missing), gaps))
}

fn numbers(column: &Column, values: &[f64], settings: &Settings, keep: bool) -> Found {
    let given: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    let gaps = given.len() < values.len();
    if given.is_empty() {
        return Err("has no values".to_owned());
    }
    let (least, most) = range(&given);
    if least >= most && !gaps {
        return Err(format!("is always {least}"));
    }
    if !keep && is_row_number(&column.name, &given) {
        return Err(ROW_NUMBER.to_owned());
    }
    Ok((Scale::fit(&given, settings.scaling), fill(&given, settings.missing), gaps))
}

fn fill(given: &[f64], missing: Missing) -> Option<f64> {
    match missing {
        Missing::Error => None,
        Missing::Mean => Some(moments(given).0),
        Missing::Median => Some(median(given)),
    }
}

/// Whether a column numbers the rows: 20 or more whole numbers that are all different, in a column whose name says so, or in a
/// first column without a name if they go on from 0 or 1 without large gaps. An `x` that does so is a number like others.
#[allow(clippy::cast_precision_loss, reason = "rows have 32-bit numbers")]
fn is_row_number(name: &str, given: &[f64]) -> bool {
    let mut sorted = given.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.len() < 20 || sorted.iter().any(|x| x.fract() != 0.0) || sorted.windows(2).any(|pair| pair[0] >= pair[1])
    {
        return false;
    }
    let n = sorted.len() as f64;
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    // These may be seven in ten of the rows, or fewer.
    let counted = least >= 0.0 && least <= 1.0 + n / 4.0 && most - least < 2.0 * n;
    says_number(name) || name == "0" && counted
}

/// `id`, `user_id`, `CustomerID`, `index`, `row`, ...
fn says_number(name: &str) -> bool {
    let lower = name.trim().to_ascii_lowercase();
    let whole = ["id", "index", "row", "no", "nr", "number", "key", "uid", "guid"].contains(&lower.as_str());
    // Not `paid`, but `userId`, `user_id` and `user id`.
    let end = ["_id", " id", "-id", ".id"].iter().any(|end| lower.ends_with(end));
    whole || end || name.trim().ends_with("ID") || name.trim().ends_with("Id")
}

fn categories(codes: &[u32], texts: &[Box<str>], settings: &Settings, keep: bool) -> Result<Encoding, String> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for &code in codes {
        *counts.entry(code).or_default() += 1;
    }
    let gaps = counts.remove(&MISSING).unwrap_or(0);
    let given = codes.len() - gaps;
    let mut counted: Vec<(&str, usize)> =
        counts.iter().filter_map(|(&code, &count)| Some((&**texts.get(code as usize)?, count))).collect();
    match counted[..] {
        [] => return Err("has no values".to_owned()),
        [(text, _)] if gaps == 0 => return Err(format!("is always '{}'", crate::error::brief(text))),
        _ => {}
    }
    let strict = settings.unknown == Unknown::Error;
    if !keep && counted.len() > 20 && counted.len() * 2 > given {
        // Of names and notes nothing can be learned but whether there is one.
        if gaps * 20 > codes.len() && given * 20 > codes.len() {
            return Ok(Encoding::Category { categories: Vec::new(), other: true, missing: true, strict });
        }
        return Err(format!("has {} different texts in {given} rows", counted.len()));
    }
    // The most frequent first, then by name, so that the choice does not hang on the order of rows.
    counted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let all = counted.len();
    // A category of a single row says nothing about others, where there are many.
    if all > 20 && !keep {
        counted.retain(|(_, count)| *count > 1);
    }
    counted.truncate(settings.max_categories);
    let other = counted.len() < all;
    let mut categories: Vec<String> = counted.iter().map(|(text, _)| (*text).to_owned()).collect();
    categories.sort();
    Ok(Encoding::Category { categories, other, missing: gaps > 0, strict })
}
