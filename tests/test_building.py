"""What a target refuses comes out of a config as it was said."""

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from pixelsmile.building import build
from pixelsmile.errors import UserError


def refuse(**parts):
    raise UserError("choose another value.")


def fail():
    raise RuntimeError("a defect")


def keep(**parts):
    return parts


def node(name, **parts):
    return OmegaConf.create({"_target_": f"{__name__}.{name}", **parts})


@pytest.mark.parametrize("config", [node("refuse"), node("keep", inner=node("refuse"))])
def test_refusal_of_a_part_at_any_depth_is_the_refusal(config):
    with pytest.raises(UserError, match=r"^choose another value\.$"):
        build(config)


def test_other_errors_keep_what_hydra_says_of_them():
    with pytest.raises(InstantiationException, match="a defect"):
        build(node("fail"))


def test_what_is_no_config_stays_as_it_is():
    assert build(None) is None
    assert build(node("keep", a=1), b=2) == {"a": 1, "b": 2}
