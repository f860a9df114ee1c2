//! Work on several threads: a step is cut at the rows of its results, and rayon's `join` runs the pieces.
//!
//! For as long as a plan runs, the other threads look for pieces without sleeping, since to wake one takes as long as a whole
//! step of a middling net; after a while without a piece they nap. A piece that nobody has begun its owner takes back. What an
//! element's bits are does not depend on the cut.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

/// How long a thread without a piece keeps its core, stays ready to give it up, and then naps at a time.
const SPIN: Duration = Duration::from_micros(20);
const READY: Duration = Duration::from_micros(300);
const NAP: Duration = Duration::from_micros(100);

/// How many threads large steps may use: 0 means as many as rayon would start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads(pub(crate) usize);

/// The threads of one engine; they start with the first plan that is worth it.
///
/// No two engines share them: a thread that helps one of two plans could wait for the other for ever.
#[derive(Debug)]
pub(super) struct Team {
    threads: Threads,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Team {
    pub(super) const fn new(threads: Threads) -> Self {
        Self { threads, pool: OnceLock::new() }
    }

    /// Runs `work` where [`split`] finds the other threads, and tells it how many there are with its own.
    pub(super) fn run(&self, work: impl FnOnce(usize) + Send) {
        if self.threads.0 == 1 || cfg!(target_arch = "wasm32") {
            return work(1);
        }
        let start = || {
            let name = |i| format!("wgrad-{i}");
            ThreadPoolBuilder::new().num_threads(self.threads.0).thread_name(name).build().ok()
        };
        match self.pool.get_or_init(start) {
            Some(pool) if pool.current_num_threads() > 1 => {
                let count = pool.current_num_threads();
                pool.install(|| with_helpers(count, work));
            }
            // One core, or a machine that has no more threads to give: the results are the same.
            _ => work(1),
        }
    }
}

fn with_helpers(count: usize, work: impl FnOnce(usize) + Send) {
    /// Says that the work is over, also when it panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let over = AtomicBool::new(false);
    let owner = rayon::current_thread_index();
    let owned = || {
        let _over = Over(&over);
        work(count);
    };
    rayon::join(owned, || helpers(count - 1, owner, &over));
}

fn helpers(count: usize, owner: Option<usize>, over: &AtomicBool) {
    if count > 1 {
        rayon::join(|| help(owner, over), || helpers(count - 1, owner, over));
    } else {
        help(owner, over);
    }
}

/// Does the pieces of others until the plan is over.
fn help(owner: Option<usize>, over: &AtomicBool) {
    // The thread that runs the plan may come here while it waits for a piece; then the plan would wait for itself.
    if rayon::current_thread_index() == owner {
        return;
    }
    let mut idle: Option<Instant> = None;
    while !over.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(Yield::Executed) {
            idle = None;
            continue;
        }
        match idle.get_or_insert_with(Instant::now).elapsed() {
            time if time < SPIN => std::hint::spin_loop(),
            time if time < READY => std::thread::yield_now(),
            _ => std::thread::sleep(NAP),
        }
    }
}

/// Runs `f(first, out)` for up to `parts` pieces of `out`, each of whole rows, `first` the number of its first row. Pieces begin
/// at multiples of `unit` rows.
pub(super) fn split<T: Send>(
    out: &mut [T],
    row: usize,
    unit: usize,
    parts: usize,
    f: &(impl Fn(usize, &mut [T]) + Sync),
) {
    split_two((out, row), (&mut [], 0), unit, parts, &|first, out: &mut [T], _: &mut [T]| f(first, out));
}

/// As [`split`], for two results with the same rows.
pub(super) fn split_two<T: Send>(
    (x, x_row): (&mut [T], usize),
    (y, y_row): (&mut [T], usize),
    unit: usize,
    parts: usize,
    f: &(impl Fn(usize, &mut [T], &mut [T]) + Sync),
) {
    pieces(0, (x, x_row), (y, y_row), unit, parts, f);
}

fn pieces<T: Send>(
    first: usize,
    (x, x_row): (&mut [T], usize),
    (y, y_row): (&mut [T], usize),
    unit: usize,
    parts: usize,
    f: &(impl Fn(usize, &mut [T], &mut [T]) + Sync),
) {
    let units = (x.len() / x_row).div_ceil(unit);
    if parts <= 1 || units <= 1 {
        return f(first, x, y);
    }
    let here = parts.div_ceil(2);
    let rows = (units * here / parts).max(1) * unit;
    let (x, x_rest) = x.split_at_mut(rows * x_row);
    let (y, y_rest) = y.split_at_mut(rows * y_row);
    rayon::join(
        || pieces(first, (x, x_row), (y, y_row), unit, here, f),
        || pieces(first + rows, (x_rest, x_row), (y_rest, y_row), unit, parts - here, f),
    );
}

#[cfg(test)]
mod tests {
    use super::{Team, Threads, split, split_two};

    #[test]
    fn every_row_is_done_once_whatever_the_cut() {
        for threads in [0, 1, 2, 3] {
            Team::new(Threads(threads)).run(|count| {
                assert!(count >= 1 && (threads == 0 || count == threads));
                for (rows, row, unit) in
                    [(1, 1, 1), (1, 7, 6), (5, 3, 6), (6, 3, 6), (13, 2, 6), (64, 5, 1), (100, 1, 7)]
                {
                    for parts in [0, 1, 2, 3, 7, 200] {
                        let (mut x, mut y) = (vec![0_usize; rows * row], vec![0_usize; rows]);
                        split(&mut x, row, unit, parts, &|first, out: &mut [usize]| {
                            assert!(first % unit == 0 && out.len().is_multiple_of(row) && !out.is_empty());
                            for (i, out) in out.iter_mut().enumerate() {
                                *out += first * row + i + 1;
                            }
                        });
                        assert!(x.iter().enumerate().all(|(i, &x)| x == i + 1), "{rows}x{row}, {parts} parts");
                        split_two(
                            (&mut x, row),
                            (&mut y, 1),
                            unit,
                            parts,
                            &|first, x: &mut [usize], y: &mut [usize]| {
                                assert_eq!(x.len(), y.len() * row);
                                y.iter_mut().enumerate().for_each(|(i, y)| *y += first + i + 1);
                            },
                        );
                        assert!(y.iter().enumerate().all(|(i, &y)| y == i + 1), "{rows}x{row}, {parts} parts");
                    }
                }
            });
        }
    }

    #[test]
    fn a_panic_in_the_work_ends_the_helpers_too() {
        let team = Team::new(Threads(3));
        let run = std::panic::AssertUnwindSafe(|| team.run(|_| panic!("on purpose")));
        assert!(std::panic::catch_unwind(run).is_err());
        let mut ran = false;
        team.run(|count| ran = count == 3);
        assert!(ran);
    }
}
