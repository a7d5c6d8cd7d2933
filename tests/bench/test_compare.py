"""Which edits of two runs are paired: those of the same face and expression."""

from dataclasses import replace

import pytest

from pixelsmile.bench import compare as module
from pixelsmile.bench.compare import compare, in_words
from pixelsmile.bench.folder import BenchFolder
from pixelsmile.errors import UserError
from tests.bench.tables import JUDGE, PROTOCOL, random_table


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Make a run from a table of edits."""
    tables = {}
    monkeypatch.setattr(module, "read_table", lambda folder: tables[folder.path.name])

    def made(name, table):
        record = {
            "label": name,
            "domain": "human",
            "judge": JUDGE,
            "recognisers": {},
            "landmarks": {"kind": "given"},
            "protocol": PROTOCOL,
        }
        tables[name] = table
        tasks = tuple({edit.task.name: edit.task for edit in table}.values())
        return BenchFolder(tmp_path / name, record, tasks)

    return made


def test_edits_are_paired_by_face_also_where_the_runs_exchange_names(run):
    """f0 and f12 ask for the same expression of two faces; the other run calls them the reverse."""
    table = random_table(tasks=24)
    names = {"f0": "f12", "f12": "f0"}
    changed = [
        replace(edit, task=replace(edit.task, id=names.get(edit.task.id, edit.task.id)))
        for edit in table
    ]
    rows = compare(run("one", table), run("two", changed))["rows"]
    assert len(rows) == 8
    for row in rows:
        assert row["left_out"] == 0
        assert (row["difference"], row["low"], row["high"]) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_run_that_edits_a_face_twice_for_one_expression_is_refused(run):
    table = random_table(tasks=24)
    twin = [
        replace(edit, task=replace(edit.task, id="twin")) for edit in table if edit.task.id == "f0"
    ]
    with pytest.raises(
        UserError, match=r"one asks for angry of the same face twice \(f0_angry and"
    ):
        compare(run("one", table + twin), run("two", table + twin))


def test_an_unclear_difference_names_the_number_of_metrics_that_were_looked_at():
    row = {"verdict": "unclear", "difference": 0.1, "metric": "acc_6"}
    assert in_words(row, "a", "b", 4) == "b may be better; unclear, as 4 metrics were looked at"
