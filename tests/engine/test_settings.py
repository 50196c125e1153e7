"""Settings of `check` in gpudoctor.toml and pyproject.toml: found where they are meant, believed where they may be."""

import json
import os
from pathlib import Path

import pytest
from command_line import Call, calls

from gpudoctor.cli.options import CheckOptions
from gpudoctor.cli.settings import Settings, found_settings, with_settings

BROKEN = ("check", "--snapshot", str(Path(__file__).parents[1] / "machines/bookworm-kernel-upgraded-no-headers.json"))

ALL = """expect-gpus = 8
timeout = 30
deep-timeout = 900.5
skip = ["gpu.persistence-off", "container"]
fail-on = "error"
exit-map = "simple"
format = "junit"
baseline = "known.toml"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which nobody else can write."""
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


READ = Settings(
    "gpudoctor.toml",
    30.0,
    900.5,
    8,
    ("gpu.persistence-off", "container"),
    "error",
    "simple",
    "junit",
    "known.toml",
)


def test_its_own_file_goes_before_that_of_the_project(folder: Path) -> None:
    assert found_settings(None) == Settings()
    own = "[project]\nname = 'x'\n[tool.gpudoctor]\n"
    (folder / "pyproject.toml").write_text(own + ALL)
    assert found_settings(None) == READ._replace(path="pyproject.toml [tool.gpudoctor]")
    (folder / "gpudoctor.toml").write_text(ALL)
    assert found_settings(None) == READ
    (folder / "other").mkdir()
    (folder / "other/strict.toml").write_text(ALL)
    assert found_settings("other/strict.toml") == READ._replace(path="other/strict.toml", baseline="other/known.toml")


@pytest.mark.parametrize("text", ["[project]\nname = 'x'\n", "dependencies = ['gpudoctor']\n", "half = [ no mention"])
def test_a_project_that_sets_nothing_is_left_alone(text: str, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(text)
    assert found_settings(None) == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "[tool.gpudoctor]\ntimeout = 30",
        "[ tool . 'gpudoctor' ]\ntimeout = 30",
        "[tool]\ngpudoctor.timeout = 30",
        "[tool]\ngpudoctor = {timeout = 30}",
        "tool.gpudoctor.timeout = 30",
    ],
)
def test_every_way_to_write_the_table_is_found(text: str, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(f"{text}\n")
    assert found_settings(None).timeout == 30


def test_the_command_line_goes_before_the_settings() -> None:
    assert with_settings(CheckOptions(), READ) == CheckOptions(
        timeout=30.0,
        expect_gpus=8,
        skip=("gpu.persistence-off", "container"),
        fail_on="error",
        exit_map="simple",
        format="junit",
        baseline="known.toml",
    )
    said = CheckOptions(
        timeout=5.0, expect_gpus=0, skip=("wsl",), fail_on="never", exit_map="npd", format="text", baseline="x"
    )
    assert with_settings(said, READ) == said._replace(skip=("wsl", "gpu.persistence-off", "container"))
    assert with_settings(CheckOptions(deep=True), READ).timeout == 900.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("expected-gpus = 8", "there is no 'expected-gpus'; is 'expect-gpus' meant?"),
        ("[tool.gpudoctor]\nexpect-gpus = 8", "here the settings stand without [tool.gpudoctor]"),
        ("zzz = 8", "there is no 'zzz'; there are timeout, deep-timeout, "),
        ("fail_on = 'error'", "is 'fail-on' meant?"),
        ("fail-on = 'errors'", "fail-on is not 'errors'; is 'error' meant?"),
        ("exit-map = 'zzz'", "exit-map is not 'zzz'; it is nagios, npd, slurm, simple or retry"),
        ("format = 'yaml'", "format is not 'yaml'; it is text, json, "),
        ("format = 'pdf'", "format is not 'pdf'; it is text, json, "),
        ("format = 3", "format is a text in quotes, not 3"),
        ("timeout = 'long'", "timeout is a number of seconds, at least 0.1, not 'long'"),
        ("timeout = 0", "at least 0.1, not 0"),
        ("timeout = nan", "at least 0.1, not nan"),
        ("timeout = true", "at least 0.1, not True"),
        ("expect-gpus = -1", "expect-gpus is a number of GPUs, not -1"),
        ("expect-gpus = 1.5", "a number of GPUs, not 1.5"),
        ("skip = 'gpu'", "skip is a list of checks"),
        ("skip = ['gpu.persistense-off']", "skip: there is no check 'gpu.persistense-off'; is 'gpu.persistence-off'"),
        ("baseline = 'no-such.toml'", "no-such.toml: No such file or directory"),
        ("timeout = ", "gpudoctor.toml: no TOML: "),
        ("\udcff", "gpudoctor.toml: not UTF-8 at byte 0"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(text: str, said: str, folder: Path, call: Call) -> None:
    (folder / "gpudoctor.toml").write_text(text, errors="surrogateescape")
    done = call(*BROKEN)
    assert (done.code, done.out) == (3, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert call(*BROKEN, "--config", "/dev/null").code == 2, "a way past a file that is wrong"


def test_a_file_that_is_named_has_to_be_there_and_to_set_something(folder: Path, call: Call) -> None:
    (folder / "pyproject.toml").write_text("[tool.other]\n")
    assert call(*BROKEN, "--config", "pyproject.toml").err == (
        "gpudoctor: pyproject.toml: there is no table [tool.gpudoctor] in it\n"
    )
    assert call(*BROKEN, "--config", "none.toml").err == "gpudoctor: none.toml: No such file or directory\n"
    assert call(*BROKEN, "--config", ".").code == 3


def test_a_file_that_cannot_be_read_is_said(folder: Path, call: Call) -> None:
    (folder / "pyproject.toml").mkdir()
    done = call(*BROKEN)
    assert (done.code, done.err) == (2, "gpudoctor: pyproject.toml of this folder is not read: Is a directory\n")
    (folder / "gpudoctor.toml").mkdir()
    done = call(*BROKEN)
    assert (done.code, done.err) == (3, "gpudoctor: gpudoctor.toml of this folder: Is a directory\n")


def test_settings_do_what_the_options_do(folder: Path, call: Call) -> None:
    (folder / "gpudoctor.toml").write_text('fail-on = "never"\nformat = "json"\nskip = ["container"]\n')
    done = call(*BROKEN)
    assert done.code == 0
    outcomes = {outcome["check"]: outcome["status"] for outcome in json.loads(done.out)["outcomes"]}
    assert {outcomes[id] for id in outcomes if id.startswith("container.")} == {"skipped"}
    assert call(*BROKEN, "--fail-on", "error", "--format", "npd").code == 1


@pytest.mark.parametrize("name", ["gpudoctor.toml", "pyproject.toml"])
@pytest.mark.parametrize("open_to_all", ["file", "folder"])
def test_what_others_could_have_written_is_named_and_not_read(
    name: str, open_to_all: str, folder: Path, call: Call
) -> None:
    path = folder / name
    path.write_text('[tool.gpudoctor]\nfail-on = "never"\n' if name == "pyproject.toml" else 'fail-on = "never"\n')
    (path if open_to_all == "file" else folder).chmod(0o777)
    done = call(*BROKEN)
    assert done.code == 2
    what = "it" if open_to_all == "file" else "this folder"
    assert (
        done.err == f"gpudoctor: {name} is not read, for {what} can be changed by others; `--config {name}` reads it\n"
    )
    named = call(*BROKEN, "--config", name)
    assert (named.code, named.err) == (0, "")


def test_a_project_of_others_that_sets_nothing_is_no_reason_to_speak(folder: Path, call: Call) -> None:
    (folder / "pyproject.toml").write_text("dependencies = ['gpudoctor']\n")
    folder.chmod(0o777)
    assert call(*BROKEN).err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_root_does_not_read_a_users_file_unasked(folder: Path, call: Call) -> None:
    (folder / "gpudoctor.toml").write_text('fail-on = "never"\n')
    os.chown(folder / "gpudoctor.toml", 1000, 1000)
    done = call(*BROKEN)
    assert done.code == 2
    assert "it belongs to user 1000" in done.err
