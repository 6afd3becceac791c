"""What gunicorn serves."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.django_ninja.settings")
application = get_wsgi_application()

# What lives as long as the process is not looked at again by each collection of garbage: RxDesk does so, too.
gc.collect()
gc.freeze()
