"""Which trainings a command asks for, and what each of them changes."""

import pytest

from pixelsmile.ablation.plan import passed_on, plan, quoted, rows_of_command, seeds_of
from pixelsmile.ablation.rows import TABLE_3, asked_rows, known_row
from pixelsmile.bench.paper import tables
from pixelsmile.errors import UserError
from tests.ablation.small import compose_ablate
from tests.tiny_random import compose


def names(rows):
    return [row.name for row in rows]


def test_the_rows_are_those_of_the_paper_in_its_order():
    assert [row.title for row in TABLE_3] == [row["method"] for row in tables()["table_3"]]
    assert len(TABLE_3) == 7


def test_without_a_wish_a_domain_has_every_row_that_is_something_of_its_own_in_it():
    assert names(asked_rows("human", None, None, None)) == names(TABLE_3)
    anime = names(asked_rows("anime", None, None, None))
    assert set(names(TABLE_3)) - set(anime) == {"without_id", "mead"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["loss=hinge"], ["hinge"]),
        (["loss=log_ratio"], ["log_ratio"]),
        (["loss=info_nce"], ["full"]),
        (["experiment=without_id"], ["without_id"]),
        (["rows=[mead,full]"], ["mead", "full"]),
        (["rows=hinge"], ["hinge"]),
    ],
)
def test_words_of_a_command_name_rows(words, expected):
    assert names(rows_of_command(compose_ablate(*words), words)) == expected


def test_a_loss_that_table_3_does_not_have_is_a_row_of_its_own():
    row = known_row("mine")
    assert (row.changes, row.paper) == (("loss=mine",), {})


@pytest.mark.parametrize(
    ("domain", "asked", "match"),
    [
        ("human", (["nothing"], None, None), "Unknown row 'nothing': choose of without_contr"),
        ("human", (None, None, "paper"), "Unknown row 'paper'"),
        ("human", (["full"], "hinge", None), r"rows=\[full\] and loss=hinge both name rows"),
        ("anime", (["mead"], None, None), "mead is nothing of its own for domain=anime"),
        ("anime", (None, None, "without_id"), "say domain=human"),
    ],
)
def test_rows_that_cannot_be_are_refused(domain, asked, match):
    with pytest.raises(UserError, match=match):
        asked_rows(domain, *asked)


@pytest.mark.parametrize(("value", "seeds"), [("3", [0, 1, 2]), ("[4,1]", [1, 4])])
def test_seeds_are_a_number_or_a_list(value, seeds):
    assert seeds_of(compose_ablate(f"seeds={value}")) == seeds


@pytest.mark.parametrize("value", ["0", "-1", "[]", "[a]", "1.5", "true"])
def test_seeds_of_another_kind_are_refused(value):
    with pytest.raises(UserError, match=r"seeds=.*give a number from 1 up, or a list"):
        seeds_of(compose_ablate(f"seeds={value}"))


def test_a_row_differs_from_the_full_one_in_what_its_experiment_says(tmp_path):
    words = ["domain=anime", "loss.identity_weight=0.3", f"out={quoted(tmp_path / 'a=b')}"]
    config = compose_ablate(*words, "seeds=[2]")
    shared = passed_on(words)
    assert shared == ["domain=anime", "loss.identity_weight=0.3"]
    (run,) = plan(config, [known_row("hinge")], shared)
    training = compose(*run.overrides)
    assert training.loss.triplet.term._target_ == "pixelsmile.losses.hinge"
    assert training.loss.identity_weight == 0.3
    assert (training.seed, training.name, training.resume) == (2, "anime-hinge-s2", "auto")
    assert training.paths.runs == str(tmp_path / "a=b")
    assert run.folder == tmp_path / "a=b" / "anime-hinge-s2"
    assert training.trainer.max_steps == 300


def test_mead_needs_named_people_to_be_validated_on(tmp_path):
    words = ["data=ffe", f"data.files.train={quoted(tmp_path)}"]
    with pytest.raises(UserError, match=r"name them with data\.files\.val="):
        plan(compose_ablate(*words), [known_row("mead")], words)


def test_real_mead_takes_the_place_of_the_filmed_one_and_of_the_data(tmp_path):
    words = ["data=ffe", "data.files.train=a.jsonl", "data.files.val=b.jsonl"]
    config = compose_ablate(*words, "mead.root=MEAD", "seeds=1")
    (run,) = plan(config, [known_row("mead")], words)
    data = compose(*run.overrides).data
    assert (data.root, data.val, data.frames, data.resize) == ("MEAD", "b.jsonl", 3, "crop")
    assert data.pairs is None  # the reader then contrasts any two emotions
