"""`gpudoctor check`: diagnose, print, exit code."""

import errno
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from gpudoctor.cli import COULD_NOT_TELL, BadUsage, own_bug
from gpudoctor.cli.options import CheckOptions
from gpudoctor.cli.source import open_host
from gpudoctor.diagnose import diagnose
from gpudoctor.exit_codes import ExitRule
from gpudoctor.facts.deep import DeepWanted
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.findings import Check, Report
from gpudoctor.host import DEEP_TIMEOUT, GLOBAL_TIMEOUT, BadSource, Unavailable
from gpudoctor.registry import Facts, NoPlugins, load_plugins, registry
from gpudoctor.reports.formats import FORMATS, TEXT, render
from gpudoctor.reports.machine import machine_summary
from gpudoctor.time_limit import asking_for, limit


def check(options: CheckOptions) -> int:
    """Diagnose the machine that the options name, print or write the report. Returns the exit code."""
    with monitors_told(options.format, options.output):
        options = _with_settings(options)
    with monitors_told(options.format, options.output):  # they may name another format
        return _check(options)


def _with_settings(options: CheckOptions) -> CheckOptions:
    for name in ("output", "baseline", "save_baseline", "changed_since", "config"):
        if getattr(options, name) == "":  # a shell's variable that is not set
            raise BadUsage(f"--{name.replace('_', '-')} names no file")
    if options.config is None and not (os.path.exists("gpudoctor.toml") or os.path.exists("pyproject.toml")):
        return options
    from gpudoctor.cli.settings import found_settings, with_settings  # here for start-up

    settings = found_settings(options.config, options.timeout)
    if settings.skip:
        load_plugins()
        require_checks(settings.skip, f"{settings.path}: skip: ")
    return with_settings(options, settings)


def _check(options: CheckOptions) -> int:
    import time

    began = time.monotonic()
    timeout = options.timeout or (DEEP_TIMEOUT if options.deep else GLOBAL_TIMEOUT)
    form = options.format or TEXT
    files = [_format_and_file(words) for words in options.also]
    exits = ExitRule(options.fail_on or "", options.exit_map or FORMATS[form].exit_map)
    with limit(timeout):
        _require_files_of_their_own(options, [path for _, path in files])
        for path in (options.output, *(path for _, path in files)):
            _require_place(path)
        # Here for start-up. A file that cannot be meant is said before the machine is looked at, not after it.
        if options.baseline is not None or options.save_baseline is not None:
            from gpudoctor.cli.baseline import acknowledged_before

            known = acknowledged_before(options)
        facts = Facts(
            open_host(options.root, options.kernel, options.snapshot, timeout, options.python),
            {ExpectedGpus: ExpectedGpus(options.expect_gpus), DeepWanted: DeepWanted(options.deep)},
        )
        if options.deep:
            _announce_trials(facts)
        report = diagnose_with(facts, options.only, options.skip)._replace(exits=exits)
        machine_summary(facts)  # what only the report's head asks is found out within the time, too
    if options.baseline is not None or options.save_baseline is not None:
        from gpudoctor.cli.baseline import with_acknowledged  # here for start-up

        report = with_acknowledged(report, known, options)
    duration_ms = round((time.monotonic() - began) * 1000)

    def tell(report: Report) -> int:
        if not (options.quiet and options.output is None and report.exit_code == 0):
            colour = options.output is None and wants_colour()
            deliver(render(form, "check", report, facts, duration_ms, colour=colour), options.output)
        if form == "github":
            add_to_job_summary("check", report, facts, duration_ms)
        return report.exit_code

    failures = []
    for name, path in files:
        try:
            deliver(render(name, "check", report, facts, duration_ms), path)
        except BadUsage as error:  # no reason to keep back what was found
            failures.append(error)
    if options.changed_since is not None:
        from gpudoctor.cli.changed_since import tell_changes  # here for start-up

        code = tell_changes(report, options, tell)
    else:
        code = tell(report)
    for failure in failures:
        print(f"gpudoctor: {failure}", file=sys.stderr)
    return COULD_NOT_TELL if failures else code


def _format_and_file(words: str) -> tuple[str, str]:
    name, _, path = words.partition("=")
    if name not in FORMATS or path in ("", "-"):
        raise BadUsage(f"--also {words}: a format and a file are meant, as in --also junit=report.xml")
    return name, path


def _require_files_of_their_own(options: CheckOptions, also: Sequence[str]) -> None:
    """Raises BadUsage where a file would be written over another one that this run writes or reads."""
    written = [options.output, options.changed_since, *also]
    taken: set[str] = set()
    # The file of acknowledged findings is read and written on purpose.
    for name in (options.snapshot, options.config, options.save_baseline or options.baseline, *written):
        asking_for(name or "")
        if name is None or name == "-" or (os.path.exists(name) and not os.path.isfile(name)):
            continue  # what is no file, like /dev/null, takes all that comes
        place = os.path.realpath(name)
        if place in taken:
            raise BadUsage(f"{name} is named twice: each file that is read or written is a file of its own")
        taken.add(place)


def _require_place(output: str | None) -> None:
    """Raises BadUsage, in the words of `deliver`, where it is known beforehand that no file can be written there."""
    if output is None or output == "-":
        return
    asking_for(output)
    folder = os.path.dirname(os.path.realpath(output))
    if os.path.isdir(output):
        code = errno.EISDIR
    elif os.path.exists(output) and not os.path.isfile(output):
        return
    elif not os.path.isdir(folder):
        code = errno.ENOTDIR if os.path.exists(folder) else errno.ENOENT
    elif not os.access(folder, os.W_OK | os.X_OK):
        code = errno.EACCES
    else:
        return
    raise BadUsage(f"cannot write {output}: {os.strerror(code)}")


def add_to_job_summary(command: str, report: Report, facts: Facts, duration_ms: int) -> None:
    """On a runner of GitHub's the report as the summary of the job. Raises BadUsage if it cannot be written."""
    from gpudoctor.reports.github import append_summary, summary_file  # here for start-up

    path = summary_file()
    if path:
        try:
            append_summary(path, render("markdown", command, report, facts, duration_ms))
        except OSError as error:
            raise BadUsage(f"cannot write {path}, the summary of this job: {error.strerror}") from error


@contextmanager
def monitors_told(form: str | None, output: str | None) -> Iterator[None]:
    """Why something in here could not be done is told to those who see standard output alone, and raised again."""
    try:
        yield
    except OSError:
        raise  # standard output that cannot be written to, say
    except Exception as error:
        say_to_monitor(form, output, error)
        raise


def say_to_monitor(form: str | None, output: str | None, error: Exception) -> None:
    """Monitors show standard output and nothing else: what keeps a check from running belongs there as well."""
    if output is not None or sys.stdout is None:
        return
    reason = str(error) if isinstance(error, (BadUsage, BadSource, NoPlugins)) else own_bug(error)
    match form:
        case "nagios":
            from gpudoctor.reports.nagios import as_failure

            deliver(as_failure(reason), None)
        case "npd":
            from gpudoctor.reports.npd import line_of

            deliver(line_of(f"unknown: {reason}"), None)


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
    require_checks((*only, *skip))
    chosen: list[Check] = []
    deselected: list[Check] = []
    for check in registry.checks.values():
        wanted = (not only or _matches(check.id, only)) and not _matches(check.id, skip)
        (chosen if wanted else deselected).append(check)
    if not chosen:
        raise BadUsage("--only and --skip together leave no check to run")
    return diagnose(facts, chosen, deselected=deselected)


def require_checks(patterns: Sequence[str], where: str = "") -> None:
    """Raises BadUsage for a pattern that no check matches. `where`: who says so, in front of the sentence."""
    for pattern in patterns:
        if not any(_matches(id, [pattern]) for id in registry.checks):
            raise BadUsage(where + _unknown_id(pattern))


def _matches(id: str, patterns: Collection[str]) -> bool:
    """An id, or a domain that stands before its dot: "driver" means all driver.* checks."""
    return any(id == pattern or id.startswith(f"{pattern.removesuffix('.*')}.") for pattern in patterns)


def _unknown_id(pattern: str) -> str:
    from gpudoctor.near_names import meant, near_checks  # here for start-up

    return f"there is no check {pattern!r}; {meant(near_checks(pattern, registry.checks), 'see `gpudoctor explain`')}"


def wants_colour() -> bool:
    if sys.stdout is None:
        return False
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def deliver(text: str, output: str | None) -> None:
    """Print, or write a file in one go: never half of one. Raises BadUsage if it cannot be written.

    What is there and is no file, like /dev/null or a pipe, is written to: renaming a file to it would take its place.
    """
    if output == "":  # a shell's variable that is not set
        raise BadUsage("--output names no file")
    if output is None or output == "-":
        if sys.stdout is None:
            raise BadUsage("standard output is closed, so there is nowhere to print to; --output names a file")
        # Names on the machine need not be UTF-8, and the terminal need not speak it: what it cannot show is escaped.
        data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    # Links are followed, and what is no plain file (/dev/stdout, a named pipe) is written to: putting a file in the
    # place of /dev/null would harm the whole machine.
    target = os.path.realpath(output)
    try:
        if os.path.exists(output) and not os.path.isfile(output):
            with open(output, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
            return
        from gpudoctor.state import write_whole  # here for start-up

        write_whole(target, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise BadUsage(f"cannot write {output}: {error.strerror}") from error
