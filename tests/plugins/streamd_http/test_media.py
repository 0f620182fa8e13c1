"""Media types, and inflating within a limit."""

from __future__ import annotations

import gzip

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd_http.media import form_of, gunzip, inflater, require_form, unzstd
from streamd_http.refusal import Refused

LIMIT = 1000


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


PAIRS = [(gzip.compress, gunzip), (zstd, unzstd)]
both = pytest.mark.parametrize(("deflate", "inflate"), PAIRS, ids=["gzip", "zstd"])


def test_forms() -> None:
    assert form_of("application/json") == "json"
    assert form_of("Application/JSON; Charset=UTF-8") == "json"
    assert form_of('application/json;charset="utf-8"; x=y') == "json"
    assert form_of("application/x-ndjson") == "ndjson"
    for text in ("", "text/json", "application/json; charset=latin-1", ";", "application/jsonx"):
        assert form_of(text) is None
    with pytest.raises(Refused) as caught:
        require_form(None)
    assert caught.value.status == 415


def test_encodings() -> None:
    assert inflater(None) is inflater("identity") is None
    assert inflater("GZip") is inflater("x-gzip") is gunzip
    assert inflater("zstd") is unzstd
    for name in ("br", "deflate", "gzip, gzip", "zstd, gzip"):
        with pytest.raises(Refused) as caught:
            inflater(name)
        assert caught.value.status == 415


@both
@settings(deadline=None)
@given(st.binary(max_size=LIMIT))
def test_what_was_deflated_comes_back(deflate, inflate, data: bytes) -> None:  # type: ignore[no-untyped-def]
    assert inflate(deflate(data), LIMIT) == data


@both
def test_the_limit_is_exact(deflate, inflate) -> None:  # type: ignore[no-untyped-def]
    assert len(inflate(deflate(bytes(LIMIT)), LIMIT)) == LIMIT
    for size in (LIMIT + 1, 100 * LIMIT, 100_000_000):
        with pytest.raises(Refused) as caught:
            inflate(deflate(bytes(size)), LIMIT)
        assert caught.value.status == 413


@both
@settings(deadline=None)
@given(st.binary(min_size=20, max_size=LIMIT), st.data())
def test_what_is_damaged_is_refused(deflate, inflate, data: bytes, draw) -> None:  # type: ignore[no-untyped-def]
    whole = deflate(data)
    cut = draw.draw(st.integers(0, len(whole) - 1))
    for bad in (whole[:cut], whole + b"x", b"x" + whole, data[:0]):
        with pytest.raises(Refused) as caught:
            inflate(bad, LIMIT)
        assert caught.value.status == 400


def test_a_second_gzip_member_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        gunzip(gzip.compress(b"{}") * 2, LIMIT)
    assert caught.value.status == 400
