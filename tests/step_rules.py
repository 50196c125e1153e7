"""What every step of every fix must be; every step that a test of this folder sees is held to it (see conftest)."""

import re

from gpudoctor import Manual, Phase, Reboot, RemoveFile, Run, Step, WriteFile

SHELL = {"|", "||", "&", "&&", ";", ">", ">>", "<", "`", "$("}
NEVER = (
    *("--force-overwrite", "--force-all", "--nodeps", "--allow-unauthenticated", "--nogpgcheck", "--force-yes"),
    *("--disable-validation", "NVreg_OpenRmEnableUnsupportedGpus", "IGNORE_", "chmod"),
    *("purge", "--overwrite", "--ignore-depends", "--break-system-packages", "--extra-index-url", "--trusted-host"),
)
# It may be installed, and must never go along with a driver that is taken away.
_KEPT = "nvidia-container-toolkit"
_REMOVING = ("remove", "autoremove", "erase", "-R", "-Rs", f"{_KEPT}-", f"!{_KEPT}")
# What was interrupted cannot be un-finished.
FINISHING = ("dpkg", "--force-confold", "--configure", "-a")


def broken_rules(step: Step) -> list[str]:
    """The rules that a step breaks, in words."""
    found = []
    if len(step.why) <= 20 or not step.why.endswith("."):
        found.append(f"no reason in a sentence: {step.why!r}")
    manual, journal = isinstance(step.action, Manual), isinstance(step.action, WriteFile | RemoveFile)
    asks_only = step.phase is Phase.SIMULATE or manual
    if step.verify is None and not asks_only and "exit status is the proof" not in step.why:
        found.append("a change without a proof")
    excused = isinstance(step.action, Reboot) or (isinstance(step.action, Run) and step.action.argv == FINISHING)
    if step.undo is None and not (asks_only or journal or excused):
        found.append("a change without a way back")
    if step.derives and step.phase not in (Phase.BUILD, Phase.REBUILD):
        found.append("the same once more is no way back: it makes nothing from other files")
    for part in (step.action, step.verify, step.undo):
        if isinstance(part, Run):
            found += _broken_by(part.argv)
        if isinstance(part, Manual) and ("--force-overwrite" in str(part) or "disable Secure Boot" in str(part)):
            found.append(f"bad advice: {part}")
    return found


# A toolkit lies where no PATH leads, and which of several is meant only the path says.
_TOOLKIT = re.compile(r"/usr/local/cuda-[0-9]+\.[0-9]+/bin/(?:nvcc|cuda-uninstaller)")
# NVIDIA's .run files come without the right to be executed, and their own guides start them so. The file was read
# and tested beforehand, and what is allowed behind it are options: nothing that a shell would take for a script.
_RUNFILE = re.compile(r"(?:/[A-Za-z0-9_+~=@,-][A-Za-z0-9._+~:=@,-]*)+")


# Not by its name: root's PATH leads to no Python environment, and another gpudoctor may be on it.
_OWN_PROGRAM = re.compile(r"/(?:[^/]+/)*gpudoctor")


def _broken_by(argv: tuple[str, ...]) -> list[str]:
    found = []
    # A Python environment is changed by its own interpreter, named by its path.
    if (
        "/" in argv[0]
        and (argv[1:3] != ("-m", "pip") or not argv[0].startswith("/"))
        and not _TOOLKIT.fullmatch(argv[0])
        and not (_OWN_PROGRAM.fullmatch(argv[0]) and argv[1:] == ("bench", "--quick"))
    ):
        found.append(f"a program by its path: {argv}")
    runfile = argv[0] == "sh" and len(argv) > 2 and _RUNFILE.fullmatch(argv[1]) and argv[2] in ("--check", "--silent")
    if (argv[0] in ("sh", "bash", "env", "sudo", "rm") and not runfile) or argv[0] != argv[0].strip() or not argv[0]:
        found.append(f"no program of its own: {argv}")
    if SHELL & set(argv) or not all(isinstance(word, str) and word and "\n" not in word for word in argv):
        found.append(f"words for a shell: {argv}")
    text = " ".join(argv)
    found += [f"never done: {word} in {text}" for word in NEVER if word in text]
    if _KEPT in text and any(word in argv for word in _REMOVING):
        found.append(f"never done: {_KEPT} is removed by {text}")
    if "*" in text and argv[0] not in ("awk", "grep"):
        found.append(f"a pattern where a name belongs: {text}")
    return found
