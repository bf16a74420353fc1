//! The form of what a run has once: the number of the next frame, and the chain of digests.

use wasm_engine_components::{Digest, Lane};

use super::field::{Fields, Kind, U64};
use super::reader::Reader;
use super::sink::Sink;
use super::{EntityKind, StateCodec};

/// The number of the frame that runs next.
pub(crate) enum Clock {}

impl StateCodec for Clock {
    const NAME: &'static str = "FrameClock";
    const LANE: Lane = Lane::Inputs;
    const OF: EntityKind = EntityKind::World;
    const FIELDS: Fields = Fields::once(&[("frame", U64)]);

    type Value<'a> = u64;
    type Decoded<'a> = u64;

    fn encode(frame: u64, to: &mut impl Sink) {
        to.u64(frame);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<u64> {
        // The number of a frame is counted up, added to and shifted: it must be far from overflowing.
        from.u64().filter(|frame| *frame < 1 << 62)
    }
}

/// The digests of the last frame: of the world under the id 0, and of each group.
pub(crate) enum Chain {}

impl StateCodec for Chain {
    const NAME: &'static str = "DigestChain";
    const LANE: Lane = Lane::Groups;
    const OF: EntityKind = EntityKind::Group;
    const FIELDS: Fields = Fields::once(&[("digest", Kind::Digest)]);

    type Value<'a> = Digest;
    type Decoded<'a> = Digest;

    fn encode(digest: Digest, to: &mut impl Sink) {
        to.u128(digest.0);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Digest> {
        from.u128().map(Digest)
    }
}
