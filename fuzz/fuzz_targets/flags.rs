//! Command lines: each is read or refused, and the order of flags that are set does not matter. Run with
//! `cargo fuzz run flags`.

#![no_main]

use golang::flag::{Asked, Flags};
use libfuzzer_sys::fuzz_target;

const FLAGS: Flags = Flags { program: "p", known: &[("upgrade", "Upgrade"), ("v", "Version")] };

fuzz_target!(|input: &str| {
    let args: Vec<String> = input.split('\n').map(str::to_string).collect();
    match FLAGS.parse(&args) {
        Asked::Flags(set) => {
            let again: Vec<String> = set.iter().map(|name| format!("-{name}")).collect();
            assert_eq!(FLAGS.parse(&again), Asked::Flags(set));
        }
        Asked::Help => {}
        Asked::Wrong(reason) => assert!(!reason.is_empty()),
    }
});
