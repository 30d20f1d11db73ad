"""The members."""

from django.db import models


class Member(models.Model):
    name = models.CharField(max_length=50, unique=True)
    welcomed = models.BooleanField(default=False)
    letters = models.IntegerField(default=0)
