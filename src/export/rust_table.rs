//! The preparation of a table in an exported Rust module: from the fields of a row to the inputs of `forward`, and from its outputs to
//! an answer.

use std::fmt::Write;

use crate::data::{Encoding, Preparation, Scale};

/// Adds `Field`, `COLUMNS`, `encode` and `predict` to the module, and the functions that they need to `functions`.
pub(super) fn write(out: &mut String, preparation: &Preparation, functions: &mut Vec<&'static str>) {
    let columns: Vec<_> = preparation.encodings().collect();
    let names = list(columns.iter().map(|(name, _)| *name));
    let words = list(preparation.missing_words());
    let _ = write!(
        out,
        "/// The columns of a row, in their order.\n#[allow(dead_code)]\npub const COLUMNS: [&str; {}] = {names};\n\n\
         /// Texts that stand for a missing field, as the empty one does, in capital letters or small ones.\n\
         const MISSING: [&str; {}] = {words};\n\n",
        columns.len(),
        preparation.missing_words().len(),
    );
    out.push_str(FIELD);
    let _ = write!(
        out,
        "/// The inputs of the network for a row.\n///\n/// # Errors\n/// The place of the column whose field cannot be used, and why.\n\
         pub fn encode(row: &[Field<'_>; {}]) -> Result<[f32; INPUTS], (usize, &'static str)> {{\n    \
         let mut x = [0.0; INPUTS];\n",
        columns.len()
    );
    let mut at = 0;
    for (place, (name, encoding)) in columns.iter().enumerate() {
        let _ = writeln!(out, "    // {name:?}");
        column(out, encoding, place, at, functions);
        at += encoding.width();
    }
    out.push_str("    Ok(x)\n}\n\n");
    if columns.iter().any(|(_, encoding)| matches!(encoding, Encoding::Number { .. } | Encoding::Date { .. })) {
        out.push_str(NUMBER);
        out.push_str(LIMITED);
    }
    if columns.iter().any(|(_, encoding)| matches!(encoding, Encoding::Category { .. })) {
        out.push_str(TEXT);
    }
    answer(out, preparation, columns.len());
}

/// The statements that write the inputs of one column, from `x[at]` on.
fn column(out: &mut String, encoding: &Encoding, place: usize, at: usize, functions: &mut Vec<&'static str>) {
    match encoding {
        Encoding::LeftOut { .. } => {
            let _ = writeln!(out, "    let _ = &row[{place}];");
        }
        Encoding::Number { scale, fill, flag, .. } => {
            number(out, scale, *fill, flag.then_some(at + 1), place, at, functions);
        }
        Encoding::Date { scale, clock, fill, flag, .. } => {
            let flag_at = flag.then_some(at + encoding.width() - 1);
            number(out, scale, *fill, flag_at, place, at, functions);
            functions.push("sine_of_turns");
            let turns = ["v / 365.2425", "v / 7.0", "v"];
            for (pair, turn) in turns.iter().take(if *clock { 3 } else { 2 }).enumerate() {
                let at = at + 1 + 2 * pair;
                let _ = writeln!(out, "    x[{at}] = sine_of_turns({turn}) as f32;");
                let _ = writeln!(out, "    x[{}] = sine_of_turns({turn} - floor({turn}) + 0.25) as f32;", at + 1);
            }
        }
        Encoding::Category { categories, other, missing, strict } => {
            let names = list(categories.iter().map(String::as_str));
            let other_at = other.then_some(at + categories.len());
            let unknown = match (other_at, strict) {
                (Some(at), _) => format!("x[{at}] = 1.0"),
                (None, true) => format!("return Err(({place}, \"no training row has this category\"))"),
                (None, false) => "{}".to_owned(),
            };
            let gap = match (missing, other_at, strict) {
                (true, ..) => format!("x[{}] = 1.0", at + categories.len() + usize::from(*other)),
                (false, Some(at), _) => format!("x[{at}] = 1.0"),
                (false, None, true) => {
                    format!("return Err(({place}, \"the field is missing, as it is in no training row\"))")
                }
                (false, None, false) => "{}".to_owned(),
            };
            let _ = write!(
                out,
                "    match text(row[{place}], {place})? {{\n        None => {gap},\n        \
                 Some(text) => {{\n            const KNOWN: [&str; {}] = {names};\n            \
                 match KNOWN.binary_search(&text) {{\n                \
                 Ok(known) => x[{at} + known] = 1.0,\n                Err(_) => {unknown},\n            }}\n        }}\n    }}\n",
                categories.len()
            );
        }
    }
}

/// The statements for a number: `v` is the number or what fills the gap.
fn number(
    out: &mut String,
    scale: &Scale,
    fill: Option<f64>,
    flag: Option<usize>,
    place: usize,
    at: usize,
    functions: &mut Vec<&'static str>,
) {
    let fill = fill.map_or("None".to_owned(), |x| format!("Some({x:?})"));
    match flag {
        Some(flag) => {
            let _ = writeln!(out, "    let (v, missing) = number(row[{place}], {fill}, {place})?;");
            let _ = writeln!(out, "    x[{flag}] = if missing {{ 1.0 }} else {{ 0.0 }};");
        }
        None => {
            let _ = writeln!(out, "    let (v, _) = number(row[{place}], {fill}, {place})?;");
        }
    }
    let mut g = "v".to_owned();
    if let Some([middle, unit]) = scale.log {
        functions.push("wide_ln_1p");
        let _ = writeln!(out, "    let halves = v / 2.0 - {middle:?} / 2.0;");
        let _ =
            writeln!(out, "    let g = wide_ln_1p((halves.abs() / {unit:?} * 2.0).min(f64::MAX)).copysign(halves);");
        "g".clone_into(&mut g);
    }
    let (center, divisor) = (scale.center, scale.scale);
    let limit = scale.limit().map_or("f32::MAX as f64".to_owned(), |most| format!("{most:?}"));
    let _ = writeln!(out, "    x[{at}] = limited(({g} / 2.0 - {center:?} / 2.0) / {divisor:?} * 2.0, {limit});");
}

fn answer(out: &mut String, preparation: &Preparation, columns: usize) {
    let target = preparation.target();
    let errors = "///\n/// # Errors\n/// As [`encode`].\n";
    if let Some([center, scale]) = preparation.target_scale() {
        let _ = write!(
            out,
            "/// What the network says of a row: {target:?}, in its own units.\n{errors}\
             pub fn predict(row: &[Field<'_>; {columns}]) -> Result<f64, (usize, &'static str)> {{\n    \
             Ok({center:?} + {scale:?} * f64::from(forward(&encode(row)?)[0]))\n}}\n\n"
        );
    } else {
        let classes = preparation.classes();
        let _ = write!(
            out,
            "/// The classes of {target:?}, in the order of the outputs.\n#[allow(dead_code)]\n\
             pub const CLASSES: [&str; {}] = {};\n\n\
             /// What the network says of a row: the place in [`CLASSES`] with the largest output, the first of several.\n{errors}\
             pub fn predict(row: &[Field<'_>; {columns}]) -> Result<usize, (usize, &'static str)> {{\n    \
             let a = forward(&encode(row)?);\n    \
             Ok((1..OUTPUTS).fold(0, |best, at| if a[at] > a[best] {{ at }} else {{ best }}))\n}}\n\n",
            classes.len(),
            list(classes.iter().map(String::as_str)),
        );
    }
}

/// Texts as the elements of an array.
fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(", "))
}

const FIELD: &str = "/// One field of a row. A date is a number: the days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code)]
pub enum Field<'a> {
    /// Nothing is known.
    Missing,
    /// A number; NaN is missing.
    Number(f64),
    /// A text, where the column is one of categories.
    Text(&'a str),
}

fn is_missing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || MISSING.iter().any(|word| word.eq_ignore_ascii_case(text))
}

";

const NUMBER: &str = "/// The number of a field, or what fills the gap, and whether it was missing.
fn number(field: Field<'_>, fill: Option<f64>, place: usize) -> Result<(f64, bool), (usize, &'static str)> {
    let missing = match field {
        Field::Missing => true,
        Field::Number(v) => v.is_nan(),
        Field::Text(text) => is_missing(text),
    };
    match (field, fill) {
        _ if missing => Ok((fill.ok_or((place, \"the field is missing\"))?, true)),
        (Field::Number(v), _) if v.is_finite() => Ok((v, false)),
        (Field::Number(_), _) => Err((place, \"the number is infinite\")),
        _ => Err((place, \"a text, where the column is one of numbers\")),
    }
}

";

const LIMITED: &str = "/// Within `most` of 0.
fn limited(v: f64, most: f64) -> f32 {
    v.clamp(-most, most) as f32
}

";

const TEXT: &str = "/// The text of a field, or none where it is missing.
fn text<'a>(field: Field<'a>, place: usize) -> Result<Option<&'a str>, (usize, &'static str)> {
    match field {
        Field::Missing => Ok(None),
        Field::Number(v) if v.is_nan() => Ok(None),
        Field::Number(_) => Err((place, \"a number, where the column is one of categories\")),
        Field::Text(text) if is_missing(text) => Ok(None),
        Field::Text(text) => Ok(Some(text.trim())),
    }
}

";
