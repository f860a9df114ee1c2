//! A progress bar for a run: how far it is, how long it will take, how well it goes.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::Evaluation;
use crate::train::{EpochReport, Event};

/// Time between two plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Shows how a run goes on, on standard error: in a terminal as a bar that is drawn over and over, with the time left, cost,
/// accuracy and mini-batches a second; elsewhere, such as in a log file, as a plain line every ten seconds, without control
/// codes.
///
/// Cost and accuracy are those of the last whole epoch, on the held-out data if there are any: within an epoch they stay on the
/// device.
///
/// ```
/// use wgrad::progress::Progress;
/// use wgrad::{Activation, Cost, Device, Network, Sgd, Trainer, data};
/// let digits = data::synthetic_digits(300, 1)?;
/// let mut net = Network::new(784).dense(10, Activation::Sigmoid).build(&Device::cpu())?;
/// let mut trainer = Trainer::new(Cost::Quadratic, Sgd::new(3.0)).epochs(3).on_event(Progress::new().callback());
/// trainer.fit(&mut net, &digits, None)?;
/// # Ok::<(), wgrad::Error>(())
/// ```
pub struct Progress {
    form: Form,
    started: Option<Instant>,
    last: Option<Seen>,
    scores: String,
}

enum Form {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write + Send>, every: Duration, written: Option<Instant> },
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
struct Seen {
    epoch: usize,
    epochs: usize,
    /// Over all epochs.
    done: u64,
    all: u64,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("last", &self.last).field("scores", &self.scores).finish_non_exhaustive()
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// On standard error: a bar if that is a terminal, else plain lines.
    #[must_use]
    pub fn new() -> Self {
        // A terminal that cannot move its cursor is no place for a bar.
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !std::io::stderr().is_terminal() || dumb {
            return Self::lines(std::io::stderr(), EVERY);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {percent:>3} % [{wide_bar}]{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self::with(Form::Bar(bar))
    }

    /// Plain lines, to any place, with at least this time between two; the end of the run is always told.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wgrad::progress::Progress;
    /// let log = std::fs::File::create(std::env::temp_dir().join("wgrad.log")).expect("a file");
    /// let progress = Progress::lines(log, Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn lines(out: impl Write + Send + 'static, every: Duration) -> Self {
        Self::with(Form::Lines { out: Box::new(out), every, written: None })
    }

    const fn with(form: Form) -> Self {
        Self { form, started: None, last: None, scores: String::new() }
    }

    /// Whether a bar is drawn: whoever prints lines of their own meanwhile does so in [`suspend`](Self::suspend).
    #[must_use]
    pub const fn is_bar(&self) -> bool {
        matches!(self.form, Form::Bar(_))
    }

    /// Takes the bar away while `print` writes to the terminal.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.form {
            Form::Bar(bar) => bar.suspend(print),
            Form::Lines { .. } => print(),
        }
    }

    /// A callback for [`Trainer::on_event`](crate::Trainer::on_event) that never ends the run.
    pub fn callback<'a>(mut self) -> impl FnMut(Event<'_>) -> ControlFlow<()> + Send + 'a {
        move |event| {
            self.see(&event);
            ControlFlow::Continue(())
        }
    }

    /// Shows an event; for callbacks that do more.
    pub fn see(&mut self, event: &Event<'_>) {
        match *event {
            Event::Progress { epoch, epochs, step, steps } => {
                // A run may be asked for more epochs than can be counted.
                let done = (epoch.saturating_sub(1) as u64).saturating_mul(steps as u64).saturating_add(step as u64);
                let seen = Seen { epoch, epochs, done, all: (epochs as u64).saturating_mul(steps as u64) };
                if self.started.is_none() {
                    self.started = Some(Instant::now());
                }
                self.last = Some(seen);
                self.show(&seen, false);
            }
            Event::Epoch(report) => {
                self.scores = scores(report);
                if let Some(seen) = self.last {
                    // The last epoch, or one that was cut short: there may be no further event.
                    let last = seen.epoch == seen.epochs
                        || (report.steps as u64).saturating_mul(seen.epochs as u64) < seen.all;
                    self.show(&seen, last);
                }
            }
            Event::Recovered { error, device, .. } => {
                let _ = self.suspend(|| writeln!(std::io::stderr(), "{error}; going on with {device}"));
            }
        }
    }

    fn show(&mut self, seen: &Seen, last: bool) {
        let taken = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        let said = said(seen, taken, &self.scores);
        let Seen { epoch, epochs, done, all } = *seen;
        match &mut self.form {
            Form::Bar(bar) => {
                bar.set_length(all);
                bar.set_prefix(format!("epoch {epoch}/{epochs}"));
                bar.set_message(said);
                bar.set_position(done);
            }
            Form::Lines { out, every, written } => {
                let due = written.or(self.started).is_none_or(|before| before.elapsed() >= *every);
                if due || last && done > 0 {
                    *written = Some(Instant::now());
                    let percent = 100 * u128::from(done) / u128::from(all.max(1));
                    // Where nobody reads it, there is nobody to tell.
                    let _ = writeln!(out, "epoch {epoch}/{epochs}, {percent} %{said}");
                    let _ = out.flush();
                }
            }
        }
    }
}

impl Drop for Progress {
    /// The bar goes; what it said last has been said by the run's own report.
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

/// The time left, the scores, and mini-batches a second, over the whole time: the first ones are slow.
fn said(seen: &Seen, taken: Duration, scores: &str) -> String {
    #[allow(clippy::cast_precision_loss, reason = "counts of steps are far below 2^53")]
    let (done, left) = (seen.done as f64, seen.all.saturating_sub(seen.done) as f64);
    let rate = done / taken.as_secs_f64();
    // The first moments say nothing.
    if taken < Duration::from_millis(50) || !(rate > 0.0 && rate.is_finite()) {
        return scores.to_owned();
    }
    let left = if left > 0.0 { format!(", {} left", time(left / rate)) } else { String::new() };
    format!("{left}{scores}, {rate:.0} steps/s")
}

/// A time as people say it.
fn time(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time to come, in whole seconds")]
    let seconds = seconds.clamp(0.0, 1e9).ceil() as u64;
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Cost and accuracy, or the error, of an epoch: on the held-out data, else on those trained on.
fn scores(report: &EpochReport) -> String {
    match report.test {
        Some(Evaluation { rmse: Some(rmse), cost, .. }) => format!(", cost {cost:.4}, RMSE {rmse:.4}"),
        Some(test) => format!(", cost {:.4}, {:.2} % right", test.cost, 100.0 * test.accuracy),
        None => format!(", cost {:.4}, {:.2} % right", report.train_cost, 100.0 * report.train_accuracy),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = [0.0, 0.2, 99.0, 99.5, 601.0, 5999.0, 6000.0, 90_061.0].map(time);
        let want = ["0 s", "1 s", "99 s", "1 min 40 s", "10 min 01 s", "99 min 59 s", "1 h 40 min", "25 h 01 min"];
        assert_eq!(said, want);
    }

    /// What is written, shared with the test.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn run(every: Duration) -> String {
        let log = Log::default();
        let mut progress = Progress::lines(log.clone(), every);
        for epoch in 1..=3 {
            for step in 1..=4 {
                progress.see(&Event::Progress { epoch, epochs: 3, step, steps: 4 });
                std::thread::sleep(Duration::from_millis(2));
            }
            let report = EpochReport {
                epoch,
                steps: 4,
                eta: 0.5,
                train_cost: 0.25,
                train_accuracy: 0.875,
                test: None,
                seconds: 1.0,
                steps_per_second: 4.0,
            };
            progress.see(&Event::Epoch(&report));
        }
        drop(progress);
        let bytes = log.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn lines_come_every_so_often_and_at_the_end() {
        let all = run(Duration::ZERO);
        assert_eq!(all.lines().count(), 3 * 5, "{all}");
        let few = run(Duration::from_secs(1000));
        assert_eq!(few.lines().count(), 1, "{few}");
        assert!(few.starts_with("epoch 3/3, 100 %") && few.contains("cost 0.2500, 87.50 % right"), "{few}");
        assert!(few.ends_with('\n') && !(all + &few).contains(['\u{1b}', '\r']));
    }
}
