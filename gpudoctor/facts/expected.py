"""What the user said to expect of this machine."""

from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class ExpectedGpus(NamedTuple):
    """`number` is the one given with --expect-gpus, None if nothing was said."""

    number: int | None


@fact
def expected_gpus(host: Host) -> ExpectedGpus:
    """Nothing was said: the command line puts another answer in its place."""
    return ExpectedGpus(None)
