"""How numbers are stored and multiplied: the words of the benchmark for it, and what each asks of a GPU."""

from enum import Enum

from gpudoctor.knowledge.peaks import lacks_tensor_cores


class Precision(str, Enum):
    """FP64 and FP32: IEEE 754 double and single. TF32: float32 whose products round their factors to 10 bits of
    mantissa. FP16, BF16: factors of 16 bits (10 bits of mantissa; 7 bits and float32's range). Sums of products are
    kept in float32 in all but FP64."""

    FP64 = "fp64"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"


def precisions_of(capability: tuple[int, int], name: str) -> tuple[Precision, ...]:
    """What a GPU of this compute capability and name multiplies at a rate worth timing, FP32 first.

    TF32 and BF16 came with 8.0, FP16 tensor cores with 7.0. Small Turing GPUs (GTX 16, T1000) are of capability 7.5 but
    have none, and their half-precision products collapse (pytorch/pytorch#195716): FP32 alone.
    """
    if capability >= (8, 0):
        return Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16
    if capability >= (7, 0) and not lacks_tensor_cores(name):
        return Precision.FP32, Precision.FP16
    return (Precision.FP32,)
