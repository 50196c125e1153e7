"""Recorded machines: what `check` says about each, through the command line."""

import json
from pathlib import Path

import pytest
from command_line import gpudoctor

# What gpudoctor asks only since these machines were recorded, and what their disks are no longer there to answer.
ASKED_LATER = {
    *("container.cdi-stale", "container.docker-desktop", "container.docker-snap"),
    *("container.no-cgroups", "container.runtime-not-configured", "container.toolkit-missing"),
}

MACHINES = sorted((Path(__file__).parents[1] / "machines").glob("*.json"))


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_machine(path: Path) -> None:
    expected = json.loads(path.read_text(encoding="utf-8"))["expect"]
    done = gpudoctor("check", "--snapshot", str(path), "--format", "json")
    report = json.loads(done.stdout)
    assert [finding["id"] for finding in report["findings"]] == expected["findings"]
    assert [finding["id"] for finding in report["findings"] if finding["severity"] == "error"] == expected["errors"]
    assert done.returncode == expected["exit_code"]
    stale = {o["check"] for o in report["outcomes"] if "not in the snapshot" in o.get("reason", "")}
    assert stale <= ASKED_LATER, (
        "the facts ask other questions now: record the machine anew with tools/record_machine.py"
    )


def test_there_are_machines() -> None:
    assert len(MACHINES) >= 5


def test_a_recorded_machine_is_planned_for_without_its_disk() -> None:
    path = next(path for path in MACHINES if path.stem == "bookworm-kernel-upgraded-no-headers")
    document = json.loads(gpudoctor("fix", "--dry-run", "--snapshot", str(path), "--format", "json").stdout)
    commands = [" ".join(step["action"].get("argv", ())) for step in document["steps"]]
    assert any(command.startswith("apt-get") and "linux-headers-6.1.0-56-amd64" in command for command in commands)
    assert any(command == "dkms autoinstall -k 6.1.0-56-amd64" for command in commands)
    assert document["here"] is False
    assert not document["reboots"]
