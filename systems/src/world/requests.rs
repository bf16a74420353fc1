//! Requests that wait for a reply. They are registered and answered when a step's messages are admitted, and given up at the
//! start of the frame of their deadline.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::AgentId;

use crate::codec::{self, Request, digest_small};

/// The requests that wait for a reply. State.
#[derive(Resource, Debug, Default)]
pub(crate) struct Requests {
    /// The requests, by the agent that asks and its own number for the request.
    pending: BTreeMap<(AgentId, u64), Request>,
    /// The same requests, by the frame in which each is given up.
    deadlines: BTreeSet<(u64, AgentId, u64)>,
    /// Number of requests of each agent.
    counts: BTreeMap<AgentId, u32>,
    /// Sum of the digests of all. Carried.
    sum: u128,
}

impl Requests {
    /// Registers a request of the agent `from`.
    ///
    /// # Errors
    /// The agent has as many as it may have, or one of that number.
    pub(crate) fn ask(&mut self, from: AgentId, request: Request, requests_max: u32) -> Result<(), BounceReason> {
        let count = self.counts.get(&from).copied().unwrap_or(0);
        if self.pending.contains_key(&(from, request.correlation)) {
            return Err(BounceReason::WrongState);
        }
        if count >= requests_max {
            return Err(BounceReason::OverBudget);
        }
        self.insert(from, request);
        Ok(())
    }

    /// Adds a request; `false` if there is one of that number.
    pub(crate) fn insert(&mut self, from: AgentId, request: Request) -> bool {
        let correlation = request.correlation;
        if self.pending.insert((from, correlation), request).is_some() {
            return false;
        }
        self.deadlines.insert((request.deadline, from, correlation));
        *self.counts.entry(from).or_default() += 1;
        self.sum = self.sum.wrapping_add(digest_small::<codec::PendingRequests, 32>(from.0, request));
        true
    }

    /// Takes the reply of the agent `replier` to the request of `from` with that number.
    ///
    /// # Errors
    /// There is no such request.
    pub(crate) fn answer(&mut self, from: AgentId, correlation: u64, replier: AgentId) -> Result<(), BounceReason> {
        match self.pending.get(&(from, correlation)) {
            Some(pending) if pending.to == replier => {
                self.remove(from, correlation);
                Ok(())
            }
            _ => Err(BounceReason::NoRequest),
        }
    }

    /// Closes a request whose message couldn't be delivered. A later request of the same number stays open.
    pub(crate) fn give_up(&mut self, message: &MessageHeader) {
        if message.status != status::REQUEST || message.sender <= sender::NATIVE {
            return;
        }
        let (from, correlation) = (AgentId(message.sender), message.correlation);
        let pending = self.pending.get(&(from, correlation));
        if pending.is_some_and(|pending| pending.asked == message.frame) {
            self.remove(from, correlation);
        }
    }

    fn remove(&mut self, from: AgentId, correlation: u64) -> Option<Request> {
        let pending = self.pending.remove(&(from, correlation))?;
        self.deadlines.remove(&(pending.deadline, from, correlation));
        if let Some(count) = self.counts.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&from);
            }
        }
        self.sum = self.sum.wrapping_sub(digest_small::<codec::PendingRequests, 32>(from.0, pending));
        Some(pending)
    }

    /// Removes a request whose deadline has come, and returns it with the agent that asked.
    pub(crate) fn expire(&mut self, frame: u64) -> Option<(AgentId, Request)> {
        let &(deadline, from, correlation) = self.deadlines.first()?;
        if deadline > frame {
            return None;
        }
        self.remove(from, correlation).map(|request| (from, request))
    }

    /// Forgets the requests of an agent that has ended.
    pub(crate) fn forget(&mut self, agent: AgentId) {
        if !self.counts.contains_key(&agent) {
            return;
        }
        let own: Vec<u64> =
            self.pending.range((agent, 0)..=(agent, u64::MAX)).map(|((_, number), _)| *number).collect();
        for number in own {
            self.remove(agent, number);
        }
    }

    /// Returns all requests, each with the agent that asks, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AgentId, &Request)> {
        self.pending.iter().map(|((from, _), request)| (*from, request))
    }

    /// Returns the sum of the digests of all requests.
    pub(crate) const fn sum(&self) -> u128 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_components::GroupId;

    const A: AgentId = AgentId::new(GroupId(1), 0);
    const B: AgentId = AgentId::new(GroupId(1), 1);
    const C: AgentId = AgentId::new(GroupId(2), 0);

    #[test]
    fn requests_are_bounded_answered_once_and_leave_nothing() {
        let mut requests = Requests::default();
        let request = |correlation, to| Request { correlation, to, asked: 3, deadline: 5 };
        assert_eq!(requests.ask(A, request(1, B), 2), Ok(()));
        assert_eq!(requests.ask(A, request(1, C), 2), Err(BounceReason::WrongState));
        assert_eq!(requests.ask(A, request(2, C), 2), Ok(()));
        assert_eq!(requests.ask(A, request(3, C), 2), Err(BounceReason::OverBudget));
        assert_eq!(requests.answer(A, 1, C), Err(BounceReason::NoRequest));
        assert_eq!(requests.answer(A, 1, B), Ok(()));
        assert_eq!(requests.answer(A, 1, B), Err(BounceReason::NoRequest));
        let (sender, correlation) = (A.0, 2);
        let earlier =
            MessageHeader { sender, correlation, frame: 2, status: status::REQUEST, ..MessageHeader::default() };
        requests.give_up(&earlier);
        assert_ne!(requests.sum(), 0, "that was an earlier request");
        requests.forget(A);
        assert!(requests.pending.is_empty() && requests.deadlines.is_empty() && requests.counts.is_empty());
        assert_eq!(requests.sum(), 0);
    }
}
