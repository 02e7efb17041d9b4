"""The text of merchant files for people."""

from collections.abc import Iterable

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant


def without_keys(text: str, merchants: Iterable[Merchant]) -> str:
    """The text without the API keys of these merchants, wherever one was typed."""
    for key in filter(None, (find_key(each.file.api.api_key) for each in merchants)):
        text = text.replace(key, "[key]")
    return text
