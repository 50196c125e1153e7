"""The record of verdicts in the state folder, as `check` reads it, and baselines."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from bench_measurements import H200, L4, counters, device, rate, result, samples

from gpudoctor.bench.baseline import judge_against_baseline, load_baseline, require_comparable, save_baseline
from gpudoctor.bench.measures import Traits
from gpudoctor.bench.result import BenchResult, Judgement, PhaseResult, Status
from gpudoctor.bench.saved import save_run
from gpudoctor.bench.verdicts.rates import judge_rates
from gpudoctor.facts.bench import BenchedGpu, read_record
from gpudoctor.host import BadSource

OTHER = H200._replace(uuid="GPU-11111111-2222-3333-4444-555555555502", pci_address="0000:2a:00.0")


def speed(*medians: float, **changes: Any) -> PhaseResult:
    precisions = ("fp16", "fp32")
    timed = [rate("product", p, median, **changes) for p, median in zip(precisions, medians, strict=False)]
    return judge_rates(timed, H200, samples(), counters())


def record(path: str) -> dict[str, BenchedGpu]:
    return {gpu.uuid: gpu for gpu in read_record(Path(path).read_text(encoding="utf-8"), path)}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUDOCTOR_STATE", str(tmp_path / "state"))
    return tmp_path


def test_a_run_leaves_its_verdicts_for_check() -> None:
    burn = PhaseResult("replay", Status.PASSED, "same bits")
    path = save_run(result(device(H200, speed(390.0, 48.0), burn), level="quick"))
    (gpu,) = record(path).values()
    assert (gpu.name, gpu.uuid, gpu.pci_address) == ("NVIDIA H200", H200.uuid, "0000:18:00.0")
    assert (gpu.driver, gpu.level, gpu.source) == ("580.95.05", "quick", path)
    assert gpu.judged == ("bench.clocks-throttled", "bench.compute-slow", "bench.replay-differs")
    (verdict,) = gpu.verdicts
    assert (verdict.check, verdict.failed, verdict.subject) == ("bench.compute-slow", True, "product in fp16")
    assert os.stat(path).st_mode & 0o077 == 0


def test_what_did_not_run_is_no_verdict() -> None:
    busy = PhaseResult("throughput", Status.NOT_MEASURED, "Busy: 2 processes.", [], {"judged": ["bench.compute-slow"]})
    skipped = PhaseResult("numerics", Status.SKIPPED, "no memory")
    path = save_run(result(device(H200, PhaseResult("training", Status.PASSED), busy, skipped)))
    (gpu,) = record(path).values()
    assert gpu.judged == ("bench.does-not-train",)
    assert gpu.not_judged == {"throughput": "Busy: 2 processes.", "numerics": "no memory"}


def test_a_later_run_replaces_its_own_gpus_only() -> None:
    save_run(result(device(H200, speed(390.0)), device(OTHER, speed(390.0))))
    path = save_run(result(device(OTHER, speed(780.0))))
    found = record(path)
    assert [len(found[uuid].verdicts) for uuid in (H200.uuid, OTHER.uuid)] == [1, 0]


def test_without_a_verdict_on_a_gpu_nothing_is_written(state: Path) -> None:
    cpu = device(None, PhaseResult("training", Status.PASSED))
    skipped = device(H200, PhaseResult("training", Status.SKIPPED))
    for run in (result(cpu), result(skipped), result()):
        assert save_run(run) == ""
    assert not (state / "state").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 99, "gpus": [1]}', "[" * 99999])
def test_a_damaged_record_is_replaced(state: Path, damage: str) -> None:
    (state / "state").mkdir(mode=0o700)
    (state / "state/bench.json").write_text(damage, encoding="utf-8")
    assert len(record(save_run(result(device(H200, speed(780.0)))))) == 1


def test_a_state_folder_that_others_can_write_to_is_refused(state: Path) -> None:
    (state / "state").mkdir()
    (state / "state").chmod(0o777)
    with pytest.raises(BadSource, match="can be changed by others"):
        save_run(result(device(H200, speed(780.0))))


# baselines


def saved(tmp_path: Path, *runs: BenchResult) -> str:
    path = str(tmp_path / "baseline.json")
    save_baseline(path, runs[0] if runs else result(device(H200, speed(780.0, 48.0))))
    return path


def test_a_run_against_its_own_baseline(tmp_path: Path) -> None:
    baseline = load_baseline(saved(tmp_path))
    require_comparable(baseline, level="default", backend="cupy", names=["NVIDIA H200"])
    same = judge_against_baseline(device(H200, speed(745.0, 47.0)), "default", baseline)
    assert same.status is Status.PASSED
    assert same.reason == f"2 rates are no less than 95% of {tmp_path}/baseline.json; the least is at 96%."
    slower = judge_against_baseline(device(H200, speed(738.0, 48.0), driver="610.43.02"), "default", baseline)
    (judgement,) = slower.judgements
    assert (judgement.id, judgement.status) == ("bench.below-baseline", Status.WARNED)
    assert "The product in fp16 reaches 738 TFLOPS: 94.6% of the 780 in the baseline" in judgement.text
    assert judgement.text.endswith("The driver was 580.95.05 then, and is 610.43.02 now.")


def test_a_gpu_is_held_against_itself_before_another_of_its_model(tmp_path: Path) -> None:
    both = result(device(OTHER, speed(780.0, 48.0)), device(H200, speed(700.0, 48.0)))
    baseline = load_baseline(saved(tmp_path, both))
    assert judge_against_baseline(device(H200, speed(690.0, 48.0)), "default", baseline).status is Status.PASSED
    assert judge_against_baseline(device(OTHER, speed(690.0, 48.0)), "default", baseline).status is Status.WARNED
    third = H200._replace(uuid="GPU-3")
    assert judge_against_baseline(device(third, speed(690.0, 48.0)), "default", baseline).status is Status.WARNED


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"level": "quick"}, "of level default, and this run is of level quick"),
        ({"backend": "torch"}, "measured with cupy, and this run uses torch"),
        ({"names": ["NVIDIA H200", "NVIDIA L4"]}, "a baseline of NVIDIA H200, and this GPU is NVIDIA L4"),
        ({"precisions": ["fp32"]}, "products in fp16, fp32, and this run has fp32"),
    ],
)
def test_a_baseline_of_something_else(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    baseline = load_baseline(saved(tmp_path))
    with pytest.raises(BadSource, match=said):
        require_comparable(baseline, **{"level": "default", "backend": "cupy", "names": ["NVIDIA H200"], **asked})


def test_after_the_run_it_is_said_why_nothing_was_compared(tmp_path: Path) -> None:
    baseline = load_baseline(saved(tmp_path))
    cases: list[tuple[Traits, PhaseResult, str]] = [
        (L4, speed(100.0, 10.0), "a baseline of NVIDIA H200, and this GPU is NVIDIA L4"),
        (H200._replace(sm_count=78), speed(100.0, 10.0), "another edition of NVIDIA H200"),
        (H200, speed(780.0), "this run has fp16"),
        (H200, speed(780.0, 48.0, detail="4096 x 4096 x 4096"), "Nothing in"),
        (H200, PhaseResult("throughput", Status.NOT_MEASURED, "Busy.", [], speed(1.0).numbers), "measured no rates"),
    ]
    for traits, phase, said in cases:
        found = judge_against_baseline(device(traits, phase), "default", baseline)
        assert found.status is Status.SKIPPED
        assert said in found.reason
    assert judge_against_baseline(device(H200), "default", baseline).status is Status.SKIPPED


def test_a_cpu_has_baselines_too(tmp_path: Path) -> None:
    def cpu(median: float) -> Any:
        timed = [rate("product", "fp32", median, error=1e-7), rate("convolution", "fp32", 1.0, detail="im2col")]
        return device(None, judge_rates([*timed, timed[1]._replace(detail="shift", median=2.0)], None))

    baseline = load_baseline(saved(tmp_path, result(cpu(0.2))))
    require_comparable(baseline, level="default", backend="cupy", names=["CPU"])
    found = judge_against_baseline(cpu(0.1), "default", baseline)
    assert [one.subject for one in found.judgements] == ["product in fp32"]
    assert len(found.numbers["compared"]) == 3
    with pytest.raises(BadSource, match="a baseline of CPU"):
        require_comparable(baseline, level="default", backend="cupy", names=["NVIDIA H200"])


def test_a_sick_or_empty_run_makes_no_baseline(tmp_path: Path) -> None:
    path = str(tmp_path / "baseline.json")
    with pytest.raises(BadSource, match="measured no rates"):
        save_baseline(path, result(device(H200)))
    with pytest.raises(BadSource, match="a sick GPU is no yardstick"):
        save_baseline(path, result(device(H200, speed(390.0)), status=Status.FAILED))
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not a baseline"),
        ("\x00", "not a baseline"),
        ("[" * 99999, "not a baseline"),
        ("[]", "no result of `gpudoctor bench"),
        ('{"schema": 1, "answers": {}}', "no result of `gpudoctor bench"),
        ('{"command": "bench", "schema": 1, "devices": []}', "a result of schema 1"),
        ('{"command": "bench", "schema": 2, "level": "quick", "backend": "cupy", "devices": [1, {}]}', "no rates"),
    ],
)
def test_a_file_that_is_no_baseline(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadSource, match=said):
        load_baseline(str(path))
    with pytest.raises(BadSource, match="No such file"):
        load_baseline(str(tmp_path / "missing.json"))


def test_rows_of_a_baseline_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    path = Path(saved(tmp_path))
    document = json.loads(path.read_text(encoding="utf-8"))
    rows = document["devices"][0]["phases"][0]["numbers"]["rates"]
    rows[0]["median"] = None
    rows.append({"what": "copy"})
    path.write_text(json.dumps(document), encoding="utf-8")
    (kept,) = load_baseline(str(path)).devices
    assert [kind[:2] for kind in kept.rates] == [("product", "fp32")]


def test_the_judgements_of_a_device_stand_in_its_record() -> None:
    wrong = Judgement("bench.numerics-wrong", Status.FAILED, "loss in bf16", "The loss in bf16 is wrong.")
    phase = PhaseResult("numerics", Status.FAILED, wrong.text, [wrong])
    (gpu,) = record(save_run(result(device(H200, phase, status=Status.FAILED)))).values()
    assert gpu.judged == ("bench.does-not-train", "bench.numerics-wrong")
    assert gpu.verdicts[0].text == wrong.text
