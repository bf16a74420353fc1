//! The scripts for shells: each names every command, and bash completes by its own.

use std::path::Path;
use std::process::Command;

use crate::common::{engine, path, stderr};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn script(shell: &str) -> String {
    let output = engine(Path::new("."), &["completions", shell]);
    assert!(output.status.success(), "{shell}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = engine(Path::new("."), &["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> = lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(["replay", "completions", "help"].iter().all(|&known| commands.iter().any(|one| one == known)), "{help}");
    commands
}

#[test]
fn the_document_has_every_command() {
    let document = std::fs::read_to_string(path("docs/CLI.md")).unwrap();
    for command in commands().iter().filter(|command| *command != "help") {
        assert!(document.contains(&format!("\n| `{command}` | ")), "docs/CLI.md has no row `{command}`");
    }
}

#[test]
fn each_shell_learns_every_command_and_its_options() {
    for shell in SHELLS {
        let script = script(shell);
        let options = ["snapshot-every", "summary"].map(str::to_owned);
        for word in commands().iter().chain(&options) {
            assert!(script.contains(word), "{shell} doesn't know {word}");
        }
    }
    let unknown = engine(Path::new("."), &["completions", "cmd.exe"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", stderr(&unknown));
}

/// What bash would offer for the last of these words.
#[cfg(unix)]
fn offered(words: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completions.bash");
    std::fs::write(&file, script("bash")).unwrap();
    // The function that the script gives to `complete`, called as bash calls it.
    let program = "source \"$1\"; function=$(complete -p wasm-engine | sed 's/.*-F \\([^ ]*\\).*/\\1/'); COMP_WORDS=($2); \
                   COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); $function wasm-engine \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; \
                   printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["--norc", "-c", program, "bash"]).arg(&file).arg(words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.split_whitespace().map(str::to_owned).collect()
}

#[test]
#[cfg(unix)]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered("wasm-engine rep"), ["replay"]);
    assert_eq!(offered("wasm-engine run --snap"), ["--snapshot-every"]);
    assert_eq!(offered("wasm-engine completions po"), ["powershell"]);
    assert_eq!(offered("wasm-engine run --summary j"), ["json"]);
}
