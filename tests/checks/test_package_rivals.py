"""Two installations, two branches, two origins, two modules."""

import re

import pytest
from package_findings import cuda, finding, nvml, outcome, proof, status
from package_machines import (
    DEBIAN,
    FEDORA,
    HEALTHY,
    NEW,
    OLD,
    UBUNTU,
    UBUNTU_DEVELOPERS,
    bookworm,
    dpkg,
    fedora_rpmfusion,
    package,
    rpm,
    ubuntu,
    ubuntu_prebuilt,
)

from gpudoctor import Severity
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry

RUNFILE, BRANCHES = "packages.runfile-and-packages", "packages.two-branches"
ORIGINS, MODULES = "packages.mixed-origins", "packages.dkms-and-prebuilt"

# As laid over the real Debian root.
TRACES = RunfileTraces(
    ("/var/lib/nvidia/dirs", "/var/lib/nvidia/log", "/usr/bin/nvidia-uninstall"),
    "550.54.14",
    "/usr/bin/nvidia-uninstall",
    "/var/log/nvidia-installer.log",
)
NO_TRACES = RunfileTraces((), "550.54.14", "", "/var/log/nvidia-installer.log")
KERNEL = Kernel("6.8.0-90-generic", True, None, ())
NVIDIA = "cudatools <cudatools@nvidia.com>"


def versions(loaded: str = "", on_disk: str = "", user_space: str = "") -> DriverVersions:
    path = "/lib/modules/6.8.0-90-generic/updates/dkms/nvidia.ko" if on_disk else ""
    library = f"/usr/lib/x86_64-linux-gnu/libcuda.so.{user_space}" if user_space else ""
    return DriverVersions(loaded, on_disk, path, user_space, library, "", "")


def libraries(version: str) -> DriverLibraries:
    path = "/usr/lib/x86_64-linux-gnu/libcuda.so"
    return DriverLibraries(
        (DriverLibrary("libcuda.so.1", f"{path}.1", f"{path}.{version}", version, "ld.so.cache", 0.0),)
    )


@pytest.mark.parametrize("check", [RUNFILE, BRANCHES, ORIGINS, MODULES])
@pytest.mark.parametrize("machine", HEALTHY)
def test_healthy_machines_raise_no_alarm(check: str, machine: str) -> None:
    system, packages = HEALTHY[machine]
    assert outcome(check, system, packages, NO_TRACES, KERNEL).status is Status.OK


def test_a_runfile_driver_over_packages() -> None:
    found = finding(RUNFILE, DEBIAN, dpkg(bookworm().values()), TRACES, libraries("550.54.14"))
    assert "550.54.14 from NVIDIA's .run file, and 535.261.03 from packages" in found.summary
    assert (
        "libcuda.so.1 leads to /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14, which no package brings" in found.summary
    )
    assert found.severity is Severity.ERROR
    assert "/usr/bin/nvidia-uninstall" in proof(found)
    assert "libcuda1 535.261.03-1" in proof(found)
    order = ["`/usr/bin/nvidia-uninstall`", "`apt-get install --reinstall libcuda1 libnvidia-ml1", "`dpkg -V libcuda1"]
    places = [found.remedy.index(step) for step in order]
    assert places == sorted(places)
    assert "purge" not in found.remedy


def test_a_runfile_driver_of_the_packages_own_version_works_for_now() -> None:
    same = TRACES._replace(version="535.261.03")
    agreed = versions("535.261.03", "535.261.03", "535.261.03")
    found = finding(RUNFILE, DEBIAN, dpkg(bookworm().values()), same, libraries("535.261.03"), agreed)
    assert found.severity is Severity.WARNING
    other = versions("550.54.14", "550.54.14", "535.261.03")
    assert finding(RUNFILE, DEBIAN, dpkg(bookworm().values()), same, other).severity is Severity.ERROR


def test_a_gpu_that_answers_outranks_the_versions() -> None:
    facts = (DEBIAN, dpkg(bookworm().values()), TRACES, libraries("550.54.14"))
    assert finding(RUNFILE, *facts, nvml(), cuda()).severity is Severity.WARNING


def test_without_its_uninstaller_the_run_file_uninstalls() -> None:
    lost = TRACES._replace(uninstaller="", version="")
    found = finding(RUNFILE, DEBIAN, dpkg(bookworm().values()), lost, libraries("550.54.14"))
    assert "run the .run file of the same version (550.54.14) with `--uninstall`" in found.remedy


def test_a_runfile_driver_alone_is_no_conflict() -> None:
    tools = {name: one for name, one in bookworm().items() if name in ("nvidia-modprobe", "nvidia-smi", "dkms")}
    assert status(RUNFILE, DEBIAN, dpkg(tools.values()), TRACES) is Status.OK


def mixed_branches() -> dict[str, object]:
    machine = {name: one for name, one in ubuntu("570", "570.195.03-0ubuntu0.24.04.1").items() if "-gl-" in name}
    return {**ubuntu(), **machine}


def test_libraries_of_two_branches() -> None:
    found = finding(BRANCHES, UBUNTU, dpkg(mixed_branches().values()), versions("580.95.05", "580.95.05", "580.95.05"))
    assert "570: libnvidia-gl-570" in found.summary
    assert "580: libnvidia-gl-580, libnvidia-compute-580" in found.summary
    assert "Keep one, 580 as the module is of it" in found.remedy
    assert "`apt-get remove libnvidia-gl-570`" in found.remedy
    assert found.severity is Severity.WARNING
    assert "libnvidia-gl-570 570.195.03-0ubuntu0.24.04.1" in proof(found)


def test_two_branches_and_a_mismatch_are_an_error() -> None:
    wrong = versions("570.195.03", "570.195.03", "580.95.05")
    found = finding(BRANCHES, UBUNTU, dpkg(mixed_branches().values()), wrong)
    assert found.severity is Severity.ERROR
    assert "Keep one, 570 as the module is of it" in found.remedy
    assert "libnvidia-compute-580" in found.remedy


def test_the_server_set_beside_the_desktop_set() -> None:
    server = {name: one for name, one in ubuntu("580-server", flavour="").items() if "libnvidia-compute" in name}
    found = finding(BRANCHES, UBUNTU, dpkg({**ubuntu(), **server}.values()))
    assert "580-server: libnvidia-compute-580-server" in found.summary


def test_debian_keeps_legacy_drivers_beside_the_usual_one() -> None:
    legacy = package("libnvidia-tesla-470-cuda1", "470.256.02-1~deb12u1")
    found = finding(BRANCHES, DEBIAN, dpkg([*bookworm().values(), legacy]))
    assert "tesla-470: libnvidia-tesla-470-cuda1" in found.summary
    assert found.severity is Severity.WARNING
    assert "`update-alternatives --config nvidia`" in found.remedy
    # Each is whole in itself.
    assert status("packages.partial-upgrade", DEBIAN, dpkg([*bookworm().values(), legacy])) is Status.OK


def test_leftover_settings_of_another_branch_do_no_harm() -> None:
    left = package("libnvidia-compute-535", "535.183.01-0ubuntu0.24.04.1", state="removed")
    assert status(BRANCHES, UBUNTU, dpkg([*ubuntu().values(), left])) is Status.OK


def test_versions_of_names_without_a_branch_are_a_partial_upgrade_not_two_branches() -> None:
    machine = bookworm("550.163.01-2")
    machine["libnvidia-ml1"] = bookworm(OLD)["libnvidia-ml1"]
    assert status(BRANCHES, DEBIAN, dpkg(machine.values())) is Status.OK
    assert status("packages.partial-upgrade", DEBIAN, dpkg(machine.values())) is Status.FOUND


def test_packages_of_debian_and_of_nvidia() -> None:
    debian = "Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>"
    machine = {name: one._replace(vendor=debian) for name, one in bookworm().items()}
    assert status(ORIGINS, DEBIAN, dpkg(machine.values())) is Status.OK
    for name in ("libcuda1", "nvidia-settings", "nvidia-container-toolkit"):
        machine[name] = package(name, OLD, vendor="NVIDIA CORPORATION <cudatools@nvidia.com>")
    found = finding(ORIGINS, DEBIAN, dpkg(machine.values()))
    assert found.severity is None
    assert "Debian (libnvidia-ml1" in found.summary
    assert "NVIDIA (libcuda1)" in found.summary
    assert "NVIDIA CORPORATION <cudatools@nvidia.com>: libcuda1 535.261.03-1" in proof(found)
    assert "`apt-cache policy libcuda1`" in found.remedy
    assert "`apt-get install libcuda1`" in found.remedy


def test_ubuntus_ready_modules_with_nvidias_libraries() -> None:
    machine = ubuntu_prebuilt("580")
    for name, one in machine.items():
        if not name.startswith("linux-"):
            machine[name] = one._replace(vendor=NVIDIA, version=one.version.replace("-0ubuntu0.24.04.2", "-1ubuntu1"))
    found = finding(ORIGINS, UBUNTU, dpkg(machine.values()))
    assert "Ubuntu (linux-modules-nvidia-580-6.8.0-88-generic" in found.summary
    assert "To stay with Ubuntu" in found.remedy  # NVIDIA has no such modules


def test_a_maintainer_who_proves_nothing_is_not_counted() -> None:
    """NVIDIA's packages for Ubuntu may name Ubuntu's developers."""
    machine = ubuntu(vendor=NVIDIA)
    machine["libnvidia-gl-580"] = package("libnvidia-gl-580", "580.95.05-0ubuntu1", vendor=UBUNTU_DEVELOPERS)
    machine["libnvidia-fbc1-580"] = package("libnvidia-fbc1-580", "580.95.05-0ubuntu1")
    assert status(ORIGINS, UBUNTU, dpkg(machine.values())) is Status.OK


def test_rpm_fusion_and_nvidias_repository() -> None:
    machine = fedora_rpmfusion()
    machine["other"] = package("nvidia-driver-cuda-libs", "3:580.95.05-1.fc42", vendor="NVIDIA Corporation")
    found = finding(ORIGINS, FEDORA, rpm(machine.values()))
    assert "RPM Fusion (xorg-x11-drv-nvidia" in found.summary
    assert "NVIDIA (nvidia-driver-cuda-libs)" in found.summary
    assert "`dnf install nvidia-driver-cuda-libs`" in found.remedy


def test_the_module_twice() -> None:
    machine = {**ubuntu("580", flavour=""), **ubuntu_prebuilt("580")}
    machine["nvidia-dkms-580"] = ubuntu("580", flavour="")["nvidia-dkms-580"]
    found = finding(MODULES, UBUNTU, dpkg(machine.values()), KERNEL, versions(on_disk="580.95.05"))
    assert "nvidia-dkms-580" in found.summary
    assert "linux-modules-nvidia-580-6.8.0-88-generic" in found.summary
    assert "/updates/dkms/nvidia.ko" in proof(found)
    assert "remove the other: `apt-get remove nvidia-dkms-580`" in found.remedy
    own = Kernel("6.16.0-mine", True, None, ())
    found = finding(MODULES, UBUNTU, dpkg(machine.values()), own)
    assert "Only DKMS covers kernel 6.16.0-mine" in found.remedy
    assert "`apt-get remove linux-modules-nvidia-580-6.8.0-88-generic" in found.remedy


@pytest.mark.parametrize("check", [RUNFILE, BRANCHES, ORIGINS, MODULES])
def test_where_it_cannot_be_told_or_makes_no_sense(check: str) -> None:
    assert status(check, DEBIAN, TRACES, KERNEL, without=(Packages,)) is Status.UNKNOWN
    packages = dpkg(bookworm(NEW).values())
    assert status(check, DEBIAN, packages, TRACES, KERNEL, Confinement("podman", False)) is Status.SKIPPED
    assert status(check, DEBIAN, packages, TRACES, KERNEL, Confinement("", True)) is Status.SKIPPED


def test_unknown_traces_are_unknown() -> None:
    assert status(RUNFILE, DEBIAN, dpkg(bookworm().values()), without=(RunfileTraces,)) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (RUNFILE, "-> An alternate method of installing the NVIDIA driver was detected. (This is usually a package"),
        (RUNFILE, "The NVIDIA driver appears to have been installed previously using a different installer."),
        (ORIGINS, "E: Unable to correct problems, you have held broken packages."),
        (ORIGINS, "nvidia-driver-X : Depends: libnvidia-… but it is not going to be installed"),
        (ORIGINS, "cannot install both nvidia-kmod-common-3:580.95.05-1.el9 and nvidia-kmod-common-3:570.195.03-1.el9"),
    ],
)
def test_messages_that_users_see(check: str, message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[check].symptoms)
