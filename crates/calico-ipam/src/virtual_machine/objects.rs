//! What Kubernetes says of a pod that may be a machine's.

use cni::CniError;
use cni::log::Level;
use cni::orchestrator::Kubernetes;
use ipam::PodName;
use store::Store;

use super::machine::{Left, Machine, Metadata, Traces, may_be};
use crate::request::{Deadline, Request};

/// Whom to ask about a pod that may be a machine's.
pub struct Objects<'a> {
    kubernetes: Kubernetes<'a>,
    pod: PodName,
}

/// What Kubernetes knows of a pod.
enum PodFindings {
    NoPod,
    /// It is no machine's.
    OtherPod,
    Traces(Box<Traces>),
}

impl<'a> Objects<'a> {
    /// Whom to ask about the pod of the request; `None` where it can be no machine's. Where Kubernetes is not
    /// known it is a pod as any other.
    ///
    /// # Errors
    /// Code 999: the settings do not lead to a server.
    pub fn of(request: &Request<'a, impl Store>) -> Result<Option<Objects<'a>>, CniError> {
        let is_asked = request.ask.conf.names_kubernetes() || request.is_on_kubernetes();
        let pod = request.ask.identity.pod().filter(|pod| is_asked && may_be(&pod.name));
        let Some(pod) = pod else { return Ok(None) };
        let Some(kubernetes) = request.site.reach_kubernetes().map_err(missed)? else {
            let line = format!(
                "Kubernetes is not asked whether pod {} is a virtual machine's: this build cannot; its addresses do not stay with the machine",
                pod.name
            );
            request.log.say(Level::Error, line);
            return Ok(None);
        };
        Ok(Some(Objects { kubernetes, pod }))
    }

    /// The machine of the pod that an ADD is for, if it is a machine's.
    ///
    /// # Errors
    /// Code 999: there is no such pod, no such machine, it is another one by now, or Kubernetes does not say.
    pub async fn machine(&self, deadline: Deadline) -> Result<Option<Machine>, CniError> {
        let traces = match self.look(deadline).await? {
            PodFindings::NoPod => return Err(missed("pod not found")),
            PodFindings::OtherPod => return Ok(None),
            PodFindings::Traces(traces) => traces,
        };
        traces.machine().map(Some).map_err(missed)
    }

    /// What the pod of a DEL leaves, if it was a machine's. Nothing is known of a pod that is gone, nor is
    /// what is missing otherwise an error, as the pod would never be taken down (with Calico it is not).
    ///
    /// # Errors
    /// Code 999: Kubernetes does not say.
    pub async fn left(&self, deadline: Deadline) -> Result<Option<Left>, CniError> {
        Ok(match self.look(deadline).await? {
            PodFindings::NoPod | PodFindings::OtherPod => None,
            PodFindings::Traces(traces) => Some(traces.left()),
        })
    }

    /// Asks for one object after the other, as each names the next.
    async fn look(&self, deadline: Deadline) -> Result<PodFindings, CniError> {
        let PodName { namespace, name } = &self.pod;
        let asked = self.kubernetes.pod(namespace, name, deadline.left()).await;
        let Some(seen) = asked.map_err(missed)? else { return Ok(PodFindings::NoPod) };
        let seen = Metadata::of(&seen).map_err(missed)?;
        let Some(owner) = seen.controlling_instance().cloned() else { return Ok(PodFindings::OtherPod) };
        let instance = self.object("virtualmachineinstances", &owner.name, deadline).await?;
        let vm_name = match &instance {
            Some(instance) => instance.machine_name().map(str::to_string),
            // They share the name.
            None => Some(owner.name.clone()),
        };
        let vm = match &vm_name {
            Some(name) => self.object("virtualmachines", name, deadline).await?,
            None => None,
        };
        let (pod, migration) = (self.pod.clone(), seen.migration().map(str::to_string));
        Ok(PodFindings::Traces(Box::new(Traces { pod, migration, owner, instance, vm_name, vm })))
    }

    async fn object(
        &self,
        plural: &str,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Metadata>, CniError> {
        let asked = self.kubernetes.of_kubevirt(plural, &self.pod.namespace, name, deadline.left()).await;
        asked.map_err(missed)?.as_ref().map(Metadata::of).transpose().map_err(missed)
    }
}

fn missed(reason: impl std::fmt::Display) -> CniError {
    CniError::internal(format!("failed to get VMI info: {reason}"))
}
