"""What NVIDIA's driver versions look like."""


def is_driver_version(word: str) -> bool:
    """True for "535.309.01" and "470.42"; False for "1", for WSL's library version "1.1" and for kernel versions."""
    parts = word.split(".")
    return len(parts) in (2, 3) and all(part.isdigit() for part in parts) and len(parts[0]) == 3
