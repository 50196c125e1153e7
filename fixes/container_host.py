"""What hands GPUs to containers, on the host: NVIDIA's toolkit, the engines' settings, the lists of what they get."""

from collections.abc import Iterator

from gpudoctor import (
    Effort,
    Findings,
    Manual,
    Phase,
    RemoveFile,
    Risk,
    Run,
    Severity,
    Step,
    Unavailable,
    WriteFile,
    fix,
)
from gpudoctor.facts.cdi import CdiSpecifications
from gpudoctor.facts.container_engines import ContainerEngines, Engine
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.engine_settings import DAEMON_JSON, with_nvidia_runtime
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import PackageManager, install
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, Kernel

from ._packaging import change, finish_first
from ._proofs import gone, has_line, installed, there
from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe, driver_release, file_path

_TOOLKIT = "nvidia-container-toolkit"
_CDI = "/etc/cdi/nvidia.yaml"


@fix("install-container-toolkit", cures=["container.toolkit-missing"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def install_container_toolkit(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    packages: Packages,
    engines: ContainerEngines,
    findings: Findings,
) -> Iterator[Step]:
    """Install NVIDIA's container toolkit, and let the engine find it."""
    if confinement.container or not manager.kind:
        return
    yield from finish_first(manager, packages)
    yield from change(
        manager,
        install(manager, (_TOOLKIT,)),
        "It puts the driver's libraries and the GPU's device nodes into containers. Where the trial finds no such "
        "package, NVIDIA's repository for container tools has to be added first.",
        installed(manager, (_TOOLKIT,)),
        Manual(f"Remove {_TOOLKIT} again if it is not wanted; it changes nothing by itself."),
    )
    concerned = {finding.subject for _, finding in findings.items}
    for engine in engines.engines:
        if kernel.running and engine.in_use and engine.kind in concerned:
            yield _restart(engine, "It looks for the toolkit when it starts.")


@fix("configure-container-runtime", cures=["container.runtime-not-configured"], effort=Effort.ENVIRONMENT_VARIABLE)
@by_hand_if_unsafe
def configure_container_runtime(
    confinement: Confinement,
    kernel: Kernel,
    engines: ContainerEngines,
    toolkit: ContainerToolkit,
    findings: Findings,
) -> Iterator[Step]:
    """Tell the engines of NVIDIA's runtime, or where to find the GPUs."""
    if confinement.container:
        return
    worth = {finding.subject for _, finding in findings.items if finding.severity is not Severity.INFO}
    for engine in engines.engines:
        if engine.kind not in worth:
            continue
        if engine.kind == "docker":
            yield from _docker(engine, kernel)
        elif toolkit.command and kernel.running and engine.kind == "podman":
            yield Step(
                Run(("nvidia-ctk", "cdi", "generate", f"--output={_CDI}")),
                "Podman gets GPUs from a specification that lists their device nodes and the driver's files.",
                Phase.CONFIGURE,
                Risk.LOW,
                verify=there(_CDI),
                undo=Run(("unlink", _CDI)),
            )
        elif toolkit.command and kernel.running and not engine.config.startswith("/var/"):
            yield Step(
                Run(("nvidia-ctk", "runtime", "configure", f"--runtime={engine.kind}")),
                f"{engine.kind} starts containers with a GPU through the runtime called nvidia.",
                Phase.CONFIGURE,
                Risk.LOW,
                verify=Run(("grep", "-rqsF", "nvidia-container-runtime", f"/etc/{engine.kind}")),
                undo=Manual(
                    f"Take the runtime called nvidia out of /etc/{engine.kind} again, and restart {engine.kind}."
                ),
            )
            yield _restart(engine, "It reads its settings when it starts.")
        else:
            own = (finding for _, finding in findings.items if finding.subject == engine.kind)
            yield from (by_remedy(finding, "how this engine is set up") for finding in own)


def _docker(engine: Engine, kernel: Kernel) -> Iterator[Step]:
    try:
        text = with_nvidia_runtime(engine.text)
    except ValueError:
        yield Step(
            Manual(f"Mend {DAEMON_JSON}, which is no JSON object, then run gpudoctor again."),
            "What cannot be read must not be written over.",
            Phase.CONFIGURE,
        )
        return
    yield Step(
        WriteFile(DAEMON_JSON, text, engine.text if engine.config else None),
        "Docker knows the runtime called nvidia from this file; all else in it stays as it is.",
        Phase.CONFIGURE,
        Risk.LOW,
        verify=has_line(DAEMON_JSON, '            "path": "nvidia-container-runtime"'),
    )
    if not kernel.running or not engine.in_use:
        return
    if engine.settings.default == "nvidia":
        yield _restart(engine, "With a default runtime that it did not know it could not start.")
        return
    yield Step(
        Run(("systemctl", "reload", "docker")),
        "Docker reads its runtimes anew without a restart, and its containers go on.",
        Phase.RELOAD,
        Risk.LOW,
        verify=Run(("systemctl", "is-active", "--quiet", "docker")),
        undo=Manual(f"Once {DAEMON_JSON} is as it was: `systemctl reload docker`."),
    )


def _restart(engine: Engine, why: str) -> Step:
    service = engine.kind
    if service == "docker":
        risk, cost = Risk.HIGH, "All its containers stop, unless live-restore is on."
    else:
        risk, cost = Risk.MEDIUM, "Containers that run go on; none can be started meanwhile."
    return Step(
        Run(("systemctl", "restart", service)),
        f"{why} {cost}",
        Phase.RELOAD,
        risk,
        verify=Run(("systemctl", "is-active", "--quiet", service)),
        undo=Manual(f"Once its settings are as they were: `systemctl restart {service}`."),
    )


@fix("let-containers-use-gpus", cures=["container.no-cgroups"], effort=Effort.ENVIRONMENT_VARIABLE)
@by_hand_if_unsafe
def let_containers_use_gpus(confinement: Confinement, toolkit: ContainerToolkit) -> Iterator[Step]:
    """Let the container toolkit allow containers the GPUs that it gives them."""
    if confinement.container or not toolkit.no_cgroups:
        return
    setting = "nvidia-container-cli.no-cgroups"
    yield Step(
        Run(("nvidia-ctk", "config", "--in-place", "--set", f"{setting}=false")),
        "The kernel keeps a container from devices that nobody allowed it; only docker without root has no such guard.",
        Phase.CONFIGURE,
        Risk.LOW,
        verify=Run(("grep", "-Eq", "^[[:space:]]*no-cgroups[[:space:]]*=[[:space:]]*false", file_path(toolkit.config))),
        undo=Run(("nvidia-ctk", "config", "--in-place", "--set", f"{setting}=true")),
    )
    yield Step(
        Manual("Start the containers with GPUs anew (`docker restart NAME`)."),
        "What a container may use is decided when it is started.",
        Phase.AFTERWARDS,
        root=False,
    )


@fix("use-system-docker", cures=["container.docker-snap", "container.docker-desktop"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def use_system_docker(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Start containers with the docker that the container toolkit serves."""
    if not confinement.container:
        for _, finding in findings.items:
            yield by_remedy(finding, "what its containers and volumes are worth")


@fix("renew-cdi-specification", cures=["container.cdi-stale"], effort=Effort.ENVIRONMENT_VARIABLE)
@by_hand_if_unsafe
def renew_cdi_specification(
    confinement: Confinement,
    kernel: Kernel,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    cdi: CdiSpecifications,
    findings: Findings,
) -> Iterator[Step]:
    """Write the list of the driver's files for containers anew."""
    if confinement.container:
        return
    in_memory = loaded.version if isinstance(loaded, LoadedDriver) else ""
    version = libraries.version if isinstance(libraries, DriverLibraries) else ""
    for _, finding in findings.items:
        if "both describe" in finding.summary:
            yield by_remedy(finding, "which of the two is meant")
        elif finding.severity is Severity.INFO:
            path = file_path(finding.subject)
            why = "A newer one in /run/cdi counts in its place; this one would only come to light when that is gone."
            yield Step(RemoveFile(path), why, Phase.CONFIGURE, Risk.LOW, verify=gone(path))
        elif not kernel.running or not in_memory or (version and version != in_memory):
            # nvidia-ctk asks the driver, which must be the one that the libraries belong to.
            yield Step(
                Manual(f"After the next start: {finding.remedy[0].lower()}{finding.remedy[1:]}"),
                "It is written from what the loaded driver says, and that is not the one of the libraries yet.",
                Phase.AFTERWARDS,
            )
        else:
            yield _written_anew(file_path(finding.subject), version or in_memory, cdi)


def _written_anew(path: str, version: str, cdi: CdiSpecifications) -> Step:
    if cdi.renewed and path == "/run/cdi/nvidia.yaml":
        action = Run(("systemctl", "restart", "nvidia-cdi-refresh.service"))
        why = "The unit that writes it at each start and after each change of the driver does so now."
    else:
        action = Run(("nvidia-ctk", "cdi", "generate", f"--output={path}"))
        why = "It lists files and device nodes by name; what is there now is written into it."
    return Step(
        action,
        why,
        Phase.REBUILD,
        Risk.LOW,
        verify=Run(("grep", "-qF", f"libcuda.so.{driver_release(version)}", path)),
        undo=action,
    )
