import json
from collections import Counter

import pytest

from pixelsmile.bench.protocol import Protocol, edit_name
from pixelsmile.bench.tasks import read_tasks
from pixelsmile.errors import UserError
from pixelsmile.expressions import BASIC
from pixelsmile.faces.ffe_mini import FIRST_SEED, TASKS, shares, write_tasks
from tests.bench import tables
from tests.faces.fakes import FakeFaces


def lines(file, *rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def folder(tmp_path):
    tables.write_tasks(tmp_path, ["happy", "fear", "sad"])
    return tmp_path


def test_the_layout_of_ffe_bench_is_read_with_box_or_boxes_and_without_domain(folder):
    file = lines(
        folder / "tasks.jsonl",
        {"image": "p0.png", "box": [1, 2, 30, 31], "category": "Happiness", "prompt": "smile"},
        {"image": "p1.png", "boxes": [[3, 4, 20, 21], [0, 0, 9, 9]], "category": "fear"},
        {"image": "p2.png", "category": "sad", "prompt": "cry", "domain": "anime"},
    )
    first, second = read_tasks(file, domain="human")
    assert (first.name, first.box, first.prompt) == ("p0_happy", (1, 2, 30, 31), "smile")
    assert (second.name, second.box) == ("p1_fear", (3, 4, 20, 21))
    assert second.prompt == "Edit the person to show a fear expression"
    assert [task.name for task in read_tasks(file, domain="anime")][-1] == "p2_sad"


def test_one_face_may_have_several_tasks_and_equal_stems_become_paths(folder):
    (folder / "a").mkdir()
    (folder / "p0.png").rename(folder / "a" / "p1.png")
    file = lines(
        folder / "tasks.jsonl",
        {"image": "a/p1.png", "category": "happy"},
        {"image": "p1.png", "category": "happy"},
        {"image": "p1.png", "category": "sad"},
    )
    names = [task.name for task in read_tasks(file, domain="human")]
    assert names == ["a-p1_happy", "p1_happy", "p1_sad"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "p0.png", "category": "neutral"}, r"tasks.jsonl:2: 'category' is neutral"),
        ({"image": "p0.png", "category": "bored"}, r"tasks.jsonl:2: Unknown expression 'bored'"),
        ({"image": "gone.png", "category": "sad"}, r"tasks.jsonl:2: image .*gone.png is missing"),
        ({"image": "p0.png"}, r"tasks.jsonl:2 lacks the key 'category'"),
        (
            {"image": "p0.png", "category": "happy"},
            r"2 asks for the same edit as .*:1 \(p0_happy\)",
        ),
        ({"image": "p0.png", "category": "sad", "domain": "dog"}, r"'domain' is 'dog', expected"),
        ({"image": "p0.png", "category": "sad", "box": [5, 5, 1, 1]}, r"'box' must be"),
        ({"image": "p1.png", "category": "sad", "id": "p0"}, r"Two images are called 'p0'"),
        ({"image": "p0.png", "category": "sad", "prompt": 3}, r"'prompt' must be"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(folder, row, message):
    file = lines(folder / "tasks.jsonl", {"image": "p0.png", "category": "happy"}, row)
    with pytest.raises(UserError, match=message):
        read_tasks(file, domain="human")


def test_a_broken_image_a_missing_file_and_another_domain_are_refused(folder):
    with pytest.raises(UserError, match=r"No tasks at .*none.jsonl"):
        read_tasks(folder / "none.jsonl", domain="human")
    with pytest.raises(UserError, match=r"None of the 3 tasks .* is anime"):
        read_tasks(folder / "tasks.jsonl", domain="anime")
    (folder / "p1.png").write_bytes((folder / "p1.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"p1.png cannot be read"):
        read_tasks(folder / "tasks.jsonl", domain="human")


@pytest.mark.parametrize("domain", ["human", "anime"])
def test_the_built_in_tasks_have_the_sizes_of_the_paper(domain, tmp_path):
    file = write_tasks(FakeFaces(domain), tmp_path, size=32)
    tasks = read_tasks(file, domain=domain)
    assert len(tasks) == {"human": 98, "anime": 100}[domain]
    counts = Counter(task.expression for task in tasks)
    assert sum(counts[name] for name in BASIC) == 51  # of the paper's Acc-6
    assert counts == {name: n for name, n in shares(TASKS[domain]).items()}
    assert min(counts.values()) >= 7
    seeds = [int(task.id.rpartition("_")[2]) for task in tasks]
    assert seeds == list(range(FIRST_SEED, FIRST_SEED + len(tasks)))
    assert FIRST_SEED >= 9000
    assert all(task.landmarks and task.box for task in tasks)


def test_a_small_set_is_the_beginning_and_nothing_is_drawn_twice(tmp_path):
    faces = FakeFaces()
    small = read_tasks(write_tasks(faces, tmp_path, size=32, tasks=14), domain="human")
    assert len({task.expression for task in small[:12]}) == 12
    assert faces.drawn == 14
    again = FakeFaces()  # the count of the other is part of its fingerprint
    write_tasks(again, tmp_path, size=32, tasks=14)
    assert again.drawn == 0
    whole = read_tasks(write_tasks(FakeFaces(), tmp_path, size=32), domain="human")
    assert [task.key for task in whole[:14]] == [task.key for task in small]


def test_strengths_are_evenly_spaced_from_0_and_include_that_of_general_editing():
    assert Protocol().strengths == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert Protocol(num_strengths=4).linear == (0.0, 0.333333, 0.666667, 1.0)
    assert Protocol(strength=1.0, num_strengths=3, strength_max=1.5).strengths == (0, 0.75, 1, 1.5)
    assert Protocol(num_strengths=0).strengths == (1.0,)
    assert edit_name("a_happy", 1) == "a_happy_1.0.png"
    for wrong in ({"num_strengths": 1}, {"strength": 0}, {"strength_max": float("nan")}):
        with pytest.raises(UserError, match=f"protocol.{next(iter(wrong))}="):
            Protocol(**wrong)
