//! Selectors that are refused: the error's text, and the place to which it points.

use selector::Selector;

#[test]
fn errors_have_calicos_words_and_the_right_place() {
    // Each row: the selector, the error's text, and the part of the selector at fault ("" is its end).
    for (text, words, at_fault) in [
        // Errors of the tokens.
        ("\"FOO", "unterminated string", "\"FOO"),
        ("\"FOO'", "unterminated string", "\"FOO'"),
        ("a == 'FOO", "unterminated string", "'FOO"),
        ("rack = '1'", "expected ==", "="),
        ("rack === '1'", "expected ==", "="),
        ("foo == \"bar\" &", "expected &&", "&"),
        ("foo == \"bar\" & foo == 'x'", "expected &&", "&"),
        ("foo == \"bar\" |", "expected ||", "|"),
        ("a b", "expected operator after label \"a\"", "b"),
        ("foo foo", "expected operator after label \"foo\"", "foo"),
        ("a has(b)", "expected operator after label \"a\"", "has"),
        ("a all()", "expected operator after label \"a\"", "all"),
        ("a not in b", "expected operator after label \"a\"", "not"),
        ("a starts with b", "expected operator after label \"a\"", "starts"),
        ("b ends with b", "expected operator after label \"b\"", "ends"),
        ("a starts foo 'b'", "expected operator after label \"a\"", "starts"),
        ("a contains-b", "expected operator after label \"a\"", "contains-b"),
        ("a inb", "expected operator after label \"a\"", "inb"),
        ("a IN {'b'}", "expected operator after label \"a\"", "IN"),
        ("a\n== 'b'", "expected operator after label \"a\"", "\n"),
        ("rack == '1' and has(b)", "expected operator after label \"and\"", "has"),
        ("rack > '1'", "expected operator after label \"rack\"", ">"),
        ("%", "expected identifier", "%"),
        ("a == \"b\" && %", "expected identifier", "%"),
        ("\nall()", "expected identifier", "\n"),
        ("all()\n", "expected identifier", "\n"),
        ("\u{201c}a\u{201d} == 'b'", "expected identifier", "\u{201c}"),
        ("has()", "expected identifier", ")"),
        ("has(", "expected identifier", ""),
        ("has('a')", "expected identifier", "'"),
        ("has(a", "no closing ')' after has(", ""),
        ("has(a b)", "no closing ')' after has(", "b"),
        ("all(", "no closing ')' after all(", ""),
        ("all(a)", "no closing ')' after all(", "a"),
        ("global(", "no closing ')' after global(", ""),
        ("global(!)", "no closing ')' after global(", "!"),
        // An error of the tokens is reported even if an error of the expression comes before it.
        (") %", "expected identifier", "%"),
        ("rack == 1 && a = 'b'", "expected ==", "="),
        // Errors of the expression.
        ("b", "unexpected end of string looking for op", "b"),
        ("a ", "unexpected end of string looking for op", "a"),
        ("has(b) && !b", "unexpected end of string looking for op", "b"),
        ("true", "unexpected end of string looking for op", "true"),
        ("b == b", "expected string", "b"),
        ("rack == 1", "expected string", "1"),
        ("b contains b", "expected string", "b"),
        ("rack ==", "expected string", ""),
        ("foo != ||", "expected string", "||"),
        ("a == {'b'}", "expected string", "{"),
        ("foo in \"\"", "expected set literal", "\"\""),
        ("a in b", "expected set literal", "b"),
        ("a not in 'b'", "expected set literal", "'b'"),
        ("a in ", "expected set literal", ""),
        ("a notin\"bar\"&&!has(foo)", "expected set literal", "\"bar\""),
        ("a in {'x'", "expected }", ""),
        ("a in {", "expected }", ""),
        ("a in {x}", "expected }", "x"),
        ("a in {'x' 'y'}", "expected }", "'y'"),
        ("a in {,}", "expected }", ","),
        ("a in {'x',,}", "expected }", ","),
        ("foo in {\"\", ||", "expected }", "||"),
        ("(a == 'b'", "expected )", ""),
        ("(a == 'b' c == 'd')", "expected )", "c"),
        ("((all())", "expected )", ""),
        ("b && has(c)", "expected == or != not: TokAnd()", "&&"),
        ("(b)", "expected == or != not: TokRParen()", ")"),
        ("b 'x'", "expected == or != not: TokStringLiteral(x)", "'x'"),
        ("has (rack)", "expected == or != not: TokLParen()", "("),
        ("b !", "expected == or != not: TokNot()", "!"),
        ("'b1' == b", "unexpected token: TokStringLiteral(b1)", "'b1'"),
        ("!", "unexpected token: TokEOF()", ""),
        ("(", "unexpected token: TokEOF()", ""),
        (")", "unexpected token: TokRParen()", ")"),
        ("()", "unexpected token: TokRParen()", ")"),
        ("has(foo) &&", "unexpected token: TokEOF()", ""),
        ("has(foo) && || all()", "unexpected token: TokOr()", "||"),
        ("== 'x'", "unexpected token: TokEq()", "=="),
        ("!= 'x'", "unexpected token: TokNe()", "!="),
        ("{}", "unexpected token: TokLBrace()", "{"),
        (", all()", "unexpected token: TokComma()", ","),
        ("all())", "unexpected content at end of selector [TokRParen() TokEOF()]", ")"),
        (
            "a == 'x' b starts with 'y'",
            "unexpected content at end of selector [TokLabel(b) TokStartsWith() TokStringLiteral(y) TokEOF()]",
            "b",
        ),
        (
            "all() has(a) global() all() ! != && || { } , == (",
            "unexpected content at end of selector [TokHas(a) TokGlobal() TokAll() TokNot() TokNe() TokAnd() TokOr() \
             TokLBrace() TokRBrace() TokComma() TokEq() TokLParen() TokEOF()]",
            "has(a)",
        ),
        (
            "all() a in b contains b not in { a ends with 'x'",
            "unexpected content at end of selector [TokLabel(a) TokIn() TokLabel(b) TokContains() TokLabel(b) TokNotIn() \
             TokLBrace() TokLabel(a) TokEndsWith() TokStringLiteral(x) TokEOF()]",
            "a",
        ),
    ] {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!(error.to_string(), words, "for {text:?}");
        assert_eq!(&text[error.span()], at_fault, "for {text:?}");
        if at_fault.is_empty() {
            assert_eq!(error.span(), text.len()..text.len(), "for {text:?}");
        }
    }
}

#[test]
fn hints_tell_what_to_write() {
    for (text, hint) in [
        ("rack = 1", "write == to compare a label with a value"),
        ("rack == 1", "values are in quotes: \"1\""),
        ("rack ==", "a value in quotes is missing at the end"),
        ("rack == {'1'}", "a value in quotes belongs here"),
        ("rack", "to ask only whether the label is there, write has(rack)"),
        ("zone=='a'&&rack&&has(x)", "to ask only whether the label is there, write has(rack)"),
        ("rack and zone == 'a'", "to ask only whether the label is there, write has(rack)"),
        ("all", "write all() for everything"),
        ("*", "write all() for everything"),
        ("none", "write !all() for nothing"),
        ("has(a) & has(b)", "write && for \"and\""),
        ("has(a) and has(b)", "write && for \"and\""),
        ("has(a) or has(b)", "write || for \"or\""),
        ("has(a) | has(b)", "write || for \"or\""),
        ("not has(b)", "write ! for \"not\""),
        ("a IN {'b'}", "operators are in lower case: in"),
        ("a Contains 'b'", "operators are in lower case: contains"),
        ("a not in b", "a set of values stands in braces: {\"1\", \"2\"}"),
        ("a in ['b']", "a set of values stands in braces: {\"1\", \"2\"}"),
        ("a in 'b'", "a set of values stands in braces: {\"1\", \"2\"}"),
        ("a in {b}", "values are in quotes: \"b\""),
        ("a in {'b' 'c'}", "separate the values with commas: {\"1\", \"2\"}"),
        ("a in {'b'", "close the set with }"),
        ("a starts with b", "values are in quotes: \"b\""),
        ("(has(c) || a  ends with\tb.c) && has(d)", "values are in quotes: \"b.c\""),
        ("a notin b", "a set of values stands in braces: {\"1\", \"2\"}"),
        ("has()", "name the label: has(rack)"),
        ("has('a')", "a label has no quotes: has(rack)"),
        ("has(a b)", "has() takes one label: has(rack)"),
        ("all(a)", "nothing stands between the parentheses of all()"),
        ("global ()", "write global( without a space before the parenthesis"),
        ("has(a)\n&& has(b)", "a selector is one line: write a space for the line break"),
        ("a == \u{201c}b\u{201d}", "use straight quotes: \" or '"),
        ("'1' == rack", "the label comes first, then the operator, then the value"),
        ("has(a) &&", "a condition is missing at the end"),
        ("has(a) && ()", "a condition is missing before this )"),
        ("(has(a)", "an opening ( has no closing )"),
        ("has(a))", "this ) has no opening ("),
        ("has(a) has(b)", "join two conditions with && (both) or || (either)"),
    ] {
        assert_eq!(Selector::parse(text).expect_err(text).hint(), Some(hint), "for {text:?}");
    }
}

#[test]
fn rendering_marks_the_place() {
    let render = |text: &str| Selector::parse(text).expect_err(text).render(text);
    assert_eq!(
        render("zone == 'süd' && rack == 1"),
        "expected string\n  |\n  | zone == 'süd' && rack == 1\n  |                          ^\n  = values are in quotes: \"1\""
    );
    // Tabs keep their width. Other control characters do not reach the terminal.
    assert_eq!(render("a\t== b\u{1b}[31m").lines().nth(2), Some("  | a\t== b\u{fffd}[31m"),);
    assert_eq!(render("a\t== b").lines().nth(3), Some("  |  \t   ^"));
    // Of several lines, only the one at fault is shown.
    assert_eq!(render("has(a)\n&& has(b)").lines().nth(2), Some("  | has(a)\u{fffd}"));
    assert_eq!(render("x == 'a\nb' && c = 'd'\n").lines().nth(2), Some("  | b' && c = 'd'"));
    // Of a long line, only a part is shown.
    let long = format!("{} && rack == 1 && {0}", vec!["has(a)"; 50].join(" && "));
    let rendered = render(&long);
    let shown: Vec<&str> = rendered.lines().collect();
    assert!(shown[2].starts_with("  | ...") && shown[2].ends_with("..."), "{rendered}");
    assert!(shown[2].chars().count() < 120, "{rendered}");
    let mark = shown[3].find('^').unwrap();
    assert_eq!(&shown[2][mark..=mark], "1", "{rendered}");
}

#[test]
fn rendering_another_text_does_not_panic() {
    let error = Selector::parse("zone == 'x' && rack == 1").unwrap_err();
    for other in ["", "ü", "zone == 'x' && rack == ü", "\n\n", "ä\nöööööööööööööööööööööööööööööö"]
    {
        assert!(error.render(other).starts_with("expected string\n"));
    }
}
