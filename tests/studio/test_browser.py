"""The page in a real browser, with models that cost nothing."""

import json
import os
import re
import shutil
import zipfile

import pytest

from pixelsmile.studio.uploads import Limits
from tests.studio.stand_in import face_image, file_of, make_handlers

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve the app on a free port, once for all tests here."""
    pytest.importorskip("gradio")
    from hydra import compose, initialize_config_dir

    from pixelsmile import app
    from pixelsmile.command import CONFIG_FOLDER

    overrides = ["port=null", "limits.megabytes=0.2", "steps=5"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("app", overrides)
    handlers = make_handlers(limits=Limits(megabytes=0.2), steps=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        blocks, address = app.serve(handlers, config)
        yield address
        blocks.close(verbose=False)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """One browser context with the page open, and what it asked the network for."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(error))
        self.page.goto(address)
        self.see(".ps-frame")

    def see(self, selector, text=None):
        found = self.page.locator(selector)
        (found if text is None else found.filter(has_text=text)).first.wait_for()
        return found

    def shown(self):
        """Return the address of the edited picture that is in view."""
        return self.page.locator(".ps-frame:visible").get_attribute("src")

    def settle(self, seconds=1.0):
        """Wait until no request was made for so long, or for half a minute."""
        before = -1
        for _ in range(30):
            if len(self.requests) == before:
                return
            before = len(self.requests)
            self.page.wait_for_timeout(1000 * seconds)

    def slide(self, name, value):
        """Drag a slider, as a mouse does: to its left end and on to the value."""
        track = self.page.locator(f"#ps-slider-{name} input[type=range]")
        track.scroll_into_view_if_needed()
        box = track.bounding_box()
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + 2, middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * value, middle, steps=4)
        self.page.mouse.up()
        return float(self.page.input_value(f"#ps-slider-{name} input[type=number]"))

    def upload(self, name, content):
        chosen = {"name": name, "mimeType": "image/png", "buffer": content}
        self.page.locator("#ps-upload input[type=file]").set_input_files(chosen)

    def changed(self, before):
        """Wait for another picture than the one before, and return it."""
        self.page.wait_for_function(
            "before => document.querySelector('.ps-frame:not([hidden])')?.src !== before",
            arg=before,
        )
        return self.shown()


@pytest.fixture
def visit(browser, address):
    visitors = []

    def visit(**options):
        visitors.append(Visitor(browser, address, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
        assert visitor.errors == []


def test_upload_drag_see_the_picture_change_and_download_it_all(visit):
    me = visit()
    me.upload("me & you.png", file_of(face_image("teal")))
    me.see("#ps-notice", "me & you.png")
    before = me.shown()
    strength = me.slide("sad", 0.9)
    assert strength == pytest.approx(0.9, abs=0.1)
    me.changed(before)
    me.see(".ps-reading:not([hidden]) .ps-asked", re.compile(f"sad.*{strength:.2f}", re.DOTALL))
    me.page.get_by_role("tab", name="History and download").click()
    me.see("#ps-history .ps-card")
    with me.page.expect_download() as download:
        me.page.click("#ps-zip")
    assert re.fullmatch(r"pixelsmile-[\d-]+\.zip", download.value.suggested_filename)
    with zipfile.ZipFile(download.value.path()) as archive:
        settings = json.loads(archive.read("settings.json"))
        last = settings["results"][-1]
        assert archive.read(last["pictures"][0]["file"]).startswith(b"\x89PNG")
    assert "me-you" in last["source"]
    asked = last["pictures"][0]["asked"]
    assert asked["happy"] == 0.8
    assert asked["sad"] == strength  # where the drag ended, and no step on the way


def test_the_strip_scrubs_and_the_wipe_wipes_without_a_request(visit):
    me = visit()
    me.page.click("#ps-strip")
    me.see(".ps-film .ps-thumb")
    me.settle()
    asked = len(me.requests)
    seen = {me.shown()}
    scrub = me.page.locator(".ps-scrub")
    scrub.focus()
    for _ in range(4):
        me.page.keyboard.press("ArrowLeft")
        seen.add(me.shown())
    assert len(seen) == 5
    assert me.page.locator(".ps-scrubber output").inner_text() == "neutral"
    assert me.page.locator(".ps-frame:visible").count() == 1
    me.page.locator(".ps-thumb").nth(3).click()
    assert me.page.locator(".ps-scrubber output").inner_text() == "happy 0.60"
    me.page.locator(".ps-reading:visible .ps-asked", has_text="0.60").wait_for()
    me.page.locator(".ps-wipe").fill("20")
    wipe = "getComputedStyle(document.querySelector('.ps-stage')).getPropertyValue('--wipe')"
    assert me.page.evaluate(wipe) == "20%"
    assert [url for url in me.requests[asked:] if not url.startswith("data:")] == []


def test_nothing_is_fetched_from_outside(visit, address):
    me = visit()
    me.page.wait_for_timeout(500)
    outside = [url for url in me.requests if not url.startswith((address, "data:", "blob:"))]
    assert outside == []


def test_a_card_of_all_twelve_sets_the_sliders(visit):
    me = visit()
    before = me.shown()
    me.page.click("#ps-all")
    me.see("#ps-all-twelve .ps-card")
    assert me.page.locator("#ps-all-twelve .ps-card").count() == 12
    me.page.click("#ps-all-twelve [data-choose=shy]")
    me.changed(before)
    me.see(".ps-asked", "shy")
    value = "#ps-slider-{} input[type=number]"
    assert me.page.input_value(value.format("shy")) == "1"
    assert me.page.input_value(value.format("happy")) == "0"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.png", b"no picture at all", "notes.png is no picture that can be read"),
        ("small.png", file_of(face_image(size=(8, 8))), "small.png has 8 x 8 pixels"),
        ("large.png", os.urandom(300_000), "exceed"),
    ],
    ids=["no picture", "too small", "too many bytes"],
)
def test_a_bad_file_gets_a_sentence_and_the_page_goes_on(visit, name, content, sentence):
    me = visit()
    me.upload(name, content)
    me.page.get_by_text(re.compile(sentence, re.IGNORECASE)).first.wait_for()
    assert "Traceback" not in me.page.content()
    before = me.shown()
    me.upload("good.png", file_of(face_image("gold")))
    me.changed(before)
    me.see("#ps-notice", "good.png")


def test_two_visitors_at_once_see_their_own_pictures(visit):
    mine, yours = visit(), visit()
    mine.upload("mine.png", file_of(face_image("navy")))
    yours.upload("yours.png", file_of(face_image("gold")))
    mine.see("#ps-notice", "mine.png")
    yours.see("#ps-notice", "yours.png")
    for strength in (0.9, 0.4):
        shown = [visitor.shown() for visitor in (mine, yours)]
        for visitor in (mine, yours):  # both ask before either has an answer
            visitor.slide("fear", strength)
            visitor.page.click("#ps-strip")
        for visitor, before in zip((mine, yours), shown, strict=True):
            visitor.changed(before)
    for visitor, own, other in ((mine, "mine", "yours"), (yours, "yours", "mine")):
        visitor.page.get_by_role("tab", name="History and download").click()
        visitor.see("#ps-history .ps-card", f"{own}.png")
        assert f"{other}.png" not in visitor.page.content()
        red, _, blue = centre(visitor, ".ps-before")
        assert (blue > red) == (own == "mine")


def centre(visitor, selector):
    """Return the colour in the middle of a picture on the page."""
    return visitor.page.evaluate(
        """selector => {
            const image = document.querySelector(selector);
            const canvas = document.createElement("canvas").getContext("2d");
            canvas.drawImage(image, 0, 0, 8, 8);
            return [...canvas.getImageData(4, 2, 1, 1).data].slice(0, 3);
        }""",
        selector,
    )


def test_everything_can_be_done_with_the_keyboard(visit):
    me = visit()
    press = me.page.keyboard.press
    before = me.shown()
    me.page.focus("[data-example='0']")
    press("Tab")
    press("Enter")  # opens the second example
    before = me.changed(before)
    me.see("#ps-notice", "anime example 1")
    me.page.focus("#ps-slider-angry input[type=range]")
    press("ArrowRight")
    before = me.changed(before)
    me.see(".ps-asked", "angry")
    me.page.focus(".ps-wipe")
    press("ArrowLeft")
    assert me.page.input_value(".ps-wipe") == "49"
    me.page.focus("#ps-strip")
    press("Enter")
    me.see(".ps-thumb")
    names = "[...document.querySelectorAll('button, input')].filter(item => item.offsetParent"
    nameless = me.page.evaluate(
        names + " && !(item.ariaLabel || item.labels?.length || item.innerText?.trim()"
        " || item.title)).map(item => item.outerHTML.slice(0, 120))"
    )
    assert nameless == []


def test_a_phone_shows_everything_without_scrolling_sideways(visit):
    me = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    me.page.click("#ps-strip")
    me.see(".ps-film")
    me.page.click("#ps-all")
    me.see("#ps-all-twelve .ps-card")
    assert me.page.evaluate("document.documentElement.scrollWidth") <= 390
    me.page.locator("#ps-slider-sad").scroll_into_view_if_needed()
    stage = me.page.locator(".ps-stage").bounding_box()
    assert stage["y"] >= 0  # the picture stays in view while sliders are moved
    assert stage["y"] + stage["height"] < 844 / 2
    assert stage["width"] > 200
    covered = me.page.evaluate(
        """() => {
            const box = document.querySelector(".ps-stage").getBoundingClientRect();
            const shares = [0.1, 0.25, 0.4, 0.6, 0.75, 0.9];
            return shares.flatMap(y => shares.map(x => document.elementFromPoint(
                box.left + x * box.width, box.top + y * box.height
            ))).filter(item => !item.closest(".ps-stage")).map(item => item.outerHTML.slice(0, 99));
        }"""
    )
    assert covered == []  # no label of what lies below shines through


def test_an_open_page_in_dark_mode_has_readable_text(visit):
    me = visit(color_scheme="dark")
    for selector in ("#ps-head h1", ".ps-reading dt", "#ps-notice b"):
        assert contrast(me, selector) >= 4.5, selector


def contrast(visitor, selector):
    """Return the WCAG contrast of a text with the page behind it."""
    colours = visitor.page.evaluate(
        """selector => [
            getComputedStyle(document.querySelector(selector)).color,
            getComputedStyle(document.body).backgroundColor,
        ]""",
        selector,
    )
    light = [luminance([int(part) for part in re.findall(r"\d+", text)[:3]]) for text in colours]
    return (max(light) + 0.05) / (min(light) + 0.05)


def luminance(colour):
    parts = [part / 255 for part in colour]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(part * share for part, share in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
