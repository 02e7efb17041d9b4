"""The members of the sorted set `rejected`."""


def parse_member(member: str) -> tuple[str, str, str]:
    """Reason, merchant and entry of the orders stream. The merchant is the event's own text and may hold colons."""
    reason, _, rest = member.partition(":")
    merchant, _, stream_id = rest.rpartition(":")
    return reason, merchant, stream_id
