"""`gpudoctor check`: diagnose, print, exit code."""

import os
import sys
from collections.abc import Collection, Sequence

from gpudoctor.cli import BadUsage
from gpudoctor.cli.options import CheckOptions
from gpudoctor.cli.source import open_host
from gpudoctor.diagnose import Check, Report, diagnose
from gpudoctor.facts.deep import DeepWanted
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.host import DEEP_TIMEOUT, GLOBAL_TIMEOUT, Unavailable
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.time_limit import limit


def check(options: CheckOptions) -> int:
    """Diagnose the machine that the options name, print or write the report. Returns the exit code."""
    timeout = options.timeout or (DEEP_TIMEOUT if options.deep else GLOBAL_TIMEOUT)
    with limit(timeout):
        report, text = _report(options, timeout)
    deliver(text, options.output)
    return report.exit_code


def _report(options: CheckOptions, timeout: float) -> tuple[Report, str]:
    import time

    began = time.monotonic()
    facts = Facts(
        open_host(options.root, options.kernel, options.snapshot, timeout, options.python),
        {ExpectedGpus: ExpectedGpus(options.expect_gpus), DeepWanted: DeepWanted(options.deep)},
    )
    if options.deep:
        _announce_trials(facts)
    report = diagnose_with(facts, options.only, options.skip)
    duration_ms = round((time.monotonic() - began) * 1000)
    if options.format == "json":
        from gpudoctor.reports.json_report import as_json

        load_plugins(fixes=True)  # the report names the fixes of each finding
        return report, as_json("check", report, facts, duration_ms)
    if options.format == "html":
        from gpudoctor.reports.html import as_html  # here for start-up, like every format but text

        load_plugins(fixes=True)
        return report, as_html("check", report, facts, duration_ms)
    from gpudoctor.reports.text import as_text

    return report, as_text(report, facts, duration_ms, colour=options.output is None and wants_colour())


def _announce_trials(facts: Facts) -> None:
    """Say beforehand whose code is run, and as whom: it can take minutes, and root runs what is not root's."""
    from gpudoctor.facts.deep import frameworks_of
    from gpudoctor.facts.python_environments import PythonEnvironments

    environments = facts.get_for_words(PythonEnvironments)
    if facts.host.source != "live" or isinstance(environments, Unavailable):
        return
    for one in environments.environments:
        frameworks = ", ".join(frameworks_of(one))
        if one.in_use and one.interpreter and frameworks:
            whom = f"as user {one.owner}" if os.geteuid() == 0 else f"as user {os.geteuid()}"
            print(f"gpudoctor: trying {frameworks} with {one.interpreter}, {whom}", file=sys.stderr)


def diagnose_with(facts: Facts, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Report:
    """Run the registered checks but for the deselected ones. Raises BadUsage for ids that do not exist."""
    load_plugins()
    for pattern in (*only, *skip):
        if not any(_matches(id, [pattern]) for id in registry.checks):
            raise BadUsage(_unknown_id(pattern))
    chosen: list[Check] = []
    deselected: list[Check] = []
    for check in registry.checks.values():
        wanted = (not only or _matches(check.id, only)) and not _matches(check.id, skip)
        (chosen if wanted else deselected).append(check)
    if not chosen:
        raise BadUsage("--only and --skip together leave no check to run")
    return diagnose(facts, chosen, deselected=deselected)


def _matches(id: str, patterns: Collection[str]) -> bool:
    """An id, or a domain that stands before its dot: "driver" means all driver.* checks."""
    return any(id == pattern or id.startswith(f"{pattern.removesuffix('.*')}.") for pattern in patterns)


def _unknown_id(pattern: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(pattern, registry.checks, n=3, cutoff=0.5)
    return f"there is no check {pattern!r}" + (
        f"; is {' or '.join(near)} meant?" if near else "; see `gpudoctor explain`"
    )


def wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def deliver(text: str, output: str | None) -> None:
    """Print, or write a file in one go: never half of one. Raises BadUsage if it cannot be written.

    What is there and is no file, like /dev/null or a pipe, is written to: renaming a file to it would take its place.
    """
    if output is None or output == "-":
        # Names on the machine need not be UTF-8, and the terminal need not speak it: what it cannot show is escaped.
        data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    from tempfile import NamedTemporaryFile

    try:
        if os.path.exists(output) and not os.path.isfile(output):
            with open(output, "w", encoding="utf-8", errors="backslashreplace") as there:
                there.write(text)
            return
        target = os.path.realpath(output)  # a link to the file stays one
        with NamedTemporaryFile(
            "w", dir=os.path.dirname(target), delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            try:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise BadUsage(f"cannot write {output}: {error.strerror}") from error
