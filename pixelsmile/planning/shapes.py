"""The parts of a training as shapes: full-size modules whose weights take no memory.

Shapes: B triplets, C h w latent, L text tokens, D text width.
"""

from pathlib import Path
from typing import Any

import open_clip
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLQwenImage
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pixelsmile.data.datamodule import TripletBatch
from pixelsmile.models.adaface import AdaFaceNet
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.backbone import Backbone
from pixelsmile.models.encoders import FrozenImageEncoder
from pixelsmile.models.recognisers import Recogniser
from pixelsmile.module import PixelSmile
from pixelsmile.weights import reading

SUFFIX_TOKENS = 7
"""From the expression word of an edit prompt to the end of the chat template."""

LATENT_CHANNELS = 16


def text_tokens(size: int) -> int:
    """Return the prompt's tokens for a square image of some edge that the text encoder sees.

    One token for each 28 x 28 pixels, and 20 of words and template around them.

    Example:
        >>> text_tokens(512), text_tokens(64)
        (344, 24)
    """
    return 20 + round(size / 28) ** 2


def open_clip_tower(architecture: str, *, projected: bool = False) -> FrozenImageEncoder:
    """Return the image encoder of an open_clip architecture, on the meta device."""
    with init_empty_weights(include_buffers=True):
        model: Any = open_clip.create_model(architecture, pretrained=None, device="meta")
    vision = model.visual
    if not projected:
        vision.proj = None
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    return FrozenImageEncoder(vision, mean, std, vision.image_size[0])


def resnet_recogniser(architecture: str = "ir_101") -> Recogniser:
    """Return a recogniser of AdaFace's architecture, which ArcFace's ResNet-100 resembles."""
    with init_empty_weights():
        network = AdaFaceNet(architecture)
    return Recogniser(network, architecture)


def build_backbone(config: DictConfig) -> Backbone:
    """Return the backbone of a configuration with its adapter, on the meta device."""
    node = config.model.backbone  # its folder may be of weights that nobody has
    settings = {str(name): node[name] for name in node if name not in ("_target_", "folder")}
    folder = Path(config.model.planned.folder) / "transformer"
    return Backbone.of_shape(folder, **settings)


def build_autoencoder(config: DictConfig) -> Autoencoder:
    """Return the autoencoder of a configuration without the half that training lets go of."""
    folder = Path(config.model.planned.folder) / "vae"
    with reading(folder, "VAE"), init_empty_weights():
        settings: Any = AutoencoderKLQwenImage.load_config(folder)
        vae: Any = AutoencoderKLQwenImage.from_config(settings)
        autoencoder = Autoencoder(vae.to(getattr(torch, config.model.autoencoder.dtype)))
    return autoencoder.without_encoder().in_parts(**config.model.decoding)


def build_shapes(config: DictConfig) -> PixelSmile:
    """Return the module of a configuration with all its frozen parts, without any weights.

    Every face counts in the identity loss: that is the largest a step can be.
    """
    model, loss = config.model, config.loss
    planned = model.planned
    identity = instantiate(loss.identity, max_sigma=None)
    return PixelSmile(
        backbone=build_backbone(config),
        autoencoder=build_autoencoder(config),
        encoder=instantiate(planned.encoder),
        recogniser=instantiate(planned.recogniser),
        scorer=instantiate(planned.scorer),
        triplet=instantiate(loss.triplet),
        identity=identity,
        triplet_weight=loss.triplet_weight,
        identity_weight=loss.identity_weight,
        optimizer=instantiate(model.optimizer),
        scheduler=instantiate(model.scheduler),
        sigmas=torch.ones(model.num_steps + 1),
        seed=config.seed,
    )


def make_fake(module: nn.Module, mode: FakeTensorMode) -> None:
    """Give every tensor of a module a place on the CPU that takes no memory; in place."""
    known: dict[int, Any] = {}

    def fake(tensor: Tensor) -> Tensor:
        with mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype)

    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                if id(parameter) not in known:
                    twin = nn.Parameter(fake(parameter), requires_grad=parameter.requires_grad)
                    known[id(parameter)] = (twin, parameter)
                part._parameters[name] = known[id(parameter)][0]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = fake(buffer)
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):  # such as the rotations of positions
                setattr(part, name, fake(value))


def fake_batch(config: DictConfig, module: PixelSmile, size: int) -> TripletBatch:
    """Return a batch of the shapes and types that a training reads; call it in fake mode.

    Args:
        config: Of the training.
        module: Fake, for the widths of its features.
        size: Triplets.
    """
    sizes = config.model.sizes
    shape: Any = module.backbone.transformer.config
    width = shape.joint_attention_dim
    text = getattr(torch, config.model.text_encoder.dtype)
    tokens = text_tokens(sizes.text)

    def latents(edge: int) -> Tensor:
        return torch.empty(size, LATENT_CHANNELS, edge // 8, edge // 8)

    with torch.no_grad():
        image, points = torch.zeros(1, 3, sizes.image, sizes.image), torch.rand(1, 5, 2)
        feature = module.encoder(image).shape[-1]
        embedding = module.recogniser(image, points).shape[-1]
    return TripletBatch(
        source=latents(sizes.condition),
        neutral=torch.empty(size, tokens, width, dtype=text),
        target_a=latents(sizes.image),
        target_b=latents(sizes.image),
        suffix_a=torch.empty(size, SUFFIX_TOKENS, width, dtype=text),
        suffix_b=torch.empty(size, SUFFIX_TOKENS, width, dtype=text),
        strength_a=torch.empty(size),
        strength_b=torch.empty(size),
        expression_a=torch.empty(size, dtype=torch.long),
        expression_b=torch.empty(size, dtype=torch.long),
        feature_a=torch.empty(size, feature),
        feature_b=torch.empty(size, feature),
        identity_a=torch.empty(size, embedding),
        identity_b=torch.empty(size, embedding),
        landmarks_a=torch.empty(size, 5, 2),
        landmarks_b=torch.empty(size, 5, 2),
        noise=latents(sizes.image),
        uniform=torch.empty(size),
    )
