"""The compiler that a kernel was built with, without which no module can be built for it."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Run, Step, Unavailable, fix
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager, install, remove
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions

from ._build import build_steps, version_to_build
from ._modules import lacking, load
from ._packaging import change, configure_all, waiting
from ._proofs import there
from ._scope import by_hand_if_unsafe, own_driver


@fix("install-compiler", cures=["kernel.compiler-mismatch"], effort=Effort.BUILD_MODULE)
@by_hand_if_unsafe
def install_compiler(
    confinement: Confinement,
    manager: PackageManager,
    kernel: Kernel,
    kernels: InstalledKernels,
    files: ModuleFiles,
    compilers: HostCompilers,
    dkms: Dkms,
    packages: Packages,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Install the compiler that the kernel was built with, and build the module with it."""
    if not own_driver(confinement) or kernel.compiler is None:
        return
    name, major = kernel.compiler.name, kernel.compiler.major
    if name != "gcc":
        yield Step(
            Manual(f"Install {name} {major} and lld, which built this kernel, and build the module with them."),
            f"A kernel that was built by {name} needs its modules from {name}.",
            Phase.INSTALL,
        )
        return
    if major not in (compilers.default, *compilers.versions):
        if not manager.kind:
            return
        package, path = _package(manager, major)
        # Nothing is finished first: what is half configured waits for just this compiler, and apt-get then goes on.
        yield from change(
            manager,
            install(manager, (package,)),
            f"This kernel was built by gcc {major}, which is not installed; modules need the same one.",
            there(path),
            Run(remove(manager, (package,))),
        )
    elif compilers.default != major:
        yield Step(
            Manual(
                f"Set plain gcc back to gcc-{major}: `update-alternatives --display gcc` shows who changed it, "
                f"`update-alternatives --set gcc /usr/bin/gcc-{major}` sets it."
            ),
            f"This kernel was built by gcc {major}, and plain gcc is {compilers.default} here; other programs may "
            "count on that.",
            Phase.CONFIGURE,
        )
    if manager.kind == "apt" and waiting(packages):
        # After the compiler, not before: without it the module's package fails once more.
        yield configure_all(packages)._replace(phase=Phase.CONFIGURE)
    bare = lacking(kernel, kernels, files)
    yield from build_steps(bare, kernel, dkms, files, packages, versions)
    if kernel.release in bare:
        yield from load(kernel, driver, modules, version_to_build(dkms, packages, versions))


def _package(manager: PackageManager, major: int) -> tuple[str, str]:
    """The package with this compiler, and where it puts it."""
    match manager.kind:
        case "apt":
            return f"gcc-{major}", f"/usr/bin/gcc-{major}"
        case "zypper":
            return f"gcc{major}", f"/usr/bin/gcc-{major}"
        case _:
            return "gcc", "/usr/bin/gcc"
