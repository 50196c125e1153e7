"""The GitHub action and the GitLab job, run as the scripts that they are, on recorded machines."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import junitparser
import pytest
import yaml
from recorded_machines import recorded_machines
from reported import machine, report

from gpudoctor.exit_codes import EXIT_MAPS, FAIL_ON, ExitRule
from gpudoctor.reports.formats import render

TREE = Path(__file__).parents[2]
ACTION, STEPS, GITLAB = TREE / "action.yml", TREE / "ci/action.sh", TREE / "ci/gitlab.yml"

# The command gpudoctor, but for the bench: it says one line and ends as it is told.
PROGRAM = f"""#!/bin/sh
if [ "$1" = bench ]; then
    echo "asked: $*" >&2
    while [ "$1" != --output ]; do shift; done
    echo "::error::no command" >"$2"
    exit "$BENCH"
fi
exec {sys.executable} -m gpudoctor "$@"
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return recorded_machines(tmp_path_factory.mktemp("machines"))


class Command(NamedTuple):
    """One command of a workflow."""

    name: str
    properties: Mapping[str, str]
    message: str


def commands(log: str) -> Iterator[Command]:
    """What the runner takes for commands, as its ActionCommand.TryParseV2 and ActionCommandManager do."""
    stopped = ""
    for line in log.splitlines():
        found = re.match(r"::(?P<name>[\w-]+)(?: (?P<properties>.*?))?::(?P<message>.*)", line.lstrip())
        if not found or (stopped and found["name"] != stopped):
            continue
        if stopped:
            stopped = ""
        elif found["name"] == "stop-commands":
            stopped = found["message"]
        else:
            pairs = (pair.partition("=") for pair in (found["properties"] or "").split(",") if pair)
            properties = {name.strip(): unescaped(value) for name, _, value in pairs}
            yield Command(found["name"], properties, unescaped(found["message"]))
    assert not stopped, "nothing of the next steps would be heard"


def unescaped(text: str) -> str:
    for code, letter in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, letter)
    return text


class Job:
    """A runner's folder, and what the steps leave there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "gpudoctor"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)

    def step(self, name: str, **inputs: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("INPUT_", "GITHUB_"))},
            "GPUDOCTOR": str(self.program),
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "outputs"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            **inputs,
        }
        return subprocess.run(
            [STEPS, name], env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def outputs(self) -> Mapping[str, str]:
        lines = (self.folder / "outputs").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    @property
    def summary(self) -> str:
        return (self.folder / "summary.md").read_text()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def shown(log: str) -> list[Command]:
    return [command for command in commands(log) if command.name in ("error", "warning", "notice")]


def test_a_broken_gpu_is_annotated_and_another_runner_may_try(job: Job, machines: Mapping[str, Path]) -> None:
    done = job.step(
        "run",
        INPUT_ARGS=f"--snapshot {machines['broken']} --skip bench",
        INPUT_EXIT_MAP="retry",
        INPUT_FAIL_ON="error",
        INPUT_SARIF_FILE="report.sarif",
        INPUT_JUNIT_FILE="report.xml",
        INPUT_BENCH="quick",
        BENCH="0",
    )
    assert (done.returncode, done.stderr) == (75, "")
    (error,) = shown(done.stdout)
    assert (error.name, error.properties) == ("error", {"title": "gpudoctor driver.library-mismatch"})
    assert error.message.splitlines()[1] == "/proc/driver/nvidia/version: 580.82.07"
    assert "gpudoctor bench" not in done.stdout, "what is broken is not made to train"
    assert job.outputs == {
        "exit-code": "75",
        "status": "error",
        "cause": "driver.library-mismatch",
        "sarif-file": "report.sarif",
    }
    assert "driver.library-mismatch" in job.summary
    (run,) = json.loads((job.folder / "report.sarif").read_text())["runs"]
    assert run["results"][0]["ruleId"] == "driver.library-mismatch"
    (suite,) = junitparser.JUnitXml.fromfile(str(job.folder / "report.xml"))
    assert suite.failures == 1


def test_a_machine_that_works_passes_and_its_names_give_no_commands(job: Job, machines: Mapping[str, Path]) -> None:
    evil = job.folder / "evil.json"
    evil.write_text(machines["fine"].read_text().replace("NVIDIA H200", f"NVIDIA {'x' * 75} ::error::no command"))
    done = job.step("run", INPUT_ARGS=f"--snapshot {evil}", INPUT_BENCH="quick", BENCH="0")
    assert done.returncode == 0, done.stderr
    assert "\n::error::no command" in done.stdout, "it stands where a command would"
    assert [command.name for command in commands(done.stdout)] == ["group", "endgroup"] * 2
    assert job.outputs == {"exit-code": "0", "status": "ok", "cause": ""}
    assert "    ::error::no command" in job.summary


@pytest.mark.parametrize(
    ("bench", "inputs", "code"),
    [
        (2, {"INPUT_EXIT_MAP": "retry"}, 75),
        pytest.param(3, {"INPUT_EXIT_MAP": "retry"}, 75, marks=pytest.mark.slow),
        pytest.param(2, {"INPUT_FAIL_ON": "never"}, 0, marks=pytest.mark.slow),
    ],
)
def test_what_the_bench_says_counts(
    job: Job, machines: Mapping[str, Path], bench: int, inputs: Mapping[str, str], code: int
) -> None:
    done = job.step("run", INPUT_ARGS=f"--snapshot {machines['fine']}", INPUT_BENCH="full", BENCH=str(bench), **inputs)
    assert done.returncode == code
    assert done.stderr.startswith("asked: bench --backend auto --output ")
    (error,) = shown(done.stdout)
    assert ("does not train" if bench == 2 else "proves nothing") in error.message
    assert job.outputs["exit-code"] == str(code)


# Says how it was called, writes a line into every file that it is to write, and ends as it is told.
ECHO = """
command=$1
echo "$*"
while [ $# != 0 ]; do
    case $1 in
    json=* | text=*) echo "$REPORT" >"${1#*=}" ;;
    --output) if [ "$command" = check ] || [ -z "$NO_REPORT" ]; then echo >"$2"; fi ;;
    esac
    shift
done
[ "$command" = check ] || exit "${BENCH:-0}"
"""


@pytest.mark.parametrize("code", [2, 3])
def test_the_codes_of_the_bench_are_those_of_a_check(job: Job, code: int) -> None:
    job.program.write_text(ECHO)
    verdict = {2: "error", 3: "unknown"}[code]
    for exit_map in EXIT_MAPS:
        for fail_on in ("", *FAIL_ON):
            text = render("json", "check", report(fail_on=fail_on, exit_map=exit_map), machine(), 84)
            done = job.step("run", INPUT_BENCH="full", BENCH=str(code), REPORT=text)
            expected = ExitRule(fail_on, exit_map).code(verdict)
            assert done.returncode == expected, (exit_map, fail_on)
            (told,) = shown(done.stdout)
            assert told.name == ("warning" if code == 3 and expected == 0 else "error")


def test_the_bench_fails_as_the_settings_of_the_checkout_say(job: Job, machines: Mapping[str, Path]) -> None:
    (job.folder / "gpudoctor.toml").write_text('fail-on = "never"\n')
    done = job.step("run", INPUT_ARGS=f"--snapshot {machines['fine']}", INPUT_BENCH="full", BENCH="2")
    assert done.returncode == 0, done.stdout
    assert "does not train" in shown(done.stdout)[0].message


def test_an_older_gpudoctor_does_not_say_its_codes(job: Job) -> None:
    job.program.write_text(ECHO)
    assert job.step("run", INPUT_BENCH="full", BENCH="2").returncode == 2
    assert job.step("run", INPUT_BENCH="full", BENCH="3").returncode == 3


def test_a_bench_that_was_called_wrongly_is_no_verdict(job: Job) -> None:
    """It writes no report, and says 3 whatever fails the job."""
    job.program.write_text(ECHO)
    done = job.step("run", INPUT_BENCH="full", INPUT_FAIL_ON="error", NO_REPORT="1", BENCH="3")
    assert done.returncode == 3
    (error,) = shown(done.stdout)
    assert (error.name, "could not run" in error.message) == ("error", True)


@pytest.mark.parametrize(("bench", "code"), [("false", 0), ("no", 0), ("", 0), ("true", 3), ("quik", 3)])
def test_only_what_is_meant_for_a_bench_runs_one(job: Job, bench: str, code: int) -> None:
    job.program.write_text(ECHO)
    done = job.step("run", INPUT_BENCH=bench)
    assert done.returncode == code
    assert "bench --backend" not in done.stdout
    if code:
        assert [told.message for told in shown(done.stdout)] == [
            "The input bench is no, quick or full; nothing was looked at."
        ]
        assert job.outputs == {"exit-code": "3"}


def test_arguments_do_not_take_the_annotations_away(job: Job, machines: Mapping[str, Path]) -> None:
    done = job.step("run", INPUT_ARGS=f"--snapshot {machines['broken']} --format json --output elsewhere")
    (error,) = shown(done.stdout)
    assert error.properties["title"] == "gpudoctor driver.library-mismatch"
    assert job.outputs["cause"] == "driver.library-mismatch"
    assert not (job.folder / "elsewhere").exists()


@pytest.mark.parametrize(("backend", "words"), [("cupy", ""), ("torch", " --python /opt/venv")])
def test_the_bench_is_told_whose_torch_is_meant_and_not_whose_cupy(job: Job, backend: str, words: str) -> None:
    job.program.write_text(ECHO)
    done = job.step("run", INPUT_BENCH="quick", INPUT_BACKEND=backend, INPUT_PYTHON="/opt/venv")
    assert done.returncode == 0, done.stderr
    checked, benched = (line for line in done.stdout.splitlines() if line.startswith(("check ", "bench ")))
    assert " --python /opt/venv " in checked
    assert benched.startswith(f"bench --backend {backend} --quick{words} --output ")


@pytest.mark.parametrize(
    "inputs",
    [
        {"INPUT_FAIL_ON": "errors"},
        {"INPUT_SARIF_FILE": "/no/such/folder/report.sarif"},
        pytest.param({"INPUT_EXPECT_GPUS": "many"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_wrong_input_is_no_verdict_on_the_gpu(
    job: Job, machines: Mapping[str, Path], inputs: Mapping[str, str]
) -> None:
    done = job.step("run", INPUT_ARGS=f"--snapshot {machines['fine']}", **inputs)
    assert done.returncode == 3
    assert [command.message.partition(" (")[0] for command in shown(done.stdout)] == ["gpudoctor check could not look"]
    assert next(iter(inputs.values())) in done.stderr
    assert job.outputs == {"exit-code": "3"}


def test_a_report_that_cannot_be_written_is_said_beside_what_was_found(job: Job, machines: Mapping[str, Path]) -> None:
    done = job.step("run", INPUT_ARGS=f"--snapshot {machines['broken']}", INPUT_SARIF_FILE="/dev/full")
    assert done.returncode == 3
    found, unwritten = shown(done.stdout)
    assert found.properties["title"] == "gpudoctor driver.library-mismatch"
    assert unwritten.message == "A report of gpudoctor could not be written: the log of this step says why."
    assert "/dev/full" in done.stderr
    assert job.outputs == {"exit-code": "3", "status": "error", "cause": "driver.library-mismatch"}


def test_what_cannot_be_installed_is_said(job: Job) -> None:
    done = job.step("install", INPUT_INTERPRETER="/no/such/python")
    assert done.returncode == 3
    (error,) = shown(done.stdout)
    assert "could not be installed" in error.message
    assert "/no/such/python" in done.stdout


@pytest.mark.slow
def test_the_action_installs_itself_and_leaves_the_checkout_alone(job: Job) -> None:
    before = {path.name for path in TREE.iterdir()}
    done = job.step("install")
    assert done.returncode == 0, done.stdout
    program = Path(job.outputs["gpudoctor"])
    assert program.is_relative_to(job.folder)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd="/")
    assert version.stdout.startswith("gpudoctor ")
    assert {path.name for path in TREE.iterdir()} == before


def described(path: Path, schema: str) -> Any:
    """A file of YAML that keeps to the schema which the makers of the runner publish."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    keep_to(document, schema)
    return document


def keep_to(document: Any, schema: str) -> None:
    folder = files("check_jsonschema") / "builtin_schemas/vendor"
    jsonschema.validate(document, json.loads((folder / schema).read_text(encoding="utf-8")))


def test_the_action_is_what_github_describes_and_hands_over_every_input() -> None:
    action = described(ACTION, "github-actions.json")
    handed = {name: value for step in action["runs"]["steps"] for name, value in step["env"].items()}
    expected = {f"INPUT_{name.upper().replace('-', '_')}": f"${{{{ inputs.{name} }}}}" for name in action["inputs"]}
    assert {name: value for name, value in handed.items() if name.startswith("INPUT_")} == expected
    assert {*re.findall(r"INPUT_\w+", STEPS.read_text())} - {"INPUT_"} == expected.keys()
    written = {*re.findall(r"output ([a-z-]+) ", STEPS.read_text())} - {"gpudoctor"}
    assert action["outputs"].keys() == written
    assert all("${{" not in step["run"] for step in action["runs"]["steps"]), "no input becomes part of a script"


def test_the_workflows_of_the_documentation_are_what_their_makers_describe() -> None:
    told = (TREE / "docs/ci.md").read_text(encoding="utf-8")
    github, gitlab = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", told, re.DOTALL))
    keep_to({"name": "ci", "on": "push", **github}, "github-workflows.json")
    keep_to(gitlab, "gitlab-ci.json")
    (used,) = [step for step in github["jobs"]["train"]["steps"] if step["uses"] == "./"]
    action = yaml.safe_load(ACTION.read_text())
    assert used["with"].keys() <= action["inputs"].keys()
    assert {*re.findall(r"steps\.gpu\.outputs\.([\w-]+)", told)} <= action["outputs"].keys()
    assert {gitlab["gpu"]["extends"]} == yaml.safe_load(GITLAB.read_text()).keys()


def test_scripts_are_clean() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert shellcheck, "of the test extra"
    done = subprocess.run([shellcheck, STEPS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def gitlab_job(job: Job, **variables: str) -> "subprocess.CompletedProcess[str]":
    """As the runner does it: one shell, which ends at the first command that fails."""
    (described_job,) = described(GITLAB, "gitlab-ci.json").values()
    script = "\n".join(described_job["script"])
    environment = {**os.environ, **described_job["variables"], "GPUDOCTOR": str(job.program), **variables}
    command = ["sh", "-e", "-c", script]
    return subprocess.run(command, env=environment, cwd=job.folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("machine", "variables", "code", "failures"),
    [
        ("broken", {"GPUDOCTOR_BENCH": "--quick", "BENCH": "0"}, 75, 1),
        pytest.param("fine", {"GPUDOCTOR_BENCH": "--output bench", "BENCH": "2"}, 2, 0, marks=pytest.mark.slow),
    ],
)
def test_the_gitlab_job(
    job: Job, machines: Mapping[str, Path], machine: str, variables: Mapping[str, str], code: int, failures: int
) -> None:
    done = gitlab_job(job, GPUDOCTOR_ARGS=f"--snapshot {machines[machine]}", **variables)
    assert done.returncode == code, done.stderr
    (suite,) = junitparser.JUnitXml.fromfile(str(job.folder / "gpudoctor.xml"))
    assert suite.failures == failures
    assert json.loads((job.folder / "gpudoctor.json").read_text())["schema"] == 1
    (described_job,) = described(GITLAB, "gitlab-ci.json").values()
    assert described_job["artifacts"]["reports"]["junit"] == "gpudoctor.xml"
    assert described_job["retry"]["exit_codes"] == [75]
