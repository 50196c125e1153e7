"""Was the package manager stopped half-way, was the disk full, does the system wait for a restart?"""

import re

import pytest
from package_findings import cuda, event, finding, history, nvml, outcome, printed, proof, status
from package_machines import (
    ARCH,
    DEBIAN,
    FEDORA,
    HEALTHY,
    NEW,
    OLD,
    arch,
    bookworm,
    dpkg,
    fedora_rpmfusion,
    package,
    pacman,
    rpm,
    tesla_470,
)

from gpudoctor import Severity
from gpudoctor.diagnose import diagnose
from gpudoctor.facts.kernels import InstalledKernel, InstalledKernels
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry
from gpudoctor.testing import facts_of

HALF, FULL, REBOOT = "packages.half-configured", "packages.disk-full", "packages.reboot-required"
MB = 1_000_000
ROOMY = FreeSpace(dict.fromkeys(("/", "/boot", "/usr", "/var"), 40_000 * MB))
QUIET = RebootRequired(False, (), "/run/reboot-required")


@pytest.mark.parametrize("check", [HALF, FULL, REBOOT])
@pytest.mark.parametrize("machine", HEALTHY)
def test_healthy_machines_raise_no_alarm(check: str, machine: str) -> None:
    system, packages = HEALTHY[machine]
    assert outcome(check, system, packages, ROOMY, QUIET).status is Status.OK


def interrupted() -> Packages:
    """As a real apt left it that was killed while the module was built."""
    machine = bookworm(NEW)
    machine["nvidia-kernel-dkms"] = machine["nvidia-kernel-dkms"]._replace(state="half-configured")
    machine["nvidia-smi"] = machine["nvidia-smi"]._replace(state="unpacked")
    machine["glx-alternative-nvidia"] = machine["glx-alternative-nvidia"]._replace(state="triggers")
    machine["libc-bin"] = package("libc-bin", "2.36-9+deb12u14", state="triggers")
    return dpkg(machine.values())


COMMAND = "apt-get -y install nvidia-kernel-dkms libcuda1 nvidia-smi"
CUT = event("nvidia-kernel-dkms", "upgrade", OLD, NEW, when="2026-11-23  20:38:54", command=COMMAND, complete=False)


def test_the_real_interrupted_upgrade() -> None:
    found = finding(HALF, DEBIAN, interrupted(), history(CUT), ROOMY)
    assert "unpacked: nvidia-smi; half-configured: nvidia-kernel-dkms" in found.summary
    assert f"The run on 2026-11-23 20:38:54 by `{COMMAND}` was interrupted." in found.summary
    assert "glx-alternative" not in found.summary  # it only waits for its trigger
    assert "/var/lib/dpkg/status: nvidia-kernel-dkms 535.309.01-0+deb12u1 (half-configured)" in proof(found)
    assert "(interrupted)" in proof(found)
    assert found.remedy.startswith("`dpkg --configure -a`")
    assert found.severity is None
    assert registry.checks[HALF].severity is Severity.ERROR


def test_what_the_log_says_of_the_last_run_is_proof() -> None:
    error = "dpkg: error processing package nvidia-tesla-470-kernel-dkms (--configure):"
    found = finding(HALF, DEBIAN, tesla_470(), printed(error))
    assert error in proof(found)
    assert error not in proof(finding(HALF, DEBIAN, tesla_470(), printed(error, latest=False)))


def test_a_failed_build_explains_it() -> None:
    load_plugins()
    causes = registry.checks[HALF].after
    assert {"kernel.driver-too-old-for-kernel", "kernel.module-build-failed", "kernel.compiler-mismatch"} <= {*causes}
    assert {"packages.overwrite-conflict", FULL} <= {*causes}


def test_a_full_disk_comes_first() -> None:
    full = FreeSpace({"/": 40_000 * MB, "/boot": 3 * MB})
    found = finding(HALF, DEBIAN, interrupted(), full)
    assert found.remedy.startswith("First make room on /boot. `dpkg --configure -a`")


def test_a_runfile_driver_stops_the_cleanup_package() -> None:
    """As on a real machine: its script refuses while nvidia-installer is there, and all behind it waits."""
    names = ("nvidia-kernel-dkms", "libcuda1", "make", "gcc-12")
    waiting = [package(name, "1", state="unpacked") for name in names]
    cleanup = package("nvidia-installer-cleanup", "20220217+3~deb12u1", state="half-configured")
    traces = RunfileTraces(("/usr/bin/nvidia-installer",), "", "/usr/bin/nvidia-uninstall", "")
    found = finding(HALF, DEBIAN, dpkg([*waiting, cleanup]), traces)
    assert "(and 2 others)" in found.summary
    assert "first run `/usr/bin/nvidia-uninstall`" in found.remedy


def test_a_kernel_that_could_not_be_configured() -> None:
    """As a real Debian 13 was left by a kernel too new for the driver."""
    names = ("linux-image-7.3.4+deb13-cloud-amd64", "linux-headers-7.3.4+deb13-cloud-amd64")
    found = finding(HALF, DEBIAN, dpkg([package(name, "7.3.4-1~bpo13+1", state="half-configured") for name in names]))
    assert "linux-image-7.3.4+deb13-cloud-amd64" in found.summary


def test_other_software_is_not_ours() -> None:
    assert status(HALF, DEBIAN, dpkg([package("postfix", "3.7", state="half-configured")])) is Status.OK


def test_a_gpu_that_answers_makes_it_a_warning() -> None:
    assert finding(HALF, DEBIAN, interrupted(), nvml(), cuda()).severity is Severity.WARNING
    assert finding(HALF, DEBIAN, interrupted(), nvml(), cuda(999)).severity is None


def test_an_interrupted_pacman() -> None:
    machine = arch()
    machine["nvidia-utils"] = machine["nvidia-utils"]._replace(state="half-installed")
    found = finding(HALF, ARCH, pacman(machine.values()))
    assert "`pacman -Syu nvidia-utils`" in found.remedy
    assert "dpkg" not in found.remedy


ENOSPC = (
    "cannot copy extracted data for './boot/vmlinuz' to '/boot/vmlinuz.dpkg-new': failed to write "
    "(No space left on device)"
)
KERNELS = InstalledKernels(
    tuple(InstalledKernel(f"6.1.0-{number}-amd64", "", True, "", "", None) for number in (56, 50, 48, 47)),
    "6.1.0-56-amd64",
    "/vmlinuz",
)
RUNNING = Kernel("6.1.0-50-amd64", True, None, ())


def test_a_full_boot_stopped_the_upgrade() -> None:
    full = FreeSpace({"/": 40_000 * MB, "/usr": 40_000 * MB, "/var": 40_000 * MB, "/boot": 12 * MB})
    found = finding(FULL, DEBIAN, full, interrupted(), printed(ENOSPC), KERNELS, RUNNING)
    assert "12 MB on /boot; packages are half installed." in found.summary
    assert found.severity is None
    assert registry.checks[FULL].severity is Severity.ERROR
    assert "/boot: 12 MB free" in proof(found)
    assert "No space left on device" in proof(found)
    assert "nvidia-kernel-dkms 535.309.01-0+deb12u1 (half-configured)" in proof(found)
    assert "`apt-get remove linux-image-6.1.0-48-amd64 linux-image-6.1.0-47-amd64`" in found.remedy
    assert "6.1.0-50" not in found.remedy
    assert "6.1.0-56" not in found.remedy
    assert found.remedy.endswith("Then `dpkg --configure -a`.")


def test_one_file_system_is_told_once() -> None:
    full = FreeSpace(dict.fromkeys(("/", "/boot", "/usr", "/var"), 7 * MB))
    found = finding(FULL, DEBIAN, full, interrupted())
    assert "7 MB on / and /boot and /usr and /var" in found.summary
    assert "`apt-get clean`" in found.remedy


def test_what_dpkg_deleted_again_leaves_some_room() -> None:
    some = FreeSpace({"/": 200 * MB, "/var": 200 * MB})
    assert finding(FULL, DEBIAN, some, interrupted(), printed(ENOSPC)).severity is None
    assert finding(FULL, DEBIAN, some, interrupted()).severity is Severity.WARNING


def test_an_old_failure_is_over() -> None:
    full = FreeSpace({"/": 20 * MB})
    found = finding(FULL, DEBIAN, full, dpkg(bookworm().values()), printed(ENOSPC, latest=False))
    assert found.severity is Severity.WARNING
    assert finding(FULL, DEBIAN, full, dpkg(bookworm().values()), printed(ENOSPC)).severity is None


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ({"/": 499 * MB}, Status.FOUND),
        ({"/": 501 * MB, "/var": 499 * MB}, Status.FOUND),
        ({"/": 501 * MB, "/boot": 59 * MB}, Status.FOUND),
        ({"/": 501 * MB, "/var": 501 * MB, "/boot": 61 * MB, "/usr": 10 * MB}, Status.OK),
    ],
)
def test_when_it_gets_tight(free: dict[str, int], expected: Status) -> None:
    found = outcome(FULL, DEBIAN, FreeSpace(free), dpkg(bookworm().values()))
    assert found.status is expected
    assert all(one.severity is Severity.WARNING for one in found.findings)


def test_without_a_packaged_driver_a_tight_disk_is_not_our_business() -> None:
    tight = FreeSpace({"/": 300 * MB})
    assert status(FULL, DEBIAN, tight, dpkg([package("linux-image-amd64", "6.1.176-1")])) is Status.OK


def test_other_managers_have_other_commands() -> None:
    tight = FreeSpace({"/": 300 * MB})
    found = finding(FULL, FEDORA, tight, rpm(fedora_rpmfusion().values()), KERNELS, RUNNING)
    assert "`dnf clean packages`" in found.remedy
    assert "`dnf remove --oldinstallonly`" in found.remedy
    assert "dpkg" not in found.remedy
    assert "`pacman -Sc`" in finding(FULL, ARCH, tight, pacman(arch().values())).remedy


def test_a_disk_full_explains_what_is_half_installed() -> None:
    load_plugins()
    full = FreeSpace({"/": 7 * MB})
    facts = facts_of(
        DEBIAN, interrupted(), full, Confinement("", False), history(CUT), printed(ENOSPC), nvml(9), cuda(100)
    )
    report = diagnose(facts, [registry.checks[FULL], registry.checks[HALF]])
    (ranked,) = report.findings
    assert (ranked.check.id, ranked.explains) == (FULL, (HALF,))


def test_a_restart_for_a_kernel_or_for_something_else() -> None:
    flag = RebootRequired(True, ("libc6", "linux-image-6.8.0-90-generic", "linux-base"), "/run/reboot-required")
    found = finding(REBOOT, flag)
    assert "because of linux-image-6.8.0-90-generic." in found.summary
    assert found.severity is Severity.WARNING
    assert "libc6, linux-image-6.8.0-90-generic, linux-base" in proof(found)
    driver = RebootRequired(True, ("nvidia-kernel-common-580",), "/run/reboot-required")
    assert finding(REBOOT, driver).severity is Severity.WARNING
    other = finding(REBOOT, RebootRequired(True, ("libc6",), "/run/reboot-required"))
    assert other.severity is Severity.INFO
    assert "the GPU does not need it" in other.remedy
    assert finding(REBOOT, RebootRequired(True, (), "/run/reboot-required")).severity is Severity.INFO


def test_where_it_cannot_be_told_or_makes_no_sense() -> None:
    flag = RebootRequired(True, ("linux-base",), "/run/reboot-required")
    facts = (DEBIAN, interrupted(), ROOMY, flag)
    for check in (HALF, FULL, REBOOT):
        assert status(check, *facts, Confinement("docker", False)) is Status.SKIPPED
        assert status(check, *facts, Confinement("", True)) is Status.SKIPPED
    assert status(HALF, DEBIAN, without=(Packages,)) is Status.UNKNOWN
    assert status(FULL, DEBIAN, interrupted(), without=(FreeSpace,)) is Status.UNKNOWN
    assert status(REBOOT, without=(RebootRequired,)) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (HALF, "dpkg: error processing package nvidia-dkms-580 (--configure)"),
        (HALF, "dpkg: error processing package nvidia-tesla-470-kernel-dkms (--configure):"),
        (HALF, "dpkg: error processing package linux-headers-7.3.4+deb13-cloud-amd64 (--configure):"),
        (HALF, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. "),
        (HALF, "E: dpkg was interrupted, you must manually run 'sudo dpkg --configure -a' to correct the problem."),
        (HALF, "E: Sub-process /usr/bin/dpkg returned an error code (1)"),
        (FULL, ENOSPC),
        (FULL, "E: You don't have enough free space in /var/cache/apt/archives/."),
        (FULL, "At least 212MB more space needed on the / filesystem."),
        (FULL, "error: Partition / too full: 51424 blocks needed, 49231 blocks free"),
        (REBOOT, "*** System restart required ***"),
    ],
)
def test_messages_that_users_see(check: str, message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[check].symptoms)
