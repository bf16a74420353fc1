//! Stage `Ingest`: the inputs of the frame are taken in and digested. Nothing else enters the world.

use bevy_ecs::system::{Res, ResMut};
use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::{ExternalEvent, FrameCounts, Lane, Recipient, RecipientSlot};

use crate::frame::{FrameClock, FrameReport, Inputs};
use crate::world::digest::{LaneSums, part_digest};
use crate::world::directory::Directory;
use crate::world::mailroom::{AddressedEvent, Mailroom};
use crate::world::requests::Requests;

/// Begins the frame's counts, and digests its external events.
pub(crate) fn take_inputs(inputs: Res<Inputs>, mut report: ResMut<FrameReport>, mut lanes: ResMut<LaneSums>) {
    report.counts = FrameCounts::default();
    let digests = inputs.0.events.iter().zip(0..).map(|(event, sequence)| event_digest(sequence, event));
    lanes.inputs = digests.fold(0, u128::wrapping_add);
}

/// Finds the recipients of external events, which are delivered in this frame. Their payloads stay in the inputs.
/// It runs after the frame's commands have taken effect, so that an event finds the same agents wherever its line stands among those of commands.
pub(crate) fn address_events(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    inputs: Res<Inputs>,
    mut report: ResMut<FrameReport>,
    mut mailroom: ResMut<Mailroom>,
) {
    for (event, index) in inputs.0.events.iter().zip(0_u32..) {
        let recipient = match recipient(&directory, event.to) {
            Ok(recipient) => recipient,
            Err(reason) => {
                report.counts.drop_messages(reason, 1);
                report.counts.events_lost += 1;
                continue;
            }
        };
        let (topic, status) = match event.to {
            Recipient::Agent(_) => (0, status::PLAIN),
            Recipient::Topic(id) => (id.0, status::PLAIN),
            Recipient::Group(_) => (0, status::BROADCAST),
        };
        let header = MessageHeader {
            sender: sender::EXTERNAL,
            topic,
            correlation: event.correlation,
            frame: clock.frame,
            sequence: index,
            kind: event.kind,
            status,
            payload_bytes: 0,
        };
        mailroom.events.push(AddressedEvent { recipient, header, index });
    }
}

/// Gives up requests whose deadline is this frame, and tells those who asked.
pub(crate) fn expire_requests(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut requests: ResMut<Requests>,
    mut mailroom: ResMut<Mailroom>,
) {
    while let Some((from, request)) = requests.expire(clock.frame) {
        mailroom.bounces.time_out(&directory, from, (request.to.0, request.correlation), clock.frame);
    }
}

/// Returns the recipient of an event, or why there is none.
fn recipient(directory: &Directory, to: Recipient) -> Result<RecipientSlot, BounceReason> {
    match to {
        Recipient::Agent(id) => directory.alive(id).map(Recipient::Agent).ok_or_else(|| directory.absence(id)),
        Recipient::Topic(id) => directory.topic(id).map(Recipient::Topic).ok_or(BounceReason::UnknownTopic),
        Recipient::Group(id) => directory.group_index(id).map(Recipient::Group).ok_or(BounceReason::UnknownRecipient),
    }
}

fn event_digest(sequence: u64, event: &ExternalEvent) -> u128 {
    let (tag, target) = event.to.to_parts();
    let mut bytes = Vec::with_capacity(21 + event.payload.len());
    bytes.push(tag);
    bytes.extend_from_slice(&target.to_le_bytes());
    bytes.extend_from_slice(&event.kind.to_le_bytes());
    bytes.extend_from_slice(&event.correlation.to_le_bytes());
    bytes.extend_from_slice(&event.payload);
    part_digest(Lane::Inputs, sequence, &bytes)
}
