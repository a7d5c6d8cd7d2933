"""Words of a command line as people and shells write them, put the way Hydra reads them."""

import re
from collections.abc import Sequence
from pathlib import Path

_OPENING = ("'", '"', "[", "{")
_PAIR = re.compile(r"[A-Za-z_]+:[^\[\]{},]+")


def quoted(word: str, keys: Sequence[str]) -> str:
    """Return a `key=path` word with the path in quotes, so that it may have spaces and brackets.

    Lists, mappings, quoted values and null are left as they are, unless a file has that name.

    Example:
        >>> quoted("file=my loras/a (1).safetensors", ["file"]), quoted("seed=1", ["file"])
        ("file='my loras/a (1).safetensors'", 'seed=1')
    """
    key, sign, value = word.partition("=")
    if key not in keys or not sign or value in ("", "null"):
        return word
    if value.startswith(_OPENING) and not _is_there(value):
        return word
    # Hydra unescapes backslashes only where they stand before a quote.
    inner = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"{key}='{inner}'"


def gathered(words: Sequence[str], key: str) -> list[str]:
    """Return the words with bare paths, as a shell makes them of a glob, gathered into a list.

    A bare path is a word that names an existing file or folder and does not begin with a dash.

    Args:
        words: Of the command line, without the command.
        key: That receives them.

    Example:
        >>> gathered(["pyproject.toml", "seed=1", "configs"], "image")
        ['seed=1', "image=['pyproject.toml','configs']"]
        >>> gathered(["image=one.jpg", "configs"], "image")
        ["image=['one.jpg','configs']"]
        >>> gathered(["seed=1"], "image")
        ['seed=1']
    """
    bare = [word for word in words if not word.startswith("-") and _is_there(word)]
    if not bare:
        return list(words)
    paths, others = [], []
    for word in words:  # `image=*.jpg` is one word of the key and bare paths after it
        name, sign, value = word.partition("=")
        if word in bare:
            paths.append(_in_list(key, word))
        elif name == key and sign and value not in ("", "null"):
            paths.append(_in_list(key, value))
        else:
            others.append(word)
    return [*others, f"{key}=[{','.join(paths)}]"]


def _in_list(key: str, value: str) -> str:
    """Return a path, or the inside of a list of them, as an element of a list of Hydra's."""
    if value.startswith("[") and value.endswith("]") and not _is_there(value):
        return value[1:-1]
    return quoted(f"{key}={value}", [key]).partition("=")[2]


def bracketed(words: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return the words with `key=a,b` as a list: to Hydra it would be several runs.

    Example:
        >>> bracketed(["strength=0,0.5,1", "seed=1,2", "box=[1,2,3,4]"], ["strength", "box"])
        ['strength=[0,0.5,1]', 'seed=1,2', 'box=[1,2,3,4]']
    """
    result = []
    for word in words:
        key, _, value = word.partition("=")
        wanted = key in keys and "," in value and not value.startswith(_OPENING)
        result.append(f"{key}=[{value}]" if wanted else word)
    return result


def rejoined(words: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return the words with mappings put together again that a shell took apart at their commas.

    Shells make two words of `blend={happy:0.6,sad:0.4}` without quotes, and Hydra would take the
    last of them alone.

    Example:
        >>> rejoined(["blend=happy:0.6", "blend=sad:0.4", "seed=1"], ["blend"])
        ['seed=1', 'blend={happy:0.6,sad:0.4}']
    """
    result, parts = [], {key: [] for key in keys}
    for word in words:
        key, _, value = word.partition("=")
        (parts[key] if key in parts and _PAIR.fullmatch(value) else result).append(word)
    for key, found in parts.items():
        if found:
            pairs = ",".join(word.partition("=")[2] for word in found)
            result.append(f"{key}={{{pairs}}}")
    return result


def _is_there(word: str) -> bool:
    try:
        return Path(word).exists()
    except OSError:  # too long for a path
        return False
