"""What NVIDIA's catalogue says of the numbers that the driver reports as Xid."""

from typing import NamedTuple

from gpudoctor.knowledge import load_table


class KnownXid(NamedTuple):
    """A row of the catalogue. An action is NVIDIA's word for it, "" where it names none."""

    number: int
    mnemonic: str  # "GSP_RPC_TIMEOUT"
    action: str  # at once: "RESET_GPU", "RESTART_APP", "IGNORE"
    next_action: str  # if that does not help, or to find out why: "CONTACT_SUPPORT"


# As clauses; what NVIDIA calls a workflow has several ways.
_WORDS = {
    "CONTACT_SUPPORT": "ask the vendor's support",
    "RESTART_APP": "start the program again",
    "RESET_GPU": "reset the GPU",
    "IGNORE": "nothing",
    "RESTART_BM": "restart the machine",
    "RESTART_VM": "restart the virtual machine",
    "UPDATE_SWFW": "update driver and firmware",
    "CHECK_MECHANICALS": "look at power cables and seat",
    "CHECK_UVM": "look at what the module nvidia_uvm says beside it",
    "XID_154": "what its text says",
}


def known_xid(number: int) -> KnownXid:
    """The row of a number; one with an empty mnemonic where the catalogue does not have it."""
    mnemonic, action, next_action, *_ = load_table("xid")["xids"].get(str(number), ("", "", ""))
    return KnownXid(number, mnemonic, action, next_action)


def action_words(action: str) -> str:
    """NVIDIA's word for an action as a clause: "reset the GPU"; "" where there is no plain one."""
    return _WORDS.get(action, "")
