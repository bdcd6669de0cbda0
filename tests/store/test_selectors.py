"""Selectors mean what ``kubectl -l`` and the controllers of Kubernetes mean by them."""

from __future__ import annotations

import pytest

from netsim.base.errors import UsageError
from netsim.objects.meta import LabelSelector, LabelSelectorRequirement
from netsim.store.selectors import (
    has_all,
    parse_selector,
    selector_from_label_selector,
    selector_from_labels,
)

LABELS = {"app": "web", "tier": "front", "rank": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("tier in (front, back)", True),
        ("tier in (back)", False),
        ("tier notin (back)", True),
        ("missing notin (back)", True),
        ("rank>5", True),
        ("rank > 7", False),
        ("rank<8", True),
        ("app>5", False),
        ("missing<8", False),
        ("empty=", True),
        ("empty=,app=web", True),
        ("app=web,tier in (front,back),!legacy", True),
        ("app=web,tier=back", False),
        ("kubernetes.io/service-name=ent", False),
    ],
)
def test_the_text_form_matches_as_kubectl_does(text: str, matches: bool) -> None:
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app web", "found 'web', expected: in, notin, =, ==, !=, gt, lt"),
        ("tier in front", "found 'front', expected: '('"),
        ("tier in (front", "found '', expected: ',' or ')'"),
        ("tier in (front db)", "found 'db', expected: ',' or ')'"),
        ("app=web,", "found '', expected: identifier after ','"),
        ("app=web tier=front", "found 'tier', expected: ',' or 'end of string'"),
        ("=web", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "found '', expected: identifier"),
        ("app=(", "found '(', expected: identifier"),
        ("rank>many", "found 'many', expected: an integer"),
    ],
)
def test_a_wrong_text_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_selector(text)
    assert raised.value.message == f"unable to parse requirement: {message}"


@pytest.mark.parametrize(
    "text",
    [
        "app=web",
        "!legacy",
        "tier in (a,b)",
        "tier in (a)",
        "tier notin (a)",
        "tier!=a",
        "rank>5,rank<9",
        "app,tier=x",
    ],
)
def test_rendering_is_the_inverse_of_parsing(text: str) -> None:
    assert str(parse_selector(text)) == text
    assert parse_selector(str(parse_selector(text))) == parse_selector(text)


def test_match_labels_and_expressions_all_have_to_hold() -> None:
    selector = selector_from_label_selector(
        LabelSelector(
            match_labels={"app": "web"},
            match_expressions=(
                LabelSelectorRequirement("tier", "In", ("front", "back")),
                LabelSelectorRequirement("legacy", "DoesNotExist"),
                LabelSelectorRequirement("rank", "Exists"),
                LabelSelectorRequirement("app", "NotIn", ("db",)),
            ),
        )
    )
    assert str(selector) == "app=web,app notin (db),!legacy,rank,tier in (back,front)"
    assert selector.matches(LABELS)
    assert not selector.matches({**LABELS, "legacy": "yes"})
    assert not selector.matches({**LABELS, "tier": "middle"})
    assert not selector.matches({})


def test_a_map_wants_every_pair() -> None:
    wanted = {"tier": "front", "app": "web"}
    assert str(selector_from_labels(wanted)) == "app=web,tier=front"
    assert selector_from_labels(wanted).matches(LABELS)
    assert has_all(LABELS, wanted)
    assert not has_all(LABELS, {"app": "web", "tier": "back"})


def test_the_empty_selector_matches_everything() -> None:
    assert parse_selector("").matches({})
    assert selector_from_label_selector(LabelSelector()).matches(LABELS)
