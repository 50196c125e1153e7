"""Texts about GPUs that are ill, slow, or not let go of: what each is told first."""

import pytest
from diagnoses import told

TEXTS = [
    # What DCGM's health watches and its diagnostic say.
    ("health.thermal-throttle", "Detected clocks event due to thermal violation in GPU 2."),
    ("health.thermal-throttle", "Detected clock throttling due to thermal violation in GPU 2."),
    ("health.thermal-throttle", "There were thermal violations totaling 7.5 seconds for GPU 1"),
    ("health.power-throttle", "Detected clocks event due to power violation in GPU 0."),
    ("health.ecc-uncorrectable", "Detected 3 volatile double-bit ECC error(s) in GPU 2."),
    ("health.row-remap", "A pending retired page has been detected in GPU 6."),
    ("health.row-remap", "GPU 5 had uncorrectable memory errors and 2 rows were remapped"),
    ("health.row-remap", "GPU 3 had memory errors and row remappings are pending"),
    ("health.nvlink-error", "GPU 3's NvLink link 4 is currently down"),
    ("health.nvlink-error", "Detected 9 replay NvLink errors on GPU 1's NVLink (should be 0)"),
    ("health.nvlink-error", "Detected fatal errors on NvSwitch 2 link 5"),
    ("health.nvlink-error", "Only 16 NvLinks are up out of the expected 18"),
    ("pci.link-degraded", "GPU 2 is running at PCI link width 4X, which is below the minimum allowed link generation"),
    ("gpu.reset-required", "GPU 3 requires a reset to recover from a fault. Recovery action: 1 (GPU_RESET)."),
    (
        "driver.gpu-missing-in-nvml",
        "The number of devices NVML returns is different than the number of devices in /dev.",
    ),
    ("health.fallen-off-bus", "under load the 4090 falls off the bus, at rest it stays"),
    ("health.fallen-off-bus", "GPU1 fell off the PCIe bus twice this week"),
    (
        "gpu.memory-without-process",
        "|    0     31794    C   Unknown Error                      5371MiB |\n"
        "|    1      7653    C   python                             5369MiB |",
    ),
    ("container.shared-memory-small", "Fatal Python error: Bus error\n#0 ncclShmOpen (libnccl.so.2)"),
    ("container.requires-newer-driver", "nvidia-docker | Error: unsupported CUDA version: driver 7.5 < image 8.0"),
    ("fabric.manager-version-mismatch", "nv-fabricmanager refuses to start, its interface must match exactly"),
    ("fabric.manager-not-ready", "numba: [802] Call to cuInit results in UNKNOWN_CUDA_ERROR"),
    ("cuda.forward-compat-mismatch", "numba: [803] Call to cuInit results in UNKNOWN_CUDA_ERROR"),
    ("cuda.stub-library", "numba: [34] Call to cuInit results in UNKNOWN_CUDA_ERROR"),
    (
        "driver.library-mismatch",
        "(EE) NVIDIA: API mismatch: the NVIDIA kernel module has version 470.57, but this NVIDIA driver component "
        "has version 470.63",
    ),
    ("kernel.uvm-wedged", "nvidia-container-cli: initialization error: cuda error: unknown error"),
    ("kernel.module-build-failed", "make[2]: *** [/k/Makefile:1937: /var/lib/dkms/nvidia/470.239.06/build] Chyba 2"),
    # People's own words.
    ("driver.library-mismatch", "nvidia-smi says that driver and library versions don't match"),
    ("kernel.module-missing", "After a kernel upgrade nvidia-smi can't talk to the driver any more"),
    ("kernel.mok-enrolment-pending", "I skipped the blue MOK screen, now the nvidia driver is not there"),
    ("kernel.secure-boot-blocks-module", "secure boot refuses the nvidia module"),
    ("kernel.nouveau-bound", "nouveau is the kernel driver in use"),
    ("kernel.uvm-not-loaded", "CUDA gives unknown error until I sudo modprobe nvidia_uvm"),
    ("kernel.uvm-wedged", "After waking: unknown error. rmmod nvidia_uvm and modprobe nvidia_uvm fixes it"),
    ("fabric.manager-version-mismatch", "fabric manager 535.161 doesn't match driver version 535.183"),
    ("gpu.mig-no-instances", "MIG mode is enabled but no MIG devices exist"),
    ("health.power-throttle", "HW Power Brake Slowdown is Active, the card stays at 100 W"),
    ("wsl.host-too-old", "WSL has no /dev/dxg"),
    ("devices.nodes-missing", "slurmd: error: Waiting for gres.conf file /dev/nvidia0"),
]
HEALTHY = [
    "Detected nonfatal errors on NvSwitch 2 link 5",
    "Thermal violations: 0\nPower violations: 0\nPCIe replays: 0",
    "Overall Health: Healthy\nNvLink: Healthy\nThermal: Healthy",
    "|    0   N/A  N/A     31794      C   python3                      5371MiB |",
    # The name of a process that is somebody else's.
    "GPU-9d32cee8-9537-2522-d0ab-7d8e1f15ae5a, 1884, [N/A], [Insufficient Permissions]",
    "device-side assert triggered\nLoss.cu:250: block: [0,0,0] Assertion `t >= 0 && t < n_classes` failed.",
    "GPU available: True (cuda), used: True\nLOCAL_RANK: 0 - CUDA_VISIBLE_DEVICES: [0,1]",
    "OSError: [Errno 28] No space left on device: /home/u/.cache/huggingface/hub/tmp123",
    "the game was thrown off the bus routes of the map",
]


@pytest.mark.parametrize(("first", "text"), TEXTS)
def test_what_a_text_is_told_first(first: str, text: str) -> None:
    assert told(text)[:1] == [first]


@pytest.mark.parametrize("text", HEALTHY)
def test_nothing_is_told_of_what_works(text: str) -> None:
    assert told(text) == []
