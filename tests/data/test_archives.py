from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile

import pytest

from boundcheck.data.archives import extract, open_files
from boundcheck.data.errors import DataError

FILES = {"a/b.txt": b"first" * 500, "a/c/d.txt": b"second", "e.txt": b""}


def make_tar(path, mode, names=FILES):
    with tarfile.open(path, mode) as archive:
        for name in names:
            content = FILES.get(name, b"x")
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def make_zip(path, names=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, FILES.get(name, b"x"))


def make(path, names=FILES):
    if path.suffix == ".zip":
        make_zip(path, names)
    elif path.suffix:
        make_tar(path, {".tar": "w", ".tgz": "w:gz", ".xz": "w:xz"}[path.suffix], names)
    else:
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(FILES[name])
    return path


def read_all(path):
    with open_files(path) as files:
        return {name: files.read(name) for name in files.names}


@pytest.mark.parametrize("name", ["folder", "x.tar", "x.tgz", "x.tar.xz", "x.zip"])
def test_all_forms_read_alike(tmp_path, name):
    with open_files(make(tmp_path / name)) as files:
        assert list(files.names) == list(FILES)
        assert {each: files.read(each) for each in reversed(files.names)} == FILES


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.zip"])
@pytest.mark.parametrize("member", ["../out", "a/../../out", "/out", "..\\out"])
def test_names_that_lead_outside_are_refused(tmp_path, name, member):
    path = make(tmp_path / name, [*FILES, member])
    with pytest.raises(DataError, match=f"{path}: member .* leads out of the archive"), open_files(path):
        pass


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match="member 'link' is a link or a special file"), open_files(path):
        pass


def test_links_in_a_zip_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="member 'link' is a link or a special file"), open_files(path):
        pass


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.xz", "x.zip"])
def test_an_archive_cut_anywhere_is_refused(tmp_path, name):
    content = make(tmp_path / name).read_bytes()
    end = content.rindex(b"e.txt") + 512 if name == "x.tar" else len(content)  # the rest of a tar is filling
    for keep in range(1, end, 97 if len(content) > 1000 else 13):
        (tmp_path / name).write_bytes(content[:keep])
        with pytest.raises(DataError, match=f"{name}: .*make or fetch it again"):
            read_all(tmp_path / name)


def test_a_damaged_member_of_a_zip_is_refused(tmp_path):
    path = make(tmp_path / "x.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"a/b.txt") + 12] ^= 255
    path.write_bytes(content)
    with open_files(path) as files, pytest.raises(DataError, match=f"{path}: a/b.txt: "):
        files.read("a/b.txt")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"text" * 1000)
    with pytest.raises(DataError, match=r"x.tar: .*of another format"), open_files(tmp_path / "x.tar"):
        pass
    with pytest.raises(DataError, match="nowhere: no such folder or archive"), open_files(tmp_path / "nowhere"):
        pass


def test_a_broken_link_in_a_folder_is_named(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with (
        open_files(tmp_path) as files,
        pytest.raises(DataError, match=r"link: a link to 'nowhere', where nothing is; put the"),
    ):
        files.read("link")


def test_only_named_files_are_extracted(tmp_path):
    extract(make(tmp_path / "x.tar"), ["a/c/d.txt"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["d.txt"]
    assert (tmp_path / "out" / "a" / "c" / "d.txt").read_bytes() == b"second"
    with pytest.raises(DataError, match="no member 'f'"):
        extract(tmp_path / "x.tar", ["f"], tmp_path / "out")


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    make(tmp_path / "x.zip", ["e.txt"])
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(make(tmp_path / "folder"), "top")
        archive.add(tmp_path / "x.zip", "z.zip")
    with open_files(tmp_path / "x.tar") as files:
        assert set(files.names) == {*(f"top/{name}" for name in FILES), "z.zip"}


def test_an_archive_is_closed(tmp_path):
    for name in ("x.tar", "x.tgz", "x.zip"):
        make(tmp_path / name)
        read_all(tmp_path / name)
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    opened = [os.readlink(link) for link in links if os.path.exists(link)]
    assert not [path for path in opened if path.startswith(str(tmp_path))]
