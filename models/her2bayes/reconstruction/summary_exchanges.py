"""Compiled exchanges between two patients: labels, who dies, times; all are symmetric.

Each plans a move, or nothing, and tells whether an order of exits may change.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction.compiled import inlined
from her2bayes.reconstruction.summary_changes import plan, plan_keeps_facts

PAIRED = 0.75  # share of exchanges in two pairs that each stay within a level of what is compared


@inlined
def kept(printed, patients, work):
    """Drop a plan that changes printed counts; whether it stays."""
    if plan_keeps_facts(printed, patients, work.plan):
        return True
    work.plan.size[0] = 0
    return False


@inlined
def partner(printed, patients, i):
    """Another patient: any, or one of the same levels of some factors (as many as for its own)."""
    n, factors = patients.order.size, printed.stride.size
    same = 0
    if np.random.random() < 0.67:
        same = np.random.randint(1, 1 << factors)
    for _ in range(60):
        j = np.random.randint(n)
        alike = j != i
        for a in range(factors):
            if same >> a & 1 and alike:
                alike = printed.label[a, patients.cell[i]] == printed.label[a, patients.cell[j]]
        if alike:
            return j
    return i


@inlined
def exchanged(factors):
    """What two patients exchange, as bits: factors, event, time."""
    if np.random.random() < 0.5:
        return 1 << np.random.randint(factors + 2)
    return np.random.randint(1, 1 << (factors + 2))


@inlined
def move_swap(printed, patients, work):
    """Exchange labels of some factors, the event, or the time between two patients."""
    factors = printed.stride.size
    i = np.random.randint(patients.order.size)
    j = partner(printed, patients, i)
    if i == j:
        return False
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    chosen = exchanged(factors)
    new_i, new_j = cell_i, cell_j
    for a in range(factors):
        if chosen >> a & 1:
            gap = (printed.label[a, cell_j] - printed.label[a, cell_i]) * printed.stride[a]
            new_i += gap
            new_j -= gap
    s_i, s_j, event_i, event_j = patients.s[i], patients.s[j], patients.event[i], patients.event[j]
    if chosen >> factors & 1:
        event_i, event_j = event_j, event_i
    if chosen >> (factors + 1) & 1:
        s_i, s_j = s_j, s_i
    if new_i == cell_i and event_i == patients.event[i] and s_i == patients.s[i]:
        return False
    plan(work, i, s_i, event_i, new_i)
    plan(work, j, s_j, event_j, new_j)
    return kept(printed, patients, work)


@inlined
def neighbour(patients, i):
    """A patient who leaves shortly before or after patient i, in the order of times."""
    reach = 1 + int(np.exp(np.random.random() * 4.0))
    gap = np.random.randint(1, reach + 1)
    k = patients.place[i] + (gap if np.random.random() < 0.5 else -gap)
    return patients.order[k] if 0 <= k < patients.order.size else i


@inlined
def move_near(printed, patients, work):
    """Exchange labels, event, or all of them between two patients who leave close together.

    Times stay, so the order of times does, and the reverse move is proposed as often. To exchange
    all labels and the event is to exchange the times.
    """
    factors = printed.stride.size
    i = np.random.randint(patients.order.size)
    j = neighbour(patients, i)
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    event_i, event_j = patients.event[i], patients.event[j]
    if i == j or (cell_i == cell_j and event_i == event_j):
        return False
    chosen = (1 << (factors + 1)) - 1
    u = np.random.random()
    if u < 0.25:
        chosen = 1 << np.random.randint(factors + 1)
    elif u < 0.5:
        chosen = np.random.randint(1, chosen + 1)
    new_i, new_j = cell_i, cell_j
    for a in range(factors):
        if chosen >> a & 1:
            gap = (printed.label[a, cell_j] - printed.label[a, cell_i]) * printed.stride[a]
            new_i += gap
            new_j -= gap
    if chosen >> factors & 1:
        event_i, event_j = event_j, event_i
    if new_i == cell_i and event_i == patients.event[i]:
        return False
    plan(work, i, patients.s[i], event_i, new_i)
    plan(work, j, patients.s[j], event_j, new_j)
    return kept(printed, patients, work)


@inlined
def others_place(printed, patients, i):
    """A censored patient for a death to be exchanged with; -1 where none turned up.

    As often one that every test treats alike as one with the same level of some factor, or any.
    """
    n, factors = patients.order.size, printed.stride.size
    cell_i = patients.cell[i]
    alike = np.random.random() < 0.5
    a = np.random.randint(factors + 1)
    for _ in range(60):
        j = np.random.randint(n)
        if patients.event[j]:
            continue
        cell_j = patients.cell[j]
        if alike:
            if printed.alike[cell_i] == printed.alike[cell_j]:
                return j
        elif a == factors or printed.label[a, cell_i] == printed.label[a, cell_j]:
            return j
    return -1


@inlined
def move_event(printed, patients, work):
    """Exchange a death and a censoring."""
    i = np.random.randint(patients.order.size)
    for _ in range(40):
        if patients.event[i]:
            break
        i = np.random.randint(patients.order.size)
    j = others_place(printed, patients, i) if patients.event[i] else -1
    if j < 0:
        return False
    plan(work, i, patients.s[i], 0, patients.cell[i])
    plan(work, j, patients.s[j], 1, patients.cell[j])
    return kept(printed, patients, work)


@inlined
def drawn(printed, patients, a, wanted, alike, like):
    """Anyone whose label of factor a is the wanted one, or is not; -1 where none turned up.

    Of the same level of what is compared as patient ``like``, where that is one.
    """
    label, compared = printed.label[a], printed.compared
    for _ in range(60):
        i = np.random.randint(patients.order.size)
        cell = patients.cell[i]
        if (label[cell] == wanted) != alike:
            continue
        if (
            like < 0
            or printed.label[compared, cell] == printed.label[compared, patients.cell[like]]
        ):
            return i
    return -1


@inlined
def move_four(printed, patients, work):
    """Exchange one factor's labels a, b in two pairs at once: a b, a b to b a, b a.

    Where printed counts cross a factor with several others, no exchange of two patients changes
    how all of them go together (Diaconis & Sturmfels 1998); two exchanges whose counts make up for
    each other do. The two of a pair are mostly of one level of what is compared, which nearly all
    counts cross: else one try in hundreds plans anything that two exchanges could not do. Patients
    are drawn by these labels only, whose counts stay.
    """
    a = np.random.randint(printed.stride.size)
    label = printed.label[a]
    paired = printed.compared >= 0 and a != printed.compared and np.random.random() < PAIRED
    i = np.random.randint(patients.order.size)
    one = label[patients.cell[i]]
    j = drawn(printed, patients, a, one, False, i if paired else -1)
    if j < 0:
        return False
    other = label[patients.cell[j]]
    k = drawn(printed, patients, a, one, True, -1)
    m = drawn(printed, patients, a, other, True, k if paired else -1)
    if k < 0 or m < 0 or k == i or m == j:
        return False
    gap = (other - one) * printed.stride[a]
    plan(work, i, patients.s[i], patients.event[i], patients.cell[i] + gap)
    plan(work, k, patients.s[k], patients.event[k], patients.cell[k] + gap)
    plan(work, j, patients.s[j], patients.event[j], patients.cell[j] - gap)
    plan(work, m, patients.s[m], patients.event[m], patients.cell[m] - gap)
    kept(printed, patients, work)
    return False
