use super::*;

fn object(uid: &str, is_going: bool) -> Metadata {
    let deletion_timestamp = is_going.then(|| "2026-08-01T10:00:00Z".to_string());
    Metadata { uid: uid.to_string(), deletion_timestamp, ..Metadata::default() }
}

/// The objects of a pod with the instance `i`. `has_vm` is whether the instance belongs to the machine `vm`.
fn traces(instance: Option<Metadata>, has_vm: bool, vm: Option<Metadata>) -> Traces {
    Traces {
        pod: PodName { namespace: "ns".to_string(), name: "virt-launcher-vm-x".to_string() },
        migration: None,
        owner: Reference { name: "vm".to_string(), uid: "i".to_string(), ..Reference::default() },
        instance,
        vm_name: has_vm.then(|| "vm".to_string()),
        vm,
    }
}

/// Each row: the objects that exist; for an ADD, the machine's UIDs or the error; for a DEL, whether the
/// machine is being deleted.
#[test]
fn what_there_is() {
    let (here, going) = (|uid| Some(object(uid, false)), |uid| Some(object(uid, true)));
    let no_instance =
        r#"failed to query VMI resource ns/vm: virtualmachineinstances.kubevirt.io "vm" not found"#;
    let no_vm = r#"failed to query VMI resource ns/vm: virtualmachines.kubevirt.io "vm" not found"#;
    let mismatch = "VMI UID mismatch: pod ownerReference has i but VMI resource has j";
    for (instance, has_vm, vm, machine, is_going) in [
        (here("i"), true, here("v"), Ok(Some("v")), false),
        (here("i"), true, going("v"), Ok(Some("v")), true),
        // A machine that is shut down or restarted loses its instance and keeps its address.
        (going("i"), true, here("v"), Ok(Some("v")), false),
        (here("i"), true, None, Err(no_vm), true),
        (here("i"), false, None, Ok(None), false),
        (going("i"), false, None, Ok(None), true),
        (here("j"), true, here("v"), Err(mismatch), false),
        (here("j"), false, None, Err(mismatch), false),
        (None, true, here("v"), Err(no_instance), false),
        (None, true, going("v"), Err(no_instance), true),
        (None, true, None, Err(no_instance), true),
    ] {
        let traces = traces(instance, has_vm, vm);
        let what = format!("{traces:?}");
        assert_eq!(traces.clone().left().is_going, is_going, "{what}");
        let found = traces.machine().map(|machine| machine.vm_uid);
        assert_eq!(found, machine.map(|uid| uid.map(str::to_string)).map_err(str::to_string), "{what}");
    }
    let mut nameless = traces(here("i"), false, None);
    nameless.owner.uid = String::new();
    assert_eq!(
        nameless.machine().unwrap_err(),
        r#"pod ns/virt-launcher-vm-x has invalid VMI ownerReference: name="vm" uid="""#
    );
}

/// The handle is what Calico's code makes, `<network>.vmi.<namespace>.<machine>`; its document says
/// `<network>.<namespace>-<machine>`.
#[test]
fn handles() {
    let of = |network: &str, name: &str| handle(network, "ns", name).map(|id| id.to_string());
    assert_eq!(of("net", "vm.1").as_deref(), Some("net.vmi.ns.vm.1"));
    let longest = "x".repeat(LONGEST_HANDLE - "net.vmi.ns.".len());
    assert_eq!(of("net", &longest), Some(format!("net.vmi.ns.{longest}")));
    let long = "0".repeat(130);
    // The hash of `ns.000...`.
    let hash = "-Iw5rD2t5rP8q6EpMkO22HZtzbfmcZyO4Qi2DPSWmpc";
    assert_eq!(of("net", &long), Some(format!("net.vmi._{hash}")));
    let network = "n".repeat(113);
    assert_eq!(of(&network, &long), Some(format!("{network}.vmi._{}", &hash[..9])));
    assert_eq!(of(&"n".repeat(122), &long), None);
}

#[test]
fn a_handle_that_kubernetes_cannot_bear() {
    let machine = |name: &str| Machine {
        pod: PodName { namespace: "ns".to_string(), name: "virt-launcher-x".to_string() },
        name: name.to_string(),
        uid: "i".to_string(),
        vm_uid: None,
        migration: Some("m".to_string()),
    };
    let long = machine(&"x".repeat(130));
    assert!(long.handle("net", false).is_ok());
    let error = long.handle("net", true).unwrap_err().msg;
    for words in ["ns/xxx", "an IPAMHandle called", "shorter name", "kubeVirtVMAddressPersistence"] {
        assert!(error.contains(words), "{error}");
    }
    assert!(machine("vm").handle(&"n".repeat(130), false).unwrap_err().msg.contains("shorter name"));
    let notes: Vec<_> = machine("vm").attributes().collect();
    let wanted = [("vmi-name", "vm"), ("vmi-uid", "i"), ("vmim-uid", "m")];
    assert_eq!(notes, wanted.map(|(key, value)| (key.to_string(), value.to_string())));
}

#[test]
fn owners_of_a_pod() {
    let owner = |api: &str, kind: &str| Reference {
        api_version: api.to_string(),
        kind: kind.to_string(),
        name: "vm".to_string(),
        ..Reference::default()
    };
    assert!(owner("kubevirt.io/v1", "VirtualMachineInstance").is_instance());
    assert!(owner("kubevirt.io/v1", "VirtualMachine").is_machine());
    for (api, kind) in [("apps/v1", "VirtualMachineInstance"), ("kubevirt.io", "VirtualMachineInstance")] {
        assert!(!owner(api, kind).is_instance(), "{api} {kind}");
    }
    assert!(may_be("virt-launcher-vm-abcde") && !may_be("my-virt-launcher-vm"));
}
