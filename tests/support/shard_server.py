"""A server of shards on this machine, and what tests ask about the threads that download from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.shards.download_shards import SUFFIX

COUNTS = (10, 10, 10, 10)  # of the images in each shard


class Server:
    """Serves the files of a folder. `requests` are those so far; `faults` maps a name to what goes wrong."""

    def __init__(self, folder: Path) -> None:
        requests: list[str] = []
        faults: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path[1:]
                requests.append(name)
                fault, path = faults.get(name), folder / name
                if not path.exists() or fault == "gone":
                    self.send_error(404)
                    return
                content = path.read_bytes()
                self.send_response(503 if fault == "busy" else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if fault == "slow":
                    return self.write_slowly(content)
                self.wfile.write(content[: len(content) // 2] if fault == "cut off" else content)
                if fault in ("busy", "cut off once"):
                    faults.pop(name)

            def write_slowly(self, content: bytes) -> None:
                """Writes a byte each 20 ms, which takes minutes, until the fault ends or nobody reads."""
                for position in range(len(content)):
                    if self.path[1:] not in faults:
                        return
                    try:
                        self.wfile.write(content[position : position + 1])
                    except OSError:
                        return
                    time.sleep(0.02)

            def log_message(self, *_: object) -> None: ...

        self.requests, self.faults = requests, faults
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def emptied(found: Dataset, cache: Path) -> Batches:
    """Batches of 2 in windows of one shard, after the downloads of the index were removed."""
    for path in cache.glob(f"*{SUFFIX}"):
        path.unlink()
    return Batches(found, seed=0, batch_size=2, device=torch.device("cpu"))


def wait_for(condition: Callable[[], bool]) -> bool:
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def reading_threads() -> set[threading.Thread]:
    """The threads that read or download shards; idle ones of earlier tests may be among them."""
    return {each for each in threading.enumerate() if each.name.startswith(("decode", "shards ahead"))}
