"""The CUDA toolkits of people who compile: is there one where it is needed, and does what names it lead there?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.toolkits import CudaToolkits

from ._environments import no_variables, on_gpus, place
from ._loader_words import setting_evidence
from ._toolkits import compiles_when_chosen, compiles_when_used, get_toolkit, toolkit_for

_AT_A_BUILD = r"setup\.py|building wheel|cpp_extension|deepspeed|flash.attn|cmake|\bmake\b|ninja"


@check(
    "cuda.home-missing",
    severity=Severity.WARNING,
    after=["cuda.home-invalid", "cuda.symlink-broken"],
    symptoms=[
        sure(r"CUDA_HOME environment variable is not set"),
        sure(r"CUDA_HOME does not exist, unable to compile CUDA op"),
        sure(r"CUDA was not found on the system, please set the CUDA_HOME"),
        sure(r"Unable to run \S*nvcc, unable to compile CUDA op"),
        sure(r"nvcc was not found\. +Are you sure your environment has nvcc available"),
        r"CUDA_HOME is not set",
        r"\[Errno 2\] No such file or directory: '(/usr/local/cuda/bin/)?nvcc'",
        r"(Failed to find|Could not find|Cannot find|Unable to find) nvcc\b(?!.*in path specified by)",
        r"No CMAKE_CUDA_COMPILER could be found",
        r"\bnvcc not in path\b|CUDA could not be found on your system",
        r"Unable to find cudart library|version uses CUDA but I cannot find the CUDA\s+libraries",
        r"`nvcc[^`]*` failed\. Error .{0,20}NotFound",
        hint(r"Looking for a CUDA compiler - NOTFOUND"),
        r"Could NOT find CUDA(Toolkit)? \(missing:",
        r"CUDA_TOOLKIT_ROOT_DIR not found or specified|Specify CUDA_TOOLKIT_ROOT_DIR",
        r"fatal error: (cuda|cuda_\w+|cublas_v2|cu(sparse|solver|fft|rand)\w*|nvrtc|nvToolsExt)\.h: No such file",
        r"fatal error: (thrust|cub)/\S+: No such file",
        r"cannot find -l(cudart|cublas|cublasLt|cusparse|cusolver|cufft|curand|nvrtc)(_static)?\b",
        likely(r"\bnvcc'?: (command )?not found", beside=_AT_A_BUILD),
        hint(r"\bnvcc'?:? (command )?not found|\bnvcc'?: No such file or directory"),
    ],
)
def home_missing(builds: FrameworkBuilds, toolkits: CudaToolkits, gpus: ComputeGpus) -> Iterator[Finding]:
    """A package that compiles CUDA code while it runs finds no CUDA toolkit.

    What: torch itself brings all that it needs. Packages such as deepspeed compile their kernels when these are first
    used, or are compiled while they are installed (flash-attn); that takes nvcc, which torch looks for in CUDA_HOME,
    on PATH and in /usr/local/cuda. flashinfer, which vllm brings along, compiles only where somebody chooses it.

    Proof: Such a package is installed, and none of the three leads to a toolkit.

    Repair: Prefer a ready-made wheel of the package. Else install the toolkit of torch's CUDA (cuda-toolkit-12-8 from
    NVIDIA's repository, or cuda-nvcc from conda), not a driver; where one is there, set CUDA_HOME to it.

    Reference: torch/utils/cpp_extension.py, _find_cuda_home
    """
    on_gpus(gpus)
    link = toolkits.default_link
    if toolkits.by_variable or toolkits.on_path or (link and not link.dangling):
        return
    if toolkits.unknown:
        raise Unavailable(toolkits.unknown)
    for build in builds.of("torch"):
        always = compiles_when_used(build.environment)
        needing = always or compiles_when_chosen(build.environment)
        if not needing or not build.environment.in_use or build.cuda is None or _has_nvcc(build.environment):
            continue
        spare = toolkit_for(build, toolkits)
        yield Finding(
            f"{needing[0].name} {place(build.environment)} compiles CUDA code when it is "
            f"{'used' if always else 'chosen'}, and finds no nvcc.",
            "CUDA_HOME",
            (
                Evidence(needing[0].folder, f"{needing[0].name} {needing[0].version}"),
                Evidence("CUDA_HOME, PATH and /usr/local/cuda", "no nvcc"),
                Evidence(build.source, build.value),
            ),
            get_toolkit(build, spare),
            None if always else Severity.INFO,
            build.environment.prefix,
        )


def _has_nvcc(environment: PythonEnvironment) -> bool:
    """conda's compiler in the environment itself, which is on PATH once it is activated."""
    return environment.conda_package("cuda-nvcc", "cuda-nvcc-tools", "cuda-compiler") is not None


@check(
    "cuda.home-invalid",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"The nvcc binary could not be located in your \$CUDA_HOME"),
        sure(r"No such file or directory: '(:|/[^':]*:)[^']*/nvcc'"),  # a list of folders in place of one
        sure(r"(^|\s):/\S*bin/nvcc: (not found|No such file)"),
        sure(r"\bCUDA_(HOME|PATH)=[\"']?(\$\{?CUDA_(HOME|PATH)\}?:|:/|/[^\s:\"']*:)"),
        sure(r"Could not find `?nvcc`? executable in path specified by"),
        sure(r"is not a full path to an existing compiler", beside=r"CMAKE_CUDA_COMPILER"),
        r"CUDA_(HOME|PATH)\b.*(not a directory|No such file|does not exist(?!, unable)|is not a valid|no nvcc)",
        r"No such file or directory: '/(?!usr/local/cuda/)[^':]*/bin/nvcc'",
        hint(r"No such file or directory: '/usr/local/cuda/bin/nvcc'"),
    ],
)
def home_invalid(
    toolkits: CudaToolkits, environment: Environment | Unavailable, kernel: Kernel | Unavailable
) -> Iterator[Finding | Undecided]:
    """CUDA_HOME or CUDA_PATH names no CUDA toolkit.

    What: Build scripts take nvcc, headers and libraries from the one folder in CUDA_HOME (or CUDA_PATH), and look no
    further. After a toolkit was removed the variable often stays behind in ~/.bashrc.

    Proof: The variable's value is a list, or leads to no folder, or to one without nvcc, headers and libraries.

    Repair: Set it to a toolkit that is there, or take the line out of the file that sets it.

    Reference: torch/utils/cpp_extension.py, _find_cuda_home
    """
    if toolkits.unknown:
        raise no_variables(toolkits.unknown, kernel)
    for named in toolkits.by_variable:
        if not named.problem:
            continue
        if not named.problem.startswith(("it is", "there is")):  # what could not be looked at
            yield Undecided(named.problem, matters=False)
            continue
        setters = environment.set_by(named.variable) if isinstance(environment, Environment) else ()
        there = next((toolkit for toolkit in toolkits.toolkits if toolkit.nvcc), None)
        lines = " and ".join(f"{one.path} (line {one.line})" for one in setters)
        where = f" in {lines}" if lines else "; no file that was read sets it"
        remedy = f"`export {named.variable}={there.folder}`" if there else f"`unset {named.variable}`"
        yield Finding(
            f"{named.variable} is {named.value}, and that is no CUDA toolkit: {named.problem}.",
            named.variable,
            (Evidence(named.variable, named.value), *setting_evidence(setters)),
            f"{remedy} in place of what is said now{where}.",
            # A conda environment, or a prefix with libraries alone, does no harm until somebody compiles.
            Severity.INFO if named.problem == "there is no CUDA toolkit in it" else None,
        )


@check(
    "cuda.symlink-broken",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"/usr/local/cuda/?['\"]?: broken symbolic link"),
        sure(r"/usr/local/cuda['\"]?: Too many levels of symbolic links"),
        likely(
            r"/usr/local/cuda -> ",
            beside=r"does(n't| not) exist|dangling|broken (sym)?link|No such file|not there|is gone",
        ),
        hint(r"(cannot access|No such file or directory:?) ['\"]?/usr/local/cuda/?(include|lib64)?['\"]?(:|$)"),
        hint(r"(broken|dangling|wrong) (sym(bolic )?)?link.{0,40}/usr/local/cuda\b"),
        hint(r"/usr/local/cuda is (a |now a )?(broken|dangling) (sym(bolic )?)?link"),
    ],
)
def symlink_broken(toolkits: CudaToolkits) -> Iterator[Finding]:
    """/usr/local/cuda leads to nothing.

    What: Guides, build scripts and PATH name /usr/local/cuda, a link that the packages keep through
    /etc/alternatives. After a toolkit was removed by hand it points to a folder that is gone.

    Proof: The links, followed one by one.

    Repair: `sudo update-alternatives --auto cuda` lets the newest installed toolkit win; where the link was made by
    hand, make it anew.

    Reference: update-alternatives(1)
    """
    link = toolkits.default_link
    if link is None or not link.dangling:
        return
    there = [toolkit for toolkit in toolkits.toolkits if toolkit.origin == "local"]
    managed = any(target.startswith("/etc/alternatives/") for _, target in link.links)
    if managed:
        remedy = "`sudo update-alternatives --auto cuda` chooses among the toolkits that are there."
    elif there:
        remedy = f"`sudo ln -sfn {there[-1].folder} /usr/local/cuda` leads it to the toolkit that is there."
    else:
        remedy = "`sudo rm /usr/local/cuda` takes the link away: no toolkit lies in /usr/local."
    yield Finding(
        f"/usr/local/cuda leads to {link.links[-1][1]}, which is not there.",
        "/usr/local/cuda",
        tuple(Evidence(path, target) for path, target in link.links),
        remedy,
    )


@check(
    "cuda.several-toolkits",
    severity=Severity.INFO,
    after=["cuda.home-invalid"],
    symptoms=[
        sure(r"Found two conflicting CUDA (installs|versions)"),
        sure(r"FindCUDA says CUDA version is \S+ .*but the CUDA headers say the version is"),
        sure(r"CUDA compiler and CUDA toolkit headers are incompatible"),
        hint(r"which -a nvcc"),
        hint(r"\bheaders of (CUDA )?\d+\.\d and (of )?(CUDA )?\d+\.\d"),
        r"The version of CUB in your include path is not compatible with this release of Thrust",
    ],
)
def several_toolkits(toolkits: CudaToolkits) -> Iterator[Finding]:
    """PATH, CUDA_HOME and a toolkit's own headers do not lead to the same CUDA.

    What: Several toolkits side by side are meant so by NVIDIA. But CMake takes the nvcc on PATH, and torch's build
    the one in CUDA_HOME, and a toolkit with headers of another release in it was put together from two.

    Proof: nvcc on PATH with links and wrappers followed, CUDA_HOME, and the version in each toolkit's cuda.h.

    Repair: Choose one for a build: put its bin folder first on PATH, and set CUDA_HOME to the same toolkit. Install a
    toolkit anew whose headers are of another release.

    Reference: https://docs.nvidia.com/cuda/cuda-installation-guide-linux/
    """
    home, on_path = toolkits.by_cuda_home, toolkits.on_path
    if home and home.toolkit and on_path and on_path.toolkit and home.toolkit.release != on_path.toolkit.release:
        yield Finding(
            f"nvcc on PATH is of CUDA {on_path.toolkit.version}, "
            f"and {home.variable} names CUDA {home.toolkit.version}.",
            on_path.path,
            (Evidence("PATH", f"{on_path.path} ({on_path.leads_to})"), Evidence(home.variable, home.value)),
            f"Choose one before you build: `export PATH={home.toolkit.folder}/bin:$PATH` puts the other first.",
        )
    for toolkit in toolkits.toolkits:
        header = tuple(toolkit.header_version.split(".")[:2])
        if toolkit.release and header != ("",) and header != tuple(map(str, toolkit.release)):
            yield Finding(
                f"The toolkit {toolkit.folder} is of CUDA {toolkit.version}, and its headers are of "
                f"{toolkit.header_version}.",
                toolkit.folder,
                (Evidence(toolkit.version_source, toolkit.version), Evidence(toolkit.header, toolkit.header_version)),
                "Install this toolkit anew: it was put together from two.",
                Severity.WARNING,
            )
