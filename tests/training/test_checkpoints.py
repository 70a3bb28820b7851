"""What stands beside a finished checkpoint, which one is taken, and what is refused."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from shiftcast.cards.architecture import card_hash
from shiftcast.cards.recipe import recipe_hash
from shiftcast.cards.suite import RunKey
from shiftcast.errors import InvalidInputError, RunError, TrainingError, UnknownNameError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.record import Seeds
from shiftcast.training import run as run_module
from shiftcast.training.augment import training_set
from shiftcast.training.checkpoints import (
    Checkpoint,
    Manifest,
    Wanted,
    choose_checkpoint,
    find_checkpoints,
    read_manifest,
    verify,
)
from shiftcast.training.evaluate import Network, evaluate
from shiftcast.training.inference import classifier, load_network
from shiftcast.training.job import plan_job, set_threads
from shiftcast.training.network import build_model
from shiftcast.training.resident import ResidentImages
from shiftcast.training.run import final_checkpoint, perform, train_network
from shiftcast.workspace import Workspace, cache_folder

KEY = RunKey(architecture="test_vit", recipe="tiny", seed=0)
WANTED = Wanted("test_vit", 0)
TRAIN = "train it with: shiftcast run tiny --only test_vit --seed 0 --checkpoints"


@pytest.fixture
def job(workspace, tiny_data):
    threads = set_threads(None)
    return plan_job(workspace, workspace.suite("tiny"), KEY, "scored", tiny_data, "cpu", threads)


@pytest.fixture
def place(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def store(workspace):
    """Put made-up weights with a manifest into the cache; `age` is in seconds."""

    def put(number=0, age=0, key=KEY, **changes):
        identity = f"{number:016x}" + "0" * 48
        card, recipe = workspace.architecture("test_vit"), workspace.resolved_recipe("test_vit", "tiny")
        content = f"weights {number}".encode()
        manifest = Manifest(
            suite=changes.pop("suite", "tiny"),
            key=key,
            role="scored",
            family=card.family,
            card_hash=card_hash(card),
            recipe_hash=recipe_hash(recipe),
            seeds=Seeds(derivation="made up", weights=1, order=2, augmentation=3),
            identity=identity,
            device="cpu",
            threads=number + 1,
            precision="float32",
            epochs=2,
            classes=["a", "b"],
            mean=(1.0, 2.0, 3.0),
            std=(4.0, 5.0, 6.0),
            train_fingerprint="0" * 64,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            packages={},
            git=None,
        ).model_copy(update=changes)
        path = cache_folder() / "checkpoints" / manifest.suite / key.path / f"{identity[:16]}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1e9 - age, 1e9 - age))
        path.with_suffix(".json").write_text(manifest.model_dump_json())
        return Checkpoint(path, manifest)

    return put


def choose(workspace, wanted=WANTED):
    found, _ = find_checkpoints(cache_folder())
    return choose_checkpoint(found, workspace, wanted, cache_folder())


def test_a_training_leaves_a_manifest_beside_its_weights(job, place, workspace, tiny_data):
    record = perform(job, place)
    path = job.checkpoint.with_suffix(".json")
    manifest = read_manifest(path)
    assert path.stem == job.identity[:16]
    copied = ("suite", "key", "role", "family", "card_hash", "recipe_hash", "seeds", "device", "threads")
    for field in (*copied, "precision", "packages", "git"):
        assert getattr(manifest, field) == getattr(record, field), field
    assert manifest.identity == job.identity
    assert manifest.epochs == len(record.epochs) == 2
    assert manifest.classes == workspace.dataset("digits-test").classes
    assert manifest.train_fingerprint == record.datasets["digits-train"].fingerprint
    assert manifest.sha256 == hashlib.sha256(job.checkpoint.read_bytes()).hexdigest()
    assert manifest.size == job.checkpoint.stat().st_size
    pixels = tiny_data.train.images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(manifest.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(manifest.std, pixels.std(axis=0))
    assert all(repr(value) in path.read_text() for value in (*manifest.mean, *manifest.std))
    assert not list(path.parent.glob(".*"))  # no temporary file is left


def test_a_run_that_is_only_evaluated_again_gets_its_manifest(job, place):
    perform(job, place)
    path = job.checkpoint.with_suffix(".json")
    text = path.read_text()
    path.unlink()
    perform(job, place)
    assert path.read_text() == text
    values = json.loads(text)
    values["packages"]["torch"] = "of the training"
    path.write_text(json.dumps(values))
    perform(job, place)
    assert read_manifest(path).packages["torch"] == "of the training"
    path.write_text(json.dumps(values | {"sha256": "0" * 64}))  # of an earlier training
    perform(job, place)
    assert path.read_text() == text


def test_the_manifest_is_there_before_the_run_is_complete(job, place, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        perform(job, place)
    assert read_manifest(job.checkpoint.with_suffix(".json")).identity == job.identity
    assert not place.record_path.exists()


def test_a_loaded_network_gives_the_logits_of_the_run(job, place, tiny_data):
    perform(job, place)
    manifest = read_manifest(job.checkpoint.with_suffix(".json"))
    network = load_network(job.fitted, len(manifest.classes), job.checkpoint, "cpu")
    images = tiny_data.sets["digits-test"].images
    found = evaluate(Network(network, job.fitted, manifest.mean, manifest.std, "cpu"), {"own": images})["own"]
    stored = place.read()[1]["digits-test"].logits
    np.testing.assert_allclose(found, stored, rtol=2e-3, atol=1e-4)
    predicted = classifier(job)(images)
    assert (predicted == stored.argmax(axis=1)).mean() > 0.99


def test_averaged_weights_are_preferred(job, place):
    perform(job, place)
    state = torch.load(job.checkpoint, weights_only=True)
    average = {
        name: value + 1 if value.is_floating_point() else value for name, value in state["model"].items()
    }
    for ema, expected in ((None, state["model"]), (average, average)):
        torch.save({**state, "ema": ema}, job.checkpoint)
        loaded = load_network(job.fitted, 10, job.checkpoint, "cpu").state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_weights_of_another_network_are_refused(workspace, tmp_path):
    card = workspace.architecture("test_vit")
    path = tmp_path / "weights.pt"
    with pytest.raises(TrainingError, match="is not there or cannot be read"):
        load_network(card, 10, path, "cpu")
    model = build_model(workspace.architecture("test_resnet"), 10)
    torch.save({"identity": "", "epochs": [], "model": model.state_dict(), "optimiser": {}}, path)
    with pytest.raises(TrainingError, match=r"do not fit 'test_vit.*architectures/test_vit\.toml"):
        load_network(card, 10, path, "cpu")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:100], "is not a readable manifest"),
        (lambda text: "[" * 100_000, "is not a readable manifest"),
        (lambda text: text.replace('"schema_version":1', '"schema_version":2'), "schema_version is 2"),
        (lambda text: "[]", "schema_version is None"),
        (lambda text: text.replace('"epochs":2', '"epochs":2,"more":1'), "more: Extra inputs"),
        (lambda text: text.replace('"size":9', '"size":"nine"'), "size: "),
        (
            lambda text: text.replace('"identity":"0', '"identity":"f'),
            "is the manifest of another file, f000000000000000.pt",
        ),
    ],
)
def test_a_manifest_that_is_none_is_named_and_left_out(store, damage, message):
    path = store().path.with_suffix(".json")
    text = path.read_text()
    path.write_text(damage(text))
    assert path.read_text() != text
    kept = store(1)
    found, complaints = find_checkpoints(cache_folder())
    assert [one.path for one in found] == [kept.path]
    assert len(complaints) == 1
    assert str(path) in complaints[0]
    assert message in complaints[0]


def test_of_several_threads_and_devices_the_newest_is_taken(store, workspace):
    store(0, age=20)
    newest = store(1, age=5)
    store(2, age=10, device="cuda", train_fingerprint="1" * 64)
    chosen, notes = choose(workspace)
    assert chosen == newest
    assert notes == [
        "the newest usable of 3 checkpoints is taken (cpu, 2 threads), not: cpu, 1 thread; "
        "cuda, 3 threads, trained on other images"
    ]
    newest.path.unlink()
    chosen, notes = choose(workspace)
    assert chosen.manifest.device == "cuda"
    assert "cpu, 2 threads, trained on other images, file is missing" in notes[0]


def test_one_checkpoint_needs_no_note_unless_its_recipe_has_changed(store, workspace):
    one = store()
    assert choose(workspace) == (one, [])
    store(recipe_hash="f" * 64)
    assert choose(workspace)[1] == ["recipe tiny has changed since this network was trained"]


def test_between_suites_and_recipes_a_person_chooses(store, workspace):
    store()
    other = store(1, suite="other", device="cuda")
    third = store(2, key=KEY.model_copy(update={"recipe": "long"}))
    with pytest.raises(InvalidInputError) as caught:
        choose(workspace)
    assert str(caught.value) == (
        "several checkpoints fit test_vit with seed 0; choose one: "
        "--suite other --recipe tiny (trained on cuda, 2 threads); "
        "--suite tiny --recipe long (trained on cpu, 3 threads); "
        "--suite tiny --recipe tiny (trained on cpu, 1 thread)"
    )
    assert choose(workspace, Wanted("test_vit", 0, suite="other"))[0] == other
    assert choose(workspace, Wanted("test_vit", 0, recipe="long"))[0] == third


def test_nothing_that_fits_says_what_there_is_and_how_to_train(store, workspace):
    with pytest.raises(RunError, match="holds none of test_vit; " + TRAIN):
        choose(workspace)
    with pytest.raises(UnknownNameError, match="did you mean test_vit"):
        choose(workspace, Wanted("test_vti", 0))
    bare = cache_folder() / "checkpoints" / "tiny" / KEY.path / "abc.pt"
    bare.parent.mkdir(parents=True)
    bare.write_bytes(b"unfinished")
    with pytest.raises(RunError, match=r"file without a manifest.*abc\.pt: .*finishes from there; " + TRAIN):
        choose(workspace)
    store(key=KEY.model_copy(update={"seed": 1}))
    with pytest.raises(RunError, match=r"of test_vit it holds tiny/test_vit/tiny/seed-1 \(cpu, 1 thread\)"):
        choose(workspace)
    with pytest.raises(RunError, match="holds none of test_resnet, but of test_vit; train it with"):
        choose(workspace, Wanted("test_resnet", 0))
    with pytest.raises(
        RunError, match="no suite trains test_vit with seed 7; they train tiny/test_vit/tiny/"
    ):
        choose(workspace, Wanted("test_vit", 7))
    with pytest.raises(UnknownNameError, match="unknown suite 'tiy'; did you mean tiny"):
        choose(workspace, Wanted("test_vit", 0, "tiy", "tiny"))
    with pytest.raises(UnknownNameError, match="unknown recipe 'tinny'; did you mean tiny"):
        choose(workspace, Wanted("test_vit", 0, "tiny", "tinny"))
    with pytest.raises(RunError, match=r"no suite trains .*, nor starnet_s050 at all"):
        choose(workspace, Wanted("starnet_s050", 0))


def test_what_cannot_be_used_is_refused(store, workspace):
    one = store()
    verify(one, workspace, WANTED)
    one.path.write_bytes(b"weights x")  # of the same size
    assert one.unusable(workspace) == ""
    with pytest.raises(
        RunError, match=r"SHA-256 \w{16}…, as its manifest says, got .* delete it and " + TRAIN
    ):
        verify(one, workspace, WANTED)
    one.path.write_bytes(b"weights")
    with pytest.raises(RunError, match="the file is damaged; delete it and " + TRAIN):
        choose(workspace)
    one.path.unlink()
    with pytest.raises(RunError, match="the file is missing; " + TRAIN):
        choose(workspace)


def test_a_card_that_has_changed_or_gone_is_named(store, workspace):
    one = store()
    card = workspace.root / "architectures" / "test_vit.toml"
    text = card.read_text()
    card.write_text(text.replace("title = ", 'precision = "bfloat16"\ntitle = '))
    changed = Workspace(workspace.root, workspace.home)
    assert one.unusable(changed) == "card has changed"
    with pytest.raises(
        RunError, match=r"architectures/test_vit\.toml has changed .*put the card back, or train"
    ):
        choose(changed)
    card.write_text(text.replace('title = "', 'title = "Renamed: '))
    assert choose(Workspace(workspace.root, workspace.home))[0] == one  # not what is trained
    card.unlink()
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    suite.write_text(suite.read_text().replace('"test_vit", ', ""))
    gone = Workspace(workspace.root, workspace.home)
    assert one.unusable(gone) == "card is gone"
    with pytest.raises(UnknownNameError, match="its card is gone: unknown architecture 'test_vit'"):
        choose(gone)


def test_a_checkpoint_of_one_precision_is_not_resumed_in_another(workspace, tiny_data, monkeypatch):
    card = workspace.root / "architectures" / "test_vit.toml"
    card.write_text(card.read_text().replace("title = ", 'precision = "bfloat16"\ntitle = '))
    changed = Workspace(workspace.root, workspace.home)
    job = plan_job(changed, changed.suite("tiny"), KEY, "scored", tiny_data, "cpu", 1)
    identities = set()
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        identities.add(job.identity)
    assert len(identities) == 2


def test_manifests_are_read_without_torch():
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from shiftcast.training.checkpoints import find_checkpoints\n"
        "find_checkpoints(Path('nowhere'))\nassert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_run_stopped_early_on_a_part_of_the_images_is_finished(job, place):
    """Its networks are evaluated with the statistics of the images that it was trained on."""
    recipe = job.recipe.model_copy(update={"early_stop": 0.5, "train_share": 0.5})
    job = dataclasses.replace(job, recipe=recipe)
    record = perform(job, place)
    assert len(record.epochs) == 1
    assert final_checkpoint(job) == job.checkpoint
    whole = ResidentImages(job.data.train.images, job.data.train.labels)
    mean, std = training_set(whole, recipe, job.seeds).statistics
    manifest = read_manifest(job.manifest)
    assert (manifest.epochs, manifest.mean, manifest.std) == (1, mean, std)
    assert mean != whole.statistics[0]
    name = job.suite.source.test
    test_set = job.data.sets[name].images
    stored = place.read()[1][name].logits.argmax(axis=1)
    assert (classifier(job)(test_set) == stored).mean() > 0.99


def test_the_same_training_in_another_suite_is_not_done_again(job, place, tmp_path):
    perform(job, place)
    other = dataclasses.replace(job, suite=job.suite.model_copy(update={"name": "other", "version": 7}))
    assert other.checkpoint != job.checkpoint
    steps = []
    record = perform(other, RunFolder(tmp_path / "other"), steps.append)
    assert steps == []
    assert other.checkpoint.read_bytes() == job.checkpoint.read_bytes()
    assert read_manifest(other.manifest).suite == "other"
    first = place.read_record()
    assert record.targets == first.targets
    assert record.predictions_sha256 == first.predictions_sha256
    assert (record.measured.train_seconds, record.measured.images_per_second) == (0, 0)


def test_another_seed_or_an_unfinished_training_is_no_such_thing(job, place):
    perform(job, place)
    suite = job.suite.model_copy(update={"name": "other"})
    seeds = job.seeds.model_copy(update={"weights": job.seeds.weights + 1})
    longer = job.recipe.model_copy(update={"epochs": job.training.epochs + 1})
    for change in ({"seeds": seeds}, {"recipe": longer}, {"threads": job.threads + 1}):
        assert final_checkpoint(dataclasses.replace(job, suite=suite, **change)) is None
    assert final_checkpoint(dataclasses.replace(job, suite=suite)) == job.checkpoint


def test_the_cache_takes_networks_over_too(job, place):
    perform(job, place)
    other = dataclasses.replace(job, suite=job.suite.model_copy(update={"name": "other"}))
    steps = []
    train_network(other, steps.append)
    assert steps == []
    assert other.manifest.exists()


def test_what_cannot_be_copied_is_trained(job, place, monkeypatch):
    perform(job, place)
    other = dataclasses.replace(job, suite=job.suite.model_copy(update={"name": "other"}))

    def full(path, data):
        raise OSError(28, "No space left on device")

    steps = []
    with monkeypatch.context() as context:
        context.setattr(run_module, "write_atomic", full)
        train_network(other, steps.append)
    assert steps


def test_a_damaged_file_of_its_own_is_no_reason_to_train_again(job, place):
    perform(job, place)
    other = dataclasses.replace(job, suite=job.suite.model_copy(update={"name": "other"}))
    other.checkpoint.parent.mkdir(parents=True)
    other.checkpoint.write_bytes(b"half a file")
    steps = []
    train_network(other, steps.append)
    assert steps == []


def test_looking_for_a_checkpoint_copies_nothing(job, place):
    perform(job, place)
    other = dataclasses.replace(job, suite=job.suite.model_copy(update={"name": "other"}))
    images = job.data.sets[job.suite.source.test].images
    assert np.array_equal(classifier(other)(images), classifier(job)(images))
    assert not other.checkpoint.exists()


def test_copies_of_one_training_are_one_network(job, place, workspace, tmp_path):
    perform(job, place)
    other = dataclasses.replace(job, suite=job.suite.model_copy(update={"name": "other"}))
    perform(other, RunFolder(tmp_path / "other"))
    chosen, _ = choose(workspace)
    assert chosen.manifest.identity == job.identity


def test_seconds_are_those_of_the_training_that_happened(job, place):
    first = perform(job, place)
    assert first.measured.train_seconds > 0
    again = perform(job, place)
    assert again.measured.train_seconds == first.measured.train_seconds  # only evaluated
    shorter = dataclasses.replace(job, recipe=job.recipe.model_copy(update={"epochs": 1}))
    fresh = perform(shorter, place)
    assert 0 < fresh.measured.train_seconds != first.measured.train_seconds


def test_a_snapshot_is_the_run_at_an_earlier_epoch(workspace, tiny_data, tmp_path):
    recipes = workspace.root / "benchmark/recipes"
    text = (recipes / "tiny.toml").read_text()
    (recipes / "snapshot.toml").write_text(text + 'early_stop = 0.5\nseeds_of = "tiny"\n')
    fresh = Workspace(workspace.root, workspace.root)
    threads = set_threads(None)
    records = {
        name: perform(
            plan_job(
                fresh,
                fresh.suite("tiny"),
                KEY.model_copy(update={"recipe": name}),
                "scored",
                tiny_data,
                "cpu",
                threads,
            ),
            RunFolder(tmp_path / name),
        )
        for name in ("tiny", "snapshot")
    }
    assert records["snapshot"].seeds == records["tiny"].seeds
    assert records["snapshot"].epochs == records["tiny"].epochs[:1]
