//! The two kinds of file: plotters draws into a text or into pixels, and pictures are put in afterwards.

use std::fmt::Write as _;

use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};

use super::pen::{Blit, Pen, Target, WHITE, failed, register_font};
use crate::error::Result;

/// Pixels of a PNG for one of the chart: screens and printers show more than one.
const SHARP: u32 = 2;
/// Up to this many pixels of the chart, a PNG is drawn twice as large each way, and then shrunk: plotters puts letters on
/// whole pixels, and draws steep lines too thin.
const MOST_SMOOTH: u64 = 4_000_000;

/// Draws into the text of an SVG file.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&mut Pen<'_, SVGBackend<'_>>) -> Result<()>) -> Result<String> {
    register_font()?;
    let mut text = String::new();
    let blits = {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw_on(&area, size, 1, draw)?
    };
    let mut images = String::new();
    for blit in &blits {
        let Blit { x, y, width, height, columns, .. } = *blit;
        let png = base64(&encode((columns, blit.rows()), &blit.pixels)?);
        // Writing to a string cannot fail.
        let _ = writeln!(
            images,
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{png}\"/>"
        );
    }
    let end = text.rfind("</svg>").unwrap_or(text.len());
    text.insert_str(end, &images);
    Ok(text)
}

/// Draws into the bytes of a PNG file.
pub(super) fn png(
    size: (u32, u32),
    draw: impl FnOnce(&mut Pen<'_, BitMapBackend<'_>>) -> Result<()>,
) -> Result<Vec<u8>> {
    register_font()?;
    let fine = if u64::from(size.0) * u64::from(size.1) <= MOST_SMOOTH { 2 } else { 1 };
    let (width, height) = (size.0 * SHARP, size.1 * SHARP);
    let mut pixels = vec![255; 3 * (width * fine) as usize * (height * fine) as usize];
    let blits = {
        let area = BitMapBackend::with_buffer(&mut pixels, (width * fine, height * fine)).into_drawing_area();
        draw_on(&area, size, SHARP * fine, draw)?
    };
    if fine > 1 {
        pixels = shrunk(&pixels, width as usize, fine as usize);
    }
    for blit in &blits {
        blit.put(&mut pixels, width as usize, SHARP as usize);
    }
    encode((width, height), &pixels)
}

/// Clears the area, draws, and returns the pictures that are to be put in.
fn draw_on<'a, T: Target>(
    area: &'a super::pen::Area<T>,
    size: (u32, u32),
    scale: u32,
    draw: impl FnOnce(&mut Pen<'a, T>) -> Result<()>,
) -> Result<Vec<Blit>> {
    area.fill(&WHITE).map_err(failed)?;
    let mut pen = Pen::new(area, size, f64::from(scale));
    draw(&mut pen)?;
    area.present().map_err(failed)?;
    Ok(pen.into_blits())
}

/// The mean of each block of `fine` by `fine` pixels, for lines of `width` pixels in the end.
fn shrunk(pixels: &[u8], width: usize, fine: usize) -> Vec<u8> {
    let line = 3 * width * fine;
    let mut out = Vec::with_capacity(pixels.len() / (fine * fine));
    for lines in pixels.chunks_exact(line * fine) {
        for x in 0..width {
            for channel in 0..3 {
                let at = |u: usize, v: usize| usize::from(lines[v * line + 3 * (x * fine + u) + channel]);
                let sum: usize = (0..fine * fine).map(|i| at(i % fine, i / fine)).sum();
                out.push(u8::try_from((sum + fine * fine / 2) / (fine * fine)).unwrap_or(u8::MAX));
            }
        }
    }
    out
}

/// RGB pixels as a PNG file.
fn encode((width, height): (u32, u32), pixels: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.map_err(failed)?;
    Ok(bytes)
}

/// Bytes as an address in a text may hold them (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, i| word << 8 | chunk.get(i).map_or(0, |&byte| u32::from(byte)));
        for i in 0..4 {
            let letter = char::from(LETTERS[(word >> (18 - 6 * i)) as usize & 63]);
            text.push(if i <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_the_rfc() {
        let want = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, want) in want.into_iter().enumerate() {
            assert_eq!(super::base64(&b"foobar"[..length]), want);
        }
        assert_eq!(super::base64(&[0xff, 0xfe, 0x3f]), "//4/");
    }
}
