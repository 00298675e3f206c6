"""How a posterior is drawn: the settings that belong to the identity of a fit.

Worker processes of one thread each: here, or those of a cluster's scheduler.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from her2bayes.errors import BadInput, Fault, raise_if

WORKERS = 2


@contextmanager
def cluster(scheduler: str = "", workers: int = WORKERS) -> Iterator[Any]:
    """Client of the scheduler at an address, or of local processes that end with this one.

    Raises ``BadInput`` where nothing answers at the address.
    """
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            remedy = "start it with: dask scheduler; and workers that see the same --out folder"
            fault = Fault(f"no scheduler answers: {error}", value=scheduler, remedy=remedy)
            raise BadInput(fault) from error
        with client:
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="her2bayes-") as space,
        dask.config.set({"distributed.worker.daemon": True, "distributed.admin.log-length": 0}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # None still takes the default port
            local_directory=space,
            silence_logs="CRITICAL",  # a worker that is closed complains of its scheduler
            memory_limit=0,
        ) as local,
        Client(local) as client,
    ):
        yield client


SAMPLERS = ("nutpie", "pymc")
ADAPTATIONS = ("low_rank", "diag")
_QUICK: dict[str, Any] = {"draws": 600, "tune": 400, "chains": 2}


@dataclass(frozen=True)
class Sampling:
    """Settings of one run: draws and tuning steps per chain, chains, seed, acceptance, sampler.

    The defaults give 4000 draws, enough for bulk and tail ESS above 400 in every model here.
    ``adaptation`` is nutpie's mass matrix: "low_rank" also learns a few strong correlations, such
    as that of a common level with the levels' effects where one subgroup holds most patients.
    Raises ``BadInput`` with all settings that cannot be used.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    seed: int = 20230221
    target_accept: float = 0.9
    sampler: str = "nutpie"
    adaptation: str = "low_rank"

    def __post_init__(self) -> None:
        """Refuse settings that cannot give draws or a verdict on them."""
        checks = [
            (self.draws >= 10, "draws", self.draws, "10 or more"),
            (self.tune >= 10, "tune", self.tune, "10 or more"),
            (self.chains >= 2, "chains", self.chains, "2 or more, R-hat compares chains"),
            (self.seed >= 0, "seed", self.seed, "0 or more"),
            (0 < self.target_accept < 1, "target_accept", self.target_accept, "between 0 and 1"),
            (self.sampler in SAMPLERS, "sampler", self.sampler, ", ".join(SAMPLERS)),
            (self.adaptation in ADAPTATIONS, "adaptation", self.adaptation, " ".join(ADAPTATIONS)),
        ]
        raise_if(
            [
                Fault(f"sampling setting '{name}' cannot be used", value=value, allowed=allowed)
                for good, name, value, allowed in checks
                if not good
            ]
        )


@dataclass(frozen=True)
class Settings:
    """What decides the numbers of a run besides its inputs: seed and length of the chains.

    This is the only place that says what a quick run is.
    """

    seed: int = 20230221
    quick: bool = False
    target_accept: float = 0.9

    @classmethod
    def of(cls, sampling: Sampling) -> Settings:
        """Settings whose ``sampling`` is this one, or comes nearest to it."""
        quick = cls(sampling.seed, True, sampling.target_accept)
        return quick if quick.sampling == sampling else replace(quick, quick=False)

    @property
    def sampling(self) -> Sampling:
        """Settings of the sampler."""
        own: dict[str, Any] = {"seed": self.seed, "target_accept": self.target_accept}
        return Sampling(**_QUICK, **own) if self.quick else Sampling(**own)
