"""Which system this is: distribution, running kernel, boot time, container or WSL."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.installed_kernels import InstalledKernels
from gpudoctor.facts.shell_lines import plain_settings
from gpudoctor.host import Host, NotRunning, Unavailable, quietly
from gpudoctor.registry import fact


class OperatingSystem(NamedTuple):
    """The distribution, from os-release(5). `family` decides which package manager and paths apply."""

    id: str  # "ubuntu", "debian", "fedora", "rhel", "opensuse-leap", "arch", "" if unknown
    version: str  # "24.04", "12", "" for rolling ones
    pretty_name: str
    family: str  # "debian", "fedora" (with RHEL and its likes), "suse", "arch", "" if unknown
    like: tuple[str, ...] = ()  # the distributions that it is made from: ("ubuntu", "debian")
    ostree: bool = False  # it changes as one image, through rpm-ostree: Silverblue, CoreOS, Bazzite

    @property
    def of_debian(self) -> bool:
        """Are its packages Debian's, as those of Kali and Devuan are, rather than Ubuntu's?"""
        if self.family != "debian" or self.id == "debian":
            return self.family == "debian"
        return bool(self.like) and "ubuntu" not in (self.id, *self.like)


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

    container: str  # "docker", "podman", "lxc", "kubernetes", "containerd", "enroot", "apptainer"..., "" outside
    wsl: bool
    batch_job: bool = False  # of Slurm and its like, which give a job some of the machine's GPUs and hide the others
    driver_container: bool = False  # the driver is here for containers only: NVIDIA's GPU operator or GKE brought it


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
    values = plain_settings(text)
    name, like = values.get("ID", ""), tuple(values.get("ID_LIKE", "").split())
    family = next((FAMILIES[one] for one in (name, *like) if one in FAMILIES), "")
    ostree = family == "fedora" and ("OSTREE_VERSION" in values or bool(quietly(host.exists, "/ostree")))
    return OperatingSystem(name, values.get("VERSION_ID", ""), values.get("PRETTY_NAME", name), family, like, ostree)


@fact
def kernel(host: Host, kernels: InstalledKernels | Unavailable) -> Kernel:
    """From /proc; on a disk the kernel that was named, else the one that boots next.

    Raises Unavailable on a disk that does not tell which kernel that is.
    """
    try:
        version = host.read("/proc/version") or ""
    except NotRunning:
        return _kernel_on_disk(host, kernels)
    release = (host.read("/proc/sys/kernel/osrelease") or "").strip()
    words = (host.read("/proc/cmdline") or "").split()
    if not release:
        raise Unavailable("/proc/sys/kernel/osrelease does not tell the kernel's release")
    return Kernel(release, True, compiler_of(version), tuple(words))


def _kernel_on_disk(host: Host, kernels: InstalledKernels | Unavailable) -> Kernel:
    try:
        release = (host.read("/proc/sys/kernel/osrelease") or "").strip()
    except NotRunning:
        if isinstance(kernels, Unavailable):
            raise kernels from None
        release = kernels.next_boot
        if not release:
            found = ", ".join(kernel.release for kernel in kernels.kernels) or "none: is /boot another disk?"
            raise Unavailable(
                f"which kernel boots next cannot be told (found: {found}); name it with --kernel"
            ) from None
    for path in (f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        head = (host.read_bytes(path, 4096) or b"").decode("utf-8", "replace")  # it stands in the first lines
        text = head.partition('CONFIG_CC_VERSION_TEXT="')[2].partition('"')[0]
        if text:
            return Kernel(release, False, compiler_of(text), ())
    return Kernel(release, False, None, ())


@fact
def confinement(host: Host) -> Confinement:
    """From the marks that container engines leave, and the kernel's name under WSL."""
    try:
        release = host.read("/proc/sys/kernel/osrelease") or ""
    except NotRunning:
        release = ""
    return Confinement(
        _container(host), "microsoft" in release.lower(), _is_batch_job(host), _has_driver_container(host)
    )


# Drivers that are there for containers only, out of the way of the host's own programs.
_FOR_CONTAINERS = (
    "/run/nvidia/driver/usr/bin/nvidia-smi",  # where the GPU operator shows the root of its driver's container
    "/home/kubernetes/bin/nvidia/bin/nvidia-smi",  # where GKE's installer puts it on a node
    "/var/lib/nvidia/bin/nvidia-smi",  # where Container-Optimized OS itself does
)


def _has_driver_container(host: Host) -> bool:
    return any(quietly(host.status, path) is not None for path in _FOR_CONTAINERS)


_BATCH_SYSTEMS = ("/slurm", "/pbs_jobs", "/pbspro", "/lsf/", "/htcondor")
# Where container engines keep the images that they mount as "/".
_ENGINES = {
    "/docker/": "docker",
    "/containerd/": "containerd",
    "/io.containerd": "containerd",
    "/containers/storage/": "podman",
    "/enroot/": "enroot",
    "/apptainer/": "apptainer",
    "/singularity/": "apptainer",
}

# What engines call the control groups of their containers, with cgroupfs and with systemd.
_GROUPS = {
    "/docker/": "docker",
    "/docker-": "docker",
    "/libpod-": "podman",
    "/crio-": "crio",
    "/cri-containerd-": "containerd",
    "/nerdctl-": "containerd",
    "/lxc/": "lxc",
    "/lxc.payload": "lxc",
}


def _is_batch_job(host: Host) -> bool:
    """By the control group that the batch system made for it."""
    try:
        return any(name in (host.read("/proc/self/cgroup") or "") for name in _BATCH_SYSTEMS)
    except Unavailable:
        return False


def _container(host: Host) -> str:
    try:
        mark = host.read("/run/.containerenv")
        if mark is not None:
            return "podman"
        # systemd and most engines write the kind here (systemd's container interface).
        kind = (host.read("/run/systemd/container") or "").strip()
        cgroups = host.read("/proc/self/cgroup") or ""
        # Who logs in to a container over ssh may be in another group than its first process.
        cgroups += f"\n{quietly(host.read, '/proc/1/cgroup') or ''}"
    except (NotRunning, Unavailable):
        return ""
    if "kubepods" in cgroups or host.status("/var/run/secrets/kubernetes.io") is not None:
        return "kubernetes"
    if host.status("/.dockerenv") is not None:
        return "docker"
    engine = next((engine for mark, engine in _GROUPS.items() if mark in cgroups), "")
    if kind and kind != "wsl" and engine in ("", "lxc"):
        return kind
    if engine:
        return engine
    if quietly(host.status, "/.singularity.d") is not None:
        return "apptainer"
    return _engine_of_image(host)


def _engine_of_image(host: Host) -> str:
    """Whose image "/" is; some engines leave no other mark. "" where it is none."""
    try:
        mounts = host.read("/proc/self/mountinfo") or ""
    except Unavailable:
        return ""
    if pod_mounts(mounts):
        return "kubernetes"
    roots = root_mounts(mounts)
    return next((engine for place, engine in _ENGINES.items() for root in roots if place in root), "")


def root_mounts(text: str) -> list[str]:
    """Of the lines of /proc/self/mountinfo those that tell what "/" is."""
    return [line for line in text.splitlines() if line.split(" ", 5)[4:5] == ["/"]]


def pod_mounts(text: str) -> list[str]:
    """Those that show the kubelet's /etc/hosts, which every pod gets from it."""
    words = ((line, line.split(" ", 5)) for line in text.splitlines() if " /etc/hosts " in line)
    return [line for line, found in words if found[4:5] == ["/etc/hosts"] and found[3].endswith("/etc-hosts")]


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
    """The compiler that /proc/version or CONFIG_CC_VERSION_TEXT names: "gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld"."""
    if text.startswith("Linux version"):
        # The first pair of parentheses names who built the kernel, and where: that may be gcc-builder@clang.
        text = next((group for group in _in_parentheses(text) if "@" not in group.partition(" ")[0]), "")
    outside = _without_parentheses(text)
    end = outside.find(",")  # behind it the linker is named
    text, words = (text, outside.split()) if end < 0 else (text[:end], outside[:end].split())
    name = next((name for name in ("clang", "gcc") if any(name in word for word in words)), "")
    major = next((word for word in words if word[0].isdigit()), "").partition(".")[0]
    return Compiler(name, int(major), text.strip()) if name and major.isdecimal() else None


def _without_parentheses(text: str) -> str:
    """The same text, as long, with blanks in place of all that stands in parentheses."""
    outside, depth = [], 0
    for character in text:
        depth += character == "("
        outside.append(" " if depth else character)
        depth -= character == ")" and depth > 0
    return "".join(outside)


def _in_parentheses(text: str) -> list[str]:
    """What stands in the outermost pairs of parentheses."""
    groups, start, depth = [], 0, 0
    for place, character in enumerate(text):
        if character == "(":
            start = start if depth else place + 1
            depth += 1
        elif character == ")" and depth:
            depth -= 1
            if not depth:
                groups.append(text[start:place])
    return groups
