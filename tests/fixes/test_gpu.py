"""What a person is told to do about the states of a GPU."""

import pytest

from gpudoctor import Finding, Findings, Manual, Phase
from gpudoctor.facts.system import Confinement
from gpudoctor.registry import load_plugins, registry
from gpudoctor.repair import fixes_for
from gpudoctor.testing import steps_of

load_plugins(fixes=True)

HOST, DOCKER = Confinement("", False), Confinement("docker", False)
CURES = [
    ("reset-waiting-gpu", "gpu.reset-required"),
    ("create-mig-instances", "gpu.mig-no-instances"),
    ("open-compute-mode", "gpu.compute-mode-exclusive"),
    ("find-memory-holder", "gpu.memory-without-process"),
    ("restart-mps", "gpu.mps-stale"),
    ("keep-driver-awake", "gpu.persistence-off"),
]


def found(check: str, remedy: str = "Do this.") -> Findings:
    return Findings(((check, Finding("GPU 0000:01:00.0 is in a state.", "0000:01:00.0", (), remedy)),))


@pytest.mark.parametrize(("fix", "check"), CURES)
def test_a_person_does_what_the_finding_says(fix: str, check: str) -> None:
    [step] = steps_of(fix, HOST, found(check))
    assert step.action == Manual("Do this.")
    assert step.phase is Phase.AFTERWARDS
    assert step.why.startswith("GPU 0000:01:00.0 is in a state, and ")
    assert registry.fixes[fix].cures == (check,)


@pytest.mark.parametrize(("fix", "check"), CURES)
def test_in_a_container_the_host_is_named(fix: str, check: str) -> None:
    assert steps_of(fix, DOCKER, found(check)) == ()
    skipped = ("gpu.memory-without-process", "gpu.persistence-off")  # these are not judged there
    assert ("repair-the-host" in fixes_for(check)) is (check not in skipped)


def test_names_of_processes_are_made_printable() -> None:
    [step] = steps_of("find-memory-holder", HOST, found("gpu.memory-without-process", "Ask \x1b[31mpython\x07."))
    assert str(step.action) == "Ask ?[31mpython?."
