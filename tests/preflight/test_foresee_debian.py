"""What upgrades do to Debian and Ubuntu machines, foreseen on whole machines."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from driver_answers import Gpu
from family_machines import UBUNTU, Machine, Module, dkms, machine
from package_machines import package, ubuntu
from preflight_plans import advice, apt_plan, foreseen, inst, moved, proof, remv, told
from ubuntu_machines import (
    GTX_1080_TI,
    KERNEL,
    NEW,
    NEW_PACKAGE,
    NEXT,
    OLD,
    OLD_PACKAGE,
    READY,
    RTX_4090,
    kernels,
    ready_made,
    with_dkms,
)

from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.packages import Package
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.findings import Severity
from gpudoctor.reports.preflight import verdict

UBUNTU_ARCHIVE = "Ubuntu:24.04/noble-updates"
KERNEL_VERSION = "6.8.0-100.100"


def kernel_comes(*, headers: bool = True, release: str = NEXT) -> list[str]:
    names = [f"linux-image-{release}", f"linux-modules-{release}", *([f"linux-headers-{release}"] if headers else [])]
    return [inst(name, KERNEL_VERSION, origin=UBUNTU_ARCHIVE) for name in names]


def running(folder: Path, version: str = OLD, **more: object) -> Machine:
    """The driver 580.82.07 is whole, loaded, and works on an RTX 4090."""
    old = ubuntu(version=OLD_PACKAGE).values() if version == OLD else ubuntu().values()
    return with_dkms(
        folder,
        packages=old,
        version=version,
        loaded=version,
        gpus=[Gpu(RTX_4090)],
        **more,  # type: ignore[arg-type]
    )


def test_a_kernel_comes_without_its_headers(tmp_path: Path) -> None:
    seen = foreseen(running(tmp_path), apt_plan(*kernel_comes(headers=False)))
    assert told(seen) == {"kernel.headers-missing": "AFTER_RESTART"}
    assert seen.worse[0].severity is Severity.ERROR
    assert seen.exit_code == 2
    assert "the GPU will not work when this system boots it; this upgrade brings that kernel" in (
        seen.worse[0].finding.summary
    )
    assert f"the plan: no linux-headers-{NEXT} comes along" in proof(seen)
    assert f"/lib/modules/{NEXT} (foreseen): no NVIDIA module, but for {KERNEL}" in proof(seen)
    assert "`apt-get install linux-headers-generic`" in advice(seen)
    assert "`apt-mark hold linux-image-generic`" in advice(seen)


def test_a_kernel_comes_with_its_headers(tmp_path: Path) -> None:
    seen = foreseen(running(tmp_path), apt_plan(*kernel_comes()))
    assert told(seen) == {}
    assert seen.exit_code == 0
    assert seen.facts.get(InstalledKernels).next_boot == NEXT
    built = seen.facts.get(ModuleFiles).of(NEXT)
    assert [(one.path, one.version, one.signer) for one in built] == [
        (f"/lib/modules/{NEXT}/updates/dkms/nvidia.ko", OLD, "signed")
    ]


def test_a_kernel_whose_headers_come_but_dkms_goes(tmp_path: Path) -> None:
    seen = foreseen(running(tmp_path), apt_plan(*kernel_comes(), remv("dkms", "3.0.11-1ubuntu13")))
    assert list(told(seen)) == ["kernel.module-missing"]
    assert told(seen)["kernel.module-missing"] == "AFTER_RESTART"
    assert "`apt-mark hold linux-image-generic`" in advice(seen)


def test_a_kernel_that_does_not_boot_next_is_no_matter(tmp_path: Path) -> None:
    """Somebody told GRUB which one to take, though a newer one is there already."""
    newer = "6.8.0-95-generic"
    host = machine(
        tmp_path,
        UBUNTU,
        KERNEL,
        others=[newer],
        packages=[*ubuntu().values(), *kernels(KERNEL, newer)],
        modules={release: [Module(NEW, open=True, signed=True)] for release in (KERNEL, newer)},
        loaded=NEW,
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(RTX_4090)],
        files={
            **dkms("nvidia", NEW, [KERNEL, newer]),
            "/etc/default/grub": f"GRUB_DEFAULT='Advanced options for Ubuntu>Ubuntu, with Linux {KERNEL}'\n",
        },
    )
    seen = foreseen(host, apt_plan(*kernel_comes(headers=False)))
    assert seen.facts.get(InstalledKernels).next_boot == KERNEL
    assert told(seen) == {}


def test_the_driver_is_replaced_under_the_loaded_module(tmp_path: Path) -> None:
    lines = moved(ubuntu(version=OLD_PACKAGE).values(), OLD_PACKAGE, NEW_PACKAGE)
    seen = foreseen(running(tmp_path), apt_plan(*lines))
    assert told(seen) == {"driver.library-mismatch": "UNTIL_RESTART"}
    assert verdict(seen) == "This upgrade would break the GPU until the next restart."
    assert f"The driver in memory is {OLD}, its libraries are {NEW}: this upgrade has replaced the files" in (
        seen.worse[0].finding.summary
    )
    assert f"/proc/driver/nvidia/version: {OLD}" in proof(seen)
    assert f"libcuda.so.{NEW} (foreseen): {NEW}" in proof(seen)
    assert "restart right after it" in advice(seen)
    versions = seen.facts.get(DriverVersions)
    assert (versions.loaded, versions.on_disk, versions.user_space, versions.packaged) == (OLD, NEW, NEW, NEW)


def test_the_driver_is_replaced_while_none_is_loaded(tmp_path: Path) -> None:
    lines = moved(ubuntu(version=OLD_PACKAGE).values(), OLD_PACKAGE, NEW_PACKAGE)
    host = with_dkms(tmp_path, packages=ubuntu(version=OLD_PACKAGE).values(), version=OLD)
    seen = foreseen(host, apt_plan(*lines))
    assert told(seen) == {}


def test_driver_and_kernel_together(tmp_path: Path) -> None:
    lines = moved(ubuntu(version=OLD_PACKAGE).values(), OLD_PACKAGE, NEW_PACKAGE)
    seen = foreseen(running(tmp_path), apt_plan(*lines, *kernel_comes(headers=False)))
    assert told(seen) == {"kernel.headers-missing": "AFTER_RESTART", "driver.library-mismatch": "UNTIL_RESTART"}
    assert verdict(seen) == "This upgrade would break the GPU."
    assert {file.kernel: file.version for file in seen.facts.get(ModuleFiles).files} == {KERNEL: NEW}


def test_the_module_package_is_held_while_user_space_goes_ahead(tmp_path: Path) -> None:
    packages = ubuntu(version=OLD_PACKAGE)
    held = ("nvidia-dkms-580-open", "nvidia-kernel-source-580-open")
    lines = moved([one for one in packages.values() if one.name not in held], OLD_PACKAGE, NEW_PACKAGE)
    packages |= {name: packages[name]._replace(hold=True) for name in held}
    host = with_dkms(tmp_path, packages=packages.values(), version=OLD, loaded=OLD, gpus=[Gpu(RTX_4090)])
    seen = foreseen(host, apt_plan(*lines, kept=held))
    assert told(seen) == {"packages.partial-upgrade": "AT_ONCE"}
    assert "The driver was upgraded only in part" in seen.worse[0].finding.summary
    assert f"the plan: kept back: {', '.join(held)}" in proof(seen)
    assert f"`apt-mark unhold {' '.join(held)}`" in advice(seen)
    assert "or hold the rest too: `apt-mark hold " in advice(seen)


def prebuilt(folder: Path, packages: Iterable[Package], *releases: str) -> Machine:
    return machine(
        folder,
        UBUNTU,
        KERNEL,
        packages=packages,
        others=[release for release in releases if release != KERNEL],
        headers=(),
        modules={KERNEL: [Module(NEW, "kernel/nvidia-580-open", open=True, signed=True)]},
        loaded=NEW,
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(RTX_4090)],
    )


def with_ready_made(folder: Path, *, follow: bool) -> Machine:
    images = [package(f"linux-image-{KERNEL}", "6.8.0-90.91"), package("linux-image-generic", "6.8.0-90.91")]
    return prebuilt(folder, [*ready_made(KERNEL, follow=follow), *images], KERNEL)


def test_ubuntus_ready_made_modules_do_not_come_with_the_kernel(tmp_path: Path) -> None:
    seen = foreseen(with_ready_made(tmp_path, follow=False), apt_plan(*kernel_comes(headers=False)))
    assert told(seen) == {"kernel.prebuilt-module-missing": "AFTER_RESTART"}
    assert f"`apt-get install {READY}-generic`" in advice(seen)


def test_ubuntus_ready_made_modules_come_with_the_kernel(tmp_path: Path) -> None:
    lines = [
        *kernel_comes(headers=False),
        inst(f"{READY}-{NEXT}", "6.8.0-100.100", origin=UBUNTU_ARCHIVE),
        inst(f"linux-objects-nvidia-580-open-{NEXT}", "6.8.0-100.100", origin=UBUNTU_ARCHIVE),
    ]
    seen = foreseen(with_ready_made(tmp_path, follow=True), apt_plan(*lines))
    assert told(seen) == {}
    assert [(one.version, one.flavour) for one in seen.facts.get(ModuleFiles).of(NEXT)] == [(NEW, "open")]


def test_libraries_go_ahead_of_the_ready_made_module(tmp_path: Path) -> None:
    """Ubuntu publishes the two apart from each other."""
    newer = "580.105.08-0ubuntu0.24.04.1"
    lines = moved([one for one in ready_made(KERNEL) if one.version == NEW_PACKAGE], NEW_PACKAGE, newer)
    seen = foreseen(with_ready_made(tmp_path, follow=True), apt_plan(*lines))
    assert told(seen) == {"kernel.module-stale": "AT_ONCE"}
    assert NEW in seen.worse[0].finding.summary
    assert "580.105.08" in seen.worse[0].finding.summary


def branch(number: str, version: str) -> list[str]:
    """Another branch takes the place of this one, as the new packages of Ubuntu's drivers do."""
    old = [one for one in ubuntu("580", NEW_PACKAGE, "").values() if one.version == NEW_PACKAGE]
    new = [one for one in ubuntu(number, version, "").values() if one.version == version]
    return [
        *(inst(one.name, version, origin=UBUNTU_ARCHIVE, architecture=one.architecture) for one in new),
        *(remv(one.name, NEW_PACKAGE) for one in old),
    ]


def pascal(folder: Path) -> Machine:
    return with_dkms(
        folder,
        packages=ubuntu(flavour="").values(),
        version=NEW,
        proprietary=True,
        loaded=NEW,
        gpus=[Gpu(GTX_1080_TI)],
    )


def test_a_branch_that_drops_this_gpu(tmp_path: Path) -> None:
    seen = foreseen(pascal(tmp_path), apt_plan(*branch("590", "590.48.01-0ubuntu0.24.04.1")))
    assert list(told(seen)) == ["driver.gpu-needs-legacy-branch", "driver.library-mismatch"]
    assert told(seen)["driver.gpu-needs-legacy-branch"] == "AFTER_RESTART"
    assert "is served by branch 580 and older ones; driver 590.48.01" in seen.worse[0].finding.summary
    assert advice(seen).startswith("Keep the driver that is here: `apt-mark hold nvidia-driver-580")


def test_a_branch_that_still_serves_this_gpu(tmp_path: Path) -> None:
    seen = foreseen(pascal(tmp_path), apt_plan(*branch("570", "570.195.03-0ubuntu0.24.04.1")))
    assert told(seen) == {"driver.library-mismatch": "UNTIL_RESTART"}
    assert seen.facts.get(DriverVersions).user_space == "570.195.03"


def test_the_driver_is_removed(tmp_path: Path) -> None:
    names = [one.name for one in ubuntu(version=OLD_PACKAGE).values() if one.version == OLD_PACKAGE]
    seen = foreseen(running(tmp_path), apt_plan(*(remv(name, OLD_PACKAGE) for name in names)))
    assert told(seen)["packages.driver-removed"] in ("AT_ONCE", "AFTER_RESTART")
    assert seen.worse[0].check.id == "packages.driver-removed"
    assert "The driver's packages were removed with this upgrade" in seen.worse[0].finding.summary
    assert "`apt-mark hold nvidia-driver-580-open" in advice(seen)


def test_libraries_of_a_second_branch(tmp_path: Path) -> None:
    version = "570.195.03-0ubuntu0.24.04.1"
    lines = [inst(f"libnvidia-{part}-570-server", version, origin=UBUNTU_ARCHIVE) for part in ("compute", "decode")]
    seen = foreseen(running(tmp_path, NEW), apt_plan(*lines))
    assert "packages.two-branches" in told(seen)


@pytest.mark.parametrize(("origin", "mixed"), [("NVIDIA CUDA:/", True), (UBUNTU_ARCHIVE, False), ("localhost", False)])
def test_a_part_of_the_driver_comes_from_another_maker(tmp_path: Path, origin: str, mixed: bool) -> None:
    packages = ubuntu(version=OLD_PACKAGE)
    lines = [
        inst(one.name, NEW_PACKAGE, OLD_PACKAGE, origin if "compute" in one.name else UBUNTU_ARCHIVE, one.architecture)
        for one in packages.values()
        if one.version == OLD_PACKAGE
    ]
    seen = foreseen(running(tmp_path), apt_plan(*lines))
    assert ("packages.mixed-origins" in told(seen)) is mixed


def test_what_is_wrong_already_is_told_apart(tmp_path: Path) -> None:
    """The founding failure has happened before: another upgrade neither makes it worse nor mends it."""
    host = machine(
        tmp_path,
        UBUNTU,
        KERNEL,
        others=[NEXT],
        headers=[KERNEL],
        packages=[*ubuntu().values(), *kernels(KERNEL)],
        modules={KERNEL: [Module(NEW, open=True, signed=True)]},
        loaded=NEW,
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(RTX_4090)],
        files=dkms("nvidia", NEW, [KERNEL]),
    )
    seen = foreseen(host, apt_plan(inst("bash", "5.2.21-2ubuntu4.1", "5.2.21-2ubuntu4", UBUNTU_ARCHIVE)))
    assert told(seen) == {}
    assert [ranked.check.id for ranked in seen.already] == ["kernel.headers-missing"]
    assert seen.exit_code == 0

    mends = foreseen(host, apt_plan(inst(f"linux-headers-{NEXT}", KERNEL_VERSION, origin=UBUNTU_ARCHIVE)))
    assert told(mends) == {}
    assert [ranked.check.id for ranked in mends.mended] == ["kernel.headers-missing"]


def test_a_build_that_failed_on_this_kernel_series_fails_again(tmp_path: Path) -> None:
    log = "nvidia/nv-mmap.c:1: error: implicit declaration of function 'follow_pfn'\n"
    middle = "6.8.0-95-generic"
    host = machine(
        tmp_path,
        UBUNTU,
        KERNEL,
        others=[middle],
        packages=[*ubuntu().values(), *kernels(KERNEL, middle)],
        modules={KERNEL: [Module(NEW, open=True, signed=True)]},
        loaded=NEW,
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(RTX_4090)],
        files=dkms("nvidia", NEW, [KERNEL], log, middle),
    )
    seen = foreseen(host, apt_plan(*kernel_comes()))
    assert told(seen) == {"kernel.driver-too-old-for-kernel": "AFTER_RESTART"}
    assert "follow_pfn" in proof(seen)


def test_a_kernel_that_does_not_fit_into_boot(tmp_path: Path) -> None:
    host = running(tmp_path, files=dkms("nvidia", OLD, [KERNEL]))
    host.free = {"/boot": 70_000_000}
    for name in (f"vmlinuz-{KERNEL}", f"initrd.img-{KERNEL}"):
        with open(tmp_path / "boot" / name, "wb") as file:
            file.truncate(30_000_000)
    seen = foreseen(host, apt_plan(*kernel_comes()))
    assert told(seen) == {"packages.disk-full": "AT_ONCE"}
    assert "10 MB on /boot" in seen.worse[0].finding.summary
    assert advice(seen).startswith("Do this first:")
    assert seen.exit_code == 1


SPEC = "containerEdits:\n  mounts:\n  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{}\n"


@pytest.mark.parametrize(
    ("path", "unit", "stale"),
    [("/etc/cdi", False, True), ("/etc/cdi", True, True), ("/run/cdi", False, True), ("/run/cdi", True, False)],
)
def test_the_specification_for_containers_is_left_behind(tmp_path: Path, path: str, unit: bool, stale: bool) -> None:
    units: dict[str, str | bytes] = {"/usr/lib/systemd/system/nvidia-cdi-refresh.path": "[Path]\n"} if unit else {}
    files = {**dkms("nvidia", OLD, [KERNEL]), f"{path}/nvidia.yaml": SPEC.format(OLD), **units}
    lines = moved(ubuntu(version=OLD_PACKAGE).values(), OLD_PACKAGE, NEW_PACKAGE)
    seen = foreseen(running(tmp_path, files=files), apt_plan(*lines))
    assert ("container.cdi-stale" in told(seen)) is stale


NVSWITCH = {"/sys/bus/pci/devices/0000:05:00.0/uevent": "PCI_CLASS=68000\nPCI_ID=10DE:22A3\n"}


@pytest.mark.parametrize("switches", [True, False])
@pytest.mark.parametrize("along", [True, False])
def test_the_fabric_manager_is_left_behind(tmp_path: Path, switches: bool, along: bool) -> None:
    packages = ubuntu(version=OLD_PACKAGE)
    manager = package("nvidia-fabricmanager-580", f"{OLD}-1")
    host = with_dkms(
        tmp_path,
        packages=[*packages.values(), manager],
        version=OLD,
        loaded=OLD,
        gpus=[Gpu(RTX_4090)],
        files={**dkms("nvidia", OLD, [KERNEL]), **(NVSWITCH if switches else {})},
    )
    lines = moved(packages.values(), OLD_PACKAGE, NEW_PACKAGE)
    lines += [inst(manager.name, f"{NEW}-1", f"{OLD}-1", "NVIDIA CUDA:/")] if along else []
    seen = foreseen(host, apt_plan(*lines))
    assert ("fabric.manager-version-mismatch" in told(seen)) is (switches and not along)


def test_a_machine_on_which_nothing_is_touched_keeps_what_was_found_out(tmp_path: Path) -> None:
    seen = foreseen(running(tmp_path), apt_plan(inst("bash", "5.2.21-2ubuntu4.1", "5.2.21-2ubuntu4", UBUNTU_ARCHIVE)))
    assert seen.then.findings == seen.now.findings == ()
    assert seen.undecided == ()
