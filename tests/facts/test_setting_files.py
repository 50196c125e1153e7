"""The texts that repairs of start-up files begin with."""

from pathlib import Path

import pytest
from disk_trees import facts_on

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderConfig
from gpudoctor.facts.setting_files import SettingFiles, folders_listed
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import SnapshotHost

LINE = "export CUDA_HOME=/usr/local/cuda\n"


def files_on(folder: Path, files: dict) -> SettingFiles:
    return facts_on(folder, files).get(SettingFiles)


def test_files_with_settings_alone(tmp_path: Path) -> None:
    found = files_on(
        tmp_path,
        {
            "/etc/profile": "umask 022\n",
            "/etc/profile.d/cuda.sh": "-> /opt/site/cuda.sh",
            "/opt/site/cuda.sh": LINE,
            "/etc/ld.so.conf": "/opt/lib\n",
        },
    )
    assert set(found.files) == {"/etc/profile.d/cuda.sh", "/etc/ld.so.conf"}
    assert found.files["/etc/profile.d/cuda.sh"][:2] == ("/opt/site/cuda.sh", LINE)
    assert found.files["/etc/ld.so.conf"].text == "/opt/lib\n"
    assert found.problems == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LINE.encode() + b"# \xe9t\xe9\n", "no plain UTF-8"),
        (LINE.encode() + b"\0\n", "no plain UTF-8"),
        (LINE.encode() + b"# long\n" * 60_000, "too large"),
    ],
)
def test_what_no_program_should_rewrite(tmp_path: Path, content: bytes, reason: str) -> None:
    found = files_on(tmp_path, {"/etc/profile.d/cuda.sh": content})
    assert found.files == {}
    assert reason in found.problems["/etc/profile.d/cuda.sh"]


def test_a_snapshot_has_no_whole_files() -> None:
    load_plugins()
    with pytest.raises(Unavailable, match="single lines"):
        Facts(SnapshotHost({}), {Environment: Environment({}, ()), LoaderConfig: LoaderConfig(())}).get(SettingFiles)


@pytest.mark.parametrize(
    ("value", "folders"),
    [
        ("/a/lib64:/b/:$LD_LIBRARY_PATH", ("/a/lib64", "/b")),
        ("/a${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}", ("/a",)),
        ("${LD_LIBRARY_PATH}", ()),
        ("", ()),
        ("/a;/b", ("/a", "/b")),
    ],
)
def test_folders_listed(value: str, folders: tuple[str, ...]) -> None:
    assert folders_listed(value) == folders
