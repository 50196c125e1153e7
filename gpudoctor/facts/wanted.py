"""What the user asked for beyond health: a driver, a CUDA toolkit or a cuDNN of a certain version."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.host import BadSource, Host
from gpudoctor.registry import fact


class Request(NamedTuple):
    """One thing that is to be on this machine. `version` is as exact as it was asked for."""

    kind: str  # "driver", "cuda", "cudnn"
    version: str  # "580" or "580.95.05"; "12.8" or "12.8.1"; "9", "9.8" or "9.8.0"
    runfile: str = ""  # absolute path of NVIDIA's .run file that it is to come from, "" from packages
    opengl: bool = True  # False: a driver without its OpenGL libraries; only a .run file can leave them out

    @property
    def text(self) -> str:
        """As it is asked for: "driver=580"."""
        return f"{self.kind}={self.version}"

    @property
    def words(self) -> str:
        """ "driver 580", "CUDA 12.8", "cuDNN 9"."""
        return f"{_NAMES[self.kind]} {self.version}"

    def is_met_by(self, version: str) -> bool:
        """Is this the version that is meant, as far as the request says: "580.95.05" for "580"?"""
        return f"{version}.".startswith(f"{self.version}.")


class Wanted(NamedTuple):
    """All requests, at most one of a kind."""

    requests: tuple[Request, ...]

    def get(self, kind: str) -> Request | None:
        return next((request for request in self.requests if request.kind == kind), None)


@fact
def wanted(host: Host) -> Wanted:
    """Nothing was asked for: the command line puts another answer in its place."""
    return Wanted(())


_NAMES = {"driver": "driver", "cuda": "CUDA", "cudnn": "cuDNN"}
_VERSIONS = {
    "driver": re.compile(r"[1-9][0-9]{2}(?:\.[0-9]{2,3}(?:\.[0-9]{2})?)?"),
    "cuda": re.compile(r"[1-9][0-9]?\.[0-9]{1,2}(?:\.[0-9]{1,3})?"),
    "cudnn": re.compile(r"[1-9][0-9]?(?:\.[0-9]{1,2}){0,2}"),
}
_HOW = {
    "driver": "a driver is asked for by its branch or its version: driver=580, driver=580.95.05",
    "cuda": "a CUDA toolkit is asked for by its release: cuda=12.8, cuda=12.8.1",
    "cudnn": "cuDNN is asked for by its version or a part of it: cudnn=9, cudnn=9.8",
}
# The installers take their own path apart without quoting it, so nothing in it may mean something to a shell.
_PATH = re.compile(r"(?:/[A-Za-z0-9_+~=@,-][A-Za-z0-9._+~:=@,-]*)+")


def parse_request(text: str) -> Request:
    """The request in "driver=580", "cuda=12.8" or "cudnn=9". Raises BadSource."""
    kind, _, version = text.strip().partition("=")
    if kind not in _VERSIONS:
        raise BadSource(f"--to {text}: what can be asked for is driver=580, cuda=12.8 and cudnn=9")
    if not _VERSIONS[kind].fullmatch(version):
        raise BadSource(f"--to {text}: {_HOW[kind]}")
    return Request(kind, version)


def wanted_of(texts: Sequence[str], runfile: str = "", *, opengl: bool = True) -> Wanted:
    """What the texts ask for together. `runfile`: the absolute path of NVIDIA's .run file for the one of them.

    Raises BadSource for what is no request, and for requests that cannot go together.
    """
    requests = [parse_request(text) for text in texts]
    kinds = [request.kind for request in requests]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), "")
    if twice:
        raise BadSource(f"--to {twice}= is given twice; of each kind one version can be asked for")
    if not runfile:
        if not opengl:
            raise BadSource("--no-opengl goes with --runfile: of packages, the driver's OpenGL libraries are a part")
        return Wanted(tuple(requests))
    if len(requests) != 1 or kinds[0] == "cudnn":
        raise BadSource("--runfile is the file of one driver or CUDA toolkit, and goes with one --to driver= or cuda=")
    if not opengl and kinds[0] != "driver":
        raise BadSource("--no-opengl leaves out OpenGL libraries of a driver, and goes with --to driver=")
    if not _PATH.fullmatch(runfile):
        raise BadSource(
            f"--runfile {runfile!r}: the installer would stumble over this path; move the file to a folder with a "
            "plain name, without blanks and special characters"
        )
    return Wanted((requests[0]._replace(runfile=runfile, opengl=opengl),))
