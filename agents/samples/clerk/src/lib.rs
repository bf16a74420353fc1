//! Decides at a desk of the postroom which digit a scan shows, by the votes of the desk's readers.
//!
//! Parameters: `readers_per_desk`, `readers` and `ledger` (numbers of groups). The agent with ordinal o is the clerk of desk
//! o. A digit with more than half of the votes wins. If there is none, the vote of the first reader who could read anything counts.
#![cfg_attr(target_arch = "wasm32", no_std)]

use postroom::{Table, UNREADABLE, VERDICT, VOTE, Verdict, Vote};
use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Message, Params, agent};

/// Maximum number of readers of a desk.
const READERS_MAX: usize = 8;
/// Maximum number of images that wait for votes.
const OPEN_MAX: usize = 64;

/// `readers_per_desk` is 0 or more than [`READERS_MAX`].
const BAD_PARAMS: Failure = Failure::new(1);
/// More than [`OPEN_MAX`] images wait for votes.
const TABLE_FULL: Failure = Failure::new(2);

/// The votes on an image, by the index of the reader.
type Votes = [Option<u8>; READERS_MAX];

struct Clerk {
    readers: u32,
    readers_per_desk: u8,
    ledger: AgentId,
    open: Table<Votes, OPEN_MAX>,
}

impl Clerk {
    const NEW: Self = Self { readers: 0, readers_per_desk: 0, ledger: AgentId::ENGINE, open: Table::NEW };

    /// Returns the vote in a message, if it is from a reader of this desk and in the reader's own name.
    fn vote(&self, ctx: &Context<'_>, message: &Message<'_>) -> Option<Vote> {
        let vote = Vote::from_bytes(message.read()?);
        let ordinal = ctx.ordinal() * u32::from(self.readers_per_desk) + u32::from(vote.reader);
        let is_own = vote.reader < self.readers_per_desk && message.sender() == AgentId::new(self.readers, ordinal);
        (message.kind() == VOTE && is_own).then_some(vote)
    }
}

impl Agent for Clerk {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.readers = params.u32("readers")?;
        self.readers_per_desk = params.get("readers_per_desk")?;
        self.ledger = AgentId::new(params.u32("ledger")?, 0);
        if !(1..=READERS_MAX).contains(&usize::from(self.readers_per_desk)) {
            return Err(BAD_PARAMS);
        }
        Ok(())
    }

    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let Some(vote) = self.vote(ctx, message) else { return Ok(()) };
        let image = message.correlation();
        let votes = self.open.entry(image, [None; READERS_MAX]).ok_or(TABLE_FULL)?;
        // Only the first vote of a reader counts.
        if let Some(cast) = votes.get_mut(usize::from(vote.reader)) {
            cast.get_or_insert(vote.digit);
        }
        if let Some(verdict) = decide(votes, self.readers_per_desk) {
            self.open.remove(image);
            ctx.send_with(self.ledger, VERDICT, image, &verdict.to_bytes())?;
        }
        Ok(())
    }
}

/// Returns the verdict; `None` until all readers have voted.
fn decide(votes: &Votes, readers: u8) -> Option<Verdict> {
    let votes = votes.get(..usize::from(readers))?;
    let mut counts = [0_u8; 256];
    for vote in votes {
        counts[usize::from((*vote)?)] += 1;
    }
    let mut readable = votes.iter().flatten().copied().filter(|&digit| digit != UNREADABLE);
    let first = readable.clone().next();
    let digit = readable.find(|&digit| counts[usize::from(digit)] > readers / 2).or(first).unwrap_or(UNREADABLE);
    Some(Verdict { digit, unanimous: digit != UNREADABLE && counts[usize::from(digit)] == readers })
}

agent!(Clerk, inbox_bytes = 8192, outbox_bytes = 8192, state = Clerk::NEW);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::testing::{Harness, Incoming, Output};

    fn clerk() -> Harness<Clerk> {
        let mut clerk = Harness::new(Clerk::NEW, 8192, 8192).id(AgentId::new(2, 1));
        assert_eq!(clerk.init("ledger = 3\nreaders = 1\nreaders_per_desk = 3\n"), Ok(vec![]));
        clerk
    }

    fn vote(ordinal: u32, digit: u8, image: u64) -> Incoming {
        let vote = Vote { digit, reader: u8::try_from(ordinal % 3).expect("small") };
        Incoming::message(AgentId::new(1, ordinal), VOTE, &vote.to_bytes()).correlation(image)
    }

    fn verdict(digit: u8, unanimous: u8, image: u64) -> Output {
        Output::Send { to: AgentId::new(3, 0), kind: VERDICT, correlation: image, payload: vec![digit, unanimous] }
    }

    #[test]
    fn the_majority_decides() {
        for (votes, digit, unanimous) in [
            ([4, 4, 4], 4, 1),
            ([4, 4, 9], 4, 0),
            ([9, 4, 4], 4, 0),
            ([1, 2, 3], 1, 0),
            ([255, 2, 3], 2, 0),
            ([255, 255, 3], 3, 0),
            ([255, 255, 255], 255, 0),
        ] {
            let messages = [0, 1, 2].map(|reader| vote(3 + reader, votes[reader as usize], 0));
            assert_eq!(clerk().step(1, &messages), Ok(vec![verdict(digit, unanimous, 0)]), "{votes:?}");
        }
    }

    #[test]
    fn votes_of_several_images_and_frames_are_kept_apart() {
        let mut clerk = clerk();
        assert_eq!(clerk.step(1, &[vote(3, 1, 0), vote(4, 2, 8), vote(5, 1, 0)]), Ok(vec![]));
        assert_eq!(clerk.step(2, &[vote(4, 1, 0), vote(3, 2, 8)]), Ok(vec![verdict(1, 1, 0)]));
        assert_eq!(clerk.step(3, &[vote(5, 2, 8)]), Ok(vec![verdict(2, 1, 8)]));
    }

    #[test]
    fn votes_of_others_and_second_votes_do_not_count() {
        let forged = Vote { digit: 9, reader: 1 }.to_bytes();
        let messages = [
            vote(3, 1, 0),
            vote(3, 9, 0),
            vote(0, 9, 0),
            Incoming::message(AgentId::new(1, 3), VOTE, &forged),
            Incoming::message(AgentId::new(4, 4), VOTE, &forged),
            Incoming::message(AgentId::new(1, 4), VOTE, &[9]),
            Incoming::message(AgentId::new(1, 4), VERDICT, &forged),
            vote(4, 1, 0),
            vote(5, 2, 0),
        ];
        assert_eq!(clerk().step(1, &messages), Ok(vec![verdict(1, 0, 0)]));
    }

    #[test]
    fn too_many_open_images_are_a_failure() {
        let mut clerk = clerk();
        for image in 0..64 {
            assert_eq!(clerk.step(1, &[vote(3, 1, image)]), Ok(vec![]));
        }
        assert_eq!(clerk.step(2, &[vote(3, 1, 64)]), Err(TABLE_FULL));
    }
}
