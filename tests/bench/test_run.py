"""The whole benchmark through the command line: on the CPU, without a GPU, and on stand-ins of GPUs in children."""

import json
import sys
from pathlib import Path

import pytest
from bench.test_judge import H100, REPLAYED
from imaginary_machines import a100, machine

from gpudoctor.bench.job import Event, Job, Level, Phase
from gpudoctor.bench.judge import Observed, judge_device
from gpudoctor.bench.result import BenchResult
from gpudoctor.bench.running import on_gpus
from gpudoctor.bench.running.children import Heard
from gpudoctor.bench.running.worker import plain
from gpudoctor.cli import run as gpudoctor
from gpudoctor.cli.bench import seconds_of

pytest_plugins = ["native_libraries"]

STANDIN = str(Path(__file__).parents[1] / "standin_worker.py")


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUDOCTOR_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def two_gpus(environment, monkeypatch, state):
    """NVML lists two A100, the second busy, and CuPy is the stand-in. Gives a function that makes the second sick."""
    for name, value in environment(
        machine([a100(0, processes=0, sm_clock=1900), a100(1, processes=2, sm_clock=1900)])
    ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def wrong_with_second(what=""):
        monkeypatch.setattr(on_gpus, "worker_argv", lambda: [sys.executable, STANDIN, what])

    wrong_with_second()
    return wrong_with_second


def run(capsys, *arguments):
    code = gpudoctor(["bench", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def as_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--format", "json")
    told = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert told["exit_code"] == code
    return told


def test_the_cpu_trains_and_reads_97_percent(capsys, state, tmp_path):
    baseline = tmp_path / "baseline.json"
    code, out, err = run(capsys, "--backend", "numpy", "--quick", "--save-baseline", str(baseline))
    assert code == 0
    assert out.startswith("PASSED  The CPU trains: it reads 9")
    assert "says nothing about a GPU" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert "epoch 1: loss" in err
    assert not state.exists()  # a CPU's verdict is none that `check` would know what to do with
    told = json.loads(baseline.read_text())
    assert (told["schema"], told["status"], told["level"]) == (2, "passed", "quick")
    (device,) = told["devices"]
    phases = {phase["phase"]: phase for phase in device["phases"]}
    assert list(phases) == ["numerics", "training", "replay", "throughput"]
    assert phases["training"]["numbers"]["accuracies"][-1] >= 0.97
    assert max(phases["numerics"]["numbers"]["gradient_check"]["errors"].values()) <= 1e-5
    assert phases["numerics"]["numbers"]["curves"][0]["loss_error"] <= 1e-5


@pytest.mark.parametrize("backend", ["auto", "cupy"])
def test_without_a_gpu_it_is_skipped_and_that_is_no_pass(backend, capsys, state, monkeypatch):
    monkeypatch.setattr(on_gpus, "find_spec", lambda name: None)
    code, out, _ = run(capsys, "--backend", backend)
    assert code == 3
    assert out.startswith("SKIPPED")
    assert "this is not a pass" in out
    assert "gpudoctor[cuda13]" in out or "finds no NVIDIA driver" in " ".join(out.split())
    assert not state.exists()


def test_two_gpus_train_in_children_and_of_the_busy_one_the_speed_is_not_measured(two_gpus, capsys, state):
    told = as_json(capsys, "--all", "--backend", "cupy")
    assert told["status"] == "passed", told["reason"]
    assert ["GPU 0, " in told["devices"][0]["device"], "GPU 1, " in told["devices"][1]["device"]] == [True, True]
    assert [device["traits"]["uuid"][-1] for device in told["devices"]] == ["0", "1"]
    for device in told["devices"]:
        phases = {phase["phase"]: phase["status"] for phase in device["phases"]}
        assert {phases[name] for name in ("numerics", "training", "replay", "health", "peers")} == {"passed"}
        assert device["health"]["samples"] > 0
    first, second = ({phase["phase"]: phase for phase in device["phases"]} for device in told["devices"])
    assert first["replay"]["numbers"]["replays"] == second["replay"]["numbers"]["replays"]
    assert first["throughput"]["status"] == "passed"
    assert told["devices"][0]["health"]["sm_mhz"]["median"] == 1900
    assert second["throughput"]["status"] == "not measured"
    assert "Busy: 2 other processes compute on it" in told["devices"][1]["reason"]
    assert told["between_gpus"]["phase"] == "between GPUs"
    assert told["versions"]["driver"]
    assert len(json.loads((state / "bench.json").read_text())["gpus"]) == 2


@pytest.mark.slow  # test_children.py and test_faults.py show the same of each part
def test_one_sick_gpu_fails_the_run_and_the_other_one_keeps_its_pass(two_gpus, capsys):
    two_gpus("crash")
    told = as_json(capsys, "--all", "--backend", "cupy", "--quick")
    assert told["exit_code"] == 2
    well, sick = told["devices"]
    assert well["status"] in ("passed", "warned")
    assert sick["status"] == "failed"
    assert "SIGABRT" in sick["reason"]
    assert "bench.does-not-train" in {found["id"] for phase in sick["phases"] for found in phase["judgements"]}


def test_gpus_of_one_model_that_end_in_other_bits_are_both_failed():
    job = Job("cupy", (Phase.REPLAY,), Level.DEFAULT, 0)
    result = BenchResult("cupy", "default", 0)
    for place, bits in enumerate(("ab", "cd")):
        traits = plain(H100._replace(uuid=f"GPU-{place}"))
        replays = plain([REPLAYED._replace(first=bits * 32, second=bits * 32)])
        said = [
            Event("opened", data={"text": f"GPU {place}", "home": "GPU 0", "traits": traits, "versions": {}}),
            Event("ended", "replay", "measured", data={"measured": replays}),
        ]
        result.devices.append(judge_device(job, Heard(tuple(said), "", ""), Observed()))
    on_gpus.compare(result, None)
    for device in result.devices:
        assert [one.id for one in device.judgements] == ["bench.replay-differs"]
        assert "without a majority" in device.judgements[0].text


def test_one_gpu_is_taken_and_a_baseline_of_another_model_is_refused_before_anything_runs(two_gpus, capsys, tmp_path):
    file = tmp_path / "h100.json"
    told = as_json(capsys, "--backend", "cupy", "--quick")
    assert len(told["devices"]) == 1
    assert told["between_gpus"] is None
    assert "1 other GPU was not tested: --all." in told["notes"]
    told["devices"][0]["traits"]["name"] = "NVIDIA H100 PCIe"
    file.write_text(json.dumps(told))
    code, out, err = run(capsys, "--backend", "cupy", "--quick", "--baseline", str(file))
    assert (code, out) == (3, "")
    assert "a baseline of NVIDIA H100 PCIe, and this GPU is NVIDIA A100" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--burn", "soon"], "--burn soon"),
        (["--burn", "0"], "--burn 0"),
        (["--burn", "10m", "--quick"], "exclude each other"),
        (["--gpu", "0", "--all"], "exclude each other"),
        (["--backend", "numpy", "--all"], "runs on the CPU"),
        (["--backend", "numpy", "--python", "/usr"], "runs on the CPU"),
        (["--backend", "cupy", "--python", sys.executable], "gpudoctor's own Python"),
        (["--backend", "torch", "--burn", "1m"], "not with torch"),
        (["--backend", "torch", "--python", "/nowhere"], "--python /nowhere"),
        (["--backend", "numpy", "--baseline", "/nowhere.json"], "/nowhere.json"),
        (["--seed", "-1"], "--seed"),
        (["--backend", "cuda"], "--backend"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(arguments, words, capsys):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (3, "")
    assert words in err
    assert "Traceback" not in err


def test_a_gpu_that_is_not_there_is_refused(two_gpus, capsys):
    code, out, err = run(capsys, "--gpu", "7", "--backend", "cupy")
    assert (code, out) == (3, "")
    assert "there is no GPU 7: NVML lists 0, 1" in err


def test_a_burn_is_given_as_people_write_times():
    assert [seconds_of(text) for text in ("10m", "90s", "1h", "45", "1.5m")] == [600, 90, 3600, 45, 90]
