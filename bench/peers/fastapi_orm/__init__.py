"""A peer of the benchmark: the same API with FastAPI and SQLAlchemy's asynchronous ORM on asyncpg.

Served by `uvicorn bench.peers.fastapi_orm.app:app`, on uvloop and httptools.
"""
