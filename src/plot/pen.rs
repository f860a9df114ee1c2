//! What all charts draw with: sizes in the chart's pixels whatever the file's, one font, colours.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, FontTransform, IntoFont, PathElement, RGBColor, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, ShapeStyle, TextStyle, register_font as register};

use crate::error::{Error, Result};

/// The name under which the font is known to plotters, and in an SVG: not a bare `sans-serif`, under which an application
/// may have registered a font of its own.
pub(super) const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
const FONT_BYTES: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

pub(super) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Of text.
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
/// Of text that matters less, and of axes.
pub(super) const GREY: RGBColor = RGBColor(110, 110, 110);
/// Of lines in the background.
pub(super) const PALE: RGBColor = RGBColor(226, 226, 226);
/// Of what was trained on (Okabe and Ito's blue).
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
/// Of what was held out (their vermilion).
pub(super) const RED: RGBColor = RGBColor(213, 94, 0);
/// What is held out, seen another way.
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);

/// Where plotters draws.
pub(super) trait Target: DrawingBackend {}
impl<T: DrawingBackend> Target for T {}

pub(super) type Area<T> = DrawingArea<T, Shift>;

/// Makes the font known, once in a program.
pub(super) fn register_font() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    match REGISTERED.get_or_init(|| register(FONT, FontStyle::Normal, FONT_BYTES).is_ok()) {
        true => Ok(()),
        false => Err(Error::Chart("the font cannot be read".to_owned())),
    }
}

/// What plotters says, as an error of this crate.
pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Chart(error.to_string())
}

/// A picture of its own pixels, to be put in at some size.
#[derive(Debug, Clone)]
pub(super) struct Blit {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) columns: u32,
    /// Three bytes each, row by row.
    pub(super) pixels: Vec<u8>,
}

impl Blit {
    pub(super) fn rows(&self) -> u32 {
        u32::try_from(self.pixels.len() / 3).unwrap_or(0) / self.columns.max(1)
    }

    /// Puts it into RGB pixels, so many in a line, each of its pixels as a block.
    pub(super) fn put(&self, pixels: &mut [u8], line: usize, scale: usize) {
        let [x, y, width, height] = [self.x, self.y, self.width, self.height].map(|n| n as usize * scale);
        let (columns, rows) = (self.columns as usize, self.rows() as usize);
        for v in 0..height {
            for u in 0..width {
                let from = 3 * (v * rows / height * columns + u * columns / width);
                let to = 3 * ((y + v) * line + x + u);
                // What lies outside the chart is not drawn.
                if x + u < line
                    && let Some(to) = pixels.get_mut(to..to + 3)
                {
                    to.copy_from_slice(&self.pixels[from..from + 3]);
                }
            }
        }
    }
}

/// How text stands to the point it is drawn at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// Draws in the chart's pixels.
pub(super) struct Pen<'a, T: Target> {
    pub(super) area: &'a Area<T>,
    /// The chart's.
    pub(super) size: (f64, f64),
    scale: f64,
    blits: Vec<Blit>,
}

impl<'a, T: Target> Pen<'a, T> {
    pub(super) fn new(area: &'a Area<T>, (width, height): (u32, u32), scale: f64) -> Self {
        Self { area, size: (width.into(), height.into()), scale, blits: Vec::new() }
    }

    pub(super) fn into_blits(self) -> Vec<Blit> {
        self.blits
    }

    /// A length in the file's pixels.
    #[allow(clippy::cast_possible_truncation, reason = "charts have at most 20,000 pixels")]
    pub(super) fn px(&self, length: f64) -> i32 {
        (length * self.scale).round() as i32
    }

    /// As [`px`](Self::px), where plotters wants it without a sign.
    pub(super) fn upx(&self, length: f64) -> u32 {
        u32::try_from(self.px(length)).unwrap_or(0)
    }

    /// The style of text of this size.
    pub(super) fn font(&self, size: f64, color: RGBColor) -> TextStyle<'static> {
        (FONT, size * self.scale).into_font().color(&color)
    }

    /// The style of a line of this width.
    pub(super) fn stroke(&self, width: f64, color: RGBColor) -> ShapeStyle {
        color.stroke_width(self.upx(width).max(1))
    }

    /// How wide text of this size is, in the chart's pixels.
    pub(super) fn width(&self, text: &str, size: f64) -> Result<f64> {
        let (width, _) = self.area.estimate_text_size(text, &self.font(size, INK)).map_err(failed)?;
        Ok(f64::from(width) / self.scale)
    }

    /// Text whose middle line is at `y`.
    pub(super) fn text(&self, text: &str, (x, y): (f64, f64), size: f64, color: RGBColor, align: Align) -> Result<()> {
        let at = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let style = self.font(size, color).pos(Pos::new(at, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), (self.px(x), self.px(y)), style)).map_err(failed)
    }

    /// Text that runs upwards, its middle at this point.
    pub(super) fn text_upwards(&self, text: &str, (x, y): (f64, f64), size: f64, color: RGBColor) -> Result<()> {
        let style =
            self.font(size, color).pos(Pos::new(HPos::Center, VPos::Center)).transform(FontTransform::Rotate270);
        self.area.draw(&Text::new(text.to_owned(), (self.px(x), self.px(y)), style)).map_err(failed)
    }

    /// A filled rectangle.
    pub(super) fn fill(&self, from: (f64, f64), to: (f64, f64), color: RGBColor) -> Result<()> {
        let corners = [(self.px(from.0), self.px(from.1)), (self.px(to.0), self.px(to.1))];
        self.area.draw(&Rectangle::new(corners, color.filled())).map_err(failed)
    }

    pub(super) fn line(&self, from: (f64, f64), to: (f64, f64), width: f64, color: RGBColor) -> Result<()> {
        let ends = vec![(self.px(from.0), self.px(from.1)), (self.px(to.0), self.px(to.1))];
        self.area.draw(&PathElement::new(ends, self.stroke(width, color))).map_err(failed)
    }

    /// Puts a picture of so many columns of RGB pixels at these chart's pixels, at this size.
    pub(super) fn picture(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), columns: u32, pixels: Vec<u8>) {
        self.blits.push(Blit { x, y, width, height, columns, pixels });
    }
}

/// A colour between two.
pub(super) fn mix(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
    let between = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share.clamp(0.0, 1.0)).round() as u8;
    RGBColor(between(from.0, to.0), between(from.1, to.1), between(from.2, to.2))
}

/// From white at 0 to a dark blue at 1, ever darker, so that a grey print has the same order.
pub(super) fn blues(share: f64) -> RGBColor {
    const STOPS: [RGBColor; 4] = [WHITE, RGBColor(158, 202, 225), RGBColor(49, 130, 189), RGBColor(8, 48, 107)];
    between_stops(&STOPS, share)
}

/// From blue at -1 over white to orange at 1.
pub(super) fn diverging(value: f64) -> RGBColor {
    const STOPS: [RGBColor; 5] = [
        RGBColor(5, 48, 97),
        RGBColor(67, 147, 195),
        RGBColor(247, 247, 247),
        RGBColor(230, 140, 60),
        RGBColor(127, 59, 8),
    ];
    between_stops(&STOPS, 0.5 + 0.5 * value)
}

fn between_stops(stops: &[RGBColor], share: f64) -> RGBColor {
    #[allow(clippy::cast_precision_loss, reason = "a handful of colours")]
    let at = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a handful")]
    let low = (at as usize).min(stops.len() - 2);
    #[allow(clippy::cast_precision_loss, reason = "an index of a handful")]
    let share = at - low as f64;
    mix(stops[low], stops[low + 1], share)
}
