"""CUDA's multi-process service (MPS): the folder that programs look into for its daemon, and whether that runs."""

from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

VARIABLE = "CUDA_MPS_PIPE_DIRECTORY"
_USUAL = "/tmp/nvidia-mps"
_PROCESS_FILE = "nvidia-cuda-mps-control.pid"
_COMMAND = "nvidia-cuda-mps"  # the kernel cuts names to 15 characters


class Mps(NamedTuple):
    """The control daemon writes its process id into the folder; when it is killed, id and socket stay behind."""

    folder: str  # where programs started here look for the daemon
    named: bool  # by CUDA_MPS_PIPE_DIRECTORY; False: the usual folder
    there: bool  # the folder is there
    socket: bool  # and in it the socket through which programs reach the daemon
    process_id: int | None  # that stands in the folder
    running: bool  # the process of that id is a control daemon; one of another PID namespace is not seen

    @property
    def left_behind(self) -> bool:
        """Did a daemon end without clearing up? A daemon that was told to quit takes its process id away."""
        return self.process_id is not None and not self.running


@fact
def mps(host: Host, loaded: LoadedDriver, environment: Environment | Unavailable) -> Mps:
    """Where no variable tells the folder, CUDA takes /tmp/nvidia-mps. Without a driver nobody looks there."""
    told = environment.variables.get(VARIABLE, "") if isinstance(environment, Environment) else ""
    folder = told.rstrip("/") if told.startswith("/") else _USUAL
    named = folder == told.rstrip("/")
    if not loaded.loaded or host.status(folder) is None:
        return Mps(folder, named, False, False, None, False)
    socket = host.status(f"{folder}/control") is not None
    text = (host.read(f"{folder}/{_PROCESS_FILE}", first=16) or "").strip()
    if not (text.isascii() and text.isdigit()):
        return Mps(folder, named, True, socket, None, False)
    command = (host.read(f"/proc/{text}/comm") or "").strip()
    return Mps(folder, named, True, socket, int(text), command.startswith(_COMMAND))
