"""Is the cuDNN there that is asked for: its library for frameworks, its header for what is compiled here?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.compatibility import cudnn_serves
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.cudnn import CudnnLibraries
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.framework_cudnn import BundledCudnn, BundledCudnns
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.shared_libraries import Header
from gpudoctor.knowledge.cuda import version_numbers
from gpudoctor.python.wheel_pins import newest_cudnn, wanted_cudnn

from ._cudnn import capabilities, installing, no_gpu
from ._environments import computed, place, severity, undecided


@check(
    "cudnn.library-missing",
    after=[
        "cuda.driver-too-old",
        "tensorflow.cuda-libraries-missing",
        "python.nvidia-wheels-collide",
        "cuda.library-missing",
    ],
    symptoms=[
        sure(r"(?<!dlerror: )(?<!with error: )libcudnn(_\w+)?\.so[.\d]*: cannot open shared object file"),
        sure(r"Could not (locate|find) (cudnn\w*|zlibwapi)\.dll"),
        sure(r"\bcudnn\w*64_\d+\.dll'?\W (is )?(missing|not found|could not be found|was not found)"),
        r"\bcudnn\w*64_\d+\.dll\b(?=.*\b(missing|not found|could not|cannot|can't)\b)",
        r"Could not load (dynamic )?library '?libcudnn\w*\.so\.\d(?!.*(libcuda\.so|undefined symbol|mismatch))",
        r"Unable to load any of \{libcudnn(_\w+)?\.so\.\d",
        r"libcudnn\w*\.so[.\d]*'? (=> |is |was |could )?not (be )?found",
        r"Could NOT find C[uU]DNN \(missing:",
        r"Cannot load cudnn shared library|third-party dynamic library \(libcudnn",  # of Paddle
        r"CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
        r"Library (lib)?cudnn\S* is not found or cannot be loaded",
        r"Could not load library cudnn\w*\.dll",
        hint(r"Invalid handle\. Cannot load symbol cudnn\w+"),
        hint(r"DNN library is not found"),
    ],
)
def library_missing(
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    bundled: BundledCudnns | Unavailable,
    system: CudnnLibraries | Unavailable,
    gpus: ComputeGpus | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The cuDNN that a framework needs is nowhere, or only one of another major version is.

    What: libcudnn.so.8 and libcudnn.so.9 are different libraries: a framework that was built with one
    cannot use the other. They can lie side by side on a system, but one Python environment can hold only
    one version of nvidia-cudnn-cu12. PyTorch cannot even be imported without its own.

    Proof: The DT_NEEDED entry of the framework's file, and where the loader looked in vain: RPATH,
    LD_LIBRARY_PATH, RUNPATH, ld.so.cache, the default folders, NVIDIA's wheels in the environment.

    Repair: Install the wheel of the right major version in that environment. If something else there
    needs the other major version, the two need two environments.

    Reference: ld.so(8); https://docs.nvidia.com/deeplearning/cudnn/backend/latest/reference/support-matrix.html
    """
    # TensorFlow and onnxruntime have checks of their own, which name cuDNN among the rest.
    for build in (*builds.of("torch"), *builds.of("jax"), *builds.of("cupy")):
        use = libraries.get(build, "libcudnn.so.")
        # jaxlib beside a plugin is built for no CUDA, and needs none itself.
        if use is None or use.found is not None or build.cuda is None or computed(trials, build):
            continue
        if build.framework != "torch" and no_gpu(gpus):
            continue
        problem = dict(libraries.problems).get(build.environment.prefix)
        if problem:
            yield undecided(build.environment, problem)
            continue
        major = int(use.soname.rpartition(".")[2])
        others = _others(build.environment.having("nvidia-cudnn-cu"), system, major)
        only = f"only {others[0].value} is there" if others else "it is nowhere"
        held = next((one.name for one in build.environment.having("nvidia-cudnn-cu")), "")
        requirement = wanted_cudnn(build, capabilities(gpus), major)
        remove = (held,) if held and not requirement.startswith(f"{held}=") else ()
        yield Finding(
            f"{build.words} {place(build.environment)} needs {use.soname}, and {only}.",
            build.words,
            (Evidence(use.wanted_by, f"needs {use.soname}"), *others[:3]),
            installing(build.environment, build.framework, requirement, remove=remove),
            severity(build.environment, Severity.ERROR),
            build.environment.prefix,
            build.framework,
        )
    if isinstance(bundled, BundledCudnns) and not no_gpu(gpus):
        for environment, reason in bundled.problems:
            yield undecided(environment, reason)
        yield from (_half(one, system, gpus) for one in bundled.found if not one.found)


def _half(one: BundledCudnn, system: CudnnLibraries | Unavailable, gpus: ComputeGpus | Unavailable) -> Finding:
    """CTranslate2 opens the rest of cuDNN when a model with convolutions starts; others run without."""
    named = f"{one.distribution.name} {one.distribution.version}"
    wheels = one.environment.having("nvidia-cudnn-cu")
    others = _others(wheels, system, one.major)
    requirement = newest_cudnn(one.environment, one.major, capabilities(gpus))
    return Finding(
        f"{named} {place(one.environment)} brings a part of cuDNN {one.major}, and the rest, {one.soname}, is nowhere"
        f"{f' (only {others[0].value} is there)' if others else ''}.",
        named,
        (Evidence(one.path, f"opens {one.soname}"), *others[:3]),
        f"Install a release of {one.distribution.name} that is made for the cuDNN which is there: one environment "
        "holds one cuDNN."
        if any(other.source.endswith(".dist-info") for other in others)
        else installing(one.environment, one.distribution.name, requirement),
        severity(one.environment, Severity.WARNING),
        one.environment.prefix,
    )


def _others(wheels: tuple[Distribution, ...], system: CudnnLibraries | Unavailable, major: int) -> tuple[Evidence, ...]:
    """The cuDNN of other major versions: wheels of the environment, then the system's."""
    found = [
        Evidence(one.folder, f"{one.name} {one.version}")
        for one in wheels
        if one.version and one.version.partition(".")[0] != str(major)
    ]
    known = system.folders if isinstance(system, CudnnLibraries) else ()
    there = [(folder.folder, number) for folder in known for number in folder.majors if number != major]
    return (*found, *(Evidence(f"{folder}/libcudnn.so.{n}", f"libcudnn.so.{n}") for folder, n in there))


@check(
    "cudnn.header-mismatch",
    severity=Severity.WARNING,
    after=["cudnn.sublibrary-mix"],
    symptoms=[
        sure(r"Could NOT find C[uU]DNN: Found unsuitable version"),
        sure(r"libcudnn\.so\.9\S* \(found version \"[5-8]\.|libcudnn\.so\.8\S* \(found version \"(9|[5-7])\."),
        sure(r"CuDNN v\d+ found, but need at least CuDNN v\d"),
        r"cudnnGetVersion\b.*\bCUDNN_(VERSION|MAJOR)\b|\bCUDNN_(VERSION|MAJOR)\b.*\bcudnnGetVersion\b",
        r"Could not find any cudnn\S*\.h.* matching version",
        r"cu_?dnn\S*( library| headers?)? version.{0,40}(differs? from|does not match|mismatch).{0,40}(header|library)",
        hint(r"fatal error: cudnn\S*\.h: No such file or directory"),
    ],
)
def header_mismatch(cudnn: CudnnLibraries) -> Iterator[Finding | Undecided]:
    """The cuDNN header that compilers find belongs to a newer or another release than the library.

    What: A program takes the version from cudnn_version.h when it is compiled, and must then run with
    the same major version and at least that minor version. Where header and library come from two
    packages, or Debian's alternatives point at two releases, what is compiled here fails when it
    starts. Frameworks from PyPI are not concerned: they bring a cuDNN of their own.

    Proof: CUDNN_MAJOR and CUDNN_MINOR in the header that compilers find first, and the version in the
    name of the file behind libcudnn.so.

    Repair: Install the -dev package of the same release as the library; on Debian and Ubuntu
    `update-alternatives --config libcudnn` chooses among several.

    Reference: https://docs.nvidia.com/deeplearning/cudnn/installation/latest/linux.html
    """
    for reason in cudnn.unread:
        yield Undecided(reason, matters=False)
    header = next(iter(cudnn.headers), None)
    if header is None or not cudnn.folders:
        return
    if not header.version:
        yield Undecided(f"{header.path} does not tell its version", matters=False)
        return
    libraries = _libraries(cudnn, header)
    if not libraries:
        yield Undecided(f"nothing tells the version of the cuDNN in {cudnn.folders[0].folder}", matters=False)
    elif not any(cudnn_serves(version_numbers(version), version_numbers(header.version)) for _, version in libraries):
        path, version = libraries[0]
        yield Finding(
            f"What is compiled here is made for cuDNN {header.version}, as {header.path} says, but the library is "
            f"{version}.",
            header.path,
            (Evidence(header.real_path, f"CUDNN_VERSION {header.version}"), Evidence(path, version)),
            "Bring header and library to one release: install the -dev package of the library's own release "
            f"({_package(cudnn)}), or choose with `update-alternatives --config libcudnn` where several are installed.",
        )


def _libraries(cudnn: CudnnLibraries, header: Header) -> list[tuple[str, str]]:
    """(path, version) of the main libraries; those of the header's own major version, where there are such."""
    taken = [(one.path, one.version) for one in cudnn.taken if one.version]
    there = [
        (f"{folder.folder}/libcudnn.so.{major}", version)
        for folder in cudnn.folders
        for major in folder.majors
        if (version := folder.version(major))
    ]
    known = [*taken, *(pair for pair in there if pair not in taken)]
    major = header.version.partition(".")[0]
    same = [pair for pair in known if pair[1].partition(".")[0] == major]
    return same or known


def _package(cudnn: CudnnLibraries) -> str:
    package = next((one for one in cudnn.packages if "dev" not in one.name), None)
    return f"beside {package.name} {package.version}" if package else "or the archive that the library came from"
