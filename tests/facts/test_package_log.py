"""What package managers printed when they failed."""

from pathlib import Path

import pytest

from gpudoctor import Unavailable
from gpudoctor.facts.package_log import PackageManagerLog, read_log, relevant_log
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import facts_of

load_plugins()

DEBIAN = OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)", "debian")
FEDORA = OperatingSystem("fedora", "40", "Fedora Linux 40", "fedora")

# Real lines of Debian machines (one cut short), with the colours that dpkg writes on a terminal.
TERM_LOG = """
Log started: 2026-11-23  20:26:27
/etc/kernel/postinst.d/dkms:
dkms: autoinstall for kernel 6.1.0-56-amd64 was skipped since the kernel headers for this kernel do not seem to be
Log ended: 2026-11-23  20:29:16

Log started: 2026-11-23  20:34:16
(Reading database ... 5%\r(Reading database ... 100%\rSetting up nvidia-tesla-470-kernel-dkms (470.256.02-1~deb12u1) ...
Error! Bad return status for module build on kernel: 6.12.95+deb12-amd64 (x86_64)
\x1b[1mdpkg:\x1b[0m error processing package nvidia-tesla-470-kernel-dkms (--configure):
 installed nvidia-tesla-470-kernel-dkms package post-installation script subprocess returned error exit status 10
Log ended: 2026-11-23  20:36:36
"""


def _log(texts: dict[str, str], system: OperatingSystem, folder: Path) -> PackageManagerLog:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", errors="surrogateescape")
    (folder / "etc").mkdir(exist_ok=True)
    return Facts(RootHost(str(folder)), {OperatingSystem: system}).get(PackageManagerLog)


def test_apts_terminal_log(tmp_path: Path) -> None:
    log = _log({"var/log/apt/term.log": TERM_LOG}, DEBIAN, tmp_path)
    skipped, status, error = log.lines
    assert skipped.text.startswith("dkms: autoinstall for kernel 6.1.0-56-amd64 was skipped")
    assert (skipped.when, skipped.latest) == ("2026-11-23 20:26:27", False)
    assert status.text == "Error! Bad return status for module build on kernel: 6.12.95+deb12-amd64 (x86_64)"
    assert error.text == "dpkg: error processing package nvidia-tesla-470-kernel-dkms (--configure):"
    assert error == ("/var/log/apt/term.log", "2026-11-23 20:34:16", error.text, True)
    assert log.matching("error processing", "trying to overwrite") == (error,)


def test_a_later_run_without_a_failure_makes_it_old(tmp_path: Path) -> None:
    text = TERM_LOG + "\nLog started: 2026-11-24  08:00:00\nSetting up a (1) ...\nLog ended: 2026-11-24  08:00:09\n"
    log = _log({"var/log/apt/term.log": text}, DEBIAN, tmp_path)
    assert [line.latest for line in log.lines] == [False, False, False]


def test_dnfs_log_carries_its_last_time_on(tmp_path: Path) -> None:
    text = (
        "2026-11-22T06:50:11+0000 INFO --- logging initialized ---\n"
        "2026-11-22T06:51:40+0000 CRITICAL Error: Transaction test error:\n"
        "  file /usr/bin/nvidia-smi from install of a-1-1.x86_64 conflicts with file from package b-1-1.x86_64\n"
        "2026-11-22T07:00:00+0000 INFO --- logging initialized ---\n"
    )
    (line,) = _log({"var/log/dnf.log": text}, FEDORA, tmp_path).lines
    assert (line.when, line.latest) == ("2026-11-22 06:51:40", False)
    assert line.text.startswith("file /usr/bin/nvidia-smi from install of")


def test_zyppers_log(tmp_path: Path) -> None:
    text = (
        "2026-11-22 06:50:11 <1> host(1234) [zypper] main.cc(main):106 ===== Hi, me zypper 1.14.77\n"
        "2026-11-22 06:50:19 <5> host(1234) [zypp] unpacking failed: No space left on device\n"
    )
    suse = OperatingSystem("opensuse-leap", "15.6", "openSUSE Leap 15.6", "suse")
    (line,) = _log({"var/log/zypper.log": text}, suse, tmp_path).lines
    assert (line.when, line.latest) == ("2026-11-22 06:50:19", True)


def test_no_log_and_no_failure_are_no_lines(tmp_path: Path) -> None:
    assert _log({}, DEBIAN, tmp_path) == PackageManagerLog(())
    assert _log({"var/log/apt/term.log": "Log started: 2026-11-23  20:26:27\nall well\n"}, DEBIAN, tmp_path).lines == ()
    arch = OperatingSystem("arch", "", "Arch Linux", "arch")
    assert _log({"var/log/apt/term.log": TERM_LOG}, arch, tmp_path).lines == ()


def test_only_the_systems_own_log_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    host = RecordingHost(RootHost(str(tmp_path)))
    Facts(host, {OperatingSystem: FEDORA}).get(PackageManagerLog)
    assert [*host.answers] == ["read /var/log/dnf.log 262144"]


def test_an_unknown_system_may_have_any_of_them(tmp_path: Path) -> None:
    unknown = OperatingSystem("", "", "", "")
    assert len(_log({"var/log/apt/term.log": TERM_LOG}, unknown, tmp_path).lines) == 3


def test_binary_and_cut_text_is_passed_over(tmp_path: Path) -> None:
    text = "\x00\udcff\udc80\x1b[ trying to overwrite \x1b[1\nLog started:\nNo space left on device\n\x1b["
    first, second = _log({"var/log/apt/term.log": text}, DEBIAN, tmp_path).lines
    assert first.text == "\x00\udcff\udc80 trying to overwrite 1"
    assert (second.text, second.when) == ("No space left on device", "")


def test_of_a_long_log_only_the_newest_part_counts(tmp_path: Path) -> None:
    text = "No space left on device\n" + "x" * 300_000 + "\nNo space left on device\n"
    assert len(_log({"var/log/apt/term.log": text}, DEBIAN, tmp_path).lines) == 1


def test_what_may_not_be_read_is_unknown() -> None:
    key = "read /var/log/apt/term.log 262144"
    host = SnapshotHost({key: {"unavailable": "/var/log/apt/term.log: Permission denied"}})
    with pytest.raises(Unavailable, match="Permission denied"):
        Facts(host, {OperatingSystem: DEBIAN}).get(PackageManagerLog)
    with pytest.raises(Unavailable):
        facts_of(DEBIAN).get(PackageManagerLog)


DATED = (
    "2026-11-23 20:00:00 <1> Hi, me zypper 1.14\n2026-11-23 20:00:01 <1> a\n2026-11-23 20:00:02 <1> reading\n"
    "file /x conflicts with file from package y\n2026-11-23T20:00:03+0000 INFO No space left on device\n"
    "2026-11-24 20:00:00 <1> Hi, me zypper 1.14\nnothing else\n"
)


@pytest.mark.parametrize("text", [TERM_LOG, DATED, "", "no line of interest\n"])
def test_a_snapshot_keeps_of_a_log_what_is_read_of_it(text: str) -> None:
    kept = relevant_log(text)
    assert read_log(kept, "x") == read_log(text, "x")
    assert relevant_log(kept) == kept
    assert "(Reading database" not in kept
    assert "reading" not in kept
