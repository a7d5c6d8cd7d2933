"""Count the memory of tensors while code runs, by what the memory is for.

Fake tensors have storages with sizes but without memory, so the same count works for a model that
no machine could hold. The count is of what the code keeps alive: no allocator, no fragmentation.
"""

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import active_fake_mode
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PARTS = (
    "parameters",
    "gathered blocks",
    "gradients",
    "optimizer",
    "activations",
    "decoder",
    "encoders",
    "buffers",
)
"""What memory is for. `buffers` are those of modules, the batch, and the communication's own."""

_AT_WORK = ("activations", "decoder", "encoders")
"""Parts that memory is counted under because they were at work when it was made."""


class Ledger(TorchDispatchMode):
    """Follow every storage from its first use to its end.

    What an operation makes belongs to the part that is at work, see `watch` and `at_work`, unless
    `assign` has said what it is.

    Attributes:
        now: Bytes in use, by part.
        peak: Bytes by part at the moment when their sum was largest.
        peaks: The same for each stretch of the work, by its name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now: dict[str, int] = defaultdict(int)
        self.peak: dict[str, int] = {}
        self.peaks: dict[str, dict[str, int]] = {}
        self.part = "activations"
        self.stretch = "forward"
        self._entries: dict[int, list[Any]] = {}  # by storage: bytes, part, whatever sees its end
        self._total = 0
        self._largest: dict[str, int] = defaultdict(int)
        self._hooks: list[Any] = []
        self._resize = torch.UntypedStorage.resize_

    # ---- what belongs where ----

    def assign(self, tensor: Tensor | None, part: str) -> None:
        """Count a tensor under a part, from now on."""
        for storage in _storages(tensor):
            self._see(storage, part)
            entry = self._entries[storage._cdata]
            self.now[entry[1]] -= entry[0]
            self.now[part] += entry[0]
            entry[1] = part
        self._note()

    def assign_module(self, module: nn.Module, part: str) -> None:
        """Count a module's parameters under a part, and its buffers as such."""
        for parameter in module.parameters():
            self.assign(parameter, part)
        for buffer in module.buffers():
            self.assign(buffer, "buffers")

    def watch(self, module: nn.Module, part: str) -> None:
        """Say that whatever a module makes, forward and backward, belongs to a part."""
        before: list[str] = []

        def begin(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            outer = self.part
            before.append(outer)
            self.part = part
            for tensor in tree_leaves(inputs):
                if isinstance(tensor, Tensor) and tensor.requires_grad:
                    tensor.register_hook(self._switch(outer))

        def end(_: nn.Module, __: Any, outputs: Any) -> None:
            self.part = before.pop()
            for tensor in tree_leaves(outputs):
                if isinstance(tensor, Tensor) and tensor.requires_grad:
                    tensor.register_hook(self._switch(part))

        self._hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]

    def _switch(self, part: str) -> Callable[[Tensor], None]:
        def to(_: Tensor) -> None:
            self.part = part

        return to

    @contextmanager
    def at_work(self, part: str, stretch: str) -> Iterator[None]:
        """Let a part make what is made in a stretch of work."""
        outer = self.part, self.stretch
        self.part, self.stretch = part, stretch
        yield
        self.part, self.stretch = outer

    # ---- counting ----

    def __enter__(self) -> "Ledger":
        ledger = self

        def resize(storage: torch.UntypedStorage, size: int) -> None:
            ledger._resize(storage, size)
            ledger._see(storage, "gathered blocks", known=True)  # only FSDP sizes them by hand
            ledger._note()

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign]
        self._mode = active_fake_mode()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        for hook in self._hooks:
            hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what came of it."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it becomes operations on this process's part
        result = func(*args, **(kwargs or {}))
        if active_fake_mode() is not self._mode:
            return result  # DTensor asks what shape a result would have
        part = _part_of(func) or self.part
        leaves = tree_leaves(result)
        if part != self.part:
            leaves += tree_leaves((args, kwargs))
        for tensor in leaves:
            if isinstance(tensor, Tensor):
                for storage in _storages(tensor):
                    self._see(storage, part, known=part != self.part)
        self._note()
        return result

    def _see(self, storage: torch.UntypedStorage, part: str, *, known: bool = False) -> None:
        """Count a storage that is new or has another size.

        Args:
            storage: It.
            part: Where it belongs if nothing has been said about it.
            known: It belongs there whoever was at work when it was made.
        """
        key, size = storage._cdata, storage.nbytes()
        entry = self._entries.get(key)
        if entry is None:
            end = weakref.finalize(storage, self._forget, key)
            end.atexit = False
            self._entries[key] = [size, part, end]
            self._change(part, size)
            return
        if entry[0] != size:
            self._change(entry[1], size - entry[0])
            entry[0] = size
        if known and entry[1] in _AT_WORK:
            self.now[entry[1]] -= size
            self.now[part] += size
            entry[1] = part

    def _forget(self, key: int) -> None:
        size, part, _ = self._entries.pop(key)
        self._change(part, -size)

    def _change(self, part: str, size: int) -> None:
        self.now[part] += size
        self._total += size

    def _note(self) -> None:
        """Remember the moment if more is in use than ever."""
        stretch = f"{self.part} {self.stretch}"
        if self._total > self._largest[stretch]:
            self._largest[stretch] = self._total
            self.peaks[stretch] = dict(self.now)
            if self._total >= max(self._largest.values()):
                self.peak = self.peaks[stretch]


def _storages(tensor: Tensor | None) -> list[torch.UntypedStorage]:
    """Return what holds a tensor's numbers in this process."""
    if tensor is None:
        return []
    if isinstance(tensor, DTensor):
        tensor = tensor._local_tensor
    return [tensor.untyped_storage()]


def _part_of(func: Any) -> str | None:
    """Return what an operation of FSDP itself is for, None for any other."""
    name = str(func)
    if not name.startswith(("fsdp.", "c10d.", "_c10d_functional.")):
        return None
    return "gradients" if "reduce_scatter" in name or "chunk_cat" in name else "gathered blocks"
