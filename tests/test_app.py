import socket

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from pixelsmile import app
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.studio.mixes import weights_of
from pixelsmile.studio.results import Settings
from pixelsmile.studio.session import Session
from tests.studio.stand_in import make_handlers
from tests.tiny_random import IMAGE, SETTINGS


def compose_app(*overrides):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("app", list(overrides))


@pytest.fixture(scope="module")
def handlers(tiny_stack):
    """The app on the tiny stack with random weights."""
    model = [item for item in SETTINGS if not item.startswith("model.strengths")]
    config = compose_app(
        f"model.weights={tiny_stack}",
        *model,
        "device=cpu",
        "steps=3",
        "examples.human=[9103]",
        "examples.anime=[9111]",
    )
    return app.make_handlers(config)


def test_the_app_offers_faces_of_both_domains_at_the_size_of_the_model(handlers):
    assert [example.domain for example in handlers.examples] == ["human", "anime"]
    assert {example.image.size for example in handlers.examples} == {(IMAGE, IMAGE)}


@pytest.mark.parametrize("number", [0, 1])
def test_a_face_of_either_domain_is_edited_and_read_by_the_models_of_the_config(handlers, number):
    session = Session()
    chosen = Settings(weights_of({"happy": 0.8}))
    handlers.example(session, number, chosen)
    (result,) = session.results
    (picture,) = result.pictures
    assert picture.image.size == (IMAGE, IMAGE)
    assert len(picture.reading.scores) == len(EXPRESSIONS)
    assert -1 <= picture.reading.identity <= 1
    assert result.face.reading.identity == 1
    assert result.model["base"] == "tiny"
    assert len(result.model["weights"]) >= 8


def test_the_picture_is_the_one_that_the_python_api_gives(handlers):
    session = Session()
    handlers.example(session, 0, Settings(weights_of({"happy": 0.8}), seed=5))
    editor = handlers.engine.editor("human")
    expected = editor.blend(handlers.examples[0].image, {"happy": 0.8}, seed=5)
    shown = session.results[0].pictures[0].image
    np.testing.assert_array_equal(np.array(shown), np.array(expected))


def test_uploads_are_read_as_the_edit_command_reads_them(tmp_path):
    """Transparent parts are white, and a turned photograph is upright."""
    path = tmp_path / "turned.png"
    image = Image.new("RGBA", (40, 60), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (0, 0, 40, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    image.save(path, exif=exif)
    read = app.read(path)
    assert read.size == (60, 40)
    assert read.getpixel((59, 20)) == (255, 255, 255)
    assert read.getpixel((0, 20)) == (200, 30, 30)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("limits.megabytes=0", r"limits\.megabytes=0: give a number above 0"),
        ("limits.pictures=many", r"limits\.pictures=many: give a number above 0"),
        ("steps=1", "steps=1: a strength strip has 2 pictures or more"),
        ("kept=0", "kept=0: keep 1 editor or 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_loaded(override, sentence):
    with pytest.raises(UserError, match=sentence):
        app.make_handlers(compose_app(override))


def test_a_missing_lora_is_said_at_the_start_and_not_to_the_first_visitor(tmp_path):
    for domain in ("human", "anime"):
        with pytest.raises(UserError, match="nowhere"):
            app.make_handlers(compose_app(f"lora.{domain}={tmp_path}/nowhere"))


def test_a_taken_port_is_said_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} .*say port=null"):
            app.serve(make_handlers(), compose_app(f"port={port}"))


def test_the_page_names_loras_without_folders_of_the_machine():
    config = compose_app("lora.human=/home/me/runs/human-1/lora")
    assert app.status(config) == "tiny model; human: LoRA of human-1; anime: zero-shot base"


@pytest.mark.parametrize("model", ["tiny", "qwen_image_edit_2511"])
def test_the_config_resolves_for_both_stacks(model):
    config = compose_app(f"model={model}", "paths.weights=weights")
    OmegaConf.resolve(config)
    assert not OmegaConf.missing_keys(config)


def test_by_default_only_this_machine_is_served_and_nothing_needs_a_download():
    config = compose_app()
    assert config.host == "127.0.0.1"
    assert OmegaConf.to_container(config.lora) == {"human": None, "anime": None}
    assert config.model.base == "tiny"
