"""A manifest belongs to one configuration, by its files and not by what they are called."""

from pixelsmile.inventory import manifest_of
from tests.tiny_random import compose


def test_same_relative_path_of_two_projects_is_not_one_configuration(tmp_path, monkeypatch):
    names = []
    for project in ("one", "two"):
        folder = tmp_path / project
        folder.mkdir()
        (folder / "train.jsonl").touch()
        monkeypatch.chdir(folder)
        for path in ("train.jsonl", "./train.jsonl", folder / "train.jsonl"):
            config = compose("data=ffe", f"data.files.train={path}")
            names.append(manifest_of(config, {}).name)
        assert len(set(names[-3:])) == 1
        listed = compose("data=ffe", "data.files.train=[train.jsonl]")
        names.append(manifest_of(listed, {}).name)
    assert set(names[:4]).isdisjoint(names[4:])
