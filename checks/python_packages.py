"""Do the packages of each Python environment agree with each other about versions?"""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.distributions import Distribution, concerns_gpu
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.extensions import TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.python.pins import BrokenPin, Restoring, broken_pins, restoring

from ._environments import on_gpus, place, severity, undecided

_FRAMEWORKS = r"torch\w*|tensorflow|jax\w*|onnxruntime-gpu|triton|xformers|flash[-_]attn|vllm|cupy|nvidia-\w+"


@check(
    "python.pin-broken",
    symptoms=[
        # torchvision and its like have a check of their own
        r"^(?!torch(vision|audio|text|data) )\S+ \S+ requires \S+[=<>~!]\S+(; .{1,120})?, but you have \S+",
        hint(r"\btorch \S+ requires (triton|nvidia-\S+)==\S+ .{0,100}which is not installed"),
        hint(r"but none of the providers can be installed", beside=r"libmamba|\bconda\b|py3\.?\d+_"),
        r"^(?!torch(vision|audio|text|data) )\S+ \S+ has requirement \S+, but you'?(ll)? have \S+",
        likely(r"requires torch==\S+,? but you have torch\b", without=r"torch(vision|audio|text|data) \S+ requires"),
        r"(pkg_resources\.)?(Version|Contextual)Conflict: \(",
        r"The package `\S+` requires `\S+`, but `\S+` is installed",
        rf"\bdepends on ({_FRAMEWORKS})\S* and .{{0,200}}requirements are unsatisfiable",
        rf"\bdepends on (both )?({_FRAMEWORKS}) \(.{{0,300}}version solving failed",
        r"Cannot install \S+.* because these package versions have conflicting dependencies",
        hint(r"vllm\S*: undefined symbol"),
        hint(r"ResolutionImpossible"),
    ],
)
def pin_broken(
    pythons: PythonEnvironments, builds: FrameworkBuilds, extensions: TorchExtensions | Unavailable
) -> Iterator[Finding | Undecided]:
    """A package is installed in a version that another package does not allow.

    What: Packages name the versions of others that they work with; vllm, for one, is compiled against exactly one
    torch. `pip install -U torch` looks at torch alone, installs what is newest, says so in one line, and breaks them.
    A library of NVIDIA's that is newer than asked for, of the same major, keeps its interface: that is only told.

    Proof: The Requires-Dist lines in METADATA of all packages that concern the GPU or ask for one that does, against
    the versions that are installed. Lines that do not count for this Python and machine are left out, and extras that
    nobody asked for.

    Repair: Install the version that is asked for, torch together with torchvision and torchaudio; or bring the package
    that asks to a release that takes what is there. `python -m pip check` then says nothing any more.

    Reference: https://packaging.python.org/en/latest/specifications/dependency-specifiers/
    """
    for one in pythons.environments:
        if not one.distributions:
            continue
        pins = broken_pins(one)
        for problem in pins.problems:
            yield undecided(one, problem)
        torn = _torn(builds.get(one, "torch"), extensions)
        for pin in pins.broken:
            asking = tuple(demand for demand in pin.broken if pin.target.name != "torch" or demand.by.name not in torn)
            if not asking:
                continue
            told = pin._replace(broken=asking)
            compiled = pin.target.name == "torch" and any(
                demand.exact and concerns_gpu(demand.by.name) for demand in asking
            )
            yield Finding(
                f"{told.words}, and {pin.target.name} {pin.target.version} is {place(one)}.",
                f"{pin.target.name} {pin.target.version}",
                (
                    *(
                        Evidence(f"{demand.by.folder}/METADATA", f"Requires-Dist: {pin.target.name}{demand.specifiers}")
                        for demand in asking
                    ),
                    Evidence(pin.target.folder, f"Version: {pin.target.version}"),
                ),
                _kept_again(one, told),
                severity(one, Severity.ERROR if compiled else Severity.INFO if _serves(told) else Severity.WARNING),
                one.prefix,
            )


def _serves(pin: BrokenPin) -> bool:
    """Is it one of NVIDIA's libraries, newer than what is asked for, and of the same major? It keeps its promises.

    The makers of frameworks themselves advise that now and then, as those of torch 2.9 do for cuDNN.
    """
    if not pin.target.name.startswith("nvidia-"):
        return False
    from gpudoctor.python.library_wheels import brings_library  # here for start-up: only broken pins of NVIDIA's wheels

    there, asked = version_key(pin.target.version), [version_key(demand.exact) for demand in pin.broken]
    return brings_library(pin.target.name) and all(one[:1] == there[:1] and one < there for one in asked)


def _torn(build: FrameworkBuild | None, extensions: TorchExtensions | Unavailable) -> tuple[str, ...]:
    """Extensions that python.extension-abi speaks of."""
    if build is None or isinstance(extensions, Unavailable):
        return ()
    mine = [one for one in extensions.extensions if one.prefix == build.environment.prefix]
    if not mine:
        return ()
    from gpudoctor.python.torch_faults import extension_fault  # here for start-up: few environments have extensions

    return tuple(one.distribution.name for one in mine if extension_fault(one, build, extensions))


def _kept_again(environment: PythonEnvironment, pin: BrokenPin) -> str:
    back = restoring(environment, pin)
    newer = _release_for(pin)
    instead = f"; or take {newer}, which asks for what is there" if newer else ""
    if back is None:
        asked = " and ".join(
            f"{one.by.name} (for {pin.target.name}{one.specifiers})" for one in pin.all if one.specifiers
        )
        return (
            f"No version of {pin.target.name} satisfies {asked}: one of them needs an environment of its own{instead}."
        )
    return f"Install what is asked for: {_command(environment, back)}{instead}."


def _command(environment: PythonEnvironment, back: Restoring) -> str:
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it

    try:
        return instruction(environment, back.requirements, index_url=back.index_url)
    except UnsafeWord:
        return " ".join(back.requirements)


def _release_for(pin: BrokenPin) -> str:
    """ "vllm 0.33.0" for the torch that is there; "" if none is known."""
    if pin.target.name != "torch" or len(pin.broken) != 1:
        return ""
    from gpudoctor.knowledge.companions import releases_for_torch  # here for start-up: only findings need it

    known = releases_for_torch(pin.broken[0].by.name, pin.target.version)
    return f"{pin.broken[0].by.name} {known[-1]}" if known else ""


@check(
    "python.numpy-abi",
    symptoms=[
        sure(r"A module that was compiled using NumPy 1\.x cannot be run in"),
        sure(r"_ARRAY_API not found"),
        r"No module named 'numpy\._core",
        sure(r"numpy\.(dtype|ufunc|ndarray) size changed, may indicate binary incompatibility"),
        sure(r"module (was )?compiled against (NumPy C-)?A[PB]I version .{0,20}but this version of numpy is"),
        r"RuntimeError: Numpy is not available",
        r"numpy\.?_?core\.(multiarray|umath) failed to import",
        r"was removed in the NumPy 2\.0 release",
        hint(r"module 'numpy' has no attribute '(float|int|bool|object)'"),
    ],
)
def numpy_abi(pythons: PythonEnvironments) -> Iterator[Finding]:
    """NumPy 2 is there, and packages that were made for NumPy 1.

    What: NumPy 2 changed the interface for compiled code. Code that was compiled for NumPy 1, such as torch before
    2.3, cannot exchange arrays with it: torch.from_numpy() fails, others crash when they are imported.

    Proof: The version of NumPy against the first release of each framework that was compiled for NumPy 2, and against
    the requirements (numpy<2) in METADATA.

    Repair: Take NumPy back to the last 1.x; or bring the packages to releases for NumPy 2.

    Reference: https://numpy.org/doc/stable/numpy_2_0_migration_guide.html; https://github.com/numpy/numpy/issues/26191
    """
    for one in pythons.environments:
        numpy = one.get("numpy")
        if numpy is None or not numpy.version.partition(".")[0].isdecimal() or int(numpy.version.split(".")[0]) < 2:
            continue
        from gpudoctor.python.numpy_abi import (  # here for start-up: not everywhere
            made_for_numpy_1,
            numpy_1_requirement,
        )

        old = made_for_numpy_1(one)
        if not old:
            continue
        names = " and ".join(f"{entry.by.name} {entry.by.version}" for entry in old)
        wanted = numpy_1_requirement(one)
        compiled = any(concerns_gpu(entry.by.name) for entry in old)
        yield Finding(
            f"{names} {place(one)} {'is' if len(old) == 1 else 'are'} made for NumPy 1, and NumPy {numpy.version} is "
            "there.",
            f"numpy {numpy.version}",
            (
                *(Evidence(entry.source, entry.value) for entry in old),
                Evidence(numpy.folder, f"Version: {numpy.version}"),
            ),
            f"Take NumPy back to 1.x: {_command(one, Restoring((wanted,)))}."
            if wanted
            else f"Bring {names} to newer releases: other packages here need NumPy 2.",
            severity(one, Severity.ERROR if compiled else Severity.WARNING),
            one.prefix,
        )


@check(
    "python.no-wheel",
    after=["cuda.driver-too-old"],
    symptoms=[
        rf"Could not find a version that satisfies the requirement ({_FRAMEWORKS})",
        rf"No matching distribution found for ({_FRAMEWORKS})",
        rf"we only found wheels for `({_FRAMEWORKS})",
        rf"Package '({_FRAMEWORKS})' requires a different Python",
        rf"\b({_FRAMEWORKS})\S*\.whl is not a supported wheel on this platform",
        rf"\b({_FRAMEWORKS})\S* has no wheels with a matching (Python|platform)",
        rf"\b({_FRAMEWORKS})\S* (doesn't|can't|does not) (have a source distribution or wheel|be installed because)",
        rf"Distribution `({_FRAMEWORKS})[^`]*` can't be installed",
        rf"Unable to find installation candidates for ({_FRAMEWORKS})",
    ],
)
def no_wheel(
    builds: FrameworkBuilds,
    pythons: PythonEnvironments,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
) -> Iterator[Finding]:
    """For the Python of an environment there is no torch that could use this GPU.

    What: Wheels are made for some versions of Python, and none older or newer. pip then takes an older release, one
    for the CPU, or none at all; with another Python it would find a build that serves the GPU.

    Proof: The Pythons of the known builds that fit the GPU and the driver, against that of the environment. Only
    environments whose torch cannot use the GPU, or whose packages ask for a torch that is not there, are judged.

    Repair: Make an environment with a Python that has such wheels.

    Reference: the files of torch on PyPI;
    https://github.com/pytorch/pytorch/blob/main/RELEASE.md#release-compatibility-matrix
    """
    kinds = on_gpus(gpus)
    for one in pythons.environments:
        build = builds.get(one, "torch")
        if one.minor_version is None or not one.in_use or isinstance(driver, Unavailable):
            continue
        asks = _asks_for_torch(one.distributions) if build is None else ""
        useless = build is not None and not build.problem and _useless(build, gpus)
        if not (asks or useless):
            continue
        from gpudoctor.python.torch_family import python_for_torch  # here for start-up: only suspects need the tables

        better = python_for_torch(one, driver, gpus)
        if not better:
            continue
        there = f"{build.words} is there, and cannot use the GPU" if build else f"{asks} asks for torch"
        yield Finding(
            f"Python {one.version} {place(one)} has no wheel of a torch that serves {kinds[0].words}; {there}.",
            f"Python {one.version}",
            (
                Evidence(f"{one.prefix}/pyvenv.cfg" if one.kind == "venv" else one.interpreter, one.version),
                Evidence("table of torch", f"wheels that fit are for Python {', '.join(better)}"),
                Evidence(kinds[0].source, kinds[0].words),
            ),
            f"Make an environment with Python {better[-1]}, and install torch there: "
            f"`gpudoctor recommend torch --python-version {better[-1]}` names the command.",
            Severity.ERROR if build else Severity.INFO,
            one.prefix,
        )


def _asks_for_torch(distributions: Sequence[Distribution]) -> str:
    for one in distributions:
        for line in one.requires:
            name, _, marker = line.partition(";")
            if name.strip().partition("=")[0].rstrip("<>~!( ").strip().lower() == "torch" and "extra" not in marker:
                return f"{one.name} {one.version}"
    return ""


def _useless(build: FrameworkBuild, gpus: ComputeGpus) -> bool:
    """Has it no code for any of the GPUs?"""
    from gpudoctor.compatibility import Coverage, coverage  # here for start-up

    if build.cuda is None:
        return True
    judged = [coverage(build.architectures, g.capability, ptx_told=build.ptx_told) for g in gpus.gpus if g.capability]
    return bool(judged) and all(one is Coverage.NONE for one in judged)
