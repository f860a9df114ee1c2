//! Learning curves: cost, accuracy or errors, and learning rate against epochs.

use plotters::prelude::{ChartBuilder, Circle, LineSeries, PathElement, RGBColor, Rectangle};
use plotters::style::Color;

use super::pen::{Align, BLUE, GREEN, GREY, INK, PALE, Pen, RED, Target, WHITE, failed};
use super::{Chart, Content};
use crate::error::Result;
use crate::train::{EpochReport, History, Metric};

/// Epochs up to which each has a mark on the curve.
const MOST_MARKED: usize = 40;
/// From this ratio of its largest to its smallest value on, an axis is logarithmic.
const LOGARITHMIC: f64 = 20.0;

#[derive(Debug, Clone)]
pub(super) struct Curves {
    panels: Vec<Panel>,
    /// The epoch whose parameters the network has.
    restored: Option<usize>,
    subtitle: String,
}

/// One pair of axes.
#[derive(Debug, Clone)]
struct Panel {
    name: String,
    lines: Vec<Line>,
    scale: Scale,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
    /// Shares, written in percent.
    Percent,
}

#[derive(Debug, Clone)]
struct Line {
    name: String,
    color: RGBColor,
    /// How its marks look, so that colour is not all that tells it apart.
    square: bool,
    /// Epoch and value.
    points: Vec<(f64, f64)>,
}

/// How a run went, epoch by epoch: the cost; the accuracy, or where the targets are values their errors; and the learning rate, if it
/// changed. What was trained on is blue with round marks, what was held out vermilion with square ones, and its mean absolute error
/// green with round ones; a dashed line is at the epoch whose parameters were restored.
pub fn learning_curves(history: &History) -> Chart {
    let train = |name, metric| line(history, name, metric, BLUE, false);
    let test = |name, metric| line(history, name, metric, RED, true);
    let mut panels = Vec::new();
    panels.extend(panel("cost", vec![train("training", Metric::TrainCost), test("held out", Metric::TestCost)]));
    let regression = history.epochs.iter().any(|epoch| Metric::TestR2.of(epoch).is_some());
    if regression {
        let errors = vec![test("RMSE", Metric::TestRmse), line(history, "MAE", Metric::TestMae, GREEN, false)];
        panels.extend(panel("error, held out", errors));
    } else {
        let accuracy = vec![train("training", Metric::TrainAccuracy), test("held out", Metric::TestAccuracy)];
        let accuracy = panel("right answers", accuracy);
        panels.extend(accuracy.map(|panel| Panel { scale: Scale::Percent, ..panel }));
    }
    let eta = points(history, |epoch| Some(epoch.eta));
    if eta.windows(2).any(|pair| pair[0].1.to_bits() != pair[1].1.to_bits()) {
        let line = Line { name: "at the epoch's end".to_owned(), color: GREY, square: false, points: eta };
        // Schedules end near nothing, which a logarithm would make most of the picture.
        panels.extend(panel("learning rate", vec![line]).map(|panel| Panel { scale: Scale::Linear, ..panel }));
    }
    let last = history.epochs.last();
    let mut said = vec![match history.epochs.len() {
        1 => "1 epoch".to_owned(),
        epochs => format!("{epochs} epochs"),
    }];
    if let Some(restored) = history.restored {
        said.push(format!("parameters of epoch {restored}"));
    }
    let shown = history.restored.and_then(|epoch| history.epochs.get(epoch.checked_sub(1)?)).or(last);
    if let Some(test) = shown.and_then(|epoch| epoch.test) {
        said.push(match test.rmse.zip(test.r2) {
            Some((rmse, r2)) => format!("held out: RMSE {}, R² {r2:.3}", number(rmse)),
            None => format!("held out: cost {}, {:.2} % right", number(test.cost), 100.0 * test.accuracy),
        });
    }
    let width = 120 + 420 * u32::try_from(panels.len().max(1)).unwrap_or(1);
    let curves = Curves { panels, restored: history.restored, subtitle: said.join("; ") };
    Chart::new("Learning curves", (width.min(1240), 440), Content::Curves(curves))
}

fn points(history: &History, value: impl Fn(&EpochReport) -> Option<f64>) -> Vec<(f64, f64)> {
    #[allow(clippy::cast_precision_loss, reason = "a count of epochs")]
    let point = |epoch: &EpochReport| Some((epoch.epoch as f64, value(epoch).filter(|value| value.is_finite())?));
    history.epochs.iter().filter_map(point).collect()
}

fn line(history: &History, name: &str, metric: Metric, color: RGBColor, square: bool) -> Line {
    Line { name: name.to_owned(), color, square, points: points(history, |epoch| metric.of(epoch)) }
}

/// The panel of those lines that have points; `None` if none has.
fn panel(name: &str, lines: Vec<Line>) -> Option<Panel> {
    let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
    let (low, high) = range(&lines)?;
    let scale = if low > 0.0 && high / low >= LOGARITHMIC { Scale::Logarithmic } else { Scale::Linear };
    Some(Panel { name: name.to_owned(), lines, scale })
}

/// The smallest and the largest value.
fn range(lines: &[Line]) -> Option<(f64, f64)> {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    values().next()?;
    Some((values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)))
}

/// Three significant digits, without a tail of zeros.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.2e}");
        return text.replace(".00e", "e").replace("0e", "e").replace("e-", "e−");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of digits")]
    let digits = (2.0 - size.max(1e-3).log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.replace('-', "−")
}

impl Curves {
    pub(super) fn draw<T: Target>(&self, title: &str, pen: &mut Pen<'_, T>) -> Result<()> {
        pen.text(title, (24.0, 24.0), 20.0, INK, Align::Left)?;
        pen.text(&self.subtitle, (24.0, 48.0), 14.0, GREY, Align::Left)?;
        let (width, height) = pen.size;
        #[allow(clippy::cast_precision_loss, reason = "a handful of panels")]
        let each = (width - 24.0) / self.panels.len().max(1) as f64;
        for (panel, i) in self.panels.iter().zip(0..) {
            let left = 12.0 + each * f64::from(i);
            self.panel(panel, pen, (left, 62.0), (left + each, height - 8.0))?;
        }
        Ok(())
    }

    fn panel<T: Target>(&self, panel: &Panel, pen: &Pen<'_, T>, from: (f64, f64), to: (f64, f64)) -> Result<()> {
        let Some((low, high)) = range(&panel.lines) else { return Ok(()) };
        let (low, high) = match panel.scale {
            // Past the ends of `f64` there are no logarithms, and the lines between them would have no end.
            Scale::Logarithmic => ((low / 1.3).max(f64::MIN_POSITIVE), (high * 1.3).min(f64::MAX)),
            _ => {
                let room = 0.06 * (high - low).max(1e-9_f64.max(high.abs() * 1e-3));
                (low - room, high + room)
            }
        };
        let high = if panel.scale == Scale::Percent { high.min(1.0 + 0.02 * (1.0 - low)) } else { high };
        let of = |value: f64| if panel.scale == Scale::Logarithmic { value.ln() } else { value };
        let (bottom, top) = (of(low), of(high));
        let last =
            panel.lines.iter().flat_map(|line| line.points.last()).fold(1.0, |last: f64, point| last.max(point.0));

        let area =
            pen.area.clone().shrink((pen.px(from.0), pen.px(from.1)), (pen.px(to.0 - from.0), pen.px(to.1 - from.1)));
        let pad = 0.02 * (last - 1.0).max(1.0) + if last > 1.0 { 0.0 } else { 0.5 };
        let mut chart = ChartBuilder::on(&area)
            .margin_top(pen.px(24.0))
            .margin_right(pen.px(16.0))
            .margin_bottom(pen.px(4.0))
            .x_label_area_size(pen.px(44.0))
            .y_label_area_size(pen.px(64.0))
            .build_cartesian_2d((1.0 - pad)..(last + pad), bottom..top)
            .map_err(failed)?;
        let name = match panel.scale {
            Scale::Logarithmic => format!("{} (log scale)", panel.name),
            _ => panel.name.clone(),
        };
        pen.text(&name, (from.0 + 64.0, from.1 + 12.0), 15.0, INK, Align::Left)?;

        // Own lines and labels: plotters knows no whole epochs, and no logarithms without it being another type.
        for (value, label) in ticks(panel.scale, low, high) {
            let (y, style) = (of(value), PALE.stroke_width(pen.upx(1.0).max(1)));
            let ends = vec![(1.0 - pad, y), (last + pad, y)];
            chart.draw_series([PathElement::new(ends, style)]).map_err(failed)?;
            let at = chart.backend_coord(&(1.0 - pad, y));
            self.label(pen, &label, at, (-8.0, 0.0), Align::Right)?;
        }
        for epoch in epochs(last) {
            let at = chart.backend_coord(&(epoch, bottom));
            self.label(pen, &format!("{epoch}"), at, (0.0, 14.0), Align::Middle)?;
        }
        pen.text("epoch", ((from.0 + 64.0 + to.0 - 16.0) / 2.0, to.1 - 12.0), 14.0, INK, Align::Middle)?;
        let axes = vec![(1.0 - pad, top), (1.0 - pad, bottom), (last + pad, bottom)];
        let axes = PathElement::new(axes, GREY.stroke_width(pen.upx(1.0).max(1)));
        chart.draw_series([axes]).map_err(failed)?;

        #[allow(clippy::cast_precision_loss, reason = "a count of epochs")]
        if let Some(restored) = self.restored.map(|epoch| epoch as f64).filter(|epoch| *epoch <= last) {
            let dash = (top - bottom) / 40.0;
            let dashes = (0..20).map(|i| {
                let y = bottom + 2.0 * dash * f64::from(i);
                PathElement::new(vec![(restored, y), (restored, y + dash)], GREY.stroke_width(pen.upx(1.2).max(1)))
            });
            chart.draw_series(dashes).map_err(failed)?;
        }
        for line in &panel.lines {
            let points: Vec<(f64, f64)> = line.points.iter().map(|&(epoch, value)| (epoch, of(value))).collect();
            chart.draw_series(LineSeries::new(points.clone(), pen.stroke(1.6, line.color))).map_err(failed)?;
            if points.len() > MOST_MARKED {
                continue;
            }
            let size = pen.px(2.8);
            for point in points {
                let (x, y) = chart.backend_coord(&point);
                mark(pen, (x, y), size, line)?;
            }
        }
        self.legend(panel, pen, from, to)
    }

    /// Text near a point that plotters has in the file's pixels.
    fn label<T: Target>(
        &self,
        pen: &Pen<'_, T>,
        text: &str,
        at: (i32, i32),
        by: (f64, f64),
        align: Align,
    ) -> Result<()> {
        let scale = f64::from(pen.px(1000.0)) / 1000.0;
        let at = (f64::from(at.0) / scale + by.0, f64::from(at.1) / scale + by.1);
        pen.text(text, at, 12.0, GREY, align)
    }

    /// The names of the lines, above the panel and to its right.
    fn legend<T: Target>(&self, panel: &Panel, pen: &Pen<'_, T>, from: (f64, f64), to: (f64, f64)) -> Result<()> {
        let mut right = to.0 - 16.0;
        for line in panel.lines.iter().rev() {
            pen.text(&line.name, (right, from.1 + 12.0), 13.0, INK, Align::Right)?;
            let left = right - pen.width(&line.name, 13.0)? - 7.0;
            pen.line((left - 20.0, from.1 + 13.0), (left, from.1 + 13.0), 1.6, line.color)?;
            mark(pen, (pen.px(left - 10.0), pen.px(from.1 + 13.0)), pen.px(2.8), line)?;
            right = left - 32.0;
        }
        Ok(())
    }
}

/// A mark at a point in the file's pixels.
fn mark<T: Target>(pen: &Pen<'_, T>, (x, y): (i32, i32), size: i32, line: &Line) -> Result<()> {
    if line.square {
        let corners = [(x - size, y - size), (x + size, y + size)];
        return pen.area.draw(&Rectangle::new(corners, line.color.filled())).map_err(failed);
    }
    pen.area.draw(&Circle::new((x, y), size + 1, line.color.filled())).map_err(failed)?;
    pen.area.draw(&Circle::new((x, y), (size - 1).max(1), WHITE.filled())).map_err(failed)
}

/// The values that an axis has lines at, and what is written there.
fn ticks(scale: Scale, low: f64, high: f64) -> Vec<(f64, String)> {
    if scale == Scale::Logarithmic {
        #[allow(clippy::cast_possible_truncation, reason = "exponents of numbers")]
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let steps: &[f64] = if last - first <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        // Over hundreds of powers of ten, a line for each would be a wall.
        let apart = usize::try_from((last - first) / 16).unwrap_or(0).max(1);
        let values = (first..=last).step_by(apart).flat_map(|e| steps.iter().map(move |s| s * 10.0_f64.powi(e)));
        return values.filter(|value| (low..=high).contains(value)).map(|value| (value, number(value))).collect();
    }
    let step = round_step((high - low) / 6.0);
    let first = (low / step).ceil();
    let values = (0..12).map(|i| (first + f64::from(i)) * step).take_while(|value| *value <= high);
    let label = |value: f64| match scale {
        Scale::Percent => format!("{} %", number((100.0 * value * 1e6).round() / 1e6)),
        _ => decimals(value, step),
    };
    values.filter(|value| scale != Scale::Percent || *value <= 1.0 + 1e-9).map(|value| (value, label(value))).collect()
}

/// As many decimals as the step has.
pub(super) fn decimals(value: f64, step: f64) -> String {
    if value.abs().max(step) >= 1e6 || step < 1e-6 {
        return number(value);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of digits")]
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let value = if value.abs() < step / 2.0 { 0.0 } else { value };
    format!("{value:.digits$}").replace('-', "−")
}

/// 1, 2 or 5 times a power of ten, at least this.
pub(super) fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.max(1e-300).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

/// The epochs that are written below the axis.
fn epochs(last: f64) -> Vec<f64> {
    let step = round_step(last / 8.0).max(1.0);
    let mut epochs = vec![1.0];
    let mut epoch = step;
    while epoch <= last {
        if epoch - 1.0 >= 0.7 * step {
            epochs.push(epoch);
        }
        epoch += step;
    }
    epochs
}
