"""The scratch folder: where jobs keep data sets and checkpoints."""

from typing import NamedTuple

from gpudoctor import Host, fact

SCRATCH = "/scratch"


class Scratch(NamedTuple):
    """The folder's permission bits, None if there is no such folder."""

    mode: int | None


@fact
def scratch(host: Host) -> Scratch:
    """A host is this machine, a mounted disk or a recording: no `os` here, so that all three can be judged.

    What cannot be told raises Unavailable by itself, and becomes the outcome `unknown`.
    """
    status = host.status(SCRATCH)
    return Scratch(status.mode if status and status.kind == "directory" else None)
