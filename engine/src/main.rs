//! The command `wasm-engine`. Everything it does is in [`wasm_engine::cli`].

#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: wasm_engine::cli::Allocator = wasm_engine::cli::Allocator;

fn main() -> std::process::ExitCode {
    wasm_engine::cli::main()
}
