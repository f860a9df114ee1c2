//! Charts of any numbers, of any size, with any words on them.

use wgrad::plot::{self, Chart};
use wgrad::{Confusion, Dataset, EpochReport, Evaluation, History};

use crate::{COUNTS, NUMBERS, refused};

/// That a chart is drawn at its own size and at the smallest and odd ones; as PNG, which takes longer, where that is asked for.
fn draws(what: &str, chart: &Chart, png: bool) -> usize {
    let own = chart.to_svg().unwrap_or_else(|error| panic!("{what}: {error}"));
    // What is not a number may be said, but not be a place.
    let tags = own.split('<').filter_map(|tag| tag.split('>').next());
    assert!(tags.into_iter().all(|tag| !tag.contains("NaN") && !tag.contains("inf")), "{what}: {own}");
    for (width, height) in [(100, 100), (100, 400), (400, 100)] {
        let sized = chart.clone().size(width, height);
        sized.to_svg().unwrap_or_else(|error| panic!("{what}, {width} x {height}: {error}"));
        if png {
            sized.to_png().unwrap_or_else(|error| panic!("{what}, {width} x {height}: {error}"));
        }
    }
    4 + 3 * usize::from(png)
}

fn report(epoch: usize, [cost, accuracy, eta, test]: [f64; 4]) -> EpochReport {
    let text = format!(r#"{{"cost":0,"accuracy":0,"rows":{epoch}}}"#);
    let mut held_out: Evaluation = serde_json::from_str(&text).expect("an evaluation");
    (held_out.cost, held_out.accuracy) = (test, accuracy);
    (held_out.rmse, held_out.mae, held_out.r2) = (Some(cost), Some(eta), Some(test));
    let (train_cost, train_accuracy, test) = (cost, accuracy, Some(held_out));
    EpochReport { epoch, steps: epoch, eta, train_cost, train_accuracy, test, seconds: eta, steps_per_second: cost }
}

#[test]
fn histories_of_any_numbers() {
    let mut drawn = draws("nothing", &plot::learning_curves(&History::default()), true);
    for (i, &a) in NUMBERS.iter().enumerate() {
        for (j, &b) in NUMBERS.iter().enumerate().filter(|(j, _)| (3 * i + j) % 4 == 0) {
            let epochs = [COUNTS[i % 8], COUNTS[j % 8]];
            let mut history = History::default();
            history.epochs = vec![report(epochs[0], [a, b, 0.5, a]), report(epochs[1], [b, 0.5, a, b])];
            history.restored = Some(epochs[0]);
            for classes in [true, false] {
                if classes {
                    for epoch in &mut history.epochs {
                        epoch.test.iter_mut().for_each(|test| (test.rmse, test.mae, test.r2) = (None, None, None));
                    }
                }
                drawn += draws(&format!("{epochs:?}, {a} and {b}"), &plot::learning_curves(&history), i == j);
            }
        }
    }
    println!("{drawn} charts of histories");
}

#[test]
fn pictures_and_points_of_any_numbers() {
    let mut drawn = 0;
    let finite: Vec<f32> = NUMBERS.iter().map(|&x| x as f32).filter(|x| x.is_finite()).collect();
    for (i, &a) in finite.iter().enumerate() {
        for (j, &b) in finite.iter().enumerate().filter(|(j, _)| (3 * i + j) % 4 == 0) {
            let what = format!("{a:e} and {b:e}");
            drawn += draws(&what, &plot::predictions(&[a, b], &[b, b], &what).expect("finite"), i == j);
            drawn += draws(&what, &plot::weight_pictures(&[a, b, b], 3, 2).expect("finite"), i == j);
            let data = Dataset::with_labels(vec![a, b], 1, vec![0, 1], 2).expect("finite");
            drawn += draws(&what, &plot::misread_pictures(&data, &[a, b, b, a], 1, &[], 2).expect("finite"), i == j);
        }
    }
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let data = Dataset::with_labels(vec![0.0, 1.0], 1, vec![0, 1], 2).expect("data");
        refused(plot::misread_pictures(&data, &[0.0, 1.0, x, 0.0], 1, &[], 2), "not finite", "outputs");
        refused(plot::weight_pictures(&[0.0, x], 1, 1), "not finite", "weights");
        refused(plot::predictions(&[x], &[0.0], "x"), "not finite", "targets");
    }
    for width in COUNTS {
        let wide = (1..=2).contains(&width);
        assert_eq!(plot::weight_pictures(&[0.0; 4], 2, width).is_ok(), wide, "{width} of 2");
        assert!(plot::weight_pictures(&[0.0; 4], width, 1).is_ok() == [1, 2].contains(&width), "{width} inputs");
        let data = Dataset::with_labels(vec![0.0; 4], 2, vec![0, 1], 2).expect("data");
        let made = plot::misread_pictures(&data, &[0.0; 4], 1, &[], width);
        assert_eq!(made.is_ok(), (1..=1000).contains(&width), "at most {width}");
    }
    println!("{drawn} pictures");
}

#[test]
fn any_words_and_sizes() {
    let words = ["", "<svg></svg>&\"'", "\u{0}\u{1}\u{7f}\r\n\t", "\u{202e}\u{1f4a5}\u{0301}", &"long ".repeat(2000)];
    let pairs = [(0, 0), (1, 2), (2, 2)];
    for word in words {
        let names = vec![word.to_owned(); 3];
        let chart = plot::confusion_matrix(&Confusion::from_pairs(3, pairs).expect("three"), &names).title(word);
        draws(word, &chart, true);
        let svg = chart.to_svg().expect("an SVG");
        assert_eq!(svg.matches("</svg>").count(), 1, "what is written is not markup");
        draws(word, &plot::predictions(&[1.0, 2.0], &[2.0, 2.0], word).expect("finite").title(word), false);
    }
    for classes in [0, 1, 2, 51, 300] {
        let confusion = Confusion::from_pairs(classes, []).expect("few");
        draws(&format!("{classes} classes"), &plot::confusion_matrix(&confusion, &[]), true);
    }
    let chart = plot::learning_curves(&History::default());
    for side in [0, 1, 99, 10_001, u32::MAX] {
        for sized in [chart.clone().size(side, 500), chart.clone().size(500, side)] {
            refused(sized.to_svg(), "option", "a size");
            refused(sized.to_png(), "option", "a size");
            refused(sized.save("chart.svg"), "option", "a size");
        }
    }
    for path in ["", "chart", "chart.jpg", "svg"] {
        refused(chart.save(path), "option", path);
    }
    refused(chart.save("no such folder/chart.svg"), "io", "a folder that there is not");
    refused(chart.save("nul\0.svg"), "io", "a name that cannot be");
}
