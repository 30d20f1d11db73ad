"""The URLs: ``path("beanstalk_dispatch/", include("beanstalkt.django.urls"))``."""

from __future__ import annotations

from django.urls import path

from .views import dispatcher

app_name = "beanstalkt"

urlpatterns = [path("dispatcher", dispatcher, name="dispatcher")]
