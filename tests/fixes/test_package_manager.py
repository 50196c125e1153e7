"""Which package manager is here, and its command lines."""

import pytest

from gpudoctor.facts.package_manager import (
    PackageManager,
    UnsafeWord,
    clean,
    fetch,
    hold,
    install,
    install_versions,
    package_name,
    reinstall,
    remove,
    replace,
    simulate,
    simulate_install,
    unhold,
    upgrade,
)
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import SnapshotHost

APT, DNF, ZYPPER, PACMAN = (PackageManager(kind) for kind in ("apt", "dnf", "zypper", "pacman"))


def found(id, family, database=None, *, ostree=False):
    load_plugins(fixes=True)
    facts = {OperatingSystem: OperatingSystem(id, "", id, family, ostree=ostree)}
    facts |= {Packages: Packages(database, ())} if database is not None else {}
    return Facts(SnapshotHost({}), facts).get(PackageManager)


@pytest.mark.parametrize(
    ("id", "family", "database", "kind"),
    [
        ("debian", "debian", "dpkg", "apt"),
        ("unheard-of", "", "dpkg", "apt"),
        ("debian", "debian", None, "apt"),
        ("fedora", "fedora", "rpm", "dnf"),
        ("rhel", "fedora", None, "dnf"),
        ("opensuse-leap", "suse", "rpm", "zypper"),
        ("arch", "arch", "pacman", "pacman"),
        ("steamos", "arch", "pacman", ""),
        ("opensuse-microos", "suse", "rpm", ""),
        ("nixos", "", "", ""),
    ],
)
def test_which_one(id, family, database, kind):
    manager = found(id, family, database)
    assert manager.kind == kind
    assert bool(manager.reason) is not bool(kind)


def test_image_based_fedora_is_not_changed_with_dnf():
    assert found("fedora", "fedora", "rpm", ostree=True).kind == ""
    assert found("fedora", "fedora", "rpm").kind == "dnf"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (install(APT, ["a"]), "apt-get -y --no-remove -o Dpkg::Options::=--force-confold install a"),
        (install(DNF, ["a"]), "dnf -y install a"),
        (install(ZYPPER, ["a"]), "zypper --non-interactive install a"),
        (install(PACMAN, ["a"]), "pacman -S --noconfirm --needed a"),
        (install_versions(DNF, {"a": "3:1.2-1.fc41"}), "dnf -y install a-3:1.2-1.fc41"),
        (upgrade(PACMAN, ["a"]), "pacman -Syu --noconfirm"),
        (remove(DNF, ["a"]), "dnf -y --setopt=clean_requirements_on_remove=False remove a"),
        (remove(APT, ["a"]), "apt-get -y -o Dpkg::Options::=--force-confold remove a"),
        (replace(APT, ["a"], ["b"]), "apt-get -y -o Dpkg::Options::=--force-confold install a b-"),
        (unhold(APT, ["a"]), "apt-mark unhold a"),
        (hold(DNF, ["a"]), "dnf -y versionlock add a"),
        (clean(ZYPPER), "zypper --non-interactive clean"),
        (simulate_install(DNF, ["a"]), "dnf --setopt=tsflags=test -y install a"),
        (simulate_install(ZYPPER, ["a"]), "zypper --non-interactive install --dry-run a"),
        (simulate(upgrade(PACMAN, [])), "pacman -Su --print --noconfirm"),
        (simulate(remove(PACMAN, ["a"])), "pacman -R --print --noconfirm a"),
        (fetch(DNF, ["a"]), "dnf -y reinstall --downloadonly a"),
        (
            fetch(ZYPPER, ["a"]),
            "zypper --non-interactive install --download-only --force --auto-agree-with-licenses a",
        ),
        (fetch(PACMAN, ["a"]), "pacman -Sw --noconfirm a"),
        (reinstall(PACMAN, ["a"]), "pacman -S --noconfirm a"),
    ],
)
def test_command_lines(argv, expected):
    assert " ".join(argv) == expected


def test_what_pacman_cannot():
    assert install_versions(PACMAN, {"a": "1"}) is None
    assert replace(PACMAN, ["a"], ["b"]) is None
    assert hold(PACMAN, ["a"]) is None
    assert clean(PACMAN) is None


@pytest.mark.parametrize("name", ["libcuda1", "libcuda1:i386", "nvidia-compute-G06", "libstdc++6", "python3.11"])
def test_names(name):
    assert package_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-y", "--purge", "a b", "a;b", "a|b", "$(id)", "a\n", "../x", "/x.rpm", "a-", "a+", "a=1", "a*", "!a", "ä"],
)
def test_what_is_no_name_makes_no_command(name):
    for make in (install, upgrade, reinstall, remove, hold, unhold):
        with pytest.raises(UnsafeWord, match="no name of a package"):
            make(APT, [name])
    with pytest.raises(UnsafeWord):
        replace(APT, ["a"], [name])


@pytest.mark.parametrize("version", ["", "1 2", "-1", "1;2", "1`id`", "1/../2", "1*"])
def test_what_is_no_version_makes_no_command(version):
    for manager in (APT, DNF, ZYPPER):
        with pytest.raises(UnsafeWord, match="no version"):
            install_versions(manager, {"a": version})
