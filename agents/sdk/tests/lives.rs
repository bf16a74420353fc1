//! Lives, requests and timers: what an agent asks for arrives as it was asked, and what it is told says what it is.

#![allow(clippy::unwrap_used, missing_docs)]

use wasm_engine_sdk::testing::{Harness, Incoming, Output};
use wasm_engine_sdk::{
    Agent, AgentId, BounceReason, Context, Failure, Inbox, InferenceStatus, Message, Notice, OutboxFull, agent, model,
    topic,
};

/// Calls a function in `step`, another one in `receive`, and a third one in `shutdown`, for each message.
struct Does<S, R, E>(S, R, E);

impl<S, R, E> Agent for Does<S, R, E>
where
    S: FnMut(&mut Context<'_>) -> Result<(), OutboxFull>,
    R: FnMut(&mut Context<'_>, &Message<'_>) -> Result<(), OutboxFull>,
    E: FnMut(&mut Context<'_>, &Message<'_>) -> Result<(), OutboxFull>,
{
    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        Ok(self.1(ctx, message)?)
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(self.0(ctx)?)
    }

    fn shutdown(&mut self, ctx: &mut Context<'_>, inbox: Inbox<'_>) -> Result<(), Failure> {
        for message in inbox {
            self.2(ctx, &message)?;
        }
        Ok(())
    }
}

/// With bounds, so that closures know what they are called with.
fn does<S, R, E>(step: S, receive: R, last: E) -> Does<S, R, E>
where
    S: FnMut(&mut Context<'_>) -> Result<(), OutboxFull>,
    R: FnMut(&mut Context<'_>, &Message<'_>) -> Result<(), OutboxFull>,
    E: FnMut(&mut Context<'_>, &Message<'_>) -> Result<(), OutboxFull>,
{
    Does(step, receive, last)
}

fn outputs(step: impl FnMut(&mut Context<'_>) -> Result<(), OutboxFull>) -> Vec<Output> {
    Harness::new(does(step, |_, _| Ok(()), |_, _| Ok(())), 64, 4096).step(3, &[]).unwrap()
}

/// What `receive` makes of one message.
fn received<T: Default>(message: Incoming, mut read: impl FnMut(&Message<'_>) -> T) -> T {
    let mut got = T::default();
    let receive = |_: &mut Context<'_>, message: &Message<'_>| {
        got = read(message);
        Ok(())
    };
    Harness::new(does(|_| Ok(()), receive, |_, _| Ok(())), 1024, 0).step(3, &[message]).unwrap();
    got
}

const OTHER: AgentId = AgentId::of_generation(2, 9, 4);

#[test]
fn lives_are_asked_for_as_written() {
    let got = outputs(|ctx| {
        ctx.spawn(2, 7)?;
        ctx.spawn_with(2, 1, 8, b"hello")?;
        ctx.pause(OTHER)?;
        ctx.resume(OTHER)?;
        ctx.restart(OTHER)?;
        ctx.terminate(ctx.agent_id())
    });
    assert_eq!(
        got,
        [
            Output::Spawn { group: 2, kind: 0, correlation: 7, payload: vec![] },
            Output::Spawn { group: 2, kind: 1, correlation: 8, payload: b"hello".to_vec() },
            Output::Pause { agent: OTHER },
            Output::Resume { agent: OTHER },
            Output::Restart { agent: OTHER },
            Output::Terminate { agent: AgentId::new(1, 0) },
        ]
    );
}

#[test]
fn wishes_to_wake_name_a_frame() {
    let got = outputs(|ctx| {
        ctx.wake_at(90)?;
        ctx.wake_in(4)?;
        ctx.wake_in(0)?;
        ctx.wake_in(u64::MAX)?;
        ctx.wake_at(0)
    });
    assert_eq!(got, [90, 7, 4, u64::MAX, 0].map(|frame| Output::Wake { frame }));
}

#[test]
fn requests_replies_and_broadcasts_are_sent_as_written() {
    let got = outputs(|ctx| {
        ctx.request(OTHER, 1, 5, 3, b"1")?;
        ctx.request(OTHER, 1, 6, 0, b"")?;
        ctx.reply_to(OTHER, 2, 77, b"12345678")?;
        ctx.broadcast(4, 3, b"all")?;
        ctx.broadcast_with(4, 3, 9, b"")
    });
    assert_eq!(
        got,
        [
            Output::Request { to: OTHER, kind: 1, correlation: 5, deadline_frames: 3, payload: b"1".to_vec() },
            Output::Request { to: OTHER, kind: 1, correlation: 6, deadline_frames: 1, payload: vec![] },
            Output::Reply { to: OTHER, kind: 2, correlation: 77, payload: b"12345678".to_vec() },
            Output::Broadcast { group: 4, kind: 3, correlation: 0, payload: b"all".to_vec() },
            Output::Broadcast { group: 4, kind: 3, correlation: 9, payload: vec![] },
        ]
    );
}

#[test]
fn a_request_is_answered_to_its_sender_with_its_correlation() {
    let answer = |ctx: &mut Context<'_>, message: &Message<'_>| {
        assert!(message.is_request() && !message.is_reply());
        ctx.reply(message, 2, b"done")
    };
    let mut harness = Harness::new(does(|_| Ok(()), answer, |_, _| Ok(())), 1024, 64);
    let reply = Output::Reply { to: OTHER, kind: 2, correlation: 12, payload: b"done".to_vec() };
    assert_eq!(harness.step(1, &[Incoming::message(OTHER, 1, &[]).request().correlation(12)]), Ok(vec![reply]));
}

#[test]
fn only_agents_messages_are_requests_and_replies() {
    let read = |message: &Message<'_>| (message.is_request(), message.is_reply(), message.status());
    let plain = Incoming::message(OTHER, 1, &[]);
    assert_eq!(received(plain.clone(), read), (false, false, 0));
    assert_eq!(received(plain.clone().request(), read), (true, false, 1));
    assert_eq!(received(plain.reply(), read), (false, true, 2));
    assert_eq!(received(Incoming::bounce(BounceReason::UnknownRecipient, 9), read), (false, false, 1));
    assert_eq!(received(Incoming::inference(InferenceStatus::WrongSize, &[]), read), (false, false, 2));
}

/// Whom or what a message is about, each way to ask: topic, model, spawned, timed out, notice, bounced.
type About = (Option<u64>, Option<u64>, Option<AgentId>, Option<AgentId>, Option<Notice>, Option<u64>);

fn about(message: &Message<'_>) -> About {
    (
        message.topic().map(|topic| topic.0),
        message.model().map(|model| model.0),
        message.spawned(),
        message.timed_out(),
        message.notice(),
        message.bounced_from(),
    )
}

#[test]
fn each_message_is_about_one_thing() {
    let none = || (None, None, None, None, None, None);
    let notice = Notice { agent: OTHER, frame: 2, fault: 6, detail: 3, faults: 5, escalated: true };
    let digits = model!("digits");
    let table: [(Incoming, About); 8] = [
        (Incoming::message(OTHER, 1, &[]), none()),
        (
            Incoming::message(OTHER, 1, &[]).topic(topic!("news")),
            (Some(topic!("news").0), None, None, None, None, None),
        ),
        (Incoming::inference(InferenceStatus::Ok, &[]).model(digits), (None, Some(digits.0), None, None, None, None)),
        (Incoming::spawned(OTHER), (None, None, Some(OTHER), None, None, None)),
        (Incoming::timeout(OTHER), (None, None, None, Some(OTHER), None, None)),
        (Incoming::notice(notice), (None, None, None, None, Some(notice), None)),
        (
            Incoming::notice(Notice { escalated: false, ..notice }),
            (None, None, None, None, Some(Notice { escalated: false, ..notice }), None),
        ),
        (Incoming::bounce(BounceReason::GroupFull, 2), (None, None, None, None, None, Some(2))),
    ];
    for (message, expected) in table {
        let name = format!("{message:?}");
        assert_eq!(received(message, about), expected, "{name}");
    }
}

#[test]
fn every_reason_of_a_bounce_has_its_name() {
    for reason in BounceReason::ALL {
        assert_eq!(received(Incoming::bounce(reason, 9), |message| message.bounce()), Some(reason));
    }
}

#[test]
fn a_frame_says_what_may_be_sent() {
    let mut seen = Vec::new();
    let step = |ctx: &mut Context<'_>| {
        seen.push((ctx.credits(), ctx.refused()));
        Ok(())
    };
    let mut harness = Harness::new(does(step, |_, _| Ok(()), |_, _| Ok(())), 64, 64);
    harness.step(1, &[]).unwrap();
    harness.budget(3, 2);
    harness.step(2, &[]).unwrap();
    drop(harness);
    assert_eq!(seen, [(u32::MAX, 0), (3, 2)]);
}

#[test]
fn the_last_call_sees_the_last_messages_and_may_send() {
    let last = |ctx: &mut Context<'_>, message: &Message<'_>| ctx.send(message.sender(), 9, message.payload());
    let never = |_: &mut Context<'_>, _: &Message<'_>| unreachable!("`receive` isn't called in the last call");
    let mut harness = Harness::new(does(|_| unreachable!(), never, last), 1024, 1024);
    let send = Output::Send { to: OTHER, kind: 9, correlation: 0, payload: b"bye".to_vec() };
    assert_eq!(harness.shutdown(8, &[Incoming::message(OTHER, 1, b"bye")]), Ok(vec![send]));
}

#[test]
fn an_agent_is_initialised_in_the_frame_in_which_it_is_spawned() {
    struct Late(u64);
    impl Agent for Late {
        fn init(&mut self, ctx: &mut Context<'_>, _: wasm_engine_sdk::Params<'_>) -> Result<(), Failure> {
            self.0 = ctx.frame();
            Ok(())
        }
    }
    let mut late = Harness::new(Late(0), 64, 64).id(OTHER);
    assert_eq!(late.init_in(17, ""), Ok(vec![]));
    assert_eq!(late.agent().0, 17);
}

/// The options of `agent!` in any order, with and without a constant to start from, compile.
mod options {
    use super::{Agent, agent};

    #[derive(Default)]
    struct Empty;
    impl Agent for Empty {}

    agent!(Empty, inbox_bytes = 64, outbox_bytes = 64,);
    agent!(Empty, inbox_bytes = 64, outbox_bytes = 64, shutdown_exported);
    agent!(Empty, inbox_bytes = 64, outbox_bytes = 64, shutdown_exported, receive_exported,);
    agent!(Empty, inbox_bytes = 64, outbox_bytes = 64, state = Empty, receive_exported, shutdown_exported);
    agent!(Empty, inbox_bytes = 64, outbox_bytes = 64, state = Empty, shutdown_exported);
}
