"""A LoRA file says what it was trained on, with which code."""

import shutil
import subprocess

import pytest

import pixelsmile
from pixelsmile.lora.facts import code_commit, training_facts
from tests.tiny_random import compose


def test_facts_are_those_of_the_run():
    facts = training_facts(compose("name=x", "domain=anime", "seed=3"), steps=7)
    assert facts.pop("pixelsmile.commit")
    assert facts == {
        "pixelsmile.base": "tiny",
        "pixelsmile.domain": "anime",
        "pixelsmile.image_size": "128",
        "pixelsmile.condition_size": "128",
        "pixelsmile.text_size": "64",
        "pixelsmile.steps": "7",
        "pixelsmile.seed": "3",
        "pixelsmile.version": pixelsmile.__version__,
    }
    real = training_facts(compose("name=x", "model=qwen_image_edit_2511"), steps=0)
    assert real["pixelsmile.base"] == "Qwen/Qwen-Image-Edit-2511"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_is_that_of_the_checkout_and_of_nothing_around_it(monkeypatch, tmp_path):
    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)

    package = tmp_path / "pixelsmile" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(pixelsmile, "__file__", str(package))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_commit() is None  # no repository
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD").stdout.strip()
    assert code_commit() == head
    package.write_text("changed")
    assert code_commit() == f"{head}-dirty"
    inner = tmp_path / "site-packages" / "pixelsmile" / "__init__.py"
    inner.parent.mkdir(parents=True)
    inner.touch()
    monkeypatch.setattr(pixelsmile, "__file__", str(inner))
    assert code_commit() is None  # an installed copy inside somebody's repository
