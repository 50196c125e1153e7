"""What the checks of packages make of a machine, and what they ask for beside its packages."""

from gpudoctor import Unavailable
from gpudoctor.diagnose import run_check
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.history import PackageEvent, PackageHistory
from gpudoctor.facts.package_log import LogLine, PackageManagerLog
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Finding, Outcome, Status
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.snapshot import SnapshotHost


def nvml(code: int = 0) -> Nvml:
    one = NvmlGpu(0, 0, "NVML_SUCCESS", "NVIDIA H200", "GPU-1", "0000:19:00.0", None, (9, 0), None, {}, {})
    name = "NVML_SUCCESS" if code == 0 else "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    return Nvml(code, name, "", "", "", "", None, (one,) if code == 0 else ())


def cuda(code: int = 0) -> Cuda:
    return Cuda(code, "CUDA_SUCCESS" if code == 0 else "CUDA_ERROR_UNKNOWN", "", "", "", 12020, int(code == 0))


def event(
    name: str,
    action: str,
    old: str = "",
    new: str = "",
    *,
    when: str = "2026-11-22  06:50:11",
    command: str = "/usr/bin/unattended-upgrade",
    complete: bool = True,
    time: float = 1000.0,
) -> PackageEvent:
    return PackageEvent(time, when, action, name, old, new, command, complete, "/var/log/apt/history.log")


def history(*events: PackageEvent) -> PackageHistory:
    return PackageHistory(events)


def printed(*texts: str, latest: bool = True, source: str = "/var/log/apt/term.log") -> PackageManagerLog:
    return PackageManagerLog(tuple(LogLine(source, "2026-11-22 06:50:11", text, latest) for text in texts))


# What the checks ask for beside the packages: nothing noteworthy, and no driver that answers.
_ELSE = (Confinement("", False), PackageHistory(()), PackageManagerLog(()))


def outcome(check: str, *facts: object, without: tuple[type, ...] = ()) -> Outcome:
    """What becomes of a check on these facts and a quiet rest; `without`, and what is not given, are unknown."""
    load_plugins()
    known = {type(fact): fact for fact in (*_ELSE, *facts)}
    found = run_check(registry.checks[check], Facts(SnapshotHost({}), {**known, **dict.fromkeys(without, _NOT_TOLD)}))
    assert found.status is not Status.CRASHED, found.reason
    return found


_NOT_TOLD = Unavailable("not told")


def finding(check: str, *facts: object, without: tuple[type, ...] = ()) -> Finding:
    """The only thing that a check finds."""
    found = outcome(check, *facts, without=without)
    assert found.status is Status.FOUND, (found.status, found.reason)
    (only,) = found.findings
    return only


def status(check: str, *facts: object, without: tuple[type, ...] = ()) -> Status:
    return outcome(check, *facts, without=without).status


def proof(found: Finding) -> str:
    """The evidence as one text, a line each."""
    return "\n".join(f"{evidence.source}: {evidence.value}" for evidence in found.evidence)
