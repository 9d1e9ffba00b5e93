"""The leaderboard: means and intervals over seeds, the order of the rows, and its three files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gan_cli.reports.leaderboard_data import read_board
from gan_cli.reports.write_report import write_sweep_report
from gan_cli.sweeps import leaderboard, leaderboard_tables
from gan_cli.sweeps.outcomes import Outcome


def job(number: int, seed: int, figures: dict[str, float], status: str = "done", **config: Any) -> Outcome:
    varied = " ".join(f"{key}={value}" for key, value in config.items())
    return Outcome.model_validate({
        "job": number, "try": 1, "key": str(number), "config": config | {"seed": seed}, "seed": seed,
        "varied": f"{varied} seed={seed}", "overrides": [], "repeat": f"gan-train {varied} seed={seed}",
        "status": status, "reason": "" if status == "done" else f"why {number}", "findings": [], "figures": figures,
        "seconds": 10.0 * (number + 1), "folder": str(number) if status != "not run" else None, "code": 0,
    })  # fmt: skip


def build(*jobs: Outcome, ranked_by: tuple[str, ...] = ("frechet",)) -> dict[str, Any]:
    return leaderboard.build_board("gan-train -m", ranked_by, jobs)


def order(board: dict[str, Any]) -> list[str]:
    return [row["config"]["loss"] for row in board["rows"]]


def test_student_is_scipy_s() -> None:
    from scipy import stats  # takes a second to import

    for freedom in [*range(1, 60), 100, 1000, 100_000]:
        assert leaderboard.student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-4)


def test_an_interval_needs_two_values() -> None:
    from scipy import stats  # takes a second to import

    assert leaderboard.mean_interval([]) == (None, None)
    assert leaderboard.mean_interval([3.0]) == (3.0, None)
    values = [1.0, 2.0, 4.0, 9.0]
    mean, interval = leaderboard.mean_interval(values)
    expected = stats.t.interval(0.95, 3, loc=4.0, scale=stats.sem(values))
    assert mean == 4.0
    assert interval == pytest.approx(expected, abs=1e-3)


def test_one_row_per_config_the_best_first_with_unequal_seeds() -> None:
    board = build(
        job(0, 1, {"frechet-classifier": 5.0}, loss="hinge"),
        job(1, 2, {"frechet-classifier": 7.0}, loss="hinge"),
        job(2, 1, {"frechet-classifier": 4.0}, loss="minimax"),
        job(3, 2, {}, "killed", loss="minimax"),
        job(4, 1, {}, "raised", loss="bce"),
        job(5, 2, {}, "not run", loss="bce"),
    )
    assert (board["metric"], board["better"], board["varied"]) == ("frechet-classifier", "lower", ["loss", "seed"])
    assert order(board) == ["hinge", "minimax", "bce"]  # of the second a run is missing
    second, best, last = board["rows"]
    assert (best["mean"], best["interval"], best["status"], best["values"]) == (4.0, None, "partial", [4.0, None])
    assert best["failures"] == [{"job": 3, "seed": 2, "status": "killed", "reason": "why 3"}]
    assert best["seconds"] == 30.0  # of what was done
    assert best["repeat"] == "gan-train loss=minimax seed=1"
    assert (second["mean"], second["status"], second["seeds"], second["jobs"]) == (6.0, "done", [1, 2], [0, 1])
    assert second["interval"] == pytest.approx([0, 6 + 12.7062], abs=1e-3)  # no distance is negative
    assert second["repeat"] == "gan-train loss=hinge seed=1"  # its best seed
    assert (last["mean"], last["status"], last["folders"]) == (None, "failed", ["4", None])
    assert last["seconds"] == 50.0


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("accuracy/class", (0.9, 0.95), (0.6073, 1)),
        ("coverage-random", (0.05, 0.1), (0, 0.3927)),
        ("kernel-random", (0.01, 0.02), (-0.0485, 0.0785)),  # an estimate without bias may be negative
        ("inception_score-random", (1.5, 2.5), (1, 8.3531)),
        ("modes/covered", (7.0, 8.0), (1.1469, 8)),
    ],
)
def test_an_interval_has_no_values_that_the_metric_cannot_have(
    name: str, values: tuple[float, float], expected: tuple[float, float]
) -> None:
    jobs = [job(seed, seed, {name: value, "modes/possible": 8.0}, loss="hinge") for seed, value in enumerate(values)]
    (row,) = build(*jobs, ranked_by=(name.partition("-")[0],))["rows"]
    assert row["interval"] == pytest.approx(expected, abs=1e-3)


def test_higher_is_better_of_some_figures() -> None:
    board = build(
        job(0, 1, {"recall-random": 0.2}, loss="hinge"),
        job(1, 1, {"recall-random": 0.5}, loss="minimax"),
        job(2, 2, {"recall-random": 0.9}, loss="minimax"),
        ranked_by=("recall",),
    )
    assert order(board) == ["minimax", "hinge"]
    assert board["better"] == "higher"
    assert board["rows"][0]["repeat"].endswith("seed=2")


def test_rows_with_a_run_that_failed_by_itself_come_after_those_without() -> None:
    board = build(
        job(0, 1, {"frechet-random": 1.0}, loss="hinge"),
        job(1, 2, {"frechet-random": 0.5}, "diverged", loss="hinge"),
        job(2, 1, {"frechet-random": 9.0}, loss="minimax"),
        job(3, 2, {}, "killed", loss="minimax"),
    )
    assert order(board) == ["minimax", "hinge"]
    assert board["rows"][1]["values"] == [1.0, None]  # what diverged has no figure


def test_equal_coverage_is_decided_by_evenness() -> None:
    covered = {"modes/covered": 8.0, "loss/generator": 1.0}
    board = build(
        job(0, 1, covered | {"modes/reverse_kl": 0.2}, loss="hinge"),
        job(1, 1, covered | {"modes/reverse_kl": 0.1}, loss="minimax"),
        job(2, 1, {"modes/covered": 7.0, "modes/reverse_kl": 0.0}, loss="bce"),
        ranked_by=("modes/covered", "accuracy/class"),
    )
    assert order(board) == ["minimax", "hinge", "bce"]


def test_without_a_figure_the_jobs_are_in_order_and_it_is_said_how_to_get_one() -> None:
    board = build(job(0, 1, {"loss/generator": 3.0}, loss="hinge"), job(1, 1, {}, loss="bce"))
    assert (board["metric"], order(board)) == (None, ["hinge", "bce"])
    assert leaderboard_tables.best_of(board) is None
    board["rows"][0] |= {"mean": 1.0, "repeat": "gan-train 'output=a  b' \x1b[31m"}
    assert leaderboard_tables.best_of(board) == "gan-train 'output=a  b' ?[31m"
    assert "evaluation.metrics=[frechet]" in leaderboard_tables.ranking(board)


def test_its_files_agree_and_nothing_in_them_is_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = job(1, 1, {}, "raised", loss="a|b<i>[/]")
    board = build(
        job(0, 1, {"frechet-random": 1.5}, loss="hinge"), odd, job(2, 2, {"frechet-random": 2.5}, loss="hinge")
    )
    leaderboard_tables.write_board(tmp_path, board)
    assert json.loads((tmp_path / "leaderboard.json").read_text()) == board
    with open(tmp_path / "leaderboard.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["rank"] for row in rows] == ["1", ""]
    assert (rows[0]["loss"], float(rows[0]["frechet-random"]), rows[0]["n"]) == ("hinge", 2.0, "2")
    assert (float(rows[0]["low"]), float(rows[0]["high"])) == pytest.approx((0, 2 + 12.7062 * 0.5), abs=1e-3)
    assert (rows[0]["values"].split(" "), rows[0]["seeds"].split(" ")) == (["1.5", "2.5"], ["1", "2"])
    assert (rows[1]["values"], rows[1]["seeds"], rows[1]["n"]) == ("", "1", "0")
    assert rows[1]["failures"] == "job 1 raised: why 1"
    text = (tmp_path / "leaderboard.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert "a\\|b&lt;i>[/]" in lines[2]
    assert [line.replace("\\|", "").count("|") for line in lines] == [lines[0].count("|")] * 3
    assert "- job 1 raised: why 1" in text
    assert "    gan-train loss=hinge seed=1" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"leaderboard.{end}" for end in ("csv", "json", "md")]
    leaderboard_tables.print_board(tmp_path, board)
    out = capsys.readouterr().out
    assert "[/]" in out
    assert "repeat the best run: gan-train loss=hinge seed=1" in out
    assert "job 1 raised: why 1" in out


# --- figures that cannot be compared -----------------------------------------------------------------------------


def measured(number: int, value: float, name: str = "frechet-classifier", **basis: Any) -> Outcome:
    usual = {"data": "abc", "shape": [1, 16, 16], "classes": 2, "extractor": "classifier", "features": "f", "n": 60}
    done = job(number, 1, {name: value}, loss=f"l{number}")
    return done.model_copy(update={"measured_on": {"samples": usual | basis}})


@pytest.mark.parametrize(
    ("basis", "expected"),
    [
        ({"shape": [1, 32, 32], "features": "g"}, "size or channels (1 x 16 x 16, 1 x 32 x 32)"),
        ({"shape": [3, 16, 16]}, "size or channels (1 x 16 x 16, 3 x 16 x 16)"),
        ({"data": "other", "features": "g"}, "data"),
        ({"features": "g"}, "features"),
        ({"extractor": "random", "features": "g"}, "features (classifier, random)"),
        ({"n": 2000}, "number of samples (60, 2000)"),
        ({"classes": 3, "data": "other"}, "number of classes (2, 3)"),
    ],
)
def test_what_is_measured_otherwise_is_not_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], basis: dict[str, Any], expected: str
) -> None:
    board = build(measured(0, 5.0), measured(1, 1.0, **basis), measured(2, 4.0))
    assert order(board) == ["l2", "l0", "l1"]  # those of the same together
    assert leaderboard_tables.ranking(board) == (
        f"not ranked: frechet-classifier is not measured on the same: they differ in {expected}; compare only rows"
        " that agree in this"
    )
    assert leaderboard_tables.best_of(board) is None
    leaderboard_tables.write_board(tmp_path, board)
    with open(tmp_path / "leaderboard.csv", newline="") as stream:
        assert [row["rank"] for row in csv.DictReader(stream)] == ["", "", ""]
    leaderboard_tables.print_board(tmp_path, board)
    out = capsys.readouterr().out
    assert "not ranked: " in out
    assert "repeat the best run" not in out
    assert not read_board(tmp_path).ranked
    assert expected in read_board(tmp_path).unranked
    assert '<strong class="warning">Not ranked</strong>: frechet-classifier' in write_sweep_report(tmp_path).read_text()


def test_what_is_measured_alike_is_ranked() -> None:
    board = build(measured(0, 5.0), measured(1, 1.0))
    assert (order(board), board["unranked"]) == (["l1", "l0"], "")
    assert leaderboard_tables.best_of(board) == "gan-train loss=l1 seed=1"


def test_figures_in_other_features_are_not_ranked() -> None:
    board = build(measured(0, 5.0), measured(1, 1.0, "frechet-random", extractor="random", features="g"))
    assert "features (classifier, random)" in board["unranked"]
    old = build(job(0, 1, {"frechet-classifier": 2.0}, loss="a"), job(1, 1, {"frechet-random": 2.0}, loss="b"))
    assert "features (classifier, random)" in old["unranked"]


@pytest.mark.parametrize(
    ("key", "values", "ranked"),
    [
        ("image_size", (16, 32), False),
        ("dataset.image_channels", (1, 3), False),
        ("dataset.classes", (["a"], ["b"]), False),
        ("dataset", ("mnist", "kmnist"), False),
        ("evaluation.n", (500, 2000), False),
        ("dataset.limit", (100, 1000), True),  # what is compared with has no limit
        ("dataset.flip", (True, False), True),
        ("dataset.balance", (True, False), True),
        ("optimizer.lr", (0.1, 0.2), True),
    ],
)
def test_jobs_from_before_go_by_what_varied(key: str, values: tuple[Any, Any], ranked: bool) -> None:
    board = build(*(job(number, 1, {"frechet-random": 1.0}, **{key: value}) for number, value in enumerate(values)))
    assert (board["unranked"] == "") == ranked
    assert ranked or key in board["unranked"]


def test_modes_and_classes_have_a_basis_of_their_own() -> None:
    covered = {"modes/covered": 8.0}
    rings = [
        job(number, 1, covered, loss="a").model_copy(update={"measured_on": {"modes": {"data": each}}})
        for number, each in enumerate("ab")
    ]
    told = build(*rings, ranked_by=("modes/covered",))["unranked"]
    assert told == "modes/covered is not measured on the same: they differ in data"
    few = [job(number, 1, {"accuracy/class": 0.5}, **{"dataset.limit": number + 1}) for number in range(2)]
    assert "dataset.limit (1, 2)" in build(*few, ranked_by=("accuracy/class",))["unranked"]
