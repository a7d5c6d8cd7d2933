"""The rebuild as a whole, with budgets of a second: every stage, the chains, the card."""

import pytest
from diffusers import QwenImageEditPlusPipeline
from hydra import compose, initialize_config_dir

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.faces.tiny.rebuild import Rebuild

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STAGES = (
    "pipeline",
    "autoencoder",
    "judge",
    "recognisers",
    "clip",
    "texts",
    "latents",
    "base",
    "confusion",
)
SMALL = [
    *(f"minutes.{name}=0.01" for name in ("autoencoder", "judge", "recogniser", "clip")),
    "base.minutes=0.01",
    "confusion.minutes=0.01",
    *(f"{kind}_identities={{human: 6, anime: 6}}" for kind in ("base", "judge")),
    "edit_identities={human: 1, anime: 1}",
    "transformer={layers: 1, heads: 2}",
    "long_prompts=1",
    "measure_identities=2",
    "fast=false",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rebuild")
    places = [f"out={folder / 'weights'}", f"work={folder / 'work'}"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("tiny", [*SMALL, *places])


@pytest.fixture(scope="module")
def weights(config, tmp_path_factory):
    Rebuild(config).run()
    return tmp_path_factory.getbasetemp() / config.out


def test_every_stage_leaves_a_record(weights):
    work = weights.parent / "work"
    assert {path.stem for path in work.glob("*.json")} == set(STAGES)


def test_stock_diffusers_loads_what_was_built(weights):
    pipeline = QwenImageEditPlusPipeline.from_pretrained(weights / "pipeline")
    assert len(pipeline.transformer.transformer_blocks) == 1


def test_card_has_every_part_in_both_domains(weights):
    card = (weights / "README.md").read_text()
    for title in ("Base without", "Autoencoder", "Judge", "Recognisers", "Image encoder"):
        assert f"## {title}" in card
    for name in ("mscr", "acc_6", "acc_12", "cls_6", "cls_12", "hes", "id_sim"):
        assert f"| {name} | 0." in card or f"| {name} | -0." in card
    assert card.count("| human |") == card.count("| anime |") >= 5


def test_second_run_trains_nothing_again(weights, config, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in (weights.parent / "work").rglob("*")}
    monkeypatch.setattr("pixelsmile.faces.tiny.rebuild.write_card", lambda *_: None)
    Rebuild(config).run()
    after = {path: path.stat().st_mtime_ns for path in (weights.parent / "work").rglob("*")}
    assert after == before
