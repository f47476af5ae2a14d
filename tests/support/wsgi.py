"""The application of `wsgi.py` with the tests' own resource, for tests of a running server."""

from support import things
from wsgi import app as app

things.add_routes()
