//! A net learns a picture from the coordinates of its pixels, and paints what it has learned:
//! `cargo run --release --example image_fit` writes one PNG every few seconds and the last one into a folder.
//!
//! The inputs are random Fourier features of the position (Tancik et al. 2020, "Fourier Features Let Networks Learn High Frequency
//! Functions in Low Dimensional Domains"): sin and cos of 2 pi k.(x, y) for random frequencies k. From the two plain coordinates a
//! net of this size learns a blur.

mod common;

use std::f32::consts::TAU;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Random, fail, fail_with, grouped, say};
use wgrad::{Activation, Adam, Cost, Dataset, Device, Network, Result, Schedule, Span, Trainer};

/// Trains a net that maps the position of a pixel to its colour, and writes what it paints.
#[derive(Debug, Parser)]
struct Options {
    /// A PNG to learn, of 8 bits a channel [default: a test picture with edges, gradients and letters]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Folder for what it paints
    #[arg(long, value_name = "DIR", default_value = "image_fit")]
    out: PathBuf,
    /// Pixels along each side of the test picture
    #[arg(long, value_name = "N", default_value_t = 192, value_parser = clap::value_parser!(u16).range(16..=1024))]
    size: u16,
    /// Random frequencies; each gives two inputs
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=2048))]
    frequencies: u16,
    /// How high the frequencies reach: the standard deviation, in periods across the picture
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    sigma: f32,
    /// Neurons of each hidden layer
    #[arg(long, value_name = "N,[N...]", default_value = "128,128,128", value_delimiter = ',')]
    hidden: Vec<usize>,
    /// Learning rate of Adam at the start; it falls to 0 along half a cosine
    #[arg(long, default_value_t = 0.004)]
    eta: f32,
    /// Times to go through all pixels
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Pixels a step
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Paint once every N times through the pixels
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// auto, cpu, gpu, or part of an adapter's name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
}

fn main() {
    run(&Options::parse()).unwrap_or_else(|error| fail_with(&error));
}

fn run(options: &Options) -> Result<()> {
    if !(options.sigma.is_finite() && options.sigma > 0.0) {
        fail("--sigma must be above 0", 2);
    }
    let picture = options.image.as_ref().map_or_else(|| Picture::test(options.size.into()), |path| Picture::read(path));
    if let Err(error) = std::fs::create_dir_all(&options.out) {
        fail(&format!("cannot make the folder {}: {error}", options.out.display()), 2);
    }
    let device = Device::named(&options.device)?;
    let x = fourier_features(&picture, options);
    let data = Dataset::new(x.clone(), 2 * usize::from(options.frequencies), picture.colours.clone(), 3)?;

    let mut net = Network::new(data.features()).seed(options.seed);
    for &width in &options.hidden {
        net = net.dense(width, Activation::Relu);
    }
    let mut net = net.dense(3, Activation::Sigmoid).build(&device)?;
    let pixels = picture.width * picture.height;
    say!("picture   {} x {}, {} pixels", picture.width, picture.height, grouped(pixels as u64));
    say!("net       {:?}, {} parameters", net.sizes(), grouped(net.parameter_count() as u64));
    say!("device    {device}, because {}\n", device.reason());
    picture.write(&options.out.join("target.png"), &picture.colours);

    let started = Instant::now();
    let trainer = Trainer::new(Cost::Quadratic, Adam::new(options.eta))
        .batch_size(options.batch_size as usize)
        .epochs(options.epochs as usize)
        .schedule(Schedule::cosine(Span::Run(1.0)))
        .seed(options.seed);
    let mut run = trainer.start(&mut net, &data)?;
    let mut epoch = 0;
    say!("{:>6}  {:>8}  {:>9}  painting", "epoch", "seconds", "PSNR");
    while epoch < options.epochs {
        // An application would draw its frames between slices like these.
        let stepped = run.step_for(Duration::from_millis(50))?;
        if stepped.steps == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if stepped.epoch.is_none() {
            continue;
        }
        epoch += 1;
        if epoch % options.every != 0 && epoch != options.epochs {
            continue;
        }
        let painted = run.network().predict(&x)?;
        let file = options.out.join(format!("epoch-{epoch:04}.png"));
        picture.write(&file, &painted);
        let (seconds, psnr) = (started.elapsed().as_secs_f64(), picture.psnr(&painted));
        say!("{epoch:>6}  {seconds:>8.1}  {psnr:>6.2} dB  {}", file.display());
    }
    Ok(())
}

/// `sin` and `cos` of `2 pi k . (x, y)` for every pixel, row after row; the coordinates go from 0 to 1.
fn fourier_features(picture: &Picture, options: &Options) -> Vec<f32> {
    let mut random = Random::new(options.seed);
    let frequencies: Vec<[f32; 2]> =
        (0..options.frequencies).map(|_| [(); 2].map(|()| options.sigma * random.normal())).collect();
    let mut features = Vec::with_capacity(picture.width * picture.height * 2 * frequencies.len());
    for row in 0..picture.height {
        for column in 0..picture.width {
            #[allow(clippy::cast_precision_loss, reason = "a coordinate")]
            let [x, y] = [(column, picture.width), (row, picture.height)].map(|(at, of)| (at as f32 + 0.5) / of as f32);
            for [kx, ky] in &frequencies {
                let (sin, cos) = (TAU * (kx * x + ky * y)).sin_cos();
                features.extend([sin, cos]);
            }
        }
    }
    features
}

/// A picture: three numbers from 0 to 1 a pixel, row after row.
struct Picture {
    width: usize,
    height: usize,
    colours: Vec<f32>,
}

/// The letters of the crate's name, five columns by seven rows each, one bit a dot.
const LETTERS: [[u8; 7]; 5] = [
    [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001],
    [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110],
    [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
    [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
    [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110],
];

impl Picture {
    /// Edges, gradients and letters.
    #[allow(clippy::cast_precision_loss, reason = "coordinates of at most 1024 pixels")]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places of dots, above 0")]
    fn test(size: usize) -> Self {
        let mut colours = Vec::with_capacity(3 * size * size);
        for row in 0..size {
            for column in 0..size {
                let [x, y] = [column, row].map(|at| (at as f32 + 0.5) / size as f32);
                // A sky, with a disc and a ring in it, over a chequered ground.
                let mut colour = [0.15 + 0.5 * y, 0.35 + 0.4 * y, 0.85 - 0.2 * x];
                let from = |cx: f32, cy: f32| (x - cx).hypot(y - cy);
                if from(0.74, 0.24) < 0.15 {
                    colour = [0.98, 0.85 - 0.9 * (y - 0.24).abs(), 0.2];
                }
                if (0.1..0.14).contains(&from(0.25, 0.25)) {
                    colour = [0.9, 0.2, 0.3];
                }
                if y > 0.75 {
                    let dark = ((8.0 * x) as u32 + (8.0 * y) as u32).is_multiple_of(2);
                    colour = if dark { [0.1, 0.12, 0.2 + 0.3 * x] } else { [0.85, 0.8 - 0.5 * x, 0.6] };
                }
                // The name across the middle, a dot a fortieth of the width.
                let (dot_x, dot_y) = ((x * 34.0) as usize, ((y - 0.47) * 34.0).floor());
                if (2..32).contains(&dot_x) && (0.0..7.0).contains(&dot_y) {
                    let bits = LETTERS[(dot_x - 2) / 6][dot_y as usize];
                    let place = (dot_x - 2) % 6;
                    if place < 5 && bits >> (4 - place) & 1 == 1 {
                        colour = [0.02, 0.02, 0.05];
                    }
                }
                colours.extend(colour);
            }
        }
        Self { width: size, height: size, colours }
    }

    fn read(path: &Path) -> Self {
        let told = |problem: &dyn std::fmt::Display| -> ! { fail(&format!("{}: {problem}", path.display()), 2) };
        let file = File::open(path).unwrap_or_else(|error| told(&error));
        let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), png::Limits { bytes: 64 << 20 });
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap_or_else(|error| told(&error));
        let Some(size) = reader.output_buffer_size().filter(|&size| size <= 64 << 20) else {
            told(&"more than 64 MiB of pixels")
        };
        let mut bytes = vec![0; size];
        let info = reader.next_frame(&mut bytes).unwrap_or_else(|error| told(&error));
        let channels = info.color_type.samples();
        let number = |byte: u8| f32::from(byte) / 255.0;
        let colours = bytes[..info.buffer_size()]
            .chunks(channels)
            .flat_map(|pixel| match *pixel {
                [r, g, b, ..] => [r, g, b].map(number),
                _ => [number(pixel[0]); 3],
            })
            .collect();
        Self { width: info.width as usize, height: info.height as usize, colours }
    }

    fn write(&self, path: &Path, colours: &[f32]) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        let bytes: Vec<u8> = colours.iter().map(|c| (255.0 * c).round().clamp(0.0, 255.0) as u8).collect();
        let [width, height] = [self.width, self.height].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let written = File::create(path).map_err(png::EncodingError::from).and_then(|file| {
            let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&bytes)?;
            writer.finish()
        });
        if let Err(error) = written {
            fail(&format!("cannot write {}: {error}", path.display()), 1);
        }
    }

    /// The peak signal-to-noise ratio in decibels: `-10 log10` of the mean squared error, of colours from 0 to 1.
    fn psnr(&self, painted: &[f32]) -> f64 {
        let squares = self.colours.iter().zip(painted).map(|(a, b)| f64::from(a - b.clamp(0.0, 1.0)).powi(2));
        #[allow(clippy::cast_precision_loss, reason = "a count of pixels")]
        let mean = squares.sum::<f64>() / self.colours.len() as f64;
        -10.0 * mean.log10()
    }
}
