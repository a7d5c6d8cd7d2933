"""Count floating-point operations while code runs, and keep nothing alive by it.

torch's `FlopCounterMode` also tells modules apart; for that it holds on to the graph of every
call, and with it to what gradient checkpointing has computed again.
"""

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count


class Operations(TorchDispatchMode):
    """Add up what torch's registry says of each operation, two for a multiplication and addition.

    Attributes:
        total: FLOPs so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it becomes operations on this process's part
        result = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape)


_ON_CPU = torch.ops.aten
_FORMULAS = flop_registry | {  # the CPU's attention is missing in torch's own table
    _ON_CPU._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ON_CPU._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
