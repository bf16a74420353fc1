//! All state of a simulation between two frames, as it is copied, saved, written to a snapshot and taken up again.

use wasm_engine_components::Digest;
use wasm_engine_systems::state::WorldState;
use wasm_engine_wasm::{GuestCapture, GuestCopy, GuestStateError, PageTracker};

/// All state of a simulation between two frames. `Guests` is what is known of the agents' memories: a [`GuestCopy`], made as fast as
/// it can be, or the [`GuestCapture`] that is made of it later and elsewhere: all of them, or what changed since the copy before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<Guests> {
    /// The number of the frame that runs next.
    pub frame: u64,
    /// The digest of the frame before, which chains all earlier ones; the seed's at the start.
    pub digest: Digest,
    /// All that isn't guests' state. Always whole.
    pub world: WorldState,
    /// The agents' memories.
    pub guests: Guests,
}

impl State<GuestCopy> {
    /// Finds what has changed in the guests. `tracker` has seen the copy before, if this one goes on from it.
    ///
    /// # Errors
    /// The tracker has seen another copy last.
    pub fn save(self, tracker: &mut PageTracker) -> Result<State<GuestCapture>, GuestStateError> {
        let Self { frame, digest, world, guests } = self;
        Ok(State { frame, digest, world, guests: guests.capture(tracker)? })
    }
}
