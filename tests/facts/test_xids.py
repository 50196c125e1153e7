"""The driver's Xids, in the shapes that it has printed over the years, and when one of them stands no more."""

import pytest

from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.xids import Xid, XidLine, Xids, xid_lines
from gpudoctor.host import NotRunning, Unavailable
from gpudoctor.knowledge.xid import KnownXid, action_words, known_xid
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import SnapshotHost


def xids(*lines: str) -> Xids:
    load_plugins()
    return Facts(SnapshotHost({}), {KernelLog: KernelLog(lines, "dmesg")}).get(Xids)


@pytest.mark.parametrize(
    ("line", "gpu", "number", "process", "text"),
    [
        (
            "NVRM: Xid (PCI:0000:04:00): 79, pid=1234, name=python3, GPU has fallen off the bus.",
            *("0000:04:00.0", 79, "python3 (1234)", "GPU has fallen off the bus."),
        ),
        (
            "NVRM: Xid (PCI:0000:52:00): 94, pid='<unknown>', name=<unknown>, Contained: SM (0x1). RST: No, D-RST: No",
            *("0000:52:00.0", 94, "", "Contained: SM (0x1). RST: No, D-RST: No"),
        ),
        (
            "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No",
            *("0000:01:00.0", 94, "7194", "Contained: CE User Channel (0x9). RST: No, D-RST: No"),
        ),
        (
            "NVRM: Xid (PCI:0000:3B:00 GPU-I:01 GPU-CI:02): 13, pid=9, name=a, Graphics Exception: ESR 0x504e48",
            *("0000:3b:00.0", 13, "a (9)", "Graphics Exception: ESR 0x504e48"),
        ),
        (
            "NVRM: Xid (PCI:0002:00:00): 119, pid=1582259, name=nvc:[driver], Timeout after 6s of waiting for RPC "
            "response from GPU1 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20802a02 0x8).",
            *("0002:00:00.0", 119, "nvc:[driver] (1582259)"),
            "Timeout after 6s of waiting for RPC response from GPU1 GSP! Expected function 76 (GSP_RM_CONTROL) "
            "(0x20802a02 0x8).",
        ),
        (
            "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 09 (0x025525c6 0x00000000)",
            *("0018:01:00.0", 149, "", "NETIR_LINK_EVT  Fatal   XC0 i0 Link 09 (0x025525c6 0x00000000)"),
        ),
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", "0000:03:00.0", 14, "", "Channel 00000001"),
        ("NVRM: Xid (PCI:0003:00): 31, Ch 00000002", "0000:03:00.0", 31, "", "Ch 00000002"),
        ("NVRM: Xid (PCI:0000:0a:00): 43", "0000:0a:00.0", 43, "", ""),
    ],
)
def test_every_shape_the_driver_prints(line: str, gpu: str, number: int, process: str, text: str) -> None:
    assert xids(line).xids == (Xid(gpu, number, text, process, line),)


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
        "NVRM: Xid (PCI:0000:66:00): abc, pid=2280636",
        "NVRM: Xid (PCI:): 79",
        "NVRM: Xid (....:..:..): 79",
        "NVRM: Xid (62): GPU has fallen off the bus",
        "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert xids(line) == Xids((), (), "dmesg")


def test_the_lines_are_read_in_the_order_of_the_log_whoever_they_are_of() -> None:
    first = "NVRM: Xid (PCI:0007:00): 31, pid=9, name=a, Ch 00000002"
    second = "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress"
    assert list(xid_lines((first, "NVRM: Xid (PCI:): 79", second))) == [
        XidLine("0000:07:00.0", False, 31, "Ch 00000002", "a (9)", first),
        XidLine("0000:05:00.0", True, 12028, "Non-fatal, Link 32 egress", "", second, of_switch=True),
    ]


@pytest.mark.parametrize(
    ("place", "address", "theirs"),
    [
        ("PCI:0000:07:00", "0000:07:00.0", True),
        ("PCI:00000000:0A:00.0", "0000:0a:00.0", True),
        ("PCI:0001:07:00", "0000:07:00.0", False),
        ("PCI:0000:07:00", "0000:08:00.0", False),
        ("PCI:0007:00", "0001:07:00.0", True),  # an old driver names no domain: it may be this one
        ("PCI:0007:00", "0001:08:00.0", False),
    ],
)
def test_whose_a_line_may_be(place: str, address: str, theirs: bool) -> None:
    (line,) = xid_lines([f"NVRM: Xid ({place}): 31, Ch 00000002"])
    assert line.may_be_of(address) is theirs


def test_the_newest_comes_first() -> None:
    told = xids("NVRM: Xid (PCI:0000:01:00): 48, DBE", "NVRM: Xid (PCI:0000:01:00): 63, Row Remapper: New row")
    assert [xid.number for xid in told.xids] == [63, 48]
    assert [xid.number for xid in told.unsettled((48, 79))] == [48]


def test_fatal_faults_of_a_switch_are_no_gpus() -> None:
    line = "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"
    told = xids(line)
    assert told.xids == ()
    assert [(fault.switch, fault.number, fault.line) for fault in told.switch_faults] == [("0000:c4:00.0", 20034, line)]


LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
NEEDS = "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
DONE = "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"
TIMEOUT = "NVRM: Xid (PCI:0008:01:00): 119, Timeout after 6s of waiting for RPC response from GPU1 GSP!"
OTHER = "NVRM: Xid (PCI:0009:01:00): 119, Timeout after 6s of waiting for RPC response from GPU2 GSP!"
FATAL = "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"


def test_what_was_before_the_driver_was_loaded_anew_is_settled() -> None:
    told = xids(TIMEOUT, FATAL, LOADED, OTHER)
    assert [(xid.gpu, xid.settled) for xid in told.xids] == [("0009:01:00.0", False), ("0008:01:00.0", True)]
    assert told.switch_faults == ()


def test_a_gpu_that_needs_no_recovery_any_more_is_settled_and_no_other_is() -> None:
    told = xids(OTHER, TIMEOUT, NEEDS, DONE)
    assert [xid.gpu for xid in told.unsettled((119,))] == ["0009:01:00.0"]
    assert told.recovery_of("0008:01:00.0") == ""
    again = xids(TIMEOUT, NEEDS, DONE, TIMEOUT)
    assert len(again.unsettled((119,))) == 1


def test_the_driver_itself_says_what_a_gpu_needs() -> None:
    told = xids(LOADED, TIMEOUT, NEEDS)
    assert told.recovery_of("0008:01:00.0") == "GPU Reset Required"
    assert told.recovery_of("0009:01:00.0") == ""
    assert xids(TIMEOUT, NEEDS, LOADED).recovery_of("0008:01:00.0") == ""


@pytest.mark.parametrize("reason", [Unavailable("as root it can"), NotRunning("the system is not running")])
def test_without_the_log_nothing_is_known(reason: Unavailable) -> None:
    load_plugins()
    with pytest.raises(type(reason), match=str(reason)):
        Facts(SnapshotHost({}), {KernelLog: reason}).get(Xids)


def test_what_nvidia_says_of_a_number() -> None:
    assert known_xid(119) == KnownXid(119, "GSP_RPC_TIMEOUT", "RESET_GPU", "INVESTIGATE_SW")
    assert known_xid(63).action == "IGNORE"
    assert known_xid(176) == KnownXid(176, "PCIE_CORRECTABLE_ERROR_FAULT", "", "")  # only NVIDIA's header has it
    assert known_xid(4711) == KnownXid(4711, "", "", "")
    assert action_words(known_xid(79).action) == "restart the machine"
    assert action_words("WORKFLOW_XID_13") == action_words("") == ""
