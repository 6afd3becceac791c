"""The same deliveries as many would make them: Celery with Redis as its broker, requests, psycopg."""
