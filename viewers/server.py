"""A result's viewer on this machine alone: one page, the files of one folder, a place for measurements and edits.

The server listens on 127.0.0.1 only. Every address starts with a random token, and requests that name another host or
come from another page are refused, so that no web page can read a result through the user's browser.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import mimetypes
import secrets
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dff import io, pipeline
from dff.io.atomic import plain, read_json
from dff.stack import Frames
from dff.surface.cloud import colours_8bit
from viewers.page import page
from viewers.payload import Payload, jpeg
from viewers.retouched import folder_payload

HOST = "127.0.0.1"
MAX_BODY = 1 << 20
"""Largest list of measurements, in bytes."""
MAX_EDITS = 1 << 23
"""Largest list of strokes, in bytes."""
_CHUNK = 1 << 20
_SOURCE_QUALITY = 92
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class OutdatedError(ValueError):
    """What is kept was changed by someone else since the page read it."""

    def __init__(self, content: dict[str, Any] | None) -> None:
        super().__init__("what is kept: must be what the page read; got a newer one; load the page again")
        self.content = content


def version_of(content: dict[str, Any] | None) -> str:
    """An ETag by which a page says what it read; nothing has one too."""
    return f'"{hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()[:16]}"'


def _require(expected: str | None, content: dict[str, Any] | None) -> None:
    if expected is not None and expected != version_of(content):
        raise OutdatedError(content)


class ResultServer:
    """Serves one result until it is closed.

    Args:
        folder: A result.
        port: 0 takes a free one.
        max_megapixels: A larger map is thinned in the page.

    Raises:
        OSError: there is no result, or the port is taken.
        ValueError: the result is damaged.
    """

    def __init__(self, folder: str | Path, *, port: int = 0, max_megapixels: float = 12.0) -> None:
        self.folder = Path(folder).resolve()
        self.measurements = io.result_paths(self.folder).measurements
        self.max_megapixels = max_megapixels
        self.open()
        self.token = secrets.token_urlsafe(24)
        self.writing, self.reading = threading.Lock(), threading.Lock()
        self.frames: Frames | None = None
        try:
            self.http = _Server((HOST, port), _handler(self))
        except (OSError, OverflowError) as error:
            raise OSError(
                f"--port: must be a free port of this machine; got {port}; leave it out or give another"
            ) from error

    payload: Payload | None = None
    """What the page shows; None until there is a result."""
    stamp = 0
    """When the result was written that the page shows: `dff apply` may write another one meanwhile."""

    def open(self) -> None:
        """Read the result."""
        self.stored()
        self.stamp = self._written()
        self.payload = folder_payload(self.folder, max_megapixels=self.max_megapixels)

    def _written(self) -> int:
        path = io.result_paths(self.folder).reconstruction
        return path.stat().st_mtime_ns if path.is_file() else self.stamp

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    @property
    def address(self) -> str:
        """What to open in a browser; whoever knows it can read the result."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Answer requests until `close`."""
        self.http.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop serving and free the port."""
        self.http.shutdown()
        self.http.server_close()

    def html(self) -> bytes:
        """The page, with the measurements and the edits that are kept in the folder."""
        if self.stamp != self._written():
            self.open()
        if self.payload is None:
            raise ValueError(f"{self.folder}: must hold a result; got none yet; wait for the run")
        return page(self.payload, served=True, edits=self.painted(), **self.kept()).encode()

    def kept(self) -> dict[str, Any]:
        """The measurements, and the versions of what a page may write."""
        stored = self.stored()
        versions = {"measurements": version_of(stored), "edits": version_of(self.painted())}
        return {"measurements": stored, "kept": versions}

    def stored(self) -> dict[str, Any] | None:
        """The measurements in the folder, if there are any.

        Raises:
            ValueError: the file is damaged.
        """
        return read_json(self.measurements) if self.measurements.is_file() else None

    def made(self, name: str) -> tuple[str, bytes] | None:
        """Type and content of what is no file of the result; None where there is nothing of that name."""
        if name == "":
            return "text/html; charset=utf-8", self.html()
        kind, _, number = name.removesuffix(".jpg").partition("/")
        if kind == "source" and number.isdecimal() and (picture := self.source(int(number))):
            return "image/jpeg", picture
        return None

    def source(self, k: int) -> bytes | None:
        """Source frame k as JPEG, as it was read; None where it is gone."""
        try:
            with self.reading:
                if self.frames is None:
                    self.frames = pipeline.source_frames(io.read_reconstruction(self.folder), [])
                return jpeg(colours_8bit(self.frames[k]), _SOURCE_QUALITY)
        except (ValueError, OSError, IndexError):
            return None

    def file(self, name: str) -> Path | None:
        """A file of the result by its path in the folder; None for anything that is or leads elsewhere."""
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part or part.startswith(".") for part in parts):
            return None
        place = self.folder.joinpath(*parts)
        try:
            found = place.resolve(strict=True)
        except (OSError, RuntimeError):
            return None
        return found if found == place and found.is_file() else None

    def keep(self, body: bytes, expected: str | None = None) -> str:
        """Write the list of measurements into the folder, and give its version.

        Args:
            body: The list as it was sent.
            expected: Version of the list that it replaces; None replaces any.

        Raises:
            OutdatedError: another one is there.
            ValueError: it is no such list.
        """
        content = self.checked(body)
        with self.writing:
            _require(expected, self.stored())
            self.store(content)
            return version_of(self.stored())

    def store(self, content: dict[str, Any]) -> None:
        """Write a list of measurements into the folder."""
        io.write_json(self.measurements, content)

    def checked(self, body: bytes) -> dict[str, Any]:
        """A list of measurements as it was sent.

        Raises:
            ValueError: it is no such list.
        """
        content = json.loads(body)
        if not isinstance(content, dict) or content.get("format") != "dff-measurements":
            raise ValueError("measurements: must be the viewer's list; got something else; use the page")
        return content

    def painted(self) -> dict[str, Any] | None:
        """The edits in the folder, if there are any.

        Raises:
            ValueError: the file is damaged.
        """
        path = io.result_paths(self.folder).edits
        return io.edits_content(io.read_edits(path)) if path.is_file() else None

    def keep_edits(self, body: bytes, expected: str | None = None) -> str:
        """Write the strokes of the brush into the folder, and give their version; arguments as of `keep`.

        Raises:
            OutdatedError: others are there.
            ValueError: they are no strokes on this result.
        """
        content = json.loads(body)
        if not isinstance(content, dict):
            raise ValueError("edits: must be the viewer's strokes; got something else; use the page")
        edits = io.edits_from(content)
        if self.payload is None or list(edits.size_px) != self.payload.meta["frame_size"]:
            raise ValueError(f"edits: must be painted on this result; got {edits.size_px}; load the page again")
        with self.writing:
            _require(expected, self.painted())
            io.write_edits(edits, io.result_paths(self.folder).edits)
            return version_of(self.painted())

    def apply(self) -> None:
        """What `dff apply` does, and the page of what it gives.

        Raises:
            OSError: source frames are gone, or the folder cannot be written.
            ValueError: the edits cannot be applied.
        """
        with self.writing:
            pipeline.apply_edits(self.folder)
            self.open()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that are closed while they are answered."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: ResultServer) -> type[BaseHTTPRequestHandler]:
    """Requests to one server."""

    class Handler(_Requests):
        result = server

    return Handler


class _Requests(BaseHTTPRequestHandler):
    result: ResultServer
    server_version = "dff"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._answer_get(body=True)

    def do_HEAD(self) -> None:
        self._answer_get(body=False)

    def do_PUT(self) -> None:
        path = self._allowed_path()
        if path is None:
            return
        places = {"measurements.json": (self.result.keep, MAX_BODY), "edits.json": (self.result.keep_edits, MAX_EDITS)}
        if path not in places:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        keep, limit = places[path]
        body = self._body(limit)
        if body is None:
            return
        try:
            version = keep(body, self.headers.get("If-Match"))
        except OutdatedError as other:
            text = json.dumps(plain(other.content)).encode()
            self._send(HTTPStatus.PRECONDITION_FAILED, "application/json", text, ETag=version_of(other.content))
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST)
        except OSError:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE)
        else:
            self._send(HTTPStatus.NO_CONTENT, "text/plain", b"", ETag=version)

    def do_POST(self) -> None:
        path = self._allowed_path()
        if path is None:
            return
        if path != "apply":
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        if self._body(0) is None:
            return
        try:
            self.result.apply()
        except (ValueError, OSError) as error:
            self.close_connection = True
            self._send(HTTPStatus.CONFLICT, "text/plain; charset=utf-8", " ".join(str(error).split()).encode())
        else:
            self._send(HTTPStatus.NO_CONTENT, "text/plain", b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses hold the token."""

    def _answer_get(self, *, body: bool) -> None:
        path = self._allowed_path()
        if path is None:
            return
        made = self.result.made(path)
        if made is not None:
            self._send(HTTPStatus.OK, *made, body=body)
            return
        found = self.result.file(path)
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._send_file(found, body=body)

    def _allowed_path(self) -> str | None:
        """The path behind the token; None after a refusal."""
        hosts = (f"{HOST}:{self.result.port}", f"localhost:{self.result.port}")
        origin = self.headers.get("Origin")
        if self.headers.get_all("Host") not in ([hosts[0]], [hosts[1]]):
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        if origin is not None and origin not in [f"http://{host}" for host in hosts]:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        token, slash, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.result.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        return rest

    def _body(self, limit: int) -> bytes | None:
        """What was sent, of so many bytes at most; None after a refusal."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or self.headers.get("Transfer-Encoding"):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > limit:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode())

    def _send(self, status: HTTPStatus, kind: str, data: bytes, *, body: bool = True, **headers: str) -> None:
        self._start(status, kind, len(data), **headers)
        if body and self.command != "HEAD":
            self.wfile.write(data)

    def _send_file(self, path: Path, *, body: bool) -> None:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        with path.open("rb") as stream:
            self._start(HTTPStatus.OK, kind, path.stat().st_size)
            while body and (chunk := stream.read(_CHUNK)):
                self.wfile.write(chunk)

    def _start(self, status: HTTPStatus, kind: str, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
