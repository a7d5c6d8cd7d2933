"""Identities stay on their side whatever is added; annotations decide where they say."""

from pathlib import Path

import pytest

from pixelsmile.data.faults import Faults
from pixelsmile.data.ffe import read_faces
from pixelsmile.data.samples import Sample
from pixelsmile.data.splits import fraction, pair_up, split_by_identity
from pixelsmile.data.verify import Verifier
from pixelsmile.errors import UserError
from tests.small_sets import row, write_ffe, write_lines


def people(count, split=None, first=0):
    return [
        Sample(Path(f"{i}-{c}.png"), f"p{i}", "human", c, (0.0,) * 12, split=split)
        for i in range(first, first + count)
        for c in ("neutral", "fear")
    ]


def names(samples):
    return {sample.identity for sample in samples}


def test_share_is_held_out_and_no_identity_is_torn():
    train, val = split_by_identity(people(2000), 0.2, Faults())
    assert len(names(val)) / 2000 == pytest.approx(0.2, abs=0.03)
    assert not names(train) & names(val)
    assert len(train) + len(val) == 4000


def test_identity_keeps_its_side_when_others_are_added():
    before = names(split_by_identity(people(100), 0.3, Faults())[1])
    more = people(50, first=500) + people(100)
    after = names(split_by_identity(more, 0.3, Faults())[1])
    assert before == {name for name in after if int(name[1:]) < 100}


def test_larger_share_holds_out_a_superset():
    sides = [names(split_by_identity(people(100), share, Faults())[1]) for share in (0.1, 0.3)]
    assert sides[0] < sides[1]


def test_fractions_are_spread_evenly():
    values = sorted(fraction(f"person {i}") for i in range(10_000))
    assert max(abs(value - i / 10_000) for i, value in enumerate(values)) < 0.03


def test_annotated_split_decides_and_test_is_left_out():
    samples = people(3, "val") + people(3, "train", 10) + people(3, "test", 20)
    train, val = split_by_identity(samples, 0.5, Faults())
    assert names(val) == {"p0", "p1", "p2"}
    assert names(train) == {"p10", "p11", "p12"}


def test_identity_in_two_splits_is_refused_or_left_out():
    samples = people(2, "val") + people(2, "train", 10)
    torn = [*samples, Sample(Path("x"), "p0", "human", "sad", (0.0,) * 12, split="train")]
    with pytest.raises(UserError, match=r"'p0' is annotated with the splits train and val"):
        split_by_identity(torn, 0.5, Faults())
    faults = Faults("skip")
    _, val = split_by_identity(torn, 0.5, faults)
    assert names(val) == {"p1"}
    assert [fault.kind for fault in faults.found] == ["split"]


def test_empty_side_and_wrong_share_are_refused_with_the_way_out():
    with pytest.raises(UserError, match=r"val set is empty: none of 2 .* Raise data\.val_share"):
        split_by_identity(people(2), 0.001, Faults())
    with pytest.raises(UserError, match=r"train set is empty.* Lower data\.val_share"):
        split_by_identity(people(2), 0.999, Faults())
    with pytest.raises(UserError, match=r"data\.val_share=1: give a number between"):
        split_by_identity(people(2), 1, Faults())


def test_identities_without_neutral_or_pair_are_left_out_and_counted():
    def face(identity, category, strength=1.0):
        scores = tuple(strength if category == n else 0.0 for n in ("angry", "disgust"))
        return Sample(
            Path(f"{identity}{category}"), identity, "human", category, scores + (0,) * 10
        )

    train = [face("a", "neutral"), face("a", "angry"), face("a", "disgust")]
    train += [face("b", "angry"), face("b", "disgust"), face("c", "neutral"), face("c", "happy")]
    faults = Faults("skip")
    faces = pair_up(train, [face("v", "neutral")], [["anger", "Disgusted"]], faults)
    assert [f.kind for f in faces.faults] == ["neutral", "pair"]
    assert names(faces.train) == {"a"}
    assert [t.target_a.category for t in faces.triplets] == ["angry"]


@pytest.mark.parametrize(
    ("pairs", "match"),
    [
        ([["fear"]], r"data\.pairs has \['fear'\]: write two"),
        ([["fear", "fear"]], r"write two different"),
        ([["fear", "neutral"]], r"write two different"),
        ([["fear", "smug"]], r"Unknown expression 'smug'"),
        (["fear"], r"data\.pairs has fear: write two"),
        ([], r"data\.pairs is empty"),
    ],
)
def test_unusable_pairs_are_refused(pairs, match, tmp_path):
    write_ffe(tmp_path, range(6))
    with pytest.raises(UserError, match=match):
        read_faces({"train": tmp_path}, domain="human", val_share=0.4, pairs=pairs)


def test_one_set_of_files_of_both_domains_suffices(tmp_path):
    rows = write_ffe(tmp_path / "a", range(4), split="train")
    write_ffe(tmp_path / "b", range(10, 12), split="val")
    drawn = [one | {"domain": "anime"} for one in rows]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "images").symlink_to(tmp_path / "a" / "images")
    write_lines(tmp_path / "c" / "annotations.jsonl", drawn)
    files = {"train": [tmp_path / "a", tmp_path / "b", str(tmp_path / "c")], "val": None}
    faces = read_faces(files, domain="human")
    assert names(faces.train) == {"p0", "p1", "p2", "p3"}
    assert names(faces.val) == {"p10", "p11"}
    assert {(t.target_a.category, t.target_b.category) for t in faces.triplets} == {
        ("fear", "surprised")
    }


def test_separate_validation_files_still_work_and_must_not_share_people(tmp_path):
    write_ffe(tmp_path / "a", range(3))
    write_ffe(tmp_path / "b", range(5, 6), shown=("neutral",))
    files = {"train": tmp_path / "a", "val": tmp_path / "b"}
    assert names(read_faces(files, domain="human").val) == {"p5"}
    with pytest.raises(UserError, match=r"share 3 identities \(p0, p1, p2\)"):
        read_faces({"train": tmp_path / "a", "val": tmp_path / "a"}, domain="human")


def test_annotated_split_decides_between_separate_files_too(tmp_path):
    """Held-out people in the training file are not trained on, nor the other way round."""
    write_ffe(tmp_path / "a", range(2), split="train")
    write_ffe(tmp_path / "b", range(2, 4), split="val")
    write_ffe(tmp_path / "c", range(4, 6), split="test")
    write_ffe(tmp_path / "d", range(6, 8))
    train, val, test, open_ = (tmp_path / name for name in "abcd")
    everything = [train, val, test]
    for files in (
        {"train": [*everything, open_], "val": everything},
        {"train": [train, test, open_], "val": [val, train]},
    ):
        faces = read_faces(files, domain="human")
        assert names(faces.train) == {"p0", "p1", "p6", "p7"}
        assert names(faces.val) == {"p2", "p3"}
    faces = read_faces({"train": everything, "val": [*everything, open_]}, domain="human")
    assert names(faces.val) == {"p2", "p3", "p6", "p7"}


def test_file_without_a_line_for_its_side_is_refused_by_its_key(tmp_path):
    write_ffe(tmp_path / "a", range(2), split="train")
    write_ffe(tmp_path / "c", range(4, 6), split="test")
    files = {"train": tmp_path / "a", "val": tmp_path / "c"}
    match = r"data\.files\.val has no line for val: all 6 in .* are annotated as test"
    with pytest.raises(UserError, match=match):
        read_faces(files, domain="human")


def test_images_of_another_split_need_not_be_whole(tmp_path):
    write_ffe(tmp_path / "a", range(2), split="train")
    write_ffe(tmp_path / "b", range(2, 4), split="val")
    write_ffe(tmp_path / "c", range(4, 6), split="test")
    (tmp_path / "c" / "images" / "p4-fear.png").write_bytes(b"no image")
    files = {"train": [tmp_path / "a", tmp_path / "c"], "val": tmp_path / "b"}
    read_faces(files, domain="human", verifier=Verifier(tmp_path / "cache", 1))


def test_pairs_are_mined_from_the_soft_labels(tmp_path):
    rows = write_ffe(tmp_path, range(4), shown=("neutral", "happy", "shy"), split="train")
    for one in rows:
        if one["category"] == "happy":
            one["scores"] = {"happy": 1.0, "shy": 0.4}
    rows += [row(9, "neutral", image=rows[0]["image"].replace("p0", "p9"), split="val")]
    (tmp_path / "images" / "p9-neutral.png").write_bytes(
        (tmp_path / "images" / "p0-neutral.png").read_bytes()
    )
    write_lines(tmp_path / "annotations.jsonl", rows)
    faces = read_faces({"train": tmp_path}, domain="human")
    assert {(t.target_a.category, t.target_b.category) for t in faces.triplets} == {
        ("happy", "shy")
    }
