"""Which releases were compiled for NumPy 2."""

from typing import NamedTuple

from gpudoctor.knowledge import load_table


class FirstForNumpy2(NamedTuple):
    """The first release of a package that can be used with NumPy 2."""

    package: str
    version: str
    source: str


def first_for_numpy_2(package: str) -> FirstForNumpy2 | None:
    """None: the table lacks the package."""
    for row in load_table("numpy_abi")["packages"]:
        if row["package"] == package:
            return FirstForNumpy2(package, row["first"], row["source"])
    return None
