//! What goes wrong in a test, on its thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Op;

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// So many operations of a kind fail, from the nth on, counted from 0.
    Fails { op: Op, nth: usize, times: usize },
    /// The device is lost before the nth operation on it, of whatever kind; `noticed` if it says so at once.
    Lost { nth: usize, noticed: bool },
}

/// What goes wrong on this thread, and what has happened on it.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) faults: Vec<Fault>,
    pub(crate) counts: BTreeMap<Op, usize>,
    /// Operations on devices.
    pub(crate) on_devices: usize,
    /// How often a fault was injected.
    pub(crate) struck: usize,
    pub(crate) instances: Vec<wgpu::Instance>,
    pub(crate) report: Option<wgpu::Error>,
}

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
}

/// Starts a new script on this thread, and gives the old one back.
pub(crate) fn begin(script: Script) -> Script {
    SCRIPT.replace(script)
}

pub(crate) fn strikes(op: Op, device: Option<&wgpu::Device>) -> bool {
    let (fails, lost) = SCRIPT.with_borrow_mut(|script| {
        let count = script.counts.entry(op).or_default();
        let at = *count;
        *count += 1;
        let on_device = device.map(|_| script.on_devices);
        script.on_devices += usize::from(device.is_some());
        let (mut fails, mut lost) = (false, None);
        for fault in &script.faults {
            match *fault {
                Fault::Fails { op: of, nth, times } => {
                    fails |= of == op && (nth..nth.saturating_add(times)).contains(&at)
                }
                Fault::Lost { nth, noticed } if on_device == Some(nth) => lost = Some(noticed),
                Fault::Lost { .. } => {}
            }
        }
        script.struck += usize::from(fails) + usize::from(lost.is_some());
        let source = || "injected by a test".into();
        script.report = match op {
            Op::Buffer if fails => Some(wgpu::Error::OutOfMemory { source: source() }),
            Op::Pipeline if fails => {
                let description = "the driver cannot compile this".to_owned();
                Some(wgpu::Error::Internal { source: source(), description })
            }
            _ => script.report.take(),
        };
        (fails, lost)
    });
    if let (Some(device), Some(noticed)) = (device, lost) {
        device.destroy();
        if noticed {
            let _ = device.poll(wgpu::PollType::Poll);
        }
    }
    fails
}

pub(crate) fn report() -> Option<wgpu::Error> {
    SCRIPT.with_borrow_mut(|script| script.report.take())
}

pub(crate) fn made(instance: &wgpu::Instance) {
    SCRIPT.with_borrow_mut(|script| script.instances.push(instance.clone()));
}
