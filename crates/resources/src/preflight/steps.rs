//! The steps from Calico to rackpool, for one cluster.

use serde_json::{Value as Json, json};

use super::{Code, Program, Survey};

/// The label of nodes on which rackpool's agent runs in the place of Calico's.
pub const LABEL: &str = "rackpool.io/agent";

/// The patch that keeps a DaemonSet off the nodes with the label.
fn only_without_label() -> Json {
    let term = json!({"matchExpressions": [{"key": LABEL, "operator": "DoesNotExist"}]});
    let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
    json!({"spec": {"template": {"spec": {"affinity": {"nodeAffinity": affinity}}}}})
}

/// The steps, in order, each a sentence and the commands that do it.
pub fn steps(survey: &Survey) -> Vec<String> {
    let mut steps = Vec::new();
    if survey.of(Code::IpamProblems).is_some() {
        steps.push("Mend what the check finds: calicoctl ipam check".to_string());
    }
    if let Some(ipip) = survey.of(Code::Ipip) {
        let name = ipip.objects[0].trim_start_matches("IPPool ");
        let count = match ipip.objects.len() {
            1 => "this pool".to_string(),
            count => format!("each of these {count} pools"),
        };
        steps.push(format!(
            "Give {count} VXLAN in the place of IPIP: calicoctl patch ippool {name} -p \
             '{{\"spec\": {{\"ipipMode\": \"Never\", \"vxlanMode\": \"Always\"}}}}'"
        ));
    }
    if survey.of(Code::Operator).is_some() {
        steps.push(
            "Let the operator stand still: kubectl scale deployment tigera-operator --namespace tigera-operator --replicas 0"
                .to_string(),
        );
    }
    for Program { namespace, name, .. } in survey.programs_of(Code::Controllers) {
        steps.push(format!(
            "Controllers off: kubectl scale deployment {name} --namespace {namespace} --replicas 0; then start rackpoold controllers"
        ));
    }
    for Program { namespace, name, .. } in survey.programs_of(Code::NodeAgents) {
        steps.push(format!(
            "Keep Calico's agent off nodes with rackpool's label: kubectl patch daemonset {name} --namespace {namespace} --patch '{}'",
            only_without_label()
        ));
        steps.push(format!(
            "Node by node: kubectl label node NODE {LABEL}=rackpool; then look at it: rackpoold node status, calicoctl routes check"
        ));
    }
    steps.push(
        "docs/migrating-from-calico.md has each step in full, how to see that it worked, and the way back"
            .to_string(),
    );
    steps
}

impl Survey {
    /// The programs of a code that run.
    fn programs_of(&self, code: Code) -> impl Iterator<Item = &Program> {
        let objects = self.of(code).map_or(&[][..], |finding| &finding.objects);
        self.programs.iter().filter(|program| objects.contains(&program.object))
    }
}
