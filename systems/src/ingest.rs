//! Stage `Ingest`: the inputs of the frame are taken in, and digested. The only door into the world.

use bevy_ecs::system::{Res, ResMut};
use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::frame::EventTarget;
use wasm_engine_components::{ExternalEvent, FrameCounts, Lane, Recipient};

use crate::digest::{LaneSums, part_digest};
use crate::directory::Directory;
use crate::frame::{FrameClock, FrameReport, Inputs};
use crate::mailroom::Mailroom;

/// Turns external events into messages of the host that are delivered in this frame.
pub fn take_inputs(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut inputs: ResMut<Inputs>,
    mut report: ResMut<FrameReport>,
    mut mailroom: ResMut<Mailroom>,
    mut lanes: ResMut<LaneSums>,
) {
    report.counts = FrameCounts::default();
    lanes.inputs = 0;
    for (at, event) in std::mem::take(&mut inputs.0.events).into_iter().enumerate() {
        let sequence = u32::try_from(at).unwrap_or(u32::MAX);
        lanes.inputs = lanes.inputs.wrapping_add(event_digest(u64::from(sequence), &event));
        let recipient = match event.to {
            EventTarget::Agent(id) => directory.alive(id).map(Recipient::Agent),
            EventTarget::Topic(id) => directory.topic(id).map(Recipient::Topic),
            // Groups are far fewer than 2^32.
            EventTarget::Group(id) => directory.group_position(id).map(|at| Recipient::Group(at as u32)),
        };
        let Some(recipient) = recipient else {
            // The place of an agent that has ended may be given away in this very frame.
            let reason = match event.to {
                EventTarget::Agent(id) => directory.absence(id),
                EventTarget::Topic(_) => BounceReason::UnknownTopic,
                EventTarget::Group(_) => BounceReason::UnknownRecipient,
            };
            report.counts.drop_messages(reason, 1);
            continue;
        };
        let topic = match event.to {
            EventTarget::Agent(_) | EventTarget::Group(_) => 0,
            EventTarget::Topic(id) => id.0,
        };
        let status = match event.to {
            EventTarget::Group(_) => status::BROADCAST,
            _ => status::PLAIN,
        };
        let header = MessageHeader {
            sender: sender::EXTERNAL,
            topic,
            correlation: event.correlation,
            frame: clock.frame,
            sequence,
            kind: event.kind,
            status,
            payload_bytes: 0,
        };
        mailroom.events.push(recipient, header, event.payload);
    }
}

fn event_digest(sequence: u64, event: &ExternalEvent) -> u128 {
    let (tag, target) = match event.to {
        EventTarget::Agent(id) => (0_u8, id.0),
        EventTarget::Topic(id) => (1, id.0),
        EventTarget::Group(id) => (2, id.0.into()),
    };
    let mut bytes = Vec::with_capacity(21 + event.payload.len());
    bytes.push(tag);
    bytes.extend_from_slice(&target.to_le_bytes());
    bytes.extend_from_slice(&event.kind.to_le_bytes());
    bytes.extend_from_slice(&event.correlation.to_le_bytes());
    bytes.extend_from_slice(&event.payload);
    part_digest(Lane::Inputs, sequence, &bytes)
}
