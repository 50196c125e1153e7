"""Traces of a driver that was installed by hand from NVIDIA's .run file."""

from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class RunfileTraces(NamedTuple):
    """What the installer left. `paths` is empty where it never ran, or was uninstalled.

    The log alone is no trace: uninstalling leaves it behind, and so does an installation that failed. `version` and
    `log` are then filled all the same.
    """

    paths: tuple[str, ...]  # of /var/lib/nvidia (or dirs and log in it), /usr/bin/nvidia-{uninstall,installer}
    version: str  # from the installer's own record, else from its log; "" if neither says
    uninstaller: str  # path of nvidia-uninstall, "" if it is gone
    log: str  # path of the installer's log, "" if it is gone


_RECORD = "/var/lib/nvidia"  # the installer makes it, for root alone, and the uninstaller removes it
_LOG = "/var/log/nvidia-installer.log"
_PROGRAMS = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")


@fact
def runfile_traces(host: Host) -> RunfileTraces:
    """From the files of NVIDIA's installer that no package owns."""
    paths, version = _record(host)
    programs = [path for path in _PROGRAMS if host.status(path) is not None]
    owned = _owned(host, programs) if programs else set()
    paths += [path for path in programs if path not in owned]
    log = _log(host)
    return RunfileTraces(
        tuple(paths),
        version or logged_version(log or ""),
        _PROGRAMS[0] if _PROGRAMS[0] in paths else "",
        "" if log is None else _LOG,
    )


def _record(host: Host) -> tuple[list[str], str]:
    folder = host.status(_RECORD)
    if folder is None or folder.kind != "directory":
        return [], ""
    try:
        names = host.list(_RECORD) or ()
        version = recorded_version(host.read(f"{_RECORD}/log") or "") if "log" in names else ""
    except Unavailable:
        if folder.mode & 0o077:
            raise
        # Locked to all but root, as the installer makes it: that it is there is all an ordinary user can see.
        return [_RECORD], ""
    return [f"{_RECORD}/{name}" for name in ("dirs", "log") if name in names], version


def _log(host: Host) -> str | None:
    try:
        return host.read(_LOG)
    except Unavailable:  # it only tells the version; whether a driver was installed is told by the other traces
        return None


def recorded_version(text: str) -> str:
    """The version that is installed: the first line of /var/lib/nvidia/log is "1.0-5505414 (550.54.14)"."""
    word = text.split("\n", 1)[0].rpartition("(")[2].strip().removesuffix(")")
    return word if is_driver_version(word) else ""


def logged_version(text: str) -> str:
    """The installer's own version, which is the driver's: "installer version: 550.54.14"."""
    for line in text.split("\n"):
        key, _, word = line.partition("installer version:")
        if not key.strip() and is_driver_version(word.strip()):
            return word.strip()
    return ""


def _owned(host: Host, paths: list[str]) -> set[str]:
    """Which of these a package of dpkg or rpm brought. With other managers none does."""
    owned: set[str] = set()
    for name in host.list("/var/lib/dpkg/info") or ():
        if name.endswith(".list") and "nvidia" in name:
            owned.update({*(host.read(f"/var/lib/dpkg/info/{name}") or "").split("\n")} & {*paths})
    sql = "SELECT DISTINCT key FROM Basenames WHERE key IN ('nvidia-uninstall', 'nvidia-installer')"
    for database in ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite"):
        if host.status(database) is not None:
            names = {row[0] for row in host.query(database, sql) or ()}
            owned.update(path for path in paths if path.rpartition("/")[2] in names)
    return owned
