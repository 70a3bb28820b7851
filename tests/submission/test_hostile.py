"""What a hostile submission may try: it is refused by name, in little memory; nothing of it runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shiftcast.leaderboard.markup import escape
from shiftcast.submission import validate
from shiftcast.util.hashing import sha256
from shiftcast.util.text import printable

MEBIBYTES = 200
WATCH = """
import json, resource, sys
from pathlib import Path
from shiftcast.submission import validate
from shiftcast.workspace import Workspace
root, data, good, *cases = map(Path, sys.argv[1:])
workspace = Workspace(root, root)
validate(workspace, good, data)  # cards and modules are loaded before anything is measured
said = {}
for case in cases:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = validate(workspace, case, data)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    problems = [str(problem) for problem in report.problems]
    said[case.name] = [problems, grown, len(report.changes)]
print(json.dumps(said))
"""


def tensors(entries, payload=b"", metadata=None, length=None):
    """Return the bytes of a safetensors file with any header."""
    header = entries if isinstance(entries, bytes) else json.dumps(entries | (metadata or {})).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + payload


def entry(start, end, dtype="U8", shape=None):
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


SOURCE, RANKS = "logits/zoo-test", "true_rank/zoo-test"
SIZE = 240 * 4 * 2
GOOD = {SOURCE: entry(0, SIZE, "F16", [240, 4]), RANKS: entry(SIZE, SIZE + 240)}

TWICE = f"{json.dumps(GOOD)[:-1]}, {json.dumps(GOOD)[1:]}".encode()
"""A header that fits its file, with each tensor two times."""


def logits(value):
    array = np.zeros((240, 4), np.float16)
    array[7, 2] = value
    return tensors(GOOD, array.tobytes() + bytes(240))


PREDICTIONS = {
    "endless-header": (tensors({}, length=1 << 40), "header too large"),
    "long-header": (tensors(b" " * 1_100_000), "invalid JSON in header: EOF"),
    "no-header": (b"\x01", "found:    1 bytes"),
    "header-is-no-json": (tensors(b"{]"), "key must be a string"),
    "header-is-a-list": (tensors(b"[1]"), "invalid type: sequence"),
    "nested-header": (tensors(b'{"a":' + b"[" * 300_000), "recursion limit exceeded"),
    "twice": (tensors(TWICE, bytes(SIZE + 240)), f"it holds the key '{SOURCE}' twice"),
    "overlapping": (
        tensors({**GOOD, RANKS: entry(0, 240)}, bytes(SIZE)),
        "invalid offset for tensor",
    ),
    "out-of-range": (
        tensors({**GOOD, RANKS: entry(SIZE, SIZE + 9999)}, bytes(SIZE)),
        "as the file's header tells",
    ),
    "gap": (
        tensors({**GOOD, RANKS: entry(SIZE + 8, SIZE + 248)}, bytes(SIZE + 248)),
        "invalid offset for tensor",
    ),
    "left-over": (tensors(GOOD, bytes(SIZE + 999)), "file not fully covered"),
    "too-large-a-claim": (
        tensors({**GOOD, SOURCE: entry(0, SIZE, "F16", [2**40, 2**40])}, bytes(SIZE + 240)),
        "overflow computing buffer size",
    ),
    "negative": (
        tensors({**GOOD, SOURCE: entry(0, SIZE, "F16", [-240, -4])}, bytes(SIZE + 240)),
        "integer `-240`",
    ),
    "odd-dtype": (
        tensors({**GOOD, SOURCE: entry(0, SIZE, "OBJECT", [240, 4])}, bytes(SIZE + 240)),
        "unknown variant `OBJECT`",
    ),
    "other-shape": (
        tensors({**GOOD, SOURCE: entry(0, SIZE, "F16", [4, 240])}, bytes(SIZE + 240)),
        "float16 (240, 4)",
    ),
    "unknown-set": (tensors({"logits/<script>\u202e": entry(0, 2)}, bytes(2)), "another name"),
    "not-a-number": (logits(np.nan), "1 that are NaN or infinite"),
    "infinite": (logits(-np.inf), "NaN or infinite"),
    "beyond": (logits(65_000), "values, or beyond"),
    "ranks-too-large": (tensors(GOOD, bytes(SIZE) + b"\x09" * 240), "true_rank/zoo-test"),
    "classes-too-large": (
        tensors(
            {"classes/zoo-test": entry(0, 240), RANKS: entry(240, 480)},
            b"\x09" * 240 + bytes(240),
            {"__metadata__": {"shiftcast": '{"classes":4}'}},
        ),
        "classes below 4",
    ),
    "many-classes": (
        tensors(
            {"classes/zoo-test": entry(0, 240), RANKS: entry(240, 480)},
            bytes(480),
            {"__metadata__": {"shiftcast": '{"classes":65536}'}},
        ),
        "4 classes",
    ),
    "mixture": (
        tensors({**GOOD, "classes/zoo-street": entry(SIZE + 240, SIZE + 400)}, bytes(SIZE + 400)),
        "4 classes",
    ),
    "million-tensors": (b"\0" * 8 + b"x" * 30_000_000, "at most 1,500,000"),
}
RECORDS = {
    "json-bomb": (b"[" * 500_000, "nested too deeply"),
    "json-objects": (b'{"a":' * 150_000, "nested too deeply"),
    "million-keys": (b"{" + b",".join(b'"k%d":0' % n for n in range(1_000_000)) + b"}", "at most 1,000,000"),
    "many-keys": (
        b'{"schema_version":1,' + b",".join(b'"k%d":0' % n for n in range(80_000)) + b"}",
        "no key of that name",
    ),
    "long-number": (b'{"schema_version":' + b"9" * 900_000 + b"}", "valid JSON"),
    "nan-accuracy": (b'{"schema_version":1,"n":NaN}', "NaN, which JSON does not allow"),
    "same-key": (b'{"schema_version":1,"note":"a","note":"b"}', "the key 'note' twice"),
    "no-object": (b"[]", "an object of schema_version 1"),
    "latin": (b'{"schema_version":1,"note":"\xff"}', "valid JSON"),
}
TEXTS = {
    "script": ("note", "<script>alert(1)</script>", None),
    "bidi": ("note", "safe \u202e txet", "one line of printable characters"),
    "escape-sequence": ("note", "\x1b]0;owned\x07", "one line of printable characters"),
    "newline": ("family", "a\nb", "one line of printable characters"),
    "long-text": ("note", "x" * 900_000, "at most 200 characters"),
    "path-up": ("key", {"architecture": "../../etc", "recipe": "self-reported", "seed": 0}, "match pattern"),
    "other-key": ("key", {"architecture": "b", "recipe": "self-reported", "seed": 0}, "where it stands"),
    "boast": (
        "targets",
        {"zoo-test": {"n": 240, "accuracy": 1.0}, "zoo-street": {"n": 160, "accuracy": 1.0}},
        "as recomputed from the outputs",
    ),
    "other-source": ("source", "zoo-night", "'zoo-test'"),
    "strange-sets": (
        "datasets",
        {f"set-{n}": {"fingerprint": "", "edition": "", "n": 1} for n in range(5_000)},
        "5000 others",
    ),
}


@pytest.fixture
def good(zoo):
    return zoo.submit("net", {k: v for k, v in zoo.logits(0).items() if k != "zoo-night"}).path


@pytest.fixture
def cases(zoo, good, tmp_path):
    """Make a results folder for each attack, and say what must be found in it."""
    expected = {}

    def copy(name, message):
        expected[tmp_path / "cases" / name] = message
        place = tmp_path / "cases" / name / "zoo" / "net" / "self-reported" / "seed-0"
        shutil.copytree(good, place)
        return place

    for name, (content, message) in PREDICTIONS.items():
        place = copy(name, message)
        (place / "predictions.safetensors").write_bytes(content)
        record = json.loads((place / "run.json").read_text())
        (place / "run.json").write_text(json.dumps(record | {"predictions_sha256": sha256(content)}))
    for name, (content, message) in RECORDS.items():
        (copy(name, message) / "run.json").write_bytes(content)
    for name, (key, value, message) in TEXTS.items():
        place = copy(name, message)
        record = json.loads((place / "run.json").read_text())
        (place / "run.json").write_text(json.dumps(record | {key: value}))
    files(copy, tmp_path)
    return expected


def files(copy, tmp_path):
    """Add links, pipes, folders and names that should not be there."""
    place = copy("linked-file", "a symbolic link")
    (place / "run.json").rename(tmp_path / "elsewhere.json")
    (place / "run.json").symlink_to(tmp_path / "elsewhere.json")
    place = copy("linked-folder", "a symbolic link")
    (place.parents[1] / "loop").symlink_to(place.parents[3])
    place = copy("pipe", "neither")
    (place / "predictions.safetensors").unlink()
    os.mkfifo(place / "predictions.safetensors")
    place = copy("sparse", "at most 1,500,000")
    with (place / "predictions.safetensors").open("r+b") as stream:
        stream.truncate(1 << 33)
    place = copy("folder-for-a-file", "nothing but run.json")
    (place / "predictions.safetensors").unlink()
    (place / "predictions.safetensors").mkdir()
    place = copy("code", "another file")
    for name in ("setup.py", "conftest.py", "__init__.py", "shiftcast.py", "sitecustomize.py"):
        (place / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    place = copy("pickle", "another file")
    np.save(place / "logits.npy", np.array([print], dtype=object), allow_pickle=True)
    place = copy("half", "incomplete: predictions.safetensors is missing")
    (place / "predictions.safetensors").unlink()
    for name, folder in {
        "named-by-script": "<script>alert(1)</script>".replace("/", "_"),
        "named-by-bidi": "net\u202etxt",
        "named-by-escape": "\x1b[31mred",
        "named-by-lines": "a\nproblem 1: none",
        "named-by-markdown": "[net](x) | **b**",
        "named-by-dots": "...",
    }.items():
        place = copy(name, "names of at most 64 small letters")
        place.parents[1].rename(place.parents[2] / folder)
    place = copy("unlisted-suite", "a suite: ")
    place.parents[2].rename(place.parents[3] / "zzz")


def test_every_attack_is_refused_in_little_memory(zoo, good, cases, tmp_path):
    arguments = [sys.executable, "-c", WATCH, zoo.root, zoo.data, good, *cases]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    wrong = []
    for case, message in cases.items():
        problems, grown, rows = said[case.name]
        text = "\n".join(problems)
        if message is None:
            wrong += [(case.name, "was refused", text)] if problems else []
        elif message not in text or rows:
            wrong.append((case.name, message, text[:400], rows))
        if grown > MEBIBYTES:
            wrong.append((case.name, grown))
        if not all(c.isprintable() or c == "\n" for c in text) or len(text) > 200_000:
            wrong.append((case.name, "says what it must not", text[:400]))
    assert not wrong, wrong
    assert not (tmp_path / "ran").exists()


def test_every_problem_says_where_what_and_what_to_do(zoo, cases):
    case = next(path for path in cases if path.name == "ranks-too-large")
    for problem in validate(zoo.workspace, case, zoo.data).problems:
        where, expected, found, remedy = str(problem).splitlines()
        assert where.startswith(str(case))
        assert expected.startswith("  expected: ")
        assert found.startswith("  found:    ")
        assert remedy.startswith("  to do:    ")


def test_validating_a_run_through_a_linked_folder_is_refused(zoo, good, tmp_path):
    (tmp_path / "tree" / "zoo").mkdir(parents=True)
    (tmp_path / "tree" / "zoo" / "net").symlink_to(good.parents[1])
    report = validate(zoo.workspace, tmp_path / "tree" / "zoo" / "net" / "self-reported" / "seed-0", zoo.data)
    assert [problem.found for problem in report.problems] == ["a symbolic link"]
    assert not report.looked


def test_what_is_printed_of_a_submission_cannot_move_the_cursor_or_turn_text():
    assert printable("a\x1b[2J\u202eb\u2066\nc\r") == "a\\x1b[2J\\u202eb\\u2066\nc\\r"
    assert printable("x" * 50, 10) == "x" * 10 + "…"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "[a](javascript:b)", "a\u202eb", "a|b", "`x`"])
def test_what_people_wrote_is_escaped_on_the_board(text):
    shown = escape(text)
    assert not set("<>\u202e") & set(shown)
    for character in "|[]`":
        assert shown.count(character) == shown.count(f"\\{character}")


def test_errors_on_the_command_line_are_made_printable(zoo, good):
    record = json.loads((good / "run.json").read_text())
    (good / "run.json").write_text(json.dumps(record | {"suite": "\x1b[31m\u202e"}))
    code = "from shiftcast.cli import main; main()"
    arguments = [sys.executable, "-c", code, "--workspace", str(zoo.root), "leaderboard", "--check"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31m\\u202e" in done.stderr
    assert Path(good).exists()
