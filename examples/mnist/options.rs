//! What can be set on the command line, and what follows from it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Adam, AdamW, Checkpoints, Cost, Dataset, Device, EarlyStopping, Init, Metric, Momentum, Nesterov,
    Network, Optimizer, Plateau, Regularization, Result, RmsProp, Schedule, Sgd, Span, StopReason, Trainer,
};

use crate::common::{fail, share};

/// What a run has to the end as it was set when it began.
const OF_NEW_RUNS: [&str; 26] = [
    "hidden",
    "activation",
    "output",
    "init",
    "cost",
    "batch_size",
    "optimizer",
    "eta",
    "seed",
    "lambda",
    "l1",
    "decay",
    "dropout",
    "label_smoothing",
    "max_norm",
    "clip_norm",
    "clip_value",
    "schedule",
    "schedule_epochs",
    "schedule_factor",
    "warm_up",
    "halve_on_plateau",
    "early_stopping",
    "min_change",
    "keep_best",
    "plan",
];

/// Trains a net to read digits, by stochastic gradient descent, and shows what it makes of some of them.
#[derive(Parser)]
#[command(allow_negative_numbers = true)]
pub struct Options {
    /// Folder with the four files of MNIST, or of another IDX data set with such names, plain or .gz [default: built-in digits]
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub data: Option<PathBuf>,
    /// Take the first N training images only
    #[arg(long, value_name = "N", value_parser = whole(1..=usize::MAX), help_heading = "Data")]
    pub train_limit: Option<usize>,
    /// Train on all but the last N of them, which take the test images' place while it trains: they are watched, and the best epoch is
    /// theirs; the test images are seen once, in the end
    #[arg(long, value_name = "N", value_parser = whole(1..=usize::MAX), help_heading = "Data")]
    pub validation: Option<usize>,

    /// Neurons of each hidden layer
    #[arg(long, value_name = "N[,N...]", default_value = "30", value_delimiter = ',', value_parser = whole(1..=65_536), help_heading = "Network")]
    hidden: Vec<usize>,
    /// Activation function of the hidden layers
    #[arg(long, default_value = "sigmoid", value_parser = one_of(elementwise()).try_map(|s| s.parse::<Activation>()), help_heading = "Network")]
    pub activation: Activation,
    /// Activation function of the outputs
    #[arg(long, default_value = "sigmoid", value_parser = one_of(["sigmoid", "softmax"]).try_map(|s| s.parse::<Activation>()), help_heading = "Network")]
    pub output: Activation,
    /// How the weights and biases start
    #[arg(long, default_value_t, value_parser = one_of(Init::ALL.map(Init::name)).try_map(|s| s.parse::<Init>()), help_heading = "Network")]
    pub init: Init,

    /// Cost to make small; cross-entropy is the binary one, summed over the outputs, or with softmax outputs the categorical one [default: quadratic, or cross-entropy with softmax outputs]
    #[arg(long, value_parser = one_of(["quadratic", "cross-entropy"]), help_heading = "Training")]
    cost: Option<String>,
    /// Times to go through the training data [default: 10, or what the resumed run has]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000), help_heading = "Training")]
    epochs: Option<usize>,
    /// Images a step
    #[arg(long, value_name = "N", default_value = "10", value_parser = whole(1..=1 << 24), help_heading = "Training")]
    pub batch_size: usize,
    /// What moves the weights
    #[arg(long, default_value = "sgd", value_parser = one_of(["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]), help_heading = "Training")]
    optimizer: String,
    /// Learning rate; with a schedule the highest one [default: with sgd 3 for quadratic and 0.5 for cross-entropy, a tenth of that
    /// with momentum and nesterov; else 0.001]
    #[arg(long, value_parser = above_zero::<f32>, help_heading = "Training")]
    eta: Option<f32>,
    /// Seed of the first weights and of the order of the images
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole(0..=usize::MAX), help_heading = "Training")]
    pub seed: usize,

    /// The book's regularisation parameter: an L2 penalty of LAMBDA / 2n times the sum of the squared weights, for n images
    #[arg(long, value_name = "LAMBDA", default_value = "0", value_parser = at_least_zero, help_heading = "Regularisation")]
    lambda: f64,
    /// L1 penalty: X times the sum of the weights' sizes
    #[arg(long, value_name = "X", default_value = "0", value_parser = at_least_zero, help_heading = "Regularisation")]
    l1: f64,
    /// Decoupled weight decay: weights times 1 - eta X before each step [default: 0; 0.01 with adamw]
    #[arg(long, value_name = "X", value_parser = at_least_zero, help_heading = "Regularisation")]
    decay: Option<f64>,
    /// Share of the hidden neurons that each step leaves out, at least 0 and below 1
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = share, help_heading = "Regularisation")]
    dropout: f32,
    /// Train towards labels of which a share of X is dealt out to all classes; at least 0 and below 1, with cross-entropy
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = share, help_heading = "Regularisation")]
    label_smoothing: f32,
    /// How much the images of a class count: all alike, or so that the classes count alike (balanced)
    #[arg(long, default_value = "none", value_parser = one_of(["none", "balanced"]), help_heading = "Training")]
    class_weights: String,
    /// Largest norm of the weights that come into a neuron
    #[arg(long, value_name = "X", value_parser = above_zero::<f32>, help_heading = "Regularisation")]
    max_norm: Option<f32>,
    /// Largest norm of a step's gradient
    #[arg(long, value_name = "X", value_parser = above_zero::<f32>, help_heading = "Regularisation")]
    clip_norm: Option<f32>,
    /// Largest component of a step's gradient
    #[arg(long, value_name = "X", value_parser = above_zero::<f32>, help_heading = "Regularisation")]
    clip_value: Option<f32>,

    /// How the learning rate changes: multiplied by --schedule-factor every --schedule-epochs (step), or a little at each step
    /// (exponential), half a cosine down (cosine, over --schedule-epochs and then anew, or the whole run), up and down (one-cycle)
    #[arg(long, value_name = "NAME", default_value = "constant", value_parser = one_of(["constant", "step", "exponential", "cosine", "one-cycle"]), help_heading = "Learning rate")]
    schedule: String,
    /// Epochs after which the schedule multiplies or starts anew [default: 10; the whole run for cosine]
    #[arg(long, value_name = "N", value_parser = above_zero::<f64>, help_heading = "Learning rate")]
    schedule_epochs: Option<f64>,
    /// What the schedule multiplies by
    #[arg(long, value_name = "X", default_value = "0.5", value_parser = above_zero::<f64>, help_heading = "Learning rate")]
    schedule_factor: f64,
    /// Epochs in which the learning rate first goes up from nothing
    #[arg(long, value_name = "N", value_parser = above_zero::<f64>, help_heading = "Learning rate")]
    warm_up: Option<f64>,
    /// Halve the learning rate after N epochs without a better value of --monitor, and stop at 1/128 of it
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000), help_heading = "Learning rate")]
    halve_on_plateau: Option<usize>,

    /// Stop after N epochs without a better value of --monitor, and take the best epoch's parameters
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000), help_heading = "Stopping")]
    early_stopping: Option<usize>,
    /// What is watched, and what --keep-best goes by
    #[arg(long, value_name = "METRIC", default_value = "test_accuracy", value_parser = one_of(classification()).try_map(|s| s.parse::<Metric>()), help_heading = "Stopping")]
    monitor: Metric,
    /// What counts as better: a gain of more than X
    #[arg(long, value_name = "X", default_value = "0", value_parser = at_least_zero, help_heading = "Stopping")]
    min_change: f64,
    /// Take the best epoch's parameters in the end
    #[arg(long, help_heading = "Stopping")]
    keep_best: bool,
    /// Stop after N steps
    #[arg(long, value_name = "N", value_parser = whole(1..=usize::MAX), help_heading = "Stopping")]
    max_steps: Option<usize>,
    /// Stop after about so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = above_zero::<f64>, help_heading = "Stopping")]
    max_time: Option<f64>,

    /// auto, cpu, gpu, or part of an adapter's name [default: the variable `WGRAD_DEVICE`, else auto]
    #[arg(long, value_name = "NAME", help_heading = "Where")]
    pub device: Option<String>,
    /// How finely a step is cut into kernels
    #[arg(long, default_value = "auto", value_parser = one_of(std::iter::once("auto").chain(PlanKind::ALL.map(PlanKind::name))), help_heading = "Where")]
    plan: String,

    /// Save the run to this file after every epoch and at its end, and the best epoch beside it
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub save: Option<PathBuf>,
    /// Go on with the run in this file, as it was set and on the same data, and save it there again unless --save names another; of
    /// the settings only --epochs, --max-steps, --max-time and --monitor can be given
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_NEW_RUNS, help_heading = "Results")]
    pub resume: Option<PathBuf>,
    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub json: Option<PathBuf>,
    /// Write the numbers of every epoch to this file, as .json or .csv; may be given again
    #[arg(long, value_name = "FILE", value_parser = history_file, help_heading = "Results")]
    pub history: Vec<PathBuf>,
    /// Write charts to this folder, as SVG and PNG: learning curves, confusion matrix, the first layer's weights, misread digits
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub charts: Option<PathBuf>,
}

fn one_of(words: impl IntoIterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(words)
}

/// The activations that a hidden layer can have.
fn elementwise() -> impl Iterator<Item = &'static str> {
    Activation::ALL.into_iter().filter(|f| f.is_elementwise()).map(Activation::name)
}

/// The metrics that there are for classes.
fn classification() -> impl Iterator<Item = &'static str> {
    let values = [Metric::TestRmse, Metric::TestMae, Metric::TestR2];
    Metric::ALL.into_iter().filter(move |metric| !values.contains(metric)).map(Metric::name)
}

/// Reads a whole number of a range.
fn whole(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |word| {
        let number = word.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match (range.start(), range.end()) {
            (least, &usize::MAX) => format!("must be a whole number, at least {least}"),
            (least, most) => format!("must be a whole number from {least} to {most}"),
        })
    }
}

/// Reads a number above 0.
fn above_zero<T: std::str::FromStr + Into<f64> + Copy>(word: &str) -> Result<T, &'static str> {
    let number = word.parse().ok().filter(|&number: &T| number.into().is_finite() && number.into() > 0.0);
    number.ok_or("must be a number above 0, such as 0.5")
}

fn at_least_zero(word: &str) -> Result<f64, &'static str> {
    let number = word.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or("must be a number, at least 0")
}

fn history_file(word: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(word);
    let end = path.extension().and_then(|end| end.to_str());
    if matches!(end, Some("json" | "csv")) { Ok(path) } else { Err("must end in .json or .csv") }
}

impl Options {
    pub fn network(&self, train: &Dataset, device: &Device) -> Result<Network> {
        let mut net = Network::new(train.features()).init(self.init).seed(self.seed as u64);
        for &width in &self.hidden {
            net = net.dense(width, self.activation);
            if self.dropout > 0.0 {
                net = net.dropout(self.dropout);
            }
        }
        net = net.dense(train.outputs(), self.output);
        if self.plan != "auto" {
            net = net.plan(self.plan.parse()?);
        }
        net.build(device)
    }

    /// The training images with their weights.
    pub fn weighted(&self, train: Dataset) -> Result<Dataset> {
        if self.class_weights == "balanced" { train.balanced() } else { Ok(train) }
    }

    /// The cost that goes with the outputs.
    pub fn cost(&self) -> Cost {
        match (self.cost.as_deref(), self.output) {
            (None | Some("cross-entropy"), Activation::Softmax) => Cost::CategoricalCrossEntropy,
            (Some("cross-entropy"), _) => Cost::BinaryCrossEntropy,
            _ => Cost::Quadratic,
        }
    }

    fn eta(&self) -> f32 {
        let sgd = if self.cost() == Cost::Quadratic { 3.0 } else { 0.5 };
        self.eta.unwrap_or(match self.optimizer.as_str() {
            "sgd" => sgd,
            "momentum" | "nesterov" => 0.1 * sgd,
            _ => 0.001,
        })
    }

    /// The optimiser, for so many training images.
    fn optimizer(&self, images: usize) -> Optimizer {
        let decay = self.decay.unwrap_or(if self.optimizer == "adamw" { 0.01 } else { 0.0 });
        let regularization = Regularization {
            l2: (self.lambda / images as f64) as f32,
            l1: self.l1 as f32,
            decoupled: decay as f32,
            max_norm: self.max_norm,
            clip_norm: self.clip_norm,
            clip_value: self.clip_value,
        };
        macro_rules! regularized {
            ($kind:ident) => {{
                let mut optimizer = $kind::new(self.eta());
                optimizer.regularization = regularization;
                optimizer.into()
            }};
        }
        match self.optimizer.as_str() {
            "momentum" => regularized!(Momentum),
            "nesterov" => regularized!(Nesterov),
            "rmsprop" => regularized!(RmsProp),
            "adam" => regularized!(Adam),
            "adamw" => regularized!(AdamW),
            _ => regularized!(Sgd),
        }
    }

    fn schedule(&self) -> Schedule {
        let every = Span::Epochs(self.schedule_epochs.unwrap_or(10.0));
        let schedule = match self.schedule.as_str() {
            "step" => Schedule::step(every, self.schedule_factor),
            "exponential" => Schedule::exponential(every, self.schedule_factor),
            "cosine" => Schedule::cosine(self.schedule_epochs.map_or(Span::Run(1.0), Span::Epochs)),
            "one-cycle" => Schedule::one_cycle(),
            _ => Schedule::constant(),
        };
        match self.warm_up {
            Some(epochs) => schedule.warm_up(Span::Epochs(epochs)),
            None => schedule,
        }
    }

    /// The trainer, for so many training images.
    pub fn trainer<'a>(&self, images: usize) -> Trainer<'a> {
        if self.label_smoothing > 0.0 && self.cost() == Cost::Quadratic {
            fail("--label-smoothing needs --cost cross-entropy", 2);
        }
        let mut trainer = Trainer::new(self.cost(), self.optimizer(images))
            .batch_size(self.batch_size)
            .epochs(self.epochs.unwrap_or(10))
            .seed(self.seed as u64)
            .label_smoothing(self.label_smoothing)
            .schedule(self.schedule());
        if let Some(patience) = self.halve_on_plateau {
            trainer = trainer.plateau(Plateau::new(patience).metric(self.monitor).min_change(self.min_change));
        }
        if let Some(patience) = self.early_stopping {
            let stopping = EarlyStopping::new(patience).metric(self.monitor).min_change(self.min_change);
            trainer = trainer.early_stopping(stopping);
        }
        if self.keep_best {
            trainer = trainer.keep_best(self.monitor);
        }
        self.bounded(trainer)
    }

    /// The network and the trainer of the run that is to go on.
    pub fn resumed<'a>(&self, device: &Device) -> Result<Option<(Network, Trainer<'a>)>> {
        let Some(file) = &self.resume else { return Ok(None) };
        let (net, mut trainer) = Trainer::resume(file, device)?;
        self.expect_more(file, &net, &trainer);
        if let Some(epochs) = self.epochs {
            trainer = trainer.epochs(epochs);
        }
        Ok(Some((net, self.bounded(trainer))))
    }

    /// Ends the program where nothing is left to do of a resumed run.
    fn expect_more(&self, file: &Path, net: &Network, trainer: &Trainer<'_>) {
        let (done, _) = trainer.position().unwrap_or_default();
        let stop = trainer.history().and_then(|history| history.stop);
        let (file, epochs) = (file.display(), if done == 1 { "epoch" } else { "epochs" });
        if let Some(reason @ (StopReason::EarlyStopping | StopReason::Plateau)) = stop {
            fail(&format!("{file} ended after {done} {epochs}, and cannot go on: {reason}"), 2);
        }
        // A limit is stored with the run, and holds until there is another.
        let limit = match stop {
            Some(StopReason::Steps) if self.max_steps.is_none() => Some("--max-steps"),
            Some(StopReason::Time) if self.max_time.is_none() => Some("--max-time"),
            _ => None,
        };
        if let Some(option) = limit {
            fail(&format!("{file} ended because of its {option}; give {option} with more than it had"), 2);
        }
        let steps = net.optimizer_steps();
        if self.max_steps.is_some_and(|most| most as u64 <= steps) {
            fail(&format!("{file} already has {steps} steps; give --max-steps {} or more", steps + 1), 2);
        }
        if self.epochs.map_or(stop == Some(StopReason::Epochs), |epochs| epochs <= done) {
            fail(&format!("{file} already has {done} {epochs}; give --epochs {} or more", done + 1), 2);
        }
    }

    /// With its limits, and where it is saved.
    fn bounded<'a>(&self, mut trainer: Trainer<'a>) -> Trainer<'a> {
        if let Some(steps) = self.max_steps {
            trainer = trainer.max_steps(steps as u64);
        }
        if let Some(seconds) = self.max_time {
            trainer = trainer.max_time(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        }
        match self.save.as_ref().or(self.resume.as_ref()) {
            Some(file) => trainer.checkpoints(Checkpoints::new(file).keep_best(self.monitor)),
            None => trainer,
        }
    }

    /// How it is trained, in words.
    pub fn training(&self) -> String {
        let (cost, rows, eta, init, seed) = (self.cost(), self.batch_size, self.eta(), self.init, self.seed);
        let mut words = format!("{cost} cost, {rows} images a step, {} with eta {eta}", self.optimizer);
        if self.schedule != "constant" {
            words += &format!(" ({} schedule)", self.schedule);
        }
        if self.lambda > 0.0 {
            words += &format!(", lambda {}", self.lambda);
        }
        if self.dropout > 0.0 {
            words += &format!(", dropout {}", self.dropout);
        }
        if self.label_smoothing > 0.0 {
            words += &format!(", labels smoothed by {}", self.label_smoothing);
        }
        if self.class_weights == "balanced" {
            words += ", balanced classes";
        }
        words + &format!(", {init} start, seed {seed}")
    }
}
