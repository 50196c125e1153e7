"""Could a package not be installed because another one has one of its files?"""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.package_log import LogLine, PackageManagerLog
from gpudoctor.facts.package_names import concerns_gpu, is_of_interest
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import Confinement

from ._gpus import gpu_works
from ._scope import own_driver


class Clash(NamedTuple):
    """One file that stopped an installation."""

    package: str  # that was to be installed
    version: str
    owner: str  # that has the file
    path: str
    source: str
    when: str
    text: str
    latest: bool  # in the newest run of the log


@check(
    "packages.overwrite-conflict",
    severity=Severity.ERROR,
    symptoms=[
        sure(r"trying to overwrite '[^']+', which is also in package"),
        sure(r"trying to overwrite shared '[^']+', which is different from other instances of package"),
        sure(r"file \S+ from install of .{1,150} conflicts with file from (package|install of)"),
        likely(r"\bnvidia\S*: \S+ exists in filesystem"),
    ],
)
def overwrite_conflict(
    confinement: Confinement,
    packages: Packages,
    log: PackageManagerLog | Unavailable,
    history: PackageHistory | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """A package of the driver could not be installed: another package has one of its files.

    What: the same file is in two packages. Mostly they belong to two sets of which only one can be
    installed: Ubuntu's server and desktop driver, or the distribution's and NVIDIA's own. The
    package manager stops there, and the packages that came with it stay half installed.

    Proof: "trying to overwrite" in /var/log/apt/term.log (rpm: "conflicts with file from package"),
    and that package is still not installed.

    Repair: see what removing the other package would take along, remove it and its set, then let
    the package manager go on. Never use --force-overwrite: the next upgrade breaks then.

    Reference: https://askubuntu.com/q/1084873; Debian Policy, section 7.6 (overwriting files)
    """
    own_driver(confinement)
    if isinstance(log, Unavailable):
        # Whether a conflict left them so, only the log could tell; with all in order there is none to tell of.
        if any(concerns_gpu(package.name) for package in packages.unfinished()):
            raise log
        return
    found = [clash for clash in clashes(log) if _is_open(clash, packages, history)]
    if not found:
        return
    first = found[-1]
    owners = dict.fromkeys(clash.owner for clash in found)
    tool = "apt-get" if packages.manager == "dpkg" else "dnf"
    harmless = packages.manager != "dpkg" or gpu_works(nvml, cuda)
    yield Finding(
        f"{first.package} {first.version} could not be installed: {first.path} also belongs to {first.owner}"
        + (f" (nor could {len(found) - 1} more)." if len(found) > 1 else "."),
        first.package,
        tuple(Evidence(clash.source, f"{clash.when} {clash.text}".strip()) for clash in found[-5:]),
        f"Only one of the two can stay. See what goes along with the other: `{tool} -s remove {' '.join(owners)}`; if "
        f"that is the set you do not want, remove it, then `apt-get --fix-broken install`. Never force the overwriting."
        if tool == "apt-get"
        else f"Only one of the two can stay. If that is the new one: `dnf swap {first.owner} {first.package}`.",
        Severity.WARNING if harmless else None,
    )


def _is_open(clash: Clash, packages: Packages, history: PackageHistory | Unavailable) -> bool:
    """Is the package still not there, and is anything of that attempt left?"""
    if not any(concerns_gpu(name) for name in (clash.package, clash.owner)):
        return False
    if is_of_interest(clash.owner) and packages.get(clash.owner) is None:
        return False  # what was in the way is gone
    if _is_installed(packages.get(clash.package), clash.version):
        return False
    if clash.latest or any(concerns_gpu(package.name) for package in packages.unfinished()):
        return True
    if packages.manager == "dpkg" or isinstance(history, Unavailable):
        return False
    # rpm tries before it changes anything: what was changed since then has settled it.
    since = (event.when for event in history.events if event.package in (clash.package, clash.owner))
    return not any(_digits(when) > _digits(clash.when) for when in since)


def _is_installed(package: Package | None, version: str) -> bool:
    if package is None or package.state != "installed":
        return False
    return version in (package.version, package.version.partition(":")[2])


def _digits(when: str) -> str:
    return "".join(character for character in when if character.isdigit())[:14]


def clashes(log: PackageManagerLog) -> Iterator[Clash]:
    """In the order of the log; a pair of packages once, though rpm names each of their common files."""
    found: dict[tuple[str, str, str], Clash] = {}
    archive = ""
    for line in log.lines:
        if "error processing" in line.text:
            archive = next((word for word in line.text.split() if ".deb" in word), "")
        clash = _of_dpkg(line, archive) if "trying to overwrite" in line.text else _of_rpm(line)
        if clash:
            found.pop((clash.package, clash.version, clash.owner), None)
            found[clash.package, clash.version, clash.owner] = clash
    yield from found.values()


def _of_dpkg(line: LogLine, archive: str) -> Clash | None:
    """trying to overwrite '/usr/lib/a', which is also in package b 1.0-1; the package's file stands a line before."""
    _, _, rest = line.text.partition("trying to overwrite ")
    path, _, reason = rest.removeprefix("shared ").strip().lstrip("'`").partition("'")
    owner = reason.partition(" package ")[2].split(" ")[0].partition(":")[0]
    name, version = _of_archive(archive)
    return Clash(name, version, owner, path, *line[:3], line.latest) if name and owner else None


def _of_archive(path: str) -> tuple[str, str]:
    """Name and version of /tmp/apt-dpkg-install-x/07-libcuda1_580.65.06-1_amd64.deb; a colon is written as %3a."""
    name, _, rest = path.rpartition("/")[2].partition("_")
    number, dash, bare = name.partition("-")
    return (bare if dash and number.isdigit() else name), rest.partition("_")[0].replace("%3a", ":")


def _of_rpm(line: LogLine) -> Clash | None:
    """file /usr/lib64/a from install of b-3:1.0-1.x86_64 conflicts with file from package c-3:1.0-1.x86_64"""
    before, matched, owner = line.text.partition(" conflicts with file from package ")
    path, installing, new = before.rpartition("file ")[2].partition(" from install of ")
    if not matched or not installing:
        return None
    name, version = _of_nevra(new.split(" ")[0])
    return Clash(name, version, _of_nevra(owner.split(" ")[0])[0], path, *line[:3], line.latest)


def _of_nevra(text: str) -> tuple[str, str]:
    """Name and version-release of "nvidia-driver-libs-3:580.95.05-1.el9.x86_64"."""
    name, _, rest = text.rpartition("-")[0].rpartition("-")
    release = text.rpartition("-")[2].rpartition(".")[0]
    return name, f"{rest}-{release}"
