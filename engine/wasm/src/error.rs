//! Why modules or groups were refused at load. Each message is one sentence that says what is wrong and where; what to do is said by `help`.

use std::io;
use std::path::PathBuf;

use wasm_engine_components::text::{shown, shown_path};

use super::problem::ModuleProblem;

/// Why [`super::WasmRuntime::load`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// A module was refused.
    #[error("module `{}` ({}): {problem}", shown(name), shown_path(path))]
    Module {
        /// Name of the module in the scenario.
        name: String,
        /// File of the module.
        path: PathBuf,
        /// Problem of the module.
        problem: ModuleProblem,
    },
    /// A group refers to a module that wasn't given.
    #[error("group `{}` refers to module number {module}, and only {modules} modules were given", shown(group))]
    UnknownModule {
        /// Name of the group.
        group: String,
        /// Number of the module that it refers to.
        module: usize,
        /// Number of modules that were given.
        modules: usize,
    },
    /// The machine doesn't give the address space that the agents' memories need.
    #[error("the machine refused to reserve {bytes} bytes of address space for the memories of {agents} agents")]
    AddressSpace {
        /// Number of bytes that were asked for.
        bytes: u64,
        /// Number of agents that they were for.
        agents: u64,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// There are no threads with stacks deep enough for agents.
    #[error("can't start threads with stacks deep enough for agents")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// wasmtime doesn't work on this machine.
    #[error("the WebAssembly compiler can't be set up on this machine: {}", shown(reason))]
    Engine {
        /// Message of wasmtime.
        reason: String,
    },
}

impl ModuleError {
    /// Returns what to do about it, where that is known.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Module { problem, .. } => Some(problem.help()),
            Self::AddressSpace { .. } => Some(
                "lower `memory_bytes_max` or the number of agents, or raise the limit of virtual memory (`ulimit -v`, `vm.overcommit_memory`)",
            ),
            Self::UnknownModule { .. } | Self::Threads(_) | Self::Engine { .. } => None,
        }
    }
}

/// Why a machine can't run compiled modules.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum MachineError {
    /// wasmtime can't be set up.
    Engine(#[from] ModuleError),
    /// A module can't be compiled and mapped.
    Code(#[from] ModuleProblem),
}

impl MachineError {
    /// Returns what to do about it, where that is known.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Engine(error) => error.help(),
            Self::Code(problem) => Some(problem.help()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::FunctionLimit;

    #[test]
    fn no_name_of_others_reaches_a_terminal_as_it_is() {
        let evil = || "a\u{1b}[2J\r\nerror: forged\u{202e}".to_owned();
        let group = evil;
        let problems = [
            ModuleProblem::Invalid { message: evil(), offset: 1 },
            ModuleProblem::Instruction { instruction: evil(), offset: 1 },
            ModuleProblem::FunctionOverLimit {
                function: 1,
                name: Some(evil()),
                limit: FunctionLimit::Bytes,
                found: 2,
                max: 1,
            },
            ModuleProblem::UnknownImport { module: evil(), name: evil() },
            ModuleProblem::ImportType { name: evil(), expected: "a function", found: evil() },
            ModuleProblem::ExportType { export: "memory", expected: "a memory", found: evil() },
            ModuleProblem::ReservedExport { export: evil() },
            ModuleProblem::Memory { bytes: 2, beside_bytes: 0, group: group(), bytes_max: 1 },
            ModuleProblem::Denied { import: "log", group: group(), capability: "log" },
            ModuleProblem::Params { group: group(), bytes: 2, bytes_max: 1 },
            ModuleProblem::Regions { group: group(), bytes: 2, bytes_max: 1 },
            ModuleProblem::Start { reason: evil() },
            ModuleProblem::StartFuel { group: group(), fuel_max: 1 },
            ModuleProblem::Compile { reason: evil() },
        ];
        let mut texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let of_module = |problem| ModuleError::Module { name: evil(), path: evil().into(), problem };
        texts.extend(problems.into_iter().map(|problem| of_module(problem).to_string()));
        let others = [
            ModuleError::UnknownModule { group: evil(), module: 1, modules: 1 },
            ModuleError::Engine { reason: evil() },
        ];
        texts.extend(others.iter().map(ToString::to_string));
        for text in texts {
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
            assert!(text.contains(r"a\u{1b}[2J\r\nerror: forged\u{202e}"), "{text}");
        }
    }

    #[test]
    fn a_refused_module_says_what_is_wrong_and_its_help_what_to_do() {
        let problem = ModuleProblem::StartFuel { group: "g; h".to_owned(), fuel_max: 1 };
        let help = problem.help();
        let wrong = "its start used up the fuel of a step, of which group `g; h` allows 1 (`limits.fuel_per_step_max`)";
        assert_eq!(help, "raise the limit, or have the module do less in its start function");
        assert_eq!(problem.to_string(), wrong);
        let of_machine = MachineError::from(problem.clone());
        assert_eq!((of_machine.to_string(), of_machine.help()), (wrong.to_owned(), Some(help)));
        let error = ModuleError::Module { name: "m".to_owned(), path: "m.wasm".into(), problem };
        assert_eq!((error.to_string(), error.help()), (format!("module `m` (m.wasm): {wrong}"), Some(help)));
    }
}
