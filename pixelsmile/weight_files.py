"""Say what a file or folder of weights is without loading it.

Only headers are read: that of safetensors, the directory of a torch zip and the opcodes of its
pickle (nothing is unpickled), the graph of ONNX.
"""

import json
import math
import pickletools
import struct
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_HEADER_LIMIT = 100 * 2**20
"""The safetensors format itself allows no longer header."""

_WIDTHS = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_TORCH_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16",
    "BFloat16Storage": "BF16", "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16",
    "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
_ONNX_TYPES = {1: "F32", 10: "F16", 11: "F64", 16: "BF16", 7: "I64", 6: "I32", 3: "I8", 2: "U8"}


class BrokenWeightsError(ValueError):
    """A file that is not what its name says, or is not whole; the message says why."""


@dataclass
class WeightFile:
    """What is in a file, or in all files of a folder.

    Args:
        format: Such as `safetensors`, `ONNX`, `diffusers pipeline`.
        size: Bytes on disk.
        parameters: Number of stored values by dtype; empty where the format does not say.
        tensors: How many there are.
    """

    format: str
    size: int = 0
    parameters: Counter[str] = field(default_factory=Counter)
    tensors: int = 0

    def add(self, other: "WeightFile") -> None:
        """Count the contents of another file in."""
        self.size += other.size
        self.parameters += other.parameters
        self.tensors += other.tensors

    @property
    def total(self) -> int:
        """Number of values of every dtype."""
        return sum(self.parameters.values())


def describe(path: str | Path) -> WeightFile:
    """Recognise a file or folder of weights by its contents.

    Raises:
        BrokenWeightsError: If it is damaged, or no format that is known here.
        OSError: If it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise BrokenWeightsError("empty file")
    if head[:2] == b"PK":
        return _torch_zip(path)
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _safetensors(path)
    if head[:1] == b"\x80":
        return WeightFile("PyTorch, old format", path.stat().st_size)
    raise BrokenWeightsError("no known format of weights")


def _folder(path: Path) -> WeightFile:
    """Count all weights below a folder; what is named in an index must be there."""
    found = WeightFile(_folder_kind(path))
    for index in sorted(path.rglob("*.safetensors.index.json")):
        try:
            names = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise BrokenWeightsError(f"{index.relative_to(path)} is no index of weights") from error
        if absent := sorted(name for name in names if not (index.parent / name).is_file()):
            where = (index.parent / absent[0]).relative_to(path)
            raise BrokenWeightsError(f"{len(absent)} of {len(names)} parts missing, e.g. {where}")
    files = files_of(path)
    # The same weights in two formats count once: safetensors is what the libraries load.
    kinds = [
        [p for p in files if p.suffix in suffixes]
        for suffixes in ((".safetensors",), (".bin", ".pt", ".ckpt", ".pth"), (".onnx",))
    ]
    for file in next((kind for kind in kinds if kind), []):
        try:
            found.add(describe(file))
        except BrokenWeightsError as error:
            raise BrokenWeightsError(f"{file.relative_to(path)}: {error}") from error
    if not found.tensors and not found.size:
        raise BrokenWeightsError("no weights in this folder")
    return found


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder of weights, sorted, without `hf download`'s own notes.

    Those lie in `.cache` within the folder; the folder itself may well be within another `.cache`.
    """
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if ".cache" not in path.relative_to(folder).parts]


def _folder_kind(path: Path) -> str:
    for name, key in (("model_index.json", "_class_name"), ("config.json", "model_type")):
        if (path / name).is_file():
            try:
                config = json.loads((path / name).read_text())
                kind = config.get("_class_name") or config.get(key)
            except (ValueError, AttributeError) as error:
                raise BrokenWeightsError(f"{name} is no JSON object") from error
            return f"{'diffusers' if '_class_name' in config else 'transformers'} {kind}"
    if (path / "open_clip_config.json").is_file():
        return "open_clip folder"
    return "folder"


def _safetensors(path: Path) -> WeightFile:
    """Read the header and check that it describes exactly the bytes that follow."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _HEADER_LIMIT + 1
        if length > min(size - 8, _HEADER_LIMIT):
            raise BrokenWeightsError("no safetensors header: truncated, or another format")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            found = WeightFile("safetensors", size, tensors=len(header))
            end = 0
            for entry in header.values():
                count = math.prod(entry["shape"])
                found.parameters[entry["dtype"]] += count
                end = max(end, entry["data_offsets"][1])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BrokenWeightsError("its safetensors header is damaged") from error
    if 8 + length + end != size:
        raise BrokenWeightsError(f"truncated: {size:,} bytes of {8 + length + end:,}")
    return found


def _torch_zip(path: Path) -> WeightFile:
    """Count the storages in a torch archive; dtypes are named in its pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if not pickles:
                raise BrokenWeightsError("a zip archive without tensors")
            storages = [entry for entry in entries if "/data/" in entry.filename]
            found = WeightFile("PyTorch", path.stat().st_size, tensors=len(storages))
            with archive.open(pickles[0]) as stream:
                kinds = _storage_kinds(stream.read())
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        if isinstance(error, BrokenWeightsError):
            raise
        raise BrokenWeightsError("its zip directory is damaged or cut off") from error
    stored = sum(entry.file_size for entry in storages)
    floats = kinds & {"F64", "F32", "F16", "BF16"}
    if len(floats) == 1:  # the few integers beside them, counters of batch norm, do not matter
        (kind,) = floats
        found.parameters[kind] = stored // _WIDTHS[kind]
    return found


def _storage_kinds(data: bytes) -> set[str]:
    """Return the dtypes that a pickle names, from its opcodes alone."""
    strings = (str(argument) for _, argument, _ in pickletools.genops(data) if argument)
    words = {word for text in strings for word in text.split()}
    return {_TORCH_STORAGES[word] for word in words & _TORCH_STORAGES.keys()}


def _onnx(path: Path) -> WeightFile:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise BrokenWeightsError("no ONNX graph: truncated, or another format") from error
    if not model.graph.node:
        raise BrokenWeightsError("no ONNX graph: truncated, or another format")
    found = WeightFile("ONNX", path.stat().st_size, tensors=len(model.graph.initializer))
    for tensor in model.graph.initializer:
        found.parameters[_ONNX_TYPES.get(tensor.data_type, "other")] += math.prod(tensor.dims)
    return found
