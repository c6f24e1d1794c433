use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

fn of(variables: &[(&str, &str)], spec: Json) -> Settled {
    settle(&environment(variables), true, Some(&spec)).unwrap()
}

/// The specs, variables and statuses that were recorded of Calico's kube-controllers.
#[test]
fn the_recorded_status() {
    for (given, grace) in [("5s", "5s"), ("15m", "15m0s")] {
        let spec = json!({
            "controllers": {"node": {"hostEndpoint": {"autoCreate": "Disabled"}, "leakGracePeriod": given,
                "reconcilerPeriod": "5m", "syncLabels": "Enabled"}},
            "healthChecks": "Enabled", "logSeverityScreen": "Info", "prometheusMetricsPort": 9094,
        });
        let variables = [
            ("KUBECONFIG", "f"),
            ("DATASTORE_TYPE", "kubernetes"),
            ("ENABLED_CONTROLLERS", "node"),
            ("LOG_LEVEL", "info"),
            ("FV_TEST", "true"),
        ];
        let settled = of(&variables, spec);
        let status = json!({
            "environmentVars": {"DATASTORE_TYPE": "kubernetes", "ENABLED_CONTROLLERS": "node", "LOG_LEVEL": "info"},
            "runningConfig": {
                "controllers": {
                    "migration": {"policyNameMigrator": "Enabled"},
                    "node": {
                        "hostEndpoint": {"autoCreate": "Disabled", "createDefaultHostEndpoint": "Enabled"},
                        "leakGracePeriod": grace, "syncLabels": "Disabled",
                    },
                },
                "etcdV3CompactionPeriod": "10m0s", "healthChecks": "Enabled", "logSeverityScreen": "Info",
            },
        });
        assert_eq!(settled.status, status);
        assert_eq!(settled.notes, [""; 0]);
        assert!(settled.settings.is_test && settled.settings.collects);
        assert_eq!(settled.settings.metrics_port, Some(9094));
    }
}

#[test]
fn what_nothing_says_has_its_default() {
    let settled = settle(&Environment::default(), false, None).unwrap();
    let settings = Settings {
        collects: true,
        leak_grace: Some(Duration::from_secs(900)),
        reconciler_period: Duration::from_secs(300),
        metrics_port: Some(9094),
        health_checks: true,
        log_level: "info",
        is_test: false,
    };
    assert_eq!(settled.settings, settings);
    assert_eq!(settled.status["environmentVars"], json!({}));
    assert_eq!(settled.notes, [""; 0], "what Calico's default names is no cause for a note");
    assert!(!of(&[], json!({"controllers": {"policy": {}}})).settings.collects);
}

#[test]
fn the_environment_goes_before_the_resource() {
    let spec = json!({
        "logSeverityScreen": "Debug", "healthChecks": "Disabled",
        "controllers": {"node": {"reconcilerPeriod": "1m"}},
    });
    let settings = of(&[], spec.clone()).settings;
    assert_eq!((settings.log_level, settings.health_checks), ("debug", false));
    assert_eq!(settings.reconciler_period, Duration::from_secs(60));
    let variables = [
        ("LOG_LEVEL", "WARNING"),
        ("HEALTH_ENABLED", "true"),
        ("RECONCILER_PERIOD", "2m"),
        ("ENABLED_CONTROLLERS", "policy, node"),
    ];
    let settled = of(&variables, spec);
    assert_eq!((settled.settings.log_level, settled.settings.health_checks), ("warn", true));
    assert_eq!(settled.settings.reconciler_period, Duration::from_secs(120));
    assert_eq!(settled.status["runningConfig"]["logSeverityScreen"], "Warning");
    assert_eq!(settled.notes.len(), 1);
    assert!(settled.notes[0].contains("policy"), "{:?}", settled.notes);
}

#[test]
fn off() {
    for grace in ["0", "0s", "-5s"] {
        let spec = json!({"prometheusMetricsPort": 0, "controllers": {"node": {"leakGracePeriod": grace}}});
        let settings = of(&[], spec).settings;
        assert_eq!((settings.leak_grace, settings.metrics_port), (None, None), "{grace}");
    }
}

#[test]
fn what_the_resource_cannot_mean_is_noted() {
    let spec = json!({
        "logSeverityScreen": "None", "prometheusMetricsPort": 70000,
        "controllers": {"node": {"leakGracePeriod": "soon", "hostEndpoint": {"autoCreate": "Enabled"}}},
    });
    let Settled { settings, notes, .. } = of(&[], spec);
    assert_eq!((settings.log_level, settings.metrics_port), ("info", Some(9094)));
    assert_eq!(settings.leak_grace, Some(DEFAULT_GRACE));
    for part in ["logSeverityScreen", "prometheusMetricsPort is 70000", "\"soon\"", "host endpoints"] {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
}

#[test]
fn a_variable_without_sense_is_an_error() {
    for (name, value, part) in [
        ("ENABLED_CONTROLLERS", "node,nodes", "no controller \"nodes\""),
        ("ENABLED_CONTROLLERS", "node,", "no controller \"\""),
        ("ENABLED_CONTROLLERS", "flannelmigration", "does not migrate from flannel"),
        ("LOG_LEVEL", "loud", "the levels are"),
        ("RECONCILER_PERIOD", "5", "RECONCILER_PERIOD=5: time: missing unit"),
        ("COMPACTION_PERIOD", "x", "COMPACTION_PERIOD=x"),
        ("HEALTH_ENABLED", "yes", "neither true nor false"),
    ] {
        let error = settle(&environment(&[(name, value)]), true, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// The resource that is made where there is none is one that Calico's client takes.
#[test]
fn the_default_resource_is_valid() {
    let json = json!({"apiVersion": "projectcalico.org/v3", "kind": "KubeControllersConfiguration",
        "metadata": {"name": NAME}, "spec": default_spec()});
    let resource = api::Resource::from_input(json).unwrap();
    let written = api::defaults::on_write(&resource);
    assert_eq!(written.field(&["spec", "prometheusMetricsPort"]), Some(&9094.into()));
    assert_eq!(settle(&Environment::default(), true, Some(&default_spec())).unwrap().notes, [""; 0]);
}
