"""What a probe printed is an answer, or it is none: no value of the wrong kind is taken for zero or for [N/A]."""

import copy
import json
from typing import Any

import pytest
from imaginary_machines import Environment, a100, eight_gpus, machine
from probe_children import ask

from gpudoctor.facts.probe_answers import checked, checked_trial
from gpudoctor.host import ProbeAnswer
from gpudoctor.plain_json import plain_json

pytest_plugins = ["native_libraries"]

NVML: dict[str, Any] = {
    "return_code": 0,
    "return_name": "NVML_SUCCESS",
    "driver_version": None,
    "gpus": [
        {"index": 0, "return_code": 0, "temperature_c": 34, "power_w": 62.5, "field_errors": {}, "mig_mode": None},
        {"index": 1, "return_code": 15, "field_errors": {"name": {"return_code": 15, "return_name": "LOST"}}},
    ],
}
CUDA: dict[str, Any] = {"return_code": 0, "error": None, "device_count": 1, "devices": [{"ordinal": 0}]}
PROCESSES: dict[str, Any] = {
    "holders": [{"pid": 7, "user_id": 0, "command": "python3", "devices": ["/dev/nvidia0"], "python": None}],
    "deleted_libraries": [{"pid": 7, "user_id": 0, "command": "python3", "paths": []}],
    "unreadable": 2,
}
GOOD = {"nvml": NVML, "cuda": CUDA, "processes": PROCESSES}


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_left_as_it_is(name: str) -> None:
    answer = ProbeAnswer(GOOD[name], "")
    assert checked(name, answer) is answer


def test_a_failure_stays_one() -> None:
    failure = ProbeAnswer(None, "no answer in 10 s")
    assert checked("nvml", failure) is failure


def test_what_the_probes_really_print_is_an_answer(environment: Environment) -> None:
    lost = machine([a100(0), a100(1, every="!15"), a100(2, handle="!15", power="!999"), {"name": "NVIDIA \udcff"}])
    for text in (lost, eight_gpus(nvmlInit=18, cuInit=999)):
        for name in ("nvml", "cuda"):
            assert checked(name, ProbeAnswer(ask(name, environment(text)), "")).failure == ""
    without = environment(eight_gpus(), nvml=False, cuda=False)
    for name in ("nvml", "cuda", "processes"):
        assert checked(name, ProbeAnswer(ask(name, without), "")).failure == ""


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        *(("nvml", ["return_code"], value) for value in (None, "0", True, -1, 1.0)),
        *(("nvml", ["gpus"], value) for value in (None, {}, [None], [{}], "")),
        *(("nvml", ["gpus", 0, "index"], value) for value in ("x", None)),
        *(("nvml", ["gpus", 0, "power_w"], value) for value in ("ERR!", True, [])),
        ("nvml", ["gpus", 0, "mig_mode"], 1),
        ("nvml", ["gpus", 0, "name"], 7),
        ("nvml", ["gpus", 0, "compute_capability"], [8]),
        ("nvml", ["gpus", 0, "compute_capability"], [8, None]),
        ("nvml", ["gpus", 0, "remapped_rows"], {"correctable": 0}),
        ("nvml", ["gpus", 0, "processes"], [7]),
        ("nvml", ["gpus", 1, "field_errors"], {"name": 15}),
        ("nvml", ["driver_version"], 535),
        *(("cuda", ["return_code"], value) for value in ("0", -1, None)),
        ("cuda", ["device_count"], "eight"),
        ("cuda", ["devices"], [8]),
        *(("processes", [field], None) for field in ("holders", "deleted_libraries")),
        ("processes", ["holders", 0, "pid"], "7"),
        ("processes", ["holders", 0, "devices"], "/dev/nvidia0"),
        ("processes", ["deleted_libraries", 0, "paths"], [None]),
        ("processes", ["unreadable"], "many"),
    ],
)
def test_a_value_of_the_wrong_kind_makes_it_none(name: str, place: list[Any], value: object) -> None:
    spoilt = copy.deepcopy(GOOD[name])
    inside: Any = spoilt
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    answer = checked(name, ProbeAnswer(spoilt, ""))
    assert answer.answer is None
    assert answer.failure.startswith("no usable answer (")
    assert len(answer.failure) < 120


@pytest.mark.parametrize("spoilt", [{}, {"failure": None}, {"failed_at": 0}, {"devices": "two"}, {"libraries": [1]}])
def test_a_trial_without_an_outcome_has_not_succeeded(spoilt: dict[str, object]) -> None:
    good = {"failure": "", "failed_at": "", "devices": 1, "libraries": [], "user": 0}
    assert checked_trial(ProbeAnswer(good, "")).failure == ""
    assert checked_trial(ProbeAnswer({**good, **spoilt} if spoilt else {}, "")).answer is None


@pytest.mark.parametrize(
    "text", ["NaN", "[-Infinity]", "1e999", "9" * 21, "-" + "9" * 5000, "[" * 100_000, "{", b"\xff"]
)
def test_json_that_others_cannot_read_is_none(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_json(text)


def test_numbers_of_a_machine_are_read() -> None:
    numbers = [0, -1, 2**64 - 1, -(2**63), 1.5e300]
    assert plain_json(json.dumps(numbers)) == numbers
