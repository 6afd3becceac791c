"""A peer of the benchmark: the same API with Django, Django Ninja and Django's ORM on psycopg.

Served by `gunicorn --workers 1 --worker-class gthread --threads 16 bench.peers.django_ninja.wsgi:application`.
"""
