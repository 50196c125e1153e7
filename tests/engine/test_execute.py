"""The executor: killed anywhere, failing, stopped, and what it takes back by itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_runs import hold_out
from toy_machine import LethalJournal, ToyMachine

from gpudoctor.execute import Refused, execute, roll_back
from gpudoctor.journal import Journal, Progress, Stage, begin
from gpudoctor.package_locks import lock_holder, wait_for_locks
from gpudoctor.plan_data import Scope
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


def _begun(folder: Path, steps: tuple[Step, ...], machine: ToyMachine) -> tuple[Journal, LethalJournal]:
    machine.lay_out(steps)
    journal = begin(str(folder / "state"), "toy", Scope(), ("toy.broken",), steps)
    return journal, LethalJournal(folder / "state", journal.run, machine)


def _progress(journal: Journal) -> list[str]:
    return [record.progress.value for record in journal.records]


def test_what_was_taken_out_of_the_kernel_goes_back_in_when_a_reload_fails(tmp_path: Path) -> None:
    steps = (
        undoable("configure"),
        undoable("stop-service", Phase.RELOAD),
        undoable("unload", Phase.RELOAD),
        undoable("load", Phase.RELOAD),
        undoable("start-service", Phase.RELOAD),
    )
    machine = ToyMachine(tmp_path, fails=frozenset({"load"}))
    journal = execute(*_run(tmp_path, steps, machine))
    assert journal.stage is Stage.FAILED
    assert _progress(journal) == ["done", "undone", "undone", "undone", "pending"]
    assert set(machine.state()) == {f"marks/{machine.mark(steps[0]).name}"}
    assert any("putting back" in words for words in machine.said)
    mended = ToyMachine(tmp_path)
    journal = execute(journal, mended, LethalJournal(tmp_path / "state", journal.run, mended))
    assert (journal.stage, set(_progress(journal))) == (Stage.CARRIED_OUT, {"done"})


def _run(folder: Path, steps: tuple[Step, ...], machine: ToyMachine) -> tuple[Journal, ToyMachine, LethalJournal]:
    journal, keeper = _begun(folder, steps, machine)
    return journal, machine, keeper


@pytest.mark.parametrize(
    ("there", "was", "said"),
    [
        (b"other\n", "old\n", "has changed"),
        (None, "old\n", "is gone"),
        (b"mine\n", None, "is there already"),
    ],
)
def test_a_file_that_is_not_what_the_plan_was_made_from_stops_it(
    tmp_path: Path, there: bytes | None, was: str | None, said: str
) -> None:
    machine = ToyMachine(tmp_path)
    steps = (undoable("first"), step(WriteFile("/etc/x", "new\n", was)))
    given = _run(tmp_path, steps, machine)
    file = tmp_path / "files" / "etc" / "x"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if there is not None:
        file.write_bytes(there)
    journal = execute(*given)
    assert (journal.stage, _progress(journal)) == (Stage.FAILED, ["done", "pending"])
    assert said in journal.records[1].note
    assert (file.read_bytes() if file.exists() else None) == there
    undone = roll_back(journal, machine, given[2])
    assert (undone.stage, file.exists()) == (Stage.UNDONE, there is not None)


def test_a_step_that_ends_well_but_proves_nothing_has_failed(tmp_path: Path) -> None:
    class Powerless(ToyMachine):
        def proves(self, step: Step, command: Run) -> bool:
            return False

    journal = execute(*_run(tmp_path, (undoable("try"), undoable("next")), Powerless(tmp_path)))
    assert _progress(journal) == ["failed", "pending"]
    assert journal.records[0].note == "it did not do what it is for: true"


def test_a_proof_that_cannot_be_asked_is_a_failure_and_no_crash(tmp_path: Path) -> None:
    class Mute(ToyMachine):
        def proves(self, step: Step, command: Run) -> bool:
            if self.mark(step).exists():
                raise Refused("the proof got no answer")
            return False

    journal = execute(*_run(tmp_path, (undoable("try"),), Mute(tmp_path)))
    assert (journal.stage, journal.records[0].note) == (Stage.FAILED, "the proof got no answer")


def test_zypper_ends_well_with_more_codes_than_one() -> None:
    assert Run(("zypper", "in", "x")).succeeds_with(102)
    assert not Run(("zypper", "in", "x")).succeeds_with(104)
    assert not Run(("apt-get", "install", "x")).succeeds_with(102)


def test_what_is_made_from_other_files_is_made_anew_after_they_are_back(tmp_path: Path) -> None:
    steps = (step(WriteFile("/etc/ld.so.conf", "new\n", "old\n")), step(Run(("ldconfig",)), undo=Run(("ldconfig",))))
    machine = ToyMachine(tmp_path)
    given = _run(tmp_path, steps, machine)
    before = machine.state()
    journal = execute(*given)
    assert machine.state()["files/etc/ld.so.conf"] == b"new\n"
    journal = roll_back(journal, machine, given[2])
    assert machine.state() == before
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
