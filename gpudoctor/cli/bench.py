"""`gpudoctor bench`: train, print the result, exit code."""

import json
import sys

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver


def bench(backend: str, seed: int, format: str, output: str | None) -> int:
    """Run the benchmark. Returns 0 if it trained, 2 if it did not, 3 if it could not run."""
    try:
        from gpudoctor.bench.report import as_text
        from gpudoctor.bench.run import run_bench
    except ImportError as error:  # a numpy that is broken is a fault of this environment, not a crash of ours
        raise BadUsage(f"bench cannot run in this Python environment ({sys.prefix}): {error}") from error
    result = run_bench(backend, seed=seed, progress=lambda line: print(line, file=sys.stderr))
    deliver(json.dumps(result.to_json(), indent=1) + "\n" if format == "json" else as_text(result), output)
    return result.exit_code
