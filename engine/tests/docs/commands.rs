//! The commands in the documents are run, from the root of the repository, by the binary under test.
//!
//! A block fenced as `sh` holds one command a line (`\` continues it, `#` starts a comment):
//! - `wasm-engine ...` and `cargo run --release -- ...` are run, and must succeed. A run goes to a temporary folder, and so does
//!   every argument below `runs/`. A digest in the `text` block that follows must be in what the commands say.
//! - `cargo run ... --example NAME` runs that example, where the tests' build has made it.
//! - Another `cargo ...` must stand in `.ci/run`, word for word, so that CI has run it.
//! - A script of the repository must be there and executable.
//!
//! Anything else isn't run: its block is fenced as `sh no-test: REASON`, and [`UNTESTED`] counts those.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::markdown::{Block, documents, split};
use crate::tree;

/// How many blocks of a document aren't tested. Those that install or fetch something, and those that wait for a person.
const UNTESTED: &[(&str, usize)] =
    &[("CONTRIBUTING.md", 1), ("docs/ABI.md", 1), ("docs/how-to/measure.md", 7), ("docs/how-to/write-an-agent.md", 7)];

/// What a line of a block is.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Arguments of `wasm-engine`.
    Engine(Vec<String>),
    /// The name of an example.
    Example(String),
    /// A command that CI must have run.
    Ci(String),
    /// A script of the repository.
    Script(String),
    /// Something that this test can't judge.
    Unknown(String),
}

/// The commands of a block: continued lines are joined, comments dropped.
fn lines(block: &Block) -> Vec<Line> {
    let joined = block.text.replace("\\\n", " ");
    joined.lines().map(words).filter(|words| !words.is_empty()).map(|words| line(&words)).collect()
}

fn line(words: &[String]) -> Line {
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    match plain.as_slice() {
        ["wasm-engine", arguments @ ..] | ["cargo", "run", "--release", "--", arguments @ ..] => {
            Line::Engine(arguments.iter().map(|&word| word.to_owned()).collect())
        }
        ["cargo", "run", options @ ..] if options.contains(&"--example") => {
            let name = options.iter().skip_while(|&&word| word != "--example").nth(1);
            Line::Example((*name.unwrap_or(&"")).to_owned())
        }
        ["cargo", ..] => Line::Ci(plain.join(" ")),
        [script, ..] if script.contains('/') && !script.starts_with('/') => Line::Script((*script).to_owned()),
        _ => Line::Unknown(plain.join(" ")),
    }
}

/// The words of a line, as a shell sees them: quotes hold words together, `#` ends the line.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The arguments with which a documented command is run: nothing is written into the repository.
fn redirected(arguments: &[String], folder: &Path, number: usize) -> Vec<String> {
    let inside = |path: &str| folder.join(path).to_string_lossy().into_owned();
    let mut arguments: Vec<String> =
        arguments.iter().map(|word| if word.starts_with("runs/") { inside(word) } else { word.clone() }).collect();
    if arguments.first().is_some_and(|command| command == "run") && !arguments.iter().any(|word| word == "--out") {
        arguments.extend(["--out".to_owned(), inside(&format!("runs/documented-{number}"))]);
    }
    arguments
}

/// Runs a program from the root of the repository; what it said, or what went wrong.
fn run(program: &Path, arguments: &[String]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).current_dir(tree::root()).output();
    let output = output.map_err(|error| format!("{} can't be run: {error}", program.display()))?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(format!("{}\n{said}", output.status)) }
}

/// Words of 32 hexadecimal digits.
fn digests(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit())).collect()
}

/// Runs one line; what it said, or what is wrong with it.
fn carry_out(line: &Line, ci: &str, folder: &Path, number: usize) -> Result<String, String> {
    match line {
        Line::Engine(arguments) => run(&engine(), &redirected(arguments, folder, number)),
        Line::Example(name) => {
            let example = engine().with_file_name("examples").join(name);
            let source = tree::root().join(format!("engine/examples/{name}.rs"));
            match (source.is_file(), example.is_file()) {
                (true, true) => run(&example, &[]),
                // `cargo test --test docs` alone builds no examples; that of a whole `cargo test` does.
                (true, false) => Ok(String::new()),
                // A binary may be left over from a source that is gone.
                (false, _) => Err(format!("there is no {}", source.display())),
            }
        }
        Line::Ci(command) if cargo_commands(ci).contains(&command.as_str()) => Ok(String::new()),
        Line::Ci(_) => Err("`.ci/run` doesn't run it".to_owned()),
        Line::Script(path) => {
            if is_executable(&tree::root().join(path)) {
                Ok(String::new())
            } else {
                Err("isn't an executable file".to_owned())
            }
        }
        Line::Unknown(_) => Err("can't be tested: fence it as `sh no-test: REASON`".to_owned()),
    }
}

/// The cargo commands of a script, a line each: up to what becomes of their output.
fn cargo_commands(script: &str) -> Vec<&str> {
    let code = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let commands = code.filter_map(|line| Some(&line[line.find("cargo ")?..]));
    let ends = [" 2>", " >", " |", " &", ";"];
    let end = |command: &str| ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
    commands.map(|command| command[..end(command)].trim()).collect()
}

fn engine() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wasm-engine"))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Carries out the blocks of one document; complaints, and how many blocks weren't tested.
fn check(document: &str, blocks: &[Block], ci: &str, folder: &Path) -> (Vec<String>, usize) {
    let (mut complaints, mut untested) = (Vec::new(), 0);
    let mut said = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{document}:{}", block.line);
        match block.info.as_str() {
            "sh" => {
                said.clear();
                for (number, line) in lines(block).iter().enumerate() {
                    match carry_out(line, ci, folder, at * 100 + number) {
                        Ok(output) => said.push_str(&output),
                        Err(why) => complaints.push(format!("{place}: {line:?}: {why}")),
                    }
                }
            }
            "text" => {
                let missing = digests(&block.text).into_iter().filter(|digest| !said.contains(digest));
                complaints.extend(missing.map(|digest| format!("{place}: the commands above don't say {digest}")));
            }
            info if info.starts_with("sh no-test: ") => untested += 1,
            info if info.starts_with("sh") || matches!(info, "bash" | "console" | "shell") => {
                complaints.push(format!("{place}: commands are fenced as `sh` or `sh no-test: REASON`"));
            }
            _ => {}
        }
    }
    (complaints, untested)
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    let block = |text: &str| Block { line: 1, info: "sh".to_owned(), text: text.to_owned() };
    let engine = |words: &[&str]| Line::Engine(words.iter().map(|&word| word.to_owned()).collect());
    let text = "# all\nwasm-engine run a.toml \\\n  --set 'x=\"1 2\"' # why\ncargo run --release -- doctor\n\ncargo test --locked\n.ci/run\nls\ncargo run -p a --example b\n";
    let expected = [
        engine(&["run", "a.toml", "--set", "x=\"1 2\""]),
        engine(&["doctor"]),
        Line::Ci("cargo test --locked".to_owned()),
        Line::Script(".ci/run".to_owned()),
        Line::Unknown("ls".to_owned()),
        Line::Example("b".to_owned()),
    ];
    assert_eq!(lines(&block(text)), expected);
    let script = "# cargo build\nstep a cargo fmt --all --check\n    cargo test --workspace --locked 2>&1 | tee log\n";
    assert_eq!(cargo_commands(script), ["cargo fmt --all --check", "cargo test --workspace --locked"]);
    assert_eq!(digests("digest 0123456789abcdef0123456789abcdef, 0123"), ["0123456789abcdef0123456789abcdef"]);

    let words = |line: &str| words(line);
    let to = Path::new("t");
    assert_eq!(redirected(&words("run a.toml"), to, 7), words("run a.toml --out t/runs/documented-7"));
    assert_eq!(redirected(&words("run a.toml --out runs/b"), to, 7), words("run a.toml --out t/runs/b"));
    assert_eq!(redirected(&words("doctor"), to, 7), words("doctor"));
}

#[test]
fn wrong_commands_are_found() {
    let block = |info: &str, text: &str| Block { line: 1, info: info.to_owned(), text: text.to_owned() };
    let wrong = [
        block("sh", "cargo test --nowhere\n"),
        block("sh", "cargo test\n"),
        block("sh", "ls\n"),
        block("sh", "docs/none.sh\n"),
        block("sh", "cargo run --example none_of_that_name\n"),
        block("sh no-test", "ls\n"),
        block("bash", "ls\n"),
        block("text", "digest 0123456789abcdef0123456789abcdef\n"),
        block("sh no-test: it waits", "ls\n"),
    ];
    let (complaints, untested) = check("A.md", &wrong, "cargo test --workspace\n", Path::new("."));
    assert_eq!((complaints.len(), untested), (8, 1), "{}", complaints.join("\n"));
}

#[test]
fn documented_commands_run() {
    let ci = std::fs::read_to_string(tree::root().join(".ci/run")).unwrap();
    let mut complaints = Vec::new();
    for file in documents() {
        // A folder for each document: a later command may read what an earlier one wrote.
        let folder = tempfile::tempdir().unwrap();
        let (blocks, _) = split(&file.text());
        let (found, untested) = check(&file.path, &blocks, &ci, folder.path());
        complaints.extend(found);
        let allowed = UNTESTED.iter().find(|(path, _)| *path == file.path).map_or(0, |(_, count)| *count);
        if untested != allowed {
            complaints.push(format!("{}: {untested} untested blocks, and UNTESTED says {allowed}", file.path));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The README's test command is CI's, to the letter.
#[test]
fn the_readme_tests_as_ci_does() {
    let command = "cargo test --workspace --locked";
    for path in ["README.md", ".ci/run"] {
        let text = std::fs::read_to_string(tree::root().join(path)).unwrap();
        assert!(text.lines().any(|line| line.contains(command)), "{path} lacks `{command}`");
    }
}
