"""The lab: the traced algebra against lintrans, in Python; and the page, in headless Chromium from a file."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

import lintrans as lt
from lintrans.diagnostics.curvature import conditions
from lintrans.diagnostics.noise import measure_noise
from lintrans.paper import problems
from lintrans.paper.judged import Judged
from lintrans.paper.pages import lab
from lintrans.publish.doctor import browser as find_browser
from lintrans.publish.live import page, tracing, wasm
from lintrans.publish.live.tracing import Call, Number, Place
from lintrans.random import Stream
from lintrans.training.probes import Probe

LAWS: dict[str, tuple[dict[str, Any], lt.LinearRegression]] = {
    "setting 1": ({"kind": "gaussian"}, lt.LinearRegression(5, 20)),
    "setting 2": ({"kind": "gaussian"}, lt.LinearRegression(5, 5)),
    "setting 3": ({"kind": "gamma", "k": 0.1, "scale": 10.0}, lt.LinearRegression(5, 20, lt.GammaScaled(0.1, 10.0))),
    "k = 0.5": ({"kind": "gamma", "k": 0.5, "scale": 2.0}, lt.LinearRegression(5, 20, lt.GammaScaled(0.5, 2.0))),
    "k = 2.5": ({"kind": "gamma", "k": 2.5, "scale": 0.4}, lt.LinearRegression(5, 20, lt.GammaScaled(2.5, 0.4))),
    "sphere": ({"kind": "sphere"}, lt.LinearRegression(5, 20, lt.Sphere())),
}


def gradient(layers: int, task: lt.LinearRegression, count: int) -> tuple[torch.Tensor, Any, float, np.ndarray]:
    """Parameters, prompts, loss and gradient, by lintrans in float64."""
    model = lt.LinearTransformer(layers, 5)
    w = model.init(3, dtype=torch.float64).requires_grad_()
    prompts = model.draw(task, count, 7, 11, stream=Stream.TRAINING, dtype=torch.float64)
    loss = model.loss(w, prompts)
    (slope,) = torch.autograd.grad(loss, w)
    return w.detach().flatten(), prompts, loss.item(), slope.flatten().numpy()


def interpret(program: tracing.Program, function: int, memory: np.ndarray, arguments: list[int]) -> None:
    """Run a traced function on rows of numbers."""

    def at(place: Place) -> int:
        return place.number + (arguments[place.base] if place.base >= 0 else 0)

    known: dict[Number, Any] = {}

    def value(number: Number) -> Any:
        if number not in known:
            if number.operation == "load":
                known[number] = memory[at(number.first)].copy()
            else:
                first, second = value(number.first), value(number.second)
                known[number] = first + second if number.operation == "+" else first * second
        return known[number]

    for statement in program.functions[function].statements:
        if isinstance(statement, Call):
            interpret(program, statement.function, memory, [at(place) for place in statement.arguments])
        else:
            values = [value(number) for number in statement.values.values()]
            for place, result in zip(statement.values, values, strict=True):
                memory[at(place)] = result


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_trace_is_the_algebra(layers: int) -> None:
    program = tracing.trace((layers,))
    count, place = 8, program.memory
    w, prompts, loss, slope = gradient(layers, LAWS["setting 1"][1], count)
    memory = np.full((place.prompts + 26, count), np.nan)
    memory[: len(w)] = w.numpy()[:, None]
    memory[place.sums : place.scale] = 0.0
    memory[place.scale] = 2 / count
    i, j = np.triu_indices(5)
    data = [prompts.xx[i, j], prompts.xy, prompts.query, prompts.target[None]]
    memory[place.prompts :] = np.concatenate([part.numpy() for part in data])
    interpret(program, program.gradients[layers], memory, [place.prompts])
    found = memory[place.sums : place.sums + len(w)].sum(1)
    np.testing.assert_allclose(found, slope, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(memory[place.sums + len(w)].mean(), loss, rtol=1e-13)
    memory[place.sums] = 0.0
    interpret(program, program.losses[layers], memory, [place.prompts])
    np.testing.assert_allclose(memory[place.sums].mean(), loss, rtol=1e-13)


def test_numbers_of_a_module() -> None:
    assert [wasm.unsigned(n) for n in (0, 127, 128, 624485)] == [b"\0", b"\x7f", b"\x80\x01", b"\xe5\x8e\x26"]
    assert [wasm.signed(n) for n in (0, 63, 64, -64, -123456)] == [b"\0", b"\x3f", b"\xc0\0", b"\x40", b"\xc0\xbb\x78"]


def test_what_a_page_carries_is_small_and_asks_for_nothing() -> None:
    text = page.script()
    assert "http" not in text
    assert "fetch(" not in text
    packed = json.loads(text.split("const PARTS = ", 1)[1].split(";\n", 1)[0])["modules"]["float32"]
    assert zlib.decompress(base64.b64decode(packed), -15).startswith(b"\0asm\1\0\0\0")
    assert len(text.encode()) + len((page.SOURCES / "lab.css").read_bytes()) < 167_000  # and up to 33 kB of curves


def test_presets_are_experiments_of_the_settings() -> None:
    for name, preset in lab.PRESETS.items():
        options = lab.options(preset, {}, 1000)
        setting = problems.SETTINGS[preset.setting]
        assert options["n"] == setting.task.n, name
        assert options["sgd"]["lr"] > 0, name
    assert lab.options(lab.PRESETS["beta2"], {}, 1000)["adam"]["beta2"] == 0.999
    assert lab.options(lab.PRESETS["c1"], {}, 1000)["sgd"] == {"momentum": 0.9, "dampening": 0.0, "lr": 0.02, "clip": 1}
    assert {step.preset for step in lab.STORY} <= set(lab.PRESETS)
    chapters = {path.stem for path in (ROOT / "book").glob("*.md")}
    assert {step.chapter for step in lab.STORY} <= chapters


def test_stored_curves_name_the_options_that_repeat_them() -> None:
    setting = problems.SETTINGS["1"]
    budget = lt.settings.scale("quick")
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, clip=1.0, seed=range(3))
    probes: list[Probe] = [lt.TestLoss(every=10), lt.TypicalLoss(blocks=2, every=10, metric="typical_loss_20")]
    history = lt.train(setting.model, setting.task, runs, steps=20, batch=8, probes=probes, engine="reference")
    found = list(lab.ghosts(Judged({"published": {"1": history}, "tuned": {}}, {}), budget))
    assert [each["optimizer"] for each in found] == ["sgd", "adam"]
    assert found[0]["options"] == {"lr": 0.02, "clip": 1.0, "momentum": 0.9, "dampening": 0.0}
    assert found[0]["steps"] == [0, 10, 20]
    rows = history.metric("test_loss").query("optimizer == 'sgd' and seed == 0").set_index("step")["value"]
    np.testing.assert_allclose(found[0]["seed"]["test"], rows.loc[found[0]["steps"]], rtol=1e-3)


# In a browser, from a file


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("lab")
    page.write_lab(folder)
    data = lab.data(Judged({"published": {}, "tuned": {}}, {}), lt.settings.scale("paper"))
    (folder / "lab.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Lab</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="lab.css">'
        f'<main><div id="lab" class="lab"></div>{data._repr_html_()}<div id="lab-toy" class="lab lab-toy"></div></main>'
        '<script src="lab.js" defer></script>',
        "utf-8",
    )
    return (folder / "lab.html").as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = find_browser()
    if path is None:
        if os.environ.get("LINTRANS_REQUIRE_SITE"):
            pytest.fail("no Chromium on this machine (apt install chromium)")
        pytest.skip("no Chromium on this machine (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


class View:
    """The lab in a browser; leaving it checks that nothing was asked for and nothing complained about."""

    def __init__(self, chromium: Any, address: str, **look: Any) -> None:
        self.complaints: list[str] = []
        self.context = chromium.new_context(**look)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._ask(request.url))
        self.page.goto(address)
        self.page.wait_for_function("window.lab?.ready")

    def _ask(self, url: str) -> None:
        if not url.startswith(("file:", "blob:", "data:")):
            self.complaints.append(url)

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, kind: type | None, *error: object) -> None:
        self.context.close()
        if kind is None:
            assert self.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize(("path", "bound"), [("float32", 1e-5), ("float64", 1e-12), ("plain", 1e-12)])
def test_loss_and_gradient_in_the_page(chromium: Any, address: str, path: str, bound: float) -> None:
    plain = path == "plain"
    with View(chromium, address + "?plain" * plain) as view:
        assert view.evaluate("lab.root.dataset.engine") == ("plain" if plain else "simd")
        view.evaluate("location.hash = '#preset=depth'")
        view.wait_for_function(f"lab.preset === 'depth' && lab.options.layers === {4 if plain else 8}")
        for name, (law, task) in LAWS.items():
            for layers in (1, 2, 3, 4) if path != "float64" else (1, 2, 3, 4, 6, 8):
                w, _, loss, slope = gradient(layers, task, 100)
                request = {
                    "options": {"law": law, "n": task.n, "layers": layers}, "count": 100, "w": w.tolist(),
                    "source": {"seed": 7, "step": 11, "stream": 0}, "kind": "float64" if plain else path,
                }  # fmt: skip
                found = view.evaluate("request => lab.probe(request)", request)
                where = f"{name}, L = {layers}"
                assert abs(found["loss"] / loss - 1) < bound, where
                assert np.linalg.norm(found["gradient"] - slope) < bound * np.linalg.norm(slope), where


@pytest.mark.slow
def test_seed_0_is_the_books_seed_0(chromium: Any, address: str) -> None:
    setting = problems.SETTINGS["1"]
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, clip=1.0, seed=[0])
    probes: list[Probe] = [lt.TestLoss(every=50), lt.TypicalLoss(blocks=20, at=(0, 100), metric="typical_loss_20")]
    history = lt.train(setting.model, setting.task, runs, steps=500, batch=1000, probes=probes)
    typical = history.metric("typical_loss_20").pivot(index="step", columns="optimizer", values="value")
    wide = history.metric("test_loss").pivot(index="step", columns="optimizer", values="value")[["sgd", "adam"]]
    with View(chromium, f"{address}#preset=c1&steps=500") as view:
        view.click(".lab-run")
        view.wait_for_function("lab.step >= 500", timeout=120_000)
        points = {point["step"]: point for point in view.evaluate("lab.points")}
    blocks = [points[step]["typical"] for step in typical.index]
    np.testing.assert_allclose(blocks, typical[["sgd", "adam"]], rtol=1e-4)
    found = np.array([points[step]["test"] for step in wide.index])
    # rounding of float32, which five hundred steps of Adam at a constant rate amplify
    np.testing.assert_allclose(found, wide.to_numpy(), rtol=1e-3)
    np.testing.assert_allclose(found[:3], wide.to_numpy()[:3], rtol=1e-5)


@pytest.mark.slow
def test_curvature_and_noise_are_those_of_the_instruments(chromium: Any, address: str) -> None:
    model, task = lt.LinearTransformer(3, 5), lt.LinearRegression(5, 20)
    with View(chromium, f"{address}#preset=c1&steps=250&batch=20") as view:
        view.click(".lab-run")
        view.wait_for_function("lab.step >= 250", timeout=120_000)
        view.click(".lab-noise")
        view.wait_for_function("lab.noise", timeout=120_000)
        parameters, found, last = view.evaluate("[lab.matrices, lab.noise.found, lab.points.at(-1)]")
    w = torch.tensor(parameters, dtype=torch.float64).reshape(2, *model.parameter_shape)
    prompts = model.draw(task, 400, 0, 0, stream=Stream.TEST, dtype=torch.float64)
    known = conditions(model, w, prompts, eigenvalues=False)
    for name in ("lower", "midpoint", "used", "blocks"):
        np.testing.assert_allclose([own[name] for own in last["conditions"]], known[f"r_{name}"], rtol=2e-3)
    noise = measure_noise(model, task, w, batch=20, samples=1000, reference=20_000, seed=[0, 0])
    for own, norms in zip(found, noise.norms.numpy(), strict=True):
        np.testing.assert_allclose(own["norms"], norms, rtol=1e-3)
        square = np.mean(np.square(norms))
        np.testing.assert_allclose(np.mean(np.square(own["gaussian"])), square, rtol=0.2)  # the same trace


@pytest.mark.slow
def test_the_toy_is_the_tiny_model(chromium: Any, address: str) -> None:
    model, task = lt.LinearTransformer(2, 1), lt.LinearRegression(1, 20)
    w = torch.tensor([0.4, -0.5, 0.0, -0.3], dtype=torch.float64).reshape(model.parameter_shape)
    prompts = model.draw(task, 400_000, 0, 0, stream=Stream.TEST, dtype=torch.float64)
    known = model.loss(w, prompts).item()
    with View(chromium, address) as view:
        loss, *slope = view.evaluate("labToy.loss(0.4, -0.5, -0.3)")
        near = view.evaluate(
            "[[1,0,0],[0,1,0],[0,0,1]].map(([a, b, c]) => labToy.loss(0.4+1e-6*a,-0.5+1e-6*b,-0.3+1e-6*c)[0])"
        )
        view.focus("#lab-toy canvas")
        before = view.evaluate("labToy.angle")
        view.keyboard.press("ArrowRight")
        assert view.evaluate("labToy.angle") != before
    assert abs(loss / known - 1) < 0.02
    np.testing.assert_allclose(slope, (np.array(near) - loss) / 1e-6, rtol=1e-4)


@pytest.mark.slow
def test_it_stops_while_hidden_and_goes_by_keyboard(chromium: Any, address: str) -> None:
    with View(chromium, f"{address}#preset=c1&batch=100&steps=10000") as view:
        view.focus(".lab-run")
        view.keyboard.press("Enter")
        view.wait_for_function("lab.step > 0", timeout=60_000)
        view.evaluate(
            "() => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
            " document.dispatchEvent(new Event('visibilitychange')); }"
        )
        before, now = -1, view.evaluate("lab.step")
        for _ in range(20):  # what is under way may come to its end
            if now == before:
                break
            view.wait_for_timeout(700)
            before, now = now, view.evaluate("lab.step")
        assert now == before < 10_000
        view.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")
        view.wait_for_function(f"lab.step > {before}", timeout=60_000)
        view.keyboard.press("Enter")
        assert view.inner_text(".lab-run") == "Run"
        assert all(view.locator("#lab canvas").evaluate_all("all => all.map(c => c.getAttribute('aria-label'))"))


@pytest.mark.slow
def test_addresses(chromium: Any, address: str) -> None:
    with View(chromium, f"{address}#preset=beta2&seed=3&sgd.lr=0.1") as view:
        options = view.evaluate("lab.options")
        assert (options["adam"]["beta2"], options["seed"], options["sgd"]["lr"]) == (0.999, 3, 0.1)
        view.evaluate("location.hash = '#preset=nothing'")
        view.wait_for_function("lab.options.seed === 0")
        assert "c1-tuned" in view.inner_text(".lab-status")


@pytest.mark.slow
def test_every_preset_runs(chromium: Any, address: str) -> None:
    with View(chromium, address) as view:
        for name in lab.PRESETS:
            view.evaluate("hash => { lab.step = 0; location.hash = hash; }", f"#preset={name}&steps=20&batch=20")
            view.wait_for_function("name => lab.preset === name && lab.options.steps === 20", arg=name)
            view.click(".lab-run")
            view.wait_for_function("lab.step === 20 && !lab.running", timeout=60_000)
            assert view.inner_text(".lab-status").startswith("Step 20"), name


@pytest.mark.slow
def test_a_prediction_is_answered_on_a_phone(chromium: Any, address: str) -> None:
    look = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True, "reduced_motion": "reduce"}
    with View(chromium, address, **look) as view:
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        view.tap(".lab-steps button:nth-child(3)")
        assert view.evaluate("lab.options.adam.beta2") == 0.999
        view.evaluate("() => { lab.options.batch = 20; lab.options.steps = 200; }")
        view.tap(".lab-go")
        view.wait_for_function("lab.root.querySelector('.lab-answer').textContent", timeout=60_000)
        assert view.inner_text(".lab-answer").startswith("You said 1×")
