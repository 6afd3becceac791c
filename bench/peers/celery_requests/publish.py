"""Put the tasks of all rounds into queues that nobody reads yet; to begin a round its queue is given the right name.

usage: python -m bench.peers.celery_requests.publish ROUNDS DELIVERIES
"""

from __future__ import annotations

import sys

from bench.peers.celery_requests.app import app, deliver


def publish(rounds: int, deliveries: int) -> None:
    """Publish; the deliveries of round 0 have the first ids, from 1."""
    with app.producer_or_acquire() as producer:
        for number in range(rounds):
            for one in range(deliveries):
                delivery_id = number * deliveries + one + 1
                deliver.apply_async((delivery_id,), producer=producer, queue=f"held-{number}")


if __name__ == "__main__":
    publish(int(sys.argv[1]), int(sys.argv[2]))
