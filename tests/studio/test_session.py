import pytest

from pixelsmile.errors import UserError
from pixelsmile.studio.mixes import weights_of
from pixelsmile.studio.results import Face, Picture, Settings
from pixelsmile.studio.session import Session
from tests.studio.stand_in import face_image


def settings(seed=0, **mix):
    return Settings(weights_of(mix), seed)


def picture(chosen):
    return Picture(face_image(), chosen.weights, "label", chosen.weights)


@pytest.fixture
def session():
    return Session(room=4, face=Face("me.png", "human", face_image(), face_image(), None))


def add(session, kind, chosen, count=1):
    return session.add(kind, session.opened(), chosen, (picture(chosen),) * count, {})


def test_dragging_one_slider_leaves_one_result_that_holds_its_last_place(session):
    for strength in (0.1, 0.2, 0.7):
        result = add(session, "blend", settings(happy=strength))
    assert session.results == [result]
    assert result.number == 1
    assert result.settings == settings(happy=0.7)


@pytest.mark.parametrize(
    "chosen",
    [settings(happy=0.5, sad=0.1), settings(sad=0.5), settings(seed=1, happy=0.5)],
    ids=["a second slider", "another slider", "another seed"],
)
def test_any_other_change_is_a_result_of_its_own(session, chosen):
    add(session, "blend", settings(happy=0.5))
    assert add(session, "blend", chosen).number == 2
    assert len(session.results) == 2


def test_another_face_is_a_result_of_its_own(session):
    add(session, "blend", settings(happy=0.5))
    session.face = Face("you.png", "human", face_image(), face_image(), None)
    add(session, "blend", settings(happy=0.6))
    assert [result.face.name for result in session.results] == ["me.png", "you.png"]


def test_a_strip_is_never_replaced_by_a_drag(session):
    add(session, "strip", settings(happy=0.5))
    add(session, "blend", settings(happy=0.6))
    assert [result.kind for result in session.results] == ["strip", "blend"]


def test_the_oldest_results_make_room_and_the_newest_stays_however_large(session):
    first = add(session, "strip", settings(happy=0.5), 3)
    second = add(session, "strip", settings(sad=0.5), 3)
    assert session.results == [second]
    assert session.dropped == 1
    with pytest.raises(UserError, match=f"Result {first.number} is not in the history any more"):
        session.find(first.number)
    large = add(session, "grid", settings(), 12)
    assert session.results == [large]
    assert session.find(large.number) is large


def test_numbers_are_never_given_twice(session):
    add(session, "strip", settings(happy=0.5))
    session.clear()
    assert session.results == []
    assert add(session, "strip", settings(happy=0.5)).number == 2


def test_a_render_belongs_to_the_face_that_was_rendered_not_to_the_one_open_now(session):
    rendered = session.opened()
    session.face = Face("you.png", "human", face_image(), face_image(), None)
    chosen = settings(happy=0.5)
    result = session.add("blend", rendered, chosen, (picture(chosen),), {})
    assert result.face is rendered


def test_without_a_face_nothing_can_be_rendered():
    with pytest.raises(UserError, match="upload an image or choose an example first"):
        Session().opened()
