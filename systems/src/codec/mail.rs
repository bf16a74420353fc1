//! The form of mailboxes, of the messages that wait in them, and of those that are on their way between two frames.

use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{Backlog, Lane, MailboxCounters, Recipient};

use super::field::{Field, Fields, Kind, U8, U32, U64};
use super::reader::Reader;
use super::sink::Sink;
use super::{EntityKind, StateCodec};

/// The fields of a message: its header and its payload.
const MESSAGE: [Field; 9] = [
    ("sender", Kind::Agent),
    ("topic", Kind::Name),
    ("correlation", U64),
    ("frame", U64),
    ("sequence", U32),
    ("kind", U32),
    ("status", U32),
    ("payload_bytes", U32),
    ("payload", Kind::Bytes),
];

/// The fields of a message with its address before it.
const ADDRESSED: [Field; 11] = [
    ("to.kind", U8),
    ("to.id", Kind::Name),
    MESSAGE[0],
    MESSAGE[1],
    MESSAGE[2],
    MESSAGE[3],
    MESSAGE[4],
    MESSAGE[5],
    MESSAGE[6],
    MESSAGE[7],
    MESSAGE[8],
];

fn header(from: &mut Reader<'_>) -> Option<MessageHeader> {
    bytemuck::try_pod_read_unaligned(from.take(size_of::<MessageHeader>())?).ok()
}

/// The messages that wait in backlogs, each once: a list, keyed by the index in it.
pub(crate) enum HeldMessages {}

impl StateCodec for HeldMessages {
    const NAME: &'static str = "HeldMessages";
    const LANE: Lane = Lane::Mailboxes;
    const OF: EntityKind = EntityKind::Place;
    const FIELDS: Fields = Fields::once(&MESSAGE);

    type Value<'a> = (&'a MessageHeader, &'a [u8]);
    type Decoded<'a> = (MessageHeader, &'a [u8]);

    fn encode((header, payload): Self::Value<'_>, to: &mut impl Sink) {
        to.put(bytemuck::bytes_of(header));
        to.put(payload);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self::Decoded<'a>> {
        let (header, payload) = (header(from)?, from.rest());
        (header.payload_bytes as usize == payload.len()).then_some((header, payload))
    }
}

/// The messages that wait in a mailbox: runs of indexes in the list of [`HeldMessages`], each as the first index and a count.
pub(crate) enum BacklogRuns {}

impl StateCodec for BacklogRuns {
    const NAME: &'static str = "Backlog";
    const LANE: Lane = Lane::Mailboxes;
    const OF: EntityKind = EntityKind::Agent;
    // A difference is shown by its messages, see `crate::state::compare`.
    const FIELDS: Fields = Fields::once(&MESSAGE);

    type Value<'a> = &'a [(u32, u32)];
    type Decoded<'a> = Vec<(u32, u32)>;

    fn encode(runs: Self::Value<'_>, to: &mut impl Sink) {
        for (first, count) in runs {
            to.u32(*first);
            to.u32(*count);
        }
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self::Decoded<'a>> {
        let mut runs = Vec::with_capacity(from.0.len() / 8);
        while !from.0.is_empty() {
            runs.push((from.u32()?, from.u32().filter(|count| *count > 0)?));
        }
        Some(runs)
    }
}

/// Returns the indexes of runs in a list of `length` entries; `None` if one of them isn't in it.
pub(crate) fn places(runs: Vec<(u32, u32)>, length: usize) -> Option<impl Iterator<Item = usize>> {
    let range = |(first, count): (u32, u32)| first as usize..first as usize + count as usize;
    let is_inside = runs.iter().all(|&run| range(run).end <= length);
    is_inside.then(|| runs.into_iter().flat_map(range))
}

/// The counters of mailboxes, and the messages that wait in them, which are represented by their digest. It depends on all of them and on their
/// order, so that a frame hashes a few bytes of each mailbox that changed, and not all that waits in it.
pub(crate) enum Mailboxes {}

/// A mailbox that isn't as it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailboxState {
    /// Number of messages that were dropped.
    pub dropped: u64,
    /// Number of messages that wait.
    pub waiting: u64,
    /// The digest of those in their order: [`Backlog::digest`].
    pub digest: u128,
}

impl MailboxState {
    /// Returns what is saved of a mailbox.
    #[inline]
    pub(crate) fn new(counters: &MailboxCounters, backlog: &Backlog) -> Self {
        Self { dropped: counters.dropped, waiting: backlog.len() as u64, digest: backlog.digest() }
    }

    /// Returns whether a mailbox is as it was made. Such a mailbox is neither saved nor digested.
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        self.dropped == 0 && self.waiting == 0
    }
}

impl StateCodec for Mailboxes {
    const NAME: &'static str = "MailboxState";
    const LANE: Lane = Lane::Mailboxes;
    const OF: EntityKind = EntityKind::Agent;
    const FIELDS: Fields = Fields::once(&[("dropped", U64), ("waiting", U64), ("digest", Kind::Digest)]);

    type Value<'a> = MailboxState;
    type Decoded<'a> = MailboxState;

    #[inline]
    fn encode(mailbox: MailboxState, to: &mut impl Sink) {
        to.u64(mailbox.dropped);
        to.u64(mailbox.waiting);
        to.u128(mailbox.digest);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<MailboxState> {
        let mailbox = MailboxState { dropped: from.u64()?, waiting: from.u64()?, digest: from.u128()? };
        (!mailbox.is_new()).then_some(mailbox)
    }
}

/// A message in a saved state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SavedMessage<'a> {
    /// Its recipient.
    pub to: Recipient,
    /// Its header. The length in that of a host's message is 0 until it is delivered.
    pub header: MessageHeader,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> SavedMessage<'a> {
    fn encode(&self, to: &mut impl Sink) {
        let (tag, id) = self.to.to_parts();
        to.u8(tag);
        to.u64(id);
        to.put(bytemuck::bytes_of(&self.header));
        to.put(self.payload);
    }

    pub(crate) fn decode(from: &mut Reader<'a>) -> Option<Self> {
        let (tag, id) = (from.u8()?, from.u64()?);
        let to = Recipient::from_parts(tag, id)?;
        Some(Self { to, header: header(from)?, payload: from.rest() })
    }
}

/// Messages that are delivered in the next frame: each kind has a section of its own.
macro_rules! messages {
    ($($(#[$doc:meta])* $codec:ident $name:literal of $of:ident in $lane:ident;)*) => {
        $(
            $(#[$doc])*
            pub(crate) enum $codec {}

            impl StateCodec for $codec {
                const NAME: &'static str = $name;
                const LANE: Lane = Lane::$lane;
                const OF: EntityKind = EntityKind::$of;
                const FIELDS: Fields = Fields::once(&ADDRESSED);

                type Value<'a> = SavedMessage<'a>;
                type Decoded<'a> = SavedMessage<'a>;

                fn encode(message: SavedMessage<'_>, to: &mut impl Sink) {
                    message.encode(to);
                }

                fn decode<'a>(from: &mut Reader<'a>) -> Option<SavedMessage<'a>> {
                    SavedMessage::decode(from)
                }
            }
        )*
    };
}

messages! {
    /// Those of agents.
    Messages "Messages" of Message in Outboxes;
    /// Bounces.
    Bounces "Bounces" of Place in HostMessages;
    /// Those of native systems.
    NativeMessages "NativeMessages" of Place in HostMessages;
}
