"""Batches hold what was encoded, in an order fixed by the seed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pixelsmile.conditioning import join_suffix
from pixelsmile.data import TripletDataModule, read_ffe
from pixelsmile.data.cache import TensorCache
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.images import Sizes, load_image, load_landmarks
from pixelsmile.data.memory import file_digest
from pixelsmile.data.order import Draw
from pixelsmile.data.triplets import Triplet, build_triplets
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index
from tests.tiny_random import write_faces

SIZE, TOKENS, SUFFIX, WIDTH = 32, 9, 3, 4
PAIRS = [("fear", "surprised"), ("angry", "disgust")]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    train = write_faces(folder / "train", range(9000, 9002), size=SIZE)
    val = write_faces(folder / "val", range(9002, 9005), strengths=(1.0,), size=SIZE)
    return read_ffe(train), read_ffe(val)


@pytest.fixture(scope="module")
def encoded(sets, tmp_path_factory):
    """A cache with numbers drawn instead of encoded, different for every sample."""
    encoded = EncodedSet(
        TensorCache(tmp_path_factory.mktemp("cache")), Sizes(SIZE, SIZE), "images", "prompts"
    )
    numbers = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=numbers)

    samples = [sample for part in sets for sample in part]
    for key, sample in encoded.missing_images(samples):
        entry = {"latents": draw(2, 4, 4), "feature": draw(6), "identity": draw(5)}
        encoded.cache.write(key, entry | {"landmarks": load_landmarks(sample, SIZE)})
    for key, _ in encoded.missing_prompts(s for s in samples if s.category == "neutral"):
        entry = {"neutral": draw(TOKENS, WIDTH), "suffixes": draw(12, SUFFIX, WIDTH)}
        encoded.cache.write(key, entry)
    return encoded


@pytest.fixture
def make(sets, encoded):
    def make(pairs=PAIRS, **options):
        triplets = build_triplets(sets[0], pairs)
        return TripletDataModule(triplets, sets[1], encoded, **({"batch_size": 3} | options))

    return make


def test_training_batch_has_the_shapes_it_promises(make):
    batch = next(iter(make().train_dataloader()))
    shapes = {name: tuple(value.shape) for name, value in batch._asdict().items()}
    both = {
        "target": (3, 2, 4, 4),
        "suffix": (3, SUFFIX, WIDTH),
        "strength": (3,),
        "expression": (3,),
        "feature": (3, 6),
        "identity": (3, 5),
        "landmarks": (3, 5, 2),
    }
    expected = {"source": (3, 2, 4, 4), "neutral": (3, TOKENS, WIDTH)}
    expected |= {"noise": (3, 2, 4, 4), "uniform": (3,)}
    assert shapes == expected | {f"{k}_{side}": v for k, v in both.items() for side in "ab"}


def test_each_row_holds_the_encoded_form_of_one_triplet(make, encoded):
    data = make()
    dataset = data.train_dataloader().dataset
    assert len(dataset) == 2 * 2 * 2  # identities x pairs x strengths
    for position, (source, a, b) in enumerate(data.triplets):
        row = dataset[Draw(0, position)]
        prompts = encoded.prompts(source)
        assert torch.equal(row.source, encoded.image(source)["latents"])
        assert torch.equal(row.neutral, prompts["neutral"])
        for side, target in (("a", a), ("b", b)):
            entry = encoded.image(target)
            where = index(target.category)
            assert torch.equal(getattr(row, f"target_{side}"), entry["latents"])
            for name in ("feature", "identity", "landmarks"):
                assert torch.equal(getattr(row, f"{name}_{side}"), entry[name])
            assert torch.equal(getattr(row, f"suffix_{side}"), prompts["suffixes"][where])
            assert getattr(row, f"expression_{side}") == where
            torch.testing.assert_close(
                getattr(row, f"strength_{side}").item(), target.scores[where], atol=1e-6, rtol=0
            )


def test_validation_batch_holds_each_held_out_identity_once(make, sets, encoded):
    batches = list(make(val_batch_size=2).val_dataloader())
    assert [len(batch.source) for batch in batches] == [2, 1]
    assert torch.cat([batch.position for batch in batches]).tolist() == [0, 1, 2]
    assert all(batch.valid.all() for batch in batches)
    neutral = [sample for sample in sets[1] if sample.category == "neutral"]
    last, sample = batches[1], neutral[2]
    assert torch.equal(last.image[0], load_image(sample, SIZE))
    assert torch.equal(last.source[0], encoded.image(sample)["latents"])
    assert torch.equal(last.suffixes[0], encoded.prompts(sample)["suffixes"])
    assert last.suffixes.shape == (1, len(EXPRESSIONS), SUFFIX, WIDTH)
    assert join_suffix(last.neutral.expand(12, -1, -1), last.suffixes[0]).shape[1] == TOKENS
    assert torch.equal(last.landmarks[0], load_landmarks(sample, SIZE))


def served(data, *, epochs=1):
    """Return the targets and the noise of a training, in the order they are served."""
    data.num_batches = epochs * data.order.batches_per_epoch
    batches = list(data.train_dataloader())
    return torch.cat([b.target_a for b in batches]), torch.cat([b.noise for b in batches])


def same(one, other):
    return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]


def test_order_and_noise_depend_on_the_seed_alone(make):
    torch.manual_seed(1)
    first = served(make(seed=0))
    torch.manual_seed(2)
    assert same(served(make(seed=0)), first) == [True, True]
    assert same(served(make(seed=1)), first) == [False, False]


def test_epochs_differ_in_order_and_noise_and_not_in_content(make):
    targets, noise = (x.flatten(1).chunk(2) for x in served(make(batch_size=1), epochs=2))
    assert not torch.equal(*targets)
    assert torch.equal(*(epoch[epoch[:, 0].argsort()] for epoch in targets))
    assert len(torch.unique(torch.cat(noise), dim=0)) == 16


def test_noise_does_not_depend_on_batch_size_or_workers(make):
    one = served(make(batch_size=1))
    assert same(served(make(batch_size=4)), one) == [True, True]
    assert same(served(make(batch_size=2, num_workers=2)), one) == [True, True]


def test_incomplete_batches_are_dropped_unless_there_is_no_other(make):
    assert [len(b.source) for b in make(batch_size=3).train_dataloader()] == [3, 3]
    assert [len(b.source) for b in make(batch_size=100).train_dataloader()] == [8]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stream_goes_on_where_its_consumer_was(make, num_workers):
    data = make(batch_size=1, num_workers=num_workers)
    data.num_batches = 20  # two epochs and a half
    whole = [batch.noise for batch in data.train_dataloader()]
    stream = data.train_dataloader()
    batches = iter(stream)
    consumed = [next(batches).noise for _ in range(11)]
    rest = data.train_dataloader()
    rest.load_state_dict(stream.state_dict())
    consumed += [batch.noise for batch in rest]
    assert torch.equal(torch.cat(consumed), torch.cat(whole))
    assert len(stream) == len(rest) == 20


def test_stream_of_other_data_is_not_continued(make):
    state = make().train_dataloader().state_dict()
    make().train_dataloader().load_state_dict(state)
    for other in ({"seed": 1}, {"batch_size": 2}, {"pairs": PAIRS[:1]}):
        with pytest.raises(UserError, match=r"trained on other data: .* or start a new run"):
            make(**other).train_dataloader().load_state_dict(state)


def resumes(data, state):
    try:
        data.train_dataloader().load_state_dict(state)
    except UserError:
        return False
    return True


def test_stream_of_edited_scores_or_replaced_images_is_not_continued(make, encoded):
    state = make().train_dataloader().state_dict()
    source, a, b = make().triplets[0]
    scores = list(a.scores)
    scores[index(a.category)] *= 0.9
    edited = make()
    edited.triplets[0] = Triplet(source, replace(a, scores=tuple(scores)), b)
    assert not resumes(edited, state)
    for changed in (source.image, b.image):
        replaced = make()
        replaced.encoded = replace(
            encoded,
            digest=lambda path, changed=changed: "new" if path == changed else file_digest(path),
            _digests={},
        )
        assert not resumes(replaced, state)


def test_stream_goes_on_once_the_folders_have_moved(make, encoded):
    state = make().train_dataloader().state_dict()

    def elsewhere(sample):
        return replace(sample, image=Path("moved") / sample.image.relative_to("/"))

    moved = make()
    there = {elsewhere(s).image: s.image for triplet in moved.triplets for s in triplet}
    moved.triplets = [Triplet(*map(elsewhere, triplet)) for triplet in moved.triplets]
    moved.encoded = replace(encoded, digest=lambda path: file_digest(there[path]), _digests={})
    assert resumes(moved, state)


def test_shared_identity_is_refused(sets, encoded):
    with pytest.raises(UserError, match="share 2 identities"):
        TripletDataModule(build_triplets(sets[0], PAIRS), sets[0], encoded)


def test_unprepared_sample_is_refused_with_the_command(make, tmp_path, encoded):
    empty = EncodedSet(TensorCache(tmp_path), encoded.sizes, "images", "prompts")
    data = make()
    data.encoded = empty
    with pytest.raises(UserError, match=r"not prepared .*python -m pixelsmile\.prepare"):
        next(iter(data.val_dataloader()))
