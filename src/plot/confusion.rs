//! The confusion matrix as a coloured grid.

use super::pen::{Align, GREY, INK, Pen, Target, WHITE, blues, mix};
use super::{Chart, Content};
use crate::error::Result;
use crate::metrics::Confusion;

/// Classes up to which each cell has its count written in.
const MOST_WRITTEN: usize = 20;
/// Classes up to which each has its name beside the grid.
const MOST_NAMED: usize = 50;
/// Few mistakes among many right answers would be white on white: colours follow this power of the share.
const POWER: f64 = 0.4;

#[derive(Debug, Clone)]
pub(super) struct Matrix {
    confusion: Confusion,
    names: Vec<String>,
}

/// The confusion matrix as a coloured grid: a row a true class, a column a class answered. A cell's colour is its share of the row,
/// so that small classes show as well as large ones; its count is written in where there is room, recall stands at the end of each
/// row and precision below each column. `names` are those of the classes, which otherwise have their numbers.
pub fn confusion_matrix(confusion: &Confusion, names: &[String]) -> Chart {
    let classes = confusion.classes();
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let names: Vec<String> = (0..classes).map(name).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let cell = cell_size(classes, longest);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size in pixels")]
    let size = {
        let grid = cell * classes as f64;
        let margins = Margins::new(classes, longest);
        ((margins.left + grid + margins.right) as u32, (margins.top + grid + margins.bottom) as u32)
    };
    let title =
        format!("Confusion matrix: {:.2} % of {} right", 100.0 * confusion.accuracy(), grouped(confusion.rows()));
    let size = (size.0.clamp(520, 10_000), size.1.clamp(100, 10_000));
    Chart::new(title, size, Content::Confusion(Matrix { confusion: confusion.clone(), names }))
}

fn cell_size(classes: usize, longest: usize) -> f64 {
    match classes {
        0..=5 => 64.0_f64.max(8.0 * longest.min(12) as f64),
        6..=MOST_WRITTEN => 48.0,
        21..=MOST_NAMED => 14.0,
        _ => (700.0 / classes as f64).max(1.0),
    }
}

/// Room around the grid.
struct Margins {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Margins {
    fn new(classes: usize, longest: usize) -> Self {
        let scores = if classes <= MOST_WRITTEN { 62.0 } else { 0.0 };
        Self {
            left: 56.0 + 7.5 * longest.min(16) as f64,
            right: scores + 100.0,
            top: 84.0,
            bottom: 16.0 + if scores > 0.0 { 26.0 } else { 0.0 },
        }
    }
}

/// A whole number with a comma every three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// At most so many letters.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

impl Matrix {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts and sizes that are drawn")]
    pub(super) fn draw<T: Target>(&self, title: &str, pen: &mut Pen<'_, T>) -> Result<()> {
        let classes = self.confusion.classes();
        let longest = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let Margins { left, right, top, bottom } = Margins::new(classes, longest);
        let (width, height) = pen.size;
        let side = (width - left - right).min(height - top - bottom).max(1.0);
        let cell = side / classes as f64;
        let at = |index: usize| index as f64 * cell;
        let letters = ((cell / 8.0) as usize).max(2);

        pen.text(title, (left, 24.0), 20.0, INK, Align::Left)?;
        pen.text("answered", (left + side / 2.0, 52.0), 15.0, INK, Align::Middle)?;
        pen.text_upwards("true class", (18.0, top + side / 2.0), 15.0, INK)?;

        let written = classes <= MOST_WRITTEN;
        let size = (cell / 3.2).clamp(9.0, 16.0);
        // A gap of a pixel between cells is the grid; where cells are too small for one, empty ones are drawn as one.
        let gap = if cell >= 8.0 { 1.0 } else { 0.0 };
        let empty = mix(WHITE, GREY, 0.06);
        if gap == 0.0 {
            pen.fill((left, top), (left + side, top + side), empty)?;
        }
        for truth in 0..classes {
            let (y, support) = (top + at(truth), self.confusion.support(truth));
            for answer in 0..classes {
                let (x, count) = (left + at(answer), self.confusion.count(truth, answer));
                if gap == 0.0 && count == 0 {
                    continue;
                }
                let share = if support > 0 { count as f64 / support as f64 } else { 0.0 };
                let shade = share.powf(POWER);
                let color = if count == 0 { empty } else { blues(0.06 + 0.94 * shade) };
                pen.fill((x, y), (x + cell - gap, y + cell - gap), color)?;
                if written && count > 0 {
                    let ink = if shade > 0.5 { WHITE } else { INK };
                    let middle = (x + cell / 2.0, y + cell / 2.0);
                    pen.text(&count.to_string(), middle, size, ink, Align::Middle)?;
                }
            }
            if classes <= MOST_NAMED {
                let name = short(&self.names[truth], 16);
                pen.text(&name, (left - 8.0, y + cell / 2.0), size.min(14.0), INK, Align::Right)?;
                let name = short(&self.names[truth], letters);
                pen.text(&name, (left + at(truth) + cell / 2.0, top - 12.0), size.min(14.0), INK, Align::Middle)?;
            }
            if written {
                let recall = percent(self.confusion.recall(truth));
                pen.text(&recall, (left + side + 8.0, y + cell / 2.0), 13.0, GREY, Align::Left)?;
                let precision = percent(self.confusion.precision(truth));
                let below = (left + at(truth) + cell / 2.0, top + side + 14.0);
                pen.text(&precision, below, 13.0_f64.min(cell / 3.4), GREY, Align::Middle)?;
            }
        }
        if written {
            pen.text("recall", (left + side + 8.0, top - 12.0), 13.0, GREY, Align::Left)?;
            pen.text("precision", (left - 8.0, top + side + 14.0), 13.0, GREY, Align::Right)?;
        }
        legend(pen, (width - 88.0, top), side)
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// What the colours mean.
fn legend<T: Target>(pen: &Pen<'_, T>, (x, top): (f64, f64), side: f64) -> Result<()> {
    let height = side.min(200.0);
    let bands = 50;
    for band in 0..bands {
        let shade = 1.0 - (f64::from(band) + 0.5) / f64::from(bands);
        let y = |band: i32| top + height * f64::from(band) / f64::from(bands);
        pen.fill((x, y(band)), (x + 14.0, y(band + 1)), blues(0.06 + 0.94 * shade))?;
    }
    for share in [1.0, 0.5, 0.2, 0.05, 0.01, 0.001_f64] {
        let y = top + height * (1.0 - share.powf(POWER));
        pen.line((x + 14.0, y), (x + 18.0, y), 1.0, GREY)?;
        let percent = 100.0 * share;
        pen.text(&format!("{percent} %"), (x + 22.0, y), 12.0, GREY, Align::Left)?;
    }
    pen.text("of the", (x, top + height + 16.0), 12.0, GREY, Align::Left)?;
    pen.text("true class", (x, top + height + 30.0), 12.0, GREY, Align::Left)
}
