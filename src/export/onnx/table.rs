//! The preparation of a table as operators: from columns to the inputs of the network, and from its outputs to answers.
//!
//! Numbers are `double` until they are scaled, as they are in [`Preparation`].

use super::graph::{Attribute, GraphWriter};
use super::model::{DOUBLE, FLOAT, STRING};
use crate::data::{Encoding, Preparation, Scale};
use crate::error::{Result, brief};
use crate::export::refuse;

/// The operators for texts.
pub(super) const DOMAIN: &str = "ai.onnx.ml";
/// Their version.
pub(super) const VERSION: i64 = 3;

/// How many ways of writing the words for missing fields may have, at most.
const SPELLINGS: usize = 4096;

/// The names of the graph's inputs and outputs; made first, so that nothing else in the graph has them.
pub(super) struct Names {
    columns: Vec<String>,
    answer: String,
    probabilities: String,
}

impl Names {
    pub(super) fn new(graph: &mut GraphWriter, preparation: &Preparation) -> Self {
        Self {
            columns: used(preparation).map(|(name, _)| graph.fresh(name)).collect(),
            answer: graph.fresh(preparation.target()),
            probabilities: graph.fresh("probabilities"),
        }
    }
}

/// The columns that make inputs of the network.
fn used(preparation: &Preparation) -> impl Iterator<Item = (&str, &Encoding)> {
    preparation.encodings().filter(|(_, encoding)| encoding.width() > 0)
}

/// The inputs of the graph, and the name of the network's input, which is made of them.
pub(super) fn inputs(graph: &mut GraphWriter, preparation: &Preparation, names: &Names) -> Result<String> {
    let spellings = spellings(preparation)?;
    let mut parts = Vec::new();
    for ((column, encoding), name) in used(preparation).zip(&names.columns) {
        match encoding {
            Encoding::LeftOut { .. } => {}
            Encoding::Number { scale, fill, flag, .. } => {
                graph.input(name, DOUBLE, 1, "a number; NaN is missing");
                let v = filled(graph, name, column, *fill)?;
                parts.push(scaled(graph, &v, scale));
                if *flag {
                    parts.push(missing(graph, name));
                }
            }
            Encoding::Date { scale, clock, fill, flag, .. } => {
                graph.input(name, DOUBLE, 1, "days since 1970-01-01; NaN is missing");
                let v = filled(graph, name, column, *fill)?;
                parts.push(scaled(graph, &v, scale));
                for days in [365.2425, 7.0, 1.0].iter().take(if *clock { 3 } else { 2 }) {
                    parts.extend(circle(graph, &v, *days));
                }
                if *flag {
                    parts.push(missing(graph, name));
                }
            }
            Encoding::Category { categories, other, missing, strict } => {
                graph.input(name, STRING, 1, "a category, without spaces around it; the empty text is missing");
                if *strict && !*other {
                    return Err(refuse(
                        "ONNX",
                        format!(
                            "an unknown category of column '{}' is an error (Unknown::Error), which no operator can raise; prepare \
                             with Unknown::Allow, or export with Onnx::encoded_rows()",
                            brief(column)
                        ),
                    ));
                }
                parts.push(one_hot(graph, name, categories, *other, *missing, &spellings));
            }
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(graph.node("Concat", &parts, "x", &[("axis", Attribute::Int(1))]))
}

/// The outputs of the graph, made of the network's outputs `a`.
pub(super) fn answers(graph: &mut GraphWriter, preparation: &Preparation, names: &Names, a: &str) {
    let answer = &names.answer;
    if let Some([center, scale]) = preparation.target_scale() {
        let wide = cast(graph, a, DOUBLE);
        let (center, scale) = (graph.double("center", center), graph.double("scale", scale));
        let product = graph.node("Mul", &[&wide, &scale], "scaled", &[]);
        graph.node_to("", "Add", &[&product, &center], answer, &[]);
        graph.output(answer, DOUBLE, Some(1), "the predicted number, in the units of the target");
    } else {
        let classes = preparation.classes();
        let best = graph.node("ArgMax", &[a], "best", &[("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))]);
        let texts = graph.texts("classes", classes);
        graph.node_to("", "Gather", &[&texts, &best], answer, &[("axis", Attribute::Int(0))]);
        graph.output(answer, STRING, None, "the class with the largest output, the first of several");
        graph.node_to("", "Identity", &[a], &names.probabilities, &[]);
        graph.output(&names.probabilities, FLOAT, Some(classes.len()), "the outputs, one a class");
    }
}

fn cast(graph: &mut GraphWriter, v: &str, to: i64) -> String {
    graph.node("Cast", &[v], &format!("{v} cast"), &[("to", Attribute::Int(to))])
}

/// A number, or what stands for a missing one.
fn filled(graph: &mut GraphWriter, name: &str, column: &str, fill: Option<f64>) -> Result<String> {
    let Some(fill) = fill else {
        return Err(refuse(
            "ONNX",
            format!(
                "a missing field of column '{}' is an error (Missing::Error), which no operator can raise; prepare with Missing::Median \
                 or Missing::Mean, or export with Onnx::encoded_rows()",
                brief(column)
            ),
        ));
    };
    let fill = graph.double(&format!("{name} fill"), fill);
    let gap = graph.node("IsNaN", &[name], &format!("{name} gap"), &[]);
    Ok(graph.node("Where", &[&gap, &fill, name], &format!("{name} filled"), &[]))
}

/// 1 where a number is missing, else 0.
fn missing(graph: &mut GraphWriter, name: &str) -> String {
    let gap = graph.node("IsNaN", &[name], &format!("{name} missing"), &[]);
    cast(graph, &gap, FLOAT)
}

/// An operator of `v` and a constant.
fn with(graph: &mut GraphWriter, operator: &str, v: &str, constant: f64) -> String {
    let constant = graph.double("constant", constant);
    graph.node(operator, &[v, &constant], &format!("{v} {operator}"), &[])
}

/// `(g(x) - center) / scale` within its limit; halved and doubled, so that the difference of large numbers does not overflow.
fn scaled(graph: &mut GraphWriter, v: &str, scale: &Scale) -> String {
    let mut g = v.to_owned();
    if let Some([middle, unit]) = scale.log {
        let half = with(graph, "Mul", &g, 0.5);
        let half = with(graph, "Sub", &half, middle / 2.0);
        let size = graph.node("Abs", &[&half], "size", &[]);
        let size = with(graph, "Div", &size, unit);
        let size = with(graph, "Mul", &size, 2.0);
        let size = with(graph, "Add", &size, 1.0);
        let log = graph.node("Log", &[&size], "log", &[]);
        let sign = graph.node("Sign", &[&half], "sign", &[]);
        g = graph.node("Mul", &[&log, &sign], "bent", &[]);
    }
    if scale.limit().is_some() {
        g = with(graph, "Mul", &g, 0.5);
        g = with(graph, "Sub", &g, scale.center / 2.0);
        g = with(graph, "Div", &g, scale.scale);
        g = with(graph, "Mul", &g, 2.0);
    }
    let most = scale.limit().unwrap_or(f64::from(f32::MAX));
    let (low, high) = (graph.double("low", -most), graph.double("high", most));
    let kept = graph.node("Clip", &[&g, &low, &high], "kept", &[]);
    cast(graph, &kept, FLOAT)
}

/// Sine and cosine of where a day lies in a period of so many days.
fn circle(graph: &mut GraphWriter, v: &str, days: f64) -> [String; 2] {
    let turns = with(graph, "Div", v, days);
    let whole = graph.node("Floor", &[&turns], "whole turns", &[]);
    let part = graph.node("Sub", &[&turns, &whole], "part of a turn", &[]);
    let angle = with(graph, "Mul", &part, std::f64::consts::TAU);
    ["Sin", "Cos"].map(|operator| {
        let value = graph.node(operator, &[&angle], operator, &[]);
        cast(graph, &value, FLOAT)
    })
}

/// 1 in the place of the category.
fn one_hot(
    graph: &mut GraphWriter,
    name: &str,
    categories: &[String],
    other: bool,
    missing: bool,
    spellings: &[String],
) -> String {
    let known = categories.len();
    let width = known + usize::from(other) + usize::from(missing);
    // A place behind the last one is none: all zeros.
    let unknown = if other { known } else { width };
    let gap = if missing { known + usize::from(other) } else { unknown };
    let place = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    let mut keys = spellings.to_vec();
    let mut values = vec![place(gap); keys.len()];
    for (at, category) in categories.iter().enumerate() {
        if spellings.binary_search(category).is_err() {
            keys.push(category.clone());
            values.push(place(at));
        }
    }
    let labels = graph.fresh(&format!("{name} place"));
    let attributes = [
        ("keys_strings", Attribute::Texts(&keys)),
        ("values_int64s", Attribute::Ints(&values)),
        ("default_int64", Attribute::Int(place(unknown))),
    ];
    graph.node_to(DOMAIN, "LabelEncoder", &[name], &labels, &attributes);
    let flat = graph.ints("one dimension", &[1], &[-1]);
    let flat = graph.node("Reshape", &[&labels, &flat], &format!("{name} flat"), &[]);
    let depth = graph.ints("depth", &[], &[place(width)]);
    let values = graph.floats("off and on", &[2], &[0.0, 1.0]);
    graph.node("OneHot", &[&flat, &depth, &values], &format!("{name} one-hot"), &[("axis", Attribute::Int(1))])
}

/// The empty text, and the words for missing fields in every mix of capital and small letters.
fn spellings(preparation: &Preparation) -> Result<Vec<String>> {
    let mut all = vec![String::new()];
    for word in preparation.missing_words() {
        let mut spellings = vec![String::new()];
        for c in word.chars() {
            let (small, large) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
            let mut more = if small == large { Vec::new() } else { spellings.clone() };
            more.iter_mut().for_each(|text| text.push(large));
            spellings.iter_mut().for_each(|text| text.push(small));
            spellings.append(&mut more);
            if all.len() + spellings.len() > SPELLINGS {
                let problem = format!(
                    "the words for missing fields have more than {SPELLINGS} ways of capital and small letters, which all would have \
                     to stand in the model; take fewer or shorter words, or export with Onnx::encoded_rows()"
                );
                return Err(refuse("ONNX", problem));
            }
        }
        all.extend(spellings);
    }
    all.sort();
    all.dedup();
    Ok(all)
}
