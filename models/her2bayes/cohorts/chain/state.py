"""Compiled state of a cohort: patients, printed counts, the risk sets behind every test, changes.

The numbers at risk and the deaths by group at each time of a death are kept for every statistic and
changed with each patient that moves; nothing is counted anew. Counts (facts) are linear in the
cross-classification of patients. A change is planned, made, and taken back where it is refused.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from her2bayes.cohorts.chain import fast
from her2bayes.cohorts.chain.reference_model import log_density


class Printed(NamedTuple):
    """Statistics with their rounding cells, counts as linear facts, cells of patients."""

    kind: np.ndarray  # (statistic)
    groups: np.ndarray  # (statistic)
    group_of: np.ndarray  # (statistic, cell)
    everyone: np.ndarray  # (statistic) whether all cells are in its first group
    low: np.ndarray  # (statistic, value)
    high: np.ndarray
    width: np.ndarray  # (statistic, value) unit of distance
    at: np.ndarray  # (statistic, value) times of kinds that hold one number at each, month tenths
    values: np.ndarray  # (statistic) how many values are looked at
    near: np.ndarray  # (statistic, group) where a Cox fit is looked for
    reach: np.ndarray  # (statistic, group) how far from there it may lie
    test: np.ndarray  # (cell, place) rank statistics that a cell is in
    test_group: np.ndarray  # (cell, place) its group there
    tests: np.ndarray  # (cell) their number
    ranked: np.ndarray  # rank statistics
    fact: np.ndarray  # (cell, event, fact)
    fact_low: np.ndarray
    fact_high: np.ndarray
    count_key: np.ndarray  # (cell, event) all counts printed exactly, as one number
    ranges: np.ndarray  # facts printed as a range
    label: np.ndarray  # (factor, cell)
    stride: np.ndarray  # (factor)
    levels: np.ndarray  # (factor) their number
    model_cell: np.ndarray  # (cell)
    alike: np.ndarray  # (cell) number of the set of cells that every test treats alike
    table_move: np.ndarray  # (move, primary, recurrence)
    table_factor: np.ndarray  # positions of primary and recurrence
    alpha: float
    stretch: np.ndarray  # (stretch, 2) times between printed ones, in month tenths
    last: float  # no time beyond, in month tenths
    compared: int  # the factor compared first, as a bit; 0 = none
    reheated: np.ndarray  # factors whose labels are reheated
    chance: np.ndarray  # (soft or firm, move) probabilities of the moves


class Patients(NamedTuple):
    """One cohort and what is kept up to date with it."""

    s: np.ndarray  # exact time, month tenths
    time: np.ndarray  # recorded: the end of its tenth
    event: np.ndarray
    cell: np.ndarray
    order: np.ndarray  # patients by time
    place: np.ndarray  # their positions in ``order``
    present: np.ndarray  # (cell)
    held: np.ndarray  # (fact)
    distance: np.ndarray  # (statistic)
    sequence: np.ndarray  # order in which statistics are looked at
    refused: np.ndarray  # (statistic)
    row_time: np.ndarray  # (row) distinct times of events, earliest first
    row_deaths: np.ndarray  # (row)
    rows: np.ndarray  # (1,) their number
    risk: np.ndarray  # (statistic, group, row) patients at risk
    dead: np.ndarray  # (statistic, group, row) events
    members: np.ndarray  # (statistic, group) patients
    beta: np.ndarray  # (statistic, group) last Cox fit


class States(NamedTuple):
    """States of some patients: as they were before a move, or as planned after it."""

    who: np.ndarray
    s: np.ndarray
    event: np.ndarray
    cell: np.ndarray
    size: np.ndarray  # (1,)


class Screen(NamedTuple):
    """Sums up to every event time, for the cohort as it is and as proposed."""

    share: np.ndarray  # (side, row, group) of the weights at risk
    passed: np.ndarray  # (side, rows passed, group, part)
    total: np.ndarray  # (side, part)
    side: np.ndarray  # (2,) which of the two is HERE, which THERE
    known: np.ndarray  # (1,) whether HERE is that of the cohort as it is
    weight: np.ndarray  # (group)
    part: np.ndarray  # (part) scratch
    small: np.ndarray  # (row, group) scratch
    moved: np.ndarray  # (part) scratch
    distance: np.ndarray  # (side)
    test: int  # statistic looked at, -1 = none


class Work(NamedTuple):
    """Scratch space, and the next move of a few patients."""

    plan: States
    screen: Screen
    time: np.ndarray
    event: np.ndarray
    cell: np.ndarray
    risk: np.ndarray
    dead: np.ndarray
    small: np.ndarray
    out: np.ndarray
    new: np.ndarray
    chosen: np.ndarray


@fast
def resort(patients, i):
    """Move patient i to its place in the order of times."""
    order, place, time = patients.order, patients.place, patients.time
    k = place[i]
    while k > 0 and time[order[k - 1]] > time[i]:
        order[k] = order[k - 1]
        place[order[k]] = k
        k -= 1
    while k < order.size - 1 and time[order[k + 1]] < time[i]:
        order[k] = order[k + 1]
        place[order[k]] = k
        k += 1
    order[k] = i
    place[i] = k


@fast
def rows_until(patients, time):
    """Number of rows no later than a time."""
    low, high = 0, patients.rows[0]
    while low < high:
        middle = (low + high) // 2
        if patients.row_time[middle] <= time:
            low = middle + 1
        else:
            high = middle
    return low


@fast
def first_at(patients, time):
    """Place of the first patient not before a time."""
    low, high = 0, patients.order.size
    while low < high:
        middle = (low + high) // 2
        if patients.time[patients.order[middle]] < time:
            low = middle + 1
        else:
            high = middle
    return low


@fast
def count_at_risk(printed, patients, cell, first, last, amount):
    """Add a patient to the risk sets of a stretch of rows, or take one away."""
    for k in range(printed.tests[cell]):
        risk = patients.risk[printed.test[cell, k], printed.test_group[cell, k]]
        for r in range(first, last):
            risk[r] += amount


@fast
def count_dead(printed, patients, cell, row, amount):
    """Add an event to a row, or take one away."""
    for k in range(printed.tests[cell]):
        patients.dead[printed.test[cell, k], printed.test_group[cell, k], row] += amount
    patients.row_deaths[row] += int(amount)


@fast
def close_row(printed, patients, row):
    """Remove a row without events."""
    rows = patients.rows[0]
    for r in range(row, rows - 1):
        patients.row_time[r] = patients.row_time[r + 1]
        patients.row_deaths[r] = patients.row_deaths[r + 1]
    for t in printed.ranked:
        for a in range(printed.groups[t]):
            risk, dead = patients.risk[t, a], patients.dead[t, a]
            for r in range(row, rows - 1):
                risk[r] = risk[r + 1]
                dead[r] = dead[r + 1]
    patients.rows[0] = rows - 1


@fast
def open_row(printed, patients, row, i):
    """A new row at the time of patient i: as the next later row, and those who leave before it."""
    rows, time = patients.rows[0], patients.time[i]
    until = patients.row_time[row] if row < rows else np.int64(2**40)
    for r in range(rows, row, -1):
        patients.row_time[r] = patients.row_time[r - 1]
        patients.row_deaths[r] = patients.row_deaths[r - 1]
    patients.row_time[row] = time
    patients.row_deaths[row] = 0
    for t in printed.ranked:
        for a in range(printed.groups[t]):
            risk, dead = patients.risk[t, a], patients.dead[t, a]
            for r in range(rows, row, -1):
                risk[r] = risk[r - 1]
                dead[r] = dead[r - 1]
            dead[row] = 0.0
            if row == rows:
                risk[row] = 0.0
    patients.rows[0] = rows + 1
    k = patients.place[i]
    while k > 0 and patients.time[patients.order[k - 1]] == time:
        k -= 1
    while k < patients.order.size and patients.time[patients.order[k]] < until:
        count_at_risk(printed, patients, patients.cell[patients.order[k]], row, row + 1, 1.0)
        k += 1


@fast
def slides(patients, i, row, time):
    """Tell whether the row of one event can move to a time without anybody in between."""
    if patients.row_deaths[row] > 1:
        return False
    now, k, order = patients.time[i], patients.place[i], patients.order
    if time > now:
        return (k == order.size - 1 or patients.time[order[k + 1]] > time) and (
            k == 0 or patients.time[order[k - 1]] < now
        )
    return (k == 0 or patients.time[order[k - 1]] < time) and (
        k == order.size - 1 or patients.time[order[k + 1]] > now
    )


@fast
def assign(printed, patients, i, s, event, cell):  # noqa: C901 (what changes decides what is counted)
    """Set one patient and all that depends on it; the log ratio of the prior of cells."""
    ratio = 0.0
    old, happened, left = patients.cell[i], patients.event[i], patients.time[i]
    time = left if s == patients.s[i] else int(np.ceil(s))
    if cell != old or event != happened:
        for f in range(printed.fact_low.size):
            patients.held[f] += printed.fact[cell, event, f] - printed.fact[old, happened, f]
    if cell == old and event == happened and time == left:
        patients.s[i] = s
        return ratio
    row = rows_until(patients, left)
    if cell == old and event and happened and slides(patients, i, row - 1, time):
        patients.s[i], patients.time[i], patients.row_time[row - 1] = s, time, time
        return ratio
    if happened:
        count_dead(printed, patients, old, row - 1, -1.0)
        if patients.row_deaths[row - 1] == 0 and not (event and time == left):
            close_row(printed, patients, row - 1)
            row -= 1
    upto = row if time == left else rows_until(patients, time)
    if cell == old:
        if upto > row:
            count_at_risk(printed, patients, cell, row, upto, 1.0)
        else:
            count_at_risk(printed, patients, cell, upto, row, -1.0)
    else:
        count_at_risk(printed, patients, old, 0, row, -1.0)
        count_at_risk(printed, patients, cell, 0, upto, 1.0)
        for k in range(printed.tests[old]):
            patients.members[printed.test[old, k], printed.test_group[old, k]] -= 1
        for k in range(printed.tests[cell]):
            patients.members[printed.test[cell, k], printed.test_group[cell, k]] += 1
        patients.present[old] -= 1
        ratio += np.log(printed.alpha + patients.present[cell])
        ratio -= np.log(printed.alpha + patients.present[old])
        patients.present[cell] += 1
        patients.cell[i] = cell
    patients.event[i] = event
    patients.s[i] = s
    if time != left:
        patients.time[i] = time
        resort(patients, i)
    if event:
        if upto == 0 or patients.row_time[upto - 1] != time:
            open_row(printed, patients, upto, i)
            upto += 1
        count_dead(printed, patients, cell, upto - 1, 1.0)
    return ratio


@fast
def plan(work, i, s, event, cell):
    """Plan a new state of one patient, without changing anything yet."""
    planned = work.plan
    k = planned.size[0]
    planned.who[k], planned.s[k], planned.event[k], planned.cell[k] = i, s, event, cell
    planned.size[0] += 1


@fast
def carry_out(printed, patients, model, hazards, undo, work):
    """Make all planned changes; log ratio of the target."""
    planned, ratio = work.plan, 0.0
    for k in range(planned.size[0]):
        ratio += change(
            printed, patients, model, hazards, undo,
            planned.who[k], planned.s[k], planned.event[k], planned.cell[k],
        )  # fmt: skip
    return ratio


@fast
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


@fast
def take_back(printed, patients, undo):
    """Undo all changes, last first."""
    for k in range(undo.size[0] - 1, -1, -1):
        assign(printed, patients, undo.who[k], undo.s[k], undo.event[k], undo.cell[k])


@fast
def facts_hold(printed, patients):
    """Tell whether all counts are as printed."""
    for f in range(printed.fact_low.size):
        if patients.held[f] < printed.fact_low[f] or patients.held[f] > printed.fact_high[f]:
            return False
    return True


@fast
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
