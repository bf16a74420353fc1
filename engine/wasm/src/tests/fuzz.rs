//! Whatever a module or an outbox holds: a load error, a fault or a result, and never a panic.

use proptest::prelude::*;

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

    #[test]
    fn any_outbox_is_records_or_a_fault(
        records in prop_oneof![0_u32..5, any::<u32>()],
        bytes in prop_oneof![0_u32..200, 8_000_u32..8_300, any::<u32>()],
        content in prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..8, any::<u8>()], 0..200),
    ) {
        let data: String = content.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let text = agent(&outbox_claims(records, bytes), &format!("(data (i32.const {OUTBOX}) \"{data}\")"));
        let mut rig = Rig::new(&text);
        let outcome = rig.step();
        match outcome.fault {
            None => prop_assert_eq!(rig.records(), records as usize),
            Some(kind) => {
                prop_assert!(matches!(kind, FaultKind::BadOutbox | FaultKind::OverLimit | FaultKind::Denied));
                prop_assert_eq!(rig.records(), 0);
            }
        }
    }
}
