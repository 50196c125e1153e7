"""The multi-process service (MPS), through which programs share a GPU: does the daemon that they look for run?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, likely, sure
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.mps import VARIABLE, Mps
from gpudoctor.facts.process_view import ProcessView
from gpudoctor.facts.system import Confinement

from ._nvml_gpus import on_host

_MPS_CODES = (805, 806, 807)  # CUDA_ERROR_MPS_CONNECTION_FAILED, _MPS_RPC_FAILURE, _MPS_SERVER_NOT_READY


@check(
    "gpu.mps-stale",
    severity=Severity.WARNING,
    after=["driver.nvml-failed"],
    symptoms=[
        sure(r"MPS client failed to connect to the MPS (control daemon|server)"),
        sure(r"between the MPS server and the MPS client failed"),
        sure(r"MPS server is not ready to accept new MPS client"),
        sure(r"CUDA_ERROR_MPS_(CONNECTION_FAILED|RPC_FAILURE|SERVER_NOT_READY)"),
        sure(r"cudaErrorMps(ConnectionFailed|RpcFailure|ServerNotReady)"),
        sure(r"Cannot find MPS control daemon process"),
        likely(r"\bMPS (daemon|server|control daemon) (was killed|is gone|died|crashed|is dead)"),
        sure(r"CUDA_ERROR_MPS_\w+|cudaErrorMps[A-Z]\w+"),
        r"resources required to (create MPS client|support device connections) have been exhausted",
        r"MPS client has been terminated by the server|error checking MPS daemon health",
        r"failed to start NVIDIA MPS command",
        likely(
            r"Server \d+ exited with status [1-9]|Server encountered a fatal exception", beside=r"\bMPS\b|-mps-|/mps/"
        ),
    ],
)
def mps_stale(
    confinement: Confinement,
    mps: Mps,
    cuda: Cuda | Unavailable,
    environment: Environment | Unavailable,
    view: ProcessView | Unavailable,
) -> Iterator[Finding]:
    """CUDA programs look for a multi-process service (MPS) whose daemon does not run any more, or does not answer.

    What: With MPS several processes share one GPU at the same time, through a daemon that they find by a socket in
    /tmp/nvidia-mps, or in the folder that CUDA_MPS_PIPE_DIRECTORY names. Where the daemon was killed, its socket and
    its process id stay behind: programs fail to connect, or run without MPS, one after the other.

    Proof: cuInit's return codes 805 to 807; the process id in that folder, which no MPS daemon has.

    Repair: Start the daemon anew as it was started (`nvidia-cuda-mps-control -d`, with the same variable), or unset
    CUDA_MPS_PIPE_DIRECTORY where nobody wants MPS. Remove first what was left behind.

    Reference: https://docs.nvidia.com/deploy/mps/
    """
    code = cuda.return_code if isinstance(cuda, Cuda) else None
    failed = code in _MPS_CODES
    # A daemon of another PID namespace is alive, though its process cannot be seen.
    seen = not confinement.container and isinstance(view, ProcessView) and view.whole
    stale = seen and mps.left_behind
    # CUDA that starts has passed the leftovers of a service that nobody asked for.
    if not failed and not (stale and (mps.named or code != 0)):
        return
    evidence = [Evidence("cuInit", f"{code} {cuda.return_name}")] if isinstance(cuda, Cuda) and code else []
    if mps.process_id is not None and seen:
        state = "runs" if mps.running else "no MPS daemon"
        evidence.append(Evidence(f"{mps.folder}/nvidia-cuda-mps-control.pid", f"{mps.process_id}: {state}"))
    elif not mps.there or not mps.socket:
        evidence.append(Evidence(mps.folder, "no socket of a daemon" if mps.there else "no such folder"))
    if mps.named:
        evidence.append(Evidence(VARIABLE, mps.folder))
        settings = environment.set_by(VARIABLE) if isinstance(environment, Environment) else ()
        evidence += [Evidence(f"{setting.path}:{setting.line}", setting.text.strip()) for setting in settings[:2]]
    if stale:
        summary = f"The MPS daemon that programs look for in {mps.folder} has ended, and left its files behind."
        remedy = (
            f"Remove control* and nvidia-cuda-mps-control.pid in {mps.folder}, then start the daemon anew "
            "(`nvidia-cuda-mps-control -d`)"
        )
    else:
        summary = f"CUDA cannot start: the MPS daemon behind {mps.folder} does not answer as it should."
        remedy = "Start the daemon anew (`echo quit | nvidia-cuda-mps-control`, then `nvidia-cuda-mps-control -d`)"
    unset = f", or unset {VARIABLE}" if mps.named else ""
    if confinement.container:
        unset += f"; the container needs the host's {mps.folder} mounted and its IPC namespace (`--ipc=host`)"
    yield Finding(
        summary,
        mps.folder,
        tuple(evidence),
        on_host(f"{remedy}{unset}.", confinement.container),
        Severity.ERROR if failed else None,
    )
