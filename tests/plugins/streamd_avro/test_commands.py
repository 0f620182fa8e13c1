"""`streamd schema` as a person calls it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streamd_avro
from tests.plugins.streamd_avro.helpers import record

Call = Callable[..., tuple[int, str, str]]

ONE = record("Order", ("id", "string"), ("at", "int"))
TWO = record("Order", ("id", "string"), ("at", "long"), ("note", ["null", "string"], None))
BAD = record("Order", ("id", "int"), ("more", "int"))


@pytest.fixture
def call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    for name, schema in (("one", ONE), ("two", TWO), ("bad", BAD), ("none", {"type": "x"})):
        Path(f"{name}.avsc").write_text(json.dumps(schema))

    def call(*arguments: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        streamd_avro.streamd_commands(parser.add_subparsers())
        args: Any = parser.parse_args(["schema", *arguments])
        status = args.run(args)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_list_and_register(call: Call) -> None:
    assert call("list") == (0, "IngestEvent  1, 2  NONE\n", "")
    assert call("register", "Order", "one.avsc") == (0, "Order version 1 (BACKWARD)\n", "")
    assert call("register", "Order", "two.avsc", "--level", "FULL")[0] == 1
    assert call("register", "Order", "two.avsc") == (0, "Order version 2 (BACKWARD)\n", "")
    assert call("list")[1] == "IngestEvent  1, 2  NONE\nOrder  1, 2  BACKWARD\n"


def test_a_refusal_tells_every_reason_and_changes_nothing(call: Call) -> None:
    call("register", "Order", "one.avsc")
    status, out, err = call("register", "Order", "bad.avsc", "--version", "7")
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == "Order version 7 is not compatible (BACKWARD):"
    assert "$.id: type_mismatch" in err
    assert "$.more: missing_default" in err
    assert "Order  1  BACKWARD" in call("list")[1]


def test_a_warning_is_told(call: Call) -> None:
    status, out, err = call("register", "IngestEvent", "one.avsc")
    assert (status, out) == (0, "IngestEvent version 3 (NONE)\n")
    assert err.startswith("warning: IngestEvent version 3 is not fully compatible")


def test_show(call: Call) -> None:
    call("register", "Order", "one.avsc")
    status, out, _ = call("show", "Order:1")
    assert (status, json.loads(out)) == (0, ONE)
    assert call("show", "Order")[1] == out == call("show", "one.avsc")[1]
    assert call("show", "Order", "--canonical")[1] == (
        '{"name":"Order","type":"record","fields":['
        '{"name":"id","type":"string"},{"name":"at","type":"int"}]}\n'
    )
    assert len(call("show", "IngestEvent:v1", "--fingerprint")[1]) == 17


def test_check(call: Call) -> None:
    assert call("check", "one.avsc", "two.avsc") == (0, "compatible (BACKWARD, avro)\n", "")
    status, out, _ = call("check", "one.avsc", "two.avsc", "--level", "FULL")
    assert status == 1
    assert out == "$.at: type_mismatch: long cannot be read as int\n"
    guideline = ("--mode", "guideline", "--level", "FORWARD")
    assert call("check", "one.avsc", "two.avsc", *guideline)[1] == (
        "$.at: type_changed: int has become long\n"
    )
    assert call("check", "IngestEvent:1", "IngestEvent:2", "--level", "FULL")[0] == 0


def test_diff(call: Call) -> None:
    assert call("diff", "one.avsc", "one.avsc") == (0, "", "")
    status, out, _ = call("diff", "one.avsc", "two.avsc")
    assert status == 1
    assert out.splitlines() == [
        "- $.at: int",
        "+ $.at: long",
        "+ $.note: union of null and string, default null",
    ]
    lines = call("diff", "IngestEvent:1", "IngestEvent:2")[1].splitlines()
    assert "+ $.payload.tags: union of null and array of string, default null" in lines
    assert "+ $.payload.ip_address<streamd.IPv4>: fixed streamd.IPv4 of 4 bytes" in lines
    assert all(line.startswith("+ $.payload.") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "usage:"),
        (("show", "Nothing"), 2, "there is no file Nothing"),
        (("show", "IngestEvent:9"), 2, "IngestEvent has no version 9; it has: 1, 2"),
        (("register", "Order", "nowhere.avsc"), 2, "No such file"),
        (("register", "Order", "none.avsc"), 1, '$: there is no type called "x"'),
        (("register", "Order", "one.avsc", "--version", "0"), 2, "'0' is no version"),
        (("check", "none.avsc", "one.avsc"), 1, "there is no type"),
    ],
)
def test_what_is_wrong_is_told(
    call: Call, arguments: tuple[str, ...], status: int, told: str
) -> None:
    done, out, err = call(*arguments)
    assert (done, out) == (status, "")
    assert told in err


def test_another_state_directory(call: Call, tmp_path: Path) -> None:
    call("--state-dir", "other", "register", "Order", "one.avsc")
    assert (tmp_path / "other" / "schemas.sqlite").exists()
    assert "Order" not in call("list")[1]
    assert "Order" in call("--state-dir", "other", "list")[1]


def test_it_is_a_command_of_streamd(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "streamd", "schema", "--state-dir", str(tmp_path), "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("IngestEvent  1, 2  NONE\n", "")
