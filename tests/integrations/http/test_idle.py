from __future__ import annotations

import asyncio

from orchestrator.integrations.http.idle import IdleConnections
from orchestrator.integrations.http.request_head import Origin
from tests.engine.world import simulated

NEAR = Origin("http", "near", 80)
FAR = Origin("https", "far", 443)


class Connection:
    ticks = 0

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.closed = False

    def close(self) -> None:
        self.closed = True


def fresh() -> IdleConnections[Connection]:
    return IdleConnections(asyncio.get_running_loop())


@simulated
async def test_a_connection_is_lent_to_its_own_origin_only_and_only_once():
    idle, connection = fresh(), Connection(NEAR)
    idle.put(connection)

    assert idle.take(FAR) is None
    assert idle.take(NEAR) is connection
    assert idle.take(NEAR) is None


@simulated
async def test_the_one_used_last_is_used_first():
    idle = fresh()
    connections = [Connection(NEAR) for _ in range(3)]
    for connection in connections:
        idle.put(connection)

    assert [idle.take(NEAR) for _ in range(3)] == connections[::-1]


@simulated
async def test_a_closed_connection_is_never_lent():
    idle, open_one, closed_one = fresh(), Connection(NEAR), Connection(NEAR)
    idle.put(open_one)
    idle.put(closed_one)
    closed_one.close()

    assert idle.take(NEAR) is open_one
    assert idle.take(NEAR) is None


@simulated
async def test_an_unused_connection_is_closed_before_its_server_would():
    idle = fresh()
    near, far = Connection(NEAR), Connection(FAR)
    idle.put(Connection(NEAR))  # starts the looking around, so that they come in between
    await asyncio.sleep(1.9)
    idle.put(near)
    idle.put(far)

    await asyncio.sleep(2)
    assert not near.closed
    await asyncio.sleep(2.5)
    assert near.closed
    await asyncio.sleep(20)
    assert not far.closed
    await asyncio.sleep(5)
    assert far.closed
    assert idle.take(NEAR) is idle.take(FAR) is None


@simulated
async def test_a_connection_in_use_stays():
    idle, connection = fresh(), Connection(NEAR)
    for _ in range(100):
        idle.put(connection)
        await asyncio.sleep(1.9)
        assert idle.take(NEAR) is connection

    assert not connection.closed


@simulated
async def test_nothing_is_looked_at_while_nothing_is_idle():
    idle, connection = fresh(), Connection(NEAR)
    idle.put(connection)
    assert idle.take(NEAR) is connection
    await asyncio.sleep(10)
    assert idle._timer is None

    idle.put(connection)
    await asyncio.sleep(10)
    assert connection.closed


@simulated
async def test_closing_closes_them_all():
    idle = fresh()
    connections = [Connection(origin) for origin in (NEAR, FAR, NEAR)]
    for connection in connections:
        idle.put(connection)
    idle.close()

    assert all(connection.closed for connection in connections)
    assert idle.take(NEAR) is idle.take(FAR) is None
    assert idle._timer is None
