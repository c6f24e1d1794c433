//! Reads single settings, and notes which variables were heeded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;
use setup::Environment;

use super::{Controller, DEFAULT_METRICS_PORT, DEFAULT_PERIOD, SettingsError};

/// A severity of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel {
    /// The word with which the resource's status tells it.
    pub shown: &'static str,
    /// The word of `tracing`.
    pub tracing: &'static str,
}

const LEVELS: [(&str, LogLevel); 8] = [
    ("trace", LogLevel { shown: "Trace", tracing: "trace" }),
    ("debug", LogLevel { shown: "Debug", tracing: "debug" }),
    ("info", LogLevel { shown: "Info", tracing: "info" }),
    ("warn", LogLevel { shown: "Warning", tracing: "warn" }),
    ("warning", LogLevel { shown: "Warning", tracing: "warn" }),
    ("error", LogLevel { shown: "Error", tracing: "error" }),
    ("fatal", LogLevel { shown: "Fatal", tracing: "error" }),
    ("panic", LogLevel { shown: "Panic", tracing: "error" }),
];

fn level(word: &str) -> Option<LogLevel> {
    LEVELS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)).map(|(_, level)| *level)
}

/// Go's `strconv.ParseBool`.
fn truth(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let nanos = golang::duration::parse(text)?;
    // Less than nothing is nothing.
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()))
}

/// Reads the environment, and where that says nothing, the resource.
pub struct Reader<'a> {
    environment: &'a Environment,
    spec: &'a Json,
    /// The variables that were heeded.
    pub heeded: BTreeMap<&'static str, String>,
    /// What could not be read.
    pub notes: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader that has read nothing yet.
    pub fn new(environment: &'a Environment, spec: &'a Json) -> Reader<'a> {
        Reader { environment, spec, heeded: BTreeMap::new(), notes: Vec::new() }
    }

    /// A field of the resource's spec; `None` where it is missing or null.
    pub fn field(&self, path: &[&str]) -> Option<&'a Json> {
        let found = path.iter().try_fold(self.spec, |json, name| json.get(name))?;
        Some(found).filter(|json| !json.is_null())
    }

    /// Whether the environment has the variable.
    pub fn is_in_environment(&self, name: &str) -> bool {
        self.environment.get(name).is_some()
    }

    fn variable(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.environment.get(name)?;
        self.heeded.insert(name, value.to_string());
        Some(value)
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.variable(name) else { return Ok(None) };
        let wrong = |reason| SettingsError::Variable { name, value: value.to_string(), reason };
        parse(value).map(Some).map_err(wrong)
    }

    fn doubt(&mut self, path: &[&str], found: &Json, reason: &str, instead: &str) {
        self.notes.push(format!(
            "KubeControllersConfiguration default: spec.{} is {found}: {reason}; {instead} counts instead",
            path.join(".")
        ));
    }

    /// The severity of the log.
    ///
    /// # Errors
    /// For a variable that names none.
    pub fn log_level(&mut self) -> Result<LogLevel, SettingsError> {
        let parse = |word: &str| {
            level(word).ok_or_else(|| {
                "no such level; the levels are trace, debug, info, warning, error, fatal, panic".to_string()
            })
        };
        if let Some(level) = self.parsed("LOG_LEVEL", parse)? {
            return Ok(level);
        }
        let path = ["logSeverityScreen"];
        let found = self.field(&path);
        let known = found.and_then(Json::as_str).and_then(level);
        if let (Some(found), None) = (found, known) {
            self.doubt(&path, found, "no such level", "Info");
        }
        Ok(known.unwrap_or(LEVELS[2].1))
    }

    /// The controllers that are asked for.
    ///
    /// # Errors
    /// For a variable that names one that does not exist, or the migration from flannel.
    pub fn enabled(&mut self) -> Result<BTreeSet<Controller>, SettingsError> {
        if let Some(list) = self.variable("ENABLED_CONTROLLERS") {
            let of_word = |word: &str| match Controller::of_word(word.trim()) {
                Some(controller) => Ok(controller),
                None if word.trim() == "flannelmigration" => {
                    Err(SettingsError::FlannelMigration(list.to_string()))
                }
                None => Err(SettingsError::Unknown { list: list.to_string(), word: word.trim().to_string() }),
            };
            return list.split(',').map(of_word).collect();
        }
        let is_there = |field: &str| self.field(&["controllers", field]).is_some();
        Ok(Controller::ALL.iter().filter(|(.., field)| is_there(field)).map(|(one, ..)| *one).collect())
    }

    /// A duration of the resource; less than nothing is nothing.
    pub fn duration(&mut self, path: &[&str], default: Duration) -> Duration {
        let Some(found) = self.field(path) else { return default };
        match found.as_str().ok_or_else(|| "it is no text".to_string()).and_then(duration) {
            Ok(duration) => duration,
            Err(reason) => {
                self.doubt(path, found, &reason, &text(default));
                default
            }
        }
    }

    /// How often everything is looked at.
    ///
    /// # Errors
    /// For a variable that is no duration.
    pub fn reconciler_period(&mut self) -> Result<Duration, SettingsError> {
        let given = self.parsed("RECONCILER_PERIOD", duration)?;
        let period = given
            .unwrap_or_else(|| self.duration(&["controllers", "node", "reconcilerPeriod"], DEFAULT_PERIOD));
        Ok(if period.is_zero() { DEFAULT_PERIOD } else { period })
    }

    /// How often etcd is to be compacted.
    ///
    /// # Errors
    /// For a variable that is no duration.
    pub fn compaction_period(&mut self, default: Duration) -> Result<Duration, SettingsError> {
        let given = self.parsed("COMPACTION_PERIOD", duration)?;
        Ok(given.unwrap_or_else(|| self.duration(&["etcdV3CompactionPeriod"], default)))
    }

    /// Whether questions about health are answered.
    ///
    /// # Errors
    /// For a variable that is neither true nor false.
    pub fn health_checks(&mut self) -> Result<bool, SettingsError> {
        let parse = |word: &str| truth(word).ok_or_else(|| "it is neither true nor false".to_string());
        if let Some(given) = self.parsed("HEALTH_ENABLED", parse)? {
            return Ok(given);
        }
        Ok(self.field(&["healthChecks"]).and_then(Json::as_str) != Some("Disabled"))
    }

    /// The port of the figures.
    pub fn metrics_port(&mut self) -> Option<u16> {
        let path = ["prometheusMetricsPort"];
        let Some(found) = self.field(&path) else { return Some(DEFAULT_METRICS_PORT) };
        match found.as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(0) => None,
            Some(port) => Some(port),
            None => {
                self.doubt(&path, found, "no port", "9094");
                Some(DEFAULT_METRICS_PORT)
            }
        }
    }

    /// Whether automatic host endpoints are asked for.
    pub fn makes_host_endpoints(&self) -> bool {
        let of_resource = || self.field(&["controllers", "node", "hostEndpoint", "autoCreate"])?.as_str();
        let word = self.environment.get("AUTO_HOST_ENDPOINTS").or_else(of_resource);
        word.is_some_and(|word| word.eq_ignore_ascii_case("enabled"))
    }
}

/// A duration as Go writes it.
pub fn text(duration: Duration) -> String {
    golang::duration::text(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
