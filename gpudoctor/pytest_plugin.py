"""The plugin that pytest loads wherever gpudoctor is installed: tests with the marker `gpu` need a GPU that works.

Where none can be used they are skipped with the doctor's first cause; with --gpu-required they fail with it, and its
proof is told once instead of a hundred tracebacks. The doctor is asked once a session, in a process of its own, and
only when such a test is about to run: a session without one pays for the import of this module, and for nothing else.
"""

import json
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

MARKER = "gpu: needs an NVIDIA GPU that works; skipped where there is none, and fails there with --gpu-required"
_ASKS_LIBCUDA = "driver.cuda-init-failed"  # why this check cannot tell is why nobody knows whether a GPU can be used
PROPERTY = "gpudoctor"  # what a refused test carries into reports, JUnit's too: the cause


class GpuUse(NamedTuple):
    """Whether tests can use a GPU. `gpus`: with how many libcuda starts, None if that could not be told."""

    gpus: int | None
    cause: str  # in one line why none can be used, "" if one can
    proof: Sequence[tuple[str, str]] = ()  # (source, value)
    remedy: str = ""

    @property
    def words(self) -> str:
        """For a test that is refused."""
        if self.gpus is None:
            return f"gpudoctor could not tell whether a GPU can be used: {self.cause}"
        return f"gpudoctor: no GPU can be used: {self.cause}"


_USE = pytest.StashKey[GpuUse]()
_SHARED = pytest.StashKey[str]()  # the file in which xdist's workers find the answer of the first that asked


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpudoctor", "NVIDIA GPUs")
    group.addoption(
        "--gpu-required", action="store_true", help="Fail tests marked gpu where no GPU can be used, not skip them."
    )
    group.addoption(
        "--gpu-exit-code",
        type=int,
        metavar="N",
        help="With --gpu-required: end with N where nothing but the GPU failed; 75 means that another machine may try.",
    )
    group.addoption(
        "--gpu-snapshot", metavar="FILE", help="Judge this recorded machine (gpudoctor snapshot) instead of this one."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    snapshot = config.getoption("gpu_snapshot")
    if snapshot and not os.path.isfile(snapshot):
        raise pytest.UsageError(f"--gpu-snapshot {snapshot}: no such file")
    if config.getoption("gpu_exit_code") is not None and not config.getoption("gpu_required"):
        raise pytest.UsageError("--gpu-exit-code goes with --gpu-required")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist's controller is about to start a worker."""
    stash: pytest.Stash = node.config.stash
    if _SHARED not in stash:
        import tempfile  # here for start-up

        descriptor, stash[_SHARED] = tempfile.mkstemp(prefix="gpudoctor-", suffix=".json")
        os.close(descriptor)
    node.workerinput[PROPERTY] = stash[_SHARED]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SHARED in config.stash:
        os.unlink(config.stash[_SHARED])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures, which may need the GPU themselves, and after the marks that skip a test anyway."""
    marker = item.get_closest_marker("gpu")
    if marker is None:
        return
    if marker.args or marker.kwargs:  # who writes gpu(count=2) believes that it is heeded
        given = (*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items()))
        pytest.fail(f"the marker gpu takes no arguments, not gpu({', '.join(given)})", pytrace=False)
    use = _gpu_use(item.config)
    if not use.cause:
        return
    item.user_properties.append((PROPERTY, use.cause))
    if item.config.getoption("gpu_required"):
        pytest.fail(use.words, pytrace=False)
    pytest.skip(use.words)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """A skip is told of the test, as pytest tells those of its own marks: it would be told of the line above."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    refused = report.when == "setup" and report.skipped and PROPERTY in dict(report.user_properties)
    if refused and isinstance(report.longrepr, tuple):
        path, line, _ = item.reportinfo()
        report.longrepr = (os.fspath(path), (line or 0) + 1, report.longrepr[2])


def pytest_sessionfinish(session: pytest.Session) -> None:
    code = session.config.getoption("gpu_exit_code")
    failed = len(_refused(session.config, "error"))
    if code is not None and failed and failed == session.testsfailed:
        session.exitstatus = code


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    failed, skipped = _refused(config, "error"), _refused(config, "skipped")
    if not (failed or skipped):
        return
    from gpudoctor.reports.text import wrapped  # here for start-up

    use = _known_use(config) or GpuUse(0, (failed or skipped)[0])
    count = len(failed or skipped)
    terminalreporter.section("NVIDIA GPUs", sep="=")
    lines = wrapped(use.words, "", hanging="  ")
    if failed:
        for heading, rows in (
            ("Proof", [f"{source}: {value}" for source, value in use.proof]),
            ("What to do", [use.remedy]),
        ):
            rows = [row for row in rows if row]
            lines += [f"  {heading}"] * bool(rows)
            for row in rows:
                lines += wrapped(row, "    ", hanging="      ")
    told = f"{count} test{'s' if count > 1 else ''} {'failed' if failed else 'skipped'} for that alone"
    lines += wrapped(f"{told}; `gpudoctor check` tells all.", "")
    for line in lines:
        terminalreporter.write_line(line, red=bool(failed), yellow=not failed)


def _refused(config: pytest.Config, outcome: str) -> list[str]:
    """The causes for which tests were refused. `outcome`: "error" or "skipped"."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get(outcome, ()) if reporter else ()
    return [
        cause
        for report in reports
        if getattr(report, "when", "") == "setup"
        for name, cause in report.user_properties
        if name == PROPERTY
    ]


def _gpu_use(config: pytest.Config) -> GpuUse:
    """The answer, asked for at most once a session: a worker of xdist looks first whether another one has it."""
    if _USE in config.stash:
        return config.stash[_USE]
    shared = getattr(config, "workerinput", {}).get(PROPERTY, "")
    if os.path.isfile(shared):  # a worker on another machine does not see it, and has GPUs of its own
        import fcntl  # here for start-up

        with open(shared, "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known = file.read()
            if known:
                config.stash[_USE] = GpuUse(*json.loads(known))
            else:
                config.stash[_USE] = _asked(config.getoption("gpu_snapshot"))
                json.dump(config.stash[_USE], file)
    else:
        config.stash[_USE] = _asked(config.getoption("gpu_snapshot"))
    return config.stash[_USE]


def _known_use(config: pytest.Config) -> GpuUse | None:
    """The answer, if somebody has asked for it on this machine."""
    if _SHARED in config.stash:
        with open(config.stash[_SHARED], encoding="utf-8") as file:
            known = file.read()
        return GpuUse(*json.loads(known)) if known else None
    return config.stash.get(_USE, None)


def _asked(snapshot: str | None) -> GpuUse:
    """Ask the doctor about this machine and this very environment, or about a recorded machine."""
    # Here for start-up. In a process of its own: the tests may have changed this one in any way.
    import time

    from gpudoctor.children import collect, start
    from gpudoctor.host import GLOBAL_TIMEOUT

    which = ["--snapshot", os.path.abspath(snapshot)] if snapshot else ["--python", sys.prefix]
    arguments = ["check", "--format", "json", "--fail-on", "never", *which]
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # Nothing of the working directory is imported, and none of the folders that tests put on the path.
    statement = (
        f"import sys; sys.path += [{home!r}] * ({home!r} not in sys.path)\n"
        f"from gpudoctor.cli import run; sys.exit(run({arguments!r}))"
    )
    try:
        child = start([sys.executable, "-I", "-c", statement])
    except OSError as error:
        return GpuUse(None, f"{sys.executable}: {error.strerror}")
    (ended,) = collect([child], time.monotonic() + GLOBAL_TIMEOUT + 10)
    if ended.failure:
        return GpuUse(None, ended.failure)
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        return GpuUse(None, said[-1] if said else f"exit code {ended.exit_code} without a word")
    return judge(report)


def judge(report: Mapping[str, Any]) -> GpuUse:
    """Whether a GPU can be used, from the report as JSON.

    An error of the machine or of an environment in use forbids it. Without one a GPU that libcuda starts with can be
    used, whatever else could not be told.
    """
    in_use = {"", *(one["prefix"] for one in report["host"]["pythons"] if one["in_use"])}
    gpus: int | None = report["host"]["usable_gpus"]
    for finding in report["findings"]:
        if finding["severity"] == "error" and not finding["acknowledged"] and finding["environment"] in in_use:
            proof = [(evidence["source"], evidence["value"]) for evidence in finding["evidence"]]
            return GpuUse(gpus or 0, f"{finding['id']}: {finding['summary']}", proof, finding["remedy"])
    if gpus:
        return GpuUse(gpus, "")
    if gpus == 0:
        return GpuUse(
            0, "libcuda starts with none, and no check says why", (), "Is CUDA_VISIBLE_DEVICES as it should be?"
        )
    outcomes = sorted(report["outcomes"], key=lambda outcome: outcome["check"] != _ASKS_LIBCUDA)
    reasons = [outcome for outcome in outcomes if outcome.get("matters")]
    reasons += [outcome for outcome in outcomes if outcome.get("not_running")]
    why = (f"{one['check']}: {(one['reason'].strip().splitlines() or [''])[-1]}" for one in reasons)
    return GpuUse(None, next(why, "libcuda was not asked"))
