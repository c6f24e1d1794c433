//! Input as other tools and people write it: what it is taken for, and what is said about it.

use crate::world::{World, pool};

fn world() -> World {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    world
}

fn node(labels: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: Node\nmetadata:\n  name: node-1\n  labels: {labels}\n")
}

#[test]
fn documents_without_content_are_left_out() {
    let world = world();
    let (a, b) = (pool("a", "10.1.0.0/16"), pool("b", "10.2.0.0/16"));
    let rendered = format!("%YAML 1.1\n---\n# Source: x\n---\n{a}---\n# empty\n\n--- # y\n{b}---\n# end\n");
    let good = "Successfully applied 2 'IPPool' resource(s)\n";
    assert_eq!(world.good_with("apply -f -", &rendered), good);

    let comments = world.write("comments.yaml", "---\n# nothing\n---\n");
    let ran = world.run(&format!("apply -f {comments}"));
    let words = "failed to execute command: unknown resource type () and/or version ()\n";
    let ours = "[DIR]/comments.yaml holds nothing but comments: --skip-empty leaves such a file out\n";
    assert_eq!((ran.code, ran.stderr), (1, format!("{words}{ours}")));
    let skipped = world.good(&format!("apply --skip-empty -f {comments}"));
    assert_eq!(skipped, "No resources specified\n");
}

#[test]
fn a_merge_yields_to_a_maps_own_keys() {
    let world = world();
    let list = "- &t {apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: a}, spec: {cidr: 10.1.0.0/16}}\n\
                - {<<: *t, metadata: {name: b}, spec: {cidr: 10.2.0.0/16}}\n";
    world.good_with("create -f -", list);
    assert_eq!(
        world.good("get ippools"),
        "NAME   CIDR          SELECTOR   \na      10.1.0.0/16   all()      \nb      10.2.0.0/16   all()      \n\n"
    );
}

/// Each is stored as another text than was written.
#[test]
fn scalars_without_quotes_are_warned_of() {
    let world = world();
    for (written, stored) in [
        ("010", "8"),
        ("1.10", "1.1"),
        ("yes", "true"),
        ("1e3", "1000"),
        ("0x1F", "31"),
        ("0123456701234567", "5744368105847"),
    ] {
        let ran = world.run_with("apply -f -", &node(&format!("{{rack: {written}}}")));
        let warning = format!(
            "warning: standard input, document 1, line 5: metadata.labels.rack: {written} without quotes is not this text in YAML, \
             but a number or a boolean, and is taken for {stored:?}; write {written:?} in quotes\n"
        );
        assert_eq!((ran.code, ran.stderr), (0, warning));
        assert!(world.good("get node node-1 -o yaml").contains(&format!("rack: \"{stored}\"")));
    }
    // These are stored as they were written.
    for written in ["0", "true", "'010'", "\"yes\"", "a1"] {
        world.good_with("apply -f -", &node(&format!("{{rack: {written}}}")));
    }
    let list = "apiVersion: projectcalico.org/v3\nkind: NodeList\nitems:\n- metadata: {name: node-1, labels: {rack: 012}}\n";
    let ran = world.run_with("apply -f -", list);
    assert!(ran.stderr.contains("line 4: metadata.labels.rack: 012 without quotes"), "{ran:?}");
}

#[test]
fn faults_name_file_document_line_and_resource() {
    let world = world();
    let file = |name: &str, text: &str| {
        std::fs::create_dir_all(world.path("m")).unwrap();
        world.write(&format!("m/{name}"), text);
    };
    file("a.yaml", &pool("a", "10.1.0.0/16"));
    file("b.yaml", &format!("# first\n---\n{}", pool("b", "10.2.0.0/16").replace("  cidr", "\tcidr")));
    let line = format!("apply -f {}", world.path("m").display());
    let ran = world.run(&line);
    let words = "failed to execute command: error converting YAML to JSON: yaml: line 6: found character that cannot start any token\n";
    let ours = "[DIR]/m/b.yaml, document 2, line 8: a tab cannot indent: write blanks in its place; nothing was done\n";
    assert_eq!((ran.code, ran.stderr), (1, format!("{words}{ours}")));

    let odd = format!("{}  nodeSelector: rack == 0\n", pool("b", "10.2.0.0/16"));
    file("b.yaml", &format!("{odd}---\n{}", pool("c", "10.3.0.0/28")));
    let ran = world.run(&line);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout, "Partial success: applied 1 out of 3 'IPPool' resources: IPPool(a)\n");
    let ours: Vec<&str> = ran.stderr.lines().skip(1).collect();
    let wanted = [
        "IPPool(b) ([DIR]/m/b.yaml, document 1): NodeSelector: expected string",
        "  |",
        "  | rack == 0",
        "  |         ^",
        "  = values are in quotes: \"0\"",
        "IPPool(c) ([DIR]/m/b.yaml, document 2): spec: 10.3.0.0/28 has 16 address(es), and a block of blockSize 26 has 64: \
         a blockSize of 28 to 32 would do",
    ];
    assert_eq!(ours, wanted);
}

#[test]
fn the_same_resource_twice_is_warned_of() {
    let world = world();
    let twice = format!("{}---\n{}", pool("a", "10.1.0.0/16"), pool("a", "10.1.0.0/16"));
    let ran = world.run_with("apply -f -", &twice);
    let warning = "warning: IPPool(a) is written twice, in standard input, document 1 and in standard input, document 2: \
                   both are tried, in this order\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (0, warning));
}

#[test]
fn a_block_size_that_is_not_mentioned_stays() {
    let world = world();
    let sized = format!("{}  blockSize: 28\n", pool("a", "10.1.0.0/16"));
    world.good_with("create -f -", &sized);
    world.good_with("apply -f -", &pool("a", "10.1.0.0/16"));
    world.good_with("replace -f -", &pool("a", "10.1.0.0/16"));
    let patch = ["patch", "ippool", "a", "-p", r#"{"spec":{"blockSize":null}}"#].map(str::to_string);
    assert_eq!(world.run_args(&patch, "").code, 0);
    assert!(world.good("get ippool a -o yaml").contains("blockSize: 28"));
    let ran = world.run_with("apply -f -", &sized.replace("28", "27"));
    assert!(ran.stderr.contains("IPPool.Spec.BlockSize: the pool has 28; for other blocks"), "{ran:?}");
}

#[test]
fn a_name_like_the_missing_one_is_told() {
    let world = world();
    world.good_with("create -f -", &pool("rack-0", "10.1.0.0/16"));
    for line in ["get ippool rack-O", "delete ippool rack-O"] {
        let ran = world.run(line);
        let ours = "IPPool(rack-O): did you mean rack-0? `calicoctl get ippool` shows all\n";
        assert!(ran.code == 1 && ran.stderr.ends_with(ours), "{ran:?}");
    }
}

/// What did not happen is not counted.
#[test]
fn nothing_done_is_told_as_nothing() {
    let world = world();
    let ran = world.run("delete -s ippool nobody");
    assert_eq!(ran.stdout, "Nothing deleted: 1 'IPPool' resource(s) do not exist\n");
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, "IPPool(nobody) does not exist, so nothing was deleted\n")
    );
    world.good_with("create -f -", &pool("a", "10.1.0.0/16"));
    let ran = world.run_with("create --skip-exists -f -", &pool("a", "10.1.0.0/16"));
    assert_eq!(ran.stdout, "Nothing created: 1 'IPPool' resource(s) left alone\n");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "IPPool(a) exists, and was left alone\n"));
}

#[test]
fn a_flag_without_effect_is_told() {
    let world = world();
    let (a, b) =
        (world.write("a.yaml", &pool("a", "10.1.0.0/16")), world.write("b.yaml", &pool("b", "10.2.0.0/16")));
    let ran = world.run(&format!("create -f {a} -f {b}"));
    let warning =
        "warning: --filename=[DIR]/a.yaml has no effect: the flag is given again, and the last one counts\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (0, warning));
    assert!(!world.good("get ippools").contains("10.1.0.0/16"));

    let patch = |kind: &str| {
        let words =
            ["patch", "ippool", "b", "-p", r#"{"spec":{"disabled":true}}"#, "-t", kind].map(str::to_string);
        let ran = world.run_args(&words, "");
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stderr
    };
    assert_eq!(patch("merge"), "");
    assert_eq!(
        patch("json"),
        "warning: --type=json has no effect: a patch is an object, and is always merged\n"
    );
}

#[test]
fn a_label_that_is_refused_says_why() {
    let world = world();
    world.good_with("apply -f -", &node("{}"));
    let ran = world.run("label node node-1 rack=-0");
    let mut lines = ran.stderr.lines();
    assert_eq!(lines.next(), Some("failed to update node node-1, label not changed"));
    assert!(lines.next().is_some_and(|line| line.contains("'-0' (a valid label must be")), "{ran:?}");
    let ran = world.run("label node node-2 rack=0");
    assert_eq!(ran.stderr, "node node-2 not found\ndid you mean node-1? `calicoctl get node` shows all\n");
}

/// YAML takes `!has(rack)` for a tag, so the selector would be empty and select everybody.
#[test]
fn a_tag_is_warned_of() {
    let world = world();
    let text = format!("{}  nodeSelector: !has(rack)\n", pool("a", "10.1.0.0/16"));
    let ran = world.run_with("validate -f -", &text);
    let warning = "warning: standard input, document 1, line 7: spec.nodeSelector: !has(rack) without quotes has a tag in YAML, !has(rack), \
                   which is no part of the value; write \"!has(rack)\" in quotes\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (0, warning));
    world.good_with("validate -f -", &text.replace("!has(rack)", "\"!has(rack)\""));
}

#[test]
fn text_that_is_not_read_is_told() {
    let world = world();
    let json = |name: &str, n: u8| {
        format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{{"name":"{name}"}},"spec":{{"cidr":"10.{n}.0.0/16"}}}}"#
        )
    };
    let (a, b) = (json("a", 1), json("b", 2));
    let one = "warning: standard input, document 1: only the first of several documents in it is read; put a line --- between them\n";
    for text in [format!("{a}{b}"), format!("{a}\n{b}\n"), format!("{a}\n...\n{b}\n")] {
        let ran = world.run_with("validate -f -", &text);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, one), "{text}");
    }
    let ran = world.run_with("validate -f -", &format!("{a}\n--- {b}\n"));
    assert!(
        ran.stderr.contains("document 2: what stands behind the dashes before it is not read: {"),
        "{ran:?}"
    );
    world.good_with("validate -f -", &format!("{a}\n--- # the next\n{b}\n"));
}

#[test]
fn what_reserves_more_than_is_written_is_told() {
    let world = world();
    let text = "apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata: {name: r}\nspec: {reservedCIDRs: [10.0.0.5/24, 10.0.1.0/24]}\n";
    let ran = world.run_with("apply -f -", text);
    assert!(
        ran.code == 0
            && ran.stderr.contains("spec.reservedCIDRs[0] = '10.0.0.5/24' (reserves all of 10.0.0.0/24)"),
        "{ran:?}"
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}
