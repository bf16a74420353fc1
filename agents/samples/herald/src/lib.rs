//! Writes a post to the shared region `board` in every frame that `every` (at least 1) divides.
//!
//! It writes the post first and its checksum after it. Readers see neither before the next frame, and then both, because all that is written in
//! a frame is one version of the region. With each post it records `written`, the number of posts so far.
#![cfg_attr(target_arch = "wasm32", no_std)]

use board::{BODY_BYTES, Post};
use wasm_engine_sdk::{Agent, Context, Failure, Params, agent, region};

/// The parameter `every` is 0.
const BAD_PARAMS: Failure = Failure::new(1);
/// Offset of the checksum in the region, in bytes.
const CHECKSUM: u32 = BODY_BYTES as u32;

#[derive(Default)]
struct Herald {
    /// Number of frames from one post to the next.
    every: u64,
    /// Number of posts so far.
    written: u32,
}

impl Agent for Herald {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.every = params.u64("every")?;
        if self.every == 0 { Err(BAD_PARAMS) } else { Ok(()) }
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if ctx.frame().is_multiple_of(self.every) {
            self.written += 1;
            let post = Post { frame: ctx.frame(), number: self.written.into() };
            ctx.write_region(region!("board"), 0, &post.body())?;
            ctx.write_region(region!("board"), CHECKSUM, &post.checksum())?;
            ctx.record_i64("written", self.written.into())?;
        }
        Ok(())
    }
}

agent!(Herald, inbox_bytes = 1024, outbox_bytes = 256);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::testing::{Harness, Output};

    fn herald() -> Harness<Herald> {
        Harness::new(Herald::default(), 1024, 256)
    }

    #[test]
    fn it_writes_a_post_and_its_checksum_where_they_belong() {
        let mut herald = herald();
        assert_eq!(herald.init("every = 3\n"), Ok(vec![]));
        assert_eq!(herald.step(2, &[]), Ok(vec![]));
        for (frame, number) in [(3, 1), (6, 2)] {
            let post = Post { frame, number };
            let write =
                |start, bytes: &[u8]| Output::WriteRegion { region: region!("board"), start, bytes: bytes.to_vec() };
            let written = Output::RecordI64 { name: "written".into(), value: number.cast_signed() };
            let expected = vec![write(0, &post.body()), write(16, &post.checksum()), written];
            assert_eq!(herald.step(frame, &[]), Ok(expected));
        }
    }

    #[test]
    fn a_herald_that_never_writes_is_a_failure() {
        assert_eq!(herald().init("every = 0\n"), Err(BAD_PARAMS));
        assert_eq!(herald().init(""), Err(Failure::PARAM_MISSING));
    }
}
