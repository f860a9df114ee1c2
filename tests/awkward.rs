//! Tables as they come: made up, each with its own trouble and with a known way in which its target depends on the rest. A small
//! net with the defaults of the preparation has to find that out, far better than a constant answer would.

use std::fmt::Write as _;

use wgrad::data::{Kind, Preparation, TableReader, Task};
use wgrad::{Activation, AdamW, Device, EarlyStopping, Metrics, Network, Trainer};

/// A generator that is good enough for tables.
struct Draw(u64);

impl Draw {
    /// In \[0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Trains on four fifths of a table, and measures the net on the rest: in the table's units.
fn learned(text: &str, target: &str) -> (Preparation, Metrics) {
    let table = TableReader::new().read_from(text.as_bytes(), "made up").unwrap();
    let table = table.drop_missing(&[target]).unwrap();
    let [train, validation, test] = table.split_stratified(target, [0.68, 0.12, 0.2], 1).unwrap();
    let preparation = Preparation::new(target).fit(&train).unwrap();
    let mut net = Network::new(preparation.inputs())
        .dense(32, Activation::Relu)
        .dense(32, Activation::Relu)
        .dense(preparation.outputs(), preparation.output_activation())
        .seed(1)
        .build(&Device::cpu())
        .unwrap();
    let (train, validation) = (preparation.dataset(&train).unwrap(), preparation.dataset(&validation).unwrap());
    Trainer::new(preparation.cost(), AdamW::new(0.005).weight_decay(0.3))
        .batch_size(16)
        .epochs(60)
        .early_stopping(EarlyStopping::new(20))
        .fit(&mut net, &train, Some(&validation))
        .unwrap();
    net.set_preparation(preparation.clone()).unwrap();
    let metrics = net.table_metrics(&test).unwrap();
    (preparation, metrics)
}

#[track_caller]
fn explains(text: &str, target: &str, r2: f64) -> Preparation {
    let (preparation, metrics) = learned(text, target);
    assert_eq!(preparation.task(), Task::Regression);
    assert!(metrics.errors[0].r2 >= r2, "R2 {}", metrics.errors[0].r2);
    preparation
}

#[track_caller]
fn classifies(text: &str, target: &str, accuracy: f64) -> Preparation {
    let (preparation, metrics) = learned(text, target);
    assert_eq!(preparation.task(), Task::Classification);
    assert!(metrics.accuracy >= accuracy, "{} right", metrics.accuracy);
    preparation
}

#[test]
fn passengers_with_numbers_names_gaps_and_a_constant() {
    let mut draw = Draw(1);
    let mut text = String::from("id,name,sex,age,cabin,ship,alive\n");
    for i in 0..600 {
        let (female, age) = (draw.uniform() < 0.4, draw.uniform() * 70.0);
        let cabin = if draw.uniform() < 0.7 { String::new() } else { format!("C{i}") };
        let shown = if draw.uniform() < 0.2 { "?".to_owned() } else { format!("{age:.0}") };
        let alive = if draw.uniform() < 0.9 { female || age < 12.0 } else { !female };
        let sex = if female { "f" } else { "m" };
        let _ = writeln!(text, "{},\"Nn, Mr. {i}\",{sex},{shown},{cabin},T,{}", i + 1, u8::from(alive));
    }
    let preparation = classifies(&text, "alive", 0.8);
    let left: Vec<_> = preparation.left_out().map(|(name, _)| name).collect();
    assert_eq!(left, ["id", "name", "ship"]);
    assert_eq!(preparation.input_names(), ["sex = f", "sex = m", "age", "age missing", "cabin other", "cabin missing"]);
}

#[test]
fn target_in_the_first_column_with_decimal_commas_and_gaps() {
    let mut draw = Draw(2);
    let mut text = String::from("ziel;a;b;farbe\n");
    for _ in 0..600 {
        let (a, b, red) = (draw.uniform() * 10.0, draw.normal(), draw.uniform() < 0.5);
        let y = 3.0 * a - b * b + if red { 8.0 } else { 0.0 } + 0.5 * draw.normal();
        let target = if draw.uniform() < 0.15 { "NA".to_owned() } else { format!("{y:.2}") };
        let colour = if red { "rot" } else { "grün" };
        let _ = writeln!(text, "{}", format!("{target};{a:.3};{b:.3};{colour}").replace('.', ","));
    }
    explains(&text, "0", 0.95);
}

#[test]
fn classes_from_1_to_7_without_a_header() {
    let mut draw = Draw(3);
    let mut text = String::new();
    for _ in 0..420 {
        let class = 1 + draw.below(7);
        let angle = 0.9 * class as f64;
        let (x, y) = (3.0 * angle.cos() + 0.5 * draw.normal(), 3.0 * angle.sin() + 0.5 * draw.normal());
        let _ = writeln!(text, "{x:.3}\t{y:.3}\t{class}");
    }
    let preparation = classifies(&text, "2", 0.9);
    assert_eq!(preparation.classes(), ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn skewed_money_with_signs_and_commas() {
    let mut draw = Draw(4);
    let mut text = String::from("price,size,city,noise\n");
    for _ in 0..1500 {
        let (size, city) = ((4.0 + 0.7 * draw.normal()).exp(), draw.below(3));
        let noise = (1.0 - draw.uniform()).powf(-0.9); // a Pareto tail
        let price = 1000.0 * size * [1.0, 2.0, 0.5][city] * (0.1 * draw.normal()).exp();
        let whole = price as u64;
        let _ = writeln!(
            text,
            "\"${},{:03}.50\",{size:.1},{},{noise:.2}",
            whole / 1000,
            whole % 1000,
            ["A", "B", "C"][city]
        );
    }
    // Amounts from a million on have a second comma.
    let text = text.replace("\"$1000,", "\"$1,000,");
    explains(&text, "price", 0.85);
}

#[test]
fn dates_with_times_of_day() {
    let mut draw = Draw(5);
    let mut text = String::from("when,count\n");
    for i in 0..2000 {
        let (day, hour) = (1 + i / 4 % 28, i % 4 * 6);
        let month = 1 + i / 112 % 12;
        let season = if (4..10).contains(&month) { 60.0 } else { 0.0 };
        let count = 100.0 + season + if hour == 12 { 80.0 } else { 0.0 } + 8.0 * draw.normal();
        let _ = writeln!(text, "2019-{month:02}-{day:02} {hour:02}:00:00,{count:.0}");
    }
    explains(&text, "count", 0.9);
}

#[test]
fn many_categories_that_decide() {
    let mut draw = Draw(6);
    let effects: Vec<f64> = (0..80).map(|_| 50.0 * draw.normal()).collect();
    let mut text = String::from("hood,m2,rent\n");
    for _ in 0..3000 {
        let (hood, m2) = (draw.below(80), 20.0 + 100.0 * draw.uniform());
        let _ = writeln!(text, "n{hood},{m2:.1},{:.2}", effects[hood] + m2 + 5.0 * draw.normal());
    }
    let preparation = explains(&text, "rent", 0.9);
    assert_eq!(preparation.inputs(), 81);
}

#[test]
fn one_row_in_thirty_is_of_the_other_class() {
    let mut draw = Draw(7);
    let mut text = String::from("v1,v2,amount,class\n");
    for _ in 0..3000 {
        let fraud = draw.uniform() < 1.0 / 30.0;
        let shift = if fraud { 3.0 } else { 0.0 };
        let (a, b, amount) = (draw.normal() + shift, draw.normal() - shift, (3.0 + 1.5 * draw.normal()).exp());
        let _ = writeln!(text, "{a:.3},{b:.3},{amount:.2},{}", if fraud { "fraud" } else { "ok" });
    }
    let (_, metrics) = learned(&text, "class");
    let confusion = metrics.confusion.unwrap();
    assert!(confusion.recall(0).unwrap() > 0.7 && confusion.precision(0).unwrap() > 0.8, "{confusion}");
}

#[test]
fn few_rows() {
    let rows = |n: u32, f: fn(u32) -> String| (0..n).map(f).collect::<String>();
    let text = rows(24, |i| format!("{},{}\n", f64::from(i) + 0.5, if i < 12 { "no" } else { "yes" }));
    classifies(&format!("x,y\n{text}"), "y", 0.6);
    let text = rows(15, |i| format!("{}.5,{}\n", i, 2 * i + 1));
    explains(&format!("x,y\n{text}"), "y", 0.5);
}

#[test]
fn nothing_but_booleans_and_categories_without_a_header() {
    let mut draw = Draw(8);
    let mut text = String::new();
    for _ in 0..500 {
        let (a, b, c) = (draw.uniform() < 0.5, draw.uniform() < 0.5, draw.below(3));
        let _ =
            writeln!(text, "{a},{b},{},{}", ["low", "mid", "high"][c], if a != b && c > 0 { "acc" } else { "unacc" });
    }
    let table = TableReader::new().read_from(text.as_bytes(), "made up").unwrap();
    assert!(table.columns().iter().all(|column| column.kind() == Kind::Category));
    assert_eq!(table.len(), 500);
    classifies(&text, "-1", 0.99);
}

/// Real tables, where they are at hand.
#[test]
fn real_tables() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/tabular");
    if !folder.is_dir() {
        println!("skipped: there are no tables in {}", folder.display());
        return;
    }
    let read = |name: &str| TableReader::new().read(folder.join(name)).unwrap();
    let kinds = |name: &str| {
        let table = read(name);
        let of = |kind| table.columns().iter().filter(|c| c.kind() == kind).count();
        let missing = table.columns().iter().map(|c| c.missing()).sum::<usize>();
        (table.len(), of(Kind::Number), of(Kind::Category), missing, table.columns()[0].name().to_owned())
    };
    assert_eq!(kinds("iris.csv"), (150, 4, 1, 0, "0".to_owned()));
    assert_eq!(kinds("winequality-red.csv"), (1599, 12, 0, 0, "0".to_owned()));
    assert_eq!(kinds("california-housing.csv"), (20_640, 9, 1, 207, "longitude".to_owned()));
}
