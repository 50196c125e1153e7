"""Do NVIDIA's wheels in one environment leave each other's files alone?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Undecided, check, hint, likely
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.facts.wheel_files import Incomplete, WheelFiles
from gpudoctor.python.wheel_pins import COLLIDING, Order, orders, torn_apart

from ._environments import place, severity, undecided

# cuDNN, NCCL or NVSHMEM of two CUDA majors in one list.
_TWO_MAJORS = r"nvidia-(cudnn|nccl|nvshmem)-cu(1\d)\b.{0,3000}nvidia-\1-cu(?!\2)1\d"


@check(
    "python.nvidia-wheels-collide",
    after=["jax.both-plugins"],  # which brought both, and says what of it must go
    symptoms=[
        likely(r"libcudnn\w*\.so\.9: cannot open shared object file", beside=_TWO_MAJORS),
        likely(r"libnccl\.so\.2: cannot open shared object file", beside=_TWO_MAJORS),
        likely(r"undefined symbol: nccl\w+", beside=_TWO_MAJORS),
        r"libnvshmem_host\.so\.3: cannot open shared object file",
        r"undefined symbol: nvshmem\w*",
        hint(r"libcudnn\w*\.so\.9: cannot open shared object file", beside=r"uninstall"),
        hint(r"libnccl\.so\.2: cannot open shared object file"),
        hint(r"undefined symbol: ncclMemFree"),
    ],
)
def nvidia_wheels_collide(files: WheelFiles, pythons: PythonEnvironments) -> Iterator[Finding | Undecided]:
    """Two wheels wrote the same files, and those of one are lost.

    What: The wheels nvidia-cudnn-cu12 and nvidia-cudnn-cu13 bring different libraries under the same
    paths, and so do NCCL, NVSHMEM, cuRAND, cuSOLVER and CUPTI for two CUDA majors, and faiss with and without
    GPU. pip installs both without a word. The one that came last wins; a framework that was built for
    the other loads libraries of the wrong CUDA. And whichever is uninstalled takes the files of both along.

    Proof: The same paths with different hashes in two RECORD files, and the hash of what lies on the
    disk. Where one of two was uninstalled already: libraries in the RECORD of the other that are gone.

    Repair: Uninstall both, then install the one that the framework asks for. Only that order is safe.
    Frameworks for two CUDA majors belong in two environments.

    Reference: https://packaging.python.org/en/latest/specifications/recording-installed-packages/;
    https://github.com/pypa/pip/issues/4625
    """
    found = orders(files, COLLIDING)
    for order in found:
        yield _collision(order, files)
    for incomplete in torn_apart(files, found):
        yield _incomplete(incomplete)
    by_prefix = {one.prefix: one for one in pythons.environments}
    for prefix, _, reason in files.problems:
        yield undecided(by_prefix[prefix], reason) if prefix in by_prefix else Undecided(reason, environment=prefix)


def _collision(order: Order, files: WheelFiles) -> Finding:
    own = [
        one
        for one in files.collisions
        if one.family == order.family and one.environment.prefix == order.environment.prefix
    ]
    members = {one.name: one.version for collision in own for one in (collision.one, collision.other)}
    named = " and ".join(f"{name} {version}".rstrip() for name, version in members.items())
    holder = next((collision.holder for collision in own if collision.holder), "")
    count = max(collision.differing for collision in own)
    state = f"those of {holder} lie there, the others are lost" if holder else "whose lie there cannot be told"
    path = own[0].path.removeprefix(f"{own[0].one.location}/")
    unharmed = holder == order.keep and not order.torn and order.asked
    return Finding(
        f"{named} {place(order.environment)} bring {count} different files of the same names: {state}.",
        named,
        (
            *(
                Evidence(f"{one.folder}/RECORD", f"{one.name} {one.version}: {path}")
                for one in (own[0].one, own[0].other)
            ),
            Evidence(own[0].path, f"SHA-256 as in the RECORD of {holder}" if holder else own[0].problem),
            *(Evidence(f"{pin.by.folder}/METADATA", pin.words) for pin in order.asked),
        ),
        f"Take {'both' if len(members) == 2 else 'all of them'} out, then put in the one that belongs here "
        f"({order.why}): {_command(order.environment, order.requirement, order.remove)}.{_torn(order)}",
        # The framework still finds what it asks for: it breaks when somebody takes the other one out.
        severity(order.environment, Severity.WARNING if unharmed else Severity.ERROR),
        order.environment.prefix,
    )


def _torn(order: Order) -> str:
    if not order.torn:
        return ""
    names = " and ".join(dict.fromkeys(f"{pin.by.name} {pin.by.version}" for pin in order.torn))
    return f" {names} asks for another of them: give it an environment of its own."


def _incomplete(one: Incomplete) -> Finding:
    named = f"{one.distribution.name} {one.distribution.version}"
    gone = f"{len(one.missing)} of its {one.of} libraries"
    requirement = f"{one.distribution.name}=={one.distribution.version}"
    return Finding(
        f"{named} {place(one.environment)} has lost {gone}: another wheel with the same files was taken out, or "
        "somebody deleted them.",
        named,
        (
            Evidence(f"{one.distribution.folder}/RECORD", one.missing[0]),
            Evidence(f"{one.distribution.location}/{one.missing[0]}", "not there"),
        ),
        f"Install it anew: {_command(one.environment, requirement, (one.distribution.name,))}.",
        severity(one.environment, Severity.ERROR),
        one.environment.prefix,
    )


def _command(environment: PythonEnvironment, requirement: str, remove: tuple[str, ...]) -> str:
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it

    try:
        # What they need in turn was not touched.
        return instruction(environment, (requirement,), remove=remove, no_deps=True)
    except UnsafeWord as reason:
        return f"with the environment's own tool (no command here: {reason})"
