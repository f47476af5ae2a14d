"""The secrets among the settings: in files, their check, and that of development."""

import math
import os
import re
import secrets
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from environs import Env

MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: at least the length of the hash; also in app/tokens/key_set.py
MIN_SECRET_BITS = 128  # NIST SP 800-131A revision 2 asks for 112

# Secrets that manuals and token debuggers print.
KNOWN_SECRETS = {
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's manual
    "a-string-secret-at-least-256-bits-long",  # jwt.io
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",  # jwt.io
}


# The estimate of a secret.  Somebody who guesses knows words, rows and repetitions.
MEASURED = 512  # characters; the beginning of a longer text is enough
REPEATED, REPEATED_BITS = 8, 8.0  # so many characters of a row or a repetition, and what they count together
_ROWS = "0123456789abcdefghijklmnopqrstuvwxyz 0123456789abcdef 1234567890 qwertyuiop asdfghjkl"
ROWS = " ".join((_ROWS, _ROWS[::-1], _ROWS.upper(), _ROWS[::-1].upper()))
# A short word counts only between separators, or chance would make many of them.
WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}|(?<![A-Za-z0-9])([A-Z]?[a-z]{2}|[A-Z]{3})(?![A-Za-z0-9])")
WORD_BITS, LETTER_BITS = 3.0, 1.3  # the first letter of a word, and each other one (Shannon 1951)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
UUID_BITS = 122.0  # RFC 9562 section 5.4
CHOSEN_BITS = 2.5  # a character that a person chose
LEET = str.maketrans("013457@$", "oleastas")
# By letter: the letters that follow it in nine tenths of English text and of common passwords.
FOLLOWERS = dict(
    re.findall(
        r"(\w)(\w+)",
        "abcdgiklmnprstuy baeilo cacehklortu dadeiors eacdeflmnpqrstvwxy failoru gaeiors haeio iacdeglmnorstv jaeou "
        "kei ladefilostuy maeiops nacdeginosty ocdgklmnoprstuvw paeiloprt qu radefgiknorstuvy sacehikopstuw "
        "tacehiorstuwy ueilmnprst vaei waehios xt ys",
    )
)
LONG_WORD = 9  # letters


def read_secrets(env: Env, names: Iterable[str], root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The settings in files (`JWT_SECRET_KEY_FILE`), and the problems, by setting.

    Args:
        env: the environment.
        names: the settings that a file may have.
        root: the folder that a relative path is in.
    """
    found: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name in names:
        path = env.str(f"{name}_FILE", "")
        if not path:
            continue
        if env.str(name, ""):
            problems[name] = f"is set beside {name}_FILE; unset one of them"
        try:
            found[name] = (root / path).read_text("utf-8").rstrip("\r\n")  # editors and `echo` add a line end
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            problems[f"{name}_FILE"] = f"names a file that cannot be read ({reason}); make it readable for the service"
    return found, problems


def secret_problem(secret: str) -> str:
    """Why the secret is unsafe, and the fix; empty if safe."""
    if not secret:
        problem = "is not set"
    elif secret in KNOWN_SECRETS:
        problem = "is a published example"
    elif len(secret.encode()) < MIN_SECRET_BYTES:
        problem = f"is shorter than {MIN_SECRET_BYTES} bytes"
    elif estimated_bits(secret) < MIN_SECRET_BITS:
        problem = "is not random"
    else:
        return ""
    return f"{problem}; make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"


def estimated_bits(secret: str) -> float:
    """A low estimate of the choices behind a text, in bits.

    A random character counts fully.  Words, repetitions, and rows of the alphabet or of a keyboard
    count little, and so does the rest of a text that consists mostly of them.  Random hexadecimal
    digits contain no words, so they count four bits each.
    """
    text = secret[:MEASURED]
    if UUID.fullmatch(text):
        return UUID_BITS
    is_hexadecimal = re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text) is not None
    spelled = text.translate(LEET)
    bits, others, at = 0.0, 0, 0
    while at < len(text):
        if length := _repeated(text, at):
            bits, at = bits + REPEATED_BITS, at + length
        elif is_hexadecimal or not (run := WORD.match(spelled, at)):
            others, at = others + 1, at + 1
        else:
            letters, at = run[0], run.end()
            if _is_word(letters):
                bits += WORD_BITS + LETTER_BITS * (len(letters) - 1)
            else:
                others += len(letters)
    full = math.log2(_alphabet(text))
    return bits + others * (full if others > 0.45 * len(text) else min(full, CHOSEN_BITS))


def _alphabet(text: str) -> int:
    """How many characters the author chose from, at least."""
    kinds = {"0123456789": 10, "abcdef": 6, "ghijklmnopqrstuvwxyz": 20, "ABCDEF": 6, "GHIJKLMNOPQRSTUVWXYZ": 20}
    others = set(text).difference(*kinds)
    return max(2, sum(size for kind, size in kinds.items() if set(kind) & set(text)) + len(others))


def _repeated(text: str, at: int) -> int:
    """The number of characters from here that came before or are in a row; 0 if few."""
    length = 0
    for end in range(at + REPEATED, len(text) + 1):
        piece = text[at:end]
        if piece not in ROWS and piece not in text[: end - 1]:
            break
        length = end - at
    return length


def _is_word(letters: str) -> bool:
    """Whether all pairs of the letters are common in words, or most of many."""
    lower = letters.lower()
    rare = sum(second not in FOLLOWERS.get(first, "") for first, second in pairwise(lower))
    return rare <= (len(lower) - 1) // (4 if len(lower) < LONG_WORD else 3)


def stored_secret(path: Path) -> str:
    """The secret in the file.

    The first call makes it, also when several processes start at once.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the development database is there too
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # atomic; fails if another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
