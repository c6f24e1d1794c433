//! The pages below `docs/reference`, and `docs/selectors.md`, made from the source: from the definitions of
//! the command lines, the tables of settings and of the plugins' fields, the definitions of the custom
//! resources, and the page of the selector language. The test fails where a page is not what the source says;
//! `cargo xtask docs` writes the pages.

// Everything here is test code.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

mod commands;
mod fields;
mod meanings;
mod resources;
mod settings;

use std::path::Path;

/// The variable with which the pages are written.
const WRITE: &str = "RACKPOOL_WRITE_DOCS";

/// What stands at the head of a page, where its readers do not see it.
const MADE: &str = "<!-- Made from the source by `cargo xtask docs`. -->\n";

/// How the page of the selector language begins; what follows is the programs' own help text.
const SELECTORS: &str = "IP pools choose nodes and namespaces by label selectors, such as `rack == \"1\" && !has(spare)`. This is the help text\n\
     of the programs, `calicoctl explain selectors`; every example in it is evaluated by a test.\n\n\
     ## In YAML\n\
     A selector that begins with `!` needs quotes around it: `nodeSelector: \"!has(rack)\"`. Without them YAML takes `!has(rack)` for a\n\
     tag and the value is empty, which means `all()`; `calicoctl` warns of it.\n";

fn pages() -> [(&'static str, String); 3] {
    let language = selector::REFERENCE.replacen("# Label selectors\n", "## The language", 1);
    [
        ("reference/commands.md", format!("{MADE}{}", commands::page())),
        ("reference/resources.md", format!("{MADE}{}", resources::page())),
        ("selectors.md", format!("{MADE}# Label selectors\n\n{SELECTORS}\n{language}")),
    ]
}

#[test]
fn pages_are_what_the_source_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let is_writing = std::env::var_os(WRITE).is_some();
    let mut stale = Vec::new();
    for (name, text) in pages() {
        let path = docs.join(name);
        if is_writing {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
            println!("docs/{name}: written");
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "not what the source says: {stale:?}. Write them by `cargo xtask docs`");
}

/// A text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
