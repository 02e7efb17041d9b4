"""Process that logs text with control characters: `python -m tests.factories.log_process`."""

import logging

import structlog

from worker.observability.logs import start_logging

ODD = "x\nFORGED\r\x1b[2J\x1b]0;title\x07\x9b31m\u2028FORGED\u0085FORGED\u202e\x00\x7f"
"""Text that an event could contain: line ends of every kind, and terminal control sequences."""

KEY = "a-key-in-a-variable"


def fail(key: str) -> None:
    """Raise an error with external text, with a key in a local variable."""
    raise ValueError(ODD if key else "")


def main() -> None:
    """Log the text in every way: seven lines, two of them with a traceback."""
    start_logging()
    log, elsewhere = structlog.get_logger("talker"), logging.getLogger("elsewhere")
    log.warning("order_rejected", error=ODD, reason=ODD)
    log.warning("nested", facts={"odd": [ODD, {ODD: ODD}]}, raw=ODD.encode())
    log.warning(ODD)
    elsewhere.warning("message %s", ODD)
    logging.getLogger(ODD).warning("named")
    try:
        fail(KEY)
    except ValueError:
        log.exception("broken")
        elsewhere.exception("broken %s", ODD)


if __name__ == "__main__":
    main()
