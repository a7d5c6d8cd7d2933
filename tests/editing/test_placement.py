"""Offloading moves networks and changes no picture; batches follow the memory."""

import pytest
import torch
from PIL import Image
from torch import nn

from pixelsmile.editing import ExpressionEditor
from pixelsmile.editing.memory import batch_size, free_bytes, pictures_at_once
from pixelsmile.editing.placement import Resident, WholeParts
from pixelsmile.editing.rows import weights_of
from pixelsmile.errors import UserError
from tests.tiny_random import SETTINGS, compose

ROWS = torch.stack([strength * weights_of({"happy": 1.0}) for strength in (0.0, 0.5, 1.0)])


@pytest.fixture(scope="module")
def config(tiny_stack):
    return compose(f"model.weights={tiny_stack}", *SETTINGS)


@pytest.fixture(scope="module")
def expected(config):
    editor = ExpressionEditor.from_config(config)
    return editor.render(editor.encode(Image.new("RGB", (64, 64), "tan")), ROWS, speed="fast")


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_networks_give_the_same_pictures(config, expected, offload):
    editor = ExpressionEditor.from_config(config, offload=offload)
    images = editor.render(editor.encode(Image.new("RGB", (64, 64), "tan")), ROWS, speed="fast")
    torch.testing.assert_close(images, expected, atol=1e-6, rtol=0)


def test_an_unknown_way_to_offload_lists_the_choices(config):
    with pytest.raises(UserError, match="Unknown offload 'disk': choose one of group, model, none"):
        ExpressionEditor.from_config(config, offload="disk")


def where(part):
    return next(part.parameters()).device.type


def test_one_network_at_a_time_is_on_the_device():
    parts = [nn.Linear(1, 1), nn.Linear(1, 1)]
    placement = WholeParts()
    placement.place(parts, torch.device("meta"))  # stands for a GPU; nothing comes back from it
    assert [where(part) for part in parts] == ["cpu", "cpu"]
    with placement.using(parts[1]):
        assert [where(part) for part in parts] == ["cpu", "meta"]
    resident = [nn.Linear(1, 1), nn.Linear(1, 1)]
    Resident().place(resident, torch.device("meta"))
    assert [where(part) for part in resident] == ["meta", "meta"]


def test_more_memory_never_fits_fewer_pictures_and_one_always_runs():
    sizes = {"tokens": 2392, "width": 3072, "pixels": 512**2, "itemsize": 2}
    counts = [pictures_at_once(free, **sizes) for free in (0, 10**9, 10**10, 10**11)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] > 50
    assert pictures_at_once(10**10, **(sizes | {"tokens": 8408, "pixels": 1024**2})) < counts[2]
    cpu = torch.device("cpu")
    assert free_bytes(cpu) > 2**20
    assert 1 <= batch_size(cpu, **sizes) <= 8


def test_running_out_of_memory_halves_the_batch_and_reports_progress_once(config, monkeypatch):
    editor = ExpressionEditor.from_config(config, batch_size=4)
    source = editor.encode(Image.new("RGB", (64, 64), "tan"))
    decode, sizes = editor.autoencoder.decode, []

    def cramped(latents):
        sizes.append(len(latents))
        if len(latents) > 1:
            raise torch.OutOfMemoryError("no more")
        return decode(latents)

    monkeypatch.setattr(editor.autoencoder, "decode", cramped)
    told = []
    images = editor.render(source, ROWS, progress=told.append)
    assert sizes == [3, 2, 1, 1, 1]
    assert editor.batch_size == 1
    assert sum(told) == len(images) == 3
    monkeypatch.setattr(
        editor.autoencoder, "decode", lambda latents: cramped(latents.repeat(2, 1, 1, 1))
    )
    with pytest.raises(torch.OutOfMemoryError):
        editor.render(source, ROWS)
