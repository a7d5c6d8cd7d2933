"""Both real generators write whole sets, with the same bytes from one process as from two."""

import importlib

import pytest

from pixelsmile.expressions import DOMAINS
from pixelsmile.faces.dataset import write_dataset


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_real_generator_writes_the_same_set_from_any_number_of_processes(domain, tmp_path):
    module = importlib.import_module(f"pixelsmile.faces.{domain}")
    generator = getattr(module, f"{domain.capitalize()}Faces")()
    sets = []
    for workers in (1, 2):
        annotations = write_dataset(
            generator,
            [0, 1],
            tmp_path / str(workers),
            strengths=[1.0],
            size=64,
            workers=workers,
        )
        files = (path for path in sorted(annotations.parent.rglob("*")) if path.is_file())
        sets.append({path.relative_to(annotations.parent): path.read_bytes() for path in files})
    assert sets[0] == sets[1]
    assert len(sets[0]) == 2 * 13 + 3
