//! Whom and what an agent can address: agents by number, topics, models and shared regions by the number of their name.

use wasm_engine_abi::message::sender;

/// An agent's number: its group in the upper 32 bits, its ordinal in the lower. Also names senders that aren't agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct AgentId(pub u64);

impl AgentId {
    /// The engine: the sender of results, bounces and parameters.
    pub const ENGINE: Self = Self(sender::ENGINE);
    /// The world outside: the sender of external events.
    pub const EXTERNAL: Self = Self(sender::EXTERNAL);
    /// The simulation's native systems, as a sender.
    pub const NATIVE: Self = Self(sender::NATIVE);

    /// The agent `ordinal` (from 0) of the group `group` (from 1, in the order of the scenario file).
    pub const fn new(group: u32, ordinal: u32) -> Self {
        Self((group as u64) << 32 | ordinal as u64)
    }

    /// Its group; 0 is the host.
    pub const fn group(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Its number in the group.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub const fn ordinal(self) -> u32 {
        self.0 as u32
    }
}

/// The number of a topic's name. [`crate::topic!`] makes one at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TopicId(pub u64);

/// The number of a model's name. [`crate::model!`] makes one at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ModelId(pub u64);

/// The number of a shared region's name. [`crate::region!`] makes one at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RegionId(pub u64);

/// A name that is put together at run time, without memory for it and without formatting code.
///
/// ```
/// use wasm_engine_sdk::{Name, topic};
/// assert_eq!(Name::new("desk-").number(17).topic(), topic!("desk-17"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(u64);

impl Name {
    /// Starts with `text`.
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

    /// The topic of that name.
    pub const fn topic(self) -> TopicId {
        TopicId(self.0)
    }

    /// The model of that name.
    pub const fn model(self) -> ModelId {
        ModelId(self.0)
    }

    /// The shared region of that name.
    pub const fn region(self) -> RegionId {
        RegionId(self.0)
    }

    /// One step of FNV-1a, as in [`wasm_engine_abi::name_id`].
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
    fn an_id_is_group_and_ordinal() {
        let id = AgentId::new(3, u32::MAX);
        assert_eq!((id.group(), id.ordinal(), id.0), (3, u32::MAX, 0x3_ffff_ffff));
    }
}
