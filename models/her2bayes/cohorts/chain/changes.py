"""Compiled changes of a cohort: planned, made, taken back, and whether counts stay as printed."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from her2bayes.cohorts.chain.compiled import inlined
from her2bayes.cohorts.chain.reference_model import log_density
from her2bayes.cohorts.chain.state import assign


@inlined
def plan(work, i, s, event, cell):
    """Plan a new state of one patient, without changing anything yet."""
    planned = work.plan
    k = planned.size[0]
    planned.who[k], planned.s[k], planned.event[k], planned.cell[k] = i, s, event, cell
    planned.size[0] += 1


@inlined
def carry_out(printed, patients, model, hazards, undo, work):
    """Make all planned changes; log ratio of the target."""
    planned, ratio = work.plan, 0.0
    for k in range(planned.size[0]):
        ratio += change(
            printed, patients, model, hazards, undo,
            planned.who[k], planned.s[k], planned.event[k], planned.cell[k],
        )  # fmt: skip
    return ratio


@inlined
def change(printed, patients, model, hazards, undo, i, s, event, cell):
    """Propose a new state of one patient, remembering the old; log ratio of the target."""
    k = undo.size[0]
    undo.who[k], undo.s[k] = i, patients.s[i]
    undo.event[k], undo.cell[k] = patients.event[i], patients.cell[i]
    undo.size[0] += 1
    before = log_density(
        model, hazards, printed.model_cell[patients.cell[i]], patients.s[i], patients.event[i]
    )
    ratio = assign(printed, patients, i, s, event, cell) - before
    return ratio + log_density(model, hazards, printed.model_cell[cell], s, event)


@inlined
def take_back(printed, patients, undo):
    """Undo all changes, last first."""
    for k in range(undo.size[0] - 1, -1, -1):
        assign(printed, patients, undo.who[k], undo.s[k], undo.event[k], undo.cell[k])


@inlined
def facts_hold(printed, patients):
    """Tell whether all counts are as printed."""
    for f in range(printed.fact_low.size):
        if patients.held[f] < printed.fact_low[f] or patients.held[f] > printed.fact_high[f]:
            return False
    return True


@inlined
def plan_keeps_facts(printed, patients, planned):
    """Tell whether counts stay as printed when all planned changes are made.

    Those printed exactly by their one number, those printed as a range one by one.
    """
    change = 0
    for k in range(planned.size[0]):
        i = planned.who[k]
        change += printed.count_key[planned.cell[k], planned.event[k]]
        change -= printed.count_key[patients.cell[i], patients.event[i]]
    if change != 0:
        return False
    for f in printed.ranges:
        held = patients.held[f]
        for k in range(planned.size[0]):
            i = planned.who[k]
            held += printed.fact[planned.cell[k], planned.event[k], f]
            held -= printed.fact[patients.cell[i], patients.event[i], f]
        if held < printed.fact_low[f] or held > printed.fact_high[f]:
            return False
    return True
