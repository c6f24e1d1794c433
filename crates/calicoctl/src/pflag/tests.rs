use super::*;

fn normalised(line: &str) -> Result<Vec<String>, String> {
    let mut root = crate::cli::command();
    root.build();
    let args: Vec<String> = line.split(' ').filter(|a| !a.is_empty()).map(|a| a.replace('~', " ")).collect();
    normalise(&root, &args).map(|normalised| normalised.args).map_err(|error| error.to_string())
}

#[test]
fn flags_stand_anywhere() {
    for (line, wanted) in [
        ("get ippool", "get -- ippool"),
        ("-l panic get ippool", "get --log-level=panic -- ippool"),
        ("-o wide get ippool x", "get --output=wide -- ippool x"),
        ("get -o=wide ippool --output json", "get --output=json -- ippool"),
        ("get -ojson ippool -- -x", "get --output=json -- ippool -x"),
        ("get ippool -a", "get --all-namespaces -- ippool"),
        ("get ippool --export=false", "get -- ippool"),
        ("apply -Rfp.yaml", "apply --recursive --filename=p.yaml --"),
        ("apply -f a -f b", "apply --filename=b --"),
        ("patch ippool a -p -x", "patch --patch=-x -- ippool a"),
        ("ipam", "ipam --help"),
        ("ipam nope", "ipam --help"),
        ("", "--help"),
        ("get ippool -h", "get --help"),
        ("help get", "help get"),
        ("help datastore init", "help datastore init"),
    ] {
        assert_eq!(normalised(line).map(|args| args.join(" ")), Ok(wanted.to_string()), "{line}");
    }
}

/// Recorded in 132-bad-flags and 133-unknown-commands.
#[test]
fn faults_are_told_as_recorded() {
    for (line, wanted) in [
        ("--nope", "unknown flag: --nope"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("get ippool -o", "flag needs an argument: 'o' in -o"),
        ("get ippool --output", "flag needs an argument: --output"),
        ("get ippool -Rz", "unknown shorthand flag: 'z' in -z"),
        ("apply --export -f x", "unknown flag: --export"),
        (
            "get ippool --export=maybe",
            "invalid argument \"maybe\" for \"--export\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        ("nope", "unknown command \"nope\" for \"calicoctl\"\n\nDid you mean this?\n\tnode\n"),
        ("ipma show", "unknown command \"ipma\" for \"calicoctl\"\n\nDid you mean this?\n\tipam\n"),
        ("convert -f x", "unknown command \"convert\" for \"calicoctl\""),
        ("get --=x", "bad flag syntax: --=x"),
    ] {
        assert_eq!(normalised(line), Err(wanted.to_string()), "{line}");
    }
}
