"""A docker that is not the machine's own: a snap, or the virtual machine of Docker Desktop."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint, sure
from gpudoctor.facts.container_engines import ContainerEngines
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement

from ._container_host import host_driver, on_the_host
from ._surroundings import DESKTOP, GPU_REFUSED, SNAP, WSL


@check(
    "container.docker-snap",
    severity=Severity.WARNING,
    symptoms=[
        sure(GPU_REFUSED, beside=SNAP),
        r"/var/snap/docker/",
        r"snap\.docker\.dockerd",
        hint(r"\bdocker (was |is )?installed (as|from|by|via|with|through) (a )?snap\b", beside=r"nvidia|\bGPUs?\b"),
        r"/snap/bin/docker\b",
    ],
)
def docker_snap(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    engines: ContainerEngines,
    toolkit: ContainerToolkit,
) -> Iterator[Finding]:
    """Docker came as a snap, and cannot see the container toolkit of the machine.

    What: A snap sees a file system of its own, and has its own settings below /var/snap/docker. What the toolkit's
    package installs, and what `nvidia-ctk runtime configure` writes into /etc/docker, means nothing to it;
    beside a second docker, `docker` may talk to either of the two.

    Proof: /snap/docker is there, its daemon.json has no nvidia runtime, and the toolkit is installed on the machine,
    or another docker is.

    Repair: Remove the snap and install the distribution's docker.io or docker-ce; images and volumes of the snap do not
    move along. Newer snaps bring a toolkit of their own: `docker run --runtime=nvidia --gpus all`.

    Reference: https://github.com/canonical/docker-snap; https://github.com/NVIDIA/nvidia-docker/issues/1034
    """
    on_the_host(confinement)
    host_driver(loaded, libraries)
    if not engines.docker_snap or engines.snap_runtime:
        return
    other = engines.get("docker")
    if not toolkit.present and not (other and other.in_use):
        severity, meaning = Severity.INFO, "its containers get no GPU"
    elif other and other.in_use:
        severity, meaning = Severity.WARNING, f"it runs beside {other.path}, and `docker` may talk to either"
    else:
        severity, meaning = Severity.WARNING, "it cannot see the container toolkit that is installed here"
    yield Finding(
        f"Docker is a snap: {meaning}.",
        engines.docker_snap,
        (
            Evidence(engines.docker_snap, "docker as a snap, without a runtime called nvidia"),
            Evidence(toolkit.command or toolkit.hook or "/usr/bin", "installed" if toolkit.present else "no toolkit"),
        ),
        "Save what its volumes hold, `sudo snap remove docker`, and install docker.io or docker-ce; then "
        "`sudo nvidia-ctk runtime configure --runtime=docker`.",
        severity,
    )


@check(
    "container.docker-desktop",
    severity=Severity.WARNING,
    # Of Linux alone: on Windows the context has the same name, and another socket.
    symptoms=[
        sure(GPU_REFUSED, beside=DESKTOP, without=WSL),
        r"/\.docker/desktop/docker\.sock",
    ],
)
def docker_desktop(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    engines: ContainerEngines,
    toolkit: ContainerToolkit,
) -> Iterator[Finding]:
    """`docker` talks to Docker Desktop, whose virtual machine has no GPU.

    What: On Linux Docker Desktop runs all containers in a virtual machine, to which the GPU does not belong. The
    toolkit that is installed on the machine serves the other docker, the system's. (On Windows it is
    different: there Docker Desktop gives GPUs through WSL.)

    Proof: /opt/docker-desktop is there, and the user's ~/.docker/config.json has the context desktop-linux.

    Repair: `docker context use default` talks to the system's docker, which must be installed beside it.

    Reference: https://docs.docker.com/desktop/setup/install/linux/; https://docs.docker.com/desktop/features/gpu/
    """
    on_the_host(confinement)
    if confinement.wsl:
        raise NotApplicable("WSL: Docker Desktop gives containers the GPU there")
    host_driver(loaded, libraries)
    for path in engines.desktop_contexts:
        other = engines.get("docker")
        first = "" if other else "Install docker-ce beside it, then: "
        yield Finding(
            "`docker` talks to Docker Desktop here, and the GPU does not reach its virtual machine.",
            path,
            (Evidence(path, "currentContext: desktop-linux"), Evidence(engines.docker_desktop, "Docker Desktop")),
            f"{first}`docker context use default`, as the user whose file it is.",
            Severity.WARNING if toolkit.present else Severity.INFO,
        )
