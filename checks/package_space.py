"""Is there room on the disk for what packages unpack and build?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.package_log import PackageManagerLog
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._boot import do_not_restart
from ._free_space import FULL, MEGABYTE, below
from ._package_words import manager_of, some, states_of
from ._scope import own_driver
from ._surroundings import IMAGE_BUILD

# An upgrade of driver and kernel needs some hundred megabytes; an initramfs with the driver in it takes most of /boot.
_TIGHT: Mapping[str, int] = {"/": 500 * MEGABYTE, "/var": 500 * MEGABYTE, "/boot": 60 * MEGABYTE}
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
    full = below(space, dict.fromkeys(space.free, FULL))
    short = below(space, _TIGHT)
    broken = packages.unfinished()
    lines = log.matching(_NO_SPACE) if isinstance(log, PackageManagerLog) else ()
    lines = tuple(line for line in lines if line.latest)
    # What dpkg could not unpack it deletes again, so after the failure there is some room.
    stopped = (full and (broken or lines)) or (short and broken and lines)
    if not stopped and not (short and driver_packages(packages)):
        return
    tight = (full or short) if stopped else short
    places = [f"{free // MEGABYTE} MB on {' and '.join(paths)}" for free, paths in _grouped(tight)]
    what = "packages are half installed" if broken else "an installation failed for it"
    yield Finding(
        f"There is hardly any room left: {', '.join(places)}"
        + (f"; {what}." if stopped else "; the next upgrade of the driver or the kernel can fail half-way."),
        next(iter(tight)),
        (
            *(Evidence(" and ".join(paths), f"{free // MEGABYTE} MB free") for free, paths in _grouped(tight)),
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
