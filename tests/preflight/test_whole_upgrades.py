"""A false alarm is as bad as a miss: upgrades of healthy machines that bring together what belongs together."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import healthy_debian as debian
import healthy_places as places
import healthy_rolling as rolling
import healthy_rpm as rpm
import healthy_servers as servers
import pytest
from healthy_machines import Running
from preflight_plans import told

from gpudoctor.facts.driver_packages import READY_MODULES, as_driver_package
from gpudoctor.facts.installed_kernels import InstalledKernels
from gpudoctor.facts.packages import Packages
from gpudoctor.preflight.foresee import foresee
from gpudoctor.preflight.transaction import Change, Transaction, change
from gpudoctor.registry import Facts

Kind = Callable[[Path, int], Running]

MACHINES: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(debian.ubuntu_laptop, debian.ubuntu_server_mok, debian.ubuntu_nvidia_repository, debian.debian_open),
        *(debian.debian_older_kernel_bare, debian.runfile_dkms),
        *(rpm.fedora_akmods, rpm.rocky_dkms, rpm.rocky_precompiled, rpm.opensuse_leap, rpm.opensuse_tumbleweed),
        *(rolling.arch, rolling.arch_lts_dkms, servers.held_server, servers.pascal, servers.kepler),
        *(places.wsl, places.guest, places.amd_display),
    )
}


def later(version: str) -> str:
    """The next release of a driver version: its last number grows."""
    head, _, last = version.rpartition(".")
    return f"{head}.{int(last) + 1:02d}"


def driver_upgrade(packages: Packages) -> list[Change]:
    """Everything that has the driver's version gets the next one, and modules made for one kernel are made anew."""
    changes = []
    for package in packages.installed():
        version, architecture = package.upstream, package.architecture
        if package.name.startswith(READY_MODULES):
            changes.append(change(package.name, architecture, package.version, f"{package.version}+1"))
        elif version and (
            as_driver_package(package, packages.manager) or "f" in package.name.partition("nvidia-")[2][:1]
        ):
            new = package.version.replace(version, later(version))
            name = package.name.replace(version, later(version))  # some have the version in their names
            if name != package.name:
                changes += [
                    change(package.name, architecture, package.version, ""),
                    change(name, architecture, "", new),
                ]
            else:
                changes.append(change(name, architecture, package.version, new))
    return changes


def kernel_upgrade(packages: Packages, newest: str) -> list[Change]:
    """All packages of the newest kernel once more, for its successor."""
    head, _, rest = newest.partition("-")
    number = rest.partition("-")[0].partition(".")[0]
    if not number.isdigit():
        return []
    successor = f"{head}-{int(number) + 7}{rest.removeprefix(number)}"
    changes = []
    for package in packages.installed():
        if newest in package.name:
            name = package.name.replace(newest, successor)
            changes.append(change(name, package.architecture, "", package.version))
        elif packages.manager == "rpm" and f"{package.version}.{package.architecture}" == newest:
            plain = successor.removesuffix(f".{package.architecture}")
            changes.append(change(package.name, package.architecture, "", plain))
    return changes


def _cases() -> Iterator[Any]:
    """Who is not root differs in few ways; "driver" and "kernel" together say most of what each says alone."""
    for kind in MACHINES:
        for what in ("driver", "kernel", "both", "nothing"):
            yield pytest.param(0, kind, what, id=f"{what}-{kind}-root")
            quick = what == "both"
            yield pytest.param(1000, kind, what, id=f"{what}-{kind}-ada", marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("user", "kind", "what"), list(_cases()))
def test_no_false_alarm(tmp_path: Path, kind: str, user: int, what: str) -> None:
    facts = Facts(MACHINES[kind](tmp_path, user))
    packages, kernels = facts.get(Packages), facts.get(InstalledKernels)
    changes = driver_upgrade(packages) if what in ("driver", "both") else []
    if what in ("kernel", "both") and kernels.kernels:
        changes += kernel_upgrade(packages, kernels.kernels[0].release)
    seen = foresee(facts, Transaction(packages.manager, tuple(changes), (), "the plan"))
    found = {id for id, when in told(seen).items() if when == "UNTIL_RESTART" or seen.restarted is None}
    assert found <= {"driver.library-mismatch"}
    assert {*told(seen)} == found, [one.finding for one in seen.worse]
    if not changes:
        assert found == set()
    # Who may not read the boot loader's settings is told so.
    assert (seen.restarted is None and seen.undecided != ()) or seen.undecided == () or user == 1000
    if what == "nothing":
        assert seen.undecided == ()
