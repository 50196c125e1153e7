"""Which of NVIDIA's wheels the frameworks of an environment ask for, and what puts those that collided in order."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.wheel_files import Collision, Incomplete, WheelFiles
from gpudoctor.python.pep440 import exact_version, satisfies
from gpudoctor.python.pep508 import applies, normalised, parse_requirement


class Pin(NamedTuple):
    """What one distribution asks for."""

    by: Distribution
    wheel: str  # "nvidia-cudnn-cu13"
    specifiers: str  # "==9.24.0.43", ">=9.8,<10.0"

    @property
    def exact(self) -> str:
        """ "9.24.0.43" of "==9.24.0.43"; "" if other versions would do."""
        return exact_version(self.specifiers)

    @property
    def least(self) -> str:
        """The lowest version that is asked for, "" without a lower limit."""
        for clause in self.specifiers.split(","):
            for operator in ("==", ">=", "~="):
                if clause.strip().startswith(operator):
                    return clause.strip().removeprefix(operator).strip().removesuffix(".*")
        return ""

    @property
    def requirement(self) -> str:
        """For an installer: "nvidia-cudnn-cu12>=9.8,<10.0"."""
        return self.wheel + self.specifiers.replace(" ", "")

    @property
    def words(self) -> str:
        """ "torch 2.14.1 asks for nvidia-cudnn-cu13==9.24.0.43"."""
        return f"{self.by.name} {self.by.version} asks for {self.requirement}"


class Order(NamedTuple):
    """How the wheels of one family come in order again: these out, that one in."""

    environment: PythonEnvironment
    family: str
    remove: tuple[str, ...]  # names
    keep: str  # "nvidia-cudnn-cu13"
    requirement: str  # "nvidia-cudnn-cu13==9.24.0.43"
    why: str  # a clause: "torch 2.14.1 asks for nvidia-cudnn-cu13==9.24.0.43"
    asked: tuple[Pin, ...]  # all that ask for one of them

    @property
    def torn(self) -> tuple[Pin, ...]:
        """What asks for one of the others: it needs an environment of its own."""
        return tuple(pin for pin in self.asked if pin.wheel != self.keep)


# Families of wheels; those of onnxruntime, CuPy and TensorFlow have checks of their own.
COLLIDING = ("nvidia-", "faiss")
# The extras with which NVIDIA's wheels come along; without a GPU build nobody asks for them.
_EXTRAS = ("", "and-cuda", "with-cuda", "cuda", "cudnn")
# Whose wish counts first where two cannot be fulfilled: torch names one exact version, the others a range.
_FIRST = ("torch", "jax-cuda13-plugin", "jax-cuda12-plugin", "tensorflow")


def pins(environment: PythonEnvironment, beginning: str) -> tuple[Pin, ...]:
    """What the distributions of an environment ask for among the wheels whose names begin so ("nvidia-cudnn-")."""
    found = (pin for one in environment.distributions for pin in pins_of(one, environment, beginning))
    return tuple(sorted(found, key=lambda pin: _FIRST.index(pin.by.name) if pin.by.name in _FIRST else len(_FIRST)))


def pins_of(one: Distribution, environment: PythonEnvironment, beginning: str) -> tuple[Pin, ...]:
    """What one distribution asks for among the wheels whose names begin so."""
    found = []
    for line in one.requires:
        requirement = parse_requirement(line)
        name = normalised(requirement.name) if requirement else ""
        if requirement is None or not name.startswith(beginning) or one.name.startswith(beginning):
            continue
        machine = environment.machine or "x86_64"
        try:
            wanted = applies(requirement, extras=_EXTRAS, python=environment.version or "3.11", machine=machine)
        except ValueError:  # a marker that nothing here decides: it may count
            wanted = True
        if wanted:
            found.append(Pin(one, name, requirement.specifiers))
    return tuple(found)


def pin_of(build: FrameworkBuild, wheel: str) -> Pin | None:
    """What a framework asks for of one of NVIDIA's libraries ("nvidia-cudnn"), in the wheel for its own CUDA."""
    found = pins_of(build.distribution, build.environment, f"{wheel}-cu")
    if build.cuda is None:
        return None
    return next((pin for pin in found if pin.wheel == f"{wheel}-cu{build.cuda[0]}"), None)


def orders(files: WheelFiles, families: Sequence[str]) -> tuple[Order, ...]:
    """One for each environment and each family (names that begin so) whose wheels overwrote each other."""
    groups: dict[tuple[str, str], list[Collision]] = {}
    for collision in files.collisions:
        if collision.family.startswith(tuple(families)):
            groups.setdefault((collision.environment.prefix, collision.family), []).append(collision)
    return tuple(_order(group) for group in groups.values())


def torn_apart(files: WheelFiles, known: Iterable[Order]) -> tuple[Incomplete, ...]:
    """NVIDIA's wheels whose libraries are gone, without those that an order puts right anyway."""
    ordered = {(order.environment.prefix, name) for order in known for name in order.remove}
    return tuple(
        one
        for one in files.incomplete
        if one.distribution.name.startswith(COLLIDING)
        and (one.environment.prefix, one.distribution.name) not in ordered
    )


def _order(group: Sequence[Collision]) -> Order:
    environment, family = group[0].environment, group[0].family
    members = {one.name: one for collision in group for one in (collision.one, collision.other)}
    asked = tuple(pin for pin in pins(environment, family) if pin.wheel in members)
    if asked:
        keep, why = asked[0].wheel, asked[0].words
        requirement = asked[0].requirement if asked[0].exact else _installed_or_asked(members[keep], asked)
        return Order(environment, family, tuple(members), keep, requirement, why, asked)
    keep, why = _unasked(group, members)
    version = members[keep].version
    return Order(environment, family, tuple(members), keep, f"{keep}=={version}" if version else keep, why, ())


def _installed_or_asked(member: Distribution, asked: Iterable[Pin]) -> str:
    """The version that is there, where all who ask for it take it."""
    pins = [pin for pin in asked if pin.wheel == member.name]
    try:
        if all(satisfies(member.version, pin.specifiers) for pin in pins):
            return f"{member.name}=={member.version}"
    except ValueError:  # a version of the maker's own kind
        pass
    return pins[0].requirement


def _unasked(group: Sequence[Collision], members: dict[str, Distribution]) -> tuple[str, str]:
    """Nobody asks for one: a GPU package was installed for the GPU; else what lies there was meant last."""
    gpu = next((name for name in members if name.startswith("faiss-gpu")), "")
    if gpu:
        return gpu, f"{gpu} can do what the other can, and uses the GPU"
    holder = next((collision.holder for collision in group if collision.holder), "")
    if holder:
        return holder, f"the files that lie there are those of {holder}, and nothing here asks for another"
    last = max(members)
    return last, f"nothing here asks for one of them, and {last} is for the newer CUDA"


def served_cudnn(build: FrameworkBuild, capability: tuple[int, int]) -> str:
    """The newest cuDNN wheel for a GPU that the framework accepts too: "nvidia-cudnn-cu12==9.10.2.21", "" none."""
    from gpudoctor.knowledge.cudnn import newest_cudnn_wheel  # here for start-up: only findings need it

    version = newest_cudnn_wheel(build.cuda[0], capability) if build.cuda else None
    pin = pin_of(build, "nvidia-cudnn")
    if version is None or build.cuda is None:
        return ""
    try:
        fits = pin is None or satisfies(version, pin.specifiers)
    except ValueError:
        fits = False
    return f"nvidia-cudnn-cu{build.cuda[0]}=={version}" if fits else ""


def wanted_cudnn(build: FrameworkBuild, capabilities: Iterable[tuple[int, int]], major: int) -> str:
    """The cuDNN of a major version that a framework should have: its own pin; where it takes a range, one that serves
    the oldest of these GPUs too. "" where there is no such wheel.
    """
    pin = pin_of(build, "nvidia-cudnn")
    if pin is not None and pin.exact:
        return pin.requirement
    lowest = min(capabilities, default=None)
    served = served_cudnn(build, lowest) if lowest else ""
    if served.partition("==")[2].startswith(f"{major}."):
        return served
    if pin is not None:
        return pin.requirement
    return _newest_of(build.cuda[0], major) if build.cuda else ""


def newest_cudnn(environment: PythonEnvironment, major: int, capabilities: Iterable[tuple[int, int]]) -> str:
    """The newest cuDNN wheel of a major version for these GPUs: "nvidia-cudnn-cu12==8.9.7.29"; "" where there is none.

    It is one for the CUDA whose cuBLAS is there, for CUDA 12 without any.
    """
    cuda_major = 13 if environment.get("nvidia-cublas") and not environment.get("nvidia-cublas-cu12") else 12
    return _newest_of(cuda_major, major, min(capabilities, default=None))


def _newest_of(cuda_major: int, major: int, capability: tuple[int, int] | None = None) -> str:
    from gpudoctor.knowledge.cudnn import cudnn_wheels, newest_cudnn_wheel  # here for start-up: only findings need it

    served = newest_cudnn_wheel(cuda_major, capability) if capability else None
    versions = [served] if served else list(cudnn_wheels(cuda_major))
    fitting = [version for version in versions if version.startswith(f"{major}.")]
    fitting = fitting or [version for version in cudnn_wheels(cuda_major) if version.startswith(f"{major}.")]
    return f"nvidia-cudnn-cu{cuda_major}=={fitting[-1]}" if fitting else ""
