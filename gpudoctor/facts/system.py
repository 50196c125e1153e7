"""Which system this is: distribution, running kernel, boot time, container or WSL."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact


class OperatingSystem(NamedTuple):
    """The distribution, from os-release(5). `family` decides which package manager and paths apply."""

    id: str  # "ubuntu", "debian", "fedora", "rhel", "opensuse-leap", "arch", "" if unknown
    version: str  # "24.04", "12", "" for rolling ones
    pretty_name: str
    family: str  # "debian", "fedora" (with RHEL and its likes), "suse", "arch", "" if unknown


class Compiler(NamedTuple):
    """A C compiler: as the kernel's build names it, or as one is installed."""

    name: str  # "gcc" or "clang"
    major: int
    text: str  # "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"


class Kernel(NamedTuple):
    """The running kernel. On a disk nothing runs: there it is the kernel that was named, or the one that boots next."""

    release: str  # as `uname -r` says
    running: bool  # False: taken as running, see above
    compiler: Compiler | None  # what built it, None if it does not say
    command_line: tuple[str, ...]  # words of /proc/cmdline; empty on a disk


class Boot(NamedTuple):
    """When this machine was started."""

    time: float  # seconds since the epoch


class Confinement(NamedTuple):
    """Where the doctor runs: in a container or in WSL the driver is the host's."""

    container: str  # "docker", "podman", "lxc", "kubernetes", "container" (kind unknown), "" outside
    wsl: bool


class Identity(NamedTuple):
    """Who runs the doctor."""

    user_id: int
    group_ids: tuple[int, ...]

    @property
    def root(self) -> bool:
        return self.user_id == 0


FAMILIES: Mapping[str, str] = {
    "debian": "debian",
    "ubuntu": "debian",
    "fedora": "fedora",
    "rhel": "fedora",
    "centos": "fedora",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
    "arch": "arch",
}


@fact
def operating_system(host: Host) -> OperatingSystem:
    """From /etc/os-release or /usr/lib/os-release; unknown where neither is there."""
    text = host.read("/etc/os-release") or host.read("/usr/lib/os-release") or ""
    values = {}
    for line in text.splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            values[key] = value.strip().strip("\"'")
    names = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    family = next((FAMILIES[name] for name in names if name in FAMILIES), "")
    return OperatingSystem(names[0], values.get("VERSION_ID", ""), values.get("PRETTY_NAME", names[0]), family)


@fact
def confinement(host: Host) -> Confinement:
    """From the marks that container engines leave, and the kernel's name under WSL."""
    try:
        release = host.read("/proc/sys/kernel/osrelease") or ""
    except NotRunning:
        release = ""
    return Confinement(_container(host), "microsoft" in release.lower())


def _container(host: Host) -> str:
    try:
        mark = host.read("/run/.containerenv")
        if mark is not None:
            return "podman"
        # systemd and most engines write the kind here (systemd's container interface).
        kind = (host.read("/run/systemd/container") or "").strip()
        cgroups = host.read("/proc/self/cgroup") or ""
    except (NotRunning, Unavailable):
        return ""
    if "kubepods" in cgroups or host.status("/var/run/secrets/kubernetes.io") is not None:
        return "kubernetes"
    if host.status("/.dockerenv") is not None or "/docker/" in cgroups:
        return "docker"
    if kind and kind != "wsl":
        return kind
    return "lxc" if "/lxc/" in cgroups else ""


@fact
def boot(host: Host) -> Boot:
    """The line btime of /proc/stat."""
    for line in (host.read("/proc/stat") or "").splitlines():
        word, _, value = line.partition(" ")
        if word == "btime" and value.strip().isdigit():
            return Boot(float(value))
    raise Unavailable("/proc/stat has no boot time")


@fact
def identity(host: Host) -> Identity:
    """Effective user and all groups, from /proc/self/status."""
    user, groups = None, []
    for line in (host.read("/proc/self/status") or "").splitlines():
        key, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split() if word.isdigit()]
        if key == "Uid" and len(numbers) > 1:
            user = numbers[1]
        elif key in ("Gid", "Groups"):
            groups += numbers[1:2] if key == "Gid" else numbers
    if user is None:
        raise Unavailable("/proc/self/status does not tell the user")
    return Identity(user, tuple(sorted(set(groups))))


def compiler_of(text: str) -> Compiler | None:
    """The compiler in /proc/version's or CONFIG_CC_VERSION_TEXT's words: "gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld..."."""
    for name in ("gcc", "clang"):
        start = text.find(name)
        if start < 0:
            continue
        words = text[start:].split(",", 1)[0]
        version = [word for word in words.replace("(", " ").replace(")", " ").split() if word[:1].isdigit()]
        major = (version or [""])[-1].partition(".")[0]
        if major.isdigit():
            return Compiler(name, int(major), words.strip().removesuffix(")").strip() if "(" not in words else words.strip())
    return None
