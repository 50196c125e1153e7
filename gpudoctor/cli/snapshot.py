"""`gpudoctor snapshot`: record exactly the answers that the checks get, redacted."""

import json
import sys
from collections.abc import Sequence

from gpudoctor import __version__
from gpudoctor.cli.check import deliver, diagnose_with
from gpudoctor.cli.source import open_host
from gpudoctor.redact import redacted
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.machine import machine_summary
from gpudoctor.secret_words import secrets_told_by
from gpudoctor.snapshot import RecordingHost, as_document


def snapshot(output: str | None, root: str | None, kernel: str | None, timeout: float, pythons: Sequence[str]) -> int:
    """Write the snapshot; also what planning a repair would ask is recorded. Returns 0."""
    host = open_host(root, kernel, None, timeout, pythons)
    recorder = RecordingHost(host)
    facts = Facts(recorder)
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    make_plan(report, registry.fixes.values(), facts)
    machine_summary(facts)
    document = as_document(redacted(recorder.answers, secrets_told_by(host)), __version__)
    deliver(json.dumps(document, indent=1) + "\n", output)
    if output:
        print(
            f"{output}: {len(recorder.answers)} answers recorded, redacted; look through it before you share it",
            file=sys.stderr,
        )
    return 0
