//! Every example on the reference page is true.

use std::collections::BTreeMap;

use selector::{REFERENCE, Selector};

/// The fenced blocks of one kind, without their fences.
fn blocks(kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let found: Vec<String> = REFERENCE
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().expect("a fence ends").to_owned())
        .collect();
    assert!(!found.is_empty(), "no block of {kind}");
    found
}

fn parse(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)))
}

#[test]
fn no_block_is_of_an_unknown_kind() {
    let opening = REFERENCE.lines().filter(|line| line.starts_with("```")).step_by(2);
    for line in opening {
        assert!(["same", "labels", "selects", "selectors", "mistake"].contains(&&line[3..]), "{line}");
    }
}

/// Code in the running text and in tables is a selector if there is a string, set or function in it.
#[test]
fn selectors_in_the_text_parse() {
    let mut fenced = false;
    let mut count = 0;
    for line in REFERENCE.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        for code in line.split('`').skip(1).step_by(2) {
            let example =
                code.contains(['(', '{']) || code.contains([' ', '=']) && code.contains(['"', '\'']);
            if example {
                parse(code);
                count += 1;
            }
        }
        if let Some(field) = line.trim().strip_prefix("nodeSelector: ") {
            parse(field);
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} examples were found");
}

#[test]
fn listed_selectors_parse() {
    for block in blocks("selectors") {
        block.lines().for_each(|line| drop(parse(line)));
    }
}

#[test]
fn pairs_say_the_same() {
    for block in blocks("same") {
        for pair in block.split("\n\n") {
            let [one, other] = pair.lines().collect::<Vec<_>>()[..] else { panic!("{pair} is no pair") };
            assert_eq!(parse(one), parse(other));
        }
    }
}

#[test]
fn examples_choose_the_nodes_they_say() {
    let nodes: Vec<(String, BTreeMap<String, String>)> = blocks("labels")
        .concat()
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().expect("a name").to_owned();
            let pair =
                |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).expect("a pair");
            (name, words.map(pair).collect())
        })
        .collect();
    assert_eq!(nodes.len(), 4);
    for line in blocks("selects").concat().lines() {
        let (text, expected) = line.split_once("   ").expect("two columns");
        let selector = parse(text);
        let chosen: Vec<&str> =
            nodes.iter().filter(|(_, labels)| selector.matches(labels)).map(|(name, _)| &**name).collect();
        let chosen = if chosen.is_empty() { "-".to_owned() } else { chosen.join(" ") };
        assert_eq!(chosen, expected.trim(), "for {text}");
    }
}

#[test]
fn mistakes_give_the_errors_they_say() {
    for block in blocks("mistake") {
        let text = block.lines().nth(2).and_then(|line| line.strip_prefix("  | ")).expect("a source line");
        assert_eq!(Selector::parse(text).expect_err(text).render(text), block);
    }
}

#[test]
fn the_limits_are_right() {
    let words = REFERENCE.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("at most {} bytes", selector::MAX_LENGTH)));
    assert!(words.contains(&format!("{} levels", selector::MAX_DEPTH)));
    assert!(words.contains(&format!("1 to {} letters", selector::MAX_LABEL_LENGTH)));
}
