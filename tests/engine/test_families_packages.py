"""Packages of Debian and Ubuntu that were held, interrupted, removed or mixed, on whole machines."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from diagnoses import diagnosed
from driver_answers import Gpu
from family_machines import DEBIAN, UBUNTU, Machine, Module, dkms, machine
from package_databases import apt_history
from package_machines import bookworm, bookworm_held, bookworm_held_back, package, ubuntu
from ubuntu_machines import HISTORY, KERNEL, NEW, NEW_PACKAGE, NEXT, OLD, RTX_4090, TERMINAL, kernels

from gpudoctor.facts.packages import Package
from gpudoctor.findings import Severity

A100 = Gpu("20b2")


def with_states(packages: dict[str, Package], **states: str) -> list[Package]:
    """`nvidia_dkms_580_open="half-configured"`."""
    return [one._replace(state=states.get(name.replace("-", "_"), one.state)) for name, one in packages.items()]


def test_autoremove_took_the_driver(tmp_path: Path) -> None:
    names = [name for name in ubuntu() if "580" in name and OLD not in name and name != "nvidia-driver-580-open"]
    history = apt_history(
        "2026-11-01 20:00:11",
        "apt remove nvidia-driver-580-open",
        f"Remove: nvidia-driver-580-open:amd64 ({NEW_PACKAGE})",
    ) + apt_history(
        "2026-11-20 20:11:11",
        "apt autoremove",
        f"Remove: {', '.join(f'{name}:amd64 ({NEW_PACKAGE})' for name in names)}",
    )
    left = [ubuntu()[name]._replace(state="removed") for name in ("nvidia-dkms-580-open", "libnvidia-compute-580")]
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            packages=[*left, *kernels(KERNEL), package("nvidia-container-toolkit", "1.17.8-1")],
            gpus=[Gpu(RTX_4090, "nouveau")],
            files={HISTORY: history},
            without=["/usr/lib/modprobe.d/nvidia-blacklists-nouveau.conf"],
        )
    )
    assert seen.found == ["packages.driver-removed"]
    assert "removed on 2026-11-20 20:11:11 by `apt autoremove`" in seen.first.summary
    # What the autoremove took is not what its owner had chosen.
    assert "`apt-get install nvidia-driver-580-open`" in seen.first.remedy
    assert "`apt-mark manual nvidia-driver-580-open`" in seen.first.remedy
    assert seen.explained == {"driver.not-installed"}
    assert "nvidia-driver-580-open" in seen.steps[0].split()


def test_server_and_desktop_packages_of_two_branches(tmp_path: Path) -> None:
    server = ubuntu("570-server", "570.195.03-0ubuntu0.24.04.1", flavour="")
    names = ("libnvidia-compute-570-server", "libnvidia-decode-570-server")
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            packages=[*ubuntu().values(), *(server[name] for name in names), *kernels(KERNEL)],
            modules={KERNEL: [Module(NEW, open=True, signed=True)]},
            loaded=NEW,
            open_module=True,
            user_space="570.195.03",
            gpus=[Gpu(RTX_4090)],
            files=dkms("nvidia", NEW, [KERNEL]),
        )
    )
    assert seen.found == ["packages.two-branches"]
    assert f"`apt-get remove {' '.join(names)}`" in seen.first.remedy
    assert {"kernel.module-stale", "driver.library-mismatch", "driver.nvml-failed"} <= seen.explained
    assert seen.steps[0] == f"apt-get remove {' '.join(names)}"


MAKE_LOG = """warning: the compiler differs from the one used to build the kernel
  The kernel was built by: x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0
  You are using:           cc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0
  CC [M]  /var/lib/dkms/nvidia/580.95.05/build/nvidia/nv.o
cc: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'
make[4]: *** [scripts/Makefile.build:251: /var/lib/dkms/nvidia/580.95.05/build/nvidia/nv.o] Error 1
"""


def test_dkms_stopped_because_plain_gcc_is_not_the_one_of_the_kernel(tmp_path: Path) -> None:
    kernel = "6.5.0-14-generic"
    failure = (
        "Log started: 2026-11-20  20:00:11\n"
        f"Error! Bad return status for module build on kernel: {kernel} (x86_64)\n"
        "dpkg: error processing package nvidia-dkms-580-open (--configure):\n"
    )
    packages = with_states(ubuntu(), nvidia_dkms_580_open="half-configured", nvidia_driver_580_open="unpacked")
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU._replace(gcc="x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0"),
            kernel,
            packages=[*packages, *kernels(kernel), package("gcc-11", "11.4.0-1ubuntu1~22.04")],
            user_space=NEW,
            gpus=[Gpu(RTX_4090, "")],
            files={
                **dkms("nvidia", NEW, log=MAKE_LOG, kernel=kernel),
                "/usr/bin/gcc": "-> gcc-11",
                "/usr/bin/gcc-11": "",
                TERMINAL: failure,
            },
            without=["/usr/bin/gcc-12"],
        )
    )
    assert seen.found == ["kernel.compiler-mismatch"]
    assert "-ftrivial-auto-var-init=zero" in seen.proof
    assert "plain gcc is 11" in seen.proof
    assert "Install gcc-12 (`apt install gcc-12`)" in seen.first.remedy
    assert seen.explained == {"packages.half-configured", "kernel.module-missing"}
    assert seen.steps == [
        "apt-get install gcc-12",
        "dpkg --configure -a",
        f"dkms autoinstall -k {kernel}",
        "modprobe -a nvidia nvidia_uvm",
    ]


def test_boot_was_full_and_the_next_kernel_has_no_initramfs(tmp_path: Path) -> None:
    packages = [*ubuntu().values(), *kernels(KERNEL), package("linux-image-6.8.0-88-generic", "6.8.0-88.89")]
    packages += [package(f"linux-image-{NEXT}", "6.8.0-100.100", state="half-configured")]
    packages += [package("initramfs-tools", "0.142ubuntu25", state="half-configured")]
    failure = (
        "Log started: 2026-11-22  20:00:11\n"
        "zstd: error 70 : Write error : cannot write block : No space left on device\n"
        "dpkg: error processing package initramfs-tools (--configure):\n"
    )
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            others=[NEXT, "6.8.0-88-generic"],
            packages=packages,
            modules={release: [Module(NEW, open=True, signed=True)] for release in (KERNEL, NEXT)},
            loaded=NEW,
            open_module=True,
            user_space=NEW,
            gpus=[Gpu(RTX_4090)],
            files={**dkms("nvidia", NEW, [KERNEL, NEXT]), TERMINAL: failure},
            free={"/boot": 9_000_000},
            without=[f"/boot/initrd.img-{NEXT}"],
        )
    )
    assert seen.found == ["packages.disk-full"]
    assert "9 MB on /boot" in seen.first.summary
    assert "`apt-get remove linux-image-6.8.0-88-generic`" in seen.first.remedy
    assert f"Do not restart before that: kernel {NEXT} boots next and has no initramfs." in seen.first.remedy
    assert seen.explained == {"packages.half-configured"}
    assert seen.steps[-1] == "dpkg --configure -a"


BOOKWORM, BOOKWORM_NEXT = "6.1.0-50-amd64", "6.1.0-56-amd64"
DEBIAN_OLD, DEBIAN_NEW = "535.261.03", "535.309.01"
DEBIAN_UPGRADE = (
    f"Upgrade: libcuda1:amd64 ({DEBIAN_OLD}-1, {DEBIAN_NEW}-0+deb12u1), "
    f"nvidia-smi:amd64 ({DEBIAN_OLD}-1, {DEBIAN_NEW}-0+deb12u1)"
)


def held(folder: Path, packages: Iterable[Package], user_space: str, **files: str) -> Machine:
    return machine(
        folder,
        DEBIAN,
        BOOKWORM,
        packages=packages,
        modules={BOOKWORM: [Module(DEBIAN_OLD, name="nvidia-current")]},
        loaded=DEBIAN_OLD,
        user_space=user_space,
        gpus=[A100],
        files={**dkms("nvidia-current", DEBIAN_OLD, [BOOKWORM]), **files},
    )


def test_a_hold_on_the_module_alone_let_the_libraries_move_on(tmp_path: Path) -> None:
    history = {HISTORY: apt_history("2026-11-20 20:38:54", "apt-get -y dist-upgrade", DEBIAN_UPGRADE)}
    seen = diagnosed(held(tmp_path, bookworm_held().packages, DEBIAN_NEW, **history))
    assert seen.found == ["packages.partial-upgrade"]
    assert "nvidia-kernel-dkms (on hold)" in seen.first.summary
    assert "on 2026-11-20 20:38:54 by `apt-get -y dist-upgrade`" in seen.first.summary
    assert "`apt-mark unhold nvidia-kernel-dkms`" in seen.first.remedy
    assert {"kernel.module-stale", "packages.held-or-broken", "driver.library-mismatch"} <= seen.explained
    assert seen.steps[0] == "apt-mark unhold nvidia-kernel-dkms"
    assert "nvidia-kernel-dkms=535.309.01-0+deb12u1" in seen.steps[1]
    assert seen.steps[-1] == "systemctl reboot"


def test_a_hold_on_the_module_alone_before_it_did_harm(tmp_path: Path) -> None:
    seen = diagnosed(held(tmp_path, bookworm_held_back().packages, DEBIAN_OLD))
    assert seen.found == ["packages.held-or-broken"]
    assert seen.severity is Severity.WARNING
    assert seen.steps == ["apt-mark unhold nvidia-kernel-dkms"]


def test_a_hold_that_binds_the_whole_driver_is_no_fault(tmp_path: Path) -> None:
    """On Ubuntu the top package needs nvidia-dkms in its own version: nothing moves on without it."""
    packages = [one._replace(hold=name == "nvidia-dkms-580-open") for name, one in ubuntu().items()]
    seen = diagnosed(
        machine(
            tmp_path,
            UBUNTU,
            KERNEL,
            packages=[*packages, *kernels(KERNEL)],
            modules={KERNEL: [Module(NEW, open=True, signed=True)]},
            loaded=NEW,
            open_module=True,
            user_space=NEW,
            gpus=[Gpu(RTX_4090)],
            files=dkms("nvidia", NEW, [KERNEL]),
        )
    )
    assert seen.found == []


@pytest.mark.parametrize("loaded", ["", DEBIAN_OLD])
def test_apt_was_killed_and_the_module_is_gone(tmp_path: Path, loaded: str) -> None:
    packages = with_states(
        bookworm(f"{DEBIAN_NEW}-0+deb12u1"),
        nvidia_kernel_dkms="half-configured",
        nvidia_smi="unpacked",
        glx_alternative_nvidia="triggers-pending",
    )
    command = "apt-get -y install nvidia-kernel-dkms libcuda1 nvidia-smi"
    seen = diagnosed(
        machine(
            tmp_path,
            DEBIAN,
            BOOKWORM,
            packages=packages,
            loaded=loaded,
            user_space=DEBIAN_NEW,
            gpus=[Gpu("20b2", "nvidia" if loaded else "")],
            files={
                HISTORY: apt_history("2026-11-23 20:38:54", command, DEBIAN_UPGRADE, ended=False),
                **dkms("nvidia-current", DEBIAN_NEW),
                f"/var/lib/dkms/nvidia-current/{DEBIAN_NEW}/build/": "",
            },
        )
    )
    assert seen.found == ["packages.half-configured"]
    assert f"The run on 2026-11-23 20:38:54 by `{command}` was interrupted." in seen.first.summary
    assert seen.first.remedy.startswith("`dpkg --configure -a`")
    mismatch = {"kernel.module-stale", "driver.library-mismatch", "driver.nvml-failed", "driver.cuda-init-failed"}
    missing = {"kernel.next-boot-module-missing" if loaded else "kernel.module-missing"}
    assert seen.explained == (mismatch | missing if loaded else missing)
    assert seen.steps[:2] == ["dpkg --configure -a", "apt-get --fix-broken install"]
    assert seen.steps[2:] == ["systemctl reboot" if loaded else "modprobe -a nvidia nvidia_uvm"]


BACKPORT = "7.3.4+deb13-cloud-amd64"
TRIXIE = "6.12.117+deb13-cloud-amd64"
TOO_NEW = """nvidia-drm/nvidia-drm-drv.c:123:10: error: implicit declaration of function 'drm_gem_prime_handle_to_fd'
make[3]: *** [scripts/Makefile.build:243: nvidia-drm/nvidia-drm-drv.o] Error 1
"""


def test_a_kernel_that_is_too_new_for_the_driver_is_not_to_be_booted(tmp_path: Path) -> None:
    packages = [one for one in bookworm("550.163.01-2").values() if not one.name.startswith("linux-")]
    for name in ("linux-image", "linux-headers"):
        packages.append(package(f"{name}-{TRIXIE}", "6.12.117-1"))
        packages.append(package(f"{name}-{BACKPORT}", "7.3.4-1~bpo13+1", state="half-configured"))
        packages.append(package(f"{name}-cloud-amd64", "7.3.4-1~bpo13+1", state="unpacked"))
    command = "apt-get -y install -t trixie-backports linux-image-cloud-amd64"
    change = f"Install: linux-image-{BACKPORT}:amd64 (7.3.4-1~bpo13+1, automatic)"
    seen = diagnosed(
        machine(
            tmp_path,
            DEBIAN,
            TRIXIE,
            others=[BACKPORT],
            packages=packages,
            modules={TRIXIE: [Module("550.163.01", name="nvidia-current")]},
            loaded="550.163.01",
            user_space="550.163.01",
            gpus=[A100],
            files={
                HISTORY: apt_history("2026-11-22 20:38:54", command, change),
                **dkms("nvidia-current", "550.163.01", [TRIXIE], TOO_NEW, BACKPORT),
            },
            without=[f"/boot/initrd.img-{BACKPORT}"],
        )
    )
    assert seen.found == ["kernel.driver-too-old-for-kernel"]
    assert "do not restart this machine, for that kernel has no initramfs" in seen.first.summary
    assert seen.severity is Severity.ERROR, "the GPU works, and the machine would not come up again"
    assert "the GPU works until the next reboot" in seen.first.summary
    assert f"Until then boot kernel {TRIXIE}" in seen.first.remedy
    assert seen.explained == {"packages.half-configured", "kernel.next-boot-module-missing"}
    assert seen.fixes == ["remove-kernel-too-new"]
    assert seen.steps == [f"apt-get remove linux-image-{BACKPORT} linux-headers-{BACKPORT}"]
    assert not any("configure" in step for step in seen.steps)
