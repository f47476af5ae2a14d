"""The accounts and items that hostile requests attack, and the checks of every answer."""

import re
import time

from budget import within_budget
from hostile_cases import expand, numbered
from sqlalchemy import func, select

from app.data.base import db
from app.users.models import User
from support.api import API, error, log_in, make_admin, sign_up
from support.things import Thing

REAL_TIME = 4  # seconds; they find a database that was told to sleep, also on a busy machine
INSIDES = re.compile(r"Traceback|File \"|sqlalchemy|sqlite3|psycopg|pymysql|\b(SELECT|INSERT|UPDATE|DELETE) ")
TARGETS = {
    "item": ("POST", "things", "user"),
    "register": ("POST", "auth/register", "nobody"),
    "login": ("POST", "auth/login", "nobody"),
    "user_admin": ("PATCH", "users/${plain}", "admin"),
    "me": ("PATCH", "users/me", "user"),
    "password": ("PUT", "auth/password", "user"),
    "refresh": ("POST", "auth/refresh", "nobody"),
}
ROWS = select(
    select(func.count()).select_from(User).scalar_subquery(),
    select(func.count()).select_from(User).where(User.is_admin).scalar_subquery(),
    select(func.count()).select_from(Thing).scalar_subquery(),
)


class World:
    """An application with two users, an administrator and two items."""

    def __init__(self, app):
        self.app = app
        self._rows = None  # the counts after the last request, if they are still valid
        self.client = app.test_client(use_cookies=False)
        self.user, plain = sign_up(self.client, "grace"), sign_up(self.client, "linus")
        sign_up(self.client, "ada")
        make_admin(app, "ada")
        admin = log_in(self.client, "ada")
        self.headers = {"user": self.user.headers, "admin": admin.headers, "nobody": {}}
        self.lamp, _chair = self.make_item("Lamp"), self.make_item("Chair")
        cursor = self.get("things?limit=1").json["next_cursor"]
        middle = len(cursor) // 2
        self.known = {
            "existing": "grace",
            "EXISTING": "GRACE",
            "username": self.user.username,
            "password": self.user.password,
            "token": self.user.access_token,
            "item": str(self.lamp["id"]),
            "plain": str(plain.id),
            "cursor": cursor,
            "cursor_flipped": cursor[:middle] + ("A" if cursor[middle] != "A" else "B") + cursor[middle + 1 :],
        }

    def get(self, path):
        return self.client.get(f"{API}/{path}", headers=self.headers["user"])

    def make_item(self, name):
        response = self.client.post(f"{API}/things", headers=self.headers["user"], json={"name": name, "price": "1.50"})
        assert response.status_code == 201
        return response.json

    def drop(self, path, headers):
        """Delete what a case has created, so that its name is free again."""
        assert self.client.delete(f"{API}/{path}", headers=headers).status_code == 200
        self._rows = None

    def drop_item(self, item_id):
        self.drop(f"things/{item_id}", self.headers["admin"])

    def send(self, method, path, *, headers=(), caller, **options):
        """Send a hostile request, check its answer and return it.

        The answer is not a 5xx and stays within the CPU budget. An error has the error shape, reveals no
        internals and has changed nothing. The next request succeeds.
        """
        headers = [*self.headers[caller].items(), *headers]
        before = self._rows or self.rows()
        began = time.monotonic()
        response = within_budget(lambda: self.client.open(path, method=method, headers=headers, **options))
        assert time.monotonic() - began < REAL_TIME
        assert response.status_code < 500, response.text[:300]
        self._rows = None
        if response.status_code >= 400:
            assert INSIDES.search(response.text) is None
            if method != "HEAD":
                error(response)
            self._rows = self.rows()
            assert self._rows == before
        assert self.get("things?limit=1").status_code == 200
        return response

    def send_body(self, case, body, known):
        """Send the body to the target of the case, with its content type."""
        method, path, caller = TARGETS[case["target"]]
        return self.send(
            method,
            f"{API}/{expand(path, known)}",
            headers=case.get("headers", {}).items(),
            caller=caller,
            data=body,
            content_type=case["content_type"],
        )

    def rows(self):
        """The numbers of users, administrators and items."""
        with self.app.app_context():
            return tuple(db.session.execute(ROWS).one())

    def numbered(self):
        return numbered(self.known)
