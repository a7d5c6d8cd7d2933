"""The edit command, from its words to its exit code."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from pixelsmile import edit
from pixelsmile.arguments import quoted
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.edit import as_hydra_reads, build_batch, folder_of, main
from pixelsmile.editing.calibration import Calibration, lora_hash
from pixelsmile.editing.curves import Curve
from pixelsmile.editing.facts import read_facts
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from tests.data.test_hostile import bomb
from tests.editing.stand_in import StandIn


@pytest.fixture
def editors(monkeypatch):
    """Stand-ins in the place of editors; the list of those that were loaded."""
    loaded = []

    def load(config, **settings):
        loaded.append(StandIn())
        return loaded[-1]

    monkeypatch.setattr(edit.ExpressionEditor, "from_config", load)
    monkeypatch.setattr(edit, "weights_identity", lambda model, lora: "stand-in")
    return loaded


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command; return its exit code and what it said, on one line."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["edit.py", *as_hydra_reads(words)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return command


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number} (a).png")
    return folder


# ---- words ----------------------------------------------------------------------------------


def config_of(*words):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra_compose("edit", as_hydra_reads(words))


def test_paths_may_have_spaces_brackets_and_umlauts(photos):
    word = "image=photos/me & you (1) für [dich].jpg"
    assert config_of(word).image == word.removeprefix("image=")
    assert config_of("image=[a.jpg,b.jpg]").image == ["a.jpg", "b.jpg"]
    assert config_of("image=photos/*.jpg").image == "photos/*.jpg"


def test_files_that_the_shell_made_of_a_glob_are_images(photos):
    words = sorted(map(str, photos.iterdir()))
    assert config_of(*words, "expression=happy").image == words


def test_the_first_file_of_a_glob_after_the_key_is_an_image_too(photos):
    """A shell makes `image=a.png b.png` of `image=*.png` only where no file is called image=..."""
    names = sorted(str(path) for path in photos.iterdir())
    first, *others = names
    (word,) = as_hydra_reads([f"image={first}", *others])
    for name in names:
        assert quoted(f"image={name}", ["image"]).partition("=")[2] in word


@pytest.mark.parametrize("out", ["null", "taken"])
def test_out_that_is_no_folder_is_refused(tmp_path, out):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(UserError, match="name a folder for the results"):
        folder_of(None if out == "null" else str(taken))
    assert taken.read_text() == "mine"


def test_lists_need_no_brackets():
    assert config_of("expression=happy,sad").expression == ["happy", "sad"]
    assert config_of("strength=0,0.5").strength == [0, 0.5]
    assert config_of("strength=0:1:5").strength == "0:1:5"


def test_blend_survives_the_braces_of_the_shell():
    for words in (["blend={happy:0.6,sad:0.4}"], ["blend=happy:0.6", "blend=sad:0.4"]):
        assert config_of(*words).blend == {"happy": 0.6, "sad": 0.4}
    assert config_of("target=score:0.6").target == {"score": 0.6}


def test_tight_faces_of_the_tiny_model_are_cut_as_in_its_training_and_others_wider():
    assert config_of().framing.share == 0.95
    assert config_of("domain=anime").framing.share == 0.7
    assert config_of("model=qwen_image_edit_2511", "paths.weights=w").framing.share == 0.7


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["expression=happy", "keep=hair"], "keep=hair: choose one of nothing, background"),
        (["expression=happy", "grid=maybe"], "grid=maybe: say grid=true or grid=false"),
        (
            ["expression=happy", "speed=faster"],
            "Unknown speed .faster.: choose one of .*exact, fast",
        ),
        (["expression=happy", "seed=-1"], "seed=-1: give a whole number"),
        (["expression=happy", "size=100"], "size=100: give an edge, or .* multiples of 16"),
        (["expression=happy", "sweep.fps=0"], r"sweep\.fps=0: give a number from 1 to 50"),
        (["expression=happy", "gif=true"], "needs two strengths or more: say strength=0:1:25"),
        (
            ["expression=happy", "perceived=0.6"],
            r"say lora=.*or .*calibration=<folder>",
        ),
        (["expression=happy", "target={scores:1}"], r"target=.*: say 'target=\{score:0\.6"),
        (["expression=happy", "target={score:2}"], r"target\.score=2: a judge's scores lie in"),
        (["expression=happy", "perceived=0.6", "target={score:1}"], "leave one out"),
        (["expression=happy", "lora=none"], "No LoRA file at none"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_loaded(words, match):
    with pytest.raises(UserError, match=match):
        build_batch(config_of(*words), Console())


def test_calibration_beside_the_lora_is_used_and_a_stale_one_refused(editors, tmp_path):
    lora = tmp_path / "lora"
    lora.mkdir()
    save_file({"a": torch.zeros(1)}, lora / "pytorch_lora_weights.safetensors")
    curves = dict.fromkeys(EXPRESSIONS, Curve((0.0, 0.4, 1.0), (0.0, 0.8, 1.0), (0.0, 1.0)))
    words = f"lora={lora}", "expression=happy", "perceived=0.4,0.8"
    with pytest.raises(UserError, match=r"No calibration at .*pixelsmile\.calibrate"):
        build_batch(config_of(*words), Console())
    file = lora / "calibration.json"
    Calibration(curves, "stand-in", "human", lora_hash(lora)).save(file)
    batch = build_batch(config_of(*words), Console())
    strengths = [level.strength for level in batch.levels.reach(batch.mixes[0])]
    assert strengths == pytest.approx([0.2, 0.4])
    Calibration(curves, "another", "human", lora_hash(lora)).save(file)
    with pytest.raises(UserError, match="stale"):
        build_batch(config_of(*words), Console())
    with pytest.raises(UserError, match="perceived"):
        build_batch(config_of(f"lora={lora}", "expression=happy", "perceived=2"), Console())


# ---- runs -----------------------------------------------------------------------------------


def test_folder_of_images_becomes_folders_of_results(run, photos, editors, tmp_path):
    words = f"image={photos}", "expression=happy,sad", "strength=0:1:3", "mp4=true", "domain=anime"
    code, said = run(*words)
    assert code == 0
    assert "Editing: 18/18" in said
    assert "this is the zero-shot base" in said
    assert len(editors) == 1
    names = {path.name for path in (tmp_path / "edits" / "1 (a)").iterdir()}
    expected = {f"{name}_{level}.png" for name in ("happy", "sad") for level in ("0", "0.5", "1")}
    assert names == {*expected, "grid.png", "happy.mp4", "sad.mp4"}
    facts = read_facts(tmp_path / "edits" / "1 (a)" / "sad_0.5.png")["settings"]
    assert facts["lora_sha256"] is None
    assert facts["domain"] == "anime"
    code, said = run(*words)
    assert code == 0
    assert len(editors) == 1  # nothing to do, nothing loaded


def test_bad_images_of_a_batch_are_counted_and_the_others_made(run, photos, editors, tmp_path):
    (photos / "huge.png").write_bytes(bomb())
    (photos / "text.jpg").write_text("no picture")
    Image.new("RGB", (20, 20)).save(photos / "small.png")
    Image.new("RGB", (200, 90)).save(photos / "wall.png")  # no head-shot
    code, said = run(f"image={photos}", "expression=happy", "strength=1", "domain=anime")
    assert code == 1
    assert "4 of 7 images could not be edited" in said
    assert "over 89 megapixels" in said
    for name in ("0 (a)", "1 (a)", "2 (a)"):
        assert (tmp_path / "edits" / name / "happy_1.png").exists()
    for name in ("huge", "text", "small", "wall"):
        assert not (tmp_path / "edits" / name).exists()


def test_an_image_whose_results_may_not_be_replaced_does_not_stop_the_others(
    run, photos, editors, tmp_path
):
    taken = tmp_path / "edits" / "1 (a)" / "happy_1.png"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    code, said = run(f"image={photos}", "expression=happy", "strength=1", "domain=anime")
    assert code == 1
    assert "1 of 3 images could not be edited" in said
    assert taken.read_text() == "mine"
    for name in ("0 (a)", "2 (a)"):
        assert (tmp_path / "edits" / name / "happy_1.png").exists()


def test_one_bad_image_is_one_sentence_and_exit_code_2(run, tmp_path, editors):
    (tmp_path / "huge.png").write_bytes(bomb())
    code, said = run("huge.png", "expression=happy")
    assert code == 2
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert "huge.png cannot be read (over 89 megapixels)" in said


def test_lora_of_the_other_domain_is_remarked_upon(run, photos, editors, tmp_path, monkeypatch):
    monkeypatch.setattr(edit, "lora_note", lambda lora, domain: "trained for domain=anime")
    assert "trained for domain=anime" in run(f"image={photos}/0 (a).png", "expression=shy")[1]


# ---- processes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_batch_continues_to_the_same_bytes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_edit", str(tmp_path), "4", "0"],
        capture_output=True,
        text=True,
        cwd=CONFIG_FOLDER.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 kills")


@pytest.mark.slow
def test_command_edits_with_the_shipped_tiny_stack(tmp_path):
    """The whole way once: shell words, real networks, target searched by the real judge."""
    from pixelsmile.faces.anime import AnimeFaces

    image = tmp_path / "me.png"
    Image.fromarray(AnimeFaces().render(9001, {}, size=128).image).save(image)
    words = ["domain=anime", f"out={tmp_path / 'out'}", "model.num_steps=2", str(image)]
    command = [sys.executable, "-m", "pixelsmile.edit", *words, "expression=happy"]
    done = subprocess.run(
        [*command, "target={score:0.1}"], capture_output=True, text=True, cwd=CONFIG_FOLDER.parent
    )
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        assert "the closest" in done.stderr
    else:
        facts = read_facts(tmp_path / "out" / "me" / "happy_target0.1.png")
        assert abs(facts["made"]["score"] - 0.1) <= 0.02
