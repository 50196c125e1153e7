"""A sick child cannot hurt the doctor: hang, crash, flood, stubborn children and their own children."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from gpudoctor.children import collect, probe_answer, start
from gpudoctor.host import Unavailable
from gpudoctor.machine import LiveHost

HANG = ["sleep", "60"]
STUBBORN = ["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"]
FORKS = ["sh", "-c", "sleep 60 & echo started; exit 0"]
FLOOD = ["sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done"]
DRIP = ["sh", "-c", "while :; do echo x; sleep 0.05; done"]
CRASH = ["sh", "-c", "kill -SEGV $$"]


@pytest.mark.parametrize("argv", [HANG, STUBBORN, DRIP], ids=["hang", "stubborn", "drip"])
def test_a_child_that_does_not_end_costs_the_deadline_and_no_more(argv: list[str]) -> None:
    host = LiveHost(timeout=0.5)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer in"):
        host.run(argv, timeout=60)
    assert time.monotonic() - began < 5


def test_all_children_share_one_deadline() -> None:
    children = [start(HANG), start(["echo", "quick"]), start(STUBBORN)]
    ended = collect(children, time.monotonic() + 0.5)
    assert [end.failure != "" for end in ended] == [True, False, True]
    assert ended[1].stdout == b"quick\n"
    assert all(child.process.poll() is not None for child in children), "nobody is left behind"


def test_a_grandchild_that_holds_the_pipes_open() -> None:
    done = LiveHost(timeout=20).run(FORKS)
    assert done is not None
    assert done.stdout == "started\n"


def test_a_flood_is_cut_off() -> None:
    with pytest.raises(Unavailable, match="printed more than 8 MiB"):
        LiveHost(timeout=20).run(FLOOD)


def test_a_crash_is_named() -> None:
    with pytest.raises(Unavailable, match="ended by signal SIGSEGV"):
        LiveHost(timeout=20).run(CRASH)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["echo", "no json"], "no usable answer"),
        (["echo", "[1, 2]"], "no usable answer"),
        (["sh", "-c", "echo it broke >&2; exit 4"], "exit code 4: it broke"),
        (CRASH, "ended by signal SIGSEGV"),
    ],
)
def test_a_probe_without_an_answer_says_why(argv: list[str], said: str) -> None:
    (ended,) = collect([start(argv)], time.monotonic() + 20)
    answer = probe_answer(ended)
    assert answer.answer is None
    assert said in answer.failure


def test_a_probe_runs_with_our_own_import_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "json.py").write_text("raise SystemExit('hostile module imported')")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    answer = LiveHost().probe(["processes"])["processes"]
    assert answer.failure == ""


def test_many_children_of_a_child_end_with_it() -> None:
    child = start(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; echo started; exit 0"])
    (ended,) = collect([child], time.monotonic() + 20)
    assert ended.stdout == b"started\n"
    deadline = time.monotonic() + 5
    while _alive(child.process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _alive(child.process.pid) == []


def _alive(group: int) -> list[int]:
    """The processes of a group, but for those that only wait to be collected by their parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            found += [int(stat.parent.name)] if int(its_group) == group and state != "Z" else []
    return found
