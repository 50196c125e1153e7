"""Which versions of jax, jaxlib and its CUDA plugins go together: by their metadata, and by what jaxlib compares."""

import re
from collections.abc import Iterable, Iterator

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.python.pep440 import parse_version, satisfies
from gpudoctor.python.pep508 import normalised, parse_requirement


def jax_plugins(environment: PythonEnvironment) -> tuple[Distribution, ...]:
    """The CUDA plugins that are there: "jax-cuda12-plugin"."""
    return tuple(one for one in environment.having("jax-cuda") if re.fullmatch(r"jax-cuda[0-9]+-plugin", one.name))


def plugin_major(name: str) -> int:
    """12 of "jax-cuda12-plugin"."""
    return int(name.removeprefix("jax-cuda").removesuffix("-plugin"))


def accepted_by_jax(environment: PythonEnvironment, name: str) -> str:
    """The versions of jaxlib or of a plugin that the installed jax accepts: "<=0.6.2,>=0.6.2"; "" untold.

    What its METADATA says counts; where that does not name it, the table.
    """
    jax = environment.get("jax")
    if jax is None:
        return ""
    # A plugin stands only under its extra, jaxlib under several as well, as "ci" with another version.
    for line in jax.requires:
        requirement = parse_requirement(line)
        if requirement is None or normalised(requirement.name) != name:
            continue
        extra = f"cuda{plugin_major(name)}" if name != "jaxlib" else ""
        if (extra and re.search(rf"""extra\s*==\s*['"]{extra}['"]""", requirement.marker)) or (
            not extra and "extra" not in requirement.marker
        ):
            return requirement.specifiers
    from gpudoctor.knowledge.wheels import jax_release  # here for start-up

    release = jax_release(jax.release)
    if release is None:
        return ""
    if name == "jaxlib":
        return release.jaxlib or f">={release.least_jaxlib}"
    return release.plugins.get(f"cuda{plugin_major(name)}", "")


def mismatches(where: PythonEnvironment) -> Iterator[str]:
    """What of jax, jaxlib, the plugins and their pjrt does not go together, each in a clause; () without jaxlib."""
    jaxlib = where.get("jaxlib")
    if jaxlib is None:
        return
    for plugin in jax_plugins(where):
        runtime = where.get(pjrt_of(plugin.name))
        if not _goes_with(where, plugin, jaxlib):
            yield f"{plugin.name} is {plugin.version}, and jaxlib {jaxlib.version} takes only one of its own version"
        if runtime is None:
            yield f"{plugin.name} {plugin.version} lacks {pjrt_of(plugin.name)}"
        elif runtime.version != plugin.version:
            yield f"{plugin.name} is {plugin.version}, and {runtime.name} is {runtime.version}"
    main = where.get("jax")
    asked = accepted_by_jax(where, "jaxlib")
    if main and asked and not _allowed(jaxlib.release, asked):
        yield f"jaxlib is {jaxlib.version}, and jax {main.version} asks for jaxlib{asked}"


def members(where: PythonEnvironment) -> tuple[Distribution, ...]:
    """jax, jaxlib, the CUDA plugins and their pjrt: those that are there."""
    plugins = [one.name for one in jax_plugins(where)]
    names = ("jax", "jaxlib", *plugins, *map(pjrt_of, plugins))
    return tuple(one for name in names if (one := where.get(name)))


def pjrt_of(plugin: str) -> str:
    """ "jax-cuda12-pjrt" of "jax-cuda12-plugin"."""
    return f"{plugin.removesuffix('plugin')}pjrt"


def _goes_with(where: PythonEnvironment, plugin: Distribution, jaxlib: Distribution) -> bool:
    """jaxlib compares the numbers in front of both versions; before 0.5 only pip looked, at what jax asks for."""
    one, other = parse_version(plugin.version), parse_version(jaxlib.version)
    if one is None or other is None:
        return True  # nothing can be said of a version that is none
    if other.release >= (0, 5):
        return numbers_of(plugin.version) == numbers_of(jaxlib.version)
    return _allowed(plugin.release, accepted_by_jax(where, plugin.name))


def numbers_of(version: str) -> tuple[int, ...]:
    """The numbers in front: (0, 9, 0, 1) of "0.9.0.1.dev1"; () without."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _allowed(version: str, specifiers: str) -> bool:
    """True also where nothing can be told: of nightly builds no range speaks."""
    parsed = parse_version(version)
    if parsed is None or parsed.is_prerelease or not specifiers:
        return True
    try:
        return satisfies(version, specifiers)
    except ValueError:
        return True


def is_known_plugin(major: int, version: str) -> bool:
    """Is there a plugin for this CUDA major in this version?"""
    from gpudoctor.knowledge.wheels import jax_plugin  # here for start-up

    return jax_plugin(f"jax-cuda{major}-plugin", version) is not None


def newest_plugin(major: int, specifiers: str) -> str:
    """The newest known plugin that a jax accepts: the one that pip takes; "" if none is known."""
    from gpudoctor.knowledge import load_table  # here for start-up

    known: Iterable[str] = (
        row["version"] for row in load_table("jax")["plugins"] if row["plugin"] == f"jax-cuda{major}-plugin"
    )
    return next((version for version in reversed(list(known)) if _is_in(version, specifiers)), "")


def _is_in(version: str, specifiers: str) -> bool:
    try:
        return satisfies(version, specifiers)
    except ValueError:  # what is no version fits nothing
        return False
