"""The SQL statements that a block of code sends."""

from contextlib import contextmanager

from sqlalchemy import event

from app.data.base import db


@contextmanager
def statements(app):
    """The SQL that the block sends."""
    sent = []

    def record(_connection, _cursor, statement, *_rest):
        sent.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", record)
