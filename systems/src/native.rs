//! What authors add: components of their own that count as state, and messages from their systems.

use bevy_app::App;
use bevy_ecs::component::Component;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::schedule::SystemSet;
use bevy_ecs::system::{Query, ResMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_engine_abi::{MessageHeader, message::sender};
use wasm_engine_components::{Lane, Recipient, StableId};
use xxhash_rust::xxh3::xxh3_64;

use crate::digest::{LaneSums, part_digest};
use crate::frame::{Frame, FrameStage};
use crate::mailroom::HostMessages;

/// The systems that digest authors' components. They add to one sum, so their order doesn't matter.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NativeDigests;

/// Registers what belongs to a simulation's state.
pub trait RegisterState {
    /// Registers a component of authors' entities as state: it is part of every frame's digest.
    ///
    /// Each entity that has it needs a [`StableId`], unique among those that have it. The component is digested in its serde
    /// form, so two values are equal in the digest if they serialise alike; `name` keys it, and must not change between runs
    /// that are compared.
    fn register_state<T: Component + Serialize + DeserializeOwned>(&mut self, name: &'static str) -> &mut Self;
}

impl RegisterState for App {
    fn register_state<T: Component + Serialize + DeserializeOwned>(&mut self, name: &'static str) -> &mut Self {
        let digest = move |mut lanes: ResMut<'_, LaneSums>, parts: Query<'_, '_, (&StableId, &T)>| {
            let domain = xxh3_64(name.as_bytes()).to_le_bytes().to_vec();
            for (id, part) in &parts {
                // postcard writes into a vector that grows: only a component whose own serialisation fails can fail here.
                let bytes = postcard::to_extend(part, domain.clone())
                    .expect("a component that is registered as state can be serialised");
                lanes.native = lanes.native.wrapping_add(part_digest(Lane::Native, id.0, &bytes));
            }
        };
        self.add_systems(Frame, digest.in_set(NativeDigests).in_set(FrameStage::Seal).ambiguous_with(NativeDigests))
    }
}

/// Forgets the last frame's sum.
pub fn clear_native_lane(mut lanes: ResMut<'_, LaneSums>) {
    lanes.native = 0;
}

impl HostMessages {
    /// Sends a message from a native system; it is delivered in the next frame. `to` is an agent's position in
    /// [`crate::directory::Directory`], or a topic's. Payloads longer than 1 MiB are cut.
    pub fn send_native(&mut self, to: Recipient, topic: u64, kind: u32, frame: u64, payload: &[u8]) {
        let most = wasm_engine_components::limits::PAYLOAD_BYTES_MAX as usize;
        let payload = &payload[..payload.len().min(most)];
        let header = MessageHeader {
            sender: sender::NATIVE,
            topic,
            frame,
            sequence: u32::try_from(self.0.len()).unwrap_or(u32::MAX),
            kind: kind & !wasm_engine_abi::kind::RESERVED,
            ..MessageHeader::default()
        };
        self.push(to, header, payload.to_vec());
    }
}
