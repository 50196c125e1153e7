"""rpm's package headers, as its SQLite database keeps them, and the answer of `rpm -qa`.

The header's format is described in rpm's manual (docs/manual/format_header.md): big-endian counts of index entries
and of data bytes, the entries (tag, type, offset, count), the data. The database leaves out the magic number.
"""

from gpudoctor.facts.packages import Package

_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _PACKAGER, _ARCH = 1000, 1001, 1002, 1003, 1011, 1015, 1022
_REQUIRE_FLAGS, _REQUIRE_NAME, _REQUIRE_VERSION = 1048, 1049, 1050
_INT32, _STRING, _STRING_ARRAY, _I18N_STRING = 4, 6, 8, 9

# Bits of a requirement's flags.
_OPERATORS = {0b0010: "<", 0b0100: ">", 0b1000: "=", 0b1010: "<=", 0b1100: ">="}

_NONE = "(none)"
QUERY_FORMAT = (
    "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{VENDOR}\\t%{PACKAGER}"
    "\\t[%{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}|]\\n"
)


def read_header(blob: bytes) -> Package | None:
    """The package in a header, None if the header is damaged. One that is cut behind what it says of name, version
    and maker is whole enough; its requirements are then empty.
    """
    entries, data = _index(blob)
    known = {tag: _strings(entries, data, tag) for tag in (_NAME, _VERSION, _RELEASE, _ARCH, _VENDOR, _PACKAGER)}
    epoch = _integers(entries, data, _EPOCH)
    lost = [tag for tag, words in (*known.items(), (_EPOCH, epoch)) if tag in entries and not words]
    if lost or not (known[_NAME] and known[_VERSION] and known[_RELEASE]):
        return None
    return Package(
        known[_NAME][0],
        (f"{epoch[0]}:" if epoch else "") + f"{known[_VERSION][0]}-{known[_RELEASE][0]}",
        "".join(known[_ARCH]),
        "installed",
        False,
        "".join(known[_VENDOR] or known[_PACKAGER]),
        _requirements(
            _strings(entries, data, _REQUIRE_NAME),
            _integers(entries, data, _REQUIRE_FLAGS),
            _strings(entries, data, _REQUIRE_VERSION),
        ),
    )


def read_answer(text: str) -> tuple[Package, ...]:
    """Packages in what `rpm -qa` prints in QUERY_FORMAT; other lines (warnings) are passed over."""
    packages = []
    for line in text.split("\n"):
        match line.split("\t"):
            case [name, version, architecture, vendor, packager, requirements]:
                words = [part.split(" ") for part in requirements.split("|") if part.count(" ") >= 2]
                depends = tuple(
                    f"{word[0]} ({word[1]} {word[2]})" if word[2] else word[0] for word in words if _is_package(word[0])
                )
                maker = vendor if vendor != _NONE else packager if packager != _NONE else ""
                packages.append(Package(name, version, architecture, "installed", False, maker, depends))
            case _:
                pass
    return tuple(packages)


def _index(blob: bytes) -> tuple[dict[int, tuple[int, int, int]], bytes]:
    """(type, offset, count) by tag, and the data; both empty if the index is cut. Region tags (below 1000) only mark
    what was signed.
    """
    count = int.from_bytes(blob[:4], "big")
    entries: dict[int, tuple[int, int, int]] = {}
    if 8 + 16 * count > len(blob):
        return entries, b""
    for start in range(8, 8 + 16 * count, 16):
        tag, kind, offset, number = (int.from_bytes(blob[at : at + 4], "big") for at in range(start, start + 16, 4))
        if tag >= _NAME:
            entries.setdefault(tag, (kind, offset, number))
    return entries, blob[8 + 16 * count :]


def _strings(entries: dict[int, tuple[int, int, int]], data: bytes, tag: int) -> list[str]:
    """The strings of a tag, empty if they are not there or not all of them."""
    kind, offset, count = entries.get(tag, (0, 0, 0))
    if kind not in (_STRING, _STRING_ARRAY, _I18N_STRING):
        return []
    words = []
    for _ in range(1 if kind == _STRING else count):
        end = data.find(b"\0", offset)
        if end < 0:
            return []
        words.append(data[offset:end].decode("utf-8", "surrogateescape"))
        offset = end + 1
    return words


def _integers(entries: dict[int, tuple[int, int, int]], data: bytes, tag: int) -> list[int]:
    kind, offset, count = entries.get(tag, (0, 0, 0))
    if kind != _INT32 or offset + 4 * count > len(data):
        return []
    return [int.from_bytes(data[at : at + 4], "big") for at in range(offset, offset + 4 * count, 4)]


def _requirements(names: list[str], flags: list[int], versions: list[str]) -> tuple[str, ...]:
    """In dpkg's form, so that one reader serves all managers."""
    if not len(names) == len(flags) == len(versions):
        return ()
    return tuple(
        f"{name} ({_OPERATORS[flag & 0b1110]} {version})" if version and flag & 0b1110 in _OPERATORS else name
        for name, flag, version in zip(names, flags, versions, strict=True)
        if _is_package(name)
    )


def _is_package(name: str) -> bool:
    """A package's name or a provided one; no file, no library, no ability of rpm itself."""
    return not name.startswith(("/", "rpmlib(")) and ".so" not in name
