//! Pictures as text.

/// Draws a picture of grey levels as text, two rows of pixels a line, so that it looks square in a terminal.
///
/// `pixels` are the rows from the top, `width` values each, from 0 (blank) to 1 (full); values outside are clamped and
/// NaN is blank. A last row cut short is filled up with blanks. Each line ends with a line feed, its trailing blanks
/// left out.
///
/// ```
/// use wgrad::data::ascii;
/// let slash = [0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.0];
/// assert_eq!(ascii(&slash, 3), " -#\n*\n");
/// assert_eq!(ascii(&[], 3), "");
/// ```
#[must_use]
pub fn ascii(pixels: &[f32], width: usize) -> String {
    const SHADES: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '#', '@'];
    let width = width.max(1);
    let mut text = String::new();
    for pair in pixels.chunks(width.saturating_mul(2)) {
        let (upper, lower) = pair.split_at(width.min(pair.len()));
        let line: String = (0..upper.len())
            .map(|x| {
                let level = |row: &[f32]| row.get(x).map_or(0.0, |v| if *v > 0.0 { v.min(1.0) } else { 0.0 });
                // An average would make thin horizontal strokes pale, a maximum would make slanted ones fat.
                let (a, b) = (level(upper), level(lower));
                shade(0.75 * a.max(b) + 0.25 * a.min(b), &SHADES)
            })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The shade of a level in 0..=1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=8, and the index is checked")]
#[allow(clippy::cast_precision_loss, reason = "8")]
fn shade(level: f32, shades: &[char]) -> char {
    let index = (level * (shades.len() - 1) as f32 + 0.5) as usize;
    shades.get(index).copied().unwrap_or(' ')
}
