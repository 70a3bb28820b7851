"""What commands start from: workspaces, submitted models, a dataset on a server; and the commands."""

from __future__ import annotations

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from support.workspaces import ARRAYS_CARD, make_workspace
from support.zoo import Zoo


def make_zoo(folder: Path, models: int = 4) -> Any:
    """Return a logits-only suite in a workspace in `folder`, of which so many models were submitted."""
    make_workspace(folder / "workspace")
    zoo = Zoo(folder / "workspace", folder / "data")
    with patch.dict("os.environ", SHIFTCAST_DATA=str(folder / "data")):
        for seed in range(models):
            zoo.submit(f"net-{seed}", zoo.logits(seed, 1 + 0.3 * seed), family=f"family-{seed % 2}")
    return zoo


def archive() -> bytes:
    """Return the archive of a dataset of twelve random images."""
    images = np.random.RandomState(0).randint(256, size=(12, 32, 32, 3)).astype(np.uint8)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        for name, array in (("images", images), ("labels", np.arange(12) % 2)):
            content = io.BytesIO()
            np.save(content, array)
            info = tarfile.TarInfo(f"tiny/{name}.npy")
            info.size = content.tell()
            opened.addfile(info, io.BytesIO(content.getvalue()))
    return stream.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file slowly, from any byte on."""

    server: Any

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with the archive, or with the rest of it."""
        body, asked = self.server.body, self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked and start < len(body) else 416 if asked else 200)
        where = f"{start}-{len(body) - 1}" if start < len(body) else "*"
        self.send_header("ETag", '"1"')
        self.send_header("Content-Range", f"bytes {where}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        for position in range(start, len(body), 4096):
            try:
                self.wfile.write(body[position : position + 4096])
            except OSError:  # whoever asked was killed
                return
            threading.Event().wait(0.01)


@contextmanager
def served() -> Iterator[str]:
    """Serve the archive; give the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.body = archive()  # type: ignore[attr-defined]
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


WORKSPACE = ("--workspace", "workspace")
LINES = {
    "run": "run tiny --results results --only test_vit --seed 0 --threads 1 --device cpu",
    "leaderboard": "leaderboard --results workspace/results --out workspace",
    "get": "data get tiny-set",
    "submit": "submit zoo --predictions mine.npz --architecture mine --family net",
    "page": "page --results workspace/results --out site",
}
COMMANDS = {name: (*WORKSPACE, *line.split()) for name, line in LINES.items()}
"""Command lines, to be typed in the folder that `prepare` fills."""


def prepare(name: str, folder: Path, url: str) -> None:
    """Fill a folder with what a command starts from; `url` serves the dataset."""
    if name in ("run", "get"):
        make_workspace(folder / "workspace")
        (folder / "workspace" / "datasets" / "tiny-set.toml").write_text(
            ARRAYS_CARD.format(url=f"{url}/tiny.tar.gz")
        )
        return
    zoo = make_zoo(folder)
    if name == "submit":
        np.savez(folder / "mine.npz", **zoo.logits(9))
