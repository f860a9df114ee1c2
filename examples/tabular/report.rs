//! What the example says: of the table, of the net, and of how well it does.

use std::path::Path;

use serde_json::{Value, json};
use wgrad::data::{Field, Kind, Preparation, Table, Task};
use wgrad::{Confusion, History, Metrics, Network, Result, StopReason, plot};

use crate::common::{grouped, say};

/// The numbers of a column that has them all.
fn numbers(table: &Table, column: &str) -> Vec<f64> {
    let Ok(column) = table.column(column) else { return Vec::new() };
    let number = |row| match column.field(row) {
        Field::Number(x) => x,
        _ => f64::NAN,
    };
    (0..table.len()).map(number).collect()
}

/// What was found in the file.
pub fn table(table: &Table, preparation: &Preparation) {
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
            let values = numbers(table, preparation.target());
            let (least, most) =
                values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x)));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            say!(
                "target    {target}, a number from {} to {}, {} on average",
                rounded(least),
                rounded(most),
                rounded(mean)
            );
        }
    }
    let left: Vec<_> = preparation.left_out().collect();
    for (kind, name) in [(Kind::Number, "numbers"), (Kind::Category, "categories"), (Kind::Date, "dates")] {
        let columns: Vec<_> = table
            .columns()
            .iter()
            .filter(|c| {
                c.kind() == kind && c.name() != preparation.target() && left.iter().all(|(n, _)| *n != c.name())
            })
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

/// How well it does on the rows it learned from, and on those that it has not seen.
pub fn scores(net: &Network, train: &Metrics, test: &Metrics) {
    say!("\n{:<30} {:>12} {:>12}", "", "training", "test");
    let Some(preparation) = net.preparation() else { return };
    if let ([train], [test]) = (&train.errors[..], &test.errors[..]) {
        let line = |name, train: f64, test: f64| say!("{name:<30} {:>12} {:>12}", rounded(train), rounded(test));
        line("RMSE, root mean square error", train.rmse(), test.rmse());
        line("MAE, mean absolute error", train.mae, test.mae);
        say!("{:<30} {:>12.3} {:>12.3}", "R2, share of variance explained", train.r2, test.r2);
    } else {
        let line = |name, train: f64, test: f64| {
            say!("{name:<30} {:>10.1} % {:>10.1} %", 100.0 * train, 100.0 * test);
        };
        line("right", train.accuracy, test.accuracy);
        if let Some(confusion) = &test.confusion {
            let share = |metrics: &Metrics, class| {
                let rows = metrics.confusion.as_ref().map_or(0, |confusion| confusion.support(class));
                rows as f64 / metrics.rows as f64
            };
            let most = (0..confusion.classes()).max_by(|a, b| share(train, *a).total_cmp(&share(train, *b)));
            let most = most.unwrap_or(0);
            let name = short(preparation.classes().get(most).map_or("", String::as_str));
            line(&format!("were it always {name}"), share(train, most), share(test, most));
            classes(preparation.classes(), confusion);
        }
    }
}

/// Each class of the test rows: how many of them were found, and how many of the answers were right.
fn classes(names: &[String], confusion: &Confusion) {
    const SHOWN: usize = 20;
    let width = names.iter().take(SHOWN).map(|name| short(name).chars().count()).max().unwrap_or(0).max(5);
    say!("\n{:<width$}  test rows     found      right", "class");
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

/// Some test rows, and what the net says of them.
pub fn examples(net: &Network, test: &Table) -> Result<()> {
    let Some(preparation) = net.preparation() else { return Ok(()) };
    let rows: Vec<u32> = (0..8).take(test.len()).collect();
    let some = test.select(&rows)?;
    let answers = net.predict_table(&some)?;
    let target = some.column(preparation.target())?;
    let truth = |row| match target.field(row) {
        Field::Number(x) => rounded(x),
        Field::Text(text) => short(text),
        _ => String::new(),
    };
    let width = (0..some.len()).map(|row| truth(row).chars().count()).max().unwrap_or(0).max(5);
    say!("\nSome test rows:\n{:>width$}  answer", "truth");
    for row in 0..some.len() {
        let answer = match (answers.class(row), answers.class_index(row), answers.probabilities(row)) {
            (Some(class), Some(index), Some(shares)) => {
                format!("{}, {:.0} % sure", short(class), 100.0 * shares[index])
            }
            _ => rounded(answers.value(row).unwrap_or(f64::NAN)),
        };
        say!("{:>width$}  {answer}", truth(row));
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

/// The results as one JSON object.
pub fn json(table: &Table, net: &Network, history: &History, train: &Metrics, test: &Metrics) -> Value {
    let Some(preparation) = net.preparation() else { return Value::Null };
    let left_out: serde_json::Map<_, _> = preparation.left_out().map(|(c, why)| (c.to_owned(), json!(why))).collect();
    let part = |metrics: &Metrics| match &metrics.errors[..] {
        [errors] => json!({ "rows": metrics.rows, "rmse": errors.rmse(), "mae": errors.mae, "r2": errors.r2 }),
        _ => json!({ "rows": metrics.rows, "accuracy": metrics.accuracy }),
    };
    json!({
        "task": if preparation.task() == Task::Classification { "classify" } else { "regress" },
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
