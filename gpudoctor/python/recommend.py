"""Which build of a framework fits a driver, its GPUs and a Python, and why the others do not.

All answers come from the tables of `knowledge` and the rules of `compatibility`; nothing is asked of a network.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.compatibility import Coverage, coverage, driver_level
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.host import Unavailable
from gpudoctor.knowledge import load_table
from gpudoctor.knowledge.cuda import version_numbers
from gpudoctor.python.candidates import FRAMEWORKS, Candidate, builds
from gpudoctor.python.fitting import Judged, Target, cuda_words, dotted, first_driver, judged, least_driver, level_of
from gpudoctor.python.pep440 import parse_version

__all__ = ["FRAMEWORKS", "Choice", "Recommendation", "Rejected", "Target", "installed_in", "recommend", "target_of"]


class Choice(NamedTuple):
    """What to install. `why`: sentences."""

    framework: str
    version: str
    requirements: tuple[str, ...]  # ("torch==2.9.1+cu126", "torchvision==0.24.1+cu126")
    index_url: str  # "" for PyPI
    cuda: tuple[int, int]  # of CuPy and JAX the major counts: (12, 0)
    why: str


class Rejected(NamedTuple):
    """A build, or a row of releases, that was not chosen."""

    what: str  # "torch 2.11.0 to 2.15.0 with CUDA 13.0"
    why: str  # a clause: "CUDA 13.0 needs driver 580.65.06 or newer"


class Recommendation(NamedTuple):
    """The answer for one framework. Without `best` one of `unknown` and `instead` says how to get on."""

    framework: str
    best: Choice | None
    rejected: tuple[Rejected, ...] = ()
    unknown: str = ""  # why it cannot be told, and what would tell
    instead: tuple[str, ...] = ()  # sentences: what would fit


def target_of(
    environment: PythonEnvironment | None, driver: DriverCuda | Unavailable, gpus: ComputeGpus | Unavailable
) -> Target:
    """What a build must fit that goes into this environment of this machine."""
    known = driver if isinstance(driver, DriverCuda) else None
    return Target(
        known.driver if known else "",
        known.cuda if known else None,
        gpus.distinct if isinstance(gpus, ComputeGpus) else (),
        environment.minor_version if environment else None,
        (environment.machine if environment else "") or "x86_64",
    )


def installed_in(environment: PythonEnvironment) -> dict[str, str]:
    """Name to release of what concerns the GPU there."""
    return {one.name: one.release for one in environment.distributions}


def recommend(
    framework: str, target: Target, version: str = "", *, installed: Mapping[str, str] | None = None
) -> Recommendation:
    """The build of a framework that fits; without a version, of the newest release that does.

    `version` may name a variant too: "2.9.1+cu126". `installed`: what is there, name to release ("0.24.1"); companions
    of torch change with it.
    Raises ValueError for a framework that is not in FRAMEWORKS.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"{framework!r} is none of {', '.join(FRAMEWORKS)}")
    missing = _missing(framework, target)
    if missing:
        return Recommendation(framework, None, unknown=missing)
    releases = FRAMEWORKS[framework].releases()
    wanted = _known_release(releases, version) if version else ""
    if wanted is None:
        table = load_table(framework)["date"]
        return Recommendation(
            framework,
            None,
            unknown=f"the table of {table} knows {framework} {releases[0]} to {releases[-1]}, and no {version}",
        )
    seen: list[Judged] = []
    for release in (wanted,) if wanted else reversed(releases):
        built = [
            judged(candidate, target)
            for candidate in builds(framework, release, target.machine, tuple(sorted((installed or {}).items())))
            if not version.partition("+")[2] or _is_variant(candidate, version)
        ]
        fitting = sorted((one for one in built if not one.obstacle), key=lambda one: _rank(one, target))
        seen += built
        if fitting:
            best = fitting[-1]
            return Recommendation(framework, _choice(framework, best, target), _rejected(seen, best))
    rejected = _rejected(seen, None) or (Rejected(f"{framework} {version}", "no variant of that name is known"),)
    return Recommendation(framework, None, rejected, instead=_instead(framework, target, version, seen, installed))


def _missing(framework: str, target: Target) -> str:
    if not target.driver:
        return "no driver is known here; --driver 580 says which one is meant"
    if driver_level(target.driver) is None and not target.driver_cuda:
        return f"driver {target.driver} is older than every driver of the tables; --driver names another"
    if not target.gpus:
        return 'no NVIDIA GPU is known here; --gpu "RTX 4090" or --gpu sm_89 says which one is meant'
    for gpu in target.gpus:
        if gpu.capability is None:
            return f"the compute capability of {gpu.words} is not known; --gpu sm_89 says it"
    if target.machine not in FRAMEWORKS[framework].machines:
        known = " and ".join(FRAMEWORKS[framework].machines)
        return f"the tables know the wheels of {framework} for {known}, not those for {target.machine}"
    return ""


def _known_release(releases: Sequence[str], version: str) -> str | None:
    """The release of the table that is meant: "2.9" is 2.9.0."""
    asked = parse_version(version.partition("+")[0])
    return next((release for release in releases if asked and parse_version(release) == asked), None)


def _is_variant(candidate: Candidate, version: str) -> bool:
    return any(word.endswith(f"+{version.partition('+')[2]}") for word in candidate.requirements[:1])


def _rank(chosen: Judged, target: Target) -> tuple[bool, bool, bool, tuple[int, int]]:
    """The plain installation before variants, the certain before the inferred, native before compatible, then newer."""
    candidate = chosen.candidate
    return (candidate.default, candidate.verified, candidate.cuda <= level_of(target), candidate.cuda)


def _choice(framework: str, chosen: Judged, target: Target) -> Choice:
    candidate = chosen.candidate
    requirements = (*candidate.requirements, *((chosen.pin,) if chosen.pin else ()))
    why = " ".join(_why(chosen, target))
    return Choice(framework, candidate.version, requirements, candidate.index_url, candidate.cuda, why)


def _why(chosen: Judged, target: Target) -> Iterable[str]:
    candidate, level = chosen.candidate, level_of(target)
    if candidate.cuda == level:
        yield f"Driver {target.driver} serves CUDA {dotted(level)}."
    elif candidate.cuda < level:
        yield f"Driver {target.driver} serves CUDA {dotted(level)}, and with it CUDA {cuda_words(candidate)}."
    else:
        yield (
            f"Driver {target.driver} serves CUDA {dotted(level)} natively, and CUDA {cuda_words(candidate)} by minor"
            f" version compatibility, which takes {least_driver(candidate.cuda)} or newer."
        )
    for gpu in target.gpus:
        if version_numbers(target.driver)[:1] < version_numbers(first_driver(gpu))[:1]:
            yield f"That driver {target.driver} knows {gpu.words} is doubtful: branch {first_driver(gpu)} brought it."
        if not candidate.architectures or gpu.capability is None:
            continue
        if coverage(candidate.architectures, gpu.capability) is Coverage.PTX:
            yield f"For {gpu.words} it has PTX, which the driver compiles: the first start takes minutes."
        else:
            yield f"It has native code for {gpu.words}."
    if target.python and candidate.pythons:
        yield f"There is a wheel for Python {target.python[0]}.{target.python[1]}."
    if chosen.pin:
        yield chosen.pin_why
    if not candidate.verified:
        yield "That this variant exists was inferred, not read from the wheel itself."
    yield from candidate.notes


def _rejected(seen: Sequence[Judged], best: Judged | None) -> tuple[Rejected, ...]:
    """Releases with the same obstacle in one row; of the release that was chosen, also what would have run."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in seen:
        if one is best or not (one.obstacle or best):
            continue
        why = one.obstacle or "would run too, and is not the first choice"
        what = one.candidate.label.partition(one.candidate.version)
        rows.setdefault((what[0] + "{}" + what[2], why), []).append(one.candidate.version)
    return tuple(
        Rejected(what.format(f"{versions[-1]} to {versions[0]}" if versions[1:] else versions[0]), why)
        for (what, why), versions in rows.items()
    )


def _instead(
    framework: str, target: Target, version: str, seen: Sequence[Judged], installed: Mapping[str, str] | None
) -> tuple[str, ...]:
    """What would fit: another release, a newer driver, or each GPU alone."""
    sentences = []
    if version:
        other = recommend(framework, target, installed=installed).best
        if other:
            index = f" from {other.index_url}" if other.index_url else ""
            sentences.append(f"{framework} {other.version} would fit: {' '.join(other.requirements)}{index}.")
    drivers: dict[str, str] = {}
    for one in seen:
        needed = max(least_driver(one.candidate.cuda), *(first_driver(gpu) for gpu in target.gpus), key=version_numbers)
        newer = target._replace(driver=needed, driver_cuda=None)
        if needed and one.obstacle and not judged(one.candidate, newer).obstacle:
            drivers.setdefault(needed, one.candidate.label)
    if drivers:
        needed, label = min(drivers.items(), key=lambda item: version_numbers(item[0]))
        sentences.append(f"With driver {needed} or newer {label} would.")
    timeless = target._replace(python=None)
    if target.python and not sentences and not drivers:
        able = next((one.candidate for one in seen if not judged(one.candidate, timeless).obstacle), None)
        if able:
            first, last = min(able.pythons), max(able.pythons)
            sentences.append(f"With Python {dotted(first)} to {dotted(last)} {able.label} would.")
    kinds = {gpu.capability: gpu for gpu in target.gpus}
    if len(kinds) > 1:
        for gpu in kinds.values():
            alone = recommend(framework, target._replace(gpus=(gpu,)), version, installed=installed).best
            if alone:
                index = f" from {alone.index_url}" if alone.index_url else ""
                sentences.append(f"For {gpu.words} alone: {' '.join(alone.requirements)}{index}.")
    return tuple(sentences)
