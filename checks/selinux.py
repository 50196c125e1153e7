"""SELinux: does it keep programs, mostly those in containers, from the GPU's device nodes?"""

from collections.abc import Iterator

from gpudoctor import (
    Evidence,
    Finding,
    NotApplicable,
    NotRunning,
    Severity,
    Unavailable,
    Undecided,
    check,
    likely,
    sure,
)
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.selinux import BOOLEANS, ENFORCE, FOR_CONTAINERS, LABEL, Denial, Selinux
from gpudoctor.facts.system import Confinement

from ._gpus import gpu_works
from ._return_codes import NO_PERMISSION

ORDINARY = "container_t"  # the type that the policy's booleans are made for
# What podman, docker and Kubernetes give to a container; spc_t and the like are not kept from devices.
CONFINED = (ORDINARY, "container_init_t", "container_kvm_t", "svirt_lxc_net_t")
NEVER_LABELLED = "device_t"
_ONE_CONTAINER = "`--security-opt label=disable` for the one container that needs the GPU"


@check(
    "devices.selinux-denied",
    symptoms=[
        sure(r"avc:\s+denied\s+\{[a-z_ ]+\} for .*nvidia.* tclass=chr_file"),
        sure(r"SELinux is preventing .{1,120} access(es)? on the chr_file \S*nvidia"),
        sure(r"tcontext=\S*:xserver_misc_device_t"),
        likely(r"Insufficient Permissions", beside=r"\bSELinux\b.{0,30}\bEnforcing|getenforce .{0,10}Enforcing"),
    ],
)
def selinux_denied(
    confinement: Confinement,
    loaded: LoadedDriver,
    nodes: DeviceNodes,
    selinux: Selinux | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding | Undecided]:
    """SELinux forbids a program, mostly one in a container, to open the GPU's device nodes.

    What: Where SELinux is enforcing, as on Fedora and RHEL, a container may use only devices that the policy
    gives it, whatever the modes of /dev/nvidia* say. It sees the nodes and cannot open them: "Insufficient
    Permissions", or no GPU at all. Nodes that were made without their label are refused to services, too.

    Proof: "avc: denied" with /dev/nvidia* in the kernel's log or that of auditd, with the types of both sides
    (`sudo ausearch -m avc -ts boot`). From inside a container: its own label, and NVML's return code 4
    though the modes allow it.

    Repair: Nodes of type device_t get their label back with `restorecon`. For containers switch on the policy's own
    boolean (container_use_xserver_devices, in older policies container_use_devices), or start the one
    container with `--security-opt label=disable`. SELinux itself stays on: never `setenforce 0`.

    Reference: https://github.com/containers/container-selinux (container.te);
    https://github.com/fedora-selinux/selinux-policy/issues/1695
    """
    if nodes.wsl or confinement.wsl:
        raise NotApplicable("WSL: GPUs are reached through /dev/dxg")
    if not loaded.loaded:
        return
    works = gpu_works(nvml, cuda)
    if isinstance(selinux, NotRunning):
        raise selinux
    if isinstance(selinux, Unavailable):
        if nodes.nodes and not works:
            yield Undecided(f"what SELinux does here cannot be told: {selinux}", matters=False)
        return
    if confinement.container:
        yield from _inside(confinement, nodes, selinux, nvml)
        return
    if selinux.mode != "enforcing":
        raise NotApplicable("SELinux is permissive: it denies nothing" if selinux.mode else "no SELinux here")
    groups: dict[tuple[str, str], list[Denial]] = {}
    for denial in selinux.denials:
        groups.setdefault((denial.source, denial.target), []).append(denial)
    for denials in groups.values():
        allowed_by = _allowed_by(denials[-1], selinux)
        if allowed_by:
            asked = f"{denials[-1].path} was denied to {denials[-1].source}"
            yield Undecided(f"{asked}, and whether before {allowed_by} was switched on is not told", matters=False)
        else:
            # The doctor itself reaches the GPU: it is others that are kept out.
            yield _denied(denials, selinux)._replace(severity=Severity.WARNING if works else None)
    if selinux.unread and nodes.nodes and not works:
        yield Undecided(f"what SELinux denied cannot be read: {selinux.unread}", matters=False)


def _allowed_by(denial: Denial, selinux: Selinux) -> str:
    """The boolean that is on and allows it now, "" if none does."""
    if denial.source != ORDINARY or denial.target == NEVER_LABELLED:
        return ""
    return next((name for name, on in selinux.booleans.items() if on), "")


def _denied(denials: list[Denial], selinux: Selinux) -> Finding:
    last = denials[-1]
    paths = ", ".join(sorted({denial.path for denial in denials})[:4])
    asked = ", ".join(sorted({word for denial in denials for word in denial.permissions}))
    who = "containers" if last.source in CONFINED else f"{last.command or 'a program'}"
    evidence = [Evidence(last.where, f"{last.text} (such lines: {len(denials)})"), Evidence(ENFORCE, "1")]
    evidence += [Evidence(f"{BOOLEANS}/{name}", "on" if on else "off") for name, on in selinux.booleans.items()]
    return Finding(
        f"SELinux keeps {who} ({last.source}) from {paths}: {asked} denied.",
        last.path,
        tuple(evidence),
        _remedy(last, selinux),
    )


def _remedy(denial: Denial, selinux: Selinux) -> str:
    if denial.target == NEVER_LABELLED:
        return "`sudo restorecon -v /dev/nvidia*` gives the nodes the label that the policy has for them."
    if denial.source in CONFINED:
        boolean = next((name for name in FOR_CONTAINERS if name in selinux.booleans), "")
        of_use = boolean and denial.source == ORDINARY
        switch = f", or `sudo setsebool -P {boolean} on` for all of them" if of_use else ""
        return f"Start with {_ONE_CONTAINER}{switch}. Leave SELinux enforcing."
    return (
        f"Have a policy module made for {denial.source} (`sudo ausearch -m avc -ts boot | audit2allow -M my-gpu`, read "
        "it, then `semodule -i`). Leave SELinux enforcing."
    )


def _inside(
    confinement: Confinement, nodes: DeviceNodes, selinux: Selinux, nvml: Nvml | Unavailable
) -> Iterator[Finding]:
    """The host's log is not shown here: judged by the container's label, the nodes' modes, and NVML's refusal."""
    if selinux.label not in CONFINED:
        return
    refused = isinstance(nvml, Nvml) and nvml.return_code == NO_PERMISSION
    open_to_all = bool(nodes.nodes) and all(node.mode & 0o6 == 0o6 for node in nodes.nodes)
    if refused and open_to_all:
        yield Finding(
            f"SELinux keeps this {confinement.container} container from the GPU: its nodes are there and open to all, "
            "and NVML may not use them.",
            nodes.nodes[0].path,
            (
                Evidence(LABEL, selinux.label),
                Evidence("nvmlInit", f"{NO_PERMISSION} NVML_ERROR_NO_PERMISSION"),
                *(Evidence(node.path, f"mode 0{node.mode:o}") for node in nodes.nodes[:2]),
            ),
            f"On the host: start the container with {_ONE_CONTAINER}, or `sudo setsebool -P {FOR_CONTAINERS[0]} on` "
            f"(older policies: {FOR_CONTAINERS[1]}). `sudo ausearch -m avc -ts recent` there shows the denial.",
        )
