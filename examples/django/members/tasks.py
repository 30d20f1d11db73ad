"""What is done later. ``manage.py beanstalkt_work`` finds the tasks in every app's ``tasks``."""

from .models import Member

try:
    from django.tasks import task
except ImportError:  # before Django 6.0
    from django_tasks import task


@task(queue_name="members")
def welcome(member_id):
    """Run in a child process of the worker, which can be stopped at the time limit."""
    member = Member.objects.get(pk=member_id)
    member.welcomed = True
    member.save(update_fields=["welcomed"])
    print(f"Welcome, {member.name}!", flush=True)


@task(queue_name="letters", priority=-10)
async def write_letter(member_id):
    """Run on the worker's event loop, as many at a time as the tube has workers."""
    member = await Member.objects.aget(pk=member_id)
    member.letters += 1
    await member.asave(update_fields=["letters"])
