//! What the example says: of the table, of the net, and of how well it does.

use std::path::Path;

use serde_json::{Value, json};
use wgrad::data::{Field, Kind, Predictions, Preparation, Table, Task};
use wgrad::{Confusion, History, Metrics, Network, OutputErrors, Result, StopReason, plot};

use crate::common::{grouped, say};

/// The numbers of a column; NaN where there is none.
fn numbers(table: &Table, column: &str) -> Vec<f64> {
    let Ok(column) = table.column(column) else { return Vec::new() };
    let number = |row| match column.field(row) {
        Field::Number(x) => x,
        _ => f64::NAN,
    };
    (0..table.len()).map(number).collect()
}

/// What was found in the file, with the target or without it.
pub fn table(table: &Table, preparation: &Preparation, has_target: bool) {
    let rows = grouped(table.len() as u64);
    say!("table     {}: {rows} rows, {} columns", table.name().display(), table.columns().len());
    let target = short(preparation.target());
    match preparation.task() {
        Task::Classification => {
            let classes = preparation.classes();
            say!(
                "target    {target}, one of {} classes: {}",
                classes.len(),
                listed(classes.iter().map(|c| short(c)), 8)
            );
        }
        _ => {
            let mut values = if has_target { numbers(table, preparation.target()) } else { Vec::new() };
            values.retain(|x| !x.is_nan());
            let (least, most) =
                values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x)));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let [least, most, mean] = [least, most, mean].map(rounded);
            let range = match values.is_empty() {
                true => String::new(),
                false => format!(" from {least} to {most}, {mean} on average"),
            };
            say!("target    {target}, a number{range}");
        }
    }
    let is_target = |name: &str| has_target && name == preparation.target();
    let left: Vec<_> = preparation.left_out().collect();
    for (kind, name) in [(Kind::Number, "numbers"), (Kind::Category, "categories"), (Kind::Date, "dates")] {
        let columns: Vec<_> = table
            .columns()
            .iter()
            .filter(|c| c.kind() == kind && !is_target(c.name()) && left.iter().all(|(n, _)| *n != c.name()))
            .map(|c| match c.missing() {
                0 => short(c.name()),
                1 => format!("{} (1 field missing)", short(c.name())),
                missing => format!("{} ({} fields missing)", short(c.name()), grouped(missing as u64)),
            })
            .collect();
        if !columns.is_empty() {
            say!("{name:<9} {}", listed(columns.iter().cloned(), 12));
        }
    }
    for (column, why) in left.iter().take(12) {
        say!("left out  {}, which {why}", short(column));
    }
    if left.len() > 12 {
        say!("left out  {} columns more", left.len() - 12);
    }
    for column in table.columns() {
        if let Some((count, first)) = column.misfits() {
            let (name, kind) = (short(column.name()), column.kind());
            say!("note      {count} of the fields of {name} are no {kind}, such as '{first}'; they count as missing");
        }
    }
}

/// How the rows are used, and by what.
pub fn net(net: &Network, rows: [usize; 3]) {
    let [train, validation, test] = rows.map(|rows| grouped(rows as u64));
    say!("rows      {train} to learn from, {validation} to see when to stop, {test} to test with");
    let sizes = net.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    let layers = net.layers();
    let (hidden, last) = (layers[0].activation, layers[layers.len() - 1].activation);
    let parameters = grouped(net.parameter_count() as u64);
    say!("net       {sizes}, {hidden} hidden layers, {last} outputs, {parameters} parameters");
    say!("device    {}, because {}", net.device(), net.device().reason());
}

/// How the training went.
pub fn training(history: &History) {
    let epochs = history.epochs.len();
    let seconds: f64 = history.epochs.iter().map(|report| report.seconds).sum();
    let best = history.restored.map_or(String::new(), |best| format!("; taken as it was after epoch {best}, its best"));
    let early = if history.stop == Some(StopReason::EarlyStopping) { ", as it got no better" } else { "" };
    say!("training  ended after {epochs} epochs and {seconds:.1} s{early}{best}");
}

/// How well it does on some parts of the rows, the last of which is shown class by class.
pub fn scores(net: &Network, parts: &[(&str, &Metrics)]) {
    let (Some(preparation), [(_, first), .., (name, last)] | [(name, first @ last)]) = (net.preparation(), parts)
    else {
        return;
    };
    let line = |name: &str, cell: &dyn Fn(&Metrics) -> String| {
        let cells: String = parts.iter().map(|(_, metrics)| format!(" {:>12}", cell(metrics))).collect();
        say!("{name:<30}{cells}");
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let heads: String = parts.iter().map(|(name, _)| format!(" {name:>12}")).collect();
    say!("\n{:<30}{heads}", "");
    let Some(confusion) = &last.confusion else {
        let of =
            |metrics: &Metrics, what: fn(&OutputErrors) -> String| metrics.errors.first().map_or(String::new(), what);
        line("RMSE, root mean square error", &|metrics| of(metrics, |errors| rounded(errors.rmse())));
        line("MAE, mean absolute error", &|metrics| of(metrics, |errors| rounded(errors.mae)));
        line("R2, share of variance explained", &|metrics| of(metrics, |errors| format!("{:.3}", errors.r2)));
        return;
    };
    line("right", &|metrics| percent(metrics.accuracy));
    let share = |metrics: &Metrics, class| {
        let rows = metrics.confusion.as_ref().map_or(0, |confusion| confusion.support(class));
        rows as f64 / metrics.rows as f64
    };
    let most = (0..confusion.classes()).max_by(|a, b| share(first, *a).total_cmp(&share(first, *b))).unwrap_or(0);
    let always = short(preparation.classes().get(most).map_or("", String::as_str));
    line(&format!("were it always {always}"), &|metrics| percent(share(metrics, most)));
    classes(preparation.classes(), confusion, &format!("{name} rows"));
}

/// Each class of some rows: how many of them were found, and how many of the answers were right.
fn classes(names: &[String], confusion: &Confusion, rows: &str) {
    const SHOWN: usize = 20;
    let width = names.iter().take(SHOWN).map(|name| short(name).chars().count()).max().unwrap_or(0).max(5);
    say!("\n{:<width$} {rows:>10} {:>9} {:>10}", "class", "found", "right");
    for (class, name) in names.iter().enumerate().take(SHOWN) {
        let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        let (recall, precision) = (percent(confusion.recall(class)), percent(confusion.precision(class)));
        say!("{:<width$} {:>10} {recall:>9} {precision:>10}", short(name), confusion.support(class));
    }
    if names.len() > SHOWN {
        say!("... and {} classes more", names.len() - SHOWN);
    }
    say!("found: rows of the class that were answered so (recall); right: answers that were so (precision)");
}

/// The fields of a column, as they are shown.
fn fields(table: &Table, column: &str) -> Result<Vec<String>> {
    let column = table.column(column)?;
    let shown = |row| match column.field(row) {
        Field::Number(x) => rounded(x),
        Field::Text(text) => short(text),
        _ => String::new(),
    };
    Ok((0..table.len()).map(shown).collect())
}

/// Some rows, and what the net says of them, beside the truth where the table has it.
pub fn examples(net: &Network, table: &Table, what: &str, has_target: bool) -> Result<()> {
    let Some(preparation) = net.preparation() else { return Ok(()) };
    let rows: Vec<u32> = (0..8).take(table.len()).collect();
    let some = table.select(&rows)?;
    let answers = net.predict_table(&some)?;
    let truth = if has_target { fields(&some, preparation.target())? } else { Vec::new() };
    let width = truth.iter().map(|truth| truth.chars().count()).max().unwrap_or(0).max(5);
    let head = if truth.is_empty() { "answer".to_owned() } else { format!("{:>width$}  answer", "truth") };
    say!("\nSome {what}:\n{head}");
    for row in 0..some.len() {
        let answer = match (answers.class(row), answers.class_index(row), answers.probabilities(row)) {
            (Some(class), Some(index), Some(shares)) => {
                format!("{}, {:.0} % sure", short(class), 100.0 * shares[index])
            }
            _ => rounded(answers.value(row).unwrap_or(f64::NAN)),
        };
        match truth.get(row) {
            Some(truth) => say!("{truth:>width$}  {answer}"),
            None => say!("{answer}"),
        }
    }
    Ok(())
}

/// Draws how the training went, and how the answers for the test rows lie.
pub fn charts(net: &Network, history: &History, test: &Table, metrics: &Metrics, stem: &Path) -> Result<()> {
    let Some(preparation) = net.preparation() else { return Ok(()) };
    let mut history = history.clone();
    for report in &mut history.epochs {
        report.test = report.test.map(|test| test.in_units_of(preparation));
    }
    let mut charts = vec![("training", plot::learning_curves(&history))];
    let answers = net.predict_table(test)?;
    match &metrics.confusion {
        Some(confusion) if confusion.classes() <= 50 => {
            charts.push(("confusion", plot::confusion_matrix(confusion, preparation.classes())));
        }
        _ if preparation.task() == Task::Regression => {
            let [truth, said] = [&numbers(test, preparation.target())[..], answers.values()]
                .map(|values| values.iter().map(|&x| x as f32).collect::<Vec<_>>());
            charts.push(("predictions", plot::predictions(&truth, &said, preparation.target())?));
        }
        _ => {}
    }
    say!("\nCharts:");
    for (what, chart) in charts {
        let path = |end| format!("{}-{what}.{end}", stem.display());
        chart.save(path("svg"))?;
        chart.save(path("png"))?;
        say!("{} and .png", path("svg"));
    }
    Ok(())
}

/// What the net says of every row, as CSV.
pub fn answers(preparation: &Preparation, answers: &Predictions) -> String {
    let quoted = |text: &str| match text.contains(['"', ',', ';', '\t', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let target = quoted(preparation.target());
    let mut lines = match preparation.task() {
        Task::Classification => format!("{target},probability\n"),
        _ => format!("{target}\n"),
    };
    for row in 0..answers.len() {
        lines += &match (answers.class(row), answers.class_index(row), answers.probabilities(row)) {
            (Some(class), Some(index), Some(shares)) => format!("{},{}\n", quoted(class), shares[index]),
            _ => format!("{}\n", answers.value(row).unwrap_or(f64::NAN)),
        };
    }
    lines
}

/// The measures of some rows.
fn part(metrics: &Metrics) -> Value {
    match &metrics.errors[..] {
        [errors] => json!({ "rows": metrics.rows, "rmse": errors.rmse(), "mae": errors.mae, "r2": errors.r2 }),
        _ => json!({ "rows": metrics.rows, "accuracy": metrics.accuracy }),
    }
}

const fn task(preparation: &Preparation) -> &'static str {
    match preparation.task() {
        Task::Classification => "classify",
        _ => "regress",
    }
}

/// The results of a net that was trained before, as one JSON object; without measures where no target is known.
pub fn json_of_loaded(table: &Table, net: &Network, metrics: Option<&Metrics>) -> Value {
    let Some(preparation) = net.preparation() else { return Value::Null };
    json!({
        "task": task(preparation),
        "target": preparation.target(),
        "classes": preparation.classes(),
        "device": net.device().kind(),
        "sizes": net.sizes(),
        "rows": table.len(),
        "measured": metrics.map(part),
    })
}

/// The results as one JSON object.
pub fn json(table: &Table, net: &Network, history: &History, train: &Metrics, test: &Metrics) -> Value {
    let Some(preparation) = net.preparation() else { return Value::Null };
    let left_out: serde_json::Map<_, _> = preparation.left_out().map(|(c, why)| (c.to_owned(), json!(why))).collect();
    json!({
        "task": task(preparation),
        "target": preparation.target(),
        "classes": preparation.classes(),
        "columns": table.columns().iter().map(|column| column.name()).collect::<Vec<_>>(),
        "inputs": preparation.input_names(),
        "left_out": left_out,
        "device": net.device().kind(),
        "sizes": net.sizes(),
        "epochs": history.epochs.len(),
        "best_epoch": history.restored,
        "train": part(train),
        "test": part(test),
    })
}

/// A text from a table, cut to what a line can bear.
fn short(text: &str) -> String {
    const MOST: usize = 28;
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The first of some words, and how many more there are.
fn listed(words: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let count = words.len();
    let mut shown: Vec<String> = words.take(most).collect();
    if count > most {
        shown.push(format!("and {} more", count - most));
    }
    shown.join(", ")
}

/// A number with four digits or so, and commas in large ones.
fn rounded(x: f64) -> String {
    if x.is_finite() && (1000.0..1e15).contains(&x.abs()) {
        let sign = if x < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(x.abs().round() as u64));
    }
    if !x.is_finite() || (x != 0.0 && !(1e-4..1e15).contains(&x.abs())) {
        return format!("{x:.3e}");
    }
    let digits = if x == 0.0 { 0 } else { (3 - x.abs().log10().floor() as i32).clamp(0, 7) as usize };
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
