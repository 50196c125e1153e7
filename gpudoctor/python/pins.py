"""What the packages of a Python environment demand of each other, where that is not kept, and what would keep it."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.python.pep440 import exact_version, parse_version, satisfies
from gpudoctor.python.pep508 import applies, normalised, parse_requirement

TORCH_FAMILY = ("torchvision", "torchaudio")
_RENEWED = ("xformers",)


class Demand(NamedTuple):
    """What one distribution asks of another that is installed."""

    by: Distribution
    specifiers: str  # "==2.8.0", ">=2.0,<3"

    @property
    def exact(self) -> str:
        """ "2.8.0" of "==2.8.0", "" if more than one version would do."""
        return exact_version(self.specifiers)


class BrokenPin(NamedTuple):
    """A distribution whose version is not what others ask for."""

    target: Distribution
    broken: tuple[Demand, ...]
    all: tuple[Demand, ...]  # also those that are kept

    @property
    def words(self) -> str:
        """ "vllm 0.11.0 asks for torch==2.8.0"."""
        return " and ".join(
            f"{one.by.name} {one.by.version} asks for {self.target.name}{one.specifiers}" for one in self.broken
        )


class Pins(NamedTuple):
    """Of one environment. `problems`: what could not be judged, and why."""

    broken: tuple[BrokenPin, ...]
    problems: tuple[str, ...]


class Restoring(NamedTuple):
    """What to install so that a pin is kept again."""

    requirements: tuple[str, ...]
    index_url: str = ""


def broken_pins(environment: PythonEnvironment) -> Pins:
    """All but those that a check of their own explains: see `is_explained_elsewhere`."""
    demands, problems = _demands(environment)
    broken = []
    for name, asked in demands.items():
        target = environment.get(name)
        if target is None:
            continue
        unkept = []
        for demand in asked:
            try:
                kept = fulfils(target.version, demand.specifiers)
            except ValueError as error:
                problems.append(f"{target.folder}: {error}")
                continue
            if not kept and not is_explained_elsewhere(environment, demand, target):
                unkept.append(demand)
        if unkept:
            broken.append(BrokenPin(target, tuple(unkept), tuple(asked)))
    return Pins(_without_followers(environment, broken), tuple(dict.fromkeys(problems)))


def _without_followers(environment: PythonEnvironment, broken: Sequence[BrokenPin]) -> tuple[BrokenPin, ...]:
    """Without torchvision and torchaudio where they come back together with torch."""
    torch = next((pin for pin in broken if pin.target.name == "torch"), None)
    back = restoring(environment, torch) if torch and len(broken) > 1 else None
    coming = [one.partition("+")[0] for one in back.requirements] if back else []
    return tuple(
        pin
        for pin in broken
        if pin.target.name not in TORCH_FAMILY
        or not all(f"{pin.target.name}=={one.exact.partition('+')[0]}" in coming for one in pin.broken)
    )


def torch_pin(environment: PythonEnvironment) -> tuple[BrokenPin, Restoring] | None:
    """What takes torch back to the version that another package asks for; None where nobody asks, or all contradict.

    Extensions alone are no reason to: they are renewed for the torch that is there.
    """
    if environment.get("torch") is None:
        return None
    pin = next((one for one in broken_pins(environment).broken if one.target.name == "torch"), None)
    if pin is None or all(demand.by.name in _RENEWED for demand in pin.broken):
        return None
    back = restoring(environment, pin)
    return (pin, back) if back else None


def demands_of(environment: PythonEnvironment, name: str) -> tuple[Demand, ...]:
    """What is asked of one distribution, without what comes with extras."""
    return tuple(_demands(environment, name)[0].get(name, ()))


def is_explained_elsewhere(environment: PythonEnvironment, demand: Demand, target: Distribution) -> bool:
    """torchvision and its torch, JAX and its plugin, NumPy 2 and what was made for NumPy 1."""
    if target.name == "torch":
        return demand.by.name in TORCH_FAMILY
    if target.name.startswith("jax") and demand.by.name.startswith("jax"):
        return "cuda" in target.name or bool(environment.having("jax-cuda"))
    return target.name == "numpy" and is_numpy_1_only(demand.specifiers)


def is_numpy_1_only(specifiers: str) -> bool:
    """Does this demand shut out all of NumPy 2?"""
    try:
        return not any(
            satisfies(version, specifiers) for version in ("2.0.0", "2.0.2", "2.1.3", "2.2.6", "2.4.0", "2.99")
        )
    except ValueError:
        return False


def fulfils(version: str, specifiers: str) -> bool:
    """As pip sees it; a build from source ("2.5.0a0+git1234") passes for its release. Raises ValueError."""
    if satisfies(version, specifiers):
        return True
    parsed = parse_version(version)
    if parsed is None or not (parsed.local and parsed.is_prerelease):
        return False
    return satisfies(".".join(map(str, parsed.release)), specifiers)


def restoring(environment: PythonEnvironment, pin: BrokenPin) -> Restoring | None:
    """What keeps all demands on one distribution; None where they contradict each other, or nothing known does."""
    name = pin.target.name
    exact = [demand.exact for demand in (*pin.broken, *pin.all) if demand.exact]
    if name == "torch":
        return _restoring_torch(environment, pin, exact)
    if exact:
        kept = all(_kept(exact[0], demand) for demand in pin.all)
        return Restoring((f"{name}=={exact[0]}",)) if kept else None
    clauses = dict.fromkeys(
        clause.strip().replace(" ", "")
        for demand in pin.all
        for clause in demand.specifiers.split(",")
        if clause.strip()
    )
    return Restoring((name + ",".join(map(_without_star, clauses)),))


def _restoring_torch(environment: PythonEnvironment, pin: BrokenPin, exact: Sequence[str]) -> Restoring | None:
    """The variant (CUDA) stays; torchvision and torchaudio go along, for each belongs to one torch."""
    from gpudoctor.knowledge.torch import releases
    from gpudoctor.python.candidates import torch_candidates  # here for start-up: only broken pins need the tables

    known = [exact[0].partition("+")[0]] if exact else list(reversed(releases()))
    others = [demand for demand in pin.all if demand.by.name not in TORCH_FAMILY]
    release = next((one for one in known if all(_kept(one, demand) for demand in others)), None)
    if release is None:
        return None
    installed = {found.name: found.release for found in environment.distributions if found.name in TORCH_FAMILY}
    local = (exact[0] if exact else "").partition("+")[2] or pin.target.version.partition("+")[2]
    wanted = f"{release}+{local}" if local.startswith("cu") else release
    built = list(torch_candidates(wanted, environment.machine or "x86_64", installed))
    same = [one for one in built if one.requirements[0] == f"torch=={wanted}"]
    chosen = next(iter(same), None) or next((one for one in built if one.default), None)
    if chosen is None:
        return Restoring((f"torch=={release}",))
    return Restoring(chosen.requirements, chosen.index_url)


def _kept(version: str, demand: Demand) -> bool:
    try:
        return fulfils(version, demand.specifiers.partition("+")[0] if demand.exact else demand.specifiers)
    except ValueError:
        return False


def _without_star(clause: str) -> str:
    """ "~=13.1.0" for "==13.1.*", which means the same."""
    return f"~={clause[2:-2]}.0" if clause.startswith("==") and clause.endswith(".*") else clause


def _demands(environment: PythonEnvironment, only: str = "") -> tuple[dict[str, list[Demand]], list[str]]:
    """By the name of what is asked for, and what could not be read. Extras count where another one asks for them."""
    names = {only} if only else {one.name for one in environment.distributions}
    found: dict[str, list[Demand]] = {}
    problems = [one.problem for one in environment.distributions if one.problem]
    extras: dict[str, list[str]] = {}
    for with_extras in (False, True):
        for one in environment.distributions:
            wanted = extras.get(one.name, [])
            if with_extras and not wanted:
                continue
            for line in one.requires:
                if ("extra" in line.partition(";")[2]) is not with_extras or _named(line) not in names:
                    continue
                for demand in _read(environment, one, line, wanted, extras, problems):
                    found.setdefault(_named(line), []).append(demand)
    return found, problems


def _named(line: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", line)
    return normalised(match[0].rstrip("._-")) if match else ""


def _read(
    environment: PythonEnvironment,
    one: Distribution,
    line: str,
    wanted: Sequence[str],
    extras: dict[str, list[str]],
    problems: list[str],
) -> Iterator[Demand]:
    requirement = parse_requirement(line)
    if requirement is None:
        problems.append(f"{one.folder}/METADATA: {line[:80]!r} is no requirement")
        return
    name = normalised(requirement.name)
    if name == one.name or requirement.url:
        return
    try:
        if not environment.version and requirement.marker:
            raise ValueError(f"the Python of {environment.prefix} is not known")
        machine = environment.machine or "x86_64"
        counts = applies(requirement, extras=wanted, python=environment.version, machine=machine)
    except ValueError as error:
        problems.append(f"{one.folder}/METADATA: {error}")
        return
    if counts:
        extras.setdefault(name, []).extend(requirement.extras)
        if requirement.specifiers:
            yield Demand(one, requirement.specifiers)
