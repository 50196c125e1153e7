"""`gpudoctor hook KIND --install` and `--remove` in a scratch system: whole files, only ours, each in good order."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpudoctor.cli import run
from gpudoctor.hooks.kinds import KINDS

PROGRAM = "/opt/gpudoctor/bin/gpudoctor"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A system in which a gpudoctor lies."""
    root = tmp_path / "system"
    (root / "etc").mkdir(parents=True)
    program = root / PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return root


def hook(system: Path, *words: str, program: str = PROGRAM) -> int:
    return run(["hook", *words, "--root", str(system), "--command", program])


def files_of(system: Path) -> dict[str, str]:
    """All files but the program, by absolute path."""
    found = (path for path in system.rglob("*") if path.is_file())
    return {f"/{p.relative_to(system)}": p.read_text() for p in found if f"/{p.relative_to(system)}" != PROGRAM}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_printed_is_what_is_installed_and_what_is_removed(
    kind: str, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hook(system, kind) == 0
    printed = capsys.readouterr().out
    assert files_of(system) == {}

    assert hook(system, kind, "--install") == 0
    installed = files_of(system)
    assert installed
    for path, text in installed.items():
        mode = (system / path.lstrip("/")).stat().st_mode & 0o777
        assert f"==> {path} (mode {mode:o}) <==\n{text}" in printed
        assert mode == (0o755 if text.startswith("#!") else 0o644)
        assert PROGRAM in text or path.endswith(".timer")
        assert f"`gpudoctor hook {kind} --remove`" in "".join(text.splitlines(keepends=True)[:2])
    said = capsys.readouterr().out
    assert all(f"written: {path}\n" in said for path in installed)

    assert hook(system, kind, "--install") == 0
    assert capsys.readouterr().out == f"the {kind} hook is installed already: nothing to do\n"
    assert files_of(system) == installed

    assert hook(system, kind, "--remove") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"removed: {path}" for path in installed)
    assert files_of(system) == {}
    assert hook(system, kind, "--remove") == 0
    assert capsys.readouterr().out == f"the {kind} hook is not installed: nothing to do\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["file", "link"])
def test_nothing_of_somebody_else_is_overwritten_or_removed(
    kind: str, what: str, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = KINDS[kind].paths[-1]
    place = system / path.lstrip("/")
    place.parent.mkdir(parents=True)
    if what == "file":
        place.write_text("# somebody's own\n")
    else:
        (system / "elsewhere").write_text("# Written by gpudoctor: not here\n")
        place.symlink_to("/elsewhere")
    before = files_of(system)
    assert hook(system, kind, "--install") == 3
    assert f"{path}: there is a file that gpudoctor did not write; nothing was changed" in capsys.readouterr().err
    assert hook(system, kind, "--remove") == 3
    assert f"{path}: gpudoctor did not write that file, and leaves it alone" in capsys.readouterr().err
    assert files_of(system) == before


def test_other_options_replace_what_was_installed_with_the_first(
    system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/etc/apt/apt.conf.d/90gpudoctor"
    assert hook(system, "apt", "--install") == 0
    assert 'GpuDoctor::Enforce "false";' in files_of(system)[path]
    assert hook(system, "apt", "--install", "--enforce") == 0
    assert 'GpuDoctor::Enforce "true";' in files_of(system)[path]
    assert list(files_of(system)) == [path]  # and no half-written file beside it
    capsys.readouterr()
    (system / path.lstrip("/")).write_text(files_of(system)[path] + "// a note of the owner's\n")
    assert hook(system, "apt", "--remove") == 0
    assert capsys.readouterr().out == f"removed: {path}\n"


def test_links_of_the_mounted_system_are_followed_inside_it(system: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (system / "etc/apt").mkdir()
    (system / "srv/settings").mkdir(parents=True)
    (system / "etc/apt/apt.conf.d").symlink_to("/srv/settings")
    assert hook(system, "apt", "--install") == 0
    assert (system / "srv/settings/90gpudoctor").exists()
    assert hook(system, "apt", "--remove") == 0
    assert not (system / "srv/settings/90gpudoctor").exists()


def test_the_list_tells_which_hooks_are_there(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def standing() -> dict[str, str]:
        assert run(["hook", "--root", str(system)]) == 0
        lines = capsys.readouterr().out.splitlines()
        return {lines[i].split()[0]: lines[i + 1].strip() for i in range(0, 2 * len(KINDS), 2)}

    assert standing() == dict.fromkeys(KINDS, "not installed")
    for kind in ("apt", "systemd", "pacman", "cron"):
        assert hook(system, kind, "--install") == 0
    (system / "etc/pacman.d/hooks/zz-gpudoctor-after.hook").unlink()
    (system / "etc/cron.d/gpudoctor").write_text("# somebody's own\n")
    capsys.readouterr()
    seen = standing()
    assert seen["apt"] == "installed"
    assert seen["systemd"].startswith("installed, not started. To start it: systemctl ")
    assert seen["pacman"] == "installed, but /etc/pacman.d/hooks/zz-gpudoctor-after.hook is missing"
    assert seen["cron"] == "/etc/cron.d/gpudoctor is not gpudoctor's"
    assert seen["ci"] == "not installed"

    wants = system / "etc/systemd/system/timers.target.wants"
    wants.mkdir()
    (wants / "gpudoctor-check.timer").symlink_to("/etc/systemd/system/gpudoctor-check.timer")
    assert standing()["systemd"] == "installed"
    assert hook(system, "systemd", "--remove") == 3
    assert "`systemctl disable --now gpudoctor-check.timer` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kernal"], "there is no hook 'kernal'; is 'kernel' meant?"),
        (["--install"], "which hook? There are apt, kernel,"),
        (["apt", "--install", "--remove"], "two wishes"),
        (["zypper", "--enforce"], "can stop nothing"),
        (["apt", "--notify", "syslog"], "--notify goes with cron and systemd"),
        (["apt", "--expect-gpus", "8"], "--expect-gpus goes with cron, systemd, ci"),
        (["cron", "--notify", "mail:-oQ/tmp x"], "is no address that gpudoctor hands to a mail program"),
        (["cron", "--notify", "mail:$(id)@example.org"], "is no address"),
        (["cron", "--notify", "command:bin/tell"], "by its absolute path"),
        (["cron", "--notify", "command:/bin/sh -c x"], "letters that package managers and the shell"),
        (["cron", "--notify", "pager"], "mail:ADDRESS, syslog, wall or command:/PATH"),
        (["dnf", "--enforce"], "only dnf5 with its actions plugin"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    words: list[str], said: str, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hook(system, *words) == 3
    told = capsys.readouterr().err
    assert told.startswith("gpudoctor: ")
    assert said in told
    assert told.count("\n") == 1
    assert files_of(system) == {}


@pytest.mark.parametrize(
    "program", ["/opt/my tools/gpudoctor", "/opt/$(id)/gpudoctor", '/opt/";x/gpudoctor', "/opt/%n"]
)
def test_a_path_that_somebody_would_read_differently_is_refused(
    program: str, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hook(system, "apt", "--install", program=program) == 3
    assert "each read in their own way" in capsys.readouterr().err
    assert files_of(system) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="asks what others than root can change")
@pytest.mark.parametrize(
    "harm", ["world-writable file", "somebody's file", "world-writable folder", "link of somebody's"]
)
def test_root_is_not_made_to_run_what_others_can_change(
    harm: str, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = system / PROGRAM.lstrip("/")
    match harm:
        case "world-writable file":
            program.chmod(0o757)
        case "somebody's file":
            os.chown(program, 1234, 1234)
        case "world-writable folder":
            program.parent.parent.chmod(0o777)
        case "link of somebody's":
            program.rename(program.with_name("real"))
            program.symlink_to("real")
            os.lchown(program, 1234, 1234)
    assert hook(system, "apt", "--install") == 3
    assert "can be changed by others than root, and a hook would run it as root" in capsys.readouterr().err
    assert not [path for path in files_of(system) if path.startswith("/etc")]
    assert hook(system, "ci", "--install") == 0  # no root runs that one


def test_a_program_that_is_not_there_is_not_installed(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        assert hook(system, "apt", "--install", program="/opt/nothing/gpudoctor") == 3
        assert "No such file or directory, so no hook can run it" in capsys.readouterr().err
    assert run(["hook", "apt", "--install", "--command", "/bin/true"]) == 3
    said = capsys.readouterr().err
    assert "`/bin/true` does not run gpudoctor" in said or "only root can" in said
    assert run(["hook", "apt", "--install", "--root", str(system)]) == 3
    assert "--command says by which path" in capsys.readouterr().err


def test_on_this_machine_only_root_installs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for word in ("--install", "--remove"):
        assert run(["hook", "kernel", word]) == 3
        assert capsys.readouterr().err == (
            f"gpudoctor: hook kernel {word} changes /etc/kernel/postinst.d, which only root can: run it with sudo\n"
        )


def test_where_the_interpreter_alone_does_not_find_gpudoctor_the_executable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where it lies in a folder of its own, which the executable adds to Python's path."""
    bare, called = tmp_path / "python", tmp_path / "bin/gpudoctor"
    called.parent.mkdir()
    for path, text in ((bare, "echo No module named gpudoctor >&2; exit 1"), (called, "echo gpudoctor 0.1.0")):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    monkeypatch.setattr(sys, "argv", [str(called)])
    assert run(["hook", "kernel"]) == 0
    assert f'\n{called} hook run kernel "$1"\n' in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["/usr/lib/python3/gpudoctor/__main__.py"])
    assert run(["hook", "kernel"]) == 3
    assert "does not run gpudoctor when a hook calls it: No module named gpudoctor" in capsys.readouterr().err


def texts(system: Path, kind: str, *words: str) -> dict[str, str]:
    assert hook(system, kind, "--install", *words) == 0
    return files_of(system)


@pytest.mark.parametrize("kind", ["kernel", "zypper", "ci"])
def test_the_scripts_are_good_shell(kind: str, system: Path) -> None:
    for path in texts(system, kind):
        subprocess.run(("sh", "-n", str(system / path.lstrip("/"))), check=True)


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="needs apt")
@pytest.mark.parametrize("enforce", [False, True])
def test_apt_itself_reads_its_settings(enforce: bool, system: Path) -> None:
    texts(system, "apt", *(["--enforce"] if enforce else []))
    (system / "apt.conf").write_text(f'Dir::Etc::Parts "{system}/etc/apt/apt.conf.d";\n')
    environment = {**os.environ, "APT_CONFIG": str(system / "apt.conf")}
    said = subprocess.run(("apt-config", "dump"), env=environment, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    dump = said.stdout
    assert f'GpuDoctor::Enforce "{str(enforce).lower()}";' in dump
    before = f'"GPUDOCTOR_HOOK=apt {PROGRAM} hook run apt-before || test $? != 10";'
    assert f"DPkg::Pre-Install-Pkgs:: {before}" in dump
    assert f'DPkg::Post-Invoke:: "{PROGRAM} hook run apt-after || true";' in dump
    # Under the first word of the command, which is where apt looks for it.
    assert 'DPkg::Tools::Options::GPUDOCTOR_HOOK%3dapt::Version "3";' in dump


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_itself_is_content_with_the_units(system: Path) -> None:
    words = ("--notify", "mail:ops+gpu@example.org", "--notify", "command:/usr/local/bin/tell", "--expect-gpus", "8")
    for name in ("usr/local/bin/tell", "usr/sbin/init"):
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).write_text("#!/bin/sh\n")
        (system / name).chmod(0o755)
    units = [path for path in texts(system, "systemd", *words) if path.startswith("/etc/systemd")]
    # The program must be there for systemd to be content: this machine's true, under the same words.
    service = (system / units[0].lstrip("/")) if units[0].endswith(".service") else system / units[1].lstrip("/")
    command = f"{PROGRAM} hook run watch {' '.join(words)}"
    assert f"ExecStart={command}\n" in service.read_text()
    service.write_text(service.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ("systemd-analyze", "verify", *(str(system / unit.lstrip("/")) for unit in units)),
        capture_output=True,
        text=True,
        check=False,
    )
    about_ours = [line for line in done.stderr.splitlines() if "gpudoctor" in line]
    assert (done.returncode, about_ours) == (0, [])


def test_the_line_for_cron(system: Path) -> None:
    (line,) = [
        line
        for line in texts(system, "cron", "--notify", "syslog")["/etc/cron.d/gpudoctor"].splitlines()
        if line and not line.startswith(("#", "PATH="))
    ]
    assert re.fullmatch(r"\d+ \* \* \* \* root /opt/gpudoctor/bin/gpudoctor hook run watch --notify syslog", line)


def test_dnf5_holds_a_conversation_only_with_a_plugin_that_can(system: Path) -> None:
    path = "/etc/dnf/libdnf5-plugins/actions.d/gpudoctor.actions"
    assert "mode=json" not in texts(system, "dnf")[path]
    assert f"post_transaction:*nvidia*:::{PROGRAM} hook run dnf-after\n" in texts(system, "dnf")[path]
    plugin = system / "usr/lib64/libdnf5/plugins/actions.so"
    plugin.parent.mkdir(parents=True)
    plugin.write_bytes(b"\x7fELF\0packages\0trans_packages\0")
    rules = [line for line in texts(system, "dnf", "--enforce")[path].splitlines() if not line.startswith("#")]
    assert rules == [
        f"pre_transaction:::mode=json:{PROGRAM} hook run dnf-before --enforce",
        f"post_transaction::::{PROGRAM} hook run dnf-after --noted",
    ]


@pytest.mark.parametrize(
    ("code", "verdict", "said"),
    [
        (0, 0, ""),
        (1, 0, "could not tell"),  # what Python ends with where it cannot even begin
        (2, 1, "does not work"),
        (3, 0, "could not tell"),
        (124, 0, "no answer in 90 s"),
        (127, 0, "could not tell"),
    ],
)
@pytest.mark.parametrize("runner", ["GitHub", "GitLab"])
def test_only_a_sick_gpu_fails_a_job(
    code: int, verdict: int, said: str, runner: str, tmp_path: Path, system: Path
) -> None:
    """GitHub's runner calls bash with -e, GitLab's runs it among other commands."""
    program = tmp_path / "gpudoctor"
    form = "github" if runner == "GitHub" else "text"
    asked = f"check --expect-gpus 8 --quiet --exit-map nagios --fail-on unknown --format {form}"
    # In the root folder, not in a checkout that may bring settings of its own; and no summary of every job.
    program.write_text(f'#!/bin/sh\n[ "$*$GITHUB_STEP_SUMMARY in $PWD" = "{asked} in /" ] || exit 2\nexit {code}\n')
    program.chmod(0o755)
    assert hook(system, "ci", "--install", "--expect-gpus", "8") == 0
    script = system / "etc/gpudoctor/job-started.sh"
    script.write_text(script.read_text().replace(PROGRAM, str(program)))
    environment = {"PATH": os.environ["PATH"], "GITHUB_STEP_SUMMARY": "/no/such/file"}
    environment |= {"GITHUB_ACTIONS": "true"} if runner == "GitHub" else {}
    done = subprocess.run(("bash", "-e", str(script)), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == verdict
    if not said:
        assert done.stdout + done.stderr == ""
    elif runner == "GitHub":
        level = "error" if verdict else "warning"
        assert done.stdout.startswith(f"::{level} title=gpudoctor::")
        assert said in done.stdout
    else:
        assert done.stderr.startswith("gpudoctor: ")
        assert said in done.stderr


def job_started(system: Path, program: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The installed script with this text of a shell in place of gpudoctor, and a limit of one second."""
    place = system / "program"
    place.write_text(f"#!/bin/sh\n{program}\n")
    place.chmod(0o755)
    assert hook(system, "ci", "--install") == 0
    script = system / "etc/gpudoctor/job-started.sh"
    text = script.read_text().replace(PROGRAM, str(place))
    assert text.count("timeout -k 10 90") == 1
    script.write_text(text.replace("timeout -k 10 90", "timeout -k 1 1") if "sleep" in program else text)
    everything = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run((script,), env=everything, capture_output=True, text=True, check=False)


def test_the_cause_is_an_annotation_of_the_job(system: Path) -> None:
    machine = Path(__file__).parents[1] / "machines/bookworm-kernel-upgraded-no-headers.json"
    program = f'exec {sys.executable} -m gpudoctor "$@" --snapshot {machine}'
    done = job_started(system, program, GITHUB_ACTIONS="true")
    assert (done.returncode, done.stderr) == (1, "")
    cause, verdict = done.stdout.splitlines()
    assert cause.startswith("::error title=gpudoctor kernel.headers-missing::The headers of kernel ")
    assert verdict.startswith(
        "::error title=gpudoctor::the GPU of this runner does not work: gpudoctor names the cause"
    )


@pytest.mark.slow
def test_a_gpudoctor_that_hangs_holds_no_job_up(system: Path) -> None:
    done = job_started(system, "trap '' TERM; sleep 30 & wait; sleep 30")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "gpudoctor: gpudoctor gave no answer in 90 s: the job goes on"
