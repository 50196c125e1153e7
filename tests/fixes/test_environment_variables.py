"""Variables and loader folders taken back in the files that set them, byte for byte, or left to a person."""

import subprocess
from collections.abc import Mapping

import pytest
from framework_environments import SITE, build, distribution, environment

from gpudoctor import Finding, Findings, Manual, Phase, Risk, Run, Step, WriteFile
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.environment import Environment, read_settings
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loader import Found, LoaderConfig, LoaderFolder
from gpudoctor.facts.setting_files import SettingFile, SettingFiles
from gpudoctor.facts.system import Identity
from gpudoctor.testing import steps_of

ADA, ROOT = Identity(1000, (1000,)), Identity(0, (0,))
BASHRC = "/home/ada/.bashrc"
FOLDER = "/usr/local/cuda-12.1/lib64"
STUBS = "/usr/local/cuda-12.4/lib64/stubs"
HEAD = "# ~/.bashrc\ncase $- in\n    *i*) ;;\n      *) return;;\nesac\n"


def shell(variable: str, value: str, texts: Mapping[str, str]) -> Environment:
    settings = [one for path, text in texts.items() for one in read_settings(text, path)]
    return Environment({variable: value}, tuple(settings))


def files(texts: Mapping[str, str], owner: int = 1000) -> SettingFiles:
    return SettingFiles({path: SettingFile(path, text, owner) for path, text in texts.items()}, {})


def asked(*pairs: tuple[str, str]) -> Findings:
    return Findings(tuple((id, Finding("found.", subject)) for id, subject in pairs))


def unset(texts: Mapping[str, str], variable: str = "CUDA_VISIBLE_DEVICES", *, who: Identity = ADA, owner: int = 1000):
    found = asked(("env.cuda-visible-devices", variable))
    return steps_of("correct-environment", found, shell(variable, "-1", texts), files(texts, owner), who)


def written(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.action.path: step.action.text for step in steps if isinstance(step.action, WriteFile)}


def texts_for_people(steps: tuple[Step, ...]) -> str:
    return " ".join(f"{step.action.instruction} {step.why}" for step in steps if isinstance(step.action, Manual))


# correct-environment: single variables


@pytest.mark.parametrize(
    ("path", "before", "line"),
    [
        (BASHRC, HEAD, "export CUDA_VISIBLE_DEVICES=-1"),
        (BASHRC, HEAD, "CUDA_VISIBLE_DEVICES=''  # none"),
        (BASHRC, "if true; then\n  echo 1\nfi\nf() {\n  :\n}\n", 'export CUDA_VISIBLE_DEVICES="-1"'),
        ("/home/ada/.config/fish/config.fish", "if status is-login\n  echo\nend\n", "set -gx CUDA_VISIBLE_DEVICES -1"),
        ("/home/ada/.cshrc", "if ($?prompt) then\n  set x=1\nendif\n", "setenv CUDA_VISIBLE_DEVICES -1"),
        ("/home/ada/.config/environment.d/gpu.conf", "", "CUDA_VISIBLE_DEVICES=-1"),
    ],
)
@pytest.mark.parametrize("rest", ["", "\n", "\n\nalias ll='ls -l'\n", "\n\x0c\ttab\n\n"])
def test_the_line_becomes_a_comment_and_all_else_stays(path: str, before: str, line: str, rest: str) -> None:
    text = f"{before}{line}{rest}"
    steps = unset({path: text})
    assert written(steps) == {path: f"{before}# gpudoctor: {line}{rest}"}
    (step,) = (step for step in steps if isinstance(step.action, WriteFile))
    number = before.count("\n") + 1
    assert f"In {path} line {number} ({line}) sets CUDA_VISIBLE_DEVICES" in step.why
    assert (step.root, step.risk, step.phase) == (False, Risk.LOW, Phase.CONFIGURE)
    assert "log in anew" in texts_for_people(steps)


def test_the_proof_tells_whether_it_was_done(tmp_path) -> None:
    path = f"{tmp_path}/.bashrc"
    text = "export CUDA_VISIBLE_DEVICES=-1\n"
    (tmp_path / ".bashrc").write_text(text)
    (step,) = (one for one in unset({path: text}) if one.verify)
    assert isinstance(step.verify, Run)
    assert subprocess.run(step.verify.argv, check=False).returncode == 1
    assert isinstance(step.action, WriteFile)
    (tmp_path / ".bashrc").write_text(step.action.text)
    assert subprocess.run(step.verify.argv, check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("export CUDA_VISIBLE_DEVICES=-1 CUDA_LAUNCH_BLOCKING=1\n", "more than set this one variable"),
        ("cd /x && export CUDA_VISIBLE_DEVICES=-1\n", "more than set this one variable"),
        ("export CUDA_VISIBLE_DEVICES=-1; echo hello\n", "more than set this one variable"),
        ("export CUDA_VISIBLE_DEVICES=$(pick-gpu)\n", "more than set this one variable"),
        ("if true; then\nexport CUDA_VISIBLE_DEVICES=-1\nfi\n", "in a condition or a function"),
        ("if true; then\n    export CUDA_VISIBLE_DEVICES=-1\nfi\n", "indented"),
        ("gpu_off() {\nexport CUDA_VISIBLE_DEVICES=-1\n}\n", "in a condition or a function"),
        ("for i in 1; do\nexport CUDA_VISIBLE_DEVICES=-1\ndone\n", "in a condition or a function"),
        ("cat <<END\nif\nEND\nexport CUDA_VISIBLE_DEVICES=-1\n", "in a condition or a function"),
        ("x='\nexport CUDA_VISIBLE_DEVICES=-1\n'\n", "in a condition or a function"),
        ("export CUDA_VISIBLE_DEVICES=\\\n-1\n", "several lines"),
        ("export CUDA_VISIBLE_DEVICES=-1\r\n", "several lines"),
    ],
)
def test_what_is_left_to_a_person(text: str, reason: str) -> None:
    steps = unset({BASHRC: text})
    assert not written(steps)
    assert BASHRC in texts_for_people(steps)
    assert reason in texts_for_people(steps)


def test_a_file_that_has_changed_since() -> None:
    before, now = "export CUDA_VISIBLE_DEVICES=-1\n", "# new\nexport CUDA_VISIBLE_DEVICES=-1\n"
    found = asked(("env.cuda-visible-devices", "CUDA_VISIBLE_DEVICES"))
    known = shell("CUDA_VISIBLE_DEVICES", "-1", {BASHRC: before})
    steps = steps_of("correct-environment", found, known, files({BASHRC: now}), ADA)
    assert not written(steps)
    assert "has changed" in texts_for_people(steps)


@pytest.mark.parametrize(
    ("path", "owner", "who", "done"),
    [
        (BASHRC, 1000, ADA, True),
        (BASHRC, 1000, ROOT, False),  # root leaves people's files alone
        (BASHRC, 1001, ADA, False),
        ("/root/.bashrc", 0, ROOT, False),
        ("/etc/environment", 0, ROOT, True),
        ("/etc/environment", 0, ADA, True),  # the step says that it takes root
    ],
)
def test_whose_file_it_is(path: str, owner: int, who: Identity, done: bool) -> None:
    steps = unset({path: "CUDA_VISIBLE_DEVICES=-1\n"}, who=who, owner=owner)
    assert bool(written(steps)) is done
    assert all(step.root == (owner == 0) for step in steps if isinstance(step.action, WriteFile))
    reason = "no start-up file of a person" if who.root else "another user"
    assert done or reason in texts_for_people(steps)


def test_two_lines_of_one_file_and_a_file_behind_a_link() -> None:
    text = "export CUDA_VISIBLE_DEVICES=-1\nx=1\nexport CUDA_VISIBLE_DEVICES=-1\n"
    linked = SettingFiles({BASHRC: SettingFile("/home/ada/dotfiles/bashrc", text, 1000)}, {})
    found = asked(("env.cuda-visible-devices", "CUDA_VISIBLE_DEVICES"))
    steps = steps_of("correct-environment", found, shell("CUDA_VISIBLE_DEVICES", "-1", {BASHRC: text}), linked, ADA)
    assert written(steps) == {
        "/home/ada/dotfiles/bashrc": (
            "# gpudoctor: export CUDA_VISIBLE_DEVICES=-1\nx=1\n# gpudoctor: export CUDA_VISIBLE_DEVICES=-1\n"
        )
    }


def test_a_variable_that_no_file_sets() -> None:
    (step,) = unset({})
    assert isinstance(step.action, Manual)
    assert "unset CUDA_VISIBLE_DEVICES" in step.action.instruction
    assert "No file that was read sets" in step.why


def test_a_file_without_text_is_left_to_a_person() -> None:
    text = "export CUDA_VISIBLE_DEVICES=-1\n"
    known = shell("CUDA_VISIBLE_DEVICES", "-1", {BASHRC: text})
    found = asked(("env.cuda-visible-devices", "CUDA_VISIBLE_DEVICES"))
    none = SettingFiles({}, {BASHRC: f"{BASHRC} is too large to be rewritten"})
    assert "too large" in texts_for_people(steps_of("correct-environment", found, known, none, ADA))
    assert not written(steps_of("correct-environment", found, known, ADA))  # a snapshot


def test_letters_that_no_terminal_should_see() -> None:
    steps = unset({BASHRC: "export CUDA_VISIBLE_DEVICES=-1  # \x1b[31m\n"})
    assert not written(steps)
    assert "\x1b" not in texts_for_people(steps)


# correct-environment: folders of LD_LIBRARY_PATH and ld.so.conf


WHEELS = (distribution("torch", "2.5.1"), distribution("nvidia-nvjitlink-cu12", "12.4.127"))
TORCH = build("torch", WHEELS[0], (12, 4), "sm_89", where=environment(*WHEELS), version="2.5.1+cu124")
SHADOW = asked(("env.library-path-shadows", "LD_LIBRARY_PATH"))


def shadow(by: str = "LD_LIBRARY_PATH") -> FrameworkLibraries:
    name = "libnvJitLink.so.12"
    own = f"{SITE}/nvidia/nvjitlink/lib/{name}"
    taken = Found(f"{FOLDER}/{name}", f"{FOLDER}/{name}.1.105", by)
    beside = Found(own, own, "RUNPATH of /x.so") if by == "LD_LIBRARY_PATH" else None
    return FrameworkLibraries((LibraryUse(TORCH.environment.prefix, "torch", name, "/x.so", taken, beside),))


def trim(texts: Mapping[str, str], *more: object, found: Findings = SHADOW) -> tuple[Step, ...]:
    known = shell("LD_LIBRARY_PATH", FOLDER, texts)
    return steps_of("correct-environment", found, known, files(texts), FrameworkBuilds((TORCH,)), shadow(), ADA, *more)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (f"export LD_LIBRARY_PATH={FOLDER}:$LD_LIBRARY_PATH", ""),
        (f"export LD_LIBRARY_PATH={FOLDER}${{LD_LIBRARY_PATH:+:${{LD_LIBRARY_PATH}}}}", ""),
        (f'export LD_LIBRARY_PATH="{FOLDER}/"', ""),
        (
            f"export LD_LIBRARY_PATH={FOLDER}:/opt/foo:$LD_LIBRARY_PATH",
            "export LD_LIBRARY_PATH=/opt/foo:$LD_LIBRARY_PATH",
        ),
        (
            f'export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/opt/foo:{FOLDER}"',
            'export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/opt/foo"',
        ),
        (
            f"export LD_LIBRARY_PATH=/opt/foo:{FOLDER}${{LD_LIBRARY_PATH:+:${{LD_LIBRARY_PATH}}}}",
            "export LD_LIBRARY_PATH=/opt/foo${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}",
        ),
    ],
)
def test_one_folder_less(line: str, left: str) -> None:
    steps = trim({BASHRC: f"{HEAD}{line}\nalias x=y\n"})
    kept = f"{left}\n" if left else ""
    assert written(steps) == {BASHRC: f"{HEAD}# gpudoctor: {line}\n{kept}alias x=y\n"}


def test_lines_of_other_folders_stay() -> None:
    line = f"export LD_LIBRARY_PATH={FOLDER}:$LD_LIBRARY_PATH"
    text = f"export LD_LIBRARY_PATH={FOLDER}-other:/opt/foo\n{line}\n"
    steps = trim({BASHRC: text})
    assert written(steps) == {BASHRC: f"export LD_LIBRARY_PATH={FOLDER}-other:/opt/foo\n# gpudoctor: {line}\n"}


def test_a_folder_that_is_named_twice_is_left_to_a_person() -> None:
    steps = trim({BASHRC: f"export LD_LIBRARY_PATH={FOLDER}:/opt/foo:{FOLDER}\n"})
    assert not written(steps)
    assert f"Take {FOLDER} out of line 1 of {BASHRC}" in texts_for_people(steps)


def test_one_file_is_written_once() -> None:
    path_line = f"export LD_LIBRARY_PATH={FOLDER}:$LD_LIBRARY_PATH"
    home, hidden = "export CUDA_HOME=/gone", "export CUDA_VISIBLE_DEVICES=-1"
    text = f"{home}\n{path_line}\n  {hidden}\n{hidden}\n"
    values = {"LD_LIBRARY_PATH": FOLDER, "CUDA_HOME": "/gone", "CUDA_VISIBLE_DEVICES": "-1"}
    known = Environment(values, tuple(read_settings(text, BASHRC)))
    found = asked(
        ("cuda.home-invalid", "CUDA_HOME"),
        ("env.library-path-shadows", "LD_LIBRARY_PATH"),
        ("env.cuda-visible-devices", "CUDA_VISIBLE_DEVICES"),
    )
    facts = (found, known, files({BASHRC: text}), FrameworkBuilds((TORCH,)), shadow(), ADA)
    steps = steps_of("correct-environment", *facts)
    assert [step.action for step in steps if isinstance(step.action, WriteFile)] == [
        WriteFile(BASHRC, f"# gpudoctor: {home}\n# gpudoctor: {path_line}\n  {hidden}\n# gpudoctor: {hidden}\n", text)
    ]
    assert f"Take out or correct line 3 of {BASHRC}" in texts_for_people(steps)  # it is indented


def test_two_lines_of_ld_so_conf() -> None:
    path = "/etc/ld.so.conf.d/cuda.conf"
    config = LoaderConfig((LoaderFolder(STUBS, path, 1), LoaderFolder(STUBS, path, 3)))
    one = Libcuda(f"{STUBS}/libcuda.so.1", f"{STUBS}/libcuda.so", "", "ld.so.cache")
    text = SettingFiles({path: SettingFile(path, f"{STUBS}\n/opt/lib\n{STUBS}/\n", 0)}, {})
    found = asked(("cuda.stub-library", one.path))
    steps = steps_of("correct-environment", found, LibcudaSearch(one, None, ()), config, text)
    assert written(steps) == {path: f"# gpudoctor: {STUBS}\n/opt/lib\n# gpudoctor: {STUBS}/\n"}


def test_ld_so_conf() -> None:
    path = "/etc/ld.so.conf.d/cuda.conf"
    config = LoaderConfig((LoaderFolder(STUBS, path, 2),))
    one = Libcuda(f"{STUBS}/libcuda.so.1", f"{STUBS}/libcuda.so", "", "ld.so.cache")
    text = SettingFiles({path: SettingFile(path, f"# CUDA\n{STUBS}\n/opt/lib\n", 0)}, {})
    found = asked(("cuda.stub-library", one.path))
    steps = steps_of("correct-environment", found, LibcudaSearch(one, None, ()), config, text, ADA)
    assert written(steps) == {path: f"# CUDA\n# gpudoctor: {STUBS}\n/opt/lib\n"}
    assert [step.action for step in steps][-1] == Run(("ldconfig",))
    assert all(step.root for step in steps)
    # Without the file's text, or a file that names the folder, a person does it.
    assert "ldconfig" in texts_for_people(
        steps_of("correct-environment", found, LibcudaSearch(one, None, ()), config, ADA)
    )
    nobody = steps_of("correct-environment", found, LibcudaSearch(one, None, ()), LoaderConfig(()), text, ADA)
    assert "ldconfig -v" in texts_for_people(nobody)


@pytest.mark.parametrize("id", ["cuda.forward-compat-mismatch", "cuda.forward-compat-unsupported"])
def test_compat_in_the_library_path(id: str) -> None:
    folder = "/usr/local/cuda-12.4/compat"
    one = Libcuda(f"{folder}/libcuda.so.1", f"{folder}/libcuda.so.550.54.15", "550.54.15", "LD_LIBRARY_PATH")
    line = f"export LD_LIBRARY_PATH={folder}"
    known, text = shell("LD_LIBRARY_PATH", folder, {BASHRC: f"{line}\n"}), files({BASHRC: f"{line}\n"})
    search = LibcudaSearch(one, None, ())
    steps = steps_of("correct-environment", asked((id, one.path)), known, text, search, ADA)
    assert written(steps) == {BASHRC: f"# gpudoctor: {line}\n"}
    assert steps_of("correct-environment", asked(("cuda.stub-library", "")), known, text, search, ADA) == ()


def test_a_newer_library_is_nothing_to_repair() -> None:
    newer = shadow().uses[0]
    taken = Found(f"{FOLDER}/x", "/x/libnvJitLink.so.12.6.1", "LD_LIBRARY_PATH")
    libraries = FrameworkLibraries((newer._replace(found=taken),))
    known = shell("LD_LIBRARY_PATH", FOLDER, {})
    assert steps_of("correct-environment", SHADOW, known, files({}), FrameworkBuilds((TORCH,)), libraries, ADA) == ()


def test_set_device_order() -> None:
    (step,) = steps_of("set-device-order", Environment({}, ()))
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(step.action)
    assert steps_of("set-device-order", Environment({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ())) == ()


def test_every_step_keeps_the_rules() -> None:
    steps = (
        *unset({BASHRC: "export CUDA_VISIBLE_DEVICES=-1\n"}),
        *trim({BASHRC: f"export LD_LIBRARY_PATH={FOLDER}:/x\n"}),
        *unset({}),
    )
    for step in steps:
        assert step.why.endswith(".")
        assert len(step.why) > 20
        assert step.verify is not None or isinstance(step.action, Manual)
