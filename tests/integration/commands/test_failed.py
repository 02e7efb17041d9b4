"""`allocation failed`: failures grouped by cause."""

from tests.integration.commands.cli_harness import Scene, order


def test_causes_are_counted(scene: Scene) -> None:
    """Shipments that failed for the same reason at the same strategy are one cause, the most frequent first."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("heavy", weight_kg=30), order("other", merchant="beta"))
    scene.fail()
    scene.accept(order(*(f"f{number}" for number in range(30))))
    scene.fail(message="full")
    causes = scene.run("failed", "--json").document
    assert [(cause["merchant"], cause["strategy"], cause["shipments"]) for cause in causes] == [
        ("acme", "virtual_service V", 30),
        ("acme", "service_group freight", 1),
        ("beta", "virtual_service V", 1),
    ]
    assert causes[0]["message"] == "full"
    assert causes[0]["oldest"] <= causes[0]["newest"]


def test_the_table_ends_with_the_sum(scene: Scene) -> None:
    """What an API said is printed as it is, but harmless; one may ask for one merchant."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("a"), order("a", "b", merchant="beta"))
    scene.fail("wrong_state", "is [red]\x1b]0;dispatched")
    said = scene.run("failed", "--merchant", "beta")
    assert said.code == 0
    assert r"is [red]\x1b]0;dispatched" in said.out
    assert said.out.endswith("2 shipments, 1 cause\n")
