"""A polite reader of a package index: one request at a time, a pause between them, a limit, a cache of what was read.

The index is the one that pip is configured for. Only projects that a table names are asked for.
"""

import ast
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pypi_simple import (
    PYPI_SIMPLE_ENDPOINT,
    DistributionPackage,
    NoMetadataError,
    NoSuchProjectError,
    ProjectPage,
    PyPISimple,
    UnsupportedContentTypeError,
    UnsupportedRepoVersionError,
)
from remotezip import RemoteZip, RemoteZipError  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

USER_AGENT = "gpudoctor-refresh-knowledge (maintainers' script; tables of the project gpudoctor)"
PAGE_KEPT = 3600  # seconds; what belongs to a published file never changes, and is kept for good
_TIMEOUT = (10, 120)


class Unreachable(Exception):
    """The index cannot be asked any further; the text is a sentence for the user."""


class Unreadable(Exception):
    """One answer cannot be used; the text says which, and why."""


class Metadata(NamedTuple):
    """What the tables need of a METADATA file."""

    requires: tuple[Requirement, ...]
    requires_python: str

    def applying(self, extra: str = "", python: str = "3.12") -> dict[str, str]:
        """Normalised name to specifiers of what a Linux x86_64 machine installs; with an extra: what that adds."""
        place = {
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "python_version": python,
            "python_full_version": f"{python}.0",
        }

        def holds(requirement: Requirement, extra: str) -> bool:
            return requirement.marker is None or requirement.marker.evaluate({**place, "extra": extra})

        chosen = (r for r in self.requires if holds(r, extra) and not (extra and holds(r, "")))
        return {canonicalize_name(r.name): str(r.specifier) for r in chosen}

    def unconditional(self, name: str) -> str:
        """The specifiers of a requirement without a marker, "" where there is none."""
        found = (r for r in self.requires if r.marker is None and canonicalize_name(r.name) == name)
        return next((str(r.specifier) for r in found), "")


class Polite(HTTPAdapter):
    """Counts the requests of a session, keeps a pause between them, and ends at a limit."""

    def __init__(self, pause: float, most: int) -> None:
        self.pause, self.most, self.count, self.last = pause, most, 0, 0.0
        busy = Retry(
            total=4,
            backoff_factor=max(pause, 0.01),
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "HEAD"),
        )
        super().__init__(max_retries=busy)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if self.count >= self.most:
            raise Unreachable(f"The limit of {self.most} requests is reached: go on with --cache, or raise --most.")
        wait = self.last + self.pause - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self.count += 1
        options["timeout"] = options.get("timeout") or _TIMEOUT
        try:
            return super().send(request, *args, **options)
        finally:
            self.last = time.monotonic()


class Index:
    """One package index; what it tells is kept in the cache folder, where one is given.

    Raises Unreachable for an address that is none of http or https.
    """

    def __init__(
        self, url: str, *, cache: str = "", pause: float = 0.5, most: int = 300, certificates: str = ""
    ) -> None:
        self.cache = cache
        self.shown = _without_password(url)
        if urlsplit(url).scheme not in ("http", "https"):
            raise Unreachable(f"The package index {self.shown} is no http or https address.")
        self._adapter = Polite(pause, most)
        session = requests.Session()
        session.headers["User-Agent"] = USER_AGENT
        session.mount("https://", self._adapter)
        session.mount("http://", self._adapter)
        if certificates:
            session.verify = certificates
        self._client = PyPISimple(url, session=session)
        self._pages: dict[str, ProjectPage] = {}

    @property
    def requests_made(self) -> int:
        return self._adapter.count

    def files(self, project: str) -> tuple[DistributionPackage, ...]:
        """All files of a project. Raises Unreachable, or Unreadable for an answer that is none."""
        if project not in self._pages:
            self._pages[project] = self._page(project)
        if not self._pages[project].packages:
            raise Unreadable(f"{self.shown} lists no file of {project}")
        return tuple(self._pages[project].packages)

    def metadata(self, file: DistributionPackage) -> Metadata:
        """From the METADATA file beside the wheel (PEP 658), else from the wheel itself by range requests.

        Raises Unreachable and Unreadable.
        """
        text = self._kept(f"{file.filename}.METADATA", None, lambda: self._metadata_text(file))
        raw, _ = parse_email(text)
        if "name" not in raw or "version" not in raw:
            raise Unreadable(f"the METADATA of {file.filename} names no distribution")
        try:
            requires = tuple(Requirement(line) for line in raw.get("requires_dist", ()))
        except InvalidRequirement as reason:
            raise Unreadable(f"the METADATA of {file.filename}: {reason}") from reason
        return Metadata(requires, raw.get("requires_python", ""))

    def inside(self, file: DistributionPackage, what: str, read: Callable[[zipfile.ZipFile], Any]) -> Any:
        """What `read` finds in a wheel, which is fetched in parts; `what` names it in the cache and must be JSON.

        Raises Unreachable, and Unreadable where the server sends no parts or the wheel has no such file.
        """
        return self._kept(f"{file.filename}.{what}.json", None, lambda: self._inside(file, read))

    def names(self, file: DistributionPackage) -> tuple[str, ...]:
        """The files that a wheel writes, without its dist-info folder. Raises as `inside`."""
        return tuple(self.inside(file, "names", _names))

    def _page(self, project: str) -> ProjectPage:
        def fetch() -> Any:
            with self._asking(project):
                page = self._client.s.get(
                    self._client.get_project_url(project), headers={"Accept": self._client.accept}
                )
                if page.status_code == 404:
                    raise Unreadable(f"{self.shown} has no project {project}")
                page.raise_for_status()
                if "json" not in page.headers.get("Content-Type", ""):
                    # An index without the JSON form: its HTML is read, and not kept.
                    read.append(ProjectPage.from_response(page, project))
                    return None
                return page.json()

        read: list[ProjectPage] = []
        told = self._kept(f"{canonicalize_name(project)}.page.json", PAGE_KEPT, fetch)
        with self._asking(project):
            return read[0] if read else ProjectPage.from_json_data(told, self._client.get_project_url(project))

    def _metadata_text(self, file: DistributionPackage) -> str:
        with self._asking(file.filename):
            if file.has_metadata:
                try:
                    verify = bool(file.metadata_digests)
                    return self._client.get_package_metadata_bytes(file, verify=verify).decode("utf-8")
                except NoMetadataError:
                    pass  # promised, and not there: the wheel itself has it
            return str(self._inside(file, _metadata_in))

    def _inside(self, file: DistributionPackage, read: Callable[[zipfile.ZipFile], Any]) -> Any:
        with self._asking(file.filename), RemoteZip(file.url.partition("#")[0], session=self._client.s) as wheel:
            return read(wheel)

    def _kept(self, name: str, seconds: float | None, fetch: Callable[[], Any]) -> Any:
        """What the cache has, unless it is older; else what `fetch` gives, which is then put there."""
        path = os.path.join(self.cache, name) if self.cache else ""
        if path and os.path.exists(path) and (seconds is None or time.time() - os.path.getmtime(path) < seconds):
            try:
                with open(path, encoding="utf-8") as file:
                    return json.load(file)
            except ValueError:
                pass  # half written: asked for once more
        told = fetch()
        if path and told is not None:
            os.makedirs(self.cache, exist_ok=True)
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump(told, file)
            os.replace(f"{path}.new", path)
        return told

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turns what the client libraries raise into the two errors of this module."""
        try:
            yield
        except (requests.HTTPError, NoSuchProjectError) as reason:
            raise Unreadable(f"{what}: {reason}") from reason
        except (UnsupportedContentTypeError, UnsupportedRepoVersionError) as reason:
            raise Unreadable(f"the answer for {what} is no package index: {reason}") from reason
        except requests.JSONDecodeError as reason:
            raise Unreadable(f"the answer for {what} is not JSON: {reason}") from reason
        except requests.RequestException as reason:
            raise Unreachable(f"The package index {self.shown} cannot be reached: {_cause(reason)}.") from reason
        except RemoteZipError as reason:
            raise Unreadable(f"{what} cannot be read in parts: {reason}") from reason
        except KeyError as reason:
            raise Unreadable(f"{what}: {reason.args[0] if reason.args else reason}") from reason
        except (ValueError, TypeError, zipfile.BadZipFile, OSError) as reason:
            first = str(reason).partition("\n")[0]
            raise Unreadable(f"the answer for {what} cannot be read: {first}") from reason


def configured_index() -> tuple[str, str]:
    """The index and the certificates that pip is configured for; of the index the client's own default, or "" ."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    return from_pip_config(asked.stdout.splitlines())


def from_pip_config(lines: Iterable[str]) -> tuple[str, str]:
    """Of `pip config list` (`global.index-url='https://...'`): a variable outranks a section, which outranks global."""
    settings: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition("=")
        try:
            settings[key] = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            continue

    def first(name: str) -> str:
        places = (f":env:.{name}", f"download.{name}", f"install.{name}", f"global.{name}")
        return next((settings[place] for place in places if settings.get(place)), "")

    return first("index-url") or PYPI_SIMPLE_ENDPOINT, first("cert")


def _names(wheel: zipfile.ZipFile) -> list[str]:
    names = (name for name in wheel.namelist() if not name.endswith("/"))
    return sorted(name for name in names if not name.partition("/")[0].endswith(".dist-info"))


def _metadata_in(wheel: zipfile.ZipFile) -> str:
    for name in wheel.namelist():
        if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
            return wheel.read(name).decode("utf-8")
    raise KeyError("the wheel has no METADATA")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _cause(reason: BaseException) -> str:
    """The innermost reason, in one line: "Connection refused"."""
    words = str(reason).partition("\n")[0]
    system = re.search(r"\[Errno -?\d+\] ([^)\]'\"]+)", words)
    return system[1] if system else words.rstrip(".")
