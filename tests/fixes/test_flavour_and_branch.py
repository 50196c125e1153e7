"""The GPU needs other kernel modules or another branch; and the keys that sign modules."""

import pytest

from gpudoctor import Manual, Phase, Reboot, Risk, WriteFile
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.secure_boot import SecureBoot, SigningKey
from gpudoctor.testing import steps_of

APT = "apt-get -y -o Dpkg::Options::=--force-confold install"
BLACKWELL = PciGpu("0000:01:00.0", "2c58", "nvidia", "RTX PRO 5000", "Blackwell", "open-only", None, "570.133.07")
PASCAL = PciGpu("0000:02:00.0", "1b06", "nvidia", "GTX 1080 Ti", "Pascal", "proprietary-only", 580, "")
EITHER = PciGpu("0000:03:00.0", "2335", "nvidia", "H200", "Hopper", "either", None, "550.54.14")


def test_open_modules_on_ubuntu(ubuntu, with_module, commands):
    facts = with_module(ubuntu, loaded="580.95.05")
    steps = steps_of("switch-flavour", *facts, PciGpus((BLACKWELL,)))
    (exchange,) = commands(steps)
    assert exchange == f"{APT} nvidia-driver-580-open nvidia-dkms-580-open nvidia-driver-580- nvidia-dkms-580-"
    assert steps[1].risk is Risk.HIGH
    assert str(steps[1].undo).endswith(
        "nvidia-driver-580 nvidia-dkms-580 nvidia-driver-580-open- nvidia-dkms-580-open-"
    )
    assert steps[-1].action == Reboot()


@pytest.mark.parametrize(
    ("name", "packages", "gpu", "expected"),
    [
        (
            "ubuntu",
            ["linux-modules-nvidia-580-server-open-generic-hwe-24.04", "nvidia-driver-580-server-open"],
            PASCAL,
            f"{APT} linux-modules-nvidia-580-server-generic-hwe-24.04 nvidia-driver-580-server "
            "linux-modules-nvidia-580-server-open-generic-hwe-24.04- nvidia-driver-580-server-open-",
        ),
        ("debian", ["nvidia-kernel-dkms"], EITHER._replace(module="open-only"), "open"),
        ("debian", ["nvidia-open-kernel-dkms"], PASCAL, f"{APT} nvidia-kernel-dkms nvidia-open-kernel-dkms-"),
        ("fedora", ["kmod-nvidia-latest-dkms"], BLACKWELL, "dnf -y install --allowerasing kmod-nvidia-open-dkms"),
        (
            "suse",
            ["nvidia-driver-G06-kmp-default"],
            BLACKWELL,
            "zypper --non-interactive install --auto-agree-with-licenses nvidia-open-driver-G06-signed-kmp-default "
            "'!nvidia-driver-G06-kmp-default'",
        ),
        (
            "suse",
            ["nvidia-open-driver-G06-signed-kmp-default"],
            PASCAL,
            "zypper --non-interactive install --auto-agree-with-licenses nvidia-driver-G06-kmp-default "
            "'!nvidia-open-driver-G06-signed-kmp-default'",
        ),
    ],
)
def test_exchange_of_the_modules(machines, with_module, a_package, commands, name, packages, gpu, expected):
    flavour = "open" if gpu is PASCAL else "proprietary"
    facts = with_module(machines[name], flavour=flavour)
    known = Packages("dpkg" if name in ("debian", "ubuntu") else "rpm", tuple(a_package(name) for name in packages))
    gpus = PciGpus((gpu._replace(first_driver=""),))
    (exchange, *_) = commands(steps_of("switch-flavour", *facts, known, gpus))
    assert exchange == (f"{APT} nvidia-open-kernel-dkms nvidia-kernel-dkms-" if expected == "open" else expected)


def test_arch_removes_and_installs(arch, with_module, commands):
    steps = steps_of("switch-flavour", *with_module(arch), PciGpus((EITHER._replace(module="open-only"),)))
    typed = commands(steps)
    assert typed[:2] == ["pacman -R --noconfirm nvidia-dkms", "pacman -S --noconfirm --needed nvidia-open-dkms"]
    assert str(steps[0].undo) == "pacman -S --noconfirm --needed nvidia-dkms"


def test_rpm_fusion_builds_open_modules_by_a_setting(fedora, with_module, commands, by_hand):
    steps = steps_of("switch-flavour", *with_module(fedora), PciGpus((EITHER._replace(module="open-only"),)))
    assert steps[0].action == WriteFile("/etc/rpm/macros.nvidia-kmod", "%_with_kmod_nvidia_open 1\n")
    assert commands(steps) == ["akmods --force --rebuild --kernels 6.11.4-301.fc41.x86_64"]
    text = by_hand(steps_of("switch-flavour", *with_module(fedora, flavour="open"), PciGpus((PASCAL,))))
    assert "akmod-nvidia-580xx" in text


@pytest.mark.parametrize(
    ("name", "words"), [("debian", "nvidia-open"), ("fedora", "dnf module switch-to nvidia-driver:open-dkms")]
)
def test_flavours_that_a_person_has_to_exchange(machines, with_module, a_package, by_hand, name, words):
    facts = with_module(machines[name])
    vendor = "NVIDIA CORPORATION <cudatools@nvidia.com>"
    packages = Packages("rpm" if name == "fedora" else "dpkg", (a_package("kmod-nvidia-latest-dkms", vendor=vendor),))
    system = facts[0]._replace(**({"id": "rhel", "version": "9.5"} if name == "fedora" else {}))
    gpus = PciGpus((EITHER._replace(module="open-only", first_driver=""),))
    assert words in by_hand(steps_of("switch-flavour", *facts, packages, system, gpus))


def test_no_switch_where_it_would_not_help(ubuntu, with_module):
    facts = with_module(ubuntu, loaded="580.95.05")
    assert steps_of("switch-flavour", *facts, PciGpus((EITHER,))) == ()
    newer = PciGpus((BLACKWELL._replace(first_driver="590.10.10"),))
    assert steps_of("switch-flavour", *facts, newer) == (), "no flavour of this branch knows the GPU"
    already = with_module(ubuntu, loaded="580.95.05", flavour="open")
    assert steps_of("switch-flavour", *already, PciGpus((BLACKWELL,))) == ()


def test_two_gpus_that_need_different_modules(ubuntu, with_module, by_hand):
    steps = steps_of("switch-flavour", *with_module(ubuntu), PciGpus((BLACKWELL, PASCAL)))
    assert "take the other out" in by_hand(steps)
    assert len(steps) == 1


def test_an_older_branch_on_ubuntu(ubuntu, with_module, a_package, commands, asked):
    packages = Packages("dpkg", (a_package("nvidia-driver-590-open"), a_package("nvidia-utils-590")))
    facts = (*with_module(ubuntu), packages, PciGpus((PASCAL,)))
    steps = steps_of("change-branch", *facts, asked(("driver.gpu-needs-legacy-branch", PASCAL.address)))
    assert commands(steps)[0] == (f"{APT} nvidia-driver-580 nvidia-utils-580 nvidia-driver-590-open- nvidia-utils-590-")


def test_a_newer_branch_on_ubuntu(ubuntu, with_module, a_package, commands, asked):
    packages = Packages("dpkg", (a_package("nvidia-driver-535-server"),))
    facts = (*with_module(ubuntu), packages, PciGpus((BLACKWELL,)))
    steps = steps_of("change-branch", *facts, asked(("driver.gpu-newer-than-driver", BLACKWELL.address)))
    assert commands(steps)[0] == f"{APT} nvidia-driver-570-server-open nvidia-driver-535-server-"
    assert steps_of("upgrade-driver", *facts, asked("driver.gpu-newer-than-driver")) == ()


def test_an_older_branch_of_rpm_fusion(fedora, with_module, commands, asked):
    facts = (*with_module(fedora), PciGpus((PASCAL,)))
    steps = steps_of("change-branch", *facts, asked("driver.gpu-needs-legacy-branch"))
    assert commands(steps)[0] == ("dnf -y install --allowerasing akmod-nvidia-580xx xorg-x11-drv-nvidia-580xx-cuda")


@pytest.mark.parametrize(
    ("name", "words"), [("debian", "nvidia-driver-pinning-580"), ("arch", "nvidia-580xx-dkms"), ("suse", "addlock")]
)
def test_branches_that_a_person_has_to_choose(machines, with_module, by_hand, asked, name, words):
    facts = (*with_module(machines[name]), PciGpus((PASCAL,)))
    assert words in by_hand(steps_of("change-branch", *facts, asked("driver.gpu-needs-legacy-branch")))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("debian", "install --only-upgrade nvidia-kernel-dkms libcuda1 libnvidia-ml1 nvidia-smi"),
        ("fedora", "dnf -y upgrade akmod-nvidia xorg-x11-drv-nvidia-cuda-libs xorg-x11-drv-nvidia-cuda"),
        ("suse", "update --auto-agree-with-licenses nvidia-driver-G06-kmp-default nvidia-compute-G06"),
        ("arch", "pacman -Syu --noconfirm"),
    ],
)
def test_a_newer_release(machines, commands, asked, name, command):
    steps = steps_of("upgrade-driver", *machines[name], asked("kernel.driver-too-old-for-kernel"))
    assert commands(steps)[0].endswith(command)
    assert str(steps[1].verify).startswith("modinfo -k"), "the module must be there afterwards"


# Secure Boot

KEY = "/var/lib/shim-signed/mok/MOK.der"


def test_a_key_is_enrolled_at_the_console(debian, with_module, commands, by_hand):
    secure_boot = SecureBoot(True, "integrity", (SigningKey(KEY, False, False),))
    steps = steps_of("enrol-key", *with_module(debian), secure_boot)
    assert f"mokutil --import {KEY}" in by_hand(steps)
    assert "MokManager" in by_hand(steps)
    assert commands(steps) == [
        "dkms remove nvidia-current/535.309.01 -k 6.1.0-56-amd64",
        "dkms install --force nvidia-current/535.309.01 -k 6.1.0-56-amd64",
    ]
    assert not any(isinstance(step.action, Reboot) for step in steps), "nobody would be at the console"


@pytest.mark.parametrize(
    ("name", "path", "command"),
    [
        ("debian", "/var/lib/dkms/mok.pub", None),
        ("ubuntu", KEY, "update-secureboot-policy --new-key"),
        ("fedora", "/etc/pki/akmods/certs/public_key.der", "kmodgenca -a"),
        ("suse", "/usr/share/nvidia-pubkeys/", None),
    ],
)
def test_a_key_that_is_not_made_yet(machines, with_module, commands, by_hand, name, path, command):
    facts = (*with_module(machines[name]), Dkms(False, ()), SecureBoot(True, "", ()))
    steps = steps_of("enrol-key", *facts)
    assert path in by_hand(steps)
    assert commands(steps) == ([command] if command else [])


def test_a_known_key_signs_again(debian, with_module, commands):
    secure_boot = SecureBoot(True, "", (SigningKey("/var/lib/dkms/mok.pub", True, False),))
    steps = steps_of("sign-module-again", *with_module(debian), secure_boot)
    assert commands(steps)[-1] == "modprobe -a nvidia nvidia_uvm"
    assert steps_of("enrol-key", *with_module(debian), secure_boot) == ()


def test_a_waiting_key_is_confirmed(debian, by_hand):
    (step,) = steps_of("confirm-key", *debian, SecureBoot(True, "", (SigningKey(KEY, False, True),)))
    assert isinstance(step.action, Manual)
    assert step.phase is Phase.AFTERWARDS
    assert steps_of("confirm-key", *debian, SecureBoot(True, "", (SigningKey(KEY, False, False),))) == ()


def test_ubuntus_signed_module_comes_before_a_key(ubuntu, with_module, commands):
    steps = steps_of("sign-by-prebuilt-module", *with_module(ubuntu))
    names = "linux-modules-nvidia-580-6.14.0-37-generic linux-modules-nvidia-580-generic-hwe-24.04"
    assert commands(steps)[0] == f"{APT} {names} nvidia-driver-580 nvidia-dkms-580-"


def test_secure_boot_that_is_off_needs_no_key(debian, with_module):
    off = SecureBoot(False, "none", (SigningKey(KEY, False, False),))
    assert steps_of("enrol-key", *with_module(debian), off) == ()
    assert steps_of("sign-module-again", *with_module(debian), off) == ()
