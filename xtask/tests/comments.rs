//! Comment lines are no wider than code.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::process::Command;

/// The width in `rustfmt.toml`.
const WIDTH: usize = 110;

/// Whether a line is only a comment, is too long, and could be broken.
fn is_too_long(line: &str) -> bool {
    let comment = line.trim_start();
    let Some(text) = comment.strip_prefix("//") else { return false };
    let text = text.trim_start_matches(['/', '!']);
    // Drawings, tables, and text without a blank cannot be broken.
    let is_whole = text.starts_with("     ") || text.trim().starts_with('|') || !text.trim().contains(' ');
    line.chars().count() > WIDTH && !is_whole
}

#[test]
fn comments_end_where_code_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let rules = std::fs::read_to_string(root.join("rustfmt.toml")).unwrap();
    assert!(rules.contains(&format!("max_width = {WIDTH}")), "{rules}");
    let out = Command::new("git").current_dir(root).args(["ls-files", "*.rs"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let files = String::from_utf8(out.stdout).unwrap();
    assert!(files.lines().count() > 100, "{files}");
    let mut wrong = Vec::new();
    for file in files.lines() {
        // A file that was deleted and not yet committed cannot be read, and is skipped.
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        let long = text.lines().enumerate().filter(|(_, line)| is_too_long(line));
        wrong.extend(long.map(|(number, line)| format!("{file}:{}: {}", number + 1, line.trim())));
    }
    assert!(wrong.is_empty(), "comments are wrapped at {WIDTH} columns:\n{}", wrong.join("\n"));
}
