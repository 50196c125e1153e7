"""What the README shows is what the program prints."""

import re
from pathlib import Path

import pytest
from command_line import calls, gpudoctor

from gpudoctor.cli.settings import found_settings
from gpudoctor.exit_codes import EXIT_MAPS

README = Path(__file__).parents[2] / "README.md"
COMMAND = "check --snapshot tests/machines/bookworm-kernel-upgraded-no-headers.json"


def _timeless(text: str) -> str:
    return re.sub(r"\(\d+ ms,", "(N ms,", " ".join(text.split()))


def test_the_example_is_a_real_run() -> None:
    block = README.read_text(encoding="utf-8").partition("```console\n")[2].partition("```")[0]
    first, _, shown = block.partition("\n")
    assert first == f"$ gpudoctor {COMMAND}"
    machine = Path(__file__).parents[1] / "machines/bookworm-kernel-upgraded-no-headers.json"
    assert _timeless(gpudoctor("check", "--snapshot", str(machine)).stdout) == _timeless(shown)


def _section(title: str) -> str:
    return README.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("title", ["Formats and exit codes", "Acknowledge a finding", "In cron"])
def test_every_command_of_the_section_runs_as_written(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    call = calls(capfd)
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", _section(title), re.DOTALL) for line in block.splitlines()
    ]
    assert lines
    for line in lines:
        first, *words = line.split()
        assert first == "gpudoctor"
        done = call(*words)
        assert "Usage:" not in done.err
        assert not done.err.startswith("gpudoctor: cannot"), done.err
        assert not {"--output", "--save-baseline"} & {*words} or Path(words[-1]).exists()


def test_the_settings_of_the_readme_can_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```toml\n(.*?)```", _section("Formats and exit codes"), re.DOTALL)
    Path("gpudoctor.toml").write_text(block)
    assert None not in found_settings(None)._replace(deep_timeout=1.0)


def test_the_table_of_exit_codes_is_the_one_that_is_kept() -> None:
    rows = re.findall(
        r"^\| `(\w+)`.*? \| (\d+) \| (\d+) \| (\d+) \| `(\w+)` \|$", _section("Formats and exit codes"), re.M
    )
    assert [(name, (int(e), int(w), int(u), fail_on)) for name, e, w, u, fail_on in rows] == [*EXIT_MAPS.items()]
