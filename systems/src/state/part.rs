//! A part of the state: one kind of state, and where a world has its values. Its form is its [`StateCodec`]; here is how the values are
//! collected, put back, and covered by the digest.

use bevy_ecs::component::ComponentId;
use bevy_ecs::world::World;
use wasm_engine_components::Lane;

use super::entity::StateError;
use super::pass::{Loading, Saving};
use super::section::Section;
use crate::codec::{EntityKind, Fields, Hasher, StateCodec, digest_with};
use crate::frame::FrameStage;

/// Coverage of a part of the state by the digest of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coverage {
    /// Its values are hashed in each frame. That is right if there are few, and if they change all the time.
    EachFrame,
    /// The sum of its hashes is carried from frame to frame, and corrected by the systems that write a value: a value that isn't written costs
    /// nothing. This finds the sum.
    Carried(fn(&Saving<'_>) -> u128),
    /// Its hashes are in the carried sum of the part with that name.
    CarriedWith(&'static str),
    /// Its digest is a field of the values of the part with that name.
    FieldOf(&'static str),
    /// Its messages were written by agents in this frame, whose outboxes are digested as they are.
    Outboxes,
    /// It is what the digests of frames are chained by.
    Chain,
}

impl Coverage {
    /// Returns the name of the part that has its digest.
    pub(super) const fn carrier(self) -> Option<&'static str> {
        match self {
            Self::CarriedWith(name) | Self::FieldOf(name) => Some(name),
            Self::EachFrame | Self::Carried(_) | Self::Outboxes | Self::Chain => None,
        }
    }
}

/// A part of the state. Whoever adds one implements this, and adds it to [`PARTS`](super::parts::PARTS): it is then saved, loaded,
/// digested, compared and shown.
pub(super) trait StatePart: StateCodec {
    /// Coverage by the digest.
    const COVERAGE: Coverage = Coverage::EachFrame;
    /// Whether an id may have several values, in order.
    const IS_REPEATED: bool = false;

    /// Returns the components of simulated entities that it saves.
    fn components(_: &mut World) -> Vec<ComponentId> {
        Vec::new()
    }

    /// Hands over all values of a world, by ascending ids where `T::IS_ORDERED`.
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T);

    /// Puts the values of a section into a world.
    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError>;

    /// Makes what is derived from its values, once all parts are loaded: carried sums above all.
    fn finish(_: &mut Loading<'_>) {}
}

/// Takes the values of a part.
pub(super) trait Target<C: StateCodec + ?Sized> {
    /// Whether the order of the values counts.
    const IS_ORDERED: bool;

    /// Takes the value under an id.
    fn put(&mut self, id: u64, value: C::Value<'_>);
}

impl<C: StateCodec> Target<C> for Section {
    const IS_ORDERED: bool = true;

    #[inline]
    fn put(&mut self, id: u64, value: C::Value<'_>) {
        self.push(id, |bytes| C::encode(value, bytes));
    }
}

/// The sum of the values' hashes. They share a hasher, whose buffer is cleared once and not for each value.
struct Sum {
    sum: u128,
    hasher: Hasher,
}

impl<C: StateCodec> Target<C> for Sum {
    const IS_ORDERED: bool = false;

    #[inline]
    fn put(&mut self, id: u64, value: C::Value<'_>) {
        self.sum = self.sum.wrapping_add(digest_with::<C>(&mut self.hasher, id, value));
    }
}

/// A row of the table of all parts.
pub(super) struct Part {
    pub name: &'static str,
    pub lane: Lane,
    pub stage: FrameStage,
    pub of: EntityKind,
    pub fields: Fields,
    pub coverage: Coverage,
    pub is_repeated: bool,
    pub components: fn(&mut World) -> Vec<ComponentId>,
    pub save: fn(&mut Saving<'_>, &mut Section),
    pub load: fn(&mut Loading<'_>, &Section) -> Result<(), StateError>,
    pub finish: fn(&mut Loading<'_>),
    hash: fn(&mut Saving<'_>) -> u128,
}

impl Part {
    /// Returns the row of a part.
    pub(super) const fn of<P: StatePart>() -> Self {
        Self {
            name: P::NAME,
            lane: P::LANE,
            stage: P::STAGE,
            of: P::OF,
            fields: P::FIELDS,
            coverage: P::COVERAGE,
            is_repeated: P::IS_REPEATED,
            components: P::components,
            save: save::<P>,
            load: P::load,
            finish: P::finish,
            hash: hash::<P>,
        }
    }

    /// Returns what the part adds to its lane.
    pub(super) fn sum(&self, saving: &mut Saving<'_>) -> u128 {
        match self.coverage {
            Coverage::EachFrame => (self.hash)(saving),
            Coverage::Carried(sum) => sum(saving),
            Coverage::CarriedWith(_) | Coverage::FieldOf(_) | Coverage::Outboxes | Coverage::Chain => 0,
        }
    }

    /// Returns whether its lane is the sum of its values' hashes, and of other parts'.
    pub(super) const fn is_hashed(&self) -> bool {
        matches!(self.coverage, Coverage::EachFrame | Coverage::Carried(_) | Coverage::CarriedWith(_))
    }
}

fn save<P: StatePart>(saving: &mut Saving<'_>, section: &mut Section) {
    P::save(saving, section);
}

fn hash<P: StatePart>(saving: &mut Saving<'_>) -> u128 {
    let mut sum = Sum { sum: 0, hasher: Hasher::new(0) };
    P::save(saving, &mut sum);
    sum.sum
}
