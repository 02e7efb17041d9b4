"""Merchants get turns in order, however many shipments each of them has."""

import asyncio
from itertools import pairwise

from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from config.settings import Settings
from tests.factories.ledger_harness import Harness


async def turns(harness: Harness, most: int) -> list[str]:
    """The merchants of all claims, in order; claimed shipments are settled at once."""
    served: list[str] = []
    while found := await harness.claim_due(most):
        served += [claim.merchant for claim in found]
        await harness.settle(found)
    return served


async def test_a_quiet_merchant_beside_a_noisy_one(harness: Harness) -> None:
    """Twenty shipments behind four thousand of another merchant are claimed in the second turn."""
    await harness.accept("noisy", *(f"sp_{n}" for n in range(4000)))
    await harness.accept("quiet", *(f"sp_{n}" for n in range(20)))
    assert [claim.merchant for _ in range(2) for claim in await harness.claim_due(100)][:2] == ["noisy", "quiet"]


@tried(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.lists(st.integers(min_value=1, max_value=12), min_size=2, max_size=7),
    most=st.integers(min_value=1, max_value=8),
)
def test_no_merchant_waits_for_more_than_a_round(
    settings: Settings, runner: asyncio.Runner, sizes: list[int], most: int
) -> None:
    """Between two turns of a merchant no other has two, for any numbers of shipments and any size of the claims."""
    runner.run(_one_round_each(settings.model_copy(update={"batch": 2}), sizes, most))


async def _one_round_each(settings: Settings, sizes: list[int], most: int) -> None:
    harness = Harness(settings)
    await harness.redis.flushdb()
    merchants = [f"merchant{number}" for number in range(len(sizes))]
    for merchant, size in zip(merchants, sizes, strict=True):
        await harness.accept(merchant, *(f"sp_{n}" for n in range(size)))
    served = await turns(harness, most)
    await harness.close()
    for merchant in merchants:
        own = [-1, *(slot for slot, name in enumerate(served) if name == merchant)]
        for before, after in pairwise(own):
            between = served[before + 1 : after]
            assert len(between) == len(set(between)), (merchant, served)
