"""Downloads from a web server that truncates, stalls, lies and dies."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shiftcast.cards.dataset import Download
from shiftcast.data.download import transfer as transfers
from shiftcast.data.download.fetch import fetch
from shiftcast.data.download.transfer import Origin, Partial
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
def test_what_is_cut_or_stalls_is_gone_on_with(server, get, fault, known):
    url = server.add("/a", BODY, **{fault: [4096]})
    get(wanted(url, known=known))
    first, second = server.asked("/a")
    assert first.range is None
    start = int(second.range.removeprefix("bytes=").rstrip("-"))
    assert 2048 <= start <= 4096
    assert second.if_range == '"1"'
    assert second.sent == 10_000 - start


def test_a_server_that_is_busy_is_asked_again(server, get, notes):
    get(wanted(server.add("/a", BODY, statuses=[503, 429])))
    assert [one.status for one in server.log] == [503, 429, 200]
    assert "503" in notes.text


def test_retry_after_is_obeyed_within_reason(server, get, monkeypatch):
    url = server.add("/a", BODY, statuses=[503], headers={"Retry-After": "3600"})
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    get(wanted(url), QUICK.new(backoff_max=0.3))
    assert [seconds for seconds in waits if seconds] == [0.3]  # the server's own are of no length


def test_a_server_without_ranges_starts_anew(server, get):
    get(wanted(server.add("/a", BODY, ranges=False, cut_after=[5000])))
    assert [(one.status, one.sent) for one in server.asked("/a")] == [(200, 5000), (200, 10_000)]


def test_one_that_always_cuts_and_has_no_ranges_is_given_up(server, get, notes):
    bad = server.add("/a", BODY, ranges=False, cut_after=[5000] * 9)
    get(wanted(bad, server.add("/b", BODY)))
    assert len(server.asked("/a")) == 3
    assert "tried 3 times in a row" in notes.text


def test_one_that_gets_a_bit_farther_each_time_is_not_given_up(server, get):
    get(wanted(server.add("/a", BODY, cut_after=[2048] * 9)))
    assert len(server.log) > QUICK.total + 1


def test_changed_content_is_not_spliced_without_a_hash(server, get, tmp_path):
    url = server.add("/a", BODY, etag='"2"')
    partial = Partial(tmp_path / "partial")
    partial.begin(Origin(url=url, validator='"1"', total=10_000))
    partial.path.write_bytes(bytes(3000))
    get(wanted(url, known=False))
    (only,) = server.log
    assert (only.range, only.if_range, only.status) == ("bytes=3000-", '"1"', 200)


@pytest.mark.parametrize("validator", ["", '"1"'])
def test_without_hash_or_validator_or_from_elsewhere_nothing_is_gone_on_with(
    server, get, tmp_path, validator
):
    url = server.add("/a", BODY)
    partial = Partial(tmp_path / "partial")
    partial.begin(Origin(url=url if not validator else f"{url}/other", validator=validator))
    partial.path.write_bytes(BODY[:3000])
    get(wanted(url, known=False))
    assert server.log[0].range is None


def test_with_a_hash_another_source_goes_on(server, get):
    get(wanted(server.add("/a", BODY, cut_after=[4096], statuses=[200, 404]), server.add("/b", BODY)))
    (only,) = server.asked("/b")
    assert (only.range, only.if_range, only.sent) == ("bytes=4096-", None, 10_000 - 4096)


def test_a_wrong_splice_is_found_and_fetched_once_more(server, get, tmp_path, notes):
    url = server.add("/a", BODY)
    partial = Partial(tmp_path / "partial")
    partial.begin(Origin(url="http://elsewhere/a", total=10_000))
    partial.path.write_bytes(bytes(3000))
    get(wanted(url))
    assert [one.range for one in server.log] == ["bytes=3000-", None]
    assert "downloading it again from the start" in notes.text


def test_all_bytes_there_but_not_yet_named(server, get, tmp_path):
    url = server.add("/a", BODY)
    for total in (10_000, None):  # known to be complete; or the server says so with 416
        partial = Partial(tmp_path / "partial")
        partial.begin(Origin(url=url, validator='"1"', total=total))
        partial.path.write_bytes(BODY)
        get(wanted(url)).path.unlink()
    assert [(one.range, one.status) for one in server.log] == [("bytes=10000-", 416)]


def test_more_bytes_than_there_are_start_anew(server, get, tmp_path):
    url = server.add("/a", BODY)
    partial = Partial(tmp_path / "partial")
    partial.begin(Origin(url=url, validator='"1"'))
    partial.path.write_bytes(BODY + b"more")
    get(wanted(url))
    assert [one.status for one in server.log] == [416, 200]


def test_a_web_page_is_named_as_such_and_costs_no_bytes(server, get, tmp_path, notes):
    url = server.add("/a", HTML, content_type="text/html", etag='"2"')
    partial = Partial(tmp_path / "partial")
    partial.begin(Origin(url=url, validator='"1"', total=10_000))
    partial.path.write_bytes(BODY[:3000])
    get(wanted(url, server.add("/b", BODY)))
    assert "answered with an HTML page instead of set.bin" in notes.text
    assert server.asked("/b")[0].range == "bytes=3000-"


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


def test_redirects_are_followed_on_the_web_alone(server, get, notes):
    there = server.add("/there", BODY, cut_after=[4096])
    get(wanted(server.add("/a", location=there)))
    assert server.asked("/there")[1].range is not None
    shutil.rmtree(Path(get(wanted(there)).path).parent)
    get(wanted(server.add("/b", location="file:///etc/passwd"), there))
    assert "leads to an address that is neither http nor https" in notes.text


def test_a_redirect_from_https_to_http_needs_a_hash(server, monkeypatch, get, notes):
    class Answer:
        url, history = "http://far/a", []
        closed = False

        def close(self):
            self.closed = True

    class Hop:
        url = "https://near/a"

    answer = Answer()
    answer.history = [Hop()]
    monkeypatch.setattr(transfers.requests, "get", lambda *_, **__: answer)
    with pytest.raises(DataError, match="leads from https to http://far/a"):
        get(wanted("https://near/a", known=False))
    assert answer.closed


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


def test_a_slow_source_is_warned_of_and_the_next_one_named(server, get, notes, monkeypatch):
    monkeypatch.setattr(transfers, "SLOW", 1e9)
    slow = server.add("/a", BODY, pause=0.03)
    get(wanted(slow, "http://next/b"))
    warnings = [line for line in notes.lines if "slow" in line]
    assert len(warnings) == 1
    assert "http://next/b" in warnings[0]
    assert "min left" in warnings[0]


def test_a_trickle_counts_as_a_stall(server, get, notes, monkeypatch):
    monkeypatch.setattr(transfers, "STALLED", 1e9)
    monkeypatch.setattr(transfers, "WINDOW", 0.15)
    trickle = server.add("/a", BODY, pause=0.06)
    get(wanted(trickle, server.add("/b", BODY)), QUICK.new(total=0))
    assert "stalled at" in notes.text
    assert server.asked("/b")[0].range is not None


def test_a_source_that_stalls_twice_is_left_for_the_next_one(server, get, notes):
    stalling = server.add("/a", BODY, stall_after=[2048] * 9)
    get(wanted(stalling, server.add("/b", BODY)), QUICK.new(total=8))
    assert len(server.asked("/a")) == 2
    assert "(stalled 2 times)" in notes.text
    assert server.asked("/b")[0].range is not None


def test_the_last_source_may_stall_as_long_as_it_is_worth_it(server, get, tmp_path, monkeypatch):
    get(wanted(server.add("/a", BODY, stall_after=[2048] * 3)), QUICK.new(total=1))
    assert len(server.asked("/a")) == 4
    shutil.rmtree(tmp_path / "partial")
    monkeypatch.setattr(transfers, "STALLED", 1e9)
    with pytest.raises(DataError, match=r"stalled at .* \(tried 3 times in a row\)"):
        get(wanted(server.add("/a", BODY, pause=0.06)))


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
fetch(download, Path(sys.argv[2]), None, Quiet())
"""


def test_a_killed_download_is_gone_on_with(server, get, tmp_path):
    url, folder = server.add("/a", BODY, hold=5000), tmp_path / "partial"
    folder.mkdir()
    child = subprocess.Popen([sys.executable, "-c", CHILD, url, str(folder)], env=os.environ)
    while Partial(folder).size < 3000:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.let_go("/a")
    there = Partial(folder).size
    get(wanted(url, known=False))
    last = server.asked("/a")[-1]
    assert (last.range, last.if_range) == (f"bytes={there}-", '"1"')
    assert (last.status, last.sent) == (206, 10_000 - there)
