"""A web server that misbehaves as told, and tiny datasets for it to serve."""

from __future__ import annotations

import http.server
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.download import transfer as transfers
from shiftcast.data.download.inventory import State
from shiftcast.data.download.obtain import Job, Options, obtain, obtain_extras
from shiftcast.data.download.records import Store
from shiftcast.data.download.transfer import RETRY
from shiftcast.workspace import Workspace

QUICK = RETRY.new(total=2, backoff_factor=0.01)


@dataclass
class Route:
    """What is answered under one path; lists are used up request by request."""

    body: bytes = b""
    ranges: bool = True
    length: bool = True
    retry_after: str = ""
    content_type: str = "application/octet-stream"
    location: str = ""
    statuses: list[int] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)
    stall_after: list[int] = field(default_factory=list)
    pause: float = 0.0
    hold: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class Request:
    """What was asked, and how many bytes have been sent in answer."""

    path: str
    range: str | None
    status: int
    sent: int = 0
    done: bool = False


class Server:
    """Routes by path and a log of what was asked and sent."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.log: list[Request] = []
        self.url = ""

    def add(self, path: str, body: bytes = b"", **more: Any) -> str:
        self.routes[path] = Route(body, **more)
        return self.url + path

    def let_go(self, path: str) -> None:
        self.routes[path].go_on.set()

    def asked(self, path: str) -> list[Request]:
        found = [one for one in self.log if one.path == path]
        for _ in range(500):  # a client may be done before the server has counted what it sent
            if all(one.done for one in found):
                break
            time.sleep(0.01)
        return found


class Handler(http.server.BaseHTTPRequestHandler):
    server: Any

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        route = self.server.script.routes.get(self.path)
        asked = self.headers.get("Range")
        status, start = 200, 0
        if route is None:
            status, route = 404, Route()
        elif route.statuses:
            status = route.statuses.pop(0)
        elif route.location:
            status = 302
        elif asked and route.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206 if start < len(route.body) else 416
        request = Request(self.path, asked, status)
        self.server.script.log.append(request)
        try:
            with suppress(OSError):
                for request.sent in self.answer(route, status, start):
                    pass
        finally:
            request.done = True

    def answer(self, route: Route, status: int, start: int) -> Iterator[int]:
        body = route.body[start:] if status in (200, 206) else b""
        self.send_response(status)
        self.send_header("Content-Type", route.content_type)
        if route.retry_after:
            self.send_header("Retry-After", route.retry_after)
        if route.location:
            self.send_header("Location", route.location)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(route.body) - 1}/{len(route.body)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(route.body)}")
        if route.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = route.cut_after.pop(0) if route.cut_after and body else len(body)
        stall = route.stall_after.pop(0) if route.stall_after and body else None
        for position in range(0, min(cut, len(body)), 1024):
            if route.hold is not None and position >= route.hold:
                route.go_on.wait(60)
            if stall is not None and position >= stall:
                time.sleep(0.7)
                return
            self.wfile.write(body[position : min(position + 1024, cut)])
            self.wfile.flush()
            yield min(position + 1024, cut)
            time.sleep(route.pause)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    script = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.script = script  # type: ignore[attr-defined]
        running.daemon_threads = True
        script.url = f"http://127.0.0.1:{running.server_address[1]}"
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield script
        running.shutdown()


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done: list[int] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def transferred(self, file: str, done: int, total: int | None) -> None:
        self.done.append(done)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as long as a server on this machine needs, and call nothing slow."""
    monkeypatch.setattr(transfers, "TIMEOUT", (2.0, 1.0))
    monkeypatch.setattr(transfers, "CHUNK", 1024)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Tiny:
    """A dataset of twelve random images, as files, as an archive, and in a workspace of its own."""

    name = "tiny-set"
    tar = staticmethod(tar_of)

    def __init__(self, workspace: Workspace, folder: Path, notes: Notes) -> None:
        random = np.random.RandomState(0)
        self.images = random.randint(256, size=(12, 32, 32, 3)).astype(np.uint8)
        self.labels = np.arange(12) % 2
        self.files = {"images.npy": npy(self.images), "labels.npy": npy(self.labels)}
        self.archive = tar_of({f"tiny/{name}": content for name, content in self.files.items()})
        self.workspace, self.store, self.notes = workspace, Store(folder), notes

    def card(self, *downloads: dict[str, Any], **changes: Any) -> DatasetCard:
        values = {
            "name": self.name,
            "title": "t",
            "description": "d",
            "layout": "arrays",
            "path": "tiny",
            "files": ["images.npy", "labels.npy"],
            "classes": ["a", "b"],
            "n": 12,
            "shift": "natural",
            "citation": "c",
            "licence": "l",
            "obtain": "ask at the door",
            "downloads": list(downloads),
        }
        return DatasetCard.model_validate(values | changes)

    def download(self, *urls: str, **changes: Any) -> dict[str, Any]:
        return {"file": "tiny.tar.gz", "urls": list(urls), "members": ["tiny/*.npy"]} | changes

    def job(self, card: DatasetCard, **options: Any) -> Job:
        return Job(self.workspace, card, self.store, Options(**{"retry": QUICK} | options), self.notes)

    def get(self, card: DatasetCard, **options: Any) -> State:
        return obtain(self.job(card, **options))

    def extras(self, card: DatasetCard, **options: Any) -> None:
        obtain_extras(self.job(card, **options))


@pytest.fixture
def tiny(workspace: Workspace, tmp_path: Path, notes: Notes) -> Tiny:
    return Tiny(workspace, tmp_path / "data", notes)
