"""Which GPUs hang on NVLink switches of the fifth generation, and what those need of the system."""

from typing import NamedTuple

from gpudoctor.knowledge import load_table


class Nvlink5(NamedTuple):
    """By the GPU's PCI device id, the board that it sits on."""

    over_infiniband: dict[str, str]  # "2901": "HGX B200": its switches are set up from this very machine
    in_a_rack: dict[str, str]  # "2941": "GB200 NVL72": the switches are machines of their own
    modules: tuple[str, ...]  # of the kernel, without which this machine does not see the switches
    subnet_manager: str  # the program beside the fabric manager


def nvlink5() -> Nvlink5:
    """The whole table."""
    table = load_table("nvlink")
    return Nvlink5(table["over_infiniband"], table["in_a_rack"], tuple(table["modules"]), table["subnet_manager"])
