"""The project files agree with each other, and the set-up is atomic and repeatable."""

import importlib.util
import re
import shutil
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

import pixelsmile

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(requirement):
    """Package name of a requirement, in the normal form of package indexes."""
    name = re.match(r"[A-Za-z0-9_.-]+", requirement).group()
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_requirement_is_pinned_exactly_once():
    names = [name_of(pin) for pin in pins()]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins())
    assert len(set(names)) == len(names)
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *chain.from_iterable(extras.values())]
    own = name_of(PROJECT["project"]["name"])  # an extra may include another extra
    assert {name_of(requirement) for requirement in wanted} - {own} <= set(names)


def test_pins_satisfy_the_lower_bounds():
    def parts(version):
        return [int(part) for part in version.split(".") if part.isdigit()]

    pinned = {name_of(pin): pin.split("==")[1] for pin in pins()}
    for requirement in PROJECT["project"]["dependencies"]:
        assert parts(pinned[name_of(requirement)]) >= parts(requirement.split(">=")[1])


def test_metadata_names_the_licence_that_is_there():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_version_is_a_release_number():
    assert re.fullmatch(r"\d+\.\d+\.\d+", pixelsmile.__version__)


def test_no_project_file_names_a_package_index():
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/venv.py", ".ci/run"):
        text = (ROOT / name).read_text()
        assert "index-url" not in text
        assert "find-links" not in text
        assert "://" not in text, name


def test_every_make_target_that_runs_python_sets_up_first():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("faces", "train", "test", "check", "tensorboard"):
        assert re.search(rf"^{target}: venv ##", makefile, re.MULTILINE), target


@pytest.fixture
def venv():
    """The set-up script as a module."""
    spec = importlib.util.spec_from_file_location("venv_script", ROOT / ".ci" / "venv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path):
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


class Steps:
    """Stand in for `python -m venv` and pip: note each step, fail on demand."""

    def __init__(self, root, fail=None):
        self.root, self.fail, self.done = root, fail, []

    def __call__(self, command, log_path, title):
        self.done.append(title)
        if title == "python -m venv":
            (self.root / ".venv" / "bin").mkdir(parents=True)
            (self.root / ".venv" / "bin" / "python").touch()
        if title == self.fail:
            raise KeyboardInterrupt


def test_second_setup_does_nothing(venv, checkout):
    first, second = Steps(checkout), Steps(checkout)
    assert venv.prepare(str(checkout), first)
    assert first.done == ["python -m venv", "pip install"]
    assert not venv.prepare(str(checkout), second)
    assert second.done == []


def test_interrupted_setup_starts_anew(venv, checkout):
    with pytest.raises(KeyboardInterrupt):
        venv.prepare(str(checkout), Steps(checkout, fail="pip install"))
    (checkout / ".venv" / "leftover").touch()
    again = Steps(checkout)
    assert venv.prepare(str(checkout), again)
    assert again.done == ["python -m venv", "pip install"]
    assert not (checkout / ".venv" / "leftover").exists()


def test_changed_pins_update_the_environment_in_place(venv, checkout):
    venv.prepare(str(checkout), Steps(checkout))
    (checkout / "constraints.txt").write_text("numpy==2.4.6\n")
    update = Steps(checkout)
    assert venv.prepare(str(checkout), update)
    assert update.done == ["pip install"]
    assert len(list((checkout / ".venv").glob(".ready-*"))) == 1


def test_interrupted_update_starts_anew(venv, checkout):
    venv.prepare(str(checkout), Steps(checkout))
    (checkout / "constraints.txt").write_text("numpy==2.4.6\n")
    with pytest.raises(KeyboardInterrupt):
        venv.prepare(str(checkout), Steps(checkout, fail="pip install"))
    again = Steps(checkout)
    venv.prepare(str(checkout), again)
    assert again.done == ["python -m venv", "pip install"]


def test_copied_checkout_is_set_up_anew(venv, checkout):
    """Scripts of an environment hold absolute paths: those of a copy would run the original."""
    original = checkout / "original"
    original.mkdir()
    for name in venv.REQUIREMENTS:
        (original / name).write_text("")
    venv.prepare(str(original), Steps(original))
    shutil.copytree(original, copy := checkout / "copy")
    again = Steps(copy)
    venv.prepare(str(copy), again)
    assert again.done == ["python -m venv", "pip install"]


def test_old_python_is_refused_with_the_way_out(venv, checkout, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(venv.SetupError, match=r"Python 3\.11 or newer .*PYTHON=python3\.12"):
        venv.prepare(str(checkout), Steps(checkout))


def test_failed_step_shows_the_end_of_its_log(venv, tmp_path):
    log = tmp_path / "log"
    script = "print('Location x is ignored'); print('no such package'); raise SystemExit(1)"
    with pytest.raises(venv.SetupError, match="pip install failed:\nno such package\n"):
        venv.run([sys.executable, "-c", script], str(log), "pip install")
