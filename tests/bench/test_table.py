"""What a table of edits says about each, and what is counted: nothing goes missing."""

import json
from dataclasses import replace

import pytest

from pixelsmile.bench.identity import digest
from pixelsmile.bench.summary import summarise, totals_of
from pixelsmile.bench.table import coverage, read_table, seen_counts
from pixelsmile.errors import UserError
from pixelsmile.evaluate import coverage_line
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.judges.base import Usage, answer_key, judge_key, named_scores
from pixelsmile.judges.ledger import Ledger
from tests.bench.tables import JUDGE, edited_folder, random_table


def scored(**scores):
    """Return an edit in which nothing but this is seen."""
    return replace(random_table(tasks=1)[0], scores=tuple(scores.get(n, 0.0) for n in EXPRESSIONS))


def answer(image, repeat, status="ok", scores=None):
    return {
        "key": answer_key(JUDGE, image, repeat),
        "id": "x",
        "repeat": repeat,
        "image": image,
        "judge": JUDGE["id"],
        "settings": JUDGE["settings"],
        "prompt": JUDGE["prompt_hash"],
        "status": status,
        "reason": "",
        "scores": named_scores(scores),
        "raw": "",
        "usage": None,
    }


def test_zeros_are_nothing_seen_and_of_equal_scores_the_first_leads():
    nothing, tied, one = scored(), scored(happy=0.4, fear=0.4), scored(sad=0.1)
    assert [edit.seen for edit in (nothing, tied, one)] == [None, "fear", "sad"]
    assert [edit.tied for edit in (nothing, tied, one)] == [False, True, False]
    unjudged = replace(one, scores=None, judged="invalid")
    assert seen_counts([nothing, tied, one, unjudged]) == {"one": 1, "tied": 1, "nothing": 1}


def test_an_edit_that_is_no_image_is_unreadable_not_missing_also_when_read_again(tmp_path):
    work = edited_folder(tmp_path)
    work()
    # A first start on a folder with one image that is none and one that is not there.
    whole = (tmp_path / "out" / "p0_happy_0.50.png").read_bytes()
    for path in (tmp_path / "run" / "edits").iterdir():
        path.unlink()
    (tmp_path / "out" / "p0_happy_0.50.png").write_bytes(b"<html>")
    (tmp_path / "out" / "p1_fear_0.00.png").unlink()
    folder = work()
    for _ in range(2):  # nothing but files is read
        table = read_table(folder)
        assert coverage(table)["edits"] == {"total": 6, "made": 4, "missing": 1, "unreadable": 1}
        fates = {edit.path.name: (edit.judged, edit.identity) for edit in table}
        assert fates["p0_happy_0.5.png"] == ("unreadable", "unreadable")
        assert fates["p1_fear_0.0.png"] == ("missing", "missing")
    summary = summarise(folder, table)
    assert "1 missing (p1_fear_0.0.png), 1 unreadable (p0_happy_0.5.png)" in coverage_line(summary)
    assert "out/p0_happy_0.50.png cannot be read" in folder.unreadable.read_text()

    (tmp_path / "out" / "p0_happy_0.50.png").write_bytes(whole)  # mended
    assert coverage(read_table(work()))["edits"]["unreadable"] == 0


def test_edits_of_which_none_is_an_image_are_refused_with_the_first(tmp_path):
    work = edited_folder(tmp_path)
    folder = work()
    for path in [*(tmp_path / "run" / "edits").iterdir()]:
        path.unlink()
    for path in (tmp_path / "out").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"6 of 6 edits are there, none whole: .*p0_happy_0.00.png"):
        work()
    folder.unreadable.write_text("[1")
    with pytest.raises(UserError, match=r"unreadable.json is damaged: delete it"):
        read_table(folder)


def test_answers_of_every_repeat_are_counted_also_beside_one_with_scores(tmp_path):
    folder = edited_folder(tmp_path, repeats=3)()
    first = read_table(folder)[0]
    image = digest(first.path)
    with Ledger(folder.judge_ledger) as ledger:
        ledger.add([answer(image, 0, "refused"), answer(image, 1, scores=(0.5,) * 12)])
    table = read_table(folder)
    assert table[0].judged == "ok"
    assert table[0].answers == ("refused", "ok", "pending")
    counts = coverage(table)
    assert counts["judge"] == {"ok": 1, "invalid": 0, "refused": 0, "pending": 5}
    assert counts["answers"] == {"ok": 1, "invalid": 0, "refused": 1, "pending": 16}
    line = coverage_line(summarise(folder, table))
    assert "answers 1 ok, 0 invalid, 1 refused, 16 not yet" in line


def test_the_totals_of_a_paid_judge_are_in_the_summary_and_those_of_others_are_not(tmp_path):
    prices = {"input": 1.0, "output": 2.0, "cached": None, "currency": "EUR"}
    folder = edited_folder(tmp_path, prices=prices)()
    assert totals_of(folder) is None
    with Ledger(folder.judge_ledger) as ledger:
        for name, usage in ((judge_key(JUDGE), Usage(1_000_000, 0, 10)), ("other", Usage(7, 0, 7))):
            attempt = ledger.begin(name, name)
            ledger.end(attempt, "ok", raw="x", reason="", usage=usage)
        ledger.begin("open", judge_key(JUDGE))
    totals = summarise(folder, read_table(folder))["judge_totals"]
    assert totals["usage"] == {"input": 1_000_000, "cached": 0, "output": 10}
    assert (totals["attempts"], totals["lost"], totals["cost"]) == (2, 1, 1.00002)
    assert "1.0000 EUR" in totals["in_words"]
    json.dumps(totals)
