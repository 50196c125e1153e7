"""Exchange the open kernel modules for the proprietary ones or the other way round, within one branch."""

import re
from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, WriteFile, fix
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager, install, remove, replace
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import after_package_change, load, main_module
from ._packaging import change, finish_first
from ._proofs import has_line, installed, module_for
from ._scope import by_hand_if_unsafe, kernel_release, own_driver

MACROS = "/etc/rpm/macros.nvidia-kmod"
OPEN_MACRO = "%_with_kmod_nvidia_open 1"

# Ubuntu (and NVIDIA's older packages for it) mark the open ones by a word in the name.
_UBUNTU = re.compile(r"(nvidia-(?:driver|dkms|kernel-source|headless|headless-no-dkms)-\d{3}(?:-server)?)(-open)?")
_UBUNTU_READY = re.compile(r"(linux-modules-nvidia-\d{3}(?:-server)?)(-open)?(-(?!open-|server-).+)")
_SUSE_OPEN = re.compile(r"nvidia-open-driver-(G0\d)-signed-(?:cuda-)?kmp-(\w+)")
_SUSE_CLOSED = re.compile(r"nvidia-driver-(G0\d)-kmp-(\w+)")
_PAIRS = {  # proprietary to open
    "apt": {"nvidia-kernel-dkms": "nvidia-open-kernel-dkms"},
    "dnf": {"kmod-nvidia-latest-dkms": "kmod-nvidia-open-dkms", "cuda-drivers": "nvidia-open"},
    "pacman": {"nvidia": "nvidia-open", "nvidia-dkms": "nvidia-open-dkms", "nvidia-lts": "nvidia-open-lts"},
}


@fix(
    "switch-flavour",
    cures=["driver.open-module-required", "driver.open-module-unsupported"],
    effort=Effort.SWITCH_FLAVOUR,
)
@by_hand_if_unsafe
def switch_flavour(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    files: ModuleFiles,
    gpus: PciGpus,
    packages: Packages,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Install the kernel modules of the flavour that the GPUs need; the rest of the driver stays."""
    if not own_driver(confinement):
        return
    needed = {gpu.module for gpu in gpus.gpus if gpu.module in ("open-only", "proprietary-only")}
    if len(needed) > 1:
        yield _one_of_the_gpus(gpus)
        return
    to_open = needed == {"open-only"}
    if not needed or _flavour(driver, files, kernel) == ("open" if to_open else "proprietary"):
        return
    last = str(min((gpu.last_branch for gpu in gpus.gpus if gpu.last_branch), default="BRANCH"))
    version = versions.user_space or versions.loaded
    if to_open and any(_is_older(version, gpu.first_driver) for gpu in gpus.gpus if gpu.module == "open-only"):
        return  # no flavour of this branch knows the GPU: that is for another branch
    if manager.kind == "dnf" and any(p.name.startswith("akmod-nvidia") for p in packages.installed()):
        yield from _rpm_fusion(to_open, last, kernel, driver)
        return
    exchange = _exchange(manager, system, packages, to_open)
    if not exchange:
        yield _by_hand(manager, to_open, last)
        return
    old, new = tuple(exchange), tuple(dict.fromkeys(exchange.values()))
    yield from finish_first(manager, packages)
    why = f"This GPU needs the {'open' if to_open else 'proprietary'} kernel modules; libraries and branch stay."
    forth, back = replace(manager, new, old), replace(manager, old, new)
    if forth is not None and back is not None:
        yield from change(manager, forth, why, installed(manager, new), Run(back), risk=Risk.HIGH)
    else:
        # pacman removes nothing for a conflict without being asked by a person.
        yield Step(
            *(Run(remove(manager, old)), why + " Its exit status is the proof.", Phase.REMOVE, Risk.HIGH),
            undo=Run(install(manager, old)),
        )
        yield Step(
            *(Run(install(manager, new)), why, Phase.INSTALL, Risk.HIGH),
            verify=installed(manager, new),
            undo=Run(remove(manager, new)),
        )
    if isinstance(driver, LoadedDriver) and driver.loaded:
        yield from after_package_change(kernel, driver)
    else:
        yield from load(kernel, driver, modules)


def _flavour(driver: LoadedDriver | Unavailable, files: ModuleFiles, kernel: Kernel) -> str:
    if isinstance(driver, LoadedDriver) and driver.flavour:
        return driver.flavour
    module = main_module(files, kernel.release)
    return module.flavour if module else ""


def _is_older(version: str, than: str) -> bool:
    return bool(version and than) and version_key(version) < version_key(than)


def _exchange(manager: PackageManager, system: OperatingSystem, packages: Packages, to_open: bool) -> dict[str, str]:
    """Installed package of the wrong flavour to its counterpart; {} where this has to be done another way."""
    names = [package.name for package in packages.installed()]
    of_nvidia = any("NVIDIA" in member.package.vendor for member in driver_packages(packages))
    pairs = _PAIRS.get(manager.kind, {})
    if not to_open:
        # Arch has no proprietary modules any more, and Debian's name for them is in NVIDIA's repository another thing.
        pairs = {} if manager.kind == "pacman" else {new: old for old, new in pairs.items()}
    if manager.kind == "dnf" and system.id != "fedora" and system.version.partition(".")[0] in ("8", "9", "2023"):
        return {}  # a module stream of dnf decides there
    if manager.kind == "apt" and of_nvidia:
        pairs = {}
    found = {name: pairs[name] for name in names if name in pairs}
    for name in names:
        other = ""
        if manager.kind == "apt":
            match = _UBUNTU.fullmatch(name) or _UBUNTU_READY.fullmatch(name)
            if match and bool(match[2]) != to_open:
                other = match[1] + ("-open" if to_open else "") + (match[3] if match.re is _UBUNTU_READY else "")
        elif manager.kind == "zypper" and to_open and (match := _SUSE_CLOSED.fullmatch(name)):
            other = f"nvidia-open-driver-{match[1]}-signed-kmp-{match[2]}"
        elif manager.kind == "zypper" and not to_open and (match := _SUSE_OPEN.fullmatch(name)):
            other = f"nvidia-driver-{match[1]}-kmp-{match[2]}"
        if other:
            found[name] = other
    return found


def _rpm_fusion(to_open: bool, last: str, kernel: Kernel, driver: LoadedDriver | Unavailable) -> Iterator[Step]:
    if not to_open:
        yield Step(
            Manual(
                f"Remove the line {OPEN_MACRO} from {MACROS} if it is there and run `akmods --force --rebuild`; if the "
                f"module is open without it, install the legacy packages (akmod-nvidia-{last}xx and "
                f"xorg-x11-drv-nvidia-{last}xx-cuda) in place of akmod-nvidia."
            ),
            "RPM Fusion builds open or proprietary modules by this setting, and in newer branches open ones only.",
            Phase.CONFIGURE,
            Risk.MEDIUM,
        )
        return
    yield Step(
        WriteFile(MACROS, f"{OPEN_MACRO}\n"),
        "RPM Fusion's akmods builds the open modules where this setting is made.",
        Phase.CONFIGURE,
        Risk.MEDIUM,
        verify=has_line(MACROS, OPEN_MACRO),
    )
    release = kernel_release(kernel.release)
    yield Step(
        Run(("akmods", "--force", "--rebuild", "--kernels", release)),
        "The module is built anew, open this time.",
        Phase.BUILD,
        Risk.MEDIUM,
        verify=module_for(release, "nvidia"),
        undo=Run(("akmods", "--force", "--rebuild", "--kernels", release)),
    )
    yield from after_package_change(kernel, driver)


def _by_hand(manager: PackageManager, to_open: bool, last: str) -> Step:
    meta = "nvidia-open" if to_open else "cuda-drivers"
    match manager.kind:
        case "apt":
            how = f"Install `{meta}` of NVIDIA's repository, and look with -s first at what it removes."
        case "dnf":
            stream = "open-dkms" if to_open else "latest-dkms"
            how = f"Run `dnf module switch-to nvidia-driver:{stream} --allowerasing`; look first at what it removes."
        case "pacman":
            how = f"Install the branch that still has them from the AUR (nvidia-{last}xx-dkms, nvidia-{last}xx-utils)."
        case _:
            how = f"Run the installer of the same version again with -m={'kernel-open' if to_open else 'kernel'}."
    return Step(
        Manual(how),
        "The GPU needs the other flavour of kernel modules, and no installed package has a known counterpart here.",
        Phase.INSTALL,
        Risk.HIGH,
    )


def _one_of_the_gpus(gpus: PciGpus) -> Step:
    names = ", ".join(f"{gpu.label} ({gpu.address}): {gpu.module}" for gpu in gpus.gpus if gpu.module.endswith("-only"))
    return Step(
        Manual(f"Decide which GPU to use, and take the other out or give it to a virtual machine: {names}."),
        "Only one flavour of the modules can be loaded, and these GPUs need different ones.",
        Phase.AFTERWARDS,
        root=False,
    )
