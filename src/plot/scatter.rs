//! Predictions against targets.

use plotters::prelude::Circle;
use plotters::style::Color;

use super::confusion::grouped;
use super::curves::{decimals, number, round_step};
use super::pen::{Align, BLUE, GREY, INK, PALE, Pen, Target, failed};
use super::{Chart, Content};
use crate::error::{Error, Result};

/// Points that are drawn, at most: more than these no eye tells apart, and no viewer of SVG likes.
const MOST_POINTS: usize = 3000;

#[derive(Debug, Clone)]
pub(super) struct Scatter {
    /// Target and prediction.
    points: Vec<(f64, f64)>,
    name: String,
    subtitle: String,
}

/// What a network says against what is so, a point a row: the nearer to the diagonal, the better. `targets` and `predictions` are of
/// one output, in any units; `name` says what they are, with the unit. Of more than 3,000 rows every n-th is drawn.
///
/// # Errors
/// [`Error::Shape`] if there are not as many predictions as targets, [`Error::Empty`] if there are none, [`Error::NotFinite`].
pub fn predictions(targets: &[f32], predictions: &[f32], name: &str) -> Result<Chart> {
    if targets.len() != predictions.len() {
        let want = format!("{} numbers, as there are targets", targets.len());
        return Err(Error::shape("predictions", want, format!("{} numbers", predictions.len())));
    }
    if targets.is_empty() {
        return Err(Error::Empty { what: "the chart of predictions".to_owned() });
    }
    for (what, numbers) in [("targets", targets), ("predictions", predictions)] {
        if let Some(index) = numbers.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite { what: what.to_owned(), index, value: numbers[index] });
        }
    }
    let pairs = || targets.iter().zip(predictions).map(|(&y, &a)| (f64::from(y), f64::from(a)));
    #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
    let rows = targets.len() as f64;
    let rmse = (pairs().map(|(y, a)| (a - y) * (a - y)).sum::<f64>() / rows).sqrt();
    let mean = pairs().map(|(y, _)| y).sum::<f64>() / rows;
    let spread = pairs().map(|(y, _)| (y - mean) * (y - mean)).sum::<f64>();
    let every = targets.len().div_ceil(MOST_POINTS);
    let points: Vec<_> = pairs().step_by(every).collect();
    let mut subtitle = format!("{} rows; RMSE {}", grouped(targets.len() as u64), number(rmse));
    if spread > 0.0 {
        subtitle += &format!(", R² {:.3}", 1.0 - rmse * rmse * rows / spread);
    }
    if every > 1 {
        subtitle += &format!("; one row in {every} is drawn");
    }
    let scatter = Scatter { points, name: name.to_owned(), subtitle };
    Ok(Chart::new("Predictions against targets", (600, 640), Content::Scatter(scatter)))
}

impl Scatter {
    pub(super) fn draw<T: Target>(&self, title: &str, pen: &mut Pen<'_, T>) -> Result<()> {
        pen.text(title, (24.0, 24.0), 20.0, INK, Align::Left)?;
        pen.text(&self.subtitle, (24.0, 48.0), 14.0, GREY, Align::Left)?;
        let both = || self.points.iter().flat_map(|&(y, a)| [y, a]);
        let (low, high) = (both().fold(f64::INFINITY, f64::min), both().fold(f64::NEG_INFINITY, f64::max));
        let room = 0.04 * (high - low).max(1e-9_f64.max(1e-3 * high.abs()));
        let (low, high) = (low - room, high + room);
        // One scale for both axes: the diagonal is at 45 degrees.
        let (left, top) = (88.0, 72.0);
        let side = (pen.size.0 - left - 24.0).min(pen.size.1 - top - 62.0).max(10.0);
        let along = |value: f64| side * (value - low) / (high - low);
        let at = |y: f64, a: f64| (left + along(y), top + side - along(a));
        let step = round_step((high - low) / 6.0);
        for i in 0..12 {
            let value = ((low / step).ceil() + f64::from(i)) * step;
            if value > high {
                break;
            }
            pen.line(at(value, low), at(value, high), 1.0, PALE)?;
            pen.line(at(low, value), at(high, value), 1.0, PALE)?;
            let label = decimals(value, step);
            pen.text(&label, (left + along(value), top + side + 14.0), 12.0, GREY, Align::Middle)?;
            pen.text(&label, (left - 8.0, top + side - along(value)), 12.0, GREY, Align::Right)?;
        }
        for &(y, a) in &self.points {
            let (x, y) = at(y, a);
            let dot = Circle::new((pen.px(x), pen.px(y)), pen.px(2.2), BLUE.mix(0.45).filled());
            pen.area.draw(&dot).map_err(failed)?;
        }
        pen.line(at(low, low), at(high, high), 1.4, INK)?;
        pen.line(at(low, low), at(high, low), 1.0, GREY)?;
        pen.line(at(low, low), at(low, high), 1.0, GREY)?;
        pen.text(&format!("target: {}", self.name), (left + side / 2.0, top + side + 40.0), 14.0, INK, Align::Middle)?;
        pen.text_upwards(&format!("prediction: {}", self.name), (20.0, top + side / 2.0), 14.0, INK)
    }
}
