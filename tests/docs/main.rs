//! Every block of commands in `docs/` is run here, and the output that it shows is compared. A block says by
//! its fence what it is:
//!
//! | fence | what it is |
//! |---|---|
//! | `console` | commands behind `$ `, each with what it prints; `...` stands for any text or lines |
//! | `sh` | commands alone |
//! | `yaml FILE`, `json FILE` | a file that the page's commands find |
//! | `text`, `yaml`, `json` | nothing to run |
//!
//! The blocks of a page are run one after the other, by one shell with a store of its own: an embedded one,
//! or what the page's comment `<!-- store: etcd -->` or `<!-- store: kubernetes -->` says. What the reader of
//! the page has already is made by commands in a comment `<!-- before ... -->`. Every command must succeed.
//! What cannot be run here stands in [`elsewhere`], with the test that runs it.

// Everything here is test code.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod elsewhere;
mod page;
mod run;
mod shown;

use std::path::{Path, PathBuf};

use page::{Page, Store};

/// The folder of the documentation.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// All pages, by name.
fn pages() -> Vec<Page> {
    let mut files = Vec::new();
    for folder in [docs(), docs().join("reference")] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten();
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(docs()).unwrap().display().to_string();
        Page::read(name, &std::fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

#[test]
fn every_block_says_what_it_is() {
    let pages = pages();
    let pages = pages.iter().filter(|page| !elsewhere::has_page(&page.name));
    let faults: Vec<String> = pages.flat_map(|page| page.faults.clone()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pages_on_the_embedded_store() {
    perform(Store::Embedded);
}

#[test]
fn pages_on_etcd() {
    if !servers::etcd_server::is_left_out() {
        perform(Store::Etcd);
    }
}

#[test]
fn pages_on_kubernetes() {
    if !servers::kube_server::is_left_out() {
        perform(Store::Kubernetes);
    }
}

/// Runs the pages on a store, and fails with all that is wrong with them.
fn perform(store: Store) {
    let Some(programs) = std::env::var_os("RACKPOOL_PROGRAMS") else {
        eprintln!("skipped: RACKPOOL_PROGRAMS names no folder with the programs");
        return;
    };
    let pages = pages();
    let pages: Vec<&Page> =
        pages.iter().filter(|page| page.store == store && !elsewhere::has_page(&page.name)).collect();
    let faults = run::pages(Path::new(&programs), store, &pages);
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// The list of what is run elsewhere names only blocks that exist, and tests that exist.
#[test]
fn what_runs_elsewhere_exists() {
    let pages = pages();
    for listed in elsewhere::ELSEWHERE {
        let page = pages.iter().find(|page| page.name == listed.page);
        let page = page.unwrap_or_else(|| panic!("there is no page {}", listed.page));
        assert!(!elsewhere::has_page(listed.page), "{} is run elsewhere as a whole", listed.page);
        let found = page.blocks.iter().any(|block| listed.is(&page.name, block));
        assert!(found, "no block of {} begins with {:?}", listed.page, listed.begins);
        is_there(listed.test);
    }
    for (page, _, test) in elsewhere::PAGES {
        if pages.iter().any(|known| known.name == *page) {
            is_there(*test);
        }
    }
}

/// Fails where a file has no function of that name.
fn is_there((file, name): (&str, &str)) {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file));
    let source = source.unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(source.contains(&format!("fn {name}(")), "{file} has no function {name}");
}
