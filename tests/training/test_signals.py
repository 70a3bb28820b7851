"""What is recorded of each image, against slow references, and through interruptions."""

import numpy as np
import pytest
import torch

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.suite import RunKey
from shiftcast.engines.contract import Options
from shiftcast.engines.local import run_suite
from shiftcast.errors import RunError, TrainingError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.signals import WITHOUT_VIEWS, decode_signals
from shiftcast.training import probes
from shiftcast.training import run as run_module
from shiftcast.training import signals as taking
from shiftcast.training.evaluate import Network, evaluate
from shiftcast.training.job import plan_job
from shiftcast.training.loop import seeded_model
from shiftcast.training.network import build_model, logits_of
from shiftcast.training.probes import Probes, depths, pooled, probed_blocks
from shiftcast.training.resident import ResidentImages, normalise
from shiftcast.training.snapshots import Snapshots, learned_epochs
from shiftcast.training.views import views_of

MEAN, STD = (120.0, 125.0, 130.0), (60.0, 61.0, 62.0)
SIGNALS_RECIPE = "\nsignals = true\n"


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads as two networks at once have; what was set before comes back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(timm, **values):
    needed = {"name": "x", "family": "x", "title": "", "citation": "", "parameters": 1, "feature_map": [1, 2]}
    return ArchitectureCard(timm=timm, **needed | values)


RESNET = make("test_resnet")
VIT = make("test_vit", kwargs={"img_size": 32, "patch_size": 8})
TWINS = make(
    "twins_svt_small",
    kwargs={
        "img_size": 32,
        "wss": [4, 4, 4],
        "embed_dims": [8, 16, 16],
        "num_heads": [1, 2, 2],
        "mlp_ratios": [2, 2, 2],
        "depths": [1, 1, 2],
        "sr_ratios": [4, 2, 1],
    },
)
"""Its blocks stand in a list within a list."""
TNT = make(
    "tnt_s_patch16_224",
    kwargs={
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 12,
        "inner_dim": 8,
        "num_heads_inner": 2,
        "num_heads_outer": 3,
        "depth": 4,
    },
)
"""Its blocks give tokens of an image beside those of each of its parts."""


def images_of(n, seed):
    return np.random.RandomState(seed).randint(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def balanced(card, seed):
    """A network with random weights that does not put all images into one class."""
    model = seeded_model(card, 4, seed).eval()
    with torch.no_grad():
        logits = logits_of(model, card, normalise(torch.from_numpy(images_of(100, 9)), MEAN, STD))
        model.get_classifier().bias -= logits.mean(dim=0)
    return model


# Views


def test_views_are_eight_and_leave_the_images_alone():
    images = images_of(3, 0)
    pixels = torch.from_numpy(images.copy())
    views = [view.numpy().copy() for view in views_of(pixels)]
    assert np.array_equal(pixels.numpy(), images)
    assert [view.shape for view in views] == [(3, 32, 32, 3)] * 8
    mirror, right, down, zoom, turned, back, grey, both = views
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect").astype(np.float32)
    np.testing.assert_array_equal(mirror, images[:, :, ::-1])
    np.testing.assert_array_equal(right, padded[:, 2:34, :32])
    np.testing.assert_array_equal(down, padded[:, :32, 2:34])
    np.testing.assert_array_equal(both, padded[:, :, ::-1][:, 4:, 4:])
    luma = images @ np.array([0.2989, 0.587, 0.114])
    np.testing.assert_allclose(grey, np.repeat(luma[..., None], 3, axis=3), atol=0.02)
    for view in (zoom, turned, back):
        assert 0 < np.abs(view - images).mean() < 128
    # About the centre, symmetric: turning the mirror image one way is mirroring the turned the other way.
    again = list(views_of(torch.from_numpy(images[:, :, ::-1].copy())))
    np.testing.assert_allclose(again[4].numpy()[:, :, ::-1], back, atol=1e-2)
    np.testing.assert_allclose(again[3].numpy()[:, :, ::-1], zoom, atol=1e-2)


def test_a_smaller_view_shows_more():
    """A square of 10 pixels takes 9 where the view is 0.9 times the size; nothing black comes in."""
    image = np.full((1, 32, 32, 3), 100, np.uint8)
    image[:, 11:21, 11:21] = 200
    zoom = list(views_of(torch.from_numpy(image)))[3].numpy()[0, :, :, 0]
    assert (zoom[16] - 100).sum() / 100 == pytest.approx(9, abs=0.3)
    assert zoom.min() >= 99.9


# Blocks


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (RESNET, ["layer1", "layer2", "layer3", "layer4"]),
        (VIT, [f"blocks.{n}" for n in range(6)]),
        (make("swin_tiny_patch4_window7_224", kwargs={"img_size": 32, "window_size": 4}), None),
        (make("test_byobnet"), None),
        (make("test_efficientnet"), None),
        (TWINS, [name for n in range(3) for name in (f"blocks.{n}.0", f"pos_block.{n}")] + ["blocks.2.1"]),
        (TNT, [f"blocks.{n}" for n in range(4)]),
    ],
    ids=["resnet", "vit", "swin", "byobnet", "efficientnet", "twins", "tnt"],
)
def test_blocks_of_many_kinds(card, expected):
    model = build_model(card, 10)
    names = probed_blocks(model, card)
    assert expected is None or names == expected
    assert 2 <= len(names) <= 14
    assert model.training is False


def test_at_most_fourteen_blocks_with_the_first_and_the_last():
    card = make(
        "deit_tiny_patch16_224", kwargs={"img_size": 32, "patch_size": 16, "depth": 20, "embed_dim": 12}
    )
    names = probed_blocks(build_model(card, 10), card)
    assert len(names) == 14
    assert (names[0], names[-1]) == ("blocks.0", "blocks.19")


def test_outputs_of_every_shape_are_averaged_over_the_image():
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 3, 3, generator=random)
    expected = maps.mean(dim=(2, 3))
    torch.testing.assert_close(pooled(maps), expected)
    torch.testing.assert_close(pooled(maps.permute(0, 2, 3, 1)), expected)
    torch.testing.assert_close(pooled(maps.flatten(2).transpose(1, 2)), expected)
    torch.testing.assert_close(pooled(expected), expected)
    torch.testing.assert_close(pooled([maps, (maps,)]), torch.cat([expected, expected], dim=1))
    torch.testing.assert_close(pooled((maps.repeat(4, 1, 1, 1), maps)), expected)
    same = torch.randn(2, 3, 3, 3, generator=random)
    torch.testing.assert_close(pooled(same), same.mean(dim=(2, 3)))
    torch.testing.assert_close(pooled(same, channels_last=True), same.mean(dim=(1, 2)))


# Depth and distance


def test_depth_is_the_first_block_from_which_all_agree():
    votes = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    assert depths(votes, np.ones(4, np.int64)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("card", [RESNET, VIT], ids=["resnet", "vit"])
def test_depth_and_distance_equal_slow_references(card, monkeypatch):
    model = balanced(card, 0)
    known, labels = images_of(90, 1), np.arange(90) % 4
    asked = {"a": images_of(13, 2), "b": images_of(150, 3)}
    taken = Probes(Network(model, card, MEAN, STD, "cpu"), known, labels)
    with taken.watching():
        logits = evaluate(Network(model, card, MEAN, STD, "cpu"), asked, batch_size=32)
    depth, distance = taken.result()
    evaluate(Network(model, card, MEAN, STD, "cpu"), asked)
    assert len(taken.result()[0]) == 163  # nothing is recorded afterwards

    def embedded(images):
        kept, handles = {}, []
        for name, module in model.named_modules():
            if name in taken.blocks:
                handles.append(module.register_forward_hook(lambda m, i, o, n=name: kept.update({n: o})))
        with torch.no_grad():
            x = normalise(torch.from_numpy(images), MEAN, STD)
            features = model.forward_head(model.forward_features(x), pre_logits=True)
        for handle in handles:
            handle.remove()
        means = {n: o.mean(dim=(2, 3) if o.ndim == 4 else 1).double().numpy() for n, o in kept.items()}
        return [means[name] for name in taken.blocks], features.flatten(1).double().numpy()

    reference, far = embedded(known)
    own, features = embedded(np.concatenate(list(asked.values())))
    votes = []
    for one, other in zip(own, reference, strict=True):
        nearest = ((one[:, None] - other[None]) ** 2).sum(axis=2).argsort(axis=1)[:, :30]
        votes.append([np.bincount(labels[row], minlength=4).argmax() for row in nearest])
    predicted = np.concatenate(list(logits.values())).astype(np.float16).argmax(axis=1)
    expected = []
    for n, wanted in enumerate(predicted):
        place = len(votes)
        while place and votes[place - 1][n] == wanted:
            place -= 1
        expected.append(place)
    assert np.mean(depth == expected) > 0.98  # neighbours that are equally far, to the last bit
    far, features = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (far, features))
    slow = np.sort(np.linalg.norm(features[:, None] - far[None], axis=2), axis=1)[:, 9]
    np.testing.assert_allclose(distance, slow, atol=2e-3)
    assert set(depth) > {len(votes)} or len(set(depth)) > 1


def test_equally_common_classes_go_to_the_smallest():
    sample = probes._Sample(torch.zeros(4, 2))
    labels = torch.tensor([3, 1, 3, 1])
    assert sample.votes(torch.ones(2, 2), labels, 4).tolist() == [1, 1]


# Learned epochs


@pytest.mark.parametrize("every", [1, 3])
def test_learned_epochs_equal_a_slow_forward_reference(tmp_path, every):
    epochs = 6
    snapshots = Snapshots(tmp_path / "run.pt", epochs)
    models = [balanced(RESNET, seed) for seed in (1, 3, 2, 3, 2, 3)]
    for epoch, model in enumerate(models, 1):
        snapshots.keep(epoch, model)
    assert snapshots.complete
    assert not snapshots.path(epochs).exists()
    images = {"a": images_of(60, 0), "b": images_of(41, 1)}
    classes = [
        {
            name: logits.astype(np.float16).argmax(axis=1)
            for name, logits in evaluate(Network(model, RESNET, MEAN, STD, "cpu"), images).items()
        }
        for model in models
    ]
    found = learned_epochs(
        snapshots, Network(models[-1], RESNET, MEAN, STD, "cpu"), images, classes[-1], every
    )
    for name in images:
        expected = np.zeros(len(images[name]), int)
        for n in range(0, len(expected), every):
            history = [one[name][n] for one in classes]
            expected[n] = next(e for e in range(1, epochs + 1) if set(history[e - 1 :]) == {history[-1]})
        assert found[name].tolist() == expected.tolist()
        assert found[name].dtype == np.uint8
    assert {1, 2, 6} <= set(found["a"].tolist()) | set(found["b"].tolist())


def test_a_damaged_snapshot_is_refused_and_too_many_epochs_too(tmp_path):
    snapshots = Snapshots(tmp_path / "run.pt", 3)
    snapshots.keep(1, seeded_model(RESNET, 4, 0))
    path = snapshots.path(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TrainingError, match=r"001\.pt: is missing or damaged"):
        snapshots.load(1)
    with pytest.raises(TrainingError, match="at most 255 epochs"):
        Snapshots(tmp_path / "run.pt", 256)


# Runs


@pytest.fixture
def recording(workspace):
    """The recipe of suite `tiny` with signals."""
    path = workspace.root / "benchmark" / "recipes" / "tiny.toml"
    path.write_text(path.read_text().replace("epochs = 2", "epochs = 3") + SIGNALS_RECIPE)
    return type(workspace)(workspace.root, workspace.root)


KEY = RunKey(architecture="test_resnet", recipe="tiny", seed=0)


def job_of(workspace, data):
    return plan_job(workspace, workspace.suite("tiny"), KEY, "scored", data, "cpu", 1)


def perform(workspace, data, folder):
    job = job_of(workspace, data)
    return job, run_module.perform(job, RunFolder(folder))


def test_a_run_holds_signals_of_every_set(recording, tiny_data, tmp_path):
    job, record = perform(recording, tiny_data, tmp_path / "run")
    place = RunFolder(tmp_path / "run")
    stored, sets = place.read()
    assert stored.equal(record)
    assert record.measured.signals_seconds > 0
    signals = place.read_signals(*place.read())
    assert set(signals.sets) == set(tiny_data.sets)
    for name, one in signals.sets.items():
        derived = name != "digits-test"
        assert one.n == sets[name].n
        every = taking.DERIVED_VIEWS_EVERY if derived else taking.VIEWS_EVERY
        assert np.flatnonzero(one.with_views).tolist() == list(range(0, one.n, every))
        assert (one.learned_epoch is None) == derived
    learned = signals.sets["digits-test"].learned_epoch
    assert set(learned[:: taking.LEARNED_EVERY]) <= {1, 2, 3}
    assert set(np.delete(learned, np.s_[:: taking.LEARNED_EVERY])) == {0}
    assert not Snapshots(job.checkpoint, 3).folder.exists()
    network = seeded_model(job.fitted, 10, 0)
    network.load_state_dict(torch.load(job.checkpoint, weights_only=True)["model"])
    check_views(job, network.eval(), tiny_data, sets, signals)


def check_views(job, network, data, sets, signals):
    chosen = ResidentImages(data.train.images, data.train.labels)
    name = "digits-test"
    one, classes = signals.sets[name], sets[name].logits.argmax(axis=1)
    rows = np.flatnonzero(one.with_views)
    agreeing, probability = np.zeros(len(rows)), np.zeros(len(rows))
    for view in views_of(torch.from_numpy(data.sets[name].images[rows])):
        with torch.no_grad():
            logits = logits_of(network, job.fitted, normalise(view, *chosen.statistics))
        agreeing += logits.argmax(dim=1).numpy() == classes[rows]
        probability += logits.softmax(dim=1).numpy()[np.arange(len(rows)), classes[rows]] / 8
    assert np.mean(one.views[rows] == agreeing) > 0.97
    np.testing.assert_allclose(one.view_probability[rows], probability, atol=0.5 / 255 + 1e-3)
    assert (one.views[~one.with_views] == WITHOUT_VIEWS).all()


def test_a_recipe_without_signals_writes_none(workspace, tiny_data, tmp_path):
    job, record = perform(workspace, tiny_data, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "predictions.safetensors",
        "run.json",
    ]
    assert record.signals_sha256 is None
    text = (tmp_path / "run" / "run.json").read_text()
    assert "signals" not in text
    assert not Snapshots(job.checkpoint, 2).folder.exists()


def files_of(folder):
    place = RunFolder(folder)
    return place.predictions_path.read_bytes(), place.signals_path.read_bytes()


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("when", ["after an epoch", "before signals", "before run.json", "before forgetting"])
def test_killed_anywhere_it_ends_in_the_same_bytes(recording, tiny_data, tmp_path, monkeypatch, when):
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "one"))
    _, undisturbed = perform(recording, tiny_data, tmp_path / "undisturbed")
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "two"))

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        if when == "after an epoch":
            real = Snapshots.keep

            def keep(self, epoch, model):
                real(self, epoch, model)
                if epoch == 2:
                    raise Killed

            patch.setattr(Snapshots, "keep", keep)
            train = run_module.train
            patch.setattr(run_module, "train", lambda *a, **o: train(*a, **o, checkpoint_seconds=0.0))
        elif when == "before signals":
            patch.setattr(run_module, "_with_signals", die)
        elif when == "before run.json":
            patch.setattr(RunFolder, "write_record", die)
        else:
            patch.setattr(Snapshots, "forget", die)
        with pytest.raises(Killed):
            perform(recording, tiny_data, tmp_path / "run")
    if when != "before forgetting":
        with pytest.raises(RunError):
            RunFolder(tmp_path / "run").read()
    _, record = perform(recording, tiny_data, tmp_path / "run")
    assert record.equal(undisturbed)
    assert files_of(tmp_path / "run") == files_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_checkpoint_without_its_snapshots_is_discarded(
    recording, tiny_data, tmp_path, monkeypatch, caplog, damage
):
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "one"))
    _, undisturbed = perform(recording, tiny_data, tmp_path / "undisturbed")
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "two"))
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_with_signals", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            perform(recording, tiny_data, tmp_path / "run")
    path = Snapshots(job_of(recording, tiny_data).checkpoint, 3).path(1)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    assert perform(recording, tiny_data, tmp_path / "run")[1].equal(undisturbed)
    assert "is discarded and training starts from the beginning" in caplog.text


def test_a_training_under_way_goes_on_though_another_suite_has_it(
    recording, tiny_data, tmp_path, monkeypatch, caplog
):
    """What the other suite has left has no networks of earlier epochs."""
    _, undisturbed = perform(recording, tiny_data, tmp_path / "undisturbed")
    job = job_of(recording, tiny_data)
    other = job.checkpoint.parents[4] / "other" / job.key.path / job.checkpoint.name
    other.parent.mkdir(parents=True)
    job.checkpoint.rename(other)
    Snapshots(job.checkpoint, 3).folder.mkdir()  # as of a training that was killed in its first epoch
    assert perform(recording, tiny_data, tmp_path / "run")[1].equal(undisturbed)
    assert files_of(tmp_path / "run") == files_of(tmp_path / "undisturbed")
    assert "is discarded" not in caplog.text


def test_learned_epochs_outlast_an_evaluation_of_other_sets(recording, tiny_data, tmp_path, caplog):
    """The networks of earlier epochs are gone; what was found of the same predictions stays."""
    perform(recording, tiny_data, tmp_path / "run")
    before = files_of(tmp_path / "run")
    perform(recording, tiny_data, tmp_path / "run")
    assert files_of(tmp_path / "run") == before
    assert not caplog.text
    RunFolder(tmp_path / "run").signals_path.unlink()
    perform(recording, tiny_data, tmp_path / "run")
    signals = decode_signals(files_of(tmp_path / "run")[1], "file")
    assert signals.sets["digits-test"].learned_epoch is None
    assert "test_resnet: learned epochs of digits-test are not recorded, because the networks" in caplog.text
    assert RunFolder(tmp_path / "run").read()


def test_damaged_signals_are_made_again(recording, tmp_path):
    results = tmp_path / "results"

    def run():
        return run_suite(
            recording,
            recording.suite("tiny"),
            results,
            Options(device="cpu", threads=1, only=("test_resnet",), seeds=(0,)),
            Quiet(),
        )

    assert len(run().done) == 1
    place = RunFolder(results / "tiny" / KEY.path)
    before = place.signals_path.read_bytes()
    assert run().done == []
    place.signals_path.write_bytes(before[:-1])
    assert [str(key) for key in run().done] == ["test_resnet/tiny/seed-0"]
    assert place.read()


class Quiet:
    """A reporter that says nothing."""

    def __getattr__(self, _name):
        return lambda *_args, **_options: None
