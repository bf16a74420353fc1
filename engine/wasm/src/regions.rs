//! Shared regions in agents' memories: each reader has a copy, which is updated before a call if there is a newer
//! version. A region that hasn't changed costs a reader nothing, and reading needs no call of the host.
//! `docs/decisions/0011-regions-are-copied-once-per-version.md` says why it isn't a mapping.

use wasm_engine_abi::{ExchangeLayout, RegionView};
use wasm_engine_components::{GroupSpec, RegionId, RegionIndex, RegionSpec};
use wasm_engine_systems::ports::SharedRegion;

use super::{memory::GuestMemoryMut, problem::ModuleProblem};

/// The regions that a group's agents read, and where they are in their memories.
pub(super) struct Readable(Vec<PlannedRegion>);

/// A region in the area of each agent.
struct PlannedRegion {
    region: RegionId,
    index: RegionIndex,
    /// Address of its view.
    view: u32,
    /// Address of its contents.
    address: u32,
    bytes: u32,
}

impl Readable {
    /// Lays out the regions that a group reads in its module's regions area; `None` if it reads none.
    pub(super) fn plan(
        group: &GroupSpec,
        regions: &[RegionSpec],
        layout: &ExchangeLayout,
    ) -> Result<Option<Self>, ModuleProblem> {
        let mut ordered: Vec<&RegionSpec> = regions.iter().collect();
        ordered.sort_by_key(|region| region.id);
        let read = |region: &RegionSpec| region.readers.binary_search(&group.id).is_ok();
        let read: Vec<(RegionIndex, &RegionSpec)> =
            (0..).map(RegionIndex).zip(ordered).filter(|(_, region)| read(region)).collect();
        if read.is_empty() {
            return Ok(None);
        }
        let needed = RegionView::area_bytes(read.iter().map(|(_, region)| region.bytes));
        if needed > u64::from(layout.regions_bytes_max) {
            let (group, bytes_max) = (group.name.clone(), layout.regions_bytes_max);
            return Err(ModuleProblem::Regions { group, bytes: needed, bytes_max });
        }
        // Offsets are from the start of the area, so that no sum exceeds its size. The end of the table stays as it is: zeros.
        let (mut view, mut contents) = (0, (read.len() as u32 + 1) * RegionView::BYTES);
        let mut planned = Vec::with_capacity(read.len());
        for (index, region) in read {
            let (view_address, address) = (layout.regions + view, layout.regions + contents);
            planned.push(PlannedRegion { region: region.id, index, view: view_address, address, bytes: region.bytes });
            view += RegionView::BYTES;
            contents += region.bytes.next_multiple_of(8);
        }
        assert!(u64::from(contents) == needed, "the layout takes what was checked");
        Ok(Some(Self(planned)))
    }

    /// Returns the first frame since which all regions that the agents read are as they are now.
    pub(super) fn newest(&self, regions: &[SharedRegion<'_>]) -> u64 {
        self.0.iter().map(|region_plan| region_plan.of(regions).state.since_frame).max().unwrap_or(0)
    }

    /// Writes the regions that an agent hasn't seen to its memory: those that are new since the frame `shown`, or, if that is 0, the table and
    /// all regions that aren't zeros. `memory` is that of an agent with the layout of the plan.
    #[inline(never)]
    pub(super) fn write(&self, regions: &[SharedRegion<'_>], shown: u64, mut memory: GuestMemoryMut<'_>) {
        let memory = memory.bytes();
        for region_plan in &self.0 {
            let state = region_plan.of(regions).state;
            if state.since_frame < shown {
                continue;
            }
            let (region, version) = (region_plan.region.0, state.version);
            let view = RegionView { region, version, address: region_plan.address, bytes: region_plan.bytes };
            memory[region_plan.view as usize..][..size_of::<RegionView>()].copy_from_slice(bytemuck::bytes_of(&view));
            if version > 0 {
                memory[region_plan.address as usize..][..state.bytes.len()].copy_from_slice(&state.bytes);
            }
        }
    }
}

impl PlannedRegion {
    /// Returns the current state of the region.
    #[inline]
    fn of<'a>(&self, regions: &'a [SharedRegion<'a>]) -> &'a SharedRegion<'a> {
        let shared = &regions[self.index.index()];
        // A promise of the systems: see `StepBatch::regions`. A copy of other bytes would leave the agent's area.
        assert!(shared.region.id == self.region, "the regions are those of the load");
        assert!(shared.state.bytes.len() == self.bytes as usize, "a region keeps its size");
        shared
    }
}
