"""A server that can misbehave, a disk that is full, and folders of pictures."""

from __future__ import annotations

import re
import resource
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes); each request takes the next of `faults`, and `served` counts body bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.requests, self.served = {}, [], [], 0
        self.closing = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        range_ = self.headers.get("Range")
        server.requests.append((self.path, range_))
        fault = server.faults.pop(0) if server.faults else None
        if fault == "hang":
            server.closing.wait(10)
            return
        if isinstance(fault, int) or self.path not in server.files:
            self.send_error(fault or 404)
            return
        content = server.files[self.path]
        start = int(re.fullmatch(r"bytes=(\d+)-", range_)[1]) if range_ and fault != "no range" else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("stop", "stall"):
            body = body[: len(body) // 2]
        server.served += len(body)
        self.wfile.write(body)
        if fault == "stall":
            server.closing.wait(10)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def full_disk():
    """A context in which no file of this process can grow beyond so many bytes."""

    @contextmanager
    def limited(num_bytes):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture
def pictures(tmp_path):
    """A folder of PNG pictures: 2 classes, 3 for training and 2 for test of each, 6 x 5 pixels, and their arrays."""
    rng = np.random.default_rng(0)
    folder, pixels = tmp_path / "pictures", {}
    for split, count in (("train", 3), ("test", 2)):
        for label in ("cat", "ant"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                name = f"{split}/{label}/{i}.png"
                pixels[name] = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
                Image.fromarray(pixels[name]).save(folder / name)
    return folder, pixels
