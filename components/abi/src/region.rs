//! The regions area, in which an agent sees the shared regions that its group reads.
//!
//! ```text
//! 0    RegionView   for each region, in the order of their numbers
//! ...  24 bytes of zeros, which end the table: a region has at least one byte
//! ...  contents     each at its view's address, a multiple of 8
//! ```

use bytemuck::{Pod, Zeroable};

/// Version, address and size of a region that an agent's group reads: one record of the area's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RegionView {
    /// Number of the region: [`crate::name_id`] of its name.
    pub region: u64,
    /// Number of frames that have written to it; 0 while it is all zeros.
    pub version: u64,
    /// Address of its bytes in the guest's memory.
    pub address: u32,
    /// Number of its bytes; 0 in the record that ends the table.
    pub bytes: u32,
}
const _: () = assert!(size_of::<RegionView>() == 24 && align_of::<RegionView>() == 8);
const _: () = assert!(core::mem::offset_of!(RegionView, address) == 16);

impl RegionView {
    /// Size of the record, in bytes.
    pub const BYTES: u32 = size_of::<Self>() as u32;

    /// Returns the size of the regions area for regions of these sizes, its table included, in bytes; 0 if there are no regions.
    pub fn area_bytes(regions: impl IntoIterator<Item = u32>) -> u64 {
        let (mut count, mut contents) = (0, 0);
        for bytes in regions {
            count += 1;
            contents += u64::from(bytes).next_multiple_of(8);
        }
        if count == 0 { 0 } else { (count + 1) * u64::from(Self::BYTES) + contents }
    }
}

/// Reads a regions area. Whatever the area holds, the bytes that are found lie inside it.
#[derive(Clone, Copy, Debug)]
pub struct RegionReader<'a> {
    area: &'a [u8],
    address: u32,
}

impl<'a> RegionReader<'a> {
    /// Returns a reader of `area`, whose address in the guest's memory is `address`.
    pub const fn new(area: &'a [u8], address: u32) -> Self {
        Self { area, address }
    }

    /// Returns a region's version and bytes; `None` if the agent's group doesn't read it.
    pub fn find(&self, region: u64) -> Option<(u64, &'a [u8])> {
        let mut rest = self.area;
        loop {
            let (view, after) = rest.split_first_chunk::<{ size_of::<RegionView>() }>()?;
            let view: RegionView = bytemuck::pod_read_unaligned(view);
            if view.bytes == 0 {
                return None;
            }
            if view.region == region {
                let start = view.address.checked_sub(self.address)? as usize;
                let bytes = self.area.get(start..start.checked_add(view.bytes as usize)?)?;
                return Some((view.version, bytes));
            }
            rest = after;
        }
    }
}
