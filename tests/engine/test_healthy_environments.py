"""A false alarm is as bad as a miss: Python environments and toolkits of every kind on which all is well.

Each machine is diagnosed where it runs, as a mounted disk, and from a snapshot without names, with the same outcome.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import healthy_conda
import healthy_environments as h
import healthy_settings
import healthy_systems
import healthy_wheels
import pytest
from diagnoses import Diagnosis, diagnosed
from family_machines import Files
from healthy_environments import KINDS, machine, pip_torch
from healthy_frameworks import ADA
from python_trees import site_of, torch_wheel, venv, wheel

from gpudoctor.compatibility import Verdict, judge
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.knowledge.torch import default_build, releases, variants
from gpudoctor.machine import RootHost
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts
from gpudoctor.snapshot import RecordingHost, SnapshotHost

_MODULES = (healthy_conda, healthy_settings, healthy_systems, healthy_wheels)  # each adds its machines to KINDS


def _frameworks(pythons: PythonEnvironments) -> list[str]:
    return [one.name for environment in pythons.environments for one in environment.distributions]


def outcomes(seen: Diagnosis) -> dict[str, tuple[str, bool, int]]:
    return {one.check.id: (one.status.name, one.matters, len(one.findings)) for one in seen.report.outcomes}


@pytest.mark.parametrize("kind", KINDS)
def test_all_is_well(tmp_path: Path, kind: str) -> None:
    make, told = KINDS[kind]
    recording = RecordingHost(make(tmp_path))
    seen = diagnosed(recording)
    assert Facts(recording).call(_frameworks), "the doctor has seen nothing that it could be wrong about"
    assert seen.found == [], seen.text
    assert {one.check.id: one.reason for one in seen.report.outcomes if one.matters} == {}
    assert {ranked.check.id for ranked in seen.report.findings} == told, seen.text
    assert seen.report.exit_code == 0
    assert seen.plan.chosen == ()
    again = diagnosed(SnapshotHost(redacted(recording.answers)))
    assert outcomes(again) == outcomes(seen)
    assert not any("not in the snapshot" in one.reason for one in again.report.outcomes)
    on_disk = diagnosed(RootHost(str(tmp_path)))
    assert on_disk.found == [], on_disk.text
    without_kernel = not any((tmp_path / "boot").glob("vmlinuz*"))  # as on the disk of WSL: then --kernel is asked for
    assert without_kernel or on_disk.report.exit_code == 0
    assert on_disk.plan.chosen == ()


def _card_serves(card: str, branch: int) -> bool:
    """Does the driver itself know the GPU?"""
    first = {"H200": 550, "B200": 570, "RTX 5090": 570, "GB10": 580}.get(card, 0)
    return first <= branch and (card not in ("P100", "V100") or branch <= 580)


def _cards_and_branches() -> Iterator[Any]:
    """Every pair that goes together; half of them, like the squares of a chessboard, with the slow tests."""
    for row, card in enumerate(h.CARDS):
        for column, branch in enumerate(h.VERSIONS):
            if _card_serves(card, branch):
                yield pytest.param(card, branch, marks=[pytest.mark.slow] if (row + column) % 2 else [])


@pytest.mark.parametrize(("card", "branch"), list(_cards_and_branches()))
def test_torch_is_well_where_the_rules_say_that_it_runs(tmp_path: Path, card: str, branch: int) -> None:
    driver = h.VERSIONS[branch]
    prefixes: dict[str, Verdict] = {}
    files: Files = {}
    for cuda, release in _newest_of_each_minor():
        version = f"{release}+cu{cuda[0]}{cuda[1]}"
        prefix = f"{ADA}/.virtualenvs/{version}"
        variant = next(one for one in variants(release) if one.cuda == cuda)
        if not variant.architectures:
            continue
        files |= venv(prefix, torch_wheel(site_of(prefix), version, f"{cuda[0]}.{cuda[1]}"))
        default = default_build(release)
        same = default is not None and default.cuda == cuda
        architectures = default.architectures if default and same else variant.architectures
        told = default.ptx_told if default and same else True
        prefixes[prefix] = judge(cuda, architectures, driver, h.CARDS[card][2], ptx_told=told)
    seen = diagnosed(machine(tmp_path, files, driver=driver, gpus=(card,)))
    sick = {one.finding.environment for one in seen.report.findings}
    assert {one.check.id for one in seen.report.findings if not one.finding.environment} == set()
    assert {prefix for prefix, verdict in prefixes.items() if verdict is not Verdict.RUNS} - sick == {
        prefix for prefix, verdict in prefixes.items() if verdict is Verdict.UNKNOWN
    }
    assert sick & {prefix for prefix, verdict in prefixes.items() if verdict is Verdict.RUNS} == set(), seen.text
    assert seen.report.exit_code <= 1  # none is in use


def _newest_of_each_minor() -> list[tuple[tuple[int, int], str]]:
    newest = {tuple(release.split(".")[:2]): release for release in releases()}
    return [(one.cuda, release) for release in newest.values() for one in variants(release)]


def test_a_broken_environment_that_nobody_uses_is_a_warning_at_most(tmp_path: Path) -> None:
    """torch for the CPU, a torch without its libraries, JAX without its plugin, and a healthy one; none is active."""
    cpu, torn, jax, well = (f"{ADA}/.virtualenvs/{name}" for name in ("cpu", "torn", "jax", "well"))
    lost = {
        path: text for path, text in pip_torch(site_of(torn), "2.9.1+cu128", "12.8").items() if "cublas" not in path
    }
    files = (
        venv(cpu, torch_wheel(site_of(cpu), "2.9.1+cpu", None)),
        venv(torn, lost),
        venv(jax, wheel(site_of(jax), "jax", "0.9.0"), wheel(site_of(jax), "jaxlib", "0.9.0")),
        venv(well, pip_torch(site_of(well), "2.9.1+cu128", "12.8")),
    )
    seen = diagnosed(machine(tmp_path, *files))
    assert seen.report.exit_code == 1
    assert {one.finding.environment for one in seen.report.findings} == {cpu, torn, jax}
