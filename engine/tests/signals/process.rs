//! A process that is sent a signal, and agents that keep it busy.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{self, engine, stderr, summary, wasm_engine};

/// Longest time that anything may take here. It is long, because machines are busy; what doesn't end at all is what is looked for.
const PATIENCE: Duration = Duration::from_mins(2);

/// Starts a command whose output is kept.
pub fn start(folder: &Path, args: &[&str]) -> Child {
    start_of(wasm_engine(folder).args(args))
}

/// The same of a command that is made already.
pub fn start_of(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until something is so, as long as the process lives. Says whether it came to be so.
pub fn wait_until(child: &mut Child, mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if is_so() {
            return true;
        }
        assert!(started.elapsed() < PATIENCE, "it never came to that");
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Sends a signal, and waits for the end of the process, which must come by itself. What it says must fit into a pipe.
pub fn signalled(mut child: Child, number: libc::c_int) -> (Output, Duration) {
    common::signal(&child, number);
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the signal {number} didn't end it: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed();
    (child.wait_with_output().unwrap(), took)
}

/// A module that counts its steps, and loops so many times in the one of number `at`, from 1.
pub fn looping(at: u32, loops: u64) -> Vec<u8> {
    common::counting_module(&format!(
        "(if (i32.eq (global.get $n) (i32.const {at}))
      (then
        (local.set $i (i64.const {loops}))
        (loop $l
          (local.set $i (i64.sub (local.get $i) (i64.const 1)))
          (br_if $l (i64.ne (local.get $i) (i64.const 0))))))
    (i32.store (i32.const 60000) (global.get $n))"
    ))
}

/// Writes a scenario of one agent that loops in frame 11.
pub fn slow_scenario(folder: &Path, loops: u64) {
    fs::write(folder.join("slow.wasm"), looping(12, loops)).unwrap();
    let text = "frames = 20\nmodules.slow.path = \"slow.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"slow\"\nagents = 1\n\
                limits = { fuel_per_step_max = 1000000000000 }\n";
    fs::write(folder.join("slow.toml"), text).unwrap();
}

/// The digest of a command that goes well.
pub fn digest(folder: &Path, args: &[&str]) -> String {
    let output = engine(folder, &[args, &["--summary", "json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    summary(&output)["digest"].as_str().unwrap().to_owned()
}

/// The names in a folder that begin or end as those of temporary files do.
pub fn temporaries(folder: &Path) -> Vec<String> {
    let names =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".lock").collect()
}
