//! What [`crate::agent!`] expands to. Not for use by hand.

use core::cell::UnsafeCell;

use wasm_engine_abi::exchange::CONTEXT_OFFSET;
use wasm_engine_abi::{ABI_VERSION, ExchangeHeader, FrameContext, MAGIC, RECORD_ALIGN, RegionReader};

use crate::{Agent, Context, Failure, Inbox, Params};

/// The exchange block of a module. It is a multiple of 64 bytes and starts at one, so that the frame context is a cache
/// line, and the first message follows in the next.
#[repr(C, align(64))]
pub struct Exchange<const INBOX: usize, const OUTBOX: usize, const REGIONS: usize> {
    header: ExchangeHeader,
    context: UnsafeCell<FrameContext>,
    inbox: UnsafeCell<[u8; INBOX]>,
    outbox: UnsafeCell<[u8; OUTBOX]>,
    regions: UnsafeCell<[u8; REGIONS]>,
}

// SAFETY: a module has one thread, and the host calls no export while another one runs.
unsafe impl<const INBOX: usize, const OUTBOX: usize, const REGIONS: usize> Sync for Exchange<INBOX, OUTBOX, REGIONS> {}

impl<const INBOX: usize, const OUTBOX: usize, const REGIONS: usize> Exchange<INBOX, OUTBOX, REGIONS> {
    /// Where the regions area starts; 0 where there is none.
    #[expect(clippy::cast_possible_truncation, reason = "checked by the assertions of `new`")]
    const REGIONS_OFFSET: u32 = if REGIONS == 0 { 0 } else { core::mem::offset_of!(Self, regions) as u32 };

    /// An empty block. Sizes that the host would refuse don't compile.
    #[expect(clippy::cast_possible_truncation, reason = "checked by the assertions before")]
    #[expect(clippy::new_without_default, reason = "only ever the value of a static")]
    pub const fn new() -> Self {
        const {
            assert!(INBOX.is_multiple_of(RECORD_ALIGN as usize), "inbox_bytes must be a multiple of 8");
            assert!(OUTBOX.is_multiple_of(RECORD_ALIGN as usize), "outbox_bytes must be a multiple of 8");
            assert!(REGIONS.is_multiple_of(RECORD_ALIGN as usize), "regions_bytes must be a multiple of 8");
            assert!(
                INBOX as u64 + OUTBOX as u64 + REGIONS as u64 <= 1 << 31,
                "inbox_bytes, outbox_bytes and regions_bytes are 2 GiB at most"
            );
            assert!(core::mem::offset_of!(Self, context) == CONTEXT_OFFSET as usize);
        }
        Self {
            header: ExchangeHeader {
                magic: MAGIC,
                abi_version: ABI_VERSION,
                inbox_offset: core::mem::offset_of!(Self, inbox) as u32,
                inbox_bytes_max: INBOX as u32,
                outbox_offset: core::mem::offset_of!(Self, outbox) as u32,
                outbox_bytes_max: OUTBOX as u32,
                regions_offset: Self::REGIONS_OFFSET,
                regions_bytes_max: REGIONS as u32,
                reserved: [0; 8],
            },
            context: UnsafeCell::new(FrameContext {
                frame: 0,
                agent: 0,
                random_key: 0,
                group: 0,
                ordinal: 0,
                inbox_records: 0,
                inbox_bytes: 0,
                call: 0,
                frame_period_us: 0,
                credits: 0,
                refused: 0,
                outbox_records: 0,
                outbox_bytes: 0,
            }),
            inbox: UnsafeCell::new([0; INBOX]),
            outbox: UnsafeCell::new([0; OUTBOX]),
            // Zeros: the engine takes the area for what regions hold before their first write.
            regions: UnsafeCell::new([0; REGIONS]),
        }
    }

    /// The context and the messages of the call in hand.
    ///
    /// # Safety
    /// Called once in a call of an export, by the export, after the host has filled the block.
    #[inline(always)]
    unsafe fn open(&self) -> (Context<'_>, Inbox<'_>) {
        // SAFETY: four different parts; nothing else refers to them during the call. The host wrote `inbox_records` whole
        // records, from an address that is a multiple of 8.
        unsafe {
            let frame = &mut *self.context.get();
            let inbox = Inbox::new(self.inbox.get().cast(), frame.inbox_records);
            let regions = RegionReader::new(&*self.regions.get(), Self::REGIONS_OFFSET);
            (Context::new(frame, &mut *self.outbox.get(), regions), inbox)
        }
    }
}

/// Where a module keeps its agent.
pub struct State<S>(UnsafeCell<S>);

// SAFETY: as for `Exchange`.
unsafe impl<S> Sync for State<S> {}

impl<S> State<S> {
    /// Holds `slot`.
    pub const fn new(slot: S) -> Self {
        Self(UnsafeCell::new(slot))
    }
}

/// How the agent comes into being.
pub trait Slot {
    /// What it holds.
    type Agent: Agent;
    /// The agent, at its start.
    fn start(&mut self) -> &mut Self::Agent;
    /// The agent, once it was started.
    fn get(&mut self) -> Option<&mut Self::Agent>;
}

/// An agent that is a constant: part of the module's initial image, and no instruction's work.
pub struct Constant<A>(pub A);

impl<A: Agent> Slot for Constant<A> {
    type Agent = A;

    #[inline(always)]
    fn start(&mut self) -> &mut A {
        &mut self.0
    }

    #[inline(always)]
    fn get(&mut self) -> Option<&mut A> {
        Some(&mut self.0)
    }
}

/// An agent that is made by [`Default`] when it is initialised.
pub struct Defaulted<A>(pub Option<A>);

impl<A: Agent + Default> Slot for Defaulted<A> {
    type Agent = A;

    fn start(&mut self) -> &mut A {
        self.0.insert(A::default())
    }

    #[inline(always)]
    fn get(&mut self) -> Option<&mut A> {
        self.0.as_mut()
    }
}

#[inline(always)]
const fn status(result: Result<(), Failure>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(failure) => failure.code().cast_signed(),
    }
}

/// `agent_init`.
///
/// # Safety
/// This is the body of an export of the module, whose host keeps to the ABI and which `exchange` and `state` belong to.
pub unsafe fn init<S: Slot, const I: usize, const O: usize, const R: usize>(
    exchange: &Exchange<I, O, R>,
    state: &State<S>,
) -> i32 {
    // SAFETY: the first statement of an export, says the caller.
    let ((mut ctx, mut inbox), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let params = inbox.next().map_or(&[][..], |message| message.payload());
    status(slot.start().init(&mut ctx, Params::new(params)))
}

/// `agent_step`. `RECEIVES` is whether it hands out the messages, too, instead of an exported `agent_receive`.
///
/// # Safety
/// As for [`init`].
#[inline(always)]
pub unsafe fn step<S: Slot, const I: usize, const O: usize, const R: usize, const RECEIVES: bool>(
    exchange: &Exchange<I, O, R>,
    state: &State<S>,
) -> i32 {
    // SAFETY: the first statement of an export, says the caller.
    let ((mut ctx, inbox), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    status(if RECEIVES { frame(agent, &mut ctx, inbox) } else { agent.step(&mut ctx) })
}

/// The calls of one frame.
#[inline(always)]
pub(crate) fn frame<A: Agent>(agent: &mut A, ctx: &mut Context<'_>, inbox: Inbox<'_>) -> Result<(), Failure> {
    for message in inbox {
        agent.receive(ctx, &message)?;
    }
    agent.step(ctx)
}

/// `agent_receive`, for the message at address `message`.
///
/// # Safety
/// As for [`init`]; `message` is the address of an inbox record.
#[inline(always)]
pub unsafe fn receive<S: Slot, const I: usize, const O: usize, const R: usize>(
    exchange: &Exchange<I, O, R>,
    state: &State<S>,
    message: *const u8,
) -> i32 {
    // SAFETY: the first statement of an export, and the address of a whole record, says the caller.
    let ((mut ctx, _), slot, inbox) = unsafe { (exchange.open(), &mut *state.0.get(), Inbox::new(message, 1)) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    for message in inbox {
        if let Err(failure) = agent.receive(&mut ctx, &message) {
            return status(Err(failure));
        }
    }
    0
}

/// `agent_shutdown`.
///
/// # Safety
/// As for [`init`].
pub unsafe fn shutdown<S: Slot, const I: usize, const O: usize, const R: usize>(
    exchange: &Exchange<I, O, R>,
    state: &State<S>,
) -> i32 {
    // SAFETY: the first statement of an export, says the caller.
    let ((mut ctx, _), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    status(agent.shutdown(&mut ctx))
}
