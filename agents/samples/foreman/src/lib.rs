//! Runs a crew of workers: spawns them, gives each of them one task after another, restarts those that fault, and ends them.
//!
//! Parameters: `workers`, the number of the workers' group, which the foreman's group controls and supervises; `crew`, how many to
//! spawn; `deadline_frames`, how long to wait for a result: at least 2 more than the workers' `work_frames`; `rounds`, how much
//! work a task is, as for the workers; `end_frame`, the frame in which it terminates the workers, and from which on it gives no tasks.
//!
//! Tasks have numbers, from 1 (a foreman that is restarted gives others). A worker has one task at a time, and gets the next when a
//! result, a timeout or a bounce for the last one has come. A worker that has ended is replaced. If the group has no place for the whole
//! crew, the foreman goes on with the workers that it got.
//!
//! It records all of these in each frame in which one of them has changed:
//!
//! | | |
//! |---|---|
//! | `spawned` | workers that it got |
//! | `faults` | faults of its workers, as far as it was told |
//! | `restarted` | workers that it restarted: those whose faults were left to it |
//! | `given` | tasks that it gave to workers |
//! | `answers` | results, all of which were right, because a wrong one is a failure |
//! | `timeouts` | tasks without a result in time |
//! | `bounces` | tasks, spawns and commands that came back |
//! | `waiting` | tasks of which nothing has come back yet: `given` = `answers` + `timeouts` + bounced tasks + `waiting` |
//! | `reports` | last messages of workers; `done` has the tasks that these workers had answered since they were initialised |
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, AgentId, BounceReason, Context, Failure, Message, Notice, Params, agent};
use workshop::{REPORT, RESULT, Report, TASK, WELCOME, work};

/// Maximum number of workers of a foreman.
const CREW_MAX: usize = 64;
/// The bit that the correlations of spawns have, and those of tasks don't.
const SPAWN: u64 = 1 << 63;

/// The parameter `crew` is more than [`CREW_MAX`].
const BAD_PARAMS: Failure = Failure::new(1);
/// A worker answered with something other than the task's result.
const WRONG_RESULT: Failure = Failure::new(2);

/// A worker of the crew.
#[derive(Clone, Copy)]
struct Hand {
    id: AgentId,
    /// The task that it has, if any.
    task: Option<u64>,
}

/// The numbers that are recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts {
    spawned: u32,
    faults: u32,
    restarted: u32,
    given: u32,
    answers: u32,
    timeouts: u32,
    bounces: u32,
    waiting: u32,
    reports: u32,
    done: u32,
}

impl Counts {
    const NONE: Self = Self {
        spawned: 0,
        faults: 0,
        restarted: 0,
        given: 0,
        answers: 0,
        timeouts: 0,
        bounces: 0,
        waiting: 0,
        reports: 0,
        done: 0,
    };

    const fn named(&self) -> [(&'static str, u32); 10] {
        [
            ("spawned", self.spawned),
            ("faults", self.faults),
            ("restarted", self.restarted),
            ("given", self.given),
            ("answers", self.answers),
            ("timeouts", self.timeouts),
            ("bounces", self.bounces),
            ("waiting", self.waiting),
            ("reports", self.reports),
            ("done", self.done),
        ]
    }
}

struct Foreman {
    workers: u32,
    /// Number of workers that it wants.
    wanted: usize,
    deadline_frames: u32,
    rounds: u32,
    end_frame: u64,
    crew: [Option<Hand>; CREW_MAX],
    /// Number of workers that it asked for and that it neither got nor was refused yet.
    asked: usize,
    spawns: u64,
    next_task: u64,
    ended: bool,
    counts: Counts,
    recorded: Counts,
}

impl Foreman {
    const NEW: Self = Self {
        workers: 0,
        wanted: 0,
        deadline_frames: 0,
        rounds: 0,
        end_frame: 0,
        crew: [None; CREW_MAX],
        asked: 0,
        spawns: 0,
        next_task: 0,
        ended: false,
        counts: Counts::NONE,
        recorded: Counts::NONE,
    };

    /// Returns the worker `id`, if it belongs to the crew.
    fn hand(&mut self, id: AgentId) -> Option<&mut Hand> {
        self.crew.iter_mut().flatten().find(|hand| hand.id == id)
    }

    fn dismiss(&mut self, id: AgentId) {
        for slot in &mut self.crew {
            slot.take_if(|hand| hand.id == id);
        }
    }

    /// Takes this task from the worker `id`, and returns whether the worker had it.
    fn closes(&mut self, id: AgentId, task: u64) -> bool {
        let had = self.hand(id).and_then(|hand| hand.task.take_if(|had| *had == task)).is_some();
        self.counts.waiting -= u32::from(had);
        had
    }

    fn hire(&mut self, ctx: &mut Context<'_>, id: AgentId) -> Result<(), Failure> {
        self.asked = self.asked.saturating_sub(1);
        self.counts.spawned += 1;
        match self.crew.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) if !self.ended => *slot = Some(Hand { id, task: None }),
            // The crew has no place for it, or has ended.
            _ => ctx.terminate(id)?,
        }
        Ok(())
    }

    fn see_to(&mut self, ctx: &mut Context<'_>, notice: Notice) -> Result<(), Failure> {
        if self.hand(notice.agent).is_some() {
            self.counts.faults += 1;
            if notice.escalated && !self.ended {
                self.counts.restarted += 1;
                ctx.restart(notice.agent)?;
            }
        }
        Ok(())
    }

    fn take_back(&mut self, reason: BounceReason, message: &Message<'_>) {
        self.counts.bounces += 1;
        if message.correlation() & SPAWN != 0 {
            self.asked = self.asked.saturating_sub(1);
            self.wanted = self.crew.iter().flatten().count() + self.asked;
            return;
        }
        let worker = AgentId(message.bounced_from().unwrap_or_default());
        self.closes(worker, message.correlation());
        if matches!(reason, BounceReason::Terminated | BounceReason::UnknownRecipient) {
            self.dismiss(worker);
        }
    }

    fn check(&mut self, result: &Message<'_>) -> Result<(), Failure> {
        let task = result.correlation();
        // A result that isn't waited for is for a task from before this foreman was restarted.
        if self.closes(result.sender(), task) {
            if result.kind() != RESULT || result.read() != Some(work(task, self.rounds).to_le_bytes()) {
                return Err(WRONG_RESULT);
            }
            self.counts.answers += 1;
        }
        Ok(())
    }

    /// Asks for as many workers as are missing.
    fn fill_up(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let missing = self.wanted.saturating_sub(self.crew.iter().flatten().count() + self.asked);
        for _ in 0..missing {
            ctx.spawn_with(self.workers, WELCOME, SPAWN | self.spawns, &[0])?;
            self.spawns += 1;
            self.asked += 1;
        }
        Ok(())
    }

    /// Gives a task to each worker that has none, as far as the budget allows.
    fn give_tasks(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let mut credits = ctx.credits();
        for hand in self.crew.iter_mut().flatten().filter(|hand| hand.task.is_none()) {
            if credits == 0 {
                break;
            }
            let task = self.next_task;
            ctx.request(hand.id, TASK, task, self.deadline_frames, &task.to_le_bytes())?;
            hand.task = Some(task);
            self.next_task += 1;
            self.counts.given += 1;
            self.counts.waiting += 1;
            credits -= 1;
        }
        Ok(())
    }

    fn end(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        self.ended = true;
        for hand in self.crew.iter().flatten() {
            ctx.terminate(hand.id)?;
        }
        Ok(())
    }
}

impl Agent for Foreman {
    fn init(&mut self, ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.workers = params.u32("workers")?;
        self.wanted = usize::from(params.get::<u8>("crew")?);
        self.deadline_frames = params.u32("deadline_frames")?;
        self.rounds = params.u32("rounds")?;
        self.end_frame = params.u64("end_frame")?;
        // After a restart the numbers are others, because answers to earlier tasks may still be on their way.
        self.next_task = (ctx.frame() << 32) + 1;
        if self.wanted > CREW_MAX { Err(BAD_PARAMS) } else { Ok(()) }
    }

    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        if message.is_reply() {
            self.check(message)?;
        } else if let Some(worker) = message.timed_out() {
            self.counts.timeouts += u32::from(self.closes(worker, message.correlation()));
        } else if let Some(worker) = message.spawned() {
            self.hire(ctx, worker)?;
        } else if let Some(notice) = message.notice() {
            self.see_to(ctx, notice)?;
        } else if let Some(reason) = message.bounce() {
            self.take_back(reason, message);
        } else if message.kind() == REPORT && message.sender().group() == self.workers {
            self.counts.reports += 1;
            self.counts.done += message.read().map_or(0, |bytes| Report::from_bytes(bytes).done);
        }
        Ok(())
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if ctx.frame() < self.end_frame {
            self.fill_up(ctx)?;
            self.give_tasks(ctx)?;
        } else if !self.ended {
            self.end(ctx)?;
        }
        if self.counts != self.recorded {
            self.recorded = self.counts;
            for (name, count) in self.counts.named() {
                ctx.record_i64(name, count.into())?;
            }
        }
        Ok(())
    }
}

// In one frame, each worker may be spawned, answer, fault and report, which is a message of 48 to 80 bytes each.
agent!(Foreman, inbox_bytes = 16_384, outbox_bytes = 8192, state = Foreman::NEW);

#[cfg(test)]
mod tests;
