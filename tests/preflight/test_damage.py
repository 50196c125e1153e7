"""Every file of a machine damaged in every way: what is foreseen may be unknown, or the plan refused, and no crash."""

from pathlib import Path

import pytest
from damage import KINDS_OF_WHOLE_MACHINES, damaged
from live_machines import NEW, OLD, debian
from preflight_plans import apt_plan, inst

from gpudoctor.findings import Status
from gpudoctor.host import Host, Unavailable
from gpudoctor.preflight.foresee import Foresight, foresee
from gpudoctor.preflight.simulation import read_simulation
from gpudoctor.preflight.transaction import NoTransaction
from gpudoctor.registry import Facts
from gpudoctor.reports.preflight import as_json, as_text

DRIVER = ("libcuda1", "libnvidia-ml1", "nvidia-kernel-dkms", "nvidia-smi", "firmware-nvidia-gsp", "nvidia-alternative")
PLAN = apt_plan(
    *(inst(name, f"{NEW}-0+deb12u1", f"{OLD}-0+deb12u1") for name in DRIVER),
    inst("linux-image-6.1.0-56-amd64", "6.1.192-2"),
)


def crashes(host: Host) -> tuple[list[str], Foresight | None]:
    facts = Facts(host)
    try:
        foresight = foresee(facts, read_simulation(PLAN, "the plan"))
    except (NoTransaction, Unavailable):
        return [], None
    as_text(foresight, facts, 1, colour=True).encode("utf-8")
    as_json(foresight, facts, 1)
    reports = (foresight.now, foresight.then, *filter(None, (foresight.restarted,)))
    found = [
        f"{one.check.id}: {one.reason}" for report in reports for one in report.outcomes if one.status is Status.CRASHED
    ]
    return found, foresight


@pytest.mark.parametrize("damage", KINDS_OF_WHOLE_MACHINES)
def test_every_file_damaged(tmp_path: Path, damage: str) -> None:
    machine = tmp_path / "machine"
    host = debian(machine, loaded=OLD, on_disk=OLD, user_space=OLD, packaged=OLD)
    found, whole = crashes(host)
    assert found == []
    assert whole is not None
    assert [ranked.check.id for ranked in whole.worse] == ["kernel.headers-missing", "driver.library-mismatch"]
    for path in sorted(path for path in machine.rglob("*") if path.is_file() and not path.is_symlink()):
        with damaged(path, damage):
            found, seen = crashes(host)
            assert found == [], path.relative_to(machine)
            # What could not be read is not taken for fine.
            if seen and not seen.worse and path.name in ("status", "vmlinuz-6.1.0-50-amd64"):
                assert seen.exit_code == 3, path.relative_to(machine)
