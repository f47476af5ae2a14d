"""What gunicorn itself writes down, of requests that the application never sees."""

import logging
import re
from typing import Any

import gunicorn.glogging

TOKEN = re.compile(r"eyJ[\w.-]+|(?<=jwt=)[^&\s'\"]+")


class Logger(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's own, which quotes request lines: without a token in them, or a trace for what a client does."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(self._mask)
        self.access_log.addFilter(self._mask)

    @staticmethod
    def _mask(record: logging.LogRecord) -> bool:
        record.msg, record.args = TOKEN.sub("…", record.getMessage()), ()
        if record.exc_info and isinstance(record.exc_info[1], TimeoutError | BlockingIOError):
            record.exc_info = None  # SEND_TIMEOUT, RECEIVE_TIMEOUT: a client that stops is no fault of ours
        return True
