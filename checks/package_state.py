"""Was the package manager stopped half-way, was the disk full, does the system wait for a restart?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.package_log import PackageManagerLog
from gpudoctor.facts.package_names import concerns_gpu
from gpudoctor.facts.package_run import PackageRun
from gpudoctor.facts.packages import UNFINISHED, Packages
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._boot import do_not_restart
from ._gpus import gpu_works
from ._kernels import event_evidence
from ._package_words import manager_of, on_the, some, states_of
from ._scope import own_driver
from ._surroundings import IMAGE_BUILD

_MEGABYTE = 1_000_000
_FULL = 50 * _MEGABYTE  # no package can be unpacked, no initramfs written
# An upgrade of driver and kernel needs some hundred megabytes; an initramfs with the driver in it takes most of /boot.
_TIGHT: Mapping[str, int] = {"/": 500 * _MEGABYTE, "/var": 500 * _MEGABYTE, "/boot": 60 * _MEGABYTE}
_NO_SPACE = "No space left on device"
# Any program meets a full disk: a training run, a download, the build of an image. Of packages are these.
_OF_PACKAGES = (
    r"(/boot/|/usr/|/lib/modules/|/var/(cache|lib)/(apt|dpkg|dnf|yum|libdnf5|rpm|zypp|pacman|dkms|akmods)\b"
    r"|\b(dpkg|apt-get|apt|rpm|dnf|yum|zypper|pacman|(mk|update-)initramfs|mkinitcpio|dracut|depmod|dkms)"
    r"(\[\d+\])?[: ])"
)
_INSTALLING = (
    r"dpkg: |Sub-process /usr/bin/dpkg|(mk|update-)initramfs|mkinitcpio|\bdracut\b|\bdepmod\b|\bdkms\b|\bakmods\b"
    r"|Setting up \S+ \(|Unpacking \S+ \(|unpacking of archive|error: rpmdb|\bTransaction (test|check)"
)
_OTHERS = rf"{IMAGE_BUILD}|huggingface|safetensors|torch\.save|save_pretrained"
_OF_NOBODY_ELSE = (
    r"(?!.*(Errno 28|file watchers|shared memory|(?<![\w.])"
    r"/(dev/shm|data\w*|home|mnt|media|scratch|workspace|root|srv|opt|tmp/(?!cc|mkinit|dracut))))"
)


@check(
    "packages.half-configured",
    severity=Severity.ERROR,
    after=[
        "kernel.driver-too-old-for-kernel",
        "kernel.module-build-failed",
        "kernel.compiler-mismatch",
        "packages.overwrite-conflict",
        "packages.disk-full",
    ],
    symptoms=[
        r"dpkg: error processing package (\S*nvidia|dkms|linux-(image|headers|modules))\S* \(--configure\)",
        r"dpkg was interrupted, you must manually run '(sudo )?dpkg --configure -a'",
        r"dpkg: dependency problems prevent configuration of \S*nvidia",
        r"\bi[FUH] +\S*nvidia",
        hint(r"Errors were encountered while processing: \S*(nvidia|dkms)"),
        hint(r"Sub-process /usr/bin/dpkg returned an error code"),
        r"\(\S*(nvidia|kmod|dkms)\S*\) scriptlet failed",
        r"Error in \w+ scriptlet in rpm package \S*(nvidia|kmod)",
        likely(r"command failed to execute correctly", beside=r"nvidia"),
        likely(r"very bad inconsistent state", beside=r"nvidia|dkms"),
        r"dpkg-divert: error: .{0,150}\bby (lib)?nvidia",
    ],
)
def half_configured(
    confinement: Confinement,
    packages: Packages,
    runfile: RunfileTraces | Unavailable,
    space: FreeSpace | Unavailable,
    log: PackageManagerLog | Unavailable,
    history: PackageHistory | Unavailable,
    kernels: InstalledKernels | Unavailable,
    run: PackageRun | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """Packages of the driver or the kernel are only half installed.

    What: the package manager was stopped in the middle: by a script that failed, a full disk, a
    power cut or somebody's Ctrl-C. Files of two versions may lie side by side, the module may be
    deleted and not built yet, and until this is finished no other package can be installed.

    Proof: their states in /var/lib/dpkg/status (`dpkg --audit`), and a run without an end in
    /var/log/apt/history.log.

    Repair: `dpkg --configure -a` takes the work up where it stopped (building the module takes
    minutes); if it fails, its own message names the cause. Then `apt-get --fix-broken install`. Do
    not delete /var/lib/dpkg/lock files or the entries of packages.

    Reference: dpkg(1), "Package states"; https://github.com/instructlab/instructlab/issues/3241
    """
    own_driver(confinement)
    broken = packages.unfinished()
    telling = [package for package in broken if concerns_gpu(package.name)]
    if not telling:
        return
    if isinstance(run, PackageRun) and run.command:
        yield Finding(
            f"{run.command} (process {run.process_id}) is changing packages right now, and has not finished "
            f"{some(package.name for package in telling)}.",
            telling[0].name,
            (Evidence("/proc/locks", f"{run.command}, process {run.process_id}"), states_of(packages, telling)),
            "Wait until it has ended, then run gpudoctor again. Do not interrupt it, and do not restart the machine.",
            Severity.WARNING,
        )
        return
    states = {state: [package for package in telling if package.state == state] for state in UNFINISHED}
    events = history.events if isinstance(history, PackageHistory) else ()
    cut = next((event for event in reversed(events) if not event.complete), None)
    names = [package.name for package in telling]
    lines = log.matching("error processing", "Bad return status") if isinstance(log, PackageManagerLog) else ()
    errors = [line for line in lines if line.latest]
    others = len(broken) - len(telling)
    yield Finding(
        "Packages are only half installed: "
        + "; ".join(f"{state}: {some(package.name for package in found)}" for state, found in states.items() if found)
        + (f" (and {others} others)" if others else "")
        + (f". The run {on_the(cut)} was interrupted." if cut else "."),
        names[0],
        (
            *(states_of(packages, found) for found in states.values() if found),
            *((event_evidence(cut),) if cut else ()),
            *(Evidence(line.source, f"{line.when} {line.text}".strip()) for line in errors[-1:]),
        ),
        _finishing(packages, names, runfile, space) + do_not_restart(kernels),
        Severity.WARNING if gpu_works(nvml, cuda) else None,
    )


def _finishing(
    packages: Packages, names: Sequence[str], runfile: RunfileTraces | Unavailable, space: FreeSpace | Unavailable
) -> str:
    if packages.manager == "pacman":
        return f"Install them again together with all upgrades: `pacman -Syu {' '.join(names)}`."
    first = ""
    full = _below(space, dict.fromkeys(("/", "/boot", "/var", "/usr"), _FULL)) if isinstance(space, FreeSpace) else ()
    if full:
        first = f"First make room on {' and '.join(full)}. "
    elif isinstance(runfile, RunfileTraces) and runfile.paths and "nvidia-installer-cleanup" in names:
        how = f"`{runfile.uninstaller}`" if runfile.uninstaller else "the .run file's `--uninstall`"
        first = f"nvidia-installer-cleanup stops because a driver from a .run file is there: first run {how}. "
    return (
        f"{first}`dpkg --configure -a` takes it up where it stopped; a module that is built then takes minutes. If "
        f"something is missing after that: `apt-get --fix-broken install` (first with `-s`)."
    )


def _below(space: FreeSpace, limits: Mapping[str, int]) -> dict[str, int]:
    return {path: free for path, free in space.free.items() if free < limits.get(path, 0)}


@check(
    "packages.disk-full",
    severity=Severity.ERROR,
    symptoms=[
        likely(rf"{_OF_PACKAGES}.{{0,200}}No space left on device", without=_OTHERS),
        likely(rf"No space left on device: *\W{{0,3}}{_OF_PACKAGES}", without=_OTHERS),
        likely(rf"^{_OF_NOBODY_ELSE}.*No space left on device", beside=_INSTALLING, without=_OTHERS),
        likely(r"No space left on device\W+(run-parts: /etc/kernel|dpkg: error processing)"),  # a hook's own program
        hint(r"^\W*((fatal|error): )?No space left on device\W*$", without=_OTHERS),
        r"You don't have enough free space in /",
        r"more space needed on the \S+ filesystem",
        r"Partition \S+ too full",
        likely(rf"^{_OF_NOBODY_ELSE}.*\bENOSPC\b", beside=_INSTALLING, without=_OTHERS),
        r"not enough free disk space|Not enough space left in /",
        r"will not function properly without some free space in",
    ],
)
def disk_full(
    confinement: Confinement,
    space: FreeSpace,
    packages: Packages,
    system: OperatingSystem,
    kernel: Kernel | Unavailable,
    kernels: InstalledKernels | Unavailable,
    log: PackageManagerLog | Unavailable,
) -> Iterator[Finding]:
    """There is no room left for packages, or soon there will be none.

    What: an upgrade of the driver unpacks some hundred megabytes, builds a module, and writes an
    initramfs for each kernel to /boot. Where the disk fills up on the way, packages stay half
    installed, the initramfs is cut short, and the GPU (or the machine) does not come up again.

    Proof: free space of /, /boot, /var and /usr; packages that are half installed; "No space left
    on device" in the package manager's log.

    Repair: delete downloaded packages, then old kernels by their packages (keep the running one and
    one more), then let the package manager finish. Never delete files in /boot or /var/lib by hand.

    Reference: df(1), apt-get(8) (clean, autoremove)
    """
    own_driver(confinement)
    full = _below(space, dict.fromkeys(space.free, _FULL))
    short = _below(space, _TIGHT)
    broken = packages.unfinished()
    lines = log.matching(_NO_SPACE) if isinstance(log, PackageManagerLog) else ()
    lines = tuple(line for line in lines if line.latest)
    # What dpkg could not unpack it deletes again, so after the failure there is some room.
    stopped = (full and (broken or lines)) or (short and broken and lines)
    if not stopped and not (short and driver_packages(packages)):
        return
    tight = (full or short) if stopped else short
    places = [f"{free // _MEGABYTE} MB on {' and '.join(paths)}" for free, paths in _grouped(tight)]
    what = "packages are half installed" if broken else "an installation failed for it"
    yield Finding(
        f"There is hardly any room left: {', '.join(places)}"
        + (f"; {what}." if stopped else "; the next upgrade of the driver or the kernel can fail half-way."),
        next(iter(tight)),
        (
            *(Evidence(" and ".join(paths), f"{free // _MEGABYTE} MB free") for free, paths in _grouped(tight)),
            *((states_of(packages, broken),) if stopped and broken else ()),
            *(Evidence(line.source, f"{line.when} {line.text}".strip()) for line in lines[-1:]),
        ),
        _making_room(manager_of(packages, system), _dispensable(kernel, kernels), tight)
        + (" Then `dpkg --configure -a`." if broken and packages.manager == "dpkg" else "")
        + do_not_restart(kernels),
        None if stopped else Severity.WARNING,
    )


def _grouped(free: Mapping[str, int]) -> list[tuple[int, list[str]]]:
    """Folders on one file system have the same number, and are told once."""
    numbers = dict.fromkeys(free.values())
    return [(number, [path for path, own in free.items() if own == number]) for number in numbers]


def _dispensable(kernel: Kernel | Unavailable, kernels: InstalledKernels | Unavailable) -> list[str]:
    """Kernels that are neither running, nor next, nor the newest."""
    if isinstance(kernel, Unavailable) or isinstance(kernels, Unavailable):
        return []
    keep = (kernel.release, kernels.next_boot, *(one.release for one in kernels.kernels[:1]))
    return [one.release for one in kernels.kernels if one.release not in keep]


def _making_room(manager: str, old: Sequence[str], tight: Iterable[str]) -> str:
    clean = "" if {*tight} == {"/boot"} else "Delete downloaded packages (`{}`)"
    match manager:
        case "apt-get":
            kernels = f"`apt-get remove {' '.join(f'linux-image-{release}' for release in old)}`"
            how = clean.format("apt-get clean")
        case "dnf":
            kernels, how = "`dnf remove --oldinstallonly`", clean.format("dnf clean packages")
        case "zypper":
            kernels, how = "`zypper purge-kernels`", clean.format("zypper clean")
        case "pacman":
            kernels, how = "`pacman -R` with their packages", clean.format("pacman -Sc")
        case _:
            kernels, how = "their packages", clean and "Delete downloaded packages"
    if old:
        how += f"{', and remove' if how else 'Remove'} kernels that are no longer booted ({some(old)}): {kernels}"
    return f"{how}." if how else f"Make room on {' and '.join(tight)}: no kernel can go, so look there for other files."


@check(
    "packages.reboot-required",
    severity=Severity.INFO,
    after=["driver.library-mismatch", "kernel.module-stale"],
    symptoms=[
        hint(r"System restart required", beside=r"mismatch|NVIDIA-SMI has failed"),
        hint(r"Pending kernel upgrade", beside=r"mismatch|NVIDIA-SMI has failed"),
        hint(r"[Rr]eboot (is )?required", beside=r"mismatch|NVIDIA-SMI has failed"),
    ],
)
def reboot_required(confinement: Confinement, flag: RebootRequired) -> Iterator[Finding]:
    """The system asks for a restart.

    What: packages were installed that take effect only with a reboot. Where a kernel or the driver
    is among them, the running system and the disk are of different versions from now on, and what
    was tested is not what will run after the next power cut.

    Proof: /run/reboot-required, and the packages listed in /run/reboot-required.pkgs.

    Repair: reboot when no job runs. Before it, look at kernel.next-boot-module-missing: the kernel
    that boots next must have its module.

    Reference: needrestart(1)
    """
    own_driver(confinement)
    if not flag.required:
        return
    telling = [name for name in flag.packages if concerns_gpu(name)]
    why = "; the new kernel or driver takes effect only then" if telling else ""
    if flag.packages and not telling:
        why = "; the GPU does not need it"
    yield Finding(
        f"The system asks for a restart{' because of ' + some(telling or flag.packages) if flag.packages else ''}.",
        (telling or [*flag.packages, ""])[0],
        (Evidence(flag.source, some(flag.packages, 8) or "no package named"),),
        f"Reboot when no job runs{why}.",
        Severity.WARNING if telling else Severity.INFO,
    )
