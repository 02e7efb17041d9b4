"""`allocation check`: every problem is named, and only problems make it fail."""

from pathlib import Path

from tests.commands.scene import ALLOCATION, API, FILE, Scene


def texts(remarks: list[dict[str, str]]) -> dict[tuple[str, str], str]:
    """Remarks by file and key."""
    return {(remark["file"], remark["key"]): remark["text"] for remark in remarks}


def test_good_files_pass(scene: Scene) -> None:
    """A good folder gives exit code 0, and tells for each merchant its api, its steps and its rules."""
    scene.merchant()
    said = scene.run("check")
    assert said.code == 0
    assert "acme" in said.out
    assert "shipments-v2" in said.out
    assert "virtual_service V, then carrier_service C" in said.out
    assert "heavy" in said.out
    assert "1 merchant good, 0 problems" in said.out
    assert "\x1b" not in said.out


def test_every_problem_is_named(scene: Scene) -> None:
    """All problems of all files come at once, with file and key; the good merchants are listed all the same."""
    scene.merchant()
    scene.merchant("ACME")
    scene.merchant("wrong", API.replace("shipments-v2", "v3") + ALLOCATION + "[retry]\ntries = 2\n")
    scene.merchant("toml", "[api")
    scene.merchant("bad name")
    (scene.settings.merchants_dir / "other.TOML").write_text(FILE)
    said = scene.run("check", "--json")
    assert said.code == 1
    problems = texts(said.document["problems"])
    assert {("wrong.toml", "api.flavour"), ("wrong.toml", "retry.tries")} <= problems.keys()
    assert "is not TOML" in problems["toml.toml", ""]
    assert "rename" in problems["bad name.toml", ""]
    assert "capital letters" in problems["acme.toml", ""]
    assert ("other.TOML", "") in texts(said.document["warnings"])
    assert [merchant["merchant"] for merchant in said.document["merchants"]] == ["ACME", "acme"]


def test_plain_http_is_a_problem(scene: Scene, tmp_path: Path) -> None:
    """A key never travels without TLS, unless the host is allowed; the folder may be named."""
    folder = tmp_path / "shops"
    folder.mkdir()
    for name in ("acme", "beta"):
        (folder / f"{name}.toml").write_text(FILE.replace("127.0.0.1:9", f"{name}.shop"))
    said = scene.run("check", "shops", ALLOCATION_ALLOW_HTTP_HOSTS="beta.shop")
    assert said.code == 1
    assert "problem: acme.toml: api.base_url: " in said.out
    assert "1 merchant good, 1 problem" in said.out


def test_a_missing_key_is_a_warning(scene: Scene) -> None:
    """Without its key a merchant would be paused, which is no fault of the file; what looks like a key stays unsaid."""
    scene.merchant()
    scene.merchant("beta", FILE.replace("ACME_KEY", "sk-live-0123"))
    said = scene.run("check", ACME_KEY="", ALLOCATION_REDIS_URL="")
    assert said.code == 0
    assert "warning: acme.toml: api.api_key: the environment variable ACME_KEY" in said.out
    assert "warning: beta.toml: api.api_key:" in said.out
    assert "sk-live-0123" not in said.out


def test_a_key_is_never_printed(scene: Scene) -> None:
    """The value of a key appears nowhere, nor does a password within a URL."""
    scene.merchant()
    said = scene.run("check", ALLOCATION_REDIS_URL="http://user:pa55word@host")
    assert said.code == 1
    assert "ALLOCATION_REDIS_URL" in said.out
    assert "opens-nothing" not in said.out + said.err
    assert "pa55word" not in said.out + said.err


def test_settings_are_checked(scene: Scene) -> None:
    """A wrong setting is a problem, a misspelt one a warning; files can be checked where no server is at hand."""
    scene.merchant()
    said = scene.run("check", "--json", ALLOCATION_REDIS_URL="", ALLOCATION_BATCH="1000", ALLOCATION_BATHC="7")
    assert said.code == 1
    assert texts(said.document["problems"]).keys() == {("environment", "ALLOCATION_BATCH")}
    assert texts(said.document["warnings"]).keys() == {("environment", "ALLOCATION_BATHC")}
    assert texts(said.document["notes"]).keys() == {("environment", "ALLOCATION_REDIS_URL")}


def test_no_merchant_is_a_problem(scene: Scene) -> None:
    """An empty folder fails, with advice."""
    said = scene.run("check")
    assert said.code == 1
    assert "no merchant file; write one" in said.out
