//! Ids of what an agent can address. Agents have numbers; topics, models and shared regions have the numbers of their names.

use core::cmp::Ordering;

use wasm_engine_abi::agent_id::{GENERATION_SHIFT, GROUP_MAX, GROUP_SHIFT};
use wasm_engine_abi::message::sender;

/// Id of an agent: its group, its ordinal in the group, and its generation, which is how many agents had the ordinal before. Some ids stand
/// for senders that aren't agents.
///
/// An ordinal is used again after its agent has ended; an id never is. Ids are ordered by group, then by ordinal, then by
/// generation, which isn't the order of their numbers.
///
/// ```
/// use wasm_engine_sdk::AgentId;
/// let third = AgentId::new(2, 3);
/// assert_eq!((third.group(), third.ordinal(), third.generation()), (2, 3, 0));
/// let after_it = AgentId::of_generation(2, 3, 1);
/// assert!(third < after_it && after_it < AgentId::new(2, 4) && after_it.0 > AgentId::new(2, 4).0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct AgentId(pub u64);

impl AgentId {
    /// The engine: the sender of results, bounces and parameters.
    pub const ENGINE: Self = Self(sender::ENGINE);
    /// The world outside: the sender of external events.
    pub const EXTERNAL: Self = Self(sender::EXTERNAL);
    /// The native systems of the simulation: the sender of their messages.
    pub const NATIVE: Self = Self(sender::NATIVE);

    /// Returns the id of the first agent with the `ordinal` (from 0) in the group `group` (from 1, in the order of the scenario file).
    pub const fn new(group: u32, ordinal: u32) -> Self {
        Self((group as u64) << GROUP_SHIFT | ordinal as u64)
    }

    /// Returns the id of the agent that has the `ordinal` in `group` after `generation` others.
    pub const fn of_generation(group: u32, ordinal: u32, generation: u32) -> Self {
        Self(Self::new(group, ordinal).0 | (generation as u64) << GENERATION_SHIFT)
    }

    /// Returns the number of the agent's group; 0 is the host.
    pub const fn group(self) -> u32 {
        (self.0 >> GROUP_SHIFT) as u32 & GROUP_MAX
    }

    /// Returns the agent's number in its group, from 0.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub const fn ordinal(self) -> u32 {
        self.0 as u32
    }

    /// Returns how many agents had the ordinal before.
    pub const fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// Returns the number by which ids are ordered: by group, then ordinal, then generation.
    const fn rank(self) -> u64 {
        self.0.rotate_left(u64::BITS - GENERATION_SHIFT)
    }
}

impl Ord for AgentId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for AgentId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Id of a topic: the number of its name. [`crate::topic!`] makes one at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TopicId(pub u64);

/// Id of a model: the number of its name. [`crate::model!`] makes one at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ModelId(pub u64);

/// Id of a shared region: the number of its name. [`crate::region!`] makes one at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RegionId(pub u64);

/// A name that is put together at run time. It holds only the number of the name, so it needs no memory for the text and no formatting code.
///
/// ```
/// use wasm_engine_sdk::{Name, topic};
/// assert_eq!(Name::new("desk-").number(17).topic(), topic!("desk-17"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(u64);

impl Name {
    /// Returns a name that begins with `text`.
    pub const fn new(text: &str) -> Self {
        Self(wasm_engine_abi::name_id(text))
    }

    /// Appends `text`.
    #[must_use]
    pub const fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self = self.byte(bytes[i]);
            i += 1;
        }
        self
    }

    /// Appends `number` in decimal.
    #[must_use]
    pub const fn number(mut self, number: u64) -> Self {
        let mut unit = 1;
        while number / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            self = self.byte(b'0' + (number / unit % 10) as u8);
            unit /= 10;
        }
        self
    }

    /// Returns the id of the topic with this name.
    pub const fn topic(self) -> TopicId {
        TopicId(self.0)
    }

    /// Returns the id of the model with this name.
    pub const fn model(self) -> ModelId {
        ModelId(self.0)
    }

    /// Returns the id of the shared region with this name.
    pub const fn region(self) -> RegionId {
        RegionId(self.0)
    }

    /// Appends a byte: one step of FNV-1a, as in [`wasm_engine_abi::name_id`].
    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_parts_has_the_number_of_the_whole() {
        for (parts, whole) in [
            (Name::new("a").number(0), "a0"),
            (Name::new("a").number(10).text("-b"), "a10-b"),
            (Name::new("").number(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(parts.topic().0, wasm_engine_abi::name_id(whole));
        }
    }

    #[test]
    fn an_id_is_generation_group_and_ordinal() {
        let id = AgentId::new(3, u32::MAX);
        assert_eq!((id.group(), id.ordinal(), id.generation(), id.0), (3, u32::MAX, 0, 0x3_ffff_ffff));
        let last = AgentId::of_generation(0xfff, 7, 0xf_ffff);
        assert_eq!((last.group(), last.ordinal(), last.generation()), (0xfff, 7, 0xf_ffff));
        assert_eq!([AgentId::ENGINE, AgentId::EXTERNAL, AgentId::NATIVE].map(AgentId::group), [0; 3]);
    }

    #[test]
    fn ids_are_ordered_by_group_then_ordinal_then_generation() {
        let id = AgentId::of_generation;
        assert!([id(1, 0, 0), id(1, 0, 9), id(1, 1, 0), id(1, u32::MAX, 0), id(2, 0, 0), id(999, 3, 1)].is_sorted());
    }
}
