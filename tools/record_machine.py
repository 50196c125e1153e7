"""Records a mounted root (or this machine) as a test machine: the answers that the checks got, trimmed to facts.

    python tools/record_machine.py OUT.json --root DIR --kernel RELEASE --about "how it came about"

The redacted and trimmed recording must give the same outcomes as the machine itself.
"""

import argparse
import json
import sys

from gpudoctor import __version__
from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Report
from gpudoctor.host import Host
from gpudoctor.machine import LiveHost, RootHost
from gpudoctor.redaction.redact import redacted
from gpudoctor.redaction.words import secrets_told_by
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.machine import machine_summary
from gpudoctor.snapshot import Json, RecordingHost, SnapshotHost, as_document


def record(host: Host) -> tuple[dict[str, Json], Report]:
    """All answers that a check and a plan get, and what they say."""
    recorder = RecordingHost(host)
    facts = Facts(recorder)
    report = diagnose(facts, registry.checks.values())
    make_plan(report, registry.fixes.values(), facts)
    machine_summary(facts)
    return recorder.answers, report


def outcomes(report: Report) -> dict[str, str]:
    return {outcome.check.id: outcome.status.value for outcome in report.outcomes}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out")
    options.add_argument("--root")
    options.add_argument("--kernel")
    options.add_argument("--about", required=True)
    chosen = options.parse_args()
    load_plugins(fixes=True)
    host = RootHost(chosen.root, chosen.kernel) if chosen.root else LiveHost()
    answers, report = record(host)
    small = redacted(answers, secrets_told_by(host))
    _, replayed = record(SnapshotHost(small))
    if outcomes(replayed) != outcomes(report):
        changed = outcomes(report).items() ^ outcomes(replayed).items()
        sys.exit(f"trimming changed the outcomes: {changed}")
    found = [ranked.check.id for ranked in report.findings]
    document = {
        "about": chosen.about,
        "expect": {
            "findings": found,
            "errors": [ranked.check.id for ranked in report.findings if ranked.severity.name == "ERROR"],
            "exit_code": report.exit_code,
        },
        **as_document(small, __version__),
    }
    with open(chosen.out, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    print(f"{chosen.out}: {len(small)} answers; {found or 'nothing found'}")


if __name__ == "__main__":
    main()
