"""A run in the browser while it goes: the page grows with it, and neither disturbs the other."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dff import cli, io, pipeline
from dff.cli.viewers import show
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Alignment, DepthMap, Reconstruction, Scene
from dff.surface.cloud import colours_8bit
from viewers import live

SETTINGS = Settings(align="none", threads=1)
OPTIONS = [
    "--view",
    "--no-open",
    "--quiet",
    "--align",
    "none",
    "--step",
    "0.1",
    "--pixel-size",
    "0.02",
    "--threads",
    "1",
]
LIST = {"format": "dff-measurements", "version": 1, "measurements": []}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene("staircase", size_px=64, frames=8)


@pytest.fixture(scope="module")
def frames(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames") / "frames"
    io.write_scene(scene, folder)
    return folder / "frames" if (folder / "frames").is_dir() else folder


@pytest.fixture
def server(scene: Scene, tmp_path: Path) -> Iterator[live.LiveServer]:
    with live.live_view(scene.stack, tmp_path / "result", SETTINGS) as server:
        yield server


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C counts, also where a shell began the tests in the background and had it ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def ask(server: live.LiveServer, path: str, *, body: bytes | None = None, key: str = "", host: str = "") -> Any:
    """Status and content of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Host": host} if host else {}
    connection.request("GET" if body is None else "PUT", f"/{key or server.token}/{path}", body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def maps_of(run: live.LiveRun) -> dict[str, Any]:
    """The maps as the browser takes them apart."""
    height, width = run.grid.size
    data, count = run.maps(), height * width
    starts = {"index": 0, "confidence": 2 * count, "sigma": 3 * count, "flags": 4 * count}
    kinds = {name: "<u2" if name == "index" else "u1" for name in starts}
    return {
        name: np.frombuffer(data, kinds[name], count, start).reshape(height, width) for name, start in starts.items()
    }


@pytest.mark.parametrize(("size_px", "top", "count"), [((90, 40), 0, 33), ((90, 40), 33, 57), ((2500, 2001), 111, 500)])
def test_strips_fall_on_the_grid_where_they_belong(size_px: tuple[int, int], top: int, count: int) -> None:
    """Whatever the strips, every row of the grid is the same row of the picture."""
    grid = live._Grid.of(size_px)
    inside, taken = grid.rows(top, count)
    rows = np.arange(size_px[0])[grid.first :: grid.stride][: grid.size[0]]
    np.testing.assert_array_equal(rows[inside], np.arange(top, top + count)[taken])
    np.testing.assert_array_equal(rows[inside], rows[(rows >= top) & (rows < top + count)])
    assert np.arange(size_px[1])[grid.columns].size == grid.size[1]


def test_what_grows_is_the_result(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small frames, then whole frames as depth, then the depth and the picture of the result, thinned."""
    monkeypatch.setattr(live, "MEGAPIXELS", 0.0011)
    run = live.LiveRun(scene.stack, SETTINGS, "stairs")
    assert run.grid.stride == 2
    assert not maps_of(run)["index"].any()
    seen: list[tuple[Any, ...]] = []
    watcher = run.watcher

    def on_rows(top: int, depth: DepthMap) -> None:
        quantum = run.meta()["quantum"]
        seen.append((run.state(), (maps_of(run)["index"] - 1.0) * quantum, run.picture()))
        watcher.on_rows(top, depth)

    told = run.telling(lambda *_: None)
    result = pipeline.reconstruct(scene.stack, SETTINGS, watcher=replace(watcher, on_rows=on_rows), on_progress=told)
    state, labels, picture = seen[0]
    assert state["frames"] == list(range(8))
    assert [name for name, *_ in state["stages"]][-1] == "refine depth"
    np.testing.assert_allclose(labels, np.round(labels), atol=1e-6)
    assert np.nanmedian(np.abs(labels - scene.index[0::2, 0::2])) < 0.6
    sharp = cv2.resize(colours_8bit(result.all_in_focus), (32, 32), interpolation=cv2.INTER_AREA)
    coarse = cv2.imdecode(np.frombuffer(picture, np.uint8), 1)[..., ::-1]
    assert np.abs(coarse.astype(float) - sharp).mean() < 25
    wanted = result.depth.index[0::2, 0::2]
    found = maps_of(run)["index"]
    np.testing.assert_array_equal(found > 0, np.isfinite(wanted))
    np.testing.assert_allclose((found[found > 0] - 1.0) * run.meta()["quantum"], wanted[found > 0], atol=1e-3)
    versions = [state["versions"], run.state()["versions"]]
    assert all(versions[1][part] > versions[0][part] for part in ("maps", "picture"))


def test_the_coarse_picture_is_made_of_the_frames_as_they_are_moved() -> None:
    """Each pixel from the frame that its label names, moved as the alignment moves it."""
    frames = {k: live.jpeg(np.full((40, 60, 3), 60 * k, np.uint8), 95) for k in range(3)}
    ramp = np.tile(np.linspace(0, 250, 60, dtype=np.float32)[None, :, None], (40, 1, 3)).astype(np.uint8)
    frames[2] = live.jpeg(ramp, 100)
    still = Alignment.identity(3, (80, 120))
    transforms = still.transforms.copy()
    transforms[2, 0, 2] = 10
    index = np.repeat(np.arange(3), 20)[None].repeat(40, axis=0)
    picture = live.composed(frames, index, replace(still, transforms=transforms), 2).astype(float)
    assert np.abs(picture[:, :20]).max() < 4
    assert np.abs(picture[:, 20:40] - 60).max() < 4
    np.testing.assert_allclose(picture[20, 42:58, 0], ramp[20, 37:53, 0], atol=4)


def test_parts_are_there_for_the_page_alone(server: live.LiveServer) -> None:
    """Token and host are asked for as for everything else; other names are unknown."""
    for part in ("live/state", "live/meta", "live/maps", "live/picture"):
        assert ask(server, part)[0] == 200
        assert ask(server, part, key="wrong")[0] == 403
        assert ask(server, part, host="example.org")[0] == 421
    for part in ("live/frame/0", "live/frame/x", "live/state/1", "live/", "live", "live/other"):
        assert ask(server, part)[0] == 404
    server.run.watcher.on_frame(0, np.zeros((8, 8, 3), np.uint8))
    assert ask(server, "live/frame/0")[0] == 200
    assert json.loads(ask(server, "live/state")[1])["frames"] == [0]


def test_measurements_wait_for_their_folder(server: live.LiveServer, scene: Scene) -> None:
    """What is measured while the run goes is in the result folder afterwards, and nothing is there before."""
    assert ask(server, "measurements.json", body=json.dumps(LIST).encode())[0] == 204
    assert ask(server, "measurements.json", body=b"{}")[0] == 400
    with pytest.raises(ValueError, match="still goes; wait"):
        server.apply()
    assert not server.folder.exists()
    io.write_reconstruction(_result(scene), server.folder)
    server.finish()
    assert json.loads((server.folder / "measurements.json").read_text()) == LIST
    assert ask(server, "depth.tif")[1] == (server.folder / "depth.tif").read_bytes()
    assert ask(server, "measurements.json", body=json.dumps({**LIST, "version": 2}).encode())[0] == 204
    assert json.loads((server.folder / "measurements.json").read_text())["version"] == 2


def _result(scene: Scene) -> Reconstruction:
    index = scene.index.astype(np.float32)
    assert scene.stack.geometry is not None
    return Reconstruction(
        all_in_focus=np.full((*index.shape, 3), 90, np.uint8),
        depth=DepthMap(index, np.isfinite(index).astype(np.float32), np.full_like(index, 0.05)),
        geometry=scene.stack.geometry,
        alignment=Alignment.identity(8, (64, 64)),
        names=scene.stack.names,
    )


def test_a_browser_that_leaves_does_not_matter(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections cut in the middle, then Ctrl-C at the end: the result is whole, and that is success."""
    servers: list[live.LiveServer] = []
    start = live.LiveServer.__init__
    monkeypatch.setattr(
        live.LiveServer, "__init__", lambda self, *rest, **named: (start(self, *rest, **named), servers.append(self))[0]
    )

    def look() -> None:
        while not servers:
            time.sleep(0.01)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", servers[0].port)) as cut:
                cut.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                cut.sendall(f"GET /{servers[0].token}/ HTTP/1.1\r\nHost: 127.0.0.1:{servers[0].port}\r\n\r\n".encode())
        while not json.loads(ask(servers[0], "live/state")[1])["done"]:
            time.sleep(0.02)

    def visit() -> None:
        try:
            look()
        finally:  # The run would wait for ever for its end.
            os.kill(os.getpid(), signal.SIGINT)

    visitor = threading.Thread(target=visit)
    visitor.start()
    code = cli.main(["reconstruct", str(frames), "-o", str(tmp_path / "result"), *OPTIONS])
    visitor.join()
    told = capsys.readouterr()
    assert code == 0
    assert told.out.startswith("http://127.0.0.1:")
    assert "Traceback" not in told.err
    assert io.read_reconstruction(tmp_path / "result").depth.known.any()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", servers[0].port))


def test_interrupting_the_run_leaves_nothing(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(live.LiveRun, "_take_labels", interrupted)
    code = cli.main(["reconstruct", str(frames), "-o", str(tmp_path / "result"), *OPTIONS])
    assert code == cli.INTERRUPTED
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(capsys.readouterr().out.split(":")[2].split("/")[0])))


@pytest.mark.parametrize(("display", "no_open", "opened"), [(":0", False, 1), (":0", True, 0), (None, False, 0)])
def test_a_browser_is_opened_where_there_is_a_screen(
    display: str | None, no_open: bool, opened: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never one for terminals, which the run would wait for; the address is printed all the same."""
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not asked.append(address))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    show("http://127.0.0.1:1/x/", argparse.Namespace(no_open=no_open))
    assert asked == ["http://127.0.0.1:1/x/"] * opened
    assert capsys.readouterr().out == "http://127.0.0.1:1/x/\n"


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's own policy forbids it to evaluate text."""
    for _ in range(200):
        with suppress(page.gone):
            if page.evaluate(f"Boolean(window.dff && ({condition}))"):
                return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def test_the_page_grows_in_the_browser(server: live.LiveServer, scene: Scene) -> None:
    """Frames appear, then the surface, then the page is that of the result, without a complaint."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    flags = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 900, "height": 600})
        page.gone = sync_api.Error
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.goto(server.address)
        page.wait_for_selector("#live")
        told, watcher = server.run.telling(lambda *_: None), server.run.watcher
        told("read frames", 0, 8)
        for k in range(3):
            watcher.on_frame(k, scene.stack.frames[k])
        until(page, "dff.scene.state.focus === 2 && dff.surface.frames[2].size > dff.surface.frames[5].size")
        assert "Read frames" in page.inner_text("#live li.now")
        assert page.evaluate("dff.surface.index.some((code) => code)") is False
        result = _result(scene)
        watcher.on_alignment(replace(result.alignment, residual_px=np.linspace(0.1, 0.3, 8)))
        until(page, "!document.querySelector('#live figure').hidden")
        watcher.on_labels(np.round(scene.index[::4, ::4]).astype(np.int64))
        page.wait_for_selector("#live.aside")
        page.evaluate("async () => { dff.controls.mode('height'); dff.preset('left'); await dff.scene.settled(); }")
        watcher.on_rows(0, result.depth)
        row, column = 20, 31
        until(page, "dff.surface.at(31, 20).sigma < 0.1 * dff.surface.slope(3)")
        assert page.evaluate("dff.surface.at(31, 20).index") == pytest.approx(scene.index[row, column], abs=2e-3)
        io.write_reconstruction(result, server.folder)
        server.finish()
        until(page, "!dff.meta.live && dff.loadMs")
        assert page.locator("#live").count() == 0
        assert page.evaluate("[dff.scene.state.mode, dff.camera.turn]") == ["height", 90]
        assert trouble == []
        browser.close()
