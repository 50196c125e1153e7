"""The marker gpu of the pytest plugin, on recorded machines: one that works, a broken one, one without a GPU."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import pytest
from recorded_machines import recorded_machines

pytest_plugins = "pytester"

SUITE = """
import pytest

@pytest.fixture
def device():
    raise SystemError("a fixture that needs the GPU was run")

@pytest.mark.gpu
@pytest.mark.parametrize("number", range(3))
def test_trains(number, request):
    {body}

@pytest.mark.gpu
@pytest.mark.skip(reason="not today")
def test_left_out():
    raise SystemError

def test_of_the_processor():
    pass
"""
NEEDS_DEVICE = SUITE.format(body="request.getfixturevalue('device')").replace("(number, request)", "(number, device)")
COMPUTES = SUITE.format(body="pass")
MISMATCH = "driver.library-mismatch: The driver in memory is"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return recorded_machines(tmp_path_factory.mktemp("machines"))


def test_on_a_machine_that_works_the_tests_run(pytester: pytest.Pytester, machines: Mapping[str, Path]) -> None:
    pytester.makepyfile(COMPUTES)
    result = pytester.runpytest("--gpu-required", "--strict-markers", "--gpu-snapshot", str(machines["fine"]))
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.no_fnmatch_line("*NVIDIA GPUs*")


def test_without_a_gpu_they_are_skipped_and_the_others_run(
    pytester: pytest.Pytester, machines: Mapping[str, Path]
) -> None:
    pytester.makepyfile(NEEDS_DEVICE)
    result = pytester.runpytest("-rs", "--gpu-snapshot", str(machines["none"]))
    result.assert_outcomes(passed=1, skipped=4)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*NVIDIA GPUs*", "gpudoctor: no GPU can be used: pci.no-gpu: There is no NVIDIA GPU *"]
    )
    result.stdout.fnmatch_lines(["3 tests skipped for that alone*"])
    result.stdout.fnmatch_lines(
        ["SKIPPED [[]3] test_without_a_gpu_they_are_skipped_and_the_others_run.py:7: gpudoctor: *"]
    )


def test_where_a_gpu_is_required_they_fail_with_the_cause_and_its_proof_is_told_once(
    pytester: pytest.Pytester, machines: Mapping[str, Path]
) -> None:
    pytester.makepyfile(NEEDS_DEVICE)
    result = pytester.runpytest("--gpu-required", "--gpu-snapshot", str(machines["broken"]), "--junitxml=junit.xml")
    result.assert_outcomes(passed=1, skipped=1, errors=3)
    assert result.ret == 1
    text = result.stdout.str()
    assert text.count(f"gpudoctor: no GPU can be used: {MISMATCH}") == 4, "each test, and the summary"
    assert text.count("/proc/driver/nvidia/version: 580.82.07") == 1
    assert text.count("Reboot; or, if nothing uses the GPU, reload") == 1
    assert "Traceback" not in text
    assert "SystemError" not in text
    cases = ElementTree.parse(pytester.path / "junit.xml").iter("property")
    assert [case.get("value", "").startswith(MISMATCH) for case in cases] == [True] * 3


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("", 75),
        pytest.param("def test_with_a_fault():\n    assert False\n", 1, marks=pytest.mark.slow),
    ],
    ids=["the GPU alone", "another fault, too"],
)
def test_another_machine_may_try_where_nothing_but_the_gpu_failed(
    pytester: pytest.Pytester, machines: Mapping[str, Path], more: str, code: int
) -> None:
    pytester.makepyfile(COMPUTES + more)
    result = pytester.runpytest("--gpu-required", "--gpu-exit-code=75", "--gpu-snapshot", str(machines["broken"]))
    assert result.ret == code


def test_what_could_not_be_told_is_said_as_that(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(COMPUTES)
    (pytester.path / "machine.json").write_text('{"schema": 1, "answers": {}}')
    result = pytester.runpytest("-rs", "--gpu-snapshot", "machine.json")
    result.assert_outcomes(passed=1, skipped=4)
    why = "driver.cuda-init-failed: not in the snapshot: *"  # what asks libcuda, and no check that comes before it
    result.stdout.fnmatch_lines([f"*gpudoctor could not tell whether a GPU can be used: {why}"])


def test_nobody_is_asked_where_no_test_needs_a_gpu(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("gpudoctor.pytest_plugin._asked", asked.append)
    pytester.makepyfile(COMPUTES)
    pytester.runpytest("-m", "not gpu").assert_outcomes(passed=1, deselected=4)
    pytester.runpytest("-k", "left_out").assert_outcomes(skipped=1, deselected=4)
    assert asked == []


def test_the_plugin_imports_nothing_of_the_engine() -> None:
    """Every pytest session on a machine with gpudoctor loads it."""
    program = (
        "import sys, pytest; before = {*sys.modules}; import gpudoctor.pytest_plugin; print(*{*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"gpudoctor", "gpudoctor.pytest_plugin", "__future__"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpu-snapshot", "/no/such/file"], "--gpu-snapshot /no/such/file: no such file"),
        (["--gpu-exit-code", "75"], "--gpu-exit-code goes with --gpu-required"),
    ],
)
def test_bad_usage_is_one_clear_sentence(pytester: pytest.Pytester, arguments: list[str], said: str) -> None:
    result = pytester.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


@pytest.mark.parametrize("arguments", ["count=2", "2"])
def test_arguments_of_the_marker_are_not_swallowed(pytester: pytest.Pytester, arguments: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.gpu({arguments})\ndef test_trains():\n    pass\n")
    result = pytester.runpytest("--gpu-required", "--gpu-exit-code=75")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"the marker gpu takes no arguments, not gpu({arguments})"])
    assert result.ret == 1, "another machine would not help"


@pytest.mark.slow
def test_the_workers_of_xdist_share_one_diagnosis(pytester: pytest.Pytester, machines: Mapping[str, Path]) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(COMPUTES)
    pytester.makeconftest(
        "import os, gpudoctor.pytest_plugin as plugin\n\nask = plugin._asked\n\n"
        "def asked(snapshot):\n"
        "    with open('asked', 'a') as file:\n        file.write(f'{os.getpid()}\\n')\n"
        "    return ask(snapshot)\n\n"
        "plugin._asked = asked\n"
    )
    arguments = ("-n2", "--gpu-required", "--gpu-exit-code=75", "--gpu-snapshot", str(machines["broken"]))
    result = pytester.runpytest_subprocess(*arguments, timeout=60)
    result.assert_outcomes(passed=1, skipped=1, errors=3)
    assert result.ret == 75
    assert len((pytester.path / "asked").read_text().split()) == 1
    assert result.stdout.str().count("/proc/driver/nvidia/version: 580.82.07") == 1
