"""Records a mounted root (or this machine) as a test machine: the answers that the checks got, trimmed to facts.

    python tools/record_machine.py OUT.json --root DIR --kernel RELEASE --about "how it came about"

Trimming keeps what the checks judge by: stanzas of packages of interest, directives of modprobe.d, error lines of
build logs; not the texts of a distribution's files. The trimmed recording must give the same outcomes as the machine.
"""

import argparse
import json
import re
import sys

from gpudoctor import __version__
from gpudoctor.diagnose import Report, diagnose
from gpudoctor.host import Host, LiveHost, RootHost
from gpudoctor.redact import redacted
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.machine import machine_summary
from gpudoctor.snapshot import Json, RecordingHost, SnapshotHost, as_document

_STANZA_FIELDS = ("Package:", "Status:", "Version:", "Architecture:", "Maintainer:", "Depends:", "Source:")
_PACKAGES = re.compile(
    r"Package: (\S*nvidia|libcuda|cuda|linux-(image|headers|modules)|dkms|gcc(-\d+)?$|shim|mokutil)", re.M
)
_BROKEN = re.compile(r"^Status: (?!install ok installed|deinstall ok config-files)", re.M)


def trimmed(key: str, answer: Json) -> Json:
    """One answer without what no check judges by."""
    if not isinstance(answer, str):
        return answer
    if key.startswith("read /var/lib/dpkg/status"):
        stanzas = [stanza for stanza in answer.split("\n\n") if _PACKAGES.search(stanza) or _BROKEN.search(stanza)]
        return "\n\n".join(_lines(stanza, _STANZA_FIELDS) for stanza in stanzas) + "\n"
    if key.endswith("os-release"):
        return _lines(answer, ("ID", "VERSION_ID", "PRETTY_NAME")) + "\n"
    if key.endswith("make.log"):
        return "\n".join(line for line in answer.splitlines() if re.search("error", line, re.IGNORECASE)) + "\n"
    if ".d/" in key and ".conf" in key:
        lines = [line.strip() for line in answer.splitlines()]
        return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))
    if "/boot/config-" in key:
        return "".join(f"{line}\n" for line in answer.splitlines() if "CONFIG_CC_VERSION_TEXT" in line)
    if "modules.dep" in key:
        return "".join(f"{line}\n" for line in answer.splitlines() if "nvidia" in line or "nouveau" in line)
    if key.startswith("read /var/log/dpkg.log"):
        return "".join(f"{line}\n" for line in answer.splitlines() if re.search("nvidia|libcuda|linux-", line))
    return answer


def _lines(stanza: str, starts: tuple[str, ...]) -> str:
    return "\n".join(line for line in stanza.splitlines() if line.startswith(starts))


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
    answers, report = record(RootHost(chosen.root, chosen.kernel) if chosen.root else LiveHost())
    small = {key: trimmed(key, answer) for key, answer in redacted(answers).items()}
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
