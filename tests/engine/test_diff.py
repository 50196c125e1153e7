"""`gpudoctor diff`: what became worse, what became better, and what of the machine changed meanwhile."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import gpudoctor
from live_machines import NEW, OLD, debian
from python_trees import site_of, torch_wheel, venv, wheel

from gpudoctor.changes import Changes, Side, changes_between
from gpudoctor.cli import run
from gpudoctor.cli.check import diagnose_with
from gpudoctor.cli.snapshot import recorded
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.findings import Finding, Outcome, Ranked, Report, Severity, Status
from gpudoctor.host import Host, Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.machine_parts import machine_parts
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.reports.diff import Labels, as_text, verdict
from gpudoctor.reports.diff_json import as_json
from gpudoctor.snapshot import SnapshotHost, as_document
from gpudoctor.testing import facts_of

MACHINES = Path(__file__).parents[1] / "machines"
HEALTHY, BROKEN, REPAIRED = (
    str(MACHINES / f"bookworm-{name}.json") for name in ("healthy", "kernel-upgraded-no-headers", "repaired")
)
PREFIX = "/opt/train"


def _side(host: Host) -> Side:
    facts = Facts(host)
    return Side(facts, diagnose_with(facts))


def _between(before: Host, after: Host) -> tuple[Changes, str, dict[str, Any]]:
    sides = _side(before), _side(after)
    changes = changes_between(*sides)
    labels = Labels("before", "after")
    text = as_text(changes, *sides, labels, 1, colour=False)
    return changes, text, json.loads(as_json(changes, *sides, labels, 1))


def _moves(document: dict[str, Any], part: str) -> dict[str, tuple[str | None, str | None]]:
    return {
        f"{row['environment']} {row['name']}".strip(): (row["before"], row["after"])
        for row in document["machine"]
        if row["part"] == part
    }


def test_what_an_upgrade_broke_comes_first_and_decides(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(HEALTHY).parent)  # a path is not broken, however long the one of this checkout is
    assert run(["diff", Path(HEALTHY).name, Path(BROKEN).name]) == 2
    text, complaints = capfd.readouterr()
    assert complaints == ""
    assert text.startswith("WORSE    New: 1 error.\n")
    assert "kernel.headers-missing · before: ok" in text
    assert text.index("New findings") < text.index("The machine")
    assert "+ 6.1.0-56-amd64: installed, without headers" in text
    assert "libraries: 535.261.03 -> 535.309.01" in text
    assert "firmware-nvidia-gsp, libcuda1, libnvidia-ml1 and 7 more: 535.261.03-1 ->" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_a_repair_mended_is_said_and_is_nothing_worse() -> None:
    done = gpudoctor("diff", BROKEN, REPAIRED, "--format", "json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 0
    assert document["verdict"] == "better: Gone: 1 error. Nothing became worse."
    (gone,) = document["findings"]["gone"]
    assert (gone["id"], gone["now"]["status"]) == ("kernel.headers-missing", "ok")
    assert document["findings"]["new"] == []
    assert _moves(document, "modules") == {"module for 6.1.0-56-amd64": (None, f"{NEW} (proprietary, dkms)")}


def test_the_same_twice_is_no_change_but_what_nobody_told_is_named() -> None:
    changes, text, document = _between(*[SnapshotHost(json.loads(Path(HEALTHY).read_text())["answers"])] * 2)
    assert changes.nothing
    assert changes.exit_code == 0
    assert text.startswith("SAME     Nothing changed in what both could tell.")
    assert "GPUs (neither tells: no /sys/bus/pci/devices: the system is not running)" in text
    assert document["machine"] == document["outcomes"] == []


@pytest.fixture
def machine(tmp_path: Path) -> Host:
    """A healthy running machine with two GPUs and an environment."""
    site = site_of(PREFIX)
    files = venv(PREFIX, torch_wheel(site, "2.6.0+cu124", "12.4"), wheel(site, "nvidia-cudnn-cu12", "9.1.0.70"))
    environ = f"VIRTUAL_ENV={PREFIX}\0PATH={PREFIX}/bin:/usr/bin\0HOME=/root\0"
    return debian(tmp_path, gpus=2, extra={**files, "/proc/self/environ": environ})


def _now(machine: Host) -> SnapshotHost:
    return SnapshotHost(recorded(machine))


def test_each_part_of_the_machine_that_changed(machine: Host, tmp_path: Path) -> None:
    before = _now(machine)
    site = tmp_path / site_of(PREFIX).lstrip("/")
    shutil.move(site / "nvidia_cudnn_cu12-9.1.0.70.dist-info", site / "nvidia_cudnn_cu12-9.10.2.21.dist-info")
    metadata = site / "nvidia_cudnn_cu12-9.10.2.21.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("9.1.0.70", "9.10.2.21"))
    environ = tmp_path / "proc/self/environ"
    environ.write_text(environ.read_text().replace("/usr/bin", "/usr/bin:/opt/bin") + "NCCL_DEBUG=INFO\0")
    (tmp_path / "etc/modprobe.d/nvidia.conf").write_text("options nvidia NVreg_EnableGpuFirmware=0\n")
    params = tmp_path / "proc/driver/nvidia/params"
    params.write_text(params.read_text().replace("438", "432"))
    status = tmp_path / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("Package: nvidia-smi\n", "Package: nvidia-smi-of-a-friend\n"))
    _, text, document = _between(before, _now(machine))
    assert _moves(document, "Python environments") == {f"{PREFIX} nvidia-cudnn-cu12": ("9.1.0.70", "9.10.2.21")}
    assert _moves(document, "environment variables")["NCCL_DEBUG"] == (None, "INFO")
    assert _moves(document, "settings")["/etc/modprobe.d/nvidia.conf: options nvidia"] == (
        None,
        "NVreg_EnableGpuFirmware=0",
    )
    assert _moves(document, "module parameters") == {"DeviceFileMode": ("438", "432")}
    assert {*_moves(document, "packages")} == {"nvidia-smi", "nvidia-smi-of-a-friend"}
    assert f"{PREFIX}: nvidia-cudnn-cu12: 9.1.0.70 -> 9.10.2.21" in text
    assert "PATH: + /opt/bin" in text
    assert "- nvidia-smi: " in text


def test_a_gpu_that_left_the_bus_is_worse_though_no_check_misses_it(machine: Host, tmp_path: Path) -> None:
    before = _now(machine)
    shutil.rmtree(tmp_path / "sys/bus/pci/devices/0000:08:00.0")
    changes, text, document = _between(before, _now(machine))
    assert not changes.new
    assert changes.exit_code == 2
    assert text.startswith("WORSE    A GPU is gone from the bus: 0000:08:00.0 (NVIDIA A100")
    assert document["lost_gpus"] == ["0000:08:00.0"]
    assert _between(_now(machine), before)[0].exit_code == 0


def test_an_environment_that_came_or_went_is_one_line(machine: Host, tmp_path: Path) -> None:
    before = _now(machine)
    (tmp_path / "proc/self/environ").write_text("PATH=/usr/bin\0HOME=/root\0")
    shutil.rmtree(tmp_path / PREFIX.lstrip("/"))
    _, text, _ = _between(before, _now(machine))
    assert f"- {PREFIX}: Python 3.11.7, torch 2.6.0+cu124 (CUDA 12.4), nvidia-cudnn-cu12 9.1.0.70" in " ".join(
        text.split()
    )
    _, text, _ = _between(_now(machine), before)
    assert f"+ {PREFIX}: Python 3.11.7, torch" in " ".join(text.split())


def test_a_finding_that_says_something_else_is_one_that_changed(machine: Host, tmp_path: Path) -> None:
    environ = tmp_path / "proc/self/environ"
    for value in ("/opt/cuda-12", "/opt/cuda-13"):
        environ.write_text(environ.read_text().partition("CUDA_HOME")[0] + f"CUDA_HOME={value}\0")
        if value.endswith("12"):
            before = _now(machine)
    changes, text, document = _between(before, _now(machine))
    assert [(one.before.check.id, one.after.severity) for one in changes.changed] == [
        ("cuda.home-invalid", Severity.WARNING)
    ]
    assert changes.exit_code == 0
    assert "- CUDA_HOME: /opt/cuda-12" in text
    assert "+ CUDA_HOME: /opt/cuda-13" in text
    assert document["findings"]["changed"][0]["after"]["subject"] == "CUDA_HOME"


def _outcomes(*outcomes: Outcome) -> Side:
    return Side(facts_of(), Report(outcomes, ()))


def _lost(matters: bool) -> Changes:
    load_plugins()
    check = registry.checks["driver.library-mismatch"]
    was, now = Outcome(check, Status.OK), Outcome(check, Status.UNKNOWN, reason="NVML gave no answer", matters=matters)
    return changes_between(_outcomes(was), _outcomes(now))


def test_what_can_no_longer_be_told_is_not_taken_for_fine() -> None:
    changes = _lost(matters=True)
    assert changes.exit_code == 3
    label, sentence = verdict(changes)
    assert label == "UNKNOWN"
    assert "what 1 check could tell before can no longer be told" in sentence
    side = _outcomes()
    text = as_text(changes, side, side, Labels("a", "b"), 1, colour=False)
    assert "ok -> unknown: NVML gave no answer (driver.library-mismatch)" in text
    assert _lost(matters=False).exit_code == 0


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ((Status.UNKNOWN, Status.UNKNOWN), "New: 2 errors (could not be told before)."),
        ((Status.UNKNOWN, Status.OK), "New: 2 errors (1 of them could not be told before)."),
        ((Status.OK, Status.OK), "New: 2 errors."),
    ],
)
def test_what_may_have_been_there_before_is_said(before: tuple[Status, Status], said: str) -> None:
    load_plugins()
    checks = [registry.checks[id] for id in ("driver.library-mismatch", "driver.nvml-failed")]
    was = [Outcome(check, status, reason="no answer") for check, status in zip(checks, before, strict=True)]
    new = tuple(Ranked(check, Finding("It is ill."), Severity.ERROR, ()) for check in checks)
    now = tuple(Outcome(one.check, Status.FOUND, (one.finding,)) for one in new)
    assert verdict(changes_between(_outcomes(*was), Side(facts_of(), Report(now, new)))) == ("WORSE", said)


def test_a_finding_of_which_nothing_can_be_told_any_more_is_not_mended() -> None:
    load_plugins()
    check = registry.checks["driver.library-mismatch"]
    ranked = Ranked(check, Finding("They differ."), Severity.ERROR, ())
    before = Side(facts_of(), Report((Outcome(check, Status.FOUND, (ranked.finding,)),), (ranked,)))
    changes = changes_between(before, _outcomes(Outcome(check, Status.UNKNOWN, reason="no answer", matters=True)))
    assert changes.exit_code == 3
    text = as_text(changes, before, before, Labels("a", "b"), 1, colour=False)
    assert "error driver.library-mismatch: now unknown: no answer" in text
    assert "Gone: 1" not in text


def test_a_part_that_one_side_cannot_tell_is_not_compared() -> None:
    one, other = facts_of(PciGpus(())), facts_of()
    assert isinstance(machine_parts(other)["GPUs"], Unavailable)
    changes = changes_between(Side(one, Report((), ())), Side(other, Report((), ())))
    (untold,) = (part for part in changes.untold if part.part == "GPUs")
    assert untold.before == ""
    assert untold.after.startswith("not in the snapshot")
    assert changes.parts == ()


def test_what_another_user_was_led_to_is_not_taken_for_gone(machine: Host, tmp_path: Path) -> None:
    environ = tmp_path / "proc/self/environ"
    (tmp_path / "home/ada").mkdir(parents=True)
    (tmp_path / "home/ada/.bashrc").write_text("export CUDA_HOME=/opt/cuda\n")
    environ.write_text(environ.read_text().replace("HOME=/root", "HOME=/home/ada"))
    before = _now(machine)
    environ.write_text("HOME=/root\0PATH=/usr/bin\0")
    _, text, document = _between(before, _now(machine))
    assert not any(f"- {place}" in text for place in (f"{PREFIX}: Python", "/home"))
    assert {row["part"] for row in document["not_compared"]} >= {"4 of the Python environments", "1 of the settings"}
    assert "(before: HOME is /home/user1; after: HOME is /root)" in " ".join(text.split())


def test_on_a_disk_nothing_is_loaded_and_that_is_no_loss(machine: Host, tmp_path: Path) -> None:
    after = SnapshotHost(recorded(RootHost(str(tmp_path))))
    _, text, document = _between(_now(machine), after)
    assert "- loaded module" not in text
    assert f"- {PREFIX}" not in text
    assert "loaded driver" in [row["part"] for row in document["not_compared"]]


def test_two_machines_are_told_from_one() -> None:
    debian_12, ubuntu = (OperatingSystem(name, "12", name, "debian") for name in ("debian", "ubuntu"))
    sides = [Side(facts_of(system), Report((), ())) for system in (debian_12, ubuntu)]
    changes = changes_between(*sides)
    assert changes.strangers == ("debian and ubuntu",)
    assert "These look like two machines: debian and ubuntu." in as_text(
        changes, *sides, Labels("a", "b"), 1, colour=False
    )


@pytest.mark.parametrize("arguments", [["-", HEALTHY], [HEALTHY, "-"]], ids=["before", "after"])
def test_one_of_the_two_can_come_from_standard_input(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(HEALTHY).read_bytes())))
    assert run(["diff", *arguments]) == 0
    said = capfd.readouterr().out
    assert said.startswith("SAME ")
    assert "standard input" in said


def test_left_out_the_second_is_this_machine_in_the_words_of_a_snapshot(
    machine: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "proc/self/environ").write_text("HOME=/home/rosalind\0CUDA_HOME=/home/rosalind/cuda\0")
    path = tmp_path / "before.json"
    path.write_text(json.dumps(as_document(recorded(machine), "0")))
    monkeypatch.setattr("gpudoctor.cli.diff.open_host", lambda **_: machine)
    assert run(["diff", str(path), "--format", "json", "-o", str(tmp_path / "x.json")]) == 0
    assert capfd.readouterr() == ("", "")
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["after"]["name"] == "this machine"
    assert document["machine"] == document["outcomes"] == []


def _bad(tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    (tmp_path / "x.json").write_text('{"schema": 99, "answers": {}}')
    (tmp_path / "latin.json").write_bytes(b'{"schema": 1, "answers": {"\xff": 1}}')
    yield [str(tmp_path / "x.json"), HEALTHY], "schema 99"
    yield [HEALTHY, str(tmp_path / "none.json")], "No such file"
    yield [HEALTHY, str(tmp_path)], "Is a directory"
    yield [HEALTHY, str(tmp_path / "latin.json")], "not a snapshot"
    yield ["-", "-"], "one snapshot"
    yield [HEALTHY, BROKEN, "--python", "/usr"], "two snapshots"
    yield [HEALTHY, "--python", str(tmp_path)], "neither a Python interpreter"


def test_bad_input_is_one_sentence_and_no_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, said in _bad(tmp_path):
        assert run(["diff", *arguments, "-o", str(tmp_path / "out")]) == 3
        seen = capfd.readouterr()
        assert seen.out == ""
        assert said in seen.err
        assert seen.err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_the_order_is_always_the_same(machine: Host, tmp_path: Path) -> None:
    before = _now(machine)
    (tmp_path / "proc/self/environ").write_text("PATH=/usr/bin\0NCCL_DEBUG=INFO\0NCCL_ALGO=Ring\0CUDA_HOME=/x\0")
    after = _now(machine)
    backwards = [SnapshotHost(dict(reversed([*host._answers.items()]))) for host in (before, after)]  # type: ignore[attr-defined]
    assert _between(before, after)[1:] == _between(*backwards)[1:]


def test_before_and_after_an_upgrade_that_waits_for_a_restart(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    one = SnapshotHost(recorded(debian(before, loaded=OLD, on_disk=OLD, user_space=OLD, packaged=OLD)))
    other = SnapshotHost(recorded(debian(after, loaded=OLD, upgraded=True)))
    changes, _, document = _between(one, other)
    assert changes.new[0].ranked.check.id == "kernel.module-stale"
    assert _moves(document, "driver")["libraries"] == (OLD, NEW)
    assert "loaded module" not in _moves(document, "driver")
