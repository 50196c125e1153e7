"""Releases of CUDA, as a pair of numbers: (12, 8). Within one major all minor releases go with the same libraries."""

CudaRelease = tuple[int, int]


def release_in(version: str) -> CudaRelease | None:
    """(12, 8) of "12.8" and of "12.8.1", None of anything else."""
    major, _, rest = version.strip().partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def release_in_tag(local: str) -> CudaRelease | None:
    """(12, 8) of "cu128", the local part of a version of torch; None of "cpu" and of any other."""
    digits = local[2:] if local.startswith("cu") and local[2:].isdecimal() else ""
    return (int(digits[:-1]), int(digits[-1])) if len(digits) > 2 else None


def tag_of(cuda: CudaRelease | None) -> str:
    """ "cu128" of (12, 8), "" of None."""
    return f"cu{cuda[0]}{cuda[1]}" if cuda else ""
