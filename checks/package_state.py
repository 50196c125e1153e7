"""Was the package manager stopped half-way, does the system wait for a restart?"""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.history import PackageHistory
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.package_log import PackageManagerLog
from gpudoctor.facts.package_names import concerns_gpu
from gpudoctor.facts.package_run import PackageRun
from gpudoctor.facts.packages import UNFINISHED, Packages
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement

from ._boot import do_not_restart
from ._free_space import FULL, below
from ._gpus import gpu_works
from ._kernels import event_evidence
from ._package_words import on_the, some, states_of
from ._scope import own_driver


@check(
    "packages.half-configured",
    severity=Severity.ERROR,
    after=[
        "kernel.driver-too-old-for-kernel",
        "kernel.module-build-failed",
        "kernel.compiler-mismatch",
        "packages.overwrite-conflict",
        "packages.disk-full",
    ],
    symptoms=[
        r"dpkg: error processing package (\S*nvidia|dkms|linux-(image|headers|modules))\S* \(--configure\)",
        r"dpkg was interrupted, you must manually run '(sudo )?dpkg --configure -a'",
        r"dpkg: dependency problems prevent configuration of \S*nvidia",
        r"\bi[FUH] +\S*nvidia",
        hint(r"Errors were encountered while processing: \S*(nvidia|dkms)"),
        hint(r"Sub-process /usr/bin/dpkg returned an error code"),
        r"\(\S*(nvidia|kmod|dkms)\S*\) scriptlet failed",
        r"Error in \w+ scriptlet in rpm package \S*(nvidia|kmod)",
        likely(r"command failed to execute correctly", beside=r"nvidia"),
        likely(r"very bad inconsistent state", beside=r"nvidia|dkms"),
        r"dpkg-divert: error: .{0,150}\bby (lib)?nvidia",
    ],
)
def half_configured(
    confinement: Confinement,
    packages: Packages,
    runfile: RunfileTraces | Unavailable,
    space: FreeSpace | Unavailable,
    log: PackageManagerLog | Unavailable,
    history: PackageHistory | Unavailable,
    kernels: InstalledKernels | Unavailable,
    run: PackageRun | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """Packages of the driver or the kernel are only half installed.

    What: the package manager was stopped in the middle: by a script that failed, a full disk, a
    power cut or somebody's Ctrl-C. Files of two versions may lie side by side, the module may be
    deleted and not built yet, and until this is finished no other package can be installed.

    Proof: their states in /var/lib/dpkg/status (`dpkg --audit`), and a run without an end in
    /var/log/apt/history.log.

    Repair: `dpkg --configure -a` takes the work up where it stopped (building the module takes
    minutes); if it fails, its own message names the cause. Then `apt-get --fix-broken install`. Do
    not delete /var/lib/dpkg/lock files or the entries of packages.

    Reference: dpkg(1), "Package states"; https://github.com/instructlab/instructlab/issues/3241
    """
    own_driver(confinement)
    broken = packages.unfinished()
    telling = [package for package in broken if concerns_gpu(package.name)]
    if not telling:
        return
    if isinstance(run, PackageRun) and run.command:
        yield Finding(
            f"{run.command} (process {run.process_id}) is changing packages right now, and has not finished "
            f"{some(package.name for package in telling)}.",
            telling[0].name,
            (Evidence("/proc/locks", f"{run.command}, process {run.process_id}"), states_of(packages, telling)),
            "Wait until it has ended, then run gpudoctor again. Do not interrupt it, and do not restart the machine.",
            Severity.WARNING,
        )
        return
    states = {state: [package for package in telling if package.state == state] for state in UNFINISHED}
    events = history.events if isinstance(history, PackageHistory) else ()
    cut = next((event for event in reversed(events) if not event.complete), None)
    names = [package.name for package in telling]
    lines = log.matching("error processing", "Bad return status") if isinstance(log, PackageManagerLog) else ()
    errors = [line for line in lines if line.latest]
    others = len(broken) - len(telling)
    yield Finding(
        "Packages are only half installed: "
        + "; ".join(f"{state}: {some(package.name for package in found)}" for state, found in states.items() if found)
        + (f" (and {others} others)" if others else "")
        + (f". The run {on_the(cut)} was interrupted." if cut else "."),
        names[0],
        (
            *(states_of(packages, found) for found in states.values() if found),
            *((event_evidence(cut),) if cut else ()),
            *(Evidence(line.source, f"{line.when} {line.text}".strip()) for line in errors[-1:]),
        ),
        _finishing(packages, names, runfile, space) + do_not_restart(kernels),
        Severity.WARNING if gpu_works(nvml, cuda) else None,
    )


def _finishing(
    packages: Packages, names: Sequence[str], runfile: RunfileTraces | Unavailable, space: FreeSpace | Unavailable
) -> str:
    if packages.manager == "pacman":
        return f"Install them again together with all upgrades: `pacman -Syu {' '.join(names)}`."
    first = ""
    full = below(space, dict.fromkeys(("/", "/boot", "/var", "/usr"), FULL)) if isinstance(space, FreeSpace) else ()
    if full:
        first = f"First make room on {' and '.join(full)}. "
    elif isinstance(runfile, RunfileTraces) and runfile.paths and "nvidia-installer-cleanup" in names:
        how = f"`{runfile.uninstaller}`" if runfile.uninstaller else "the .run file's `--uninstall`"
        first = f"nvidia-installer-cleanup stops because a driver from a .run file is there: first run {how}. "
    return (
        f"{first}`dpkg --configure -a` takes it up where it stopped; a module that is built then takes minutes. If "
        f"something is missing after that: `apt-get --fix-broken install` (first with `-s`)."
    )


@check(
    "packages.reboot-required",
    severity=Severity.INFO,
    after=["driver.library-mismatch", "kernel.module-stale"],
    symptoms=[
        hint(r"System restart required", beside=r"mismatch|NVIDIA-SMI has failed"),
        hint(r"Pending kernel upgrade", beside=r"mismatch|NVIDIA-SMI has failed"),
        hint(r"[Rr]eboot (is )?required", beside=r"mismatch|NVIDIA-SMI has failed"),
    ],
)
def reboot_required(confinement: Confinement, flag: RebootRequired) -> Iterator[Finding]:
    """The system asks for a restart.

    What: packages were installed that take effect only with a reboot. Where a kernel or the driver
    is among them, the running system and the disk are of different versions from now on, and what
    was tested is not what will run after the next power cut.

    Proof: /run/reboot-required, and the packages listed in /run/reboot-required.pkgs.

    Repair: reboot when no job runs. Before it, look at kernel.next-boot-module-missing: the kernel
    that boots next must have its module.

    Reference: needrestart(1)
    """
    own_driver(confinement)
    if not flag.required:
        return
    telling = [name for name in flag.packages if concerns_gpu(name)]
    why = "; the new kernel or driver takes effect only then" if telling else ""
    if flag.packages and not telling:
        why = "; the GPU does not need it"
    yield Finding(
        f"The system asks for a restart{' because of ' + some(telling or flag.packages) if flag.packages else ''}.",
        (telling or [*flag.packages, ""])[0],
        (Evidence(flag.source, some(flag.packages, 8) or "no package named"),),
        f"Reboot when no job runs{why}.",
        Severity.WARNING if telling else Severity.INFO,
    )
