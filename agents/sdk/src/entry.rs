//! The types and functions that the code of [`crate::agent!`] uses. Agents don't use them by hand.

use core::cell::UnsafeCell;

use wasm_engine_abi::exchange::CONTEXT_OFFSET;
use wasm_engine_abi::{ABI_VERSION, FrameContext, MAGIC, RECORD_ALIGN, RegionReader};

use crate::random::CursorsPlace;
use crate::{Agent, Context, Failure, Inbox, Params, StateWriter, Swappable};

/// The [`wasm_engine_abi::ExchangeHeader`] of a module, in which the linker fills in the address of the regions area.
#[repr(C)]
struct Header {
    magic: u32,
    abi_version: u32,
    inbox_offset: u32,
    inbox_bytes_max: u32,
    outbox_offset: u32,
    outbox_bytes_max: u32,
    regions: *const u8,
    regions_bytes_max: u32,
    reserved: [u32; 8],
}
// Natively, addresses are longer, and no host reads the header.
#[cfg(target_arch = "wasm32")]
const _: () = {
    use core::mem::offset_of;
    use wasm_engine_abi::ExchangeHeader;

    assert!(size_of::<Header>() == size_of::<ExchangeHeader>());
    assert!(offset_of!(Header, regions) == offset_of!(ExchangeHeader, regions_address));
    assert!(offset_of!(Header, reserved) == offset_of!(ExchangeHeader, reserved));
};

/// The regions area of a module. It is all zeros and lies apart from the exchange block, so that it takes no bytes of the module's file.
#[repr(C, align(8))]
pub struct Regions<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: a module has one thread, and the host calls no export while another one runs.
unsafe impl<const BYTES: usize> Sync for Regions<BYTES> {}

impl<const BYTES: usize> Regions<BYTES> {
    /// Returns an area of zeros. Sizes that the host would refuse don't compile.
    #[expect(clippy::new_without_default, reason = "only ever the value of a static")]
    pub const fn new() -> Self {
        const {
            assert!(BYTES.is_multiple_of(RECORD_ALIGN as usize), "regions_bytes must be a multiple of 8");
            assert!(BYTES as u64 <= 1 << 31, "regions_bytes are 2 GiB at most");
        }
        Self(UnsafeCell::new([0; BYTES]))
    }
}

/// The exchange block of a module. Its size and its address are multiples of 64, so that the frame context is one cache
/// line, and the first message begins at the next one.
#[repr(C, align(64))]
pub struct Exchange<const INBOX: usize, const OUTBOX: usize> {
    header: Header,
    context: UnsafeCell<FrameContext>,
    inbox: UnsafeCell<[u8; INBOX]>,
    outbox: UnsafeCell<[u8; OUTBOX]>,
}

// SAFETY: a module has one thread, and the host calls no export while another one runs. The header's pointer leads to a static.
unsafe impl<const INBOX: usize, const OUTBOX: usize> Sync for Exchange<INBOX, OUTBOX> {}

impl<const INBOX: usize, const OUTBOX: usize> Exchange<INBOX, OUTBOX> {
    /// Returns a block with its header, and zeros in all other parts. Sizes that the host would refuse don't compile.
    #[expect(clippy::cast_possible_truncation, reason = "checked by the assertions before")]
    pub const fn new<const REGIONS: usize>(regions: &'static Regions<REGIONS>) -> Self {
        const {
            assert!(INBOX.is_multiple_of(RECORD_ALIGN as usize), "inbox_bytes must be a multiple of 8");
            assert!(OUTBOX.is_multiple_of(RECORD_ALIGN as usize), "outbox_bytes must be a multiple of 8");
            assert!(INBOX as u64 + OUTBOX as u64 <= 1 << 31, "inbox_bytes and outbox_bytes are 2 GiB at most");
            let context = core::mem::offset_of!(Self, context);
            assert!(context == CONTEXT_OFFSET as usize || cfg!(not(target_arch = "wasm32")));
        }
        Self {
            header: Header {
                magic: MAGIC,
                abi_version: ABI_VERSION,
                inbox_offset: core::mem::offset_of!(Self, inbox) as u32,
                inbox_bytes_max: INBOX as u32,
                outbox_offset: core::mem::offset_of!(Self, outbox) as u32,
                outbox_bytes_max: OUTBOX as u32,
                regions: regions.0.get().cast_const().cast(),
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
        }
    }

    /// Returns the context and the messages of the current call.
    ///
    /// # Safety
    /// An export calls this once in each of its calls, after the host has filled the block.
    #[inline(always)]
    unsafe fn open(&self) -> (Context<'_>, Inbox<'_>) {
        // SAFETY: these are three different parts of the block, and the whole of a static. Nothing else refers to them during the call, and only
        // the host writes to the static, between calls. The host wrote `inbox_records` whole records, from an address that is a
        // multiple of 8.
        unsafe {
            let frame = &mut *self.context.get();
            let inbox = Inbox::new(self.inbox.get().cast(), frame.inbox_records);
            let Header { regions, regions_bytes_max, .. } = self.header;
            let area = core::slice::from_raw_parts(regions, regions_bytes_max as usize);
            let regions = RegionReader::new(area, regions.addr() as u32);
            (Context::new(frame, &mut *self.outbox.get(), regions, CursorsPlace::MODULE), inbox)
        }
    }
}

/// The agent of a module, as the value of a static.
pub struct State<S>(UnsafeCell<S>);

// SAFETY: as for `Exchange`.
unsafe impl<S> Sync for State<S> {}

impl<S> State<S> {
    /// Returns a state that holds `slot`.
    pub const fn new(slot: S) -> Self {
        Self(UnsafeCell::new(slot))
    }
}

/// A place for an agent, and how the agent is made in it.
pub trait Slot {
    /// The type of the agent.
    type Agent: Agent;
    /// Returns the agent as it is at its start, for `agent_init`.
    fn start(&mut self) -> &mut Self::Agent;
    /// Returns the agent; `None` if it was never started.
    fn get(&mut self) -> Option<&mut Self::Agent>;
}

/// An agent that begins as a constant. It is part of the module's initial image, so that no instruction has to make it.
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

/// An agent that [`Default`] makes when it is initialised.
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

/// Carries out a call of `agent_init`, and returns its result.
///
/// # Safety
/// This is the body of an export of the module to which `exchange` and `state` belong, and the module's host keeps to the ABI.
pub unsafe fn init<S: Slot, const I: usize, const O: usize>(exchange: &Exchange<I, O>, state: &State<S>) -> i32 {
    // SAFETY: this is the first statement of an export, as this function's own contract says.
    let ((mut ctx, mut inbox), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let params = inbox.next().map_or(&[][..], |message| message.payload());
    status(slot.start().init(&mut ctx, Params::new(params)))
}

/// Carries out a call of `agent_step`, and returns its result. `RECEIVES` says whether it hands out the messages, too.
///
/// # Safety
/// As for [`init`].
#[inline(always)]
pub unsafe fn step<S: Slot, const I: usize, const O: usize, const RECEIVES: bool>(
    exchange: &Exchange<I, O>,
    state: &State<S>,
) -> i32 {
    // SAFETY: this is the first statement of an export, as this function's own contract says.
    let ((mut ctx, inbox), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    status(if RECEIVES { frame(agent, &mut ctx, inbox) } else { agent.step(&mut ctx) })
}

/// Makes the agent's calls of one frame: `receive` for each message, then `step`.
#[inline(always)]
pub(crate) fn frame<A: Agent>(agent: &mut A, ctx: &mut Context<'_>, inbox: Inbox<'_>) -> Result<(), Failure> {
    for message in inbox {
        agent.receive(ctx, &message)?;
    }
    agent.step(ctx)
}

/// Carries out a call of `agent_receive` for the message at the address `message`, and returns its result.
///
/// # Safety
/// As for [`init`]; `message` is the address of an inbox record.
#[inline(always)]
pub unsafe fn receive<S: Slot, const I: usize, const O: usize>(
    exchange: &Exchange<I, O>,
    state: &State<S>,
    message: *const u8,
) -> i32 {
    // SAFETY: this is the first statement of an export, and `message` the address of a whole record, as this function's own contract says.
    let ((mut ctx, _), slot, inbox) = unsafe { (exchange.open(), &mut *state.0.get(), Inbox::new(message, 1)) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    for message in inbox {
        if let Err(failure) = agent.receive(&mut ctx, &message) {
            return status(Err(failure));
        }
    }
    0
}

/// Carries out a call of `agent_shutdown`, and returns its result.
///
/// # Safety
/// As for [`init`].
pub unsafe fn shutdown<S: Slot, const I: usize, const O: usize>(exchange: &Exchange<I, O>, state: &State<S>) -> i32 {
    // SAFETY: this is the first statement of an export, as this function's own contract says.
    let ((mut ctx, inbox), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    status(agent.shutdown(&mut ctx, inbox))
}

/// Carries out a call of `agent_export_state`, and returns its result.
///
/// # Safety
/// As for [`init`].
pub unsafe fn export_state<S, const I: usize, const O: usize>(exchange: &Exchange<I, O>, state: &State<S>) -> i32
where
    S: Slot<Agent: Swappable>,
{
    // SAFETY: this is the first statement of an export, as the contract says: nothing else refers to these three parts during the call.
    let (frame, outbox, slot) =
        unsafe { (&mut *exchange.context.get(), &mut *exchange.outbox.get(), &mut *state.0.get()) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    status(agent.export_state(&mut StateWriter::new(frame, outbox)))
}

/// Carries out a call of `agent_import_state`, and returns its result.
///
/// # Safety
/// As for [`init`].
pub unsafe fn import_state<S, const I: usize, const O: usize>(exchange: &Exchange<I, O>, state: &State<S>) -> i32
where
    S: Slot<Agent: Swappable>,
{
    // SAFETY: this is the first statement of an export, as this function's own contract says.
    let ((mut ctx, mut inbox), slot) = unsafe { (exchange.open(), &mut *state.0.get()) };
    let Some(agent) = slot.get() else { return status(Err(Failure::NOT_INITIALISED)) };
    let state = inbox.next().map_or(&[][..], |message| message.payload());
    status(agent.import_state(&mut ctx, state))
}
