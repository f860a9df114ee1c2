//! What once went wrong, and must not again.

#![cfg(feature = "blocking")]

mod common;

use std::time::Duration;

use common::nets::Numbers;
use wgrad::kernel::{Access, Element};
use wgrad::plan::{BufferId, Dropout, Emphasis, Format, Goal, Limits, Plan, PlanKind, Request, Source, Update};
use wgrad::verify::{DeviceRunner, Runner, check_kernels, lockstep};
use wgrad::{Activation, Cost, Dataset, Device, Error, Layer, Network, Result};

fn net(device: &Device) -> Network {
    let net = Network::new(2).dense(3, Activation::Tanh).dense(2, Activation::Sigmoid);
    net.build(device).expect("a network that can be")
}

fn plan(layers: &[Layer], source: Source, limits: Limits) -> Result<Plan> {
    let goal = Goal::Train;
    let (cost, update) = (Some(Cost::Quadratic), Update::default());
    Plan::new(
        PlanKind::Fused,
        &Request {
            held: None,
            layers,
            cost,
            goal,
            source,
            rows: 4,
            limits,
            update,
            dropout: Dropout::default(),
            emphasis: Emphasis::default(),
        },
    )
}

const SOURCE: Source = Source::Dataset { len: 8, inputs: Format::U8, targets: Format::Label };

#[test]
fn sizes_that_cannot_be_are_errors_of_the_planner() {
    let layers = net(&Device::cpu()).layers().to_vec();
    assert!(plan(&layers, SOURCE, Limits::HOST).is_ok());
    // These divided by zero, or overflowed.
    let none = Limits { max_groups: 0, ..Limits::HOST };
    assert!(matches!(plan(&layers, SOURCE, none), Err(Error::Limit { have: 0, .. })));
    for (inputs, targets) in [(Format::F32, Format::F32), (Format::U8, Format::Label)] {
        let source = |len| Source::Dataset { len, inputs, targets };
        assert!(matches!(plan(&layers, source(usize::MAX), Limits::HOST), Err(Error::Limit { .. })));
        assert!(matches!(plan(&layers, source(0), Limits::HOST), Err(Error::Empty { .. })));
    }
}

/// The fields of a layer are public, and kernels trust them.
#[test]
fn layers_that_no_network_has_are_refused() {
    let good = net(&Device::cpu()).layers().to_vec();
    let spoils: [fn(&mut Layer); 6] = [
        |layer| layer.inputs += 1,
        |layer| layer.outputs = 0,
        |layer| layer.w += 1,
        |layer| layer.b -= 1,
        |layer| layer.b = usize::MAX,
        |layer| layer.activation = Activation::Softmax,
    ];
    for spoil in spoils {
        let mut layers = good.clone();
        spoil(&mut layers[0]);
        assert!(matches!(plan(&layers, SOURCE, Limits::HOST), Err(Error::Architecture { .. })), "{layers:?}");
    }
}

#[test]
fn shapes_that_cannot_be_are_errors_of_the_self_check() {
    for shape in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1 << 16, 1 << 16, 1], [u32::MAX; 3]] {
        let check = check_kernels(&Device::cpu(), &[[1, 1, 1], shape], 1);
        assert!(matches!(check, Err(Error::InvalidOption { option: "shape", .. })), "{shape:?}");
    }
}

#[test]
fn more_threads_than_there_can_be_are_no_trouble() {
    let device = Device::cpu_with_threads(usize::MAX);
    let net = Network::new(150).dense(150, Activation::Tanh).build(&device).expect("a network");
    // Enough multiplications for a product on several threads.
    assert!(net.predict(&vec![0.5; 150 * 150]).is_ok());
}

/// Where the system says beforehand that there is not so much memory, that is an error and not the end of the process.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_on_the_cpu_is_an_error() {
    let exe = std::env::current_exe().expect("this program");
    let mut child = std::process::Command::new("sh");
    child.args(["-c", "ulimit -v 4000000 && exec \"$0\" \"$@\""]).arg(exe);
    let child = child.args(["--exact", "with_four_gigabytes", "--ignored", "--test-threads=1", "--nocapture"]);
    let output = child.output().expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "too_little_memory_on_the_cpu_is_an_error starts it"]
fn with_four_gigabytes() {
    let lacks = |result: Result<()>, least: u64| match result {
        Err(Error::OutOfMemory { what, bytes }) => assert!(bytes >= least && !what.is_empty(), "{what}: {bytes}"),
        other => panic!("{other:?}"),
    };
    let device = Device::cpu_with_threads(2);
    let large = Network::new(40_000).dense(50_000, Activation::Tanh).build(&device);
    lacks(large.map(drop), 8_000_000_000);
    // Its parameters fit, but not a mini-batch of its second layer.
    let mut net =
        Network::new(1).dense(50_000, Activation::Tanh).dense(1, Activation::Sigmoid).build(&device).expect("a net");
    let rows = 20_000;
    let data = Dataset::new(vec![0.5; rows], 1, vec![0.25; rows], 1).expect("data");
    let trainer = wgrad::Trainer::new(Cost::Quadratic, wgrad::Sgd::new(0.1)).batch_size(rows).epochs(1);
    lacks({ trainer }.fit(&mut net, &data, None).map(drop), 4_000_000_000);
    assert!(net.predict(&[0.5]).is_ok());
}

/// A worker of rayon that waits does other work of its pool meanwhile: it once asked for the network that it was computing with, and
/// waited for itself.
#[test]
fn one_network_answers_all_threads_of_a_rayon_pool() {
    use rayon::prelude::*;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let device = Device::cpu_with_threads(2);
        let net = Network::new(150).dense(150, Activation::Tanh).build(&device).expect("a network");
        let (x, y) = (Numbers(3).many(150 * 200), Numbers(4).many(150 * 200));
        let want = net.predict(&x).expect("outputs");
        let data = Dataset::new(x.clone(), 150, y, 150).expect("a data set");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
        let right = pool.install(|| {
            (0..200_usize).into_par_iter().all(|at| match at % 2 {
                0 => net.predict(&x).expect("outputs") == want,
                _ => net.evaluate(&data, Cost::Quadratic).expect("an evaluation").rows == 200,
            })
        });
        sender.send(right).expect("a listener");
    });
    let right = receiver.recv_timeout(Duration::from_secs(120)).expect("threads that do not wait for themselves");
    assert!(right, "other outputs than those of a thread alone");
}

// ---- plans and buffers that a caller has written ----------------------------------------------------------------

#[test]
fn a_plan_with_the_wrong_bindings_is_refused() {
    let layers = net(&Device::cpu()).layers().to_vec();
    for device in common::devices() {
        let good = plan(&layers, SOURCE, device.limits()).expect("a plan");
        assert!(DeviceRunner::new(&device, &good).is_ok());
        for at in 0..good.steps.len() {
            let spoils: [fn(&mut Plan, usize); 4] = [
                |plan, at| plan.steps[at].bindings.truncate(1),
                |plan, at| plan.steps[at].bindings[0] = BufferId(999),
                |plan, at| {
                    let step = &mut plan.steps[at];
                    let bindings = step.kernel.info().bindings;
                    let written = bindings.iter().position(|b| b.access != Access::In).expect("an output");
                    let other = (0..bindings.len()).find(|&i| i != written).expect("two buffers");
                    step.bindings[other] = step.bindings[written];
                },
                |plan, at| {
                    let id = plan.steps[at].bindings[0];
                    let other = match plan.buffers[id.0].element {
                        Element::F32 | Element::F32x4 => Element::U32,
                        Element::U32 => Element::F32,
                    };
                    plan.buffers[id.0].element = other;
                },
            ];
            for spoil in spoils {
                let mut plan = good.clone();
                spoil(&mut plan, at);
                let made = DeviceRunner::new(&device, &plan).map(|_| ());
                assert!(matches!(made, Err(Error::Shape { .. })), "{device}, step {at}: {made:?}");
            }
        }
        let mut runner = DeviceRunner::new(&device, &good).expect("the device takes the plan");
        assert!(matches!(runner.run(good.steps.len()), Err(Error::Shape { .. })));
        assert!(matches!(runner.write(BufferId(999), &[0]), Err(Error::Shape { .. })));
        assert!(matches!(pollster::block_on(runner.read(BufferId(999))), Err(Error::Shape { .. })));

        // A plan of another device, which this one does not allow.
        let foreign = plan(&layers, SOURCE, Limits::HOST).expect("a plan");
        let few = device.with_limits(Limits { max_storage_buffers: 4, ..Limits::HOST });
        let made = DeviceRunner::new(&few, &foreign).map(|_| ());
        if few.kind() != "cpu" {
            let said = matches!(&made, Err(Error::Limit { limit, need: 5.., have: 4, .. }) if limit.contains("storage_buffers"));
            assert!(said, "{few}: {made:?}");
        }
    }
}

/// A device whose readbacks are one word short.
struct Short(DeviceRunner);

impl Runner for Short {
    fn name(&self) -> String {
        "short".to_owned()
    }

    fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<()> {
        self.0.write(buffer, words)
    }

    fn run(&mut self, step: usize) -> Result<()> {
        self.0.run(step)
    }

    async fn read(&mut self, buffer: BufferId) -> Result<Vec<u32>> {
        let mut words = self.0.read(buffer).await?;
        words.pop();
        Ok(words)
    }
}

#[test]
fn lockstep_misses_words_that_are_not_there() {
    let plan = plan(net(&Device::cpu()).layers(), SOURCE, Limits::HOST).expect("a plan");
    let runner = || DeviceRunner::new(&Device::cpu(), &plan).expect("the device takes the plan");
    assert!(lockstep(&plan, &mut runner(), &mut runner(), 1, 1).is_ok());
    let short = lockstep(&plan, &mut runner(), &mut Short(runner()), 1, 1);
    assert!(matches!(short, Err(Error::Disagreement(_))), "{short:?}");
}

// ---- layers so wide that many rows of them are more than one buffer ----------------------------------------------

#[test]
fn rows_that_do_not_fit_at_once_are_predicted_and_evaluated_in_parts() {
    let (x, y) = (Numbers(1).many(2 * 2500), Numbers(2).many(2 * 2500));
    let data = Dataset::new(x.clone(), 2, y, 2).expect("a data set");
    for device in common::devices() {
        let (plenty, narrow) = (net(&device), Limits { max_binding_bytes: 4 * 3 * 7, ..Limits::HOST });
        // Seven rows of the widest layer; the parameters are 17 numbers.
        let few = net(&device.with_limits(narrow));
        let (a, b) = (few.predict(&x).expect("in parts"), plenty.predict(&x).expect("at once"));
        assert!(a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6));
        let all = plenty.evaluate(&data, Cost::Quadratic).expect("an evaluation");
        // The data set itself has to fit all the same.
        let part = data.slice(0..10).expect("ten rows");
        let ten = few.evaluate(&part, Cost::Quadratic).expect("in parts");
        let same = plenty.evaluate(&part, Cost::Quadratic).expect("at once");
        assert!((ten.cost - same.cost).abs() < 1e-6 && ten.rows == 10 && all.rows == 2500);
        assert!((ten.accuracy - same.accuracy).abs() < 1e-12);
    }
}
