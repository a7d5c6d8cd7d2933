"""A vision-language model of the Qwen family in this process, from a local folder."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from pixelsmile.errors import UserError
from pixelsmile.judges.base import Picture, Usage, text_hash
from pixelsmile.judges.in_process import InProcessJudge, Spoken
from pixelsmile.judges.parsing import Parsed, parse_scores
from pixelsmile.judges.prompt import SCORING_PROMPT


class QwenVLJudge(InProcessJudge):
    """Ask Qwen2.5-VL or a relative for scores, one image at a time.

    The processor is loaded at once, the model when the first image is judged.

    With `temperature` 0 the answer is the likeliest one and repeats are all alike. Above it answers
    are drawn, from a seed that depends on the key of the answer and the attempt alone, so that
    they can be repeated; what cannot be read is drawn again.

    Args:
        folder: With model and processor, as `save_pretrained` writes them.
        ledger: File of the answers, or None.
        dtype: Of the weights.
        device: Where it runs.
        temperature: 0 for greedy decoding.
        max_new_tokens: At which an answer is cut.
        attempts: Answers without readable scores after which a request is `invalid`.
        prompt: The question.

    Raises:
        UserError: If the folder has no processor with a chat template.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        ledger: str | PathLike[str] | None = None,
        dtype: str = "bfloat16",
        device: str = "cpu",
        temperature: float = 0.0,
        max_new_tokens: int = 400,
        attempts: int = 3,
        prompt: str = SCORING_PROMPT,
    ) -> None:
        super().__init__(ledger=ledger, batch_size=1)
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"No model in {folder}: config.json is missing; download one such as Qwen2.5-VL "
                "yourself and give judge.folder."
            )
        try:
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise _unusable(folder, error) from None
        if not getattr(self.processor, "chat_template", None):
            raise UserError(
                f"The processor in {folder} has no chat template: take an Instruct model."
            )
        self.folder, self.device, self.dtype = folder, device, dtype
        self.temperature, self.max_new_tokens = temperature, max_new_tokens
        self.attempts = attempts if temperature > 0 else 1  # greedy answers do not change
        self.prompt = prompt
        self._id = f"qwen_vl/{folder.resolve().name}"
        self._settings = {
            "weights": weights_fingerprint(folder),
            "dtype": dtype,
            "temperature": temperature,
            "max_new_tokens": max_new_tokens,
        }

    @cached_property
    def model(self) -> Any:
        """The model, loaded for the first image: until then an editor may need the memory.

        Raises:
            UserError: If it cannot be loaded.
        """
        try:
            model: Any = AutoModelForImageTextToText.from_pretrained(
                self.folder, dtype=getattr(torch, self.dtype), local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise _unusable(self.folder, error) from None
        return model.to(self.device).eval().requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        """Return all that an answer depends on."""
        return {
            "id": self._id,
            "settings": self._settings,
            "prompt_hash": text_hash(self.prompt),
        }

    def look(self, pictures: Sequence[Picture], keys: Sequence[str]) -> list[Spoken]:
        """Ask about each image."""
        return [self._ask(picture, key) for picture, key in zip(pictures, keys, strict=True)]

    def _ask(self, picture: Picture, key: str) -> Spoken:
        inputs = self._inputs(picture)
        usage, text, parsed = Usage(), "", Parsed("invalid", None)
        for attempt in range(self.attempts):
            tokens = self._generate(inputs, seed=int(key[:12], 16) + attempt)
            usage += Usage(input=inputs["input_ids"].shape[1], output=len(tokens))
            text = self.processor.decode(tokens, skip_special_tokens=True)
            parsed = parse_scores(text)
            if parsed.status != "invalid":
                break
        if parsed.status == "invalid" and self.attempts > 1:
            parsed = parsed._replace(reason=f"{parsed.reason} (asked {self.attempts} times)")
        return Spoken(parsed, text, usage)

    def _inputs(self, picture: Picture) -> Mapping[str, torch.Tensor]:
        """Return the tokens of image and prompt, (1, L), and the pixels."""
        with Image.open(BytesIO(picture.data)) as image:
            content = [
                {"type": "image", "image": image.convert("RGB")},
                {"type": "text", "text": self.prompt},
            ]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.model.device)

    @torch.inference_mode()
    def _generate(self, inputs: Mapping[str, torch.Tensor], seed: int) -> torch.Tensor:
        """Return the tokens of an answer; the caller's random state stays as it is."""
        drawn = self.temperature > 0
        chance = {"temperature": self.temperature, "top_p": 1.0, "top_k": 0} if drawn else {}
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            tokens = self.model.generate(
                **inputs, do_sample=drawn, max_new_tokens=self.max_new_tokens, **chance
            )
        return tokens[0, inputs["input_ids"].shape[1] :]


def _unusable(folder: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(f"The model in {folder} cannot be loaded ({reason}): download it again.")


def weights_fingerprint(folder: Path) -> str:
    """Return 16 hex digits that change with config, tokenizer, processor or weights.

    Weights enter by name, size and header, which lists every tensor: reading 16 GB of them takes
    minutes. Other weights in the same shapes need another folder name to be told apart.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".txt"):
            digest.update(path.name.encode() + path.read_bytes())
        elif path.suffix == ".safetensors":
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = file.read(min(length, 100_000_000))
            digest.update(path.name.encode() + str(path.stat().st_size).encode() + header)
    return digest.hexdigest()[:16]
