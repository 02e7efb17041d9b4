"""Says odd things into the log, as a process of its own: `python -m tests.factories.log_process`."""

import logging

import structlog

from worker.observability.logs import start_logging

ODD = "x\nFORGED\r\x1b[2J\x1b]0;title\x07\x9b31m\u2028FORGED\u0085FORGED\u202e\x00\x7f"
"""What an event could bring: line ends of every kind, and words that steer a terminal."""

KEY = "a-key-in-a-variable"


def fail(key: str) -> None:
    """Raise an error that repeats what came from outside, with a key at hand."""
    raise ValueError(ODD if key else "")


def main() -> None:
    """Say everything in each of the ways into the log: seven lines, two of them with a traceback."""
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
