"""Outcomes, causes before consequences, exit codes: on checks made for the test."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Check, Finding, NotApplicable, Severity, Status, Undecided
from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import Facts, needs
from gpudoctor.snapshot import SnapshotHost


class Weather(NamedTuple):
    rain: bool


class Season(NamedTuple):
    name: str


def _check(id: str, function: object, *, after: tuple[str, ...] = (), severity: Severity = Severity.ERROR) -> Check:
    return Check(id, severity, after, (), "made for a test", function)  # type: ignore[arg-type]


def _wet(weather: Weather) -> Iterator[Finding]:
    if weather.rain:
        yield Finding("the street is wet", "street")


def _slippery(weather: Weather) -> Iterator[Finding]:
    if weather.rain:
        yield Finding("the street is slippery", "street")


def _never(weather: Weather) -> Iterator[Finding]:
    yield from ()


def _no_season(season: Season) -> Iterator[Finding]:
    yield Finding(season.name)


def _either(season: Season | Unavailable) -> Iterator[Finding]:
    if isinstance(season, Unavailable):
        yield Finding(f"no season: {season}")


def _not_here(weather: Weather) -> Iterator[Finding]:
    raise NotApplicable("indoors")


def _broken(weather: Weather) -> Iterator[Finding]:
    raise ZeroDivisionError("a bug")


def _facts(rain: bool) -> Facts:
    return Facts(SnapshotHost({}), {Weather: Weather(rain), Season: Unavailable("no calendar")})


def test_each_outcome() -> None:
    checks = [_check("a.wet", _wet), _check("a.never", _never), _check("a.unknown", _no_season)]
    checks += [_check("a.not-here", _not_here), _check("a.broken", _broken), _check("a.either", _either)]
    report = diagnose(_facts(rain=True), checks, deselected=[_check("a.other", _never)])
    statuses = {outcome.check.id: outcome.status for outcome in report.outcomes}
    assert statuses == {
        "a.wet": Status.FOUND,
        "a.never": Status.OK,
        "a.unknown": Status.UNKNOWN,
        "a.not-here": Status.SKIPPED,
        "a.broken": Status.CRASHED,
        "a.either": Status.FOUND,
        "a.other": Status.SKIPPED,
    }
    reasons = {outcome.check.id: outcome.reason for outcome in report.outcomes}
    assert reasons["a.unknown"] == "no calendar"
    assert "ZeroDivisionError: a bug" in reasons["a.broken"]
    assert reasons["a.not-here"] == "indoors"


def test_a_cause_blocks_its_consequences_down_the_chain() -> None:
    chain = [
        _check("z.wet", _wet),
        _check("a.slippery", _slippery, after=("z.wet",)),
        _check("b.fall", _slippery, after=("a.slippery",)),
        _check("c.fine", _never, after=("z.wet",)),
        _check("d.unknown", _no_season, after=("z.wet",)),
    ]
    report = diagnose(_facts(rain=True), chain)
    assert [(ranked.check.id, set(ranked.explains)) for ranked in report.findings] == [
        ("z.wet", {"a.slippery", "b.fall"})
    ]
    assert {o.check.id: o.cause for o in report.outcomes if o.status is Status.BLOCKED} == {
        "a.slippery": "z.wet",
        "b.fall": "z.wet",
        "d.unknown": "z.wet",
    }
    assert next(o for o in report.outcomes if o.check.id == "c.fine").status is Status.OK


def test_a_warning_that_explains_an_error_is_an_error() -> None:
    checks = [
        _check("a.wet", _wet, severity=Severity.WARNING),
        _check("b.slippery", _slippery, after=("a.wet",), severity=Severity.ERROR),
    ]
    report = diagnose(_facts(rain=True), checks)
    assert [(ranked.check.id, ranked.severity) for ranked in report.findings] == [("a.wet", Severity.ERROR)]
    assert report.exit_code == 2


def test_mere_information_explains_nothing() -> None:
    checks = [
        _check("a.wet", _wet, severity=Severity.INFO),
        _check("b.slippery", _slippery, after=("a.wet",)),
    ]
    report = diagnose(_facts(rain=True), checks)
    assert [ranked.check.id for ranked in report.findings] == ["b.slippery", "a.wet"]


@pytest.mark.parametrize(
    ("check", "rain", "exit_code", "status"),
    [
        (_check("a.x", _wet), False, 0, "ok"),
        (_check("a.x", _wet, severity=Severity.INFO), True, 0, "info"),
        (_check("a.x", _wet, severity=Severity.WARNING), True, 1, "warning"),
        (_check("a.x", _wet), True, 2, "error"),
        (_check("a.x", _no_season), True, 3, "unknown"),
        (_check("a.x", _no_season, severity=Severity.WARNING), True, 0, "ok"),
        (_check("a.x", _broken, severity=Severity.INFO), True, 3, "unknown"),
    ],
)
def test_exit_codes(check: Check, rain: bool, exit_code: int, status: str) -> None:
    report = diagnose(_facts(rain), [check])
    assert (report.exit_code, report.status) == (exit_code, status)


def test_what_a_disk_cannot_tell_does_not_make_it_unhealthy() -> None:
    facts = Facts(SnapshotHost({}), {Season: NotRunning("the system is not running")})
    report = diagnose(facts, [_check("a.x", _no_season), _check("b.x", _no_season, after=("a.x",))])
    assert [outcome.status for outcome in report.outcomes] == [Status.UNKNOWN, Status.UNKNOWN]
    assert report.exit_code == 0


def test_a_parameter_that_is_no_fact_fails_where_it_stands() -> None:
    def wants(something: Weather | Season) -> None: ...

    with pytest.raises(TypeError, match="wants: something"):
        needs(wants)


def test_annotations_as_text_work_for_plugins() -> None:
    def wants(weather: "Weather", host: "Host") -> None: ...

    assert {name: need.kind for name, need in needs(wants).items()} == {"weather": Weather, "host": Host}


def test_an_id_is_registered_once() -> None:
    from gpudoctor.registry import Table

    table: Table[str, int] = Table()
    table["a.b"] = 1
    with pytest.raises(ValueError, match="registered twice"):
        table["a.b"] = 2


def test_one_sick_gpu_does_not_hide_another() -> None:
    def lost(weather: Weather) -> Iterator[Finding]:
        yield Finding("gone", "0000:01:00.0")

    def silent(weather: Weather) -> Iterator[Finding]:
        yield Finding("does not answer", "0000:01:00.0")
        yield Finding("does not answer", "0000:02:00.0")

    def wrong_number(weather: Weather) -> Iterator[Finding]:
        yield Finding("two GPUs too few")

    checks = [
        _check("a.lost", lost),
        _check("b.silent", silent, after=("a.lost",)),
        _check("c.number", wrong_number, after=("a.lost", "b.silent")),
    ]
    report = diagnose(_facts(rain=True), checks)
    assert {(ranked.check.id, ranked.finding.subject) for ranked in report.findings} == {
        ("a.lost", "0000:01:00.0"),
        ("b.silent", "0000:02:00.0"),
    }


def test_what_could_not_be_told_for_one_reason_is_said_once() -> None:
    checks = [
        _check("a.asks", _no_season),
        _check("b.asks-too", _no_season, after=("a.asks",)),
        _check("c.asks-too", _no_season, after=("b.asks-too",)),
    ]
    report = diagnose(_facts(rain=True), checks)
    assert [(outcome.status, outcome.cause) for outcome in report.outcomes] == [
        (Status.UNKNOWN, ""),
        (Status.BLOCKED, "a.asks"),
        (Status.BLOCKED, "a.asks"),
    ]
    assert report.exit_code == 3


def test_a_reason_that_matters_is_not_hidden_behind_a_check_for_which_it_does_not() -> None:
    checks = [
        _check("a.asks", _no_season, severity=Severity.WARNING),
        _check("b.asks-too", _no_season, after=("a.asks",)),
    ]
    report = diagnose(_facts(rain=True), checks)
    assert [(outcome.status, outcome.matters) for outcome in report.outcomes] == [
        (Status.UNKNOWN, False),
        (Status.UNKNOWN, True),
    ]
    assert report.exit_code == 3


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.ERROR])
def test_only_an_error_explains_that_what_matters_could_not_be_told(severity: Severity) -> None:
    checks = [_check("a.wet", _wet, severity=severity), _check("b.asks", _no_season, after=("a.wet",))]
    report = diagnose(_facts(rain=True), checks)
    hidden = severity is Severity.ERROR
    assert report.outcomes[1].status is (Status.BLOCKED if hidden else Status.UNKNOWN)
    assert report.outcomes[1].matters is not hidden


def _in_environments(*places: tuple[str, str]) -> Check:
    """A check that finds something in these (environment, framework)."""

    def function(weather: Weather) -> Iterator[Finding]:
        for environment, framework in places:
            yield Finding("it is wet there", environment=environment, framework=framework)

    return _check("a.wet", function)


def test_what_is_wrong_in_one_environment_explains_nothing_in_another() -> None:
    def slippery(weather: Weather) -> Iterator[Finding]:
        yield Finding("slippery", environment="/a", framework="torch")
        yield Finding("slippery", environment="/b", framework="torch")
        yield Finding("slippery", environment="/a", framework="jax")

    checks = [_in_environments(("/a", "torch")), _check("a.slippery", slippery, after=("a.wet",))]
    report = diagnose(_facts(rain=True), checks)
    left = [(r.check.id, r.finding.environment, r.finding.framework) for r in report.findings]
    assert left == [("a.wet", "/a", "torch"), ("a.slippery", "/b", "torch"), ("a.slippery", "/a", "jax")]


def test_a_cause_names_what_it_explains_itself() -> None:
    def slippery(weather: Weather) -> Iterator[Finding]:
        yield Finding("slippery", environment="/b")

    checks = [_in_environments(("/a", ""), ("/b", "")), _check("a.slippery", slippery, after=("a.wet",))]
    report = diagnose(_facts(rain=True), checks)
    assert {r.finding.environment: r.explains for r in report.findings} == {"/a": (), "/b": ("a.slippery",)}


def test_what_is_wrong_with_the_machine_explains_every_environment() -> None:
    def slippery(weather: Weather) -> Iterator[Finding]:
        yield Finding("slippery", environment="/b")

    report = diagnose(_facts(rain=True), [_check("a.wet", _wet), _check("a.slippery", slippery, after=("a.wet",))])
    assert [(r.check.id, r.explains) for r in report.findings] == [("a.wet", ("a.slippery",))]


@pytest.mark.parametrize(("matters", "exit_code"), [(True, 3), (False, 0)])
def test_one_subject_that_could_not_be_judged_hides_no_other(matters: bool, exit_code: int) -> None:
    def some(weather: Weather) -> Iterator[Finding | Undecided]:
        yield Undecided("/b/METADATA: damaged", matters, "/b")
        if weather.rain:
            yield Finding("wet", environment="/a")

    (outcome,) = diagnose(_facts(rain=True), [_check("a.some", some)]).outcomes
    assert (outcome.status, outcome.reason, outcome.matters) == (Status.FOUND, "/b/METADATA: damaged", matters)
    report = diagnose(_facts(rain=False), [_check("a.some", some)])
    assert report.outcomes[0].status is Status.UNKNOWN
    assert report.exit_code == exit_code


def test_an_unknown_is_not_explained_by_another_environment() -> None:
    def some(weather: Weather) -> Iterator[Finding | Undecided]:
        yield Undecided("/b is damaged", True, "/b")

    checks = [_in_environments(("/a", "")), _check("a.some", some, after=("a.wet",))]
    outcomes = {outcome.check.id: outcome for outcome in diagnose(_facts(rain=True), checks).outcomes}
    assert outcomes["a.some"].status is Status.UNKNOWN
    assert outcomes["a.some"].matters
