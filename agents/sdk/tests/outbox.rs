//! What an agent asks for arrives as it was asked, and what has no room leaves no trace.

#![allow(clippy::unwrap_used, missing_docs)]

use wasm_engine_sdk::testing::{Harness, Incoming, Output};
use wasm_engine_sdk::{
    Agent, AgentId, BounceReason, Context, Failure, InferenceStatus, Level, Message, OutboxFull, Params, model, topic,
};

/// Calls a function in `step`.
struct Does<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Result<(), Failure>> Agent for Does<F> {
    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        self.0(ctx)
    }
}

fn outputs(outbox_bytes: usize, step: impl FnMut(&mut Context<'_>) -> Result<(), Failure>) -> Vec<Output> {
    Harness::new(Does(step), 64, outbox_bytes).step(3, &[]).unwrap()
}

#[test]
fn every_request_arrives_as_it_was_asked() {
    let to = AgentId::new(2, 9);
    let got = outputs(4096, |ctx| {
        ctx.send(to, 1, b"123")?;
        ctx.send_with(to, 2, 77, b"12345678")?;
        ctx.publish(topic!("news"), 3, b"")?;
        ctx.publish_with(topic!("news"), 3, 78, b"x")?;
        ctx.join(topic!("news"))?;
        ctx.leave(topic!("news"))?;
        ctx.infer(model!("digits"), 5, &[1; 13])?;
        ctx.log(Level::Warn, "a line")?;
        ctx.log_fmt(Level::Debug, format_args!("{} of {}", 1, 2))?;
        ctx.record_i64("count", -3)?;
        ctx.record_f64("share", 0.5)?;
        ctx.record_text("note", "text é")?;
        ctx.record_bytes("raw", &[0, 255])?;
        Ok(())
    });
    let topic = topic!("news");
    let name = String::from;
    assert_eq!(
        got,
        [
            Output::Send { to, kind: 1, correlation: 0, payload: b"123".to_vec() },
            Output::Send { to, kind: 2, correlation: 77, payload: b"12345678".to_vec() },
            Output::Publish { topic, kind: 3, correlation: 0, payload: vec![] },
            Output::Publish { topic, kind: 3, correlation: 78, payload: b"x".to_vec() },
            Output::Join { topic },
            Output::Leave { topic },
            Output::Infer { model: model!("digits"), correlation: 5, row: vec![1; 13] },
            Output::Log { level: 2, text: name("a line") },
            Output::Log { level: 4, text: name("1 of 2") },
            Output::RecordI64 { name: name("count"), value: -3 },
            Output::RecordF64 { name: name("share"), value: 0.5 },
            Output::RecordText { name: name("note"), value: name("text é") },
            Output::RecordBytes { name: name("raw"), value: vec![0, 255] },
        ]
    );
}

#[test]
fn what_has_no_room_leaves_no_trace() {
    let to = AgentId::new(1, 1);
    for (area, payload, fits) in [(0, 0, 0), (24, 0, 0), (32, 0, 1), (32, 1, 0), (40, 8, 1), (40, 9, 0), (96, 16, 2)] {
        let got = outputs(area, |ctx| {
            for _ in 0..fits {
                assert_eq!(ctx.send(to, 1, &[7; 16][..payload]), Ok(()));
            }
            assert_eq!(ctx.send(to, 1, &[7; 16][..payload]), Err(OutboxFull), "{area} {payload}");
            assert_eq!(ctx.log_fmt(Level::Info, format_args!("{:>30}", payload)), Err(OutboxFull));
            Ok(())
        });
        assert_eq!(got.len(), fits);
    }
}

#[test]
fn an_outbox_is_used_to_its_last_byte() {
    let got = outputs(40 + 36 + 4, |ctx| {
        ctx.log_fmt(Level::Info, format_args!("{}", "12345678"))?;
        assert_eq!(ctx.log_fmt(Level::Info, format_args!("{}", "123456789")), Err(OutboxFull));
        Ok(ctx.log(Level::Info, "1")?)
    });
    assert_eq!(got.len(), 2);
}

#[test]
fn a_failure_drops_the_outbox_and_keeps_its_code() {
    let mut harness = Harness::new(
        Does(|ctx: &mut Context<'_>| {
            ctx.join(topic!("a"))?;
            Err(Failure::new(42))
        }),
        64,
        64,
    );
    assert_eq!(harness.step(1, &[]).unwrap_err().code(), 42);
    let mut harness = Harness::new(Does(|ctx: &mut Context<'_>| Ok(ctx.join(topic!("a"))?)), 64, 0);
    assert_eq!(harness.step(1, &[]), Err(Failure::OUTBOX_FULL));
    assert_eq!(Failure::new(0), Failure::UNSPECIFIED);
}

#[test]
fn a_frame_says_who_and_when() {
    let step = |ctx: &mut Context<'_>| {
        assert_eq!((ctx.agent_id(), ctx.group(), ctx.ordinal()), (AgentId::new(4, 2), 4, 2));
        assert_eq!((ctx.frame(), ctx.inbox_messages()), (12, 0));
        let key = wasm_engine_sdk::abi::agent_key(99, AgentId::new(4, 2).0);
        assert_eq!(ctx.random(5).next_u64(), wasm_engine_sdk::abi::random_u64(key, 12, 5, 0));
        assert_eq!(ctx.random(5).nth(1), Some(ctx.random_u64(5, 2)), "the first was drawn");
        for _ in 0..2 {
            assert_eq!(ctx.random_of(7, 5).next_u64(), wasm_engine_sdk::abi::random_u64(key, 7, 5, 0));
            assert_eq!(ctx.random_u64(5, 2), wasm_engine_sdk::abi::random_u64(key, 12, 5, 2));
        }
        Ok(())
    };
    Harness::new(Does(step), 64, 64).id(AgentId::new(4, 2)).seed(99).step(12, &[]).unwrap();
}

/// Checks what it receives.
#[derive(Default)]
struct Reader {
    seen: u32,
}

impl Agent for Reader {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.seen = params.u32("seen")?;
        Ok(())
    }

    fn receive(&mut self, _ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        match self.seen {
            0 => {
                assert_eq!((message.sender(), message.kind()), (AgentId::new(1, 2), 7));
                assert_eq!((message.read::<[u8; 3]>(), message.read::<u32>()), (Some(*b"abc"), None));
                assert_eq!((message.frame(), message.topic(), message.is_event()), (8, None, false));
            }
            1 => {
                assert_eq!((message.topic(), message.correlation()), (Some(topic!("news")), 5));
                assert_eq!((message.read::<u64>(), message.is_event()), (Some(0x0102), true));
            }
            2 => {
                assert_eq!((message.inference(), message.bounce()), (Some(InferenceStatus::WrongSize), None));
                assert_eq!((message.is_inference(), message.payload()), (true, &[][..]));
            }
            3 => {
                assert_eq!((message.inference(), message.bounce()), (None, Some(BounceReason::MailboxFull)));
                assert_eq!((message.bounced_from(), message.topic()), (Some(9), None));
            }
            _ => unreachable!(),
        }
        self.seen += 1;
        Ok(())
    }
}

#[test]
fn messages_say_what_they_are() {
    let mut reader = Harness::new(Reader::default(), 1024, 0);
    reader.init("seen = 0\n").unwrap();
    let messages = [
        Incoming::message(AgentId::new(1, 2), 7, b"abc"),
        Incoming::event(1, &[2, 1, 0, 0, 0, 0, 0, 0]).topic(topic!("news")).correlation(5),
        Incoming::inference(InferenceStatus::WrongSize, &[]),
        Incoming::bounce(BounceReason::MailboxFull, 9),
    ];
    reader.step(9, &messages).unwrap();
    assert_eq!(reader.agent().seen, 4);
    assert_eq!(reader.init(""), Err(Failure::PARAM_MISSING));
    assert_eq!(reader.init("seen = \"x\""), Err(Failure::PARAM_INVALID));
    assert_eq!(reader.shutdown(10, &[]), Ok(vec![]));
}
