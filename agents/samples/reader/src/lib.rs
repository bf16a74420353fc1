//! Reads scans at a desk of the postroom: it asks the model which digit a scan shows, and votes.
//!
//! Parameters: `desks`, `readers_per_desk`, `clerks` (the number of the clerks' group) and `smudge_one_in`. The agent with
//! ordinal o is reader o mod `readers_per_desk` of desk o / `readers_per_desk`. The first reader of a desk sees the clean
//! scan. The others have poor eyes, and lose each pixel once in `smudge_one_in` times (never if it is 0). Which pixels they lose depends on the
//! run's seed, the reader and the image, but not on the frame.
#![cfg_attr(target_arch = "wasm32", no_std)]

use postroom::{DIGITS, PIXELS, SCAN, UNREADABLE, VOTE, Vote};
use wasm_engine_sdk::{Agent, AgentId, Context, Failure, InferenceStatus, Message, Name, Params, agent, model};

/// Random stream of the lost pixels.
const SMUDGE: u32 = 1;

/// The reader's desk is beyond the number of desks.
const NO_DESK: Failure = Failure::new(1);

#[derive(Default)]
struct Reader {
    clerk: AgentId,
    /// Index of this reader among those of its desk, from 0.
    view: u8,
    smudge_one_in: u64,
}

impl Agent for Reader {
    fn init(&mut self, ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        let readers_per_desk = u32::from(params.get::<u8>("readers_per_desk")?.max(1));
        let desk = ctx.ordinal() / readers_per_desk;
        if desk >= params.u32("desks")? {
            return Err(NO_DESK);
        }
        self.clerk = AgentId::new(params.u32("clerks")?, desk);
        self.view = (ctx.ordinal() % readers_per_desk) as u8;
        self.smudge_one_in = params.u64("smudge_one_in")?;
        ctx.join(Name::new("desk-").number(u64::from(desk)).topic())?;
        Ok(())
    }

    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let image = message.correlation();
        if message.is_inference() {
            let digit = match message.inference() {
                Some(InferenceStatus::Ok) => message.read().map_or(UNREADABLE, |logits| best(&logits)),
                _ => UNREADABLE,
            };
            self.vote(ctx, image, digit)
        } else if message.is_event() && message.kind() == SCAN {
            match message.read::<[u8; PIXELS]>() {
                Some(mut scan) => {
                    self.smudge(ctx, image, &mut scan);
                    // The model takes i8; pixels are 16 at most, so the bytes are the same.
                    Ok(ctx.infer(model!("digits"), image, &scan)?)
                }
                None => self.vote(ctx, image, UNREADABLE),
            }
        } else {
            Ok(())
        }
    }
}

impl Reader {
    fn smudge(&self, ctx: &Context<'_>, image: u64, scan: &mut [u8; PIXELS]) {
        if self.view == 0 {
            return;
        }
        let mut random = ctx.random_of(image, SMUDGE);
        for pixel in scan {
            if random.one_in(self.smudge_one_in) {
                *pixel = 0;
            }
        }
    }

    fn vote(&self, ctx: &mut Context<'_>, image: u64, digit: u8) -> Result<(), Failure> {
        let vote = Vote { digit, reader: self.view };
        Ok(ctx.send_with(self.clerk, VOTE, image, &vote.to_bytes())?)
    }
}

/// Returns the index of the largest logit; of equal ones, the lowest.
fn best(logits: &[i32; DIGITS]) -> u8 {
    let mut best = 0;
    for digit in 1..DIGITS {
        if logits[digit] > logits[best] {
            best = digit;
        }
    }
    best as u8
}

agent!(Reader, inbox_bytes = 8192, outbox_bytes = 8192);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::testing::{Harness, Incoming, Output};
    use wasm_engine_sdk::topic;

    const PARAMS: &str = "clerks = 2\ndesks = 8\nreaders_per_desk = 3\nsmudge_one_in = 32\n";

    fn reader(ordinal: u32) -> Harness<Reader> {
        let mut reader = Harness::new(Reader::default(), 8192, 8192).id(AgentId::new(1, ordinal)).seed(5);
        let desk = Name::new("desk-").number(u64::from(ordinal / 3)).topic();
        assert_eq!(reader.init(PARAMS), Ok(vec![Output::Join { topic: desk }]));
        reader
    }

    fn scan(image: u64) -> Incoming {
        Incoming::event(SCAN, &[16; PIXELS]).topic(topic!("desk-1")).correlation(image)
    }

    fn row(reader: &mut Harness<Reader>, frame: u64, image: u64) -> Vec<u8> {
        match &reader.step(frame, &[scan(image)]).expect("step")[..] {
            [Output::Infer { model, correlation, row }] if *model == model!("digits") && *correlation == image => {
                row.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_reader_sees_the_clean_scan_and_the_others_lose_pixels() {
        assert_eq!(row(&mut reader(3), 1, 7), [16; PIXELS]);
        let mut lost = 0;
        for image in 0..500 {
            lost += row(&mut reader(4), 1, image).iter().filter(|&&pixel| pixel == 0).count();
        }
        assert!((900..1_100).contains(&lost), "{lost} of 32,000 pixels");
        let views = [4, 5].map(|ordinal| (0..8).map(|image| row(&mut reader(ordinal), 1, image)).collect::<Vec<_>>());
        assert_ne!(views[0], views[1]);
    }

    #[test]
    fn what_is_lost_does_not_depend_on_the_frame() {
        for image in 0..50 {
            assert_eq!(row(&mut reader(4), 1, image), row(&mut reader(4), 70, image));
        }
    }

    #[test]
    fn votes_go_to_the_desk_s_clerk() {
        let vote = |image, digit| Output::Send {
            to: AgentId::new(2, 1),
            kind: VOTE,
            correlation: image,
            payload: vec![digit, 2],
        };
        let logits = |best: usize| {
            let mut logits = [-5_i32; DIGITS];
            logits[best] = 3;
            logits[9] = 3;
            logits.iter().flat_map(|logit| logit.to_le_bytes()).collect::<Vec<_>>()
        };
        let messages = [
            Incoming::inference(InferenceStatus::Ok, &logits(4)).correlation(0),
            Incoming::inference(InferenceStatus::Ok, &logits(9)).correlation(1),
            Incoming::inference(InferenceStatus::Failed, &[]).correlation(2),
            Incoming::inference(InferenceStatus::Ok, &[1, 2]).correlation(3),
            Incoming::event(SCAN, &[0; 63]).correlation(4),
            Incoming::message(AgentId::new(4, 0), SCAN, &[0; PIXELS]).correlation(5),
        ];
        let expected = [vote(0, 4), vote(1, 9), vote(2, 255), vote(3, 255), vote(4, 255)];
        assert_eq!(reader(5).step(9, &messages).expect("step"), expected);
    }

    #[test]
    fn a_reader_without_a_desk_is_a_failure() {
        let mut reader = Harness::new(Reader::default(), 8192, 8192).id(AgentId::new(1, 24));
        assert_eq!(reader.init(PARAMS), Err(NO_DESK));
    }
}
