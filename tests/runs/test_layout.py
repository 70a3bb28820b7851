"""Paths and names under `results/`: one file knows them."""

import ast
from pathlib import Path

import pytest

from shiftcast.cards.suite import RunKey
from shiftcast.errors import RunError
from shiftcast.runs import layout
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.reading import read_pool

PACKAGE = Path(layout.__file__).parents[1]
PAGES = {layout.BOARD_PAGE, layout.CONFUSION_PAGE, layout.LEGEND_PAGE}
FILES = {*layout.RUN_FILES, layout.LEDGER, *PAGES}
FOLDERS = {layout.FIGURES, layout.BLIND}
ELSEWHERE = {
    "cards/suite.py": "a run's key says its path below its suite's folder",
    "training/checkpoints.py": "the cache of checkpoints is not results/",
}


def paths_in(tree: ast.AST) -> set[str]:
    """Names under `results/` that code spells out: of files, and of folders where paths are put together."""
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [
        n
        for n in nodes
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docstrings
    ]
    joined = {id(side) for n in nodes if isinstance(n, ast.BinOp) for side in (n.left, n.right)}
    joined |= {id(side) for n in nodes if isinstance(n, ast.Compare) for side in (n.left, *n.comparators)}
    joined |= {id(argument) for n in nodes if isinstance(n, ast.Call) for argument in n.args}
    return {
        node.value
        for node in texts
        if node.value in {*FILES, "@", "seed-"}
        or "seed-*" in node.value
        or (node.value.strip("/") in FOLDERS and id(node) in joined)
    }


@pytest.mark.parametrize(
    "code",
    [
        "root / 'run.json'",
        "path.name == 'ledger.toml'",
        "folder.glob('*/*/seed-*')",
        "name.partition('@')",
        "f'{suite}@{edition}'",
        "f'seed-{n}'",
        "results / 'blind'",
        "name.startswith('blind/')",
        "entry.name != 'figures'",
    ],
)
def test_a_path_that_is_spelt_out_is_found(code):
    assert paths_in(ast.parse(code))


def test_no_other_module_knows_paths_under_results():
    spelt = {
        path.relative_to(PACKAGE).as_posix(): paths
        for path in PACKAGE.rglob("*.py")
        if (paths := paths_in(ast.parse(path.read_text())))
    }
    assert {name: paths for name, paths in spelt.items() if name not in ELSEWHERE} == {
        "runs/layout.py": spelt["runs/layout.py"]
    }
    assert set(ELSEWHERE) <= set(spelt), "take out what has no path of its own any more"


def test_a_folder_of_runs_is_called_after_its_suite_and_edition():
    for label, parts in (("cifar10", ("cifar10", "")), ("cifar10@v4", ("cifar10", "v4"))):
        assert layout.label_of(*parts) == label
        assert layout.split_label(label) == parts


def test_a_run_is_known_by_its_folders():
    folder = RunFolder(Path("results/zoo@two/net/self-reported/seed-12"))
    assert folder.key == RunKey(architecture="net", recipe="self-reported", seed=12)
    assert folder.label == "zoo@two"
    for name in ("seed-01", "seed-x", "seed", "seed-1 "):
        with pytest.raises(ValueError, match="expected a folder seed-N"):
            layout.key_of(folder.path.with_name(name))
    with pytest.raises(ValueError, match="architecture"):
        layout.key_of(Path("A/self-reported/seed-0"))


def test_what_the_leaderboard_makes_is_no_result():
    made = {"confusion.md": True, "figures/a.svg": True, "figures/a.json": False, "notes.md": False}
    made |= {"board.md": True, "shifts/fog.md": True, "shifts/fog/more.md": False, "net/board.md": False}
    assert {name: layout.is_made(name) for name in made} == made
    assert not layout.is_made("net/self-reported/seed-0/figures/a.svg")


def test_a_folder_that_cannot_be_a_runs_is_refused(workspace, make_results):
    results = make_results()
    (results / "tiny" / "test_vit" / "tiny" / "seed-two").mkdir()
    with pytest.raises(
        RunError, match=r"seed-two: expected SUITE/ARCHITECTURE/RECIPE/seed-N, .*rename the folders"
    ):
        read_pool(workspace, workspace.suite("tiny"), results / "tiny")
