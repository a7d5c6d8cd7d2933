"""The loader of a training: one stream of batches that goes on at any position."""

import signal
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from pixelsmile.data.order import BatchOrder
from pixelsmile.errors import UserError
from pixelsmile.seeds import stream_generator


class BatchStream:
    """Serve the batches of a whole training, over all its epochs.

    Lightning keeps `state_dict` in every checkpoint and hands it back. The position counts what
    was consumed, not what workers have fetched ahead.

    Args:
        dataset: Takes a `Draw`.
        order: Says which batch stands where.
        num_batches: Of the training.
        num_workers: Processes that read; 0 reads in this one.
        fingerprint: Of the set; a stream of another one is not continued.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        order: BatchOrder,
        num_batches: int,
        *,
        num_workers: int = 0,
        fingerprint: str = "",
    ) -> None:
        self.dataset = dataset
        self.order = order
        self.num_batches = num_batches
        self.num_workers = num_workers
        self.fingerprint = fingerprint
        self.position = 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches from `position` on."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=map(self.order.batch, range(self.position, self.num_batches)),  # pyright: ignore[reportArgumentType]
            num_workers=self.num_workers,
            worker_init_fn=_leave_signals_to_the_trainer,
            generator=stream_generator("workers"),  # the global generator stays as it is
        )
        for batch in loader:
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return what it takes to go on."""
        return {"position": self.position, "fingerprint": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            UserError: If the set, its order or the batch size are others than then.
        """
        if state["fingerprint"] != self.fingerprint:
            raise UserError(
                "The run to resume was trained on other data: triplets, their scores or images, "
                f"seed or batch (now {self.order.batch_size} triplets: data.batch_size times the "
                f"processes) have changed (fingerprint {state['fingerprint']} then, "
                f"{self.fingerprint} now). "
                "Resume with the data and settings of its config.yaml, or start a new run."
            )
        self.position = state["position"]


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ignore what asks the run to stop: batches are needed until the step under way is done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
