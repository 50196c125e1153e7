"""`check --changed-since FILE` is silent and ends with 0 while nothing has changed."""

import json
import os
import stat
from pathlib import Path

import pytest
from command_line import GPUDOCTOR, Call, calls
from json_schema import require_described

MACHINES = Path(__file__).parents[1] / "machines"
BROKEN, HEALTHY = str(MACHINES / "bookworm-kernel-upgraded-no-headers.json"), str(MACHINES / "bookworm-healthy.json")
GPUDOCTOR_CALL = " ".join(GPUDOCTOR)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


@pytest.fixture
def memory(tmp_path: Path) -> str:
    return str(tmp_path / "state.json")


def check(machine: str, memory: str, *more: str) -> tuple[str, ...]:
    return ("check", "--snapshot", machine, "--changed-since", memory, *more)


def test_it_tells_what_came_and_what_went_and_nothing_in_between(call: Call, memory: str) -> None:
    assert call(*check(HEALTHY, memory)) == (0, "", ""), "nothing is wrong at the first look"
    came = call(*check(BROKEN, memory))
    assert (came.code, came.err) == (2, "")
    assert came.out.startswith("New:\n  ERROR The headers of kernel 6.1.0-56-amd64 are not installed")
    assert call(*check(BROKEN, memory)) == (0, "", "")
    went = call(*check(HEALTHY, memory))
    assert (went.code, went.err) == (0, "")
    assert went.out.startswith("Gone:\n  ERROR The headers of kernel")
    assert call(*check(HEALTHY, memory)) == (0, "", "")
    assert stat.S_IMODE(os.stat(memory).st_mode) == 0o600


def test_what_is_wrong_at_the_first_look_is_told(call: Call, memory: str) -> None:
    assert call(*check(BROKEN, memory)).code == 2
    assert call(*check(BROKEN, memory)) == (0, "", "")


def test_other_formats_show_the_whole_report_when_something_has_changed(
    call: Call, memory: str, tmp_path: Path
) -> None:
    first = call(*check(BROKEN, memory, "--format", "json"))
    told = json.loads(first.out)
    require_described(told)
    assert told["exit_code"] == first.code == 2
    assert [(one["id"], one["severity"]) for one in told["changes"]["came"]] == [("kernel.headers-missing", "error")]
    assert told["changes"]["went"] == told["changes"]["eased"] == []
    assert call(*check(BROKEN, memory, "--format", "json")) == (0, "", "")
    path = tmp_path / "report.md"
    assert call(*check(HEALTHY, memory, "--format", "markdown", "--output", str(path))) == (0, "", "")
    assert path.read_text().startswith("## gpudoctor check: ok")
    assert call(*check(BROKEN, memory)).code == 2
    mended = json.loads(call(*check(HEALTHY, memory, "--format", "json")).out)
    assert (mended["changes"]["came"], len(mended["changes"]["went"])) == ([], 1)


def test_the_exit_code_is_the_one_that_was_asked_for(call: Call, memory: str) -> None:
    assert call(*check(BROKEN, memory, "--exit-map", "retry")).code == 75
    assert call(*check(BROKEN, memory, "--exit-map", "retry")).code == 0


@pytest.mark.parametrize("content", ["", "\0" * 9, "[", '[["pci', '[["half"]]', '[["a",' + "[" * 9999, '[["\udcff'])
def test_a_damaged_file_leads_to_telling_all_anew(content: str, call: Call, memory: str) -> None:
    Path(memory).write_text(content, errors="surrogateescape")
    done = call(*check(BROKEN, memory))
    assert done.code == 2
    assert done.out.startswith("New:\n")
    assert done.err == f"gpudoctor: {memory} is damaged: everything is reported anew\n"
    assert call(*check(BROKEN, memory)) == (0, "", "")


@pytest.mark.parametrize("content", ['{"schema": 1}', "[[acknowledged]]\n", "[1]", "ERROR There is", "\udcff"])
def test_a_file_of_something_else_is_left_as_it_is(content: str, call: Call, memory: str) -> None:
    Path(memory).write_text(content, errors="surrogateescape")
    done = call(*check(HEALTHY, memory))
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"gpudoctor: {memory} is no file of --changed-since, and is left as it is")
    assert Path(memory).read_text(errors="surrogateescape") == content


def test_a_file_that_others_can_write_is_not_believed(call: Call, memory: str) -> None:
    Path(memory).write_text("[]")
    os.chmod(memory, 0o666)
    done = call(*check(BROKEN, memory))
    assert (done.code, done.out) == (3, "")
    assert "can be changed by others" in done.err
    assert call(*check(BROKEN, "/dev/null")).code == 3
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_what_cannot_be_noted_is_told_again(call: Call, tmp_path: Path) -> None:
    memory = str(tmp_path / "no/such/folder/state.json")
    for _ in range(2):
        done = call(*check(BROKEN, memory))
        assert done.code == 3
        assert done.out.startswith("New:\n")
        assert done.err == f"gpudoctor: cannot write {memory}, so this will be told again: No such file or directory\n"
    refused = call(*check(BROKEN, str(tmp_path)))
    assert (refused.code, refused.out) == (3, "")
    assert f"cannot read {tmp_path}: Is a directory" in refused.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_what_nobody_could_read_is_not_noted_as_told(call: Call, memory: str) -> None:
    words = " ".join(check(BROKEN, memory))
    assert os.waitstatus_to_exitcode(os.system(f"{GPUDOCTOR_CALL} {words} > /dev/full 2> /dev/null")) == 3
    assert not os.path.exists(memory)
    assert call(*check(BROKEN, memory)).code == 2


def test_what_is_acknowledged_is_no_news_and_is_when_that_ends(call: Call, memory: str, tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    assert call("check", "--snapshot", BROKEN, "--save-baseline", str(known)).code == 0
    assert call(*check(BROKEN, memory, "--baseline", str(known))) == (0, "", "")
    known.write_text("")
    assert call(*check(BROKEN, memory, "--baseline", str(known))).out.startswith(
        "No longer acknowledged:\n  ERROR The headers"
    )


def test_a_check_that_was_left_out_has_not_been_mended(call: Call, memory: str) -> None:
    assert call(*check(BROKEN, memory)).code == 2
    assert call(*check(HEALTHY, memory, "--skip", "kernel")) == (0, "", "")
    assert call(*check(HEALTHY, memory)).out.startswith("Gone:\n")
