"""What the page on C13 says: sentences and tables, made from the numbers of :mod:`.c13`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch

from ..attention import reach
from ..history import History
from ..pages.smaller import word
from ..problems import ATTENTION_TITLES, FULL_LINEAR, HEADS, PROBLEMS
from ..protocol import Tuning
from ..random import Stream
from ..settings import LABELS
from .c13 import BESIDE, COMPARED, DEFINITIONS, LINEAR, end_losses, loss_ratio, steps_to_end_loss
from .c16 import FEATURES, Behaviour
from .records import Verdict, interval_text
from .rules import State, ratio_state

BOUND_BATCH = 20_000
"""Prompts behind the least loss within reach."""

PHRASES = {
    State.YES: "linear attention ends lower, clearly: the other's loss is {ratio} times as large",
    State.WEAK: "linear attention ends lower, by little: the other's loss is {ratio} times as large",
    State.NULL: "the two end alike: the other's loss is {ratio} times that of linear attention",
    State.REV: "linear attention ends **higher**: the other's loss is {ratio} times as large",
    State.UNDECIDED: "the seeds do not decide: the other's loss is {ratio} times as large",
    State.MISSING: "not measured at this scale",
}
MATCH = {
    State.YES: "ends clearly above linear attention with one",
    State.WEAK: "ends a little above linear attention with one",
    State.NULL: "matches linear attention with one",
    State.REV: "ends below linear attention with one",
    State.UNDECIDED: "cannot be told from linear attention with one by these seeds",
    State.MISSING: "was not measured",
}


def describe(verdict: Verdict) -> str:
    """What the units that decide say, a sentence each, in Markdown."""
    return "\n".join(
        f"- {unit.case}: {PHRASES[unit.state].format(ratio=interval_text(unit.interval))}."
        for unit in verdict.units
        if unit.decides
    )


def describe_speed(histories: Mapping[str, History]) -> str:
    """How many steps linear attention needs to the end losses of the others, a sentence each, in Markdown."""
    lines = []
    for name in (*DEFINITIONS, *BESIDE):
        if name not in histories or LINEAR not in histories:
            lines.append(f"- {PROBLEMS[name].title}: not measured at this scale.")
            continue
        parts = []
        for optimizer, label in LABELS.items():
            found = steps_to_end_loss(name, LINEAR, histories, optimizer)
            there, lost = found[~found["censored"]]["steps"], int(found["censored"].sum())
            text = "never, in any seed" if there.empty else f"after {there.median():,.0f} steps (median)"
            parts.append(
                f"with {label} {text}{f', {lost} of {len(found)} seeds never' if 0 < lost < len(found) else ''}"
            )
        lines.append(
            f"- {PROBLEMS[name].title}, its loss after {histories[name].steps:,} steps: linear attention gets below "
            f"that {'; '.join(parts)}."
        )
    return "\n".join(lines)


def summary(histories: Mapping[str, History], tunings: Mapping[str, Tuning], names: tuple[str, ...]) -> pd.DataFrame:
    """Best rate, end loss (median over seeds) and its ratio to linear attention's, a row a model and optimizer."""
    rows = []
    for name in names:
        for optimizer, label in LABELS.items():
            row = {"attention": PROBLEMS[name].title, "optimizer": label}
            best = tunings[name].best[optimizer]
            row["best rate"] = f"{best.lr:g}" + ("" if best.interior else ", at the edge of the rates tried")
            if name in histories:
                row["end loss"] = f"{end_losses(name, histories[name], optimizer).median():.3g}"
            if name in COMPARED:
                ratio = loss_ratio(name, COMPARED[name], histories, optimizer)
                row["over linear attention"] = interval_text(ratio)
                row["state"] = str(ratio_state(ratio))
            rows.append(row)
    table = pd.DataFrame(rows)
    table["end loss"] = table.get("end loss", pd.Series(index=table.index, dtype=object)).fillna("not measured")
    return table.fillna("")


def describe_heads(histories: Mapping[str, History]) -> str:
    """Whether softmax attention with so many heads matches linear attention with one, a sentence each, in Markdown."""
    lines = []
    for heads, name in HEADS.items():
        parts = []
        for optimizer, label in LABELS.items():
            ratio = loss_ratio(name, FULL_LINEAR, histories, optimizer)
            number = "" if ratio is None else f" ({interval_text(ratio)} times its loss)"
            parts.append(f"with {label} it {MATCH[ratio_state(ratio)]}{number}")
        lines.append(f"- Softmax attention with {heads} head{'s' if heads > 1 else ''}: {'; '.join(parts)}.")
    return "\n".join(lines)


def describe_forms(histories: Mapping[str, History]) -> str:
    """What the full form gains for one head of the public code's softmax, a sentence an optimizer, in Markdown."""
    full, sparse = HEADS[1], DEFINITIONS[0]
    words = {
        State.YES: "gains much",
        State.WEAK: "gains a little",
        State.NULL: "gains nothing",
        State.REV: "**loses**",
        State.UNDECIDED: "may or may not gain: the seeds do not decide",
        State.MISSING: "was not measured",
    }
    lines = []
    for optimizer, label in LABELS.items():
        ratio = loss_ratio(sparse, full, histories, optimizer)
        number = "" if ratio is None else f"; the sparse form's loss is {interval_text(ratio)} times the full form's"
        lines.append(f"- {label}: softmax attention {words[ratio_state(ratio)]} by the full form{number}.")
    return "\n".join(lines)


def describe_reach() -> str:
    """How far the public code's softmax can reach in the sparse form, and the least loss within it, in a sentence."""
    setting = PROBLEMS[DEFINITIONS[0]]
    layers, n = setting.model.parameter_shape[0], setting.task.n
    prompts = setting.task.sample(BOUND_BATCH, stream=Stream.EVALUATION, dtype=torch.float64)
    share = reach(layers, n)
    largest = prompts.responses[:, :-1].abs().amax(-1)
    least = float(((prompts.target.abs() - share * largest).clamp_min(0) ** 2).mean())
    return (
        f"With $L = {layers}$ and $n = {n}$ the factor is {share:.3f}. Even a predictor that knew the answer, and only "
        f"had to stay within {share:.3f} times the largest response shown, would have a loss of {least:.2f} (over "
        f"{BOUND_BATCH:,} prompts; the zero predictor has {setting.task.zero_loss:g})."
    )


def describe_survival(table: Mapping[str, Mapping[str, Behaviour]]) -> str:
    """How the behaviours of each other kind of attention compare with linear attention's, a list in Markdown."""
    whole = ATTENTION_TITLES[LINEAR]
    lines = []
    for name, own in table.items():
        groups: dict[str, list[str]] = {}
        for claim in FEATURES:
            words = f"{claim} ({word(own[claim])})"
            groups.setdefault(_compared(own[claim], table[whole][claim], name == whole), []).append(words)
        texts = [" ".join([how, ", ".join(claims)]) for how, claims in groups.items()]
        lines.append(f"- {name}: {'; '.join(texts)}.")
    return "\n".join(lines)


def _compared(own: Behaviour, linear: Behaviour, same: bool) -> str:
    """How one behaviour of a kind of attention compares with that of linear attention, in a word or two."""
    if own.missing or (linear.missing and not same):
        return "not compared:"
    if own.strength is None:
        return "undecided:"
    if same:
        return "shows" if own.strength else "does not show"
    if linear.strength is None:
        return "undecided for linear attention:"
    if own.strength < linear.strength:
        return "**has less of**"
    if own.strength > linear.strength:
        return "**has more of**"
    return "keeps" if own.strength else "lacks as well"


def deviations_text(texts: tuple[str, ...]) -> str:
    """Deviations as a list in Markdown; empty where there is none."""
    if not texts:
        return ""
    return "\n".join(
        ["What this scale measures is less than the claims C1 to C5 ask for:", "", *(f"- {t}" for t in texts)]
    )
