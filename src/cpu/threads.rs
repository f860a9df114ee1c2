//! Work on several threads: a step is cut at the rows of its results, and rayon's `join` runs the pieces.
//!
//! For as long as a plan runs, the other threads look for pieces without sleeping, since to wake one takes as long as a whole
//! step of a middling net; after a while without a piece they nap. A piece that nobody has begun its owner takes back. What an
//! element's bits are does not depend on the cut.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

/// How long a thread without a piece keeps its core, stays ready to give it up, and then naps at a time.
const SPIN: Duration = Duration::from_micros(20);
const READY: Duration = Duration::from_micros(300);
const NAP: Duration = Duration::from_micros(100);

thread_local! {
    /// Whether what this thread runs it runs alone.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Has this thread run plans without the help of others meanwhile, if so it is: where as many threads as there are cores do so.
#[cfg(any(test, all(feature = "blocking", not(target_arch = "wasm32"))))]
pub(crate) fn alone<R>(so: bool, work: impl FnOnce() -> R) -> R {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Before(ALONE.replace(so));
    work()
}

/// The threads of a CPU device, shared by all its clones and engines: teams, which start with the first plan that is worth it and are lent
/// to one plan at a time.
///
/// No two plans have the same team: a thread that helps one of two could wait for the other for ever.
#[derive(Debug, Clone)]
pub(crate) struct Teams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How many threads a team has: 0 means as many as rayon would start.
    threads: usize,
    idle: Mutex<Vec<ThreadPool>>,
    /// There is one core, or no more threads are to be had: no further team is tried.
    none: AtomicBool,
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<ThreadPool>> {
        // Nothing that could panic is done under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teams {
    pub(crate) fn of(threads: usize) -> Self {
        Self(Arc::new(Shared { threads, idle: Mutex::new(Vec::new()), none: AtomicBool::new(threads == 1) }))
    }

    /// Runs `work` where [`split`] finds the other threads of a team, and tells it how many there are with its own. The results have
    /// the same bits without them.
    pub(super) fn run(&self, work: impl FnOnce(usize) + Send) {
        // A thread of the caller's own rayon pool would do other work of that pool while it waits for a team: work which may want
        // the very network that waits. And there the cores are taken.
        if ALONE.get() || rayon::current_thread_index().is_some() {
            return work(1);
        }
        let lent = self.lend();
        match &lent.team {
            Some(team) => {
                let count = team.current_num_threads();
                team.install(|| with_helpers(count, work));
            }
            None => work(1),
        }
    }

    /// An idle team, or a new one, if there can be one.
    fn lend(&self) -> Lent<'_> {
        let Self(shared) = self;
        let idle = shared.idle().pop();
        let team = idle.or_else(|| {
            if cfg!(target_arch = "wasm32") || shared.none.load(Ordering::Relaxed) {
                return None;
            }
            let name = |i| format!("wgrad-{i}");
            let team = ThreadPoolBuilder::new().num_threads(shared.threads).thread_name(name).build();
            let team = team.ok().filter(|team| team.current_num_threads() > 1);
            shared.none.store(team.is_none(), Ordering::Relaxed);
            team
        });
        Lent { shared, team }
    }
}

/// A team that goes back among the idle ones, also when the work panics.
struct Lent<'a> {
    shared: &'a Shared,
    team: Option<ThreadPool>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(team) = self.team.take() {
            self.shared.idle().push(team);
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
    use super::{Teams, alone, split, split_two};

    #[test]
    fn every_row_is_done_once_whatever_the_cut() {
        for threads in [0, 1, 2, 3] {
            Teams::of(threads).run(|count| {
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
        let teams = Teams::of(3);
        let run = std::panic::AssertUnwindSafe(|| teams.run(|_| panic!("on purpose")));
        assert!(std::panic::catch_unwind(run).is_err());
        let mut ran = false;
        teams.run(|count| ran = count == 3);
        assert!(ran);
        assert_eq!(teams.0.idle().len(), 1);
    }

    #[test]
    fn teams_are_lent_to_one_plan_at_a_time_and_come_back() {
        let teams = Teams::of(2);
        let both = std::sync::Barrier::new(2);
        for _ in 0..3 {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        teams.run(|count| {
                            assert_eq!(count, 2);
                            both.wait();
                        });
                    });
                }
            });
            assert_eq!(teams.0.idle().len(), 2);
        }
    }

    #[test]
    fn a_thread_of_another_pool_and_one_that_is_told_so_work_alone() {
        let teams = Teams::of(2);
        let count = || {
            let mut seen = 0;
            teams.run(|count| seen = count);
            seen
        };
        assert_eq!(count(), 2);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
        assert_eq!(pool.install(count), 1);
        assert_eq!(alone(true, count), 1);
        assert_eq!(alone(true, || alone(false, count)), 2);
        assert_eq!(count(), 2);
    }
}
