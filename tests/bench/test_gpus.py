"""Which GPUs are tested: from NVML's list, CUDA_VISIBLE_DEVICES and what the user names."""

from typing import Any

import pytest
from imaginary_machines import Environment, a100, eight_gpus, machine
from probe_children import ask

from gpudoctor.bench.devices.device import CannotRun
from gpudoctor.bench.running.gpus import Choice, NoSuchGpu, chosen_gpus
from gpudoctor.host import ProbeAnswer

pytest_plugins = ["native_libraries"]

UUID = "GPU-11111111-2222-3333-4444-55555555555"


@pytest.fixture(scope="module")
def eight() -> ProbeAnswer:
    """As the probe prints it, in what is read here."""
    return probed([gpu(index) for index in range(8)])


def gpu(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "return_code": 0,
        "return_name": "NVML_SUCCESS",
        "message": "Success",
        "uuid": f"{UUID}{index}",
        "name": "NVIDIA A100-SXM4-80GB",
        "pci_address": f"0000:{7 + index:02x}:00.0",
        "memory_total_bytes": 80 << 30,
        "memory_free_bytes": 79 << 30,
        "mig_mode": False,
        "compute_mode": "default",
        **changes,
    }


def probed(gpus: list[dict[str, Any]], **changes: Any) -> ProbeAnswer:
    return ProbeAnswer({"error": None, "return_code": 0, "gpus": gpus, **changes}, "")


def numbers(choice: Choice) -> list[int | None]:
    return [gpu.number for gpu in choice.gpus]


def test_the_first_gpu_is_taken_and_it_is_said_that_the_others_were_not(eight: ProbeAnswer) -> None:
    choice = chosen_gpus(eight, environment={})
    assert numbers(choice) == [0]
    assert choice.notes == ("7 other GPUs were not tested: --all.",)


def test_what_the_probe_really_answers_is_understood(environment: Environment) -> None:
    choice = chosen_gpus(ProbeAnswer(ask("nvml", environment(eight_gpus())), ""), all_gpus=True, environment={})
    assert numbers(choice) == list(range(8))
    assert choice.notes == ()
    third = choice.gpus[3]
    assert (third.uuid, third.model, third.pci_address) == (f"{UUID}3", "NVIDIA A100-SXM4-80GB", "0000:0a:00.0")
    assert (third.memory_bytes, third.free_bytes) == (81920 << 20, (81920 - 640 - 1024) << 20)
    assert (third.divided, third.sickness, third.name) == (False, "", "GPU 3")


def test_what_the_probe_really_answers_of_a_lost_gpu_is_understood(environment: Environment) -> None:
    answer = ask("nvml", environment(machine([a100(0, handle="!15"), a100(1)])))
    choice = chosen_gpus(ProbeAnswer(answer, ""), environment={})
    assert numbers(choice) == [1]
    assert choice.notes == ("GPU 0 was not tested: GPU is lost (NVML_ERROR_GPU_IS_LOST).",)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (["3"], [3]),
        (["5", "2"], [5, 2]),
        (["2", "2", f"{UUID}2"], [2]),
        ([f"{UUID}7"], [7]),
        ([f"{UUID}7".lower()], [7]),
    ],
)
def test_gpus_are_named_by_number_or_uuid(eight: ProbeAnswer, wanted: list[str], taken: list[int]) -> None:
    choice = chosen_gpus(eight, wanted=wanted, environment={})
    assert (numbers(choice), choice.notes) == (taken, ())


@pytest.mark.parametrize("wanted", ["8", "-1", "", "GPU-", "GPU-1111", "first", "²"])
def test_a_gpu_that_is_not_there_or_not_one_alone_is_a_clear_error(eight: ProbeAnswer, wanted: str) -> None:
    with pytest.raises(NoSuchGpu, match=r"^there is no GPU .*: NVML lists 0, 1, 2, 3, 4, 5, 6, 7$"):
        chosen_gpus(eight, wanted=[wanted], environment={})


def test_all_and_some_exclude_each_other(eight: ProbeAnswer) -> None:
    with pytest.raises(NoSuchGpu, match="exclude each other"):
        chosen_gpus(eight, wanted=["1"], all_gpus=True, environment={})


@pytest.mark.parametrize(
    ("visible", "taken"),
    [
        ("5,2", [5, 2]),
        (f"{UUID}4", [4]),
        (" 1 , 1,0", [1, 0]),
        ("6,9,1", [6]),
        ("6,-1,1", [6]),
        ("MIG-abc,3", [None, 3]),
    ],
)
def test_no_gpu_outside_of_cuda_visible_devices_is_taken(eight: ProbeAnswer, visible: str, taken: list[int]) -> None:
    choice = chosen_gpus(eight, all_gpus=True, environment={"CUDA_VISIBLE_DEVICES": visible})
    assert numbers(choice) == taken
    assert ("there is no GPU 9, and CUDA reads no further" in "".join(choice.notes)) == ("9" in visible)


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", "9,0"])
def test_cuda_visible_devices_that_leaves_nothing(eight: ProbeAnswer, visible: str) -> None:
    with pytest.raises(CannotRun, match=f"^CUDA_VISIBLE_DEVICES={visible} leaves no GPU.$"):
        chosen_gpus(eight, environment={"CUDA_VISIBLE_DEVICES": visible})


def test_a_hidden_gpu_that_is_named_is_a_clear_error(eight: ProbeAnswer) -> None:
    with pytest.raises(NoSuchGpu, match=r"^GPU 3 is hidden by CUDA_VISIBLE_DEVICES=0,1$"):
        chosen_gpus(eight, wanted=["3"], environment={"CUDA_VISIBLE_DEVICES": "0,1"})


def test_numbers_of_unlike_gpus_are_said_to_be_nvidia_smis() -> None:
    unlike = probed([gpu(0, name="NVIDIA T400"), gpu(1)])
    choice = chosen_gpus(unlike, environment={"CUDA_VISIBLE_DEVICES": "1"})
    assert "was read as nvidia-smi counts" in choice.notes[0]
    ordered = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert chosen_gpus(unlike, environment=ordered).notes == ()


def test_a_mig_instance_is_taken_as_it_is_named(eight: ProbeAnswer) -> None:
    (named,) = chosen_gpus(eight, wanted=["MIG-1234"], environment={}).gpus
    (given,) = chosen_gpus(eight, environment={"CUDA_VISIBLE_DEVICES": "MIG-1234"}).gpus
    assert named == given
    assert (named.uuid, named.number, named.name) == ("MIG-1234", None, "MIG-1234")
    with pytest.raises(NoSuchGpu, match=r"^MIG-5678 is hidden by CUDA_VISIBLE_DEVICES=MIG-1234$"):
        chosen_gpus(eight, wanted=["MIG-5678"], environment={"CUDA_VISIBLE_DEVICES": "MIG-1234"})


def test_of_a_divided_gpu_it_is_said_what_is_tested() -> None:
    choice = chosen_gpus(probed([gpu(0, mig_mode=True)]), environment={})
    assert choice.gpus[0].divided
    assert choice.notes[0].startswith("GPU 0 is divided into MIG instances: CUDA gives a program the first of them")


def test_a_sick_gpu_is_passed_over_but_not_where_all_are_asked_for() -> None:
    lost = gpu(0, return_code=15, return_name="NVML_ERROR_GPU_IS_LOST", message="GPU is lost", uuid=None)
    choice = chosen_gpus(probed([lost, gpu(1, compute_mode="prohibited"), gpu(2)]), environment={})
    assert numbers(choice) == [2]
    assert "GPU 0 was not tested: GPU is lost (NVML_ERROR_GPU_IS_LOST)." in choice.notes
    everything = chosen_gpus(probed([lost, gpu(1)]), all_gpus=True, environment={})
    assert [gpu.sickness for gpu in everything.gpus] == ["GPU is lost (NVML_ERROR_GPU_IS_LOST)", ""]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (probed([]), "NVML lists no GPU."),
        (ProbeAnswer(None, "no answer in 10 s"), "NVML does not say which GPUs there are: no answer in 10 s."),
        (probed([], error="libnvidia-ml.so.1: file too short"), "NVML cannot be loaded: libnvidia-ml.so.1: file too"),
        (
            probed([], return_code=18, return_name="NVML_ERROR_LIB_RM_VERSION_MISMATCH", message="Driver mismatch"),
            r"NVML cannot be asked: Driver mismatch \(NVML_ERROR_LIB_RM_VERSION_MISMATCH\).",
        ),
    ],
)
def test_without_a_gpu_the_reason_is_a_sentence(answer: ProbeAnswer, said: str) -> None:
    with pytest.raises(CannotRun, match=f"^{said}"):
        chosen_gpus(answer, environment={})
