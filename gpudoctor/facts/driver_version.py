"""What NVIDIA's driver versions look like, and their order."""

from collections.abc import Iterable


def is_driver_version(word: str) -> bool:
    """True for "535.309.01" and "470.42"; False for "1", for WSL's library version "1.1" and for kernel versions."""
    parts = word.split(".")
    return len(parts) in (2, 3) and all(part.isdecimal() for part in parts) and len(parts[0]) == 3


def version_key(version: str) -> tuple[int, ...]:
    """Orders driver versions; () for ""."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def newest(versions: Iterable[str]) -> str:
    """The highest of some driver versions, "" of none."""
    return max(versions, key=version_key, default="")
