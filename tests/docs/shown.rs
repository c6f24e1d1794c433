//! Compares what a page shows with what a command prints.

/// What stands for any text.
const ANY: &str = "...";

/// Whether the output is what is shown. Blanks at the end of lines, and empty lines at the end, do not count.
pub fn is_shown(shown: &str, output: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(|line| line.trim_end().to_string()).collect();
    let (shown, output): (Vec<String>, Vec<String>) = (lines(shown), lines(output));
    lines_match(&shown, &output)
}

fn lines_match(shown: &[String], output: &[String]) -> bool {
    match (shown, output) {
        ([], []) => true,
        ([any, rest @ ..], _) if any.trim() == ANY => {
            (0..=output.len()).any(|skipped| lines_match(rest, &output[skipped..]))
        }
        ([first, shown @ ..], [line, output @ ..]) => text_matches(first, line) && lines_match(shown, output),
        _ => false,
    }
}

fn text_matches(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once(ANY) else { return shown == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    (0..=line.len()).filter(|at| line.is_char_boundary(*at)).any(|at| text_matches(rest, &line[at..]))
}

#[test]
fn what_counts_as_shown() {
    for (shown, output, wanted) in [
        ("a\nb\n", "a  \nb\n\n", true),
        ("a\n", "a\nb\n", false),
        ("a\n...\n", "a\nb\nc\n", true),
        ("...\nc\n", "a\nb\nc\n", true),
        ("a\n...\nd\n", "a\nb\nc\n", false),
        ("id ... end", "id 4711 end", true),
        ("id ... end", "id 4711 end.", false),
        ("", "", true),
        ("", "x", false),
        ("...", "", true),
    ] {
        assert_eq!(is_shown(shown, output), wanted, "{shown:?} {output:?}");
    }
}
