"""URLs of Redis: tidied, shown without secrets, and refused with a reason.

Messages show URLs, and people mistype URLs. So a message shows only the parts that cannot be a
password: if the parts cannot be told apart, all of it is hidden. Errors of urllib and redis-py
quote what they did not understand, and are never shown.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from distflow.errors import InvalidInput

#: Ends a message that refuses a URL.
EXAMPLES = "for example redis://localhost:6379/0 or unix:///run/redis.sock"

SENTINEL = "redis+sentinel://"

_HIGHEST_PORT = 65_535

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SCHEMES = ("redis://", "rediss://", "unix://", SENTINEL)

#: A name, an IPv4 address, or an IPv6 address in brackets.
_HOST = r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])"
_PLACE = re.compile(rf"({_HOST})(?::([0-9]{{0,5}}))?")

_USER = re.compile(r"[\w.-]*")

#: Paths that may be shown: of a socket, a service, a database.
_PATH = re.compile(r"(?:/[\w.~+-]*)*")
_DATABASE = re.compile(r"/?[0-9]*/?")

#: Options whose values are shown if they have the expected form.
_SHOWN = {
    **dict.fromkeys(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), re.compile(r"[\w./~+-]*")),
    **dict.fromkeys(
        (
            *("db", "protocol", "max_connections", "health_check_interval", "socket_timeout"),
            *("socket_connect_timeout", "timeout"),
        ),
        re.compile(r"[0-9.]*"),
    ),
    **dict.fromkeys(
        ("ssl", "ssl_check_hostname", "ssl_cert_reqs", "retry_on_timeout", "socket_keepalive"),
        re.compile("true|false|none|optional|required", re.IGNORECASE),
    ),
}
_OPTION = re.compile(r"[A-Za-z_]{1,40}")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_HIDDEN = "***"


def tidy_url(url: str) -> str:
    """The URL without surrounding spaces, and with its scheme in lower case."""
    url = url.strip()
    scheme = _SCHEME.match(url)
    return scheme[0].lower() + url[scheme.end() :] if scheme else url


def hide_password(url: str) -> str:
    """A URL, or what was given as one, in a form that is safe to show."""
    url = url.strip()
    found = _SCHEME.match(url)
    scheme = found[0] if found else ""
    address, asks, query = url[len(scheme) :].partition("?")
    if "@" in query or "#" in url:
        # It follows a password that holds this character, or is in a password among the options.
        return scheme + _HIDDEN
    login, at, place = address.rpartition("@")
    shown = _show_login(login) + at if at else ""
    is_database = scheme.lower() in ("redis://", "rediss://")
    paths = _DATABASE if is_database else _PATH
    place, is_known = _show_place(place, paths, is_bare=not scheme and not at)
    if not is_known:
        return scheme + shown + place
    return scheme + shown + place + asks + "&".join(map(_show_option, query.split("&")))


def check_url(url: str) -> None:
    """Refuse a tidied URL whose parts are in the wrong place: a client would take a piece of the
    password for something else.

    Raises:
        InvalidInput: the message says what is wrong and shows the URL without its password.
    """
    cause = _find_fault(url)
    if cause:
        raise unusable(url, cause)


def unusable(url: str, cause: str) -> InvalidInput:
    """The error for a URL that cannot be used; ``cause`` must not quote a possible password."""
    return InvalidInput(f"Redis URL {hide_password(url)!r} is not usable: {cause}; {EXAMPLES}")


def option_names(url: str) -> list[str]:
    """The names of a URL's options, if they look like names."""
    _, _, query = url.partition("?")
    names = [option.partition("=")[0] for option in query.split("&")]
    return [name for name in names if _OPTION.fullmatch(name)]


def split_places(places: str) -> list[tuple[str, int]] | None:
    """``host:port,host:port`` in pieces; None for any other form."""
    found = []
    for text in places.split(","):
        place = _PLACE.fullmatch(text)
        if not place or not place[2] or int(place[2]) > _HIGHEST_PORT:
            return None
        found.append((place[1].strip("[]"), int(place[2])))
    return found


def _show_login(login: str) -> str:
    user, colon, password = login.partition(":")
    # A single word may be the password.
    return f"{user}:{_HIDDEN}" if colon and password and _USER.fullmatch(user) else _HIDDEN


def _show_place(place: str, paths: re.Pattern[str], *, is_bare: bool) -> tuple[str, bool]:
    """Hosts, ports and path, safe to show, and whether nothing is hidden."""
    hosts, slash, path = place.partition("/")
    shown: list[str] = []
    for host in hosts.split(",") if hosts else []:
        found = _PLACE.fullmatch(host)
        # Without a scheme, a single word may be anything.
        if not found or (is_bare and not found[2]):
            name = re.match(rf"{_HOST}(?=:)", host)
            return ",".join([*shown, f"{name[0]}:{_HIDDEN}" if name else _HIDDEN]), False
        shown.append(host)
    if not paths.fullmatch(slash + path):
        return f"{','.join(shown)}/{_HIDDEN}", False
    return ",".join(shown) + slash + path, True


def _show_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if not option or (name in _SHOWN and _SHOWN[name].fullmatch(value)):
        return option
    return f"{name}={_HIDDEN}" if equals and _OPTION.fullmatch(name) else _HIDDEN


def _find_fault(url: str) -> str:
    """Why the form of a URL is wrong; empty if it is right."""
    scheme = next((scheme for scheme in _SCHEMES if url.startswith(scheme)), None)
    if scheme is None:
        return "it must begin with redis://, rediss://, unix:// or redis+sentinel://"
    address, _, query = url[len(scheme) :].partition("?")
    login, _, place = address.rpartition("@")
    hosts, slash, path = place.partition("/")
    if scheme == "unix://":
        # A path may contain an @; with a colon it may be a login that slipped behind a slash.
        hosts, _, path = address.partition("/")
        login, _, hosts = hosts.rpartition("@")
        if ":" in path or re.search(":.*@", unquote(path)):
            return "percent-encode the : in the path, and special characters in its password"
    if _CONTROL.search(url) or "#" in url or "@" in query or "/" in login:
        return "percent-encode special characters in its password"
    if scheme == "unix://":
        return "" if not hosts and path else "after unix:// comes a path that begins with /"
    if scheme == SENTINEL:
        return _find_sentinel_fault(hosts, path)
    found = _PLACE.fullmatch(hosts) or re.fullmatch("(:([0-9]{1,5}))?", hosts)
    if not found:
        return (
            "host:port must come before the database; percent-encode special characters in a "
            "password"
        )
    if int(found[2] or 0) > _HIGHEST_PORT:
        return f"its port is out of range: 0 to {_HIGHEST_PORT}"
    if not _DATABASE.fullmatch(slash + path):
        return "the last / must be followed by the number of the database"
    return ""


def _find_sentinel_fault(hosts: str, path: str) -> str:
    if split_places(hosts) is None:
        return "each Sentinel must be host:port, separated by commas"
    service, _, database = path.strip("/").partition("/")
    if not service or (database and not (database.isascii() and database.isdecimal())):
        return "the Sentinels must be followed by /service or /service/db"
    return ""
