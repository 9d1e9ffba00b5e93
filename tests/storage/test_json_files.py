"""JSON that was damaged or written by somebody else: what is valid is read, the rest counts as missing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import OnErrorOmit

from gan_cli.storage.json_files import FileModel, Number, Whole, at, first, line, load_json, read_as, text
from gan_cli.storage.run_record import RunRecord, load_record


class Row(FileModel):
    name: Annotated[str, line(5)] = "none"
    value: Number | None = None
    count: Whole = 7
    values: Annotated[tuple[OnErrorOmit[Number], ...], first(4)] = ()
    deep: str = at("a", "b", default="")


class Table(FileModel):
    rows: tuple[OnErrorOmit[Row], ...]


@pytest.mark.parametrize("value", [None, True, "1", "nan", float("nan"), float("inf"), 1e300, 10**400, [1], {}])
def test_what_is_no_number_is_missing(value: Any) -> None:
    row = Row.model_validate({"value": value, "count": value, "values": [1, value, 2.5]})
    assert row == Row(values=(1.0, 2.5))


@pytest.mark.parametrize("value", [None, [], {}, "ab", {"b": None}, {"b": ["x"]}, {"b": 3}])
def test_what_is_not_at_its_place_is_missing(value: Any) -> None:
    assert Row.model_validate({"a": value}).deep == ""


def test_texts_and_lists_are_cut() -> None:
    row = Row.model_validate({"name": "a\n\x1b[31mb" * 1000, "values": [*range(10**6)], "a": {"b": "\udcff"}})
    assert (row.name, row.values, row.deep) == ("a […b", (0, 1, 2, 3), "\udcff")
    assert [text(value) for value in (None, True, [], {}, 10**5000)] == [""] * 5


def test_a_list_leaves_out_what_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"rows": [3, null, {"count": 1, "odd": 2}, []]}')
    assert read_as(Table, tmp_path / "a.json") == Table(rows=(Row(count=1),))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, "\xff", '{"rows": 3}', "{}", "1" * 5000])
def test_a_file_of_another_form_is_missing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="latin-1")
    assert read_as(Table, path) is None
    path.rename(tmp_path / "config.json")
    assert load_record(tmp_path) == RunRecord()


def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path, tmp_path / "pipe.json", tmp_path / "absent.json"):
        assert load_json(path) is None


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    assert load_json(tmp_path / "a.json", most_bytes=6) == [1, 2]
    assert load_json(tmp_path / "a.json", most_bytes=5) is None


def test_nesting_that_json_takes_does_no_harm(tmp_path: Path) -> None:
    deep: Any = json.loads('{"a":' * 900 + "1" + "}" * 900)
    (tmp_path / "config.json").write_text(json.dumps({"config": deep, "device": "cpu"}))
    record = load_record(tmp_path)
    assert (record.device, record.dataset) == ("cpu", "")
