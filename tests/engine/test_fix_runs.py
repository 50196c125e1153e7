"""`gpudoctor fix` as a whole, on this machine: a plan is carried out, stopped, gone on with, taken back, or refused."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from command_line import GPUDOCTOR
from toy_plugin import Toy

from gpudoctor.plan_data import digest, plan_hash, scope_of, step_of


def test_a_plan_is_carried_out_and_the_diagnosis_agrees(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    done = toy.fix("--yes")
    assert done.returncode == 0, done.stderr
    assert "repaired, and the diagnosis agrees: no toy.bad-setting any more" in _said(done.stdout)
    assert (toy.setting.read_text(), toy.mark.exists(), toy.stage()) == ("good\n", True, "repaired")
    again = toy.fix("--yes")
    assert (again.returncode, "Nothing to repair." in _said(again.stdout)) == (0, True), again.stdout
    assert len(toy.journals) == 1
    back = toy.fix("--undo", "--yes")
    assert (back.returncode, "is taken back." in _said(back.stdout)) == (0, True), back.stderr
    assert (toy.setting.read_text(), toy.mark.exists(), toy.stage()) == ("bad\n", False, "undone")
    assert "undone, 0 of 2 steps done: toy.bad-setting" in toy.fix("--history").stdout


def test_without_a_yes_nothing_is_changed(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    done = toy.fix()
    assert (done.returncode, "nobody is there to be asked" in done.stderr) == (3, True)
    assert "touch" in _said(done.stdout), "the plan is shown all the same"
    assert (toy.setting.read_text(), toy.mark.exists(), toy.journals) == ("bad\n", False, [])


def _said(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())


def _nothing() -> None:
    pass


def test_at_a_terminal_everything_is_asked(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark person write")
    code, screen = toy.typed(["--only", "toy"], [("n", _nothing)])
    assert (code, "Carry out 3 steps?" in screen, "Nothing was done." in screen) == (3, True, True)
    assert (toy.mark.exists(), toy.journals) == (False, [])
    code, screen = toy.typed(["--only", "toy"], [("y", _nothing), ("n", _nothing)])
    assert (code, "Is it done?" in screen, toy.stage()) == (3, True, "waiting for a person")
    code, screen = toy.typed(["--resume"], [("y", _nothing), ("yes", _nothing)])
    assert (code, toy.stage(), toy.setting.read_text()) == (0, "repaired", "good\n")
    code, screen = toy.typed(["--undo"], [("y", _nothing)])
    assert (code, toy.setting.read_text()) == (3, "bad\n")
    assert "a person did it, and can take it back: Turn the key." in _said(screen)


def test_a_machine_that_changes_while_the_plan_is_read_is_diagnosed_again(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    code, screen = toy.typed(["--only", "toy"], [("y", lambda: (tmp_path / "setting").write_text("worse\n") and None)])
    assert (code, "the machine has changed since this plan was made" in _said(screen)) == (3, True), screen
    assert (toy.setting.read_text(), toy.mark.exists(), toy.journals) == ("worse\n", False, [])


def test_a_repair_that_does_not_help_is_no_success(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark")
    done = toy.fix("--yes")
    assert (done.returncode, toy.stage()) == (3, "not repaired")
    assert "toy.bad-setting is still there: The toy's setting is bad. `gpudoctor check` says more" in _said(done.stdout)


def test_a_step_that_fails_stops_the_run_and_resume_goes_on(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark fail write")
    done = toy.fix("--yes")
    assert (done.returncode, toy.stage(), toy.setting.read_text()) == (3, "failed", "bad\n")
    assert "step 2 failed: it ended with exit code 1" in _said(done.stdout)
    (tmp_path / "key").touch()
    assert toy.fix("--resume", "--yes").returncode == 0
    assert (toy.setting.read_text(), toy.stage()) == ("good\n", "repaired")


def test_a_failed_run_does_not_stand_in_the_way_of_the_next(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "fail write")
    assert toy.fix("--yes").returncode == 3
    (tmp_path / "plan").write_text("write")
    assert toy.fix("--yes").returncode == 0
    assert len(toy.journals) == 2


def test_a_step_for_a_person_waits_for_one(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark person write")
    done = toy.fix("--yes")
    assert (done.returncode, toy.stage(), toy.mark.exists()) == (3, "waiting for a person", True)
    assert "step 2 is for a person: Turn the key." in _said(done.stdout)
    refused = toy.fix("--yes")
    assert (refused.returncode, "is waiting for a person" in refused.stderr) == (3, True)
    assert toy.fix("--resume", "--yes").returncode == 0
    assert toy.setting.read_text() == "good\n"


def test_two_steps_for_a_person_are_two_waits(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "person mark person2 write")
    assert "step 1 is for a person" in _said(toy.fix("--yes").stdout)
    assert (toy.stage(), toy.mark.exists()) == ("waiting for a person", False)
    assert "step 3 is for a person: Turn the key2." in _said(toy.fix("--resume", "--yes").stdout)
    assert (toy.stage(), toy.mark.exists()) == ("waiting for a person", True)
    assert toy.fix("--resume", "--yes").returncode == 0


def test_a_killed_run_is_gone_on_with(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark sleep write")
    process = toy.start("--yes")
    toy.wait_for_stage("running", began=1)
    toy.wait_for_command("sleep")
    process.kill()
    process.wait()
    sleeping = toy.fix("--resume", "--yes")
    assert (sleeping.returncode, "is still at work" in sleeping.stderr) == (3, True), sleeping.stderr
    subprocess.run(["pkill", "-KILL", "-f", "^sleep 30$"], check=True)
    deadline = time.monotonic() + 10
    while "is still at work" in toy.fix("--resume").stderr and time.monotonic() < deadline:
        time.sleep(0.1)
    fresh = toy.fix("--yes")
    assert (fresh.returncode, "was interrupted" in fresh.stderr) == (3, True), fresh.stderr
    back = toy.fix("--undo", "--yes")
    assert "Time is gone." in _said(back.stdout)
    assert (toy.mark.exists(), toy.stage()) == (False, "partly undone")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "sleep write")
    process = toy.start("--yes")
    toy.wait_for_stage("running")
    toy.wait_for_command("sleep")
    for arguments in (["--yes"], ["--resume", "--yes"], ["--undo", "--yes"]):
        second = toy.fix(*arguments)
        assert (second.returncode, "another gpudoctor is repairing" in second.stderr) == (3, True), second.stderr
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "Ctrl-C again interrupts it" in said
    assert (process.returncode, toy.stage()) == (3, "failed")


def test_the_first_ctrl_c_lets_the_step_end(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "sleep write")
    module = tmp_path / "plugin" / "toy_plugin" / "toys.py"
    module.write_text(module.read_text().replace('"sleep", "30"', '"sleep", "1"'))
    process = toy.start("--yes")
    toy.wait_for_stage("running")
    toy.wait_for_command("sleep")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, toy.stage(), toy.setting.read_text()) == (3, "stopped", "bad\n")
    assert "stopped before step 2" in _said(out)
    assert toy.fix("--resume", "--yes").returncode == 0


def test_ctrl_c_at_a_question_is_a_no(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "person write")
    code, _ = toy.typed(["--only", "toy"], [("y", _nothing), ("\x03", _nothing)])
    assert (code, toy.stage()) == (3, "waiting for a person")


def test_a_run_that_was_killed_before_its_verdict_gets_one(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "write")
    toy.fix("--yes")
    (journal,) = toy.journals
    document = json.loads(journal.read_text())
    document["journal"]["stage"] = "carried out"
    document["sha256"] = digest(document["journal"])
    journal.write_text(json.dumps(document))
    assert toy.fix("--resume", "--yes").returncode == 0
    assert toy.stage() == "repaired"


def test_high_risk_needs_to_be_allowed(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "risky write")
    done = toy.fix("--yes")
    assert (done.returncode, "--allow high allows it" in done.stderr, toy.journals) == (3, True, [])
    assert toy.fix("--yes", "--allow", "high").returncode == 0


def test_a_file_that_somebody_changed_after_the_repair_is_left_alone_by_undo(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    toy.fix("--yes")
    toy.setting.write_text("better\n")
    back = toy.fix("--undo", "--yes")
    assert (back.returncode, toy.setting.read_text(), toy.mark.exists()) == (3, "better\n", False)
    assert "was changed by somebody else afterwards, and is left alone" in _said(back.stdout)


def test_rights_and_links_of_a_file_survive(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "write")
    real = tmp_path / "elsewhere"
    toy.setting.rename(real)
    real.chmod(0o640)
    toy.setting.symlink_to(real)
    assert toy.fix("--yes").returncode == 0
    assert (toy.setting.is_symlink(), real.stat().st_mode & 0o777, real.read_text()) == (True, 0o640, "good\n")
    assert toy.fix("--undo", "--yes").returncode == 0
    assert (toy.setting.is_symlink(), real.stat().st_mode & 0o777, real.read_text()) == (True, 0o640, "bad\n")


def test_the_result_as_json(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    done = toy.fix("--yes", "--format", "json")
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["command"], answer["dry_run"]) == (1, "fix", False)
    assert answer["result"]["stage"] == "repaired"
    assert [step["progress"] for step in answer["result"]["steps"]] == ["done", "done"]
    listed = json.loads(toy.fix("--history", "--format", "json").stdout)
    assert [run["stage"] for run in listed["runs"]] == ["repaired"]


def test_a_reviewed_plan_is_carried_out(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    plan = toy.plan_file()
    assert toy.fix("--plan", str(plan), "--yes").returncode == 0
    assert toy.setting.read_text() == "good\n"


def _edited(plan: Path, old: str, new: str) -> None:
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new))


def test_a_plan_that_was_edited_is_refused(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    for old, new, said in (
        ('"touch"', '"rm"', "was changed after gpudoctor wrote it"),
        ('"kind": "run"', '"kind": "shell"', "there is no action 'shell'"),
        ('"risk": "low"', '"risk": "none"', "there is no risk 'none'"),
        ('"command": "fix"', '"command": "check"', "is no plan"),
        ('"steps": [', '"steps": 1, "was": [', "'steps' is no list"),
    ):
        plan = toy.plan_file()
        _edited(plan, old, new)
        done = toy.fix("--plan", str(plan), "--yes")
        assert (done.returncode, said in done.stderr) == (3, True), done.stderr
    plan.write_bytes(plan.read_bytes()[: len(plan.read_bytes()) // 2])
    assert "not whole JSON" in toy.fix("--plan", str(plan), "--yes").stderr
    plan.write_bytes(b"\0\xff" * 100)
    assert "not whole JSON" in toy.fix("--plan", str(plan), "--yes").stderr
    assert "No such file" in toy.fix("--plan", str(tmp_path / "none"), "--yes").stderr
    assert (toy.setting.read_text(), toy.mark.exists(), toy.journals) == ("bad\n", False, [])


def test_a_plan_with_a_forged_hash_is_refused_too(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    plan = toy.plan_file()
    document = json.loads(plan.read_text())
    document["steps"][0]["action"]["argv"] = ["touch", str(tmp_path / "stolen")]
    steps = tuple(step_of(step) for step in document["steps"])
    document["hash"] = plan_hash(document["machine"], scope_of(document["scope"]), document["cures"], steps)
    plan.write_text(json.dumps(document))
    done = toy.fix("--plan", str(plan), "--yes")
    assert (done.returncode, "is not what would be done now" in done.stderr) == (3, True), done.stderr
    assert not (tmp_path / "stolen").exists()


def test_a_plan_of_another_machine_is_refused(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    plan = toy.plan_file()
    document = json.loads(plan.read_text())
    for machine, said in (("0" * 32, "is the plan of another machine"), ("", "is a plan for a disk or a snapshot")):
        document["machine"] = machine
        steps = tuple(step_of(step) for step in document["steps"])
        document["hash"] = plan_hash(machine, scope_of(document["scope"]), document["cures"], steps)
        plan.write_text(json.dumps(document))
        done = toy.fix("--plan", str(plan), "--yes")
        assert (done.returncode, said in done.stderr) == (3, True), done.stderr


def _failed_run(toy: Toy) -> Path:
    toy.fix("--yes")
    assert toy.stage() == "failed"
    return toy.journals[-1]


def test_a_damaged_or_foreign_journal_is_refused(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark fail write")
    journal = _failed_run(toy)
    whole = journal.read_text()
    foreign = json.loads(whole)
    foreign["journal"]["machine"] = "0" * 32
    foreign["sha256"] = digest(foreign["journal"])
    for text, said in (
        (whole[: len(whole) // 2], "Nothing is done by half a journal"),
        ("", "Nothing is done by half a journal"),
        (whole.replace('"touch"', '"rm"'), "its checksum is wrong"),
        (whole.replace('"schema": 1', '"schema": 2'), "written by another version"),
        (json.dumps(foreign), "was made on another machine"),
    ):
        journal.write_text(text)
        for mode in ("--resume", "--undo"):
            done = toy.fix(mode, "--yes")
            assert (done.returncode, said in done.stderr) == (3, True), (said, done.stderr)
            assert "Traceback" not in done.stderr
    assert toy.mark.exists()
    journal.write_text(whole[:40])
    history = toy.fix("--history")
    assert (history.returncode, "cannot be read" in history.stdout) == (0, True)


def test_a_journal_that_others_can_write_is_not_acted_on(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark fail write")
    _failed_run(toy).chmod(0o666)
    done = toy.fix("--undo", "--yes")
    assert (done.returncode, "can be changed by others" in done.stderr, toy.mark.exists()) == (3, True, True)


def test_runs_that_are_not_there(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "write")
    assert "there is no run to go on with" in toy.fix("--resume", "--yes").stderr
    assert "there is no run to take back" in toy.fix("--undo", "--yes").stderr
    for name, said in (("../../etc/passwd", "is no run"), ("20200101-000000", "there is no run 20200101-000000")):
        done = toy.fix("--undo", name, "--yes")
        assert (done.returncode, said in done.stderr) == (3, True)
    assert toy.fix("--history").stdout.startswith("No repair has been carried out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dry-run", "--resume"], "--dry-run and --resume are two things to do"),
        (["--resume", "--undo"], "--resume and --undo are two things to do"),
        (["--undo", "--root", "/"], "--undo is for this machine"),
        (["20200101-000000"], "goes with --resume or --undo"),
        (["--format", "json"], "--format json cannot ask"),
        (["--output", "x"], "--output takes a plan"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = Toy(tmp_path, "write").fix(*arguments)
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr


def test_a_read_only_state_folder_stops_before_the_first_change(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    # A file where the folder should be: root may write into every folder, so rights alone would not stop it.
    toy.state.write_text("")
    done = toy.fix("--yes")
    assert (done.returncode, "no journal can be kept" in done.stderr, toy.mark.exists()) == (3, True, False)


def _mounted(toy: Toy, options: str, *arguments: str, fill: bool = False) -> "subprocess.CompletedProcess[str]":
    """`fix` with a file system of its own under the state folder, in a mount namespace of its own."""
    toy.state.mkdir()
    full = f"dd if=/dev/zero of={toy.state}/ballast bs=1k 2>/dev/null;" if fill else ""
    script = f'mount -t tmpfs -o {options} none {toy.state} && {{ {full} exec "$@"; }}'
    command = ["unshare", "-m", "sh", "-c", script, "sh", *GPUDOCTOR, "fix", "--only", "toy", "--yes", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=toy.environment, timeout=60, check=False)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can mount a file system")
@pytest.mark.parametrize(
    ("options", "fill", "said"),
    [
        ("ro,mode=0700", False, "no journal can be kept"),
        ("size=64k,mode=0700", False, "less than 8 MiB are free"),
        ("size=16m,mode=0700", True, "no journal can be kept"),
    ],
)
def test_no_room_for_the_journal_stops_before_the_first_change(
    tmp_path: Path, options: str, fill: bool, said: str
) -> None:
    toy = Toy(tmp_path, "mark write")
    done = _mounted(toy, options, fill=fill)
    if "mount:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert (done.returncode, said in done.stderr or "less than 8 MiB" in done.stderr) == (3, True), done.stderr
    assert (toy.setting.read_text(), toy.mark.exists()) == ("bad\n", False)
    assert "Traceback" not in done.stderr


def test_the_environment_of_the_caller_does_not_reach_the_steps(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    environment = {**toy.environment, "LD_PRELOAD": "", "LD_LIBRARY_PATH": str(tmp_path)}
    module = tmp_path / "plugin" / "toy_plugin" / "toys.py"
    module.write_text(module.read_text().replace('("touch", mark)', '("cp", "/proc/self/environ", mark)'))
    done = subprocess.run(
        [*GPUDOCTOR, "fix", "--only", "toy", "--yes"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    given = dict(word.partition("=")[::2] for word in toy.mark.read_text().split("\0") if word)
    assert given["DEBIAN_FRONTEND"] == "noninteractive"
    assert not {"LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH"} & set(given)


_SUDO = """#!/bin/sh
echo "$*" >> "$TOY_FOLDER/sudo.log"
[ "$1 $2" = "-n -v" ] && exit 0
[ "$1 $2" = "-n --" ] || exit 1
shift 2
[ "$1" = systemctl ] && exit 0
exec "$@"
"""


def _as_user(toy: Toy, *arguments: str, sudo: bool = True) -> "subprocess.CompletedProcess[str]":
    """As a user who is not root, to whom the test's files belong; sudo is a double that lets everything through."""
    tools = toy.folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "sudo").write_text(_SUDO)
    (tools / "sudo").chmod(0o755 if sudo else 0o644)
    if not sudo:
        (tools / "sudo").unlink()
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    environment = {**toy.environment, "PATH": f"{tools}:/usr/bin:/bin"}
    command = [*prefix, *GPUDOCTOR, "fix", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=60, check=False)


def _needs_users(done: "subprocess.CompletedProcess[str]") -> None:
    if "unshare failed" in done.stderr:
        pytest.skip(f"no other user can be had here: {done.stderr.strip()}")


def test_only_steps_that_need_root_go_through_sudo(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "root root-write")
    done = _as_user(toy, "--only", "toy", "--yes")
    _needs_users(done)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "sudo.log").read_text().splitlines()
    assert any(line.startswith("-n -- env DEBIAN_FRONTEND=noninteractive") and "touch" in line for line in log), log
    assert any(line.startswith("-n -- install -m 644") for line in log), log
    assert (toy.setting.read_text(), toy.mark.exists()) == ("good\n", True)
    assert _as_user(toy, "--undo", "--yes").returncode == 0
    assert (toy.setting.read_text(), toy.mark.exists()) == ("bad\n", False)


def test_steps_of_ones_own_need_no_sudo(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark write")
    done = _as_user(toy, "--only", "toy", "--yes")
    _needs_users(done)
    assert (done.returncode, (tmp_path / "sudo.log").exists()) == (0, False), done.stderr


def test_without_root_and_sudo_nothing_is_begun(tmp_path: Path) -> None:
    if shutil.which("sudo", path="/usr/bin:/bin"):
        pytest.skip("there is a sudo here")
    toy = Toy(tmp_path, "root write")
    done = _as_user(toy, "--only", "toy", "--yes", sudo=False)
    _needs_users(done)
    assert (done.returncode, "there is no sudo here" in done.stderr, toy.journals) == (3, True, []), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for somebody else")
def test_root_changes_what_is_a_users_own_in_that_users_name() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        toy = Toy(folder, "mark write")
        for path in (folder, toy.setting):
            os.chown(path, 1, 1)  # daemon: every Debian has this account
        assert toy.fix("--yes").returncode == 0
        assert (toy.mark.stat().st_uid, toy.setting.stat().st_uid, toy.setting.read_text()) == (1, 1, "good\n")
    finally:
        shutil.rmtree(folder)


def test_a_restart_is_waited_for(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "mark restart write")
    done = _as_user(toy, "--only", "toy", "--yes")
    _needs_users(done)
    assert (done.returncode, toy.stage(), toy.setting.read_text()) == (3, "waiting for a restart", "bad\n")
    assert "-n -- systemctl reboot" in (tmp_path / "sudo.log").read_text()
    assert "the machine has to be restarted" in _said(done.stdout)
    early = _as_user(toy, "--resume", "--yes")
    assert (early.returncode, "has not been restarted yet" in early.stderr) == (3, True), early.stderr
    again = _as_user(toy, "--only", "toy", "--yes")
    assert (again.returncode, "is waiting for a restart" in again.stderr) == (3, True), again.stderr
    # What a restart changes, as far as gpudoctor can see.
    (journal,) = toy.journals
    document = json.loads(journal.read_text())
    for record in document["journal"]["records"]:
        record["boot"] = record["boot"] and "another boot"
    document["sha256"] = digest(document["journal"])
    journal.write_text(json.dumps(document))
    late = _as_user(toy, "--resume", "--yes")
    assert (late.returncode, toy.stage(), toy.setting.read_text()) == (0, "repaired", "good\n"), late.stderr
