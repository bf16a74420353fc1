//! The form in which all state is saved, loaded and compared: sections of entries, each entry under the stable id of what it
//! belongs to. A section lies in three columns, so that an entry costs one append and no allocation.

use serde::{Deserialize, Deserializer, Serialize};
use wasm_engine_components::{AgentId, Lane};

use crate::codec::EntityKind;

/// All state of a world that isn't guests' memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldState {
    /// The engine's sections in their order, then those of authors by name.
    pub sections: Vec<Section>,
}

/// One kind of state: the values of a component, or a part of a resource, by stable id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Columns")]
pub struct Section {
    /// Its name: that of the component for the engine's own, and the registered one for authors'.
    pub component: String,
    /// The lane that digests it.
    pub lane: Lane,
    /// Kind of entity that its ids refer to.
    pub of: EntityKind,
    #[serde(serialize_with = "as_steps")]
    ids: Vec<u64>,
    /// End of each entry in `bytes`.
    #[serde(serialize_with = "as_steps")]
    ends: Vec<u64>,
    #[serde(serialize_with = "as_bytes")]
    bytes: Vec<u8>,
}

/// A section as it was read, before it is checked.
#[derive(Deserialize)]
struct Columns {
    component: String,
    lane: Lane,
    of: EntityKind,
    #[serde(deserialize_with = "from_steps")]
    ids: Vec<u64>,
    #[serde(deserialize_with = "from_steps")]
    ends: Vec<u64>,
    #[serde(deserialize_with = "from_bytes")]
    bytes: Vec<u8>,
}

impl TryFrom<Columns> for Section {
    type Error = &'static str;

    fn try_from(columns: Columns) -> Result<Self, &'static str> {
        let Columns { component, lane, of, ids, ends, bytes } = columns;
        let is_whole = ends.last().copied().unwrap_or(0) == bytes.len() as u64;
        if ids.len() != ends.len() || !ends.is_sorted() || !is_whole {
            return Err("a section's entries don't add up to its bytes");
        }
        Ok(Self { component, lane, of, ids, ends, bytes })
    }
}

fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    // Serialised as a list, each byte would go through serde by itself.
    serializer.serialize_bytes(bytes)
}

/// Serialises numbers as their differences, which are alike where ids or lengths are, so that they compress well.
fn as_steps<S: serde::Serializer>(numbers: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(8 * numbers.len());
    let mut last = 0;
    for &number in numbers {
        bytes.extend_from_slice(&number.wrapping_sub(last).to_le_bytes());
        last = number;
    }
    serializer.serialize_bytes(&bytes)
}

fn from_steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let bytes = from_bytes(deserializer)?;
    let (steps, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(serde::de::Error::custom("a column of numbers has a part of one"));
    }
    let mut last = 0_u64;
    let sum = |step: &[u8; 8]| {
        last = last.wrapping_add(u64::from_le_bytes(*step));
        last
    };
    Ok(steps.iter().map(sum).collect())
}

fn from_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;

    impl serde::de::Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }

    deserializer.deserialize_byte_buf(Bytes)
}

impl Section {
    /// Returns a section without entries.
    pub fn new(component: impl Into<String>, lane: Lane, of: EntityKind) -> Self {
        Self { component: component.into(), lane, of, ids: Vec::new(), ends: Vec::new(), bytes: Vec::new() }
    }

    /// Adds an entry, whose value `write` appends to the bytes that it is given.
    #[inline]
    pub fn push(&mut self, id: u64, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ids.push(id);
        self.ends.push(self.bytes.len() as u64);
    }

    /// Returns the number of entries.
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether it has no entries.
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the entries in their order: ids and values. An id may come several times in a row, for several parts in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        (0..self.ids.len()).map(|at| self.entry(at))
    }

    /// Returns the entry with that index: id and value.
    ///
    /// # Panics
    /// If there are fewer entries.
    pub fn entry(&self, index: usize) -> (u64, &[u8]) {
        // The bytes are in memory: their length fits.
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        (self.ids[index], &self.bytes[start..self.ends[index] as usize])
    }

    /// Returns the values under an id, in order.
    pub fn of(&self, id: u64) -> impl Iterator<Item = &[u8]> {
        let rank = self.rank(id);
        let start = self.ids.partition_point(|&other| self.rank(other) < rank);
        (start..self.ids.len())
            .map(|at| self.entry(at))
            .take_while(move |(other, _)| *other == id)
            .map(|(_, value)| value)
    }

    /// Returns what entries are ordered by: agents' ids have an order of their own.
    pub(super) fn rank(&self, id: u64) -> (AgentId, u64) {
        match self.of {
            EntityKind::Agent | EntityKind::Message => (AgentId(id), 0),
            _ => (AgentId(0), id),
        }
    }

    /// Returns whether the entries come in the order of their ids, each id once unless it may be `repeated`.
    pub(super) fn is_ordered(&self, repeated: bool) -> bool {
        self.ids.is_sorted_by(|&a, &b| self.rank(a) < self.rank(b) || (repeated && a == b))
    }

    /// Returns its size in memory, in bytes.
    pub const fn bytes(&self) -> usize {
        16 * self.ids.len() + self.bytes.len()
    }
}

impl WorldState {
    /// Returns the section of a component: the engine's, or else an author's.
    pub fn section(&self, component: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.component == component)
    }

    /// Returns the frame that runs next.
    pub fn frame(&self) -> Option<u64> {
        let (_, value) = self.section("FrameClock")?.entries().next()?;
        value.try_into().ok().map(u64::from_le_bytes)
    }

    /// Returns its size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.sections.iter().map(Section::bytes).sum()
    }
}
