"""The views."""

from functools import partial

from django.db import transaction
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from beanstalkt.django import schedule_function

from .models import Member
from .tasks import welcome, write_letter


@csrf_exempt
@require_POST
@transaction.atomic
def signup(request):
    """Whatever goes wrong here, no job is put for a member that is not there."""
    member = Member.objects.create(name=request.POST["name"])
    welcome.using(priority=50).enqueue(member.pk)
    write_letter.enqueue(member.pk)
    if "report" in request.POST:
        transaction.on_commit(
            partial(schedule_function, "members", "count", request.POST["report"])
        )
    if "fail" in request.POST:
        transaction.set_rollback(True)
        return JsonResponse({"error": "rolled back"}, status=409)
    return JsonResponse({"member": member.pk}, status=202)


def members(request):
    """Show what the worker has done."""
    return JsonResponse({"members": list(Member.objects.values("name", "welcomed", "letters"))})
