"""Deliveries a second, durable from the event to the recorded attempt, beside Celery and beside a bare loop."""
