"""Invalid merchant files: every problem is found, with its key and advice."""

from pathlib import Path

import pytest

from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import MAX_FILE_BYTES, read
from tests.factories.merchant_files import SERVICE, V1_API, V2_API, problems, rule

NUMBER = "must be a number that is not below 0, without quotes"
WHEN = '{ country = "GB" }'


def api(line: str, instead_of: str = "") -> str:
    """A file whose [api] has one more line, or one instead of another."""
    head = V2_API.replace(instead_of, line) if instead_of else V2_API + line + "\n"
    return head + SERVICE


URL, KEY, FLAVOUR = '"https://api.test/pro"', '{ env = "ACME_KEY" }', '"shipments-v2"'


@pytest.mark.parametrize(
    ("text", "key", "advice"),
    [
        (api("apikey = 1"), "api.apikey", "unknown key"),
        (V2_API + SERVICE + "[retries]\n", "retries", "unknown key"),
        (V2_API + SERVICE + rule(WHEN, more="priority = 1\n"), "rules.0.priority", "unknown key"),
        (V2_API + SERVICE + "[retry]\ntries = 3\n", "retry.tries", "unknown key"),
        (V2_API + SERVICE + "[limits]\nper_minute = 3\n", "limits.per_minute", "unknown key"),
        (V2_API + SERVICE + rule('{ colour = "red" }'), "rules.0.when.colour", "unknown key"),
        (V2_API + SERVICE + rule("{ value = { above = 2 } }"), "rules.0.when.value.above", "unknown key"),
        (V2_API + SERVICE + rule("{ value = { exactly = 2 } }"), "rules.0.when.value.exactly", "unknown key"),
        (V2_API, "allocation", "is missing; add it"),
        (SERVICE, "api", "is missing; add it"),
        (V2_API + "[allocation]\nfallback = []\n", "allocation.strategy", "is missing; add it"),
        (V2_API + SERVICE + '[[rules]]\nname = "r"\nwhen = { value = 1 }\n', "rules.0.strategy", "is missing; add it"),
        (V2_API + SERVICE + '[rules]\nname = "r"\n', "rules", "must be a list, in square brackets"),
        ("api = 1\n" + SERVICE, "api", "must be a table of keys"),
        (api('"shipments-v3"', FLAVOUR), "api.flavour", "'shipments-v2' or 'consignments-v1'"),
        (api('format = "yaml"'), "api.format", "'json' or 'xml'"),
        (api("bulk = 1"), "api.bulk", "boolean"),
        (api("timeout_s = 0"), "api.timeout_s", "greater than 0"),
        (api('timeout_s = "20"'), "api.timeout_s", "number"),
        (api("timeout_s = true"), "api.timeout_s", "number"),
        (api("timeout_s = nan"), "api.timeout_s", "less than or equal to 300"),
        (api("timeout_s = inf"), "api.timeout_s", "less than or equal to 300"),
        (api('"ftp://api.test"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"api.test/pro"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://"', URL), "api.base_url", "absolute http(s) URL"),
        (api('" https://api.test"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://api test"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://api.test:http"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://api.test:0"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://api.test:99999"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://[api.test"', URL), "api.base_url", "absolute http(s) URL"),
        (api('"https://me:open@api.test"', URL), "api.base_url", "must not carry a user"),
        (api('"https://api.test?key=1"', URL), "api.base_url", "must not carry a user, a query"),
        (api('"http://api.test"', URL), "api.base_url", "write https"),
        (api('"open-sesame"', KEY), "api.api_key", 'write { env = "NAME" } or { file = "/path" }'),
        (api("{}", KEY), "api.api_key", 'write { env = "NAME" } or { file = "/path" }'),
        (api('{ env = "A", file = "b" }', KEY), "api.api_key.file", "unknown key"),
        (api('{ env = "" }', KEY), "api.api_key.env", "should match pattern"),
        (api('{ env = "sk_live_0123" }', KEY), "api.api_key.env", "should match pattern"),
        (api('{ env = "9KEY" }', KEY), "api.api_key.env", "should match pattern"),
        (api(f'{{ env = "{"A" * 65}" }}', KEY), "api.api_key.env", "should match pattern"),
        (api('{ file = "" }', KEY), "api.api_key.file", "at least 1 character"),
        (V2_API + SERVICE + "[retry]\nattempts = 0\n", "retry.attempts", "greater than or equal to 1"),
        (V2_API + SERVICE + "[retry]\nattempts = 8.0\n", "retry.attempts", "integer"),
        (V2_API + SERVICE + "[retry]\nattempts = true\n", "retry.attempts", "integer"),
        (V2_API + SERVICE + "[retry]\ndeadline_hours = 0\n", "retry.deadline_hours", "greater than 0"),
        (V2_API + SERVICE + "[retry]\ndeadline_hours = true\n", "retry.deadline_hours", "number"),
        (V2_API + SERVICE + '[retry]\ndeadline_hours = "2"\n', "retry.deadline_hours", "number"),
        (V2_API + SERVICE + "[limits]\nin_flight = -1\n", "limits.in_flight", "greater than or equal to 0"),
        (V2_API + SERVICE + "[limits]\nin_flight = 1.5\n", "limits.in_flight", "integer"),
        (V2_API + SERVICE + "[limits]\nper_second = -0.1\n", "limits.per_second", "greater than or equal to 0"),
        (V2_API + SERVICE + "[limits]\nper_second = inf\n", "limits.per_second", "finite"),
        (V2_API + SERVICE + "[limits]\nper_second = true\n", "limits.per_second", "number"),
        (V2_API + SERVICE + rule("{}"), "rules.0.when", "the case without any is [allocation]"),
        (V2_API + SERVICE + rule("{ country = [] }"), "rules.0.when.country", "must not be empty"),
        (V2_API + SERVICE + rule('{ country = "" }'), "rules.0.when.country.0", "at least 1 character"),
        (V2_API + SERVICE + rule('{ country = ["GB", 1] }'), "rules.0.when.country.1", "string"),
        (V2_API + SERVICE + rule("{ tags_any = 1 }"), "rules.0.when.tags_any", "must be a list"),
        (V2_API + SERVICE + rule("{ value = {} }"), "rules.0.when.value", "give a number, or one of over, under"),
        (V2_API + SERVICE + rule("{ value = true }"), "rules.0.when.value", NUMBER),
        (V2_API + SERVICE + rule('{ value = "20" }'), "rules.0.when.value", NUMBER),
        (V2_API + SERVICE + rule("{ value = -1 }"), "rules.0.when.value", NUMBER),
        (V2_API + SERVICE + rule("{ value = nan }"), "rules.0.when.value", NUMBER),
        (V2_API + SERVICE + rule("{ value = 2026-11-21 }"), "rules.0.when.value", NUMBER),
        (V2_API + SERVICE + rule("{ value = { over = true } }"), "rules.0.when.value.over", NUMBER),
        (V2_API + SERVICE + rule('{ value = { over = "20" } }'), "rules.0.when.value.over", NUMBER),
        (V2_API + SERVICE + rule("{ value = { at_most = inf } }"), "rules.0.when.value.at_most", NUMBER),
        (V2_API + SERVICE + rule(WHEN, name=""), "rules.0.name", "at least 1 character"),
        (V2_API + SERVICE + rule(WHEN, name="default"), "rules.0.name", "rename it"),
        (V2_API + SERVICE + rule(WHEN) + rule(WHEN), "rules.1.name", "rename one of them"),
        (
            V2_API + SERVICE + rule(WHEN, '"freight"'),
            "rules.0.strategy",
            "a table with one key, one of: virtual_service",
        ),
        (V2_API + SERVICE + rule(WHEN, "{ group = 1 }"), "rules.0.strategy", "known strategies: virtual_service"),
        (V2_API + SERVICE + rule(WHEN, "{}"), "rules.0.strategy", "exactly one key, found: none"),
        (V2_API + SERVICE + rule(WHEN, '{ service_group = "" }'), "rules.0.strategy.service_group", "at least 1"),
        (V2_API + SERVICE + rule(WHEN, "{ default_rules = false }"), "rules.0.strategy.default_rules", "True"),
        (V2_API + SERVICE + rule(WHEN, '{ quote = "best" }'), "rules.0.strategy.quote", "'cheapest' or 'earliest'"),
        (V2_API + SERVICE + rule(WHEN, "{ filters = {} }"), "rules.0.strategy.filters.direction", "is missing; add it"),
        (
            V1_API + '[allocation]\nstrategy = { virtual_service = "A" }\n',
            "allocation.strategy",
            "use one of carrier_s",
        ),
    ],
)
def test_problem(tmp_path: Path, text: str, key: str, advice: str) -> None:
    """Exactly one problem, with the file, the key as written in the file, and advice."""
    (problem,) = problems(tmp_path, text)
    assert (problem.file, problem.key) == ("acme.toml", key)
    assert advice in problem.text
    assert str(problem) == f"acme.toml: {key}: {problem.text}"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """A file with several problems of several kinds can be fixed in one pass."""
    text = (
        V1_API
        + "bulk = true\ncolour = 1\n"
        + '[allocation]\nstrategy = { virtual_service = "A" }\nfallback = [{ nothing = 1 }]\n'
        + rule(WHEN, '{ virtual_service = "B" }', name="default", more='fallback = [{ virtual_service = "C" }]\n')
        + "[retry]\nattempts = 0\n"
    )
    assert {p.key for p in problems(tmp_path, text)} == {
        "api.bulk",
        "api.colour",
        "allocation.fallback.0",
        "rules.0.name",
        "retry.attempts",
    }
    fixed = text.replace("bulk = true\ncolour = 1\n", "").replace("nothing = 1", "default_rules = true")
    assert {p.key for p in problems(tmp_path, fixed)} == {
        "allocation.strategy",
        "rules.0.name",
        "rules.0.strategy",
        "rules.0.fallback.0",
        "retry.attempts",
    }


@pytest.mark.parametrize(
    "text", ["[api", "= 1", "a = 1\na = 2", "a = " + "[" * 50_000, "a = " + "9" * 5000, "a = 2026-02-31", "a = '\0'"]
)
def test_invalid_toml(tmp_path: Path, text: str) -> None:
    """A file that cannot be parsed, also for its depth or a number's length, is one problem of the whole file."""
    (problem,) = problems(tmp_path, text)
    assert problem.key == ""
    assert problem.text.startswith("is not TOML: ")


def test_an_unreadable_file(tmp_path: Path) -> None:
    """A directory in place of a file, another encoding, or an enormous file is a problem, not an exception."""
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    (tmp_path / "large.toml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    texts = {name: problems_of(tmp_path, name) for name in ("folder.toml", "latin.toml", "large.toml", "none.toml")}
    assert texts["folder.toml"].startswith("cannot be read: ")
    assert texts["latin.toml"].startswith("is not TOML: ")
    assert texts["large.toml"].startswith("larger than ")
    assert texts["none.toml"].startswith("cannot be read: ")


def problems_of(folder: Path, name: str) -> str:
    """The text of the one problem of a file, which may be missing."""
    found = read(folder / name)
    assert not isinstance(found, Merchant)
    return found[0].text


@pytest.mark.parametrize("name", ["a b.toml", "a:b.toml", "a.b.toml", ".toml", "-a.toml", "é.toml", "a" * 65 + ".toml"])
def test_invalid_merchant_names(tmp_path: Path, name: str) -> None:
    """A merchant's name is part of keys and labels, so only few characters are allowed."""
    (problem,) = problems(tmp_path, V2_API + SERVICE, name)
    assert (problem.file, problem.key) == (name, "")
    assert "rename it" in problem.text


def test_a_key_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    """A key written into the file is reported without its value."""
    for place in ('"open-sesame"', '{ key = "open-sesame" }', '["open-sesame"]'):
        assert not any("open-sesame" in str(p) for p in problems(tmp_path, api(place, KEY)))
