"""The cluster scripts are valid shell, and what they tell the training composes."""

import re
import shlex
import subprocess

import pytest

from pixelsmile.command import CONFIG_FOLDER
from tests.tiny_random import compose

FOLDER = CONFIG_FOLDER.parent / "scripts"
SCRIPTS = sorted(path for path in FOLDER.iterdir() if path.is_file())


def test_there_are_scripts():
    assert {path.name for path in SCRIPTS} >= {"prepare.sbatch", "torchrun.sh", "train.sbatch"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax_is_right(script):
    subprocess.run(["bash", "-n", str(script)], check=True, capture_output=True)
    assert script.stat().st_mode & 0o100


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_settings_compose(script):
    text = re.sub(r"\\\n", " ", script.read_text())
    (command,) = [line for line in text.splitlines() if "-m pixelsmile." in line]
    words = shlex.split(command)
    number = {"devices": "4", "num_nodes": "2"}
    overrides = [
        f"{key}={number.get(key.rpartition('.')[2], 'x') if '$' in value else value}"
        for key, _, value in (word.partition("=") for word in words)
        if value and not key.startswith("-")
    ]
    assert "model=qwen_image_edit_2511" in overrides
    config = compose("name=x", *(word for word in overrides if not word.startswith("name=")))
    if "trainer=fsdp" in overrides:
        assert (config.trainer.devices, config.trainer.num_nodes) == (4, 2)
        assert config.resume == "auto"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_page_explains_it(script):
    assert f"scripts/{script.name}" in (FOLDER.parent / "docs" / "cluster.md").read_text()
