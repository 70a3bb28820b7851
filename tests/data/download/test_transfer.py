"""Downloads from a web server that truncates, stalls, lies and dies."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

from shiftcast.cards.dataset import Download
from shiftcast.data.download import transfer as transfers
from shiftcast.data.download.fetch import fetch, part_of
from shiftcast.data.download.transfer import size_of
from shiftcast.errors import DataError

BODY = np.random.RandomState(1).bytes(10_000)
QUICK = transfers.RETRY.new(total=2, backoff_factor=0.01)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
HTML = b"\n<!DOCTYPE html><html><body>Please log in.</body></html>"


def wanted(*urls, known=True, **more):
    stated = {"sha256": SHA256, "stated_by": "a page"} if known else {}
    return Download.model_validate({"file": "set.bin", "urls": urls} | stated | more)


@pytest.fixture
def get(tmp_path, notes):
    def get(download, retry=QUICK):
        folder = tmp_path / "partial"
        folder.mkdir(exist_ok=True)
        fetched = fetch(download, folder, download.digest, notes, retry)
        assert fetched.path.read_bytes() == BODY
        assert fetched.sha256 == SHA256
        assert [path.name for path in folder.iterdir()] == ["set.bin"]
        return fetched

    return get


@pytest.mark.parametrize(
    "stated",
    [
        {"sha256": SHA256, "stated_by": "p"},
        {"md5": MD5, "stated_by": "p"},
        {"md5": MD5, "stated_by": "p", "size": 10_000},
        {},
    ],
)
def test_a_file_is_fetched_and_verified(server, get, stated, notes):
    url = server.add("/a", BODY)
    assert get(wanted(url, known=False, **stated)).url == url
    assert notes.done[-1] == 10_000
    assert len(server.log) == 1


def test_a_file_that_lies_there_is_not_fetched_again(server, get):
    url = server.add("/a", BODY)
    get(wanted(url))
    assert get(wanted(url)).url == ""
    assert len(server.log) == 1


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("fault", ["cut_after", "stall_after"])
def test_what_is_cut_or_stalls_is_gone_on_with_where_a_hash_is_known(server, get, fault, known):
    url = server.add("/a", BODY, **{fault: [4096]})
    get(wanted(url, known=known))
    first, second = server.asked("/a")
    assert first.range is None
    if not known:
        assert second.range is None
        return
    start = int(second.range.removeprefix("bytes=").rstrip("-"))
    assert 2048 <= start <= 4096
    assert second.sent == 10_000 - start


def test_a_server_that_is_busy_is_asked_again(server, get):
    get(wanted(server.add("/a", BODY, statuses=[503, 429])))
    assert [one.status for one in server.log] == [503, 429, 200]


@pytest.mark.parametrize(("asked", "waited"), [("3600", [0.3]), ("soon", [])])
def test_retry_after_is_obeyed_within_reason(server, get, monkeypatch, asked, waited):
    url = server.add("/a", BODY, statuses=[503], retry_after=asked)
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    get(wanted(url), QUICK.new(backoff_max=0.3))
    assert [seconds for seconds in waits if seconds] == waited  # the server's own are of no length


def test_one_that_is_always_busy_is_given_up(server, get, notes):
    get(wanted(server.add("/a", statuses=[503] * 9), server.add("/b", BODY)))
    assert len(server.asked("/a")) == 3
    assert "answered 503" in notes.text


def test_one_that_always_cuts_and_has_no_ranges_is_given_up(server, get, notes):
    bad = server.add("/a", BODY, ranges=False, cut_after=[5000] * 9)
    get(wanted(bad, server.add("/b", BODY)))
    assert len(server.asked("/a")) == 4
    assert "tried 3 times in a row" in notes.text


def test_one_that_gets_a_bit_farther_each_time_is_not_given_up(server, get):
    get(wanted(server.add("/a", BODY, cut_after=[2048] * 9)))
    assert len(server.log) > QUICK.total + 1


def test_a_trickle_is_left_for_the_next_source(server, get, notes, monkeypatch):
    monkeypatch.setattr(transfers, "WINDOW", 0.15)
    monkeypatch.setattr(transfers, "STALLED", 1e9)
    get(wanted(server.add("/a", BODY, pause=0.06), server.add("/b", BODY)))
    assert "/a: stalled at" in notes.text
    assert server.asked("/b")[0].range is not None


def test_the_last_source_may_be_as_slow_as_it_is(server, get, monkeypatch):
    monkeypatch.setattr(transfers, "WINDOW", 0.05)
    monkeypatch.setattr(transfers, "STALLED", 1e9)
    get(wanted(server.add("/a", BODY, pause=0.02)))
    assert len(server.log) == 1


def test_with_a_hash_another_source_goes_on(server, get):
    get(wanted(server.add("/a", BODY, cut_after=[4096], statuses=[200, 404]), server.add("/b", BODY)))
    (only,) = server.asked("/b")
    assert (only.range, only.sent) == ("bytes=4096-", 10_000 - 4096)


@pytest.fixture
def part(tmp_path):
    """Where the bytes of a file are until they are verified."""
    (tmp_path / "partial").mkdir()
    return part_of(tmp_path / "partial")


def test_a_wrong_splice_is_found_and_fetched_once_more(server, get, part, notes):
    part.write_bytes(bytes(3000))
    get(wanted(server.add("/a", BODY)))
    assert [one.range for one in server.log] == ["bytes=3000-", None]
    assert "downloading it again from the start" in notes.text


@pytest.mark.parametrize(("more", "statuses"), [(b"", [416]), (b"more", [416, 200])])
def test_all_bytes_there_but_not_yet_named(server, get, part, more, statuses):
    part.write_bytes(BODY + more)
    get(wanted(server.add("/a", BODY)))
    assert [one.status for one in server.log] == statuses


def test_a_web_page_is_named_as_such_and_costs_no_bytes(server, get, part, notes):
    url = server.add("/a", HTML, content_type="text/html", ranges=False)
    part.write_bytes(BODY[:3000])
    get(wanted(url, server.add("/b", BODY)))
    assert "answered with an HTML page instead of set.bin" in notes.text
    assert server.asked("/b")[0].range == "bytes=3000-"


def test_redirects_are_followed_on_the_web_alone(server, get, notes):
    there = server.add("/there", BODY, cut_after=[4096])
    get(wanted(server.add("/b", location="file:///etc/passwd"), server.add("/a", location=there)))
    assert "/b: No connection adapters" in notes.text
    assert server.asked("/there")[1].range is not None


def test_a_redirect_from_https_to_http_needs_a_hash(monkeypatch, get):
    answer = requests.Response()
    answer.url, answer.raw = "http://far/a", io.BytesIO()
    monkeypatch.setattr(requests.Session, "get", lambda *_, **__: answer)
    with pytest.raises(DataError, match="leads from https to http://far/a"):
        get(wanted("https://near/a", known=False))
    assert answer.raw.closed


def test_a_server_without_ranges_starts_anew(server, get):
    get(wanted(server.add("/a", BODY, ranges=False, cut_after=[5000])))
    assert [(one.status, one.sent) for one in server.asked("/a")] == [(200, 5000), (200, 10_000)]


def test_wrong_bytes_name_both_hashes_and_the_next_source_is_used(server, get, notes):
    get(wanted(server.add("/a", BODY[::-1]), server.add("/b", BODY)))
    wrong = hashlib.sha256(BODY[::-1]).hexdigest()
    assert f"expected sha256:{SHA256}, got sha256:{wrong}" in notes.text
    assert len(server.asked("/a")) == 1


def test_another_size_is_seen_before_the_bytes_come(server, get, notes):
    get(wanted(server.add("/a", BODY[:9000]), server.add("/b", BODY), size=10_000))
    assert "has 9000 bytes there, expected 10000" in notes.text


@pytest.mark.parametrize("body", [BODY[:9000], BODY + bytes(90_000)])
def test_another_size_is_seen_where_it_is_not_told(server, get, body, notes):
    get(wanted(server.add("/a", body, length=False), server.add("/b", BODY), size=10_000))
    assert "expected 10000" in notes.text


def test_every_source_that_failed_is_listed(server, get):
    urls = [server.add("/a", statuses=[403]), f"{server.url}/none", "http://127.0.0.1:9/x"]
    with pytest.raises(DataError) as caught:
        get(wanted(*urls))
    for part in (
        "set.bin: no source delivered it",
        "403",
        "404",
        "127.0.0.1:9/x: no connection",
        "--from DIR",
    ):
        assert part in str(caught.value)


def test_no_room_is_said_before_anything_comes(server, get, monkeypatch):
    monkeypatch.setattr(transfers, "disk_usage", lambda _: type("Usage", (), {"free": 9_999}))
    with pytest.raises(DataError, match=r"set\.bin needs 10\.0 kB more, and 10\.0 kB are free"):
        get(wanted(server.add("/a", BODY), server.add("/b", BODY)))
    assert server.asked("/b") == []


CHILD = """
import sys
from pathlib import Path
from shiftcast.cards.dataset import Download
from shiftcast.data.download.fetch import fetch
from shiftcast.data.download import transfer

class Quiet:
    def note(self, text): pass
    def transferred(self, *facts): pass

transfer.CHUNK = 1024
download = Download(file="set.bin", urls=[sys.argv[1]])
fetch(download, Path(sys.argv[2]), sys.argv[3], Quiet())
"""


def test_a_killed_download_is_gone_on_with(server, get, tmp_path):
    url, folder = server.add("/a", BODY, hold=5000), tmp_path / "partial"
    folder.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(folder), f"sha256:{SHA256}"], env=os.environ
    )
    while size_of(part_of(folder)) < 3000:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.let_go("/a")
    there = size_of(part_of(folder))
    get(wanted(url))
    last = server.asked("/a")[-1]
    assert last.range == f"bytes={there}-"
    assert (last.status, last.sent) == (206, 10_000 - there)
