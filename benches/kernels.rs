//! How long every kernel takes: `cargo bench`, on the CPU backend and, where `WGRAD_DEVICE` names one, on that adapter too.
//!
//! `cargo bench -- dense_forward` runs the kernels whose name holds that word, `-- --save-baseline NAME` and `-- --baseline NAME`
//! compare a change with what was before. On a GPU the time of a submission is shared among the runs that are in it; where a
//! kernel moves a counter on it is in every figure.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgrad::Device;
use wgrad::kernel::Kernel;
use wgrad::verify::{Case, CaseRunner, Fill, Shape};

/// Rows, inputs and outputs: the two layers of 784-30-10 with a batch of 10, the first of 784-128-10 with 64, and a square one.
const SHAPES: [Shape; 4] = [[10, 784, 30], [10, 30, 10], [64, 784, 128], [256, 512, 512]];
/// Multiplications above which a software adapter would take too long.
const SOFTWARE_MOST: u64 = 64 * 784 * 128;
/// The same for the persistent kernel, which has one core.
const PERSISTENT_MOST: u64 = 10 * 784 * 30;
/// Runs in one submission.
const TOGETHER: u64 = 64;

fn kernels(c: &mut Criterion) {
    let mut devices = vec![Device::cpu()];
    if let Ok(word) = std::env::var("WGRAD_DEVICE") {
        devices.push(Device::named(&word).expect("the device that WGRAD_DEVICE names"));
    }
    for device in &devices {
        for &kernel in Kernel::ALL {
            let mut group = c.benchmark_group(format!("{}/{}", device.adapter(), kernel.name()));
            group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
            for shape in SHAPES {
                let multiplications = shape.iter().map(|&n| u64::from(n)).product::<u64>();
                let most = if device.is_software() { SOFTWARE_MOST } else { u64::MAX };
                let most = if kernel == Kernel::Persistent { PERSISTENT_MOST.min(most) } else { most };
                if multiplications > most {
                    continue;
                }
                let case = Case::new(kernel, shape, Fill::Ordinary, 0, 1);
                let mut runner = CaseRunner::new(device, &case).expect("a case on the device");
                if kernel.sum_length(case.params()).is_some() {
                    group.throughput(Throughput::Elements(multiplications));
                }
                let [rows, inputs, outputs] = shape;
                group.bench_function(BenchmarkId::from_parameter(format!("{rows}x{inputs}x{outputs}")), |b| {
                    b.iter_custom(|times| time(&mut runner, kernel, times));
                });
            }
            group.finish();
        }
    }
}

/// The time of so many runs. What they start from is written before the clock starts.
fn time(runner: &mut CaseRunner, kernel: Kernel, times: u64) -> Duration {
    // These count the steps of a walk, and one step later they would be past its end.
    let together = if matches!(kernel, Kernel::Tally | Kernel::Persistent) { 1 } else { TOGETHER };
    let (mut left, mut total) = (times, Duration::ZERO);
    while left > 0 {
        let now = left.min(together);
        runner.reset().expect("a write");
        let watch = Instant::now();
        runner.run(usize::try_from(now).expect("a small number")).expect("a run");
        total += watch.elapsed();
        left -= now;
    }
    total
}

criterion_group!(benches, kernels);
criterion_main!(benches);
