//! Payment for the fuel of the frame's calls. What a budget can't pay in a frame is a debt that is paid in later frames.
//!
//! Fuel is paid upwards, and nothing is forgiven on the way:
//!
//! ```text
//! a group with a bound of its own     pays at most that in a frame; its tenant, or everybody's budget, is charged what it pays
//! a group without one                 its tenant, or everybody's budget, is charged what its calls used
//! a tenant                            pays at most its bound in a frame; everybody's budget is charged what it pays
//! ```
//!
//! What calls may have used beyond what was counted is charged like the rest if the group has a bound of its own. Else the group owes it
//! by itself, and the tenant's groups pay such debts out of one more budget of the same size, which they share.

use std::collections::BTreeMap;

use wasm_engine_components::{GroupIndex, GroupLimits};

use crate::world::directory::Directory;
use crate::world::scheduler::Scheduler;

/// Fuel of the calls of a group in a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameFuel {
    /// Fuel that was counted.
    pub used: u64,
    /// Fuel that may have been used beyond that.
    pub uncounted: u64,
}

impl FrameFuel {
    pub(crate) fn add(&mut self, more: Self) {
        self.used = self.used.saturating_add(more.used);
        self.uncounted = self.uncounted.saturating_add(more.uncounted);
    }
}

/// Adds to a debt, and pays as much of it as a frame's budget allows. Returns the amount paid.
fn pay(debt: &mut u64, more: u64, budget: u64) -> u64 {
    let due = debt.saturating_add(more);
    let paid = due.min(budget);
    *debt = due - paid;
    paid
}

impl Scheduler {
    /// Charges budgets with the cost of the frame's calls, group by group.
    pub(crate) fn book(&mut self, directory: &Directory, fuel: &[FrameFuel]) {
        if !self.is_bounded {
            return;
        }
        let (mut tenants, mut all) = (vec![0_u64; self.tenants.len()], 0_u64);
        let mut uncounted = vec![0_u64; fuel.len()];
        for (index, (group, fuel)) in directory.groups.iter().zip(fuel).enumerate() {
            let own = group.spec.limits.fuel_per_frame_max;
            let debt = &mut self.group_debts[index];
            let charge = if own < GroupLimits::UNBOUNDED {
                pay(debt, fuel.used.saturating_add(fuel.uncounted), own)
            } else {
                uncounted[index] = debt.saturating_add(fuel.uncounted);
                fuel.used
            };
            let payer = group.spec.tenant.map_or(&mut all, |tenant| &mut tenants[tenant.0 as usize]);
            *payer = payer.saturating_add(charge);
        }
        self.pay_uncounted(directory, &uncounted);
        for ((tenant, debt), charge) in self.tenants.iter().zip(&mut self.tenant_debts).zip(tenants) {
            all = all.saturating_add(pay(debt, charge, tenant.fuel_per_frame_max));
        }
        pay(&mut self.debt, all, self.settings.fuel_per_frame_max);
    }

    /// Pays what groups without a bound of their own owe for fuel that wasn't counted: at most everybody's budget in a frame, and at most a tenant's
    /// for all of its groups. It is taken off neither, because then a group's traps would stop the groups beside it.
    fn pay_uncounted(&mut self, directory: &Directory, dues: &[u64]) {
        if dues.iter().all(|&due| due == 0) {
            return;
        }
        // Groups by who pays for them: the key is a tenant, or the index of a group without one, which pays by itself.
        let mut payers = BTreeMap::<(Option<u32>, usize), Vec<usize>>::new();
        for group in (0..dues.len()).filter(|&group| dues[group] > 0) {
            let tenant = directory.groups[GroupIndex::of(group)].spec.tenant.map(|tenant| tenant.0);
            payers.entry((tenant, tenant.map_or(group, |_| 0))).or_default().push(group);
        }
        let dues_of = |groups: &[usize]| groups.iter().map(|&group| dues[group]).collect::<Vec<_>>();
        let tenant_bound = |tenant: u32| self.tenants[tenant as usize].fuel_per_frame_max;
        let sums = payers.iter().map(|((tenant, _), groups)| {
            let sum = dues_of(groups).into_iter().fold(0, u64::saturating_add);
            sum.min(tenant.map_or(u64::MAX, tenant_bound))
        });
        let parts = divide(self.settings.fuel_per_frame_max, &sums.collect::<Vec<_>>());
        for (groups, part) in payers.values().zip(parts) {
            for (&group, paid) in groups.iter().zip(divide(part, &dues_of(groups))) {
                self.group_debts[group] = dues[group] - paid;
            }
        }
    }
}

/// Divides a budget among debtors in equal parts; what one doesn't need goes to the others. Returns what each pays.
fn divide(budget: u64, dues: &[u64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..dues.len()).collect();
    // The smallest debt comes first, so that what it leaves goes to the others.
    order.sort_by_key(|&debtor| dues[debtor]);
    let (mut left, mut paid) = (budget, vec![0; dues.len()]);
    for (debtor, others) in order.into_iter().zip((0..dues.len() as u64).rev()) {
        // Rounded up, so that a budget that is smaller than the number of debtors is spent, too.
        paid[debtor] = dues[debtor].min(left.div_ceil(others + 1));
        left -= paid[debtor];
    }
    paid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_divided_equally_and_spent_as_far_as_it_is_needed() {
        assert_eq!(divide(10, &[100, 100, 100]), [4, 3, 3]);
        assert_eq!(divide(10, &[100, 1, 100]), [5, 1, 4]);
        assert_eq!(divide(2, &[5, 4, 3]), [0, 1, 1]);
        assert_eq!(divide(u64::MAX, &[u64::MAX, 7]), [u64::MAX - 7, 7]);
        assert_eq!(divide(0, &[3]), [0]);
        assert_eq!(divide(9, &[]), []);
    }
}
