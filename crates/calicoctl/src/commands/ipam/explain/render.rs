//! An explanation as text and as JSON. `docs/explain.md` describes the JSON.

use std::fmt::Write;

use api::Use;
use ipam::explain::{Explanation, JudgedPool, Next, Question, Standing};
use ipam::usage::Usage;
use serde_json::{Map, Value as Json, json};
use store::{Effect, Foreseen};

use crate::output::columns;

/// The explanation for a terminal.
pub(super) fn text(question: &Question, explanation: &Explanation, pod: Option<&str>) -> String {
    let mut out = subject(question, explanation, pod) + "\n\n";
    let rows: Vec<String> = explanation.pools.iter().map(row).collect();
    match rows.is_empty() {
        true => out.push_str("there is no pool\n"),
        false => out.push_str(&columns::layout(&("POOL\tCIDR\tVERDICT\tWHY\n".to_string() + &rows.concat()))),
    }
    out.push('\n');
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    match &explanation.next {
        Some(next) => line(format!(
            "next: {}, of the {} block {} in pool {}{}",
            next.address,
            next.source.word(),
            next.block,
            next.pool,
            next.revision.as_ref().map(|r| format!(", at revision {r}")).unwrap_or_default()
        )),
        None => {
            line(format!("next: none: {}", explanation.refusal.as_deref().unwrap_or_default().trim_end()))
        }
    }
    if !explanation.decided_by.is_empty() {
        let words: Vec<&str> = explanation.decided_by.iter().map(|decider| decider.word()).collect();
        line(format!("decided by: {}", words.join(", ")));
    }
    if explanation.next.is_none() && !explanation.labels_asked.is_empty() {
        line(format!("labels that pools ask for: {}", labels_asked(explanation)));
    }
    for Foreseen { key, effect } in &explanation.writes {
        line(format!("would be {}: {}", effect_word(*effect), key.etcd_path()));
    }
    explanation.warnings.iter().for_each(|warning| line(format!("warning: {warning}")));
    match (&explanation.next, &explanation.remedy) {
        (None, Some(remedy)) => line(format!("remedy: {remedy}")),
        (None, None) => {
            line(format!("remedy: no single command is known to help{}", to_look_at(explanation)))
        }
        (Some(_), _) => {}
    }
    out
}

/// What is worth a look where no command helps.
fn to_look_at(explanation: &Explanation) -> &'static str {
    let has = |standing| explanation.pools.iter().any(|pool| pool.standing == standing);
    if has(Standing::Exhausted) {
        "; `calicoctl ipam check --show-problem-ips` finds addresses that nobody uses"
    } else if has(Standing::AllReserved) {
        "; `calicoctl get ipreservations -o yaml` shows what keeps the addresses"
    } else {
        ""
    }
}

fn subject(question: &Question, explanation: &Explanation, pod: Option<&str>) -> String {
    let request = &question.request;
    let mut out = match (&explanation.node_labels, request.intended_use) {
        (_, Use::LoadBalancer) => "the service".to_string(),
        (None, _) => format!("node {} (which does not exist)", request.host),
        (Some(labels), _) if labels.is_empty() => format!("node {} (without labels)", request.host),
        (Some(labels), _) => {
            let asked = labels.iter().filter(|(label, _)| explanation.labels_asked.contains_key(*label));
            let told: Vec<String> = asked.map(|(label, value)| format!("{label}={value}")).collect();
            match told.is_empty() {
                true => format!("node {} (without any of the labels that pools ask for)", request.host),
                false => format!("node {} ({})", request.host, told.join(", ")),
            }
        }
    };
    if explanation.labels_asked.is_empty() && explanation.node_labels.is_some() {
        out = format!("node {}", request.host);
    }
    if let Some(namespace) = &question.namespace {
        let _ = write!(out, ", namespace {namespace}");
    }
    if let Some(pod) = pod {
        let _ = write!(out, ", pod {pod}");
    }
    let _ = write!(out, ": an {} address for use {}", explanation.family, request.intended_use.name());
    out
}

/// A line of the table. The last cell is in no column, so nothing stands after it.
fn row(pool: &JudgedPool) -> String {
    let cidr = pool.cidr.map(|cidr| cidr.to_string()).unwrap_or_default();
    format!(
        "{}	{cidr}	{}	{}
",
        pool.name,
        pool.standing.word(),
        pool.reason
    )
}

fn labels_asked(explanation: &Explanation) -> String {
    let each = explanation.labels_asked.iter().map(|(label, values)| match values.is_empty() {
        true => label.clone(),
        false => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            format!("{label}={}", values.join("|"))
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Created => "created",
        Effect::Changed => "changed",
        Effect::Deleted => "deleted",
    }
}

/// The explanation for programs.
pub(super) fn json(question: &Question, explanation: &Explanation, pod: Option<&str>) -> Json {
    let request = &question.request;
    let node = match request.intended_use {
        Use::LoadBalancer => Json::Null,
        _ => {
            json!({"name": request.host, "exists": explanation.node_labels.is_some(), "labels": explanation.node_labels})
        }
    };
    json!({
        "node": node,
        "namespace": question.namespace,
        "pod": pod,
        "use": request.intended_use.name(),
        "family": explanation.family.number(),
        "pools": explanation.pools.iter().map(pool).collect::<Vec<_>>(),
        "next": explanation.next.as_ref().map(next),
        "refusal": explanation.refusal.as_deref().map(str::trim_end),
        "decidedBy": explanation.decided_by.iter().map(|decider| decider.word()).collect::<Vec<_>>(),
        "labelsAsked": explanation.labels_asked,
        "writes": writes(&explanation.writes),
        "warnings": explanation.warnings,
        "remedy": explanation.remedy,
    })
}

fn pool(pool: &JudgedPool) -> Json {
    json!({
        "name": pool.name,
        "cidr": pool.cidr.map(|cidr| cidr.to_string()),
        "verdict": pool.standing.word(),
        "reason": pool.reason,
        "addresses": pool.usage.map(addresses),
    })
}

fn addresses(usage: Usage) -> Json {
    let mut out = Map::new();
    for (field, count) in [
        ("total", usage.total),
        ("inUse", usage.in_use),
        ("cooling", usage.cooling),
        ("reserved", usage.reserved),
        ("free", usage.free),
    ] {
        out.insert(field.to_string(), number(count));
    }
    Json::Object(out)
}

/// A count: a number, or its digits as a text where it is too great for one.
pub(super) fn number(count: u128) -> Json {
    u64::try_from(count).map_or_else(|_| count.to_string().into(), Json::from)
}

fn next(next: &Next) -> Json {
    json!({
        "address": next.address.to_string(),
        "block": next.block.to_string(),
        "source": next.source.word(),
        "pool": next.pool,
        "revision": next.revision.as_ref().map(ToString::to_string),
    })
}

/// What would be written, for programs.
pub(super) fn writes(foreseen: &[Foreseen]) -> Json {
    let each = foreseen
        .iter()
        .map(|Foreseen { key, effect }| json!({"effect": effect_word(*effect), "key": key.etcd_path()}));
    each.collect()
}
