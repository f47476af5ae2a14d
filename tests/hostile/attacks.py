"""Make hostile tokens from the recipes in jwt_attacks.json.

The `format` and `send` members of that file explain the language of the recipes.
"""

import base64
import hmac
import json
import re
import secrets
import sys
import time
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

CATALOGUE = Path(__file__).parent / "jwt_attacks.json"
HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
SIGNERS = get_default_algorithms()
RAW = "@raw@"
MAKERS = {
    "HS256": lambda: secrets.token_bytes(32),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def recipes():
    return json.loads(CATALOGUE.read_text(encoding="utf-8"))["recipes"]


def b64(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read(token):
    """The header and the claims of a token."""
    head, body, _signature = token.split(".")
    return json.loads(unb64(head)), json.loads(unb64(body))


def sign(content, algorithm, key):
    if algorithm in HASHES:
        return hmac.digest(key, content, HASHES[algorithm])
    return SIGNERS[algorithm].sign(content, key)


REACHING = {"open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"}
_reached = None  # or a list of the files, hosts and programs that this process uses


def _note(event, args):
    if _reached is not None and event in REACHING:
        _reached.append((event, args[1] if event == "socket.connect" else args[0]))


sys.addaudithook(_note)


@contextmanager
def watching_what_is_reached():
    """Record the files, hosts and programs that this process uses within the block."""
    global _reached  # noqa: PLW0603 -- an audit hook cannot be removed
    _reached = reached = []
    try:
        yield reached
    finally:
        _reached = None


def make_key_set(path, algorithm, kid):
    """Write a key set file with one signing key.  Returns the key."""
    key = MAKERS[algorithm]()
    jwk = SIGNERS[algorithm].to_jwk(key, as_dict=True) | {"kid": kid, "alg": algorithm, "use": "sig"}
    path.touch(mode=0o600)
    path.write_text(json.dumps({"signing_kid": kid, "keys": [jwk]}), encoding="utf-8")
    return key


class Keys:
    """The keys of the server and of an attacker.

    Args:
        algorithm: the server's signing algorithm.
        kid: the kid of the signing key.
        server: the signing key; None if it is the secret.
        secret: JWT_SECRET_KEY.
        shown: the JWK that the server publishes, or None.
    """

    def __init__(self, algorithm, kid, server, secret, shown):
        self.algorithm, self.kid, self.shown = algorithm, kid, shown
        self.secret = secret.encode()
        self.server = server or self.secret

    @cached_property
    def attacker(self):
        return MAKERS[self.algorithm]()

    @cached_property
    def attacker_hs(self):
        return secrets.token_bytes(32)

    @cached_property
    def attacker_ec384(self):
        return ec.generate_private_key(ec.SECP384R1())

    @property
    def server_or_attacker_hs(self):
        return self.secret if self.algorithm in HASHES else self.attacker_hs

    @property
    def env_secret(self):
        return self.secret

    @property
    def env_example(self):
        return b"a-string-secret-at-least-256-bits-long"

    def _public(self, encoding, form):
        return self.server.public_key().public_bytes(encoding, form)

    @property
    def public_pem(self):
        return self._public(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def public_pem_stripped(self):
        return self.public_pem.strip()

    @property
    def public_pem_crlf(self):
        return self.public_pem.replace(b"\n", b"\r\n")

    @property
    def public_pkcs1_pem(self):
        return self._public(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)

    @property
    def public_der(self):
        return self._public(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def public_jwk_json(self):
        return json.dumps(self.shown).encode()

    @property
    def public_modulus(self):
        return unb64(self.shown["n"])

    def named(self, name):
        if name.startswith("literal:"):
            return name.removeprefix("literal:").encode()
        return getattr(self, name)


class Forge:
    """Makes one hostile token from a valid one, step by step."""

    def __init__(self, keys, base, others):
        self.keys, self.others = keys, others
        self.text = base
        self.header, self.claims = read(base) if base else ({}, {})
        self.header_text = self.claims_text = None  # bytes instead of the JSON of the dictionaries
        self.signature = base.rpartition(".")[2] if base else ""
        self.victim = read(others["other"])[1]
        self._edited = False

    def run(self, steps):
        """The finished token: a text, or another value if the recipe says so."""
        for step in steps:
            part, _, what = step["op"].partition(".")
            if part in ("header", "claims"):
                self._edit(part, what, step)
            elif part == "token":
                self._assemble()
                getattr(self, f"_token_{what}")(step)
            else:
                getattr(self, f"_{part}")(step)
        self._assemble()
        return self.text

    def value(self, value):
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
            [(name, argument)] = value.items()
            return getattr(self, f"_value_{name[1:]}")(argument)
        return value

    def _value_now(self, seconds):
        return int(time.time()) + seconds

    def _value_now_ms(self, seconds):
        return (int(time.time()) + seconds) * 1000

    def _value_now_float(self, seconds):
        return time.time() + seconds

    def _value_repeat(self, argument):
        text, times = argument
        return text * times

    def _value_raw(self, text):
        return f"{RAW}{text}{RAW}"

    def _value_codepoints(self, points):
        return "".join(map(chr, points))

    def _value_text(self, text):
        return self._expand(text)

    def _value_sub_number(self, _argument):
        return int(self.claims["sub"])

    def _value_sub_list(self, _argument):
        return [self.claims["sub"]]

    def _value_kid(self, _argument):
        return self.keys.kid

    def _value_victim_sub(self, _argument):
        return self.victim["sub"]

    def _value_zero_sig(self, _argument):
        return b64(bytes(len(unb64(self.signature))))

    def _value_iss_list(self, _argument):
        return [self.claims["iss"]]

    def _value_aud_list(self, _argument):
        return [self.claims["aud"], "another"]

    def _value_aud_mixed(self, _argument):
        return [self.claims["aud"], None]

    def _value_aud_object(self, _argument):
        return {self.claims["aud"]: True}

    def _expand(self, text):
        known = {
            "alg": self.keys.algorithm,
            "kid": self.keys.kid,
            "sub": self.claims.get("sub"),
            "sid": self.claims.get("sid"),
            "other_sid": self.victim["sid"],
            "victim_sub": self.victim["sub"],
            "claims_open": json.dumps(self.claims)[:-1],
        }
        text = re.sub(r"\$\{nest:(.):(\d+)\}", lambda match: match[1] * int(match[2]), text)
        text = re.sub(r"\$\{(\w+)\}", lambda match: str(known[match[1]]), text)
        assert "${" not in text, "an unknown placeholder in the catalogue"
        return text

    def _edit(self, part, what, step):
        self._edited = True
        members = getattr(self, part)
        if what == "set":
            members[step["name"]] = self.value(step["value"])
        elif what == "del":
            del members[step["name"]]
        elif what == "raw":
            setattr(self, f"{part}_text", self._expand(step["text"]).encode())
        else:
            setattr(self, f"{part}_text", json.dumps(members).encode(step["encoding"]))

    def _content(self):
        texts = []
        for part in ("header", "claims"):
            text = getattr(self, f"{part}_text")
            if text is None:
                written = json.dumps(getattr(self, part))
                text = re.sub(f'"{RAW}(.*?){RAW}"', r"\1", written).encode()
            texts.append(b64(text))
        return ".".join(texts)

    def _assemble(self):
        if self._edited:
            self.text = f"{self._content()}.{self.signature}"
            self._edited = False

    def _sign(self, step):
        algorithm = step.get("alg", self.keys.algorithm)
        self._edited = True
        self.signature = b64(sign(self._content().encode(), algorithm, self.keys.named(step["key"])))

    def _empty_signature(self, _step):
        self._edited, self.signature = True, ""

    def _keep_signature(self, _step):
        self._edited = True

    def _segments(self, change, step):
        segments = self.text.split(".")
        segments[step["segment"]] = change(segments[step["segment"]])
        self.text = ".".join(segments)

    def _token_text(self, step):
        self.text = self.value(step["text"])

    def _token_value(self, step):
        self.text = step["value"]

    def _token_replace(self, step):
        old = step["old"] if step.get("regex") else re.escape(step["old"])
        self.text = re.sub(old, step["new"], self.text)

    def _token_append(self, step):
        self._segments(lambda segment: segment + step["text"], step)

    def _token_append_segment(self, step):
        self.text += "." + step["text"]

    def _token_set(self, step):
        self._segments(lambda _segment: self.value(step["text"]), step)

    def _token_insert(self, step):
        at = step["at"]
        self._segments(lambda segment: segment[:at] + step["text"] + segment[at:], step)

    def _token_truncate(self, step):
        self._segments(lambda segment: segment[: step["keep"]], step)

    def _token_flip(self, step):
        def flip(segment):
            content = bytearray(unb64(segment))
            content[step["index"]] ^= 1
            return b64(bytes(content))

        self._segments(flip, step)

    def _token_splice(self, step):
        other = self.others[step["source"]].split(".")[step["segment"]]
        self._segments(lambda _segment: other, step)

    def _token_malleate(self, step):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

        def malleate(segment):
            if len(segment) % 4 == 0:
                return segment + "="
            return segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]

        self._segments(malleate, step)

    def _token_pad(self, _step):
        self.text = ".".join(segment + "=" * (-len(segment) % 4 or 4) for segment in self.text.split("."))

    def _token_json_serialization(self, _step):
        header, claims, signature = self.text.split(".")
        self.text = json.dumps({"protected": header, "payload": claims, "signature": signature})
