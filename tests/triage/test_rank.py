"""In which order causes are named, and what is left out."""

from collections.abc import Sequence

import pytest

from gpudoctor.findings import Check, Finding, Outcome, Severity, Status
from gpudoctor.symptoms import Symptom, hint, sure
from gpudoctor.triage.paste import read_paste
from gpudoctor.triage.rank import Setting, ranked
from gpudoctor.triage.sightings import sightings


def check(id: str, *symptoms: str, after: Sequence[str] = (), severity: Severity = Severity.ERROR) -> Check:
    def function() -> None:
        """It is broken.

        Repair: mend it.
        """

    known = tuple(one if isinstance(one, Symptom) else Symptom(one) for one in symptoms)
    return Check(id, severity, tuple(after), known, "", function)  # type: ignore[arg-type]


def named(text: str, *checks: Check, outcomes: Sequence[Outcome] = ()) -> list[tuple[str, str, tuple[str, ...]]]:
    paste = read_paste(text)
    found = ranked(paste, outcomes, sightings(paste, checks), {one.id: one for one in checks}, Setting())
    return [(one.check.id, one.certainty, one.explains) for one in found]


SURE, PLAIN, HINT = (
    check("a.sure", sure("it burns")),
    check("b.plain", "it smokes"),
    check("c.hint", hint("it is warm")),
)


def test_what_only_one_fault_says_comes_first_and_what_many_say_last() -> None:
    assert named("it is warm\nit smokes\nit burns", HINT, PLAIN, SURE) == [
        ("a.sure", "shown", ()),
        ("b.plain", "likely", ()),
        ("c.hint", "possible", ()),
    ]


def test_a_consequence_is_named_under_its_cause() -> None:
    follows = check("d.follows", "it smokes", after=["a.sure"])
    assert named("it smokes, for it burns", follows, SURE) == [("a.sure", "shown", ("d.follows",))]


def test_of_a_chain_only_the_root_is_listed() -> None:
    middle = check("d.middle", after=["a.sure"])
    end = check("e.end", "it smokes", after=["d.middle"])
    assert named("it smokes, for it burns", end, middle, SURE) == [("a.sure", "shown", ("e.end",))]


def test_causes_in_a_ring_come_to_an_end() -> None:
    one, other = check("d.one", "it smokes", after=["e.other"]), check("e.other", "it smokes", after=["d.one"])
    assert len(named("it smokes", one, other)) == 1


def test_what_the_facts_prove_and_a_message_says_outweighs_all() -> None:
    proven = Outcome(PLAIN, Status.FOUND, (Finding("The toy smokes."),))
    assert [id for id, *_ in named("it burns\nit smokes", PLAIN, SURE, outcomes=[proven])] == ["b.plain", "a.sure"]


def test_what_the_facts_disprove_is_no_hint() -> None:
    fine = Outcome(HINT, Status.OK)
    assert named("it is warm", HINT, outcomes=[fine]) == []
    assert [id for id, *_ in named("it is warm", HINT)] == ["c.hint"]


def test_a_remark_that_nothing_in_the_text_complains_of_is_left_out() -> None:
    remark = check("d.remark", severity=Severity.INFO)
    assert named("nothing", remark, outcomes=[Outcome(remark, Status.FOUND, (Finding("So it is."),))]) == []


def test_evidence_are_the_lines_with_their_numbers_and_the_remedy_is_the_page_of_the_check() -> None:
    paste = read_paste("first\nso it burns\n")
    found = ranked(paste, (), sightings(paste, [SURE]), {SURE.id: SURE}, Setting())
    assert [tuple(one) for one in found[0].finding.evidence] == [("line 2", "so it burns")]
    assert (found[0].finding.summary, found[0].finding.remedy) == ("It is broken.", "Mend it.")


@pytest.mark.parametrize("ahead", [0, 1000])
def test_of_a_long_line_the_part_around_the_message_is_shown(ahead: int) -> None:
    paste = read_paste("x" * ahead + " it burns " + "y" * 1000)
    value = ranked(paste, (), sightings(paste, [SURE]), {SURE.id: SURE}, Setting())[0].finding.evidence[0].value
    assert "it burns" in value
    assert len(value) < 220
