"""Packages that were made for NumPy 1, and the NumPy that all packages of an environment can be used with."""

from typing import NamedTuple

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.knowledge.numpy_abi import first_for_numpy_2
from gpudoctor.python.pep440 import parse_version, satisfies
from gpudoctor.python.pins import demands_of, is_numpy_1_only


class MadeForNumpy1(NamedTuple):
    """One package, and what says so."""

    by: Distribution
    source: str
    value: str


def made_for_numpy_1(environment: PythonEnvironment) -> tuple[MadeForNumpy1, ...]:
    """By their own requirements, or by the table of first releases for NumPy 2."""
    found = []
    asked = {demand.by.name: demand for demand in demands_of(environment, "numpy")}
    for one in environment.distributions:
        demand, first = asked.get(one.name), first_for_numpy_2(one.name)
        version, least = parse_version(one.version), parse_version(first.version) if first else None
        if demand and is_numpy_1_only(demand.specifiers):
            found.append(MadeForNumpy1(one, f"{one.folder}/METADATA", f"Requires-Dist: numpy{demand.specifiers}"))
        elif first and version and least and version < least:
            value = f"the first release for NumPy 2 is {first.version}"
            found.append(MadeForNumpy1(one, f"table of NumPy 2, {one.name}", value))
    return tuple(found)


def numpy_1_requirement(environment: PythonEnvironment) -> str:
    """ "numpy<2,>=1.22"; "" where a package needs NumPy 2."""
    clauses = ["<2"]
    for demand in demands_of(environment, "numpy"):
        try:
            if not any(satisfies(version, demand.specifiers) for version in ("1.26.4", "1.24.4", "1.22.4", "1.19.5")):
                return ""
        except ValueError:
            continue
        clauses += [clause.strip().replace(" ", "") for clause in demand.specifiers.split(",") if clause.strip()]
    plain = dict.fromkeys(clause for clause in clauses if "*" not in clause)
    return f"numpy{','.join(plain)}"
