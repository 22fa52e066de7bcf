"""Film reviews: downloads that break, the cache, damaged and malicious archives, sources, Keras' ids."""

import dataclasses
import gzip
import hashlib
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tsrnn import datasets
from tsrnn.datasets import (
    DatasetDamagedError,
    DatasetError,
    DatasetOfflineError,
    _download,
    _imdb,
    _keras_ids,
    _lock,
    _texts,
    fetch_imdb,
)

REVIEWS = {
    "train/neg/0_3.txt": "A bad film.<br />I did not like it, no.", "train/neg/10_1.txt": "Worst, WORST of 1998 \N{SNOWMAN}",
    "train/neg/2_4.txt": "Not good at all", "train/pos/0_9.txt": "Good film, not bad!",
    "train/pos/1_10.txt": "I like it\tso much",
    "test/neg/0_2.txt": "It's bad; I like nothing", "test/pos/0_7.txt": "good good Ångström",
}
TRAIN = ["A bad film.<br />I did not like it, no.", "Not good at all", "Worst, WORST of 1998 \N{SNOWMAN}",
         "Good film, not bad!", "I like it\tso much"]
INDEX = {word: rank for rank, word in enumerate("film i it not good bad br like all at Ångström it's worst".split(), start=1)}
OTHERS = {"README": "text", "imdb.vocab": "the\n", "train/unsup/0_0.txt": "neither", "train/urls_pos.txt": "http://"}


def header(name, size=0, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def packed(reviews=REVIEWS, more=(), top="aclImdb/", compress=True):
    """An archive of the layout; `more`: further members as (TarInfo, bytes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(header("aclImdb", kind=tarfile.DIRTYPE))
        for name, text in {**OTHERS, **reviews}.items():
            content = text if isinstance(text, bytes) else text.encode()
            tar.addfile(header(top + name, len(content)), io.BytesIO(content))
        for info, content in more:
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0) if compress else buffer.getvalue()


ARCHIVE = packed({**REVIEWS, "train/neg/3_1.txt": np.random.default_rng(0).bytes(150_000).hex()})  # some blocks long


class Server(ThreadingHTTPServer):
    """Serves `files`; `faults` are taken one a request, then all goes well; `requests` are the (path, Range) of each."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.requests, self.held = {}, [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        pass  # a client that goes away is part of the tests


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        content = self.server.files.get(self.path)
        self.close_connection = True
        if isinstance(fault, int) or content is None:
            self.send_error(fault or 404)
            return
        start = int(asked[6:-1]) if asked and fault not in ("no range", "other content") else 0
        if start >= len(content):
            self.send_error(416)
            return
        if fault == "other content":
            content = b"<html>log in first</html>"
        self.send_response(206 if start else 200)
        if start:
            first = start + 1 if fault == "other range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(10**12 if fault == "endless" else len(content) - start))
        self.end_headers()
        body = content[start:]
        if fault == "wrong bytes":
            body = bytes(len(body))
        if fault in ("cut", "stall"):
            body = body[:70_000]
        if fault == "slow":
            self.server.held.wait(10)
        self.wfile.write(body)
        self.wfile.flush()
        if fault == "stall":
            self.server.held.wait(10)


@pytest.fixture
def server(monkeypatch):
    """A server with the small archive and word index, which stand for the real ones."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    index = json.dumps(INDEX).encode()
    server.files = {"/reviews.tar.gz": ARCHIVE, "/index.json": index}
    for name, path, content in (("ARCHIVE", "reviews.tar.gz", ARCHIVE), ("WORD_INDEX", "index.json", index)):
        remote = dataclasses.replace(getattr(_imdb, name), url=server.url + path, sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(_imdb, name, remote)
    yield server
    server.held.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(home, **options):
    return fetch_imdb(**{"data_home": home, "delay": 0.01, "timeout": 5.0, "shuffle": False, **options})


def files(home):
    return sorted(path.name for path in (home / "imdb").iterdir()) if (home / "imdb").exists() else []


WHOLE = [".lock", "imdb.npz"]


# ------------------------------------------------------------------------------------------------ download and cache


def test_reviews_are_downloaded_once_and_kept(server, tmp_path):
    train = fetch(tmp_path)
    assert [*train.data[:2], *train.data[3:]] == TRAIN and len(train.data[2]) == 300_000
    assert train.target.tolist() == [0, 0, 0, 0, 1, 1] and train.target.dtype == np.int64
    assert train.ratings.tolist() == [3, 4, 1, 1, 9, 10] and train.target_names == ["neg", "pos"] and "Maas" in train.DESCR
    assert files(tmp_path) == WHOLE and "word_index" not in train
    test = fetch(tmp_path, subset="test", download_if_missing=False)
    assert test.data == ["It's bad; I like nothing", "good good Ångström"] and server.requests == [("/reviews.tar.gz", None)]
    every, target = fetch(tmp_path, subset="all", return_X_y=True)
    assert every == train.data + test.data and target.tolist() == [0, 0, 0, 0, 1, 1, 0, 1]
    with np.load(tmp_path / "imdb" / "imdb.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_ids_follow_kerass_convention(server, tmp_path):
    ids = fetch(tmp_path, as_ids=True)
    # 1 starts, "a", "did" and "no" are not in the index and left out, <br /> gives "br"; a rank is moved by 3
    assert ids.data[0].tolist() == [1, 9, 4, 10, 5, 7, 11, 6] and ids.data[0].dtype == np.int32
    assert ids.data[3].tolist() == [1, 16, 16] and ids.word_index == INDEX  # digits and the snowman are words it lacks
    few = fetch(tmp_path, as_ids=True, num_words=9, subset="test")
    assert few.data[0].tolist() == [1, 2, 2, 5, 2] and few.data[1].tolist() == [1, 8, 8, 2]  # only A to Z are made lower-case
    assert max(row.max() for row in few.data) == 8 and files(tmp_path) == [".lock", "imdb.npz", "imdb_word_index.json"]
    assert len(server.requests) == 2


def test_shuffling_keeps_texts_and_labels_together(server, tmp_path):
    plain, mixed, again = fetch(tmp_path), fetch(tmp_path, shuffle=True), fetch(tmp_path, shuffle=True, random_state=42)
    other = fetch(tmp_path, shuffle=True, random_state=np.random.RandomState(1))
    stars = dict(zip(plain.data, zip(plain.target, plain.ratings)))
    for bunch in (mixed, other):
        assert bunch.data != plain.data and dict(zip(bunch.data, zip(bunch.target, bunch.ratings))) == stars
    assert mixed.data == again.data != other.data


def test_a_broken_download_is_gone_on_with(server, tmp_path):
    server.faults = ["cut", 503, "cut"]
    assert len(fetch(tmp_path).data) == 6
    assert [asked for _, asked in server.requests] == [None, "bytes=70000-", "bytes=70000-", "bytes=140000-"]
    assert files(tmp_path) == WHOLE


def test_what_came_waits_for_the_next_call(server, tmp_path):
    server.faults = ["cut"]
    with pytest.raises(DatasetOfflineError, match="ended after 70,000 of") as failure:
        fetch(tmp_path, n_retries=0)
    for part in (server.url + "reviews.tar.gz", str(tmp_path / "imdb" / "aclImdb_v1.tar.gz"), "source="):
        assert part in str(failure.value)
    assert files(tmp_path) == [".lock", "aclImdb_v1.tar.gz.part"]
    assert len(fetch(tmp_path).data) == 6 and server.requests[-1][1] == "bytes=70000-" and files(tmp_path) == WHOLE


@pytest.mark.parametrize("fault", ["no range", "other range", "wrong bytes"])
def test_pieces_that_do_not_fit_are_dropped(server, tmp_path, fault):
    server.faults = ["cut", fault]
    assert len(fetch(tmp_path).data) == 6 and files(tmp_path) == WHOLE
    assert len(server.requests) == (2 if fault == "no range" else 3)


def test_a_leftover_of_something_else_is_dropped(server, tmp_path):
    (tmp_path / "imdb").mkdir()
    (tmp_path / "imdb" / "aclImdb_v1.tar.gz.part").write_bytes(bytes(10**6))  # longer than the archive: 416
    (tmp_path / "imdb" / "imdb.npz.part").write_bytes(b"half")
    assert len(fetch(tmp_path).data) == 6 and files(tmp_path) == WHOLE


def test_a_complete_leftover_needs_no_server(server, tmp_path):
    (tmp_path / "imdb").mkdir()
    (tmp_path / "imdb" / "aclImdb_v1.tar.gz.part").write_bytes(ARCHIVE)
    assert len(fetch(tmp_path).data) == 6 and not server.requests


def test_a_complete_leftover_is_used_where_downloads_are_forbidden(server, tmp_path):
    (tmp_path / "imdb").mkdir()
    part = tmp_path / "imdb" / "aclImdb_v1.tar.gz.part"
    part.write_bytes(ARCHIVE[:-1])
    with pytest.raises(DatasetError, match="not there whole"):
        fetch(tmp_path, download_if_missing=False)
    part.write_bytes(ARCHIVE)
    (tmp_path / "imdb" / "imdb_word_index.json.part").write_bytes(server.files["/index.json"])
    assert len(fetch(tmp_path, download_if_missing=False, as_ids=True).data) == 6 and not server.requests
    assert files(tmp_path) == [".lock", "imdb.npz", "imdb_word_index.json"]


def test_an_archive_that_a_killed_process_left_is_removed(server, tmp_path, monkeypatch):
    fetch(tmp_path)
    part = tmp_path / "imdb" / "aclImdb_v1.tar.gz.part"
    part.write_bytes(ARCHIVE)
    with monkeypatch.context() as patch:
        patch.setattr(_lock, "open", refused, raising=False)
        assert len(fetch(tmp_path).data) == 6 and part.exists()  # a folder that cannot be written is read as ever
    assert len(fetch(tmp_path).data) == 6 and files(tmp_path) == WHOLE


def refused(*args, **options):
    raise PermissionError(13, "Permission denied")


def test_the_page_of_a_proxy_costs_nothing_that_came(server, tmp_path):
    server.faults = ["cut", "other content"]
    for message in ("ended after 70,000", "sent 25 bytes in place of the file, of which 70,000 are here; .* remove .*part"):
        with pytest.raises(DatasetOfflineError, match=message):
            fetch(tmp_path, n_retries=0)
        assert (tmp_path / "imdb" / "aclImdb_v1.tar.gz.part").read_bytes() == ARCHIVE[:70_000]
    assert len(fetch(tmp_path).data) == 6 and server.requests[-1][1] == "bytes=70000-" and files(tmp_path) == WHOLE


@pytest.mark.parametrize("n_retries", [0, 2])
def test_another_hash_is_refused(server, tmp_path, n_retries):
    server.faults = ["other content"]
    with pytest.raises(DatasetDamagedError, match="sha256 .* must be .* removed"):
        fetch(tmp_path, n_retries=n_retries)
    assert files(tmp_path) == [".lock"] and len(server.requests) == 1


@pytest.mark.parametrize("code, n_requests", [(404, 1), (403, 1), (500, 3), (429, 3)])
def test_a_server_that_refuses(server, tmp_path, code, n_requests):
    server.faults = [code] * 3
    with pytest.raises(DatasetOfflineError, match=f"the server answers {code}"):
        fetch(tmp_path, n_retries=2)
    assert len(server.requests) == n_requests and files(tmp_path) == [".lock"]


def test_a_server_that_falls_silent(server, tmp_path):
    server.faults = ["stall", "stall"]
    with pytest.raises(DatasetOfflineError, match=r"silent for 0.2 s"):
        fetch(tmp_path, n_retries=1, timeout=0.2)
    assert (tmp_path / "imdb" / "aclImdb_v1.tar.gz.part").read_bytes() == ARCHIVE[:1 << 17]  # whole blocks


def test_a_file_that_never_ends_is_not_begun(server, tmp_path):
    server.faults = ["endless"]
    with pytest.raises(DatasetOfflineError, match="1,000,000,000,000 bytes, and at most"):
        fetch(tmp_path)
    assert files(tmp_path) == [".lock"]


def test_offline_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x.tar.gz"
        monkeypatch.setattr(_imdb, "ARCHIVE", dataclasses.replace(_imdb.ARCHIVE, url=url))
        with pytest.raises(DatasetOfflineError) as failure:
            fetch(tmp_path, n_retries=1)
    for part in (url, str(tmp_path / "imdb" / "aclImdb_v1.tar.gz"), "source=", "ConnectionRefusedError"):
        assert part in str(failure.value)
    assert isinstance(failure.value, OSError)


def test_nothing_is_made_where_downloads_are_forbidden(server, tmp_path):
    home = tmp_path / "none"
    for options, name in (({}, "aclImdb_v1.tar.gz"), ({"as_ids": True}, "imdb_word_index.json")):
        with pytest.raises(DatasetError, match="download_if_missing=False") as failure:
            fetch(home, download_if_missing=False, **options)
        assert str(home / "imdb" / name) in str(failure.value)
    assert not home.exists() and not server.requests


def test_an_archive_that_was_put_there_by_hand_is_used_and_left(server, tmp_path):
    (tmp_path / "imdb").mkdir()
    path = tmp_path / "imdb" / "aclImdb_v1.tar.gz"
    path.write_bytes(ARCHIVE)
    assert len(fetch(tmp_path, download_if_missing=False).data) == 6 and files(tmp_path) == [".lock", path.name, "imdb.npz"]
    (tmp_path / "imdb" / "imdb.npz").unlink()
    path.write_bytes(ARCHIVE[:-9])
    with pytest.raises(DatasetError, match="not there whole"):
        fetch(tmp_path, download_if_missing=False)
    assert path.read_bytes() == ARCHIVE[:-9] and files(tmp_path) == [".lock", path.name]


def pickled(path):
    np.savez(path, format=1, train_utf8=np.array([print], object))


def other_lengths(path):
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "train_offsets": arrays["train_offsets"][:-1]})


def newer(path):
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "format": 99})


def directory(at, value):
    """Changes a byte of the zip file's list of members."""
    def damage(path):
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + at] = value
        path.write_bytes(content)
    return damage


def turned(path):
    content = bytearray(path.read_bytes())
    content[300_000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:1000]), lambda path: path.write_bytes(b""),
                                    turned, pickled, other_lengths, newer, directory(8, 1), directory(10, 99),
                                    directory(10, 8), directory(10, 14)])  # encrypted, unknown, and packed in two ways
def test_a_damaged_cache_is_made_anew(server, tmp_path, damage, caplog):
    want = fetch(tmp_path).data
    damage(tmp_path / "imdb" / "imdb.npz")
    assert fetch(tmp_path).data == want and "cannot be used" in caplog.text and len(server.requests) == 2


def test_a_disk_that_is_full_costs_nothing_fetched(server, tmp_path, monkeypatch, caplog):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(np, "savez", full)
    assert len(fetch(tmp_path).data) == 6 and "not kept" in caplog.text
    assert files(tmp_path) == [".lock", "aclImdb_v1.tar.gz.part"]


def test_a_disk_that_fills_up_while_downloading(server, tmp_path, monkeypatch):
    def full(response, file, *more):
        file.write(response.read(70_000))
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(_download, "_copy", full)
        with pytest.raises(DatasetError, match="No space left on device.*data_home=") as failure:
            fetch(tmp_path)
    part = tmp_path / "imdb" / "aclImdb_v1.tar.gz.part"
    assert str(part) in str(failure.value) and server.url in str(failure.value) and len(server.requests) == 1
    assert part.stat().st_size == 70_000 and len(fetch(tmp_path).data) == 6 and server.requests[-1][1] == "bytes=70000-"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="for root every folder can be written")
def test_a_folder_that_cannot_be_written(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DatasetError, match="cannot be written .* data_home="):
        fetch(tmp_path)


def test_a_file_in_the_place_of_the_folder(server, tmp_path):
    (tmp_path / "imdb").write_text("a file")
    with pytest.raises(DatasetError, match="cannot be written .* data_home=.* source="):
        fetch(tmp_path)


def test_progress_is_shown_where_asked_for(server, tmp_path, capsys):
    fetch(tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    fetch(tmp_path / "told", verbose=True)
    assert "aclImdb_v1.tar.gz" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ several processes


def child(home):
    """A process that fetches from the test's server."""
    script = f"""
        import dataclasses, sys
        from tsrnn.datasets import _imdb, fetch_imdb
        _imdb.ARCHIVE = dataclasses.replace(_imdb.ARCHIVE, url={_imdb.ARCHIVE.url!r}, sha256={_imdb.ARCHIVE.sha256!r})
        print(len(fetch_imdb(data_home={str(home)!r}, delay=0.01, return_X_y=True)[0]), flush=True)
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_processes_download_once(server, tmp_path, caplog):
    server.faults = ["slow"]
    first = child(tmp_path)
    wait_for(lambda: server.requests)
    threading.Timer(0.5, server.held.set).start()
    with caplog.at_level(logging.WARNING, "tsrnn"):
        assert len(fetch(tmp_path).data) == 6
    assert first.communicate(timeout=30)[0] == "6\n" and len(server.requests) == 1 and files(tmp_path) == WHOLE
    assert f"process {first.pid} on" in caplog.text and str(tmp_path / "imdb" / ".lock") in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed in another way there")
def test_the_lock_of_a_killed_process_holds_nobody(server, tmp_path):
    server.faults = ["stall"]
    killed = child(tmp_path)
    part = tmp_path / "imdb" / "aclImdb_v1.tar.gz.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (tmp_path / "imdb" / ".lock").exists()
    assert len(fetch(tmp_path).data) == 6 and server.requests[-1][1] is not None and files(tmp_path) == WHOLE


def test_threads_wait_as_well(server, tmp_path):
    results = []
    threads = [threading.Thread(target=lambda: results.append(len(fetch(tmp_path).data))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [6, 6, 6] and len(server.requests) == 1


@pytest.mark.parametrize("error", [OSError(95, "Operation not supported"), pytest.param(
    PermissionError(13, "Permission denied"), marks=pytest.mark.skipif(sys.platform == "win32", reason="held, there"))])
def test_without_locks_it_goes_on_and_says_so(server, tmp_path, monkeypatch, caplog, error):
    def unsupported(file):
        raise error
    monkeypatch.setattr(_lock, "_lock", unsupported)
    monkeypatch.setattr(_lock.time, "sleep", lambda seconds: pytest.fail("it waits"))
    assert len(fetch(tmp_path).data) == 6 and "cannot be locked" in caplog.text


# ------------------------------------------------------------------------------------------------ damaged, malicious archives


def bomb():
    """A member that says to have 3 TB, and none of them."""
    return header("aclImdb/huge.bin", 3 * 10**12)


def long_header():
    """A pax header (the kind that tarfile reads whole) of 100 MB of zeros: 100 kB when packed."""
    return header("pax", 100_000_000, tarfile.XHDTYPE), bytes(100_000_000)


MALICIOUS = {
    "up": ([(header("aclImdb/../../evil.txt", 4), b"evil")], "leads out of it"),
    "review up": ([(header("../aclImdb/train/pos/7_7.txt", 4), b"evil")], "leads out of it"),
    "absolute": ([(header("/etc/evil", 4), b"evil")], "leads out of it"),
    "Windows": ([(header("C:\\evil", 4), b"evil")], "leads out of it"),
    "backslashes": ([(header("aclImdb\\..\\..\\evil", 4), b"evil")], "leads out of it"),
    "symbolic link": ([(header("aclImdb/train/pos/7_7.txt", kind=tarfile.SYMTYPE, link="/etc/passwd"), b"")], "link"),
    "hard link": ([(header("aclImdb/train/pos/7_7.txt", kind=tarfile.LNKTYPE, link="aclImdb/README"), b"")], "link"),
    "device": ([(header("aclImdb/null", kind=tarfile.CHRTYPE), b"")], "link or a device"),
    "large review": ([(header("aclImdb/train/pos/7_7.txt", 20_000_000), bytes(20_000_000))], "20,000,000 bytes; at most"),
    "twice": ([(header("aclImdb/train/pos/0_8.txt", 1), b"x")], "twice"),
    "encoding": ([(header("aclImdb/train/pos/7_7.txt", 5), "Größe".encode("latin-1"))], "7_7.txt of .* is not UTF-8"),
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_malicious_members_are_refused(tmp_path, kind):
    more, message = MALICIOUS[kind]
    path = tmp_path / "in" / "reviews.tar.gz"
    path.parent.mkdir()
    path.write_bytes(packed(more=more))
    with pytest.raises(DatasetDamagedError, match=message):
        fetch(tmp_path / "home", source=path)
    assert [found.name for found in tmp_path.rglob("*") if found.is_file()] == ["reviews.tar.gz"]


def test_archives_that_would_fill_memory_or_never_end(tmp_path, monkeypatch):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bomb().tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(DatasetDamagedError, match="3,000,000,000,000 bytes; at most"):
        fetch(tmp_path, source=path)
    path.write_bytes(packed(more=[long_header()]))
    with pytest.raises(DatasetDamagedError, match="header of 100,000,256 bytes"):
        fetch(tmp_path, source=path)
    monkeypatch.setattr(_texts, "MAX_READ", 10_000)
    path.write_bytes(gzip.compress(packed(compress=False) + bytes(20_000)))
    with pytest.raises(DatasetDamagedError, match="goes on after its end"):
        fetch(tmp_path, source=path)
    monkeypatch.setattr(_texts, "MAX_ARCHIVE", 5_000)
    path.write_bytes(packed())
    with pytest.raises(DatasetDamagedError, match="more than 5,000 bytes"):
        fetch(tmp_path, source=path)
    monkeypatch.undo()
    monkeypatch.setattr(_texts, "MAX_MEMBERS", 10)
    with pytest.raises(DatasetDamagedError, match="more than 10 members"):
        fetch(tmp_path, source=path)


def negative(size):
    """A header with a negative size, which leads back to an earlier one."""
    return header("aclImdb/back", size).tobuf(tarfile.GNU_FORMAT)


def masked_size():
    """A pax record that gives the size which its member is said to have, once its own has led back."""
    record = b"21 GNU.sparse.size=5\n"
    return header("pax", len(record), tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + negative(-1536)


@pytest.mark.parametrize("content, message", [(negative(-512), "of -512 bytes"), (negative(-513), "of -513 bytes"),
                                              (masked_size(), "leads back, to byte 511")])
def test_archives_that_lead_back_are_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(_texts, "MAX_MEMBERS", 1000)  # reached at once where it goes round in a circle
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header("aclImdb", kind=tarfile.DIRTYPE).tobuf() + content))
    with pytest.raises(DatasetDamagedError, match=message):
        fetch(tmp_path, source=tmp_path / "a.tar.gz")


def test_texts_that_would_fill_memory_together(tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(packed())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table(["1,good"] * 40)))
    folder = unpacked(tmp_path / "aclImdb")
    index = tmp_path / "index.json.gz"
    index.write_bytes(gzip.compress(b'{"good": 1}' + b" " * 1000))
    for source in (tmp_path / "a.tar.gz", tmp_path / "a.csv.gz", folder):
        fetch(tmp_path, source=source, as_ids=True, word_index=index)
        with monkeypatch.context() as patch, pytest.raises(DatasetDamagedError, match="has more than 100 bytes"):
            patch.setattr(_texts, "MAX_TEXTS", 100)
            fetch(tmp_path, source=source)
    monkeypatch.setattr(_keras_ids, "_MAX_BYTES", 1000)
    with pytest.raises(DatasetDamagedError, match="more than 1,000 bytes, unpacked"):
        fetch(tmp_path, source=folder, as_ids=True, word_index=index)


@pytest.mark.parametrize("compress", [True, False])
def test_every_truncation_is_noticed(tmp_path, compress):
    whole = packed(compress=compress)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(whole)
    assert fetch(tmp_path, source=path).data == TRAIN
    end = len(whole) if compress else len(whole.rstrip(b"\0")) + 512
    for size in {0, 1, 2, 511, 512, 513, *range(0, end, max(1, end // 40)), *range(512, end - 512, 512)}:
        path.write_bytes(whole[:min(size, end - 1)])
        with pytest.raises(DatasetDamagedError):
            fetch(tmp_path, source=path)


def test_damaged_bytes_are_noticed(tmp_path):
    whole = packed()
    path = tmp_path / "a.tar.gz"
    for at in range(20, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:])
        with pytest.raises(DatasetDamagedError):
            fetch(tmp_path, source=path)


def test_a_malicious_archive_with_the_right_hash_leaves_nothing(server, tmp_path, monkeypatch):
    content = packed(more=MALICIOUS["up"][0])
    server.files["/reviews.tar.gz"] = content
    monkeypatch.setattr(_imdb, "ARCHIVE", dataclasses.replace(_imdb.ARCHIVE, sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(DatasetDamagedError, match="leads out of it"):
        fetch(tmp_path)
    assert "imdb.npz" not in files(tmp_path) and not list(tmp_path.parent.rglob("evil*"))


# ------------------------------------------------------------------------------------------------ sources


def unpacked(folder, reviews=REVIEWS):
    for name, text in {**OTHERS, **reviews}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def table(rows, columns="label,review"):
    return (columns + "\n" + "\n".join(rows) + "\n").encode()


def test_archive_folder_and_csv_give_the_same(tmp_path):
    plain = tmp_path / "plain.tar"
    plain.write_bytes(packed(top="./", compress=False))
    archive = tmp_path / "reviews.tgz"
    archive.write_bytes(packed())
    folder = unpacked(tmp_path / "x" / "aclImdb")
    tables = tmp_path / "tables"
    tables.mkdir()
    rows = ['0,3,"A bad film.<br />I did not like it, no."', "0,4,Not good at all", '0,1,"Worst, WORST of 1998 \N{SNOWMAN}"',
            '1,9,"Good film, not bad!"', "1,10,I like it\tso much"]
    (tables / "imdb_train.csv.gz").write_bytes(gzip.compress(table(rows, "label,rating,review")))
    test_rows = ["It's bad; I like nothing,negative", "good good Ångström,Positive"]
    (tables / "test.csv").write_bytes(table(test_rows, "\ufeffreview,sentiment"))
    for source in (plain, archive, str(folder), folder.parent, tables, tables / "imdb_train.csv.gz"):
        bunch = fetch(tmp_path / "home", source=source)
        assert bunch.data == TRAIN and bunch.target.tolist() == [0, 0, 0, 1, 1] and bunch.ratings.tolist() == [3, 4, 1, 9, 10]
        if source != tables / "imdb_train.csv.gz":
            test = fetch(tmp_path / "home", source=source, subset="test")
            assert test.data == ["It's bad; I like nothing", "good good Ångström"] and test.target.tolist() == [0, 1]
    assert test.ratings.tolist() == [0, 0] and not (tmp_path / "home").exists()


def test_texts_of_all_kinds_survive(tmp_path):
    long = "word " * 100_000
    texts = ["", "NA", "null", "emoji \U0001f600 \N{ZERO WIDTH JOINER}", "a\r\nb", '"quoted", with <b>tags</b>', long.strip()]
    rows = [f'1,"{text.replace(chr(34), chr(34) * 2)}"' for text in texts]
    (tmp_path / "a.csv").write_bytes(table(rows))
    assert fetch(tmp_path, source=tmp_path / "a.csv").data == texts  # and of one class only
    folder = unpacked(tmp_path / "aclImdb", {f"train/pos/{at}_7.txt": text for at, text in enumerate(texts)})
    assert fetch(tmp_path, source=folder).data == texts


@pytest.mark.parametrize("content, message", [
    (b"", r"columns \[\]"), (table(["0,\"open"]), "no complete CSV file .* line 2"), (table([]), "no rows"),
    (table(["0,good"], "label,text"), r"columns \['label', 'text'\]; rename"), (table(["good"], "review"), "'label'"),
    (table(["0,a,b"], "label,review,review"), "one 'review'"), (table(['1,"good" film']), "no complete CSV file .* line 2"),
    (table(["0,good", "2,bad"]), "label in data row 2 of .* is '2'"),
    (table(["0,good", ",bad"]), "label in data row 2 of .* is ''"),
    (table(["1,11,good"], "label,rating,review"), "rating in data row 1 .* is '11'.* whole number"),
    (table(["1,7.9,good"], "label,rating,review"), "rating in data row 1 .* is '7.9'.* whole number"),
    (table(["0,Größe"]).decode().encode("latin-1"), "not UTF-8 .* at byte 17"),
    (table(["0,good", "1,a,b,c"]), "2 fields must be in data row 2 .* there are 4"),
    (table(["good, really good,1"], "review,label"), "2 fields must be in data row 1 .* there are 3"),
    (table(["1", "0,bad"]), "2 fields must be in data row 1 .* there are 1"),
])
def test_tables_that_cannot_be_read(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        fetch(tmp_path, source=tmp_path / "a.csv")


def test_labels_and_ratings_as_pandas_writes_them(tmp_path):
    path = tmp_path / "a.csv"
    for labels in ("True,False", "1.0,0.0", "1,0", "pos,NEG"):
        yes, no = labels.split(",")
        path.write_bytes(table([f"{yes},good,7.0", "", f"{no},,"], "label,review,rating"))  # an empty field is none missing
        bunch = fetch(tmp_path, source=path)
        assert bunch.data == ["good", ""] and bunch.target.tolist() == [1, 0] and bunch.ratings.tolist() == [7, 0]


def test_a_truncated_gzip_table(tmp_path):
    whole = gzip.compress(table([f"1,{at}" for at in range(1000)]))
    (tmp_path / "a.csv.gz").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(DatasetDamagedError, match="cut short or damaged"):
        fetch(tmp_path, source=tmp_path / "a.csv.gz")


def test_sources_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        fetch(tmp_path, source=tmp_path / "none.tar.gz")
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must be a folder or end with \.tar\.gz"):
        fetch(tmp_path, source=tmp_path / "a.parquet")
    with pytest.raises(DatasetDamagedError, match="no reviews for train"):
        fetch(tmp_path, source=tmp_path)
    (tmp_path / "a.tgz").write_bytes(packed({"train/pos/0_9.txt": "good"}))
    with pytest.raises(DatasetDamagedError, match="no reviews for test"):
        fetch(tmp_path, source=tmp_path / "a.tgz", subset="all")
    folder = unpacked(tmp_path / "folder", {"train/pos/0_9.txt": b"\xff"})
    with pytest.raises(DatasetDamagedError, match="train/pos/0_9.txt of .* is not UTF-8"):
        fetch(tmp_path, source=folder)


# ------------------------------------------------------------------------------------------------ word index, arguments


@pytest.mark.parametrize("content", [
    b"", b"[1]", b"{}", b'{"a": 1, "b": 1}', b'{"a": 0}', b'{"a": 2}', b'{"a": true}', b'{"a": "1"}', b"\x1f\x8b...", b"\xff",
    b"[" * 100_000, gzip.compress(b'{"a": 1}')[:-9],
    b'{"\\ud800": 1}',
])
def test_word_indices_that_are_none(tmp_path, content):
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(DatasetDamagedError, match="is no word index|cut short or damaged"):
        fetch(tmp_path, as_ids=True, word_index=tmp_path / "index.json", source=tmp_path)


def test_a_word_index_of_ones_own(tmp_path):
    (tmp_path / "a.csv").write_bytes(table(["1,a b a c"]))
    for content in (b'{"b": 1, "a": 2}', gzip.compress(b'{"b": 1, "a": 2}')):
        (tmp_path / "index").write_bytes(content)
        ids = fetch(tmp_path, source=tmp_path / "a.csv", as_ids=True, word_index=tmp_path / "index").data
        assert [row.tolist() for row in ids] == [[1, 5, 4, 5]]


def test_another_word_index_in_the_data_home_is_left_alone(server, tmp_path):
    fetch(tmp_path, as_ids=True)
    path = tmp_path / "imdb" / "imdb_word_index.json"
    path.write_bytes(b'{"a": 1}')
    with pytest.raises(DatasetDamagedError, match="Remove it, .* word_index="):
        fetch(tmp_path, as_ids=True)
    assert path.read_bytes() == b'{"a": 1}' and fetch(tmp_path, as_ids=True, word_index=path).word_index == {"a": 1}
    path.unlink()
    assert fetch(tmp_path, as_ids=True).word_index == INDEX


@pytest.mark.parametrize("arguments", [
    {"subset": "unsup"}, {"num_words": 100}, {"word_index": "x"}, {"num_words": 2, "as_ids": True},
    {"num_words": 1e4, "as_ids": True}, {"n_retries": -1}, {"n_retries": True}, {"delay": -1}, {"timeout": 0},
    {"timeout": float("nan")}, {"timeout": "1"}, {"random_state": "x"},
])
def test_arguments_without_sense_are_told_first(tmp_path, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments)) if "random_state" not in arguments else "seed"):
        fetch_imdb(data_home=tmp_path / "none", **arguments)
    assert not (tmp_path / "none").exists()


def test_public_names():
    assert {"fetch_imdb", "make_reviews", "DatasetError"} <= set(datasets.__all__)
    assert issubclass(DatasetOfflineError, DatasetError) and issubclass(DatasetDamagedError, DatasetError)


# ------------------------------------------------------------------------------------------------ the real reviews


@pytest.mark.data
def test_ids_are_those_of_keras(data_folder):
    """20 reviews, two of which (train 13076, test 7975) are the first ones of keras.datasets.imdb; and all lengths.

    The mean length of Keras' two arrays together is 234.75892, with a deviation of 172.91149458735703.
    """
    imdb = data_folder / "imdb"
    golden = json.loads(Path(__file__).with_name("imdb_ids.json").read_text(encoding="utf-8"))
    lengths = []
    for part in ("train", "test"):
        bunch = fetch_imdb(part, source=imdb, as_ids=True, word_index=imdb / "keras_imdb_word_index.json.gz", shuffle=False)
        lengths.append(np.array([len(row) for row in bunch.data]))
        rows = [(row, ids) for where, row, ids in golden if where == part]
        assert len(rows) == 10 and all(bunch.data[row][:20].tolist() == ids for row, ids in rows)
        assert bunch.target.sum() == 12_500 and len(bunch.data) == 25_000 and len(bunch.word_index) == 88_584
        assert set(bunch.ratings[bunch.target == 1]) == {7, 8, 9, 10} and set(bunch.ratings[bunch.target == 0]) == {1, 2, 3, 4}
    assert lengths[0].mean() == 238.71364 and lengths[1].mean() == 230.8042
    assert np.concatenate(lengths).std() == pytest.approx(172.91149458735703, rel=1e-14)
