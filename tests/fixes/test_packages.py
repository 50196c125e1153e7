"""Packages of the driver: finish, align, release, put back, remove the second driver."""

import pytest
from package_findings import status
from package_machines import DEBIAN, HEALTHY, bookworm_held, bookworm_held_back, dpkg, package
from package_machines import ubuntu as ubuntu_packages

from gpudoctor import Finding, Findings, Manual, Phase, Reboot
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.system import Kernel
from gpudoctor.findings import Status
from gpudoctor.testing import steps_of

APT = "apt-get -y --no-remove -o Dpkg::Options::=--force-confold"
H200 = PciGpus((PciGpu("0000:01:00.0", "2335", "", "NVIDIA H200", "Hopper", "either", None, "550.54.14"),))


def test_finish_with_dpkg(debian, a_package, commands):
    broken = (
        a_package("nvidia-kernel-dkms", state="half-configured"),
        a_package("nvidia-smi", state="unpacked"),
        a_package("libcuda1", state="half-installed"),
    )
    steps = steps_of("finish-packages", *debian, Packages("dpkg", broken))
    assert commands(steps) == [
        "dpkg --force-confold --configure -a",
        f"{APT} --fix-broken install",
        f"{APT} install --reinstall libcuda1",
        "modprobe -a nvidia nvidia_uvm",
    ]
    configure = steps[0]
    assert configure.phase < Phase.INSTALL, "apt-get refuses to install anything before"
    assert "half-" in str(configure.verify)


@pytest.mark.parametrize(
    ("name", "command", "verify"),
    [
        (
            "fedora",
            "dnf -y distro-sync akmod-nvidia xorg-x11-drv-nvidia-cuda-libs xorg-x11-drv-nvidia-cuda",
            "rpm --verify --nofiles",
        ),
        ("suse", "zypper --non-interactive verify", "rpm --verify --nofiles"),
        ("arch", "pacman -Syu --noconfirm", "pacman -Dk"),
    ],
)
def test_finish_with_others(machines, commands, name, command, verify):
    steps = steps_of("finish-packages", *machines[name])
    assert commands(steps)[0] == command
    assert str(steps[1].verify).startswith(verify)


def test_finish_restarts_only_where_the_loaded_driver_is_another(debian, with_module):
    facts = with_module(debian, loaded="535.309.01")
    assert not any(isinstance(step.action, Reboot) for step in steps_of("finish-packages", *facts))
    facts = with_module(debian, loaded="535.261.03")
    assert steps_of("finish-packages", *facts)[-1].action == Reboot()


def partly_upgraded(a_package, *, hold=False):
    return Packages(
        "dpkg",
        (
            a_package("libcuda1", "535.309.01-0+deb12u1"),
            a_package("libnvidia-ml1", "535.309.01-0+deb12u1"),
            a_package("nvidia-kernel-dkms", "535.261.03-1", hold=hold),
            a_package("nvidia-modprobe", "535.161.07-1"),
            a_package("nvidia-container-toolkit", "1.17.0-1"),
        ),
    )


def test_align_a_partial_upgrade(debian, with_module, a_package, commands):
    facts = with_module(debian, loaded="535.261.03")
    steps = steps_of("align-packages", *facts, partly_upgraded(a_package, hold=True))
    assert commands(steps) == [
        "apt-mark unhold nvidia-kernel-dkms",
        "apt-get --allow-change-held-packages -y --no-remove -o Dpkg::Options::=--force-confold install "
        "nvidia-kernel-dkms=535.309.01-0+deb12u1",
    ]
    assert str(steps[0].undo) == "apt-mark hold nvidia-kernel-dkms"
    install = steps[2]
    assert "535.309.01-0+deb12u1" in str(install.verify)
    assert "nvidia-kernel-dkms 535.261.03-1" in str(install.undo)
    assert steps[-1].action == Reboot()
    assert str(steps[-1].verify) == "grep -qF 535.309.01 /proc/driver/nvidia/version"


@pytest.mark.parametrize(
    ("name", "database", "command"),
    [
        ("fedora", "rpm", "dnf -y install akmod-nvidia-3:570.86.16-1.fc41"),
        ("suse", "rpm", "zypper --non-interactive install --auto-agree-with-licenses akmod-nvidia=3:570.86.16-1.fc41"),
        ("arch", "pacman", "pacman -Syu --noconfirm"),
    ],
)
def test_align_with_others(machines, a_package, commands, name, database, command):
    packages = Packages(
        database,
        (
            a_package("xorg-x11-drv-nvidia-cuda-libs", "3:570.86.16-1.fc41"),
            a_package("akmod-nvidia", "3:570.81.05-1.fc41"),
        ),
    )
    assert commands(steps_of("align-packages", *machines[name], packages))[0] == command


# They go with a driver of any version; bookworm_held_back has one that apt moved on past a hold.
COMPANIONS = [
    package(name, "580.82.07-0ubuntu1")
    for name in ("libnvidia-common-580", "nvidia-legacy-check", "nvidia-firmware-580-580.82.07", "nvidia-settings")
]


def a_library_alone_moved_on() -> Packages:
    newer = package("libnvidia-compute-580", "580.105.08-0ubuntu0.24.04.1")
    return dpkg({**ubuntu_packages(), newer.name: newer}.values())


@pytest.mark.parametrize(
    "packages",
    [
        *(packages for _, packages in HEALTHY.values()),
        *(
            bookworm_held_back(),
            dpkg([*ubuntu_packages().values(), *COMPANIONS]),
            bookworm_held(),
            a_library_alone_moved_on(),
        ),
    ],
)
def test_align_judges_as_the_check_does(debian, packages):
    """One of them would otherwise name a fault that the other does not see."""
    found = status("packages.partial-upgrade", DEBIAN, packages)
    steps = steps_of("align-packages", *debian, packages)
    assert bool(steps) == (found is Status.FOUND)


def test_align_leaves_companions_of_any_version_alone(ubuntu, commands):
    lagging = {one.name: one for one in (*a_library_alone_moved_on().packages, *COMPANIONS)}
    (command,) = commands(steps_of("align-packages", *ubuntu, dpkg(lagging.values())))
    assert "nvidia-dkms-580-open=580.105.08" in command
    assert "nvidia-driver-580-open=580.105.08" in command, "it is tied to the old version of the others"
    for other in ("libnvidia-common", "nvidia-legacy-check", "nvidia-firmware", "nvidia-settings"):
        assert other not in command


def test_foreign_architectures_are_named(debian, a_package, commands):
    packages = Packages(
        "dpkg",
        (
            a_package("libcuda1", "535.309.01-1"),
            a_package("libnvidia-ml1", "535.309.01-1"),
            a_package("libcuda1", "535.261.03-1", architecture="i386"),
        ),
    )
    (command,) = commands(steps_of("align-packages", *debian, packages))
    assert command.endswith("install libcuda1:i386=535.309.01-1")


def test_aligned_packages_need_nothing(debian, a_package):
    assert steps_of("align-packages", *debian) == ()
    two = Packages("dpkg", (a_package("libcuda1", "535.309.01-1"), a_package("libnvidia-compute-580", "580.95.05-1")))
    assert steps_of("align-packages", *debian, two) == (), "two branches are another fault"


def test_release_a_partial_hold(debian, a_package, commands):
    packages = Packages("dpkg", (a_package("libcuda1", hold=True), a_package("nvidia-kernel-dkms")))
    (step,) = steps_of("release-holds", *debian, packages)
    assert commands((step,)) == ["apt-mark unhold libcuda1"]
    assert "hold" in str(step.verify)
    whole = Packages("dpkg", (a_package("libcuda1", hold=True), a_package("nvidia-kernel-dkms", hold=True)))
    assert steps_of("release-holds", *debian, whole) == (), "somebody holds the whole driver on purpose"


@pytest.mark.parametrize(
    ("name", "words"),
    [("fedora", "dnf -y versionlock delete"), ("suse", "zypper --non-interactive removelock"), ("arch", "IgnorePkg")],
)
def test_release_holds_of_others(machines, a_package, name, words):
    packages = Packages("rpm", (a_package("akmod-nvidia", hold=True), a_package("xorg-x11-drv-nvidia-cuda-libs")))
    (step,) = steps_of("release-holds", *machines[name], packages)
    assert words in str(step.action)


def test_free_space(debian, by_hand, commands):
    steps = steps_of("free-space", *debian)
    assert str(steps[0].action) == "apt-get -s autoremove", "only shown: it may have the driver on its list"
    assert commands(steps) == ["apt-get clean"]
    assert "6.1.0-50-amd64" in by_hand(steps)
    assert "6.1.0-56-amd64" in by_hand(steps)
    both_needed = Kernel("6.1.0-50-amd64", True, None, ())
    text = by_hand(steps_of("free-space", *debian, both_needed))
    assert "remove downloaded packages, old logs" in text, "no kernel can go"


def test_libraries_are_put_back(machines, commands):
    for name, words in {
        "debian": f"{APT} install --reinstall libcuda1 libnvidia-ml1",
        "ubuntu": f"{APT} install --reinstall libnvidia-compute-580",
        "fedora": "dnf -y reinstall xorg-x11-drv-nvidia-cuda-libs",
        "suse": "zypper --non-interactive install --force --auto-agree-with-licenses nvidia-compute-G06",
        "arch": "pacman -S --noconfirm nvidia-utils",
    }.items():
        steps = steps_of("reinstall-libraries", *machines[name])
        assert commands(steps) == [words, "ldconfig"]
        assert str(steps[-1].verify) == "grep -qaF libcuda.so.1 /etc/ld.so.cache"


@pytest.mark.parametrize(
    ("name", "module", "library"),
    [
        ("debian", "nvidia-open-kernel-dkms", "libcuda1 libnvidia-ml1"),
        ("ubuntu", "nvidia-dkms-580-server-open", "libnvidia-compute-580-server"),
        ("fedora", "akmod-nvidia-470xx", "xorg-x11-drv-nvidia-470xx-cuda-libs"),
        ("fedora", "kmod-nvidia-open-dkms", "nvidia-driver-cuda-libs"),
        ("suse", "nvidia-open-driver-G07-signed-kmp-default", "nvidia-compute-G07"),
        ("arch", "nvidia-open-dkms", "nvidia-utils"),
    ],
)
def test_libraries_that_were_never_installed(machines, a_package, commands, name, module, library):
    packages = Packages("dpkg" if name in ("debian", "ubuntu") else "rpm", (a_package(module, "580.95.05-1"),))
    (install, _) = commands(steps_of("reinstall-libraries", *machines[name], packages))
    assert install.endswith(f" {library}")


@pytest.mark.parametrize(
    ("name", "packages", "expected"),
    [
        ("debian", {"nvidia-kernel-dkms": "535.309.01-1"}, "firmware-nvidia-gsp=535.309.01-1"),
        (
            "ubuntu",
            {"nvidia-kernel-common-580-server": "580.95.05-0ubuntu1"},
            "nvidia-firmware-580-server-580.95.05=580.95.05-0ubuntu1",
        ),
        ("arch", {"nvidia-utils": "565.57.01-2"}, "nvidia-utils"),
    ],
)
def test_gsp_firmware(machines, with_module, a_package, commands, name, packages, expected):
    known = Packages("dpkg", tuple(a_package(name, version) for name, version in packages.items()))
    version = next(iter(packages.values())).partition("-")[0]
    steps = steps_of("install-gsp-firmware", *with_module(machines[name], loaded=version), known)
    assert commands(steps)[0].endswith(f" {expected}")
    assert str(steps[1].verify) == f"test -e /lib/firmware/nvidia/{version}"
    assert steps[-1].action == Reboot()


def removal(*names, time=1000.0):
    return [PackageEvent(time, "", "remove", name, "580.95.05-1", "", "apt autoremove", True, "") for name in names]


def test_a_removed_driver_comes_back(ubuntu, a_package, commands):
    events = (
        *removal("nvidia-driver-535", "libnvidia-compute-535", time=10.0),
        *removal("nvidia-driver-580", "libnvidia-compute-580", "libnvidia-gl-580", "nvidia-container-toolkit", "vim"),
        *removal("linux-modules-nvidia-580-6.8.0-48-generic", "linux-modules-nvidia-580-generic"),
    )
    steps = steps_of("repeat-removed-packages", *ubuntu, Packages("dpkg", ()), PackageHistory(events))
    assert commands(steps) == [
        f"{APT} install nvidia-driver-580 libnvidia-compute-580 linux-modules-nvidia-580-generic"
    ]


def test_a_removed_driver_by_what_is_left_of_it(debian, a_package, commands):
    names = ("nvidia-kernel-dkms", "libcuda1", "nvidia-container-toolkit", "vim")
    left = Packages("dpkg", tuple(a_package(name, state="removed", conffiles_only=True) for name in names))
    steps = steps_of("repeat-removed-packages", *debian, left)
    assert commands(steps) == [f"{APT} install nvidia-kernel-dkms libcuda1"]
    assert steps_of("repeat-removed-packages", *debian) == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("debian", "nvidia-kernel-dkms"),
        ("ubuntu", "ubuntu-drivers install"),
        ("fedora", "RPM Fusion"),
        ("suse", "install-new-recommends"),
        ("arch", "nvidia-open"),
    ],
)
def test_a_first_driver_is_a_persons_choice(machines, by_hand, asked, name, words):
    text = by_hand(steps_of("install-driver", *machines[name], H200, asked("driver.not-installed")))
    assert words in text
    assert "550.54.14 or newer" in text


def test_where_a_system_changes_as_one_image_the_finding_knows_how(machines, by_hand):
    found = Finding("no driver.", "", (), "Install the driver: `rpm-ostree install akmod-nvidia`.")
    image = PackageManager("", "Fedora Silverblue is changed through rpm-ostree")
    steps = steps_of("install-driver", *machines["fedora"], image, H200, Findings((("driver.not-installed", found),)))
    assert by_hand(steps) == found.remedy


def test_names_that_are_none(debian, a_package):
    evil = ("libcuda1 --purge", "-oDPkg::Pre-Invoke::=reboot", "libcuda1;reboot", "nvidia-driver-580-", "libcuda1\n")
    for name in evil:
        packages = Packages("dpkg", (a_package(name, "535.261.03-1"), a_package("libnvidia-ml1", "535.309.01-1")))
        for fix in ("align-packages", "reinstall-libraries", "finish-packages"):
            facts = (*debian, packages, LoadedDriver("", "", "", "", {}))
            for step in steps_of(fix, *facts):
                words = getattr(step.action, "argv", ())
                assert not any(name in word for word in words), (fix, name)
    packages = Packages("dpkg", (a_package("libcuda1", "1.0; 535.309.01"), a_package("libnvidia-ml1")))
    assert steps_of("align-packages", *debian, packages) == ()
    held = Packages("dpkg", (a_package("libcuda1", "535.261.03-$(id)"), a_package("libnvidia-ml1", "535.309.01-`id`")))
    (step,) = steps_of("align-packages", *debian, held)
    assert isinstance(step.action, Manual)
    assert "no version" in step.action.instruction
