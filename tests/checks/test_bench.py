"""What a benchmark found, as checks: current records make findings, outdated and missing ones do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from gpu_machines import NEW, OLD, answer, evidence_of, finding, findings, loaded, nvml, outcome, status

from gpudoctor import NotRunning, Severity, Unavailable
from gpudoctor.diagnose import diagnose
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.bench import BenchedGpu, BenchRecord, BenchVerdict, CurrentBench
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Boot
from gpudoctor.findings import Status
from gpudoctor.host import Host
from gpudoctor.machine import RootHost
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

IDS = (
    "bench.faults-counted",
    "bench.numerics-wrong",
    "bench.replay-differs",
    "bench.does-not-train",
    "bench.clocks-throttled",
    "bench.compute-slow",
    "bench.memory-slow",
    "bench.pcie-slow",
    "bench.convolution-slow",
    "bench.peer-slower",
    "bench.below-baseline",
)
UUID = "GPU-11111111-2222-3333-4444-555555555501"
BOOTED = 1_764_000_000.0
HALF = BenchVerdict(
    "bench.compute-slow", True, "product in fp16", "The product in fp16 reaches 390 TFLOPS: half of it."
)
LINK = BenchVerdict("bench.pcie-slow", False, "copy from host to GPU", "The link runs on 8 of 16 lanes.")


def benched(*verdicts: BenchVerdict, judged: tuple[str, ...] = IDS, **changes: Any) -> BenchedGpu:
    known = BenchedGpu(
        *("NVIDIA H200", UUID, "0000:01:00.0", NEW, BOOTED + 60, "default", judged, {}, verdicts),
        "/var/lib/gpudoctor/bench.json",
    )
    return known._replace(**changes)


def current(*gpus: BenchedGpu, **changes: Any) -> CurrentBench:
    return CurrentBench(gpus, (), (), ())._replace(**changes)


@pytest.mark.parametrize("check", IDS)
def test_a_benchmark_without_complaints_is_fine(check: str) -> None:
    assert status(check, current(benched())) is Status.OK


@pytest.mark.parametrize("check", IDS)
def test_each_says_what_the_benchmark_said(check: str) -> None:
    verdict = BenchVerdict(check, True, "something", "Something is wrong, by 3.")
    found = finding(check, current(benched(verdict), benched(uuid="GPU-2", pci_address="0000:02:00.0")))
    assert found.summary == "GPU 0000:01:00.0 (NVIDIA H200): Something is wrong, by 3."
    assert found.subject == "0000:01:00.0"
    assert found.severity is Severity.ERROR
    assert f"/var/lib/gpudoctor/bench.json: benchmark of 2025-11-24 16:01 UTC, level default, driver {NEW}" in (
        evidence_of(found)
    )
    assert found.remedy


def test_a_warning_stays_one_and_several_are_told_together() -> None:
    second = LINK._replace(subject="copy from GPU to host", text="That too.")
    found = finding("bench.pcie-slow", current(benched(LINK, second)))
    assert found.severity is Severity.WARNING
    assert found.summary.endswith("The link runs on 8 of 16 lanes. The same of: copy from GPU to host.")
    assert evidence_of(found).endswith("\ncopy from GPU to host: That too.")
    failed = second._replace(failed=True)
    worst = finding("bench.pcie-slow", current(benched(LINK, failed)))
    assert worst.severity is Severity.ERROR
    assert "That too. The same of: copy from host to GPU." in worst.summary


def test_each_gpu_has_its_own_finding() -> None:
    other = benched(HALF, uuid="GPU-2", pci_address="0000:02:00.0")
    found = findings("bench.compute-slow", current(benched(HALF), other))
    assert [one.subject for one in found] == ["0000:01:00.0", "0000:02:00.0"]


def test_slow_clocks_explain_a_slow_gpu_but_not_another() -> None:
    slowed = BenchVerdict("bench.clocks-throttled", False, "clocks", "Too hot.")
    behind = BenchVerdict("bench.peer-slower", False, "product in fp16", "Behind.")
    load_plugins()
    checks = [registry.checks[id] for id in IDS]

    def found(*gpus: BenchedGpu) -> dict[str, tuple[str, ...]]:
        facts = Facts(SnapshotHost({}), {CurrentBench: current(*gpus)})
        return {ranked.check.id: ranked.explains for ranked in diagnose(facts, checks).findings}

    assert found(benched(slowed, behind)) == {"bench.clocks-throttled": ("bench.peer-slower",)}
    other = benched(behind, uuid="GPU-2", pci_address="0000:02:00.0")
    assert set(found(benched(slowed), other)) == {"bench.clocks-throttled", "bench.peer-slower"}


@pytest.mark.parametrize("check", IDS)
def test_what_was_not_measured_is_not_green(check: str) -> None:
    seen = outcome(check, current(benched(judged=())))
    assert seen.status is Status.SKIPPED
    assert "the last benchmark has no verdict on it" in seen.reason


@pytest.mark.parametrize("check", IDS)
def test_without_a_benchmark_nobody_asked(check: str) -> None:
    seen = outcome(check, current())
    assert (seen.status, seen.unasked) == (Status.SKIPPED, True)


def test_outdated_unknown_and_unread_ones_are_told_apart() -> None:
    why = "it was run before the last restart"
    outdated = outcome("bench.compute-slow", current(outdated=(why, why)))
    assert (outdated.status, outdated.unasked) == (Status.SKIPPED, False)
    assert outdated.reason == (f"the last benchmark does not count any more: {why}; `gpudoctor bench` measures again")
    unknown = outcome("bench.compute-slow", current(unknown=("the driver did not answer",)))
    assert (unknown.status, unknown.matters) == (Status.UNKNOWN, False)
    unread = outcome("bench.compute-slow", current(unread=("/var/lib/gpudoctor/bench.json: Permission denied",)))
    assert (unread.status, unread.unasked) == (Status.SKIPPED, False)
    assert "another's cannot be read (/var/lib/gpudoctor/bench.json: Permission denied)" in unread.reason


# which records count


def now(record: BenchRecord, *others: object, **unavailable: Unavailable) -> CurrentBench:
    load_plugins()
    known: dict[type, object] = {
        Boot: unavailable.get("boot", Boot(BOOTED)),
        LoadedDriver: unavailable.get("driver", loaded()),
        Nvml: unavailable.get("nvml", nvml(answer()._replace(uuid=UUID))),
        BenchRecord: record,
        **{type(other): other for other in others},
    }
    return Facts(SnapshotHost({}), known).get(CurrentBench)


def of(*gpus: BenchedGpu) -> BenchRecord:
    return BenchRecord(gpus, ())


def test_a_record_of_this_gpu_driver_and_boot_counts() -> None:
    assert now(of(benched(HALF))).gpus == (benched(HALF),)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"at": BOOTED - 1}, "it was run before the last restart"),
        ({"driver": OLD}, f"it was run with driver {OLD}, and {NEW} is loaded"),
        ({"uuid": "GPU-9"}, "its GPU (NVIDIA H200) is not here"),
        ({"uuid": "MIG-9", "pci_address": "0000:09:00.0"}, "its GPU (NVIDIA H200) is not here"),
        ({"uuid": "", "pci_address": ""}, "its GPU (NVIDIA H200) is not here"),
    ],
)
def test_a_record_of_another_gpu_driver_or_boot_does_not(changes: dict[str, Any], why: str) -> None:
    found = now(of(benched(HALF, **changes)))
    assert (found.gpus, found.outdated) == ((), (why,))


@pytest.mark.parametrize("uuid", ["MIG-1", ""])
def test_a_slice_or_a_gpu_without_uuid_is_known_by_its_address(uuid: str) -> None:
    assert now(of(benched(HALF, uuid=uuid))).gpus


def test_a_driver_that_only_nvml_names_is_compared_too() -> None:
    assert now(of(benched(HALF, driver=OLD)), loaded("")).outdated
    assert now(of(benched(HALF)), loaded("")).gpus


@pytest.mark.parametrize("fact", ["boot", "driver", "nvml"])
def test_what_cannot_be_told_is_unknown_and_no_finding(fact: str) -> None:
    found = now(of(benched(HALF)), **{fact: Unavailable("NVML: no answer in 10 s")})
    assert found.gpus == ()
    assert found.unknown == ("whether the benchmark on record still counts cannot be told: NVML: no answer in 10 s",)
    with pytest.raises(NotRunning):
        now(of(benched(HALF)), **{fact: NotRunning("the system is not running")})
    assert now(of(), **{fact: NotRunning("the system is not running")}) == current()


# where records are read


def text(*gpus: BenchedGpu) -> str:
    told = [
        {
            **{name: value for name, value in gpu._asdict().items() if name not in ("verdicts", "source")},
            "judgements": [
                {"id": v.check, "status": "failed" if v.failed else "warned", "subject": v.subject, "text": v.text}
                for v in gpu.verdicts
            ],
        }
        for gpu in gpus
    ]
    return json.dumps({"schema": 1, "gpudoctor": "1", "gpus": told})


def tree(tmp_path: Path, environ: str = "HOME=/home/bob", **files: str) -> MachineTree:
    """`root`, `own`, `elsewhere`: the records of root, of bob, and in another state folder."""
    places = {"root": "var/lib/gpudoctor", "own": "home/bob/.local/state/gpudoctor", "elsewhere": "data/gpudoctor"}
    written = {f"{places[who]}/bench.json": content for who, content in files.items()}
    for path, content in {**written, "proc/self/environ": environ.replace(" ", "\0"), "etc/hostname": ""}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    return MachineTree(str(tmp_path))


def recorded(host: Host) -> BenchRecord:
    load_plugins()
    return Facts(host).get(BenchRecord)


def test_the_newest_of_roots_and_the_users_own_wins(tmp_path: Path) -> None:
    older, newer = benched(HALF, at=1.0), benched(at=2.0)
    second = benched(LINK, uuid="GPU-2", at=1.0)
    found = recorded(tree(tmp_path, root=text(newer, second), own=text(older)))
    assert {gpu.uuid: gpu.verdicts for gpu in found.gpus} == {UUID: (), "GPU-2": (LINK,)}
    (tmp_path / "home/bob/.local/state/gpudoctor/bench.json").write_text(text(older._replace(at=3.0)))
    (first, _) = recorded(MachineTree(str(tmp_path))).gpus
    assert first.verdicts == (HALF,)
    assert first.source == "/home/bob/.local/state/gpudoctor/bench.json"


@pytest.mark.parametrize("environ", ["HOME=/home/bob XDG_STATE_HOME=/data", "GPUDOCTOR_STATE=/data/gpudoctor HOME=/x"])
def test_the_state_folder_may_be_elsewhere(tmp_path: Path, environ: str) -> None:
    assert recorded(tree(tmp_path, environ, elsewhere=text(benched()))).gpus


def test_no_record_is_an_answer(tmp_path: Path) -> None:
    assert recorded(tree(tmp_path)) == BenchRecord((), ())


def test_a_record_that_this_user_may_not_read_is_named(tmp_path: Path) -> None:
    class Refusing(MachineTree):
        def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
            if path.startswith("/var/lib/gpudoctor"):
                raise Unavailable(f"{path}: Permission denied")
            return super().read_bytes(path, limit, offset=offset)

    tree(tmp_path)
    assert recorded(Refusing(str(tmp_path))).unread == ("/var/lib/gpudoctor/bench.json: Permission denied",)
    tree(tmp_path, own=text(benched()))
    assert recorded(Refusing(str(tmp_path))).gpus


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 99999,
        '{"schema": 7, "gpus": []}',
        '{"schema": 1, "gpus": [{}]}',
        text(benched()).replace(str(BOOTED + 60), "1e999"),
        text(benched()).replace(str(BOOTED + 60), "NaN"),
        text(benched()).replace(str(BOOTED + 60), "9" * 400),
        text(benched(HALF)).replace('"failed"', '"passed"'),
    ],
)
def test_a_damaged_record_is_unknown(tmp_path: Path, content: str) -> None:
    host = tree(tmp_path, root=content)
    with pytest.raises(Unavailable, match=r"/var/lib/gpudoctor/bench\.json is (damaged|a record of schema 7)"):
        recorded(host)
    kept = recorded(tree(tmp_path, root=content, own=text(benched())))
    assert len(kept.gpus) == len(kept.unread) == 1


def test_on_a_disk_a_record_is_for_the_running_system_to_judge(tmp_path: Path) -> None:
    tree(tmp_path, root=text(benched(HALF)))
    load_plugins()
    facts = Facts(RootHost(str(tmp_path)))
    report = diagnose(facts, [registry.checks[id] for id in IDS])
    assert {one.status for one in report.outcomes} == {Status.UNKNOWN}
    assert all(one.not_running for one in report.outcomes)
    assert {one.reason for one in report.outcomes} == {
        "whether the benchmark on record still counts cannot be told: the system is not running"
    }
    assert report.exit_code == 0
    (tmp_path / "var/lib/gpudoctor/bench.json").unlink()
    report = diagnose(Facts(RootHost(str(tmp_path))), [registry.checks[id] for id in IDS])
    assert report.outcomes == ()


def test_a_redacted_snapshot_still_knows_its_gpu(tmp_path: Path) -> None:
    """UUIDs and homes are replaced in the record and in NVML's answer alike."""
    mig = benched(LINK, uuid=UUID.replace("GPU-", "MIG-"))
    host = RecordingHost(tree(tmp_path, own=text(benched(HALF), mig)))
    recorded(host)
    host.answers["probe nvml"] = {"answer": {"gpus": [{"uuid": UUID}]}}
    answers = redacted(host.answers)
    assert UUID[4:] not in json.dumps(answers)
    replayed = SnapshotHost(answers)
    listed = replayed.probe(["nvml"])["nvml"].answer
    assert listed is not None
    uuid = listed["gpus"][0]["uuid"]  # type: ignore[index]
    found = now(recorded(replayed), nvml(answer()._replace(uuid=str(uuid))))
    assert [gpu.verdicts for gpu in found.gpus] == [(HALF,), (LINK,)]


def test_a_snapshot_from_before_there_was_a_benchmark_says_nothing() -> None:
    load_plugins()
    facts = Facts(SnapshotHost({}), {Environment: Environment({"HOME": "/home/bob"}, ())})
    assert facts.get(BenchRecord) == BenchRecord((), ())


def test_records_that_could_not_be_read_stay_unread_in_a_snapshot(tmp_path: Path) -> None:
    folders = ("var/lib/gpudoctor/bench.json", "home/bob/.local/state/gpudoctor/bench.json")
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)  # a folder where a file belongs
    host = RecordingHost(tree(tmp_path))
    live = recorded(host)
    assert len(live.unread) == len(folders)
    assert recorded(SnapshotHost(host.answers)) == live
