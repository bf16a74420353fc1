//! The macros of this crate: one makes a module of an agent, and three compute the numbers of names.

/// Makes a module of an agent: defines its exchange block, its exports and its state.
///
/// ```
/// # use wasm_engine_sdk::{Agent, agent};
/// # #[derive(Default)] struct Small;
/// # impl Agent for Small {}
/// agent!(Small, inbox_bytes = 4096, outbox_bytes = 4096);
/// # fn main() {}
/// ```
///
/// - `inbox_bytes`: size of the inbox area in bytes, a multiple of 8. A multiple of 64 keeps the outbox on cache lines. A message takes 48
///   bytes and its payload, padded to a multiple of 8. The engine hands over no more than fits, and the parameters must fit, too.
/// - `outbox_bytes`: size of the outbox area in bytes, a multiple of 8. Each record takes 32 bytes and its payload, padded to a multiple of 8.
/// - `regions_bytes` (optional, after `outbox_bytes`): size of the regions area in bytes, a multiple of 8, for an agent whose group reads
///   [shared regions](crate::Context::region). It takes 24 bytes for each region, 24 more, and the regions' own sizes, each rounded up to a
///   multiple of 8.
/// - `state = EXPRESSION` (optional): a constant with which the agent begins, instead of [`Default`]. It is part of the module's initial
///   image. Use it for large states: [`Default`] makes its value on the stack, which has 8.5 KiB in the samples.
/// - Options, which are names without a value, in any order, after the others:
///   - `receive_exported`: exports `agent_receive`, so that the host makes a call for each message. By default, `agent_step`
///     hands out the messages itself, in a single call.
///   - `shutdown_exported`: exports `agent_shutdown`, so that the host calls [`Agent::shutdown`](crate::Agent::shutdown) when the
///     agent is terminated. It is for agents that implement that method.
///   - `swappable`: exports `agent_export_state` and `agent_import_state`, so that the agent's state survives a hot swap of its module.
///     The agent must implement [`Swappable`](crate::Swappable).
///
/// ```
/// # use wasm_engine_sdk::{Agent, agent};
/// # struct Large([u8; 10_000]);
/// # impl Agent for Large {}
/// agent!(Large, inbox_bytes = 1024, outbox_bytes = 64, state = Large([0; 10_000]), receive_exported, shutdown_exported);
/// # fn main() {}
/// ```
///
/// ```
/// # use wasm_engine_sdk::{Agent, Context, Failure, StateWriter, Swappable, agent};
/// # #[derive(Default)] struct Counter { seen: u64 }
/// # impl Agent for Counter {}
/// impl Swappable for Counter {
///     fn export_state(&self, state: &mut StateWriter<'_>) -> Result<(), Failure> {
///         Ok(state.write(&self.seen.to_le_bytes())?)
///     }
///
///     fn import_state(&mut self, _ctx: &mut Context<'_>, state: &[u8]) -> Result<(), Failure> {
///         let seen = state.try_into().map_err(|_| Failure::new(1))?;
///         self.seen = u64::from_le_bytes(seen);
///         Ok(())
///     }
/// }
///
/// agent!(Counter, inbox_bytes = 4096, outbox_bytes = 4096, swappable);
/// # fn main() {}
/// ```
///
/// ```
/// # use wasm_engine_sdk::{Agent, agent};
/// # #[derive(Default)] struct Reader;
/// # impl Agent for Reader {}
/// agent!(Reader, inbox_bytes = 1024, outbox_bytes = 64, regions_bytes = 2 * 24 + 4096); // one region of 4 KiB
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # use wasm_engine_sdk::{Agent, agent};
/// # #[derive(Default)] struct Small;
/// # impl Agent for Small {}
/// agent!(Small, inbox_bytes = 4100, outbox_bytes = 4096); // not a multiple of 8
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # use wasm_engine_sdk::{Agent, agent};
/// # #[derive(Default)] struct Small;
/// # impl Agent for Small {}
/// agent!(Small, inbox_bytes = 4096, outbox_bytes = 4096, step_exported); // no such option
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! agent {
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr, regions_bytes = $regions:expr,
        state = $state:expr $(, $option:ident)* $(,)?) => {
        $crate::agent!(@module $inbox, $outbox, $regions, $crate::entry::Constant<$agent>, $crate::entry::Constant($state),
            [$($option)*]);
    };
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr, regions_bytes = $regions:expr $(, $option:ident)* $(,)?) => {
        $crate::agent!(@module $inbox, $outbox, $regions, $crate::entry::Defaulted<$agent>, $crate::entry::Defaulted(None),
            [$($option)*]);
    };
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr,
        state = $state:expr $(, $option:ident)* $(,)?) => {
        $crate::agent!(@module $inbox, $outbox, 0, $crate::entry::Constant<$agent>, $crate::entry::Constant($state),
            [$($option)*]);
    };
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr $(, $option:ident)* $(,)?) => {
        $crate::agent!(@module $inbox, $outbox, 0, $crate::entry::Defaulted<$agent>, $crate::entry::Defaulted(None),
            [$($option)*]);
    };
    (@module $inbox:expr, $outbox:expr, $regions:expr, $slot:ty, $start:expr, [$($option:ident)*]) => {
        // They are exported under these names on wasm32 only: natively, they would be symbols of the whole program.
        const _: () = {
            #[allow(non_upper_case_globals)]
            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            static agent_exchange: $crate::entry::Exchange<{ $inbox }, { $outbox }> =
                $crate::entry::Exchange::new(&REGIONS);

            static REGIONS: $crate::entry::Regions<{ $regions }> = $crate::entry::Regions::new();

            static STATE: $crate::entry::State<$slot> = $crate::entry::State::new($start);

            /// Whether `agent_step` hands out the messages itself.
            const RECEIVES: bool = true $(&& $crate::agent!(@step_receives $option))*;

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            unsafe extern "C" fn agent_init(_context: u32) -> i32 {
                // SAFETY: this is the export, and these are the module's block and state.
                unsafe { $crate::entry::init(&agent_exchange, &STATE) }
            }

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            unsafe extern "C" fn agent_step(_context: u32) -> i32 {
                // SAFETY: as in `agent_init`.
                unsafe { $crate::entry::step::<_, { $inbox }, { $outbox }, RECEIVES>(&agent_exchange, &STATE) }
            }

            $($crate::agent!(@export $option agent_exchange STATE);)*

            // Natively, nothing calls them. This keeps the compiler from reporting that.
            #[cfg(not(target_arch = "wasm32"))]
            const _: &[unsafe extern "C" fn(u32) -> i32] = &[agent_init, agent_step];
        };
    };
    (@export swappable $exchange:ident $state:ident) => {
        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        unsafe extern "C" fn agent_export_state(_context: u32) -> i32 {
            // SAFETY: as in `agent_init`.
            unsafe { $crate::entry::export_state(&$exchange, &$state) }
        }

        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        unsafe extern "C" fn agent_import_state(_context: u32) -> i32 {
            // SAFETY: as in `agent_init`.
            unsafe { $crate::entry::import_state(&$exchange, &$state) }
        }

        #[cfg(not(target_arch = "wasm32"))]
        const _: [unsafe extern "C" fn(u32) -> i32; 2] = [agent_export_state, agent_import_state];
    };
    (@step_receives receive_exported) => { false };
    (@step_receives $option:ident) => { true };
    (@export receive_exported $exchange:ident $state:ident) => {
        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        unsafe extern "C" fn agent_receive(message: u32) -> i32 {
            // SAFETY: as in `agent_init`; the address is the host's.
            unsafe { $crate::entry::receive(&$exchange, &$state, message as usize as *const u8) }
        }

        #[cfg(not(target_arch = "wasm32"))]
        const _: unsafe extern "C" fn(u32) -> i32 = agent_receive;
    };
    (@export shutdown_exported $exchange:ident $state:ident) => {
        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        unsafe extern "C" fn agent_shutdown(_context: u32) -> i32 {
            // SAFETY: as in `agent_init`.
            unsafe { $crate::entry::shutdown(&$exchange, &$state) }
        }

        #[cfg(not(target_arch = "wasm32"))]
        const _: unsafe extern "C" fn(u32) -> i32 = agent_shutdown;
    };
}

/// Computes the id of a topic from its name, at compile time: `topic!("desk-0")`.
#[macro_export]
macro_rules! topic {
    ($name:expr) => {
        const { $crate::Name::new($name).topic() }
    };
}

/// Computes the id of a model from its name, at compile time: `model!("digits")`.
#[macro_export]
macro_rules! model {
    ($name:expr) => {
        const { $crate::Name::new($name).model() }
    };
}

/// Computes the id of a shared region from its name, at compile time: `region!("map")`.
#[macro_export]
macro_rules! region {
    ($name:expr) => {
        const { $crate::Name::new($name).region() }
    };
}
