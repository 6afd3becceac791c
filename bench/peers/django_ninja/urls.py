"""The table of URLs: the API, and nothing else."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path

from bench.peers.django_ninja.api import api

urlpatterns = [path("v1/management/", api.urls)]


def handler404(_request: HttpRequest, exception: Exception) -> JsonResponse:  # noqa: ARG001 (Django names it)
    """Answer for a path that no route has."""
    return JsonResponse({"error": "Resource not found"}, status=404)
