"""What the plugins brought: facts by type, checks and fixes by id.

A fact is a type and a function that finds it out. Checks, fixes and other facts ask for it by naming the type in
their signature; `Kernel | Unavailable` asks for the fact or, where it cannot be had, for the reason.
"""

import os
import sys
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from gpudoctor.host import Host, Unavailable
from gpudoctor.time_limit import stop_in_time

if TYPE_CHECKING:
    from gpudoctor.findings import Check
    from gpudoctor.repair import Fix

K = TypeVar("K")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

GROUP = "gpudoctor.plugins"


class Table(dict[K, T]):
    """A dict whose keys are set once."""

    def __setitem__(self, key: K, value: T) -> None:
        if key in self:
            raise ValueError(f"{key!r} is registered twice: {self[key]!r} and {value!r}")
        super().__setitem__(key, value)


class BrokenPlugin(NamedTuple):
    """A plugin's module that could not be imported, and why."""

    name: str
    reason: str


class Registry(NamedTuple):
    providers: Table[type, Callable[..., Any]]
    checks: "Table[str, Check]"
    fixes: "Table[str, Fix]"
    broken: Table[str, BrokenPlugin]
    loaded: set[str]  # modules that were imported, or tried


registry = Registry(Table(), Table(), Table(), Table(), set())


class Need(NamedTuple):
    """What one parameter asks for. `or_reason`: an Unavailable is passed in place of the fact."""

    kind: type
    or_reason: bool


def fact(provider: F) -> F:
    """Register the function that finds out the type it returns."""
    registry.providers[_annotations(provider)["return"]] = provider
    return provider


@cache
def needs(function: Callable[..., object]) -> Mapping[str, Need]:
    """The facts that a function asks for, by parameter name. Raises TypeError for what cannot be injected."""
    found = {}
    for name, annotation in _annotations(function).items():
        if name == "return":
            continue
        or_reason = False
        if get_origin(annotation) in (types.UnionType, Union):
            kinds = [kind for kind in get_args(annotation) if kind is not Unavailable]
            or_reason = len(kinds) == 1 < len(get_args(annotation))
            annotation = kinds[0] if or_reason else annotation
        if not isinstance(annotation, type):
            raise TypeError(f"{function.__qualname__}: {name}: {annotation!r} is no fact")
        found[name] = Need(annotation, or_reason)
    return found


def _annotations(function: Callable[..., object]) -> Mapping[str, Any]:
    found: dict[str, Any] = function.__annotations__
    if any(isinstance(annotation, str) for annotation in found.values()):
        from typing import get_type_hints

        return get_type_hints(function)
    return found


class Facts:
    """Facts about one host, each found out at most once."""

    def __init__(self, host: Host, known: Mapping[type, object] | None = None) -> None:
        self._answers: dict[type, object] = {Host: host, **(known or {})}

    @property
    def host(self) -> Host:
        return self.get(Host)  # type: ignore[type-abstract]

    def get(self, kind: type[T]) -> T:
        """The fact. Raises Unavailable where it cannot be had."""
        if kind not in self._answers:
            self._answers[kind] = self._find_out(kind)
        answer = self._answers[kind]
        if isinstance(answer, Unavailable):
            raise answer
        return answer  # type: ignore[return-value]

    def get_or_reason(self, kind: type[T]) -> T | Unavailable:
        try:
            return self.get(kind)
        except Unavailable as reason:
            return reason

    def get_for_words(self, kind: type[T]) -> T | Unavailable:
        """For a report's own words. Where finding it out crashes, the outcome of a check that needs it tells so."""
        try:
            return self.get(kind)
        except Unavailable as reason:
            return reason
        except Exception as error:  # noqa: BLE001 - a report that one fact could suppress would hide what was found
            return Unavailable(f"{type(error).__name__}: {error}")

    def with_known(self, *facts: object) -> "Facts":
        """The same facts and these; what is found out from now on is not shared."""
        return Facts(self.host, {**self._answers, **{type(fact): fact for fact in facts}})

    def supposing(self, answers: Mapping[type, object]) -> "Facts":
        """As if the machine had these answers (a fact, or the Unavailable that stands for it, by the fact's type).

        What follows from those that differ from what is known is found out anew; all else that is known is kept.
        """
        stale = {kind for kind, answer in answers.items() if self._answers.get(kind) is not answer}
        while grown := {
            kind
            for kind, provider in registry.providers.items()
            if kind not in stale
            and kind not in answers
            and any(need.kind in stale for need in needs(provider).values())
        }:
            stale |= grown
        kept = {kind: answer for kind, answer in self._answers.items() if kind not in stale}
        return Facts(self.host, {**kept, **answers})

    def call(self, function: Callable[..., T]) -> T:
        """Call a function with the facts that its signature names."""
        return function(
            **{
                name: self.get_or_reason(need.kind) if need.or_reason else self.get(need.kind)
                for name, need in needs(function).items()
            }
        )

    def _find_out(self, kind: type) -> object:
        provider = registry.providers.get(kind)
        if provider is None:
            raise LookupError(f"no provider for {kind.__qualname__}; is the module that brings it imported?")
        try:
            return stop_in_time(lambda: self.call(provider))
        except Unavailable as reason:
            return reason


class NoPlugins(Exception):
    """No plugin brought a check, so silence would mean nothing."""


def load_plugins(*, fixes: bool = False) -> list[BrokenPlugin]:
    """Import every module of every installed plugin package; those named "...fixes" only when asked to.

    Returns the modules that failed. Raises NoPlugins if no check came of it.
    """
    # Our own first: a third party's check must not take an id away from one of ours.
    points = _entry_points(tuple(sys.path))
    for name, package in sorted(points, key=lambda point: (not point[1].startswith("gpudoctor."), point)):
        if name.endswith("fixes") == fixes or not name.endswith("fixes"):
            for module in (package, *_modules_of(package)):
                _import(module)
    if not registry.checks:
        reasons = "; ".join(f"{plugin.name}: {plugin.reason}" for plugin in registry.broken.values())
        raise NoPlugins(f"no checks were found in {GROUP!r}; is gpudoctor installed?" + f" {reasons}" * bool(reasons))
    return list(registry.broken.values())


def _import(name: str) -> None:
    if name in registry.loaded:
        return
    registry.loaded.add(name)
    try:
        __import__(name)
    except Exception as error:  # noqa: BLE001 - a plugin can fail in any way it likes; it becomes a visible outcome
        registry.broken[name] = BrokenPlugin(name, f"{type(error).__name__}: {error}")


@cache
def _modules_of(package: str) -> list[str]:
    """The public modules of a package that was imported, without importing pkgutil for it."""
    _import(package)
    paths = getattr(sys.modules.get(package), "__path__", ())
    names = {entry.partition(".")[0] for path in paths for entry in os.listdir(path) if entry.endswith(".py")}
    return sorted(f"{package}.{name}" for name in names if not name.startswith("_"))


@cache
def _entry_points(path: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """(name, module) of the group's entry points, from the metadata files on this sys.path.

    importlib.metadata says the same, but its import alone costs half of what a whole check may take.
    """
    found = set[tuple[str, str]]()
    for folder in dict.fromkeys(path):
        try:
            names = os.listdir(folder or ".")
        except OSError:  # zip files and folders that are not there: no metadata folder in them
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                found.update(_group_of(os.path.join(folder, name, "entry_points.txt")))
    return frozenset(found)


def _group_of(path: str) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:  # most distributions have no entry points
        return []
    if GROUP not in text:
        return []
    section, pairs = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip().strip("[]").strip()
        elif section == GROUP and "=" in line:
            name, _, module = line.partition("=")
            pairs.append((name.strip(), module.partition("[")[0].strip()))
    return pairs
