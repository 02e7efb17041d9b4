"""Rejected events to deal with: by reason, and one of them."""

import json
from collections import defaultdict

import tornado.web

from worker.processes.flower.page import Page
from worker.streams.rejected import OpenRejection, open_rejections

_LISTED = 200
_SHOWN_BYTES = 20_000


class RejectedPage(Page):
    """A row per reason, and the newest events."""

    async def get(self) -> None:
        """Argument: `reason`: only those of this reason."""
        reason = self.query("reason")
        found = await open_rejections(self.sources.store, self.sources.settings, reason)
        groups: dict[tuple[str, str], list[OpenRejection]] = defaultdict(list)
        for each in found:
            groups[each.rejected.reason, each.merchant].append(each)
        self.show(
            "rejected.html",
            groups=sorted(groups.items(), key=lambda group: -len(group[1])),
            newest=found[: -_LISTED - 1 : -1],
            total=len(found),
            reason=reason,
            now=await self.server_time(),
        )


class RejectionPage(Page):
    """One rejected event, whole."""

    async def get(self, stream_id: str) -> None:
        """`stream_id`: its entry in the orders stream."""
        found = [
            each
            for each in await open_rejections(self.sources.store, self.sources.settings)
            if each.rejected.stream_id == stream_id
        ]
        if not found:
            raise tornado.web.HTTPError(404, "No such rejected event is to be dealt with.")
        self.show("rejection.html", rejection=found[0], event=_readable(found[0].rejected.event))


def _readable(event: bytes) -> str:
    """The event indented if it is JSON, else as it is."""
    try:
        text = json.dumps(json.loads(event), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return event[:_SHOWN_BYTES].decode(errors="replace")
    # JSON may escape one half of a surrogate pair, which cannot be sent.
    return text[:_SHOWN_BYTES].encode(errors="backslashreplace").decode()
