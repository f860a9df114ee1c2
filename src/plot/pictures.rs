//! Grids of small pictures: a layer's weights, and pictures that were misread.

use super::confusion::{grouped, short};
use super::pen::{Align, GREY, INK, Pen, Target, diverging};
use super::{Chart, Content};
use crate::data::Dataset;
use crate::error::{Error, Result};

/// Weights of so many neurons are shown, at most.
const MOST_NEURONS: usize = 256;
/// Room above the grid, and beside it.
const TOP: u32 = 64;
const MARGIN: u32 = 20;
const LEGEND: u32 = 80;
const GAP: u32 = 6;

#[derive(Debug, Clone)]
pub(super) struct Pictures {
    tiles: Vec<Tile>,
    /// Pixels of a tile: its own, and the chart's for each.
    columns: u32,
    rows: u32,
    zoom: u32,
    across: u32,
    /// Lines of text below each tile.
    lines: u32,
    subtitle: String,
    /// What the ends of the colour scale stand for, where there is one.
    most: Option<f64>,
}

#[derive(Debug, Clone)]
struct Tile {
    pixels: Vec<u8>,
    /// Short lines below it.
    caption: Vec<String>,
}

impl Pictures {
    fn tile_size(&self) -> (u32, u32) {
        (self.columns * self.zoom, self.rows * self.zoom)
    }

    /// From one tile to the next.
    fn pitch(&self) -> (u32, u32) {
        let (width, height) = self.tile_size();
        (width + GAP, height + GAP + 15 * self.lines)
    }

    fn size(&self) -> (u32, u32) {
        let down = u32::try_from(self.tiles.len()).unwrap_or(u32::MAX).div_ceil(self.across.max(1));
        let legend = if self.most.is_some() { LEGEND } else { 0 };
        let (width, height) = self.pitch();
        let wide = (2 * MARGIN + legend + self.across * width).max(440);
        (wide.clamp(100, 10_000), (TOP + MARGIN + down * height).clamp(100 + u32::from(legend > 0) * 120, 10_000))
    }

    pub(super) fn draw<T: Target>(&self, title: &str, pen: &mut Pen<'_, T>) -> Result<()> {
        let margin = f64::from(MARGIN);
        pen.text(title, (margin, 22.0), 20.0, INK, Align::Left)?;
        pen.text(&self.subtitle, (margin, 46.0), 13.0, GREY, Align::Left)?;
        let ((width, height), pitch) = (self.tile_size(), self.pitch());
        for (tile, number) in self.tiles.iter().zip(0..) {
            let (x, y) = (MARGIN + number % self.across * pitch.0, TOP + number / self.across * pitch.1);
            pen.picture((x, y), (width, height), self.columns, tile.pixels.clone());
            for (line, text) in (0..).zip(&tile.caption) {
                let below = f64::from(y + height) + 9.0 + 15.0 * f64::from(line);
                let color = if line == 0 { INK } else { GREY };
                pen.text(text, (f64::from(x) + f64::from(width) / 2.0, below), 13.0, color, Align::Middle)?;
            }
        }
        let Some(most) = self.most else { return Ok(()) };
        let x = f64::from(MARGIN + self.across * pitch.0) + 8.0;
        let (top, tall, bands) = (f64::from(TOP), 140.0, 70);
        for band in 0..bands {
            let y = |band: i32| top + tall * f64::from(band) / f64::from(bands);
            let value = 1.0 - 2.0 * (f64::from(band) + 0.5) / f64::from(bands);
            pen.fill((x, y(band)), (x + 14.0, y(band + 1)), diverging(value))?;
        }
        for (value, text) in [(1.0, signed(most)), (0.0, "0".to_owned()), (-1.0, signed(-most))] {
            let y = top + tall * (0.5 - 0.5 * value);
            pen.line((x + 14.0, y), (x + 18.0, y), 1.0, GREY)?;
            pen.text(&text, (x + 22.0, y), 12.0, GREY, Align::Left)?;
        }
        Ok(())
    }
}

/// With a sign that is as wide as a plus.
fn signed(value: f64) -> String {
    let digits = if value.abs() < 1.0 { 2 } else { 1 };
    let sign = if value < 0.0 { '−' } else { '+' };
    format!("{sign}{:.digits$}", value.abs())
}

fn wrong_width(width: usize, columns: usize) -> Error {
    let value = width.to_string();
    let want = "at least 1, and at most the number of inputs (which is at most 65,536 for pictures)";
    debug_assert!(width == 0 || width > columns || columns > 1 << 16);
    Error::InvalidOption { option: "width of the pictures", value, want }
}

/// The rows and columns of a picture of so many pixels.
fn shape(pixels: usize, width: usize) -> Result<(u32, u32)> {
    let sides = (u32::try_from(width), u32::try_from(pixels.div_ceil(width.max(1))));
    match sides {
        (Ok(columns), Ok(rows)) if width > 0 && width <= pixels && pixels <= 1 << 16 => Ok((columns, rows)),
        _ => Err(wrong_width(width, pixels)),
    }
}

/// The weights of a layer's neurons as pictures, for layers whose inputs are the pixels of pictures `width` wide: `weights` is
/// (neurons, inputs), row by row, as in `&parameters[layer.weights()]`. Orange pixels speak for a neuron, blue ones against it; all
/// pictures have the same scale. At most 256 neurons are shown.
///
/// # Errors
/// [`Error::Shape`] if the weights are not whole rows; [`Error::NotFinite`]; [`Error::InvalidOption`] for a width that is not from 1
/// to `inputs`, or for more than 65,536 inputs.
pub fn weight_pictures(weights: &[f32], inputs: usize, width: usize) -> Result<Chart> {
    let (columns, rows) = shape(inputs, width)?;
    if weights.is_empty() || !weights.len().is_multiple_of(inputs) {
        let got = format!("{} numbers", weights.len());
        return Err(Error::shape("weight_pictures: weights", format!("whole rows of {inputs} numbers"), got));
    }
    if let Some(index) = weights.iter().position(|w| !w.is_finite()) {
        let what = "weight_pictures: weights".to_owned();
        return Err(Error::NotFinite { what, index, value: weights[index] });
    }
    let neurons = weights.len() / inputs;
    let shown = neurons.min(MOST_NEURONS);
    let shown_weights = &weights[..shown * inputs];
    // A few large weights would leave all others white.
    let most = percentile(shown_weights, 0.995).max(1e-12);
    let tile = |weights: &[f32]| {
        let mut pixels: Vec<u8> = Vec::with_capacity(3 * (rows * columns) as usize);
        for i in 0..(rows * columns) as usize {
            let color = diverging(weights.get(i).map_or(0.0, |&w| f64::from(w) / most));
            pixels.extend([color.0, color.1, color.2]);
        }
        Tile { pixels, caption: Vec::new() }
    };
    let zoom = if columns.max(rows) * 2 <= 80 { 2 } else { 1 };
    let zoom = if shown <= 40 && columns.max(rows) <= 30 { 3 } else { zoom };
    let pictures = Pictures {
        tiles: shown_weights.chunks_exact(inputs).map(tile).collect(),
        columns,
        rows,
        zoom: zoom.max(24_u32.div_ceil(columns.max(rows)).min(12)),
        across: across(shown),
        lines: 0,
        subtitle: "orange: speaks for the neuron; blue: against it".to_owned(),
        most: Some(most),
    };
    let title = match shown < neurons {
        true => format!("Weights of {shown} of {} neurons", grouped(neurons as u64)),
        false => format!("Weights of {neurons} neurons"),
    };
    Ok(Chart::new(title, pictures.size(), Content::Pictures(pictures)))
}

/// A grid somewhat wider than high.
fn across(count: usize) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most 256"
    )]
    let across = (count as f64 * 1.5).sqrt().ceil() as u32;
    across.max(1)
}

/// The size that this share of the numbers does not exceed.
fn percentile(numbers: &[f32], share: f64) -> f64 {
    let mut sizes: Vec<f32> = numbers.iter().map(|w| w.abs()).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let at = ((sizes.len() as f64 * share) as usize).min(sizes.len() - 1);
    let (_, &mut size, _) = sizes.select_nth_unstable_by(at, f32::total_cmp);
    f64::from(size)
}

/// Pictures that were misread, the surest mistakes first: those whose wrong answer has the largest output, which stands below each.
/// `outputs` are what the network says to each row of `data`, (rows, outputs); inputs from 0 to 1 are the pixels of pictures `width` wide, black
/// on white. At most `most` are shown, and `names` are those of the classes, which otherwise have their numbers.
///
/// # Errors
/// [`Error::Shape`] if there are not as many outputs as the data set's rows have; [`Error::NotFinite`] for outputs that are none;
/// [`Error::InvalidOption`] for a width that is not from 1 to the number of inputs, for more than 65,536 inputs, for a data set without
/// labels, or for `most` that is not from 1 to 1,000.
pub fn misread_pictures(data: &Dataset, outputs: &[f32], width: usize, names: &[String], most: usize) -> Result<Chart> {
    let (columns, rows) = shape(data.features(), width)?;
    let classes = data.outputs();
    if Some(outputs.len()) != data.len().checked_mul(classes) {
        let want = format!("{} rows of {classes} numbers", data.len());
        return Err(Error::shape("misread_pictures: outputs", want, format!("{} numbers", outputs.len())));
    }
    if let Some(index) = outputs.iter().position(|a| !a.is_finite()) {
        return Err(Error::NotFinite { what: "misread_pictures: outputs".to_owned(), index, value: outputs[index] });
    }
    if !(1..=1000).contains(&most) {
        let value = most.to_string();
        return Err(Error::InvalidOption { option: "most pictures", value, want: "from 1 to 1,000" });
    }
    let mut wrong = Vec::new();
    for (row, a) in outputs.chunks_exact(classes).enumerate() {
        let Some(truth) = data.label(row).map(|label| label as usize) else {
            let (option, value) = ("data set of misread pictures", "one without labels".to_owned());
            return Err(Error::InvalidOption { option, value, want: "one with labels" });
        };
        let answer = (1..classes).fold(0, |best, j| if a[j] > a[best] { j } else { best });
        if answer != truth {
            wrong.push((a[answer], row, truth, answer));
        }
    }
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let name = |class: usize| names.get(class).map_or_else(|| class.to_string(), |name| short(name, 10));
    let shares = outputs.iter().all(|a| (0.0..=1.0).contains(a));
    let mut tiles = Vec::new();
    for &(said, row, truth, answer) in wrong.iter().take(most) {
        let mut pixels = Vec::with_capacity(3 * (rows * columns) as usize);
        let inputs = data.input_row(row)?;
        for i in 0..(rows * columns) as usize {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
            let grey = 255 - (255.0 * inputs.get(i).copied().unwrap_or(0.0).clamp(0.0, 1.0)) as u8;
            pixels.extend([grey; 3]);
        }
        let said = if shares { format!("{:.0} %", 100.0 * said) } else { format!("{said:.2}") };
        tiles.push(Tile { pixels, caption: vec![format!("{} → {}", name(truth), name(answer)), said] });
    }
    let shown = tiles.len();
    let pictures = Pictures {
        tiles,
        columns,
        rows,
        zoom: (84 / columns.max(rows)).clamp(1, 8),
        across: across(shown.max(1)),
        lines: 2,
        subtitle: "true class → answer, and the output that was so sure of it; surest mistakes first".to_owned(),
        most: None,
    };
    let title = format!("{} of {} misread", grouped(wrong.len() as u64), grouped(data.len() as u64));
    let size = pictures.size();
    Ok(Chart::new(title, (size.0.max(640), size.1), Content::Pictures(pictures)))
}
