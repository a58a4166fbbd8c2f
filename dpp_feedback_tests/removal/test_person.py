"""Knowing one address again, and nobody else's."""

from __future__ import annotations

import pytest

from dpp_feedback.feedback.events import dedupe_key
from dpp_feedback.removal.person import NoAddress, Person

JANE = Person("Jane Doe <Jane@Example.COM>")


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com",
        "550 5.1.1 <JANE@example.com>: no such user",
        "smtp; 550 jane@example.com.",
        "rcpt=jane@example.com",
        "'jane@example.com'",
        "bounce+jane=example.com@news.example.net",
        "https://example.net/?u=jane%40example.com&x=1",
        "https://example.net/?to=%3Cjane%40example.com%3E",
        "jane&#64;example.com",
        "jane=40example.com",
        'a body in JSON: "jane\\u0040example.com"',
        "a line\\njane@example.com",
        "550-jane@example.com is unknown",
        "550-5.1.1-jane@example.com is unknown",
        "=3Cjane=40example.com=3E",
        "u=%253Cjane%2540example.com",
        "\\u003cjane@example.com\\u003e",
    ],
)
def test_an_address_is_known_however_it_is_written(text: str) -> None:
    assert JANE.named_in(text)
    assert JANE.named_in({"deep": [{"in": text}]})
    assert JANE.named_in({text: 1})
    assert not JANE.named_in(JANE.without(text))
    assert "jane" not in JANE.without(text).lower()


@pytest.mark.parametrize(
    "text",
    [
        "mary.jane@example.com",
        "mary-jane@example.com",
        "news+jane@example.com",
        "maryjane@example.com",
        "mary%2Djane%40example.com",
        "tom&jane@example.com",
        "jane@example.com.au",
        "jane@example.com-x.org",
        "jane@example.comedy",
        "jane",
        "example.com",
    ],
)
def test_another_address_is_left_alone(text: str) -> None:
    assert not JANE.named_in(text)
    assert JANE.without(text) == text


@pytest.mark.parametrize("text", ["JANE@example.com", "Jane%40Example.com", "x jane=example.com y"])
def test_whatever_names_the_address_has_a_pattern_by_which_postgres_finds_it(text: str) -> None:
    assert any(pattern in text.lower() for pattern in JANE.patterns)


@pytest.mark.parametrize(
    "address",
    ['"jane doe"@example.com', "jane'o@example.com", "jane+x@example.com", "j.a(n)e*@example.com"],
)
def test_an_address_with_odd_characters_is_known_and_has_a_pattern(address: str) -> None:
    person = Person(address)
    text = f"550 <{address}> is full"
    assert person.named_in(text)
    assert any(pattern in text for pattern in person.patterns)
    assert person.without(text) == "550 <@example.com> is full"


def test_an_internationalised_domain_is_known_in_both_forms() -> None:
    for written in ("jane@bücher.example", "jane@xn--bcher-kva.example"):
        person = Person(written)
        assert person.named_in("jane@bücher.example")
        assert person.named_in("jane@xn--bcher-kva.example")


def test_the_hash_in_a_dedupe_key_is_a_trace() -> None:
    key = dedupe_key(anchor="0100", notification_type="Bounce", recipient="jane@example.com")
    assert JANE.leads_from(key)
    other = dedupe_key(anchor="0100", notification_type="Bounce", recipient="june@example.com")
    assert not JANE.leads_from(other)


@pytest.mark.parametrize("written", ["", "jane", "@example.com", "jane@", "jane\n@example.com"])
def test_what_is_no_address_is_refused_without_quoting_it(written: str) -> None:
    with pytest.raises(NoAddress) as refused:
        Person(written)
    assert not written or written not in str(refused.value).replace("jane@example.com", "")


def test_an_address_is_in_no_repr() -> None:
    assert repr(JANE) == "Person('j***@example.com')"


@pytest.mark.parametrize("other", ["tom&jane", "mary=jane", "a/jane", "a!jane", "a--jane", "-jane"])
def test_a_recipient_whose_name_only_ends_alike_is_somebody_else(other: str) -> None:
    assert not JANE.receives(f"{other}@example.com")
    assert JANE.receives("jane@example.com")
    assert JANE.receives("bounce+jane=example.com@example.net")
    assert not JANE.receives(None)


def test_a_domain_is_not_taken_for_another_that_rules_of_2003_make_of_it() -> None:
    person = Person("jane@stra\u00dfe.example")
    assert person.named_in("jane@xn--strae-oqa.example")
    assert Person("jane@xn--strae-oqa.example").named_in("jane@stra\u00dfe.example")
    assert not person.named_in("jane@strasse.example")
