"""`allocation merchants`: the files in use, and forgetting a merchant."""

from tests.integration.commands.cli_harness import FILE, Scene, order
from worker.processes.merchant_files import MerchantFiles
from worker.processes.stored_files import StoredFiles


def start(scene: Scene) -> None:
    """Store the files, as a process does when it starts."""
    merchants = MerchantFiles(scene.settings.merchants_dir, frozenset())
    scene.do(lambda store, _: StoredFiles(store, merchants, scene.settings).sync())


def test_the_list(scene: Scene) -> None:
    """Version, state of the file, key and unfinished shipments of each merchant."""
    scene.merchant()
    scene.merchant("beta", FILE.replace("ACME_KEY", "NO_SUCH_KEY"))
    scene.accept(order("sp_1"))
    start(scene)
    scene.merchant("beta", "[api")
    acme, beta = scene.run("merchants", "--json").document
    assert (acme["file"], acme["key_found"], acme["unfinished"]) == ("valid", True, 1)
    assert acme["version"] == beta["version"] or len(beta["version"]) == 12
    assert (beta["file"], beta["key_found"], beta["unfinished"]) == ("invalid", None, 0)
    assert acme["since"] is not None
    assert "acme" in scene.run("merchants").out


def test_a_file_and_its_difference(scene: Scene) -> None:
    """The text in use, and how the file on disk differs."""
    scene.merchant()
    start(scene)
    assert "the same as acme.toml" in scene.run("merchants", "show", "acme").out
    scene.merchant(text="[api")
    said = scene.run("merchants", "show", "acme").out
    assert 'virtual_service = "V"' in said
    assert "+[api" in said
    assert scene.run("merchants", "show", "amce").err == "Error: no merchant 'amce'; known: acme\n"
    assert scene.run("merchants", "show", "acme", "--version", "nonsense").code == 1


def test_forgetting(scene: Scene) -> None:
    """Only a merchant without file and without unfinished shipments is forgotten; then nothing names it."""
    scene.merchant()
    start(scene)
    scene.accept(order("sp_1"))
    scene.fail()
    forget = ("merchants", "forget", "acme", "--why", "left")
    assert "still exists" in scene.run(*forget).err
    (scene.settings.merchants_dir / "acme.toml").unlink()
    assert scene.run(*forget).out == "forgot acme\n"
    assert scene.run("merchants", "--json").document == []
    assert scene.run("audit", "--json").document[0]["action"] == "forget"


def test_explain_names_the_version(scene: Scene) -> None:
    """A shipment's history names the version of the file that chose its plan."""
    scene.merchant()
    scene.accept(order("sp_1"))
    version = scene.run("merchants", "--json").document[0]["version"]
    assert scene.run("explain", "sp_1", "--json").document["shipments"][0]["merchant_file"] == version
    assert f"file     version {version}" in scene.run("explain", "sp_1").out
