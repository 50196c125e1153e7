"""NVIDIA's container toolkit and the engines that are to start containers through it, seen from the host."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cdi import CdiSpecifications
from gpudoctor.facts.container_engines import ContainerEngines, Engine
from gpudoctor.facts.container_toolkit import ContainerToolkit, GpuContainers
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement

from ._container_host import host_driver, on_the_host
from ._surroundings import DESKTOP, SNAP

_INSTALL = (
    "Install the package nvidia-container-toolkit from NVIDIA's repository for container tools (on Arch from the "
    "distribution's)"
)
_LABELS = {"docker": "Docker", "containerd": "containerd", "crio": "CRI-O", "podman": "Podman"}


@check(
    "container.toolkit-missing",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"could not select device driver \S* ?with capabilities: \[\[", without=rf"{SNAP}|{DESKTOP}"),
        r"could not select device driver \S* ?with capabilities: \[\[",
        r"failed to discover GPU vendor from CDI",
        sure(r"nvidia-container-(runtime|cli|runtime-hook|toolkit)\S*:? (command not found|executable file not found)"),
        sure(r"exec: \S*nvidia-container-\S*: executable file not found"),
        sure(r"fork/exec \S*nvidia-container-\S*: no such file or directory"),
        r"nvidia-ctk: command not found",
        r"nvidia-docker: (command )?not found",
        r"Unable to locate package nvidia-(container-toolkit|docker2)",
        hint(r"If this is a GPU node, did you (set|configure) the"),
        hint(r"nvidia-container-runtime did not terminate successfully"),
        sure(r"Command not found: nvidia-container-cli|nvidia-container-cli not found"),
        r"/nvidia-container-(runtime|toolkit)\S*: no such file or directory",
    ],
)
def toolkit_missing(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    engines: ContainerEngines,
    toolkit: ContainerToolkit,
    asking: GpuContainers,
) -> Iterator[Finding]:
    """Containers are to get GPUs, and NVIDIA's container toolkit, which hands them over, is not there.

    What: A container has the host's kernel, and none of the driver's libraries. NVIDIA's container toolkit puts
    the libraries and the device nodes into it when it is started: `docker run --gpus` calls its hook, a
    runtime called nvidia is its program. Without it the engine refuses to start such a container.

    Proof: nvidia-ctk, nvidia-container-runtime-hook and nvidia-container-runtime are not on this machine, and the
    engine's settings name the runtime, or docker keeps containers that ask for a GPU. Docker alone, with
    nothing that asks for GPUs, is worth a note only.

    Repair: Install nvidia-container-toolkit, run `nvidia-ctk runtime configure` for the engine, restart the engine.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html;
    https://github.com/NVIDIA/nvidia-docker/issues/1034
    """
    on_the_host(confinement)
    host_driver(loaded, libraries)
    broken = [engine for engine in engines.engines if engine.runtime_missing]
    for engine in broken:
        yield _program_gone(engine)
    docker = engines.get("docker")
    if broken or toolkit.present or docker is None or not docker.in_use or confinement.driver_container:
        return
    remedy = f"{_INSTALL}, then restart docker (`sudo systemctl restart docker`), which stops its containers."
    proof = Evidence("/usr/bin", "no nvidia-ctk, no nvidia-container-runtime-hook")
    if asking.containers:
        names = ", ".join(f"{one.name} ({one.by})" for one in asking.containers[:4])
        yield Finding(
            f"Docker keeps containers that ask for a GPU ({names}), and without NVIDIA's container toolkit it cannot "
            "give them one.",
            "docker",
            (Evidence("/var/lib/docker/containers", names), proof),
            remedy,
            Severity.ERROR,
        )
    else:
        yield Finding(
            "Docker is in use here without NVIDIA's container toolkit: its containers cannot get a GPU.",
            "docker",
            (Evidence(docker.path, "docker.service is in use"), proof),
            f"If they shall: {remedy[0].lower()}{remedy[1:]}",
            Severity.INFO,
        )


def _program_gone(engine: Engine) -> Finding:
    program, name = engine.settings.runtime, _LABELS[engine.kind]
    if engine.settings.default == "nvidia":
        what = f"{name} starts every container with {program}, which is not there: none starts."
    else:
        what = f"{name} has a runtime called nvidia, but its program {program} is not there."
    return Finding(
        what,
        engine.kind,
        (Evidence(engine.config, f"nvidia: {program}"), Evidence(program, "not there")),
        f"{_INSTALL} and restart {engine.kind}; or take the runtime out of {engine.config} if no container shall have "
        "a GPU.",
        Severity.ERROR if engine.in_use else None,
    )


@check(
    "container.runtime-not-configured",
    severity=Severity.WARNING,
    after=["container.toolkit-missing"],
    symptoms=[
        sure(r"unknown or invalid runtime name: nvidia"),
        sure(r"Unknown runtime specified nvidia"),
        sure(r"no runtime for \"?nvidia\"? is configured"),
        sure(r"specified default runtime \S*nvidia\S* does not exist"),
        r"(OCI )?runtime \"?nvidia\"? not found",
        r"If this is a GPU node, did you (set|configure) the",
        r"RuntimeHandler \"?nvidia\"? not supported",
        r"could not load NVML library",
        hint(r"Insufficient nvidia\.com/gpu"),
        r"no runtime binary found from candidate list",
        sure(r"runtime handler \W{0,2}nvidia\W{0,2} (is )?not (supported|found)"),
        sure(r"RuntimeClass\S* \W{0,2}nvidia\W{0,2} not found"),
        r"Incompatible (strategy|platform) detected",
        r"NVIDIA Container Runtime Hook directly \(e\.g\. .{1,60}\) is not supported",
        r"error validating toolkit installation",
        hint(r"\btoolkit is not ready\b"),
        hint(r"unable to find any allocatable GPU resource|GPU resources are not (yet )?discovered by the node"),
        hint(r"requested number of devices unavailable for nvidia\.com/gpu|endpoint not found .{0,40}nvidia\.com/gpu"),
        hint(r"No devices found\. Waiting indefinitely"),
        r"could not select device driver \W{0,2}cdi\b",
    ],
)
def runtime_not_configured(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    engines: ContainerEngines,
    toolkit: ContainerToolkit,
    asking: GpuContainers,
    cdi: CdiSpecifications | Unavailable,
) -> Iterator[Finding | Undecided]:
    """NVIDIA's container toolkit is installed, but the engine that starts containers was not told of it.

    What: The toolkit works through the engine: docker, containerd and CRI-O know a runtime called nvidia from their
    settings; Podman, and any engine with CDI, needs a specification of the GPUs in /etc/cdi or /run/cdi.
    `docker run --gpus` works without a runtime; `--runtime=nvidia` and Compose files with it do not, and
    pods of Kubernetes see no GPU.

    Proof: /etc/docker/daemon.json, /etc/containerd/config.toml with what it imports, or /etc/crio name no nvidia
    runtime; no specification lies in the two folders.

    Repair: `nvidia-ctk runtime configure --runtime=docker` (or containerd, crio), then reload docker or restart the
    other; for Podman `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
    """
    on_the_host(confinement)
    host_driver(loaded, libraries)
    for engine in engines.engines:
        settings = engine.settings
        if settings.runtime or not engine.in_use:
            continue
        serves_pods = engine.kind in ("containerd", "crio") and engines.kubelet
        if settings.damaged and (engine.kind == "docker" or serves_pods) and toolkit.present:
            yield Undecided(f"{engine.config or engine.kind}: {settings.damaged}", matters=False)
        elif engine.kind == "docker" and settings.default == "nvidia":
            yield _not_told(engine, "its default runtime is nvidia, of which nothing else is said: it does not start")
        elif not toolkit.present:
            continue
        elif engine.kind == "docker":
            yield _docker_not_told(engine, toolkit, asking, _specified(cdi))
        elif serves_pods and not (
            settings.cdi and (engine.kind == "containerd" or _specified(cdi) or engines.oci_hook)
        ):
            yield _not_told(engine, "pods of Kubernetes get no GPU from it", Severity.WARNING)
        elif engine.kind == "podman" and not _specified(cdi) and not engines.oci_hook:
            others = any(other.settings.runtime for other in engines.engines)
            least = Severity.INFO if others or engines.get("docker") else Severity.WARNING
            yield _not_told(
                engine, "there is no specification of the GPUs (CDI), and it gets them in no other way", least
            )


def _specified(cdi: CdiSpecifications | Unavailable) -> bool:
    """Is there a specification, or will one be written at the next start? What is unknown is taken to be there."""
    return isinstance(cdi, Unavailable) or bool(cdi.specifications or cdi.renewed or cdi.unread)


def _docker_not_told(engine: Engine, toolkit: ContainerToolkit, asking: GpuContainers, specified: bool) -> Finding:
    names = ", ".join(one.name for one in asking.containers if one.by == "--runtime=nvidia")
    if names:
        found = _not_told(engine, f"the containers {names} ask for it")
        return found._replace(evidence=(*found.evidence, Evidence("/var/lib/docker/containers", f"{names}: nvidia")))
    if toolkit.hook or specified:
        works = "docker run --gpus" if toolkit.hook else "--device nvidia.com/gpu=all"
        return _not_told(engine, f"`{works}` works, `--runtime=nvidia` does not", Severity.INFO)
    return _not_told(engine, "no container of it can get a GPU", Severity.WARNING)


def _not_told(engine: Engine, meaning: str, severity: Severity = Severity.ERROR) -> Finding:
    what, place, told = "has no runtime called nvidia", engine.config or engine.path, "no runtime nvidia"
    remedy = f"`sudo nvidia-ctk runtime configure --runtime={engine.kind}`, then restart {engine.kind}."
    if engine.kind == "podman":
        what, place, told = "knows no GPUs", "/etc/cdi", "no specification"
        remedy = "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`, anew after each change of the driver."
    elif engine.kind == "docker":
        how = "restart" if engine.settings.default == "nvidia" else "reload"
        remedy = f"`sudo nvidia-ctk runtime configure --runtime=docker`, then `sudo systemctl {how} docker`."
    elif engine.config.startswith("/var/lib/rancher/"):
        remedy = "Restart k3s (or rke2): it looks for the toolkit when it starts, and writes this file itself."
    summary = f"{_LABELS[engine.kind]} {what}: {meaning}."
    return Finding(summary, engine.kind, (Evidence(place, told),), remedy, severity)


@check(
    "container.no-cgroups",
    severity=Severity.WARNING,
    after=["container.toolkit-missing"],
    symptoms=[
        likely(r"\bno-cgroups ?= ?true", beside=r"Unknown Error|Insufficient Permissions"),
        # An engine without root's rights may not: there no-cgroups is to be true.
        r"nvidia-container-cli: .{0,200}bpf_prog_query\(BPF_CGROUP_DEVICE\) failed",
        r"nvidia-container-cli: .{0,60}cgroup subsystem devices not found",
        r"nvidia-container-cli: .{0,120}(devices cgroup|cgroup version|cgroup mount path|devices\.allow)",
    ],
)
def no_cgroups(confinement: Confinement, engines: ContainerEngines, toolkit: ContainerToolkit) -> Iterator[Finding]:
    """The container toolkit is set for an engine without root's rights, and docker runs with them.

    What: With no-cgroups = true the toolkit puts the GPU's device nodes into a container and does not ask the kernel
    to let it use them. For docker without root that is right, for nothing forbids them there. Under the
    system's docker the container sees its nodes, and NVML fails from the start: Unknown Error.

    Proof: no-cgroups = true in /etc/nvidia-container-runtime/config.toml, and docker.service runs.

    Repair: `sudo nvidia-ctk config --in-place --set nvidia-container-cli.no-cgroups=false`; start the containers anew.

    Reference: https://github.com/NVIDIA/nvidia-container-toolkit/issues/381;
    https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html (rootless mode)
    """
    on_the_host(confinement)
    docker = engines.get("docker")
    if docker is None or not docker.in_use:
        return
    if toolkit.unread and not toolkit.no_cgroups:
        raise Unavailable(toolkit.unread)
    if not toolkit.no_cgroups:
        return
    both = engines.rootless_docker
    yield Finding(
        "The container toolkit does not let containers use the GPUs that it gives them (no-cgroups = true), which only "
        "docker without root's rights can do with; the system's docker is in use here.",
        toolkit.config,
        (
            Evidence(toolkit.config, "no-cgroups = true"),
            Evidence(docker.path, "docker.service is in use"),
            *([Evidence(both, "docker without root is set up as well")] if both else []),
        ),
        "`sudo nvidia-ctk config --in-place --set nvidia-container-cli.no-cgroups=false`, then start the containers "
        "anew." + (" Docker without root then needs CDI: `--device nvidia.com/gpu=all`." if both else ""),
    )
