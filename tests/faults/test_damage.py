"""Files that are cut off or of which a bit has flipped: what can be made again is, what cannot is named."""

import os
import re

import pytest


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path, share=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 64
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


LONG = int(os.environ.get("SHIFTCAST_FAULTS", "10")) > 10
DAMAGE = [flip, cut, empty] if LONG else [flip]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_predictions_are_made_again_from_the_network(
    harness, states, forge, start, undisturbed, damage
):
    expected, folder = undisturbed("run"), start("run")
    assert forge.run(states.COMMANDS["run"])["code"] == 0
    damage(next((folder / "results").rglob("predictions.safetensors")))
    assert forge.run(states.COMMANDS["run"])["code"] == 0
    said = forge.said.read_text()
    assert "test_vit/tiny/seed-0 is damaged and is made again" in said
    assert "run its suite again" not in said
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_network_is_trained_again(harness, states, forge, start, undisturbed, damage):
    """PyTorch reads weights of which a bit has flipped without a word: the run would be another one."""
    expected, folder = undisturbed("run"), start("run")
    assert forge.run(states.COMMANDS["run"])["code"] == 0
    damage(next((folder / "cache").rglob("*.pt")))
    next((folder / "results").rglob("run.json")).unlink()
    assert forge.run(states.COMMANDS["run"])["code"] == 0
    assert re.search(
        r"\.pt: is damaged \(.*\n.*is discarded, training starts from the beginning", forge.said.read_text()
    )
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize("name", ["run.json", "predictions.safetensors"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_the_board_names_a_damaged_run_and_what_to_do(states, forge, start, damage, name):
    folder = start("leaderboard")
    place = folder / "workspace/results/zoo/net-1/self-reported/seed-0"
    whole = (place / name).read_bytes()
    if damage is flip and name == "run.json":  # wherever a bit flips
        (place / name).write_bytes(whole.replace(b'"zoo-test"', b'"zoo-tes4"'))
    else:
        damage(place / name)
    before = {path: path.read_bytes() for path in (folder / "workspace/results").rglob("*") if path.is_file()}
    assert forge.run(states.COMMANDS["leaderboard"])["code"] == 2
    said = forge.said.read_text()
    assert "net-1/self-reported/seed-0/" in said
    assert "; submit it again with --force\n" in said
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_of_the_board_in_the_cache_is_made_again(
    harness, states, forge, start, undisturbed, damage
):
    expected, folder = undisturbed("leaderboard"), start("leaderboard")
    assert forge.run(states.COMMANDS["leaderboard"])["code"] == 0
    damage(next((folder / "cache/board").glob("*.json")))
    assert forge.run(states.COMMANDS["leaderboard"])["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("memory", ["fingerprints/tiny-set.json", "records/tiny-set.json", "trusted.json"])
def test_what_is_remembered_of_datasets_may_be_damaged(
    harness, states, forge, start, undisturbed, damage, memory
):
    expected, folder = undisturbed("get"), start("get")
    assert forge.run(states.COMMANDS["get"])["code"] == 0
    damage(folder / "data/.shiftcast" / memory)
    ended = forge.run(states.COMMANDS["get"])["code"]
    said = forge.said.read_text()
    assert "Traceback" not in said
    if ended:
        assert f"{memory}: cannot be read as what Shiftcast wrote there" in said
        assert "Delete it" in said
    assert {n: one for n, one in expected.items() if ".shiftcast" not in n}.items() <= harness.snapshot(
        folder
    ).items()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays_are_found_and_got_again(harness, states, forge, start, undisturbed, damage):
    expected, folder = undisturbed("get"), start("get")
    assert forge.run(states.COMMANDS["get"])["code"] == 0
    damage(folder / "data/tiny/images.npy")
    assert forge.run((*states.WORKSPACE, "data", "check", "tiny-set"))["code"] == 1
    said = forge.said.read_text()
    assert "shiftcast data get tiny-set" in said
    assert forge.run((*states.COMMANDS["get"], "--force"))["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize("name", ["run.json", "predictions.safetensors"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_mended_as_its_message_says(
    harness, states, forge, start, undisturbed, damage, name
):
    """The message of a damaged run is to submit it again with --force."""
    expected, folder = undisturbed("submit"), start("submit")
    assert forge.run(states.COMMANDS["submit"])["code"] == 0
    damage(folder / "workspace/results/zoo/mine/self-reported/seed-0" / name)
    assert forge.run(states.COMMANDS["submit"])["code"] == 2
    assert "submit it again with --force" in forge.said.read_text()
    assert forge.run((*states.COMMANDS["submit"], "--force"))["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""
