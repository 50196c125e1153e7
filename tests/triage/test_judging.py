"""Texts whose statements have to be put together: what the checks make of them, and by which lines."""

import pytest

from gpudoctor.findings import Ranked
from gpudoctor.triage.judge import triage

TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 20,000 characters were too many."""
    monkeypatch.setattr("gpudoctor.triage.paste.MOST_CHARACTERS", 20_000)
    monkeypatch.setattr("gpudoctor.triage.paste._HEAD", 5_000)


@pytest.mark.usefixtures("short")
def test_a_text_that_is_too_long_is_read_at_both_ends_and_never_called_healthy() -> None:
    filler = "nothing to see on this line of the log\n" * 1000
    found = triage(f"Driver Version: 535.161.08\n{filler}NVRM: Xid (PCI:0000:04:00): 79, GPU has fallen off the bus.")
    assert found.report.findings[0].check.id == "health.fallen-off-bus"
    assert found.report.findings[0].finding.evidence[0].source == "line 1002"
    nothing = triage(f"Driver Version: 535.161.08\n{filler}")
    assert nothing.report.exit_code == 3
    assert "too long" in nothing.report.untold


def first(text: str) -> Ranked:
    return triage(text).report.findings[0]


def test_the_cuda_that_torch_names_stands_for_the_driver() -> None:
    found = first(f"{TOO_OLD}\ntorch 2.6.0+cu124, RTX 3090")
    assert found.check.id == "cuda.driver-too-old"
    assert "cu118" in found.finding.remedy


@pytest.mark.parametrize(
    "text",
    [
        "2.6.0+cu124 False\nNvidia driver version: 470.256.02",
        "torch==2.6.0+cu124\nFalse\nDriver Version: 470.256.02",
        "torch 2.6.0 cu124, driver 470, RTX 3090: torch.cuda.is_available() is False",
    ],
)
def test_a_driver_too_old_however_it_is_written(text: str) -> None:
    assert first(text).check.id == "cuda.driver-too-old"


def test_a_package_that_cannot_be_found_is_no_driver_that_is_there() -> None:
    done = triage("E: Unable to locate package nvidia-driver-560")
    assert done.shown.driver.version is None
    assert done.report.exit_code == 3


def test_evidence_is_told_by_lines_and_each_once() -> None:
    found = first("first\n[  1.2] NVRM: Xid (PCI:0000:04:00): 79, GPU has fallen off the bus.")
    assert [one.source for one in found.finding.evidence] == ["line 2"]
    variable = first("CUDA_VISIBLE_DEVICES=3\nNo CUDA GPUs are available\nGPU 0: RTX 4090")
    assert ("line 1", "CUDA_VISIBLE_DEVICES=3") in [tuple(one) for one in variable.finding.evidence]
    assert all(one.source.startswith("line ") for one in variable.finding.evidence)


def test_what_the_extension_was_built_for_is_not_what_is_installed() -> None:
    done = triage("xFormers was built for:\n    PyTorch 2.3.0+cu121 with CUDA 1201 (you have 2.4.0+cu121)")
    assert done.shown.python.torch is not None
    assert done.shown.python.torch.value == "2.4.0+cu121"


def test_module_file_module_and_libraries_tell_a_stale_module_from_a_pending_restart() -> None:
    log = (
        "NVRM: API mismatch: the client has the version 570.133.07, but this kernel module has the version 570.124.06."
    )
    stale = first(f"{log}\nfilename: /lib/modules/6.8.0-60-generic/updates/dkms/nvidia.ko\nversion: 570.124.06")
    assert (stale.check.id, stale.certainty) == ("kernel.module-stale", "shown")
    fresh = first(f"{log}\nfilename: /lib/modules/6.8.0-60-generic/updates/dkms/nvidia.ko\nversion: 570.133.07")
    assert fresh.check.id == "driver.library-mismatch"


def test_a_list_of_packages_proves_what_no_message_says() -> None:
    rows = [
        "ii  libnvidia-compute-535:amd64  535.230.02-0ubuntu0.22.04.3  amd64  NVIDIA libcompute package",
        "ii  libnvidia-compute-560:amd64  560.35.05-0ubuntu1  amd64  NVIDIA libcompute package",
    ]
    found = first("\n".join(rows))
    assert (found.check.id, found.certainty) == ("packages.two-branches", "shown")


def test_in_wsl_a_kernel_module_is_no_cause() -> None:
    message = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    assert first(f"5.15.167.4-microsoft-standard-WSL2\n{message}").check.id.startswith("wsl.")


def test_who_has_no_gpu_of_nvidias_is_left_alone() -> None:
    text = (
        "torch 2.6.0+rocm6.2.4, AMD Radeon RX 7900 XTX\nnvidia-smi: command not found\ntorch.cuda.is_available() True"
    )
    assert triage(text).report.findings == ()


@pytest.mark.parametrize(
    ("text", "id", "name"),
    [
        ("Red Hat Enterprise Linux 9.4", "rhel", "rpm"),
        ("Architecture: x86_64", "", "dpkg"),
        ("Arch Linux", "arch", "pacman"),
    ],
)
def test_the_next_command_is_one_of_that_system(text: str, id: str, name: str) -> None:
    done = triage(f"{text}\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    assert done.shown.system.id == id
    assert any(question.command.startswith(name) for question in done.questions)


@pytest.mark.parametrize(
    "text",
    [
        "GPU nvidia: https://example.com/my-1stdeeplearningexperimentwithtransformers-v2",
        "torch 1" + "a" * 5000 + "!",
        "filename: " + "nvidia.ko" * 3000,
    ],
)
def test_no_text_takes_for_ever(text: str) -> None:
    triage(text)


FULL = "packages.disk-full"


@pytest.mark.parametrize(
    "text",
    [
        "torch.save(state, \"/data/last.pt\")\nOSError: [Errno 28] No space left on device: '/data/last.pt'",
        "RuntimeError: PytorchStreamWriter failed writing file data/12\nOSError: [Errno 28] No space left on device",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "Setting up nvidia-dkms-580 (580.95.05) ...\n\ntar: /scratch/x: Cannot write: No space left on device",
        "Setting up cuda-toolkit-12-8 (12.8.1-1) ...\nwandb: OSError: [Errno 28] No space left on device",
        "failed to register layer: write /usr/lib/x86_64-linux-gnu/libcudnn.so.9: no space left on device",
        "#8 41.20 dpkg: error processing archive x.deb (--unpack): failed to write (No space left on device)\n"
        'ERROR: failed to solve: process "/bin/sh -c apt-get install x" did not complete successfully: exit code: 100',
        "Error: ENOSPC: no space left on device, write",
        "mkinitramfs is there\nError: ENOSPC: System limit for number of file watchers reached, watch '/home/me/x'",
    ],
)
def test_a_disk_that_something_else_has_filled_is_no_fault_of_packages(text: str) -> None:
    assert FULL not in [ranked.check.id for ranked in triage(text).report.findings]


@pytest.mark.parametrize(
    "text",
    [
        "cp: error writing '/boot/initrd.img-6.8.0-57-generic': No space left on device",
        "update-initramfs: Generating /boot/initrd.img-6.8.0-57-generic\ngzip: stdout: No space left on device",
        "OSError: [Errno 28] No space left on device: '/var/lib/dpkg/status-new'",
        "depmod: ERROR: openat(/lib/modules/6.8.0/modules.dep.1, 301, 644): No space left on device",
        "dracut[812]: cp: error writing 'libnvidia.so': No space left on device",
        "dkms build\nos.c:1: fatal error: error writing to /tmp/ccX1.s: No space left on device",
        "error: unpacking of archive failed on file /usr/lib64/libcuda.so.580.95.05: cpio: write failed - "
        "No space left on device",
        "No space left on device",
    ],
)
def test_a_disk_that_is_too_full_for_packages_is_told_by_its_message(text: str) -> None:
    assert FULL in [ranked.check.id for ranked in triage(text).report.findings]
