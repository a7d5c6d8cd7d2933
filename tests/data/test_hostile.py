"""Every kind of damage gives one clear sentence or a counted skip, and costs nothing else."""

import json
import os
import struct
import zlib

import numpy as np
import pytest

from pixelsmile.data.faults import BadItemError, summary
from pixelsmile.data.ffe import read_faces
from pixelsmile.data.ffe_triplets import read_triplet_faces
from pixelsmile.data.samples import open_image
from pixelsmile.data.verify import Verifier
from pixelsmile.errors import UserError
from tests.small_sets import picture, row, write_ffe, write_lines

EXTRA = "images/extra.png"
"""The image of the line that is damaged, a second look of fear of p0."""


def bomb(width=20_000, height=20_000):
    """Return a PNG that claims to be large and holds nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def encoded(kind):
    """Return the bytes of a whole image in some format."""
    import io

    file = io.BytesIO()
    picture(0, 1).save(file, kind)
    return file.getvalue()


def line(**changes):
    """A damage of the line alone."""
    return lambda folder: json.dumps(row(0, "fear", image=EXTRA) | changes)


def text(changed):
    """A damage of the text of the line."""
    return lambda folder: changed(json.dumps(row(0, "fear", image=EXTRA)))


def data(content):
    """A damage of the image file."""

    def damage(folder):
        (folder / EXTRA).write_bytes(content() if callable(content) else content)
        return json.dumps(row(0, "fear", image=EXTRA))

    return damage


def place(make, name=EXTRA):
    """A damage of what is at the image's path."""

    def damage(folder):
        path = folder / EXTRA
        path.unlink()
        make(folder, path)
        return json.dumps(row(0, "fear", image=name))

    return damage


def outside(folder, path):
    """Put a good image beside the set's folder and a link to it into the set."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    picture(0, 1).save(elsewhere / "secret.png")
    path.symlink_to(elsewhere / "secret.png")


def outside_folder(folder, path):
    outside(folder, path)
    path.unlink()
    (folder / "linked").symlink_to(folder.parent / "elsewhere")


def deep(opening, closing):
    return lambda good: good[:-1] + f', "x": {opening * 100_000}{closing * 100_000}}}'


DAMAGES = {
    # the text of a line
    "half a line": (text(lambda good: good[:40]), "line", r"is not JSON \(.*repair or remove"),
    "two objects": (text(lambda good: good + good), "line", r"is not JSON \(Extra data"),
    "single quotes": (text(lambda good: good.replace('"', "'")), "line", "is not JSON"),
    "an array": (text(lambda good: f"[{good}]"), "line", "is not a JSON object"),
    "a string": (text(lambda good: '"face"'), "line", "is not a JSON object"),
    "deep arrays": (text(deep("[", "]")), "line", r"is not JSON \(nested too deep\)"),
    "deep objects": (text(deep('{"a":', "}")), "line", "is not JSON"),
    "5000 digits": (
        text(lambda good: good.replace("1.0", "9" * 5000)),
        "line",
        r"not JSON \(a number is too long\)",
    ),
    "a NUL": (text(lambda good: good[:20] + "\0" + good[20:]), "line", "is not JSON"),
    # its values
    "no scores": (line(scores=None), "score", "'scores' must map names"),
    "scores as a list": (line(scores=[1]), "score", "'scores' must map names"),
    "score 1.01": (line(scores={"fear": 1.01}), "score", r"score of 'fear' is 1\.01"),
    "score -1": (line(scores={"fear": -1}), "score", "score of 'fear' is -1"),
    "score NaN": (line(scores={"fear": float("nan")}), "score", "score of 'fear' is nan"),
    "score 1e999": (
        text(lambda good: good.replace("1.0", "1e999")),
        "score",
        "score of 'fear' is inf",
    ),
    "score of 400 digits": (line(scores={"fear": 10**400}), "score", "score of 'fear' is 1000"),
    "score as text": (line(scores={"fear": "1"}), "score", "score of 'fear' is '1'"),
    "score true": (line(scores={"fear": True}), "score", "score of 'fear' is True"),
    "no score of its own": (line(scores={}), "score", "'scores' gives 'fear', .*nothing above 0"),
    "score 0 of its own": (line(scores={"fear": 0.0}), "score", "'scores' gives 'fear'"),
    "unknown score": (line(scores={"smug": 1}), "line", "Unknown expression 'smug'"),
    "unknown category": (line(category="smug"), "line", "Unknown expression 'smug'"),
    "category as a list": (line(category=[["fear"]]), "line", "Unknown expression"),
    "unknown domain": (line(domain="cat"), "line", "unknown domain 'cat'"),
    "domain as an object": (line(domain={"a": 1}), "line", "unknown domain"),
    "identity null": (line(identity=None), "line", "'identity' must be a name, got None"),
    "identity empty": (line(identity=" "), "line", "'identity' must be a name"),
    "identity as a list": (line(identity=["p0"]), "line", "'identity' must be a name"),
    "unknown split": (line(split="dev"), "line", "'split' is 'dev', expected train, val or test"),
    "split as a number": (line(split=1), "line", "'split' is 1"),
    "box of 3": (line(box=[1, 2, 3]), "box", "'box' must be 4 finite numbers"),
    "box NaN": (line(box=[1, 2, 3, float("nan")]), "box", "'box' must be 4 finite"),
    "box of 400 digits": (line(box=[1, 2, 3, 10**400]), "box", "'box' must be 4 finite"),
    "box backwards": (line(box=[40, 2, 3, 30]), "box", "x0 < x1 and y0 < y1"),
    "box of no area": (line(box=[4, 2, 4, 30]), "box", "x0 < x1 and y0 < y1"),
    "box as text": (line(box="1,2,3,4"), "box", "'box' must be 4 finite"),
    "box outside": (line(box=[500, 500, 600, 600]), "box", r"64 x 64, and its box .*outside"),
    "box mostly outside": (line(box=[-200, 0, 40, 60]), "box", "lies outside"),
    "box far larger": (line(box=[-20, -20, 1e9, 1e9]), "box", "lies outside"),
    "four landmarks": (line(landmarks=[[1, 2]] * 4), "box", "'landmarks' must be 5 points"),
    "landmarks of three": (line(landmarks=[[1, 2, 3]] * 5), "box", "must be 2 finite numbers"),
    "landmarks outside": (line(landmarks=[[900, 9]] * 5), "box", "its landmarks lie outside"),
    "landmarks null inside": (line(landmarks=[None] * 5), "box", "must be 2 finite numbers"),
    # the path
    "image null": (line(image=None), "file", "'image' must be a path, got None"),
    "image empty": (line(image=""), "file", "'image' must be a path"),
    "image as a list": (line(image=["a.png"]), "file", "'image' must be a path"),
    "image with a NUL": (line(image="a\0.png"), "file", "'image' must be a path"),
    "image with half a character": (line(image="\ud800.png"), "file", "is no file"),
    "image of 5000 letters": (line(image="a" * 5000), "file", "is no file"),
    "image below a file": (line(image=EXTRA + "/a.png"), "file", "is missing"),
    "image missing": (line(image="images/none.png"), "file", "is missing, restore it"),
    "named twice": (line(image="images/p0-fear.png"), "duplicate", r"was named at .*:2: keep"),
    "a folder": (place(lambda _, path: path.mkdir()), "file", "is a folder"),
    "a pipe": (place(lambda _, path: os.mkfifo(path)), "file", "is no file"),
    "a dangling link": (place(lambda _, p: p.symlink_to("none")), "file", "is missing"),
    "a link to itself": (place(lambda _, p: p.symlink_to(p)), "file", "is no file"),
    "a link that leaves": (place(outside), "link", r"leads out of .*follow_links=true"),
    "a folder link that leaves": (
        place(outside_folder, "linked/secret.png"),
        "link",
        "leads out of",
    ),
    "dots that leave": (place(outside, "../elsewhere/secret.png"), "link", "leads out of"),
    "hidden dots that leave": (
        place(outside, "images/../../elsewhere/secret.png"),
        "link",
        "leads out of",
    ),
    "an absolute path that leaves": (line(image="/etc/passwd"), "link", "leads out of"),
    "a device": (line(image="/dev/zero"), "file", "is no file"),
    # the bytes
    "zero bytes": (data(b""), "file", "is empty"),
    "text": (data(b"<html>404</html>"), "file", "cannot be read"),
    "zeros": (data(bytes(5000)), "file", "cannot be read"),
    "a bomb": (data(bomb), "file", r"cannot be read \(over 89 megapixels\): scale it down"),
    "a small bomb": (data(lambda: bomb(10_000, 10_000)), "file", "over 89 megapixels"),
    "a flat bomb": (data(lambda: bomb(2**31 - 1, 1)), "file", "cannot be read"),
    "no pixels": (data(lambda: bomb(0, 0)), "file", "cannot be read"),
    "no data": (data(lambda: bomb(64, 64)), "file", "cannot be read"),
    "postscript": (data(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "file", "cannot be"),
    **{
        f"{kind} cut to {share:.0%}": (
            data(lambda kind=kind, share=share: (raw := encoded(kind))[: int(len(raw) * share)]),
            "file",
            "cannot be read",
        )
        for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
        for share in (0.002, 0.05, 0.3, 0.6, 0.9)
    },
}


@pytest.fixture
def damaged(tmp_path):
    """A set of four people with one more line, which the test damages."""
    folder = tmp_path / "set"

    def damaged(damage):
        rows = write_ffe(folder, range(4), split="train")
        rows += write_ffe(folder, range(9, 10), split="val")
        rows = [*(row(p, c, split="train") for p in range(4) for c in SHOWN_ALL), *rows[-3:]]
        picture(0, 1).save(folder / EXTRA)
        write_lines(folder / "annotations.jsonl", [*rows, damage(folder)])
        return folder

    return damaged


SHOWN_ALL = ("neutral", "fear", "surprised")


def read(folder, tmp_path, **options):
    return read_faces(
        {"train": folder}, domain="human", verifier=Verifier(tmp_path / "cache", 1), **options
    )


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_sentence_or_one_counted_skip(damaged, tmp_path, name):
    damage, kind, match = DAMAGES[name]
    folder = damaged(damage)
    with pytest.raises(UserError, match=match) as refusal:
        read(folder, tmp_path)
    sentence = str(refusal.value)
    assert sentence.isprintable()
    assert "extra" in sentence or "annotations.jsonl:16" in sentence
    assert len(sentence) < 600 or "a" * 500 in sentence

    faces = read(folder, tmp_path, on_error="skip")
    assert [fault.kind for fault in faces.faults] == [kind]
    assert len(faces.train) == 12
    assert len(faces.triplets) == 4
    line = summary(list(faces.faults))
    assert line.startswith("Left out 1 bad item (data.on_error=skip; 1 ")
    assert "\n" not in line


def test_good_extra_line_is_read(damaged, tmp_path):
    """The damages above are of a line that is otherwise usable."""
    faces = read(damaged(line()), tmp_path)
    assert len(faces.train) == 13


@pytest.mark.parametrize(
    "name",
    ["with space.png", "ümläut-表情-🙂.png", "quote'\".png", "semi;colon&$(x).png", "[red].png"],
)
def test_unusual_names_are_only_names(tmp_path, name):
    folder = tmp_path / "a set 表" / "x"
    write_ffe(folder, range(2))
    write_ffe(folder, range(5, 6))
    rows = [r | {"split": "train"} for p in range(2) for r in [row(p, c) for c in SHOWN_ALL]] + [
        row(5, c, split="val") for c in SHOWN_ALL
    ]
    picture(0, 1).save(folder / "images" / name)
    rows.append(row(0, "fear", image=f"images/{name}"))
    rows[-1]["identity"] = rows[0]["identity"] = rows[1]["identity"] = "Ann Ünal 表"
    rows[2]["identity"] = "Ann Ünal 表"
    write_lines(folder / "annotations.jsonl", rows)
    faces = read(folder, tmp_path)
    assert any(sample.image.name == name for sample in faces.train)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_ends_do_no_harm(tmp_path, mark, end):
    rows = write_ffe(tmp_path, range(3), split="train")
    lines = [*rows[:6], *(one | {"split": "val"} for one in rows[6:])]
    content = end.join(["", *map(json.dumps, lines), "", ""]).lstrip("\r\n")
    (tmp_path / "annotations.jsonl").write_bytes(mark + content.encode())
    faces = read(tmp_path, tmp_path)
    assert len(faces.train) == 6
    assert len(faces.val) == 3


def test_other_encodings_are_refused_by_name(tmp_path):
    rows = write_ffe(tmp_path, range(2))
    content = "\n".join(map(json.dumps, rows)).encode("utf-16")
    (tmp_path / "annotations.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=r"jsonl:1 is not UTF-8 text .*save the file as UTF-8"):
        read(tmp_path, tmp_path)


def test_links_are_followed_on_request(damaged, tmp_path):
    folder = damaged(place(outside))
    faces = read(folder, tmp_path, follow_links=True)
    assert len(faces.train) == 13


def test_link_within_the_folder_is_no_offence(damaged, tmp_path):
    folder = damaged(
        place(lambda f, p: (picture(0, 1).save(f / "real.png"), p.symlink_to(f / "real.png")))
    )
    assert len(read(folder, tmp_path).train) == 13


def test_folder_that_is_itself_a_link_is_no_offence(damaged, tmp_path):
    folder = damaged(line())
    (tmp_path / "link").symlink_to(folder)
    assert len(read(tmp_path / "link", tmp_path).train) == 13


def test_random_damage_never_raises_anything_else(tmp_path):
    """Two hundred images with bytes changed, cut or added: readable or refused."""
    numbers = np.random.default_rng(0)
    wholes = {kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")}
    path = tmp_path / "face.png"
    refusals = []
    for turn in range(200):
        kind = list(wholes)[turn % len(wholes)]
        raw = bytearray(wholes[kind])
        for _ in range(int(numbers.integers(1, 12))):
            raw[int(numbers.integers(0, min(len(raw), 400)))] = int(numbers.integers(0, 256))
        if turn % 3 == 0:
            raw = raw[: int(numbers.integers(1, len(raw)))]
        path.write_bytes(bytes(raw))
        try:
            assert open_image(path).mode == "RGB"
        except BadItemError as error:
            refusals.append(str(error))
    assert len(refusals) > 60
    assert all("face.png cannot be read" in text and text.isprintable() for text in refusals)


def test_many_bad_items_are_counted_by_kind_and_the_first_are_named(damaged, tmp_path):
    folder = damaged(line(scores={"fear": 7}))
    with (folder / "annotations.jsonl").open("a") as lines:
        lines.write("{\n" * 40 + json.dumps(row(0, "fear", image="images/none.png")) + "\n")
    faces = read(folder, tmp_path, on_error="skip")
    line_ = summary(list(faces.faults))
    assert line_.startswith("Left out 42 bad items (data.on_error=skip; 40 broken lines, 1 ")
    assert line_.endswith("| and 39 more")
    assert line_.count("annotations.jsonl:") == 3


def test_nothing_left_is_refused_with_the_first_bad_item(damaged, tmp_path):
    folder = damaged(line())
    write_lines(folder / "annotations.jsonl", ["{", "["])
    with pytest.raises(UserError, match=r"set is empty.*First of 2 bad items: .*:1 is not JSON"):
        read(folder, tmp_path, on_error="skip")


# ---- triplets -------------------------------------------------------------------------------


TRIPLET_DAMAGES = {
    "half a line": (lambda r: json.dumps(r)[:30], "line"),
    "no source": (lambda r: r | {"src": None}, "line"),
    "one target": (lambda r: r | {"dst": r["dst"][:1]}, "line"),
    "missing image": (lambda r: r | {"src": {"image": "none.png"}}, "file"),
    "leaves": (lambda r: r | {"src": {"image": "../../x.png"}}, "file"),
    "bad score": (
        lambda r: r | {"dst": [r["dst"][0] | {"scores": {"fear": 2}}, r["dst"][1]]},
        "score",
    ),
    "bad box": (lambda r: r | {"src": r["src"] | {"boxes": [[1, 2]]}}, "box"),
    "box outside": (lambda r: r | {"src": r["src"] | {"boxes": [[900, 900, 999, 999]]}}, "box"),
    "truncated": (lambda r: r | {"src": {"image": "images/torn.png"}}, "file"),
}


@pytest.mark.parametrize("name", TRIPLET_DAMAGES)
def test_damaged_triplet_is_one_sentence_or_one_counted_skip(tmp_path, name):
    rows = write_ffe(tmp_path, range(6))
    (tmp_path / "images" / "torn.png").write_bytes(encoded("PNG")[:200])
    triplets = [
        {"src": {"image": n["image"]}, "dst": [f, s]}
        for n, f, s in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
    ]
    for triplet in triplets:
        for target in triplet["dst"]:
            target.pop("box")
    damage, kind = TRIPLET_DAMAGES[name]
    write_lines(tmp_path / "t.jsonl", [*triplets, damage(triplets[0])])
    options = {"domain": "human", "val_share": 0.4, "verifier": Verifier(tmp_path / "cache", 1)}
    with pytest.raises(UserError, match=r"t\.jsonl:7|torn\.png|p0-neutral\.png"):
        read_triplet_faces({"train": tmp_path / "t.jsonl"}, **options)
    faces = read_triplet_faces({"train": tmp_path / "t.jsonl"}, on_error="skip", **options)
    assert [fault.kind for fault in faces.faults] == [kind]
    left = 5 if name == "box outside" else 6  # the box condemns the source, which two lines use
    assert len(faces.triplets) + len({s.identity for s in faces.val}) == left
