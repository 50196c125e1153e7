"""A package index on 127.0.0.1: projects with files in the simple JSON form, METADATA beside wheels, range requests."""

import io
import json
import threading
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

JSON_FORM = "application/vnd.pypi.simple.v1+json"


class Asked(NamedTuple):
    path: str
    agent: str
    range: str


class PackageIndex:
    """Answers from memory, and notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, bytes]] = {}
        self.status: dict[str, list[int]] = {}  # path to the status codes of the next answers
        self.ranges = True
        self.asked: list[Asked] = []
        self.files: dict[str, list[dict[str, object]]] = {}
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one piece

            def do_GET(self) -> None:
                wanted = self.headers.get("Range", "")
                index.asked.append(Asked(self.path, self.headers["User-Agent"], wanted))
                kind, body = index.answers.get(self.path) or index.page(self.path)
                status = index.status[self.path].pop(0) if index.status.get(self.path) else 200 if kind else 404
                size = len(body)
                first, last = 0, size - 1
                if status == 200 and wanted and index.ranges:
                    one, _, other = wanted.removeprefix("bytes=").partition("-")
                    first, last = (int(one), min(int(other), last)) if one else (max(0, size - int(other)), last)
                    status = 206
                body = body[first : last + 1] if status in (200, 206) else b""
                self.send_response(status)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(body)))
                if status == 206:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(
        self,
        project: str,
        version: str,
        tag: str = "py3-none-manylinux_2_28_x86_64",
        *,
        contents: Mapping[str, str | bytes] | None = None,
        metadata: str | None = None,
        beside: bool = False,
        yanked: bool = False,
        uploaded: str = "2020-01-01T00:00:00Z",
    ) -> str:
        """One wheel; with `contents` or `metadata` a real one, with `beside` its METADATA lies beside it. Its path."""
        name = project.replace("-", "_")
        filename = f"{name}-{version}-{tag}.whl"
        path = f"/files/{filename}"
        row: dict[str, object] = {"filename": filename, "url": path, "hashes": {}, "yanked": yanked}
        row["upload-time"] = uploaded
        text = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n{metadata or ''}\n"
        if contents is not None or metadata is not None:
            self.answers[path] = (
                "application/octet-stream",
                wheel({**(contents or {}), f"{name}-{version}.dist-info/METADATA": text}),
            )
        if beside:
            row["core-metadata"] = True
            self.answers[f"{path}.metadata"] = "text/plain", text.encode()
        self.files.setdefault(project, []).append(row)
        return path

    def page(self, path: str) -> tuple[str, bytes]:
        project = path.removeprefix("/simple/").rstrip("/")
        if project not in self.files:
            return "", b""
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": self.files[project]}
        return JSON_FORM, json.dumps(page).encode()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


def wheel(contents: Mapping[str, str | bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return written.getvalue()
