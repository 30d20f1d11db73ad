"""The URLs."""

from django.urls import include, path
from members import views

urlpatterns = [
    path("signup", views.signup),
    path("members", views.members),
    # Calls the functions of the dispatch table. Only where nobody else may post to it.
    path("beanstalk_dispatch/", include("beanstalkt.django.urls")),
]
