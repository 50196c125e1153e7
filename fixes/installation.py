"""A driver that was removed comes back as it was; one that was never there is a person's choice."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Run, Step, Unavailable, fix
from gpudoctor.facts.driver_packages import as_ubuntu_modules
from gpudoctor.facts.driver_sets import removed_driver
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.package_manager import PackageManager, install, package_name, remove
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, OperatingSystem

from ._packaging import change, finish_first
from ._proofs import installed
from ._scope import by_hand_if_unsafe, own_driver

# What a person installs; everything else of the driver comes with them.
_CHOSEN = ("nvidia-driver", "nvidia-headless", "nvidia-open", "cuda-drivers", "nvidia-kernel-dkms", "nvidia-smi")
_CHOSEN_PARTS = ("nvidia-open-kernel-dkms", "nvidia-dkms-", "linux-modules-nvidia-", "akmod-nvidia", "kmod-nvidia")
_CHOSEN_LIBRARIES = ("libcuda1", "libnvidia-compute-", "xorg-x11-drv-nvidia-cuda", "nvidia-compute-", "nvidia-utils")


@fix("repeat-removed-packages", cures=["packages.driver-removed"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def repeat_removed_packages(
    confinement: Confinement, manager: PackageManager, packages: Packages, history: PackageHistory | Unavailable
) -> Iterator[Step]:
    """Install the driver's packages again that were removed, of the same branch as before."""
    if not own_driver(confinement) or not manager.kind:
        return
    names = tuple(package_name(name) for name in _chosen(packages, history))
    if not names:
        return
    yield from finish_first(manager, packages)
    yield from change(
        manager,
        install(manager, names),
        "These packages were the driver until they were removed; their names keep the branch.",
        installed(manager, names),
        Run(remove(manager, names)),
    )
    yield Step(
        Manual("Look with `gpudoctor check` whether the kernel has its module now; a restart may be needed."),
        "A new kernel may have come since the driver was removed.",
        Phase.AFTERWARDS,
        root=False,
    )


def _chosen(packages: Packages, history: PackageHistory | Unavailable) -> tuple[str, ...]:
    """What was chosen of the driver that is gone; not what only came along as a dependency."""
    gone = [removed.member.name for removed in removed_driver(packages, history)]
    series = _newest_series(gone)
    chosen = [name for name in dict.fromkeys(gone) if _is_chosen(name) and _series(name) in ("", series)]
    # A module package of one kernel may be gone from the archive; the one that follows the flavour brings it.
    return tuple(name for name in chosen if not _names_a_kernel(name))


def _is_chosen(name: str) -> bool:
    return name.startswith((*_CHOSEN, *_CHOSEN_PARTS, *_CHOSEN_LIBRARIES))


def _series(name: str) -> str:
    """The branch in a package's name: "580", "" if there is none."""
    return next((word for word in name.split("-") if len(word) == 3 and word.isdigit()), "")


def _newest_series(names: list[str]) -> str:
    return max((_series(name) for name in names), default="")


def _names_a_kernel(name: str) -> bool:
    modules = as_ubuntu_modules(name)
    return modules is not None and modules.kernel != ""


@fix("install-driver", cures=["driver.not-installed", "packages.driver-removed"], effort=Effort.CHANGE_BRANCH)
@by_hand_if_unsafe
def install_driver(
    confinement: Confinement, manager: PackageManager, system: OperatingSystem, gpus: PciGpus, findings: Findings
) -> Iterator[Step]:
    """Install a driver that serves all GPUs of this machine, from one origin."""
    if not own_driver(confinement) or not gpus.gpus:
        return
    modules = {gpu.module for gpu in gpus.gpus}
    oldest = min((gpu.last_branch for gpu in gpus.gpus if gpu.last_branch), default=None)
    kind = "open kernel modules" if "open-only" in modules else "proprietary" if "proprietary-only" in modules else ""
    needs = [kind] if kind else []
    needs += [f"branch {oldest} or older"] if oldest else []
    needs += [f"driver {gpu.first_driver} or newer" for gpu in gpus.gpus[:1] if gpu.first_driver]
    wanted = f" It must be: {', '.join(needs)}." if needs else ""
    # Where no package manager of ours decides, and beside Fedora itself, the finding knows this distribution's way.
    told = [one.remedy for check, one in findings.items if check == "driver.not-installed"]
    own_way = not manager.kind or (manager.kind == "dnf" and system.id != "fedora")
    how = f"{_how(manager, system, kind == 'open kernel modules')}{wanted}"
    yield Step(
        Manual(told[0] if told and own_way else how),
        f"No driver is installed for {gpus.gpus[0].label}, and which branch and origin it comes from is its owner's "
        "choice: it decides what every later upgrade brings.",
        Phase.INSTALL,
    )


def _how(manager: PackageManager, system: OperatingSystem, open_module: bool) -> str:
    match manager.kind:
        case "apt" if system.id == "ubuntu":
            return "Run `ubuntu-drivers list`, then `ubuntu-drivers install` (on servers with --gpgpu), and restart."
        case "apt":
            module = "nvidia-open-kernel-dkms" if open_module else "nvidia-kernel-dkms"
            return (
                "Add the components contrib, non-free and non-free-firmware, then install linux-headers-amd64 (of your "
                f"kernel's flavour), {module}, libcuda1 and nvidia-smi, and restart."
            )
        case "dnf":
            return "Choose RPM Fusion (akmod-nvidia) or NVIDIA's repository (nvidia-open), never both; then restart."
        case "zypper":
            return "Add NVIDIA's repository for this release, then run `zypper install-new-recommends`, and restart."
        case "pacman":
            return "Run a full upgrade together with nvidia-open (or nvidia-open-dkms) and nvidia-utils, and restart."
    return "Install the driver the way your distribution does it, and restart."
