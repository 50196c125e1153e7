"""What NVML and CUDA answer: not at all, or for fewer GPUs than there are."""

import pytest
from gpu_machines import (
    ADDRESS,
    DOCKER,
    NEW,
    SECOND,
    TWO,
    WSL,
    answer,
    cuda,
    evidence_of,
    finding,
    findings,
    gpu,
    ids_for,
    nvml,
    status,
)

from gpudoctor import Severity
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.pci import PciGpus
from gpudoctor.findings import Status

NVML, CUDA, LISTED = "driver.nvml-failed", "driver.cuda-init-failed", "driver.gpu-missing-in-nvml"


@pytest.mark.parametrize("check", [NVML, CUDA, LISTED])
def test_fine_on_a_healthy_machine(check: str) -> None:
    assert status(check) is Status.OK


# driver.nvml-failed


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4, "may not use the GPU"),
        (9, "no loaded driver"),
        (12, "cannot be loaded"),
        (15, "fallen off the bus"),
        (17, "operating system denies"),
        (18, "different versions"),
        (999, "no name for"),
        (12345, "seldom seen"),
    ],
)
def test_nvml_that_cannot_start(code: int, words: str) -> None:
    found = finding(NVML, nvml(code=code, name=f"NVML_ERROR_{code}"))
    assert words in found.summary
    assert f"(NVML_ERROR_{code} {code})" in found.summary
    assert f"nvmlInit: {code} NVML_ERROR_{code}: said by NVML" in evidence_of(found)
    assert found.remedy


def test_container_that_lost_its_gpu() -> None:
    found = finding(NVML, DOCKER, nvml(code=999, name="NVML_ERROR_UNKNOWN"))
    assert found.remedy.startswith("Restart the container")
    assert "nvidia.com/gpu=all" in found.remedy


def test_windows_driver_under_wsl() -> None:
    found = finding(NVML, WSL, PciGpus(()), nvml(code=17, name="NVML_ERROR_OPERATING_SYSTEM"))
    assert "driver of Windows" in found.remedy


@pytest.mark.parametrize("check", [NVML, CUDA])
@pytest.mark.parametrize("gpus", [PciGpus(()), PciGpus((gpu(driver="vfio-pci"),))], ids=["no GPU", "all for machines"])
def test_no_gpu_to_answer_for(check: str, gpus: PciGpus) -> None:
    assert status(check, gpus, nvml(code=9), cuda(100)) is Status.OK


@pytest.mark.parametrize(("check", "fact"), [(NVML, Nvml), (LISTED, Nvml), (CUDA, Cuda)])
def test_no_answer_is_unknown(check: str, fact: type) -> None:
    assert status(check, without=(fact,)) is Status.UNKNOWN


# driver.cuda-init-failed


@pytest.mark.parametrize(
    ("code", "words", "remedy"),
    [
        (34, "stub", "stubs folder"),
        (100, "sees no GPU", "CUDA_VISIBLE_DEVICES"),
        (802, "links between the GPUs", "nvidia-fabricmanager"),
        (803, "does not fit the loaded driver", "compat"),
        (804, "forward compatibility", "compat"),
        (999, "no name for", "nvidia_uvm"),
        (12345, "seldom seen", "kernel's log"),
    ],
)
def test_cuda_that_cannot_start(code: int, words: str, remedy: str) -> None:
    path = "/usr/local/cuda/compat/libcuda.so.575.57.08"
    found = finding(CUDA, cuda(code, f"CUDA_ERROR_{code}", path))
    assert words in found.summary
    assert remedy in found.remedy
    told = evidence_of(found)
    assert f"cuInit: {code} CUDA_ERROR_{code}" in told
    assert path in told
    assert NEW in told


def test_libcuda_that_cannot_be_loaded() -> None:
    error = "libcuda.so.1: cannot open shared object file: No such file or directory"
    found = finding(CUDA, cuda(None, "", "", error))
    assert error in found.summary
    assert "Install the package that brings libcuda.so.1" in found.remedy


def test_cuda_in_a_container() -> None:
    assert finding(CUDA, DOCKER, cuda(100)).remedy.startswith("Restart the container")
    assert "compat" in finding(CUDA, DOCKER, cuda(803)).remedy


# driver.gpu-missing-in-nvml


def test_gpu_that_nvml_does_not_list() -> None:
    found = finding(LISTED, TWO, nvml(answer()))
    assert (
        found.summary
        == f"GPU {SECOND} (NVIDIA A100-SXM4-80GB) is held by the NVIDIA driver, but NVML does not list it."
    )
    assert found.subject == SECOND
    assert f"NVML: 1 listed: {ADDRESS}" in evidence_of(found)


def test_gpu_that_no_driver_has_while_another_works() -> None:
    unbound = PciGpus((gpu(), gpu(address=SECOND, driver="")))
    found = finding(LISTED, unbound, nvml(answer()))
    assert found.subject == SECOND
    assert "has no driver, while the NVIDIA driver serves others" in found.summary
    assert found.severity is None  # the check's own: an error
    assert finding(LISTED, unbound, nvml(answer()), ExpectedGpus(1)).severity is Severity.INFO


def test_gpu_that_gives_no_handle_is_found_by_elimination() -> None:
    found = finding(LISTED, TWO, nvml(answer(), answer(1, code=999, name="NVML_ERROR_UNKNOWN")))
    assert found.subject == SECOND
    assert "(NVML_ERROR_UNKNOWN 999)" in found.summary
    assert "nvidia-smi -i 1 -r" in found.remedy


def test_half_dead_gpu_leaves_the_others_alone() -> None:
    errors = dict.fromkeys(("temperature_c", "power_w", "memory_used_bytes"), "NVML_ERROR_UNKNOWN")
    found = finding(LISTED, TWO, nvml(answer(), answer(1, SECOND, **errors)))
    assert found.subject == SECOND
    assert "gives errors in place of values: memory_used_bytes, power_w, temperature_c" in found.summary
    assert found.severity is None  # the check's own: an error
    assert "NVML, GPU 1, power_w: NVML_ERROR_UNKNOWN" in evidence_of(found)


def test_one_broken_sensor_is_a_warning_and_an_unknown_size_of_memory_is_not() -> None:
    assert finding(LISTED, nvml(answer(power_w="NVML_ERROR_UNKNOWN"))).severity is Severity.WARNING
    assert finding(LISTED, nvml(answer(memory_total_bytes="NVML_ERROR_UNKNOWN"))).severity is None


def test_two_sick_gpus_are_two_findings() -> None:
    assert [f.subject for f in findings(LISTED, TWO, nvml())] == [ADDRESS, SECOND]


@pytest.mark.parametrize(
    "facts",
    [
        (nvml(answer()._replace(memory_total_bytes=None, persistence_mode=None)),),
        (PciGpus((gpu(), gpu(address=SECOND, driver="vfio-pci"))),),
        (DOCKER, TWO),
        (TWO, nvml(answer(), answer(1, code=15, name="NVML_ERROR_GPU_IS_LOST"))),
        (TWO, nvml(code=9)),
    ],
    ids=["N/A is no sickness", "given to a virtual machine", "not given to this container", "lost: told", "NVML: told"],
)
def test_gpus_that_are_not_missing(facts: tuple[object, ...]) -> None:
    assert status(LISTED, *facts) is Status.OK


def test_missing_gpus_need_the_bus() -> None:
    assert status(LISTED, without=(PciGpus,)) is Status.UNKNOWN
    assert finding(LISTED, nvml(answer(name="", uuid="NVML_ERROR_UNKNOWN")), without=(PciGpus,)).subject == ADDRESS


# symptoms


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("Failed to initialize NVML: Unknown Error", NVML),
        ("Failed to initialize NVML: GPU access blocked by the operating system", NVML),
        ("RuntimeError: No CUDA GPUs are available", CUDA),
        ("no CUDA-capable device is detected", CUDA),
        ("Error 804: forward compatibility was attempted on non supported HW", CUDA),
        ("[Unknown Error]", LISTED),
        ("| ERR!   53C    P0    ERR! / 250W |", LISTED),
    ],
)
def test_message_belongs_to_one_check(message: str, check: str) -> None:
    assert ids_for(message) == [check]


def test_a_mixture_of_versions_may_be_an_upgrade_without_a_reboot() -> None:
    message = "Error 803: system has unsupported display driver / cuda driver combination"
    assert ids_for(message) == [CUDA, "driver.library-mismatch"]
