//! All state of a simulation between two frames, as it is copied, saved, written to a snapshot and restored.

use wasm_engine_components::Digest;
use wasm_engine_systems::state::WorldState;
use wasm_engine_wasm::{GuestCapture, GuestCopy, GuestStateError, PageTracker};

/// All state of a simulation between two frames. `Guests` holds the agents' memories: a [`GuestCopy`], which is made fast, between
/// two frames; or the [`GuestCapture`] that another thread makes from it: all memories, or what changed since the copy before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<Guests> {
    /// The number of the frame that runs next.
    pub frame: u64,
    /// The digest of the frame before, which chains all earlier ones; the seed's at the start.
    pub digest: Digest,
    /// All state of the world. Always complete.
    pub world: WorldState,
    /// The agents' memories.
    pub guests: Guests,
}

impl State<GuestCopy> {
    /// Finds what has changed in the guests since the copy that `tracker` has seen last.
    ///
    /// # Errors
    /// Fails if the tracker has seen another copy last.
    pub fn save(self, tracker: &mut PageTracker) -> Result<State<GuestCapture>, GuestStateError> {
        let Self { frame, digest, world, guests } = self;
        Ok(State { frame, digest, world, guests: guests.capture(tracker)? })
    }
}
