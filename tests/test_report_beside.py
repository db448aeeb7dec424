"""What a report and a plan take from outside the store, and what the page says of how sure it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from readings import frame, row
from safemlrm.cli import run
from safemlrm.cli.beside import categories, read, recipes
from safemlrm.errors import DataError, StudyError
from safemlrm.report import write_report
from safemlrm.report.further import further
from safemlrm.report.more import Beside
from safemlrm.study import convert


def test_recipes_are_those_of_known_models_only() -> None:
    found = recipes(["mulberry-llava-8b", "mulberry-qwen2vl-7b", "a-model-of-mine"])
    assert set(found) == {"mulberry-llava-8b", "mulberry-qwen2vl-7b"}
    assert len(set(found.values())) == 1


def test_scenarios_of_several_data_sets_meet_in_the_crosswalk() -> None:
    one = pl.DataFrame({"dataset": ["mm_safetybench"], "scenario": ["01-Illegal_Activitiy"]})
    assert categories(one) == {}
    two = pl.concat([one, pl.DataFrame({"dataset": ["figstep_safebench"], "scenario": ["Illegal Activity"]})])
    found = categories(two)
    assert found["01-Illegal_Activitiy"] == found["figstep_safebench:Illegal Activity"]


def test_a_users_table_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("scenario,amount\ns,12\n")
    table = read(path, "amount")
    assert table is not None
    assert table.rows() == [("s", 12.0)]
    assert read(None, "amount") is None
    path.write_text("scenario,amount\ns,many\n")
    with pytest.raises(DataError, match="no number"):
        read(path, "amount")
    with pytest.raises(DataError, match="no column count"):
        read(path, "count")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.csv", "count")


def test_the_primary_comparison_is_declared_in_the_study_and_asks_nothing_else() -> None:
    declared = convert({"targets": ["a"], "primary": {"base": "q", "derived": "r", "part": "full"}}, "study")
    assert declared.primary is not None
    assert declared.primary.threshold == 4
    assert declared.identity() == convert({"targets": ["a"]}, "study").identity()
    with pytest.raises(StudyError, match="'drived'"):
        convert({"primary": {"drived": "r"}}, "study")


def test_plan_says_the_smallest_tax_and_the_money(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = in_folder / "study.toml"
    study.write_text(
        'targets = ["qwen2.5-vl-7b-instruct", "r1-onevision-7b"]\n[[data]]\ndataset = "mm_safetybench"\n', "utf-8"
    )
    options = ["--want-tax", "0.1", "--price", "r1-onevision-7b=1/2", "--tokens", "1000/1000"]
    assert run(["plan", str(study), *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "smallest tax found in 80 of 100 runs" in out
    assert "items for 10 points" in out
    assert "of which no price was given" in out
    assert run(["plan", str(study), "--price", "r1-onevison-7b=1/2"]) == 1
    assert "Did you mean 'r1-onevision-7b'" in capsys.readouterr().err
    assert run(["plan", str(study), "--price", "r1-onevision-7b=free"]) == 1
    assert "IN/OUT" in capsys.readouterr().err
    assert run(["plan", str(study), "--want-tax", "0.9"]) == 1
    assert "not possible" in capsys.readouterr().err


def test_the_counts_of_the_paper_give_a_page_with_its_headline_figures(tmp_path: Path) -> None:
    from importlib.resources import files

    counts = str(files("safemlrm") / "data" / "opensafemlrm_counts.csv")
    training = tmp_path / "training.csv"
    names = pl.read_csv(counts)["scenario"].unique(maintain_order=True)
    pl.DataFrame({"scenario": names, "amount": range(len(names))}).write_csv(training)
    out = tmp_path / "out"
    assert run(["report", "--counts", counts, "--out", str(out), "--training-data", str(training)]) == 0
    page = (out / "report.html").read_text()
    said = ("The paper's figures", "37.44\u00a0points", "Only marginal counts are published", "Why it differs")
    assert all(words in page for words in (*said, "cannot be told"))
    written = {path.stem for path in (out / "tables").iterdir()}
    assert {"headline", "training", "blind_spots", "averages", "effects", "families", "decomposition"} <= written
    table = pl.read_csv(out / "tables" / "headline.csv")
    assert table.filter(pl.col("verdict") == "reproduced").height == 1


@pytest.mark.parametrize(
    "scores", [([0], [5]), ([0] * 6, [0] * 6), ([5] * 6, [5] * 6), ([None] * 3, [4] * 3), ([0], [0])]
)
@pytest.mark.parametrize("seeds", [1, 2])
def test_one_item_all_safe_all_unsafe_and_nothing_read_give_nulls_and_no_nan(
    tmp_path: Path, scores: tuple[list[int | None], list[int | None]], seeds: int
) -> None:
    from safemlrm.analysis import READINGS
    from safemlrm.report import tables, write_report

    rows = [
        {
            "trial": f"{model}/{item}/{seed}/{part}", "model": model, "published": None, "base": base, "dataset": "d",
            "condition": "text", "prompting": "bare", "defense": "none", "scenario": f"s{item % 2}",
            "sample": str(item), "group": str(item), "expected": "refuse", "seed": seed, "attempt": 0, "part": part,
            "state": "answered", "failure": None, "stop": "stop", "status": "complete", "present": True,
            "score": score, "refusal": None, "unread": None if score is not None else "unreadable", "prompt": "p",
        }
        for model, base, of in (("b", None, scores[0]), ("d", "b", scores[1]))
        for item, score in enumerate(of)
        for seed in range(seeds)
        for part in ("thinking", "answer")
    ]  # fmt: skip
    path = write_report(
        pl.DataFrame(rows, schema=READINGS), tmp_path, pairs=[("b", "d")], title="t", notes=[], other={}, facts={}
    )
    assert path.is_file()
    for file in (tmp_path / "tables").iterdir():
        assert "nan" not in file.read_text().lower(), file.name
    taxed = pl.read_csv(tmp_path / "tables" / "tax.csv").filter(scenario="all", threshold=4, part="answer")
    assert (taxed["difference"].null_count() == 0) == (None not in scores[0])
    assert tables.csv(taxed)


def test_the_page_answers_the_further_questions_of_each_pair_by_its_own_part(tmp_path: Path) -> None:
    rows = []
    for item in range(60):
        for arm in ("bare", "think"):
            where = {"sample": str(item), "scenario": f"s{item % 3}", "prompting": arm}
            harmful = 4 * int(item % 5 == 0)
            rows += [row(model="b", part=part, score=harmful, **where) for part in ("answer", "full")]
            rows += [row(model="one", base="b", part=part, score=4, **where) for part in ("answer", "full")]
            rows.append(row(model="two", base="b", part="full", score=4 * int(arm == "think"), **where))
    pairs = [("b", "one"), ("b", "two")]
    given: dict[str, Any] = {"pairs": pairs, "title": "t", "notes": [], "other": {}, "facts": {}}
    beside = Beside(
        recipes={"one": "RL", "two": "RL"},
        training=pl.DataFrame({"scenario": ["s0", "s1", "s2"], "amount": [1.0, 2.0, 3.0]}),
    )
    page = write_report(frame(rows), tmp_path, **given, beside=beside).read_text()
    for anchor in ("squares", "families", "left-out", "training"):
        assert f'<section id="{anchor}"' in page
    squares = page[page.index('<section id="squares"') : page.index('<section id="families"')]
    # the pair without separate answers is compared by whole replies, and not left out
    assert [line for line in ("one", "two") if f'<th scope="row">{line}</th>' in squares] == ["one", "two"]
    assert "+100.0" in squares
    assert "fewer than five scenarios have an amount" in page


def test_the_part_is_chosen_per_pair_and_condition_and_training_is_of_the_tax_alone() -> None:
    cell = {"base": "b", "derived": "d", "threshold": 4, "scenarios": 5, "rho": 0.5, "low": 0.1, "high": 0.9, "p": 0.1}
    rows = [
        cell | {"what": what, "condition": condition, "part": part, "reason": None}
        for what in ("tax", "rate")
        for condition, parts in (("text", ("answer", "full")), ("figstep", ("full",)))
        for part in parts
    ]
    [found] = further({"training": pl.DataFrame(rows)}, {"b": "b", "d": "d"})
    assert [line[1:3] for line in found.grid.rows] == [["text", "answer"], ["figstep", "full"]]
