"""The local server: what it serves, and everything it refuses."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dff import io
from dff.optics import stepped_geometry
from dff.stack import Alignment, DepthMap, Reconstruction
from viewers.server import MAX_BODY, MAX_EDITS, ResultServer

LIST = {"format": "dff-measurements", "version": 1, "measurements": [{"kind": "point", "name": "Point 1"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("served")
    index = np.linspace(0, 4, 20 * 24, dtype=np.float32).reshape(20, 24)
    result = Reconstruction(
        all_in_focus=np.full((20, 24, 3), 90, np.uint8),
        depth=DepthMap(index, np.ones_like(index), np.full_like(index, 0.1)),
        geometry=stepped_geometry(0.1 * np.arange(5), (20, 24), pixel_size_mm=0.01),
        alignment=Alignment.identity(5, (20, 24)),
        names=tuple("abcde"),
    )
    io.write_reconstruction(result, base / "result")
    (base / "secret.txt").write_text("secret")
    (base / "result" / "link.txt").symlink_to(base / "secret.txt")
    (base / "result" / "elsewhere").symlink_to(base)
    return base / "result"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ResultServer]:
    server = ResultServer(folder)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join()


def ask(
    server: ResultServer, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of one request; `path` is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    sent = {"Host": f"127.0.0.1:{server.port}"} | ({"Content-Length": str(len(body))} if body is not None else {})
    for name, value in (sent | {name.replace("_", "-"): value for name, value in headers.items()}).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data, dict(answer.getheaders())


def test_the_page_is_there(server: ResultServer) -> None:
    status, body, headers = ask(server, f"/{server.token}/")
    assert status == 200
    assert b"<!doctype html>" in body[:20]
    assert headers["Referrer-Policy"] == "no-referrer"


def test_it_listens_on_this_machine_only(server: ResultServer) -> None:
    assert server.http.server_address[0] == "127.0.0.1"


def test_files_of_the_result_are_there(server: ResultServer, folder: Path) -> None:
    status, body, _ = ask(server, f"/{server.token}/depth.tif")
    assert status == 200
    assert body == (folder / "depth.tif").read_bytes()


@pytest.mark.parametrize(
    "path", ["/", "/depth.tif", "/wrong/", "/wrong/depth.tif", "/{token}", "/{token}x/", "//", "/%c3%a9/", "/%ff/"]
)
def test_nothing_without_the_token(server: ResultServer, path: str) -> None:
    assert ask(server, path.format(token=server.token))[0] == 403


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "127.0.0.1:1", "localhost.example.org:{port}", ""])
def test_other_hosts_are_refused(server: ResultServer, host: str) -> None:
    """A page of another name that resolves to this machine cannot read the result."""
    assert ask(server, f"/{server.token}/", Host=host.format(port=server.port))[0] == 421


def test_localhost_is_this_machine_too(server: ResultServer) -> None:
    assert ask(server, f"/{server.token}/", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("origin", ["http://example.org", "null", "http://127.0.0.1:1"])
def test_other_pages_are_refused(server: ResultServer, origin: str) -> None:
    body = json.dumps(LIST).encode()
    assert ask(server, f"/{server.token}/measurements.json", method="PUT", body=body, Origin=origin)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "previews/../../secret.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "./depth.tif",
        "previews",
        "link.txt",
        "elsewhere/secret.txt",
        "elsewhere/result/depth.tif",
        "depth.tif%00.png",
        "..\\secret.txt",
        "nothing",
    ],
)
def test_nothing_outside_the_result(server: ResultServer, path: str) -> None:
    status, body, _ = ask(server, f"/{server.token}/{path}")
    assert status == 404
    assert b"secret" not in body


def test_measurements_are_kept_and_come_back(server: ResultServer, folder: Path) -> None:
    """They land in the result folder, in the page, and do not keep a result from being replaced."""
    status, *_ = ask(server, f"/{server.token}/measurements.json", method="PUT", body=json.dumps(LIST).encode())
    assert status == 204
    assert json.loads((folder / "measurements.json").read_text()) == LIST
    assert b"Point 1" in ask(server, f"/{server.token}/")[1]
    os.remove(folder / "measurements.json")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"format": "other"}', b"[" * 100_000, b"\xff\xfe"])
def test_other_bodies_are_refused(server: ResultServer, folder: Path, body: bytes) -> None:
    assert ask(server, f"/{server.token}/measurements.json", method="PUT", body=body)[0] == 400
    assert not (folder / "measurements.json").exists()


def test_oversize_bodies_are_refused_unread(server: ResultServer) -> None:
    status, *_ = ask(server, f"/{server.token}/measurements.json", method="PUT", Content_Length=str(MAX_BODY + 1))
    assert status == 413


def test_bodies_of_unknown_length_are_refused(server: ResultServer) -> None:
    assert ask(server, f"/{server.token}/measurements.json", method="PUT")[0] == 411


@pytest.mark.parametrize(("method", "path"), [("PUT", "depth.tif"), ("PUT", ""), ("POST", "depth.tif")])
def test_no_other_file_is_written(server: ResultServer, folder: Path, method: str, path: str) -> None:
    before = (folder / "depth.tif").read_bytes()
    assert ask(server, f"/{server.token}/{path}", method=method, body=b"x")[0] == 405
    assert (folder / "depth.tif").read_bytes() == before


STROKE = {"kind": "unknown", "radius_px": 4.0, "hardness": 1.0, "points": [[8, 8], [12.5, 9]]}
EDITS = {"format": "dff-edits", "version": 1, "size_px": [20, 24], "edits": [STROKE]}


def test_strokes_are_kept_and_come_back(server: ResultServer, folder: Path) -> None:
    """They land in the result folder and in the page."""
    status, *_ = ask(server, f"/{server.token}/edits.json", method="PUT", body=json.dumps(EDITS).encode())
    assert status == 204
    assert io.read_edits(folder / "edits.json").counts == {"unknown": 1}
    assert b"[12.5,9.0]" in ask(server, f"/{server.token}/")[1]
    os.remove(folder / "edits.json")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(LIST).encode(),
        json.dumps(EDITS | {"version": 2}).encode(),
        json.dumps(EDITS | {"size_px": [21, 24]}).encode(),
        json.dumps(EDITS | {"edits": [STROKE | {"kind": "erase"}]}).encode(),
        json.dumps(EDITS | {"edits": [STROKE | {"radius_px": -1}]}).encode(),
        json.dumps(EDITS | {"edits": [STROKE | {"points": [[1, float("nan")]]}]}).encode(),
        json.dumps(EDITS | {"edits": [STROKE | {"points": "<script>"}]}).encode(),
        json.dumps(EDITS | {"edits": 5}).encode(),
    ],
)
def test_malformed_strokes_are_refused(server: ResultServer, folder: Path, body: bytes) -> None:
    assert ask(server, f"/{server.token}/edits.json", method="PUT", body=body)[0] == 400
    assert not (folder / "edits.json").exists()


def test_what_is_kept_of_a_stroke_is_a_stroke(server: ResultServer, folder: Path) -> None:
    """Other entries are dropped, so that nothing else can be stored in a result."""
    body = json.dumps(EDITS | {"more": "x", "edits": [STROKE | {"note": "</script>"}]}).encode()
    assert ask(server, f"/{server.token}/edits.json", method="PUT", body=body)[0] == 204
    assert "note" not in (folder / "edits.json").read_text()
    os.remove(folder / "edits.json")


@pytest.mark.parametrize(("method", "path"), [("PUT", "edits.json"), ("POST", "apply")])
def test_edits_need_token_host_and_origin(server: ResultServer, folder: Path, method: str, path: str) -> None:
    body = json.dumps(EDITS).encode() if method == "PUT" else b""
    inside = f"/{server.token}/{path}"
    assert ask(server, f"/{path}", method=method, body=body)[0] == 403
    assert ask(server, f"/wrong/{path}", method=method, body=body)[0] == 403
    assert ask(server, inside, method=method, body=body, Host="example.org")[0] == 421
    assert ask(server, inside, method=method, body=body, Origin="http://example.org")[0] == 403
    assert ask(server, inside, method=method)[0] == 411
    assert not (folder / "edits.json").exists()


def test_oversize_strokes_are_refused_unread(server: ResultServer) -> None:
    for method, path, limit in (("PUT", "edits.json", MAX_EDITS), ("POST", "apply", 0)):
        status, *_ = ask(server, f"/{server.token}/{path}", method=method, Content_Length=str(limit + 1))
        assert status == 413


def test_edits_that_cannot_be_applied_say_why(server: ResultServer, folder: Path) -> None:
    """The line is the command's own, and the folder stays as it is."""
    io.write_json(folder / "edits.json", EDITS | {"edits": [STROKE | {"kind": "frame", "frame": 2}]})
    before = (folder / "index.tif").read_bytes()
    status, body, _ = ask(server, f"/{server.token}/apply", method="POST", body=b"")
    assert status == 409
    assert b"source frames: must be known" in body
    assert (folder / "index.tif").read_bytes() == before
    os.remove(folder / "edits.json")


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_unknown(server: ResultServer, method: str) -> None:
    assert ask(server, f"/{server.token}/depth.tif", method=method)[0] == 501


@pytest.mark.parametrize("port", [None, 70_000])
def test_a_port_that_cannot_be_had_is_named(folder: Path, server: ResultServer, port: int | None) -> None:
    with pytest.raises(OSError, match=f"--port: must be a free port of this machine; got {port or server.port}; "):
        ResultServer(folder, port=port or server.port)


def test_tokens_differ(folder: Path, server: ResultServer) -> None:
    other = ResultServer(folder)
    other.http.server_close()
    assert other.token != server.token
    assert len(other.token) >= 32
