//! The macros of this crate.

/// Makes a module of an agent: its exchange block, its exports, its state.
///
/// ```
/// # use wasm_engine_sdk::{Agent, agent};
/// # #[derive(Default)] struct Small;
/// # impl Agent for Small {}
/// agent!(Small, inbox_bytes = 4096, outbox_bytes = 4096);
/// # fn main() {}
/// ```
///
/// - `inbox_bytes`: size of the inbox area, a multiple of 8; of 64, to keep the outbox on cache lines. A message takes 48
///   bytes and its payload. The engine hands over no more than fits, and the parameters must fit, too.
/// - `outbox_bytes`: size of the outbox area, a multiple of 8. A request takes 32 bytes and its payload.
/// - `regions_bytes` (optional, after `outbox_bytes`): size of the regions area, a multiple of 8, for an agent whose group reads
///   [shared regions](crate::Context::region). They take 24 bytes for each, 24 more, and their own sizes, each rounded up to a
///   multiple of 8.
/// - `state = EXPRESSION` (optional): a constant to start from, instead of [`Default`]. It is part of the module's initial
///   image; use it for large states, which otherwise pass over the stack of 8 KiB.
/// - `receive_exported` (optional): exports `agent_receive`, so that the host makes a call for each message. By default
///   `agent_step` hands out the messages itself, in a single call.
///
/// ```
/// # use wasm_engine_sdk::{Agent, agent};
/// # struct Large([u8; 10_000]);
/// # impl Agent for Large {}
/// agent!(Large, inbox_bytes = 1024, outbox_bytes = 64, state = Large([0; 10_000]), receive_exported);
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
#[macro_export]
macro_rules! agent {
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr $(, regions_bytes = $regions:expr)? $(,)?) => {
        $crate::agent!(@ $inbox, $outbox, { 0 $(+ $regions)? }, $crate::entry::Defaulted<$agent>, $crate::entry::Defaulted(None), true, []);
    };
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr $(, regions_bytes = $regions:expr)?, state = $state:expr $(,)?) => {
        $crate::agent!(@ $inbox, $outbox, { 0 $(+ $regions)? }, $crate::entry::Constant<$agent>, $crate::entry::Constant($state), true, []);
    };
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr $(, regions_bytes = $regions:expr)?, receive_exported $(,)?) => {
        $crate::agent!(@ $inbox, $outbox, { 0 $(+ $regions)? }, $crate::entry::Defaulted<$agent>, $crate::entry::Defaulted(None), false,
            [agent_receive]);
    };
    ($agent:ty, inbox_bytes = $inbox:expr, outbox_bytes = $outbox:expr $(, regions_bytes = $regions:expr)?, state = $state:expr, receive_exported $(,)?) => {
        $crate::agent!(@ $inbox, $outbox, { 0 $(+ $regions)? }, $crate::entry::Constant<$agent>, $crate::entry::Constant($state), false,
            [agent_receive]);
    };
    (@ $inbox:expr, $outbox:expr, $regions:expr, $slot:ty, $start:expr, $receives:literal, [$($receive:ident)?]) => {
        // Exported under these names on wasm32 only: natively they would be symbols of the whole program.
        const _: () = {
            #[allow(non_upper_case_globals)]
            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            static agent_exchange: $crate::entry::Exchange<{ $inbox }, { $outbox }> =
                $crate::entry::Exchange::new(&REGIONS);

            static REGIONS: $crate::entry::Regions<{ $regions }> = $crate::entry::Regions::new();

            static STATE: $crate::entry::State<$slot> = $crate::entry::State::new($start);

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            unsafe extern "C" fn agent_init(_context: u32) -> i32 {
                // SAFETY: this is the export, and these are the module's block and state.
                unsafe { $crate::entry::init(&agent_exchange, &STATE) }
            }

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            unsafe extern "C" fn agent_step(_context: u32) -> i32 {
                // SAFETY: as in `agent_init`.
                unsafe { $crate::entry::step::<_, { $inbox }, { $outbox }, $receives>(&agent_exchange, &STATE) }
            }

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            unsafe extern "C" fn agent_shutdown(_context: u32) -> i32 {
                // SAFETY: as in `agent_init`.
                unsafe { $crate::entry::shutdown(&agent_exchange, &STATE) }
            }

            $(
                #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
                unsafe extern "C" fn $receive(message: u32) -> i32 {
                    // SAFETY: as in `agent_init`; the address is the host's.
                    unsafe { $crate::entry::receive(&agent_exchange, &STATE, message as usize as *const u8) }
                }
            )?

            // Natively nothing calls them.
            #[cfg(not(target_arch = "wasm32"))]
            const _: &[unsafe extern "C" fn(u32) -> i32] = &[agent_init, agent_step, agent_shutdown $(, $receive)?];
        };
    };
}

/// The number of a topic's name, at compile time: `topic!("desk-0")`.
#[macro_export]
macro_rules! topic {
    ($name:expr) => {
        const { $crate::Name::new($name).topic() }
    };
}

/// The number of a model's name, at compile time: `model!("digits")`.
#[macro_export]
macro_rules! model {
    ($name:expr) => {
        const { $crate::Name::new($name).model() }
    };
}

/// The number of a shared region's name, at compile time: `region!("map")`.
#[macro_export]
macro_rules! region {
    ($name:expr) => {
        const { $crate::Name::new($name).region() }
    };
}
