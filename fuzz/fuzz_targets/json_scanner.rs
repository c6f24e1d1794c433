//! The JSON scanner: it takes what a parser takes, and no more. Run with `cargo fuzz run json_scanner`.

#![no_main]

use golang::json::scanner;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let checked = scanner::check(input.as_bytes());
    match serde_json::from_str::<serde_json::Value>(input) {
        Ok(_) => assert_eq!(checked, Ok(())),
        // Go takes halves of surrogate pairs, numbers of any size, and nests deeper.
        Err(error) => {
            let words = error.to_string();
            let is_lenient = ["surrogate", "hex escape", "out of range", "recursion limit"].iter().any(|word| words.contains(word));
            assert!(checked.is_err() || is_lenient, "{words}");
        }
    }
});
