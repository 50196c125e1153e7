"""A machine in plain words, part by part, so that two states of it can be laid side by side: name and value, no more.

Each part is a function of facts, and a machine that cannot tell one of them still tells the others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.cdi import CdiSpecification, CdiSpecifications
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.cudnn import CudnnLibraries
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.installed_kernels import InstalledKernel, InstalledKernels
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.loader import LoaderConfig
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.module_files import ModuleFile, ModuleFiles
from gpudoctor.facts.nccl import NcclLibraries
from gpudoctor.facts.nccl_settings import NcclSettings
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts

Names = Mapping[str, str]  # what there is, by name; what is not there has no name


class Item(NamedTuple):
    """One thing that a machine has. `group`: what it belongs to, the prefix of a Python environment; "" the machine."""

    group: str
    name: str


Part = Mapping[Item, str]

GPUS, SWITCHES = "GPUs", "NVSwitches"  # a part, and the one name in it that is no GPU's address
TOOLKITS, PYTHONS, SETTINGS = "CUDA toolkits", "Python environments", "settings"
FOUND_BY = "found by"  # of a Python environment: what led to it
# Parts in which variables of the process lead to places: PATH, HOME, CUDA_HOME, VIRTUAL_ENV.
LED_TO = (TOOLKITS, PYTHONS, SETTINGS)


def machine_parts(facts: Facts) -> Mapping[str, Part | Unavailable]:
    """By the name of the part, in the order of a report; what a part could not tell stands in its place."""
    return {name: _told(facts, function) for name, function in _PARTS.items()}


def _told(facts: Facts, function: Callable[..., Part | Names]) -> Part | Unavailable:
    try:
        told = facts.call(function)
    except Unavailable as reason:
        return reason
    return {item if isinstance(item, Item) else Item("", item): value for item, value in told.items() if value}


def _loaded(loaded: LoadedDriver) -> Names:
    return {"loaded module": ", ".join(filter(None, (loaded.version, loaded.flavour)))}


def _driver(versions: DriverVersions) -> Names:
    return {
        "module on disk": versions.on_disk,
        "libraries": versions.user_space,
        "packages": versions.packaged,
        "module of the kernel that boots next": versions.next_boot,
    }


def _modules(files: ModuleFiles) -> Names:
    """Of each kernel the module that modprobe would load."""
    first: dict[str, ModuleFile] = {}
    for file in files.files:
        first.setdefault(file.kernel, file)
    return {f"module for {kernel}": _words_of_module(file) for kernel, file in first.items()}


def _words_of_module(file: ModuleFile) -> str:
    return f"{file.version or 'no version'} ({', '.join(filter(None, (file.flavour, file.origin)))})"


def _dkms(dkms: Dkms) -> Names:
    found: dict[str, str] = {}
    for source in dkms.sources:
        found[f"DKMS source {source.module}/{source.version}"] = (
            "registered" if source.source_present else "files missing"
        )
        for build in source.builds:
            found[f"DKMS build of {source.module}/{source.version} for {build.kernel}"] = build.state
    return found


def _system(system: OperatingSystem, confinement: Confinement | Unavailable) -> Names:
    inside = confinement if isinstance(confinement, Confinement) else Confinement("", False)
    return {
        "distribution": system.pretty_name or f"{system.id} {system.version}".strip(),
        "inside": "WSL" if inside.wsl else inside.container and f"{inside.container} container",
    }


def _kernel(kernel: Kernel, kernels: InstalledKernels | Unavailable) -> Names:
    found = {"kernel": kernel.release if kernel.running else f"{kernel.release}, not running"}
    if isinstance(kernels, InstalledKernels):
        found["boots next"] = kernels.next_boot
        found |= {one.release: _words_of(one) for one in kernels.kernels}
    return found


def _words_of(kernel: InstalledKernel) -> str:
    return f"installed, {'with' if kernel.headers else 'without'} headers{'' if kernel.initramfs else ', no initramfs'}"


def _packages(packages: Packages) -> Names:
    installed = packages.installed()
    names = [package.name for package in installed]
    return {
        package.name if names.count(package.name) == 1 else f"{package.name}:{package.architecture}": _version_of(
            package
        )
        for package in installed
    }


def _version_of(package: Package) -> str:
    state = "" if package.state == "installed" else f" ({package.state})"
    return f"{package.version or 'no version'}{state}{' (held back)' if package.hold else ''}"


def _toolkits(toolkits: CudaToolkits) -> Names:
    found = {one.folder: f"CUDA {one.version}" if one.version else "a CUDA toolkit" for one in toolkits.toolkits}
    if link := toolkits.default_link:
        found["/usr/local/cuda"] = f"leads to {link.real_folder}" if link.real_folder else "leads to nothing"
    if nvcc := toolkits.on_path:
        found["nvcc on PATH"] = nvcc.leads_to or nvcc.path
    return found


def _libraries(cudnn: CudnnLibraries, nccl: NcclLibraries) -> Names:
    """What a program without libraries of its own gets."""
    taken = [*cudnn.taken, *([nccl.taken] if nccl.taken else [])]
    return {one.soname: f"{one.version or 'no version'} ({one.path})" for one in taken}


def _gpus(gpus: PciGpus) -> Names:
    found = {
        gpu.address: f"{gpu.label}, {f'driver {gpu.driver}' if gpu.driver else 'no driver'}"
        + ("" if gpu.readable else ", gone from the bus")
        for gpu in gpus.gpus
    }
    return {**found, SWITCHES: str(gpus.nvswitches) if gpus.nvswitches else ""}


def _answers(nvml: Nvml) -> Names:
    """By bus address where NVML gives one: its own numbers move when a GPU is lost."""
    if nvml.return_code:
        return {"NVML": nvml.return_name}
    return {
        gpu.pci_address or f"GPU {gpu.number}": gpu.return_name if gpu.return_code else f"{gpu.name}, answers"
        for gpu in nvml.gpus
    }


def _pythons(environments: PythonEnvironments, builds: FrameworkBuilds | Unavailable) -> Part:
    told = {(one.environment.prefix, one.distribution.name): one for one in _builds(builds)}
    found: dict[Item, str] = {}
    for one in environments.environments:
        version = one.full_version or one.version
        found[Item(one.prefix, "")] = f"Python {version}" if version else "Python"
        # The number of a process tells nothing tomorrow.
        found[Item(one.prefix, FOUND_BY)] = ", ".join(dict.fromkeys(by.rstrip("0123456789 ") for by in one.found_by))
        for distribution in one.distributions:
            build = told.get((one.prefix, distribution.name))
            version = (build.version if build else "") or distribution.version or "no version"
            words = build.cuda_words if build else ""
            found[Item(one.prefix, distribution.name)] = f"{version} ({words})" if words else version
    return found


def _builds(builds: FrameworkBuilds | Unavailable) -> tuple[FrameworkBuild, ...]:
    return builds.builds if isinstance(builds, FrameworkBuilds) else ()


def _variables(environment: Environment) -> Names:
    if environment.unknown:
        raise Unavailable(environment.unknown)
    return environment.variables


def _settings(
    environment: Environment | Unavailable,
    modprobe: ModprobeConfig | Unavailable,
    loader: LoaderConfig | Unavailable,
    nccl: NcclSettings | Unavailable,
) -> Names:
    """What files set. Numbers of lines are left out: a comment more above is no change."""
    told = (environment, modprobe, loader, nccl)
    for reason in told:
        if isinstance(reason, Unavailable) and all(isinstance(one, Unavailable) for one in told):
            raise reason
    found: dict[str, list[str]] = {}
    for name, value in _set(environment, modprobe, loader, nccl):
        found.setdefault(name, []).append(value)
    return {name: "; ".join(values) for name, values in found.items()}


def _set(
    environment: Environment | Unavailable,
    modprobe: ModprobeConfig | Unavailable,
    loader: LoaderConfig | Unavailable,
    nccl: NcclSettings | Unavailable,
) -> Iterator[tuple[str, str]]:
    if isinstance(environment, Environment):
        for setting in environment.settings:
            yield f"{setting.path}: {setting.name}", setting.value or '""'
    if isinstance(modprobe, ModprobeConfig):
        for line in modprobe.lines:
            yield f"{line.path}: {line.directive}{f' {line.module}' if line.module else ''}", line.rest or "set"
        if modprobe.prime:
            yield "/etc/prime-discrete", modprobe.prime
    if isinstance(loader, LoaderConfig):
        for folder in loader.folders:
            yield f"{folder.path}: {folder.folder}", "searched for libraries"
    if isinstance(nccl, NcclSettings):
        for one in nccl.settings:
            path, colon, _ = one.source.rpartition(":")
            if colon:
                yield f"{path}: {one.name}", one.value or '""'


def _parameters(loaded: LoadedDriver) -> Names:
    return loaded.parameters


def _secure_boot(secure_boot: SecureBoot) -> Names:
    return {"Secure Boot": "on" if secure_boot.enabled else "off", "lockdown": secure_boot.lockdown}


def _containers(toolkit: ContainerToolkit, specifications: CdiSpecifications) -> Names:
    programs = {"nvidia-ctk": toolkit.command, "runtime hook": toolkit.hook, "runtime": toolkit.runtime}
    return {**programs, **{one.path: _words_of_cdi(one) for one in specifications.specifications}}


def _words_of_cdi(one: CdiSpecification) -> str:
    missing = f", {len(one.missing)} missing" if one.missing else ""
    return f"{len(one.devices)} devices of driver {one.version or 'unknown'}{missing}"


_PARTS: Mapping[str, Callable[..., Part | Names]] = {
    "system": _system,
    GPUS: _gpus,
    "GPUs' answers": _answers,
    "loaded driver": _loaded,
    "driver": _driver,
    "kernel": _kernel,
    "modules": _modules,
    "DKMS": _dkms,
    "packages": _packages,
    TOOLKITS: _toolkits,
    "CUDA libraries": _libraries,
    PYTHONS: _pythons,
    "containers": _containers,
    "environment variables": _variables,
    SETTINGS: _settings,
    "module parameters": _parameters,
    "firmware": _secure_boot,
}
