//! Sleeps, wakes in frames that it chose, counts, and goes back to sleep: an agent that costs nothing in all other frames.
//!
//! Parameter: `period`, the number of frames from one waking to the next, at least 1. The agent with ordinal o, initialised in frame f,
//! first wakes in frame f + 1 + o mod `period`, so that a large group spreads evenly over the frames. In each waking it records `wakes`,
//! the number of wakings so far, and `late`, the number of those that came after the frame for which it had asked.
//!
//! It is for groups that are called only by timer (`schedule = "timer"`), or by timer and messages (`"message"`). It counts messages, which
//! lead to calls, too: in its next waking it records `messages`, their number, if there were any.
//!
//! Its counts, and the frame for which it asked, survive a hot swap to a module that reads the same form of its state.
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, Context, Failure, Message, Params, StateWriter, Swappable, agent};

/// The parameter `period` is 0.
const BAD_PARAMS: Failure = Failure::new(1);
/// The state that another module left isn't of the form [`FORM`].
const BAD_STATE: Failure = Failure::new(2);

/// Number of the state's form, which comes first in the state. A state of form 1 is five u64, little-endian; any other one has another number.
const FORM: [u8; 8] = 1_u64.to_le_bytes();

struct Sleeper {
    period: u64,
    /// Frame in which it wants to be called.
    next: u64,
    wakes: i64,
    late: i64,
    messages: i64,
}

impl Sleeper {
    const NEW: Self = Self { period: 1, next: 0, wakes: 0, late: 0, messages: 0 };
}

impl Agent for Sleeper {
    fn init(&mut self, ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.period = params.u64("period")?;
        if self.period == 0 {
            return Err(BAD_PARAMS);
        }
        self.next = ctx.frame() + 1 + u64::from(ctx.ordinal()) % self.period;
        Ok(ctx.wake_at(self.next)?)
    }

    fn receive(&mut self, _ctx: &mut Context<'_>, _message: &Message<'_>) -> Result<(), Failure> {
        self.messages += 1;
        Ok(())
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let frame = ctx.frame();
        if frame < self.next {
            // A message led to this call. The request for a later frame still holds.
            return Ok(());
        }
        self.wakes += 1;
        self.late += i64::from(frame > self.next);
        // Its next frame is the first of its frames that is later than this one, even if it missed some.
        let slept = (frame - self.next) / self.period * self.period;
        self.next = self.next.saturating_add(slept).saturating_add(self.period);
        ctx.record_i64("wakes", self.wakes)?;
        ctx.record_i64("late", self.late)?;
        if self.messages > 0 {
            ctx.record_i64("messages", self.messages)?;
        }
        Ok(ctx.wake_at(self.next)?)
    }
}

impl Swappable for Sleeper {
    fn export_state(&self, state: &mut StateWriter<'_>) -> Result<(), Failure> {
        state.write(&FORM)?;
        state.write(&self.next.to_le_bytes())?;
        for count in [self.wakes, self.late, self.messages] {
            state.write(&count.to_le_bytes())?;
        }
        Ok(())
    }

    fn import_state(&mut self, _ctx: &mut Context<'_>, state: &[u8]) -> Result<(), Failure> {
        let (&[FORM, next, wakes, late, messages], []) = state.as_chunks() else { return Err(BAD_STATE) };
        self.next = u64::from_le_bytes(next);
        [self.wakes, self.late, self.messages] = [wakes, late, messages].map(i64::from_le_bytes);
        Ok(())
    }
}

agent!(Sleeper, inbox_bytes = 1024, outbox_bytes = 256, state = Sleeper::NEW, swappable);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::AgentId;
    use wasm_engine_sdk::testing::{Harness, Incoming, Output};

    fn sleeper(ordinal: u32) -> Harness<Sleeper> {
        Harness::new(Sleeper::NEW, 1024, 256).id(AgentId::new(1, ordinal))
    }

    fn record(name: &str, value: i64) -> Output {
        Output::RecordI64 { name: name.into(), value }
    }

    fn woken(wakes: i64, late: i64, frame: u64) -> Vec<Output> {
        vec![record("wakes", wakes), record("late", late), Output::Wake { frame }]
    }

    /// A sleeper that is called in each frame for which it asked wakes once in each period, in frames that follow from its ordinal.
    #[test]
    fn it_wakes_once_in_each_period() {
        for (ordinal, first) in [(0, 1), (1, 2), (6, 7), (7, 1), (15, 2)] {
            let mut sleeper = sleeper(ordinal);
            assert_eq!(sleeper.init("period = 7\n"), Ok(vec![Output::Wake { frame: first }]));
            for wakes in 1..10 {
                let frame = first + (wakes - 1) * 7;
                assert_eq!(sleeper.step(frame, &[]), Ok(woken(wakes.cast_signed(), 0, frame + 7)));
            }
        }
    }

    #[test]
    fn it_counts_from_the_frame_of_its_init() {
        assert_eq!(sleeper(3).init_in(100, "period = 10\n"), Ok(vec![Output::Wake { frame: 104 }]));
    }

    #[test]
    fn messages_wake_it_and_leave_its_wish_alone() {
        let mut sleeper = sleeper(2);
        assert_eq!(sleeper.init("period = 5\n"), Ok(vec![Output::Wake { frame: 3 }]));
        let message = Incoming::message(AgentId::new(2, 0), 1, &[]);
        assert_eq!(sleeper.step(1, core::slice::from_ref(&message)), Ok(vec![]));
        let expected = vec![record("wakes", 1), record("late", 0), record("messages", 2), Output::Wake { frame: 8 }];
        assert_eq!(sleeper.step(3, &[message]), Ok(expected));
    }

    #[test]
    fn what_it_oversleeps_is_counted_and_not_made_up_for() {
        for (called, next) in [(4, 8), (7, 8), (8, 13), (9, 13), (12, 13), (13, 18)] {
            let mut sleeper = sleeper(2);
            assert_eq!(sleeper.init("period = 5\n"), Ok(vec![Output::Wake { frame: 3 }]));
            assert_eq!(sleeper.step(called, &[]), Ok(woken(1, 1, next)), "called in frame {called}");
        }
    }

    #[test]
    fn a_swap_keeps_what_it_counted() {
        let mut old = sleeper(2);
        assert_eq!(old.init("period = 5\n"), Ok(vec![Output::Wake { frame: 3 }]));
        let message = Incoming::message(AgentId::new(2, 0), 1, &[]);
        assert_eq!(old.step(1, &[message]), Ok(vec![]));
        assert!(old.step(4, &[]).is_ok());
        let state = old.export_state(6).expect("it leaves its state");
        let numbers: Vec<_> = [1_u64, 8, 1, 1, 1].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(state, numbers, "form, next, wakes, late, messages");

        // The engine keeps the request for frame 8, and drops that of `init`.
        let mut new = sleeper(2);
        assert!(new.init_in(6, "period = 5\n").is_ok());
        assert_eq!(new.import_state(6, &state), Ok(()));
        assert_eq!(new.step(6, &[]), Ok(vec![]));
        let expected = vec![record("wakes", 2), record("late", 1), record("messages", 1), Output::Wake { frame: 13 }];
        assert_eq!(new.step(8, &[]), Ok(expected));
    }

    #[test]
    fn a_state_of_another_form_is_refused() {
        let mut new = sleeper(0);
        assert_eq!(new.init("period = 5\n"), Ok(vec![Output::Wake { frame: 1 }]));
        let form: Vec<u8> = [1_u64, 8, 2, 0, 0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut later = form.clone();
        later[0] = 2;
        let longer = [&form[..], &[0]].concat();
        let one_more = [&form[..], &[0; 8]].concat();
        for state in [&[][..], &form[..39], &form[..32], &longer, &one_more, &later] {
            assert_eq!(new.import_state(3, state), Err(BAD_STATE), "{} bytes", state.len());
        }
        assert_eq!(new.step(1, &[]), Ok(woken(1, 0, 6)), "it is as it was");
        assert_eq!(new.import_state(3, &form), Ok(()));
    }

    #[test]
    fn a_period_of_no_frames_is_a_failure() {
        assert_eq!(sleeper(0).init("period = 0\n"), Err(BAD_PARAMS));
        assert_eq!(sleeper(0).init(""), Err(Failure::PARAM_MISSING));
    }
}
