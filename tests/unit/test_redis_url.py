"""No URL shows its password, however it is mistyped; and what is tidied in one."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.config import environment_url
from distflow.errors import InvalidInput
from distflow.redis_url import hide_password, tidy_url
from distflow.store.redis.connection import open_redis

#: Where the password begins and ends in a text, and what it has in between.
BEGIN, MIDDLE, END = "sEc", "mId", "ReT"

_special = st.text(alphabet=":/@?#&=;,.%[] \t\\'\"äß\uff20²0+!$~*()", max_size=3)
_passwords = st.builds(lambda one, two: BEGIN + one + MIDDLE + two + END, _special, _special)
_encoded = _passwords.map(lambda text: quote(text, safe=""))
_secrets = st.one_of(_passwords, _encoded)

_schemes = st.sampled_from(
    [
        *("redis://", "rediss://", "unix://", "redis+sentinel://", "REDIS://", "Redis+Sentinel://"),
        *("redis:/", "redis:", "redis//", "redis:///", "redis;//", "//", "", "http://", "rdeis://"),
        *("redis+sentinel:/", " redis://", "unix:", "unix:///", "\nredis://"),
    ]
)
_users = st.sampled_from(["", "user", "us er", "user%40corp", "a.b-c"])
_places = st.sampled_from(
    [
        *(
            "h",
            "h:6379",
            "h:port",
            "h:99999",
            "[::1]:6379",
            "[::1",
            "a:1,b:2",
            "a:1,b",
            "/run/s.sock",
        ),
        *("h:6379/0", "h/one", "a:1/main/0", "a:1/main", "run/s.sock", "ho st:1", "h:6379/0/x"),
    ]
)
_names = st.sampled_from(
    [
        *("password", "Password", "PASSWORD", "pass%77ord", "sentinel_password", "ssl_password"),
        *(" password", "passwd", "pwd", "pass", "Sentinel_Password", "auth", "password%20"),
    ]
)
_others = st.sampled_from(["", "db=1&", "db=one&", "tiemout=3&", "ssl=true&", "&", "db=0;", "x&"])


@st.composite
def _with_login(draw: st.DrawFn) -> str:
    """A password before an @, or where its @ was forgotten or encoded too much."""
    user, secret = draw(_users), draw(_secrets)
    colon = draw(st.sampled_from([":", "%3A"] if user else [":"]))
    place = draw(_places)
    # Without an @ what follows the password belongs to it for all that anybody can see.
    at = draw(st.sampled_from(["@", "@", "@", "%40", " @", ""]))
    tail = draw(st.sampled_from(["", "?db=1", "?tiemout=3", "#x", "?"]))
    if at in ("%40", ""):
        return draw(_schemes) + user + ":" + quote(secret, safe="") + at + place + tail
    return draw(_schemes) + user + colon + secret + at + place + tail


@st.composite
def _with_option(draw: st.DrawFn) -> str:
    """A password among the options."""
    sign = draw(st.sampled_from(["=", "=", "=", ":", " = ", "%3D"]))
    mark = draw(st.sampled_from(["?", "?", "#", "??"]))
    after = draw(st.sampled_from(["", "&db=1", "&tiemout=3"]))
    before = draw(_others)
    login = draw(st.sampled_from(["", "", "user:x@"]))
    # An & or ; ends an option: what comes behind one is another.
    secret = draw(_secrets).replace("&", "").replace(";", "").replace("=", "")
    place = draw(_places)
    return draw(_schemes) + login + place + mark + before + draw(_names) + sign + secret + after


def _is_silent(text: str) -> bool:
    return not any(mark in text for mark in (BEGIN, MIDDLE, END))


def _words_about(url: str) -> str:
    """What Python says of a client of the URL, or of the error of who refuses it."""
    try:
        with open_redis(url) as client:
            return repr(client)
    except InvalidInput as error:
        error.__suppress_context__ = False
        return "".join(traceback.format_exception(error))


@settings(deadline=None, max_examples=400)
@given(st.one_of(_with_login(), _with_option()))
def test_no_url_shows_its_password(url: str) -> None:
    """Not where it is shown, nor in the error of who refuses it, with all that Python knows of
    it, nor in what stands for the client where it is taken.
    """
    assert _is_silent(hide_password(url)), hide_password(url)
    assert _is_silent(hide_password(tidy_url(url)))
    assert _is_silent(_words_about(url))


@pytest.mark.parametrize(
    ("given_url", "tidy"),
    [
        (" redis://h:1/0\n", "redis://h:1/0"),
        ("REDIS://H:1", "redis://H:1"),
        ("Redis+Sentinel://A:1/Main", "redis+sentinel://A:1/Main"),
        ("UNIX:///Run/S", "unix:///Run/S"),
        ("localhost:6379", "localhost:6379"),
        ("", ""),
    ],
)
def test_a_url_is_tidied(given_url: str, tidy: str) -> None:
    """Spaces around it go, and its scheme is in lower case; the rest stays as it is."""
    assert tidy_url(given_url) == tidy
    assert tidy_url(tidy) == tidy


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "redis://localhost:6379/0"),
        ({"REDIS_URL": "redis://three"}, "redis://three"),
        ({"REDIS_URL": "redis://three", "RQ_REDIS_URL": "redis://two"}, "redis://two"),
        ({"RQ_REDIS_URL": "redis://two", "DISTFLOW_REDIS_URL": "redis://one"}, "redis://one"),
        ({"REDIS_URL": "redis://three", "DISTFLOW_REDIS_URL": " "}, "redis://three"),
        ({"DISTFLOW_REDIS_URL": " redis://one\n"}, "redis://one"),
    ],
)
def test_the_url_of_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of distflow, then that of RQ, then the one that many use; an empty one is none."""
    for name in ("DISTFLOW_REDIS_URL", "RQ_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_url() == expected
