"""Practice: the networks, their trainings and the five behaviours as tables and sentences.

R_med of their layers is in :mod:`.practice_condition`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ...devices import resolve_device
from ...errors import plain_text
from ...training.history import History
from ..claims import c5, practice
from ..claims.common import judged_losses, on_batches
from ..claims.p2 import WHOLE
from ..claims.practice import AGAINST, IMAGES, LANGUAGE, OWN, SHOWS, SMALLER, TRANSFORMER, Shown
from ..claims.records import Verdict, interval_text
from ..claims.rules import State, Unit
from ..claims.wording import AGREEING, NAMES
from ..practice.instruments import Budget
from ..practice.measured import BUDGETS, LARGE, READINGS, Measured, batch_words
from ..scale_names import based_on
from ..scales import LABELS
from .template import Lamp, confirmed
from .words import listed, sized, tally

KINDS = {
    "lm_softmax": "Transformer, softmax attention",
    "lm_linear": "the same, linear attention",
    "lm_bare": "linear attention alone",
    "cnn": "LeNet-5",
    "cnn_zipf": "LeNet-5, class k has a share ~ 1/k",
    "mlp": "one hidden layer",
}
"""Networks in words."""
Frames = Mapping[str, pd.DataFrame]
OneShown = Callable[[str, pd.DataFrame], Shown]


def asked(scale: str, large: bool, device: str, text: str, images: str) -> tuple[str, dict[str, str]]:
    """The scale of the networks, and a reader's own data by kind.

    Raises:
        ValueError: larger networks without a GPU, or a path that counts from a folder which a page does not know.
    """
    own = {kind: path for kind, path in (("text", text), ("images", images)) if path}
    for kind, path in own.items():
        if not Path(path).expanduser().is_absolute():
            raise ValueError(f"{kind} = {path!r} is relative, and a page has a folder of its own: give the whole path")
    if large and device == "auto" and resolve_device().type == "cpu":
        raise ValueError("large = True is for a GPU, and there is none: leave it out, or wait days with device = 'cpu'")
    return (LARGE if large else scale), own


def networks_table(measured: Measured) -> pd.DataFrame:
    """Each network: what it is, parameters, data, examples, unknown words, loss of the zero predictor."""
    rows = [
        {
            "network": name,
            "what": KINDS[name],
            "parameters": f"{net.model.parameter_shape[0]:,}",
            "data": plain_text(net.source),  # a path of a reader's
            "examples": f"{net.task.n:,}",
            "unknown words": "" if math.isnan(net.unknown) else f"{net.unknown:.1%}",
            "$f_0$": f"{net.task.zero_loss:.2f}",
        }
        for name, net in measured.networks.items()
    ]
    return pd.DataFrame(rows)


def not_measured(measured: Measured) -> str:
    """Why networks are missing, a line a reason, in Markdown; empty where all are there."""
    reasons: dict[str, list[str]] = {}
    for name, why in measured.missing.items():
        reasons.setdefault(why, []).append(name)
    return "\n".join(f"- {', '.join(names)}: not measured: {plain_text(why)}." for why, names in reasons.items())


def rates(measured: Measured) -> pd.DataFrame:
    """Rates and end losses, a row a network and reading: medians over judging seeds."""
    rows = []
    for reading in READINGS:
        for name, history in measured.histories(reading).items():
            ends = judged_losses(history, measured.zero_losses[name])
            row, unseen = {"network": name, "reading": reading}, _held_out(history)
            for optimizer, own in ends.groupby("optimizer", sort=False):
                label = LABELS[str(optimizer)]
                row[f"rate, {label}"] = f"{own['lr'].iloc[0]:g}"
                row[f"end loss, {label}"] = f"{own['loss'].median():.3g}"
                row[f"held out, {label}"] = f"{unseen[str(optimizer)]:.3g}"
            rows.append(row)
    return pd.DataFrame(rows)


def _held_out(history: History) -> dict[str, float]:
    """The median held-out loss at the end, by optimizer."""
    rows = history.metric("test_loss")
    found = rows[rows["step"] == history.steps].groupby("optimizer")["value"].median()
    return {str(optimizer): float(loss) for optimizer, loss in found.items()}


def held_out(measured: Measured, reading: str = "tuned") -> str:
    """Where Adam's held-out loss is the lower one at the end, and where it is above that of zero, in sentences."""
    ends = {name: _held_out(history) for name, history in measured.histories(reading).items()}
    if not ends:
        return ""
    lower = [name for name, own in ends.items() if own["adam"] < own["sgd"]]
    lost = [name for name, own in ends.items() if max(own.values()) > measured.zero_losses[name]]
    text = f"On held-out examples Adam's median end loss is the lower one in {len(lower)} of {len(ends)} networks"
    text += f" ({listed(lower)})" if lower else ""
    text += (
        f"; in {listed(lost)} at least one of the two ends worse there than a model that always says zero"
        if lost
        else ""
    )
    return f"{text}. P1 judges the loss of training."


def by_batch(verdict: Verdict, measured: Measured) -> pd.DataFrame:
    """The ratio of end losses by batch size, a row a network."""
    [whole] = {batch_words(own.small, own.steps) for own in measured.trainings.values()}
    rows: dict[str, dict[str, str]] = {}
    for unit in verdict.units:
        name, part = unit.keys.problem, unit.keys.part
        size = name in LANGUAGE and part is None
        if name is None or part in ("steps", AGAINST) or (name in IMAGES and part is None):
            continue
        words = whole if size or part == OWN else str(part)
        rows.setdefault(name, {"network": name})[words] = _text(unit)
    return pd.DataFrame(rows.values()).fillna("")


def signs(measured: Measured) -> pd.DataFrame:
    """End losses of all four optimizers at their best rates on the whole set, where they ran: medians over seeds."""
    rows = []
    for name, own in measured.trained.items():
        for batch, trained in own.items():
            if trained.signs is None:
                continue
            own_budget = measured.trainings[name]
            steps = own_budget.steps if batch == own_budget.small else own_budget.larger_steps
            row = {"network": name, "trained": batch_words(batch, steps)}
            for history in (trained.histories["tuned"], trained.signs):
                ends = judged_losses(history, measured.zero_losses[name])
                row |= {
                    LABELS[str(optimizer)]: f"{each['loss'].median():.3g}"
                    for optimizer, each in ends.groupby("optimizer", sort=False)
                }
            rows.append(row)
    return pd.DataFrame(rows).fillna("")


def noise_table(measured: Measured) -> pd.DataFrame:
    """Tails of the noise: medians over initializations, of the whole gradient, and later in training."""
    rows = []
    for when, tables in (("initialization", measured.noise), (f"step {measured.budget.later}", measured.later)):
        for name, table in tables.items():
            own = table[table["layer"] == WHOLE].drop(columns="layer").median()
            layers = table[table["layer"] != WHOLE].groupby("layer")["excess"].median()
            rows.append(
                {
                    "network": name,
                    "at": when,
                    "noise over gradient": f"{own['relative']:.2g}",
                    "directions": f"{own['directions']:.0f}",
                    "q99 / median": f"{own['q99']:.2f}",
                    "of N(0, C)": f"{own['null_q99']:.2f}",
                    "E": f"{own['excess']:.2f}",
                    "E of layers": f"{layers.min():.2f} to {layers.max():.2f}",
                    "error of the null": f"{math.expm1(abs(own['null_error'])):.0%}",
                }
            )
    return pd.DataFrame(rows)


def by_batch_noise(measured: Measured) -> pd.DataFrame:
    """E by batch size, from the gradients of single examples: a row a network and step."""
    rows = []
    for name, table in measured.by_batch.items():
        for step in table["step"].unique().tolist():
            own = table[table["step"] == step]
            sizes = {f"E, batch {batch}": f"{e:.2f}" for batch, e in zip(own["batch"], own["excess"], strict=True)}
            when = f"step {step}" if step else "initialization"
            rows.append({"network": name, "at": when, "examples": f"{own['examples'].iloc[0]}", **sizes})
    return pd.DataFrame(rows).fillna("")


def averaging(measured: Measured) -> str:
    """How far E falls from single examples to a batch, a line a time, in Markdown; empty where nothing is measured."""
    lines = []
    every = [table.assign(network=name) for name, table in measured.by_batch.items() if len(table)]
    together = pd.concat(every) if every else pd.DataFrame(columns=["step"])
    for step in together["step"].unique().tolist():
        rows, parts = together[together["step"] == step], []
        for kind, names in (("language models", LANGUAGE), ("image networks", IMAGES)):
            found = rows[rows["network"].isin(names)].groupby("batch")["excess"].agg(["min", "max"])
            texts = {batch: [f"{own[edge]:.2f}" for edge in ("min", "max")] for batch, own in found.iterrows()}
            ranges = [f"{' to '.join(dict.fromkeys(ends))} at batch {batch}" for batch, ends in texts.items()]
            parts += [f"{kind} {', '.join(ranges)}"] if ranges else []
        lines.append(f"- {f'At step {step}' if step else 'At initialization'}, E by batch: {'; '.join(parts)}.")
    return "\n".join(lines)


def set_by_set(frames: Mapping[str, Frames], shown: Mapping[str, OneShown]) -> pd.DataFrame:
    """States on each evaluation set alone beside those on all together: a row a behaviour and network.

    Args:
        frames: measurements by network, by behaviour.
        shown: of each behaviour, what judges one network's measurements.
    """
    rows = []
    for words, judge in shown.items():
        for name, frame in frames[words].items():
            row = {"": words, "network": name, "all sets": NAMES[judge(name, frame).unit.state]}
            for number, own in on_batches(frame).groupby("batch"):
                row[f"set {number}"] = NAMES[judge(name, own).unit.state]
            rows.append(row)
    return pd.DataFrame(rows)


def unmoved(table: pd.DataFrame) -> str:
    """How many states of :func:`set_by_set` are the same on every set alone, in a sentence."""
    if table.empty:
        return "Not measured at this scale."
    states = table.iloc[:, 2:]
    same = states.eq(states["all sets"], axis=0).all(axis=1)
    moved = [f"{row['network']} ({row['']})" for row in table[~same].to_dict("records")]
    text = f"Each evaluation set alone gives the same state in {int(same.sum())} of {len(same)} cases"
    return f"{text}; not in {listed(moved)}." if moved else f"{text}: another set changes none."


def negative(frames: Mapping[str, pd.DataFrame], optimizers: Collection[str] = tuple(LABELS)) -> str:
    """Share of measured steps along which the curvature is negative, by network and optimizer, in a sentence."""
    parts = []
    for name, frame in frames.items():
        rows = on_batches(frame[(frame["metric"] == "directional_smoothness") & frame["optimizer"].isin(optimizers)])
        shares = (rows["value"] < 0).groupby(rows["optimizer"]).mean()
        parts.append(f"{name} " + ", ".join(f"{LABELS[str(each)]} {share:.0%}" for each, share in shares.items()))
    return "; ".join(parts)


def bounds(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The fitted L0 and L1 of each network and optimizer with measured norms."""
    found = c5.bounds(frames)
    shown = found.assign(l0=found["l0"].map("{:.3g}".format), l1=found["l1"].map("{:.3g}".format))
    shown = shown.assign(optimizer=found["optimizer"].map(LABELS))
    return shown.rename(columns={"setting": "network", "l0": "$L_0$", "l1": "$L_1$"})


def own(verdict: Verdict) -> list[Unit]:
    """What each network shows by itself, a unit a network; for the claim an image network is compared with others."""
    wanted = {name: OWN if name in IMAGES else None for name in practice.NETWORKS}
    found = {(unit.keys.problem, unit.keys.part): unit for unit in verdict.units}
    return [replace(found[name, part], case=name) for name, part in wanted.items()]


def headline(verdicts: Mapping[str, Verdict], behaviours: Mapping[str, str]) -> str:
    """How many networks of each group show each behaviour, in a line, as a quotation; behaviours in words, by claim."""
    found = "; ".join(f"*{words}* in {_who_shows(verdicts[claim])}" for claim, words in behaviours.items())
    return f"> **Do language models show it, and image networks not?** At each optimizer's best rate {found}."


def _who_shows(verdict: Verdict) -> str:
    """How many of each group show it by themselves, and how many are open or not measured."""
    units = own(verdict)
    texts = []
    for kind, names in (("language models", LANGUAGE), ("image networks", IMAGES)):
        states = [unit.state for unit in units if unit.case in names]
        others = [(states.count(state), NAMES[state]) for state in (State.UNDECIDED, State.MISSING)]
        rest = ", ".join(f"{count} {text}" for count, text in others if count)
        shows = sum(state in AGREEING for state in states)
        texts.append(f"{shows} of {len(states)} {kind}{rest and f' ({rest})'}")
    return listed(texts)


def seen(verdicts: Mapping[str, Verdict], **words: str) -> str:
    """What networks show by themselves, a sentence a verdict, and which image networks count by comparison.

    Args:
        verdicts: by how a sentence begins.
        **words: of :func:`.words.phrases`.
    """
    return "\n".join(f"- **{start}**: {_seen(verdict, words)}" for start, verdict in verdicts.items())


def _seen(verdict: Verdict, words: Mapping[str, str]) -> str:
    units = own(verdict)
    known = [unit for unit in units if unit.interval is not None]
    parts = [sized(known, where=" in {cases} ({sizes})", **words)] if known else []
    if rest := [unit.case for unit in units if unit.interval is None]:
        parts.append(f"not measured: {listed(rest)}")
    for remark in (SMALLER, SHOWS):
        if found := [unit.case for unit in verdict.units if unit.decides and remark in unit.remarks]:
            parts.append(f"{remark}: {listed(found)}")
    return ". ".join(f"{part[:1].upper()}{part[1:]}" for part in parts) + "."


def one_real_model(verdict: Verdict, measured: Measured) -> str:
    """The gap of the one real Transformer here, in a sentence."""
    if TRANSFORMER not in measured.networks:
        return "No network was measured here."
    [unit] = [unit for unit in own(verdict) if unit.case == TRANSFORMER]
    size = measured.networks[TRANSFORMER].model.parameter_shape[0]
    return (
        f"The Transformer with softmax attention here has {size:,} parameters; at the best rates SGD ends at "
        f"{interval_text(unit.interval)} times Adam's loss."
    )


def by_horizon(verdict: Verdict, measured: Measured) -> Lamp:
    """Whether the decided language models say the same of end losses at the horizon of the larger batches."""
    [words] = {batch_words(each.small, each.larger_steps) for each in measured.trainings.values()}
    others = [unit for unit in verdict.units if unit.keys.part == words and unit.keys.problem in LANGUAGE]
    return confirmed(f"language models whose end losses decide say the same at {words}", (verdict, others))


def means(tuned: Mapping[str, Verdict], default: Mapping[str, Verdict], behaviours: Mapping[str, str]) -> str:
    """What follows by state, a line each: by behaviour at both rates, and how linear attention differs from softmax."""
    rows = []
    for claim, words in behaviours.items():
        one, other = (_who_shows(found[claim]) for found in (tuned, default))
        both = one if tuned[claim] is default[claim] else f"{one} at the best rates, in {other} at the default ones"
        rows.append(f"- **{words[:1].upper()}{words[1:]}** in {both}.")
    units = [unit for verdict in tuned.values() for unit in verdict.units if unit.keys.part == AGAINST]
    found = tally(
        units,
        "comparisons",
        yes="larger",
        weak="a little larger",
        null="alike",
        rev="smaller",
        undecided="open",
        missing="not measured",
    )
    return "\n".join([*rows, f"- **Linear attention in place of softmax**, size of the five effects: {found}."])


def batch_answer(verdict: Verdict, measured: Measured) -> str:
    """Whether the gap on the whole set is larger than at the small batch after as many steps, in sentences."""
    [small] = {batch_words(each.small, each.larger_steps) for each in measured.trainings.values()}
    [whole] = {batch_words(0, each.larger_steps) for each in measured.trainings.values()}
    found = {(unit.keys.problem, unit.keys.part): unit.interval for unit in verdict.units}
    pairs = {name: (found.get((name, small)), found.get((name, whole))) for name in practice.NETWORKS}
    known = {name: (one, other) for name, (one, other) in pairs.items() if one is not None and other is not None}
    if not known:
        return "Not measured at this scale."
    larger = [name for name, (one, other) in known.items() if other.estimate > one.estimate]
    sure = [name for name, (one, other) in known.items() if other.low > one.high]
    return (
        f"Of {len(known)} networks the estimate on the whole set is the larger in {listed(larger) or 'none'}; whole "
        f"intervals are apart in {listed(sure) or 'none'}."
    )


def bridge(verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Effects of lm_linear and lm_bare over that of lm_softmax: a row a behaviour."""
    rows = []
    for claim, verdict in verdicts.items():
        row = {"claim": claim}
        for unit in verdict.units:
            if unit.keys.part == AGAINST:
                row[f"{unit.keys.problem} over lm_softmax"] = _text(unit)
        rows.append(row)
    return pd.DataFrame(rows)


def _text(unit: Unit) -> str:
    return NAMES[unit.state] if unit.interval is None else f"{interval_text(unit.interval)}, {NAMES[unit.state]}"


def deviations(scale: str, measured: Measured) -> tuple[str, ...]:
    """Where a scale falls short of the paper scale's own numbers, in words."""
    own, asked = measured.budget, BUDGETS["paper"]
    base = based_on(scale)[0]
    texts = []
    for words, field in (
        ("curvature of {} seeds instead of {}", "seeds"),
        ("{} initializations of the noise instead of {}", "noise_seeds"),
        ("{} minibatches behind a tail instead of {}", "samples"),
        ("{} entries of the diagonal of a layer instead of {}", "entries"),
    ):
        if (have := getattr(own, field)) < (want := getattr(asked, field)):
            texts.append(words.format(have, want))
    if base != "paper":
        texts.append("smaller networks and fewer steps")
    return tuple(texts)


def budget_words(budget: Budget) -> str:
    """What is measured, in a sentence."""
    return (
        f"noise: {budget.samples} minibatches at each of {budget.noise_seeds} initializations; curvature: "
        f"{budget.seeds} seeds on {budget.sets} evaluation sets of {budget.text} sequences or {budget.images} images "
        f"({budget.few_text} and {budget.few_images} for $R_\\mathrm{{med}}$, of {budget.entries} entries a layer)"
    )
