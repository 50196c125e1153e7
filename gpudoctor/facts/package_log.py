"""What the package manager printed when it failed: conflicts, broken scripts, full disks, skipped builds."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.system import OperatingSystem
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class LogLine(NamedTuple):
    """One line that tells of a failure."""

    source: str  # the log's path
    when: str  # start of the run, or the line's own time, as the log writes it; "" where the log does not say
    text: str  # without colours and leading blanks
    latest: bool  # it belongs to the newest run that the log has


class PackageManagerLog(NamedTuple):
    """Such lines, in the order of the log. Empty where there is no log, or no failure in its newest part."""

    lines: tuple[LogLine, ...]

    def matching(self, *words: str) -> tuple[LogLine, ...]:
        """The lines that contain one of these words (as they stand, case matters)."""
        return tuple(line for line in self.lines if any(word in line.text for word in words))


# In C and English locales; translated messages are not known.
_TELLING = (
    "trying to overwrite",
    "Bad return status",
    "error processing ",  # of dpkg, which may write its own name in colour before it
    "No space left on device",
    "conflicts with file from package",
    "skipped since the kernel headers",
)
_NEWEST = 256 * 1024
_LOGS: Mapping[str, str] = {
    "debian": "/var/log/apt/term.log",
    "suse": "/var/log/zypper.log",
    "fedora": "/var/log/dnf.log",
}
_RUN_BEGINS = ("Log started: ", "Hi, me zypper ", "--- logging initialized ---")


@fact
def package_manager_log(host: Host, system: OperatingSystem | Unavailable) -> PackageManagerLog:
    """From the log of the system's own package manager, of all three where the system is unknown."""
    family = system.family if isinstance(system, OperatingSystem) else ""
    lines: list[LogLine] = []
    for path in [_LOGS[family]] if family in _LOGS else _LOGS.values() if not family else ():
        lines += read_log(host.read(path, last=_NEWEST) or "", path)
    return PackageManagerLog(tuple(lines))


def read_log(text: str, source: str) -> list[LogLine]:
    """The telling lines of one log. What is binary or cut off between them is passed over."""
    if not any(words in text for words in _TELLING):
        return []
    found: list[LogLine] = []
    when = ""
    for line in text.splitlines():
        if any(mark in line for mark in _RUN_BEGINS):
            found = [earlier._replace(latest=False) for earlier in found]
        when = _time(line) or when
        if any(words in line for words in _TELLING):
            found.append(LogLine(source, when, without_colours(line).strip(), True))
    return found


def relevant_log(text: str) -> str:
    """A log with nothing but those lines, the beginnings of runs and the times before them; for snapshots."""
    kept, when = [], ""
    for line in text.splitlines():
        telling = any(words in line for words in _TELLING)
        if telling and when:
            kept.append(when)
        if telling or any(mark in line for mark in _RUN_BEGINS):
            kept.append(line)
            when = ""
        elif _time(line):
            when = line[:19]
    return "".join(f"{line}\n" for line in kept)


def is_package_log(path: str) -> bool:
    """Is it one of the logs that are read here?"""
    return path in _LOGS.values()


def _time(line: str) -> str:
    """apt notes a time once a run, dnf and zypper at the start of most lines."""
    if line.startswith("Log started: "):
        return " ".join(line.split()[2:])
    date, clock = line[:10], line[11:19]
    if date[:4].isdigit() and date[4:5] == date[7:8] == "-" and clock[2:3] == clock[5:6] == ":":
        return f"{date} {clock}"
    return ""


def without_colours(line: str) -> str:
    """Without the escape sequences that dpkg writes on a terminal: "\\x1b[1mdpkg:\\x1b[0m error"."""
    first, *rest = line.split("\x1b[")
    return first + "".join(_behind_colour(part) for part in rest)


def _behind_colour(part: str) -> str:
    codes, end, text = part.partition("m")
    return text if (end and codes.replace(";", "").isdigit()) or codes == "" else part
