"""How the benchmark writes numbers for people."""

import math


def amount(number: object) -> str:
    """1071.3 is "1,071", 66.92 is "66.9"; what is no finite number is "none"."""
    if not isinstance(number, int | float) or not math.isfinite(number):
        return "none"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def size(count: int) -> str:
    """Of bytes: "72.0 GiB", "16 MiB"."""
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 30 else f"{count / 2**20:.0f} MiB"


def mebibytes(count: int) -> str:
    """Of the bytes that a rate is measured with: "1,024 MiB". A saved baseline is found again by these words."""
    return f"{count / 2**20:,.0f} MiB"
