//! Every kernel against the f64 reference, on the CPU backend and on every adapter there is.

#![cfg(feature = "blocking")]
#![allow(clippy::print_stdout, reason = "the adapters, the number of cases and the worst errors are the result")]

mod common;

use std::sync::{Mutex, MutexGuard};

use wgrad::Device;
use wgrad::kernel::{Kernel, Params, Tiling};
use wgrad::plan::Limits;
use wgrad::verify::{Case, Fill, KernelCheck, KernelChecks, Shape, check_case, check_kernel, check_kernels};

/// The turn of a test, where one at a time has the adapters.
fn turn() -> Option<MutexGuard<'static, ()>> {
    static ADAPTERS: Mutex<()> = Mutex::new(());
    let alone = !common::adapters().iter().all(common::takes_threads);
    alone.then(|| ADAPTERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Rows, inputs, outputs: ones, primes, one off a tile of 8 and off a workgroup of 64, non-square, long sums.
const SHAPES: &[Shape] = &[
    [1, 1, 1],
    [1, 2, 3],
    [2, 1, 7],
    [3, 17, 2],
    [7, 8, 9],
    [8, 8, 8],
    [9, 15, 16],
    [10, 784, 30],
    [16, 9, 65],
    [17, 63, 64],
    [64, 5, 3],
    [23, 3, 1],
    [65, 16, 10],
    [63, 33, 31],
    [5, 257, 13],
    [257, 3, 5],
    [2, 7, 131],
    [1, 1031, 2],
];

/// The line that CI looks for, to see on which adapter and with which shaders how many cases ran.
fn report(device: &Device, check: &KernelChecks) {
    let shaders = match (device.kind(), device.is_checked()) {
        ("cpu", _) => "",
        (_, true) => ", checked shaders",
        (_, false) => ", unchecked shaders",
    };
    let ran = ran(check);
    assert!(ran == check.kernels.len() || common::has_less_than_webgpu(device), "{device}: {ran} kernels");
    println!("{device}{shaders}: {} cases of {ran} kernels\n{check}", check.cases());
}

/// Kernels that the device allows, of which there are some in any case.
fn ran(check: &KernelChecks) -> usize {
    let ran = check.kernels.iter().filter(|kernel| kernel.left_out.is_none()).count();
    assert!(ran >= 15, "{}: {ran} kernels", check.adapter);
    ran
}

/// Whether a kernel ran; one that the device's limits do not allow is said to be left out.
fn is_allowed(device: &str, check: &KernelCheck) -> bool {
    if let Some(limit) = &check.left_out {
        assert!(check.cases == 0 && limit.contains("limit"), "{limit}");
        let needs = limit.split_once(" needs ").map_or(&**limit, |(_, needs)| needs);
        common::left_out(&format!("{device}: parity of {}", check.kernel.name()), needs);
    }
    check.left_out.is_none()
}

/// The cases of a kernel, all of which passed; none where the device has less than WebGPU promises, and does not allow it.
fn cases_of(device: &Device, check: &KernelCheck) -> usize {
    let name = check.kernel.name();
    if is_allowed(&device.adapter(), check) {
        assert!(check.cases > 0 && check.worst.passed(), "{device}: kernel {name}: {}", check.worst);
    } else {
        assert!(common::has_less_than_webgpu(device), "{device}: kernel {name} is left out");
    }
    assert!(check.passed(), "{device}: kernel {name}: {check:?}");
    check.cases
}

fn assert_passed(check: &KernelChecks) {
    println!("{} of {} kernels", ran(check), check.kernels.len());
    for kernel in check.kernels.iter().filter(|kernel| is_allowed(&check.adapter, kernel)) {
        assert!(kernel.cases > 0, "kernel {} had no case", kernel.kernel.name());
        assert!(kernel.worst.passed(), "{}: kernel {}: {}", check.adapter, kernel.kernel.name(), kernel.worst);
    }
    assert!(check.passed());
}

#[test]
fn cpu_kernels() {
    let check = check_kernels(&Device::cpu(), SHAPES, 1).expect("the CPU backend runs every kernel");
    report(&Device::cpu(), &check);
    assert_passed(&check);
}

/// Products so large that they are packed, and shared out among threads: by rows, and going back by columns too.
#[test]
fn cpu_products_on_threads() {
    const SHAPES: &[Shape] = &[[129, 197, 67], [65, 300, 131], [34, 1030, 35]];
    for threads in [1, 2, 3] {
        let device = Device::cpu_with_threads(threads);
        for kernel in [
            Kernel::MatmulNt,
            Kernel::MatmulNn,
            Kernel::OuterProducts,
            Kernel::DenseForward,
            Kernel::DenseBackward,
            Kernel::DenseGradient,
            Kernel::DenseUpdate,
        ] {
            let check = check_kernel(&device, kernel, SHAPES, 6).expect("the CPU backend runs every kernel");
            println!("{threads} threads, {}: {} cases, {}", kernel.name(), check.cases, check.worst);
            assert!(check.cases > 0 && check.worst.passed(), "{threads} threads, {}: {}", kernel.name(), check.worst);
        }
    }
}

/// Whether what runs is another under this tiling than under the other.
fn is_tiled(kernel: Kernel, one: Tiling, other: Tiling) -> bool {
    let constants = |tiling, &[rows, inputs, outputs]: &Shape| {
        kernel.constants(&Params { rows, inputs, outputs, ..Params::default() }, tiling, 64)
    };
    let differs = |shape: &Shape| constants(one, shape) != constants(other, shape);
    kernel.entry(one) != kernel.entry(other) || SHAPES.iter().any(differs)
}

/// The matrix kernels have two sets of shaders; an adapter chooses one, but has to run both right.
#[test]
fn gpu_kernels_under_the_other_tiling() {
    let tiled = Kernel::ALL.iter().filter(|&&kernel| is_tiled(kernel, Tiling::GPU, Tiling::Registers));
    let tiled: Vec<_> = tiled.copied().collect();
    let wanted = [
        Kernel::DenseForward,
        Kernel::GatherForward,
        Kernel::OutputError,
        Kernel::OutputLayer,
        Kernel::DenseBackward,
        Kernel::DenseGradient,
        Kernel::DenseUpdate,
    ];
    assert_eq!(tiled, wanted);
    let _turn = turn();
    for device in common::adapters() {
        let other = match device.limits().tiling {
            Tiling::Workgroup { .. } => Tiling::Registers,
            Tiling::Registers => Tiling::GPU,
        };
        let device = common::beside(&device).with_tiling(other);
        let mut cases = 0;
        for &kernel in &tiled {
            let check = check_kernel(&device, kernel, SHAPES, 4).expect("the device runs the kernel");
            cases += cases_of(&device, &check);
        }
        println!("{device}, {other:?} tiling: {cases} cases of {} kernels", tiled.len());
        assert!(cases > 0 || common::has_less_than_webgpu(&device), "{device}: {:?}", device.limits());
    }
}

/// Every variant of a kernel with its share of the shapes. An activation is a pipeline for each tile, which a software adapter compiles
/// for long: each has but some tiles.
fn dealt(kernel: Kernel, shapes: &[Shape]) -> Vec<(Shape, Fill, u32)> {
    let group = |variant: u32| match kernel {
        Kernel::GatherForward => Some(variant),
        Kernel::DenseForward | Kernel::DenseBackward => Some(variant / 4),
        _ => None,
    };
    let mut dealt: Vec<(Shape, Fill, u32)> = Vec::new();
    for (variant, (at, &shape)) in
        (0..Case::variants(kernel)).flat_map(|variant| (0..).zip(shapes).map(move |shape| (variant, shape)))
    {
        if group(variant).is_none_or(|group: u32| group as usize % shapes.len() == at) {
            dealt.extend([Fill::Ordinary, Fill::Extreme].map(|fill| (shape, fill, variant)));
        }
    }
    let all = shapes.iter().all(|shape| dealt.iter().any(|case| case.0 == *shape))
        && (0..Case::variants(kernel)).all(|variant| dealt.iter().any(|case| case.2 == variant));
    assert!(all, "{}: a shape or a variant is left out", kernel.name());
    dealt
}

/// Results that take tiles of every shape, where one workgroup is enough to keep the device busy.
#[test]
fn gpu_kernels_with_large_tiles() {
    const SHAPES: &[Shape] = &[[63, 62, 61], [31, 63, 64], [64, 31, 30], [30, 62, 29], [29, 30, 63], [129, 67, 131]];
    let tiling = Tiling::Workgroup { busy: 1 };
    // The kernels of all layers are told their tile, and their cases have every one.
    let matrix = [
        Kernel::GatherForward,
        Kernel::DenseForward,
        Kernel::DenseBackward,
        Kernel::DenseGradient,
        Kernel::DenseUpdate,
    ];
    for kernel in [Kernel::GatherForward, Kernel::DenseForward, Kernel::DenseBackward] {
        let tiles = SHAPES.iter().map(|&[rows, inputs, outputs]| {
            kernel.constants(&Params { rows, inputs, outputs, ..Params::default() }, tiling, 64)
        });
        let tiles: std::collections::BTreeSet<_> = tiles.collect();
        assert_eq!(tiles.len(), 4, "{}: {tiles:?}", kernel.name());
    }
    let _turn = turn();
    for device in common::adapters() {
        let device = common::beside(&device).with_tiling(tiling);
        let mut cases = 0;
        for &kernel in &matrix {
            for (shape, fill, variant) in dealt(kernel, SHAPES) {
                let case = Case::new(kernel, shape, fill, variant, 5);
                let check = check_case(&device, &case).expect("the device runs the kernel");
                cases += cases_of(&device, &check);
            }
        }
        println!("{device}: {cases} cases with tiles of up to 64 x 64");
        assert!(cases > 0, "{device}: {:?}", device.limits());
    }
}

#[test]
fn gpu_kernels() {
    let _turn = turn();
    for device in common::adapters() {
        // Its pipelines take as long to compile as all others together.
        let (long, others) = Kernel::ALL.iter().partition(|&&kernel| kernel == Kernel::Persistent);
        let check = |device: &Device, kernels: Vec<Kernel>| {
            let check = |&kernel| check_kernel(device, kernel, SHAPES, 2).expect("the device runs every kernel");
            kernels.iter().map(check).collect::<Vec<_>>()
        };
        let mut kernels: Vec<_> = common::at_once(&device, vec![others, long], check).into_iter().flatten().collect();
        kernels.sort_by_key(|check| Kernel::ALL.iter().position(|&kernel| kernel == check.kernel));
        assert!(kernels.iter().map(|check| check.kernel).eq(Kernel::ALL.iter().copied()));
        let check = KernelChecks { adapter: device.adapter(), kernels };
        report(&device, &check);
        assert_passed(&check);
    }
}

/// Eight workgroups a dimension: grids have to fold, those of more than 64 workgroups into several dispatches. And two, which are all that
/// the cases of the persistent kernel have.
#[test]
fn gpu_kernels_on_folded_grids() {
    let _turn = turn();
    let shapes = [[24, 17, 41], [17, 40, 24], [40, 20, 20], [33, 21, 13], [64, 50, 60]];
    let runs = [(8, &shapes[..]), (2, &shapes[..1])];
    for (device, (max_groups, shapes)) in
        common::adapters().into_iter().flat_map(|device| runs.map(|run| (device.clone(), run)))
    {
        let device = device.with_limits(Limits { max_groups, ..Limits::HOST });
        let mut cases = 0;
        for &kernel in Kernel::ALL.iter().filter(|&&kernel| kernel != Kernel::Persistent) {
            let check = check_kernel(&device, kernel, shapes, 3).expect("the device runs the kernel");
            cases += cases_of(&device, &check);
        }
        println!("{device}: {cases} cases on grids of {max_groups} a dimension");
        assert!(cases > 0, "{device}: {:?}", device.limits());
    }
}
