//! Faults put into shaders: one small change of the text each, as a hand or a compiler might make it.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use wgrad::kernel::SHADERS;

/// A shader with one fault.
#[derive(Debug, Clone)]
pub struct Mutant {
    pub file: &'static str,
    /// From 1.
    pub line: usize,
    /// What was done.
    pub operator: &'static str,
    /// The line with the fault.
    pub now: String,
    /// The whole text.
    pub text: String,
}

/// What a line of code becomes, one text for each place of it where the change can be made.
type Change = fn(&str) -> Vec<String>;

/// Every operator. Those that could make a loop endless are not among them: the head of a loop keeps its increment.
const OPERATORS: &[(&str, Change)] = &[
    ("+ to -", |line| body(line, " + ", " - ")),
    ("- to +", |line| body(line, " - ", " + ")),
    ("* to +", |line| body(line, " * ", " + ")),
    ("< to <=", |line| but_at_zero(each(line, " < ", " <= "))),
    (">= to >", |line| but_at_zero(body(line, " >= ", " > "))),
    ("== to !=", |line| body(line, " == ", " != ")),
    ("&& to ||", |line| body(line, " && ", " || ")),
    ("adding to overwriting", |line| body(line, " += ", " = ")),
    ("barrier removed", |line| [each(line, "workgroupBarrier();", ""), each(line, "storageBarrier();", "")].concat()),
    ("arms of select swapped", swapped_arms),
    ("index one further", shifted_index),
    ("inputs for outputs", |line| each(line, "p.inputs", "p.outputs")),
    ("outputs for inputs", |line| each(line, "p.outputs", "p.inputs")),
    ("loop begins one later", late_loop),
    ("min to max", |line| each(line, "min(", "max(")),
    ("number doubled", doubled_number),
    ("store removed", |line| if line.contains("] = ") && line.ends_with(';') { vec![String::new()] } else { vec![] }),
    ("first live word for the step", |line| each(line, "control[0]", "control[1]")),
    ("condition always false", |line| each(line, "if (", "if (false && ")),
];

/// All mutants that are valid shaders, in the order of the files; and how many were none.
pub fn all() -> (Vec<Mutant>, usize) {
    let (mut valid, mut invalid) = (Vec::new(), 0);
    for &(file, text) in SHADERS {
        let lines: Vec<&str> = text.lines().collect();
        let used = used(&lines);
        for (operator, change) in OPERATORS {
            let mut places = Vec::new();
            let is_used = |(at, line): &(usize, &&str)| is_code(line) && used[*at];
            for (at, line) in lines.iter().enumerate().filter(is_used) {
                let code = line.split("//").next().unwrap_or_default().trim_end();
                places.extend(change(code).into_iter().map(|now| (at, now)));
            }
            // The first of the later half that is valid; else one of the earlier.
            let middle = places.len() / 2;
            for (at, now) in places[middle..].iter().chain(&places[..middle]) {
                let mut lines: Vec<&str> = lines.clone();
                lines[*at] = now;
                let text = lines.join("\n") + "\n";
                if is_valid(&text) {
                    valid.push(Mutant { file, line: at + 1, operator, now: now.trim().to_owned(), text });
                    break;
                }
                invalid += 1;
            }
        }
    }
    (valid, invalid)
}

fn is_valid(text: &str) -> bool {
    let module = naga::front::wgsl::parse_str(text);
    module.is_ok_and(|module| Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).is_ok())
}

/// For each line whether an entry point gets there: the same text stands in several shaders, not all of which need all of it.
fn used(lines: &[&str]) -> Vec<bool> {
    let mut functions: Vec<(String, std::ops::Range<usize>, bool)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default().to_owned();
            let end = (at..lines.len()).find(|&end| lines[end] == "}").unwrap_or(lines.len());
            functions.push((name, at..end, at > 0 && lines[at - 1].starts_with("@compute")));
        }
    }
    loop {
        let reached: Vec<_> = functions.iter().filter(|f| f.2).flat_map(|f| lines[f.1.clone()].to_vec()).collect();
        let calls = |name: &str| reached.iter().any(|line| line.contains(&format!("{name}(")));
        let before = functions.iter().filter(|f| f.2).count();
        let now: Vec<bool> = functions.iter().map(|f| f.2 || calls(&f.0)).collect();
        functions.iter_mut().zip(now).for_each(|(f, reached)| f.2 = reached);
        if functions.iter().filter(|f| f.2).count() == before {
            break;
        }
    }
    (0..lines.len()).map(|at| functions.iter().any(|f| f.2 && f.1.contains(&at))).collect()
}

/// Whether a line is in the body of a function.
fn is_code(line: &str) -> bool {
    let declares =
        ["fn ", "@", "struct ", "override ", "var<", "//"].iter().any(|word| line.trim_start().starts_with(word));
    line.starts_with(' ') && !declares && !line.contains("@builtin") && !line.contains(": u32,")
}

fn is_loop(line: &str) -> bool {
    line.contains("for (")
}

/// The line with each occurrence of a word replaced in turn.
fn each(line: &str, from: &str, to: &str) -> Vec<String> {
    line.match_indices(from).map(|(at, _)| format!("{}{to}{}", &line[..at], &line[at + from.len()..])).collect()
}

/// Without comparisons of numbers with 0: activations are continuous there, so that both arms say the same.
fn but_at_zero(found: Vec<String>) -> Vec<String> {
    found.into_iter().filter(|line| !line.contains(" <= 0.0") && !line.contains(" > 0.0")).collect()
}

/// As `each`, but for heads of loops.
fn body(line: &str, from: &str, to: &str) -> Vec<String> {
    if is_loop(line) { Vec::new() } else { each(line, from, to) }
}

/// `select(a, b, c)` becomes `select(b, a, c)`.
fn swapped_arms(line: &str) -> Vec<String> {
    let swap = |(at, word): (usize, &str)| {
        let (head, rest) = (&line[..at + word.len()], &line[at + word.len()..]);
        let (mut depth, mut commas) = (0, Vec::new());
        for (i, c) in rest.char_indices() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' if depth == 0 => break,
                ')' | ']' => depth -= 1,
                ',' if depth == 0 => commas.push(i),
                _ => {}
            }
        }
        let &[first, second] = commas.as_slice() else { return None };
        let (a, b) = (rest[..first].trim(), rest[first + 1..second].trim());
        (a != b).then(|| format!("{head}{b}, {a}{}", &rest[second..]))
    };
    line.match_indices("select(").filter_map(swap).collect()
}

/// `[at]` becomes `[at + 1u]`.
fn shifted_index(line: &str) -> Vec<String> {
    let shift = |(at, _): (usize, &str)| {
        let end = line[at..].find(']')? + at;
        (!line[at + 1..end].contains('[')).then(|| format!("{} + 1u{}", &line[..end], &line[end..]))
    };
    line.match_indices('[').filter_map(shift).collect()
}

/// The first round of a loop is left out.
fn late_loop(line: &str) -> Vec<String> {
    if !is_loop(line) || line.contains("> 0u") || line.contains("> 1u") {
        return Vec::new();
    }
    let Some(end) = line.find(';') else { return Vec::new() };
    vec![format!("{} + 1u{}", &line[..end], &line[end..])]
}

/// Each number with a fraction that is not a whole number, in turn.
fn doubled_number(line: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = line[at..].find(|c: char| c.is_ascii_digit()).map(|i| i + at) {
        let end = line[start..].find(|c| !is_part(c)).map_or(line.len(), |i| i + start);
        if let Some(number) =
            line[start..end].parse::<f64>().ok().filter(|n| line[start..end].contains('.') && n.fract() != 0.0)
        {
            found.push(format!("{}{:.9}{}", &line[..start], 2.0 * number, &line[end..]));
        }
        at = end;
    }
    found
}
