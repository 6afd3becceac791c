"""A peer of the benchmark: the same API with Flask and SQLAlchemy's ORM on psycopg.

Served by `gunicorn --workers 1 --worker-class gthread --threads 16 bench.peers.flask_orm.app:app`.
"""
