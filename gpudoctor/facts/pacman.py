"""pacman's local database: one folder a package, a file `desc` in it."""

from gpudoctor.facts.packages import Package


def read_description(text: str, folder: str) -> Package:
    """The package in a `desc` file. A file that is empty or cut (a transaction was interrupted) makes it
    half-installed, with name and version from its folder's name.
    """
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    for line in text.split("\n"):
        if line.startswith("%") and line.endswith("%") and len(line) > 2:
            values = fields.setdefault(line.strip("%"), [])
        elif line:
            values.append(line)
    name, version, release = folder.rsplit("-", 2)
    first = {key: lines[0] for key, lines in fields.items() if lines}
    whole = first.get("NAME") == name and first.get("VERSION") == f"{version}-{release}"
    return Package(
        name,
        f"{version}-{release}",
        first.get("ARCH", ""),
        "installed" if whole else "half-installed",
        False,
        first.get("PACKAGER", ""),
        tuple(_requirement(line) for line in fields.get("DEPENDS", ())),
    )


def _requirement(line: str) -> str:
    """ "nvidia-utils=580.95.05" in dpkg's form, so that one reader serves all managers."""
    for operator in (">=", "<=", "=", ">", "<"):
        name, found, version = line.partition(operator)
        if found:
            return f"{name} ({operator} {version})"
    return line
