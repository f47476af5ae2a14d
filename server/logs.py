"""The log of gunicorn itself: requests that the application never sees."""

import logging
import re
from typing import Any

import gunicorn.glogging

TOKEN = re.compile(r"eyJ[\w.-]+|(?<=jwt=)[^&\s'\"]+")


class Logger(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Mask tokens in gunicorn's log, and omit traces of client timeouts.

    The log quotes request lines, which may contain tokens and control characters.
    """

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(self._mask)
        self.access_log.addFilter(self._mask)

    @staticmethod
    def _mask(record: logging.LogRecord) -> bool:
        message = TOKEN.sub("…", record.getMessage())
        record.msg, record.args = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in message), ()
        if record.exc_info and isinstance(record.exc_info[1], TimeoutError | BlockingIOError):
            record.exc_info = None  # SEND_TIMEOUT, RECEIVE_TIMEOUT: the client has stopped; not our error
        return True
