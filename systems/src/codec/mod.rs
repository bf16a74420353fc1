//! The form of each kind of state: its name, its lane of the digest, the kind of entity that it belongs to, and the bytes of its values.
//! All of it is pure functions of values; [`crate::state`] knows where a world has them.
//!
//! A value has one form. A snapshot holds its bytes, and the digest of a frame is made of their hashes, so that the two can't disagree.
//! Both get the bytes from [`StateCodec::encode`], which writes them into a [`Sink`]: a section that is saved, or a [`Hasher`].

mod agents;
mod field;
mod layout;
mod mail;
mod reader;
mod run;
mod sink;
mod time;
mod walk;
mod work;

use serde::{Deserialize, Serialize};
use wasm_engine_components::Lane;
use xxhash_rust::const_xxh3;

use crate::frame::FrameStage;

pub(crate) use agents::{GroupSlots, Places};
pub use field::FieldValue;
pub(crate) use field::Fields;
#[cfg(test)]
pub(crate) use field::U32;
pub use layout::FieldDifference;
pub(crate) use layout::{differing, fields, name_at};
pub(crate) use mail::{
    BacklogRuns, Bounces, HeldMessages, MailboxState, Mailboxes, Messages, NativeMessages, SavedMessage, places,
};
pub(crate) use reader::Reader;
pub(crate) use run::{Chain, Clock};
pub(crate) use sink::{Hasher, Sink};
pub(crate) use time::{
    AgentQueue, Cursor, Deferred, GroupDebts, NativeQueue, PendingRequests, Request, SwapQueue, TenantDebts, Timers,
};
pub(crate) use walk::fields as fields_of_authors;
pub(crate) use work::{AloneModel, AnsweringModels, Job, JobCounter, ModelsAlone, Modules};

/// Kind of entity that a section's ids refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntityKind {
    /// The world itself: one entry, of id 0.
    World,
    /// Agents.
    Agent,
    /// Groups; 0 for all of them together.
    Group,
    /// Tenants.
    Tenant,
    /// Topics.
    Topic,
    /// Shared regions.
    Region,
    /// Inference jobs.
    Job,
    /// Models.
    Model,
    /// Entities of authors.
    Native,
    /// Messages of agents, by their sender.
    Message,
    /// Entries of a queue, which have no ids: by their indexes from 0.
    Place,
}

/// The form of one kind of state.
pub(crate) trait StateCodec {
    /// Its name in snapshots and where differences are shown. It keys the hashes, too.
    const NAME: &'static str;
    /// The lane of the digest to which it belongs.
    const LANE: Lane;
    /// The stage of a frame in which to look first where it differs.
    const STAGE: FrameStage = stage_of(Self::LANE);
    /// Kind of entity that its ids refer to.
    const OF: EntityKind;
    /// The fields of a value.
    const FIELDS: Fields;

    /// A value, in the form in which it is encoded.
    type Value<'a>;
    /// A value, in the form in which it is decoded.
    type Decoded<'a>;

    /// Writes the bytes of a value.
    fn encode(value: Self::Value<'_>, to: &mut impl Sink);

    /// Reads a value; `None` for bytes that none has. Whoever calls it sees to it that no bytes are left.
    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self::Decoded<'a>>;
}

/// Returns the stage in which to look first where a lane differs: the one in which most of what it digests changes. Some of it changes in
/// others, too: a mailbox's backlog grows in `Step`, and `Commit` empties that of an agent that ends.
pub const fn stage_of(lane: Lane) -> FrameStage {
    match lane {
        Lane::Inputs => FrameStage::Ingest,
        Lane::Mailboxes => FrameStage::Deliver,
        Lane::Schedule => FrameStage::Schedule,
        Lane::Outboxes | Lane::Memories | Lane::Faults | Lane::Logs | Lane::Requests => FrameStage::Step,
        Lane::HostMessages | Lane::Commands | Lane::Groups => FrameStage::Collect,
        Lane::Inference => FrameStage::Infer,
        Lane::Agents | Lane::Topics | Lane::Native | Lane::Regions => FrameStage::Commit,
    }
}

/// Returns the hash of a value, as it is summed in its lane: that of the bytes that are saved, keyed by the state's name and the
/// stable id. It allocates nothing.
#[inline]
pub(crate) fn digest<C: StateCodec>(id: u64, value: C::Value<'_>) -> u128 {
    let mut hasher: Hasher = Hasher::new(seed(const { const_xxh3::xxh3_64(C::NAME.as_bytes()) }, id));
    C::encode(value, &mut hasher);
    hasher.finish()
}

/// Returns the same as [`digest`], by a hasher that is used for one value after another.
#[inline]
pub(crate) fn digest_with<C: StateCodec>(hasher: &mut Hasher, id: u64, value: C::Value<'_>) -> u128 {
    hasher.begin(seed(const { const_xxh3::xxh3_64(C::NAME.as_bytes()) }, id));
    C::encode(value, hasher);
    hasher.finish()
}

/// Returns the same as [`digest`], and is faster for values of at most `BYTES` bytes: those that are hashed one by one in the frames in which they
/// change.
#[inline]
pub(crate) fn digest_small<C: StateCodec, const BYTES: usize>(id: u64, value: C::Value<'_>) -> u128 {
    let mut hasher = Hasher::<BYTES>::new(seed(const { const_xxh3::xxh3_64(C::NAME.as_bytes()) }, id));
    C::encode(value, &mut hasher);
    hasher.finish()
}

/// Returns the seed of the hash of a value under an id. `domain` is the xxh3 of the state's name: the same bytes under the same id
/// have other hashes under another name.
#[inline]
pub(crate) const fn seed(domain: u64, id: u64) -> u64 {
    // An odd multiplier is a bijection of the ids, the domain then moves them apart.
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ domain
}
