//! Whatever a module or an outbox holds: a load error, a fault or a result, and never a panic.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn quick() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(quick())]

    #[test]
    fn a_damaged_module_never_panics(flips in prop::collection::vec((0_usize..4096, 1_u8..=255), 1..4)) {
        let mut source = source(&echo());
        let length = source.bytes.len();
        for (at, mask) in flips {
            source.bytes[at % length] ^= mask;
        }
        let mut small = group(1, 2);
        small.limits.fuel_per_step_max = 10_000;
        match load_bytes(source, &small) {
            Err(error) => prop_assert!(error.to_string().contains("module `m`")),
            Ok(runtime) => {
                let agents = vec![AgentId::new(GroupId(1), 0), AgentId::new(GroupId(1), 1)];
                let mut rig = Rig::from(runtime, agents, 0);
                for call in [CallKind::Init, CallKind::Step, CallKind::Step, CallKind::Init, CallKind::Shutdown] {
                    rig.frame(call, &[]);
                    prop_assert!(rig.results.outcomes.iter().all(|outcome| outcome.fuel <= 10_000));
                }
            }
        }
    }
}

/// An agent that does as its one message says: a number of records, a number of bytes, and what lies in the outbox from its start on.
fn liar() -> String {
    let step = format!(
        "(local $message i32)
         (local.set $message (i32.const {INBOX}))
         (memory.fill (i32.const {OUTBOX}) (i32.const 0) (i32.const 8192))
         (memory.copy (i32.const {OUTBOX}) (i32.add (local.get $message) (i32.const 56))
             (i32.sub (i32.load offset=44 (local.get $message)) (i32.const 8)))
         (i32.store offset=56 (local.get $ctx) (i32.load offset=48 (local.get $message)))
         (i32.store offset=60 (local.get $ctx) (i32.load offset=52 (local.get $message)))
         i32.const 0"
    );
    agent(&step, "")
}

#[test]
fn any_outbox_is_records_or_a_fault() {
    let outboxes = (
        prop_oneof![0_u32..5, any::<u32>()],
        prop_oneof![0_u32..200, 8_000_u32..8_300, any::<u32>()],
        prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..8, any::<u8>()], 0..200),
    );
    // One agent tells all of them: to load a module for each would take a hundred times as long.
    let rig = RefCell::new(Rig::new(&liar()));
    let tells = |(records, bytes, content): (u32, u32, Vec<u8>)| {
        let mut rig = rig.borrow_mut();
        let message = [&records.to_le_bytes(), &bytes.to_le_bytes(), content.as_slice()].concat();
        rig.frame(CallKind::Step, &[mail(0, 1, &message)]);
        match rig.results.outcomes[0].fault {
            None => prop_assert_eq!(rig.records(), records as usize),
            Some(kind) => {
                prop_assert!(matches!(kind, FaultKind::BadOutbox | FaultKind::OverLimit | FaultKind::Denied));
                prop_assert_eq!(rig.records(), 0);
            }
        }
        Ok(())
    };
    let many = ProptestConfig { cases: 2_000, ..quick() };
    TestRunner::new(many).run(&outboxes, tells).unwrap();
}
