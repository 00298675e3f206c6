"""Compiled Markov chain over patients that keeps every printed number: steps and sweeps.

Target of patients D, given theta:   prod_i density(s_i, event_i | cell_i)  x  p(cells)
                                     x  exp(-sharpness * sum_j distance_j(D to the printed cells))

with cells ~ Dirichlet-multinomial. At any sharpness the states at distance 0 are draws from the
target with the indicator of all printed numbers in the last place. Counts are never left.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain import fast, outer, referred
from her2bayes.cohorts.chain.distance import (
    HERE,
    THERE,
    accepted,
    keep_distances,
    log_pass,
    look,
    refresh,
    room_left,
    screens,
    turn,
)
from her2bayes.cohorts.chain.exchanges import move_event, move_four, move_near, move_swap
from her2bayes.cohorts.chain.moves import (
    move_one,
    move_pair,
    move_shift,
    move_table,
    move_time,
    move_warp,
)
from her2bayes.cohorts.chain.moves_of_all import move_reheat, move_ridge
from her2bayes.cohorts.chain.reference_model import (
    count_exits,
    counts_of_exits,
    fill_hazards,
    hamiltonian,
)
from her2bayes.cohorts.chain.state import carry_out, facts_hold, take_back

TIME, SWAP, PAIR, SHIFT, ONE, TABLE, WARP, NEAR, EVENT, FOUR = range(10)
STEPS = 10  # moves of a few patients, chosen at random
RIDGE, REHEAT = 10, 11  # moves of all, as often as ``effort`` says
MOVES = 12
FOURS = 20  # times that four patients are drawn: few of them keep the counts
RIDGES, REHEATS = 1, 2  # places in ``effort``, after the steps
FIRM = 12.0  # sharpness from which other moves are tried more often


@fast
def plan_move(printed, patients, work, which):
    """Plan a move of one or two patients; whether it may change the order of exits."""
    if which == TIME:
        return move_time(printed, patients, work)
    if which == SWAP:
        return move_swap(printed, patients, work)
    if which == PAIR:
        return move_pair(printed, patients, work)
    if which == ONE:
        return move_one(printed, patients, work)
    if which == NEAR:
        return move_near(printed, patients, work)
    if which == FOUR:
        return move_four(printed, patients, work)
    return move_event(printed, patients, work)


@fast
def move_many(printed, patients, model, hazards, undo, work, which):
    """Move many patients; log ratio of target and proposals, whether the order of exits changed."""
    if which == SHIFT:
        return move_shift(printed, patients, model, hazards, undo, work)
    if which == TABLE:
        return move_table(printed, patients, model, hazards, undo, work)
    return move_warp(printed, patients, model, hazards, undo, work)


@fast
def screened_step(printed, patients, model, hazards, undo, work, sharpness, ranks):
    """The rest of a planned step that may change the screened test; whether it was accepted."""
    screen = work.screen
    if not screen.known[0]:
        look(printed, patients, screen, HERE, work.out)
        screen.known[0] = 1
    there = log_pass(printed, patients, screen, HERE, work.plan, sharpness, work.out)
    if np.log(np.random.random()) > there:
        return False
    margin = carry_out(printed, patients, model, hazards, undo, work)
    margin -= np.log(np.random.random()) + there
    if margin > -np.inf and facts_hold(printed, patients):
        room = room_left(printed, patients, undo, work, margin, sharpness, ranks)
        if room >= 0:
            look(printed, patients, screen, THERE, work.out)
            back = log_pass(printed, patients, screen, THERE, undo, sharpness, work.out)
            if room * sharpness + back >= 0:
                keep_distances(printed, patients, work)
                turn(screen)
                return True
    take_back(printed, patients, undo)
    return False


@fast
def attempt(printed, patients, model, hazards, undo, work, sharpness, which, tally):
    """One Metropolis-Hastings step over patients with some move."""
    undo.size[0] = 0
    work.plan.size[0] = 0
    tally[which, 0] += 1
    if which in (SHIFT, TABLE, WARP):
        ratio, ranks = move_many(printed, patients, model, hazards, undo, work, which)
        work.screen.known[0] = 0
    else:
        ranks = plan_move(printed, patients, work, which)
        if work.plan.size[0] == 0:
            return
        if sharpness > FIRM and screens(printed, patients, work, ranks):
            tally[which, 1] += screened_step(
                printed, patients, model, hazards, undo, work, sharpness, ranks
            )
            return
        ratio = carry_out(printed, patients, model, hazards, undo, work)
    margin = ratio - np.log(np.random.random())
    if undo.size[0] == 0:
        return
    good = margin > -np.inf and facts_hold(printed, patients)
    if good and accepted(printed, patients, undo, work, margin, sharpness, ranks):
        tally[which, 1] += 1
    else:
        take_back(printed, patients, undo)


@fast
def step(printed, patients, model, hazards, undo, work, sharpness, tally):
    """One step over patients with a move chosen at random."""
    u = np.random.random()
    which = 0
    chance = printed.chance[1 if sharpness > FIRM else 0]
    while which < STEPS - 1 and u >= chance[which]:
        u -= chance[which]
        which += 1
    for _ in range(FOURS if which == FOUR else 1):
        attempt(printed, patients, model, hazards, undo, work, sharpness, which, tally)


@outer
def moves_of_all(
    printed, patients, model, hazards, theta, undo, work, effort, counts, scratch, leaps, pace,
    sharpness, tally,
):  # fmt: skip
    """Moves of many patients: with the parameters, and of all labels of one factor."""
    for _ in range(effort[RIDGES]):
        tally[RIDGE, 0] += 1
        tally[RIDGE, 1] += move_ridge(printed, patients, model, hazards, theta, work, sharpness)
    for _ in range(effort[REHEATS]):
        if printed.reheated.size == 0:
            return
        factor = printed.reheated[np.random.randint(printed.reheated.size)]
        tally[REHEAT, 0] += 1
        tally[REHEAT, 1] += move_reheat(
            printed, patients, model, hazards, theta, undo, work, factor, counts, scratch, leaps,
            pace, sharpness,
        )  # fmt: skip


@outer
def run(
    printed, patients, model, hazards, theta, undo, work, seed, effort, leaps, pace, sharpness,
    adapt, tally,
):  # fmt: skip
    """One sweep of patients and theta at one sharpness; the total distance at its end.

    ``effort`` (3,) counts the steps, ridge moves and reheats; ``pace`` (1,) is the Hamiltonian
    step, adapted where asked.
    """
    printed, patients, model = referred(printed), referred(patients), referred(model)
    hazards, undo, work = referred(hazards), referred(undo), referred(work)
    np.random.seed(seed)
    counts, scratch = counts_of_exits(model)
    fill_hazards(model, theta, hazards)
    refresh(printed, patients, work)
    work.screen.known[0] = 0
    for _ in range(effort[0]):
        step(printed, patients, model, hazards, undo, work, sharpness, tally)
    moves_of_all(
        printed, patients, model, hazards, theta, undo, work, effort, counts, scratch, leaps // 3,
        pace[0], sharpness, tally,
    )  # fmt: skip
    count_exits(printed, patients, model, counts)
    rate = hamiltonian(model, theta, counts, pace[0], leaps, scratch)
    if adapt:
        pace[0] *= np.exp(0.1 * (rate - 0.8))
    return np.sum(patients.distance)


@outer
def parameters(printed, patients, model, theta, seed, warm, apart, leaps, found):
    """Draws of theta given the patients as they are, every ``apart``-th into ``found``."""
    printed, patients, model = referred(printed), referred(patients), referred(model)
    np.random.seed(seed)
    counts, scratch = counts_of_exits(model)
    count_exits(printed, patients, model, counts)
    pace = 0.1
    for k in range(warm + apart * found.shape[0]):
        rate = hamiltonian(model, theta, counts, pace, leaps, scratch)
        if k < warm:
            pace *= np.exp(0.1 * (rate - 0.8))
        elif (k - warm) % apart == apart - 1:
            found[(k - warm) // apart] = theta
