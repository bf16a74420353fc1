//! The number of the next frame, and the digests of the last one.

use super::entity::StateError;
use super::part::{Coverage, StatePart, Target};
use super::pass::{Loading, Saving, only};
use super::section::Section;
use crate::codec::{Chain, Clock};
use crate::frame::FrameClock;
use crate::world::digest::DigestChain;

impl StatePart for Clock {
    const COVERAGE: Coverage = Coverage::Chain;

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        to.put(0, saving.world.resource::<FrameClock>().frame);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        loading.frame = only(section)?.decode::<Self>()?;
        loading.world.resource_mut::<FrameClock>().frame = loading.frame;
        Ok(())
    }
}

impl StatePart for Chain {
    const COVERAGE: Coverage = Coverage::Chain;

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let chains = saving.world.resource::<DigestChain>();
        to.put(0, chains.world);
        for (group, digest) in saving.directory.groups.iter().zip(&chains.groups) {
            to.put(group.id.0.into(), *digest);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut digests = Vec::new();
        for entry in section.items() {
            digests.push(entry.decode::<Self>()?);
        }
        let ids = loading.directory.groups.iter().map(|group| u64::from(group.id.0));
        if !section.entries().map(|(id, _)| id).eq(std::iter::once(0).chain(ids)) {
            return Err(StateError::Damaged { component: section.component.clone(), entity: None });
        }
        let groups = digests.split_off(1);
        *loading.world.resource_mut::<DigestChain>() = DigestChain { world: digests[0], groups };
        Ok(())
    }
}
