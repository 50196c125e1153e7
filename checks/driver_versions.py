"""Do the driver's two halves, the module in memory and the libraries on the disk, fit each other?"""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.system import Boot, Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions

from ._kernels import event_evidence
from ._package_words import on_the
from ._return_codes import VERSION_MISMATCH
from ._surroundings import CONTAINER, HOST_WORKS, REBOOTED, WSL
from ._versions import Verdict, verdict_on

_REBOOT = "Reboot; or, if nothing uses the GPU, reload the module (`gpudoctor fix --dry-run` shows the steps)."


@check(
    "driver.library-mismatch",
    after=[
        "kernel.module-stale",
        "packages.runfile-and-packages",
        "packages.half-configured",
        "packages.partial-upgrade",
        "packages.two-branches",
        "container.driver-baked-in",
    ],
    symptoms=[
        likely(r"Driver/library version mismatch", without=rf"{REBOOTED}|{HOST_WORKS}|{WSL}"),
        likely(
            r"\bdrivers? ?(and|/|or) ?(the )?librar(y|ies)\b.{0,20}(mismatch|n't match|not match|differ)", without=WSL
        ),
        likely(r"API mismatch: the client.*has the version", without=rf"{REBOOTED}|{HOST_WORKS}"),
        likely(r"API mismatch.{0,9}( the| this) NVIDIA (kernel module|driver component) has version"),  # of X
        likely(r"NVML library version: \d+", without=rf"{REBOOTED}|{HOST_WORKS}"),
        likely(r"Mismatching nvidia kernel module loaded", without=CONTAINER),
        sure(r"kernel version \S+ does not match DSO version", without=REBOOTED),
        r"ERROR_LIB_RM_VERSION_MISMATCH",
        r"RM has detected an NVML/RM version mismatch",
        r"nvml vram init failure: 18\b",
        hint(r"Driver/library version mismatch"),
        hint(r"API mismatch: the client"),
        hint(r"\b(init failure|cuInit)\W.{0,30}\b803\b"),
        hint(r"system has unsupported display driver / cuda driver combination", without=r"/compat\b|cuda-compat"),
    ],
)
def library_mismatch(
    confinement: Confinement,
    kernel: Kernel,
    versions: DriverVersions,
    loaded: LoadedDriver,
    files: ModuleFiles,
    libraries: DriverLibraries,
    boot: Boot | Unavailable,
    history: PackageHistory | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """The kernel module in memory and the driver's libraries on the disk are of different versions.

    What: A driver has two halves, a module in the kernel and libraries for programs, and they only
    talk to each other when their versions are the same to the last digit. An upgrade replaced the
    files while the old module stayed loaded, as a module does until it is reloaded or the machine
    is restarted. Nothing is broken: programs that ran before go on, new ones cannot start on the GPU.

    Proof: /proc/driver/nvidia/version (the module in memory) against the file behind libcuda.so.1 and
    libnvidia-ml.so.1, and the module file that the next boot would load, which agrees with the
    libraries. NVML says the same with return code 18.

    Repair: Restart the machine. Without a restart: stop what uses the GPU, unload nvidia_uvm,
    nvidia_drm, nvidia_modeset and nvidia, and load them again. Do not reinstall the driver: the one
    on the disk is complete. To be spared the surprise, take the driver out of unattended upgrades.

    Reference: https://github.com/NVIDIA/open-gpu-kernel-modules (nv.c, "API mismatch");
    https://github.com/illinois-scicomp/machine-shop-maintenance/issues/70
    """
    if confinement.wsl:
        raise NotApplicable("WSL: the driver is the one of Windows")
    refused = isinstance(nvml, Nvml) and nvml.return_code == VERSION_MISMATCH
    works = isinstance(nvml, Nvml) and nvml.return_code == 0 and isinstance(cuda, Cuda) and cuda.return_code == 0
    # CUDA's forward compatibility package puts a newer libcuda beside an older driver on purpose.
    differ = (
        "" not in (versions.loaded, versions.user_space)
        and versions.loaded != versions.user_space
        and "/compat" not in versions.user_space_path
    )
    contained = confinement.container != ""
    verdict = Verdict.UNKNOWN if contained else verdict_on(kernel, versions, files, boot, history)
    by_files = differ and (contained or verdict is Verdict.RELOAD_PENDING)
    if not refused and (works or not by_files):
        return

    event = _replacement(versions, history)
    if not differ:
        told = _refused_though_files_agree(versions, libraries, nvml)
    elif contained:
        told = _differ_in_container(versions)
    else:
        told = _differ(versions, verdict, event)
    evidence = [Evidence(loaded.source, versions.loaded)] if versions.loaded else []
    if versions.user_space:
        evidence.append(Evidence(versions.user_space_path, versions.user_space))
    if versions.on_disk and not contained:
        evidence.append(Evidence(versions.on_disk_path, versions.on_disk))
    if versions.next_boot and not contained:
        evidence.append(Evidence("module of the kernel that boots next", versions.next_boot))
    if isinstance(nvml, Nvml) and nvml.return_code:
        library = f", from {nvml.library_path}" if nvml.library_path else ""
        evidence.append(Evidence("NVML", f"{nvml.return_code} {nvml.return_name}{library}"))
    if event and differ:
        evidence.append(event_evidence(event))
    yield Finding(told.summary, told.subject, tuple(evidence), told.remedy)


class _Told(NamedTuple):
    summary: str
    subject: str
    remedy: str


def _differ(versions: DriverVersions, verdict: Verdict, event: PackageEvent | None) -> _Told:
    summary = f"The driver in memory is {versions.loaded}, its libraries are {versions.user_space}"
    if verdict is Verdict.STALE_MODULE:
        return _Told(
            f"{summary}, and a restart alone would bring the old module back.",
            versions.user_space_path,
            "First make the module on the disk the one that fits the libraries (kernel.module-stale), then reboot.",
        )
    run = {"downgrade": "a downgrade", "reinstall": "a reinstallation"}.get(event.action if event else "", "an upgrade")
    when = f" {on_the(event)}" if event and event.when else ""
    run = run if event is None or event.when else "this upgrade"
    remedy = _REBOOT
    if versions.only_after_restart:
        remedy = "Reboot: until then modprobe goes on with the modules of the generation that was booted."
    elif versions.on_disk not in ("", versions.user_space) or not versions.on_disk_path:
        remedy = (
            f"Reboot: the kernel that boots next has the module {versions.next_boot}. It cannot be loaded without a "
            f"restart, for the running kernel has none of that version."
        )
    return _Told(
        f"{summary}: {run}{when} has replaced the files, the old module is still loaded.",
        versions.user_space_path,
        remedy,
    )


def _differ_in_container(versions: DriverVersions) -> _Told:
    summary = f"The host's driver is {versions.loaded}, the libraries in this container are {versions.user_space}."
    if versions.packaged:
        remedy = (
            f"The image brings driver libraries of its own ({versions.packaged_name} {versions.packaged}): rebuild it "
            "without driver packages; the container toolkit mounts the host's libraries."
        )
    else:
        remedy = (
            "Restart the container, so that it gets the libraries that the host has now; if that does not help, run "
            "gpudoctor on the host, whose driver then waits for a reload or a reboot."
        )
    return _Told(summary, versions.user_space_path, remedy)


def _refused_though_files_agree(
    versions: DriverVersions, libraries: DriverLibraries, nvml: Nvml | Unavailable
) -> _Told:
    path = nvml.library_path if isinstance(nvml, Nvml) else ""
    own = libraries.get("libnvidia-ml.so.1")
    memory = f"The driver in memory is {versions.loaded or 'of another version'}"
    if path and (own is None or path not in (own.path, own.real_path)):
        return _Told(
            f"{memory}, but programs load {path}, which is not the system's own library: LD_LIBRARY_PATH or an entry "
            "in /etc/ld.so.conf.d puts it first.",
            path,
            f"Take {path.rpartition('/')[0]} out of LD_LIBRARY_PATH and /etc/ld.so.conf.d; the driver itself is fine.",
        )
    if own and own.version not in ("", versions.loaded):
        return _Told(f"{memory}, its library libnvidia-ml is {own.version}.", own.real_path, _REBOOT)
    return _Told(f"{memory}, and its module refuses the libraries as those of another version.", path, _REBOOT)


def _replacement(versions: DriverVersions, history: PackageHistory | Unavailable) -> PackageEvent | None:
    """The newest run that brought today's libraries, the user-space package's own line if there is one."""
    if isinstance(history, Unavailable) or not versions.user_space:
        return None
    brought = [event for event in history.events if versions.user_space in event.new]
    own = [event for event in brought if event.package == versions.packaged_name]
    return next(iter([*own[-1:], *brought[-1:]]), None)


@check(
    "driver.deleted-libraries-in-use",
    severity=Severity.WARNING,
    after=["driver.library-mismatch"],
    no_symptom="the programs go on as before and print nothing",
)
def deleted_libraries_in_use(loaded: LoadedDriver, users: DeviceUsers) -> Iterator[Finding]:
    """Running programs still use driver libraries that an upgrade has deleted from the disk.

    What: A program keeps the library files that it opened, even when a package upgrade has replaced
    them. Such a program goes on with the old driver's code, keeps the old kernel module from being
    unloaded, and may fail as soon as it opens another library of the driver, which is the new one.

    Proof: /proc/PID/maps of these processes names driver libraries marked "(deleted)".

    Repair: Restart these programs when it suits; a restart of the machine does it for all. Nothing has to
    be killed at once.

    Reference: proc_pid_maps(5), https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html
    """
    if not users.stale:
        if loaded.loaded and users.unreadable:
            raise Unavailable(f"{users.unreadable} processes of other users could not be looked into; root can")
        return
    names = ", ".join(f"{process.command or 'process'} ({process.process_id})" for process in users.stale[:3])
    more = f" and {len(users.stale) - 3} more" if len(users.stale) > 3 else ""
    programs = "1 running program uses" if len(users.stale) == 1 else f"{len(users.stale)} running programs use"
    yield Finding(
        f"{programs} driver libraries that an upgrade has deleted: {names}{more}.",
        str(users.stale[0].process_id),
        tuple(
            Evidence(f"/proc/{process.process_id}/maps", f"{', '.join(process.paths[:2])} (deleted)")
            for process in users.stale[:5]
        ),
        "Restart these programs when it suits; a reboot does it for all of them.",
    )
