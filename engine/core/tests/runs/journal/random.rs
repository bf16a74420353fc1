//! Random frames come back as they were, and in whichever goes they were written.

use proptest::collection::vec;
use proptest::prelude::*;
use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{
    Action, AgentId, Digest, EventCounts, ExternalEvent, FrameInputs, GroupId, Lanes, LifecycleAction, ModelId,
    ModelNotice, ModelNoticeKind, ModelResults, Recipient, TopicId,
};
use wasm_engine_core::journal::{Journal, JournalFrame, JournalOptions, JournalWriter};

use super::{RUN, SUMMARY, append, files, last_digest, read};
use crate::folder_in_memory;

/// Few values, so that one frame is often like the other.
fn digest() -> impl Strategy<Value = Digest> {
    prop_oneof![3 => Just(Digest(0)), 3 => (0..3_u128).prop_map(Digest), 1 => any::<u128>().prop_map(Digest)]
}

fn inputs() -> impl Strategy<Value = FrameInputs> {
    let target = (0..3_u8, 0..4_u32, any::<u16>()).prop_map(|(sort, group, ordinal)| match sort {
        0 => Recipient::Agent(AgentId::new(GroupId(group), u32::from(ordinal))),
        1 => Recipient::Topic(TopicId(u64::from(group))),
        _ => Recipient::Group(GroupId(group)),
    });
    let event = (target, any::<u32>(), any::<u64>(), vec(any::<u8>(), 0..40))
        .prop_map(|(to, kind, correlation, payload)| ExternalEvent { to, kind, correlation, payload });
    let action = prop_oneof![
        (0..4_u32, any::<u32>(), vec(any::<u8>(), 0..40)).prop_map(|(group, kind, payload)| Action::Spawn {
            group: GroupId(group),
            kind,
            payload
        }),
        (0..4_u32, 0..9_u32)
            .prop_map(|(group, n)| Action::Agent(AgentId::new(GroupId(group), n), LifecycleAction::Pause)),
    ];
    (vec(event, 0..3), vec(action, 0..3)).prop_map(|(events, commands)| FrameInputs {
        events,
        commands,
        ..FrameInputs::default()
    })
}

fn frame() -> impl Strategy<Value = JournalFrame> {
    let row = (prop::sample::select(InferenceStatus::ALL.to_vec()), vec(any::<u8>(), 0..300));
    let notice = (any::<u64>(), prop::sample::select(ModelNoticeKind::ALL.to_vec()), any::<u32>(), "[a-zé]{0,9}")
        .prop_map(|(model, kind, rows, reason)| ModelNotice { model: ModelId(model), kind, rows, reason });
    let native = vec((prop::sample::select(vec!["", "a", "é", "a longer name"]), digest()), 0..4)
        .prop_map(|native| native.into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect());
    let inputs = prop_oneof![3 => Just(FrameInputs::default()), 1 => inputs()];
    let counts = (prop_oneof![2 => Just(0), 1 => any::<u64>()], prop_oneof![2 => Just(0), 1 => 0..9_u64])
        .prop_map(|(delivered, disabled)| EventCounts { delivered, disabled });
    let lanes = prop::array::uniform16(digest()).prop_map(Lanes);
    (inputs, vec(row, 0..3), vec(notice, 0..2), digest(), lanes, native, counts).prop_map(
        |(inputs, rows, notices, digest, lanes, native, counts)| {
            let mut inference = ModelResults { notices, ..ModelResults::default() };
            rows.iter().for_each(|(status, output): &(_, Vec<u8>)| inference.push(*status, output));
            let inputs = FrameInputs { counts, ..inputs };
            JournalFrame { frame: 0, inputs, inference, digest, lanes, native }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_back(
        mut frames in vec(frame(), 1..24),
        first_frame in prop_oneof![Just(0), 0..200_u64, Just(1 << 48)],
        segment_bytes_max in 0..4_000_u32,
        stop in any::<prop::sample::Index>(),
        ended in any::<bool>(),
    ) {
        for (frame, number) in frames.iter_mut().zip(first_frame..) {
            frame.frame = number;
        }
        let folder = folder_in_memory();
        let options = JournalOptions { first_frame, segment_bytes_max };
        let (once, twice) = (folder.path().join("once"), folder.path().join("twice"));
        let mut writer = JournalWriter::create_with(&once, RUN, options).unwrap();
        append(&mut writer, &frames);
        writer.end(last_digest(&frames), SUMMARY).unwrap();
        let journal = Journal::open(&once, RUN).unwrap();
        prop_assert_eq!(&read(&journal).unwrap(), &frames);
        let at = stop.index(frames.len());
        let one = journal.frame(frames[at].frame).unwrap();
        prop_assert_eq!(one.as_ref(), Some(&frames[at]));

        let mut writer = JournalWriter::create_with(&twice, RUN, options).unwrap();
        append(&mut writer, &frames[..at]);
        if ended {
            writer.end(last_digest(&frames[..at]), SUMMARY).unwrap();
        }
        drop(writer);
        let journal = Journal::open(&twice, RUN).unwrap();
        let mut writer = JournalWriter::reopen_with(&journal, at as u64, options).unwrap();
        append(&mut writer, &frames[at..]);
        writer.end(last_digest(&frames), SUMMARY).unwrap();
        prop_assert_eq!(files(&once), files(&twice));
    }
}
