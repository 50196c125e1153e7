"""`gpudoctor bench`: train, print the result, exit code."""

import json
import re
import sys
from typing import NamedTuple

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver


class BenchOptions(NamedTuple):
    """The command line of `bench`."""

    backend: str = "auto"
    quick: bool = False
    burn: str | None = None  # "10m"
    all_gpus: bool = False
    gpus: tuple[str, ...] = ()
    baseline: str | None = None
    save_baseline: str | None = None
    python: str | None = None
    format: str = "text"
    output: str | None = None
    seed: int = 0


_UNITS = {"s": 1, "m": 60, "h": 3600}
_LONGEST = 7 * 24 * 3600


def bench(options: BenchOptions) -> int:
    """Run the benchmark. Returns 0 if it trained, 2 if it did not, 3 if it could not run."""
    burn_seconds = seconds_of(options.burn) if options.burn is not None else 0.0
    _require_sense(options)
    try:
        from gpudoctor.bench.baseline import load_baseline, save_baseline
        from gpudoctor.bench.job import Level
        from gpudoctor.bench.report import as_text
        from gpudoctor.bench.run import Wanted, run_bench
        from gpudoctor.bench.running.gpus import NoSuchGpu
        from gpudoctor.bench.saved import save_run
    except ImportError as error:  # a numpy that is broken is a fault of this environment, not a crash of ours
        raise BadUsage(f"bench cannot run in this Python environment ({sys.prefix}): {error}") from error
    level = Level.BURN if burn_seconds else Level.QUICK if options.quick else Level.DEFAULT
    wanted = Wanted(
        options.backend,
        level,
        burn_seconds,
        options.seed,
        options.all_gpus,
        options.gpus,
        _interpreter(options.python),
        load_baseline(options.baseline) if options.baseline is not None else None,
    )
    try:
        result = run_bench(wanted, say=lambda line: print(line, file=sys.stderr))
    except NoSuchGpu as why:
        raise BadUsage(str(why)) from why
    try:
        save_run(result)
    except OSError as error:  # the answer counts for more than its copy
        print(f"gpudoctor: `check` will not know of this run: {error}", file=sys.stderr)
    match options.format:
        case "json":
            text = json.dumps(result.to_json(), indent=1) + "\n"
        case "html":
            from gpudoctor.reports.html.bench import as_html

            text = as_html(result)
        case _:
            text = as_text(result)
    deliver(text, options.output)
    if options.save_baseline is not None:
        try:
            save_baseline(options.save_baseline, result)
        except OSError as error:
            raise BadUsage(f"cannot write {options.save_baseline}: {error.strerror}") from error
    return result.exit_code


def seconds_of(text: str) -> float:
    """Of "10m", "90s", "1h" or "45". Raises BadUsage for anything else."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh]?)", text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise BadUsage(f"--burn {text}: a time is meant, up to a week: 10m, 90s or 1h")
    return seconds


def _require_sense(options: BenchOptions) -> None:
    if options.quick and options.burn is not None:
        raise BadUsage("--quick and --burn exclude each other")
    if options.gpus and options.all_gpus:
        raise BadUsage("--gpu and --all exclude each other")
    if options.backend == "numpy":
        for given, name in ((options.gpus, "--gpu"), (options.all_gpus, "--all"), (options.python, "--python")):
            if given:
                raise BadUsage(f"{name} says which GPU or whose torch is meant, and --backend numpy runs on the CPU")
    if options.python is not None and options.backend == "cupy":
        raise BadUsage("--python says whose torch is tested, and --backend cupy runs in gpudoctor's own Python")
    if options.backend == "torch" and options.burn is not None:
        raise BadUsage("--burn runs with CuPy or numpy, not with torch")


def _interpreter(python: str | None) -> str | None:
    """The absolute path of a Python that the user named. Raises BadUsage if it is none."""
    if python is None:
        return None
    from gpudoctor.cli.source import open_host

    (found,) = open_host(pythons=(python,)).pythons
    return found
