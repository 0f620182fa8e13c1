"""The condition of a person who looks on: the language is that of the stages."""

import pytest

from streamd_transforms import streamd_condition


def test_a_condition_chooses_events_and_notes_what_it_cannot_judge() -> None:
    condition = streamd_condition("amount > 10 && lower(kind) == 'order'")
    errors: dict[int, str] = {}
    events = [
        {"amount": 11, "kind": "ORDER"},
        {"amount": 9, "kind": "order"},
        {"amount": "many", "kind": "order"},
        {},
        {"amount": 12, "kind": "order"},
    ]
    assert condition(events, errors) == [0, 4]
    assert list(errors) == [2]
    assert "amount > 10" in errors[2]


def test_a_text_that_is_no_condition_says_where() -> None:
    with pytest.raises(ValueError, match="column 9"):
        streamd_condition("amount >")
