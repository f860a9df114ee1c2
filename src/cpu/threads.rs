//! Work on several threads: a step is cut at the rows of its results, and rayon's `join` runs the pieces.
//!
//! For as long as a plan runs, the other threads look for pieces without sleeping, since to wake one takes as long as a whole
//! step of a middling net; after a while without a piece they nap. A piece that nobody has begun its owner takes back. What an
//! element's bits are does not depend on the cut.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

/// How long a thread without a piece keeps its core, stays ready to give it up, and then naps at a time.
const SPIN: Duration = Duration::from_micros(20);
const READY: Duration = Duration::from_micros(300);
const NAP: Duration = Duration::from_micros(100);

thread_local! {
    /// The most threads of a plan that this thread runs, with this one; 0 means all that a team has.
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// Has this thread run plans with no more threads than this meanwhile, itself among them, where others want the cores too. 0 means all
/// that a team has.
#[cfg(any(test, all(feature = "blocking", not(target_arch = "wasm32"))))]
pub(crate) fn at_most<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    /// Puts back what it was, also when there is a panic.
    struct Before(usize);
    impl Drop for Before {
        fn drop(&mut self) {
            MOST.set(self.0);
        }
    }
    let _before = Before(MOST.replace(threads));
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
    /// How many threads a team has at most: 0 means as many as rayon would start.
    threads: usize,
    idle: Mutex<Vec<Team>>,
    /// There is one core, or no more threads are to be had: no further team is tried.
    none: AtomicBool,
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Team>> {
        lock(&self.idle)
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
        if MOST.get() == 1 || rayon::current_thread_index().is_some() {
            return work(1);
        }
        let lent = self.lend();
        match &lent.team {
            Some(team) => team.run(work),
            None => work(1),
        }
    }

    /// How many threads a plan has at most; 0 means as many as rayon would start.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub(crate) fn threads(&self) -> usize {
        self.0.threads
    }

    /// An idle team, or a new one, if there can be one.
    fn lend(&self) -> Lent<'_> {
        let Self(shared) = self;
        let threads = match (shared.threads, MOST.get()) {
            (0, threads) | (threads, 0) => threads,
            (threads, most) => threads.min(most),
        };
        let take = |idle: &mut Vec<Team>| {
            let at = idle.iter().rposition(|team| team.asked == threads)?;
            Some(idle.swap_remove(at))
        };
        let idle = take(&mut shared.idle());
        let team = idle.or_else(|| {
            if cfg!(target_arch = "wasm32") || shared.none.load(Ordering::Relaxed) {
                return None;
            }
            let team = Team::of(threads);
            shared.none.store(team.is_none(), Ordering::Relaxed);
            team
        });
        Lent { shared, team }
    }
}

/// A team that goes back among the idle ones, also when the work panics.
struct Lent<'a> {
    shared: &'a Shared,
    team: Option<Team>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(team) = self.team.take() {
            self.shared.idle().push(team);
        }
    }
}

/// Threads that do one plan together.
#[derive(Debug)]
struct Team {
    /// How many threads were asked for.
    asked: usize,
    threads: ThreadPool,
    call: Arc<Call>,
}

impl Team {
    /// Starts more than one thread, or none.
    fn of(threads: usize) -> Option<Self> {
        let name = |i| format!("wgrad-{i}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok()?;
        if pool.current_num_threads() < 2 {
            return None;
        }
        let call = Arc::new(Call::default());
        let heard = Arc::clone(&call);
        // For as long as there is a team. If each plan asked for helpers anew, a thread that waits for a piece could come upon that
        // task, and would help until the end of the plan that waits for the piece.
        pool.spawn_broadcast(move |_| heard.answer());
        Some(Self { asked: threads, threads: pool, call })
    }

    /// Runs `work` on one of the threads, where the others help, and tells it how many there are.
    fn run(&self, work: impl FnOnce(usize) + Send) {
        /// The work is over, also when it panics.
        struct Over<'a>(&'a Call);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.is_on.store(false, Ordering::Release);
            }
        }
        self.call.say(&self.call.is_on);
        let _over = Over(&self.call);
        let count = self.threads.current_num_threads();
        self.threads.install(|| work(count));
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.call.say(&self.call.is_last);
    }
}

/// What the threads of a team wait for.
#[derive(Debug, Default)]
struct Call {
    /// There is a plan to help with.
    is_on: AtomicBool,
    /// There will be no further one.
    is_last: AtomicBool,
    /// Held while one of these becomes true, so that nobody who has just looked sleeps through it.
    door: Mutex<()>,
    bell: Condvar,
}

impl Call {
    fn say(&self, what: &AtomicBool) {
        let _door = lock(&self.door);
        what.store(true, Ordering::Release);
        self.bell.notify_all();
    }

    /// A thread of the team: does what there is to do while a plan runs, and sleeps between two plans.
    fn answer(&self) {
        loop {
            let mut door = lock(&self.door);
            while !(self.is_on.load(Ordering::Acquire) || self.is_last.load(Ordering::Acquire)) {
                door = self.bell.wait(door).unwrap_or_else(PoisonError::into_inner);
            }
            drop(door);
            if self.is_last.load(Ordering::Acquire) {
                return;
            }
            #[cfg(test)]
            tests::come_late();
            self.help();
        }
    }

    /// Does the pieces of the plan, or all of it, until it is over.
    fn help(&self) {
        let mut idle: Option<Instant> = None;
        while self.is_on.load(Ordering::Acquire) {
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
}

/// Nothing that could panic is done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Teams, at_most, split, split_two};

    /// How many microseconds late the helpers of every team are.
    static LATE: AtomicU64 = AtomicU64::new(0);

    pub(super) fn come_late() {
        let late = LATE.load(Ordering::Relaxed);
        if late > 0 {
            std::thread::sleep(Duration::from_micros(late));
        }
    }

    /// A thread that waits for a piece looks for other work meanwhile, and what it finds may be to help: until the plan is over, which
    /// waits for that very piece.
    #[test]
    fn nobody_who_is_waited_for_helps() {
        LATE.store(200, Ordering::Relaxed);
        let (done, is_done) = mpsc::channel();
        // Its threads would never end where one waits for itself: then this one is left behind.
        std::thread::spawn(move || {
            for threads in [3, 4, 8] {
                let teams = Teams::of(threads);
                for run in 0..300 {
                    teams.run(|count| {
                        for cut in 0..3 {
                            let mut out = vec![0; 64];
                            split(&mut out, 1, 1, count + cut, &|first, out: &mut [usize]| {
                                // Pieces of unlike length, so that threads wait for one another.
                                for turn in 0..100 * (first + run % 7) {
                                    std::hint::black_box(turn);
                                }
                                out.fill(1);
                            });
                            assert!(out.iter().all(|&times| times == 1));
                        }
                    });
                }
            }
            let _ = done.send(());
        });
        let end = is_done.recv_timeout(Duration::from_secs(120));
        LATE.store(0, Ordering::Relaxed);
        end.expect("a plan waits for itself");
    }

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
        assert_eq!(at_most(1, count), 1);
        assert_eq!(at_most(1, || at_most(0, count)), 2);
        assert_eq!(count(), 2);
    }

    #[test]
    fn a_team_has_no_more_threads_than_are_wanted() {
        for (threads, most, seen) in [(4, 3, 3), (4, 0, 4), (3, 4, 3), (4, 3, 3), (0, 2, 2)] {
            let teams = Teams::of(threads);
            for _ in 0..2 {
                at_most(most, || teams.run(|count| assert_eq!(count, seen)));
            }
            assert_eq!(teams.0.idle().len(), 1);
        }
    }
}
