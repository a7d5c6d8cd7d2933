"""Preparing encodes what is missing, once, and goes on where it was stopped."""

import io
import os
import re
import shutil
import subprocess
import sys
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from pixelsmile import prepare as prepare_module
from pixelsmile.command import CONFIG_FOLDER, take_verb
from pixelsmile.conditioning import join_suffix
from pixelsmile.data.cache import TensorCache
from pixelsmile.data.encoding import BATCH
from pixelsmile.data.faults import Faults
from pixelsmile.data.ffe import read_ffe
from pixelsmile.data.images import load_image, load_landmarks
from pixelsmile.data.samples import open_image
from pixelsmile.data.splits import pair_up
from pixelsmile.errors import UserError
from pixelsmile.expressions import prompt
from pixelsmile.inventory import Needs, manifest_of, prune, take_stock
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.detectors import BoxTemplate
from pixelsmile.models.encoders import open_clip_encoder
from pixelsmile.models.recognisers import onnx_recogniser
from pixelsmile.models.text import PromptEncoder
from pixelsmile.prepare import Share, own_share, prepare
from pixelsmile.stack import build_datamodule, build_module, encoded_set
from tests.tiny_random import IMAGE, SETTINGS, compose, write_faces


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    train = write_faces(folder / "train", range(9000, 9001), strengths=(1.0,))
    val = write_faces(folder / "val", range(9001, 9003), strengths=(1.0,))
    return read_ffe(train), read_ffe(val)


def config_of(tiny_stack, cache, *overrides):
    return compose(
        "name=test", f"model.weights={tiny_stack}", f"paths.cache={cache}", *SETTINGS, *overrides
    )


@pytest.fixture(scope="module")
def prepared(tiny_stack, sets, tmp_path_factory):
    config = config_of(tiny_stack, tmp_path_factory.mktemp("cache"))
    return config, prepare(config, *sets)


def test_everything_that_training_and_validation_read_is_there(prepared, sets):
    _, encoded = prepared
    train, val = sets
    neutral = [sample for sample in (*train, *val) if sample.category == "neutral"]
    assert encoded.missing_images([*train, *neutral]) == []
    assert encoded.missing_faces([*train, *neutral]) == []
    assert encoded.missing_prompts(neutral) == []
    others = [sample for sample in val if sample.category != "neutral"]
    assert len(encoded.missing_images(others)) == len(others)  # true renders are never encoded


@torch.no_grad()
def test_image_entries_are_what_the_models_say(prepared, sets, tiny_stack):
    _, encoded = prepared
    size = encoded.sizes.image
    sample = sets[0][7]
    entry = encoded.image(sample)
    autoencoder = Autoencoder.from_pretrained(tiny_stack / "pipeline" / "vae")
    latents = autoencoder.encode(load_image(sample, size)[None])
    decoded = autoencoder.decode(latents)
    landmarks = load_landmarks(sample, size)
    recogniser = onnx_recogniser(tiny_stack / "recognisers" / "arcface.onnx")
    expected = {
        "latents": latents[0],
        "feature": open_clip_encoder(tiny_stack / "clip", projected=True)(decoded)[0],
        "identity": recogniser(decoded, landmarks[None])[0],
        "landmarks": landmarks,
    }
    assert entry.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(entry[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_prompt_entries_rebuild_the_embeddings(prepared, sets, tiny_stack):
    _, encoded = prepared
    sample = sets[1][0]
    assert sample.category == "neutral"
    entry = encoded.prompts(sample)
    encoder = PromptEncoder.from_pretrained(tiny_stack / "pipeline", size=encoded.sizes.text)
    image = open_image(sample.image)
    words = [prompt(word, "human") for word in ("neutral", "angry", "anxious")]
    neutral, *expected = encoder(image, words)
    torch.testing.assert_close(entry["neutral"], neutral, atol=1e-5, rtol=1e-5)
    for row, value in zip((0, 11), expected, strict=True):
        rebuilt = join_suffix(entry["neutral"], entry["suffixes"][row])
        torch.testing.assert_close(rebuilt, value, atol=1e-5, rtol=1e-5)


def test_second_time_loads_no_model(prepared, sets, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("Nothing is missing, so no model is needed.")

    config, _ = prepared
    monkeypatch.setattr(prepare_module, "build", refuse)
    prepare(config, *sets)


def test_stopped_run_goes_on_where_it_was(tiny_stack, sets, tmp_path, monkeypatch):
    config = config_of(tiny_stack, tmp_path)
    encode, done = prepare_module.encode_images, []

    def stop_at_the_third(*args):
        if len(done) == 2 * BATCH:
            raise KeyboardInterrupt
        entries = encode(*args)
        done.extend(entries)
        return entries

    monkeypatch.setattr(prepare_module, "encode_images", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, *sets)
    encoded = encoded_set(config)
    images = Needs.of(encoded, *sets).images()
    assert len(encoded.missing_images(images)) == len(images) - 2 * BATCH

    counted = []
    monkeypatch.setattr(
        prepare_module, "encode_images", lambda *args: counted.extend(args[0]) or encode(*args)
    )
    prepare(config, *sets)
    assert len(counted) == len(images) - 2 * BATCH


@pytest.mark.parametrize(
    ("override", "kinds"),
    [
        ("model.sizes.image=32", {"image", "face"}),
        ("model.sizes.text=84", {"prompts"}),
        ("model.text_encoder.stock_positions=false", {"prompts"}),
        ("model.text_encoder.dtype=bfloat16", {"prompts"}),
        ("model.recogniser.file=${model.weights}/recognisers/facenet.onnx", {"face"}),
        ("model.backbone.rank=3", set()),
        ("model.strengths=[0.0,0.5]", set()),
        ("loss=hinge", set()),
        ("loss.triplet_weight=0", set()),
        ("data.pairs=[[fear,surprised]]", set()),
        ("data.batch_size=9", set()),
        ("seed=4", set()),
        ("model.detector._target_=pixelsmile.models.detectors.BoxTemplate", set()),
    ],
)
def test_another_setting_encodes_anew_exactly_what_depends_on_it(
    prepared, sets, tiny_stack, override, kinds
):
    config, encoded = prepared
    if "detector" in override:
        config = config.copy()  # landmarks are given: whoever would find them does not matter
        config.model.detector = {"_target_": override.partition("=")[2]}
        changed = encoded_set(config)
    else:
        changed = encoded_set(config_of(tiny_stack, config.paths.cache, override))
    before = Needs.of(encoded, *sets).keys(encoded)
    after = Needs.of(changed, *sets).keys(changed)
    assert {kind for kind in before if set(before[kind]) & set(after[kind])} == (
        set(before) - kinds
    )


def test_weights_count_by_their_bytes_and_not_by_their_place(prepared, sets, tiny_stack, tmp_path):
    config, encoded = prepared
    keys = Needs.of(encoded, *sets).keys(encoded)
    moved = shutil.copytree(tiny_stack, tmp_path / "moved")
    elsewhere = encoded_set(config_of(moved, config.paths.cache))
    assert Needs.of(elsewhere, *sets).keys(elsewhere) == keys
    changes = {
        "pipeline/processor/tokenizer_config.json": {"prompts"},
        "pipeline/text_encoder/config.json": {"prompts"},
        "pipeline/vae/config.json": {"image", "face"},
        "clip/open_clip_config.json": {"image"},
        "recognisers/arcface.onnx": {"face"},
        "pipeline/transformer/config.json": set(),
        "judge/config.json": set(),
    }
    for name, kinds in changes.items():
        file = moved / name
        whole = file.read_bytes()
        file.write_bytes(whole + b" ")
        changed = encoded_set(config_of(moved, config.paths.cache))
        after = Needs.of(changed, *sets).keys(changed)
        assert {kind for kind in keys if keys[kind] != after[kind]} == kinds, name
        file.write_bytes(whole)


# ---- replaced data --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def master(tiny_stack, tmp_path_factory):
    """A small prepared set, to be copied: keys do not depend on places."""
    folder = tmp_path_factory.mktemp("master")
    for name, seed in (("train", 9000), ("val", 9001)):
        write_faces(folder / name, range(seed, seed + 1), strengths=(1.0,))
    sets = (read_ffe(folder / name) for name in ("train", "val"))
    prepare(config_of(tiny_stack, folder / "cache"), *sets)
    return folder


@pytest.fixture
def own(tiny_stack, master, tmp_path):
    """A prepared set that a test may change: config, and how to read it anew."""
    for name in ("train", "val", "cache"):
        shutil.copytree(master / name, tmp_path / name)
    read = lambda: [read_ffe(tmp_path / name) for name in ("train", "val")]  # noqa: E731
    return config_of(tiny_stack, tmp_path / "cache"), read


@pytest.fixture
def fresh(own):
    """The same with an empty cache."""
    config, read = own
    shutil.rmtree(config.paths.cache)
    return config, read


def test_replaced_image_is_encoded_anew_and_nothing_else_is(own, monkeypatch):
    config, read = own
    train, _ = read()
    other = Image.open(train[5].image).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    neutral = next(sample for sample in train if sample.category == "neutral")
    seen = {"image": [], "prompts": []}
    for name, count in (("reconstruct", seen["image"]), ("encode_prompts", seen["prompts"])):
        encode = getattr(prepare_module, name)

        def counting(what, *args, encode=encode, count=count):
            count.extend(s.image for s in (what if isinstance(what, list) else [what]))
            return encode(what, *args)

        monkeypatch.setattr(prepare_module, name, counting)
    other.save(train[5].image)
    prepare(config, *read())
    assert seen == {"image": [train[5].image], "prompts": []}
    other.save(neutral.image)  # the bytes of another image: its entry is there already
    prepare(config, *read())
    assert seen == {"image": [train[5].image], "prompts": [neutral.image]}


def test_damaged_entry_is_encoded_anew_to_the_same_bytes(own):
    config, read = own
    encoded = prepare(config, *read())
    whole = {key: encoded.cache.path(key).read_bytes() for key in encoded.cache.stored()}
    for place, key in enumerate(list(whole)[::5]):
        damaged = [b"", whole[key][:-1], whole[key][:-1] + b"?", b"{}" * 50][place % 4]
        encoded.cache.path(key).write_bytes(damaged)
    again = prepare(config, *read())
    assert {key: again.cache.path(key).read_bytes() for key in again.cache.stored()} == whole


# ---- faces ----------------------------------------------------------------------------------


def without(samples, *names):
    return [replace(sample, **dict.fromkeys(names)) for sample in samples]


def test_drawings_need_neither_landmarks_nor_boxes(own, tiny_stack):
    config, read = own
    train, val = (without(samples, "landmarks", "box") for samples in read())
    anime = config_of(tiny_stack, config.paths.cache, "domain=anime")
    encoded = prepare(anime, train, val)
    rows = [s for s in train if s.category != "neutral"]
    assert len(encoded.missing_faces(rows)) == len(rows)  # nothing compares them
    entry = encoded.image(rows[0])
    assert entry["identity"].numel() == 0
    source = next(s for s in val if s.category == "neutral")
    assert encoded.landmarks(source).shape == (5, 2)  # ID Sim of validation aligns by them
    data = build_datamodule(anime, pair_up(train, val, None, Faults()), encoded)
    assert len(next(iter(data.train_dataloader())).identity_a.shape) == 2
    assert next(iter(data.val_dataloader())).landmarks.shape == (1, 5, 2)


def test_points_that_are_not_given_are_found_once(own):
    config, read = own
    train, val = (without(samples, "landmarks") for samples in read())
    config.model.detector = {"_target_": "pixelsmile.models.detectors.BoxTemplate"}
    encoded = prepare(config, train, val)
    sample = train[3]
    scale = IMAGE / Image.open(sample.image).width
    expected = np.array(BoxTemplate()(Image.open(sample.image), sample.box)) * scale
    np.testing.assert_allclose(encoded.image(sample)["landmarks"], expected, rtol=1e-5)


def test_faces_that_nobody_finds_are_refused_by_name_or_counted(own, capsys):
    config, read = own
    train, val = read()
    train = [*train[:-2], *without(train[-2:], "landmarks", "box")]
    config.model.detector = {"_target_": "pixelsmile.models.detectors.BoxTemplate"}
    with pytest.raises(UserError, match=r"No face found in 2 of 14 images: .*Add 'landmarks'"):
        prepare(config, train, val)
    config.data.on_error = "skip"
    encoded = prepare(config, train, val)
    said = "Left out 2 bad items (data.on_error=skip; 2 images without a face): No face found in"
    assert said in capsys.readouterr().out
    faces = pair_up(train, val, None, Faults())
    triplets = build_datamodule(config, faces, encoded).triplets
    lost = set(train[-2:])
    assert triplets == [t for t in faces.triplets if not lost & set(t)] != faces.triplets
    only = replace(faces, triplets=[t for t in faces.triplets if lost & set(t)])
    with pytest.raises(UserError, match="No triplet is left: of each of"):
        build_datamodule(config, only, encoded)
    with pytest.raises(UserError, match="No face found in 3 of 14"):
        prepare(config, train, without(val, "landmarks", "box"))


def test_training_without_identity_loss_reads_no_face_that_another_run_has_left(own, tiny_stack):
    config, read = own
    train, _ = read()
    without_loss = encoded_set(config_of(tiny_stack, config.paths.cache, "domain=anime"))
    assert encoded_set(config).image(train[3])["identity"].numel() > 0
    assert without_loss.image(train[3])["identity"].numel() == 0


@torch.no_grad()
def test_source_may_have_a_size_of_its_own(own, tiny_stack):
    config, read = own
    stored = set(TensorCache(config.paths.cache).stored())
    config.model.sizes.condition = IMAGE // 2
    train, val = read()
    encoded = prepare(config, train, val)
    assert len(set(encoded.cache.stored()) - stored) == 2  # one a source, and nothing anew
    source = next(s for s in train if s.category == "neutral")
    autoencoder = Autoencoder.from_pretrained(tiny_stack / "pipeline" / "vae")
    latents = autoencoder.encode(load_image(source, IMAGE // 2)[None])[0]
    torch.testing.assert_close(encoded.source(source), latents)

    data = build_datamodule(config, pair_up(train, val, None, Faults()), encoded)
    module = build_module(config)
    assert module.terms(next(iter(data.train_dataloader())))[0].flow.isfinite()
    edited = module.edit(next(iter(data.val_dataloader())), 0)
    assert edited.shape == (12, 2, 3, IMAGE, IMAGE)


# ---- several processes ----------------------------------------------------------------------


def test_processes_share_the_work_and_do_nothing_twice(fresh, monkeypatch):
    config, read = fresh
    written = []
    write = TensorCache.write

    def counting(self, key, entry):
        written.append(key)
        write(self, key, entry)

    monkeypatch.setattr(TensorCache, "write", counting)
    counts = []
    for rank in (1, 0, 2):
        prepare(config, *read(), share=Share(rank, 3), wait=False)
        counts.append(len(written))
    assert len(written) == len(set(written))
    assert 0 < counts[0] < counts[1] < counts[2]
    encoded = encoded_set(config)
    needed = {key for keys in Needs.of(encoded, *read()).keys(encoded).values() for key in keys}
    assert needed == set(written)


def test_share_is_the_one_that_torchrun_gives(monkeypatch):
    assert own_share() == Share(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert own_share() == Share(0, 1)
    monkeypatch.setenv("RANK", "3")
    assert own_share() == Share(3, 4)
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(UserError, match="RANK=4 and WORLD_SIZE=4 do not fit"):
        own_share()


def test_process_waits_for_the_entries_of_the_others(tmp_path, monkeypatch):
    cache = TensorCache(tmp_path)
    cache.write("a" * 32, {"x": torch.zeros(1)})
    late = threading.Timer(0.3, lambda: cache.write("b" * 32, {"x": torch.zeros(1)}))
    late.start()
    prepare_module.wait_for_others(cache, ["a" * 32, "b" * 32])
    assert "b" * 32 in cache
    monkeypatch.setattr(prepare_module, "PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"1 entries of other processes .* run the same command"):
        prepare_module.wait_for_others(cache, ["c" * 32])


@pytest.mark.slow
def test_killed_processes_leave_a_cache_that_becomes_the_unbroken_one(tiny_stack, tmp_path):
    kills = os.environ.get("PIXELSMILE_KILLS", "5")
    for name, seed in (("train", 9000), ("val", 9001)):
        write_faces(tmp_path / "faces" / name, range(seed, seed + 1), strengths=(1.0,))
    places = (tiny_stack, tmp_path / "faces", tmp_path / "caches")
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_prepare", *map(str, places), kills, "0"],
        cwd=CONFIG_FOLDER.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"{kills} kills" in done.stdout


# ---- memory ---------------------------------------------------------------------------------


def test_encoders_are_gone_after_preparing(fresh, monkeypatch):
    config, read = fresh
    made = []
    build = prepare_module.build

    def watching(*args, **kwargs):
        part = build(*args, **kwargs)
        made.extend(weakref.ref(module) for module in part.modules())
        return part

    monkeypatch.setattr(prepare_module, "build", watching)
    encoded = prepare(config, *read())
    assert len(made) > 100
    assert [ref() for ref in made if ref() is not None] == []
    assert encoded.cache.stored()


def test_training_holds_no_encoder_of_text_or_latents(prepared):
    config, _ = prepared
    module = build_module(config)
    names = [name for name, _ in module.named_parameters()]
    assert any(name.startswith("autoencoder.vae.decoder.") for name in names)
    assert not any("quant_conv" in n and "post" not in n for n in names)
    assert not any(name.startswith("autoencoder.vae.encoder") for name in names)
    assert not any("qwen2_5_vl" in type(part).__module__ for part in module.modules())


# ---- status and prune -----------------------------------------------------------------------


def stock_of(config, sets):
    encoded = encoded_set(config)
    manifest = manifest_of(config, Needs.of(encoded, *sets).keys(encoded))
    return take_stock(encoded.cache, manifest), encoded.cache


def test_stock_counts_cached_missing_damaged_and_stale(own, tiny_stack, tmp_path):
    config, read = own
    nothing, _ = stock_of(config_of(tiny_stack, tmp_path / "none"), read())
    assert [(row.cached, row.missing) for row in nothing.rows] == [(0, 14), (0, 14), (0, 2)]
    whole, cache = stock_of(config, read())
    assert [(row.cached, row.missing, row.damaged) for row in whole.rows] == [
        (14, 0, 0),
        (14, 0, 0),
        (2, 0, 0),
    ]
    assert sum(row.num_bytes for row in whole.rows) == sum(map(cache.size, cache.stored()))
    assert (whole.others, whole.stale) == ([], [])

    train, _ = read()
    flipped = Image.open(train[4].image).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    flipped.save(train[4].image)
    images = [encoded_set(config).image_key(sample) for sample in train]
    cache.path(images[0]).write_bytes(b"torn")
    changed, _ = stock_of(config, read())
    rows = {row.kind: row for row in changed.rows}
    assert (rows["image"].cached, rows["image"].missing, rows["image"].damaged) == (12, 1, 1)
    assert (rows["face"].cached, rows["face"].missing) == (13, 1)
    assert len(changed.stale) == 2  # image and face of what was replaced
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(changed.table(cache))
    assert re.search(r"used by nobody\D+2\D", console.export_text())


def test_prune_keeps_what_any_configuration_uses(own, tiny_stack):
    config, read = own
    hinge = config_of(tiny_stack, config.paths.cache, "loss=hinge")
    larger = config_of(tiny_stack, config.paths.cache, "model.sizes.text=84")
    for each in (config, hinge, larger):
        prepare(each, *read())
    _, cache = stock_of(config, read())
    manifests = sorted((cache.folder / "manifests").iterdir())
    assert len(manifests) == 2  # the loss is not part of what is encoded
    assert len(stock_of(config, read())[0].others) == 2
    assert prune(cache) == (0, 0)

    train, _ = read()
    Image.open(train[4].image).transpose(Image.Transpose.ROTATE_180).save(train[4].image)
    for each in (config, larger):
        prepare(each, *read())
    stored = cache.stored()
    count, num_bytes = prune(cache, dry_run=True)
    assert count == 2
    assert num_bytes > 0
    assert cache.stored() == stored
    assert prune(cache) == (count, num_bytes)
    assert len(cache.stored()) == len(stored) - 2
    for each in (config, larger):
        encoded = encoded_set(each)
        keys = Needs.of(encoded, *read()).keys(encoded)
        assert all(key in encoded.cache for kind in keys.values() for key in kind)


def test_prune_refuses_to_guess_what_a_broken_manifest_named(own):
    config, read = own
    cache = prepare(config, *read()).cache
    (manifest,) = (cache.folder / "manifests").iterdir()
    for broken in (b"", b"{}", b"[]", b'{"name": 1, "about": 2, "keys": 3}'):
        manifest.write_bytes(broken)
        stored = cache.stored()
        with pytest.raises(UserError, match=r"json is not a manifest: prepare .* again, or delete"):
            prune(cache)
        assert cache.stored() == stored


@pytest.mark.slow
def test_first_word_of_the_command_says_what_to_do(own, tiny_stack, tmp_path):
    config, read = own
    prepare(config, *read())
    places = [f"data.files.{name}={tmp_path / name}" for name in ("train", "val")]

    def run(*words):
        command = [sys.executable, "-m", "pixelsmile.prepare", *words, "data=ffe", *places]
        settings = [f"model.weights={tiny_stack}", f"paths.cache={config.paths.cache}", *SETTINGS]
        return subprocess.run(
            [*command, *settings, "domain=human"],
            cwd=CONFIG_FOLDER.parent,
            env=os.environ | {"COLUMNS": "120"},
            capture_output=True,
            text=True,
        )

    shown = run("status")
    assert re.search(r"image\D+14\D+0\D+0\D", shown.stdout), shown.stdout + shown.stderr
    pruned = run("prune", "dry_run=true")
    assert "Would remove 0 entries" in pruned.stdout, pruned.stdout + pruned.stderr


# ---- refusals -------------------------------------------------------------------------------


def test_unknown_first_word_is_answered_with_the_words():
    with pytest.raises(UserError, match="Unknown word 'stats': choose one of status, prune"):
        take_verb(["prepare", "stats"], {"status": print, "prune": print})


def test_broken_image_is_named(tiny_stack, tmp_path):
    path = write_faces(tmp_path / "set", range(9000, 9001), strengths=(1.0,))
    val = read_ffe(write_faces(tmp_path / "val", range(9001, 9002), strengths=(1.0,)))
    samples = read_ffe(path)
    samples[3].image.write_bytes(samples[3].image.read_bytes()[:60])
    with pytest.raises(UserError, match=rf"{samples[3].image.name} cannot be read"):
        prepare(config_of(tiny_stack, tmp_path / "cache"), samples, val)
