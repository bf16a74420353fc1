//! The command `wasm-engine`. Everything it does is in [`wasm_engine::cli`].

fn main() -> std::process::ExitCode {
    wasm_engine::cli::main()
}
