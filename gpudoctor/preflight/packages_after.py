"""The packages of this machine as a transaction leaves them, and whether the transaction is this machine's at all."""

from collections.abc import Iterable

from gpudoctor.facts.driver_packages import maker_of
from gpudoctor.facts.history import PackageEvent
from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.preflight.kernel_packages import is_kept_beside
from gpudoctor.preflight.transaction import Change, NoTransaction, Transaction

_MANAGERS = {"dpkg": "apt", "rpm": "dnf", "pacman": "pacman"}


def on_this_machine(transaction: Transaction, packages: Packages) -> Transaction:
    """The same, with what dnf and pacman do not say of today's versions.

    Raises NoTransaction where it contradicts what is installed: then it is old, or another machine's.
    """
    source = transaction.source
    if packages.manager != transaction.manager:
        kind = _MANAGERS.get(packages.manager, "no package manager that gpudoctor knows")
        raise NoTransaction(f"{source}: it is of {_MANAGERS[transaction.manager]}, and this machine has {kind}")
    coming = {(change.name, change.architecture) for change in transaction.changes if change.new}
    changes = (
        _known(change, transaction, packages)
        for change in transaction.changes
        # Some name an upgrade twice: the version that goes, and the one that comes in its place.
        if change.new or is_kept_beside(change.name) or (change.name, change.architecture) not in coming
    )
    return transaction._replace(changes=tuple(changes))


def _known(change: Change, transaction: Transaction, packages: Packages) -> Change:
    if not is_of_interest(change.name):
        return change  # of other packages nothing is known here
    there = _installed(change, packages.packages)
    versions = [package.version for package in there]
    wrong = ""
    if change.old and change.old not in versions:
        have = f"{' and '.join(versions)} is" if versions else "it is not"
        wrong = f"it changes {change.name} {change.old}, and {have} installed here"
    elif not change.old and change.new in versions:
        wrong = f"it installs {change.name} {change.new}, which is installed here already"
    elif not change.old and transaction.manager == "dpkg" and versions:
        wrong = f"it installs {change.name} anew, and {versions[0]} is installed here"
    if wrong:
        raise NoTransaction(
            f"{transaction.source} does not fit this machine: {wrong}; it was made on another one, or packages were "
            "changed since"
        )
    beside = transaction.manager == "rpm" and is_kept_beside(change.name) and change.new
    old = change.old or ("" if beside or not versions else versions[0])
    architecture = change.architecture or (there[0].architecture if there else "")
    return change._replace(old=old, architecture=architecture)


def _installed(change: Change, packages: Iterable[Package]) -> list[Package]:
    return [package for package in packages if package.state != "removed" and _is_of(change, package)]


def _is_of(change: Change, package: Package) -> bool:
    # "all" becomes an architecture of its own when a package is split up, and the other way round.
    free = {change.architecture, package.architecture} & {"", "all", "noarch", "any"}
    return package.name == change.name and (bool(free) or package.architecture == change.architecture)


def packages_after(packages: Packages, transaction: Transaction) -> Packages:
    """As the package manager's database will be. `transaction`: as `on_this_machine` gives it.

    What is not known of new packages is left empty: their dependencies, and who made them where no origin tells.
    """
    found = list(packages.packages)
    for change in transaction.changes:
        if not is_of_interest(change.name):
            continue
        old = next((one for one in found if _is_of(change, one) and one.version == change.old), None)
        if not change.new:
            if old:
                found[found.index(old)] = old._replace(state="removed", conffiles_only=packages.manager == "dpkg")
            continue
        left = next((one for one in found if _is_of(change, one) and one.state == "removed"), None)
        place = old or left
        new = Package(
            change.name,
            change.new,
            change.architecture or (old.architecture if old else ""),
            "installed",
            bool(old and old.hold),
            _vendor(change, old),
            tuple(_moved_on(dependency, change) for dependency in old.depends) if old else (),
        )
        if place:
            found[found.index(place)] = new
        else:
            found.append(new)
    return packages._replace(packages=tuple(found))


def _moved_on(dependency: str, change: Change) -> str:
    """ "libnvidia-ml1 (= 535.261.03-1)" in the version that comes along: the package manager has solved it so.

    Some have the version in the name, too: nvidia-firmware-580-580.95.05.
    """
    if "(= " not in dependency:
        return dependency
    return dependency.replace(change.old, change.new).replace(_plain(change.old), _plain(change.new))


def _plain(version: str) -> str:
    """Without epoch and revision."""
    return version.rpartition(":")[2].rpartition("-")[0] or version


# Repositories of rpm whose ids do not say in plain words who packs there.
_REPOSITORIES = {"cuda-": "NVIDIA", "fedora-nvidia": "negativo17", "epel-nvidia": "negativo17"}


def _vendor(change: Change, old: Package | None) -> str:
    """Who made the new version, by the origin that the package manager names; else who made the old one."""
    origin = next((who for start, who in _REPOSITORIES.items() if change.origin.startswith(start)), change.origin)
    said = Package(change.name, "", "", "installed", False, origin)
    return origin if maker_of(said) else old.vendor if old else ""


def events_of(transaction: Transaction, time: float) -> tuple[PackageEvent, ...]:
    """The transaction as the history will tell it, without a time that anybody could read."""
    return tuple(
        PackageEvent(time, "", _action(change), change.name, change.old, change.new, "", True, transaction.source)
        for change in transaction.changes
        if is_of_interest(change.name)
    )


def _action(change: Change) -> str:
    if not change.new:
        return "remove"
    return "reinstall" if change.old == change.new else "upgrade" if change.old else "install"
