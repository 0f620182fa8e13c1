"""The line map against documents whose positions are known because they were written here."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.settings.lines import Path, line_map, line_of

KEYS = st.one_of(
    st.text("abcXYZ019_-", min_size=1, max_size=6),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6),
)
STRINGS = st.sampled_from(
    [
        '"plain"',
        "'literal # ] }'",
        r'"a \" quote, \\ and \u00e9 # [x]"',
        '"""one"""',
        '"""\nfirst\n"second" ""third"" \\"""\n[fourth]\n= 5 # 6\\\n   7\n"""',
        '""""quoted""""',
        '"""""two""\n"""',
        "'''\nit''s [raw]\\\n'''",
        "''''one''''",
        "''",
        '""',
    ]
)
PLAIN = st.sampled_from(
    ["1", "-0.5e3", "true", "inf", "1979-05-27", "1979-05-27 07:32:00Z", "07:32:00", "0xFF", "1_0"]
)
GAPS = st.sampled_from(["", " ", "\n", " # not = a [key]\n", "\n\n\t", "# ]\n# }\n"])


class Writer:
    """Writes TOML and notes on which line each key begins."""

    def __init__(self) -> None:
        self.text = ""
        self.lines: dict[Path, int] = {}

    def write(self, text: str) -> None:
        self.text += text

    def mark(self, path: Path) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)


def quoted(key: str) -> str:
    bare = key and all(char in "abcXYZ019_-" for char in key)
    return key if bare else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_value(draw: Any, writer: Writer, path: Path, depth: int = 0) -> None:
    kind = draw(st.sampled_from(["string", "plain", "list", "table"] if depth < 2 else ["string"]))
    if kind == "list":
        writer.write("[" + draw(GAPS))
        for at in range(draw(st.integers(0, 3))):
            writer.mark((*path, at))
            write_value(draw, writer, (*path, at), depth + 1)
            writer.write(draw(GAPS) + "," + draw(GAPS))
        writer.write("]")
    elif kind == "table":
        keys = draw(st.lists(KEYS, unique=True, max_size=3))
        writer.write("{ ")
        for number, key in enumerate(keys):
            writer.write(", " if number else "")
            writer.mark((*path, key))
            writer.write(f"{quoted(key)} = ")
            write_value(draw, writer, (*path, key), depth + 1)
        writer.write(" }")
    else:
        writer.write(draw(STRINGS if kind == "string" else PLAIN))


def write_pairs(draw: Any, writer: Writer, path: Path, taken: set[str]) -> None:
    keys = draw(st.lists(KEYS.filter(lambda key: key not in taken), unique=True, max_size=3))
    for key in keys:
        parts = [key, *draw(st.lists(KEYS, max_size=2))]
        writer.write(draw(st.sampled_from(["", "  ", "\n", "# comment = [\n\n"])))
        for end in range(1, len(parts) + 1):
            writer.mark((*path, *parts[:end]))
        writer.write(draw(st.sampled_from([".", " . "])).join(map(quoted, parts)) + " = ")
        write_value(draw, writer, (*path, *parts))
        writer.write(draw(st.sampled_from(["\n", " # x\n", "\r\n"])))


@st.composite
def documents(draw: Any) -> tuple[str, dict[Path, int]]:
    """A text and the line of every key in it, table headers and array elements included."""
    writer = Writer()
    write_pairs(draw, writer, (), {"arrays", "tables"})
    lengths: dict[str, int] = {}
    for number in range(draw(st.integers(0, 4))):
        key = draw(KEYS)
        path: Path = ("tables", str(number), key)
        header = f"[ tables.{number} . {quoted(key)}]"
        if draw(st.booleans()):
            lengths[key] = lengths.get(key, 0) + 1
            path = ("arrays", key, lengths[key] - 1)
            header = f"[[arrays.{quoted(key)} ]]"
        for end in range(1, 4):
            writer.mark(path[:end])
        writer.write(header + draw(st.sampled_from(["\n", " # [x]\n", "\r\n"])))
        write_pairs(draw, writer, path, set())
    return writer.text, writer.lines


@given(documents())
def test_every_key_has_its_line(document: tuple[str, dict[Path, int]]) -> None:
    text, expected = document
    tomllib.loads(text)
    assert line_map(text) == expected


ARRAYS = """\
[[a.b]]
x = 1
[a.b.deep]
y = [
  1,
  { z = 2 },
]
[[a.b.c]]
[[a.b.c]]
x = 1
[[a.b]]
[[a.b.c]]
[a]
z = 0
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a", "b"), 1),
        (("a", "b", 0), 1),
        (("a", "b", 0, "x"), 2),
        (("a", "b", 0, "deep"), 3),
        (("a", "b", 0, "deep", "y"), 4),
        (("a", "b", 0, "deep", "y", 0), 5),
        (("a", "b", 0, "deep", "y", 1, "z"), 6),
        (("a", "b", 0, "c", 0), 8),
        (("a", "b", 0, "c", 1), 9),
        (("a", "b", 0, "c", 1, "x"), 10),
        (("a", "b", 1), 11),
        (("a", "b", 1, "c", 0), 12),
        (("a",), 13),
        (("a", "z"), 14),
        (("a", "b", 0, "missing", "key"), 1),
        (("nowhere",), 1),
    ],
)
def test_arrays_of_tables(path: Path, line: int) -> None:
    tomllib.loads(ARRAYS)
    assert line_of(line_map(ARRAYS), path) == line
