//! Charts: both formats are what they say, text is drawn without any font of the system, odd histories are drawn too.
//!
//! `WGRAD_CHARTS=FOLDER` writes all charts there, to be looked at.

#![cfg(all(feature = "plot", feature = "blocking"))]

use wgrad::plot::{self, Chart};
use wgrad::{
    Activation, Confusion, Cost, Dataset, Device, EarlyStopping, EpochReport, Error, History, Network, Schedule, Sgd,
    Trainer, data,
};

/// Every kind of chart, with a name.
fn charts() -> Vec<(String, Chart)> {
    let mut charts = Vec::new();
    let mut add = |name: &str, chart: Chart| charts.push((name.to_owned(), chart));

    let (train, test) = data::synthetic_digits(1500, 1).expect("digits").split_at(1000).expect("two parts");
    let net = Network::new(784).dense(30, Activation::Sigmoid).dense(10, Activation::Sigmoid).seed(1);
    let mut net = net.build(&Device::cpu()).expect("a net");
    let mut trainer = Trainer::new(Cost::BinaryCrossEntropy, Sgd::new(0.5))
        .epochs(14)
        .schedule(Schedule::one_cycle())
        .early_stopping(EarlyStopping::new(9));
    let history = trainer.fit(&mut net, &train, Some(&test)).expect("training");
    add("curves", plot::learning_curves(&history));
    let confusion = net.metrics(&test, Cost::BinaryCrossEntropy).expect("metrics").confusion.expect("classes");
    add("confusion", plot::confusion_matrix(&confusion, &[]));
    let first = net.layers()[0].weights();
    let parameters = net.parameters().expect("parameters");
    add("weights", plot::weight_pictures(&parameters[first], 784, 28).expect("pictures"));
    let rows: Vec<u32> = (0..500).collect();
    let mut x = vec![0.0; 500 * 784];
    test.copy_inputs(&rows, &mut x).expect("inputs");
    let outputs = net.predict(&x).expect("outputs");
    add("misread", plot::misread_pictures(&test, &outputs, 28, &[], 24).expect("pictures"));

    // Regression.
    let x: Vec<f32> = (0..200).map(|i| i as f32 / 100.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| 3.0 + (4.0 * x).sin() + 0.2 * (57.0 * x).cos()).collect();
    let line = Dataset::new(x.clone(), 1, y.clone(), 1).expect("data");
    let mut net = Network::new(1).dense(20, Activation::Tanh).dense(1, Activation::Identity);
    net = net.seed(2);
    let mut net = net.build(&Device::cpu()).expect("a net");
    let history =
        Trainer::new(Cost::Quadratic, Sgd::new(0.1)).epochs(120).fit(&mut net, &line, Some(&line)).expect("fit");
    add("regression curves", plot::learning_curves(&history));
    add("predictions", plot::predictions(&y, &net.predict(&x).expect("outputs"), "height / m").expect("a chart"));

    // Names, few classes, many classes.
    let names = ["setosa", "versicolor", "virginica"].map(str::to_owned);
    let pairs = [(0, 0, 50), (1, 1, 47), (1, 2, 3), (2, 2, 49), (2, 1, 1)];
    let pairs = pairs.into_iter().flat_map(|(t, g, n)| std::iter::repeat_n((t, g), n));
    add("three classes", plot::confusion_matrix(&Confusion::from_pairs(3, pairs).expect("a matrix"), &names));
    let pairs = (0..4000).map(|i| (i % 40, if i % 7 == 0 { (i * i + 3) % 40 } else { i % 40 }));
    add("forty classes", plot::confusion_matrix(&Confusion::from_pairs(40, pairs).expect("a matrix"), &[]));
    let pairs = (0..9000).map(|i| (i % 150, if i % 5 == 0 { (i * 7) % 150 } else { i % 150 }));
    add("many classes", plot::confusion_matrix(&Confusion::from_pairs(150, pairs).expect("a matrix"), &[]));
    charts
}

fn decode(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (info.width, info.height, pixels)
}

#[test]
fn every_chart_is_drawn_in_both_formats() {
    let folder = std::env::var_os("WGRAD_CHARTS").map(std::path::PathBuf::from);
    let charts = charts();
    assert!(charts.len() >= 9);
    for (name, chart) in charts {
        let (svg, png) = (chart.to_svg().expect("an SVG"), chart.to_png().expect("a PNG"));
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{name}.svg")), &svg).expect("written");
            std::fs::write(folder.join(format!("{name}.png")), &png).expect("written");
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
        assert!(svg.contains("<text") && svg.contains("DejaVu Sans"), "{name} has no text");
        let drawn: String = svg.lines().filter(|line| !line.starts_with("<image")).collect();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{name}");
        let (width, height, pixels) = decode(&png);
        let side = |key: &str| -> u32 {
            let text = svg.split(&format!("{key}=\"")).nth(1).and_then(|rest| rest.split('"').next());
            text.and_then(|text| text.parse().ok()).expect("a size")
        };
        assert_eq!((width, height), (2 * side("width"), 2 * side("height")), "{name}");
        // The title is written in the upper left corner: as dark pixels, in both formats by the font that is part of this crate.
        let dark = |x: u32, y: u32| pixels[3 * (y * width + x) as usize..][..3].iter().all(|&byte| byte < 100);
        let title = (16..64).flat_map(|y| (30..300).map(move |x| (x, y))).filter(|&(x, y)| dark(x, y)).count();
        assert!(title > 200, "{name}: {title} dark pixels where its title should be");
        let again = chart.to_png().expect("a PNG");
        assert!(again == png, "{name} is not the same twice");
    }
}

fn report(epoch: usize, train_cost: f64) -> EpochReport {
    EpochReport {
        epoch,
        steps: 1,
        eta: 0.1,
        train_cost,
        train_accuracy: 0.5,
        test: None,
        seconds: 1.0,
        steps_per_second: 1.0,
    }
}

#[test]
fn odd_histories_are_drawn() {
    for costs in [vec![], vec![0.0], vec![1.0; 3], vec![1e-30, 1e30], vec![-5.0, 5.0], vec![1e-300, 0.0, 1e300]] {
        let mut history = History::default();
        history.epochs = costs.iter().enumerate().map(|(i, &cost)| report(i + 1, cost)).collect();
        history.restored = Some(7);
        let svg = plot::learning_curves(&history).to_svg().expect("an SVG");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{costs:?}");
        plot::learning_curves(&history).size(100, 100).to_png().expect("a PNG");
    }
    let none = Confusion::from_pairs(2, []).expect("a matrix");
    plot::confusion_matrix(&none, &["a <very> long name & more".to_owned()]).to_svg().expect("an SVG");
}

/// The mistakes come in the order of the numbers below them, whatever the right class got.
#[test]
fn the_surest_mistakes_come_first() {
    let labels = Dataset::with_labels(vec![0.0; 3], 1, vec![0, 0, 0], 2).expect("three rows");
    let outputs = [0.05, 0.55, 0.85, 0.9, 0.2, 0.72];
    let names = ["no".to_owned(), "yes".to_owned()];
    let svg = plot::misread_pictures(&labels, &outputs, 1, &names, 9).expect("pictures").to_svg().expect("an SVG");
    let places: Vec<_> = ["90 %", "72 %", "55 %"].map(|said| svg.find(said).expect("a caption")).to_vec();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let chart = plot::learning_curves(&History::default());
    for (name, size) in [("a.jpg", 500), ("a", 500), ("a.svg", 50), ("a.png", 20_000)] {
        let result = chart.clone().size(size, 300).save(folder.path().join(name));
        assert!(matches!(result, Err(Error::InvalidOption { .. })), "{name}: {result:?}");
    }
    assert!(matches!(chart.save(folder.path().join("none").join("a.svg")), Err(Error::Io { .. })));
    chart.save(folder.path().join("a.SVG")).expect("capitals");
    chart.title("Another title").save(folder.path().join("a.png")).expect("written");

    let option = |result: Result<Chart, Error>| matches!(result, Err(Error::InvalidOption { .. }));
    let shape = |result: Result<Chart, Error>| matches!(result, Err(Error::Shape { .. }));
    assert!(option(plot::weight_pictures(&[0.0; 12], 6, 0)) && option(plot::weight_pictures(&[0.0; 12], 6, 7)));
    assert!(shape(plot::weight_pictures(&[0.0; 13], 6, 3)) && shape(plot::weight_pictures(&[], 6, 3)));
    assert!(option(plot::weight_pictures(&vec![0.0; 1 << 17], 1 << 17, 256)));
    assert!(matches!(plot::weight_pictures(&[f32::NAN; 6], 6, 3), Err(Error::NotFinite { .. })));
    assert!(plot::weight_pictures(&[0.0; 12], 6, 4).is_ok(), "the last row may be short");
    let values = Dataset::new(vec![0.0; 8], 4, vec![0.0; 4], 2).expect("data");
    let labels = Dataset::with_labels(vec![0.0; 8], 4, vec![1, 0], 2).expect("data");
    assert!(option(plot::misread_pictures(&values, &[0.0; 4], 2, &[], 9)));
    assert!(option(plot::misread_pictures(&labels, &[0.0; 4], 2, &[], 0)));
    assert!(shape(plot::misread_pictures(&labels, &[0.0; 5], 2, &[], 9)));
    assert!(plot::misread_pictures(&labels, &[0.0, 1.0, 1.0, 0.0], 2, &[], 9).expect("none").to_svg().is_ok());
    assert!(shape(plot::predictions(&[1.0], &[1.0, 2.0], "x")));
    assert!(matches!(plot::predictions(&[], &[], "x"), Err(Error::Empty { .. })));
    assert!(matches!(plot::predictions(&[1.0], &[f32::INFINITY], "x"), Err(Error::NotFinite { .. })));
    assert!(plot::predictions(&[1.0], &[1.0], "x").expect("a chart").to_svg().is_ok());
}
