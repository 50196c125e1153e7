"""The remedy of checks whose cure is another set of packages: the one command, and what to mind after it."""

from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.python.reinstallations import Reinstallation, requirers

NO_ONNXRUNTIME_GPU = "PyPI has no onnxruntime-gpu that runs here: build it, or use a container of ONNX Runtime."


def remedy(environment: PythonEnvironment, wanted: Reinstallation | None, otherwise: str) -> str:
    """`otherwise`: what to do where no set of packages is known to help, or no command may be made of their names."""
    if wanted is None:
        return otherwise
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it

    # A version that is there already counts as installed, whatever has become of its files.
    try:
        command = instruction(environment, wanted.install, remove=wanted.remove)
    except UnsafeWord as reason:
        return f"{otherwise} By hand: {reason}."
    return f"Run {command}.{f' {wanted.note}' if wanted.note else ''}"


def bring_back(environment: PythonEnvironment, name: str) -> str:
    """A sentence on those that require a distribution by name, "" if nobody does: pip installs it again for them."""
    names = requirers(environment, name)
    if not names:
        return ""
    listed = " and ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    verb = "requires" if len(names) == 1 else "require"
    return f" {listed} {verb} {name} by name: install or upgrade with --no-deps, or pip brings it back."
