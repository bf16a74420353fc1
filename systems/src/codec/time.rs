//! The form of what takes effect later: timers, deferred calls, debts of fuel, requests, commands, swaps that were asked for.

use wasm_engine_components::{Action, AgentId, Command, Lane, Swap};

use super::field::{Fields, Kind, U64};
use super::reader::Reader;
use super::sink::Sink;
use super::walk::own_fields;
use super::{EntityKind, StateCodec};

/// Declares kinds of state whose values are one number.
macro_rules! numbers {
    ($($(#[$doc:meta])* $codec:ident $name:literal of $of:ident: $field:literal $kind:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) enum $codec {}

            impl StateCodec for $codec {
                const NAME: &'static str = $name;
                const LANE: Lane = Lane::Schedule;
                const OF: EntityKind = EntityKind::$of;
                const FIELDS: Fields = Fields::once(&[($field, $kind)]);

                type Value<'a> = u64;
                type Decoded<'a> = u64;

                #[inline]
                fn encode(number: u64, to: &mut impl Sink) {
                    to.u64(number);
                }

                fn decode<'a>(from: &mut Reader<'a>) -> Option<u64> {
                    from.u64()
                }
            }
        )*
    };
}

numbers! {
    /// The frames in which agents are woken.
    Timers "Timers" of Agent: "frame" U64;
    /// The frame since which each deferred agent waits.
    Deferred "Deferred" of Agent: "since" U64;
    /// The slot after which the round goes on, by the id of its first agent.
    Cursor "Cursor" of World: "place" Kind::Agent;
    /// Fuel that is owed by groups; by all, under the id 0.
    GroupDebts "GroupDebts" of Group: "debt" U64;
}

/// Fuel that is owed by tenants: the debt, and the name of the tenant.
///
/// A tenant's number, by which a debt is keyed, is its index among the names of a scenario, and a branch may add to those. So a state is loaded by
/// the name. The number is in the hash: where a branch numbers a tenant anew, its digests differ from those of the run that it branched off from the
/// branch on.
pub(crate) enum TenantDebts {}

impl StateCodec for TenantDebts {
    const NAME: &'static str = "TenantDebts";
    const LANE: Lane = Lane::Schedule;
    const OF: EntityKind = EntityKind::Tenant;
    const FIELDS: Fields = Fields::once(&[("debt", U64), ("tenant", Kind::Text)]);

    type Value<'a> = (u64, &'a str);
    type Decoded<'a> = (u64, &'a str);

    fn encode((debt, tenant): (u64, &str), to: &mut impl Sink) {
        to.u64(debt);
        to.put(tenant.as_bytes());
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<(u64, &'a str)> {
        Some((from.u64()?, from.text()?))
    }
}

/// Requests that wait for a reply.
pub(crate) enum PendingRequests {}

/// A request, under the id of the agent that asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// That agent's own number for it.
    pub correlation: u64,
    /// The agent that was asked.
    pub to: AgentId,
    /// The frame in which it was asked.
    pub asked: u64,
    /// The frame in which it is given up.
    pub deadline: u64,
}

impl StateCodec for PendingRequests {
    const NAME: &'static str = "Requests";
    const LANE: Lane = Lane::Requests;
    const OF: EntityKind = EntityKind::Agent;
    const FIELDS: Fields =
        Fields::once(&[("correlation", U64), ("to", Kind::Agent), ("asked", U64), ("deadline", U64)]);

    type Value<'a> = Request;
    type Decoded<'a> = Request;

    #[inline]
    fn encode(request: Request, to: &mut impl Sink) {
        to.u64s([request.correlation, request.to.0, request.asked, request.deadline]);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Request> {
        let [correlation, to] = [from.u64()?, from.u64()?];
        Some(Request { correlation, to: AgentId(to), asked: from.u64()?, deadline: from.u64()? })
    }
}

/// Declares queues of what takes effect in the next frame. Their entries are keyed by index, and saved in their serde form.
macro_rules! queues {
    ($($(#[$doc:meta])* $codec:ident $name:literal of $value:ty;)*) => {
        $(
            $(#[$doc])*
            pub(crate) enum $codec {}

            impl StateCodec for $codec {
                const NAME: &'static str = $name;
                const LANE: Lane = Lane::Commands;
                const OF: EntityKind = EntityKind::Place;
                const FIELDS: Fields = Fields::Serde(own_fields::<$value>);

                type Value<'a> = &'a $value;
                type Decoded<'a> = $value;

                fn encode(value: &$value, to: &mut impl Sink) {
                    to.serde(value, Self::NAME);
                }

                fn decode<'a>(from: &mut Reader<'a>) -> Option<$value> {
                    from.serde()
                }
            }
        )*
    };
}

queues! {
    /// Commands of agents.
    AgentQueue "AgentCommands" of Command;
    /// Commands of native systems.
    NativeQueue "NativeCommands" of Action;
    /// Swaps that native systems asked for.
    SwapQueue "RequestedSwaps" of Swap;
}
