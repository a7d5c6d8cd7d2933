import pytest

from pixelsmile.errors import UserError
from pixelsmile.studio.handlers import Example
from pixelsmile.studio.mixes import weights_of
from pixelsmile.studio.results import NEUTRAL_WEIGHTS, Settings
from pixelsmile.studio.session import Session
from pixelsmile.studio.uploads import Limits
from tests.studio.stand_in import face_image, file_of, make_handlers, read

CHOSEN = Settings(weights_of({"happy": 0.8}))
NEUTRAL = Settings(NEUTRAL_WEIGHTS)


@pytest.fixture
def handlers():
    return make_handlers(steps=3)


@pytest.fixture
def session(handlers):
    session = Session()
    handlers.example(session, 0, NEUTRAL)
    return session


@pytest.fixture
def upload(tmp_path):
    path = tmp_path / "me <b>.png"
    path.write_bytes(file_of(face_image("teal")))
    return path


def test_an_upload_is_opened_and_edited_as_the_sliders_say(handlers, upload):
    session = Session()
    screen = handlers.upload(session, upload, "human", CHOSEN)
    assert session.face.name == upload.name
    assert [result.kind for result in session.results] == ["blend"]
    assert 'class="ps-wipe"' in screen.viewer
    assert "happy 0.80" in screen.history


def test_names_of_files_cannot_smuggle_markup_into_the_page(handlers, upload):
    for part in handlers.upload(Session(), upload, "human", CHOSEN):
        assert "<b>.png" not in part
    assert "me &lt;b&gt;.png" in handlers.upload(Session(), upload, "human", CHOSEN).notice


def test_a_bad_file_leaves_the_open_face_open(handlers, session, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    before = session.face
    with pytest.raises(UserError, match=r"notes\.txt is no picture"):
        handlers.upload(session, path, "human", CHOSEN)
    assert session.face is before


def test_what_the_reader_refuses_is_said_without_folders_of_the_server(handlers, upload):
    def refuse(path):
        raise UserError(f"Image {path} is wholly transparent: give another one.")

    handlers.read = refuse
    with pytest.raises(UserError) as refusal:
        handlers.upload(Session(), upload, "human", CHOSEN)
    assert str(refusal.value) == "Image me <b>.png is wholly transparent: give another one."


def test_two_visitors_share_the_models_and_no_pictures(handlers, upload):
    mine, yours = Session(), Session()
    handlers.upload(mine, upload, "human", CHOSEN)
    handlers.example(yours, 1, NEUTRAL)
    handlers.strip(yours, Settings(weights_of({"sad": 1.0})))
    assert [result.face.name for result in mine.results] == [upload.name]
    assert {result.face.name for result in yours.results} == {"anime example 1"}
    assert mine.face.image.getpixel((0, 0)) != yours.face.image.getpixel((0, 0))


def test_without_a_weight_the_source_is_shown_and_nothing_is_rendered(handlers, session):
    screen = handlers.blend(session, NEUTRAL)
    assert "Move a slider" in screen.viewer
    assert session.results == []


def test_a_strip_holds_all_its_pictures_so_that_scrubbing_needs_no_server(handlers, session):
    screen = handlers.strip(session, CHOSEN)
    assert screen.viewer.count('class="ps-frame"') == 3
    assert screen.viewer.count('class="ps-reading"') == 3
    assert screen.viewer.count('src="data:image/') == 1 + 3 + 3  # before, frames, film


def test_a_strip_to_nowhere_is_refused(handlers, session):
    with pytest.raises(UserError, match="All sliders are at 0"):
        handlers.strip(session, NEUTRAL)


def test_a_card_of_the_grid_sets_one_slider_and_keeps_seed_and_speed(handlers, session):
    grid, history = handlers.grid(session, 0.5, CHOSEN)
    assert grid.count("data-choose=") == 12
    assert "All twelve at 0.50" in history
    chosen = Settings(weights_of({"happy": 0.8}), seed=3, speed="fast")
    settings, screen = handlers.choose(session, "sad", 0.5, chosen)
    assert settings == Settings(weights_of({"sad": 0.5}), 3, "fast")
    assert "sad 0.50" in screen.viewer


def test_an_earlier_result_comes_back_with_its_face_and_without_rendering(handlers, session):
    handlers.strip(session, CHOSEN)
    strip = session.results[-1]
    handlers.example(session, 1, CHOSEN)
    (human,) = (editor for name, editor in handlers.engine._loaded.items() if name == "human")
    calls = len(human.rendered)
    result, screen = handlers.restore(session, strip.number)
    assert result is strip
    assert session.face is strip.face
    assert screen.viewer.count('class="ps-frame"') == 3
    assert len(human.rendered) == calls


def test_another_domain_reads_the_same_picture_with_other_prompts(handlers, session):
    image = session.face.image
    handlers.domain(session, "anime", CHOSEN)
    assert session.face.domain == "anime"
    assert session.face.image.tobytes() == image.tobytes()
    face = session.face
    handlers.domain(session, "anime", CHOSEN)
    assert session.face is face  # nothing to do


@pytest.mark.parametrize("number", [2, -1, "0", None, 1.5, True])
def test_events_that_no_button_sends_are_refused(handlers, session, number):
    number = "one" if number is True else number
    with pytest.raises(UserError, match="There is no example"):
        handlers.example(session, number, CHOSEN)
    with pytest.raises(UserError, match="not in the history any more"):
        handlers.restore(session, number)
    with pytest.raises(UserError, match="Unknown expression"):
        handlers.choose(session, number, 1.0, CHOSEN)


def test_a_page_without_examples_says_what_to_do_first():
    handlers = make_handlers()
    handlers.examples = ()
    assert "Upload a picture" in handlers.screen(Session()).viewer


def test_limits_hold_for_uploads(tmp_path, upload):
    handlers = make_handlers(limits=Limits(smallest=100))
    with pytest.raises(UserError, match="each edge needs 100 or more"):
        handlers.upload(Session(), upload, "human", CHOSEN)


def test_examples_open_with_the_points_they_bring(handlers, session):
    assert isinstance(handlers.examples[0], Example)
    assert session.face.given
    assert session.face.note == ""
    assert read is handlers.read
