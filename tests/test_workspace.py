import pytest

from shiftcast.data import GENERATOR_VERSION, TRANSFORMS
from shiftcast.errors import CardError, ShiftcastError, UnknownNameError, WorkspaceError
from shiftcast.workspace import Workspace, cache_folder, data_folder, find_workspace
from support import REPOSITORY


def edit_suite(workspace, old, new):
    path = workspace.root / "benchmark" / "suites" / "tiny.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_card_of_the_repository_is_valid():
    workspace = Workspace(REPOSITORY, REPOSITORY)
    assert {"quickstart", "cifar10-smoke"} <= set(workspace.suites)
    assert workspace.suite("quickstart").headline == "ConfusionPartition"


def test_every_transform_that_a_card_offers_exists_in_its_generator_version():
    workspace = Workspace(REPOSITORY, REPOSITORY)
    derived = [card.derived for card in workspace.datasets.values() if card.derived]
    ours = [derivation for derivation in derived if derivation.generator == "corruptions"]
    assert len(ours) == 3
    for derivation in ours:
        assert derivation.version == GENERATOR_VERSION
        for transform in derivation.transforms:
            assert set(derivation.severities) <= set(TRANSFORMS[transform].severities)


@pytest.mark.parametrize(
    ("kind", "asked", "meant"),
    [
        ("suite", "tyny", "tiny"),
        ("architecture", "test_resnt", "test_resnet"),
        ("dataset", "digits-tst", "digits-test"),
    ],
)
def test_unknown_names_come_with_the_nearest(workspace, kind, asked, meant):
    with pytest.raises(UnknownNameError, match=f"unknown {kind} '{asked}'; did you mean.* {meant}"):
        getattr(workspace, kind)(asked)


def test_a_name_like_no_other_lists_what_there_is(workspace):
    with pytest.raises(UnknownNameError, match="unknown recipe 'zzz'; known: tiny"):
        workspace.recipe("zzz")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('reserves = ["test_nfnet"]', "reserves = []", "no reserve is left to replace member 'test_resnet'"),
        ('"test_vit"', '"test_vitt"', r"tiny\.toml: unknown architecture 'test_vitt'; did you mean"),
        ('train = "digits-train"', 'train = "digits-tran"', "unknown dataset 'digits-tran'; did you mean"),
        ('"contrast"', '"contrats"', "unknown transform of digits-shifted 'contrats'; did you mean contrast"),
        ('dataset = "digits-shifted"', 'dataset = "cifar10-c-regenerated"', "has other classes"),
        ('"test_byobnet", "test_eff', '"test_nfnet", "test_byobnet", "test_eff', "listed twice"),
    ],
)
def test_a_suite_with_unknown_or_unfit_names_is_refused(workspace, old, new, message):
    edit_suite(workspace, old, new)
    with pytest.raises((UnknownNameError, CardError), match=message):
        _ = workspace.suites


def test_reference_members_of_one_family_are_refused(workspace):
    twin = workspace.root / "architectures" / "twin.toml"
    twin.write_text((workspace.root / "architectures" / "test_byobnet.toml").read_text())
    edit_suite(workspace, '"test_efficientnet", "test_resnet"]', '"twin", "test_resnet"]')
    with pytest.raises(CardError, match="share the family 'byobnet'"):
        _ = workspace.suites


def test_a_reference_with_label_smoothing_is_refused(workspace):
    recipe = workspace.root / "benchmark" / "recipes" / "tiny.toml"
    recipe.write_text(recipe.read_text() + "label_smoothing = 0.1\n")
    with pytest.raises(CardError, match="without label smoothing"):
        _ = workspace.suites


def test_the_named_workspace_wins_then_the_nearest_ancestor(workspace, tmp_path, monkeypatch):
    deep = workspace.root / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.delenv("SHIFTCAST_WORKSPACE", raising=False)
    assert find_workspace().root == workspace.root
    assert find_workspace(REPOSITORY).root == REPOSITORY
    monkeypatch.setenv("SHIFTCAST_WORKSPACE", str(REPOSITORY))
    assert find_workspace().root == REPOSITORY


def test_a_folder_that_is_no_workspace_is_refused(tmp_path):
    with pytest.raises(WorkspaceError, match="is not a workspace: it needs"):
        find_workspace(tmp_path)


def test_elsewhere_an_editable_install_finds_its_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHIFTCAST_WORKSPACE", raising=False)
    assert find_workspace().root == REPOSITORY


def test_scratch_suites_keep_their_results_out_of_the_board(workspace):
    suite = workspace.suite("tiny")
    assert workspace.results(suite) == workspace.home / "results"
    scratch = suite.model_copy(update={"scratch": True})
    assert workspace.results(scratch) == workspace.home / "outputs" / "tiny" / "results"


def test_folders_follow_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "c"))
    assert (data_folder(), cache_folder()) == (tmp_path / "d", tmp_path / "c")
    monkeypatch.delenv("SHIFTCAST_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert data_folder() == tmp_path / "x" / "shiftcast" / "data"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("tinny", "rate_of: unknown recipe 'tinny'; did you mean tiny"),
        ("second", "rate_of = 'second' is a variant"),
    ],
)
def test_a_variant_of_nothing_or_of_a_variant_is_refused(workspace, base, message):
    recipes = workspace.root / "benchmark/recipes"
    text = (recipes / "tiny.toml").read_text()
    (recipes / "second.toml").write_text(text + 'rate_of = "tiny"\n')
    (recipes / "third.toml").write_text(text + f'rate_of = "{base}"\n')
    suite = workspace.root / "benchmark/suites/tiny.toml"
    suite.write_text(suite.read_text().replace('recipe = "tiny"\nseeds', 'recipe = "third"\nseeds'))
    with pytest.raises(ShiftcastError, match=message):
        Workspace(workspace.root, workspace.root).suite("tiny")
