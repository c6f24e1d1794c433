//! Go's ways with text.

use golang::flag::{Asked, Flags};
use golang::yaml::tree::Documents;
use golang::{duration, json, netip, number, strconv, tabwriter, yaml};
use serde_json::Value as Json;

use super::Target;
use crate::input::{bounded, text, told, words};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "yaml", what: "YAML as Go reads it", run: a_yaml },
    Target { name: "json", what: "JSON as Go reads it", run: a_json },
    Target {
        name: "go-text",
        what: "a text that is quoted or is a number, a duration, a network",
        run: go_text,
    },
    Target { name: "go-flags", what: "flags as Go reads them, a word on each line", run: flags },
    Target { name: "columns", what: "cells with tabs between them", run: columns },
];

fn a_yaml(bytes: &[u8]) {
    yaml::has_more(bytes);
    let mut documents = Documents::new(bytes);
    let mut count = 0;
    while let Ok(Some(_)) = documents.next_document() {
        count += 1;
    }
    bounded("the documents", count, bytes.len(), 1);
    if let Ok((_, plain)) = yaml::read_strict_noting(bytes) {
        bounded("the scalars", plain.len(), bytes.len(), 1);
    }
    let value = match yaml::read(bytes) {
        Ok(value) => value,
        Err(error) => {
            told(error.without_content(), bytes.len());
            return told(error, bytes.len());
        }
    };
    let as_json = json::to_text(&value);
    // Aliases repeat what stands once.
    assert!(as_json.len() < 128 << 20);
    if as_json.len() > 64 * bytes.len() + 4096 {
        return;
    }
    let written = yaml::to_text(&value);
    let again = yaml::read_strict(written.as_bytes()).unwrap_or_else(|error| panic!("{error}: {written}"));
    // A number that is whole may have been written with a point.
    assert_eq!(json::to_text(&again), json::to_text(&without_signs_of_zeros(value)), "{written}");
    assert_eq!(yaml::to_text(&again), written);
}

/// Go's YAML takes `-0` for an integer, which has no sign then.
fn without_signs_of_zeros(value: Json) -> Json {
    match value {
        Json::Number(number) if number.as_f64() == Some(0.0) => 0.into(),
        Json::Array(items) => items.into_iter().map(without_signs_of_zeros).collect(),
        Json::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, without_signs_of_zeros(value))).collect()
        }
        other => other,
    }
}

fn a_json(bytes: &[u8]) {
    let text = text(bytes);
    let checked = json::scanner::check(text.as_bytes());
    let parsed: Result<Json, _> = serde_json::from_str(&text);
    match (&checked, &parsed) {
        // Numbers past the range of a float, halves of surrogates and deep nesting are JSON, and no value.
        (Ok(()), Err(error)) => {
            let why = error.to_string();
            let known = ["number out of range", "surrogate", "recursion limit", "hex escape"];
            assert!(known.iter().any(|known| why.contains(known)), "{why}: {text}");
        }
        (Err(said), Ok(_)) => panic!("{said}: {text}"),
        (Err(said), Err(_)) => told(said, text.len()),
        (Ok(()), Ok(value)) => {
            let written = json::to_text(value);
            bounded("the text", written.len(), text.len(), 6);
            assert_eq!(json::escape(&written), written);
            assert_eq!(json::scanner::check(written.as_bytes()), Ok(()));
            let again: Json =
                serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
            assert_eq!(json::to_text(&again), written);
            json::to_indented_text(value, 2);
        }
    }
}

fn go_text(bytes: &[u8]) {
    let text = text(bytes);
    let quoted = strconv::quote(&text);
    bounded("the quoted text", quoted.len(), text.len(), 10);
    assert!(quoted.chars().all(strconv::is_print), "{quoted}");
    text.chars().for_each(|c| drop(strconv::quote_rune(c)));
    strconv::parse_bool(&text);
    match duration::parse(&text) {
        Ok(nanos) => assert_eq!(duration::parse(&duration::text(nanos)), Ok(nanos)),
        Err(said) => bounded("an error's text", said.len(), text.len(), 40),
    }
    for said in [netip::check_prefix(&text).err(), netip::check_addr(&text).err()].into_iter().flatten() {
        bounded("an error's text", said.len(), text.len(), 40);
    }
    if let Ok(value) = text.parse::<f64>()
        && value.is_finite()
    {
        let written = number::json(value);
        assert_eq!(written.parse(), Ok(value), "{written}");
        for written in [number::general(value), number::general_32(value), number::significant(value, 6)] {
            bounded("a number", written.len(), 0, 1);
        }
    }
}

fn flags(bytes: &[u8]) {
    let flags = Flags { program: "p", known: &[("upgrade", "Upgrade from host-local"), ("v", "Version")] };
    match flags.parse(&words(bytes)) {
        Asked::Flags(asked) => assert!(asked.len() <= 2),
        Asked::Help => {}
        Asked::Wrong(said) => bounded("an error's text", said.len(), bytes.len(), 10),
    }
}

fn columns(bytes: &[u8]) {
    let text = text(bytes);
    let laid_out = tabwriter::layout(&text, 0, 2);
    // Each line may become as wide as the widest.
    let lines = text.lines().count() + 1;
    bounded("the columns", laid_out.len(), lines * (text.len() + 1), 4);
}
