//! Looks at the shared region `board` in each step, which is no host call, and counts what it sees of a herald's posts.
//!
//! A post whose checksum is wrong is a failure, because only half of it was written. With each new post it records:
//!
//! | | |
//! |---|---|
//! | `versions` | versions of the region that it saw |
//! | `missed` | versions between them that it didn't see: the region was written to again before its next step |
//! | `stale` | steps in which the version was the same as in the step before |
//! | `number` | the post's own number |
#![cfg_attr(target_arch = "wasm32", no_std)]

use board::{BYTES, Post};
use wasm_engine_sdk::{Agent, Context, Failure, agent, region};

/// The scenario doesn't name the agent's group among the readers of `board`.
const NO_BOARD: Failure = Failure::new(1);
/// The bytes on the board aren't a whole post.
const TORN: Failure = Failure::new(2);

#[derive(Default)]
struct Watcher {
    /// Version of the region that it saw last; 0 means that nobody had written yet.
    version: u64,
    versions: u64,
    missed: u64,
    stale: u64,
}

impl Agent for Watcher {
    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let (version, bytes) = ctx.region(region!("board")).ok_or(NO_BOARD)?;
        if version == self.version {
            self.stale += 1;
            return Ok(());
        }
        let post = Post::from_bytes(bytes).ok_or(TORN)?;
        if self.versions > 0 {
            self.missed += version - self.version - 1;
        }
        self.version = version;
        self.versions += 1;
        ctx.record_i64("versions", self.versions.cast_signed())?;
        ctx.record_i64("missed", self.missed.cast_signed())?;
        ctx.record_i64("stale", self.stale.cast_signed())?;
        ctx.record_i64("number", post.number.cast_signed())?;
        Ok(())
    }
}

// The regions area holds the view of one region, the end of the table, and the region.
agent!(Watcher, inbox_bytes = 1024, outbox_bytes = 256, regions_bytes = 2 * 24 + BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::testing::{Harness, Output};

    fn watcher() -> Harness<Watcher> {
        let mut watcher = Harness::new(Watcher::default(), 1024, 256);
        watcher.set_region(region!("board"), 0, &[0; BYTES]);
        assert_eq!(watcher.init(""), Ok(vec![]));
        watcher
    }

    fn post(frame: u64, number: u64) -> Vec<u8> {
        let post = Post { frame, number };
        [&post.body()[..], &post.checksum()].concat()
    }

    fn counts(versions: i64, missed: i64, stale: i64, number: i64) -> Vec<Output> {
        let record = |name: &str, value| Output::RecordI64 { name: name.into(), value };
        vec![record("versions", versions), record("missed", missed), record("stale", stale), record("number", number)]
    }

    #[test]
    fn it_counts_what_it_saw_and_what_it_missed() {
        let mut watcher = watcher();
        assert_eq!(watcher.step(1, &[]), Ok(vec![]), "nobody has written yet");
        watcher.set_region(region!("board"), 1, &post(1, 1));
        assert_eq!(watcher.step(2, &[]), Ok(counts(1, 0, 1, 1)));
        assert_eq!(watcher.step(3, &[]), Ok(vec![]));
        watcher.set_region(region!("board"), 2, &post(3, 2));
        assert_eq!(watcher.step(4, &[]), Ok(counts(2, 0, 2, 2)));
        watcher.set_region(region!("board"), 5, &post(8, 5));
        assert_eq!(watcher.step(9, &[]), Ok(counts(3, 2, 2, 5)));
    }

    #[test]
    fn whoever_comes_late_has_missed_nothing() {
        let mut watcher = watcher();
        watcher.set_region(region!("board"), 7, &post(20, 7));
        assert_eq!(watcher.step(21, &[]), Ok(counts(1, 0, 0, 7)));
    }

    #[test]
    fn half_a_post_is_a_failure() {
        let mut watcher = watcher();
        let torn = [&post(4, 2)[..16], &post(1, 1)[16..]].concat();
        watcher.set_region(region!("board"), 2, &torn);
        assert_eq!(watcher.step(5, &[]), Err(TORN));
    }

    #[test]
    fn without_a_board_it_fails() {
        let mut watcher = Harness::new(Watcher::default(), 1024, 256);
        assert_eq!(watcher.step(1, &[]), Err(NO_BOARD));
    }
}
