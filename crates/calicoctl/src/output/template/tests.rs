use serde_json::{Value, json};

use super::types::results;
use super::*;

fn pool(name: &str, cidr: &str) -> Value {
    json!({
        "kind": "IPPool",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "resourceVersion": "7", "creationTimestamp": "2026-08-01T10:00:03Z"},
        "spec": {
            "cidr": cidr, "vxlanMode": "Never", "ipipMode": "Always", "natOutgoing": true, "blockSize": 26,
            "nodeSelector": "rack == \"0\"", "allowedUses": ["Workload", "Tunnel"], "assignmentMode": "Automatic",
        },
    })
}

fn pools() -> Vec<Value> {
    vec![json!({
        "kind": "IPPoolList",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"resourceVersion": "9"},
        "items": [pool("rack-0-ippool", "192.168.0.0/18"), pool("rack-1-ippool", "192.168.64.0/18")],
    })]
}

fn config(name: &str) -> Result<String, String> {
    match name.to_lowercase().as_str() {
        "asnumber" => Ok("64512".to_owned()),
        _ => Err("unhandled config type".to_owned()),
    }
}

fn renders(template: &str, resources: &[Value]) -> Result<String, String> {
    render(template, &results(resources), &config).map_err(|error| error.to_string())
}

/// Recorded in 004-guide-get-formats, 006-guide-missing-names, 008-guide-label-nodes and
/// kdd-v1/037-calicoctl-crud.
#[test]
fn renders_recorded_templates() {
    let one = [pool("rack-1-ippool", "192.168.64.0/18")];
    let node =
        json!({"kind": "Node", "metadata": {"name": "kube-node-0", "labels": {"rack": "0"}}, "spec": {}});
    let nodes = json!({"kind": "NodeList", "metadata": {}, "items": [node]});
    for (template, resources, expected) in [
        (
            "{{range .}}{{range .Items}}- {{.ObjectMeta.Name}},{{.Spec.CIDR}}\n{{end}}{{end}}",
            &pools()[..],
            "- rack-0-ippool,192.168.0.0/18\n- rack-1-ippool,192.168.64.0/18\n",
        ),
        (
            "{{range .}}{{range .Items}}{{.ObjectMeta.Name}} {{end}}{{end}}",
            &pools(),
            "rack-0-ippool rack-1-ippool ",
        ),
        (
            "{{range .}}{{range .Items}}{{.ObjectMeta.Name}} {{.Spec.CIDR}}\n{{end}}{{end}}",
            &pools(),
            "rack-0-ippool 192.168.0.0/18\nrack-1-ippool 192.168.64.0/18\n",
        ),
        (
            "{{range .}}{{.Spec.NATOutgoing}} {{.Spec.IPIPMode}} {{.Spec.BlockSize}}{{end}}",
            &one,
            "true Always 26",
        ),
        ("{{range .}}{{.Spec.CIDR}}{{end}}", &[], ""),
        (
            "{{range .}}{{range .Items}}- {{.ObjectMeta.Name}} {{.ObjectMeta.Labels.rack}}\n{{end}}{{end}}",
            &[nodes],
            "- kube-node-0 0\n",
        ),
        ("plain text", &pools(), "plain text"),
    ] {
        assert_eq!(renders(template, resources), Ok(expected.to_owned()), "{template}");
    }
}

/// Recorded in 004-guide-get-formats, 087-node-wide and 138-output-errors.
#[test]
fn words_recorded_errors_as_go_does() {
    for (template, expected) in [
        (
            "{{.Nope}}",
            "template: get:1:2: executing \"get\" at <.Nope>: can't evaluate field Nope in type []runtime.Object",
        ),
        ("{{range .}", "template: get:1: bad character U+007D '}'"),
        (
            "{{range .}}{{range .Items}}{{.Spec.Nope}}{{end}}{{end}}",
            "template: get:1:34: executing \"get\" at <.Spec.Nope>: can't evaluate field Nope in type v3.IPPoolSpec",
        ),
        (
            "{{range .}}{{range .Items}}{{.ObjectMeta.Name}}: {{.Spec.CIDR}}\n{{end}}{{end}}",
            "Invalid YAML Template",
        ),
        ("{{range .}}{{range .Items}}[{{.ObjectMeta.Name}}{{end}}{{end}}", "Invalid YAML Template"),
        (
            "{{range .}}{{range .Items}}{{.ObjectMeta.Name}}: {{config \"asnumber\"}}\n{{end}}{{end}}",
            "Invalid YAML Template",
        ),
        (
            "{{range .}}{{range .Items}}{{join .Spec.AllowedUses \",\"}} {{end}}{{end}}",
            "template: get:1:0: executing \"get\" at <ApplyInjectionDetection>: error calling ApplyInjectionDetection: reflect.Set: value \
             of type string is not assignable to type v3.IPPoolAllowedUse",
        ),
        (
            "{{len .}}",
            "template: get:1:0: executing \"get\" at <ApplyInjectionDetection>: error calling ApplyInjectionDetection: reflect.Set: value \
             of type *v1.TypeMeta is not assignable to type v1.TypeMeta",
        ),
    ] {
        assert_eq!(renders(template, &pools()), Err(expected.to_owned()), "{template}");
    }
}

/// The expected texts are what Go's `text/template` says.
#[test]
fn words_other_errors_as_go_does() {
    for (template, expected) in [
        ("{{.X", "template: get:1: unclosed action"),
        ("{{range .}}", "template: get:1: unexpected EOF"),
        ("a\n{{if .}}b{{else}}\n", "template: get:3: unexpected EOF"),
        ("{{end}}", "template: get:1: unexpected {{end}}"),
        ("{{if .}}{{end}}{{else}}", "template: get:1: unexpected {{else}}"),
        ("{{if .}}{{else if .}}{{end}}{{end}}", "template: get:1: unexpected {{end}}"),
        ("{{$x}}", "template: get:1: undefined variable \"$x\""),
        ("{{with $x := 1}}{{end}}{{$x}}", "template: get:1: undefined variable \"$x\""),
        ("\n{{foo .}}", "template: get:2: function \"foo\" not defined"),
        ("{{\"abc}}", "template: get:1: unterminated quoted string"),
        ("{{ . }", "template: get:1: unexpected \"}\" in operand"),
        ("{{.a-b}}", "template: get:1: bad character U+002D '-'"),
        ("{{}}", "template: get:1: missing value for command"),
        (
            "{{range .}}{{.Nope}}{{end}}",
            "template: get:1:13: executing \"get\" at <.Nope>: can't evaluate field Nope in type runtime.Object",
        ),
        (
            "{{range .}}{{range .Items}}{{.Nope}}{{end}}{{end}}",
            "template: get:1:29: executing \"get\" at <.Nope>: can't evaluate field Nope in type v3.IPPool",
        ),
        (
            "{{range .}}{{range .Items}}{{range .Spec.CIDR}}{{end}}{{end}}{{end}}",
            "template: get:1:40: executing \"get\" at <.Spec.CIDR>: range can't iterate over 192.168.0.0/18",
        ),
        (
            "{{join .}}",
            "template: get:1:2: executing \"get\" at <join>: wrong number of args for join: want 2 got 1",
        ),
        (
            "{{config \"x\"}}",
            "template: get:1:2: executing \"get\" at <config \"x\">: error calling config: unhandled config type",
        ),
    ] {
        assert_eq!(renders(template, &pools()), Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn runs_the_whole_language() {
    let one = [pool("a", "10.0.0.0/8")];
    for (template, expected) in [
        ("{{range $i, $p := .}}{{$i}} {{$p.Name}}{{end}}", "0 a"),
        ("{{range .}}{{.Kind}} {{.ResourceVersion}}{{end}}", "IPPool 7"),
        ("{{with index . 0}}{{.Spec.CIDR}}{{end}}", "10.0.0.0/8"),
        (
            "{{range .}}{{if .Spec.Disabled}}off{{else if .Spec.NATOutgoing}}nat{{else}}on{{end}}{{end}}",
            "nat",
        ),
        ("{{range .}}{{if and .Spec.NATOutgoing (not .Spec.Disabled)}}yes{{end}}{{end}}", "yes"),
        ("{{range .}}{{if or .Spec.Disabled (eq .Spec.BlockSize 26)}}yes{{end}}{{end}}", "yes"),
        ("{{range .}}{{printf \"%s/%d\" .Name .Spec.BlockSize}}{{end}}", "a/26"),
        ("{{range .}}{{.Name | printf \"%-4s|\"}}{{end}}", "a   |"),
        ("{{range .}}{{.Labels.rack}}{{end}}", "<no value>"),
        ("{{range .}}{{join .Labels \",\"}}{{end}}", ""),
        ("{{range .}}{{with (index $ 0).Spec.CIDR}}{{.}}{{end}}{{end}}", "10.0.0.0/8"),
        ("{{define \"n\"}}{{.Name}}{{end}}{{range .}}{{template \"n\" .}}{{end}}", "a"),
        ("{{range .}}{{range .Spec.AllowedUses}}{{.}} {{break}}{{end}}{{end}}", "Workload "),
        ("{{range .}}{{- .Name -}} {{end}}", "a"),
        ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
        ("{{config \"ASNumber\"}}", "64512"),
    ] {
        assert_eq!(renders(template, &one), Ok(expected.to_owned()), "{template}");
    }
}

#[test]
fn detects_data_that_changes_the_structure() {
    let injecting = |selector: &str| {
        let mut pool = pool("a", "10.0.0.0/8");
        pool["spec"]["nodeSelector"] = json!(selector);
        renders("a: {{range .}}{{.Spec.NodeSelector}}{{end}}", &[pool])
    };
    assert_eq!(injecting("all()"), Ok("a: all()".to_owned()));
    assert_eq!(injecting("x\nb: y"), Err("YAML Injection Detected".to_owned()));
    assert_eq!(injecting("[x, y]"), Err("YAML Injection Detected".to_owned()));
    assert_eq!(injecting("x: y"), Err("YAML Injection Detected".to_owned()));
    // A key made of data is a change too.
    let one = [pool("a", "10.0.0.0/8")];
    assert_eq!(renders("{{range .}}{{.Name}}: x{{end}}", &one), Err("YAML Injection Detected".to_owned()));
}

/// Each field of each kind's type, as Go's source names it.
#[test]
fn every_kind_has_its_go_types() {
    for kind in api::Kind::ALL {
        let package = if matches!(kind.name(), "Node" | "WorkloadEndpoint") { "internalapi" } else { "v3" };
        let resource = json!({"kind": kind.name(), "metadata": {"name": "a"}});
        let list = json!({"kind": kind.list_kind(), "items": [resource]});
        for (template, expected) in [
            ("{{range .}}{{.Kind}} {{.TypeMeta.Kind}} {{.Name}}{{end}}", Ok(format!("{kind} {kind} a"))),
            (
                "{{range .}}{{.Spec.Nope}}{{end}}",
                Err(format!("<.Spec.Nope>: can't evaluate field Nope in type {package}.{kind}Spec")),
            ),
        ] {
            let found = renders(template, std::slice::from_ref(&resource));
            let found = found.map_err(|text| text.split(" at ").nth(1).unwrap().to_owned());
            assert_eq!(found, expected, "{template}");
        }
        let error = renders("{{range .}}{{range .Items}}{{.Nope}}{{end}}{{end}}", &[list]).unwrap_err();
        assert!(error.ends_with(&format!("can't evaluate field Nope in type {package}.{kind}")), "{error}");
    }
}

#[test]
fn values_print_as_their_go_types_do() {
    let peer = json!({"kind": "BGPPeer", "apiVersion": "projectcalico.org/v3", "metadata": {"name": "a", "creationTimestamp": "2026-08-01T10:00:03Z"}, "spec": {
        "asNumber": 64512, "maxRestartTime": "1m30s", "numAllowedLocalASNumbers": 0,
        "password": {"secretKeyRef": {"name": "s", "key": "k"}},
    }});
    let endpoint = json!({"kind": "WorkloadEndpoint", "metadata": {"name": "a"}, "spec": {"ports": [
        {"name": "x", "protocol": "TCP", "port": 80}, {"name": "y", "protocol": 17, "port": 53},
    ]}});
    let controllers = json!({"kind": "KubeControllersConfiguration", "metadata": {"name": "a"}, "spec": {
        "controllers": {"policyMigration": {"enabled": "Enabled"}},
    }});
    for (resource, template, expected) in [
        (&peer, "{{.Spec.ASNumber}} {{.Spec.PeerIP}}", Ok("64512 ")),
        (&peer, "{{.Spec.MaxRestartTime}}", Ok("1m30s")),
        (&peer, "{{.Spec.MaxRestartTime.Duration}}", Ok("1m30s")),
        (&peer, "{{.Spec.KeepaliveTime}}", Ok("<nil>")),
        (&peer, "{{if .Spec.NumAllowedLocalASNumbers}}set{{end}}", Ok("set")),
        (
            &peer,
            "{{with .Spec.Password.SecretKeyRef}}{{.Name}}/{{.LocalObjectReference.Name}}/{{.Key}}{{end}}",
            Ok("s/s/k"),
        ),
        (
            &peer,
            "{{.CreationTimestamp}}",
            Err("reflect.Set: value of type *time.Time is not assignable to type time.Time"),
        ),
        (&peer, "{{.Spec.KeepaliveTime.Duration}}", Err("nil pointer evaluating *v1.Duration.Duration")),
        (
            &endpoint,
            "{{range .Spec.Ports}}{{.Name}} {{.Protocol}} {{.Port}} {{.HostPort}},{{end}}",
            Ok("x TCP 80 0,y 17 53 0,"),
        ),
        (
            &endpoint,
            "{{.Spec.QoSControls.DSCP}}",
            Err("nil pointer evaluating *internalapi.QoSControls.DSCP"),
        ),
        (&controllers, "{{.Spec.Controllers.Migration.PolicyNameMigrator}}", Ok("Enabled")),
        (
            &controllers,
            "{{.Spec.Controllers.PolicyMigration}}",
            Err("can't evaluate field PolicyMigration in type v3.ControllersConfig"),
        ),
    ] {
        let found = renders(&format!("{{{{range .}}}}{template}{{{{end}}}}"), std::slice::from_ref(resource));
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected.to_owned()), "{template}"),
            Err(expected) => {
                assert!(found.as_ref().is_err_and(|text| text.ends_with(expected)), "{template}: {found:?}")
            }
        }
    }
}

/// Go reports the same error for each function.
#[test]
fn functions_without_arguments_are_errors() {
    for name in super::function::NAMES {
        let (least, _) = super::function::arity(name);
        for template in
            [format!("{{{{{name}}}}}"), format!("{{{{print {name}}}}}"), format!("{{{{({name})}}}}")]
        {
            match renders(&template, &pools()) {
                Err(error) if least > 0 => {
                    assert!(
                        error.contains(&format!("wrong number of args for {name}: want")),
                        "{template}: {error}"
                    );
                }
                rendered => assert_eq!(least, 0, "{template}: {rendered:?}"),
            }
        }
    }
}

#[test]
fn no_template_runs_or_writes_without_end() {
    let doubled = |times: usize| {
        let double = r#"{{$x = printf "%s%s" $x $x}}"#.repeat(times);
        format!(r#"{{{{$x := "0123456789"}}}}{double}{{{{len $x}}}}"#)
    };
    assert_eq!(renders(&doubled(10), &pools()).unwrap(), "10240");
    let deep =
        |open: &str, close: &str, times: usize| format!("{}x{}", open.repeat(times), close.repeat(times));
    for (template, reason) in [
        ("{{range 999999999}}{{end}}".to_owned(), "runs too long"),
        ("{{range 9223372036854775807}}x{{end}}".to_owned(), "runs too long"),
        (format!("{{{{range 999999999}}}}{}{{{{end}}}}", "x".repeat(1000)), "writes more than 64 MiB"),
        (r#"{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}"#.to_owned(), "depth"),
        (format!("{}{{{{if 1}}}}", "{{if 1}}{{end}}".repeat(60_000)), "unexpected EOF"),
        (
            format!(
                r#"{{{{define "a"}}}}{}{{{{end}}}}{{{{template "a"}}}}"#,
                deep("{{if true}}", "{{end}}", 90)
            )
            .replace('x', r#"{{template "a"}}"#),
            "nest deeper",
        ),
        (doubled(60), "would make more than 64 MiB"),
        (format!(r#"{{{{printf "{}"}}}}"#, "%65000d".repeat(2000)), "would make more than 64 MiB"),
        (deep("{{if true}}", "{{end}}", 100_000), "nest deeper"),
        (deep("{{(", ")}}", 1).replace('(', &"(".repeat(100_000)), "nest deeper"),
        (format!("{{{{if false}}}}{}{{{{end}}}}", "{{else if false}}x".repeat(100_000)), "nest deeper"),
    ] {
        let error = renders(&template, &pools()).unwrap_err();
        assert!(error.contains(reason), "{reason}: {}", error.get(..300).unwrap_or(&error));
    }
    assert_eq!(renders(&deep("{{if true}}", "{{end}}", 50), &pools()).unwrap(), "x");
    assert_eq!(renders("{{range $i, $x := 3}}{{$i}}{{else}}none{{end}}", &pools()).unwrap(), "012");
    assert_eq!(renders("{{range 0}}x{{else}}none{{end}}", &pools()).unwrap(), "none");
}

/// Aliases in a resource's text must not make the reader of the output work without end.
#[test]
fn aliases_in_data_do_not_multiply() {
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for at in 1..60 {
        bomb.push_str(&format!("a{at}: &a{at} [*a{0}, *a{0}]\n", at - 1));
    }
    let template =
        format!("{bomb}{{{{range .}}}}{{{{range .Items}}}}{{{{.Spec.CIDR}}}}: x\n{{{{end}}}}{{{{end}}}}");
    assert!(renders(&template, &pools()).is_err());
    // What refers to itself is as deep as it is nested, again and again.
    let inner = format!("&a {}*a{}", "[".repeat(190), "]".repeat(190));
    let template =
        format!("{{{{range .}}}}{{{{range .Items}}}}{{{{.Spec.CIDR}}}}: x\n{{{{end}}}}{{{{end}}}}y: {inner}");
    assert!(renders(&template, &pools()).is_err());
}
