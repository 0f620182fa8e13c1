"""`${...}` and `@{...}`, text by text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import Secret
from streamd.settings.references import Substituted, UnresolvedReferenceError, resolve_text

ENV = {"A": "1", "EMPTY": "", "TRAP": "${A}@{env:A}"}
HERE = Path()


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("plain", "plain", str),
        ("", "", str),
        ("${A}", "1", Substituted),
        ("${A}${A}", "11", str),
        ("a${A}b", "a1b", str),
        ("${EMPTY}", "", Substituted),
        ("${EMPTY:-x}", "x", Substituted),
        ("${NONE:-x:-y}", "x:-y", Substituted),
        ("${NONE:-}", "", Substituted),
        ("${A:-x}", "1", Substituted),
        ("${A:?why}", "1", Substituted),
        ("$${A}", "${A}", str),
        ("$$${A}", "$${A}", str),
        ("x$${A}${A}", "x${A}1", str),
        ("$A {A} ${", "$A {A} ${", str),
        ("${TRAP}", "${A}@{env:A}", Substituted),
        ("@{env:A}", "1", Secret),
        ("@{env:${NONE:-A}}", "1", Secret),
        ("@{env:TRAP}", "${A}@{env:A}", Secret),
        ("@{other:A}", "@{other:A}", str),
        ("a@b", "a@b", str),
    ],
)
def test_resolves(text: str, expected: str, kind: type) -> None:
    found = resolve_text(text, ENV, HERE)
    assert (str.__str__(found), type(found)) == (expected, kind)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${NONE}", "environment variable NONE is not set; ${NONE:-default} gives a default"),
        ("x${NONE}", "environment variable NONE is not set; ${NONE:-default} gives a default"),
        ("${NONE:?why not}", "environment variable NONE is not set: why not"),
        ("${EMPTY:?why not}", "environment variable EMPTY is not set: why not"),
        ("${}", "${} is no reference"),
        ("${A B}", "${A B} is no reference"),
        ("${A-x}", "${A-x} is no reference"),
        ("@{env:NONE}", "environment variable NONE of a secret is not set"),
        ("x@{env:A}", "a secret reference must be the whole value"),
        ("@{env:A}@{env:A}", "a secret reference must be the whole value"),
        ("@{credential:x}", 'no credential "x": CREDENTIALS_DIRECTORY is not set'),
        ("@{file:${NONE}}", "environment variable NONE is not set"),
    ],
)
def test_refuses(text: str, told: str) -> None:
    with pytest.raises(UnresolvedReferenceError) as caught:
        resolve_text(text, ENV, HERE)
    assert str(caught.value).startswith(told)


@given(st.text())
def test_text_comes_through_when_escaped(text: str) -> None:
    escaped = text.replace("${", "$${")
    if "@{" not in text:
        assert resolve_text(escaped, {}, HERE) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")))
def test_a_secret_file_gives_its_text_without_the_last_line_end(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    path = tmp_path_factory.mktemp("secrets") / "pw"
    path.write_text(content + "\n", encoding="utf-8")
    secret = resolve_text(f"@{{file:{path.name}}}", {}, path.parent)
    assert (str.__str__(secret), repr(secret)) == (content, "'***'")


def test_a_secret_file_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes(b"sword\xff")
    with pytest.raises(UnresolvedReferenceError) as caught:
        resolve_text("@{file:pw}", {}, tmp_path)
    assert str(caught.value) == f"the secret in {tmp_path / 'pw'} is not UTF-8 text"
