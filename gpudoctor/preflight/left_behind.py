"""What goes with the driver in its version and is no part of it: NVIDIA's fabric manager, and the specification (CDI)
from which containers get the driver's files.

These checks are run before an upgrade only; the ids are those of the catalogue. Once `checks/` has its own of the same
id, that one is taken.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.diagnose import Check, Evidence, Finding, NotApplicable, Severity
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement
from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact, registry


class CdiSpecification(NamedTuple):
    """One file that tells container engines which files of the driver a container gets."""

    path: str  # "/etc/cdi/nvidia.yaml"
    version: str  # of the driver whose libraries it names


class CdiSpecifications(NamedTuple):
    """Those that name a version of the driver. `renewed`: a unit of NVIDIA's toolkit writes the one in /run anew."""

    specifications: tuple[CdiSpecification, ...]
    renewed: bool


_FOLDERS = ("/etc/cdi", "/run/cdi")
_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")
_LIBRARY = re.compile(r"libcuda\.so\.(\d{3}\.\d{1,3}(?:\.\d{1,3})?)\b")
_LIMIT = 1024 * 1024  # bytes; a specification has some ten thousand


@fact
def cdi_specifications(host: Host) -> CdiSpecifications:
    """From the folders that container engines read (CDI specification, "CDI JSON Specification")."""
    found = []
    for folder in _FOLDERS:
        try:
            names = host.list(folder) or ()
        except NotRunning:
            continue  # /run of a disk is empty, and will be at its start
        for name in names:
            if name.endswith((".yaml", ".json")):
                versions = _LIBRARY.findall(host.read(f"{folder}/{name}", first=_LIMIT) or "")
                found += [CdiSpecification(f"{folder}/{name}", version) for version in versions[:1]]
    renewed = any(host.status(f"{folder}/nvidia-cdi-refresh.path") for folder in _UNITS)
    return CdiSpecifications(tuple(found), renewed)


def fabric_manager_differs(
    confinement: Confinement, packages: Packages, libraries: DriverLibraries, gpus: PciGpus | Unavailable
) -> Iterator[Finding]:
    """NVIDIA's fabric manager is of another version than the driver.

    What: on machines with NVSwitches the fabric manager connects the GPUs; it starts only with a driver of exactly
    its version. Without it every CUDA program fails with error 802, system not yet initialized.
    """
    if confinement.container or confinement.wsl:
        raise NotApplicable("the fabric manager runs on the host")
    if isinstance(gpus, PciGpus) and not gpus.nvswitches:
        return
    for package in packages.installed():
        if not package.name.startswith(("nvidia-fabricmanager", "nvidia-fabric-manager")) or "dev" in package.name:
            continue
        if package.upstream and libraries.version and package.upstream != libraries.version:
            yield Finding(
                f"The fabric manager is {package.upstream}, the driver is {libraries.version}: after the next start it "
                "refuses to work, and no program can use the GPUs (error 802).",
                package.name,
                (
                    Evidence("installed packages", f"{package.name} {package.version}"),
                    Evidence(libraries.libraries[0].real_path, libraries.version),
                ),
                f"Bring {package.name} to {libraries.version} in the same transaction as the driver.",
                # Of a disk nobody knows whether its machine has an NVSwitch.
                None if isinstance(gpus, PciGpus) else Severity.WARNING,
            )


def cdi_stale(libraries: DriverLibraries, cdi: CdiSpecifications) -> Iterator[Finding]:
    """The specification of devices for containers names files of another driver version.

    What: Podman, and Docker with CDI, give a container the files that /etc/cdi or /run/cdi lists, by name and
    version. After a change of the driver those are gone, and no container with a GPU starts.
    """
    for one in cdi.specifications:
        if not libraries.version or one.version == libraries.version or (cdi.renewed and one.path.startswith("/run/")):
            continue
        yield Finding(
            f"Containers will not get the GPU: {one.path} lists files of driver {one.version}, the libraries are "
            f"{libraries.version}.",
            one.path,
            (
                Evidence(one.path, f"libcuda.so.{one.version}"),
                Evidence(libraries.libraries[0].real_path, libraries.version),
            ),
            f"Write it anew: `nvidia-ctk cdi generate --output={one.path}`.",
        )


def left_behind() -> tuple[Check, ...]:
    """The checks of what `checks/` has none for."""
    why = "run before an upgrade only"
    own = (
        Check("fabric.manager-version-mismatch", Severity.ERROR, (), (), why, fabric_manager_differs),
        Check("container.cdi-stale", Severity.WARNING, (), (), why, cdi_stale),
    )
    return tuple(check for check in own if check.id not in registry.checks)
