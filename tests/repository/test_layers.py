"""What may import what: layers from low to high, no circles, heavy packages in one place each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import REPOSITORY, SLOW, TESTS

PACKAGE = REPOSITORY / "benchmark" / "shiftcast"
LAYERS = (
    {"errors"},
    {"util"},
    {"statistics"},
    {"predictions"},
    {"calibration", "difficulty", "intake"},
    {"cards", "estimators"},
    {"workspace", "testing"},
    {"data"},
    {"estimate", "runs"},
    {"training", "scoring", "analysis"},
    {"engines"},
    {"board", "blind"},
    {"leaderboard", "submission"},
    {"site"},
    {"cli"},
)
"""Folders and modules, lowest first; those of one layer may import one another."""
ABOVE = {"__init__", "__main__"}
"""Modules at the root that no layer imports."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below `shiftcast`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Modules that are imported anywhere, and whether for types alone."""

    def visit(node: ast.AST, typing: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            typing = True
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, typing
            yield from ((f"{node.module}.{alias.name}", typing) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, typing) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, typing)

    yield from visit(tree, typing=False)


def graph() -> dict[str, set[str]]:
    """Which modules of the package each imports, at its top or in functions; not those for types alone."""
    found = {}
    for name, path in MODULES.items():
        used = (module for module, typing in imports(ast.parse(path.read_text())) if not typing)
        ours = (module for module in used if module.split(".")[0] == "shiftcast")
        inside = {module.removeprefix("shiftcast").lstrip(".") for module in ours}
        found[name] = {module for module in inside if module in MODULES and module not in ("", name)}
    return found


GRAPH = graph()


def top(name: str) -> str:
    return name.split(".")[0]


def level(name: str) -> int | None:
    return next((place for place, layer in enumerate(LAYERS) if top(name) in layer), None)


def test_every_folder_has_its_layer():
    named = set().union(*LAYERS) | ABOVE
    assert {top(name) or "__init__" for name in MODULES} - named == set()


def test_no_import_goes_upward():
    upward = [
        f"{name} -> {other}"
        for name, others in GRAPH.items()
        for other in others
        if (mine := level(name)) is not None and ((theirs := level(other)) is None or theirs > mine)
    ]
    assert upward == []


def test_no_modules_import_each_other():
    """Nor by way of others: modules can be taken away one by one, each when nothing is left that it uses."""
    left = {name: set(others) for name, others in GRAPH.items()}
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    assert left == {}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("torch", "training."),
        ("torchvision", "training."),
        ("timm", "training."),
        ("ray", "engines.ray_cluster"),
    ],
)
def test_heavy_packages_have_one_place(package, allowed):
    users = {
        name
        for name, path in MODULES.items()
        for module, typing in imports(ast.parse(path.read_text()))
        if top(module) == package and not typing
    }
    assert users
    assert all(name.startswith(allowed) for name in users)


@pytest.mark.parametrize(
    ("function", "allowed"),
    [
        # Datasets, and what corruptions are measured against, are known by their fingerprints.
        ("np.load(", {"intake.archives", "data.readers.layouts", "data.corruptions.measure"}),
        ("safe_open(", {"intake.archives"}),
        ("pd.read_parquet(", {"intake.tables"}),
    ],
)
def test_files_that_people_bring_are_read_in_one_place(function, allowed):
    assert {name for name, path in MODULES.items() if function in path.read_text()} <= allowed


@pytest.mark.parametrize("folder", ["statistics", "difficulty"])
def test_mathematics_takes_arrays(folder):
    used = {
        top(module)
        for name, path in MODULES.items()
        if top(name) == folder
        for module, _ in imports(ast.parse(path.read_text()))
    }
    assert "pandas" not in used


DOORS = {"board", "board.build", "board.columns", "board.tables", "board.words"}
"""What shows a board takes it from here; `words` holds no computation."""
STARTS = {
    "board.assemble": {"cli.diff", "cli.report", "leaderboard.cache", "site.build", "submission.board_rows"},
    "board.candidate": {"cli.score"},
    "board.changes": {"cli.diff"},
    "board.stored": {"leaderboard.cache"},
}
"""Where a command's work begins: what scores stored runs, and who asks it to."""


@pytest.mark.parametrize("folder", ["leaderboard", "site", "submission", "cli"])
def test_what_shows_a_board_computes_none(folder):
    used = {
        (name, other)
        for name, others in GRAPH.items()
        for other in others
        if top(name) == folder and top(other) == "board" and other not in DOORS
    }
    assert used == {(name, start) for start, names in STARTS.items() for name in names if top(name) == folder}


def test_no_cache_outlives_its_board():
    keepers = {"lru_cache", "cache"}
    shown = ("board", "leaderboard", "site")
    found = [
        name
        for name, path in MODULES.items()
        for module, _ in imports(ast.parse(path.read_text()))
        if top(name) in shown and module in {f"functools.{keeper}" for keeper in keepers}
    ]
    assert found == []


def test_files_stay_small():
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 600} == {}


def test_the_root_holds_few_modules():
    assert len([path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]) <= 6


def test_functions_stay_small():
    lines = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in lines.items() if count > 60} == {}


def test_what_the_fast_tests_leave_out_is_there():
    missing = [name for name in SLOW if not (TESTS / name).exists()]
    assert missing == []
