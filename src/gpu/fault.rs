//! The seam at which tests make the device fail: every operation of a kind that can fail passes through here, is counted, and
//! fails where a test asked for it. Outside tests all of it is nothing.
//!
//! What fails is real wherever wgpu can be brought to it: a device is lost by `Device::destroy`; requests ask for what no adapter
//! has; commands use a buffer that was destroyed; a copy is unmapped before it is looked at. What no device without faults does (no
//! memory, a driver that cannot compile) is reported as wgpu would, by the error scope around the call.

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Op {
    /// The adapters are listed.
    Adapter,
    /// An adapter is asked for a device.
    Device,
    /// A buffer is made.
    Buffer,
    /// A pipeline is made.
    Pipeline,
    /// Bytes are handed to a buffer; where that fails they do not arrive, and nothing says so.
    Write,
    /// Commands are handed to the queue.
    Submission,
    /// A copy is to be mapped.
    Mapping,
    /// A mapped copy is looked at.
    Readback,
    /// The device is to say when something is done.
    Answer,
    /// The device is asked for news, for the first time in a wait.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there, the event loop asks"))]
    Poll,
}

#[cfg(test)]
pub(crate) use script::{Fault, Script, begin};
pub(super) use script::{made, report, strikes};

#[cfg(test)]
mod script;
#[cfg(not(test))]
mod script {
    use super::Op;

    /// Whether this operation fails.
    pub(crate) const fn strikes(_: Op, _: Option<&wgpu::Device>) -> bool {
        false
    }

    /// What the error scope around the last operation has to report.
    pub(crate) const fn report() -> Option<wgpu::Error> {
        None
    }

    /// An instance was made.
    pub(crate) const fn made(_: &wgpu::Instance) {}
}
