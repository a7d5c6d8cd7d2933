import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from pixelsmile.errors import UserError
from pixelsmile.studio.bundle import png, write_bundle
from pixelsmile.studio.mixes import weights_of
from pixelsmile.studio.results import Settings
from pixelsmile.studio.session import Session
from tests.studio.stand_in import make_handlers

CHOSEN = Settings(weights_of({"happy": 0.6, "surprised": 0.4}), 7, "fast")


@pytest.fixture(scope="module")
def session():
    handlers, session = make_handlers(steps=3), Session()
    handlers.example(session, 0, CHOSEN)
    handlers.strip(session, CHOSEN)
    handlers.example(session, 1, CHOSEN)
    handlers.grid(session, 0.5, CHOSEN)
    return session


@pytest.fixture(scope="module")
def archive(session):
    buffer = io.BytesIO()
    write_bundle(session.results, buffer)
    return zipfile.ZipFile(buffer)


@pytest.fixture(scope="module")
def settings(archive):
    return json.loads(archive.read("settings.json"))


def test_settings_name_every_picture_of_the_zip_and_nothing_else(archive, settings):
    assert archive.testzip() is None
    named = {picture["file"] for result in settings["results"] for picture in result["pictures"]}
    named |= {result["source"] for result in settings["results"]}
    assert set(archive.namelist()) == named | {"settings.json"}
    assert len(archive.namelist()) == len(set(archive.namelist()))


def test_pictures_are_those_of_the_session_bit_by_bit(archive, settings, session):
    for listed, result in zip(settings["results"], session.results, strict=True):
        for facts, picture in zip(listed["pictures"], result.pictures, strict=True):
            with Image.open(archive.open(facts["file"])) as image:
                np.testing.assert_array_equal(np.array(image), np.array(picture.image))


def test_settings_are_enough_to_render_a_picture_again(archive, settings):
    """The source of the ZIP, edited by what its settings say, gives the picture of the ZIP."""
    handlers = make_handlers()
    for listed in settings["results"]:
        with Image.open(archive.open(listed["source"])) as image:
            face = handlers.engine.open(image.convert("RGB"), listed["domain"], "again")
        chosen = Settings(seed=listed["seed"], speed=listed["speed"])
        for facts in listed["pictures"]:
            weights = weights_of(facts["blend"])
            (again,) = handlers.engine.render(face, [weights], [""], chosen)
            assert png(again.image) == archive.read(facts["file"])


def test_settings_say_what_was_asked_and_which_model_did_it(settings):
    blend, strip, _, grid = settings["results"]
    assert blend["pictures"][0]["asked"] == {"happy": 0.6, "surprised": 0.4}
    assert [picture["asked"] for picture in strip["pictures"]][1] == {
        "happy": 0.3,
        "surprised": 0.2,
    }
    assert (blend["seed"], blend["speed"], blend["domain"]) == (7, "fast", "human")
    assert blend["model"] == {"base": "stand-in", "lora": "a/lora", "weights": "stand-in-human"}
    assert grid["model"] == {"base": "stand-in", "lora": None, "weights": "stand-in-anime"}
    assert blend["pictures"][0]["reading"]["scores"]["happy"] == pytest.approx(0.6, abs=1e-4)


def test_an_empty_session_is_refused_before_a_byte_is_written():
    buffer = io.BytesIO()
    with pytest.raises(UserError, match="nothing to download yet: move a slider first"):
        write_bundle([], buffer)
    assert buffer.getvalue() == b""
