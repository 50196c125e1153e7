"""What to do beforehand, so that an upgrade does not do what is foreseen of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gpudoctor.facts.driver_packages import Part, as_driver_package, driver_packages, ubuntu_modules
from gpudoctor.facts.driver_sets import lagging
from gpudoctor.facts.kernel_headers import flavour_to_follow, header_packages, kernel_metas
from gpudoctor.facts.package_manager import PackageManager, hold, unhold
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.findings import Evidence, Ranked
from gpudoctor.preflight.kernel_packages import coming
from gpudoctor.preflight.transaction import Transaction


class Circumstances(NamedTuple):
    """What advice depends on."""

    transaction: Transaction
    packages: Packages  # as they would be afterwards
    manager: PackageManager
    system: OperatingSystem


def beforehand(ranked: Ranked, about: Circumstances) -> str:
    """One or two sentences; where nothing better is known, to wait."""
    advise = _ADVICE.get(ranked.check.id)
    return (advise(ranked, about) if advise else "") or f"Wait with this upgrade. Afterwards: {ranked.finding.remedy}"


def words_of_the_plan(ranked: Ranked, about: Circumstances) -> tuple[Evidence, ...]:
    """What in the transaction itself proves it, where that is something which does not come."""
    kernels = coming(about.transaction.manager, about.transaction.changes)
    source, release = about.transaction.source, ranked.finding.subject
    if ranked.check.id == "kernel.headers-missing" and release in kernels:
        names = header_packages(about.system.family, about.system, release, about.packages).exact[:1]
        return (Evidence(source, f"no {names[0]} comes along"),) if names else ()
    own = {member.name for member in driver_packages(about.packages)}
    kept = [name for name in about.transaction.kept_back if name in own]
    if ranked.check.id == "packages.partial-upgrade" and kept:
        return (Evidence(source, f"kept back: {', '.join(kept)}"),)
    return ()


def _command(about: Circumstances, argv: tuple[str, ...] | None, names: Iterable[str]) -> str:
    return f"`{' '.join(argv)}`" if argv else f"IgnorePkg in /etc/pacman.conf for {' '.join(names)}"


def _holding(about: Circumstances, names: Iterable[str]) -> str:
    names = tuple(dict.fromkeys(names))
    return _command(about, hold(about.manager, names), names)


def _installing(about: Circumstances, names: Iterable[str]) -> str:
    words = " ".join(names)
    return f"`pacman -Syu {words}`" if about.manager.kind == "pacman" else f"`{_tool(about)} install {words}`"


def _tool(about: Circumstances) -> str:
    return {"apt": "apt-get"}.get(about.manager.kind, about.manager.kind)


def _driver(about: Circumstances) -> list[str]:
    """The driver's packages that the transaction changes."""
    changes = (change for change in about.transaction.changes if change.old)
    found = (
        as_driver_package(Package(one.name, one.old, one.architecture, "installed", False, ""), about.packages.manager)
        for one in changes
    )
    return [member.name for member in found if member]


def _kernel(ranked: Ranked, about: Circumstances) -> list[str]:
    """What to hold so that this kernel does not come."""
    release = ranked.finding.subject
    change = coming(about.transaction.manager, about.transaction.changes).get(release)
    if change is None:
        return []
    metas = kernel_metas(release, about.packages) if about.packages.manager == "dpkg" else ()
    return [*metas] or [change.name]


def _headers(ranked: Ranked, about: Circumstances) -> str:
    release = ranked.finding.subject
    found = header_packages(about.system.family, about.system, release, about.packages)
    names = found.follow or found.exact
    if about.system.family == "debian" and not found.follow:
        names = (f"linux-headers-{flavour_to_follow(release, about.packages)}",)
    if not names:
        return ""
    if about.manager.kind == "pacman":
        return f"Bring them in the same go: {_installing(about, names)} instead."
    held = _kernel(ranked, about)
    other = f" Or keep the kernel out of it until then: {_holding(about, held)}." if held else ""
    return (
        f"First {_installing(about, names)}: the headers of this kernel and of every later one then come along, and "
        f"the module is built for it in the same run.{other}"
    )


def _ready_made(ranked: Ranked, about: Circumstances) -> str:
    series = next((modules.series for modules in ubuntu_modules(about.packages)), "")
    if not series:
        return ""
    name = f"linux-modules-nvidia-{series}-{flavour_to_follow(ranked.finding.subject, about.packages)}"
    return f"First {_installing(about, [name])}: it brings the ready-made modules with this kernel and every later one."


def _no_module(ranked: Ranked, about: Circumstances) -> str:
    held = _kernel(ranked, about)
    return (
        f"Keep the kernel out of it until its module can be had: {_holding(about, held)}. Afterwards: "
        f"{ranked.finding.remedy}"
        if held
        else ""
    )


def _restart(ranked: Ranked, about: Circumstances) -> str:
    driver = _driver(about)
    keep = f" To leave the driver as it is until then: {_holding(about, driver)}." if driver else ""
    return (
        f"Run it when a restart suits, and restart right after it: until then programs that run go on, and no new one "
        f"can start on the GPU.{keep}"
    )


def _partly(ranked: Ranked, about: Circumstances) -> str:
    for lag in lagging(about.packages):
        held = [member.name for member in lag.behind if member.package.hold]
        if held:
            ahead = [member.name for member in lag.ahead if member.part is not Part.TOOL]
            return (
                f"Release the hold first, so that the whole driver moves on: "
                f"{_command(about, unhold(about.manager, held), held)}; or hold the rest too: {_holding(about, ahead)}."
            )
        names = [member.name for member in lag.behind]
        return f"Name what stays behind in the same go: {_installing(about, names)}; if that is refused, wait."
    return ""


def _keep_driver(ranked: Ranked, about: Circumstances) -> str:
    driver = _driver(about)
    return f"Keep the driver that is here: {_holding(about, driver)}." if driver else ""


def _removed(ranked: Ranked, about: Circumstances) -> str:
    gone = [change.name for change in about.transaction.changes if not change.new]
    driver = [name for name in _driver(about) if name in gone]
    if not driver:
        return ""
    ask = f" What drives them out tells `apt-get -s install {driver[0]}`." if about.manager.kind == "apt" else ""
    return f"Do not run it as it is. Hold the driver first: {_holding(about, driver)}; then plan again.{ask}"


def _first(ranked: Ranked, about: Circumstances) -> str:
    return f"Do this first: {ranked.finding.remedy}"


_ADVICE: Mapping[str, Callable[[Ranked, Circumstances], str]] = {
    "kernel.headers-missing": _headers,
    "kernel.prebuilt-module-missing": _ready_made,
    "kernel.module-missing": _no_module,
    "kernel.next-boot-module-missing": _no_module,
    "kernel.driver-too-old-for-kernel": _no_module,
    "kernel.compiler-mismatch": _no_module,
    "kernel.module-build-failed": _no_module,
    "driver.library-mismatch": _restart,
    "packages.partial-upgrade": _partly,
    "packages.driver-removed": _removed,
    "packages.disk-full": _first,
    "packages.two-branches": _keep_driver,
    "packages.mixed-origins": _keep_driver,
    "driver.gpu-needs-legacy-branch": _keep_driver,
    "driver.open-module-required": _keep_driver,
    "driver.open-module-unsupported": _keep_driver,
    "driver.gpu-newer-than-driver": _keep_driver,
    "driver.gsp-firmware-missing": _keep_driver,
}
