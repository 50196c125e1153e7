"""The report of `preflight`: whether an upgrade is safe for the GPU, in its first line; then why, and what to do."""

import json
from collections.abc import Iterator

from gpudoctor import __version__
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.findings import Ranked, Severity
from gpudoctor.host import Unavailable
from gpudoctor.preflight.foresee import Foresight, When
from gpudoctor.preflight.transaction import concerns_gpu
from gpudoctor.registry import Facts
from gpudoctor.reports.json_report import SCHEMA, finding_of, host_of, outcome_of
from gpudoctor.reports.machine import SOURCES, machine_summary
from gpudoctor.reports.text import BOLD, DIM, STYLES, finding_lines, some_of, styled, wrapped

_LABELS = {"ok": "SAFE", "warning": "CAREFUL", "error": "NOT SAFE", "unknown": "UNKNOWN"}


def verdict(foresight: Foresight) -> str:
    """One sentence: is this upgrade safe for the GPU?"""
    match foresight.status:
        case "error":
            whens = {one.when for one in foresight.foreseen if one.ranked.severity is Severity.ERROR}
            if whens == {When.UNTIL_RESTART}:
                return "This upgrade would break the GPU until the next restart."
            after = ", from the next restart on" if whens == {When.AFTER_RESTART} else ""
            return f"This upgrade would break the GPU{after}."
        case "warning":
            return "This upgrade would leave the GPU working, but not all in order."
        case "unknown":
            return f"Whether this upgrade is safe for the GPU cannot be told: {foresight.undecided[0]}."
    if not foresight.transaction.changes:
        return "There is nothing to change, and so nothing that could break the GPU."
    if not concerns_gpu(foresight.transaction):
        return "This upgrade is safe for the GPU: it touches nothing that the GPU needs."
    return "This upgrade is safe for the GPU: all that it changes fits together afterwards."


def as_text(foresight: Foresight, facts: Facts, duration_ms: int, *, colour: bool) -> str:
    """At most 80 columns wherever the words allow it."""
    label = _LABELS[foresight.status].ljust(9)
    first, *more = wrapped(verdict(foresight), " " * len(label))
    bold, dim = (BOLD, DIM) if colour else ("", "")
    style = STYLES[foresight.status] if colour else ""
    lines = [styled(label, style) + styled(first[len(label) :], bold), *(styled(line, bold) for line in more)]
    for line in (_machine(facts), *_plan(foresight, facts)):
        lines += wrapped(line, "", dim, hanging="  ")
    lines.append("")
    if foresight.foreseen:
        lines += [*wrapped("Foreseen, in the words of `gpudoctor check` as it would be then:", "", dim), ""]
    for one in foresight.foreseen:
        told = finding_lines(one.ranked, colour, when=one.when.value, remedy="What to do beforehand")
        lines += [*told, ""]
    if foresight.status != "unknown":
        for reason in foresight.undecided:
            lines += wrapped(f"Could not be foreseen: {reason}", "", hanging="  ")
    for what, ranked in (
        ("Wrong already now, and no matter of this upgrade", foresight.already),
        ("Wrong now, and put right by this upgrade", foresight.mended),
    ):
        if ranked:
            lines += wrapped(f"{what}: {_named(ranked)}.", "", hanging="  ")
    lines += wrapped(f"({duration_ms} ms, exit code {foresight.exit_code})", "")
    return "\n".join(lines) + "\n"


def _machine(facts: Facts) -> str:
    machine = machine_summary(facts)
    where = SOURCES[machine.source]
    kernel = f"kernel {machine.kernel_words}" if machine.kernel else ""
    driver = f"driver {machine.driver} loaded" if machine.driver else ""
    words = (f"gpudoctor {__version__}", machine.os_name, where, machine.confinement, kernel, driver)
    return " · ".join(word for word in words if word)


def _plan(foresight: Foresight, facts: Facts) -> Iterator[str]:
    changes = foresight.transaction.changes
    counts = {
        "to upgrade": sum(bool(one.old and one.new) for one in changes),
        "to install": sum(bool(one.new and not one.old) for one in changes),
        "to remove": sum(not one.new for one in changes),
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no changes"
    kept = [name for name in foresight.transaction.kept_back if is_of_interest(name)]
    yield f"Plan: {foresight.transaction.source}: {said}{f'; kept back: {some_of(kept)}' if kept else ''}"
    moves = [*_driver_moves(foresight, facts), *_kernel_moves(foresight, facts)]
    if moves:
        yield f"Then: {'; '.join(moves)}"
    if facts.host.source == "live":
        yield "By the lists of packages that are here; nothing was refreshed."


def _driver_moves(foresight: Foresight, facts: Facts) -> Iterator[str]:
    old, new = (one.get_or_reason(DriverLibraries) for one in (facts, foresight.facts))
    if isinstance(old, Unavailable) or isinstance(new, Unavailable) or old.version == new.version:
        return
    loaded = facts.get_or_reason(LoadedDriver)
    restart = ", in force after a restart" if isinstance(loaded, LoadedDriver) and loaded.loaded and new.version else ""
    yield f"driver {old.version or 'none'} -> {new.version or 'none'}{restart}"


def _kernel_moves(foresight: Foresight, facts: Facts) -> Iterator[str]:
    old, new = (one.get_or_reason(InstalledKernels) for one in (facts, foresight.facts))
    if isinstance(old, Unavailable) or isinstance(new, Unavailable):
        return
    before, after = ([kernel.release for kernel in one.kernels] for one in (old, new))
    for release in after:
        if release not in before:
            yield f"kernel {release} comes" + (" and boots next" if release == new.next_boot else "")
    for release in before:
        if release not in after:
            yield f"kernel {release} goes"


def _named(findings: tuple[Ranked, ...]) -> str:
    return some_of(
        [ranked.check.id + (f" ({ranked.finding.subject})" if ranked.finding.subject else "") for ranked in findings]
    )


def as_json(foresight: Foresight, facts: Facts, duration_ms: int) -> str:
    """The report's schema 1, and what only this command has. The fixes' plugins must be loaded."""
    transaction = foresight.transaction
    document = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": "preflight",
        "status": foresight.status,
        "exit_code": foresight.exit_code,
        "verdict": verdict(foresight),
        "host": host_of(facts),
        "plan": {
            "source": transaction.source,
            "manager": transaction.manager,
            "packages": len(transaction.changes),
            "changes": [
                {"package": one.name, "architecture": one.architecture, "old": one.old, "new": one.new}
                for one in transaction.changes
                if is_of_interest(one.name)
            ],
            "kept_back": [*transaction.kept_back],
        },
        "findings": [
            {**finding_of(one.ranked), "when": one.when.name.lower(), "afterwards": one.afterwards}
            for one in foresight.foreseen
        ],
        "already": [finding_of(ranked) for ranked in foresight.already],
        "mended": [finding_of(ranked) for ranked in foresight.mended],
        "undecided": [*foresight.undecided],
        "outcomes": [outcome_of(outcome) for outcome in foresight.then.outcomes],
        "outcomes_after_restart": [
            outcome_of(outcome) for outcome in (foresight.restarted.outcomes if foresight.restarted else ())
        ],
        "duration_ms": duration_ms,
    }
    return json.dumps(document, indent=1) + "\n"
