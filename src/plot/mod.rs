//! Charts of a training run, as SVG and PNG: learning curves, confusion matrix, weights as pictures, misread pictures,
//! predictions against targets.
//!
//! Text is drawn with a font that is part of this crate (DejaVu Sans; its licence is in `assets/`), so that a chart looks the same
//! on a machine without any fonts. An SVG names that font, and falls back on what its viewer has. Colours are from palettes
//! that colour-blind people can tell apart (Okabe and Ito), and no chart relies on colour alone.
//!
//! ```
//! use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data, plot};
//! let (train, test) = data::synthetic_digits(600, 1)?.split_at(500)?;
//! let mut net = Network::new(784).dense(12, Activation::Sigmoid).dense(10, Activation::Sigmoid).build(&Device::cpu())?;
//! let history = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(5).fit(&mut net, &train, Some(&test))?;
//!
//! let folder = std::env::temp_dir().join(format!("wgrad charts {}", std::process::id()));
//! std::fs::create_dir(&folder).expect("a folder");
//! plot::learning_curves(&history).save(folder.join("curves.svg"))?;
//! let confusion = net.metrics(&test, Cost::Quadratic)?.confusion.expect("digits are classes");
//! plot::confusion_matrix(&confusion, &[]).save(folder.join("confusion.png"))?;
//! let first = net.layers()[0].weights();
//! plot::weight_pictures(&net.parameters()?[first], 784, 28)?.save(folder.join("weights.png"))?;
//! # std::fs::remove_dir_all(&folder).expect("it is there");
//! # Ok::<(), wgrad::Error>(())
//! ```

mod confusion;
mod curves;
mod output;
mod pen;
mod pictures;
mod scatter;

use std::path::Path;

pub use confusion::confusion_matrix;
pub use curves::learning_curves;
pub use pictures::{misread_pictures, weight_pictures};
pub use scatter::predictions;

use crate::error::{Error, Result};
use pen::{Pen, Target};

/// A chart that can be written to a file.
#[derive(Debug, Clone)]
#[must_use = "a chart is seen when it is saved"]
pub struct Chart {
    title: String,
    size: (u32, u32),
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Curves(curves::Curves),
    Confusion(confusion::Matrix),
    Pictures(pictures::Pictures),
    Scatter(scatter::Scatter),
}

impl Chart {
    fn new(title: impl Into<String>, size: (u32, u32), content: Content) -> Self {
        Self { title: title.into(), size, content }
    }

    /// Another title than its own.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Another size than its own, in pixels as a web page counts them; a PNG has twice as many each way, for sharp screens.
    pub const fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    /// The chart as the text of an SVG file.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a size that is not from 100 to 10,000.
    pub fn to_svg(&self) -> Result<String> {
        self.check()?;
        output::svg(self.size, |target| self.draw(target))
    }

    /// The chart as the bytes of a PNG file.
    ///
    /// # Errors
    /// As [`to_svg`](Self::to_svg).
    pub fn to_png(&self) -> Result<Vec<u8>> {
        self.check()?;
        output::png(self.size, |target| self.draw(target))
    }

    /// Writes the chart to a file, in the format that its name ends in.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a name that ends neither in `.svg` nor in `.png`, and for a size that is not from 100 to 10,000;
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let end = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
        let bytes = match end.as_deref() {
            Some("svg") => self.to_svg()?.into_bytes(),
            Some("png") => self.to_png()?,
            _ => {
                let (option, value) = ("name of a chart's file", path.display().to_string());
                return Err(Error::InvalidOption { option, value, want: "one that ends in .svg or .png" });
            }
        };
        std::fs::write(path, bytes).map_err(|error| Error::io(path, error))
    }

    fn check(&self) -> Result<()> {
        let (width, height) = self.size;
        if [width, height].iter().all(|side| (100..=10_000).contains(side)) {
            return Ok(());
        }
        let value = format!("{width} x {height}");
        Err(Error::InvalidOption { option: "size of a chart", value, want: "from 100 to 10,000 pixels each way" })
    }

    fn draw<T: Target>(&self, pen: &mut Pen<'_, T>) -> Result<()> {
        match &self.content {
            Content::Curves(curves) => curves.draw(&self.title, pen),
            Content::Confusion(matrix) => matrix.draw(&self.title, pen),
            Content::Pictures(pictures) => pictures.draw(&self.title, pen),
            Content::Scatter(scatter) => scatter.draw(&self.title, pen),
        }
    }
}
