"""`shiftcast data make`, `data add` and `blind`, as people type them."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.cli.make import _memory
from shiftcast.data import corrupt, fingerprint, read_digits
from shiftcast.errors import (
    CheckFailedError,
    InvalidInputError,
    TrainingError,
    UnknownNameError,
    WorkspaceError,
)
from shiftcast.workspace import Workspace


@pytest.fixture
def run(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "data"))

    def call(*arguments):
        done = CliRunner().invoke(app, ["--workspace", str(workspace.root), *map(str, arguments)])
        if done.exception is not None:
            raise done.exception
        return done.output

    return call


def test_a_derived_set_is_measured_and_stored_only_where_asked(run, tmp_path):
    said = run("data", "make", "digits-shifted", "--transform", "contrast", "--severity", "2")
    digits = read_digits("test")
    made = corrupt(digits.images, "contrast", 2, np.arange(len(digits)))
    expected = np.abs(made.astype(float) - digits.images).mean()
    assert f"contrast-2: {expected:.2f} grey levels from the clean images" in said
    assert "1 set of 898 images" in said
    assert not (tmp_path / "data").exists()
    out, report = tmp_path / "made", tmp_path / "report"
    said = run("data", "make", "digits-shifted", "--transform", "contrast", "--out", out, "--report", report)
    assert len(np.load(out / "contrast.npy", allow_pickle=False)) == 5 * 898
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["sets"][1]["fingerprint"] == fingerprint(made, digits.labels)
    assert f"| contrast | {values['sets'][0]['mean_absolute']:.2f} |" in " ".join(
        (tmp_path / "report.md").read_text().split()
    )


def test_a_name_with_a_dot_keeps_it(run, tmp_path):
    arguments = ("data", "make", "digits-shifted", "--transform", "contrast", "--severity", "1", "--report")
    run(*arguments, tmp_path / "cifar10.1")
    assert sorted(path.name for path in tmp_path.glob("cifar*")) == ["cifar10.1.json", "cifar10.1.md"]
    run(*arguments, tmp_path / "named.json")
    assert (tmp_path / "named.md").exists()


@pytest.mark.parametrize(
    ("platform", "counted", "said"),
    [("linux", 2**20, "1.00 GiB"), ("darwin", 2**30, "1.00 GiB"), ("sunos5", 7, ""), ("win32", None, "")],
)
def test_memory_is_said_in_what_the_system_counts(run, monkeypatch, platform, counted, said):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=counted))
    monkeypatch.setitem(sys.modules, "resource", usage if counted else None)
    monkeypatch.setattr("shiftcast.cli.make.sys", SimpleNamespace(platform=platform))
    assert _memory() == (f", taking {said} of memory" if said else "")


def test_types_without_the_severity_are_named(run):
    with pytest.raises(InvalidInputError, match="nothing is to be made of severity 3: jpeg_75 has 1"):
        run("data", "make", "cifar10-jpeg", "--severity", "3")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ("cifar10-test",),
            InvalidInputError,
            "is not made by our generator of corruptions; get it with: shiftcast data get cifar10-test",
        ),
        (("digits-shifted", "--transform", "contrats"), UnknownNameError, "did you mean contrast"),
        (("digits-shifted", "--model", "tiny/test_vit"), InvalidInputError, "expected SUITE/ARCHITECTURE"),
        (("digits-shifted", "--model", "tiny/test_vit/tiny/seed-9"), UnknownNameError, "run of suite tiny"),
        (("digits-shifted", "--model", "tiny/test_vit/tiny/seed-0"), TrainingError, "is not in the cache"),
    ],
)
def test_what_cannot_be_made_says_why(run, arguments, error, message):
    with pytest.raises(error, match=message):
        run("data", "make", *arguments)


def test_own_images_become_a_dataset(run, workspace, tmp_path):
    photos = tmp_path / "photos"
    for name, kind in (("a", "car"), ("b", "car"), ("c", "Bird"), ("d", "tree")):
        (photos / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(photos / kind / f"{name}.png")
    (photos / "car" / "old").mkdir()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(photos / "car" / "old" / "a.png")
    said = run("data", "add", "mine", photos, "--map", "car=automobile", "--filter", "lanczos")
    assert "mine: 3 images" in said
    assert "car -> automobile" in said
    assert "left out, no class of ours: tree (1 image)" in said
    assert "skipped 1: images below car/, whose folders are not looked into" in said
    assert "resized to 32 x 32 (Pillow's LANCZOS)" in said
    card = Workspace(workspace.root, workspace.root).dataset("mine")
    assert card.classes[:2] == ["airplane", "automobile"]
    assert "Classes left out: tree." in card.description
    labels = np.load(tmp_path / "data" / "mine" / "labels.npy", allow_pickle=False)
    assert sorted(labels.tolist()) == [1, 1, 2]
    assert "mine" in run("data", "list")
    with pytest.raises(InvalidInputError, match="is there already"):
        run("data", "add", "mine", photos)


def test_a_replaced_set_is_not_held_against_the_earlier_one(run, tmp_path):
    place = tmp_path / "a.png"
    for grey in (90, 91):
        Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).save(place)
        run("data", "add", "mine", tmp_path, "--replace")
        assert "mine: here; as you added it" in run("data", "check", "mine")
    np.save(tmp_path / "data" / "mine" / "images.npy", np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(CheckFailedError) as caught:
        run("data", "check", "mine")
    assert "It is not offered for download" in str(caught.value)
    assert "--from DIR --force" in str(caught.value)
    assert "add it again: shiftcast data add mine PATH --replace" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Mine!", "."), "expected a name of small letters"),
        (("mine", ".", "--map", "car"), "expected THEIRS=OURS"),
        (("mine", ".", "--filter", "nearest"), "unknown filter 'nearest'"),
        (("mine", ".", "--names", "a,b"), "folders name their classes"),
    ],
)
def test_slips_of_data_add_are_named(run, tmp_path, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        run("data", "add", *arguments)


def test_installed_cards_are_read_only(run, tmp_path, monkeypatch, workspace):
    monkeypatch.setattr("shiftcast.workspace.EMBEDDED", workspace.root)
    with pytest.raises(WorkspaceError, match="read-only"):
        run("data", "add", "mine", tmp_path)


def test_a_set_is_sealed_registered_and_opened(run, workspace, tmp_path):
    (workspace.root / "datasets" / "hidden.toml").write_text(
        'title = "h"\ndescription = "d"\nlayout = "arrays"\nfiles = ["h.npy"]\nclasses = ["a", "b"]\nn = 4\n'
        'shift = "natural"\nlabels = "withheld"\ncitation = "c"\nlicence = "l"\nobtain = "o"\n'
    )
    np.save(tmp_path / "labels.npy", np.array([0, 1, 1, 0]))
    said = run("blind", "seal", "hidden", "--labels", tmp_path / "labels.npy")
    assert "sealed hidden: " in said
    assert "keep" in said
    assert "hidden: nothing new" in run("blind", "register", "hidden")
    with pytest.raises(InvalidInputError, match="no estimate is registered; after opening it is too late"):
        run("blind", "open", "hidden", "--labels", tmp_path / "labels.npy")
    with pytest.raises(InvalidInputError, match="there is no such file"):
        run("blind", "open", "hidden", "--labels", tmp_path / "other.npy")
    opened = run("blind", "open", "hidden", "--labels", tmp_path / "labels.npy", "--unregistered")
    assert "the labels are those that were sealed" in opened
    assert "registered before: 0 predictions of models, 0 sets of estimates" in opened


def test_help_needs_no_torch():
    code = "\n".join(
        [
            "import sys",
            "from shiftcast.cli import main",
            "try:",
            "    main()",
            "finally:",
            "    assert 'torch' not in sys.modules",
        ]
    )
    for group in ("data", "blind"):
        done = subprocess.run([sys.executable, "-c", code, group, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_report_is_replaced_only_where_asked(run, tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    arguments = ("data", "make", "digits-shifted", "--transform", "contrast", "--severity", "1")
    with pytest.raises(InvalidInputError, match=r"notes\.md: exists"):
        run(*arguments, "--report", tmp_path / "notes")
    assert (tmp_path / "notes.md").read_text() == "mine"
    run(*arguments, "--report", tmp_path / "notes", "--replace")
    assert "contrast" in (tmp_path / "notes.md").read_text()


def test_stored_sets_say_what_they_are(run, tmp_path):
    out = tmp_path / "sets"
    arguments = ("data", "make", "digits-shifted", "--transform", "contrast", "--out", out)
    said = run(*arguments, "--severity", "2", "--severity", "4")
    assert "each file holds severity 2, 4 alone" in said
    facts = json.loads((out / "made.json").read_text())
    assert (facts["dataset"], facts["severities"], facts["images"]) == ("digits-shifted", [2, 4], 898)


def test_only_own_unsealed_sets_are_replaced(run, workspace, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(photos / "a.png")
    with pytest.raises(InvalidInputError, match="is not a set that shiftcast data add made"):
        run("data", "add", "emoji", photos, "--replace")
    run("data", "add", "mine", photos)
    assert "yours" in run("data", "list")
    run("data", "add", "mine", photos, "--replace")
    np.save(tmp_path / "labels.npy", np.array([3]))
    run("blind", "seal", "mine", "--labels", tmp_path / "labels.npy")
    card = (workspace.root / "datasets" / "mine.toml").read_bytes()
    with pytest.raises(InvalidInputError, match="another set under its name would undo the seal"):
        run("data", "add", "mine", photos, "--replace")
    assert (workspace.root / "datasets" / "mine.toml").read_bytes() == card


def test_a_data_folder_that_is_a_file_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "file"))
    with pytest.raises(WorkspaceError, match="is a file; name a folder"):
        run("data", "list")
