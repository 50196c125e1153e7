# ruff: noqa: UP006, UP035, UP045 (runs on the old Pythons of users' environments)
"""PyTorch as a device of the benchmark: opened, asked what it is, and set to one way of computing.

This module and its neighbours `learning`, `timing`, `memory`, `convolving`, `rates` and `child` are given as text to
the Python that the user's PyTorch is installed in, 3.8 or later. They import one another, the standard library and
torch, and nothing else of gpudoctor.
"""

import ctypes
import os
import re
import sys
from contextlib import nullcontext, suppress
from typing import Any, Callable, ContextManager, Dict, NamedTuple, Optional, Sequence, Tuple

Tensor = Any

OLDEST_TORCH = (1, 13)
CPU = "CPU"


class CannotRun(Exception):
    """There is nothing here to run the benchmark on; the text says why, in a sentence."""


class DoesNotTrain(Exception):
    """It ran, and what was seen shows that training does not work; the text says what was seen, in a sentence."""


class TorchDevice(NamedTuple):
    """PyTorch, and the device that it was seen to compute on."""

    torch: Any
    where: Any  # torch.device
    home: str  # "GPU 0", "CPU"
    text: str  # for a person to read
    traits: Optional[Dict[str, Any]]  # as measures.Traits, None: the CPU
    versions: Dict[str, Optional[str]]
    precisions: Tuple[str, ...]


def open_torch(kind: str) -> TorchDevice:
    """PyTorch on "cuda" (the first GPU that it sees) or "cpu", after a product of matrices gave the right numbers.

    Raises CannotRun where it cannot compute there, DoesNotTrain where the product was wrong.
    """
    torch = _import_torch()
    versions: Dict[str, Optional[str]] = {"torch": str(torch.__version__), "torch_python": sys.version.split()[0]}
    if kind == "cpu":
        text = f"CPU (PyTorch {torch.__version__})"
        # Old versions have no float16 on the CPU; there it is for tests alone.
        half = ("fp16",) if version_of(torch) >= (2, 3) else ()
        device = TorchDevice(torch, torch.device("cpu"), CPU, text, None, versions, ("fp32", "bf16", *half))
    else:
        _must_see_a_gpu(torch)
        driver = _driver()
        versions.update(torch_cuda=torch.version.cuda, cuda_driver=_cuda_version(driver), cudnn=_cudnn_version(torch))
        traits = _traits(torch, driver)
        major, minor = traits["capability"]
        size = f"{traits['memory_bytes'] / 2**30:.0f} GiB"
        text = f"{traits['name']} (GPU 0, {size}, compute capability {major}.{minor})"
        precisions = precisions_of(traits["capability"], traits["name"])
        device = TorchDevice(torch, torch.device("cuda", 0), "GPU 0", text, traits, versions, precisions)
    _must_multiply(device)
    return device


# The list of gpudoctor.knowledge, which this module cannot read where it runs; a test holds the two together.
_WITHOUT_TENSOR_CORES = re.compile(r"\b(GTX 16[356]0|MX[45]50|T400|T5[05]0|T600|T1[02]00|T2000)\b")


def precisions_of(capability: Sequence[int], name: str) -> Tuple[str, ...]:
    """As gpudoctor.bench.devices.precision.precisions_of, in words: what this GPU multiplies at a rate worth timing."""
    if tuple(capability) >= (8, 0):
        return "fp32", "tf32", "fp16", "bf16"
    if tuple(capability) >= (7, 0) and not _WITHOUT_TENSOR_CORES.search(name):
        return "fp32", "fp16"
    return ("fp32",)


def compute_in(device: TorchDevice, precision: str, *, deterministic: bool = False, search: bool = False) -> None:
    """Sets how float32 is multiplied from now on, and whether the same bits must come out each time.

    deterministic: PyTorch refuses what would not repeat. search: cuDNN tries its algorithms and takes the fastest.
    """
    torch = device.torch
    # Both are asked for each time: by default PyTorch lets cuDNN round to TF32, and its matrix products not.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    for name in ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"):
        with suppress(AttributeError, AssertionError):  # what an old PyTorch raises that does not have it
            setattr(torch.backends.cuda.matmul, name, False)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = search
    torch.use_deterministic_algorithms(deterministic)


def autocast(device: TorchDevice, precision: str) -> ContextManager[None]:
    """PyTorch's own mixed precision for 16 bits; for the others a context that changes nothing."""
    if precision not in ("fp16", "bf16"):
        return nullcontext()
    context: ContextManager[None] = device.torch.autocast(device.where.type, dtype=dtype_of(device, precision))
    return context


def dtype_of(device: TorchDevice, precision: str) -> Any:
    """How numbers of this precision lie in memory."""
    return {"fp16": device.torch.float16, "bf16": device.torch.bfloat16}.get(precision, device.torch.float32)


def stay_at_home(device: TorchDevice, what: str, tensors: Sequence[Tensor]) -> None:
    """Raises DoesNotTrain unless every tensor lies on the device, by the tensor's own word."""
    for tensor in tensors:
        place = CPU if tensor.device.type == "cpu" else f"GPU {tensor.device.index}"
        if place == CPU != device.home:
            raise DoesNotTrain(f"Training fell back to the CPU: among {what} there is a tensor of the CPU.")
        if place != device.home:
            raise DoesNotTrain(f"Training left its device: among {what} one lies on {place}, not on {device.home}.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out: of the GPU, of the host, of cuBLAS or of cuDNN."""
    words = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def free_bytes(device: TorchDevice) -> int:
    """Memory of the GPU that is free now, after PyTorch gave back what it does not use."""
    device.torch.cuda.empty_cache()
    return int(device.torch.cuda.mem_get_info()[0])


def version_of(torch: Any) -> Tuple[int, ...]:
    """(2, 13) of "2.13.0+cpu"."""
    return tuple(int(number) for number in str(torch.__version__).split(".")[:2] if number.isdecimal())


def in_words(error: BaseException) -> str:
    """The class and the first telling line of an error, for a sentence."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {first[:300]}"


def _import_torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            missing = f"PyTorch of {sys.executable} needs a module that is missing: {error.name}."
            raise CannotRun(missing) from error
        raise CannotRun(f"PyTorch is not installed for {sys.executable}.") from error
    except (Exception, SystemExit) as error:  # a broken installation raises anything
        raise CannotRun(f"PyTorch of {sys.executable} cannot be imported: {in_words(error)}") from error
    if not hasattr(torch, "__version__"):
        raise CannotRun(f"What {sys.executable} imports as torch is not PyTorch.")
    if version_of(torch) < OLDEST_TORCH:
        needed = ".".join(str(number) for number in OLDEST_TORCH)
        raise CannotRun(f"PyTorch {torch.__version__} is too old for this benchmark: {needed} or later is needed.")
    return torch


def _must_see_a_gpu(torch: Any) -> None:
    if torch.version.cuda is None:
        raise CannotRun(f"PyTorch {torch.__version__} of {sys.executable} is not built for CUDA.")
    try:
        torch.cuda.init()
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:
        raise CannotRun(f"PyTorch finds no GPU that works: {in_words(error)}") from error
    if count < 1:
        raise CannotRun("PyTorch sees no GPU.")


def _must_multiply(device: TorchDevice) -> None:
    torch = device.torch
    # Small whole numbers: every product and sum is exact in float32 and in TF32, so the answer must be equal.
    left = (torch.arange(64 * 64) % 7 - 3).reshape(64, 64)
    right = left.t() * 2 + 1
    try:
        on_device = left.to(device.where, torch.float32) @ right.to(device.where, torch.float32)
        stay_at_home(device, "the products", [on_device])
        answer = on_device.cpu()
    except RuntimeError as error:
        told = "memory for the smallest test is not free" if is_out_of_memory(error) else "it could not multiply there"
        raise CannotRun(f"PyTorch sees {device.text}, but {told}: {in_words(error)}") from error
    if not torch.equal(answer.double(), left.double() @ right.double()):
        raise DoesNotTrain(
            f"{device.text} computes wrongly: a product of small whole numbers is not what it is on the CPU."
        )


Ask = Callable[..., int]

# CUdevice_attribute in cuda.h
_ATTRIBUTES = {
    "boost_khz": 13,
    "sm_count": 16,
    "pci_bus": 33,
    "pci_device": 34,
    "memory_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "pci_domain": 50,
}


def _driver() -> Optional[ctypes.CDLL]:
    """libcuda, which PyTorch has loaded and started; what PyTorch itself tells differs between its versions."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _traits(torch: Any, driver: Optional[ctypes.CDLL]) -> Dict[str, Any]:
    told = torch.cuda.get_device_properties(0)
    numbers = {name: _attribute(driver, number) for name, number in _ATTRIBUTES.items()}
    address = (numbers["pci_domain"], numbers["pci_bus"], numbers["pci_device"])
    return {
        "name": told.name,
        "uuid": uuid_of(_uuid_bytes(driver), os.environ.get("CUDA_VISIBLE_DEVICES", "")),
        "pci_address": "" if None in address else "{:04x}:{:02x}:{:02x}.0".format(*address),
        "capability": [told.major, told.minor],
        "sm_count": told.multi_processor_count,
        "l2_bytes": numbers["l2_bytes"] or 0,
        "memory_bytes": told.total_memory,
        "boost_khz": numbers["boost_khz"] or 0,
        "memory_khz": numbers["memory_khz"] or 0,
        "memory_bus_bits": numbers["memory_bus_bits"] or 0,
    }


def uuid_of(told: bytes, visible: str) -> str:
    """The UUID as `nvidia-smi -L` prints it, "" unknown. A slice of a GPU (MIG) goes by the name it was given by."""
    if visible.startswith("MIG-") and "," not in visible:
        return visible
    digits = told.hex()
    if len(digits) != 32:
        return visible if visible.startswith("GPU-") and "," not in visible else ""
    return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _uuid_bytes(driver: Optional[ctypes.CDLL]) -> bytes:
    uuid, device = (ctypes.c_ubyte * 16)(), ctypes.c_int()
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetUuid(uuid, device):
        return b""
    return bytes(uuid)


def _attribute(driver: Optional[ctypes.CDLL], number: int) -> Optional[int]:
    value, device = ctypes.c_int(), ctypes.c_int()
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    return None if driver.cuDeviceGetAttribute(ctypes.byref(value), number, device) else value.value


def _cuda_version(driver: Optional[ctypes.CDLL]) -> Optional[str]:
    """Of the CUDA that the driver serves: 12080 is "12.8"."""
    number = ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(number)) or number.value <= 0:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _cudnn_version(torch: Any) -> Optional[str]:
    """91002 is "9.10.2", and 8902, from before cuDNN 9, is "8.9.2"."""
    number = torch.backends.cudnn.version()
    if not number:
        return None
    major, rest = divmod(number, 10000 if number >= 90000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"
