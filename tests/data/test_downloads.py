from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading

import numpy as np
import pytest
import torchvision.datasets

from boundcheck.data import DATASETS, downloads, transfer
from boundcheck.data.errors import DataError
from boundcheck.registry import build

RNG = np.random.default_rng(0)
CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
GREY = ("mnist", "fashion_mnist")


def md5(content):
    return hashlib.md5(content).hexdigest()


def idx(array):
    """The idx format: zeros, type (8: uint8), number of axes, lengths, bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def tar(files, extra=()):
    """A tar.gz of name -> bytes, and of ready-made members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return buffer.getvalue()


class Tiny:
    """A dataset of few pictures in the files of its kind, and a torchvision class that is told of them."""

    def __init__(self, kind, server, monkeypatch):
        self.kind, self.server, self.monkeypatch = kind, server, monkeypatch
        self.source = getattr(torchvision.datasets, CLASSES[kind])
        shape = (28, 28) if kind in GREY else (3, 32, 32)
        self.inputs = {split: RNG.integers(0, 256, (n, *shape), dtype=np.uint8) for split, n in self.sizes.items()}
        self.labels = {split: RNG.integers(0, 10, n) for split, n in self.sizes.items()}
        self.offer(self.files())

    sizes = {"train": 10, "test": 4}  # noqa: RUF012

    def files(self):
        if self.kind in GREY:
            parts = {"train": "train", "test": "t10k"}
            return {
                f"{part}-{what}-ubyte.gz": gzip.compress(idx(array), mtime=0)
                for split, part in parts.items()
                for what, array in (
                    ("images-idx3", self.inputs[split]),
                    ("labels-idx1", self.labels[split].astype(np.uint8)),
                )
            }
        return {self.source.filename: tar(self.batches())}

    def batches(self):
        self.batch_names = {"train": ["data_1", "data_2"], "test": ["test_batch"]}
        key = "labels" if self.kind == "cifar10" else "fine_labels"
        files = {"meta": pickle.dumps({self.source.meta["key"]: [f"class {i}" for i in range(10)]})}
        for split, names in self.batch_names.items():
            for name, rows in zip(names, np.array_split(np.arange(self.sizes[split]), len(names)), strict=True):
                flat = self.inputs[split][rows].reshape(len(rows), -1)
                files[name] = pickle.dumps({"data": flat, key: self.labels[split][rows].tolist()})
        lists = {split: [[name, md5(files[name])] for name in names] for split, names in self.batch_names.items()}
        self.monkeypatch.setattr(self.source, "train_list", lists["train"])
        self.monkeypatch.setattr(self.source, "test_list", lists["test"])
        meta = self.source.meta | {"filename": "meta", "md5": md5(files["meta"])}
        self.monkeypatch.setattr(self.source, "meta", meta)
        return {f"{self.source.base_folder}/{name}": content for name, content in files.items()}

    def offer(self, files):
        """Serve these files, and let the class name their addresses and sums."""
        self.server.files = {f"/usual/{name}": content for name, content in files.items()}
        if self.kind in GREY:
            self.monkeypatch.setattr(self.source, "mirrors", [f"{self.server.address}/usual/"])
            self.monkeypatch.setattr(self.source, "resources", [(name, md5(files[name])) for name in files])
        else:
            ((name, content),) = files.items()
            self.monkeypatch.setattr(self.source, "url", f"{self.server.address}/usual/{name}")
            self.monkeypatch.setattr(self.source, "tgz_md5", md5(content))

    def check(self, splits):
        for split, name in ((splits.train, "train"), (splits.test, "test")):
            expected = self.inputs[name].reshape(len(self.labels[name]), *splits.input_shape)
            assert np.array_equal(split.inputs, expected)
            assert np.array_equal(split.labels, self.labels[name])


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)


@pytest.fixture
def tiny(server, monkeypatch):
    return lambda kind: Tiny(kind, server, monkeypatch)


@pytest.mark.parametrize("kind", CLASSES)
def test_downloads_become_arrays(tiny, tmp_path, kind):
    source = tiny(kind)
    dataset = build(DATASETS, {"kind": kind})
    dataset.fetch(tmp_path / "data" / "one")
    source.check(dataset.load(tmp_path / "data" / "one"))
    kept = {path.name for path in (tmp_path / "data" / "downloads" / kind).iterdir()}
    assert kept == {".lock"} | {name.rpartition("/")[2] for name in source.server.files}


@pytest.mark.parametrize("kind", ["mnist", "cifar100"])
def test_variants_share_the_downloads(tiny, tmp_path, kind):
    source = tiny(kind)
    dataset = build(DATASETS, {"kind": kind})
    threads = [threading.Thread(target=dataset.fetch, args=(tmp_path / name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("one", "two"):
        source.check(dataset.load(tmp_path / name))
    assert source.server.served == sum(map(len, source.server.files.values()))


@pytest.mark.parametrize("kind", ["mnist", "cifar10"])
def test_a_mirror_replaces_the_addresses(tiny, tmp_path, kind):
    source = tiny(kind)
    server = source.server
    server.files = {path.replace("/usual/", "/my/mirror/"): content for path, content in server.files.items()}
    dataset = build(DATASETS, {"kind": kind, "mirror": f"{server.address}/my/mirror/"})
    dataset.fetch(tmp_path / "one")
    source.check(dataset.load(tmp_path / "one"))


def test_a_machine_without_network_takes_files_put_there_by_hand(tiny, tmp_path):
    source = tiny("cifar10")
    folder = tmp_path / "downloads" / "cifar10"
    folder.mkdir(parents=True)
    for path, content in source.server.files.items():
        (folder / path.rpartition("/")[2]).write_bytes(content)
    build(DATASETS, {"kind": "cifar10"}).fetch(tmp_path / "one")
    assert source.server.requests == []


@pytest.mark.parametrize(
    "mirror", ["http://x", "https://a.b-c.org:8080/d/e%20f/", "http://[::1]:80/x", "http://127.0.0.1/"]
)
def test_addresses_are_taken(mirror):
    assert build(DATASETS, {"kind": "mnist", "mirror": mirror}).mirror == mirror


def test_a_wrong_file_put_there_by_hand_is_named_with_both_sums(tiny, tmp_path):
    source = tiny("cifar10")
    folder = tmp_path / "downloads" / "cifar10"
    folder.mkdir(parents=True)
    (folder / source.source.filename).write_bytes(b"something else")
    source.server.faults = [404]
    problem = rf"with md5 {source.source.tgz_md5} at {folder / source.source.filename} yourself"
    with pytest.raises(DataError, match=rf"{problem} \(the file there has md5 {md5(b'something else')}\)"):
        build(DATASETS, {"kind": "cifar10"}).fetch(tmp_path / "one")


@pytest.mark.parametrize("kind", ["mnist", "cifar10"])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: content[:-1] + b"!"])
def test_damaged_downloads_are_refused(tiny, tmp_path, kind, damage):
    source = tiny(kind)
    path, content = next(iter(source.server.files.items()))
    source.server.files[path] = damage(content)
    with pytest.raises(DataError, match=rf"{source.server.address}{path}: md5 is"):
        build(DATASETS, {"kind": kind}).fetch(tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert [file.name for file in (tmp_path / "downloads" / kind).iterdir()] == [".lock"]


def test_an_archive_of_another_form_is_refused(tiny, tmp_path):
    """The md5 sum is right, but the content is not what its reader expects."""
    source = tiny("mnist")
    files = source.files()
    for wrong in (b"no gzip at all", gzip.compress(b"no idx at all"), gzip.compress(idx(np.zeros((3, 28), np.uint8)))):
        files["train-images-idx3-ubyte.gz"] = wrong
        source.offer(files)
        with pytest.raises(DataError, match="delete the downloads"):
            build(DATASETS, {"kind": "mnist"}).fetch(tmp_path / "one")
        assert not (tmp_path / "one").exists()


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("/absolute"),
        link("cifar-10-batches-py/link", "/etc/passwd"),
        link("cifar-10-batches-py/link", "meta", tarfile.LNKTYPE),
    ],
    ids=["dots", "absolute", "symbolic link", "hard link"],
)
def test_an_archive_that_leads_outside_is_refused(tiny, tmp_path, member):
    source = tiny("cifar10")
    source.offer({source.source.filename: tar(source.batches(), [member])})
    with pytest.raises(DataError, match=rf"{source.source.filename}: member '{member.name}' is a"):
        build(DATASETS, {"kind": "cifar10"}).fetch(tmp_path / "one")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        ".lock",
        source.source.filename,
        "cifar10",
        "downloads",
    ]


def test_an_altered_batch_is_not_unpickled(tiny, tmp_path):
    """A right archive with a wrong batch in it: torchvision's own sums refuse it before it is unpickled."""
    source = tiny("cifar10")
    batches = source.batches()
    batches["cifar-10-batches-py/data_1"] = pickle.dumps(Explosive())
    source.offer({source.source.filename: tar(batches)})
    with pytest.raises(DataError, match=r"torchvision.datasets.CIFAR10 .*corrupted"):
        build(DATASETS, {"kind": "cifar10"}).fetch(tmp_path / "one")


class Explosive:
    def __reduce__(self):
        return pytest.fail, ("a batch with a wrong sum was unpickled",)


def test_an_archive_without_a_batch_is_refused(tiny, tmp_path):
    source = tiny("cifar100")
    batches = source.batches()
    del batches["cifar-100-python/data_2"]
    source.offer({source.source.filename: tar(batches)})
    with pytest.raises(DataError, match=r"no member 'cifar-100-python/data_2'; delete"):
        build(DATASETS, {"kind": "cifar100"}).fetch(tmp_path / "one")


def test_the_leftover_of_a_killed_job_is_removed(tiny, tmp_path):
    source = tiny("mnist")
    raw = tmp_path / "downloads" / "mnist" / ".unpacked" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"half")
    dataset = build(DATASETS, {"kind": "mnist"})
    dataset.fetch(tmp_path / "one")
    source.check(dataset.load(tmp_path / "one"))


def test_no_network(tiny, tmp_path):
    source = tiny("mnist")
    source.server.server_close()
    with pytest.raises(DataError, match=rf"{source.server.address}.*refused.*mirror.*downloads/mnist/"):
        build(DATASETS, {"kind": "mnist"}).fetch(tmp_path / "one")


def test_a_full_disk(tiny, tmp_path, full_disk):
    tiny("cifar10")
    with full_disk(30_000), pytest.raises(DataError, match="free space"):
        build(DATASETS, {"kind": "cifar10"}).fetch(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_addresses_and_sums_are_those_of_torchvision():
    (file,) = downloads._files(torchvision.datasets.CIFAR10)
    source = torchvision.datasets.CIFAR10
    assert file == (source.filename, [source.url], source.tgz_md5)
    files = downloads._files(torchvision.datasets.MNIST)
    assert [(name, md5) for name, _, md5 in files] == torchvision.datasets.MNIST.resources
    assert all(address.endswith(f"/{name}") for name, addresses, _ in files for address in addresses)


NO_ADDRESSES = [
    "",
    "ftp://x",
    3,
    "/a/folder",
    "http://",
    "http:// x",
    "http://[::1",
    "http://a:b",
    "https://a b/c",
    "http://x/\n",
]


@pytest.mark.parametrize("mirror", NO_ADDRESSES)
def test_a_mirror_must_be_an_address(mirror):
    with pytest.raises(ValueError, match=r"mirror: got .*; allowed: an address that begins with http"):
        build(DATASETS, {"kind": "mnist", "mirror": mirror})
