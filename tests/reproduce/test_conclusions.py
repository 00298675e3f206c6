"""The section that puts a paper's conclusions beside what the sensitivity analysis found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.reproduce.build import SUMMARY, conclusions_section


def test_untested_conclusions_name_the_command(tmp_path: Path) -> None:
    study = load_study(published_folder() / "shi2023")
    section = conclusions_section(study, tmp_path)
    assert section is not None
    assert "bash scripts/run sensitivity --study shi2023" in section.paragraphs[0]
    assert list(section.tables[0].frame["Conclusion"]) == [str(c) for c in study.conclusions]


def test_tested_conclusions_show_their_range_and_changed_ones_do_not(tmp_path: Path) -> None:
    study = load_study(published_folder() / "shi2023")
    first, second = (str(c) for c in study.conclusions[:2])
    row = {"statement": first, "stance": "holds", "probability": 0.99, "least": 0.7, "most": 0.999,
           "robust": "fragile"}  # fmt: skip
    pd.DataFrame([row]).to_csv(tmp_path / SUMMARY, index=False)
    section = conclusions_section(study, tmp_path)
    assert section is not None
    table = section.tables[0].frame.set_index("Conclusion")
    assert "99.0" in table.loc[first, "As reported"]
    assert table.loc[first, "Over all scenarios"].startswith("fragile: P 70.0")
    assert table.loc[second, "As reported"] == "not tested"
