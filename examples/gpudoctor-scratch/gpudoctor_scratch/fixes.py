"""Repairs, as data: what is done, why, how to see that it worked, and the way back."""

from collections.abc import Iterator

from gpudoctor import Effort, Run, Step, fix

from .facts import SCRATCH, Scratch


@fix("open-scratch", cures=["scratch.not-writable"], effort=Effort.ENVIRONMENT_VARIABLE)
def open_scratch(scratch: Scratch) -> Iterator[Step]:
    """Let everybody write to the scratch folder, and remove only what is theirs."""
    if scratch.mode is not None:
        yield Step(
            Run(("chmod", "1777", SCRATCH)),
            "Jobs of all users keep their checkpoints there.",
            verify=Run(("test", "-k", SCRATCH)),
            undo=Run(("chmod", f"{scratch.mode:04o}", SCRATCH)),
        )
