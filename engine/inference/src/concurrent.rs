//! Runs of one session on several threads at once, for [`super::binding`].

use ort::AsPointer as _;
use ort::session::{IoBinding, RunOptions, Session};

/// Runs a session with a binding. `ort` demands exclusive access to the session, because some execution providers aren't safe to use from
/// several threads at once. ONNX Runtime's CPU provider is, and sessions here have no other. So the batches of one model run side by
/// side without a copy of its weights for each thread.
pub(super) fn run(session: &Session, binding: &mut IoBinding, options: &RunOptions) -> ort::Result<()> {
    // SAFETY: the function is the loaded library's and has this type in every version that it may be. The three pointers live through
    // the call. ONNX Runtime's `Run` may be called on a session from several threads: kernels of the CPU provider, the only device that
    // sessions are given (`super::session`), have no state, and the arena that they share has a lock. The binding is this call's own,
    // and so are the tensors that are bound to it: whoever has the one has the others.
    unsafe {
        let status = (ort::api().RunWithBinding)(session.ptr().cast_mut(), options.ptr(), binding.ptr());
        ort::Error::result_from_status(status)
    }
}
