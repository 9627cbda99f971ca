"""Ask a server for a file. Only http and https are spoken, also after a redirect, and a slow server is left."""

from __future__ import annotations

import io
import time
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib import request

MIN_RATE = 10_240.0  # bytes a second, headers included
PATIENCE_SECONDS = 60.0  # before the rate counts


class FinalError(OSError):
    """The server answered in a way that a further attempt will not change."""


class _Patient(io.RawIOBase):
    """The bytes that a server sends, as long as they come fast enough: a timeout alone allows a byte now and then."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._received, self._begin = raw, 0, time.monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        num_bytes = self._raw.readinto(buffer)
        self._received += num_bytes or 0
        seconds = time.monotonic() - self._begin
        if num_bytes and seconds > PATIENCE_SECONDS and self._received < MIN_RATE * seconds:
            raise FinalError(f"too slow: {self._received:,} bytes in {seconds:.0f} seconds")
        return num_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.fp: Any = io.BufferedReader(_Patient(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Handler(request.HTTPHandler):
    def http_open(self, req: request.Request) -> Any:
        return self.do_open(_Connection, req)


class _SecureHandler(request.HTTPSHandler):
    def https_open(self, req: request.Request) -> Any:
        return self.do_open(_SecureConnection, req)


class _OtherSchemes(request.BaseHandler):
    def unknown_open(self, req: request.Request) -> None:
        raise FinalError(f"leads to {req.full_url[:200]!r}; only http and https are allowed")


def opened(address: str, start: int, timeout: float) -> HTTPResponse:
    """The answer of a server that is asked for a file, from the byte `start` on.

    Args:
        address: of the file.
        start: the number of bytes that are here already.
        timeout: seconds without a byte after which it fails.

    Raises:
        OSError: no such server, an answer that is no file, or a redirect to what is not http or https.
        HTTPException: an answer that is not HTTP.
        ValueError: the address is none.
    """
    headers = {"User-Agent": "boundcheck"} | ({"Range": f"bytes={start}-"} if start else {})
    opener = request.OpenerDirector()  # without the handlers of file:, ftp: and data:
    for handler in (
        request.ProxyHandler(),
        _Handler(),
        _SecureHandler(),
        _OtherSchemes(),
        request.HTTPRedirectHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    answer: HTTPResponse = opener.open(request.Request(address, headers=headers), timeout=timeout)
    return answer
