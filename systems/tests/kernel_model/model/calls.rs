//! The model's schedule: who is called in a frame, in which wave, and what it may cost.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use wasm_engine_abi::CallKind;
use wasm_engine_components::{AgentFault, AgentId, FaultKind, GroupId, GroupLimits, Lifecycle, SchedulerMode, Trigger};
use wasm_engine_systems::Population;

use super::{Called, Model};

/// What a call costs, and what one that faults may have cost beyond that: the table's constants.
const FUEL: u64 = 10;
const UNCOUNTED: u64 = 35;

/// What is left of the frame's budgets, and what frames so far owe. Budgets are keyed by whose they are.
#[derive(Default)]
pub struct Clock {
    /// Groups of which an agent has ended.
    pub ended: BTreeSet<GroupId>,
    cursor: Option<AgentId>,
    /// Who is called in this frame, by wave.
    chosen: BTreeMap<u32, Vec<AgentId>>,
    debts: BTreeMap<Payer, u64>,
    /// What each group's calls took in the frame.
    used: BTreeMap<GroupId, u64>,
    left: BTreeMap<Payer, u64>,
    steps_left: u64,
    messages: BTreeMap<Payer, u64>,
    bytes: BTreeMap<GroupId, u64>,
    /// Calls and steps of each group so far.
    calls: BTreeMap<GroupId, (u64, u64)>,
    costs: BTreeMap<GroupId, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Payer {
    All,
    Group(GroupId),
    Tenant(u32),
}

/// Who pays for a group: everybody together, the group, its tenant.
fn payers(population: &Population, group: GroupId) -> Vec<Payer> {
    let seed = population.groups.iter().find(|seed| seed.group.id == group).unwrap();
    let tenant = seed.group.tenant.map(|tenant| Payer::Tenant(tenant.0));
    [Payer::All, Payer::Group(group)].into_iter().chain(tenant).collect()
}

/// What a payer may use in a frame by itself.
fn bound(population: &Population, payer: Payer) -> u64 {
    match payer {
        Payer::All => population.scheduler.fuel_per_frame_max,
        Payer::Tenant(at) => population.tenants[at as usize].fuel_per_frame_max,
        Payer::Group(id) => {
            population.groups.iter().find(|seed| seed.group.id == id).unwrap().group.limits.fuel_per_frame_max
        }
    }
}

/// Deals a budget out, one by one and round after round, to who still owes something. Who owes least is first in each round.
fn deal(mut budget: u64, debts: &BTreeMap<Payer, u64>) -> BTreeMap<Payer, u64> {
    let mut order: Vec<_> = debts.iter().map(|(&payer, &debt)| (debt, payer)).collect();
    order.sort();
    let mut paid: BTreeMap<_, _> = debts.keys().map(|&payer| (payer, 0)).collect();
    while budget > 0 && paid.iter().any(|(payer, paid)| debts[payer] > *paid) {
        for (debt, payer) in &order {
            let paid = paid.get_mut(payer).unwrap();
            if budget > 0 && debt > paid {
                *paid += 1;
                budget -= 1;
            }
        }
    }
    paid
}

impl Clock {
    fn open(&mut self, population: &Population) {
        let groups = || population.groups.iter().map(|seed| &seed.group);
        let tenants = || (0..).zip(&population.tenants);
        let mut fuel = BTreeMap::from([(Payer::All, population.scheduler.fuel_per_frame_max)]);
        // A group without a bound of its own may use what its tenant's and that of all leave it, and waits alone for what wasn't counted.
        fuel.extend(groups().map(|group| {
            let all = payers(population, group.id).into_iter().map(|payer| bound(population, payer)).min().unwrap();
            let own = group.limits.fuel_per_frame_max;
            (Payer::Group(group.id), if own < GroupLimits::UNBOUNDED { own } else { all })
        }));
        fuel.extend(tenants().map(|(at, tenant)| (Payer::Tenant(at), tenant.fuel_per_frame_max)));
        self.pay(population);
        for (payer, budget) in &fuel {
            let debt = self.debts.get(payer).copied().unwrap_or(0);
            self.left.insert(*payer, budget.saturating_sub(debt));
        }
        self.steps_left = population.scheduler.steps_per_frame_max;
        self.messages.extend(groups().map(|group| (Payer::Group(group.id), group.limits.messages_per_frame_max)));
        self.messages.extend(tenants().map(|(at, tenant)| (Payer::Tenant(at), tenant.messages_per_frame_max)));
        self.messages.insert(Payer::All, u64::MAX);
        self.bytes.extend(groups().map(|group| (group.id, group.limits.message_bytes_per_frame_max)));
        self.costs.extend(groups().map(|group| match self.calls.get(&group.id) {
            Some(&(calls, steps)) if steps > 0 => (group.id, (calls * FUEL / steps).max(1)),
            Some(&(calls, _)) if calls > 0 => (group.id, (calls * FUEL).min(group.limits.fuel_per_step_max)),
            _ => (group.id, group.limits.fuel_per_step_max),
        }));
    }

    /// The frame before is paid for: by groups, by tenants, by all. What one pays, the next one is charged.
    fn pay(&mut self, population: &Population) {
        let used = std::mem::take(&mut self.used);
        let mut charged = BTreeMap::<Payer, u64>::new();
        // What tenants, and groups without one, owe for fuel that nobody counted, of groups that have no bound.
        let mut owed = BTreeMap::<Payer, BTreeMap<Payer, u64>>::new();
        for seed in &population.groups {
            let group = Payer::Group(seed.group.id);
            let own = bound(population, group);
            let used = used.get(&seed.group.id).copied().unwrap_or(0);
            let debt = self.debts.entry(group).or_default();
            let tenant = seed.group.tenant.map(|tenant| Payer::Tenant(tenant.0));
            *charged.entry(tenant.unwrap_or(Payer::All)).or_default() += if own < GroupLimits::UNBOUNDED {
                *debt += used;
                let before = *debt;
                *debt = debt.saturating_sub(own);
                before - *debt
            } else {
                owed.entry(tenant.unwrap_or(group)).or_default().insert(group, *debt);
                used
            };
        }
        let sums = owed.iter().map(|(payer, debts)| {
            let sum: u64 = debts.values().sum();
            (*payer, if matches!(payer, Payer::Tenant(_)) { sum.min(bound(population, *payer)) } else { sum })
        });
        for (payer, part) in deal(bound(population, Payer::All), &sums.collect()) {
            for (group, paid) in deal(part, &owed[&payer]) {
                *self.debts.get_mut(&group).unwrap() -= paid;
            }
        }
        let tenants = (0..population.tenants.len() as u32).map(Payer::Tenant);
        for payer in tenants.chain([Payer::All]) {
            let debt = self.debts.entry(payer).or_default();
            let due = *debt + charged.get(&payer).copied().unwrap_or(0);
            *debt = due.saturating_sub(bound(population, payer));
            *charged.entry(Payer::All).or_default() += due - *debt;
        }
    }

    /// Whether one more call of a group fits into the frame; if so, it is paid for.
    fn take_call(&mut self, population: &Population, group: GroupId) -> bool {
        let payers = payers(population, group);
        let fits = self.steps_left > 0 && payers.iter().all(|payer| self.left[payer] > 0);
        if fits {
            self.steps_left -= 1;
            for payer in payers {
                let left = self.left.get_mut(&payer).unwrap();
                *left = left.saturating_sub(self.costs[&group]);
            }
        }
        fits
    }

    /// Whether one more message of a group fits into the frame; if so, it is counted.
    pub fn take_message(&mut self, population: &Population, group: GroupId, bytes: u64) -> bool {
        let payers = payers(population, group);
        let fits = self.bytes[&group] >= bytes && payers.iter().all(|payer| self.messages[payer] > 0);
        if fits {
            *self.bytes.get_mut(&group).unwrap() -= bytes;
            payers.iter().for_each(|payer| *self.messages.get_mut(payer).unwrap() -= 1);
        }
        fits
    }
}

impl Model {
    /// A group is called after all that it comes after.
    pub fn wave(&self, group: GroupId) -> u32 {
        let Some(seed) = self.seed(group) else { return 0 };
        seed.group.after.iter().map(|&before| self.wave(before) + 1).max().unwrap_or(0)
    }

    pub fn call_waves(&mut self) {
        self.clock.ended.extend(self.agents.iter().filter(|(_, a)| a.ended.is_some()).map(|(id, _)| id.group()));
        self.clock.open(&self.program.population);
        let groups: Vec<_> = self.program.population.groups.iter().map(|seed| seed.group.id).collect();
        let last = groups.iter().map(|&group| self.wave(group)).max().unwrap_or(0);
        for wave in 0..=last {
            if wave > 0 {
                self.deliver_edges(wave);
            }
            let chosen = self.choose(wave);
            let mut sent = Vec::new();
            for agent in chosen {
                sent.extend(self.call(agent).map(|records| (agent, records)));
            }
            for (agent, records) in sent {
                self.send_all(agent, &records);
                self.asked.insert(agent, records);
            }
        }
    }

    fn is_bounded(&self) -> bool {
        let population = &self.program.population;
        let groups = population.groups.iter().map(|seed| seed.group.limits.fuel_per_frame_max);
        let tenants = population.tenants.iter().map(|tenant| tenant.fuel_per_frame_max);
        let all = [population.scheduler.steps_per_frame_max, population.scheduler.fuel_per_frame_max];
        groups.chain(tenants).chain(all).any(|bound| bound < GroupLimits::UNBOUNDED)
    }

    /// Whom to call in a wave, in the order of ids.
    fn choose(&mut self, wave: u32) -> Vec<AgentId> {
        let ids: Vec<_> = self.agents.keys().copied().collect();
        let due = if wave == 0 {
            self.clock.chosen.clear();
            ids.into_iter().filter(|id| self.is_due(*id)).collect()
        } else {
            // Messages of this frame wake those that weren't looked at.
            let chosen = self.clock.chosen.get(&wave).cloned().unwrap_or_default();
            ids.into_iter()
                .filter(|id| self.wave(id.group()) == wave && !chosen.contains(id) && self.is_woken(*id))
                .collect()
        };
        self.choose_of(due);
        let mut chosen = self.clock.chosen.get(&wave).cloned().unwrap_or_default();
        chosen.sort();
        chosen
    }

    fn is_woken(&self, id: AgentId) -> bool {
        let agent = &self.agents[&id];
        let by_message = self.seed(id.group()).unwrap().group.schedule.trigger == Trigger::Message;
        by_message && agent.life == Lifecycle::Active && agent.deferred.is_none() && !agent.inbox.is_empty()
    }

    /// Chooses those who fit into what is left of the frame, over all waves.
    fn choose_of(&mut self, mut due: Vec<AgentId>) {
        let bounded = self.is_bounded();
        let settings = self.program.population.scheduler;
        let cursor = self.clock.cursor;
        let slot = |id: &AgentId| (id.group(), id.ordinal());
        if bounded {
            due.sort_by_key(|id| {
                let stays = self.agents[id].life != Lifecycle::Terminating;
                let since = self.agents[id].deferred.unwrap_or(self.frame);
                match settings.mode {
                    SchedulerMode::RoundRobin => {
                        let behind = cursor.is_some_and(|cursor| slot(id) <= slot(&cursor));
                        (stays, Reverse(0), since, behind, *id)
                    }
                    SchedulerMode::Priority => {
                        let waited = (self.frame - since).checked_div(settings.ageing_frames.into()).unwrap_or(0);
                        let priority = u64::from(self.seed(id.group()).unwrap().group.schedule.priority) + waited;
                        (stays, Reverse(priority), since, false, *id)
                    }
                }
            });
        }
        let mut all_fit = true;
        for id in due {
            let wave = self.wave(id.group());
            if !bounded || self.clock.take_call(&self.program.population, id.group()) {
                self.agents.get_mut(&id).unwrap().deferred = None;
                self.clock.chosen.entry(wave).or_default().push(id);
                if bounded && all_fit {
                    self.clock.cursor = Some(id);
                }
            } else {
                all_fit = false;
                self.counts.deferred += 1;
                self.agents.get_mut(&id).unwrap().deferred.get_or_insert(self.frame);
            }
        }
    }

    fn is_due(&mut self, id: AgentId) -> bool {
        let trigger = self.seed(id.group()).unwrap().group.schedule.trigger;
        let frame = self.frame;
        let agent = self.agents.get_mut(&id).unwrap();
        match agent.life {
            Lifecycle::Initialising | Lifecycle::Terminating => return true,
            Lifecycle::Active => {}
            Lifecycle::Paused | Lifecycle::Faulted | Lifecycle::Terminated => return false,
        }
        let rings = agent.timer.take_if(|timer| *timer <= frame).is_some();
        let scheduled = match trigger {
            Trigger::Every { period, phase } => frame % u64::from(period) == u64::from(phase),
            Trigger::Message => !agent.backlog.is_empty() || !agent.inbox.is_empty(),
            Trigger::Timer => false,
        };
        rings || scheduled || agent.deferred.is_some()
    }

    /// Calls an agent. Gives what it asks for, unless it faults.
    fn call(&mut self, id: AgentId) -> Option<Vec<super::Record>> {
        let agent = self.agents.get_mut(&id).unwrap();
        let call = match agent.life {
            Lifecycle::Initialising => CallKind::Init,
            Lifecycle::Terminating => CallKind::Shutdown,
            _ => CallKind::Step,
        };
        let mut inbox = Vec::new();
        if call != CallKind::Init {
            let waited = std::mem::take(&mut agent.backlog).into_iter();
            inbox.extend(waited.chain(std::mem::take(&mut agent.inbox)).map(|mail| (mail.header, mail.payload)));
        }
        self.counts.delivered += inbox.len() as u64;
        self.counts.steps += u64::from(call == CallKind::Step);
        let records = self.program.act(id, self.frame, call, &inbox);
        if records.is_none() {
            self.faults.push(AgentFault { agent: id, kind: FaultKind::Trap, detail: 0, reached: 0, allowed: 0 });
            self.faulted.insert(id);
        }
        let (calls, steps) = self.clock.calls.entry(id.group()).or_default();
        (*calls, *steps) = (*calls + 1, *steps + u64::from(call == CallKind::Step));
        *self.clock.used.entry(id.group()).or_default() += FUEL;
        if records.is_none() {
            *self.clock.debts.entry(Payer::Group(id.group())).or_default() += UNCOUNTED;
        }
        self.called.push(Called { agent: id, call, inbox });
        records
    }

    /// What wasn't handed over waits.
    pub fn hold(&mut self) {
        for agent in self.agents.values_mut() {
            agent.backlog.append(&mut agent.inbox);
        }
    }
}
