"""The driver that was asked for with `fix --to driver= --runfile`: NVIDIA's own installer, on a machine without
packages of the driver.
"""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager, install, remove
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.wanted import Request
from gpudoctor.request_limits import driver_obstacle

from ._build import has_headers, header_steps
from ._driver_choice import flavours
from ._driver_steps import is_by_hand
from ._ground import Ground
from ._last_proofs import framework_steps, with_proof
from ._modules import RIVALS, forbid, refresh_initramfs, restart
from ._packaging import change, finish_first
from ._proofs import gone, installed, loaded_version, module_for
from ._runfiles import checked, run, start_display, stop_display, stop_services
from ._scope import by_hand_if_unsafe, kernel_release

# The releases of NVIDIA's installer that brought these options (its option_table.h).
_OPEN_MODULES = (515,)
_MODULE_TYPE = (555, 42, 2)
_BESIDE_A_DRIVER = (545, 23, 6)
_SPARE = 1 << 30  # bytes


@fix("run-driver-installer", cures=["request.driver"], effort=Effort.CHANGE_BRANCH)
@by_hand_if_unsafe
def run_driver_installer(
    ground: Ground, builds: FrameworkBuilds | Unavailable, compute: ComputeGpus | Unavailable
) -> Iterator[Step]:
    """Install the driver from NVIDIA's .run file: headers and compiler, screen off, installer, screen on."""
    request = ground.wanted.get("driver")
    if request is None or not request.runfile or not ground.kernel.running:
        return
    if driver_obstacle(request, ground.gpus, ground.confinement, ground.packages, ground.archive) is not None:
        return
    made = tuple(_steps(request, ground)) if has_room(ground.archive) else (no_room(ground.archive),)
    if not is_by_hand(made):
        made = (*made, *framework_steps(ground.archive.version, builds, compute))
    yield from with_proof(made, "driver", ground.archive.version, ground, builds)


def _steps(request: Request, ground: Ground) -> Iterator[Step]:
    version = ground.archive.version
    rivals = [name for name in RIVALS if isinstance(ground.modules, LoadedModules) and name in ground.modules.users]
    loaded = isinstance(ground.driver, LoadedDriver) and ground.driver.loaded
    # nouveau cannot be taken out while it shows the screen: it is forbidden first, and the rest comes after a restart.
    # Otherwise all that happens without a screen is of one phase, and is taken back at once if a step of it fails.
    phase = Phase.AFTERWARDS if rivals else Phase.RELOAD
    yield checked(ground.archive.path)
    yield from finish_first(ground.manager, ground.packages)
    yield from _tools(ground)
    if rivals:
        yield from _forbid(rivals, ground)
    yield from stop_display(ground, phase)
    yield from stop_services(ground, phase)
    yield _installation(request, ground, loaded, phase)
    if loaded:
        yield restart(
            "The module of before may still be loaded; the display manager comes up with the new one.", version
        )
    else:
        yield _loaded(version, phase)
        yield from start_display(ground, phase)


def has_room(archive: RequestedRunfile) -> bool:
    """Can the file be unpacked somewhere, and what is in it be installed? Yes, where its size is not known."""
    free = dict(archive.free)
    somewhere = max((free.get(folder, 0) for folder in ("/tmp", "/var/tmp")), default=0)
    return not archive.unpacked or min(somewhere, free.get("/usr", somewhere)) >= archive.unpacked + _SPARE


def no_room(archive: RequestedRunfile) -> Step:
    free = ", ".join(f"{folder} {size / _SPARE:.1f} GiB" for folder, size in archive.free)
    return Step(
        Manual(
            f"Make room first: {archive.path} unpacks to {archive.unpacked / _SPARE:.1f} GiB, in /tmp or /var/tmp and "
            f"again in /usr, and free are: {free}."
        ),
        "An installer that runs out of space leaves half of what it brings.",
        Phase.SIMULATE,
        root=False,
    )


def temporary(archive: RequestedRunfile) -> tuple[str, ...]:
    """The option that names another folder to unpack in, where /tmp is too small."""
    free = dict(archive.free)
    enough = not archive.unpacked or free.get("/tmp", 0) >= archive.unpacked + _SPARE
    if enough:
        return ()
    # The driver's file takes the folder as a word of its own, the toolkit's does not.
    return ("--tmpdir", "/var/tmp") if archive.kind == "driver" else ("--tmpdir=/var/tmp",)


def _tools(ground: Ground) -> Iterator[Step]:
    """What the installer compiles with. It compiles for the running kernel only."""
    release = ground.kernel.release
    if ground.manager.kind and not has_headers(ground.kernels, release):
        yield from header_steps((release,), ground.manager, ground.system, ground.packages)
    if isinstance(ground.compilers, Unavailable) or ground.compilers.default is not None or not ground.manager.kind:
        return
    names = _compiler_packages(ground.manager)
    yield from change(
        ground.manager,
        install(ground.manager, names),
        "NVIDIA's installer compiles the module, and there is no C compiler here.",
        installed(ground.manager, names),
        Run(remove(ground.manager, names)),
    )


def _compiler_packages(manager: PackageManager) -> tuple[str, ...]:
    return ("gcc", "make", "libc6-dev") if manager.kind == "apt" else ("gcc", "make")


def _forbid(rivals: list[str], ground: Ground) -> Iterator[Step]:
    yield forbid(rivals, f"{' and '.join(rivals)} holds the GPU; NVIDIA's installer refuses to work beside it.")
    yield refresh_initramfs(ground.kernels.next_boot or ground.kernel.release, ground.system, ground.kernels, None)
    why = (
        "After this restart nothing holds the GPU, and the installation goes on; until then the screen is a plain one."
    )
    yield restart(why, risk=Risk.HIGH)._replace(verify=gone(f"/sys/module/{rivals[0]}"))


def _installation(request: Request, ground: Ground, loaded: bool, phase: Phase) -> Step:
    version, archive = version_key(ground.archive.version), ground.archive
    flavour = flavours(ground, archive.version)[0]
    options = ["--silent"]
    if ground.dkms.installed:
        options.append("--dkms")
    if not request.opengl:
        options.append("--no-opengl-files")
    if version >= _MODULE_TYPE:
        options.append(f"--kernel-module-type={flavour}")
    elif flavour == "open" and version >= _OPEN_MODULES:
        options.append("-m=kernel-open")
    if loaded and version >= _BESIDE_A_DRIVER:
        options.append("--allow-installation-with-running-driver")
    later = (
        "DKMS builds it for every later kernel."
        if ground.dkms.installed
        else "Without DKMS no later kernel gets it by itself: install dkms first, if kernels are upgraded here."
    )
    signed = isinstance(ground.secure_boot, SecureBoot) and ground.secure_boot.enabled
    key = " Secure Boot is on: only a module that DKMS signed with an enrolled key will load." if signed else ""
    release = kernel_release(ground.kernel.release)
    return Step(
        Run(run(archive.path, *options, *temporary(archive))),
        f"NVIDIA's installer of driver {archive.version} compiles the {flavour} kernel module for {release}. "
        f"{later}{key}",
        phase,
        Risk.HIGH,
        verify=module_for(release, "nvidia"),
        undo=Run(("nvidia-uninstall", "--silent")),
    )


def _loaded(version: str, phase: Phase) -> Step:
    return Step(
        Run(("modprobe", "-a", "nvidia", "nvidia_uvm")),
        "The module is there now and can be loaded; no further restart is needed.",
        phase,
        Risk.LOW,
        verify=loaded_version(version),
        undo=Run(("modprobe", "-r", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia")),
    )
