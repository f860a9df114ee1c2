//! Tables: the preparation goes along, or is refused.

use std::fmt::Write;

use wgrad::data::{Field, Missing, Preparation, Scaling, Table, Unknown};
use wgrad::{Activation, Device, Network};

use crate::common::nets::Numbers;
use crate::rust::{run, rustc};

/// Numbers with gaps and a heavy tail, dates with and without a time, categories with gaps and many, of which some share an input.
pub fn table(rows: usize) -> Table {
    let mut numbers = Numbers(11);
    let mut texts = Vec::new();
    for at in 0..rows {
        let gap = |at: usize, every: usize, text: String| if at % every == 3 { String::new() } else { text };
        let (x, heavy) = (numbers.symmetric(), (8.0 * numbers.symmetric()).exp());
        let kind = ["oak", "elm", "fir"][at % 3];
        texts.push([
            gap(at, 7, format!("{:.3}", 1e3 * x)),
            format!("{heavy:.4}"),
            gap(at, 11, format!("20{:02}-{:02}-{:02}", 10 + at % 14, 1 + at % 12, 1 + at % 28)),
            format!("{:02}.{:02}.1999 {:02}:30", 1 + at % 28, 1 + at % 12, at % 24),
            gap(at, 9, ["red", "green", "dark \"blue\"", "é"][at % 4].to_owned()),
            format!("city {}", numbers.below(40).min(numbers.below(40))),
            format!("{:.2}", 100.0 * x + f32::from(u8::try_from(at % 3).unwrap())),
            kind.to_owned(),
        ]);
    }
    let names = ["x", "heavy tail", "day", "moment", "colour", "probabilities", "price", "kind"];
    Table::from_rows("made", names, texts.iter().map(|row| row.iter().map(String::as_str))).expect("a table")
}

/// A network that carries a preparation of that table; its weights are drawn, which is enough to see whether it is the same one.
pub fn network(target: &str, scaling: Scaling) -> (Network, Table) {
    let table = table(240);
    let preparation = Preparation::new(target).scaling(scaling).max_categories(12).fit(&table).expect("a preparation");
    let mut net = Network::new(preparation.inputs())
        .dense(9, Activation::Tanh)
        .dense(preparation.outputs(), preparation.output_activation())
        .seed(3)
        .build(&Device::cpu())
        .expect("a network");
    net.set_preparation(preparation).expect("it fits");
    (net, table)
}

/// Rows of fields as an application has them: of the table, and with what the table has not.
pub fn rows(net: &Network, table: &Table, count: usize) -> Vec<Vec<Field<'static>>> {
    let preparation = net.preparation().expect("a preparation");
    let columns: Vec<String> = preparation.columns().map(str::to_owned).collect();
    let field = |row: usize, name: &String| match table.column(name).expect("a column").field(row) {
        Field::Text(text) => Field::Text(text.to_owned().leak()),
        Field::Number(x) => Field::Number(x),
        _ => Field::Missing,
    };
    let mut rows: Vec<Vec<_>> = (0..count).map(|row| columns.iter().map(|name| field(row, name)).collect()).collect();
    // All missing, far out, unknown.
    rows.push(vec![Field::Missing; columns.len()]);
    for (number, text) in [(1e300, "nowhere"), (-1e9, "NaN"), (0.0, ""), (-0.4, "n/A")] {
        let kind = |name: &String| table.column(name).expect("a column").kind();
        let odd =
            |name| if kind(name) == wgrad::data::Kind::Category { Field::Text(text) } else { Field::Number(number) };
        rows.push(columns.iter().map(odd).collect());
    }
    rows
}

fn literal(field: &Field<'_>) -> String {
    match field {
        Field::Number(x) => format!("Field::Number(f64::from_bits({}))", x.to_bits()),
        Field::Text(text) => format!("Field::Text({text:?})"),
        _ => "Field::Missing".to_owned(),
    }
}

/// A program around the module that prints the inputs and the answer of every row, as bits, or `u32::MAX` for what is refused.
fn outcome(net: &Network, rows: &[Vec<Field<'static>>]) -> Vec<u32> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("net.rs"), net.to_rust().unwrap()).unwrap();
    std::fs::write(folder.path().join("lib.rs"), "#![no_std]\npub mod net;\n").unwrap();
    rustc(folder.path(), &["--crate-type", "lib", "lib.rs"]);
    let mut program = "mod net;\nuse net::Field;\nfn main() {\n    let rows = [\n".to_owned();
    for row in rows {
        let fields: Vec<_> = row.iter().map(literal).collect();
        let _ = writeln!(program, "        [{}],", fields.join(", "));
    }
    let answer =
        if net.preparation().unwrap().classes().is_empty() { "(answer as f32).to_bits()" } else { "answer as u32" };
    let _ = write!(
        program,
        "    ];\n    for row in &rows {{\n        let Ok(answer) = net::predict(row) else {{ println!(\"{{}}\", u32::MAX); continue }};\n        \
         for x in net::encode(row).unwrap() {{ println!(\"{{}}\", x.to_bits()); }}\n        println!(\"{{}}\", {answer});\n    }}\n}}\n"
    );
    std::fs::write(folder.path().join("main.rs"), program).unwrap();
    rustc(folder.path(), &["main.rs"]);
    run(&folder.path().join("main"))
}

#[test]
fn a_rust_module_takes_raw_rows() {
    for (target, scaling) in
        [("price", Scaling::Auto), ("kind", Scaling::Auto), ("price", Scaling::MinMax), ("kind", Scaling::None)]
    {
        let (net, table) = network(target, scaling);
        let (rows, preparation) = (rows(&net, &table, 60), net.preparation().unwrap());
        let (inputs, answers) = (preparation.encode_rows(&rows).unwrap(), net.predict_rows(&rows).unwrap());
        let got = outcome(&net, &rows);
        assert_eq!(got.len(), rows.len() * (net.inputs() + 1));
        let mut worst = 0.0_f32;
        for (row, got) in got.chunks(net.inputs() + 1).enumerate() {
            let (answer, encoded) = got.split_last().unwrap();
            let want = &inputs[row * net.inputs()..(row + 1) * net.inputs()];
            for ((got, want), name) in
                encoded.iter().map(|&bits| f32::from_bits(bits)).zip(want).zip(preparation.input_names())
            {
                assert!((got - want).abs() <= 2e-7 * want.abs().max(0.1), "row {row}, {name}: {got} beside {want}");
            }
            if preparation.classes().is_empty() {
                #[allow(clippy::cast_possible_truncation, reason = "f32 is what was printed")]
                let (got, want) = (f32::from_bits(*answer), answers.value(row).unwrap() as f32);
                #[allow(clippy::cast_possible_truncation, reason = "a size")]
                let unit = preparation.target_scale().unwrap()[1] as f32;
                // Inputs up to 1e38 make outputs of any size, without scaling.
                worst = worst.max((got - want).abs() / (unit + want.abs()));
            } else if scaling != Scaling::None {
                assert_eq!(Some(*answer as usize), answers.class_index(row), "row {row}");
            }
        }
        println!(
            "Rust export of a table, {target} by {scaling:?}: {} rows, largest difference {worst:.1e}",
            rows.len()
        );
        assert!(worst <= 1e-5, "{worst}");
    }
}

/// What `predict_rows` refuses, the module refuses.
#[test]
fn a_rust_module_refuses_what_predict_rows_does() {
    let table = table(240);
    let strict = Preparation::new("price").missing(Missing::Error).unknown(Unknown::Error).leave_out("day");
    let full = table.drop_missing(&["x", "colour", "day"]).unwrap();
    let preparation = strict.fit(&full).unwrap();
    let mut net = Network::new(preparation.inputs()).dense(1, Activation::Identity).build(&Device::cpu()).unwrap();
    net.set_preparation(preparation).unwrap();
    let good = rows(&net, &full, 1)[0].clone();
    let at = |name| net.preparation().unwrap().columns().position(|column| column == name).unwrap();
    let mut wrong = Vec::new();
    for (name, field) in [
        ("x", Field::Missing),
        ("x", Field::Text("n/a")),
        ("x", Field::Number(f64::NAN)),
        ("x", Field::Number(f64::INFINITY)),
        ("x", Field::Text("hello")),
        ("moment", Field::Missing),
        ("colour", Field::Text("mauve")),
        ("colour", Field::Missing),
    ] {
        let mut row = good.clone();
        row[at(name)] = field;
        assert!(net.predict_rows(std::slice::from_ref(&row)).is_err(), "{name}: {field:?}");
        wrong.push(row);
    }
    assert_eq!(outcome(&net, &wrong), vec![u32::MAX; wrong.len()]);
    assert_eq!(outcome(&net, &[good]).len(), net.inputs() + 1);
}

#[test]
fn a_shader_takes_encoded_rows_only() {
    use wgrad::export::Wgsl;
    let (net, _) = network("price", Scaling::Auto);
    let error = net.to_wgsl(&Wgsl::new("net")).unwrap_err().to_string();
    assert!(error.starts_with("export to WGSL: ") && error.contains("Wgsl::encoded_rows()"), "{error}");
    assert!(net.to_wgsl(&Wgsl::new("net").encoded_rows()).is_ok());
}
