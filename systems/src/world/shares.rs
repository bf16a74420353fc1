//! A budget of a frame for all groups together, with a part that is each group's own: so many groups that take what they can are bounded, and
//! none of them takes another's part.

use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use wasm_engine_components::GroupIndex;

/// What is left of one. Transient.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// For each group, by index, which of `parts` is its own.
    payers: Vec<usize>,
    /// What groups, and after them tenants, have for themselves.
    parts: Vec<u64>,
    /// What is there for all, beyond their parts.
    common: u64,
    /// Whether it bounds everybody: events and native systems, too.
    is_bound: bool,
}

impl Shares {
    /// Opens a budget that a scenario sets: nobody has a part of it, and who comes first takes first.
    pub(crate) fn open_bound(&mut self, directory: &Directory, tenants: usize, bound: u64) {
        self.is_bound = true;
        self.common = bound;
        self.payers.clear();
        self.payers.extend(0..directory.groups.len());
        self.parts.clear();
        self.parts.resize(directory.groups.len() + tenants, 0);
    }

    /// Opens the default: `common` for all, and as much again that is divided among the groups without a tenant and the tenants. Where that is
    /// less than `least` of a payer's groups, the payer has so much. A group or a tenant whose limit a scenario sets, as `set` and `tenants` say
    /// it, has all of that for its own.
    pub(crate) fn open_fair(
        &mut self,
        directory: &Directory,
        common: u64,
        (set, tenants): (impl Fn(&GroupRange) -> Option<u64>, &[Option<u64>]),
        least: impl Fn(&GroupRange) -> u64,
    ) {
        let groups = directory.groups.len();
        self.is_bound = false;
        self.common = common;
        self.parts.clear();
        self.parts.resize(groups + tenants.len(), 0);
        self.payers.clear();
        let mut divides = vec![false; self.parts.len()];
        for (at, group) in directory.groups.iter().enumerate() {
            let tenant = group.spec.tenant.map(|tenant| tenant.0 as usize);
            let own = set(group);
            let payer = match tenant {
                Some(tenant) if own.is_none() => groups + tenant,
                _ => at,
            };
            self.payers.push(payer);
            let of_tenant = tenant.filter(|_| payer != at).and_then(|tenant| tenants[tenant]);
            match own.or(of_tenant) {
                Some(limit) => self.parts[payer] = limit,
                None => {
                    divides[payer] = true;
                    self.parts[payer] = self.parts[payer].saturating_add(least(group));
                }
            }
        }
        let part = common / (divides.iter().filter(|&&divides| divides).count() as u64).max(1);
        for (own, _) in self.parts.iter_mut().zip(divides).filter(|(_, divides)| *divides) {
            *own = part.max(*own);
        }
    }

    /// Whether a group, or for `None` events and native systems, may take so much.
    pub(crate) fn has(&self, group: Option<GroupIndex>, amount: u64) -> bool {
        match group {
            Some(at) => amount.saturating_sub(self.parts[self.payers[at.index()]]) <= self.common,
            None => !self.is_bound || amount <= self.common,
        }
    }

    /// Takes so much, which is there: first of the group's own part.
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
