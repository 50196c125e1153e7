"""The executor: killed anywhere, failing, stopped, and what it takes back by itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_runs import hold_out, really_killed, undisturbed
from toy_machine import Kept, ToyMachine, begun, mark_of

from gpudoctor.execute import Refused, execute, roll_back
from gpudoctor.journal import Journal, Progress, Stage
from gpudoctor.package_locks import lock_holder, wait_for_locks
from gpudoctor.repair import Action, Manual, Phase, Reboot, RemoveFile, Run, Step, WriteFile

TRUE = Run(("true",))


def step(
    action: Action, phase: Phase = Phase.CONFIGURE, verify: Run | None = TRUE, undo: Run | Manual | None = None
) -> Step:
    return Step(action, "A reason that is long enough.", phase, verify=verify, undo=undo)


def undoable(word: str, phase: Phase = Phase.CONFIGURE) -> Step:
    return step(Run((word,)), phase, undo=Run(("un" + word,)))


# One of everything that a plan can hold, in an order in which everything stands beside everything.
EVERYTHING = (
    step(Run(("try",)), Phase.SIMULATE, verify=None),
    undoable("stop", Phase.STOP),
    step(Manual("Do it."), Phase.STOP, verify=None),
    step(RemoveFile("/etc/old"), Phase.REMOVE),
    step(Run(("finish",)), Phase.REMOVE),
    step(Run(("install",)), Phase.INSTALL, undo=Manual("Take it away.")),
    step(WriteFile("/etc/one", "new\n", "old\n")),
    step(WriteFile("/etc/two", "new\n", None)),
    step(WriteFile("/etc/three", "\udcff\n", "\udcfe\n"), verify=None),
    step(Run(("cache",)), Phase.REBUILD, verify=None, undo=Run(("cache",))),
    step(Run(("initramfs",)), Phase.REBUILD, undo=Run(("initramfs",))),
    undoable("unload", Phase.RELOAD),
    undoable("load", Phase.RELOAD),
    step(Reboot(), Phase.REBOOT),
    step(Run(("bench",)), Phase.AFTERWARDS, verify=None, undo=Run(("unbench",))),
)


def test_a_plan_with_everything_survives_being_killed_anywhere() -> None:
    # Before and after a step the journal is written, and between the two most change something: none was left out.
    assert hold_out(EVERYTHING) > 2 * len(EVERYTHING)


def test_a_plan_whose_restart_comes_first() -> None:
    assert hold_out((step(Reboot(), Phase.STOP), undoable("go"), step(Reboot(), Phase.REBOOT, verify=None))) > 5


def test_a_process_that_is_really_killed_leaves_what_the_plans_are_held_out_from() -> None:
    expected, found = undisturbed(EVERYTHING), really_killed(EVERYTHING)
    assert [(left.state, left.boots) for left in found] == [(left.state, left.boots) for left in expected]
    assert [_noted(left.journal) for left in found] == [_noted(left.journal) for left in expected]


def _noted(journal: Journal | None) -> object:
    """All of a journal but whose it is, and when it was begun."""
    return journal and (journal.scope, journal.cures, journal.steps, journal.records, journal.stage)


def _progress(journal: Journal) -> list[str]:
    return [record.progress.value for record in journal.records]


def test_what_was_taken_out_of_the_kernel_goes_back_in_when_a_reload_fails() -> None:
    steps = (
        undoable("configure"),
        undoable("stop-service", Phase.RELOAD),
        undoable("unload", Phase.RELOAD),
        undoable("load", Phase.RELOAD),
        undoable("start-service", Phase.RELOAD),
    )
    machine = ToyMachine(fails=frozenset({"load"}))
    journal = execute(*_run(steps, machine))
    assert journal.stage is Stage.FAILED
    assert _progress(journal) == ["done", "undone", "undone", "undone", "pending"]
    assert set(machine.state) == {mark_of(steps[0])}
    assert any("putting back" in words for words in machine.said)
    mended = ToyMachine(machine.state)
    journal = execute(journal, mended, Kept(mended))
    assert (journal.stage, set(_progress(journal))) == (Stage.CARRIED_OUT, {"done"})


def _run(steps: tuple[Step, ...], machine: ToyMachine) -> tuple[Journal, ToyMachine, Kept]:
    machine.lay_out(steps)
    return begun(steps), machine, Kept(machine)


@pytest.mark.parametrize(
    ("there", "was", "said"),
    [
        (b"other\n", "old\n", "has changed"),
        (None, "old\n", "is gone"),
        (b"mine\n", None, "is there already"),
    ],
)
def test_a_file_that_is_not_what_the_plan_was_made_from_stops_it(
    there: bytes | None, was: str | None, said: str
) -> None:
    machine = ToyMachine()
    steps = (undoable("first"), step(WriteFile("/etc/x", "new\n", was)))
    given = _run(steps, machine)
    machine.state.pop("files/etc/x", None)
    if there is not None:
        machine.state["files/etc/x"] = there
    journal = execute(*given)
    assert (journal.stage, _progress(journal)) == (Stage.FAILED, ["done", "pending"])
    assert said in journal.records[1].note
    assert machine.state.get("files/etc/x") == there
    undone = roll_back(journal, machine, given[2])
    assert (undone.stage, machine.state.get("files/etc/x")) == (Stage.UNDONE, there)


def test_a_step_that_ends_well_but_proves_nothing_has_failed() -> None:
    class Powerless(ToyMachine):
        def proves(self, step: Step, command: Run) -> bool:
            return False

    journal = execute(*_run((undoable("try"), undoable("next")), Powerless()))
    assert _progress(journal) == ["failed", "pending"]
    assert journal.records[0].note == "it did not do what it is for: true"


def test_a_proof_that_cannot_be_asked_is_a_failure_and_no_crash() -> None:
    class Mute(ToyMachine):
        def proves(self, step: Step, command: Run) -> bool:
            if mark_of(step) in self.state:
                raise Refused("the proof got no answer")
            return False

    journal = execute(*_run((undoable("try"),), Mute()))
    assert (journal.stage, journal.records[0].note) == (Stage.FAILED, "the proof got no answer")


def test_zypper_ends_well_with_more_codes_than_one() -> None:
    assert Run(("zypper", "in", "x")).succeeds_with(102)
    assert not Run(("zypper", "in", "x")).succeeds_with(104)
    assert not Run(("apt-get", "install", "x")).succeeds_with(102)


def test_what_is_made_from_other_files_is_made_anew_after_they_are_back() -> None:
    steps = (step(WriteFile("/etc/ld.so.conf", "new\n", "old\n")), step(Run(("ldconfig",)), undo=Run(("ldconfig",))))
    machine = ToyMachine()
    given = _run(steps, machine)
    before = dict(machine.state)
    journal = execute(*given)
    assert machine.state["files/etc/ld.so.conf"] == b"new\n"
    journal = roll_back(journal, machine, given[2])
    assert machine.state == before
    assert [record.progress for record in journal.records] == [Progress.UNDONE] * 2


_HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


def _lock(path: Path, seconds: float) -> "subprocess.Popen[str]":
    path.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_lock_is_waited_for_and_its_holder_named(tmp_path: Path) -> None:
    lock, said = tmp_path / "lock-frontend", list[str]()
    with _lock(lock, 1.2) as process:
        assert (
            lock_holder(str(lock)) == f"{Path(f'/proc/{process.pid}/comm').read_text().strip()} (process {process.pid})"
        )
        began = time.monotonic()
        assert wait_for_locks([str(tmp_path / "none"), str(lock)], said.append, lambda: False) == ""
        assert time.monotonic() - began > 0.3
        assert said == [f"waiting for python (process {process.pid}), which has locked the package manager"] or (
            f"process {process.pid}" in said[0]
        )


def test_waiting_for_a_lock_has_an_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with _lock(lock, 60) as process:
        assert "has had the package manager locked" in wait_for_locks([str(lock)], print, lambda: False, timeout=0.6)
        assert "stopped while waiting" in wait_for_locks([str(lock)], print, lambda: True)
        process.kill()
    assert lock_holder(str(lock)) == ""


def test_the_kernels_list_of_locks_tells_those_who_may_not_open_the_file(tmp_path: Path) -> None:
    from gpudoctor.package_locks import _listed_holder

    lock = tmp_path / "lock"
    lock.touch()
    assert _listed_holder(str(lock)) is None
    with _lock(lock, 60) as process:
        listed = _listed_holder(str(lock))
        process.kill()
    if listed is None:
        pytest.skip("this file system counts its devices in another way than the kernel's list of locks")
    assert listed == process.pid
