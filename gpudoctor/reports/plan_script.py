"""The plan as a POSIX shell script that a careful admin reads, and runs: as root, where a step needs it."""

import shlex
from collections.abc import Iterator
from textwrap import wrap

from gpudoctor import __version__
from gpudoctor.repair import ENVIRONMENT, SUCCESS_CODES, Action, Manual, Reboot, RemoveFile, Run, Step, WriteFile
from gpudoctor.reports.plan import PlanReport
from gpudoctor.reports.text import visible


def as_script(planned: PlanReport) -> str:
    """Stops at the first step that fails or cannot be verified; asks for what only a person can do."""
    return "\n".join(_lines(planned)) + "\n"


def _lines(planned: PlanReport) -> Iterator[str]:
    report, plan, place = planned.report, planned.plan, planned.place
    yield "#!/bin/sh"
    whose = ", as root" if any(step.root for step in plan.steps) or not plan.steps else ", as the environment's owner"
    yield f"# Repair plan of gpudoctor {__version__}. Read it before you run it{whose}."
    for ranked in report.findings:
        yield from _comment(f"{ranked.severity.name.lower()} {ranked.check.id}: {ranked.finding.summary}")
    yield from _comment(place.notice)
    yield "set -eu"
    yield f"export {' '.join(f'{name}={value}' for name, value in ENVIRONMENT.items())}"
    if any(_is_owners(step) for step in plan.steps):
        yield from _OWNER
    if not plan.steps:
        yield "# There is nothing to do."
    for number, step in enumerate(plan.steps, 1):
        yield ""
        yield from _comment(f"Step {number} of {len(plan.steps)} ({step.risk.name.lower()} risk): {step.why}")
        if step.undo is not None and not step.changes_nothing:
            yield from _comment(f"To undo it: {step.undo}")
        yield from _commands(step.action, owners=_is_owners(step))
        yield from _verification(step, number)
    for id in plan.left:
        yield from ("", *_comment(f"Left for a person: {id}; see `gpudoctor explain {id}`."))


# Root must not leave its files in somebody's environment: the owner of a path runs what works on it.
_OWNER = (
    'owner() { o=$(stat -c %U "$1"); shift',
    '    if [ "$(id -u)" = 0 ] && [ "$o" != root ]; then runuser -u "$o" -- "$@"; else "$@"; fi; }',
)


def _is_owners(step: Step) -> bool:
    return not step.root and isinstance(step.action, Run) and any(word.startswith("/") for word in step.action.argv)


def _commands(action: Action, *, owners: bool) -> Iterator[str]:
    match action:
        case Run(argv) if owners:
            yield shlex.join(("owner", next(word for word in argv if word.startswith("/")), *argv))
        case Run(argv) if argv[0] in SUCCESS_CODES:
            codes = "|".join(str(code) for code in SUCCESS_CODES[argv[0]] if code)
            yield f'{shlex.join(argv)} || {{ code=$?; case $code in {codes}) ;; *) exit "$code" ;; esac; }}'
        case Run(argv):
            yield shlex.join(argv)
        case WriteFile(path, text):
            yield from (f"#   {visible(line)}" for line in action.diff[2:])
            yield f"printf %s {shlex.quote(text)} > {shlex.quote(path)}"
        case RemoveFile(path):
            yield f"rm -- {shlex.quote(path)}"
        case Reboot():
            yield "systemctl reboot"
        case Manual(instruction):
            yield f"printf '%s\\n' {shlex.quote('BY HAND: ' + instruction)} 'Press Enter when it is done.' >&2"
            yield "read -r _"


def _verification(step: Step, number: int) -> Iterator[str]:
    if step.verify is not None:
        yield f"{shlex.join(step.verify.argv)} || {{ echo 'step {number} is not verified; stopping' >&2; exit 1; }}"


def _comment(text: str) -> list[str]:
    return wrap(
        visible(text),
        100,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_on_hyphens=False,
        break_long_words=False,
    )
