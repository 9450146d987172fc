"""Charge orders, each at most once, whatever is killed meanwhile.

    distflow run examples.payments:settle_orders -p orders=12

orders → validate → charge → receipt → settlement. A SQLite file plays the card gateway. It is
a careless one: it books whatever it is told, so that a double charge would show as two rows.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from distflow import TaskContext, task, workflow

#: Seconds that the gateway lets another process wait for its file.
BUSY_SECONDS = 30.0

_TABLE = """
CREATE TABLE IF NOT EXISTS charges (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,  -- what an honest gateway would tell double charges by
    order_id TEXT NOT NULL,
    cents INTEGER NOT NULL,
    pid INTEGER NOT NULL  -- who charged
)
"""


class Charge(NamedTuple):
    """A row of the ledger."""

    id: int
    key: str
    order_id: str
    cents: int
    pid: int


@workflow
def settle_orders(
    orders: int = 12, ledger: str = ".distflow/ledger.sqlite", charge_seconds: float = 0.5
) -> None:
    """Charge some orders and settle them.

    Args:
        orders: how many.
        ledger: the gateway's file.
        charge_seconds: how long a charge takes.
    """
    # Absolute, because a worker's working directory may be another.
    ledger = os.path.abspath(ledger)  # noqa: PTH100 - workflow parameters are plain text
    placed = take_orders(orders)
    receipts = []
    for number in range(orders):
        order = validate(placed, number)
        paid = charge.options(name=charge_task(order_id(number)))(order, ledger, charge_seconds)
        receipts.append(receipt(order, paid))
    settle(receipts)


def order_id(number: int) -> str:
    """The id of the order with this number, from 0."""
    return f"A-{number + 1:03}"


def charge_task(order: str) -> str:
    """The name of the task that charges an order."""
    return f"charge:{order}"


@task(effects="idempotent")
def take_orders(count: int) -> list[dict[str, Any]]:
    return [{"id": order_id(number), "cents": 1250 + 735 * number} for number in range(count)]


@task(effects="idempotent")
def validate(orders: list[dict[str, Any]], number: int) -> dict[str, Any]:
    order = orders[number]
    if order["cents"] <= 0:
        raise ValueError(f"order {order['id']} is worth {order['cents']} cents")
    return order


@task(effects="at_most_once")
def charge(
    order: dict[str, Any], ledger: str, seconds: float, *, ctx: TaskContext
) -> dict[str, Any]:
    """Have the gateway charge an order. Its answer takes a while, on both ways."""
    time.sleep(seconds / 2)
    booked = book_charge(ledger, ctx.key, order["id"], order["cents"])
    time.sleep(seconds / 2)
    return booked


@task(effects="idempotent")
def receipt(order: dict[str, Any], paid: dict[str, Any]) -> dict[str, Any]:
    return {"order": order["id"], "cents": paid["cents"], "charge": paid["charge"]}


@task(effects="idempotent")
def settle(receipts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"orders": len(receipts), "cents": sum(each["cents"] for each in receipts)}


# The gateway


def book_charge(ledger: str, key: str, order: str, cents: int) -> dict[str, Any]:
    """Write a charge into the ledger; what the gateway answers."""
    Path(ledger).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(ledger, timeout=BUSY_SECONDS)) as connection, connection:
        connection.execute(_TABLE)
        row = connection.execute(
            "INSERT INTO charges (key, order_id, cents, pid) VALUES (?, ?, ?, ?)",
            (key, order, cents, os.getpid()),
        )
        return {"charge": row.lastrowid, "cents": cents}


def read_ledger(ledger: str) -> list[Charge]:
    """Every charge, in the order of their arrival; none where there is no ledger yet."""
    if not Path(ledger).exists():
        return []
    with closing(sqlite3.connect(ledger, timeout=BUSY_SECONDS)) as connection, connection:
        connection.execute(_TABLE)
        rows = connection.execute("SELECT id, key, order_id, cents, pid FROM charges ORDER BY id")
        return [Charge(*row) for row in rows]


def find_mistakes(charges: list[Charge], orders: int) -> list[str]:
    """What is wrong with a ledger that should hold each order once: empty where all is well."""
    wanted = {order["id"]: order["cents"] for order in take_orders(orders)}
    mistakes = []
    for order, cents in wanted.items():
        mine = [charge.cents for charge in charges if charge.order_id == order]
        if len(mine) != 1:
            mistakes.append(f"order {order} was charged {len(mine)} times")
        elif mine != [cents]:
            mistakes.append(f"order {order} was charged {mine[0]} cents, not {cents}")
    mistakes += [
        f"there is no order {charge.order_id}"
        for charge in charges
        if charge.order_id not in wanted
    ]
    return mistakes
