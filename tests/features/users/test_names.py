"""The rules of user names: PRECIS, one script, nothing invisible, no reserved name."""

import sys
import time
from unicodedata import normalize

import pytest
from precis_i18n import get_profile

from app.data.base import db
from app.users.disguise import look
from app.users.models import User, username_key
from app.users.name_rules import RESERVED_NAMES, is_reserved, name_problem
from support.api import API, PASSWORD, error, log_in, sign_up

CHARACTERS = "Use letters, digits and . _ - only. Start with a letter or a digit."
INVISIBLE = "Invisible characters are not allowed."
MARKS = "There are too many marks on one letter."
ONE_SCRIPT = "Use letters and digits of one script only."
ONE_KIND_OF_DIGITS = "Use digits of one script only."
RIGHT_TO_LEFT = "A name that is written from right to left must start with a letter and end with a letter or a digit."
RESERVED = "This name is reserved."


def problem(name):
    return name_problem(normalize("NFKC", name))


class TestNameProblem:
    @pytest.mark.parametrize(
        "name",
        [
            "ada", "9lives", "a.b_c-d", "12345", "Łukasz", "Þór", "straße", "İstanbul", "ʻokina", "oʼneil", "Nguyễn",
            "Nguye\u0302\u0303n", "Ọlọ́run", "Αλέξανδρος", "Иван", "Գևորգ", "გიორგი", "የሱፍ", "משה", "أحمد", "ފަތިމަތު",
            "रामकुमार", "শ্রীকৃষ্ণ", "சிவா", "മോഹൻ", "สุนีย์", "น้ำฝน", "ស្រីមុំ", "ᏣᎳᎩ", "ߒߞߏ", "ⵉⴷⵉⵔ", "𞤀𞤣𞤥",
            "用户名", "山田タロウ", "やまだ", "김철수",
        ],
    )  # fmt: skip
    def test_accepts_names_of_living_languages(self, name):
        """Names of living languages are accepted."""
        assert problem(name) is None

    @pytest.mark.parametrize(
        "name",
        ["\u05e9\u05c1\u05b8\u05bc\u05dc\u05d5\u05b9\u05dd", "مُحَمَّد", "မှုံရွှေရည်", "မှုံ့က", "སྒྲོལམ", "ਸ਼ੁੱਧ", "ຫຼຸ່ງ"],
        ids=["Hebrew", "Arabic", "Burmese", "Burmese with four", "Tibetan", "Gurmukhi", "Lao"],
    )
    def test_accepts_the_marks_of_a_script(self, name):
        """Up to four marks of its own script may stand on a letter."""
        assert problem(name) is None

    @pytest.mark.parametrize("name", ["aya山田", "aやマ山", "kim김金", "lin陳ㄅㄆ"])
    def test_latin_mixes_with_east_asian_scripts(self, name):
        """Latin may mix with Han and kana, Han and Bopomofo, and Han and Hangul."""
        assert problem(name) is None

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("grace\u034f", INVISIBLE),
            ("grace\ufe0f", INVISIBLE),
            ("grace\U000e0100", INVISIBLE),
            ("grace\u17b4", INVISIBLE),
            ("ad\u200bmin", INVISIBLE),
            ("\u3164\u3164\u3164", INVISIBLE),
            ("gr\u0430ce", ONE_SCRIPT),
            ("\u03a9mega", ONE_SCRIPT),
            ("abc\u05d0", ONE_SCRIPT),
            ("やま김", ONE_SCRIPT),
            ("山а", ONE_SCRIPT),
            ("user١٢٣", ONE_SCRIPT),
            ("𐌰𐌱𐌲", ONE_SCRIPT),
            ("a" + "\u0301" * 60, MARKS),
            ("x\u0316\u0301\u0302", MARKS),
            ("x\u0301\u0301y", MARKS),
            ("\u05d0\u05b0\u05b1\u05b2\u05b3\u05b4\u05d1", MARKS),
            ("ا5٥ب", ONE_KIND_OF_DIGITS),
            ("1אבג", RIGHT_TO_LEFT),
            ("אבג.", RIGHT_TO_LEFT),
            ("\u0627\u0628\u0640\u062c", "The character U+0640 is not allowed in a name."),
            ("a\u20ddbc", "The character U+20DD is not allowed in a name."),
            (" ada", CHARACTERS),
            ("-ada", CHARACTERS),
            ("\u0301ada", CHARACTERS),
            ("a b c", CHARACTERS),
            ("a@b.c", CHARACTERS),
            ("ada☃", CHARACTERS),
        ],
    )
    def test_refuses_with_a_reason(self, name, reason):
        """Each bad name is refused with the reason."""
        assert problem(name) == reason

    def test_names_that_precis_calls_equal_have_one_key(self):
        """Two characters with the same form in UsernameCaseMapped have the same key."""
        profile, keys = get_profile("UsernameCaseMapped"), {}
        for character in map(chr, range(sys.maxunicode + 1)):
            try:
                form = profile.enforce(character)
            except UnicodeError:
                continue
            keys.setdefault(form, set()).add(username_key(character))

        assert len(keys) > 100_000
        assert [form for form, found in keys.items() if len(found) > 1] == []

    @pytest.mark.parametrize("name", ["x" * 64, "あ" * 64, "\u05d0" * 64, "\u0e01\u0e35\u0e48" * 21])
    def test_costs_little(self, name):
        """The rules take at most 5 ms of CPU time for the longest names."""
        began = time.process_time()
        problem(name)
        is_reserved(name, ["Latchkey"])

        assert time.process_time() - began < 0.005


class TestIsReserved:
    def test_the_names_are_different_to_the_eye(self):
        """No reserved name looks like another one, so that the list stays short."""
        assert len({look(name) for name in RESERVED_NAMES}) == len(RESERVED_NAMES)

    @pytest.mark.parametrize(
        "name",
        [
            "admin",
            "Root",
            "postmaster",
            "ad-min",
            "adm1n",
            "admın",
            "ádmin",
            "ᴀᴅᴍɪɴ",
            "ɑdmin",
            "adrnin",
            "s.u.p.p.o.r.t",
        ],
    )
    def test_finds_look_alikes(self, name):
        """A reserved name is found in any case, with accents, signs and look-alike letters."""
        assert is_reserved(name, [])

    @pytest.mark.parametrize("name", ["grace", "admins", "badmin", "rootsy", "newsome", "ada"])
    def test_leaves_other_names(self, name):
        """A name that only contains a reserved one is free."""
        assert not is_reserved(name, ["Latchkey", "---"])

    @pytest.mark.parametrize("name", ["latchkey", "L4tchk3y", "latch_key"])
    def test_the_name_of_the_service(self, name):
        """The name of the service is reserved."""
        assert is_reserved(name, ["Latchkey"])
        assert not is_reserved(name, ["Padlock"])


class TestRoutes:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("gr\u0430ce", ONE_SCRIPT),
            ("Adm1n", RESERVED),
            ("latchkey", RESERVED),
        ],
    )
    def test_registration_and_rename(self, client, user, name, reason):
        """A registration and a rename refuse a bad or reserved name with 422 and the reason."""
        registration = client.post(f"{API}/auth/register", json={"username": name, "password": PASSWORD})
        rename = client.patch(f"{API}/users/me", json={"username": name}, headers=user.headers)

        for response in (registration, rename):
            assert error(response) == (422, "validation_failed")
            assert response.json["errors"] == {"json": {"username": [reason]}}

    def test_the_issuer_is_reserved(self, another):
        """JWT_ISSUER is a name of the service."""
        client = another(JWT_ISSUER="padlock").test_client()

        response = client.post(f"{API}/auth/register", json={"username": "Padl0ck", "password": PASSWORD})

        assert response.json["errors"] == {"json": {"username": [RESERVED]}}

    def test_the_command_line_may_use_reserved_names(self, client, runner):
        """`flask users create` makes users with reserved names, but not with bad ones."""
        made = runner.invoke(args=["users", "create", "admin", "--admin"], input=PASSWORD + "\n")
        refused = runner.invoke(args=["users", "create", "gr\u0430ce"], input=PASSWORD + "\n")

        assert made.exit_code == 0, made.output
        assert log_in(client, "admin").username == "admin"
        assert (refused.exit_code, ONE_SCRIPT in refused.stderr) == (1, True)

    @pytest.mark.parametrize("name", ["gr\u0430ce", "user١٢٣", "grace\ufe0f", "admin"])
    def test_a_name_of_before_logs_in(self, app, client, name):
        """A user whose name the rules refuse today logs in, and may change the name."""
        account = sign_up(client, "before")
        with app.app_context():
            rename_in_the_database(account.id, name)

        assert log_in(client, name).username == name
        response = client.patch(f"{API}/users/me", json={"username": "after"}, headers=account.headers)
        assert response.json["username"] == "after"

    def test_a_long_name_is_measured_first(self, client):
        """A name that is too long after NFKC is refused for its length."""
        body = {"username": "\ufdfa" * 64, "password": PASSWORD}

        response = client.post(f"{API}/auth/register", json=body)

        assert response.json["errors"] == {"json": {"username": ["Length must be between 3 and 64."]}}


def rename_in_the_database(user_id, name):
    db.session.get(User, user_id).username = name
    db.session.commit()
