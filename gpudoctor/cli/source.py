"""From the options to a host and its facts."""

from collections.abc import Sequence

from gpudoctor.cli import BadUsage
from gpudoctor.host import GLOBAL_TIMEOUT, PROBE_TIMEOUT, Host
from gpudoctor.machine import LiveHost, RootHost


def open_host(
    root: str | None = None,
    kernel: str | None = None,
    snapshot: str | None = None,
    timeout: float = GLOBAL_TIMEOUT,
    pythons: Sequence[str] = (),
) -> Host:
    """The machine that the user means. Raises BadSource if it is none, BadUsage if two are named.

    `pythons`: the Python environments that the user means. Raises BadUsage for what is none on that machine.
    """
    host = _machine(root, kernel, snapshot, timeout)
    if pythons:
        host.pythons = tuple(_python(host, path) for path in pythons)
    return host


def _machine(root: str | None, kernel: str | None, snapshot: str | None, timeout: float) -> Host:
    if root and snapshot:
        raise BadUsage("--root and --snapshot name two machines; one of them is enough")
    if kernel and not root:
        raise BadUsage("--kernel says which kernel of a mounted root to take as the running one; it goes with --root")
    if snapshot:
        from gpudoctor.snapshot import load  # here for start-up

        return load(snapshot, timeout)
    if root:
        return RootHost(root, kernel)
    # All children leave some time for the files and for the report; of a short time one child leaves the others some.
    share = 0.6 * timeout if timeout < GLOBAL_TIMEOUT else timeout
    return LiveHost(timeout - min(0.2 * timeout, 2.0), min(share, PROBE_TIMEOUT), share)


def _python(host: Host, path: str) -> str:
    import os

    from gpudoctor.facts.python_places import prefix_of

    # On this machine a relative path is meant as everywhere; on another there is nothing that it is relative to.
    absolute = os.path.abspath(path) if host.source == "live" else path
    if not prefix_of(host, absolute):
        raise BadUsage(f"--python {path}: neither a Python interpreter nor the folder of a Python environment")
    return absolute
