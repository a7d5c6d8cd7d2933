"""The record behind the page: runs of several machines and days meet in it."""

import json
import logging
import math
import re

import pytest
from torch.utils.tensorboard import SummaryWriter

from pixelsmile.ablate import report
from pixelsmile.ablation.document import page, read_notes
from pixelsmile.ablation.plan import settings
from pixelsmile.ablation.record import joined, write_record
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from tests.ablation.small import compose_ablate, result, write_run

SETTINGS = {"protocol": ["trainer.max_steps=3"], "shared": [], "mead": {"root": None}}


def test_record_says_again_what_was_written(tmp_path):
    path = tmp_path / "record.json"
    results = [result("full", 0, acc_6=1 / 3), result("hinge", 1, "anime", mscr=0.0)]
    write_record(path, SETTINGS, results)
    assert joined(path, SETTINGS, []) == results
    assert path.read_text().count("\n") == 5  # settings, opening, one a run, end


def test_a_number_that_is_none_survives_as_json_null(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, SETTINGS, [result("full", id_sim=math.nan)])
    assert "NaN" not in path.read_text()
    assert math.isnan(joined(path, SETTINGS, [])[0].values["id_sim"])


def test_runs_on_disk_join_the_record_and_count_where_both_have_one(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, SETTINGS, [result("full", 0, acc_6=0.1), result("full", 2)])
    found = [result("full", 0, acc_6=0.9), result("hinge", 0)]
    results = joined(path, SETTINGS, found)
    assert [(one.row, one.seed) for one in results] == [("hinge", 0), ("full", 0), ("full", 2)]
    assert results[1].values["acc_6"] == 0.9


def test_runs_of_other_settings_do_not_join(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, SETTINGS, [result("full")])
    other = SETTINGS | {"protocol": ["trainer.max_steps=4"]}
    with pytest.raises(UserError, match=r"record.json records runs with other .*max_steps=3.*4"):
        joined(path, other, [result("full", 1)])
    assert len(joined(path, other, [])) == 1  # nothing on disk, nothing to disagree


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": []}', '{"settings": {}, "runs": [{}]}'])
def test_a_broken_record_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{path} is no record of an ablation")):
        joined(path, SETTINGS, [])
    assert path.read_text() == text


def test_page_grows_by_the_runs_of_each_machine(tmp_path):
    """The second machine has no runs of the first, only its record."""
    words = [f"document={tmp_path / 'page.md'}", f"record={tmp_path / 'page.json'}", "notes=none"]
    for machine, seed in (("one", 0), ("two", 1)):
        out = tmp_path / machine
        write_run(out / f"human-full-s{seed}", 0.5 + seed / 10)
        report(compose_ablate(f"out={out}", *words))
    page = (tmp_path / "page.md").read_text()
    assert "| Full Setting | 2 | 0.550 ± 0.071 |" in page
    report(compose_ablate(f"out={tmp_path / 'none'}", *words))
    assert (tmp_path / "page.md").read_text() == page
    assert len(json.loads((tmp_path / "page.json").read_text())["runs"]) == 4  # with the base


def test_report_shows_its_progress_and_no_notes_of_libraries(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)  # as Hydra sets it, with a handler, for every command
    write_run(tmp_path / "human-full-s0", 0.5)
    with SummaryWriter(tmp_path / "human-full-s0") as board:
        board.add_scalar("train/loss", 0.25, 1)
    words = [f"document={tmp_path / 'page.md'}", f"record={tmp_path / 'page.json'}", "notes=none"]
    report(compose_ablate(f"out={tmp_path}", *words))
    assert "Reading runs: 1/1" in capsys.readouterr().out
    _, run = json.loads((tmp_path / "page.json").read_text())["runs"]
    assert run["values"]["early_loss"] == 0.25
    assert not caplog.records


def test_the_page_in_docs_is_made_from_the_record_beside_it_under_the_protocol_in_configs():
    docs, config = CONFIG_FOLDER.parent / "docs", compose_ablate()
    recorded = json.loads((docs / "ablation.json").read_text())["settings"]
    assert recorded == settings(config, [])
    results = joined(docs / "ablation.json", recorded, [])
    notes = read_notes(docs / "ablation_notes.yaml")
    assert page(config, results, notes) == (docs / "ablation.md").read_text(encoding="utf-8")
