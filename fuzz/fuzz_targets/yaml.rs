//! YAML: any bytes are read or refused; what was read and written is read again as the same. Run with `cargo
//! fuzz run yaml`.

#![no_main]

use golang::{json, yaml};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let loose = yaml::read(input);
    let Ok(value) = yaml::read_strict(input) else { return };
    assert_eq!(loose.as_ref(), Ok(&value));
    let indented = json::to_indented_text(&value, 2);
    assert!(serde_json::from_str::<Value>(&indented).is_ok());
    // A key or a text `<<` is not quoted, in goyaml neither, and so means a merge when it is read again.
    if !indented.contains("\"<<\"") {
        // As in Go, `2.0` is written as `2`, `-0` as `0`, and so each is an integer when it is read again.
        let text = |value: Value| json::to_text(&value).replace("-0", "0");
        let again = yaml::read_strict(yaml::to_text(&value).as_bytes());
        assert_eq!(again.map(text), Ok(text(value)));
    }
});
