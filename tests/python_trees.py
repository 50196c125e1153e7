"""Python environments laid out in folders, file by file, as venv, conda, uv and pip leave them."""

from collections.abc import Iterable, Mapping

Files = dict[str, str | bytes]

# A header as real wheels have it: fields in any order, and a description behind the blank line.
_METADATA = """Metadata-Version: 2.1
Name: {name}
Version: {version}
Summary: A package
Classifier: Programming Language :: Python :: 3
{requires}
# {name}
Requires-Dist: torch==0.0  (a line of the description, not of the header)
"""


def wheel(
    site: str,
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    installer: str = "pip",
    files: Mapping[str, str | bytes] | None = None,
) -> Files:
    """A distribution in a site-packages folder; `files` by path below that folder."""
    folder = f"{site}/{name.replace('-', '_')}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
    return {
        f"{folder}/METADATA": _METADATA.format(name=name, version=version, requires=lines),
        f"{folder}/INSTALLER": f"{installer}\n",
        **{f"{site}/{path}": content for path, content in (files or {}).items()},
    }


def venv(prefix: str, *wheels: Files, python: str = "3.11.7", base: str = "/usr/bin", uv: bool = False) -> Files:
    """An environment of `python -m venv` (or uv), and the base Python that it links to."""
    minor = ".".join(python.split(".")[:2])
    config = f"home = {base}\ninclude-system-site-packages = false\n"
    config += f"uv = 0.9.1\nversion_info = {python}\n" if uv else f"version = {python}\n"
    files: Files = {
        f"{prefix}/pyvenv.cfg": config,
        f"{prefix}/bin/python": "-> python3",
        f"{prefix}/bin/python3": f"-> {base}/python{minor}",
        f"{base}/python{minor}": interpreter(),
        f"{prefix}/lib/python{minor}/site-packages/": "",
    }
    for one in wheels:
        files |= one
    return files


def interpreter() -> bytes:
    """The first bytes of a program for x86-64."""
    return b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\0\x3e\0" + b"\0" * 44


def site_of(prefix: str, minor: str = "3.11") -> str:
    return f"{prefix}/lib/python{minor}/site-packages"


def torch_wheel(site: str, version: str, cuda: str | None, **more: object) -> Files:
    """torch with the version.py that its own build writes."""
    text = (
        "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']\n"
        f"__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda!r}\n"
        "git_version = '5c4886908584029761b579af026dcfb627c84070'\nhip: Optional[str] = None\n"
    )
    return wheel(site, "torch", version.partition("+")[0], files={"torch/version.py": text}, **more)  # type: ignore[arg-type]
