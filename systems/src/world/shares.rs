//! A budget of a frame for all groups together, of which each has a part of its own: however many groups take what they can, together they are
//! bounded, and none of them takes another's part.

use wasm_engine_components::{GroupIndex, TenantId};

use crate::world::directory::Directory;
use crate::world::groups::GroupRange;

/// Remainder of such a budget. Transient.
///
/// A *payer* has a part of the budget for itself: each group without a tenant, each tenant for its groups together, and each group with a limit of
/// its own.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// For each group, by index, who pays for it: an index of `parts`.
    payers: Vec<usize>,
    /// Remainder of each payer's own part: those of the groups, by index, and after them those of the tenants.
    parts: Vec<u64>,
    /// Remainder for all, beyond their parts.
    common: u64,
    /// Whether events and native systems are bounded, too.
    is_bound: bool,
}

/// Rules by which a budget that no scenario bounds is shared.
pub(crate) struct FairShares<'a, LimitOf, LeastOf> {
    /// Amount for all. As much again is divided among the payers that have no limit of their own.
    pub common: u64,
    /// Returns the limit that the scenario sets for a group, if it sets one: the group then has all of it for its own part.
    pub limit_of: LimitOf,
    /// The same for each tenant.
    pub tenant_limits: &'a [Option<u64>],
    /// Returns what a group's payer has for it at least, however many payers there are.
    pub least_of: LeastOf,
}

impl<LimitOf: Fn(&GroupRange) -> Option<u64>, LeastOf: Fn(&GroupRange) -> u64> FairShares<'_, LimitOf, LeastOf> {
    /// Returns who pays for the group with that index among `groups` groups, and the limit that the scenario sets for the payer.
    fn payer(&self, index: usize, group: &GroupRange, groups: usize) -> (usize, Option<u64>) {
        let limit = (self.limit_of)(group);
        match group.spec.tenant {
            Some(TenantId(tenant)) if limit.is_none() => {
                (groups + tenant as usize, self.tenant_limits[tenant as usize])
            }
            _ => (index, limit),
        }
    }
}

impl Shares {
    /// Opens a budget that a scenario bounds: nobody has a part of it, and who comes first takes first.
    pub(crate) fn open_bound(&mut self, directory: &Directory, tenants: usize, bound: u64) {
        self.is_bound = true;
        self.common = bound;
        self.clear_parts(directory.groups.len() + tenants);
        self.payers.extend(0..directory.groups.len());
    }

    /// Opens a budget that no scenario bounds.
    pub(crate) fn open_fair<LimitOf, LeastOf>(&mut self, directory: &Directory, fair: &FairShares<'_, LimitOf, LeastOf>)
    where
        LimitOf: Fn(&GroupRange) -> Option<u64>,
        LeastOf: Fn(&GroupRange) -> u64,
    {
        self.is_bound = false;
        self.common = fair.common;
        let groups = directory.groups.len();
        self.clear_parts(groups + fair.tenant_limits.len());
        let mut has_no_limit = vec![false; self.parts.len()];
        for (index, group) in directory.groups.iter().enumerate() {
            let (payer, limit) = fair.payer(index, group, groups);
            self.payers.push(payer);
            if let Some(limit) = limit {
                self.parts[payer] = limit;
            } else {
                has_no_limit[payer] = true;
                self.parts[payer] = self.parts[payer].saturating_add((fair.least_of)(group));
            }
        }
        self.divide(fair.common, &has_no_limit);
    }

    /// Makes `parts` empty parts, and forgets the payers.
    fn clear_parts(&mut self, parts: usize) {
        self.payers.clear();
        self.parts.clear();
        self.parts.resize(parts, 0);
    }

    /// Divides an amount equally among the payers for which `divides` says so. A payer that has more than that already keeps what it has.
    fn divide(&mut self, amount: u64, divides: &[bool]) {
        let payers = divides.iter().filter(|&&divides| divides).count() as u64;
        let equal = amount / payers.max(1);
        for (part, _) in self.parts.iter_mut().zip(divides).filter(|(_, divides)| **divides) {
            *part = equal.max(*part);
        }
    }

    /// Returns whether an amount is left for a group, or, for `None`, for events and native systems.
    pub(crate) fn has(&self, group: Option<GroupIndex>, amount: u64) -> bool {
        match group {
            Some(at) => amount.saturating_sub(self.parts[self.payers[at.index()]]) <= self.common,
            None => !self.is_bound || amount <= self.common,
        }
    }

    /// Takes an amount that [`Shares::has`] has found to be left, from the group's own part first.
    pub(crate) fn take(&mut self, group: Option<GroupIndex>, amount: u64) {
        let own = match group {
            Some(at) => &mut self.parts[self.payers[at.index()]],
            None if self.is_bound => &mut 0,
            None => return,
        };
        let of_own = amount.min(*own);
        *own -= of_own;
        self.common -= amount - of_own;
    }
}
