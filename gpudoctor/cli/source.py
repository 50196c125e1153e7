"""From the options to a host and its facts."""

from gpudoctor.cli import BadUsage
from gpudoctor.host import GLOBAL_TIMEOUT, Host
from gpudoctor.machine import LiveHost, RootHost


def open_host(
    root: str | None = None, kernel: str | None = None, snapshot: str | None = None, timeout: float = GLOBAL_TIMEOUT
) -> Host:
    """The machine that the user means. Raises BadSource if it is none, BadUsage if two are named."""
    if root and snapshot:
        raise BadUsage("--root and --snapshot name two machines; one of them is enough")
    if kernel and not root:
        raise BadUsage("--kernel says which kernel of a mounted root to take as the running one; it goes with --root")
    if snapshot:
        from gpudoctor.snapshot import load  # here for start-up

        return load(snapshot)
    return RootHost(root, kernel) if root else LiveHost(timeout, min(timeout, 10.0))
