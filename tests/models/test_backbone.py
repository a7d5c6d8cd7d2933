"""The backbone trains its adapter alone, and the adapter deploys in stock diffusers."""

import json

import pytest
import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from safetensors import safe_open

from pixelsmile.errors import UserError
from pixelsmile.faces.tiny.architectures import TEXT_WIDTH, tiny_transformer
from pixelsmile.lora import write_adapter
from pixelsmile.models.backbone import LORA_TARGETS, Backbone
from pixelsmile.models.denoiser import pack_latents, unpack_latents

RANK, ALPHA, LAYERS = 2, 6, 2
UNUSED = ("add_q_proj", "to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2")


def make(**options):
    """Return a backbone whose adapter does something: B is not zero as at the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = Backbone(
            tiny_transformer(0, layers=LAYERS, heads=2), rank=RANK, alpha=ALPHA, **options
        )
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return backbone


@pytest.fixture
def backbone():
    return make()


@pytest.fixture
def inputs(generator):
    """Noisy, sigma, source and text for a batch of three."""
    return (
        torch.randn(3, 16, 4, 6, generator=generator),
        torch.tensor([0.2, 0.5, 1.0]),
        torch.randn(3, 16, 4, 6, generator=generator),
        torch.randn(3, 9, TEXT_WIDTH, generator=generator),
    )


# ---- packing --------------------------------------------------------------------------------


def test_packing_equals_the_stock_pipeline(generator):
    latents = torch.randn(2, 16, 6, 4, generator=generator)
    stock = QwenImageEditPlusPipeline._pack_latents(latents.unsqueeze(2), 2, 16, 6, 4)
    assert torch.equal(pack_latents(latents), stock)


def test_unpacking_equals_the_stock_pipeline(generator):
    tokens = torch.randn(2, 6, 64, generator=generator)
    stock = QwenImageEditPlusPipeline._unpack_latents(tokens, 48, 32, 8).squeeze(2)
    assert torch.equal(unpack_latents(tokens, 6, 4), stock)


def test_unpacking_inverts_packing(generator):
    latents = torch.randn(2, 16, 6, 4, generator=generator)
    assert torch.equal(unpack_latents(pack_latents(latents), 6, 4), latents)


# ---- what learns ----------------------------------------------------------------------------


def test_only_adapters_may_learn(backbone):
    for name, parameter in backbone.named_parameters():
        assert not parameter.requires_grad or ".lora_" in name, name
    assert backbone.adapter_parameters()


def test_all_twelve_kinds_of_module_get_an_adapter_in_every_block(backbone):
    names = {
        name for name, _ in backbone.named_parameters() if name.endswith("lora_A.default.weight")
    }
    expected = {
        f"transformer.transformer_blocks.{layer}.{_place(target)}.lora_A.default.weight"
        for layer in range(LAYERS)
        for target in LORA_TARGETS
    }
    assert names == expected


def _place(target):
    return target if "mlp" in target else f"attn.{target}"


def test_every_parameter_that_may_learn_gets_a_gradient_and_no_other_would(backbone, inputs):
    learning = {id(parameter) for parameter in backbone.adapter_parameters()}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(".lora_" in name)
    backbone(*inputs).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        if ".lora_" not in name:
            assert parameter.grad is None, name
        elif id(parameter) in learning:
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None or parameter.grad.abs().sum() == 0, name


def test_what_is_frozen_is_the_way_of_the_last_text_output(backbone):
    frozen = {
        name
        for name, parameter in backbone.named_parameters()
        if ".lora_" in name and not parameter.requires_grad
    }
    expected = {
        f"transformer.transformer_blocks.{LAYERS - 1}.{_place(target)}.lora_{side}.default.weight"
        for target in UNUSED
        for side in "AB"
    }
    assert frozen == expected


def test_a_step_moves_the_adapter_and_leaves_the_base_to_the_last_bit(backbone, inputs):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD(backbone.adapter_parameters(), lr=0.1)
    backbone(*inputs).square().mean().backward()
    optimizer.step()
    moved = {n for n, value in backbone.state_dict().items() if not torch.equal(value, before[n])}
    assert moved
    assert all(".lora_" in name for name in moved)


def test_a_new_adapter_changes_nothing(inputs):
    base = tiny_transformer(0, layers=1, heads=2)
    with torch.no_grad():
        fresh = Backbone(tiny_transformer(0, layers=1, heads=2), rank=2, alpha=4)(*inputs)
        torch.testing.assert_close(fresh, _stock_velocity(base, *inputs), atol=2e-6, rtol=1e-5)


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match=r"called 'to_x': check model\.backbone\.targets"):
        Backbone(tiny_transformer(0, layers=1, heads=2), rank=2, targets=["to_q", "to_x"])


def test_adapters_stay_float32_on_a_bfloat16_base(tiny_stack):
    backbone = Backbone.from_pretrained(
        tiny_stack / "pipeline" / "transformer", dtype="bfloat16", rank=2
    )
    assert {parameter.dtype for parameter in backbone.adapter_parameters()} == {torch.float32}
    base = [p for n, p in backbone.named_parameters() if ".lora_" not in n and p.dim() > 1]
    assert {parameter.dtype for parameter in base} == {torch.bfloat16}


def test_gradient_checkpointing_changes_no_gradient(backbone, inputs):
    frugal = make(gradient_checkpointing=True).train()
    for model in (backbone, frugal):
        model(*inputs).square().mean().backward()
    pairs = zip(backbone.adapter_parameters(), frugal.adapter_parameters(), strict=True)
    for plain, checkpointed in pairs:
        torch.testing.assert_close(checkpointed.grad, plain.grad, atol=1e-6, rtol=1e-5)


# ---- what it computes -----------------------------------------------------------------------


def _stock_velocity(transformer, noisy, sigma, source, text):
    """What the stock pipeline computes in one step, one sample at a time."""
    rows = []
    height, width = noisy.shape[-2:]
    for i in range(len(noisy)):
        packed = [
            QwenImageEditPlusPipeline._pack_latents(x[i : i + 1, :, None], 1, 16, height, width)
            for x in (noisy, source)
        ]
        (predicted,) = transformer(
            hidden_states=torch.cat(packed, dim=1),
            timestep=sigma[i : i + 1],
            encoder_hidden_states=text[i : i + 1],
            encoder_hidden_states_mask=None,
            img_shapes=[[(1, height // 2, width // 2)] * 2],
            return_dict=False,
        )
        target = predicted[:, : packed[0].shape[1]]
        rows.append(
            QwenImageEditPlusPipeline._unpack_latents(target, height * 8, width * 8, 8).squeeze(2)
        )
    return torch.cat(rows)


@torch.no_grad()
def test_a_batch_equals_its_samples_one_by_one(backbone, inputs):
    whole = backbone(*inputs)
    for i in range(3):
        single = backbone(*(part[i : i + 1] for part in inputs))
        torch.testing.assert_close(whole[i : i + 1], single, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_padding_behind_the_mask_does_not_count(backbone, inputs):
    noisy, sigma, source, text = inputs
    padded = torch.cat([text, 7 * torch.ones(3, 4, TEXT_WIDTH)], dim=1)
    mask = torch.arange(13).expand(3, -1) < 9
    plain = backbone(*inputs)
    masked = backbone(noisy, sigma, source, padded, mask)
    torch.testing.assert_close(masked, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(backbone(noisy, sigma, source, padded), plain, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("place", [0, 1, 2, 3], ids=["noisy", "sigma", "source", "text"])
def test_every_input_matters(backbone, inputs, place):
    changed = list(inputs)
    changed[place] = changed[place].flip(0)
    assert not torch.allclose(backbone(*inputs), backbone(*changed), atol=1e-4)


# ---- what is kept ---------------------------------------------------------------------------


@torch.no_grad()
def test_saved_adapter_gives_the_same_velocity_in_a_fresh_stock_transformer(
    backbone, inputs, tmp_path
):
    backbone.save_adapter(tmp_path)
    stock = tiny_transformer(0, layers=LAYERS, heads=2)
    plain = _stock_velocity(stock, *inputs)
    stock.load_lora_adapter(
        tmp_path, prefix="transformer", weight_name="pytorch_lora_weights.safetensors"
    )
    adapted = _stock_velocity(stock, *inputs)
    torch.testing.assert_close(adapted, backbone(*inputs), atol=2e-6, rtol=1e-5)
    assert not torch.allclose(adapted, plain, atol=1e-3)


@torch.no_grad()
def test_stock_pipeline_loads_the_saved_adapter(backbone, inputs, tmp_path, pipeline):
    backbone.save_adapter(tmp_path)
    parts = {**pipeline.components, "transformer": tiny_transformer(0, layers=LAYERS, heads=2)}
    stock = QwenImageEditPlusPipeline(**parts)
    stock.load_lora_weights(tmp_path)
    adapted = _stock_velocity(stock.transformer, *inputs)
    torch.testing.assert_close(adapted, backbone(*inputs), atol=2e-6, rtol=1e-5)


def test_saved_adapter_carries_rank_and_alpha_and_nothing_of_the_base(backbone, tmp_path):
    backbone.save_adapter(tmp_path)
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        keys = list(file.keys())
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    assert len(keys) == 2 * len(LORA_TARGETS) * LAYERS
    assert all(".lora_" in key for key in keys)
    assert (metadata["transformer.r"], metadata["transformer.lora_alpha"]) == (RANK, ALPHA)


@torch.no_grad()
def test_loading_the_adapter_state_restores_the_velocity(backbone, inputs):
    expected = backbone(*inputs)
    other = Backbone(tiny_transformer(0, layers=LAYERS, heads=2), rank=RANK, alpha=ALPHA)
    assert not torch.equal(other(*inputs), expected)
    other.load_adapter_state(backbone.adapter_state())
    assert torch.equal(other(*inputs), expected)


def test_saved_facts_are_in_the_file(backbone, tmp_path):
    facts = {"pixelsmile.domain": "anime", "pixelsmile.steps": "7"}
    with safe_open(backbone.save_adapter(tmp_path, facts), "pt") as file:
        assert facts.items() <= file.metadata().items()


@torch.no_grad()
@pytest.mark.parametrize("dialect", ["diffusers", "comfyui", "kohya"])
def test_file_of_any_dialect_and_alpha_restores_the_velocity(backbone, inputs, tmp_path, dialect):
    expected = backbone(*inputs)
    file = write_adapter(backbone.adapter(), tmp_path / "a.safetensors", dialect)
    same = Backbone(tiny_transformer(0, layers=LAYERS, heads=2), rank=RANK, alpha=ALPHA)
    same.load_adapter(file)
    assert torch.equal(same(*inputs), expected)
    other = Backbone(tiny_transformer(0, layers=LAYERS, heads=2), rank=RANK, alpha=2 * ALPHA)
    other.load_adapter(file)
    torch.testing.assert_close(other(*inputs), expected, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_file_of_the_release_restores_the_velocity_at_the_chosen_scale(backbone, inputs, tmp_path):
    """Its mixture of names loses four of twelve kinds of modules in stock diffusers."""
    mixed = convert_state_dict_to_diffusers(backbone.adapter_state())
    QwenImageEditPlusPipeline.save_lora_weights(tmp_path, mixed)
    fresh = Backbone(tiny_transformer(0, layers=LAYERS, heads=2), rank=RANK, alpha=ALPHA)
    fresh.load_adapter(tmp_path, scale=ALPHA / RANK)
    assert torch.equal(fresh(*inputs), backbone(*inputs))
    fresh.load_adapter(tmp_path)
    assert not torch.allclose(fresh(*inputs), backbone(*inputs), atol=1e-3)


def test_file_of_another_rank_or_depth_is_refused(backbone, tmp_path):
    backbone.save_adapter(tmp_path)
    for layers, rank in ((1, RANK), (LAYERS, RANK + 1)):
        other = Backbone(tiny_transformer(0, layers=layers, heads=2), rank=rank)
        with pytest.raises(UserError, match=r"does not fit this model in \d+ tensors, e\.g\."):
            other.load_adapter(tmp_path)


def test_missing_transformer_says_how_to_get_it(tmp_path):
    folder = tmp_path / "Qwen-Image-Edit-2511" / "transformer"
    with pytest.raises(UserError, match=r"(?s)No weights at .*Qwen/Qwen-Image-Edit-2511.*hf down"):
        Backbone.from_pretrained(folder)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot be read as transformer .*hf download"):
        Backbone.from_pretrained(folder)


def test_adapter_of_another_model_is_refused(backbone):
    shallow = Backbone(tiny_transformer(0, layers=1, heads=2), rank=RANK, alpha=ALPHA)
    with pytest.raises(ValueError, match=r"differs from this model in 24 keys, e\.g\..*targets"):
        shallow.load_adapter_state(backbone.adapter_state())
