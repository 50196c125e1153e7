"""Environments whose Python is gone, notebooks and variables that lead to another one."""

from framework_environments import PREFIX, SITE, distribution, environment, environments

from gpudoctor import Severity
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.interpreters import Interpreter, Interpreters, JupyterKernel, JupyterKernels
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.findings import Outcome, Status
from gpudoctor.testing import outcome_of

MISSING, WRONG = "python.interpreter-missing", "python.wrong-interpreter"
TORCH = distribution("torch", "2.9.1+cu126")
USER_SITE = "/home/ada/.local/lib/python3.11/site-packages"


def started(place: PythonEnvironment, link: str = "", real: str = "", version: str = "") -> Outcome:
    found = Interpreter(place.prefix, f"{place.prefix}/bin/python", link, real, version, "", "")
    return outcome_of(MISSING, environments(place), Interpreters((found,), ""))


# python.interpreter-missing


def test_python_of_a_venv_is_gone() -> None:
    packages = (TORCH, distribution("nvidia-cudnn-cu12", "9.10.2.21"), distribution("triton", "3.5.1"))
    (found,) = started(environment(*packages)._replace(interpreter=""), "/usr/bin/python3.11").findings
    assert found.severity is Severity.ERROR
    assert found.summary == f"The Python that {PREFIX} was made from is gone: {PREFIX}/bin/python leads to nothing."
    assert found.evidence[0] == (f"{PREFIX}/bin/python", "-> /usr/bin/python3.11")
    assert found.remedy == (
        f"Make it anew: `mv {PREFIX} {PREFIX}.old`, then `python3 -m venv {PREFIX}`, then "
        f"`{PREFIX}/bin/python -m pip install --extra-index-url https://download.pytorch.org/whl/cu126 "
        "torch==2.9.1+cu126`; or install Python 3.11 again."
    )


def test_another_python_took_its_place() -> None:
    (found,) = started(environment(TORCH), "/usr/bin/python3", "/usr/bin/python3.13", "3.13").findings
    assert found.summary == f"{PREFIX} starts Python 3.13, and its packages are for Python 3.11."


def test_uv_makes_it_anew_with_the_same_python() -> None:
    (found,) = started(environment(TORCH, uv=True)._replace(interpreter="")).findings
    assert f"`uv venv --python 3.11 {PREFIX}`" in found.remedy
    assert f"`uv pip install --python {PREFIX} " in found.remedy


def test_only_environments_that_matter_are_judged() -> None:
    empty = environment(distribution("numpy", "2.4.6"), in_use=False)._replace(interpreter="")
    assert started(empty).status is Status.OK
    with_torch = environment(TORCH, in_use=False)._replace(interpreter="")
    assert started(with_torch).findings[0].severity is Severity.WARNING


def test_healthy_venv() -> None:
    assert started(environment(TORCH), "python3", "/usr/bin/python3.11", "3.11").status is Status.OK
    assert (
        started(environment(TORCH), "python3", "/opt/bin/python3", "").status is Status.OK
    )  # its name tells no version
    conda = environment(TORCH, kind="conda")
    assert started(conda, "python3.12", "/opt/conda/bin/python3.12", "3.12").status is Status.OK


# python.wrong-interpreter: user site and PYTHONPATH


def hidden(
    location: str, *, version: str = "2.4.0", kind: str = "conda", python_path: str = "", in_use: bool = True
) -> Outcome:
    first, behind = distribution("torch", version, site=location), distribution("torch", "2.9.1")
    place = environment(first, kind=kind, in_use=in_use)._replace(shadowed=(behind,))
    variables = {"PYTHONPATH": python_path} if python_path else {}
    return outcome_of(WRONG, environments(place), JupyterKernels(()), Environment(variables, ()))


def test_users_own_packages_hide_those_of_conda() -> None:
    (found,) = hidden(USER_SITE).findings
    assert found.severity is Severity.WARNING
    assert found.summary == f"torch 2.4.0 from {USER_SITE} (the user's own packages) hides 2.9.1 in {PREFIX}."
    assert found.remedy == (
        "`export PYTHONNOUSERSITE=1` keeps the user's packages out of this environment; or take the user's copy away: "
        f"`{PREFIX}/bin/python -m pip uninstall -y torch`."
    )


def test_python_path_hides_a_package() -> None:
    (found,) = hidden("/srv/lib", kind="venv", python_path="/srv/lib:/srv/more").findings
    assert "(PYTHONPATH) hides 2.9.1" in found.summary


def test_packages_beside_the_systems_own_are_meant() -> None:
    assert hidden(USER_SITE, kind="system").status is Status.OK
    assert hidden("/usr/local/lib/python3.11/dist-packages", kind="system").status is Status.OK
    assert hidden(USER_SITE, version="2.9.1").status is Status.OK  # the same version


def test_python_path_of_another_python() -> None:
    folder = "/opt/conda/lib/python3.9/site-packages"
    place = environment(distribution("torch", "2.4.0", site=folder))
    (found,) = outcome_of(
        WRONG, environments(place), JupyterKernels(()), Environment({"PYTHONPATH": f"{folder}/"}, ())
    ).findings
    assert found.summary == f"PYTHONPATH puts packages of Python 3.9 before those of Python 3.11 in {PREFIX}: torch."
    same = environment(distribution("torch", "2.4.0", site=SITE))
    outcome = outcome_of(WRONG, environments(same), JupyterKernels(()), Environment({"PYTHONPATH": SITE}, ()))
    assert outcome.status is Status.OK


# python.wrong-interpreter: notebooks


def notebook(kernel: JupyterKernel, *others: PythonEnvironment, problems: tuple[str, ...] = ()) -> Outcome:
    known = environments(environment(TORCH), *others)
    return outcome_of(WRONG, known, JupyterKernels((kernel,), problems), Environment({}, ()))


def kernel(
    program: str, *, there: bool = True, prefix: str = "", belongs_to: str = "", name: str = "python3"
) -> JupyterKernel:
    folder = f"{belongs_to or '/home/ada/.local'}/share/jupyter/kernels/{name}"
    return JupyterKernel(name, f"{folder}/kernel.json", program, there, prefix, belongs_to)


def test_kernel_whose_program_is_gone() -> None:
    (found,) = notebook(kernel("/old/venv/bin/python", there=False, belongs_to=PREFIX)).findings
    assert found.severity is Severity.WARNING
    assert found.summary == "The Jupyter kernel python3 starts /old/venv/bin/python, which is not there."
    assert found.remedy == (
        f"Register the environment's own Python: `{PREFIX}/bin/python -m ipykernel install --prefix {PREFIX} "
        "--name python3`."
    )


def test_forgotten_kernel_of_an_environment_that_was_deleted_is_a_note() -> None:
    (found,) = notebook(kernel("/old/venv/bin/python", there=False, name="old")).findings
    assert found.severity is Severity.INFO
    assert "or delete /home/ada/.local/share/jupyter/kernels/old" in found.remedy


def test_default_kernel_of_an_environment_starts_another_one() -> None:
    other = environment(distribution("numpy", "2.4.6"), prefix="/usr", kind="system", in_use=False)
    (found,) = notebook(kernel("/usr/bin/python3", prefix="/usr", belongs_to=PREFIX), other).findings
    assert found.severity is Severity.WARNING
    assert found.summary.endswith(f"starts /usr/bin/python3, which has no torch; {PREFIX} has it.")
    (found,) = notebook(kernel("/usr/bin/python3", prefix="/usr"), other).findings
    assert found.severity is Severity.INFO  # the user's kernel is not the environment's


def test_kernels_that_are_meant_so() -> None:
    other = environment(TORCH, prefix="/opt/other", in_use=False)
    assert notebook(kernel("python", prefix=PREFIX, belongs_to=PREFIX)).status is Status.OK
    assert notebook(kernel(f"{PREFIX}/bin/python", prefix=PREFIX)).status is Status.OK
    assert notebook(kernel("/opt/other/bin/python", prefix="/opt/other"), other).status is Status.OK
    plain = environment(distribution("numpy", "2.4.6"), prefix="/opt/plain", in_use=False)
    assert notebook(kernel("/opt/plain/bin/python", prefix="/opt/plain", name="plain"), plain).status is Status.OK


def test_damaged_kernel_is_unknown() -> None:
    outcome = notebook(kernel("python"), problems=("/x/kernel.json is damaged: it names no command",))
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, False)
