"""The CUDA toolkit that builds take: a link that leads there, a compiler that nvcc accepts, a release that suits."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.facts.toolkits import CudaToolkits

from ._compilers import older_compiler
from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe, file_path

_LINK = "/usr/local/cuda"
_ARCH = "cuda.arch-unsupported-by-nvcc"


@fix("lead-cuda-link", cures=["cuda.symlink-broken"], effort=Effort.ENVIRONMENT_VARIABLE)
@by_hand_if_unsafe
def lead_cuda_link(toolkits: CudaToolkits) -> Iterator[Step]:
    """Lead /usr/local/cuda to a toolkit that is there."""
    link = toolkits.default_link
    if link is None or not link.dangling or not link.links:
        return
    there = [toolkit for toolkit in toolkits.toolkits if toolkit.origin == "local"]
    first = link.links[0][1]
    if first.startswith("/etc/alternatives/"):
        yield Step(
            Run(("update-alternatives", "--auto", "cuda")),
            f"{link.links[-1][1]} is gone; the packages' own order of toolkits decides which one follows it.",
            Phase.CONFIGURE,
            Risk.LOW,
            verify=Run(("test", "-e", _LINK)),
            undo=Manual(f"Run `update-alternatives --set cuda {link.links[-1][1]}` once that is there again."),
        )
    elif len(there) == 1:
        target = file_path(there[0].folder)
        yield Step(
            Run(("ln", "-sfn", target, _LINK)),
            f"{_LINK} led to {first}, which is gone, and {target} is the only toolkit here.",
            Phase.CONFIGURE,
            Risk.LOW,
            verify=Run(("test", _LINK, "-ef", target)),
            undo=Run(("ln", "-sfn", file_path(first) if first.startswith("/") else first, _LINK)),
        )
    else:
        folders = " or ".join(toolkit.folder for toolkit in there)
        yield Step(
            Manual(
                f"Choose the toolkit that {_LINK} shall lead to ({folders}): `ln -sfn FOLDER {_LINK}` as root."
                if there
                else f"Take the link {_LINK} away (`rm {_LINK}` as root), or install the toolkit that it led to."
            ),
            f"{_LINK} leads to {first}, which is gone, and a program cannot know which toolkit is meant.",
            Phase.CONFIGURE,
        )


@fix("choose-host-compiler", cures=["cuda.host-compiler-too-new"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def choose_host_compiler(
    toolkits: CudaToolkits, compilers: HostCompilers | Unavailable, system: OperatingSystem | Unavailable
) -> Iterator[Step]:
    """Give nvcc an older compiler beside the new one."""
    toolkit = toolkits.on_path.toolkit if toolkits.on_path else None
    limit = toolkit.gcc_limit if toolkit else None
    if toolkit is None or limit is None:
        yield Step(
            Manual("Name a compiler that this nvcc accepts in NVCC_CCBIN: `export NVCC_CCBIN=/usr/bin/g++-N`."),
            "nvcc refuses compilers that came after it.",
            Phase.AFTERWARDS,
            root=False,
        )
        return
    yield older_compiler(toolkit.version, limit, compilers, system)


@fix(
    "choose-toolkit",
    cures=["cuda.home-missing", "cuda.nvcc-mismatch", "cuda.several-toolkits", "cuda.arch-unsupported-by-nvcc"],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def choose_toolkit(findings: Findings) -> Iterator[Step]:
    """Build with the toolkit that suits the framework and the GPU."""
    # Where CuPy has to be replaced as well, install-fitting-build does both.
    other = any(id == _ARCH and finding.environment for id, finding in findings.items)
    for id, finding in findings.items:
        if finding.remedy and not (other and id == _ARCH):
            yield by_remedy(finding, "which toolkit is meant")
