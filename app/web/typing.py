"""Types that several modules share."""

from collections.abc import Callable
from typing import Any, TypeVar
from wsgiref.types import StartResponse as StartResponse
from wsgiref.types import WSGIApplication as WSGIApplication
from wsgiref.types import WSGIEnvironment as WSGIEnvironment

View = TypeVar("View", bound=Callable[..., Any])
