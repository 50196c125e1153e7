"""Ubuntu 24.04 with the driver 580 from Ubuntu's own packages, with DKMS or with ready-made modules."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from driver_answers import Gpu
from family_machines import BEFORE, UBUNTU, Machine, Module, dkms, machine
from package_databases import apt_history
from package_machines import package, ubuntu, ubuntu_prebuilt

from gpudoctor.facts.packages import Package

OLD, NEW = "580.82.07", "580.95.05"
OLD_PACKAGE, NEW_PACKAGE = "580.82.07-0ubuntu0.24.04.1", "580.95.05-0ubuntu0.24.04.2"
KERNEL, NEXT = "6.8.0-90-generic", "6.8.0-100-generic"
HISTORY, TERMINAL = "/var/log/apt/history.log", "/var/log/apt/term.log"
RTX_4090, RTX_5090, GTX_1080_TI = "2684", "2b85", "1b06"
READY = "linux-modules-nvidia-580-open"

UPGRADE = apt_history(
    "2026-11-22 06:50:11",
    "/usr/bin/unattended-upgrade",
    f"Upgrade: libnvidia-compute-580:amd64 ({OLD_PACKAGE}, {NEW_PACKAGE}), "
    f"nvidia-dkms-580-open:amd64 ({OLD_PACKAGE}, {NEW_PACKAGE})",
)


def kernels(*releases: str) -> list[Package]:
    """Images and headers of these releases, what brings the next ones, and what builds modules for them."""
    names = [f"linux-{kind}-{release}" for release in releases for kind in ("image", "headers")]
    return [
        *(package(name, "6.8.0-90.91") for name in names),
        package("linux-image-generic", "6.8.0-100.100"),
        package("linux-headers-generic", "6.8.0-100.100"),
        package("dkms", "3.0.11-1ubuntu13", architecture="all"),
        package("gcc-13", "13.3.0-6ubuntu2~24.04"),
    ]


def ready_made(*releases: str, follow: bool = True) -> list[Package]:
    """No DKMS: Ubuntu's signed modules for these kernels. `follow`: and for every next one."""
    found = [one for name, one in ubuntu_prebuilt("580-open").items() if not name.startswith("linux-modules-")]
    found += [package(f"{READY}-{release}", "6.8.0-90.91+1") for release in releases]
    return [*found, *([package(f"{READY}-generic", "6.8.0-100.100")] if follow else [])]


def with_dkms(
    folder: Path,
    *,
    packages: Iterable[Package] | None = None,
    version: str = NEW,
    proprietary: bool = False,
    signed: bool = True,
    written: float = BEFORE,
    gpus: Sequence[Gpu] = (),
    loaded: str = "",
    nvml: int | None = None,
    cuda: int | None = None,
    log: str = "",
    user: int = 0,
    mode: int = 0o666,
    secure_boot: bool = False,
    files: Mapping[str, str | bytes] | None = None,
    without: Sequence[str] = (),
) -> Machine:
    """The driver is whole, its module was built by DKMS at `written` and lies on the disk; an RTX 4090 by default."""
    return machine(
        folder,
        UBUNTU,
        KERNEL,
        packages=[*(ubuntu().values() if packages is None else packages), *kernels(KERNEL)],
        modules={KERNEL: [Module(version, open=not proprietary, signed=signed, written=written)]},
        user_space=version,
        loaded=loaded,
        open_module=not proprietary,
        gpus=gpus or [Gpu(RTX_4090, "nvidia" if loaded else "")],
        nvml=nvml,
        cuda=cuda,
        log=log,
        user=(user, user),
        mode=mode,
        secure_boot=secure_boot,
        files={**dkms("nvidia", version, [KERNEL]), **(files or {})},
        without=without,
    )
