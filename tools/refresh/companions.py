"""The tables of packages that are built against one torch."""

import datetime
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

from packaging.version import Version

from refresh.index import Index, Unreadable
from refresh.releases import Left, Releases, releases, source_only
from refresh.rows import Table

# Those of the table's sources; of torchao and flashinfer-python most releases pin nothing, and have no row.
PACKAGES = ("torchvision", "torchaudio", "vllm", "xformers", "bitsandbytes", "flashinfer-python", "torchao")
PACKAGES_WITHOUT_NEWS = ("auto-gptq", "autoawq")  # given up by their authors: one page each tells if that changes
_FAMILY = ("torch", "torchvision", "torchaudio", "xformers", "triton", "flashinfer-python", "flashinfer-cubin")
_ALWAYS = ("torchvision", "torchaudio", "xformers")  # get a row even where they pin nothing


def companions(table: Table, index: Index, again: int) -> Iterator[Left]:
    """Pins, what xformers was built with, the CUDA builds of bitsandbytes, and what is compiled at installation."""
    for project in (*PACKAGES, *PACKAGES_WITHOUT_NEWS):
        found = releases(index, project)
        pins = {row[1]: row for row in table["pins"] if row[0] == project}
        for version in (*found.latest(again, pins), *_news(found, pins, table["date"])):
            wheel = found.one(version)
            try:
                applying = index.metadata(wheel).unconditional
                requires = {name: pin for name in _FAMILY if name != project and (pin := applying(name))}
                if project == "xformers":
                    _put(table["xformers"], [version, *index.inside(wheel, "xformers-build", _xformers_build)])
                if project == "bitsandbytes":
                    _put(table["bitsandbytes"], [version, _cudas(index.names(wheel))])
            except Unreadable as reason:
                yield Left(f"{project} {version}: {reason}", by_hand=False)
                continue
            if requires or project in _ALWAYS:
                pins[version] = [project, version, requires]
        _replace(table["pins"], project, sorted(pins.values(), key=lambda row: Version(row[1])))
    for project, span in table["compiled_at_install"].items():
        last = max([*source_only(index, project), span["last"]], key=Version)
        span["last"] = last


def triton(table: Table, index: Index, again: int) -> Iterator[Left]:
    """Nothing is changed: the ptxas programs inside have to be run for it. New releases are named."""
    known = [row["triton"] for row in table["releases"]]
    for version in releases(index, "triton").new(known):
        yield Left(f"triton {version}: its ptxas programs have to be run with --version and --help", by_hand=True)


def _news(found: Releases, known: Collection[str], date: str) -> tuple[str, ...]:
    """What came since the table's date; where the index tells no dates, what is newer than the newest row."""
    since = datetime.datetime.combine(datetime.date.fromisoformat(date), datetime.time(), datetime.timezone.utc)
    newest = max(map(Version, known), default=Version("0"))

    def is_new(version: str) -> bool:
        times = [wheel.upload_time for wheel in found.wheels[version]]
        if all(times):
            return min(time for time in times if time) >= since
        return Version(version) > newest

    return tuple(version for version in found.wheels if version not in known and is_new(version))


def _put(rows: list[list[Any]], row: list[Any]) -> None:
    """In place, sorted by version, in the stead of the row of the same version."""
    rows[:] = sorted([*(one for one in rows if one[0] != row[0]), row], key=lambda one: Version(one[0]))


def _replace(rows: list[list[Any]], project: str, own: list[list[Any]]) -> None:
    """In place: the rows of one project, where they stood, or at the end."""
    places = [place for place, row in enumerate(rows) if row[0] == project]
    start = places[0] if places else len(rows)
    rows[start : start + len(places)] = own


def _xformers_build(wheel: zipfile.ZipFile) -> list[str]:
    built = json.loads(wheel.read("xformers/cpp_lib.json"))["version"]
    return [built["torch"], f"{built['cuda'] // 100}.{built['cuda'] % 100}"]


def _cudas(names: tuple[str, ...]) -> list[str]:
    found = {match[1] for name in names if (match := re.search(r"/libbitsandbytes_cuda(\d{3})\.so$", name))}
    if not found:
        raise Unreadable("the wheel has no CUDA library")
    return [f"{digits[:2]}.{digits[2]}" for digits in sorted(found)]
