"""Ready-made kernel modules: Ubuntu's signed ones, SUSE's KMPs, and those of NVIDIA's repository and Arch."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.driver_packages import READY_MODULES, Part, driver_packages, released_together, ubuntu_modules
from gpudoctor.facts.kernel_headers import kernel_metas
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager, install, reinstall, remove, replace, upgrade
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import after_package_change, lacking, load
from ._packaging import back_to, change, finish_first, targets
from ._proofs import installed, module_for, removed
from ._scope import by_hand_if_unsafe, kernel_release, own_driver

WITH_UBUNTU_KERNELS = ("ubuntu", "linuxmint", "neon", "zorin", "elementary")


def module_series(packages: Packages, gpus: PciGpus | Unavailable) -> str:
    """What stands between "linux-modules-nvidia-" and the kernel on Ubuntu: "580-server-open"; "" if nothing tells."""
    user_space = [p.name.removeprefix("libnvidia-compute-") for p in packages.installed()]
    series = next((name for name in user_space if name.partition("-")[0].isdigit() and len(name) < 12), "")
    for ready in ubuntu_modules(packages):
        if ready.series in (series, f"{series}-open"):
            return ready.series
    names = {package.name for package in packages.installed()}
    modules = {gpu.module for gpu in gpus.gpus} if isinstance(gpus, PciGpus) else set()
    open_module = f"nvidia-dkms-{series}-open" in names or f"nvidia-driver-{series}-open" in names
    if series and (open_module or "open-only" in modules):
        return f"{series}-open"
    return series


def prebuilt_names(series: str, release: str, packages: Packages) -> tuple[str, ...]:
    """The package for this kernel, and those that bring it with every later one. Raises UnsafeWord."""
    metas = [name.removeprefix("linux-image-") for name in kernel_metas(release, packages)]
    return (
        f"{READY_MODULES}{series}-{kernel_release(release)}",
        *(f"{READY_MODULES}{series}-{meta}" for meta in metas),
    )


@fix(
    "install-prebuilt-module",
    cures=["kernel.prebuilt-module-missing", "kernel.module-missing", "kernel.next-boot-module-missing"],
    effort=Effort.BUILD_MODULE,
)
@by_hand_if_unsafe
def install_prebuilt_module(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages,
    gpus: PciGpus | Unavailable,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Install Ubuntu's ready-made module for the kernels that lack it, and the package that follows the kernel."""
    if not own_driver(confinement) or manager.kind != "apt" or system.of_debian:
        return
    if not any(package.name.startswith(READY_MODULES) for package in packages.installed()):
        return
    series, bare = module_series(packages, gpus), lacking(kernel, kernels, files)
    if not series or not bare:
        return
    yield from finish_first(manager, packages)
    for release in bare:
        names = prebuilt_names(series, release, packages)
        new = tuple(name for name in names if packages.get(name) is None)
        yield from change(
            manager,
            # A package that is there, and its module is not, has to be unpacked anew.
            install(manager, names) if names[0] in new else reinstall(manager, names[:1]),
            f"Ubuntu has a signed module for kernel {release}; {names[-1]} brings one with every later kernel.",
            module_for(release, "nvidia"),
            Run(remove(manager, new)) if new else back_to(released_together(packages)),
        )
    if kernel.release in bare:
        yield from load(kernel, driver, modules)


@fix("upgrade-prebuilt-module", cures=["kernel.module-stale"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def upgrade_prebuilt_module(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    files: ModuleFiles,
    packages: Packages,
    gpus: PciGpus | Unavailable,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
) -> Iterator[Step]:
    """Upgrade Ubuntu's ready-made module that stayed behind while the libraries moved on."""
    if not own_driver(confinement) or manager.kind != "apt" or system.id not in WITH_UBUNTU_KERNELS:
        return
    series = module_series(packages, gpus)
    if not series or packages.get(f"{READY_MODULES}{series}-{kernel_release(kernel.release)}") is None:
        return
    module = next(iter(files.of(kernel.release)), None)
    if module is None or module.origin != "prebuilt" or module.version in ("", versions.user_space):
        return
    names = prebuilt_names(series, kernel.release, packages)
    yield from finish_first(manager, packages)
    yield from change(
        manager,
        install(manager, names),
        f"The libraries are {versions.user_space}, the ready-made module is {module.version}: it is upgraded, or comes "
        "with the newest kernel.",
        installed(manager, names),
        Manual(f"Install the versions from before again, if the repositories have them: {', '.join(names)}."),
    )
    yield from after_package_change(kernel, driver, versions.user_space)


@fix(
    "sign-by-prebuilt-module",
    cures=["kernel.secure-boot-blocks-module", "kernel.mok-enrolment-pending"],
    effort=Effort.FINISH_PACKAGES,
)
@by_hand_if_unsafe
def sign_by_prebuilt_module(
    confinement: Confinement,
    manager: PackageManager,
    system: OperatingSystem,
    kernel: Kernel,
    packages: Packages,
    gpus: PciGpus | Unavailable,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Take Ubuntu's signed module in place of the one that was built here: no key has to be enrolled."""
    if not own_driver(confinement) or manager.kind != "apt" or system.id not in WITH_UBUNTU_KERNELS:
        return
    series = module_series(packages, gpus)
    built = tuple(p.name for p in packages.installed() if p.name.startswith("nvidia-dkms-"))
    if not series or not built:
        return
    # The driver's own packages are named too: where they cannot do without DKMS the trial fails, and nothing is lost.
    keep = tuple(p.name for p in packages.installed() if p.name.startswith(("nvidia-driver-", "nvidia-headless-")))
    new = prebuilt_names(series, kernel.release, packages)
    argv = replace(manager, (*new, *keep), built)
    back = replace(manager, (*built, *keep), tuple(name for name in new if packages.get(name) is None))
    if argv is None or back is None:
        return
    yield from finish_first(manager, packages)
    yield from change(
        manager,
        argv,
        "Ubuntu signs its own modules with a key that the firmware trusts already; the one that DKMS built lies in "
        "front of it and has to go.",
        module_for(kernel.release, "nvidia"),
        Run(back),
        risk=Risk.HIGH,
    )
    yield from load(kernel, driver, modules)


@fix("keep-one-module", cures=["packages.dkms-and-prebuilt"], effort=Effort.FINISH_PACKAGES)
@by_hand_if_unsafe
def keep_one_module(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    packages: Packages,
) -> Iterator[Step]:
    """Keep one source of the module: the ready-made one where it covers the kernels, else DKMS."""
    if not own_driver(confinement) or manager.kind != "apt":
        return
    names = [package.name for package in packages.installed()]
    built = tuple(name for name in names if name.startswith("nvidia-dkms-"))
    ready = tuple(name for name in names if name.startswith(READY_MODULES))
    wanted = [release for release in dict.fromkeys((kernel.release, kernels.next_boot)) if release]
    if not built or not ready:
        return
    covered = all(any(name.endswith(f"-{release}") for name in ready) for release in wanted)
    keep = tuple(name for name in names if name.startswith(("nvidia-driver-", "nvidia-headless-")))
    old, stays = (built, (*ready, *keep)) if covered else (ready, (*built, *keep))
    argv, back = replace(manager, stays, old), replace(manager, (*stays, *old), ())
    if argv is None or back is None:
        return
    reason = "signed, and there for every kernel in use" if covered else "missing for a kernel in use"
    yield from change(
        manager,
        argv,
        f"Two sources of one module drift apart at the next kernel. The ready-made one is {reason}, so "
        f"{', '.join(old[:3])} goes.",
        removed(manager, old),
        Run(back),
        risk=Risk.HIGH,
    )


@fix(
    "reinstall-module-package",
    cures=["kernel.module-missing", "kernel.next-boot-module-missing", "kernel.prebuilt-module-missing"],
    effort=Effort.BUILD_MODULE,
)
@by_hand_if_unsafe
def reinstall_module_package(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    packages: Packages,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Renew the package that carries a ready-made module for this kernel."""
    if not own_driver(confinement) or manager.kind not in ("dnf", "zypper", "pacman"):
        return
    bare = lacking(kernel, kernels, files)
    members = [
        member
        for member in driver_packages(packages)
        if member.part in (Part.MODULE, Part.READY_MODULE) and "dkms" not in member.name.split("-")
    ]
    if not bare or not members or any(member.name.startswith("akmod-nvidia") for member in members):
        return
    names = targets(members, packages)
    argv = reinstall(manager, names) if manager.kind == "zypper" else upgrade(manager, names)
    whole = " Arch is upgraded as a whole, so that kernel and module fit." if manager.kind == "pacman" else ""
    yield from change(
        manager,
        argv,
        f"{', '.join(names)} carries the module and has none for kernel {bare[0]}; renewed, it links or brings one."
        + whole,
        # On Arch the upgrade may bring another kernel, whose name is not known yet.
        Run(("pacman", "-Qk", *names)) if manager.kind == "pacman" else module_for(bare[0], "nvidia"),
        back_to(members) if manager.kind != "zypper" else Manual("The same package is installed again."),
    )
    if manager.kind == "pacman":
        yield from after_package_change(kernel, driver)
    elif kernel.release in bare:
        yield from load(kernel, driver, modules)
