"""`gpudoctor check` with sick children: in time, the right exit code, pure JSON, and no other check any the worse."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from imaginary_machines import VERSION, a100, machine
from live_machines import debian
from nvidia_smi_runs import run_of
from probe_children import ask
from sick_children import NO_ANSWER, ODD, SICK, Run, SickChildren

from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.vgpu import VgpuGuests
from gpudoctor.registry import needs, registry
from gpudoctor.testing import MachineTree

pytest_plugins = ["native_libraries"]

GPUS = 2
MARGIN = 10.0  # seconds: the machine that runs the tests may have more to do, and sick children sleep for 60
PREFIX = "/home/ada/venv"
SMI = run_of("535.261.03", "a100x2", "-q -x").text.replace("0B:00.0", "08:00.0").replace("g>Yes<", "g>No<")
TRIED = {"version": "2.3.1+cu121", "devices": 2, "failed_at": "", "failure": "", "libraries": [], "user": 0}


class Target(NamedTuple):
    """A child that is sick. `kind`: the fact that comes of it; `exit_code`: where it is not known."""

    kind: type
    exit_code: int
    speaker: str  # in the words of what could not be told


PROBES = {
    "nvml": Target(Nvml, 3, "NVML: "),
    "cuda": Target(Cuda, 3, "libcuda: "),
    "processes": Target(DeviceUsers, 0, "the list of processes: "),
}
COMMANDS = {
    "dmesg": Target(KernelLog, 0, "dmesg: "),
    "nvidia-smi": Target(Nvml, 3, "nvidia-smi: "),
    "journalctl": Target(VgpuGuests, 0, "journalctl: "),
    "rpm": Target(Packages, 3, "rpm: "),
    "python": Target(DeepTrials, 3, f"torch in {PREFIX}: "),
}
TARGETS = PROBES | COMMANDS
_USUAL = ("nvml", "dmesg")


@pytest.fixture
def sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> SickChildren:
    made = SickChildren(tmp_path, monkeypatch, capsys)
    made.more = 20
    return made


@pytest.fixture(scope="module")
def answers(native_libraries: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the three probes print where all is well, by the stub libraries' word."""
    description = tmp_path_factory.mktemp("gpus") / "gpus"
    description.write_text(machine([a100(number) for number in range(GPUS)]))
    libraries = f"{native_libraries.nvml}:{native_libraries.cuda}"
    environment = {"LD_LIBRARY_PATH": libraries, "FAKE_GPU_FILE": str(description)}
    told = {name: ask(name, environment) for name in ("nvml", "cuda")}
    nobody = {"pid": 4, "user_id": 0, "command": "x", "devices": ["/dev/nvidia0"], "python": None}
    told["processes"] = {"holders": [nobody], "deleted_libraries": [], "unreadable": 0, "others_hidden": False}
    return {name: json.dumps(answer) for name, answer in told.items()}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MachineTree]:
    """A machine whose packages are in files, one whose packages only rpm can tell, one with torch."""

    def tree(packaged: str = VERSION, **extra: str) -> MachineTree:
        folder = tmp_path_factory.mktemp("machine")
        made = debian(
            folder / "root",
            loaded=VERSION,
            on_disk=VERSION,
            user_space=VERSION,
            packaged=packaged,
            gpus=GPUS,
            extra=extra,
        )
        (folder / "root/dev/kmsg").write_text("")  # dmesg is asked then
        with (folder / "root/proc/modules").open("a") as file:
            file.write("nvidia_vgpu_vfio 1 0 - Live 0x0\n")  # and the journal of the host's vGPU manager
        return made

    plain, rpms = tree(), tree()
    (Path(rpms.root) / "var/lib/dpkg/status").unlink()
    (Path(rpms.root) / "var/lib/rpm").mkdir()
    (Path(rpms.root) / "var/lib/rpm/Packages").write_text("")
    site = f"{PREFIX}/lib/python3.11/site-packages"
    files = {
        f"{PREFIX}/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n",
        f"{PREFIX}/bin/python": "",
        f"{site}/torch-2.3.1+cu121.dist-info/METADATA": "Name: torch\nVersion: 2.3.1+cu121\n\n",
        f"{site}/torch/version.py": "__version__ = '2.3.1+cu121'\ndebug = False\ncuda = '12.1'\n",
    }
    return {"plain": plain, "rpm": rpms, "python": tree(**files)}


CheckWith = Callable[..., Run]


@pytest.fixture
def check_with(sick: SickChildren, answers: dict[str, str], trees: dict[str, MachineTree]) -> CheckWith:
    """check_with(target, script): the run on the machine where this child is sick; without a target, none is."""

    def check(target: str = "", script: str = "", *, on: str = "", timeout: float = 1) -> Run:
        tree = trees.get(on or target, trees["plain"])
        for name, text in answers.items():
            sick.probe(name, sick.printed(text))
        if (on or target) == "nvidia-smi":
            sick.probe("nvml", "echo no pynvml >&2; exit 4")
        healthy = {
            "dmesg": "[    0.000000] Linux version 6.1.0\n[    1.0] nvidia: module license taints kernel\n",
            "journalctl": "-- No entries --\n",
            "rpm": "",
            "nvidia-smi": SMI,
        }
        for name, text in healthy.items():
            sick.command(name, sick.printed(text))
        python = sick.script(Path(f"{tree.root}{PREFIX}/bin/python"), sick.printed(json.dumps(TRIED)))
        if target == "python":
            sick.script(python, script)
        elif target:
            (sick.probe if target in PROBES else sick.command)(target, script)
        options = ("--deep", "--python", f"{PREFIX}/bin/python") if (on or target) == "python" else ()
        return sick.check(tree, *options, timeout=timeout)

    return check


_UNDISTURBED: dict[str, Run] = {}


@pytest.fixture
def undisturbed(check_with: CheckWith) -> Callable[[str], Run]:
    def run(target: str) -> Run:
        kind = target if target in ("rpm", "python", "nvidia-smi") else ""
        if kind not in _UNDISTURBED:
            _UNDISTURBED[kind] = check_with(on=kind, timeout=20)
        return _UNDISTURBED[kind]

    return run


def _asks_for(function: Callable[..., object], kind: type, *, strictly: bool = False) -> bool:
    """Does it need this fact, itself or through others? `strictly`: it cannot do without."""
    for need in needs(function).values():
        if strictly and need.or_reason:
            continue
        provider = registry.providers.get(need.kind)
        if need.kind is kind or (provider is not None and _asks_for(provider, kind, strictly=strictly)):
            return True
    return False


def _assert_only_unknown(run: Run, before: Run, target: Target, words: str) -> None:
    """What needs the fact is not known, and says why in these words; everything else is as it was."""
    assert run.outcomes.keys() == before.outcomes.keys()
    for id, outcome in run.outcomes.items():
        function = registry.checks[id].function
        if not _asks_for(function, target.kind):
            assert outcome == before.outcomes[id], id
        else:
            assert outcome.found == before.outcomes[id].found, id
        if _asks_for(function, target.kind, strictly=True) and before.outcomes[id].status != "skipped":
            assert outcome.status in ("unknown", "blocked"), id
    assert any(outcome.status == "unknown" and words in outcome.reason for outcome in run.outcomes.values())
    assert run.exit_code == target.exit_code
    assert run.errors == "" or target.kind is DeepTrials


def _pairs(names: Iterable[str], targets: Iterable[str] = TARGETS) -> list[Any]:
    """All pairs; of those that go the same way through the same rooms one of a kind runs with the fast tests."""
    pairs = [(target, name) for name in names for target in targets]
    return [pytest.param(*pair, marks=() if pair[0] in _USUAL else pytest.mark.slow) for pair in pairs]


@pytest.mark.parametrize("target", ["", "rpm", "python", "nvidia-smi"])
def test_undisturbed_all_is_well(undisturbed: Callable[[str], Run], target: str) -> None:
    run = undisturbed(target)
    assert run.report["findings"] == []
    assert {id: outcome.reason for id, outcome in run.outcomes.items() if run.matters(id)} == {}
    assert run.exit_code == 0
    assert not [id for id, outcome in run.outcomes.items() if outcome.status == "crashed"]


@pytest.mark.parametrize(("target", "sickness"), _pairs(NO_ANSWER))
def test_a_child_that_never_ends(
    check_with: CheckWith, undisturbed: Callable[[str], Run], target: str, sickness: str
) -> None:
    run = check_with(target, SICK[sickness])
    assert run.seconds < 1 + MARGIN
    _assert_only_unknown(run, undisturbed(target), TARGETS[target], f"{TARGETS[target].speaker}no answer in 0.6 s")


@pytest.mark.parametrize(("target", "sickness"), _pairs(name for name in SICK if name not in NO_ANSWER))
def test_a_child_that_crashes_or_floods(
    check_with: CheckWith, undisturbed: Callable[[str], Run], target: str, sickness: str
) -> None:
    run = check_with(target, SICK[sickness], timeout=5)
    words = "printed more than 8 MiB" if sickness == "prints 100 MB" else f"ended by signal {sickness.split()[-1]}"
    _assert_only_unknown(run, undisturbed(target), TARGETS[target], f"{TARGETS[target].speaker}{words}")


@pytest.mark.parametrize(("target", "oddness"), _pairs(ODD, ["nvml", "cuda", "processes"]))
def test_a_child_that_answers_and_leaves_something_behind(
    check_with: CheckWith,
    undisturbed: Callable[[str], Run],
    sick: SickChildren,
    answers: dict[str, str],
    target: str,
    oddness: str,
) -> None:
    script = ODD[oddness].replace("{cat}", sick.printed(answers[target]))
    run = check_with(target, script, timeout=5)
    assert run.seconds < MARGIN
    assert run.outcomes == undisturbed(target).outcomes
    assert run.exit_code == 0


def _garbage(name: str, answer: str) -> str | bytes:
    changed = json.loads(answer)
    changed["return_code"] = float("nan") if name == "NaN" else 10**4000 if name == "huge numbers" else "ERR!"
    return {
        "nothing": "",
        "bytes that are no text": bytes(range(256)) * 256,
        "half of it": answer[: len(answer) // 2],
        "brackets without end": "[" * 200_000,
        "a list": "[1, 2]",
        "an empty object": "{}",
        "ERR!": "ERR!\n",
    }.get(name, json.dumps(changed))


_GARBAGE = (
    *("nothing", "bytes that are no text", "half of it", "brackets without end", "a list", "an empty object"),
    *("ERR!", "NaN", "huge numbers", "a word for a number"),
)


@pytest.mark.parametrize(("target", "name"), _pairs(_GARBAGE, PROBES))
def test_a_probe_that_prints_something_else(
    check_with: CheckWith,
    undisturbed: Callable[[str], Run],
    sick: SickChildren,
    answers: dict[str, str],
    target: str,
    name: str,
) -> None:
    if target == "processes" and name == "a word for a number":
        pytest.skip("it has no return code")
    script = sick.printed(_garbage(name, answers[target]))
    # nvidia-smi, which is asked in NVML's place, has no answer either.
    run = check_with(target, f"rm -f {sick.bin}/nvidia-smi; {script}".replace("rm", "/bin/rm", 1))
    _assert_only_unknown(run, undisturbed(target), TARGETS[target], f"{TARGETS[target].speaker}no usable answer")


@pytest.mark.parametrize("text", ["{}", '{"failure": NaN, "failed_at": ""}', '{"failure": "", "failed_at": 3}', "ERR!"])
def test_a_framework_that_prints_something_else_has_not_computed_right(
    check_with: CheckWith, undisturbed: Callable[[str], Run], sick: SickChildren, text: str
) -> None:
    run = check_with("python", sick.printed(text))
    words = f"torch in {PREFIX}: no usable answer"
    _assert_only_unknown(run, undisturbed("python"), COMMANDS["python"], words)


@pytest.mark.parametrize("text", ["", "\0\1\2\3" * 1000])
def test_a_log_of_nothing_is_no_log_without_faults(
    check_with: CheckWith, undisturbed: Callable[[str], Run], sick: SickChildren, text: str
) -> None:
    run = check_with("dmesg", sick.printed(text))
    _assert_only_unknown(run, undisturbed("dmesg"), COMMANDS["dmesg"], "dmesg printed no log")


@pytest.mark.parametrize(
    ("sickness", "exit_code"), [("ERR!", 1), ("Unknown Error", 1), ("[GPU requires reset]", 2), ("GPU is lost", 2)]
)
def test_nvidia_smi_that_ends_well_with_errors_in_its_fields(
    check_with: CheckWith, sick: SickChildren, sickness: str, exit_code: int
) -> None:
    head, gpu, rest = SMI.partition('<gpu id="00000000:08:00.0">')
    assert "<power_draw>" in rest
    before, tag, after = rest.partition("<power_draw>")
    run = check_with("nvidia-smi", sick.printed(f"{head}{gpu}{before}{tag}{sickness}{after[after.index('<') :]}"))
    assert run.exit_code == exit_code
    assert {finding["subject"] for finding in run.report["findings"]} == {"0000:08:00.0"}


def test_a_gpu_that_nvidia_smi_leaves_out(check_with: CheckWith, sick: SickChildren) -> None:
    head = SMI.partition('<gpu id="00000000:08:00.0">')[0]
    run = check_with("nvidia-smi", sick.printed(f"{head}</nvidia_smi_log>\n".replace(">2<", ">1<")))
    assert [(found["id"], found["subject"]) for found in run.report["findings"]] == [
        ("driver.gpu-missing-in-nvml", "0000:08:00.0")
    ]


@pytest.mark.parametrize("timeout", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_everything_hangs(check_with: CheckWith, sick: SickChildren, timeout: float) -> None:
    hang = SICK["hangs, deaf to SIGTERM"]
    check_with()
    for name in PROBES:
        sick.probe(name, hang)
    for name in ("dmesg", "journalctl"):
        sick.command(name, hang)
    sick.more = 0
    run = sick.again(timeout=timeout)
    assert run.seconds < timeout + MARGIN
    assert run.exit_code == 3
    assert run.report["findings"] == []
    reasons = " ".join(outcome.reason for outcome in run.outcomes.values())
    for speaker in ("NVML", "libcuda", "dmesg"):
        assert f"{speaker}: no answer in " in reasons
