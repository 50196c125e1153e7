"""The doctor for NVIDIA GPU machines. What a plugin author needs is imported from here.

Names arrive when they are first used: `gpudoctor --version` must not pay for the engine.
"""

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the time of --version
if TYPE_CHECKING:
    from gpudoctor.diagnose import check
    from gpudoctor.findings import Evidence, Finding, NotApplicable, NotAsked, Severity, Undecided
    from gpudoctor.host import Completed, FileStatus, Host, NotRunning, Unavailable
    from gpudoctor.registry import fact
    from gpudoctor.repair import (
        NOTHING_TO_UNDO,
        Effort,
        Findings,
        Manual,
        Phase,
        Reboot,
        RemoveFile,
        Risk,
        Run,
        Step,
        WriteFile,
        fix,
    )
    from gpudoctor.symptoms import hint, likely, sure

__version__ = "0.1.0"

__all__ = [
    "NOTHING_TO_UNDO",
    "Completed",
    "Effort",
    "Evidence",
    "FileStatus",
    "Finding",
    "Findings",
    "Host",
    "Manual",
    "NotApplicable",
    "NotAsked",
    "NotRunning",
    "Phase",
    "Reboot",
    "RemoveFile",
    "Risk",
    "Run",
    "Severity",
    "Step",
    "Unavailable",
    "Undecided",
    "WriteFile",
    "__version__",
    "check",
    "fact",
    "fix",
    "hint",
    "likely",
    "sure",
]

_HOMES = {
    "gpudoctor.diagnose": ("check",),
    "gpudoctor.findings": ("Evidence", "Finding", "NotApplicable", "NotAsked", "Severity", "Undecided"),
    "gpudoctor.host": ("Completed", "FileStatus", "Host", "NotRunning", "Unavailable"),
    "gpudoctor.registry": ("fact",),
    "gpudoctor.repair": (
        *("Effort", "Findings", "Manual", "Phase", "Reboot", "RemoveFile", "Risk", "Run", "Step", "WriteFile", "fix"),
        "NOTHING_TO_UNDO",
    ),
    "gpudoctor.symptoms": ("hint", "likely", "sure"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            module = import_module(home)
            globals().update((known, getattr(module, known)) for known in names)  # asked for once
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
