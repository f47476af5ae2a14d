"""The rules of new user names.

They are PRECIS UsernameCaseMapped (RFC 8265), further restricted.  A name that looks like another one
or cannot be seen is refused.
"""

import unicodedata
from collections.abc import Iterable

import regex
from precis_i18n import get_profile

from app.data.text import folded
from app.users.disguise import look
from app.users.models import USERNAME_LENGTH

# Names that speak for the operator: roles of RFC 2142, words for administrators, and words for nobody.
# Only `flask users create` makes users with them.  The name of the service is reserved too.
RESERVED_NAMES = {
    "abuse", "hostmaster", "info", "marketing", "news", "noc", "postmaster", "sales", "security", "support",
    "webmaster", "admin", "administrator", "api", "help", "helpdesk", "me", "moderator", "official", "operator",
    "owner", "root", "staff", "superuser", "sysadmin", "system",
    "anonymous", "everyone", "nobody", "null", "undefined",
}  # fmt: skip
# The scripts in modern use (Unicode Standard Annex 31, tables 5 and 7).  The others are historic.
_SCRIPTS = (
    "Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew "
    "Hiragana Kannada Katakana Khmer Lao Latin Malayalam Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan "
    "Adlam Balinese Bamum Batak Canadian_Aboriginal Chakma Cham Cherokee Hanifi_Rohingya Javanese Kayah_Li Lepcha "
    "Limbu Lisu Mandaic Meetei_Mayek Miao New_Tai_Lue Newa Nko Nyiakeng_Puachue_Hmong Ol_Chiki Osage Saurashtra "
    "Sundanese Syloti_Nagri Syriac Tai_Le Tai_Tham Tai_Viet Tifinagh Vai Wancho Yi"
)
# The scripts that may mix (Unicode Technical Standard 39, section 5.2, "highly restrictive").
_MIXTURES = ("Latin Han Hiragana Katakana", "Latin Han Bopomofo", "Latin Han Hangul")


def _text_in(scripts: str) -> str:
    """A pattern of the characters of these scripts and of shared ones."""
    sets = [rf"\p{{scx={script}}}" for script in ("Common", "Inherited", *scripts.split())]
    return f"[{''.join(sets)}]*"


_CHARACTERS = regex.compile(r"[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd}._-]*")
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
# Two of the general marks, which fit every letter.  Four of a script's own (Unicode Technical Standard 39, section
# 5.4): Burmese, Tibetan, Gurmukhi and pointed Hebrew write three in real names, and four in rare words.
_TOO_MANY_MARKS = regex.compile(r"\p{Script=Inherited}{3}|\p{Mn}{5}")
_REPEATED_MARK = regex.compile(r"(\p{Mn})\1")
_ONE_SCRIPT = regex.compile("|".join(map(_text_in, [*_MIXTURES, *_SCRIPTS.split()])))
_precis = get_profile("UsernameCaseMapped")


def name_problem(name: str) -> str | None:
    """Why this is no user name, in one sentence.

    None for a good name.

    Args:
        name: in NFKC, of at most 64 characters.
    """
    if _INVISIBLE.search(name):
        return "Invisible characters are not allowed."
    if not _CHARACTERS.fullmatch(name):
        return "Use letters, digits and . _ - only. Start with a letter or a digit."
    if _TOO_MANY_MARKS.search(name) or _REPEATED_MARK.search(name):
        return "There are too many marks on one letter."
    if not _ONE_SCRIPT.fullmatch(name):
        return "Use letters and digits of one script only."
    if len({ord(digit) - unicodedata.digit(digit) for digit in name if digit.isdecimal()}) > 1:
        return "Use digits of one script only."
    return _precis_problem(name)


def _precis_problem(name: str) -> str | None:
    try:
        _precis.enforce(name)
    except UnicodeEncodeError as error:
        if error.reason.endswith("/bidi_rule"):
            return (
                "A name that is written from right to left must start with a letter and end with a letter or a digit."
            )
        return f"The character U+{ord(error.object[error.start]):04X} is not allowed in a name."
    return None


def is_reserved(name: str, services: Iterable[str]) -> bool:
    """Whether the name is reserved, or looks like one that is.

    Args:
        name: of at most 64 characters.
        services: the names of the service.
    """
    shape = look(folded(name, "NFKC", USERNAME_LENGTH))
    return shape in _RESERVED_SHAPES or shape in {look(service.casefold()) for service in services} - {""}


_RESERVED_SHAPES = frozenset(map(look, RESERVED_NAMES))
