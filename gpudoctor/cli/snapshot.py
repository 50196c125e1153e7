"""`gpudoctor snapshot`: record exactly the answers that the checks get, redacted."""

import json
import sys
from collections.abc import Sequence

from gpudoctor import __version__
from gpudoctor.cli.check import deliver, diagnose_with
from gpudoctor.cli.source import open_host
from gpudoctor.host import Host
from gpudoctor.machine_parts import machine_parts
from gpudoctor.redaction.redact import redacted
from gpudoctor.redaction.words import secrets_told_by
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.machine import machine_summary
from gpudoctor.snapshot import Json, RecordingHost, as_document
from gpudoctor.time_limit import limit


def snapshot(output: str | None, root: str | None, kernel: str | None, timeout: float, pythons: Sequence[str]) -> int:
    """Write the snapshot. Returns 0."""
    with limit(timeout):
        answers = recorded(open_host(root, kernel, None, timeout, pythons))
    deliver(json.dumps(as_document(answers, __version__), indent=1) + "\n", output)
    if output:
        print(
            f"{output}: {len(answers)} answers recorded, redacted; look through it before you share it",
            file=sys.stderr,
        )
    return 0


def recorded(host: Host) -> dict[str, Json]:
    """The answers that the checks get, redacted; also what planning a repair and comparing with a later state ask."""
    recorder = RecordingHost(host)
    facts = Facts(recorder)
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    make_plan(report, registry.fixes.values(), facts)
    machine_summary(facts)
    machine_parts(facts)
    return redacted(recorder.answers, secrets_told_by(host))
