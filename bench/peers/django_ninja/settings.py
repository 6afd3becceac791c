"""Django's settings: nothing installed but the models, one middleware, a pool of database connections.

libpq's own environment (PGHOST, PGPORT, PGUSER) says where the database is.
"""

from __future__ import annotations

import os

DEBUG = False
SECRET_KEY = "signs nothing: there are no sessions and no forms"  # noqa: S105 (as it says)
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["bench.peers.django_ninja"]
# It gives Content-Length, without which answers are chunked.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
APPEND_SLASH = False
ROOT_URLCONF = "bench.peers.django_ninja.urls"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE", "rxdesk"),
        "OPTIONS": {
            "pool": {"min_size": 4, "max_size": 16, "timeout": 10},
            # Prepared statements, which Django leaves off for the sake of external poolers: there is none here,
            # and they save about half of the database's time.
            "server_side_binding": True,
            "prepare_threshold": 5,
        },
    }
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "ERROR"},
    "loggers": {"django": {"handlers": [], "level": "ERROR"}},
}
