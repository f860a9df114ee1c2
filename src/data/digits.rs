//! Digits that look handwritten and need no file.

use rand::Rng;
use rand_pcg::Pcg64;

use super::glyphs::{GLYPHS, Stroke};
use super::{Dataset, Inputs, Targets};
use crate::error::{Error, Result};
use crate::random::{below, generator, normal, permutation, uniform};

/// Pictures are `SIDE x SIDE`.
const SIDE: usize = 28;

/// Straight pieces to each span of a stroke between two points.
const PIECES: usize = 5;

/// Keeps the draws of the labels apart from those of the pictures of the same seed.
const LABELS: u64 = 0x6c61_6265_6c73;

/// `count` grey 28 x 28 pictures of digits in a made-up handwriting, with their labels from 0 to 9.
///
/// White on black, as MNIST is, each written with a pen of its own width, slant, size, tremor, ink and paper. Each ten
/// pictures in a row hold each digit once. The data are a pure function of `seed`, the same bytes on every machine, and
/// fewer digits are the first of more. Independent training and test data: two seeds, or one and
/// [`Dataset::split_at`].
///
/// They are made to tell a linear classifier from a net with hidden neurons, and to stand in for MNIST in examples and
/// tests. After ten epochs on 10,000 of them (quadratic cost, `eta` 3, mini-batches of 10) a 784-30-10 net of sigmoids
/// gets 96 % of others right, where softmax regression stays at 87 %; with as much of MNIST it is 94 % and 92 %. They
/// prove nothing about real handwriting.
///
/// ```
/// use wgrad::data::synthetic_digits;
/// let (train, test) = synthetic_digits(120, 1)?.split_at(100)?;
/// assert_eq!((train.len(), test.len()), (100, 20));
/// assert_eq!((train.features(), train.outputs()), (784, 10));
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] if `count` is 0; [`Error::InvalidOption`] if that many do not fit in memory.
pub fn synthetic_digits(count: usize, seed: u64) -> Result<Dataset> {
    let too_many = || Error::InvalidOption {
        option: "count",
        value: count.to_string(),
        want: "so small that 788 bytes a digit fit in memory",
    };
    let mut pixels: Vec<u8> = Vec::new();
    let mut labels: Vec<u32> = Vec::new();
    let bytes = count.checked_mul(SIDE * SIDE).ok_or_else(too_many)?;
    pixels.try_reserve_exact(bytes).map_err(|_| too_many())?;
    labels.try_reserve_exact(count.next_multiple_of(10)).map_err(|_| too_many())?;
    for ten in 0..count.div_ceil(10) as u64 {
        labels.extend(permutation(&mut generator(seed ^ LABELS, ten), 10));
    }
    labels.truncate(count);
    for (i, &digit) in labels.iter().enumerate() {
        pixels.extend(picture(digit as usize, &mut generator(seed, i as u64)));
    }
    Dataset::from_parts(Inputs::U8(pixels), SIDE * SIDE, Targets::Labels { labels, classes: 10 })
}

/// A place on the paper, in pixels from the upper left corner, and half the width of the pen there.
#[derive(Clone, Copy)]
struct Dot {
    x: f32,
    y: f32,
    radius: f32,
}

/// How one digit is written: the map from the box of the glyph to the paper, and the pen.
struct Hand {
    /// How a step to the right and one down in the glyph's box change `x` and `y`: size, slant and turning in one.
    x: [f32; 2],
    y: [f32; 2],
    centre: [f32; 2],
    /// Bends vertical lines, and horizontal ones.
    bend: [f32; 2],
    /// Standard deviation of each point, in boxes.
    tremor: f32,
    radius: f32,
    /// Standard deviation of the radius, relative.
    pressure: f32,
}

impl Hand {
    fn new(rng: &mut Pcg64) -> Self {
        let height = uniform(rng, 15.5, 20.5);
        let width = height * uniform(rng, 0.55, 0.9);
        let slant = uniform(rng, -0.1, 0.4);
        // t = tan(angle / 2) makes a turn without sine and cosine, which differ between systems. It is up to 22
        // degrees: beyond, and beyond the slant above, people begin to hesitate.
        let t = uniform(rng, -0.19, 0.19);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        Self {
            x: [width * cos, -(slant * cos + sin) * height],
            y: [width * sin, (cos - slant * sin) * height],
            centre: [14.0 + uniform(rng, -2.3, 2.3), 14.0 + uniform(rng, -2.3, 2.3)],
            bend: [0.05 * normal(rng), 0.035 * normal(rng)],
            tremor: uniform(rng, 0.01, 0.028),
            radius: uniform(rng, 0.85, 1.85),
            pressure: uniform(rng, 0.0, 0.2),
        }
    }

    /// Where the hand puts a point of the glyph.
    fn place(&self, (u, v): (f32, f32), rng: &mut Pcg64) -> Dot {
        let (u, v) = (u - 0.5 + self.tremor * normal(rng), v - 0.5 + self.tremor * normal(rng));
        let (u, v) = (u + self.bend[0] * (4.0 * v * v - 0.5), v + self.bend[1] * (4.0 * u * u - 0.5));
        Dot {
            x: self.centre[0] + self.x[0] * u + self.x[1] * v,
            y: self.centre[1] + self.y[0] * u + self.y[1] * v,
            radius: self.radius * (1.0 + self.pressure * normal(rng)).max(0.4),
        }
    }
}

/// One digit. Only `+ - * /` and square roots, which IEEE 754 rounds in one way everywhere.
fn picture(digit: usize, rng: &mut Pcg64) -> [u8; SIDE * SIDE] {
    let ways = GLYPHS[digit];
    #[allow(clippy::cast_possible_truncation, reason = "a handful")]
    let glyph = ways[below(rng, ways.len() as u32) as usize];
    let hand = Hand::new(rng);
    // How many pixels the edge of a stroke takes to fade.
    let edge = uniform(rng, 0.9, 2.2);
    let mut ink = [0.0; SIDE * SIDE];
    for stroke in glyph {
        let dots = write(stroke, &hand, rng);
        for pair in dots.windows(2) {
            draw(&mut ink, pair[0], pair[1], edge);
        }
    }
    let bright = uniform(rng, 170.0, 255.0);
    let (grain, paper) = (uniform(rng, 0.0, 0.35), uniform(rng, 0.0, 16.0));
    develop(&ink, bright, grain, paper, rng)
}

/// The path of one stroke: a Catmull-Rom curve through its points, as short straight pieces.
fn write(stroke: Stroke, hand: &Hand, rng: &mut Pcg64) -> Vec<Dot> {
    let mut points: Vec<Dot> = Vec::with_capacity(stroke.len());
    for (i, &point) in stroke.iter().enumerate() {
        // A repeated point is a corner, one place for both.
        let corner = points.last().copied().filter(|_| i > 0 && stroke[i - 1] == point);
        points.push(corner.unwrap_or_else(|| hand.place(point, rng)));
    }
    let mut path = vec![points[0]];
    for i in 1..points.len() {
        if stroke[i - 1] == stroke[i] {
            continue;
        }
        let (a, b) = (points[i - 1], points[i]);
        let before = points[i.saturating_sub(2)];
        let after = points.get(i + 1).copied().unwrap_or(b);
        for piece in 1..=PIECES {
            #[allow(clippy::cast_precision_loss, reason = "a handful")]
            let t = piece as f32 / PIECES as f32;
            let curve = |p: f32, q: f32, r: f32, s: f32| {
                let cubic = 3.0 * (q - r) + s - p;
                let square = 2.0 * p - 5.0 * q + 4.0 * r - s;
                q + 0.5 * t * (r - p + t * (square + t * cubic))
            };
            path.push(Dot {
                x: curve(before.x, a.x, b.x, after.x),
                y: curve(before.y, a.y, b.y, after.y),
                radius: a.radius + t * (b.radius - a.radius),
            });
        }
    }
    path
}

/// Inks the pixels near the line from `a` to `b`: full inside the pen's width, fading over `edge` pixels at its rim.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates, at 0 below")]
#[allow(clippy::cast_precision_loss, reason = "pixel numbers")]
fn draw(ink: &mut [f32; SIDE * SIDE], a: Dot, b: Dot, edge: f32) {
    let reach = a.radius.max(b.radius) + 0.5 * edge;
    // Pixel i has its centre at i + 0.5.
    let range = |p: f32, q: f32| {
        let (low, high) = (p.min(q) - reach - 0.5, p.max(q) + reach + 0.5);
        (low as usize).min(SIDE)..(high as usize).min(SIDE)
    };
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let square = (dx * dx + dy * dy).max(1e-6);
    for row in range(a.y, b.y) {
        for column in range(a.x, b.x) {
            let (x, y) = (column as f32 + 0.5 - a.x, row as f32 + 0.5 - a.y);
            let t = ((x * dx + y * dy) / square).clamp(0.0, 1.0);
            let (x, y) = (x - t * dx, y - t * dy);
            let distance = (x * x + y * y).sqrt();
            let radius = a.radius + t * (b.radius - a.radius);
            let level = (0.5 + (radius - distance) / edge).clamp(0.0, 1.0);
            let pixel = &mut ink[row * SIDE + column];
            *pixel = pixel.max(level);
        }
    }
}

/// Ink to bytes: `bright` is full ink, `grain` how much of it a pixel may lack, `paper` how grey blank paper may be.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates at 0 and 255")]
fn develop(ink: &[f32; SIDE * SIDE], bright: f32, grain: f32, paper: f32, rng: &mut Pcg64) -> [u8; SIDE * SIDE] {
    let mut bytes = [0; SIDE * SIDE];
    for (ink, bytes) in ink.chunks_exact(8).zip(bytes.chunks_exact_mut(8)) {
        let noise = rng.next_u64().to_le_bytes();
        for ((&ink, byte), noise) in ink.iter().zip(bytes).zip(noise) {
            let noise = f32::from(noise) * (1.0 / 255.0);
            *byte = (ink * bright * (1.0 - grain * noise) + (1.0 - ink) * paper * noise + 0.5) as u8;
        }
    }
    bytes
}
