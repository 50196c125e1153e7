"""What one child of a benchmark does wrong costs its own result and nothing else: hangs, crashes, rubbish, forks."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gpudoctor.bench.job import Job, Level, Phase
from gpudoctor.bench.running.children import Heard, Moment, Worker, gpu_environment, run_children, worker_argv
from gpudoctor.bench.running.deaths import death

JOB = Job("toy", (Phase.NUMERICS, Phase.TRAINING), Level.QUICK, 7)

# What a toy worker may call; it is started with little of Python, for speed.
PRELUDE = """
import json, os, signal, sys, time
def say(kind, phase="", **more):
    print(json.dumps({"kind": kind, "phase": phase, **more}), flush=True)
def measured(phase, **data):
    say("began", phase, seconds=0.2)
    say("ended", phase, end="measured", data=data)
"""
GOOD = "measured('numerics', loss=1.5); measured('training'); say('finished')"


def toy(code: str, name: str = "GPU 0", seconds: float = 20.0) -> Worker:
    return Worker(name, [sys.executable, "-I", "-S", "-c", PRELUDE + code], os.environ, JOB, seconds)


def heard(code: str, *, quiet: float = 20.0, seconds: float = 20.0) -> Heard:
    return run_children([toy(code, seconds=seconds)], quiet=quiet)["GPU 0"]


def test_a_child_gets_its_job_and_its_events_come_back_in_order() -> None:
    said = heard("job = json.loads(sys.stdin.readline()); say('opened', data={'seed': job['seed']}); " + GOOD)
    assert said.failure == said.note == said.unfinished == ""
    assert [event.kind for event in said.events] == ["opened", "began", "ended", "began", "ended", "finished"]
    assert (said.events[0].data, said.events[2].data) == ({"seed": 7}, {"loss": 1.5})


def test_numbers_that_are_not_finite_come_through_as_what_they_are() -> None:
    said = heard("measured('numerics', loss=float('nan'), best=float('inf')); say('finished')")
    data = said.events[1].data
    assert data["loss"] != data["loss"]
    assert data["best"] == float("inf")


@pytest.mark.parametrize(
    ("code", "quiet", "said"),
    [
        ("time.sleep(60)", 0.3, "it hung while it was starting: nothing was heard for 0 s"),
        (
            "say('began', 'training', seconds=0.1); time.sleep(60)",
            1,
            "it hung in training: nothing was heard for 1 s",
        ),
        ("say('began', 'training', seconds=0.1); os.close(1); os.close(2); time.sleep(60)", 1, "it hung in training"),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); measured('numerics'); time.sleep(60)",
            1,
            "between two phases",
        ),
    ],
    ids=["silent", "in a phase", "pipes closed", "ignores SIGTERM"],
)
def test_a_child_that_hangs_is_ended_and_said_where(code: str, quiet: float, said: str) -> None:
    began = time.monotonic()
    assert said in heard(code, quiet=quiet).failure
    assert time.monotonic() - began < 5


def test_a_phase_that_announced_a_long_time_is_given_five_times_of_it() -> None:
    assert heard("say('began', 'burn', seconds=0.6); time.sleep(1.5); say('finished')", quiet=0.8).failure == ""


def test_notes_are_signs_of_life_but_do_not_outlast_the_deadline() -> None:
    said = heard(
        "say('began', 'training')\nwhile True: say('note', 'training', reason='alive'); time.sleep(0.05)", seconds=2
    )
    assert said.failure == "it was ended in training: the whole run may take 2 s"
    assert said.unfinished == "training"


def test_a_hung_child_tells_where_in_its_code_it_hangs() -> None:
    said = heard(
        "import faulthandler; faulthandler.register(signal.SIGUSR1)\ndef gemm(): time.sleep(60)\ngemm()", quiet=1
    )
    assert "in gemm" in said.stderr_tail


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal SIGSEGV: a crash inside a library or the driver"),
        ("os.abort()", "ended by signal SIGABRT: a library gave up by itself"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by signal SIGKILL: "),
        ("sys.exit(4)", "it ended with exit code 4 before it had said everything"),
        ("sys.exit('no module named cupy')", "exit code 1 before it had said everything: no module named cupy"),
        ("sys.exit(0)", "it ended with exit code 0 before it had said everything"),
        ('sys.stdout.write(\'{"kind": "fini\'); sys.stdout.flush(); os.abort()', "SIGABRT"),
    ],
)
def test_a_child_that_dies_keeps_what_it_had_measured_and_its_death_is_told(code: str, said: str) -> None:
    result = heard(f"measured('numerics', loss=1.5); say('began', 'training'); {code}")
    assert said in result.failure
    assert result.events[1].data == {"loss": 1.5}
    assert result.unfinished == "training"


def test_sigkill_is_laid_to_memory_only_where_the_kernel_counted_it() -> None:
    assert "memory ran out" in death(-signal.SIGKILL, 3, 4)
    assert "not the kernel" in death(-signal.SIGKILL, 4, 4)
    assert "most often the kernel when memory runs out" in death(-signal.SIGKILL, None, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Loading model...", "'Loading model...'"),
        ("[1, 2]", "'[1, 2]'"),
        ('{"kind": "passed"}', "passed"),
        ('{"kind": "ended", "phase": "numerics", "end": "splendid"}', "splendid"),
        ('{"kind": "began", "phase": 3}', "3"),
        ('{"kind": "began", "phase": "burn", "seconds": -1}', "-1"),
        ('{"kind": "began", "phase": "burn", "seconds": "NaN"}', "NaN"),
        ('{"kind": "finished", "data": []}', "finished"),
        ('{"kind": "finished", "verdict": "fine"}', "verdict"),
        ("\\x00\\xff", "\\x00"),
    ],
)
def test_what_is_no_event_ends_the_child_and_is_shown(line: str, said: str) -> None:
    failure = heard(f"print({line!r}, flush=True); time.sleep(60)").failure
    assert failure.startswith("it said what is no event of a benchmark: ")
    assert said in failure


@pytest.mark.parametrize("ending", ["", "\\n"])
def test_a_flood_is_cut_off(ending: str) -> None:
    line = '{"kind": "note", "reason": "' + 9000 * "x" + '"}' if ending else 120 * "x"
    failure = heard(f"while True: os.write(1, ({line!r} + '{ending}').encode() * 50)").failure
    assert failure == "it printed more than 8 MiB"


def test_of_a_flood_of_errors_the_end_is_kept() -> None:
    said = heard(f"sys.stderr.write('x' * 3000000 + 'last words'); {GOOD}")
    assert said.failure == ""
    assert said.stderr_tail.endswith("xlast words")
    assert len(said.stderr_tail) <= 4096


def test_what_happens_after_the_last_word_is_a_note_and_no_failure() -> None:
    crashed = heard(f"{GOOD}; os.abort()")
    assert (crashed.failure, "ended badly" in crashed.note) == ("", True)


def test_a_grandchild_is_ended_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    fork = "pid = os.fork()\nif pid == 0: time.sleep(60); os._exit(0)\n"
    code = f"{fork}open({str(pid_file)!r}, 'w').write(str(pid)); {GOOD}"
    began = time.monotonic()
    assert heard(code).failure == ""
    assert time.monotonic() - began < 5
    assert_gone(int(pid_file.read_text()))


def test_the_others_go_on_when_one_hangs_or_crashes_or_cannot_be_started() -> None:
    workers = [
        toy("say('began', 'numerics'); time.sleep(60)", "GPU 0"),
        toy("os.abort()", "GPU 1"),
        toy(f"time.sleep(0.6); say('note', reason='alive'); time.sleep(0.6); {GOOD}", "GPU 2"),
        Worker("GPU 3", ["/nowhere/python"], {}, JOB, 20),
    ]
    results = run_children(workers, quiet=1)
    assert list(results) == ["GPU 0", "GPU 1", "GPU 2", "GPU 3"]
    assert [bool(result.failure) for result in results.values()] == [True, True, False, True]
    assert results["GPU 3"].failure == "/nowhere/python cannot be started: No such file or directory"


def test_the_watcher_sees_phases_notes_and_a_fraction_that_grows_to_one() -> None:
    seen: list[Moment] = []
    code = (
        "say('began', 'numerics', seconds=0.4); say('note', 'numerics', reason='batch 64'); time.sleep(0.4); "
        "say('ended', 'numerics', end='measured'); say('began', 'training', seconds=5); time.sleep(0.3); "
        "say('ended', 'training', end='measured'); say('finished')"
    )
    worker = toy(code)._replace(plan=(("numerics", 1.0), ("training", 3.0)))
    run_children([worker], watch=lambda moments: seen.append(moments[0]))
    assert [phase for phase in dict.fromkeys(moment.phase for moment in seen) if phase] == ["numerics", "training"]
    fractions = [moment.fraction for moment in seen]
    assert fractions == sorted(fractions)
    assert any(0 < moment.fraction < 0.25 for moment in seen if moment.phase == "numerics")
    assert all(0.25 <= moment.fraction < 0.4 for moment in seen if moment.phase == "training")
    assert (seen[-1].fraction, seen[-1].over, seen[-1].notes) == (1.0, True, ("batch 64",))


def test_a_failed_child_never_shows_as_wholly_done() -> None:
    seen: list[Moment] = []
    run_children([toy("measured('numerics'); os.abort()")], watch=lambda moments: seen.append(moments[0]))
    assert (seen[-1].over, seen[-1].fraction) == (True, 0.5)
    assert "SIGABRT" in seen[-1].failure


DRIVER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background of a shell ignores it
from gpudoctor.bench.running.children import Worker, run_children
from gpudoctor.bench.job import Job, Level
job = Job("toy", (), Level.QUICK, 0)
code = f"import os, time; open({folder!r} + '/' + str(os.getpid()), 'w'); time.sleep(60)"
run_children([Worker(str(n), [sys.executable, "-I", "-S", "-c", code], os.environ, job, 60) for n in range(2)])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_us_however_we_end(number: signal.Signals, tmp_path: Path) -> None:
    program = f"folder = {str(tmp_path)!r}\n{DRIVER}"
    driver = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(os.listdir(tmp_path)) == 2)
    driver.send_signal(number)
    driver.wait(10)
    for name in os.listdir(tmp_path):
        assert_gone(int(name))


def test_it_runs_outside_the_main_thread() -> None:
    results: list[Heard] = []
    thread = threading.Thread(target=lambda: results.append(heard(GOOD)))
    thread.start()
    thread.join(20)
    assert results[0].failure == ""


def test_a_child_for_one_gpu_sees_that_gpu_alone() -> None:
    environment = gpu_environment("GPU-1234", {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0,1"})
    assert environment == {
        "PATH": "/bin",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-1234",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def test_the_real_worker_runs_apart_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hostile module imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = Job("numpy", (), Level.QUICK, 0)
    said = run_children([Worker("CPU", worker_argv(), os.environ, job, 60)])["CPU"]
    assert said.failure == ""
    assert [event.kind for event in said.events] == ["opened", "finished"]


def wait_until(condition) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def assert_gone(pid: int) -> None:
    def gone() -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"  # dead; who inherited it has not looked yet
        except FileNotFoundError:
            return True

    wait_until(gone)
