//! What mailboxes take, refuse and drop.

use wasm_engine_components::{MessageOffset, RecipientSlot, TopicIndex};

use super::*;

/// The only agent.
const A: AgentSlot = AgentSlot(0);
const FULL: Result<(), BounceReason> = Err(BounceReason::MailboxFull);

fn roomy() -> Load {
    Load::new(2, 100)
}

fn at(offset: u32) -> Delivery {
    Delivery { chunk: 0, offset: MessageOffset(offset) }
}

fn message(bytes: u32, n: u32) -> Incoming {
    Incoming { slot: A, bytes, delivery: at(n) }
}

fn inboxes(load: Load) -> Inboxes {
    Inboxes { firsts: vec![Link::END], loads: vec![load], ..Inboxes::default() }
}

fn put(load: Load, sizes: &[u32]) -> Vec<Result<(), BounceReason>> {
    let mut inboxes = inboxes(load);
    sizes.iter().zip(0..).map(|(&bytes, n)| inboxes.put(message(bytes, n))).collect()
}

/// What is dropped of messages with those sizes, of which the second value says whether they stay, what is refused, and
/// what is left.
fn put_dropping(load: Load, messages: &[(u32, bool)]) -> (Vec<u32>, Vec<(u32, BounceReason)>, Vec<u32>) {
    let (mut inboxes, mut dropped, mut refused) = (inboxes(load), Vec::new(), Vec::new());
    for (&(bytes, _), n) in messages.iter().zip(0..) {
        let message = message(bytes, n);
        let stays = |at: Delivery| messages[at.offset.index()].1;
        let bytes_of = |at: Delivery| messages[at.offset.index()].0;
        refused.extend(
            inboxes.put_dropping(message, || None, stays, bytes_of, &mut dropped).err().map(|reason| (n, reason)),
        );
    }
    let (mut left, mut next) = (Vec::new(), inboxes.firsts[0]);
    while let Some(link) = inboxes.links.get(next as usize) {
        left.push(link.delivery.offset.0);
        next = link.next;
    }
    assert_eq!(left.len(), inboxes.loads[0].messages as usize);
    assert_eq!(left.iter().map(|&n| messages[n as usize].0).sum::<u32>(), inboxes.loads[0].bytes);
    assert!(inboxes.touched.len() <= 1, "an agent is touched once");
    inboxes.clear();
    assert_eq!((inboxes.firsts[0], inboxes.loads[0].messages), (Link::END, 0));
    (dropped.iter().map(|at| at.offset.0).collect(), refused, left)
}

#[test]
fn reject_keeps_the_oldest_and_what_still_fits() {
    assert_eq!(put(roomy(), &[80, 40, 20, 8]), [Ok(()), FULL, Ok(()), FULL]);
}

#[test]
fn many_are_put_as_one_by_one_up_to_the_first_that_is_not_taken() {
    let to = |to: RecipientSlot, n: u32| Address::new(to, 40, MessageOffset(n));
    let plain = [0, 1, 1, 0].map(|slot| Recipient::Agent(AgentSlot(slot)));
    for (last, added) in
        [(Recipient::Agent(AgentSlot(1)), 4), (Recipient::Topic(TopicIndex(0)), 4), (Recipient::Agent(AgentSlot(2)), 5)]
    {
        let addresses: Vec<_> = plain.into_iter().chain([last]).zip(0..).map(|(who, n)| to(who, n)).collect();
        let (firsts, loads) = (vec![Link::END; 3], vec![roomy(); 3]);
        let mut each = Inboxes { firsts, loads, ..Inboxes::default() };
        let mut all = Inboxes { firsts: each.firsts.clone(), loads: each.loads.clone(), ..Inboxes::default() };
        assert_eq!(all.put_all(&addresses, 0), added);
        for address in &addresses[..added] {
            let Some(Recipient::Agent(slot)) = address.recipient() else { panic!("{address:?} was added") };
            assert_eq!(each.put(Incoming { slot, bytes: address.bytes, delivery: at(address.offset.0) }), Ok(()));
        }
        assert_eq!(format!("{all:?}"), format!("{each:?}"));
    }
}

#[test]
fn drop_oldest_keeps_the_newest() {
    let messages = [(80, false), (40, false), (20, false), (8, false)];
    assert_eq!(put_dropping(roomy(), &messages), (vec![0, 1], vec![], vec![2, 3]));
}

#[test]
fn drop_oldest_never_drops_what_the_engine_says() {
    let messages = [(20, true), (20, false), (20, false), (20, true), (20, true)];
    let refused = vec![(4, BounceReason::MailboxFull)];
    assert_eq!(put_dropping(roomy(), &messages), (vec![1, 2], refused, vec![0, 3]));
}

#[test]
fn a_mailbox_for_one_message_keeps_the_last() {
    let messages = [(20, false), (20, false), (20, false)];
    assert_eq!(put_dropping(Load::new(1, 100), &messages), (vec![0, 1], vec![], vec![2]));
}

#[test]
fn what_can_never_fit_is_too_large_and_pushes_nothing_out() {
    let refused = vec![(1, BounceReason::TooLarge)];
    assert_eq!(put_dropping(roomy(), &[(80, false), (101, false)]), (vec![], refused, vec![0]));
    assert_eq!(put(roomy(), &[80, 101]), [Ok(()), Err(BounceReason::TooLarge)]);
}

#[test]
fn a_closed_mailbox_takes_nothing() {
    let closed = Load::new(0, 100);
    assert_eq!(put(closed, &[48]), [Err(BounceReason::Terminated)]);
    assert_eq!(put_dropping(closed, &[(48, false)]).1, [(0, BounceReason::Terminated)]);
}

#[test]
fn a_list_that_was_dropped_for_a_message_that_does_not_fit_is_touched_once() {
    let mut inboxes = inboxes(Load::new(2, 100));
    assert_eq!(inboxes.put(message(48, 0)), Ok(()));
    inboxes.hold(A);
    inboxes.clear();
    let bytes = [48, 56, 48];
    let mut put = |n: u32| {
        let message = message(bytes[n as usize], n);
        inboxes.put_dropping(message, || None, |_| false, |at| bytes[at.offset.index()], &mut Vec::new())
    };
    assert_eq!((put(0), put(1), put(2)), (Ok(()), FULL, Ok(())));
    assert_eq!((inboxes.touched.as_slice(), inboxes.messages()), ([A].as_slice(), 1));
}

#[test]
fn what_is_held_counts_and_comes_first() {
    let mut inboxes = inboxes(Load::new(3, 1_000));
    for n in 0..2 {
        assert_eq!(inboxes.put(message(50, n)), Ok(()));
    }
    inboxes.hold(A);
    inboxes.clear();
    assert_eq!((inboxes.firsts[0], inboxes.loads[0].messages, inboxes.loads[0].bytes), (Link::END, 2, 100));
    assert_eq!(inboxes.put(message(50, 2)), Ok(()));
    assert_eq!(inboxes.put(message(50, 3)), FULL);
    let mut held = vec![50];
    let dropped = inboxes.put_dropping(message(50, 4), || held.pop(), |_| false, |_| 50, &mut Vec::new());
    assert_eq!((dropped, inboxes.loads[0].messages), (Ok(()), 3));
    inboxes.release(A, [at(7)].into_iter());
    let mut order = Vec::new();
    let mut next = inboxes.firsts[0];
    while let Some(link) = inboxes.links.get(next as usize) {
        order.push(link.delivery.offset.0);
        next = link.next;
    }
    assert_eq!((order, inboxes.touched.as_slice()), (vec![7, 2, 4], [A].as_slice()));
    inboxes.clear();
    assert_eq!((inboxes.loads[0].messages, inboxes.loads[0].bytes), (0, 0));
}
