"""Let the packages of an environment agree about versions again, and give environments their own Python."""

from collections.abc import Iterator

from gpudoctor import Effort, Finding, Findings, Manual, Phase, Severity, Step, fix
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.python.pins import BrokenPin, Restoring, broken_pins, restoring
from gpudoctor.python.steps import environments_in, reinstalled

from ._scope import by_hand_if_unsafe


def _serious(findings: Findings) -> Findings:
    """Without mere notes: they are no reason to change an environment."""
    return Findings(tuple(item for item in findings.items if item[1].severity is not Severity.INFO))


@fix("restore-pins", cures=["python.pin-broken"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def restore_pins(findings: Findings, pythons: PythonEnvironments) -> Iterator[Step]:
    """Install packages in the versions that others ask for."""
    meant = {(finding.environment, finding.subject) for _, finding in _serious(findings).items}
    for environment in environments_in(_serious(findings), pythons):
        for pin in broken_pins(environment).broken:
            subject = f"{pin.target.name} {pin.target.version}"
            if (environment.prefix, subject) not in meant:
                continue
            back = restoring(environment, pin)
            if back is not None:
                yield from restored(environment, pin, back)
                continue
            yield Step(
                Manual(f"Decide whom this environment is for, and make another for the rest: {pin.words}."),
                f"No version of {pin.target.name} satisfies all who ask for it.",
                Phase.AFTERWARDS,
                root=False,
            )


def restored(environment: PythonEnvironment, pin: BrokenPin, back: Restoring) -> Iterator[Step]:
    """The same steps for every fix that needs them, so that a plan has them once."""
    why = f"{pin.words}, and {pin.target.name} {pin.target.version} is in {environment.prefix}."
    yield from reinstalled(environment, install=back.requirements, index_url=back.index_url, why=why)


@fix("take-numpy-back", cures=["python.numpy-abi"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def take_numpy_back(findings: Findings, pythons: PythonEnvironments) -> Iterator[Step]:
    """Install the NumPy 1 that compiled packages were made for."""
    from gpudoctor.python.numpy_abi import made_for_numpy_1, numpy_1_requirement  # here for start-up: it reads a table

    for environment in environments_in(_serious(findings), pythons):
        old = made_for_numpy_1(environment)
        names = " and ".join(f"{one.by.name} {one.by.version}" for one in old)
        wanted = numpy_1_requirement(environment)
        if old and wanted:
            verb = "was" if len(old) == 1 else "were"
            yield from reinstalled(environment, install=(wanted,), why=f"{names} {verb} made for NumPy 1.")
        elif old:
            yield Step(
                Manual(f"Bring {names} to releases for NumPy 2, or give them an environment of their own."),
                "They were made for NumPy 1, and other packages in this environment need NumPy 2.",
                Phase.AFTERWARDS,
                root=False,
            )


@fix(
    "explain-interpreter",
    cures=["python.interpreter-missing", "python.wrong-interpreter", "python.no-wheel"],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def explain_interpreter(findings: Findings) -> Iterator[Step]:
    """Give an environment or a notebook its own Python again."""
    for id, finding in _serious(findings).items:
        yield Step(Manual(finding.remedy), _why(id, finding), Phase.AFTERWARDS, root=False)


def _why(id: str, finding: Finding) -> str:
    if id == "python.wrong-interpreter":
        return f"{finding.summary.removesuffix('.')}; where it is set is the owner's to change."
    return (
        f"{finding.summary.removesuffix('.')}; an environment is made anew by its owner, who knows what else is in it."
    )
