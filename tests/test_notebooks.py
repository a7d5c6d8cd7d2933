"""What is committed of the notebooks; that they run is proved by `pytest notebooks` (nbmake)."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells_of(path, kind):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def leftovers(notebook):
    """Return the ids of cells that hold anything of a run."""
    return [
        cell["id"]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"] is not None)
    ]


def source(cell):
    return "".join(cell["source"])


def test_there_are_four_in_a_row():
    names = [path.stem for path in NOTEBOOKS]
    assert names == ["01_quickstart", "02_losses", "03_sweep_and_blend", "04_metrics"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_or_execution_count_is_kept(path):
    assert leftovers(json.loads(path.read_text())) == [], f"run nbstripout {path}"


@pytest.mark.parametrize(
    "change", [{"outputs": [{"output_type": "stream"}]}, {"execution_count": 3}]
)
def test_a_notebook_that_was_run_is_noticed(change):
    notebook = json.loads(NOTEBOOKS[0].read_text())
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell |= change
    assert leftovers(notebook) == [cell["id"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_starts_with_a_title_and_has_no_empty_cell(path):
    first = json.loads(path.read_text())["cells"][0]
    assert first["cell_type"] == "markdown"
    assert source(first).startswith("# ")
    assert all(
        source(cell).strip() for kind in ("code", "markdown") for cell in cells_of(path, kind)
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_path_of_a_machine_is_kept(path):
    text = path.read_text()
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
    assert "nbmake" not in json.loads(text)["metadata"]  # no exceptions for the test run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_imported_name_is_used(path):
    code = "\n".join(source(cell) for cell in cells_of(path, "code"))
    tree = ast.parse(re.sub(r"^%.*$", "", code, flags=re.MULTILINE))
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert imported <= used


def test_make_test_executes_them():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "notebooks" in options["testpaths"]
    assert "--nbmake" in options["addopts"]
