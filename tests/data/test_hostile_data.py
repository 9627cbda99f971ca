"""What people's folders, archives, pictures and servers can hold: each ends the fetch in one line that says what to do.

An entry makes something hostile and returns the settings of the dataset, and patterns that the line must match: what
was found, and what to do.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import socket
import struct
import tarfile
import threading
import zipfile
import zlib

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from boundcheck.data import archives, downloads, servers, transfer
from boundcheck.jobs.command_line import main
from boundcheck.planning.specs import SpecFiles

HOSTILE = {}


def hostile(found, remedy):
    def add(make):
        HOSTILE[make.__name__] = (make, found, remedy)
        return make

    return add


@pytest.fixture
def fetched(tmp_path, capfd):
    """`fetched(**spec)` -> (exit code, lines of the log, lines of standard error) of the fetch stage."""

    def fetched(**spec):
        specs = SpecFiles()
        specs.write(path := specs.path(str(tmp_path), spec))
        output = tmp_path / "data" / "mine" / "arrays.safetensors"
        code = main(["fetch", "--spec", path, "--output", str(output)])
        assert output.exists() == (code == 0)
        out, err = capfd.readouterr()
        return code, out.splitlines(), err.splitlines()

    return fetched


def png(width=4, height=4, bits=8, colour=2, between=b"", rows=None):
    """A PNG made by hand; `colour` 0: grey, 2: colour, 6: with transparency."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    num_bytes = width * {0: 1, 2: 3, 6: 4}[colour] * bits // 8
    rows = zlib.compress(bytes(height * (1 + num_bytes))) if rows is None else rows
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def of_format(form, picture=None, **options):
    buffer = io.BytesIO()
    (picture or Image.new("RGB", (16, 16))).save(buffer, form, **options)
    return buffer.getvalue()


# -- folders ----------------------------------------------------------------------------------------------------------


@hostile(r"train/ant/pipe\.png: not a regular file", "remove it")
def a_pipe(folder):
    os.mkfifo(folder / "train/ant/pipe.png")


@hostile(r"test/cat/zero\.png: not a regular file", "remove it")
def a_link_to_a_device(folder):
    (folder / "test/cat/zero.png").symlink_to("/dev/zero")


@hostile(r"train/ant/talk\.png: not a regular file", "remove it")
def a_socket(folder):
    here = os.getcwd()
    os.chdir(folder / "train/ant")  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("talk.png")
    os.chdir(here)


@hostile(r"pictures: not a regular file", "remove it")
def a_pipe_instead_of_the_folder(folder):
    shutil.rmtree(folder)
    os.mkfifo(folder)


@hostile(r"train/ant/loop\.png: [Tt]oo many levels of symbolic links$", "make the file readable or remove it")
def a_link_to_itself(folder):
    (folder / "train/ant/loop.png").symlink_to("loop.png")


@hostile(r"train/ant/gone\.png: a link to 'nowhere\.png', where nothing is", "put the file there or remove the link")
def a_link_to_nothing(folder):
    (folder / "train/ant/gone.png").symlink_to("nowhere.png")


@hostile(r"train/ant/large\.png: more than 268,435,456 bytes", "make the file smaller or remove it")
def a_file_without_end(folder):
    with open(folder / "train/ant/large.png", "wb") as file:
        file.truncate(1 << 40)


@hostile("one class only, 'images', with the folders 'ant', 'cat' in it", "move the class folders one level up")
def class_folders_one_level_too_deep(folder):
    for split in ("train", "test"):
        (folder / split).rename(folder / "classes")
        (folder / split).mkdir()
        (folder / "classes").rename(folder / split / "images")


@hostile("one class only, 'cat'", "expected train/<class>/<picture>")
def one_class(folder):
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "ant")


@hostile(r"no pictures in train \(there is 'test', 'train'\)", "expected train/<class>/<picture>")
def pictures_without_class_folders(folder):
    for path in list((folder / "train").glob("*/*")):
        path.rename(folder / "train" / f"{path.parent.name}{path.name}")


@hostile(r"no pictures in train \(there is 'ant', 'cat'\)", "set `split: 0.2`")
def classes_without_splits(folder):
    for label in ("ant", "cat"):
        (folder / "train" / label).rename(folder / label)
    shutil.rmtree(folder / "train")
    shutil.rmtree(folder / "test")


@hostile("has pictures in test/, so it has splits already", "leave `split` out")
def a_split_of_what_is_split(folder):
    return {"split": 0.5}


@hostile("the folder 'testing' looks like a split, not a class", "expected train/<class>/<picture>")
def a_split_of_splits_of_other_names(folder):
    (folder / "train").rename(folder / "training")
    (folder / "test").rename(folder / "testing")
    return {"split": 0.5}


@hostile("class 'ant' has one picture", "`split` needs two of each class or more")
def a_split_of_one_picture(folder):
    shutil.rmtree(folder / "test")
    for name in ("0.png", "1.png"):
        (folder / "train/ant" / name).unlink()
    return {"split": 0.5}


@hostile(r"train/bee/ has no pictures, but '1\.heic'", "convert its files to PNG or JPEG")
def a_class_of_unknown_suffix(folder):
    for split in ("train", "test"):
        (folder / split / "bee").mkdir()
        (folder / split / "bee/1.heic").write_bytes(b"?")


@hostile(r"class 'cat' has no pictures in test", "both splits need the same classes")
def a_class_that_is_a_link_to_another(folder):
    shutil.rmtree(folder / "test/cat")
    (folder / "test/cat").symlink_to("ant")


@hostile(r"the name 'train/ant/\\udcff\.png' is not plain text", "rename the file")
def a_name_that_is_no_text(folder):
    with open(os.fsencode(folder / "train/ant/") + b"/\xff.png", "wb") as file:
        file.write(png())


@hostile(r"the name 'train/ant/a\\nb\\x1b\[2J\.png' is not plain text", "rename the file")
def a_name_of_two_lines(folder):
    (folder / "train/ant/a\nb\x1b[2J.png").write_bytes(png())


@hostile(r"'caf.*/1\.png' is there in two Unicode forms", "remove or rename one")
def one_name_in_two_forms(folder):
    for split in ("train", "test"):
        for name in ("cafe\u0301", "caf\u00e9"):
            (folder / split / name).mkdir()
            (folder / split / name / "1.png").write_bytes(png())


@hostile(r"File name too long|no such folder", "correct the path")
def a_path_that_is_too_long(folder):
    return {"path": "/" + "x" * 5000}


@hostile("null|no such folder", "correct the path")
def a_path_with_a_null(folder):
    return {"path": "a\0b"}


# -- pictures ---------------------------------------------------------------------------------------------------------


def a_picture(content, suffix="png"):
    def make(folder):
        (folder / f"train/ant/bad.{suffix}").write_bytes(content() if callable(content) else content)
        return {"size": 4}

    return make


def transparent():
    return of_format("PNG", Image.new("RGBA", (6, 5), (1, 2, 3, 100)))


def palette_with_a_transparent_colour():
    return of_format("GIF", Image.new("P", (6, 5)), transparency=0)


def text_bomb():
    packed = zlib.compress(bytes(1 << 27))
    content = b"key\0\0" + packed
    return png(
        between=struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    )


def jpeg2000_of_16_bits():
    content = bytearray(of_format("JPEG2000"))
    at = content.index(b"\xff\x4f\xff\x51") + 42
    content[at], content[at + 3], content[at + 6] = 15, 15, 15
    return bytes(content)


PICTURES = {
    "a_bomb_of_pixels": (png(100_000, 100_000, rows=b""), "10000000000 pixels", "mend or remove the picture"),
    "a_bomb_below_the_limit_of_pillow": (png(9000, 9000, rows=b""), "9,000 x 9,000 pixels", "make the picture smaller"),
    "a_bomb_of_text": (text_bomb, "[Tt]ext|too large", "mend or remove the picture"),
    "no_rows": (png(4, 4, rows=b""), "truncated", "mend or remove the picture"),
    "nothing": (b"", "no picture of a known format", "mend or remove the picture"),
    "a_page": (b"<html>404</html>", "no picture of a known format", "mend or remove the picture"),
    "postscript_under_another_name": (of_format("EPS"), "no picture of a known format", "mend or remove the picture"),
    "16_bits_grey": (png(bits=16, colour=0), "more than 8 bits per channel", "convert it to 8 bits"),
    "16_bits_colour": (png(bits=16), "more than 8 bits per channel", "convert it to 8 bits"),
    "16_bits_jpeg2000": (jpeg2000_of_16_bits, "more than 8 bits per channel", "convert it to 8 bits"),
    "16_bits_ppm": (b"P6\n2 2\n65535\n" + bytes(24), "more than 8 bits per channel", "convert it to 8 bits"),
    "transparent": (transparent, "parts of the picture are transparent", "set `background`"),
    "transparent_palette": (palette_with_a_transparent_colour, "are transparent", "set `background`"),
    "floats": (lambda: of_format("TIFF", Image.new("F", (6, 5))), "more than 8 bits", "convert it to 8 bits"),
}
for name, (content, found, remedy) in PICTURES.items():
    HOSTILE[f"picture_{name}"] = (a_picture(content), rf"train/ant/bad\.png.*({found})", remedy)


# -- archives ---------------------------------------------------------------------------------------------------------


def tar_of(path, members, mode="w", **kinds):
    """A tar of name -> content; `kinds` sets fields of every member."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in kinds.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return {"path": str(path)}


def members():
    return {f"{split}/{label}/1.png": png() for split in ("train", "test") for label in ("ant", "cat")}


@hostile(r"bomb\.tar\.gz: .*unpacks to more than [0-9],[0-9]{3},[0-9]{3} bytes", "unpack it yourself")
def a_tar_that_unpacks_to_a_large_file(folder):
    return tar_of(folder / "bomb.tar.gz", {**members(), "train/zeros.bin": bytes(1 << 24)}, "w:gz")


@hostile(r"bomb\.tar\.xz: .*unpacks to more than 1,048,576 bytes", "unpack it yourself")
def a_tar_with_a_bomb_behind_its_end(folder):
    tar_of(folder / "plain.tar", members())
    (folder / "bomb.tar.xz").write_bytes(lzma.compress((folder / "plain.tar").read_bytes() + bytes(1 << 24)))
    return {"path": str(folder / "bomb.tar.xz")}


@hostile(r"bomb\.tar\.bz2: .*unpacks to more than 1,048,576 bytes", "unpack it yourself")
def a_tar_with_a_bomb_in_a_header(folder):
    tar_of(folder / "plain.tar", {"x" * 300: b""})
    content = bytearray((folder / "plain.tar").read_bytes())
    content[124:136] = b"%011o\0" % (1 << 30)  # the length of the long name
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + 8 * 32 + sum(content[156:512]))
    (folder / "bomb.tar.bz2").write_bytes(bz2.compress(content + bytes(1 << 22)))
    return {"path": str(folder / "bomb.tar.bz2")}


@hostile(r"sparse\.tar.*: more than 268,435,456 bytes", "make the file smaller")
def a_tar_with_a_sparse_picture(folder):
    sparse = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 40)}
    return tar_of(folder / "sparse.tar", members(), pax_headers=sparse)


@hostile(r"ends\.tar: member '\.\./out\.png' is a name that leads out", "make the archive again")
def a_tar_that_leads_out(folder):
    return tar_of(folder / "ends.tar", {**members(), "../out.png": png()})


@hostile(r"dev\.tar: member 'train/ant/1\.png' is a link or a special file", "make the archive again")
def a_tar_of_devices(folder):
    return tar_of(folder / "dev.tar", {"train/ant/1.png": b""}, type=tarfile.CHRTYPE)


@hostile(r"flipped\.tar\.xz: ", "make or fetch it again")
def a_tar_with_a_flipped_bit(folder):
    tar_of(folder / "flipped.tar.xz", {**members(), "train/x": np.random.default_rng(0).bytes(100_000)}, "w:xz")
    content = bytearray((folder / "flipped.tar.xz").read_bytes())
    content[len(content) // 2] ^= 64
    (folder / "flipped.tar.xz").write_bytes(content)
    return {"path": str(folder / "flipped.tar.xz")}


def zip_of(path, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members().items():
            archive.writestr(name, content)
    return path


@hostile(r"train/ant/1\.png: more than 268,435,456 bytes", "make the file smaller")
def a_zip_that_declares_a_large_picture(folder):
    content = bytearray(zip_of(folder / "large.zip").read_bytes())
    at = content.index(b"PK\1\2")  # the first entry of the directory
    content[at + 24 : at + 28] = struct.pack("<I", 1 << 30)
    (folder / "large.zip").write_bytes(content)
    return {"path": str(folder / "large.zip")}


@hostile(r"train/ant/1\.png: Bad CRC|train/ant/1\.png: ", "make or fetch it again")
def a_zip_that_declares_less_than_it_holds(folder):
    with zipfile.ZipFile(folder / "less.zip", "w", zipfile.ZIP_BZIP2) as archive:
        for name in members():
            archive.writestr(name, bytes(1 << 24))
    content = bytearray((folder / "less.zip").read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 1 << 10)
    (folder / "less.zip").write_bytes(content)
    return {"path": str(folder / "less.zip")}


@hostile(r"locked\.zip: train/ant/1\.png: encrypted with a password$", "make or fetch it again without a password")
def a_zip_with_a_password(folder):
    content = bytearray(zip_of(folder / "locked.zip").read_bytes())
    for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = content.index(mark)
        content[at + flags] |= 1
    (folder / "locked.zip").write_bytes(content)
    return {"path": str(folder / "locked.zip")}


@hostile(r"slashes\.zip: member 'train\\\\ant.*' has a backslash", "make the archive again with another program")
def a_zip_with_backslashes(folder):
    with zipfile.ZipFile(folder / "slashes.zip", "w") as archive:
        for name, content in members().items():
            archive.writestr(name.replace("/", "\\"), content)
    return {"path": str(folder / "slashes.zip")}


@hostile(r"twice\.zip: two members have the name 'train/ant/1\.png'", "with each file once")
def a_zip_with_two_files_of_one_name(folder):
    with zipfile.ZipFile(folder / "twice.zip", "w") as archive:
        for name, content in members().items():
            archive.writestr(name, content)
        archive.writestr("./train/ant/1.png", png(5, 5))
    return {"path": str(folder / "twice.zip")}


@hostile(r"twice\.tar: two members have the name 'train/ant/1\.png'", "with each file once")
def a_tar_with_two_files_of_one_name(folder):
    return tar_of(folder / "twice.tar", {**members(), "./train/ant/1.png": png(5, 5)})


@hostile(r"train/ant/long\.png: 1 x 20,000 pixels, scaled 224 x 4,480,000, at most 67,108,864", "make `size`")
def a_picture_that_is_large_when_scaled(folder):
    (folder / "train/ant/long.png").write_bytes(png(20_000, 1))
    return {"size": 224}


@hostile(r"train/ant/long\.png: 1 x 20,000 pixels, scaled 300 x 6,000,000, at most 67,108,864", "make `size`")
def a_picture_that_is_large_when_resized(folder):
    (folder / "train/ant/long.png").write_bytes(png(20_000, 1))
    return {"size": 224, "resize": 300}


@hostile(r"x\.tar: .*(truncated|invalid|bad|file could not be opened|header)", "of another format")
def a_gzip_that_is_no_tar(folder):
    (folder / "x.tar").write_bytes(gzip.compress(b"text" * 1000))
    return {"path": str(folder / "x.tar")}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_line_says_what_is_wrong_and_what_to_do(name, pictures, fetched, monkeypatch):
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1 << 20)
    make, found, remedy = HOSTILE[name]
    spec = {"kind": "image_folder", "path": str(pictures[0]), **(make(pictures[0]) or {})}
    code, _, lines = fetched(**spec)
    assert code == 1
    (line,) = lines
    assert line.startswith("boundcheck fetch: DataError: ")
    assert line.isprintable()
    assert spec["path"][:200].partition("\0")[0] in line
    problem, _, advice = line.rpartition("; ")
    assert re.search(found, problem), line
    assert remedy in line, line
    assert advice


# -- servers ----------------------------------------------------------------------------------------------------------


def answer(*headers, status="200 OK", body=b"body"):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1") + body


SERVERS = {
    "a length that is a word": (answer("Content-Length: many"), "Content-Length is no number of bytes: 'many'"),
    "a negative length": (answer("Content-Length: -5"), "Content-Length is no number of bytes: '-5'"),
    "a length of 400 digits": (answer(f"Content-Length: {'9' * 400}"), "Content-Length is no number of bytes: '999"),
    "two lengths": (answer("Content-Length: 4", "Content-Length: 5"), "Content-Length is no number of bytes: "),
    "a length beyond every file": (answer("Content-Length: 99999999999"), "sends 99,999,999,999 bytes or more"),
    "a body without end": (answer(body=b"x" * 5000), r"sends [0-9,]+ bytes or more, and no file has more than 4,000"),
    "chunks without end": (
        answer("Transfer-Encoding: chunked", body=b"1f4\r\n" + b"x" * 500 + b"\r\n"),
        r"sends [0-9,]+ bytes or more",
    ),
    "a body that drips": (answer("Content-Length: 1000", body=b""), "too slow: "),
    "headers that drip": (b"HTTP/1.1 200 OK\r\nX-Header: ", "too slow: "),
    "a redirect to a file": (answer("Location: file:///etc/passwd", status="302 Found"), "file:///etc/passwd"),
    "a redirect to ftp": (answer("Location: ftp://127.0.0.1/x", status="302 Found"), "only http and https are allowed"),
    "a redirect to data": (answer("Location: data:,x", status="301 Moved"), "data:,x"),
    "a redirect to no address": (answer("Location: http://[::1", status="302 Found"), "Invalid IPv6|URL"),
    "a redirect to itself": (answer("Location: /", "Content-Length: 0", status="302 Found", body=b""), "infinite loop"),
    "a page": (answer("Content-Type: text/html; charset=utf-8", body=b"<html>Log in"), r"a page \(text/html\)"),
    "another file": (answer("Content-Length: 4"), r"md5 is \w{32}, expected \w{32}"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.0\x1b[2J\r\n", "SSH"),
    "a reason of two lines": (answer("Content-Length: 0", status="404 \x1b[2J\x07", body=b""), "HTTP Error 404"),
    "nothing": (b"", "closed|without response|reset"),
    "chunks of no length": (answer("Transfer-Encoding: chunked", body=b"zz\r\nxx"), "IncompleteRead|bytes read"),
}


@pytest.fixture
def rude(monkeypatch):
    """`rude(answer)` -> address of a server that sends this to everyone and drips or repeats afterwards."""
    monkeypatch.setenv("no_proxy", "*")
    closing, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def serve(content):
        while not closing.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection, content), daemon=True).start()

    def talk(connection, content):
        with connection:
            connection.recv(1 << 16)
            try:
                connection.sendall(content)
                if b"Content-Length: 1000" in content or content.endswith(b": "):
                    while not closing.wait(0.02):
                        connection.sendall(b"x")
                elif b"chunked" in content and b"zz" not in content:
                    while not closing.wait(0.001):
                        connection.sendall(content.partition(b"\r\n\r\n")[2])
            except OSError:
                pass

    def rude(content):
        threading.Thread(target=serve, args=(content,), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield rude
    closing.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("name", SERVERS)
def test_a_rude_server_is_one_line(name, rude, fetched, monkeypatch):
    content, problem = SERVERS[name]
    monkeypatch.setattr(transfer, "BACKOFF_SECONDS", 0)
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)
    monkeypatch.setattr(transfer.log, "warning", lambda *_: None)  # one for each attempt
    monkeypatch.setattr(servers, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(downloads, "MAX_BYTES", 4000)
    address = rude(content)
    code, _, lines = fetched(kind="cifar10", mirror=address)
    assert code == 1
    (line,) = lines
    name = torchvision.datasets.CIFAR10.filename
    assert line.startswith(f"boundcheck fetch: DataError: {address}/{name}: ")
    assert re.search(problem, line), line
    assert line.isprintable(), line
    assert "; check the network, set `mirror`, or put the file with md5 " in line
