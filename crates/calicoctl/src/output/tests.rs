use serde_json::{Value, json};

use super::table::Align;
use super::*;

/// Recorded in 138-output-errors.
#[test]
fn reads_the_output_option() {
    for (text, expected) in [
        ("ps", Ok(Format::Ps)),
        ("wide", Ok(Format::Wide)),
        ("yaml", Ok(Format::Yaml)),
        ("json", Ok(Format::Json)),
        (
            "custom-columns=NAME,,CIDR",
            Ok(Format::CustomColumns(["NAME", "", "CIDR"].map(str::to_owned).to_vec())),
        ),
        ("go-template={{a=b}}", Ok(Format::GoTemplate("{{a=b}}".to_owned()))),
        ("go-template-file=names.tmpl", Ok(Format::GoTemplateFile("names.tmpl".to_owned()))),
        ("nonsense", Err("unrecognized output format 'nonsense'")),
        ("YAML", Err("unrecognized output format 'YAML'")),
        ("yaml=x", Err("unrecognized output format 'yaml=x'")),
        ("", Err("unrecognized output format ''")),
        ("custom-columns", Err("need to specify at least one column")),
        ("custom-columns=", Err("need to specify at least one column")),
        ("go-template", Err("need to specify a template")),
        ("go-template=", Err("need to specify a template")),
        ("go-template-file", Err("need to specify a template file")),
        ("go-template-file=", Err("need to specify a template file")),
    ] {
        let parsed = Format::parse(text);
        assert_eq!(
            parsed.as_ref().map_err(ToString::to_string),
            expected.as_ref().map_err(ToString::to_string),
            "{text}"
        );
    }
    let unknown =
        FormatError::UnknownHeading { heading: "x".to_owned(), valid: vec!["A".to_owned(), "B".to_owned()] };
    assert_eq!(unknown.to_string(), "unknown heading x, valid values are: A, B");
}

/// Recorded in 080-ipreservation.
#[test]
fn joins_and_truncates() {
    let cidrs: Vec<String> = (0..30).map(|at| format!("10.1.{at}.0/24")).collect();
    assert_eq!(
        join_and_truncate(&cidrs, ",", Some(80)),
        "10.1.0.0/24,10.1.1.0/24,10.1.2.0/24,10.1.3.0/24,10.1.4.0/24,10.1.5.0/24,10.1...."
    );
    assert_eq!(join_and_truncate(&["10.0.0.1/32", "fd00::/120"], ",", Some(80)), "10.0.0.1/32,fd00::/120");
    assert_eq!(join_and_truncate::<&str>(&[], ",", None), "");
    assert_eq!(join_and_truncate(&["ééé"], ",", Some(4)), "...");
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

/// Recorded in 001-guide-default-pool, 004-guide-get-formats and 083-workloadendpoint.
#[test]
fn lays_out_columns() {
    assert_eq!(columns::table(&["NAME", "CIDR", "SELECTOR"], &[]), "NAME   CIDR   SELECTOR   \n");
    let rows = [
        row(&["rack-0-ippool", "192.168.0.0/18", "rack == \"0\""]),
        row(&["rack-2-ippool", "192.168.128.0/18", "rack == \"2\""]),
    ];
    assert_eq!(
        columns::table(&["NAME", "CIDR", "SELECTOR"], &rows),
        "NAME            CIDR               SELECTOR      \n\
         rack-0-ippool   192.168.0.0/18     rack == \"0\"   \n\
         rack-2-ippool   192.168.128.0/18   rack == \"2\"   \n"
    );
    assert_eq!(
        columns::table(&["NAME", "CLUSTERTYPE", "DATASTOREREADY"], &[row(&["default", "", "true"])]),
        "NAME      CLUSTERTYPE   DATASTOREREADY   \ndefault                 true             \n"
    );
    assert_eq!(columns::table(&["A"], &[row(&["é"])]), "A    \né    \n");
    // A line break in a cell cuts the row.
    assert_eq!(
        columns::table(&["NAME", "SELECTOR"], &[row(&["a", "all()\n"])]),
        "NAME   SELECTOR   \na      all()\n       \n"
    );
}

/// Recorded in 100-ipam-show-empty, 101-ipam-show-racks and 106-ipam-configure.
#[test]
fn draws_boxed_tables() {
    let columns = [
        ("GROUPING", Align::Left),
        ("CIDR", Align::Left),
        ("IPS TOTAL", Align::Right),
        ("IPS IN USE", Align::Right),
        ("IPS RESERVED", Align::Right),
        ("IPS FREE", Align::Right),
    ];
    assert_eq!(
        table::boxed_table(&columns, &[]),
        "+----------+------+-----------+------------+--------------+----------+\n\
         | GROUPING | CIDR | IPS TOTAL | IPS IN USE | IPS RESERVED | IPS FREE |\n\
         +----------+------+-----------+------------+--------------+----------+\n\
         +----------+------+-----------+------------+--------------+----------+\n"
    );
    let usage = |kind: &str, cidr: &str, total: u128, used: u128| {
        let share = |part| number::count_and_share(part, total);
        vec![
            kind.to_owned(),
            cidr.to_owned(),
            number::count(total),
            share(used),
            share(0),
            share(total - used),
        ]
    };
    let rows = [
        usage("IP Pool", "192.168.0.0/18", 16384, 2),
        usage("Block", "192.168.44.64/26", 64, 1),
        usage("IP Pool", "10.4.0.0/14", 1 << 18, 0),
    ];
    assert_eq!(
        table::boxed_table(&columns, &rows),
        "+----------+------------------+------------+------------+--------------+-------------------+\n\
         | GROUPING | CIDR             | IPS TOTAL  | IPS IN USE | IPS RESERVED | IPS FREE          |\n\
         +----------+------------------+------------+------------+--------------+-------------------+\n\
         | IP Pool  | 192.168.0.0/18   |      16384 |     2 (0%) |       0 (0%) |      16382 (100%) |\n\
         | Block    | 192.168.44.64/26 |         64 |     1 (2%) |       0 (0%) |          63 (98%) |\n\
         | IP Pool  | 10.4.0.0/14      | 2.6214e+05 |     0 (0%) |       0 (0%) | 2.6214e+05 (100%) |\n\
         +----------+------------------+------------+------------+--------------+-------------------+\n"
    );
    let columns = [("Property", Align::Left), ("Value", Align::Left)];
    assert_eq!(
        table::boxed_table(&columns, &[row(&["MaxBlocksPerHost", "0"])]),
        "+------------------+-------+\n\
         | PROPERTY         | VALUE |\n\
         +------------------+-------+\n\
         | MaxBlocksPerHost | 0     |\n\
         +------------------+-------+\n"
    );
}

#[test]
fn prints_numbers_as_go_does() {
    for (value, expected) in [
        (0, "0"),
        (65536, "65536"),
        (99999, "99999"),
        (100_000, "1e+05"),
        (131_072, "1.3107e+05"),
        (262_144, "2.6214e+05"),
        (i64::MAX as u128, "9.2234e+18"),
        (1 << 64, "1.8447e+19"),
        (u128::MAX, "3.4028e+38"),
    ] {
        assert_eq!(number::count(value), expected);
    }
    for (part, whole, expected) in [
        (4, 256, "4 (2%)"),
        (128, 256, "128 (50%)"),
        (0, 8, "0 (0%)"),
        // Halves go to the even neighbour.
        (1, 8, "1 (12%)"),
        (3, 8, "3 (38%)"),
        (1, 200, "1 (0%)"),
        (3, 200, "3 (2%)"),
        (i64::MAX as u128, i64::MAX as u128, "9.2234e+18 (100%)"),
    ] {
        assert_eq!(number::count_and_share(part, whole), expected);
    }
    for (value, expected) in
        [(1e5, "100000"), (1e6, "1e+06"), (0.0001, "0.0001"), (0.00001, "1e-05"), (1.5, "1.5"), (-0.0, "-0")]
    {
        assert_eq!(golang::number::general(value), expected);
    }
    assert_eq!(golang::number::general_32(123_456_789.0), "1.2345679e+08");
    for (value, expected) in [
        (json!(26.0), "26"),
        (json!(26.5), "26.5"),
        (json!(1e21), "1e+21"),
        (json!(1e20), "100000000000000000000"),
        (json!(1e-7), "1e-7"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let Value::Number(number) = value else { panic!("not a number") };
        assert_eq!(golang::number::json_number(&number), expected);
    }
}

/// A character that a terminal would obey is written as an escape, and the YAML still means the same.
#[test]
fn what_turns_the_direction_is_quoted_in_yaml() {
    use std::io::Write;
    for text in ["a\u{202e}b", "\u{2066}a\\b\"\nc", "\u{200f}", "a: \u{61c}"] {
        let value = json!({"name": text});
        for output in [yaml::to_text(&value), golang::json::to_indented_text(&value, 2)] {
            let mut shown = Vec::new();
            let mut terminal = crate::terminal::Terminal::new(&mut shown);
            terminal.write_all(output.as_bytes()).unwrap();
            terminal.flush().unwrap();
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.is_ascii(), "{shown}");
            let read = golang::yaml::read(shown.as_bytes()).unwrap();
            assert_eq!(read, value, "{shown}");
        }
    }
}
