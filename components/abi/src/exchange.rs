//! The exchange block: its header, the frame context, and the layout that the host trusts once it is checked.
//!
//! ```text
//! 0    ExchangeHeader   written by the guest's compiler, read by the host once, at load
//! 64   FrameContext     written by the host before each call; the guest sets outbox_records and outbox_bytes
//! ...  inbox            inbox_bytes_max bytes at inbox_offset
//! ...  outbox           outbox_bytes_max bytes at outbox_offset
//!
//! ...  regions          regions_bytes_max bytes at the address regions_address: see [`crate::region`]
//! ```

use bytemuck::{Pod, Zeroable};

use crate::{ABI_VERSION, MAGIC, RECORD_ALIGN};

/// Offset of the [`FrameContext`], in bytes from the start of the block.
pub const CONTEXT_OFFSET: u32 = 64;

/// Alignment of the block's address, in bytes. An alignment of 64 is better, because the context is one cache line then.
pub const EXCHANGE_ALIGN: u32 = 8;

/// The fixed first part of the block. Offsets are in bytes from the start of the block.
///
/// The regions area has an address of its own. It is zeros at the start and may be large; inside the block, which isn't all zeros, it would
/// take as many bytes of the module's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExchangeHeader {
    /// The number [`MAGIC`].
    pub magic: u32,
    /// The number [`ABI_VERSION`].
    pub abi_version: u32,
    /// Offset of the inbox area, in bytes, a multiple of [`RECORD_ALIGN`].
    pub inbox_offset: u32,
    /// Size of the inbox area, in bytes. The parameters of `agent_init` must fit into it, too.
    pub inbox_bytes_max: u32,
    /// Offset of the outbox area, in bytes, a multiple of [`RECORD_ALIGN`].
    pub outbox_offset: u32,
    /// Size of the outbox area, in bytes.
    pub outbox_bytes_max: u32,
    /// Address of the regions area in the guest's memory, a multiple of [`RECORD_ALIGN`].
    pub regions_address: u32,
    /// Size of the regions area, in bytes; 0 in a module that reads no shared regions.
    pub regions_bytes_max: u32,
    /// Zeros.
    pub reserved: [u32; 8],
}
const _: () = assert!(size_of::<ExchangeHeader>() == 64 && align_of::<ExchangeHeader>() == 4);
const _: () = assert!(core::mem::offset_of!(ExchangeHeader, regions_address) == 24);

/// The frame in which an agent is called, as the agent is told of it. Shape: 64 bytes, one cache line if the block is aligned to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FrameContext {
    /// Number of the frame, from 0.
    pub frame: u64,
    /// The agent's own id, in the form that [`crate::agent_id`] describes.
    pub agent: u64,
    /// Key of the agent's random streams, derived from the run's seed and the agent's id.
    pub random_key: u64,
    /// Number of the agent's group, from 1. Group 0 is the host.
    pub group: u32,
    /// The agent's number in its group, from 0.
    pub ordinal: u32,
    /// Number of records in the inbox.
    pub inbox_records: u32,
    /// Size of those records, in bytes.
    pub inbox_bytes: u32,
    /// Export that is called: the number of a [`CallKind`].
    pub call: u32,
    /// Simulated length of a frame, in microseconds; 0 if the scenario gives none.
    pub frame_period_us: u32,
    /// Number of messages that the agent may send in this call, at most, before its group or its tenant is over its budget;
    /// `u32::MAX` if there is no bound.
    pub credits: u32,
    /// Number of bounces in the inbox: messages that weren't taken and commands that couldn't be carried out since the agent's last call.
    pub refused: u32,
    /// Number of records in the outbox, set by the guest. The host sets it to zero before the frame's first call.
    pub outbox_records: u32,
    /// Size of those records in bytes, set by the guest. The host sets it to zero before the frame's first call.
    pub outbox_bytes: u32,
}
const _: () = assert!(size_of::<FrameContext>() == 64 && align_of::<FrameContext>() == 8);
const _: () = assert!(core::mem::offset_of!(FrameContext, call) == 40);
const _: () = assert!(core::mem::offset_of!(FrameContext, outbox_records) == 56);
const _: () = assert!(core::mem::offset_of!(FrameContext, outbox_bytes) == 60);

/// The export that a call is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum CallKind {
    /// A call of `agent_init`.
    Init = 1,
    /// A call of `agent_step`, or of `agent_receive` before it.
    #[default]
    Step = 2,
    /// A call of `agent_shutdown`, the last one of an agent that is terminated.
    Shutdown = 3,
    /// A call of `agent_export_state`, the last one of an instance whose group gets another module.
    Export = 4,
    /// A call of `agent_import_state`, which the new instance gets after its `agent_init`.
    Import = 5,
}

/// A checked exchange block: absolute addresses that lie inside the guest's memory and don't overlap.
///
/// The host reads it once, from a module's initial image. Memories never shrink, so it stays valid for the life of an instance,
/// whatever the guest later writes over the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeLayout {
    /// Address of the [`FrameContext`].
    pub context: u32,
    /// Address of the inbox area.
    pub inbox: u32,
    /// Size of the inbox area, in bytes.
    pub inbox_bytes_max: u32,
    /// Address of the outbox area.
    pub outbox: u32,
    /// Size of the outbox area, in bytes.
    pub outbox_bytes_max: u32,
    /// Address of the regions area.
    pub regions: u32,
    /// Size of the regions area, in bytes.
    pub regions_bytes_max: u32,
}

/// Why an exchange block was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The block's header or context isn't inside the memory, or its address isn't a multiple of [`EXCHANGE_ALIGN`].
    Block {
        /// Address of the block.
        address: u32,
    },
    /// The block doesn't start with [`MAGIC`].
    Magic {
        /// The number that it starts with.
        found: u32,
    },
    /// The block states another version of the ABI.
    Version {
        /// The version that the block states.
        found: u32,
    },
    /// The inbox or the outbox isn't inside the memory, isn't aligned, or its size isn't a multiple of [`RECORD_ALIGN`].
    Area {
        /// Name of the area: `"inbox"` or `"outbox"`.
        name: &'static str,
        /// Offset of the area in the block, in bytes.
        offset: u32,
        /// Size of the area, in bytes.
        bytes: u32,
    },
    /// The regions area isn't inside the memory, isn't aligned, or its size isn't a multiple of [`RECORD_ALIGN`].
    Regions {
        /// Address of the area.
        address: u32,
        /// Size of the area, in bytes.
        bytes: u32,
    },
    /// Two of header, inbox, outbox and regions area share bytes.
    Overlap,
    /// The regions area isn't all zeros at the start, which is what a region holds before its first write.
    RegionsNotZero,
}

impl core::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Block { address } => {
                write!(
                    f,
                    "the exchange block at address {address:#x} isn't inside the module's memory, or isn't aligned to 8"
                )
            }
            Self::Magic { found } => {
                write!(
                    f,
                    "the exchange block starts with {found:#010x}, not with the magic number {MAGIC:#010x} (\"WAGT\")"
                )
            }
            Self::Version { found } => {
                write!(f, "the module is built for ABI version {found}, and this engine has version {ABI_VERSION}")
            }
            Self::Area { name, offset, bytes } => write!(
                f,
                "the {name} ({bytes} bytes at offset {offset} of the exchange block) isn't inside the module's memory, or isn't aligned to 8"
            ),
            Self::Regions { address, bytes } => write!(
                f,
                "the regions area ({bytes} bytes at address {address:#x}) isn't inside the module's memory, or isn't aligned to 8"
            ),
            Self::Overlap => f.write_str("two of header, inbox, outbox and regions area overlap"),
            Self::RegionsNotZero => f.write_str("the regions area isn't all zeros at the start"),
        }
    }
}

impl core::error::Error for LayoutError {}

impl ExchangeLayout {
    /// Checks the block at `address` of a guest's `memory`, and returns its layout.
    ///
    /// # Errors
    /// The block isn't a valid one of [`ABI_VERSION`]. Nothing that the guest states is used unchecked.
    pub fn check(memory: &[u8], address: u32) -> Result<Self, LayoutError> {
        let memory_bytes = memory.len() as u64;
        let fixed = u64::from(CONTEXT_OFFSET) + size_of::<FrameContext>() as u64;
        let block = u64::from(address);
        if !address.is_multiple_of(EXCHANGE_ALIGN) || block + fixed > memory_bytes {
            return Err(LayoutError::Block { address });
        }
        let start = address as usize;
        let header: ExchangeHeader = bytemuck::pod_read_unaligned(&memory[start..start + size_of::<ExchangeHeader>()]);
        if header.magic != MAGIC {
            return Err(LayoutError::Magic { found: header.magic });
        }
        if header.abi_version != ABI_VERSION {
            return Err(LayoutError::Version { found: header.abi_version });
        }
        let area = |name, offset: u32, bytes: u32| {
            let begin = block + u64::from(offset);
            let aligned = offset.is_multiple_of(RECORD_ALIGN) && bytes.is_multiple_of(RECORD_ALIGN);
            if !aligned || begin + u64::from(bytes) > memory_bytes {
                return Err(LayoutError::Area { name, offset, bytes });
            }
            Ok(begin..begin + u64::from(bytes))
        };
        let inbox = area("inbox", header.inbox_offset, header.inbox_bytes_max)?;
        let outbox = area("outbox", header.outbox_offset, header.outbox_bytes_max)?;
        let apart = |a: &core::ops::Range<u64>, b: &core::ops::Range<u64>| a.end <= b.start || b.end <= a.start;
        let head = block..block + fixed;
        if !apart(&inbox, &outbox) || !apart(&head, &inbox) || !apart(&head, &outbox) {
            return Err(LayoutError::Overlap);
        }
        let (regions_address, bytes) = (header.regions_address, header.regions_bytes_max);
        let regions = u64::from(regions_address)..u64::from(regions_address) + u64::from(bytes);
        // An area of no bytes may state any address.
        if bytes > 0 {
            let aligned = regions_address.is_multiple_of(RECORD_ALIGN) && bytes.is_multiple_of(RECORD_ALIGN);
            if !aligned || regions.end > memory_bytes {
                return Err(LayoutError::Regions { address: regions_address, bytes });
            }
            if ![&head, &inbox, &outbox].into_iter().all(|part| apart(part, &regions)) {
                return Err(LayoutError::Overlap);
            }
            // The area lies inside the memory, which is a slice: so both ends fit a `usize`.
            if memory[regions.start as usize..regions.end as usize].iter().any(|&byte| byte != 0) {
                return Err(LayoutError::RegionsNotZero);
            }
        }
        let narrow = |at: u64| u32::try_from(at).map_err(|_| LayoutError::Block { address });
        Ok(Self {
            context: narrow(block + u64::from(CONTEXT_OFFSET))?,
            inbox: narrow(inbox.start)?,
            inbox_bytes_max: header.inbox_bytes_max,
            outbox: narrow(outbox.start)?,
            outbox_bytes_max: header.outbox_bytes_max,
            regions: regions_address,
            regions_bytes_max: bytes,
        })
    }
}
