"""Machines as facts, one for each package manager, each in the founding failure: a new kernel came without a module."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps

import pytest
from killed_runs import hold_out
from step_rules import broken_rules

from gpudoctor import Finding, Findings, Manual, Run, Step
from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.kernels import InstalledKernel, InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.registry import load_plugins, registry

Machine = tuple[object, ...]
load_plugins(fixes=True)


def _held_to_the_rules(id: str, function: Callable[..., Iterable[Step]]) -> Callable[..., Iterator[Step]]:
    """The same fix; a step that breaks a rule, or that does not survive being killed, fails the test that sees it."""

    @wraps(function)
    def steps(*args: object, **kwargs: object) -> Iterator[Step]:
        made = tuple(function(*args, **kwargs))
        for step in made:
            assert broken_rules(step) == [], (id, step)
        hold_out(tuple(sorted(made, key=lambda step: step.phase)))
        yield from made

    return steps


for _id, _fix in list(registry.fixes.items()):
    dict.__setitem__(registry.fixes, _id, _fix._replace(function=_held_to_the_rules(_id, _fix.function)))

NOTHING_LOADED = (LoadedDriver("", "", "", "", {}), LoadedModules({"ext4": ()}))


def package(name: str, version: str = "535.309.01-1", **more: object) -> Package:
    values: dict[str, object] = {"architecture": "amd64", "state": "installed", "hold": False, "vendor": "Debian"}
    return Package(name, version, **{**values, **more})  # type: ignore[arg-type]


def module_file(kernel: str, path: str, version: str, origin: str = "dkms", flavour: str = "proprietary") -> ModuleFile:
    return ModuleFile(kernel, path, origin, version, flavour, f"{kernel} SMP", "", 1.0)


def installed_kernel(release: str, *, headers: bool = True) -> InstalledKernel:
    initramfs = f"/boot/initrd.img-{release}"
    return InstalledKernel(release, f"/boot/vmlinuz-{release}", headers, "", initramfs, 1.0)


def machine(
    system: OperatingSystem, manager: str, new: str, old: str, module: str, version: str, *packages: Package
) -> Machine:
    """The new kernel runs, without headers and module; the old one has both."""
    database = {"apt": "dpkg", "pacman": "pacman"}.get(manager, "rpm")
    return (
        system,
        PackageManager(manager),
        Confinement("", False),
        Kernel(new, True, None, ()),
        InstalledKernels((installed_kernel(new, headers=False), installed_kernel(old)), new, "/vmlinuz"),
        ModuleFiles((module_file(old, f"/lib/modules/{old}/updates/dkms/{module}.ko", version),)),
        Dkms(True, (DkmsSource(module, version, True, (DkmsBuild(old, "built", "", ()),)),)),
        DriverVersions("", "", "", version, f"/usr/lib/libcuda.so.{version}", version, "libcuda1"),
        RunfileTraces((), "", "", ""),
        Packages(database, packages),
        *NOTHING_LOADED,
    )


@pytest.fixture(scope="session")
def debian() -> Machine:
    return machine(
        OperatingSystem("debian", "12", "Debian GNU/Linux 12", "debian"),
        "apt",
        "6.1.0-56-amd64",
        "6.1.0-50-amd64",
        "nvidia-current",
        "535.309.01",
        package("linux-image-amd64", "6.1.192-2"),
        package("linux-image-6.1.0-56-amd64", "6.1.192-2"),
        package("nvidia-kernel-dkms"),
        package("libcuda1"),
        package("libnvidia-ml1"),
        package("nvidia-smi"),
    )


@pytest.fixture(scope="session")
def ubuntu() -> Machine:
    return machine(
        OperatingSystem("ubuntu", "24.04", "Ubuntu 24.04 LTS", "debian"),
        "apt",
        "6.14.0-37-generic",
        "6.14.0-29-generic",
        "nvidia",
        "580.95.05",
        package("linux-image-generic-hwe-24.04", "6.14.0-37.37"),
        package("nvidia-driver-580", "580.95.05-0ubuntu1", vendor="Ubuntu"),
        package("nvidia-dkms-580", "580.95.05-0ubuntu1", vendor="Ubuntu"),
        package("libnvidia-compute-580", "580.95.05-0ubuntu1", vendor="Ubuntu"),
    )


@pytest.fixture(scope="session")
def fedora() -> Machine:
    facts = machine(
        OperatingSystem("fedora", "41", "Fedora Linux 41", "fedora"),
        "dnf",
        "6.11.4-301.fc41.x86_64",
        "6.11.2-300.fc41.x86_64",
        "nvidia",
        "570.86.16",
        package("akmod-nvidia", "3:570.86.16-1.fc41", architecture="x86_64", vendor="RPM Fusion"),
        package("xorg-x11-drv-nvidia-cuda-libs", "3:570.86.16-1.fc41", architecture="x86_64", vendor="RPM Fusion"),
        package("xorg-x11-drv-nvidia-cuda", "3:570.86.16-1.fc41", architecture="x86_64", vendor="RPM Fusion"),
    )
    return (*facts, Dkms(False, ()))


@pytest.fixture(scope="session")
def suse() -> Machine:
    return machine(
        OperatingSystem("opensuse-leap", "15.6", "openSUSE Leap 15.6", "suse"),
        "zypper",
        "6.4.0-150600.23.25-default",
        "6.4.0-150600.23.17-default",
        "nvidia",
        "570.86.16",
        package("kernel-default", "6.4.0-150600.23.25.1", architecture="x86_64"),
        package("nvidia-driver-G06-kmp-default", "570.86.16_k6.4.0_150600.21-1.1", architecture="x86_64"),
        package("nvidia-compute-G06", "570.86.16-1.1", architecture="x86_64"),
    )


@pytest.fixture(scope="session")
def arch() -> Machine:
    return machine(
        OperatingSystem("arch", "", "Arch Linux", "arch"),
        "pacman",
        "6.12.1-arch1-1",
        "6.11.9-arch1-1",
        "nvidia",
        "565.57.01",
        package("linux", "6.12.1.arch1-1", architecture="x86_64"),
        package("nvidia-dkms", "565.57.01-2", architecture="x86_64"),
        package("nvidia-utils", "565.57.01-2", architecture="x86_64"),
    )


@pytest.fixture(scope="session")
def machines(debian: Machine, ubuntu: Machine, fedora: Machine, suse: Machine, arch: Machine) -> dict[str, Machine]:
    return {"debian": debian, "ubuntu": ubuntu, "fedora": fedora, "suse": suse, "arch": arch}


@pytest.fixture(scope="session")
def a_package() -> Callable[..., Package]:
    return package


@pytest.fixture(scope="session")
def asked() -> Callable[..., Findings]:
    """The findings that a fix is asked to cure: ids, or (id, subject)."""

    def findings(*ids: str | tuple[str, str]) -> Findings:
        pairs = [id if isinstance(id, tuple) else (id, "") for id in ids]
        return Findings(tuple((id, Finding("found", subject)) for id, subject in pairs))

    return findings


@pytest.fixture(scope="session")
def commands() -> Callable[..., list[str]]:
    """The commands of the steps as a person would type them, without the trials."""

    def typed(steps: tuple[Step, ...]) -> list[str]:
        return [str(step.action) for step in steps if isinstance(step.action, Run) and step.phase > 0]

    return typed


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., str]:
    """All that is left to a person, in one text."""

    def texts(steps: tuple[Step, ...]) -> str:
        return " ".join(step.action.instruction for step in steps if isinstance(step.action, Manual))

    return texts


@pytest.fixture(scope="session")
def with_module() -> Callable[..., Machine]:
    """The same machine with a module for its running kernel, and the driver loaded in a version, if one is given."""

    def facts(given: Machine, loaded: str = "", flavour: str = "proprietary") -> Machine:
        kernel = next(fact for fact in given if isinstance(fact, Kernel))
        versions = [fact for fact in given if isinstance(fact, DriverVersions)][-1]
        path = f"/lib/modules/{kernel.release}/updates/dkms/nvidia.ko"
        file = module_file(kernel.release, path, versions.user_space, flavour=flavour)
        users: dict[str, tuple[str, ...]] = {"nvidia": ("nvidia_uvm", "nvidia_modeset"), "nvidia_uvm": ()}
        users |= {"nvidia_modeset": ("nvidia_drm",), "nvidia_drm": (), "ext4": ()}
        return (
            *given,
            ModuleFiles((file,)),
            InstalledKernels((installed_kernel(kernel.release),), kernel.release, "/vmlinuz"),
            versions._replace(on_disk=versions.user_space, on_disk_path=path, loaded=loaded),
            LoadedModules(users if loaded else {"ext4": ()}),
            LoadedDriver(loaded, flavour if loaded else "", "/proc/driver/nvidia/version" if loaded else "", "", {}),
        )

    return facts
