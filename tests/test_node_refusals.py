"""Where NVML fails without a reason, its probe tries the device nodes itself: a container's rules may forbid them."""

import socket
from pathlib import Path

import pytest
from imaginary_machines import Environment, eight_gpus
from probe_children import ask

from gpudoctor.probes.device_files import node_refusals

pytest_plugins = ["native_libraries"]


def test_each_node_is_told_with_the_error_of_opening_it(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()  # opens
    (tmp_path / "nvidia1").mkdir()
    (tmp_path / "nvidia2").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "nvidiactl"))
        for name in ("nvidia-uvm", "nvidia-caps", "nvidia", "null"):
            (tmp_path / name).mkdir()
        refused = node_refusals(str(tmp_path))
    assert refused == {"/dev/nvidia1": "EISDIR", "/dev/nvidia2": "ENOENT", "/dev/nvidiactl": "ENXIO"}


@pytest.mark.parametrize("code", [999, 17])
def test_looked_for_where_nvml_has_no_reason(environment: Environment, code: int) -> None:
    answer = ask("nvml", environment(eight_gpus(nvmlInit=code)))
    assert answer["return_code"] == code
    assert isinstance(answer["node_refusals"], dict)


def test_other_answers_speak_for_themselves(environment: Environment) -> None:
    assert "node_refusals" not in ask("nvml", environment(eight_gpus(nvmlInit=18)))
