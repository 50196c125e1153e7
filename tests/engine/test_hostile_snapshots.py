"""Feeding a snapshot runs nothing, and reads and writes nothing of this machine, whatever stands in it."""

import json
import random
from pathlib import Path

import pytest
from secret_machines import machine_full_of_secrets
from watched_runs import watched

from gpudoctor.cli.snapshot import recorded
from gpudoctor.snapshot import Json, as_document

MACHINES = Path(__file__).parents[1] / "machines"


def _nested(depth: int) -> Json:
    value: Json = "../../../etc/shadow"
    for number in range(depth):
        value = [value] if number % 2 else {"answer": value}
    return value


def _hostile(marker: Path) -> list[Json]:
    command = f"touch {marker}"
    return [
        *("../../../../../../etc/shadow", "/etc/shadow\0", "", "\0", "\ud800", "\x1b]0;x\x07", "x" * 100_000, command),
        *(
            f"$({command})",
            f"`{command}`",
            f"; {command} #",
            f"' && {command} && '",
            f"import os; os.system('{command}')",
        ),
        *(10**300, -(10**300), 1e308, -1, 0, True, None, [], {}, [[]], {"": {}}),
        *({"unavailable": 10**30}, {"unavailable": "x", "not_running": "yes"}, {"answer": {"gpus": [1, "x", None]}}),
        *({"answer": {"gpus": [{"number": "x", "name": 7, "uuid": [], "return_code": 10**30}]}}, {"failure": 3}),
        *({"exit_code": 0, "stdout": command, "stderr": command}, {"exit_code": 10**40, "stdout": 1, "stderr": 2}),
        *(["file", 10**20, -1, -1, -(10**20), 1e308, [-1, 10**20]], ["directory", 0, 0, 0, 0, float("inf"), [0, 0]]),
        *(["../..", "/etc/passwd", "a/../../b", "", ".", "..", "\0", 7, None, {}], {"base64": "/////"}, _nested(200)),
    ]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Json]]:
    machine = machine_full_of_secrets(tmp_path_factory.mktemp("machine"))
    paths = (MACHINES / "bookworm-kernel-upgraded-no-headers.json", MACHINES / "bookworm-runfile-traces.json")
    return [recorded(machine), *(json.loads(path.read_text())["answers"] for path in paths)]


def _runs(path: str, other: str, plan: str) -> list[list[str]]:
    return [
        ["check", "--snapshot", path, "--format", "json"],
        ["check", "--snapshot", path, "--deep"],
        ["fix", "--dry-run", "--snapshot", path],
        ["fix", "--dry-run", "--snapshot", path, "--to", "driver=580", "--format", "json"],
        ["fix", "--script", "--dry-run", "--snapshot", path],
        ["preflight", "--snapshot", path, "--simulation", plan],
        ["recommend", "torch", "--snapshot", path],
        ["diff", path, other],
        ["diff", other, path, "--format", "json"],
    ]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.txt"
    path.write_text(
        "Inst libcuda1 [535.309.01-0+deb12u1] (580.95.05-1 Debian:12 [amd64])\nConf libcuda1 (580.95.05-1)\n"
    )
    return path


def _check(files: list[Path], runs: list[list[str]], allowed: list[Path], marker: Path) -> None:
    settings = [Path(name).absolute() for name in ("gpudoctor.toml", "pyproject.toml")]  # the user's own
    told = watched(runs, [*files, *allowed, *settings])
    assert told.seen == []
    assert not marker.exists()
    for arguments, (code, out, err) in zip(runs, told.answers, strict=True):
        assert code in (0, 1, 2, 3), arguments
        assert "Traceback" not in err, (arguments, err)
        assert "our own bug" not in out, (arguments, out)
        if "json" in arguments and code != 3:
            json.loads(out)


def _write(path: Path, answers: dict[str, Json]) -> Path:
    path.write_text(json.dumps(as_document(answers, "0")))
    return path


@pytest.mark.slow
def test_a_true_snapshot_reads_and_runs_nothing_here(
    tmp_path: Path, recordings: list[dict[str, Json]], plan: Path
) -> None:
    files = [_write(tmp_path / f"{number}.json", answers) for number, answers in enumerate(recordings)]
    _check(files, _runs(*map(str, (files[0], files[1], plan))), [plan], tmp_path / "ran")


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))])
def test_nor_does_a_hostile_one(tmp_path: Path, recordings: list[dict[str, Json]], plan: Path, seed: int) -> None:
    chance = random.Random(seed)
    marker = tmp_path / "ran"
    values = _hostile(marker)
    answers, other = recordings[seed % 3 - 1], recordings[seed % 2]
    share = chance.choice((0.05, 0.3, 0.9))
    changed = {q: chance.choice(values) if chance.random() < share else answer for q, answer in answers.items()}
    done: Json = {"exit_code": 0, "stdout": "", "stderr": ""}
    changed |= {
        f"run touch {marker}": done,
        f"framework /bin/sh touch {marker}": {"answer": {}},
        "pythons": ["/bin/sh"],
    }
    files = [_write(tmp_path / "hostile.json", changed), _write(tmp_path / "other.json", other)]
    _check(files, _runs(*map(str, (*files, plan))), [plan], marker)


def test_the_watch_sees_what_is_forbidden(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    told = watched([["check", "--root", str(tmp_path)], ["check", "--snapshot", "/etc/hostname"]], [])
    assert ["os.listdir", str(tmp_path)] in told.seen or any(str(tmp_path) in place for _, place in told.seen)
    assert ["open", "/etc/hostname"] in told.seen
