//! The agents' sandbox: wasmtime behind the port `AgentRuntime`.
