"""The tables of NVIDIA's own wheels: cuDNN versions, CUDA components, and wheels that write the same files."""

import re
from collections.abc import Iterator

from packaging.version import Version

from refresh.index import Index, Unreadable
from refresh.releases import Left, releases
from refresh.rows import Row, Table


def cudnn(table: Table, index: Index, again: int) -> Iterator[Left]:
    """The versions of the wheels; whether the newest has the libraries of the newest line is looked at as well."""
    for project, versions in table["wheels"].items():
        found = releases(index, project)
        new = found.new(versions)
        table["wheels"][project] = sorted([*versions, *new], key=Version)
        newest = found.newest()
        if newest not in (*new, *found.latest(again, versions)):
            continue
        try:
            names = index.names(found.one(newest))
        except Unreadable as reason:
            yield Left(f"the libraries of {project} {newest}: {reason}", by_hand=False)
            continue
        line = [line for line in table["lines"] if Version(line["from"]) <= Version(newest)][-1]
        libraries = {match[1] for name in names if (match := re.search(r"/libcudnn_(\w+)\.so\.\d+$", name))}
        if libraries != set(line["sublibraries"]):
            yield Left(
                f"{project} {newest} has other libraries than the line {line['from']}: {' '.join(sorted(libraries))}",
                by_hand=True,
            )


def cuda_components(table: Table, index: Index, again: int) -> Iterator[Left]:
    """What the extra `all` of each cuda-toolkit release asks for at one exact version."""
    found = releases(index, "cuda-toolkit")
    rows: list[Row] = table["toolkits"]
    known = [row["cuda"] for row in rows]  # Version("13.0.3.0") is Version("13.0.3")
    for version in (*found.latest(again, known), *found.new(known)):
        try:
            requires = index.metadata(found.one(version)).requires
        except Unreadable as reason:
            yield Left(f"cuda-toolkit {version}: {reason}", by_hand=False)
            continue
        components = {}
        for requirement in requires:
            exact = re.fullmatch(r"==([0-9.]+?)(?:\.\*)?", str(requirement.specifier))
            # The newest markers name the machine first; which machine has a component does not matter here.
            if exact and re.search(r"""extra == ['"]all['"]""", str(requirement.marker or "")):
                components[requirement.name] = exact[1]
        if not components:
            yield Left(f"cuda-toolkit {version}: its METADATA pins no component", by_hand=False)
            continue
        toolkit = re.sub(r"^(\d+\.\d+\.\d+)\.0$", r"\1", version)  # a few have a fourth number, always 0
        row = {"cuda": toolkit, "components": components, "source": f"PyPI: cuda-toolkit {version}"}
        rows[:] = sorted([*(r for r in rows if r["cuda"] != toolkit), row], key=lambda r: Version(r["cuda"]))


def wheel_collisions(table: Table, index: Index, again: int) -> Iterator[Left]:
    """What the newest wheels of each pair share now; the families are kept by a person."""
    for row in table["pairs"]:
        sides = releases(index, row["a"]), releases(index, row["b"])
        versions = tuple(side.newest() for side in sides)
        if versions == (row["a_version"], row["b_version"]) and not again:
            continue
        try:
            one, other = (index.names(side.one(version)) for side, version in zip(sides, versions, strict=True))
        except Unreadable as reason:
            yield Left(f"{row['a']} and {row['b']}: {reason}", by_hand=False)
            continue
        # A pair whose files are spelled out counts libraries; the others count everything that both write.
        shared = [name for name in one if name in set(other) and (".so" in name or "files" not in row)]
        if not shared:
            pair = f"{row['a']} {versions[0]} and {row['b']} {versions[1]}"
            yield Left(f"{pair} write nothing in common any more; those of the table still do", by_hand=True)
            continue
        row.update(a_version=versions[0], b_version=versions[1], shared=len(shared))
        if "files" in row:
            row["files"] = shared
