"""Names and command lines of package managers, as they stand in findings."""

from collections.abc import Iterable, Sequence

from gpudoctor import Evidence, Unavailable
from gpudoctor.facts.history import PackageEvent
from gpudoctor.facts.kernel_headers import flavour_to_follow, header_packages
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import OperatingSystem

# Where a system changes as one image, nothing is built or put back for the kernel that runs.
WHOLE_IMAGE = (
    "Bring the whole image up to date (`rpm-ostree upgrade`) and restart: the kernel, its headers and the driver's "
    "module come together in it. If that brings no module, `rpm-ostree rollback` goes back to the image before."
)
_DATABASES = {"dpkg": "/var/lib/dpkg/status", "rpm": "rpm database", "pacman": "/var/lib/pacman/local"}


def some(names: Iterable[str], most: int = 4) -> str:
    """ "a, b, c and 5 more"; each name once."""
    names = tuple(dict.fromkeys(names))
    if len(names) <= most + 1:  # "and 1 more" is longer than its name
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def states_of(packages: Packages, chosen: Iterable[Package]) -> Evidence:
    """What the database says of some packages."""
    texts = (
        f"{package.name} {package.version}"
        + (f" ({package.state})" if package.state != "installed" else "")
        + (" (on hold)" if package.hold else "")
        for package in chosen
    )
    return Evidence(_DATABASES.get(packages.manager, "installed packages"), some(texts, 6))


def manager_of(packages: Packages, system: OperatingSystem) -> str:
    """The command: "apt-get", "dnf", "rpm-ostree", "zypper", "pacman", "" unknown."""
    if packages.manager == "rpm":
        return "zypper" if system.family == "suse" else "rpm-ostree" if system.ostree else "dnf"
    return {"dpkg": "apt-get", "pacman": "pacman"}.get(packages.manager, "")


def install(manager: str, names: Sequence[str]) -> str:
    """A command in backticks that installs or upgrades these packages."""
    words = " ".join(dict.fromkeys(names))
    match manager:
        case "apt-get" | "dnf" | "rpm-ostree" | "zypper":
            return f"`{manager} install {words}`"
        case "pacman":
            return f"`pacman -Syu {words}`"
        case _:
            return f"install {words}"


def install_headers(release: str, system: OperatingSystem, packages: Packages | Unavailable) -> str:
    """The sentence that tells how to get a kernel's headers."""
    found = header_packages(system.family, system, release, packages)
    exact, follow = " ".join(found.exact), next(iter(found.follow), "")
    match system.family:
        case "debian":
            follow = follow or f"linux-headers-{flavour_to_follow(release, packages)}"
            return (
                f"Install {exact} (`apt install {exact}`), and {follow} so that every later kernel brings its headers; "
                f"if that version is gone from the archive, take the newest kernel together with its headers."
            )
        case "fedora" if system.ostree:
            return WHOLE_IMAGE
        case "fedora":
            return (
                f"Install {exact} (`dnf install {exact}`), and {follow} so that every later kernel brings it; "
                f"if that version is gone from the repository, take the newest kernel together with its kernel-devel."
            )
        case "suse":
            version = found.version or release.rpartition("-")[0]
            return (
                f"Install {follow} of this kernel (`zypper install '{follow}={version}'`); if that version is gone "
                f"from the repository, take the newest kernel together with its {follow}."
            )
        case "arch":
            return (
                f"Install {exact} together with the newest kernel (`pacman -Syu {exact}`), never {exact} alone: "
                f"it fits only the newest kernel."
            )
        case _:
            return f"Install the headers (the development package) of kernel {release} from your distribution."


def align(manager: str, names: Sequence[str]) -> str:
    """A command in backticks that brings installed packages to the repositories' one version."""
    match manager:
        case "dnf":
            return f"`dnf distro-sync {' '.join(dict.fromkeys(names))}`"
        case "pacman":
            return "`pacman -Syu`"
        case "rpm-ostree":
            return "`rpm-ostree upgrade`"
        case _:
            return install(manager, names)


def reinstall(manager: str, names: Sequence[str]) -> str:
    """A command in backticks that puts the files of packages back in place."""
    words = " ".join(dict.fromkeys(names))
    match manager:
        case "apt-get":
            return f"`apt-get install --reinstall {words}`"
        case "dnf":
            return f"`dnf reinstall {words}`"
        case "zypper":
            return f"`zypper install --force {words}`"
        case "pacman":
            return f"`pacman -S {words}`"
        case "rpm-ostree":
            return "`rpm-ostree upgrade`"  # its files cannot be changed, only its image
        case _:
            return f"reinstall {words}"


def verify(manager: str, names: Sequence[str]) -> str:
    """A command in backticks that compares files with what their packages brought."""
    words = " ".join(dict.fromkeys(names))
    match manager:
        case "apt-get":
            return f"`dpkg -V {words}`"
        case "dnf" | "rpm-ostree" | "zypper":
            return f"`rpm -V {words}`"
        case "pacman":
            return f"`pacman -Qkk {words}`"
        case _:
            return "your package manager's verification"


def remove(manager: str, names: Sequence[str]) -> str:
    """A command in backticks that removes exactly these packages."""
    words = " ".join(dict.fromkeys(names))
    match manager:
        case "apt-get" | "dnf" | "zypper":
            return f"`{manager} remove {words}`"
        case "rpm-ostree":
            return f"`rpm-ostree uninstall {words}`"
        case "pacman":
            return f"`pacman -R {words}`"
        case _:
            return f"remove {words}"


def hold(manager: str, names: Sequence[str], *, release: bool) -> str:
    """A command in backticks (or where to write it) that holds packages back or lets them go."""
    words = " ".join(dict.fromkeys(names))
    match manager:
        case "apt-get":
            return f"`apt-mark {'unhold' if release else 'hold'} {words}`"
        case "dnf":
            return f"`dnf versionlock {'delete' if release else 'add'} {words}`"
        case "zypper":
            return f"`zypper {'removelock' if release else 'addlock'} {words}`"
        case "pacman":
            return f"{'take out of' if release else 'add to'} IgnorePkg in /etc/pacman.conf: {words}"
        case _:
            return f"{'release' if release else 'hold'} {words}"


def trial(manager: str) -> str:
    """A clause: how to see first what a command would do; "" where the program asks by itself."""
    return " (with `-s` it only shows what it would do)" if manager == "apt-get" else ""


def on_the(event: PackageEvent) -> str:
    """ "on 2026-11-22 06:50:11 by `apt upgrade -y`"; of a run that is only planned "with this upgrade"."""
    if not event.when:
        return "with this upgrade"
    return f"on {' '.join(event.when.split())}" + (f" by `{event.command}`" if event.command else "")
