"""What the driver itself answers: NVML and libcuda, asked in children, after the files were read."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.probe_answers import checked
from gpudoctor.facts.system import Confinement
from gpudoctor.host import Host, NotRunning, ProbeAnswer, Unavailable
from gpudoctor.registry import fact


class StateBefore(NamedTuple):
    """What was loaded and there before the driver was asked: asking as root can load modules and create nodes."""

    modules: tuple[str, ...]  # loaded nvidia modules
    nodes: tuple[str, ...]  # /dev/nvidia* that were there


class NvmlGpu(NamedTuple):
    """One GPU as NVML tells it. None: [N/A], the GPU or driver does not tell. `return_code` 0: it answered."""

    number: int  # NVML's index, as nvidia-smi counts
    return_code: int
    return_name: str
    name: str
    uuid: str
    pci_address: str  # "0000:07:00.0"
    memory_total_bytes: int | None
    compute_capability: tuple[int, int] | None
    persistence_mode: bool | None
    field_errors: Mapping[str, str]  # field to the name of the error: [Unknown Error], a sickness
    values: Mapping[str, object]  # every field the probe gave, as JSON


class Nvml(NamedTuple):
    """NVML's answer. `return_code` is nvmlInit's: 0, 9 (no driver), 12 (no library), 18 (version mismatch), 4..."""

    return_code: int
    return_name: str  # "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    message: str
    library_path: str  # the file that was really loaded, "" if none
    nvml_version: str  # "12.535.261.03"
    driver_version: str  # of the loaded driver, "" without
    cuda_version: int | None  # 12020 for CUDA 12.2
    gpus: tuple[NvmlGpu, ...]
    complete: bool = True  # False: it was cut short, or lists what a container was given: there may be more GPUs


class Cuda(NamedTuple):
    """libcuda's answer. `return_code` is cuInit's, None if the library could not be loaded (`error` says why)."""

    return_code: int | None
    return_name: str
    message: str
    error: str
    library_path: str
    driver_version: int | None  # 12020 for CUDA 12.2: what libcuda itself supports, told without a driver
    device_count: int


class DriverAnswers(NamedTuple):
    """The raw answers of all probes, asked at once."""

    before: StateBefore
    answers: Mapping[str, ProbeAnswer]


@fact
def driver_answers(
    host: Host,
    loaded: LoadedDriver,
    modules: LoadedModules,
    nodes: DeviceNodes,
    confinement: Confinement,
    expected: ExpectedGpus,
) -> DriverAnswers:
    """Asks NVML, libcuda and /proc side by side. Where no driver runs there is nobody to ask, and nothing is risked."""
    if not (loaded.loaded or nodes.nodes or nodes.wsl or confinement.wsl or modules.of_tegra):
        raise NotRunning("the driver was not asked: no NVIDIA module is loaded, and there is no /dev/nvidia*")
    if expected.number == 0 and not nodes.nodes:
        raise NotRunning("the driver was not asked: no GPU is expected here, and there is no /dev/nvidia*")
    before = StateBefore(
        tuple(sorted(name for name in modules.users if name.startswith("nvidia"))),
        tuple(node.path for node in nodes.nodes),
    )
    answers = host.probe(("nvml", "cuda", "processes"))
    return DriverAnswers(before, {name: checked(name, answer) for name, answer in answers.items()})


@fact
def nvml(asked: DriverAnswers, host: Host, confinement: Confinement) -> Nvml:
    """NVML's part. Where only our own way to NVML is broken, as without nvidia-ml-py, nvidia-smi tells it.

    Not where NVML hung or crashed, since nvidia-smi would, too. Nor without a module: run by root, it loads one.
    """
    failure = asked.answers["nvml"].failure
    if failure.startswith("no usable answer") and "nvidia" in asked.before.modules:
        return _from_nvidia_smi(host, failure)
    answer = answer_of(asked, "nvml", "NVML")
    told = answer.get("gpus")
    gpus = tuple(_gpu(gpu) for gpu in told if isinstance(gpu, dict)) if isinstance(told, list) else ()
    return Nvml(
        _number(answer, "return_code") or 0,
        _text(answer, "return_name"),
        _text(answer, "message"),
        _text(answer, "library_path"),
        _text(answer, "nvml_version"),
        _text(answer, "driver_version"),
        _number(answer, "cuda_driver_version"),
        gpus,
        not (gpus and (confinement.container or confinement.batch_job)),
    )


@fact
def cuda(asked: DriverAnswers) -> Cuda:
    """libcuda's part."""
    answer = answer_of(asked, "cuda", "libcuda")
    return Cuda(
        _number(answer, "return_code"),
        _text(answer, "return_name"),
        _text(answer, "message"),
        _text(answer, "error"),
        _text(answer, "library_path"),
        _number(answer, "driver_version"),
        _number(answer, "device_count") or 0,
    )


def answer_of(asked: DriverAnswers, name: str, speaker: str) -> Mapping[str, object]:
    """One probe's JSON object. Raises Unavailable with what went wrong: "NVML: no answer in 10 s"."""
    answer, failure = asked.answers[name]
    if answer is None:
        raise Unavailable(f"{speaker}: {failure}")
    return answer


def _from_nvidia_smi(host: Host, failure: str) -> Nvml:
    from gpudoctor.facts.nvidia_smi import read_nvidia_smi  # here for start-up: seldom needed

    try:
        done = host.run(["nvidia-smi", "-q", "-x"], timeout=10)
        if done is None:
            raise Unavailable("there is no nvidia-smi to ask instead")
        answer = read_nvidia_smi(f"{done.stdout}\n{done.stderr}", done.exit_code)
        if not (answer.complete or answer.return_code or any(gpu.return_code for gpu in answer.gpus)):
            raise Unavailable("nvidia-smi's answer is not complete")
    except Unavailable as reason:
        raise Unavailable(f"NVML: {failure}; {reason}") from reason
    return answer


def _gpu(gpu: Mapping[str, object]) -> NvmlGpu:
    capability = gpu.get("compute_capability")
    errors = gpu.get("field_errors")
    persistence = gpu.get("persistence_mode")
    return NvmlGpu(
        _number(gpu, "index") or 0,
        _number(gpu, "return_code") or 0,
        _text(gpu, "return_name"),
        _text(gpu, "name"),
        _text(gpu, "uuid"),
        _text(gpu, "pci_address"),
        _number(gpu, "memory_total_bytes"),
        (int(capability[0]), int(capability[1])) if isinstance(capability, list) and len(capability) == 2 else None,
        persistence if isinstance(persistence, bool) else None,
        {str(field): _text(error, "return_name") for field, error in errors.items()}
        if isinstance(errors, dict)
        else {},
        gpu,
    )


def _text(answer: Mapping[str, object], field: str) -> str:
    value = answer.get(field)
    return value if isinstance(value, str) else ""


def _number(answer: Mapping[str, object], field: str) -> int | None:
    value = answer.get(field)
    return value if isinstance(value, int) else None
