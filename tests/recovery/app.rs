//! The application whose device is lost, and a run that has all that a run can have.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollster::block_on;
use wgrad::plan::PlanKind;
use wgrad::{
    Activation, Adam, Cost, Dataset, Device, EarlyStopping, History, Metric, Network, Plateau, Recovery, Schedule,
    Span, Trainer, wgpu,
};

use super::common::nets::Numbers;

/// An application that makes devices, and can destroy the last.
#[derive(Clone)]
pub(super) struct App {
    adapter: wgpu::Adapter,
    made: Arc<Mutex<Vec<wgpu::Device>>>,
}

impl App {
    pub(super) fn new(like: &Device) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let named =
            |info: &wgpu::AdapterInfo| like.adapter().starts_with(&format!("{} ({}, ", info.name, info.backend));
        let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = adapters.into_iter().find(|adapter| named(&adapter.get_info())).expect("the adapter again");
        Self { adapter, made: Arc::default() }
    }

    pub(super) fn device(&self) -> Device {
        let required_limits = self.adapter.limits();
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = block_on(self.adapter.request_device(&descriptor)).expect("a device");
        device.on_uncaptured_error(Arc::new(|error: wgpu::Error| panic!("the application got {error}")));
        self.made.lock().expect("devices").push(device.clone());
        Device::from_wgpu(device, queue, self.adapter.get_info())
    }

    pub(super) fn destroy(&self) {
        self.made.lock().expect("devices").last().expect("a device").destroy();
    }

    pub(super) fn devices(&self) -> usize {
        self.made.lock().expect("devices").len()
    }

    /// Keeps the state after every submission, and takes the application's next device.
    pub(super) fn recovery(&self) -> Recovery {
        let app = self.clone();
        let recovery = Recovery::default().every(Duration::ZERO).pause(Duration::ZERO);
        recovery.device_from(move || std::future::ready(Ok(app.device())))
    }
}

/// Rows, and so few in a mini-batch that the last one of an epoch is short.
pub(super) const ROWS: usize = 23;
pub(super) const EPOCHS: usize = 3;

pub(super) fn data(seed: u64) -> Dataset {
    let mut numbers = Numbers(seed);
    let x = numbers.many(ROWS * 5);
    let labels = (0..ROWS).map(|_| numbers.below(3)).collect();
    Dataset::with_labels(x, 5, labels, 3).expect("data")
}

pub(super) fn net(device: &Device, kind: PlanKind) -> Network {
    let net = Network::new(5).dense(7, Activation::Tanh);
    // The persistent plan has no dropout.
    let net = if kind == PlanKind::Persistent { net } else { net.dropout(0.3) };
    net.dense(3, Activation::Sigmoid).plan(kind).seed(3).build(device).expect("a small net")
}

/// With everything on whose state a run could hang, and that needs no test rows.
pub(super) fn trainer_watching(metric: Metric) -> Trainer<'static> {
    Trainer::new(Cost::BinaryCrossEntropy, Adam::new(0.01))
        .batch_size(4)
        .epochs(EPOCHS)
        .seed(11)
        .schedule(Schedule::cosine(Span::Run(1.0)).warm_up(Span::Steps(4)))
        .label_smoothing(0.1)
        .plateau(Plateau::new(1).metric(metric).min_change(0.05).by(0.5, 0.01))
}

/// The same, with what test rows decide.
pub(super) fn trainer() -> Trainer<'static> {
    trainer_watching(Metric::TestCost)
        .early_stopping(EarlyStopping::new(4).metric(Metric::TestAccuracy))
        .keep_best(Metric::TestAccuracy)
}

pub(super) fn timeless(mut history: History) -> History {
    for report in &mut history.epochs {
        (report.seconds, report.steps_per_second) = (0.0, 0.0);
    }
    history
}
