from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("beanstalk_dispatch/", include("beanstalkt.django.urls"))]
