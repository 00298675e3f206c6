"""Compiled exchanges between two patients: labels, who dies, times; all are symmetric.

Each plans a move, or nothing, and tells whether an order of exits may change.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain import fast
from her2bayes.cohorts.chain.state import plan, plan_keeps_facts

TRIES = 60  # to find a patient of some kind
ONCE = 0.1  # share of the pairs that keep the counts by themselves which are exchanged
PAIRED = 0.75  # share of exchanges in two pairs that each stay within a level of what is compared


@fast
def kept(printed, patients, work):
    """Drop a plan that changes printed counts; whether it stays."""
    if plan_keeps_facts(printed, patients, work.plan):
        return True
    work.plan.size[0] = 0
    return False


@fast
def agree(printed, cell, other, same):
    """Tell whether two cells have the same levels of the factors given as bits."""
    for a in range(printed.stride.size):
        if same >> a & 1 and printed.label[a, cell] != printed.label[a, other]:
            return False
    return True


@fast
def another(printed, patients, i, same):
    """Another patient of the same levels of the factors given as bits; i where none turned up.

    As likely as i for that patient, whatever else the two exchange.
    """
    for _ in range(TRIES):
        j = np.random.randint(patients.order.size)
        if j != i and agree(printed, patients.cell[i], patients.cell[j], same):
            return j
    return i


@fast
def partner(printed, patients, i):
    """Another patient: any, or one of the same levels of some factors."""
    same = 0
    if np.random.random() < 0.67:
        same = np.random.randint(1, 1 << printed.stride.size)
    return another(printed, patients, i, same)


@fast
def exchanged(factors):
    """What two patients exchange, as bits: factors, event, time."""
    if np.random.random() < 0.5:
        return 1 << np.random.randint(factors + 2)
    return np.random.randint(1, 1 << (factors + 2))


@fast
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


@fast
def neighbour(patients, i):
    """A patient who leaves shortly before or after patient i, in the order of times."""
    reach = 1 + int(np.exp(np.random.random() * 4.0))
    gap = np.random.randint(1, reach + 1)
    k = patients.place[i] + (gap if np.random.random() < 0.5 else -gap)
    return patients.order[k] if 0 <= k < patients.order.size else i


@fast
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


@fast
def others_place(printed, patients, i):
    """A censored patient for a death to be exchanged with; -1 where none turned up.

    As often one that every test treats alike as one with the same level of some factor, or any.
    """
    n, factors = patients.order.size, printed.stride.size
    cell_i = patients.cell[i]
    alike = np.random.random() < 0.5
    a = np.random.randint(factors + 1)
    for _ in range(TRIES):
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


@fast
def a_death(patients):
    """Any patient who died; anybody where none turned up."""
    i = np.random.randint(patients.order.size)
    for _ in range(TRIES):
        if patients.event[i]:
            break
        i = np.random.randint(patients.order.size)
    return i


@fast
def move_event(printed, patients, work):
    """Exchange a death and a censoring."""
    i = a_death(patients)
    j = others_place(printed, patients, i) if patients.event[i] else -1
    if j < 0:
        return False
    plan(work, i, patients.s[i], 0, patients.cell[i])
    plan(work, j, patients.s[j], 1, patients.cell[j])
    return kept(printed, patients, work)


@fast
def labelled(printed, patients, a, wanted, is_wanted, i, same):
    """Anyone whose label of factor a is the wanted one, or is not; -1 where none turned up.

    Of the same levels as patient i of the factors given as bits.
    """
    label = printed.label[a]
    for _ in range(TRIES):
        j = np.random.randint(patients.order.size)
        cell = patients.cell[j]
        if (label[cell] == wanted) == is_wanted and agree(printed, cell, patients.cell[i], same):
            return j
    return -1


@fast
def relabelled(printed, patients, i, gap):
    """Change of all exact counts, as one number, when a patient's cell moves by a gap."""
    cell, event = patients.cell[i], patients.event[i]
    return printed.count_key[cell + gap, event] - printed.count_key[cell, event]


@fast
def relabel(patients, work, i, gap):
    """Plan that a patient's cell moves by a gap."""
    plan(work, i, patients.s[i], patients.event[i], patients.cell[i] + gap)


@fast
def move_four(printed, patients, work):
    """Exchange one factor's labels a, b in two pairs at once: a b, a b to b a, b a.

    Where printed counts cross a factor with several others, no exchange of two patients changes
    how all of them go together (Diaconis & Sturmfels 1998); two exchanges whose counts make up for
    each other do. Patients are drawn by labels only, whose counts stay: mostly the two of a pair
    from one level of what is compared, which nearly all counts cross. Planned is what keeps the
    counts and no two exchanges one after the other could do; sometimes a pair that does by itself.
    """
    a = np.random.randint(printed.stride.size)
    label = printed.label[a]
    same = printed.compared & ~(1 << a) if np.random.random() < PAIRED else 0
    i = np.random.randint(patients.order.size)
    one = label[patients.cell[i]]
    j = labelled(printed, patients, a, one, False, i, same)
    if j < 0:
        return False
    other = label[patients.cell[j]]
    gap = (other - one) * printed.stride[a]
    change = relabelled(printed, patients, i, gap)
    pair = change + relabelled(printed, patients, j, -gap)
    if pair == 0:
        if np.random.random() < ONCE:
            relabel(patients, work, i, gap)
            relabel(patients, work, j, -gap)
        return False
    k = labelled(printed, patients, a, one, True, i, 0)
    m = labelled(printed, patients, a, other, True, k, same)
    if k < 0 or m < 0 or k == i or m == j:
        return False
    last = relabelled(printed, patients, m, -gap)
    if pair + relabelled(printed, patients, k, gap) + last != 0 or change + last == 0:
        return False
    for up, down in ((i, j), (k, m)):
        relabel(patients, work, up, gap)
        relabel(patients, work, down, -gap)
    return False
