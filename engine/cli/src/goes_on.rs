//! The command that goes on with a run that was ended: for whoever ended it.

use std::path::Path;

use wasm_engine_components::text::shown_path;

/// Returns which command goes on with a run, as a person can give it to a shell.
pub(super) fn goes_on(run: &Path) -> String {
    // What begins with a dash would be an option.
    let is_option = run.as_os_str().as_encoded_bytes().starts_with(b"-");
    let shown = shown_path(&if is_option { Path::new(".").join(run) } else { run.to_owned() }).to_string();
    // Without quotes where they aren't needed. What is escaped already can't be given to a shell at all.
    let word = shlex::try_quote(&shown).unwrap_or_else(|_| shown.as_str().into());
    format!("`wasm-engine resume {word}` goes on with the run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_one_that_a_shell_reads_as_it_is_meant() {
        let word = |run: &str| {
            let text = goes_on(Path::new(run));
            let command = text.strip_prefix("`wasm-engine resume ").and_then(|text| text.split_once("` goes on"));
            command.map(|(word, _)| word.to_owned()).unwrap_or_default()
        };
        assert_eq!(word("runs/post"), "runs/post");
        assert_eq!(word("-dash"), "./-dash");
        for run in ["my run", "$HOME", "a;b", "it's", "a`b`"] {
            assert_eq!(shlex::split(&word(run)), Some(vec![run.to_owned()]), "{run}");
            assert_ne!(word(run), run);
        }
    }
}
