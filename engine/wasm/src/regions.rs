//! Shared regions in agents' memories: each reader has a copy, which is brought up to date before a call if there is a newer
//! version. A region that hasn't changed costs a reader nothing, and a read costs no call of the host. Why it isn't a mapping:
//! `docs/decisions/0011-regions-are-copied-once-per-version.md`.

use wasm_engine_abi::{ExchangeLayout, RegionView};
use wasm_engine_components::{GroupSpec, RegionId, RegionSpec};
use wasm_engine_systems::ports::SharedRegion;

use super::{error::ModuleProblem, memory::GuestMemoryMut};

/// What a group's agents read, and where they find it.
pub(super) struct Readable(Vec<Place>);

/// A region in the area of each agent.
struct Place {
    region: RegionId,
    /// Its position among all regions.
    at: usize,
    /// Address of its view.
    view: u32,
    /// Address of its bytes.
    address: u32,
    bytes: u32,
}

impl Readable {
    /// Lays out the regions that a group reads in its module's regions area; `None` for none.
    pub(super) fn plan(
        group: &GroupSpec,
        regions: &[RegionSpec],
        layout: &ExchangeLayout,
    ) -> Result<Option<Self>, ModuleProblem> {
        let mut ordered: Vec<&RegionSpec> = regions.iter().collect();
        ordered.sort_by_key(|region| region.id);
        let read = |region: &RegionSpec| region.readers.binary_search(&group.id).is_ok();
        let read: Vec<(usize, &RegionSpec)> =
            ordered.into_iter().enumerate().filter(|(_, region)| read(region)).collect();
        if read.is_empty() {
            return Ok(None);
        }
        let needed = RegionView::area_bytes(read.iter().map(|(_, region)| region.bytes));
        if needed > u64::from(layout.regions_bytes_max) {
            let (group, bytes_max) = (group.name.clone(), layout.regions_bytes_max);
            return Err(ModuleProblem::Regions { group, bytes: needed, bytes_max });
        }
        // From the start of the area, so that no sum passes its size. What ends the table stays as it is: zeros.
        let (mut view, mut contents) = (0, (read.len() as u32 + 1) * RegionView::BYTES);
        let mut places = Vec::with_capacity(read.len());
        for (at, region) in read {
            let (view_address, address) = (layout.regions + view, layout.regions + contents);
            places.push(Place { region: region.id, at, view: view_address, address, bytes: region.bytes });
            view += RegionView::BYTES;
            contents += region.bytes.next_multiple_of(8);
        }
        assert!(u64::from(contents) == needed, "the layout takes what was checked");
        Ok(Some(Self(places)))
    }

    /// The first frame in which all that the agents read was as it is now.
    pub(super) fn newest(&self, regions: &[SharedRegion<'_>]) -> u64 {
        self.0.iter().map(|place| place.of(regions).state.since_frame).max().unwrap_or(0)
    }

    /// Writes to an agent what it hasn't seen: all that is new since the frame `shown`, or all that isn't zeros, and the table,
    /// where that is 0.
    /// `memory` is that of an agent with the layout of the plan.
    #[inline(never)]
    pub(super) fn write(&self, regions: &[SharedRegion<'_>], shown: u64, mut memory: GuestMemoryMut<'_>) {
        let memory = memory.bytes();
        for place in &self.0 {
            let state = place.of(regions).state;
            if state.since_frame < shown {
                continue;
            }
            let (region, version) = (place.region.0, state.version);
            let view = RegionView { region, version, address: place.address, bytes: place.bytes };
            memory[place.view as usize..][..size_of::<RegionView>()].copy_from_slice(bytemuck::bytes_of(&view));
            if version > 0 {
                memory[place.address as usize..][..state.bytes.len()].copy_from_slice(&state.bytes);
            }
        }
    }
}

impl Place {
    /// The region now.
    #[inline]
    fn of<'a>(&self, regions: &'a [SharedRegion<'a>]) -> &'a SharedRegion<'a> {
        let shared = &regions[self.at];
        // A promise of the systems: see `StepBatch::regions`. A copy of other bytes would leave the agent's area.
        assert!(shared.region.id == self.region, "the regions are those of the load");
        assert!(shared.state.bytes.len() == self.bytes as usize, "a region keeps its size");
        shared
    }
}
