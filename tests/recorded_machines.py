"""Recorded machines as files: one whose GPU works, one whose upgrade broke the driver, one without a GPU."""

import json
from collections.abc import Mapping
from pathlib import Path

import healthy_containers as containers
import healthy_places as places
from family_machines import AFTER
from ubuntu_machines import HISTORY, OLD, UPGRADE, with_dkms

from gpudoctor import Host
from gpudoctor.cli.check import diagnose_with
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.reports.machine import machine_summary
from gpudoctor.snapshot import RecordingHost, as_document


def recorded(host: Host, path: Path) -> Path:
    """The answers that a check of this machine asks for, in a file."""
    recorder = RecordingHost(host)
    facts = Facts(recorder)
    diagnose_with(facts)
    load_plugins(fixes=True)
    machine_summary(facts)
    path.write_text(json.dumps(as_document(recorder.answers, "0")))
    return path


def recorded_machines(folder: Path) -> Mapping[str, Path]:
    """The files by name: "fine", "broken", "none"."""
    (folder / "disks").mkdir()
    disks = [folder / "disks" / name for name in ("fine", "broken", "none")]
    return {
        "fine": recorded(containers.h200_container(disks[0], 0), folder / "fine.json"),
        "broken": recorded(
            with_dkms(disks[1], loaded=OLD, written=AFTER, files={HISTORY: UPGRADE}), folder / "broken.json"
        ),
        "none": recorded(places.intel_only(disks[2], 0), folder / "none.json"),
    }
