"""The command from nothing to the page: trains what is missing, resumes, tells, refuses."""

import csv
import json

import pytest
from rich.console import Console

from pixelsmile import ablate as command
from pixelsmile.ablate import ablate, num_workers, report
from pixelsmile.ablation.results import collect, curves
from pixelsmile.errors import UserError
from pixelsmile.scoring import METRIC_NAMES
from tests.ablation.small import compose_ablate, inline, write_run
from tests.tiny_random import SETTINGS


def start(*words):
    return ablate(compose_ablate(*words), words)


@pytest.fixture
def stubbed(monkeypatch, tmp_path):
    """Trainings that only write their result; returns what was done, and words for the command."""
    done = []

    def work(run):
        done.append(run.name)
        if "hinge-s1" in run.name and done.count(run.name) == 1:
            raise RuntimeError
        write_run(run.folder, value=0.1 * len(done))
        for name in ("before", "ceiling"):
            if not (run.folder / f"{name}.json").exists():
                (run.folder / f"{name}.json").write_text(f'"{run.name}"')

    monkeypatch.setattr(command, "train_all", inline)
    monkeypatch.setattr(command, "train_one", work)
    monkeypatch.setattr(command, "prepare_runs", lambda runs: None)
    return done, ["domain=anime", f"out={tmp_path / 'out'}", "rows=[hinge,full]", "seeds=2"]


def test_failed_run_stops_no_other_and_alone_is_done_again(stubbed, tmp_path):
    done, words = stubbed
    with pytest.raises(
        UserError, match=r"1 of 4 runs failed .*anime-hinge-s1\.log: error: as told"
    ):
        start(*words)
    assert done == ["anime-hinge-s0", "anime-hinge-s1", "anime-full-s0", "anime-full-s1"]
    results = start(*words)
    assert done[4:] == ["anime-hinge-s1"]
    assert [(one.row, one.seed) for one in results] == [
        (row, seed) for row in ("base", "hinge", "full") for seed in (0, 1)
    ]
    start(*words)
    assert len(done) == 5


def test_base_is_measured_once_a_seed_and_the_ceiling_once(stubbed, tmp_path):
    _, words = stubbed
    with pytest.raises(UserError):
        start(*words)
    read = {
        (folder.name, name): json.loads((folder / f"{name}.json").read_text())
        for folder in (tmp_path / "out").glob("anime-full-*")
        for name in ("before", "ceiling")
    }
    assert read == {
        ("anime-full-s0", "before"): "anime-hinge-s0",
        ("anime-full-s1", "before"): "anime-full-s1",
        ("anime-full-s0", "ceiling"): "anime-hinge-s0",
        ("anime-full-s1", "ceiling"): "anime-hinge-s0",
    }


def test_numbers_that_a_run_measured_anew_replace_the_shared_ones(stubbed, tmp_path):
    _, words = stubbed
    words = [*words[:2], "seeds=1"]
    start(*words, "rows=[full]")
    shared = tmp_path / "out" / "base" / "anime-s0-before.json"
    assert json.loads(shared.read_text()) == "anime-full-s0"
    own = tmp_path / "out" / "anime-hinge-s0" / "before.json"
    own.parent.mkdir()
    own.write_text('"other settings"')
    start(*words, "rows=[hinge]")
    assert json.loads(shared.read_text()) == "other settings"


def test_ablation_without_scores_is_refused(stubbed):
    done, words = stubbed
    with pytest.raises(UserError, match=r"model\.scorer is null, and an ablation compares scores"):
        start(*words, "model.scorer=null")
    assert not done


def test_missing_weights_are_said_before_anything_is_prepared(stubbed, monkeypatch, tmp_path):
    done, words = stubbed
    monkeypatch.setattr(command, "prepare_runs", lambda runs: done.append("prepared"))
    with pytest.raises(UserError, match=r"No weights at .*transformer"):
        start(*words, f"model.backbone.folder={tmp_path / 'transformer'}")
    assert not done


def test_results_are_mean_and_spread_over_seeds_beside_the_paper(stubbed, tmp_path):
    _, words = stubbed
    start(*words[:2], "rows=[full]", "seeds=2")
    saved = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["title"] for row in saved] == ["w/o training", "Full Setting"]
    acc = saved[1]["metrics"]["acc_6"]
    assert acc["values"] == pytest.approx([0.1, 0.2])
    assert (acc["mean"], acc["spread"]) == pytest.approx((0.15, 0.1 / 2**0.5))
    assert acc["paper"] == 0.8627
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["id_sim"]) for row in rows if row["row"] == "full"] == pytest.approx(
        [0.1, 0.2]
    )


def test_rows_of_other_settings_do_not_meet_in_one_table(stubbed):
    _, words = stubbed
    base = [*words[:2], "rows=[full]", "seeds=1"]
    start(*base)
    start("domain=human", *base[1:])  # another domain is no other setting
    with pytest.raises(UserError, match=r"other settings \(shared \[\] there, .*another folder"):
        start(*base, "trainer.max_steps=7")


def test_unknown_keys_of_a_training_are_refused_before_anything_starts(stubbed):
    done, words = stubbed
    with pytest.raises(Exception, match="nothing_like_it"):
        start(*words, "+model.optimizer={nothing_like_it:1,_target_:1}", "~model.nothing_like_it")
    assert not done


@pytest.mark.parametrize("value", ["0", "many", "1.5"])
def test_workers_of_another_kind_are_refused(value):
    with pytest.raises(UserError, match=r"workers=.*give a number from 1 up, or auto"):
        num_workers(compose_ablate(f"workers={value}"))


def test_page_is_made_from_what_is_on_disk(tmp_path, capsys):
    out = tmp_path / "out"
    for row, value in (("full", 0.5), ("hinge", 0.6), ("log_ratio", 0.4)):
        for seed in range(3):
            write_run(out / f"human-{row}-s{seed}", value + 0.001 * seed)
    (out / "human-mead-s0").mkdir()  # not finished
    notes = tmp_path / "notes.yaml"
    notes.write_text("hinge: Because of the margin.\n")
    written = [f"document={tmp_path / 'page.md'}", f"record={tmp_path / 'page.json'}"]
    report(compose_ablate(f"out={out}", *written, f"notes={notes}"))
    page = (tmp_path / "page.md").read_text()
    assert "| Hinge edits more and keeps less identity than InfoNCE. | not held | not run |" in page
    assert (
        "**Hinge edits more and keeps less identity than InfoNCE.** Because of the margin." in page
    )
    assert "| w/ Hinge Constraint | 3 | 0.601 ± 0.001 |" in page
    assert (
        "| w/ Hinge Constraint has a higher Acc-6 than Full Setting | +0.100, +0.100, +0.100 |"
        in page
    )
    assert "MEAD." in page.partition("Not run: ")[2].partition("\n")[0]
    assert (out / "results.csv").is_file()
    shown = capsys.readouterr().out
    assert "w/ Hinge" in shown
    assert "ID Sim" in shown
    assert max(map(len, shown.partition("Numbers")[0].splitlines())) <= 80


def test_page_of_findings_is_not_replaced_by_one_without_any(tmp_path):
    document, record = tmp_path / "page.md", tmp_path / "page.json"
    document.write_text("Findings of a night.")
    words = [f"out={tmp_path}", f"document={document}", f"record={record}", "notes=none.yaml"]
    with pytest.raises(UserError, match=r"No finished run in .* no record at .*page\.json.*out="):
        report(compose_ablate(*words))
    assert document.read_text() == "Findings of a night."
    assert not record.exists()


def test_page_of_one_row_has_the_protocol_and_leaves_what_was_not_run_open(tmp_path):
    write_run(tmp_path / "out" / "human-full-s0", 0.5)
    document = tmp_path / "page.md"
    written = [f"document={document}", f"record={tmp_path / 'page.json'}", "notes=none.yaml"]
    report(compose_ablate(f"out={tmp_path / 'out'}", *written))
    page = document.read_text()
    assert "- `trainer.max_steps=300`" in page
    assert page.count("not run |") > 10


def test_loss_with_dashes_in_its_name_is_a_row_like_any_other(stubbed, tmp_path, monkeypatch):
    done, words = stubbed
    monkeypatch.setattr(command, "_composed", lambda run: None)  # there is no such config
    monkeypatch.setattr(command, "check_parts", lambda config: None)
    own = [*words[:2], "loss=my-own-loss", "seeds=2"]
    results = ablate(compose_ablate(*words[:2], "seeds=2"), own)
    assert done == ["anime-my-own-loss-s0", "anime-my-own-loss-s1"]
    assert [(one.row, one.seed) for one in results if one.row != "base"] == [
        ("my-own-loss", 0),
        ("my-own-loss", 1),
    ]
    base = sorted(file.name for file in (tmp_path / "out" / "base").iterdir())
    assert base == ["anime-ceiling.json", "anime-s0-before.json", "anime-s1-before.json"]


def test_notes_of_unknown_claims_are_refused(tmp_path):
    notes = tmp_path / "notes.yaml"
    notes.write_text("hinges: x\n")
    with pytest.raises(UserError, match="names 'hinges': choose of trade_off"):
        report(
            compose_ablate(
                f"out={tmp_path}",
                f"document={tmp_path / 'p'}",
                f"record={tmp_path / 'r'}",
                f"notes={notes}",
            )
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_rows_are_trained_and_measured_on_the_same_people(tmp_path, tiny_stack, monkeypatch):
    """Two rows on the random stack; the MEAD row films, reads and trains on videos."""
    monkeypatch.setattr(command, "train_all", inline)
    words = [
        *SETTINGS,
        f"model.weights={tiny_stack}",
        *(f"paths.{name}={tmp_path / name}" for name in ("data", "cache")),
        f"out={tmp_path / 'out'}",
        "domain.faces={_target_:tests.faces.fakes.StillFaces}",
        "data.files.train_identities=1",
        "data.files.train_strengths=[1.0]",
        "data.files.val_identities=1",
        "data.files.val_strengths=[1.0]",
        "mead.subjects=1",
        "trainer.log_every_n_steps=1",
        "trainer.accelerator=cpu",
        "trainer.max_steps=2",
        "model.training.validate_every=2",
        "rows=[mead,full]",
        "seeds=1",
    ]
    results = start(*words)
    assert [one.row for one in results] == ["base", "mead", "full"]
    _, mead, full = results
    assert all(set(one.values) >= set(METRIC_NAMES) for one in results)
    loss, _ = curves(tmp_path / "out" / "human-full-s0")
    assert sorted(loss) == [0, 1]
    assert (full.values["early_loss"], full.values["late_loss"]) == (loss[0], loss[1])
    assert mead.values["early_loss"] != full.values["early_loss"]
    # Both were scored on the same people, by the same base.
    out = tmp_path / "out"
    read = [
        json.loads((out / f"human-{r}-s0" / "metrics.json").read_text()) for r in ("mead", "full")
    ]
    assert read[0]["before"] == read[1]["before"]
    for name in ("before.json", "ceiling.json"):  # the second run took them from the first
        shared = [(out / f"human-{r}-s0" / name).read_bytes() for r in ("mead", "full")]
        assert shared[0] == shared[1]
    assert len(list((tmp_path / "data").rglob("*.mp4"))) == 1 + 7 * 3
    assert collect(out) == results
    table = Console(width=200, record=True)
    table.print(command.results_table(results, "human"))
    assert "0.0550" in table.export_text()
