//! Does tasks for any agent that asks, but not all of them: some kill the worker, and some it ignores.
//!
//! Parameters: `work_frames`, the number of frames from a task to its result; `rounds`, how much work a task is; `trap_every` and
//! `ignore_every`: a task whose number is divisible by the first one traps, by the second one is never answered. 0 means never.
//!
//! A worker needs to be called only when there are messages or when it asked to be woken (`schedule = "message"`); in a group that is
//! called in each frame it does the same. It records `late`, the number of results that it couldn't send in the frame in which they were due.
//! When it is terminated, it tells its last foreman how many tasks it did, ignored and left undone, and records the same: `done`, `ignored`, `left`.
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Inbox, Message, Params, agent};
use workshop::{REPORT, RESULT, Report, TASK, WELCOME, work};

/// Maximum number of tasks that a worker has at a time.
const TASKS_MAX: usize = 8;

/// A request isn't a task, or a task has no number.
const BAD_TASK: Failure = Failure::new(1);
/// There are more than [`TASKS_MAX`] tasks at a time.
const TOO_MANY_TASKS: Failure = Failure::new(2);

/// A task that isn't answered yet.
#[derive(Clone, Copy)]
struct Task {
    from: AgentId,
    correlation: u64,
    number: u64,
    /// Frame in which it is to be answered.
    due: u64,
}

struct Worker {
    work_frames: u64,
    rounds: u32,
    trap_every: u64,
    ignore_every: u64,
    /// The agent that is told what the worker did.
    foreman: Option<AgentId>,
    tasks: [Option<Task>; TASKS_MAX],
    did: Report,
    late: u32,
}

impl Worker {
    const NEW: Self = Self {
        work_frames: 0,
        rounds: 0,
        trap_every: 0,
        ignore_every: 0,
        foreman: None,
        tasks: [None; TASKS_MAX],
        did: Report { done: 0, ignored: 0, left: 0 },
        late: 0,
    };

    /// Takes a task, or ignores it, or dies of it.
    fn take(&mut self, frame: u64, request: &Message<'_>) -> Result<(), Failure> {
        let number: u64 = request.read().ok_or(BAD_TASK)?;
        if divides(self.trap_every, number) {
            die();
        }
        if divides(self.ignore_every, number) {
            self.did.ignored += 1;
            return Ok(());
        }
        let free = self.tasks.iter_mut().find(|task| task.is_none()).ok_or(TOO_MANY_TASKS)?;
        let due = frame.saturating_add(self.work_frames);
        *free = Some(Task { from: request.sender(), correlation: request.correlation(), number, due });
        Ok(())
    }

    fn record(&self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        ctx.record_i64("done", self.did.done.into())?;
        ctx.record_i64("ignored", self.did.ignored.into())?;
        ctx.record_i64("left", self.did.left.into())?;
        Ok(())
    }
}

/// Returns whether `number` is divisible by `every`; never if `every` is 0.
const fn divides(every: u64, number: u64) -> bool {
    every != 0 && number.is_multiple_of(every)
}

/// Ends the call with a fault of kind `unreachable`.
#[cfg(target_arch = "wasm32")]
fn die() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn die() -> ! {
    panic!("this task is deadly")
}

impl Agent for Worker {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.work_frames = params.u64("work_frames")?;
        self.rounds = params.u32("rounds")?;
        self.trap_every = params.get_or("trap_every", 0)?;
        self.ignore_every = params.get_or("ignore_every", 0)?;
        Ok(())
    }

    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        if message.kind() == TASK && message.is_request() {
            self.foreman = Some(message.sender());
            self.take(ctx.frame(), message)
        } else if message.is_request() {
            Err(BAD_TASK)
        } else {
            if message.kind() == WELCOME {
                self.foreman = Some(message.sender());
            }
            Ok(())
        }
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let late = self.late;
        let mut next = None;
        for slot in &mut self.tasks {
            let Some(task) = *slot else { continue };
            if task.due > ctx.frame() {
                next = Some(next.map_or(task.due, |next: u64| next.min(task.due)));
                continue;
            }
            let result = work(task.number, self.rounds).to_le_bytes();
            ctx.reply_to(task.from, RESULT, task.correlation, &result)?;
            *slot = None;
            self.did.done += 1;
            self.late += u32::from(task.due < ctx.frame());
        }
        // This replaces what an earlier frame asked for.
        if let Some(due) = next {
            ctx.wake_at(due)?;
        }
        if self.late != late {
            ctx.record_i64("late", self.late.into())?;
        }
        Ok(())
    }

    fn shutdown(&mut self, ctx: &mut Context<'_>, inbox: Inbox<'_>) -> Result<(), Failure> {
        let in_hand = self.tasks.iter().flatten().count() + inbox.filter(|message| message.is_request()).count();
        self.did.left = u32::try_from(in_hand).unwrap_or(u32::MAX);
        self.record(ctx)?;
        if let Some(foreman) = self.foreman {
            ctx.send(foreman, REPORT, &self.did.to_bytes())?;
        }
        Ok(())
    }
}

agent!(Worker, inbox_bytes = 1024, outbox_bytes = 1024, state = Worker::NEW, shutdown_exported);

#[cfg(test)]
mod tests;
