"""Disks of imaginary machines: folders of files, opened as mounted roots."""

from collections.abc import Mapping
from pathlib import Path

from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins

DEBIAN, FEDORA, SUSE, ARCH = "ID=debian\n", "ID=fedora\n", 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "ID=arch\n"


def disk(folder: Path, files: Mapping[str, str | bytes]) -> RootHost:
    """A mounted root with these files by absolute path; a path with "/" at its end is a folder, "-> TARGET" a link."""
    (folder / "etc").mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            place.symlink_to(content.removeprefix("-> "))
        elif isinstance(content, str):
            place.write_bytes(content.encode("utf-8", "surrogateescape"))
        else:
            place.write_bytes(content)
    return RootHost(str(folder))


def facts_on(folder: Path, files: Mapping[str, str | bytes]) -> Facts:
    load_plugins()
    return Facts(disk(folder, files))


def let_everybody_in(folder: Path) -> None:
    """Other users get through to a test's own folder, which pytest keeps for who runs it."""
    for place in (folder, *folder.parents):
        if place.stat().st_mode & 0o777 == 0o700:
            place.chmod(0o755)
