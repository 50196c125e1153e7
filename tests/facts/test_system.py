"""Which kernel runs, or is taken as running, and what built it."""

from pathlib import Path

import pytest
from disk_trees import disk, facts_on

from gpudoctor.facts.system import Compiler, Kernel, OperatingSystem, compiler_of
from gpudoctor.host import Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

DEBIAN = (
    "Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, "
    "GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-10-30)\n"
)
UBUNTU = (
    "Linux version 6.8.0-48-generic (buildd@lcy02-amd64-010) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) "
    "13.2.0, GNU ld (GNU Binutils for Ubuntu) 2.42) #48-Ubuntu SMP PREEMPT_DYNAMIC Fri Sep 27 14:04:52 UTC 2024\n"
)
FEDORA = (
    "Linux version 6.17.1-300.fc43.x86_64 (mockbuild@6a1b) (gcc (GCC) 15.2.1 20250924 (Red Hat 15.2.1-2), "
    "GNU ld version 2.45-1.fc43) #1 SMP PREEMPT_DYNAMIC Mon Oct  6 15:37:21 UTC 2025\n"
)


@pytest.mark.parametrize(
    ("text", "name", "major", "words"),
    [
        (DEBIAN, "gcc", 12, "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"),
        (UBUNTU, "gcc", 13, "x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0"),
        (FEDORA, "gcc", 15, "gcc (GCC) 15.2.1 20250924 (Red Hat 15.2.1-2)"),
        (
            "Linux version 6.17.1-arch1-1 (linux@archlinux) (gcc (GCC) 15.2.1 20250813, GNU ld (GNU Binutils) 2.45.0) "
            "#1 SMP PREEMPT_DYNAMIC Mon, 06 Oct 2025 18:48:29 +0000",
            *("gcc", 15, "gcc (GCC) 15.2.1 20250813"),
        ),
        (
            "Linux version 4.18.0-147.5.1.el8_1.x86_64 (mockbuild@kbuilder.bsys.centos.org) "
            "(gcc version 8.3.1 20190507 (Red Hat 8.3.1-4) (GCC)) #1 SMP Wed Feb 5 02:00:39 UTC 2020",
            *("gcc", 8, "gcc version 8.3.1 20190507 (Red Hat 8.3.1-4) (GCC)"),
        ),
        (
            "Linux version 6.4.0-150600.23.25-default (geeko@buildhost) (gcc (SUSE Linux) 7.5.0, "
            "GNU ld (GNU Binutils; SUSE Linux Enterprise 15) 2.41.0.20230908) #1 SMP PREEMPT_DYNAMIC",
            *("gcc", 7, "gcc (SUSE Linux) 7.5.0"),
        ),
        (
            "Linux version 6.3.0-rc6-00039-g03cad1754b24-dirty (amiculas@archlinux-cisco) "
            "(clang version 15.0.7, LLD 15.0.7) #29 SMP PREEMPT_DYNAMIC Thu Apr 20 15:54:18 EEST 2023",
            *("clang", 15, "clang version 15.0.7"),
        ),
        (
            "Linux version 6.2.0-rc5 (root@fuzz) (Ubuntu clang version 14.0.0-1ubuntu1, Ubuntu LLD 14.0.0) #937 SMP",
            *("clang", 14, "Ubuntu clang version 14.0.0-1ubuntu1"),
        ),
        (
            "Linux version 6.1.25-android14 (build@build-host) (Android (10087095, +pgo, +bolt, based on r487747c) "
            "clang version 17.0.2 (https://android.googlesource.com/toolchain/llvm-project d9f89f4d), LLD 17.0.2) #1",
            "clang",
            17,
            "Android (10087095, +pgo, +bolt, based on r487747c) "
            "clang version 17.0.2 (https://android.googlesource.com/toolchain/llvm-project d9f89f4d)",
        ),
        (
            "Linux version 6.9.0 (gcc-11@clang-14.example) (gcc (GCC) 9.3.0, GNU ld 2.34) #1",
            "gcc",
            9,
            "gcc (GCC) 9.3.0",
        ),
        ("gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc", 12, "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"),
        ("gcc (GCC) 15.2.1 20250808 (Red Hat 15.2.1-1)", "gcc", 15, "gcc (GCC) 15.2.1 20250808 (Red Hat 15.2.1-1)"),
    ],
)
def test_compilers_of_real_kernels(text: str, name: str, major: int, words: str) -> None:
    assert compiler_of(text) == Compiler(name, major, words)


@pytest.mark.parametrize(
    "text",
    ["", "Linux version 6.1", "Linux version 6.1 (gcc@host)", "gcc", "tcc 0.9", "gcc ²", "((((", "gcc (((12 13.1"],
)
def test_no_compiler_is_made_up(text: str) -> None:
    assert compiler_of(text) is None


def _running(tmp_path: Path, files: dict[str, str | bytes]) -> Facts:
    load_plugins()
    disk(tmp_path, files)
    return Facts(MachineTree(str(tmp_path)))


def test_running_kernel(tmp_path: Path) -> None:
    facts = _running(
        tmp_path,
        {
            "/proc/version": UBUNTU,
            "/proc/sys/kernel/osrelease": "6.8.0-48-generic\n",
            "/proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-6.8.0-48-generic root=UUID=1 ro quiet\n",
            "/boot/vmlinuz-6.8.0-51-generic": "",
        },
    )
    kernel = facts.get(Kernel)
    assert (kernel.release, kernel.running) == ("6.8.0-48-generic", True)
    assert kernel.compiler == Compiler("gcc", 13, "x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0")
    assert kernel.command_line == ("BOOT_IMAGE=/boot/vmlinuz-6.8.0-48-generic", "root=UUID=1", "ro", "quiet")


def test_a_kernel_without_a_release_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="osrelease"):
        _running(tmp_path, {"/proc/version": "x"}).get(Kernel)


CONFIG = '#\n# Linux/x86 6.1.192 Kernel Configuration\n#\nCONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"\n'


def test_on_a_disk_the_kernel_that_boots_next(tmp_path: Path) -> None:
    facts = facts_on(tmp_path, {"/boot/vmlinuz-6.1.0-9-amd64": "", "/boot/vmlinuz-6.1.0-50-amd64": ""})
    assert facts.get(Kernel) == Kernel("6.1.0-50-amd64", False, None, ())


@pytest.mark.parametrize("path", ["/boot/config-6.1.0-50-amd64", "/lib/modules/6.1.0-50-amd64/config"])
def test_on_a_disk_the_kernels_configuration_names_the_compiler(tmp_path: Path, path: str) -> None:
    facts = facts_on(tmp_path, {"/boot/vmlinuz-6.1.0-50-amd64": "", path: CONFIG + "CONFIG_X=y\n" * 20_000})
    assert facts.get(Kernel).compiler == Compiler("gcc", 12, "gcc-12 (Debian 12.2.0-14) 12.2.0")


def test_on_a_disk_the_kernel_that_was_named(tmp_path: Path) -> None:
    load_plugins()
    disk(tmp_path, {"/boot/vmlinuz-6.1.0-56-amd64": "", "/boot/config-6.1.0-50-amd64": CONFIG})
    kernel = Facts(RootHost(str(tmp_path), "6.1.0-50-amd64")).get(Kernel)
    assert (kernel.release, kernel.running, kernel.compiler and kernel.compiler.major) == ("6.1.0-50-amd64", False, 12)


@pytest.mark.parametrize(
    "config", [b"\x00\xff\xfe" * 100, b'CONFIG_CC_VERSION_TEXT="', b'CONFIG_CC_VERSION_TEXT="tcc"']
)
def test_a_configuration_that_names_no_compiler(tmp_path: Path, config: bytes) -> None:
    facts = facts_on(tmp_path, {"/boot/vmlinuz-6.1.0-50-amd64": "", "/boot/config-6.1.0-50-amd64": config})
    assert facts.get(Kernel).compiler is None


def test_a_disk_without_a_kernel(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="name it with --kernel"):
        facts_on(tmp_path, {"/lib/modules/6.1.0-50-amd64/modules.dep": ""}).get(Kernel)


@pytest.mark.parametrize(
    ("text", "of_debian", "ostree"),
    [
        ("ID=debian\n", True, False),
        ("ID=ubuntu\nID_LIKE=debian\n", False, False),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', False, False),
        ("ID=linuxmint\nID_LIKE=debian\nVERSION_CODENAME=faye\n", True, False),
        ("ID=kali\nID_LIKE=debian\n", True, False),
        ("ID=fedora\nVARIANT_ID=silverblue\nOSTREE_VERSION='42.20251101.0'\n", False, True),
        ("ID=fedora\nVARIANT_ID=workstation\n", False, False),
    ],
)
def test_whose_packages_a_distribution_has(tmp_path: Path, text: str, of_debian: bool, ostree: bool) -> None:
    system = facts_on(tmp_path, {"/etc/os-release": text}).get(OperatingSystem)
    assert (system.of_debian, system.ostree) == (of_debian, ostree)
