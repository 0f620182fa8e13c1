"""What is remembered of events that a step with state fails on, and for how long."""

from streamd.api import DeadLetter, Reject, Span
from streamd.engine.suspects import (
    ANYWHERE,
    CAREFUL_FOR,
    MOST_IN_A_ROW,
    THEN_EVERY,
    Suspect,
    Suspects,
)

STEP, P = "w", "events:0"


def at(offset: int, nth: int = 0) -> Suspect:
    return Suspect(STEP, "main", (P, offset), nth)


def span(start: int, stop: int, partition: str = P) -> list[Span]:
    return [Span(partition, start, stop, stop - start)]


def failed(upto: int = 100, now: float = 0.0) -> Suspects:
    suspects = Suspects()
    suspects.failed(STEP, {P: upto}, now)
    return suspects


def give_up(suspects: Suspects, suspect: Suspect, now: float = 0.0) -> None:
    record = suspects.failed_on(suspect, now)
    record.verdict, record.reject = DeadLetter(), Reject("bug", "it fails")
    suspects.given_up(suspect, now)


def test_a_step_is_careful_until_it_is_past_what_it_failed_on() -> None:
    suspects = failed(upto=100)
    assert suspects.careful(STEP, span(90, 110), 9e9)
    assert not suspects.careful(STEP, span(90, 110, "events:1"), 0)
    assert not suspects.careful("other", span(90, 110), 0)
    assert not suspects.careful(STEP, span(100, 110), 0)
    assert not suspects.careful(STEP, span(90, 100), 0), "it has been past it"


def test_where_places_do_not_last_it_is_careful_for_a_while() -> None:
    suspects = failed(upto=ANYWHERE)
    assert suspects.careful(STEP, span(5, 6), CAREFUL_FOR - 1)
    assert not suspects.careful(STEP, span(5, 6), CAREFUL_FOR)


def test_care_ends_with_the_last_event_once_all_that_was_read_with_it_went_well() -> None:
    suspects = failed(upto=100)
    suspects.took(STEP, span(80, 99))
    suspects.all_went_well()
    assert suspects.searching(0)
    suspects.took(STEP, span(80, 100))
    suspects.life_over(0, 0)
    suspects.all_went_well()
    assert suspects.searching(0), "the step has failed on the rest of it"
    suspects.took(STEP, span(80, 100))
    assert suspects.careful(STEP, span(80, 100), 0), "there may be more of it"
    suspects.all_went_well()
    assert not suspects.searching(0)


def test_sources_are_read_in_sips_while_it_is_looked_for_but_not_for_ever() -> None:
    suspects = failed(upto=100)
    assert suspects.searching(0)
    assert not suspects.searching(CAREFUL_FOR), "its partition may be another's by now"
    suspects.careful(STEP, span(100, 110), 1)
    assert not suspects.searching(1)
    assert not Suspects().searching(0)


def test_what_is_given_up_is_set_aside_in_each_life_until_that_is_durable() -> None:
    suspects = failed()
    give_up(suspects, at(7))
    suspects.life_over(3, 0)
    assert suspects.set_aside(at(8), 4) is None
    assert suspects.set_aside(at(7, nth=1), 4) is None
    assert suspects.set_aside(at(7), 4) is not None
    suspects.life_over(3, 0)
    assert suspects.set_aside(at(7), 4) is not None, "its dead letter was not stored yet"
    suspects.life_over(4, 0)
    assert suspects.set_aside(at(7), 5) is None


def test_what_is_tried_again_is_not_set_aside() -> None:
    suspects = failed()
    assert suspects.failed_on(at(7), 0).attempts == 1
    assert suspects.failed_on(at(7), 5).attempts == 2
    assert suspects.set_aside(at(7), 1) is None


def test_what_never_comes_again_is_forgotten_after_an_hour() -> None:
    suspects = failed()
    give_up(suspects, at(7))
    suspects.life_over(0, 3600)
    assert suspects.set_aside(at(7), 1) is not None
    suspects.life_over(0, 3601)
    suspects.life_over(0, 3601 + 3601)
    assert suspects.set_aside(at(7), 1) is None


def test_an_event_known_by_content_is_set_aside_once_in_a_life() -> None:
    suspects, one = failed(), Suspect(STEP, "main", "digest", 0)
    give_up(suspects, one)
    suspects.life_over(0, 0)
    assert suspects.set_aside(one, 1) is not None
    assert suspects.set_aside(one, 1) is None, "another one that only looks the same"
    suspects.life_over(0, 0)
    assert suspects.set_aside(one, 1) is not None, "its client was not answered and sends again"


def test_of_events_that_look_the_same_each_is_given_up_for_itself() -> None:
    suspects, one = failed(), Suspect(STEP, "main", "digest", 0)
    give_up(suspects, one)
    suspects.life_over(0, 0)
    assert suspects.set_aside(one, 1) is not None
    give_up(suspects, one)
    suspects.life_over(0, 0)
    assert [suspects.set_aside(one, epoch) is not None for epoch in (1, 2, 3)] == [
        True,
        True,
        False,
    ]


def test_what_was_set_aside_for_good_may_come_again_with_others_of_its_client() -> None:
    suspects, one = failed(), Suspect(STEP, "main", "digest", 0)
    give_up(suspects, one)
    suspects.life_over(0, 0)
    assert suspects.set_aside(one, 1) is not None
    suspects.life_over(1, 10)
    assert suspects.set_aside(one, 2) is not None
    suspects.life_over(2, 20)
    suspects.life_over(2, 20 + CAREFUL_FOR)
    assert suspects.set_aside(one, 3) is not None
    suspects.life_over(2, 400)
    suspects.life_over(2, 401 + CAREFUL_FOR)
    assert suspects.set_aside(one, 3) is None


def test_ten_in_a_row_then_one_a_minute() -> None:
    suspects = failed()
    for number in range(MOST_IN_A_ROW):
        assert suspects.may_give_up(STEP, 0)
        give_up(suspects, at(number))
    assert not suspects.may_give_up(STEP, THEN_EVERY - 1)
    assert suspects.may_give_up(STEP, THEN_EVERY)


def test_an_event_that_goes_well_behind_them_ends_the_row() -> None:
    suspects = failed()
    for number in range(MOST_IN_A_ROW):
        give_up(suspects, at(10 + number))
    suspects.life_over(0, 0)
    suspects.went_well(STEP)
    assert not suspects.may_give_up(STEP, 1), "that one stands before them, and went well before"
    for number in range(MOST_IN_A_ROW):
        suspects.set_aside(at(10 + number), 1)
    assert not suspects.may_give_up(STEP, 1)
    suspects.went_well(STEP)
    assert suspects.may_give_up(STEP, 1)


def test_a_life_that_begins_behind_them_can_end_the_row() -> None:
    suspects = failed()
    for number in range(MOST_IN_A_ROW):
        give_up(suspects, at(number))
        suspects.set_aside(at(number), 1)
    suspects.life_over(1, 0)
    suspects.went_well(STEP)
    assert suspects.may_give_up(STEP, 1)


def test_a_reload_forgets_it_all() -> None:
    suspects = failed()
    for number in range(MOST_IN_A_ROW):
        give_up(suspects, at(number))
    suspects.forget()
    assert suspects.set_aside(at(0), 1) is None
    assert suspects.may_give_up(STEP, 1)
    assert not suspects.careful(STEP, span(0, 5), 1)
