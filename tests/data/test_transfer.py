from __future__ import annotations

import hashlib
import socket
import threading
import time
from functools import partial

import pytest

from boundcheck.data import transfer
from boundcheck.data.errors import DataError
from boundcheck.data.transfer import locked

CONTENT = bytes(range(256)) * 4000  # a megabyte
DIGITS = hashlib.md5(CONTENT).hexdigest()
MD5 = f"md5:{DIGITS}"
download = partial(transfer.download, timeout=5, backoff=0, max_bytes=2**21)


@pytest.fixture
def address(server):
    server.files["/data.bin"] = CONTENT
    return f"{server.address}/data.bin"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.bin"


def files(path):
    return sorted(file.name for file in path.parent.iterdir())


def test_a_file_is_fetched_once(server, address, path):
    download([address], path, MD5)
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.served == len(CONTENT)
    assert files(path) == ["data.bin"]


def test_a_file_with_another_sum_is_replaced(address, path):
    path.write_bytes(b"something else")
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["stop", "stall"])
def test_a_retry_resumes_where_the_server_stopped(server, address, path, fault):
    server.faults = [fault, fault]
    download([address], path, MD5, timeout=0.2)
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert path.read_bytes() == CONTENT
    assert [range_ for _, range_ in server.requests] == [None, f"bytes={half}-", f"bytes={half + quarter}-"]
    assert server.served == len(CONTENT)


def test_the_next_call_resumes_too(server, address, path):
    server.faults = ["stop"]
    with pytest.raises(DataError, match=rf"{address}: the server stopped after {len(CONTENT) // 2} of {len(CONTENT)}"):
        download([address], path, MD5, attempts=1)
    assert files(path) == [".data.bin.part"]
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.served == len(CONTENT)


def test_a_server_that_brings_something_every_time_is_not_given_up(server, address, path):
    server.faults = ["stop"] * 6
    download([address], path, MD5, attempts=2)
    assert path.read_bytes() == CONTENT


def test_a_server_that_brings_a_little_every_time_is_given_up(server, address, path, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_ATTEMPTS", 4)
    server.faults = ["stop"] * 99
    with pytest.raises(DataError, match=rf"{address}: the server stopped after"):
        download([address], path, MD5)
    assert len(server.requests) == 4


@pytest.mark.parametrize("max_bytes", [len(CONTENT) - 1, len(CONTENT)])
def test_a_file_beyond_the_limit_is_not_received(server, address, path, max_bytes):
    if max_bytes < len(CONTENT):
        with pytest.raises(DataError, match=rf"sends {len(CONTENT):,} bytes or more, and no file has more than"):
            download([address], path, MD5, max_bytes=max_bytes)
        assert files(path) == []
    else:
        download([address], path, MD5, max_bytes=max_bytes)
    assert len(server.requests) == 1


def test_the_first_digits_of_a_sha256_will_do(address, path):
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    download([address], path, f"sha256:{digits}")
    assert path.read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1] + b"!")
    download([address], path, f"sha256:{digits}")
    assert path.read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_afresh(server, address, path):
    server.faults = ["stop", "no range"]
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_part_that_only_lacks_its_name_needs_no_network(path):
    path.with_name(".data.bin.part").write_bytes(CONTENT)
    download(["http://127.0.0.1:1/data.bin"], path, MD5, attempts=1)
    assert files(path) == ["data.bin"]


@pytest.mark.parametrize("part", [CONTENT + b"more", b"wrong" + CONTENT[5:1000]], ids=["too long", "altered"])
def test_a_useless_part_is_thrown_away(address, path, part):
    path.with_name(".data.bin.part").write_bytes(part)
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT


def test_an_altered_file_is_refused_at_once(server, address, path):
    server.files["/data.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match=rf"{address}: md5 is \w+, expected {DIGITS}; .*at {path} yourself"):
        download([address], path, MD5)
    assert len(server.requests) == 1
    assert files(path) == []


def test_errors_of_the_server_are_retried(server, address, path):
    server.faults = [500, 503]
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT


def test_a_server_that_only_fails_is_named(server, address, path):
    server.faults = [500] * 9
    with pytest.raises(DataError, match=rf"{address}: HTTP Error 500.*set `mirror`"):
        download([address], path, MD5, attempts=3)
    assert len(server.requests) == 3
    assert files(path) == []


def test_the_waits_double(server, address, path, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.faults = [500] * 9
    with pytest.raises(DataError):
        download([address], path, MD5, attempts=4, backoff=3)
    assert waits == [3, 6, 12]


def test_a_missing_file_is_not_asked_for_again(server, path):
    with pytest.raises(DataError, match=r"gone.bin: HTTP Error 404"):
        download([f"{server.address}/gone.bin"], path, MD5)
    assert len(server.requests) == 1


def test_a_redirect_to_nowhere_is_not_asked_for_again(server, address, path):
    server.faults = [302]
    with pytest.raises(DataError, match=rf"{address}: HTTP Error 302"):
        download([address], path, MD5)
    assert len(server.requests) == 1


def test_the_next_address_is_tried(server, address, path):
    download([f"{server.address}/gone.bin", address], path, MD5)
    assert path.read_bytes() == CONTENT


def test_addresses_take_turns(server, address, path):
    server.files["/copy.bin"] = CONTENT
    server.faults = [500, "stop"]
    download([address, f"{server.address}/copy.bin"], path, MD5)
    assert [requested for requested, _ in server.requests] == ["/data.bin", "/copy.bin", "/copy.bin"]
    assert server.served == len(CONTENT)


def test_a_server_that_hangs_is_left(server, address, path):
    server.faults = ["hang"]
    start = time.monotonic()
    with pytest.raises(DataError, match=rf"{address}: .*timed out"):
        download([address], path, MD5, timeout=0.2, attempts=1)
    assert time.monotonic() - start < 5
    assert files(path) == []


def test_no_network(path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/data.bin"
        with pytest.raises(DataError, match=rf"{address}: .*refused.*check the network"):
            download([address], path, MD5)
    assert files(path) == []


def test_a_full_disk_is_not_taken_for_the_network(server, address, path, full_disk):
    with full_disk(1 << 19), pytest.raises(DataError, match=r"\.data\.bin\.part: .*free space"):
        download([address], path, MD5)
    assert len(server.requests) == 1
    assert not path.exists()
    download([address], path, MD5)
    assert path.read_bytes() == CONTENT


def test_a_folder_has_one_holder(tmp_path):
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with locked(tmp_path / "new"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / "new"):
        inside.set()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/below: .*choose a folder"), locked(tmp_path / "file" / "below"):
        pass
