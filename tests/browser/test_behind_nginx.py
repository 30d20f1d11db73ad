"""The console behind nginx, as the how-to page configures it: TLS, a name, and a prefix."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from ..support.console_place import TUBE, Place, a_place, fill
from ..support.documents import DOC, blocks
from ..support.ports import free_port
from ..support.waiting import block_until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NAME = "queue.example.com"
PASSWORD = "correct horse"

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("BEANSTALKT_CONSOLE_PASSWORD", PASSWORD)
    log = str(tmp_path / "actions.jsonl")
    options = ("--allow-host", NAME, "--prefix", "/queues", "--trusted-proxy", "127.0.0.1")
    with a_place(*options, "--action-log", log) as place:
        with place.client() as client:
            fill(client)
        yield place


@pytest.fixture
def nginx(behind: Place, tmp_path: Path) -> Iterator[str]:
    """The address of the console behind nginx with the configuration of the page."""
    (block,) = [each for each in blocks(DOC / "howto/console.md") if each.language == "nginx"]
    port = free_port()
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", f"/CN={NAME}", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    server = re.sub(r"listen 443\b", f"listen 127.0.0.1:{port}", block.text)
    server = server.replace("127.0.0.1:11380", f"127.0.0.1:{behind.port}")
    server = re.sub(r"(ssl_certificate_key) [^;]+", rf"\1 {key}", server)
    server = re.sub(r"(ssl_certificate) [^;]+", rf"\1 {certificate}", server)
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        f"events {{}} http {{ access_log off; {temporary}\n{server} }}"
    )
    assert NGINX is not None
    paths = ("-p", tmp_path, "-e", tmp_path / "error.log", "-c", tmp_path / "nginx.conf")
    command = [NGINX, *map(str, paths)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield f"https://{NAME}:{port}/queues/"
    finally:
        process.terminate()
        process.wait(20)


def test_the_whole_console_works_there(
    behind: Place, nginx: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    block_until((tmp_path / "pid").exists, "nginx runs")
    page = open_page(nginx)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Servers")
    (cookie,) = page.context.cookies()
    assert (cookie["secure"], cookie["path"]) == (True, "/queues/")
    # The WebSocket comes through: "Live (asking)" would be the other way.
    expect(page.get_by_role("status").first).to_have_text("Live")
    page.get_by_role("link", name="main").first.click()
    expect(page).to_have_url(f"{nginx}server/main")
    # A link to a tube with a slash in its name, from outside.
    page.goto(f"{nginx}server/main/tube/{quote(TUBE, safe='')}")
    expect(page.get_by_role("heading", level=1)).to_have_text(TUBE)
    expect(page.get_by_role("status").first).to_have_text("Live")
    page.goto(f"{nginx}server/main/jobs?tube={quote(TUBE)}")
    expect(page.locator("tbody tr")).to_have_count(4)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").first.click()
    assert len(download.value.path().read_text().splitlines()) == 4
    # A change: the host, the origin and the token against forged requests are those of the proxy.
    page.goto(f"{nginx}server/main/put")
    page.get_by_label("Tube").fill("behind")
    page.get_by_role("button", name="Put the job").click()
    expect(page.get_by_text(re.compile("job main/[0-9]+")).first).to_be_visible()
    with behind.client() as client:
        assert client.stats_tube("behind")["current-jobs-ready"] == 1
    assert '127.0.0.1"' in (tmp_path / "actions.jsonl").read_text()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(nginx)
    expect(page.get_by_label("Password")).to_be_visible()
