"""Is the scratch folder as jobs need it?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, check

from .facts import SCRATCH, Scratch


@check("scratch.not-writable", symptoms=[r"Permission denied: '/scratch"])
def not_writable(scratch: Scratch) -> Iterator[Finding]:
    """Jobs cannot write to the scratch folder.

    What: Checkpoints are written to /scratch; where not everybody may do that, a job ends at its first one.

    Proof: The mode of /scratch is not 1777.

    Repair: chmod 1777 /scratch

    Reference: chmod(1), the restricted deletion flag.
    """
    if scratch.mode is None:
        raise NotApplicable(f"no {SCRATCH} here")
    if scratch.mode != 0o1777:
        evidence = Evidence(SCRATCH, f"mode {scratch.mode:04o}")
        yield Finding(f"Not everybody can write to {SCRATCH}.", SCRATCH, [evidence], f"Run `chmod 1777 {SCRATCH}`.")
