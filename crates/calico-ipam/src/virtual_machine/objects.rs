//! Finds the virtual machine of a pod in Kubernetes.

use cni::CniError;
use cni::log::Level;
use cni::orchestrator::Kubernetes;
use ipam::PodName;
use store::Store;

use super::machine::{Left, Machine, Metadata, Traces, may_be};
use crate::request::{Deadline, Request};

/// The Kubernetes to ask about a pod that may run a virtual machine.
pub struct Objects<'a> {
    kubernetes: Kubernetes<'a>,
    pod: PodName,
}

/// What Kubernetes has about a pod.
enum PodFindings {
    NoPod,
    /// The pod runs no virtual machine.
    OtherPod,
    Traces(Box<Traces>),
}

impl<'a> Objects<'a> {
    /// The access for the request's pod. `None` if the pod cannot run a virtual machine, and if there is no
    /// Kubernetes: the pod is then treated like any other.
    ///
    /// # Errors
    /// Code 999 where the settings do not lead to a server.
    pub fn of(request: &Request<'a, impl Store>) -> Result<Option<Objects<'a>>, CniError> {
        let is_asked = request.ask.conf.names_kubernetes() || request.is_on_kubernetes();
        let pod = request.ask.identity.pod().filter(|pod| is_asked && may_be(&pod.name));
        let Some(pod) = pod else { return Ok(None) };
        let Some(kubernetes) = request.site.reach_kubernetes().map_err(machine_error)? else {
            let line = format!(
                "Kubernetes is not asked whether pod {} is a virtual machine's: this build cannot; its addresses do not stay with the machine",
                pod.name
            );
            request.log.say(Level::Error, line);
            return Ok(None);
        };
        Ok(Some(Objects { kubernetes, pod }))
    }

    /// The machine of the pod of an ADD; `None` if the pod runs none.
    ///
    /// # Errors
    /// Code 999 where the pod or the machine does not exist, where the machine was replaced by another of its
    /// name, or where Kubernetes gives no answer.
    pub async fn machine(&self, deadline: Deadline) -> Result<Option<Machine>, CniError> {
        let traces = match self.look(deadline).await? {
            PodFindings::NoPod => return Err(machine_error("pod not found")),
            PodFindings::OtherPod => return Ok(None),
            PodFindings::Traces(traces) => traces,
        };
        traces.machine().map(Some).map_err(machine_error)
    }

    /// What remains of the machine of a DEL's pod; `None` if the pod ran none, or is gone. A missing object
    /// is no error, as otherwise the pod could never be taken down. (With Calico it could not.)
    ///
    /// # Errors
    /// Code 999 where Kubernetes gives no answer.
    pub async fn left(&self, deadline: Deadline) -> Result<Option<Left>, CniError> {
        Ok(match self.look(deadline).await? {
            PodFindings::NoPod | PodFindings::OtherPod => None,
            PodFindings::Traces(traces) => Some(traces.left()),
        })
    }

    /// Reads one object after the other, since each names the next one.
    async fn look(&self, deadline: Deadline) -> Result<PodFindings, CniError> {
        let PodName { namespace, name } = &self.pod;
        let asked = self.kubernetes.pod(namespace, name, deadline.left()).await;
        let Some(seen) = asked.map_err(machine_error)? else { return Ok(PodFindings::NoPod) };
        let seen = Metadata::of(&seen).map_err(machine_error)?;
        let Some(owner) = seen.controlling_instance().cloned() else { return Ok(PodFindings::OtherPod) };
        let instance = self.object("virtualmachineinstances", &owner.name, deadline).await?;
        let vm_name = match &instance {
            Some(instance) => instance.machine_name().map(str::to_string),
            // An instance has the same name as its machine.
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
        asked.map_err(machine_error)?.as_ref().map(Metadata::of).transpose().map_err(machine_error)
    }
}

fn machine_error(reason: impl std::fmt::Display) -> CniError {
    CniError::internal(format!("failed to get VMI info: {reason}"))
}
