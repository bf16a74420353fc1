//! Signals while frames are run: one of minutes, any of many, while a snapshot is written.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{self, engine, path, stderr, summary, wasm_engine};
use crate::process::{digest, signalled, slow_scenario, start, start_of, temporaries, wait_until};

const TOUR: &str = "agents/scenarios/kernel-tour.toml";
/// For a frame of some seconds, and for one that never ends.
const SOME_LOOPS: u64 = 5_000_000_000;
const ENDLESS_LOOPS: u64 = 1 << 40;

/// Time for a run whose folder is there to get into its slow frame: those before it take microseconds.
fn let_it_run() {
    std::thread::sleep(Duration::from_millis(500));
}

#[test]
fn a_frame_of_minutes_is_left_with_all_frames_before_it_and_a_resumed_run_ends_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slow_scenario(folder, SOME_LOOPS);
    let whole = digest(folder, &["run", "slow.toml", "--out", "whole"]);
    let mut child = start(folder, &["run", "slow.toml", "--out", "run", "--snapshot-every", "4"]);
    assert!(wait_until(&mut child, || folder.join("run/manifest.toml").exists()));
    let_it_run();
    let (output, took) = signalled(child, libc::SIGTERM);
    println!("ended after {took:?}");
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    let told = "\nending after this frame; once more ends at once\nended in the middle of frame 12: all frames before it are \
                kept\n  help: `wasm-engine resume run` goes on with the run\n";
    assert_eq!(stderr(&output), told);
    assert!(!folder.join("run/summary.json").exists());
    // A replay finds them, and so does who goes on.
    let replayed = engine(folder, &["replay", "run"]);
    assert!(String::from_utf8_lossy(&replayed.stdout).starts_with("identical: frames 0 to 11 "), "{replayed:?}");
    let resumed = engine(folder, &["resume", "run", "--summary", "json"]);
    assert!(stderr(&resumed).starts_with("12 frames are recorded; "), "{}", stderr(&resumed));
    assert_eq!(summary(&resumed)["digest"], whole.as_str());
    // Commands that run that frame again leave it, too.
    let again: [&[&str]; 4] = [
        &["replay", "run"],
        &["inspect", "run", "--at", "19"],
        &["branch", "run", "--at", "15", "--out", "branch"],
        &["diff", "run", "run-of-another-seed"],
    ];
    let other = ["run", "slow.toml", "--seed", "2", "--frames", "12", "--out", "run-of-another-seed"];
    digest(folder, &other);
    for args in again {
        for snapshot in fs::read_dir(folder.join("run/snapshots")).unwrap() {
            fs::remove_file(snapshot.unwrap().path()).unwrap();
        }
        let child = start(folder, args);
        let_it_run();
        let (output, _) = signalled(child, libc::SIGINT);
        // `diff` may have found that nothing has to be run for it.
        let is_diff = args[0] == "diff";
        assert!(output.status.code() == Some(130) || is_diff, "{args:?}: {}", stderr(&output));
        assert!(!folder.join("branch").exists());
    }
}

#[test]
fn a_frame_that_never_ends_is_left_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slow_scenario(folder, ENDLESS_LOOPS);
    let mut child = start(folder, &["run", "slow.toml", "--out", "run"]);
    assert!(wait_until(&mut child, || folder.join("run/manifest.toml").exists()));
    let_it_run();
    let (output, took) = signalled(child, libc::SIGINT);
    println!("ended after {took:?}");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    // Whatever it would say has no room: nobody reads.
    let (reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    let mut child = start_of(wasm_engine(folder).args(["resume", "run"]));
    let_it_run();
    assert!(child.try_wait().unwrap().is_none());
    assert_eq!(signalled(child, libc::SIGTERM).0.status.code(), Some(143));
    let mut command = wasm_engine(folder);
    command.args(["resume", "run"]).stdin(Stdio::null()).stderr(writer);
    let child = command.spawn().unwrap();
    let_it_run();
    assert_eq!(signalled(child, libc::SIGTERM).0.status.code(), Some(143));
    drop(reader);
    // Without a recording there is nothing to go on with, and that is said.
    let mut child = start(folder, &["run", "slow.toml", "--out", "unrecorded", "--no-record"]);
    assert!(wait_until(&mut child, || folder.join("unrecorded/manifest.toml").exists()));
    let_it_run();
    let (output, _) = signalled(child, libc::SIGINT);
    assert_eq!(output.status.code(), Some(130));
    assert!(stderr(&output).ends_with("but without a recording nothing can go on from there\n"), "{}", stderr(&output));
    // A second signal doesn't wait for anything.
    let mut child = start(folder, &["run", "slow.toml", "--out", "twice"]);
    assert!(wait_until(&mut child, || folder.join("twice/manifest.toml").exists()));
    let_it_run();
    common::signal(&child, libc::SIGINT);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(signalled(child, libc::SIGTERM).0.status.code(), Some(143));
    assert_eq!(engine(folder, &["replay", "twice"]).status.code(), Some(0));
}

/// Fills a pipe, so that who writes into it waits.
fn fill(writer: &mut std::io::PipeWriter) {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    // SAFETY: the descriptor is open, and only a flag of it changes, and back.
    let flags = |flags: libc::c_int| assert_eq!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) }, 0);
    flags(libc::O_NONBLOCK);
    while (&*writer).write(&[b'.'; 512]).is_ok() {}
    flags(0);
}

/// Each time at another moment: while it loads, runs, writes a snapshot, runs again what it had.
#[test]
fn a_run_that_is_signalled_again_and_again_ends_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let started = std::time::Instant::now();
    let whole = digest(folder, &["run", &path(TOUR), "--out", "whole", "--snapshot-every", "9"]);
    let span = u64::try_from(started.elapsed().as_millis()).unwrap();
    let mut seen = Seen { span, ..Seen::default() };
    // On a machine whose speed changes meanwhile, most signals may come too late: then there are more runs.
    let mut run = 0;
    while run < 6 || (run < 60 && !seen.is_enough()) {
        batter(folder, &format!("run-{run}"), run * 5, &mut seen);
        assert_eq!(digest(folder, &["resume", &format!("run-{run}")]), whole);
        assert_eq!(digest(folder, &["replay", &format!("run-{run}")]), whole);
        run += 1;
    }
    println!("{seen:?}");
    assert!(seen.is_enough(), "{seen:?}");
}

/// How often something was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Ends by SIGINT, and by SIGTERM.
    signals: [u32; 2],
    /// Of them, ends before a frame was run.
    before: u32,
    /// What a whole run takes, in milliseconds.
    span: u64,
}

impl Seen {
    fn is_enough(&self) -> bool {
        self.signals.iter().all(|&seen| seen > 1) && self.before > 0
    }
}

/// Runs the tour, and signals it until it is there; then it may need to be resumed once more.
fn batter(folder: &std::path::Path, run: &str, first: u64, seen: &mut Seen) {
    let arguments = ["run", &path(TOUR), "--out", run, "--snapshot-every", "9", "--quiet"];
    for round in first..first + 5 {
        let child = match folder.join(run).exists() {
            false => start(folder, &arguments),
            true => start(folder, &["resume", run, "--quiet"]),
        };
        // Spread over all of it, but never at the same moment.
        std::thread::sleep(Duration::from_millis(15 + round * 7_919 % seen.span.max(20)));
        let at = usize::from(round % 2 == 1);
        let (number, code) = [(libc::SIGINT, 130), (libc::SIGTERM, 143)][at];
        let (output, _) = signalled(child, number);
        let said = stderr(&output);
        // Where it hadn't got to its first line, it just died.
        match output.status.code() {
            Some(0) => {
                seen.span = seen.span * 3 / 4;
                break;
            }
            found => assert!(found.is_none_or(|found| found == code), "{found:?}: {said}"),
        }
        seen.signals[at] += 1;
        seen.before += u32::from(said.contains("ended before "));
        // A folder with nothing in it that counts isn't left behind, nor is what is half made.
        assert!(!folder.join(run).exists() || folder.join(run).join("manifest.toml").exists(), "{said}");
        assert_eq!(temporaries(&folder.join(run).join("snapshots")), [""; 0], "{said}");
    }
    if !folder.join(run).exists() {
        assert!(engine(folder, &arguments).status.success());
    }
}

/// Each agent fills its memory with what can't be packed, so that a snapshot takes its time.
#[test]
fn a_snapshot_that_is_being_written_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let module = r#"(module
  (memory (export "memory") 1)
  (global (export "agent_exchange") i32 (i32.const 1024))
  (data (i32.const 1024) "WAGT\01\00\00\00\80\00\00\00\00\01\00\00\00\02\00\00\00\01\00\00")
  (global $n (mut i32) (i32.const 12345))
  (func $fill (local $at i32)
    (local.set $at (i32.const 4096))
    (loop $l
      (global.set $n (i32.add (i32.mul (global.get $n) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store (local.get $at) (i32.xor (global.get $n) (i32.shr_u (global.get $n) (i32.const 15))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $l (i32.lt_u (local.get $at) (i32.const 65536)))))
  (func (export "agent_init") (param i32) (result i32) (call $fill) i32.const 0)
  (func (export "agent_step") (param i32) (result i32) (call $fill) i32.const 0))"#;
    fs::write(folder.join("a.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let text = "frames = 8\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 1000\n";
    fs::write(folder.join("s.toml"), text).unwrap();
    let whole = digest(folder, &["run", "s.toml", "--out", "whole"]);
    for (at, number) in [libc::SIGINT, libc::SIGTERM].into_iter().enumerate() {
        let out = format!("run-{at}");
        let snapshots = folder.join(&out).join("snapshots");
        let mut child = start(folder, &["run", "s.toml", "--out", &out, "--snapshot-every", "3", "--quiet"]);
        assert!(wait_until(&mut child, || !temporaries(&snapshots).is_empty()), "none is written");
        let (output, took) = signalled(child, number);
        println!("ended after {took:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(128 + number), "{}", stderr(&output));
        assert_eq!(temporaries(&snapshots), [""; 0]);
        assert_eq!(digest(folder, &["resume", &out]), whole);
    }
}
