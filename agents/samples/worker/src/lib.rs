//! Does tasks for whoever asks, and not always: some tasks kill it, and some it ignores.
//!
//! Parameters: `work_frames`, frames from a task to its result; `rounds`, how much work a task is; `trap_every` and
//! `ignore_every`: a task whose number is divisible by the one traps, by the other is never answered. 0 is never.
//!
//! A worker needs to be called only when there are messages or when it asked to be woken (`schedule = "message"`); in a group that is
//! called in each frame it does the same. It records `late`, the results that it could not send in the frame in which it wanted to.
//! When it is terminated, it tells its last foreman what it did, and records the same: `done`, `ignored`, `left`.
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Inbox, Message, Params, agent};
use workshop::{REPORT, RESULT, Report, TASK, WELCOME, work};

/// Most tasks that a worker has at a time.
const TASKS_MAX: usize = 8;

/// A request that isn't a task, or a task without a number.
const BAD_TASK: Failure = Failure::new(1);
/// More than [`TASKS_MAX`] tasks at a time.
const TOO_MANY_TASKS: Failure = Failure::new(2);

/// A task in hand.
#[derive(Clone, Copy)]
struct Task {
    from: AgentId,
    correlation: u64,
    number: u64,
    /// The frame in which it is to be answered.
    due: u64,
}

struct Worker {
    work_frames: u64,
    rounds: u32,
    trap_every: u64,
    ignore_every: u64,
    /// Who is told what it did.
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

    /// Takes a task, or dies of it.
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

/// Whether every `every`-th task is meant, and `number` is one.
const fn divides(every: u64, number: u64) -> bool {
    every != 0 && number.is_multiple_of(every)
}

/// A fault of kind `unreachable`.
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
        // It replaces the wish of an earlier frame.
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
