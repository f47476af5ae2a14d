"""The rules of the settings in `config.py`."""

import ipaddress
import re
from pathlib import Path

from marshmallow import ValidationError
from marshmallow.validate import Regexp, Validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError


class DatabaseUrl(Validator):
    """A URL of a supported database."""

    BACKENDS = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")

    def __call__(self, value: str) -> str:
        try:
            url = make_url(value)
            if "+" in url.drivername:
                url.get_dialect().import_dbapi()
        except (NoSuchModuleError, ImportError):
            raise ValidationError("Names a driver that is not installed; remove the driver from the URL.") from None
        except (ArgumentError, ValueError):  # bad form, bad port
            url = None
        if url is None or url.drivername.partition("+")[0] not in self.BACKENDS:
            raise ValidationError(f"Must be a URL that begins with one of {', '.join(self.BACKENDS)}.")
        return value


class Printable(Validator):
    """Text without control characters or non-UTF-8 bytes (PEP 383)."""

    def __call__(self, value: str) -> str:
        if not value.isprintable():
            raise ValidationError("Must be printable text in UTF-8.")
        return value


class IpAddress(Validator):
    """An IP address, not a host name."""

    def __call__(self, value: str) -> str:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise ValidationError("Must be an IP address such as 127.0.0.1.") from None


class Each(Validator):
    """A list whose words all match the pattern."""

    def __init__(self, pattern: str, message: str) -> None:
        self.pattern, self.message = re.compile(pattern), message

    def __call__(self, value: list[str]) -> list[str]:
        if not all(self.pattern.fullmatch(word) for word in value):
            raise ValidationError(self.message)
        return value


class SomeOf(Validator):
    """One or more of these words, each at most once."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, value: list[str]) -> list[str]:
        if not value or len(set(value)) < len(value) or set(value) - set(self.words):
            raise ValidationError(f"Must be one or more of {', '.join(self.words)}, separated by commas.")
        return value


# Exact origins as browsers send them (RFC 6454 section 6.1): no pattern, no path, no `null`, no `*`.
ORIGINS = Each(
    r"https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?",
    "Must be exact origins such as https://app.example.com, separated by commas.",
)
# Pages of this machine alone.  Nobody else can change them on the way, so they need no TLS.
LOOPBACK = re.compile(r"http://(localhost|([a-z0-9-]+\.)+localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?")
# A name that begins with a dot includes its subdomains.
HOSTS = Each(
    r"\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]",
    "Must be host names such as api.example.com, without scheme and port, separated by commas.",
)
LOCATIONS = SomeOf("headers", "cookies", "json", "query_string")
# Browsers give a meaning to names that begin with `__Host-` or `__Secure-`.
COOKIE_NAME = Regexp(
    r"(?!__)[A-Za-z0-9_-]{0,32}\Z", error="Must be at most 32 letters, digits, - and _, and not begin with __."
)
NAME = Regexp(r"[ -~]+\Z", error="Must be printable ASCII.")


def unreadable(path: str) -> str:
    """Why the file cannot be read, and the fix; empty if it can, or if there is none."""
    try:
        if path:
            Path(path).open("rb").close()
    except OSError as error:
        return f"cannot be read ({error.strerror}); correct the path or the rights, or leave it unset"
    return ""
