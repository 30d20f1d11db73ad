"""The blocking client where gevent has put its own sockets, locks and threads in their place."""

from __future__ import annotations

import socket
import subprocess
import sys

from ..support.beanstalkd import HOST, Beanstalkd

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import faulthandler, sys, time
import gevent
from beanstalkt import ConnectionLost
from beanstalkt.blocking import Client, Pool
from beanstalkt.blocking.client_connection import IDLE

faulthandler.dump_traceback_later(20, exit=True)  # what takes longer hangs
port, silent = map(int, sys.argv[1:])
client = Client("127.0.0.1", port)

client.put(b"first", tube="a")
time.sleep(2 * IDLE)
assert client.peek(client.put(b"x" * 60_000, tube="a")).body == b"x" * 60_000
time.sleep(2 * IDLE)
assert len(client.put_many([b"y" * 1000] * 5000, tube="b")) == 5000

# A greenlet that waits lets the others run, and they share a client.
waiting = gevent.spawn(Client("127.0.0.1", port).reserve, 15)
puts = [gevent.spawn(client.put, str(number), tube="c") for number in range(20)]
gevent.joinall(puts, raise_error=True)
assert len({each.value for each in puts}) == 20
client.put(b"wanted")
job = waiting.get()
assert job.body == b"wanted"
job.delete()

# A silent server is given up in time, and a call that waits can be ended by another greenlet.
try:
    Client("127.0.0.1", silent, response_timeout=0.2).put(b"nobody answers")
except ConnectionLost as error:
    assert "no reply to put within 0.2 s" in str(error), error
else:
    raise AssertionError
client.watch("empty")
client.ignore("default")
waiting = gevent.spawn(client.reserve)
gevent.sleep(0.05)
client.close()
try:
    waiting.get()
except ConnectionLost:
    pass

with Pool({"one": f"beanstalk://127.0.0.1:{port}"}) as pool:
    waiting = gevent.spawn(pool.reserve, 15)
    gevent.sleep(0.05)
    pool.put(b"for the pool")
    assert waiting.get().body == b"for the pool"
print("done")
"""


def test_it_waits_in_the_loop_of_gevent(beanstalkd: Beanstalkd) -> None:
    with socket.create_server((HOST, 0)) as silent:
        ports = [str(beanstalkd.port), str(silent.getsockname()[1])]
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, *ports], capture_output=True, text=True, timeout=60
        )
    assert (ended.stdout, ended.returncode) == ("done\n", 0), ended.stderr
