"""Messages as people repeat them in a chat."""

import pytest

from gpudoctor.triage.judge import triage


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("could not select device driver with capabilities gpu, on a fresh box", "container.toolkit-missing"),
        (
            "requirement error unsatisfied condition cuda>=12.8, the node has driver 535",
            "container.requires-newer-driver",
        ),
        (
            "detected CUDA version 11.5 mismatches the version that was used to compile pytorch 12.4",
            "cuda.nvcc-mismatch",
        ),
        ("nvcc fatal unsupported gpu architecture compute_120 for my 5090", "cuda.arch-unsupported-by-nvcc"),
        ("ptxas fatal value sm_121a is not defined for option gpu-name", "triton.ptxas-too-old"),
        ("RmInitAdapter failed (0x62:0x65:1792), nvidia-smi says no devices were found", "driver.rm-init-failed"),
        ("driver 470, cuda 12.1, rtx 3090, torch says no gpu", "cuda.driver-too-old"),
        ("vllm says it requires torch==2.7.1 but you have torch 2.8.0", "python.pin-broken"),
    ],
)
def test_a_message_without_its_marks_names_the_cause(text: str, cause: str) -> None:
    found = triage(text).report.findings
    assert found
    assert found[0].check.id == cause


def test_what_is_told_so_is_not_shown() -> None:
    for text, certainty in [
        ("nvcc fatal   : Unsupported gpu architecture 'compute_120'", "shown"),
        ("nvcc fatal unsupported gpu architecture compute_120", "likely"),
    ]:
        assert triage(text).report.findings[0].certainty == certainty


@pytest.mark.parametrize(
    "text",
    [
        "list_physical_devices('GPU') -> [PhysicalDevice(name='/physical_device:GPU:0', device_type='GPU')]",
        "what is the difference between the CUDA version of nvidia-smi and that of nvcc?",
        "driver 550, cuda 12.4, rtx 3090, torch works",
        "driver 470, nvidia-smi says cuda 12.1 is needed for torch",
        "CUDA out of memory. Tried to allocate 2.00 GiB. Which batch size would you use?",
    ],
)
def test_marks_that_mean_something_are_not_left_out(text: str) -> None:
    assert triage(text).report.findings == ()
