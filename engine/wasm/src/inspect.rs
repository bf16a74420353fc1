//! Looks at one guest, between frames.

use std::fmt;

use wasm_engine_components::AgentSlot;

use super::{WasmRuntime, guest_index::GuestIndex, image::GlobalKind, shard::shard_of};

/// A mutable global of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestGlobal {
    /// Its index in the module.
    pub index: u32,
    /// Its value.
    pub value: GlobalBits,
}

/// Value of a global. Floats are bits, because a NaN may have many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalBits {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`.
    F32(u32),
    /// An `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
}

impl fmt::Display for GlobalBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::I32(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            // With the bits: a NaN has many, and two floats may look alike.
            Self::F32(bits) => write!(f, "{} ({bits:#010x})", f32::from_bits(bits)),
            Self::F64(bits) => write!(f, "{} ({bits:#018x})", f64::from_bits(bits)),
            Self::V128(bits) => write!(f, "{bits:#034x}"),
        }
    }
}

impl GlobalBits {
    /// Returns the bytes of the value, the lowest first.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::I32(value) => value.to_le_bytes().to_vec(),
            Self::F32(bits) => bits.to_le_bytes().to_vec(),
            Self::I64(value) => value.to_le_bytes().to_vec(),
            Self::F64(bits) => bits.to_le_bytes().to_vec(),
            Self::V128(bits) => bits.to_le_bytes().to_vec(),
        }
    }
}

impl WasmRuntime {
    /// Returns the number of slots: one for each agent that there may be.
    pub fn slots(&self) -> u32 {
        self.shards.last().map_or(0, |shard| (shard.first_slot + shard.agents_max).0)
    }

    /// Returns whether the instance in a slot was called since it was made, or made as new; `None` where there is none yet.
    pub fn used(&self, slot: AgentSlot) -> Option<bool> {
        let (shard, guest) = self.find(slot)?;
        Some(self.shards[shard].guests.marks(guest).used)
    }

    /// Returns the memory of the instance in a slot; `None` where there is none yet.
    pub fn memory(&self, slot: AgentSlot) -> Option<Vec<u8>> {
        let (shard, guest) = self.find(slot)?;
        Some(self.shards[shard].guests.memory(guest).bytes().to_vec())
    }

    /// Returns the size of the memory of the instance in a slot, in bytes; 0 where there is none yet.
    pub fn memory_bytes(&self, slot: AgentSlot) -> u64 {
        self.find(slot).map_or(0, |(shard, guest)| self.shards[shard].guests.memory(guest).bytes().len() as u64)
    }

    /// Returns the mutable globals of the instance in a slot, in the order of the module; `None` where there is none yet.
    pub fn globals(&mut self, slot: AgentSlot) -> Option<Vec<GuestGlobal>> {
        let (shard, guest) = self.find(slot)?;
        let guests = &mut self.shards[shard].guests;
        let mut words = Vec::new();
        guests.read_globals(guest, &mut words);
        let mut words = words.into_iter();
        let mut next = || words.next().unwrap_or(0);
        let globals = guests.program().template.state().globals().map(|(index, kind)| {
            let value = match kind {
                GlobalKind::I32 => GlobalBits::I32((next() as u32).cast_signed()),
                GlobalKind::I64 => GlobalBits::I64(next().cast_signed()),
                GlobalKind::F32 => GlobalBits::F32(next() as u32),
                GlobalKind::F64 => GlobalBits::F64(next()),
                GlobalKind::V128 => GlobalBits::V128(u128::from(next()) | u128::from(next()) << 64),
            };
            GuestGlobal { index, value }
        });
        Some(globals.collect())
    }

    /// Returns the index of a slot's shard, and the index of its instance there.
    fn find(&self, slot: AgentSlot) -> Option<(usize, GuestIndex)> {
        let (shard, guest) = shard_of(&self.shards, slot)?;
        (guest.index() < self.shards[shard].guests.len()).then_some((shard, guest))
    }
}
