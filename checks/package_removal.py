"""Was the driver taken away by the package manager?"""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, NotRunning, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.driver_packages import DriverPackage, Part, driver_packages
from gpudoctor.facts.driver_sets import removed_driver
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, OperatingSystem

from ._gpus import own_gpus
from ._kernels import event_evidence
from ._package_words import install, manager_of, on_the, some, states_of, trial
from ._scope import own_driver
from ._surroundings import CONTAINER, NO_MODULE, REMOVAL


@check(
    "packages.driver-removed",
    severity=Severity.ERROR,
    symptoms=[
        likely(r"nvidia-smi: (command )?not found", beside=REMOVAL),
        likely(r"[Cc]ommand 'nvidia-smi' not found", beside=REMOVAL),
        likely(NO_MODULE, beside=r"\b(Remove|Purge): .{0,400}nvidia-driver"),
        likely(r"nvidia-smi: (command )?not found", beside=r"\brc (nvidia|libnvidia|xserver-xorg-video-nvidia)"),
        r"\bRemoving nvidia-(driver|dkms|kernel|open)\S* \(",
        likely(r"\bauto-?remove\b.{0,20}\b(removed|deleted|uninstalled|took)\b.{0,20}\bnvidia"),
        likely(r"\b(auto-?remove|purge)\b.{0,200}\bnvidia\b.{0,300}\bllvmpipe\b"),
        hint(r"nvidia-smi: (command )?not found", without=CONTAINER),
        hint(r"[Cc]ommand 'nvidia-smi' not found"),
    ],
)
def driver_removed(
    confinement: Confinement,
    packages: Packages,
    system: OperatingSystem,
    gpus: PciGpus | Unavailable,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    runfile: RunfileTraces | Unavailable,
    history: PackageHistory | Unavailable,
) -> Iterator[Finding]:
    """The driver's packages were removed.

    What: a driver was installed here, and a run of the package manager took it away: an autoremove
    after its top package was gone, or an upgrade that could not keep it. The GPU is still there.

    Proof: no package of the driver is installed, their settings are left behind (state "rc" of
    `dpkg -l`) or the history names the run that removed them.

    Repair: install the same packages of the same branch again, from the origin they came from; then
    mark the top one as wanted (`apt-mark manual`), so that no autoremove takes it along.

    Reference: apt-get(8), autoremove; NVIDIA Driver Installation Guide,
    https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/
    """
    own_driver(confinement)
    if any(member.part not in (Part.TOOL, Part.META, Part.FIRMWARE) for member in driver_packages(packages)):
        return
    if isinstance(gpus, PciGpus) and not own_gpus(gpus):
        return
    if isinstance(runfile, RunfileTraces) and runfile.paths:
        return
    if isinstance(loaded, Unavailable) and not isinstance(loaded, NotRunning):
        raise loaded
    # A module that was loaded before the removal stays in memory; without libraries it serves nobody.
    in_memory = isinstance(loaded, LoadedDriver) and loaded.loaded
    if in_memory and (isinstance(libraries, Unavailable) or libraries.version):
        return
    removed = [one for one in removed_driver(packages, history) if one.member.part is not Part.TOOL]
    if not removed:
        return
    if packages.damage:
        raise Unavailable(packages.damage)
    run = sorted((one.event for one in removed if one.event), key=lambda event: event.time)
    names = _worth_installing([one.member for one in removed])
    left = [one.member.package for one in removed if one.member.package.conffiles_only]
    manager = manager_of(packages, system)
    yield Finding(
        f"The driver's packages were removed{' ' + on_the(run[-1]) if run else ''}: "
        f"{some(one.member.name for one in removed)}. None is left.",
        names[0],
        (
            *(event_evidence(event) for event in run[:3]),
            states_of(packages, left) if left else Evidence("installed packages", "none brings an NVIDIA driver"),
            *(
                Evidence(f"/sys/bus/pci/devices/{gpu.address}", gpu.label)
                for gpu in (own_gpus(gpus)[:1] if isinstance(gpus, PciGpus) else ())
            ),
        ),
        f"Install them again, of the same branch and origin: {install(manager, names)}{trial(manager)}."
        + (f" Then `apt-mark manual {names[0]}` keeps an autoremove from taking it." if manager == "apt-get" else ""),
        # Of a disk nobody knows whether its machine still has the GPU.
        None if isinstance(gpus, PciGpus) else Severity.WARNING,
    )


def _worth_installing(gone: Sequence[DriverPackage]) -> list[str]:
    """What a person would name: the packages that bring the others, else the module and the libraries themselves."""
    top = [member.name for member in gone if member.part is Part.META]
    return top or [member.name for member in gone if member.part is not Part.FIRMWARE]
