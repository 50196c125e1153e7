"""Environment variables of interest, and the lines of files that set them."""

from pathlib import Path

import pytest
from disk_trees import DEBIAN, disk
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.facts.environment import (
    Environment,
    Setting,
    is_of_interest,
    read_settings,
    relevant_environ,
    relevant_settings,
)
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

load_plugins()

ENVIRON = (
    "HOME=/home/ada\0PATH=/usr/local/bin:/usr/bin\0LD_LIBRARY_PATH=/a:/b;/c::\0CUDA_VISIBLE_DEVICES=\0"
    "HF_TOKEN=hf_1\0CUDA_API_KEY=k\0CONDA_TOKEN=t\0UV_INDEX_URL=https://ada:word@mirror.invalid/simple\0"
    "UV_DEFAULT_INDEX=https://mirror.invalid/@scope\0CONDA_PREFIX=/opt/conda\0VIRTUAL_ENV=/home/ada/.venv\0"
    "EDITOR=vi\0TORCH_CUDA_ARCH_LIST=8.0=x\0"
)
HOME: dict[str, str | bytes] = {
    "/proc/self/environ": ENVIRON,
    "/etc/environment": 'PATH="/usr/bin:/bin"\n# CUDA_HOME=/gone\nCUDA_HOME=/usr/local/cuda-12.4\n',
    "/etc/profile.d/cuda.sh": "export CUDA_HOME=/opt/cuda\n",
    "/etc/profile.d/cuda.csh": "setenv CUDA_HOME /opt/cuda\n",
    "/etc/zsh/zshenv": "CUDA_CACHE_PATH=/tmp/c\n",
    "/home/ada/.bashrc": (
        "alias ll='ls -l'\n\nexport LD_LIBRARY_PATH=/a:\\\n/b:$LD_LIBRARY_PATH\nexport JAX_PLATFORMS=cpu\n"
    ),
    "/home/ada/.pam_environment": "CUDA_DEVICE_ORDER DEFAULT=PCI_BUS_ID\nNCCL_DEBUG=INFO\n",
    "/home/ada/.config/environment.d/50-gpu.conf": 'CUDA_MODULE_LOADING=LAZY\nNCCL_P2P_DISABLE="1"\n',
    "/home/ada/.config/fish/config.fish": "set -gx LD_LIBRARY_PATH /x /y $LD_LIBRARY_PATH\n",
    "/home/ada/.venv/bin/activate": 'VIRTUAL_ENV="/home/ada/.venv"\nexport VIRTUAL_ENV\nPS1="(x) $PS1"\n',
    "/opt/conda/etc/conda/activate.d/cuda.sh": 'export CUDA_HOME="$CONDA_PREFIX"\n',
}


def test_a_living_machine_and_its_snapshot(tmp_path: Path) -> None:
    disk(tmp_path, HOME)
    recording = RecordingHost(MachineTree(str(tmp_path)))
    found = Facts(recording).get(Environment)
    assert found.variables == {
        "HOME": "/home/ada",
        "PATH": "/usr/local/bin:/usr/bin",
        "LD_LIBRARY_PATH": "/a:/b;/c::",
        "CUDA_VISIBLE_DEVICES": "",
        "UV_DEFAULT_INDEX": "https://mirror.invalid/@scope",
        "CONDA_PREFIX": "/opt/conda",
        "VIRTUAL_ENV": "/home/ada/.venv",
        "TORCH_CUDA_ARCH_LIST": "8.0=x",
    }
    assert found.folders("LD_LIBRARY_PATH") == ("/a", "/b", "/c")
    assert [(setting.name, setting.value, setting.path, setting.line) for setting in found.settings] == [
        ("PATH", "/usr/bin:/bin", "/etc/environment", 1),
        ("CUDA_HOME", "/usr/local/cuda-12.4", "/etc/environment", 3),
        ("CUDA_CACHE_PATH", "/tmp/c", "/etc/zsh/zshenv", 1),
        ("CUDA_HOME", "/opt/cuda", "/etc/profile.d/cuda.sh", 1),
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID", "/home/ada/.pam_environment", 1),
        ("NCCL_DEBUG", "INFO", "/home/ada/.pam_environment", 2),
        ("LD_LIBRARY_PATH", "/a:/b:$LD_LIBRARY_PATH", "/home/ada/.bashrc", 3),
        ("JAX_PLATFORMS", "cpu", "/home/ada/.bashrc", 5),
        ("LD_LIBRARY_PATH", "/x:/y:$LD_LIBRARY_PATH", "/home/ada/.config/fish/config.fish", 1),
        ("CUDA_MODULE_LOADING", "LAZY", "/home/ada/.config/environment.d/50-gpu.conf", 1),
        ("NCCL_P2P_DISABLE", "1", "/home/ada/.config/environment.d/50-gpu.conf", 2),
        ("CUDA_HOME", "$CONDA_PREFIX", "/opt/conda/etc/conda/activate.d/cuda.sh", 1),
        ("VIRTUAL_ENV", "/home/ada/.venv", "/home/ada/.venv/bin/activate", 1),
    ]
    assert found.set_by("LD_LIBRARY_PATH")[0].text == "export LD_LIBRARY_PATH=/a:\\\n/b:$LD_LIBRARY_PATH"
    assert (found.unknown, found.unread) == ("", ())
    assert Facts(SnapshotHost(recording.answers)).get(Environment) == found


def test_a_disk_has_no_variables_but_files(tmp_path: Path) -> None:
    found = Facts(disk(tmp_path, {key: value for key, value in HOME.items() if "/proc" not in key})).get(Environment)
    assert found.variables == {}
    assert "not running" in found.unknown
    assert {setting.path for setting in found.settings} == {
        "/etc/environment",
        "/etc/zsh/zshenv",
        "/etc/profile.d/cuda.sh",
    }


def test_a_snapshot_that_was_not_asked_is_unknown() -> None:
    with pytest.raises(Unavailable, match="not in the snapshot"):
        Facts(SnapshotHost({})).get(Environment)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    loop: dict[str, str | bytes] = {"/etc/os-release": DEBIAN, "/etc/environment": "-> environment"}
    found = Facts(disk(tmp_path, loop)).get(Environment)
    assert len(found.unread) == 1
    assert found.unread[0].startswith("/etc/environment: ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("export CUDA_HOME=/usr/local/cuda", [("CUDA_HOME", "/usr/local/cuda")]),
        ("  CUDA_HOME=/a", [("CUDA_HOME", "/a")]),
        ('export LD_LIBRARY_PATH="/x:$LD_LIBRARY_PATH"', [("LD_LIBRARY_PATH", "/x:$LD_LIBRARY_PATH")]),
        (
            "export PATH=/usr/local/cuda-8.0/bin${PATH:+:${PATH}}  # as the guide says",
            [("PATH", "/usr/local/cuda-8.0/bin${PATH:+:${PATH}}")],
        ),
        ("export CUDA_HOME='/a b'/c", [("CUDA_HOME", "/a b/c")]),
        ("export CUDA_HOME=/a\\ b", [("CUDA_HOME", "/a b")]),
        ("export CUDA_HOME=/a CUDA_PATH=/b", [("CUDA_HOME", "/a"), ("CUDA_PATH", "/b")]),
        ("CUDA_HOME=/a; export CUDA_HOME", [("CUDA_HOME", "/a")]),
        ("if true; then export CUDA_HOME=/a; fi", [("CUDA_HOME", "/a")]),
        ("[ -d /a ] && export CUDA_HOME=/a", [("CUDA_HOME", "/a")]),
        ("declare -x CUDA_HOME=/a", [("CUDA_HOME", "/a")]),
        ("setenv CUDA_HOME /a", [("CUDA_HOME", "/a")]),
        ("PATH+=:/a", [("PATH", "$PATH:/a")]),
        ("export CUDA_VISIBLE_DEVICES=", [("CUDA_VISIBLE_DEVICES", "")]),
        ('export CUDA_VISIBLE_DEVICES=""', [("CUDA_VISIBLE_DEVICES", "")]),
        ("export CUDA_HOME=$(dirname $(dirname /a/b; echo))", [("CUDA_HOME", "$(dirname $(dirname /a/b; echo))")]),
        ("export CUDA_HOME=/a#b", [("CUDA_HOME", "/a#b")]),
        ("export CUDA_HOME=/a\r", [("CUDA_HOME", "/a")]),
        ("CUDA_VISIBLE_DEVICES=0 python train.py", []),
        ("# export CUDA_HOME=/a", []),
        ("echo x # export CUDA_HOME=/a", []),
        ("export CUDA_HOME", []),
        ("unset CUDA_HOME", []),
        ("echo 'CUDA_HOME=/a'", []),
        ("alias cuda='CUDA_HOME=/a make'", []),
        ("export EDITOR=vi", []),
        ("MY_CUDA_HOME=/a", []),
        ("export HF_TOKEN=hf_1 CUDA_HOME=/a", []),
        ("export CUDA_HOME='/a", [("CUDA_HOME", "/a")]),
    ],
)
def test_lines_of_a_shell(line: str, expected: list[tuple[str, str]]) -> None:
    found = read_settings(f"\n{line}\n", "/root/.bashrc")
    assert found == [Setting(name, value, "/root/.bashrc", 2, line) for name, value in expected]


@pytest.mark.parametrize(
    ("path", "line", "expected"),
    [
        ("/etc/environment", 'LD_LIBRARY_PATH="/a:/b c"', [("LD_LIBRARY_PATH", "/a:/b c")]),
        ("/etc/environment", "export CUDA_HOME=/a", [("CUDA_HOME", "/a")]),
        ("/etc/environment", "#CUDA_HOME=/a", []),
        ("/etc/security/pam_env.conf", "CUDA_HOME DEFAULT=/a OVERRIDE=/b", [("CUDA_HOME", "/b")]),
        ("/etc/security/pam_env.conf", 'CUDA_HOME DEFAULT="" OVERRIDE=', [("CUDA_HOME", "")]),
        ("/etc/security/pam_env.conf", "# CUDA_HOME DEFAULT=/a", []),
        ("/h/.config/environment.d/a.conf", "CUDA_HOME=/a b", [("CUDA_HOME", "/a b")]),
        ("/h/.config/fish/config.fish", "set -x CUDA_VISIBLE_DEVICES -1", [("CUDA_VISIBLE_DEVICES", "-1")]),
        ("/h/.config/fish/config.fish", "set --global --export CUDA_HOME /a", [("CUDA_HOME", "/a")]),
        ("/h/.config/fish/config.fish", "set -g CUDA_HOME /a", []),
        ("/h/.config/fish/config.fish", "set -e CUDA_HOME", []),
    ],
)
def test_lines_of_other_languages(path: str, line: str, expected: list[tuple[str, str]]) -> None:
    assert [(found.name, found.value) for found in read_settings(line, path)] == expected


def test_what_a_snapshot_keeps_tells_the_same() -> None:
    kept = relevant_environ(ENVIRON)
    assert not any(word in kept for word in ("hf_1", "word", "EDITOR"))
    assert kept.startswith("HOME=/home/ada\0PATH=")
    assert kept.endswith("=8.0=x\0")
    text = (
        "secret stuff\n\nexport A=1\nexport LD_LIBRARY_PATH=/a:\\\n/b\nalias x='y \\\nz'\n"
        "export PATH=/p\nexport WANDB_API_KEY=k CUDA_HOME=/c"
    )
    trimmed = relevant_settings(text, "/root/.bashrc")
    assert trimmed == "\n\n\nexport LD_LIBRARY_PATH=/a:\\\n/b\n\n\nexport PATH=/p\n\n"
    assert read_settings(trimmed, "/root/.bashrc") == read_settings(text, "/root/.bashrc") != []
    assert relevant_environ("") == relevant_settings("", "/etc/profile") == ""


PIECES = [
    "export ",
    "CUDA_HOME",
    "API_KEY",
    "=",
    "/a",
    "$",
    "{",
    "}",
    "(",
    "\\",
    "\n",
    "'",
    '"',
    "#",
    ";",
    " ",
    "\r",
    "+=",
]


@given(
    st.lists(st.sampled_from([*PIECES, "setenv ", "set -x ", "DEFAULT=", "\udcff", "\0", "\u2028"])).map("".join),
    st.sampled_from(["/root/.bashrc", "/etc/environment", "/etc/security/pam_env.conf", "/root/config.fish"]),
)
def test_any_text_can_be_read_and_its_trimmed_form_tells_the_same(text: str, path: str) -> None:
    found = read_settings(text, path)
    assert read_settings(relevant_settings(text, path), path) == found
    assert all(1 <= setting.line <= text.count("\n") + 1 and setting.text in text for setting in found)
    assert not any("API_KEY" in setting.name for setting in found)


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CUDAHOSTCXX", "NVCC_CCBIN", "PATH", "TF_CPP_MIN_LOG_LEVEL"])
def test_names_of_interest(name: str) -> None:
    assert is_of_interest(name)


@pytest.mark.parametrize("name", ["PATHS", "UV_PUBLISH_PASSWORD", "CONDA_ANACONDA_TOKEN", "AWS_ACCESS_KEY_ID", "LANG"])
def test_other_names(name: str) -> None:
    assert not is_of_interest(name)
