"""`gpudoctor preflight` as a user meets it, on a real Debian machine recorded before its upgrade, with real plans."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import GPUDOCTOR, gpudoctor
from preflight_plans import apt_plan, inst, state

from gpudoctor.preflight.foresee import foresee
from gpudoctor.preflight.simulation import simulation_in
from gpudoctor.registry import Facts
from gpudoctor.snapshot import load

MACHINES, PLANS = Path(__file__).parents[1] / "machines", Path(__file__).parent / "data"
BEFORE, AFTER = MACHINES / "bookworm-healthy.json", MACHINES / "bookworm-kernel-upgraded-no-headers.json"
DIST_UPGRADE = PLANS / "bookworm-dist-upgrade.txt"


def preflight(plan: Path | str, *more: str, machine: Path = BEFORE) -> "subprocess.CompletedProcess[str]":
    return gpudoctor("preflight", "--snapshot", str(machine), "--simulation", str(plan), *more)


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """What was printed, however its lines were broken."""
    return " ".join(done.stdout.split())


def report_on(plan: Path, machine: Path = BEFORE) -> dict[str, Any]:
    done = preflight(plan, "--format", "json", machine=machine)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["exit_code"] == done.returncode
    return report


def test_the_founding_failure_is_foreseen() -> None:
    done = preflight(DIST_UPGRADE)
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == "NOT SAFE This upgrade would break the GPU, from the next restart on."
    assert "The headers of kernel 6.1.0-56-amd64 are not installed" in done.stdout
    assert "kernel.headers-missing · after the next restart" in done.stdout
    text = said(done)
    assert f"{DIST_UPGRADE}: no linux-headers-6.1.0-56-amd64 comes along" in text
    assert "First `apt-get install linux-headers-amd64`" in text
    assert "Then: driver 535.261.03 -> 535.309.01; kernel 6.1.0-56-amd64 comes and boots next" in text
    assert max(len(line) for line in done.stdout.splitlines() if "/" not in line) <= 80
    assert done.stderr == ""


def test_what_was_foreseen_came_true() -> None:
    """The same machine, recorded after the real upgrade."""
    seen = foresee(Facts(load(str(BEFORE))), simulation_in(str(DIST_UPGRADE)))
    foreseen, came = state(seen.facts), state(Facts(load(str(AFTER))))
    assert foreseen == came


def test_the_report_as_data() -> None:
    report = report_on(DIST_UPGRADE)
    assert (report["schema"], report["command"], report["status"]) == (1, "preflight", "error")
    assert report["host"]["source"] == "snapshot"
    assert report["plan"]["packages"] == 27
    assert report["plan"]["manager"] == "dpkg"
    change = {"package": "libcuda1", "architecture": "amd64", "old": "535.261.03-1", "new": "535.309.01-0+deb12u1"}
    assert change in report["plan"]["changes"]
    (finding,) = report["findings"]
    assert (finding["id"], finding["severity"], finding["subject"], finding["when"]) == (
        "kernel.headers-missing",
        "error",
        "6.1.0-56-amd64",
        "after_restart",
    )
    assert finding["explains"] == ["kernel.module-missing"]
    assert finding["fixes"]
    assert "linux-headers-6.1.0-56-amd64" in finding["afterwards"]
    sources = {evidence["source"]: evidence["value"] for evidence in finding["evidence"]}
    assert sources["/lib/modules/6.1.0-56-amd64/build (foreseen)"] == "not there"
    assert str(DIST_UPGRADE) in sources
    assert (report["already"], report["mended"], report["undecided"]) == ([], [], [])
    for rows in (report["outcomes"], report["outcomes_after_restart"]):
        assert {"check": "packages.two-branches", "status": "ok"} in rows


def test_apt_get_upgrade_keeps_the_kernel_back() -> None:
    done = preflight(PLANS / "bookworm-upgrade.txt")
    assert done.returncode == 0
    assert done.stdout.startswith("SAFE     This upgrade is safe for the GPU")
    assert "23 to upgrade; kept back: linux-image-amd64" in said(done)


def test_a_held_module_package() -> None:
    report = report_on(PLANS / "bookworm-held-dist-upgrade.txt")
    assert [finding["id"] for finding in report["findings"]] == ["kernel.headers-missing", "packages.partial-upgrade"]
    partial = report["findings"][1]
    kept = {"source": str(PLANS / "bookworm-held-dist-upgrade.txt"), "value": partial["evidence"][0]["value"]}
    assert partial["evidence"][0] == kept
    assert kept["value"] == "kept back: firmware-nvidia-gsp, nvidia-kernel-dkms"


def test_a_plan_from_standard_input(tmp_path: Path) -> None:
    words = [*GPUDOCTOR, "preflight", "--snapshot", str(BEFORE), "--simulation", "-", "-o", str(tmp_path / "report")]
    with DIST_UPGRADE.open() as plan:
        done = subprocess.run(words, stdin=plan, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    assert (tmp_path / "report").read_text().startswith("NOT SAFE ")
    assert "standard input: 24 to upgrade, 3 to install" in " ".join((tmp_path / "report").read_text().split())


def test_a_machine_that_is_broken_already(tmp_path: Path) -> None:
    (tmp_path / "harmless").write_text(apt_plan(inst("tzdata", "2026f-0+deb12u1", "2026e-0+deb12u1")))
    done = preflight(tmp_path / "harmless", machine=AFTER)
    assert done.returncode == 0
    assert done.stdout.startswith("SAFE     This upgrade is safe for the GPU: it touches nothing")
    assert "Wrong already now, and no matter of this upgrade: kernel.headers-missing" in said(done)

    names = ("linux-headers-6.1.0-56-amd64", "linux-headers-6.1.0-56-common")
    (tmp_path / "headers").write_text(apt_plan(*(inst(name, "6.1.192-2") for name in names)))
    done = preflight(tmp_path / "headers", machine=AFTER)
    assert done.returncode == 0
    assert "put right by this upgrade: kernel.headers-missing" in said(done)


def test_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(apt_plan())
    done = preflight(tmp_path / "plan")
    assert done.returncode == 0
    assert done.stdout.startswith("SAFE     There is nothing to change")


DNF = "Dependencies resolved.\nNothing to do.\n"


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (DIST_UPGRADE.read_text().replace("[535.261.03-1]", "[535.216.03-1]"), "does not fit this machine: it changes"),
        (
            apt_plan(inst("libcuda1", "535.261.03-1")),
            "it installs libcuda1 535.261.03-1, which is installed here already",
        ),
        (apt_plan(inst("libcuda1", "535.309.01-1")), "it installs libcuda1 anew, and 535.261.03-1 is installed here"),
        (apt_plan(inst("nvidia-driver", "2-1", "1-1")), "it changes nvidia-driver 1-1, and it is not installed here"),
        (DNF, "it is of dnf, and this machine has apt"),
        ("linux 6.16.10.arch1-1\n", "it is of pacman, and this machine has apt"),
        (DIST_UPGRADE.read_text().replace("Inst nvidia-smi ", "Inst nvidia-smi|sh "), "is no name of a package"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend\n", "Could not get lock"),
        ("", "empty"),
        ("# a script\nset -e\n", "no simulation"),
    ],
)
def test_plans_that_are_refused(tmp_path: Path, plan: str, word: str) -> None:
    (tmp_path / "plan").write_text(plan)
    done = preflight(tmp_path / "plan")
    assert (done.returncode, done.stdout) == (3, "")
    assert word in done.stderr
    assert done.stderr.startswith(f"gpudoctor: {tmp_path / 'plan'}")
    assert done.stderr.count("\n") == 1


def test_usage_that_is_wrong(tmp_path: Path) -> None:
    for words, word in (
        (["--snapshot", str(BEFORE)], "give what it planned with --simulation FILE"),
        (["--root", str(tmp_path)], "no etc, no usr"),
        (["--snapshot", str(BEFORE), "--simulation", "x", "--command", "upgrade"], "one of them is enough"),
        (["--snapshot", str(BEFORE), "--simulation", str(tmp_path / "none")], "No such file"),
        (["--snapshot", str(tmp_path / "none"), "--simulation", str(DIST_UPGRADE)], "No such file"),
        (["--command", "install a;b"], "is no name of a package"),
    ):
        done = gpudoctor("preflight", *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert word in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_machine_without_a_package_manager_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=nixos\nPRETTY_NAME="NixOS 25.05"\n')
    (tmp_path / "plan").write_text(apt_plan(inst("bash", "2-1", "1-1")))
    done = gpudoctor("preflight", "--root", str(tmp_path), "--simulation", str(tmp_path / "plan"))
    assert done.returncode == 3
    assert "this machine has no package manager that gpudoctor knows" in done.stderr


def test_a_mounted_root(tmp_path: Path) -> None:
    status = "Package: libcuda1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 535.261.03-1\n\n"
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(status)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
    (tmp_path / "plan").write_text(apt_plan(inst("libcuda1", "535.309.01-1", "535.261.03-1")))
    done = gpudoctor("preflight", "--root", str(tmp_path), "--simulation", str(tmp_path / "plan"))
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN  Whether this upgrade is safe for the GPU cannot be told: which kernel")
