"""The MCP server on the running pipeline, as the client of an agent calls it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import httpx2
import jsonschema  # noqa: F401 - clients load it with the first answer, which takes seconds
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from mediactl.devstack.ports import free_port

from media_pipeline.client import fingerprint_of
from support.clients import Company, token_of
from support.eventually import eventually
from support.in_parts import looked, numbers_in, sent
from support.media_files import make_photo, make_video
from support.surroundings import variable

PROGRAM = str(Path(sys.executable).with_name("media-pipeline-mcp"))
READ_ONLY = {"list_assets", "get_asset", "wait_for_asset"}
CHANGING = {"create_upload", "retry_asset", "delete_asset"}
# Of today's clients, and of those before there were requests that carry all that they need.
MODES = ["auto", "legacy"]


@pytest.fixture(scope="module")
async def address(http, tmp_path_factory):
    """One server for all callers. It is given a token, which must never be used."""
    port = free_port()
    owner = Company(http)
    await owner.sign("of-the-owner.jpg")
    log = tmp_path_factory.mktemp("mcp") / "log"
    environment = {**os.environ, "TOKEN": token_of(owner.id)}
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: ASYNC220
            [PROGRAM, "--http", "--port", str(port), "--allow-host", "media.example.com"],
            env=environment, stderr=output,
        ) as server,
    ):  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/mcp"

            async def answers() -> bool:
                try:
                    return (await http.get(url)).status_code == 401
                except httpx.TransportError:
                    return False

            await eventually(answers, timeout=60)
            yield url
        finally:
            server.terminate()
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "eyJ" not in said, "a token was logged"


@asynccontextmanager
async def by_http(url: str, token: str, mode: str = "auto", **more):
    async with (
        httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
        ) as carrier,
        Client(streamable_http_client(url, http_client=carrier), mode=mode, **more) as client,
    ):
        yield client


def by_stdio(company: Company, mode: str = "auto", **more) -> Client:
    environment = {"MEDIA_URL": variable("MEDIA_URL"), "TOKEN": token_of(company.id)}
    return Client(StdioServerParameters(command=PROGRAM, env=environment), mode=mode, **more)


async def called(client: Client, tool: str, **arguments):
    """Return what a tool answers; the test fails where it refuses."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content[0].text
    return answer.structured_content


async def refused(client: Client, tool: str, **arguments) -> str:
    """Return the code with which a tool refuses."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, answer.structured_content
    code = answer.meta["code"]
    assert answer.content[0].text.startswith(f"{code}: ")
    assert answer.content[0].text.endswith(".")
    return code


@pytest.mark.parametrize("mode", MODES)
async def test_tools_are_listed_with_what_they_take_give_and_do(company, address, mode):
    async with by_http(address, token_of(company.id), mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    # A path would be one of the server's.
    assert set(listed) == READ_ONLY | CHANGING
    for name, tool in listed.items():
        assert tool.description
        assert tool.output_schema["type"] == "object"
        assert tool.annotations.read_only_hint is (name in READ_ONLY)
        if name in CHANGING:
            assert tool.annotations.destructive_hint is (name == "delete_asset")
        for argument in tool.input_schema["properties"].values():
            assert argument["description"]
    assert listed["get_asset"].input_schema["required"] == ["asset_id"]
    assert listed["wait_for_asset"].input_schema["properties"]["seconds"]["maximum"] == 300


@pytest.mark.parametrize(("mode", "kind"), [("auto", "video"), ("legacy", "image")])
async def test_a_file_goes_from_a_grant_to_a_link(company, address, mode, kind, tmp_path):
    is_film = kind == "video"
    if is_film:
        file = make_video(tmp_path / "it's [1] film.mp4", seconds=2)
    else:
        file = make_photo(tmp_path / "photo.jpg", size=(320, 240))
    told: list[tuple[float, str | None]] = []

    async def hear(progress: float, _total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with by_http(address, token_of(company.id), mode) as client:
        grant = await called(
            client, "create_upload", file_name=file.name, size=file.stat().st_size, title="Ours"
        )
        asset_id = grant["asset_id"]
        early = await client.call_tool(
            "wait_for_asset", {"asset_id": asset_id, "seconds": 1}, progress_callback=hear
        )
        assert early.structured_content["done"] is False
        assert early.structured_content["asset"]["status"] == "pending"
        assert told
        assert told == sorted(told)
        assert {message for _, message in told} == {"pending"}
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", grant["curl"]], cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        waited = await called(client, "wait_for_asset", asset_id=asset_id, seconds=240)
        assert waited["done"] is True
        asset = await called(client, "get_asset", asset_id=asset_id)
        (listed,) = (await called(client, "list_assets", status="ready"))["items"]
    assert (asset["status"], asset["title"], asset["error"]) == ("ready", "Ours", None)
    assert listed["file_name"] == asset["file_name"] == file.name
    assert asset["size"] == file.stat().st_size
    if is_film:
        assert (await company.fetch(asset["hls_url"])).text.startswith("#EXTM3U")
    assert (await company.fetch(asset["processed_url"])).headers["Content-Type"].startswith(kind)
    assert (await company.fetch(asset["thumbnail_url"])).headers["Content-Type"] == "image/jpeg"


async def test_a_file_of_the_persons_machine_is_gone_on_with(company: Company, tmp_path):
    film = make_video(tmp_path / "film.mp4", seconds=2)
    with film.open("ab") as file:
        size = 24_000_000 - film.stat().st_size
        file.write(size.to_bytes(4, "big") + b"free" + os.urandom(size - 8))
    data = film.read_bytes()
    await company.sign()
    # Another client began, and died.
    body = {
        "fileName": film.name, "size": len(data), "type": "video/mp4",
        "fingerprint": fingerprint_of(film),
    }  # fmt: skip
    upload = (await company.post("/uploads", json=body)).json()
    await sent(company, upload, data, [2])
    told: list[float] = []

    async def hear(progress: float, total: float | None, _message: str | None) -> None:
        assert total == len(data)
        told.append(progress)

    async with by_stdio(company) as client:
        answer = await client.call_tool("upload_file", {"path": str(film)}, progress_callback=hear)
        assert answer.structured_content == {
            "asset_id": upload["assetId"], "file_name": film.name, "size": len(data),
        }  # fmt: skip
        assert told[-1] == len(data)
        assert told == sorted(set(told))
        waited = await called(client, "wait_for_asset", asset_id=upload["assetId"], seconds=240)
    assert waited["asset"]["status"] == "ready"
    assert numbers_in(await looked(company, upload)) == []


async def test_a_new_company_uploads_a_file_at_once(company: Company, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg", size=(320, 240))
    async with by_stdio(company, "legacy") as client:
        assert "They are data" in client.instructions
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == READ_ONLY | CHANGING | {"upload_file"}
        uploaded = await called(client, "upload_file", path=str(photo), alt="Red and blue")
        waited = await called(client, "wait_for_asset", asset_id=uploaded["asset_id"], seconds=240)
    assert (waited["asset"]["status"], waited["asset"]["alt"]) == ("ready", "Red and blue")


async def test_what_failed_is_told_by_its_code_and_a_sentence(company: Company, address):
    asset_id = await company.upload_bytes("photo.jpg", b"x" * 99, "image/jpeg")
    async with by_http(address, token_of(company.id)) as client:
        waited = await called(client, "wait_for_asset", asset_id=asset_id, seconds=240)
        (listed,) = (await called(client, "list_assets", status="failed"))["items"]
    assert (waited["done"], waited["asset"]["status"]) == (True, "failed")
    assert listed["error"]["code"] == "type_mismatch"
    assert listed["error"]["message"].endswith(".")
    assert waited["asset"]["error"] == listed["error"]


async def test_refusals_of_the_api_have_its_codes(company: Company, address):
    asset_id = (await company.sign())["assetId"]
    photo = {"file_name": "a.jpg", "size": 9}
    async with by_http(address, token_of(company.id)) as client:
        assert await refused(client, "retry_asset", asset_id=asset_id) == "not_failed"
        assert await refused(client, "create_upload", **photo, profile="no") == "unknown_profile"
        assert await refused(client, "create_upload", **photo, type="text/html") == "invalid_type"
        assert await refused(client, "create_upload", file_name="a.txt", size=9) == "invalid_type"
        assert await refused(client, "list_assets", cursor="none") == "invalid_cursor"
    async with by_http(address, "no.real.token") as client:
        assert await refused(client, "list_assets") == "unauthorized"


async def test_pages_of_assets_follow_one_another(company: Company, address):
    signed = [(await company.sign(f"{number}.jpg"))["assetId"] for number in range(3)]
    async with by_http(address, token_of(company.id)) as client:
        first = await called(client, "list_assets", limit=2)
        second = await called(client, "list_assets", limit=2, cursor=first["next_cursor"])
    found = [one["asset_id"] for one in first["items"] + second["items"]]
    assert found == signed[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_cannot_ask_deletes_by_the_files_name(company, address, mode):
    asset_id = (await company.sign("photo.jpg"))["assetId"]
    async with by_http(address, token_of(company.id), mode) as client:
        for said in ({}, {"confirm_file_name": "other.jpg"}, {"confirm_file_name": ""}):
            code = await refused(client, "delete_asset", asset_id=asset_id, **said)
            assert code == "not_confirmed"
        assert (await company.asset(asset_id))["status"] == "pending"
        deleted = await called(
            client, "delete_asset", asset_id=asset_id, confirm_file_name="photo.jpg"
        )
        assert deleted == {"asset_id": asset_id, "file_name": "photo.jpg"}
        assert await refused(client, "get_asset", asset_id=asset_id) == "asset_not_found"


@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_a_client_that_can_ask_deletes_where_its_person_agrees(company, address, transport):
    asset_id = (await company.sign('photo "of" us.jpg'))["assetId"]
    answers = [
        ElicitResult(action="decline"),
        ElicitResult(action="cancel"),
        ElicitResult(action="accept", content={"delete": False}),
        ElicitResult(action="accept", content={"delete": True}),
    ]
    asked: list[str] = []

    async def ask(_context, question) -> ElicitResult:
        asked.append(question.message)
        return answers[len(asked) - 1]

    connected = (
        by_http(address, token_of(company.id), elicitation_callback=ask)
        if transport == "http"
        else by_stdio(company, "legacy", elicitation_callback=ask)
    )
    async with connected as client:
        for _ in answers[:3]:
            # The agent's word does not stand for the person's.
            code = await refused(
                client, "delete_asset", asset_id=asset_id, confirm_file_name='photo "of" us.jpg'
            )
            assert code == "not_confirmed"
            assert (await company.asset(asset_id))["status"] == "pending"
        await called(client, "delete_asset", asset_id=asset_id)
        assert await refused(client, "get_asset", asset_id=asset_id) == "asset_not_found"
    assert len(asked) == len(answers)
    assert all(r'"photo \"of\" us.jpg"' in question for question in asked)


async def test_assets_of_another_company_are_not_there(company, other_company, address):
    asset_id = (await other_company.sign("photo.jpg"))["assetId"]
    tools = ("get_asset", "wait_for_asset", "retry_asset", "delete_asset")
    async with by_http(address, token_of(company.id)) as client:
        for tool in tools:
            said = {"confirm_file_name": "photo.jpg"} if tool == "delete_asset" else {}
            code = await refused(client, tool, asset_id=asset_id, **said)
            assert code == "asset_not_found", tool
        assert (await called(client, "list_assets"))["items"] == []
    assert (await other_company.asset(asset_id))["status"] == "pending"


async def test_companies_that_call_at_once_see_their_own(company, other_company, address):
    own = {
        one.id: {(await one.sign(f"{number}.jpg"))["assetId"] for number in range(3)}
        for one in (company, other_company)
    }

    async def look(one: Company, mode: str) -> None:
        async with by_http(address, token_of(one.id), mode) as client:

            async def listed() -> set[str]:
                found = await called(client, "list_assets")
                return {asset["asset_id"] for asset in found["items"]}

            async def waited(asset_id: str) -> set[str]:
                found = await called(client, "wait_for_asset", asset_id=asset_id, seconds=1)
                return {found["asset"]["asset_id"]}

            for _ in range(2):
                calls = [listed() for _ in range(3)] + [waited(one_id) for one_id in own[one.id]]
                for found in await asyncio.gather(*calls):
                    assert found
                    assert found <= own[one.id]

    await asyncio.gather(*(look(one, mode) for one in (company, other_company) for mode in MODES))


async def test_each_request_needs_a_token_of_its_own(company: Company, address):
    """Another request's does not count, and the server has none."""
    call = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_assets", "arguments": {}},
    }  # fmt: skip
    headers = {"Accept": "application/json, text/event-stream"}
    own = {**headers, "Authorization": f"Bearer {token_of(company.id)}"}
    assert (await company.http.post(address, json=call, headers=own)).status_code == 200
    for wrong in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer a b"}):
        answer = await company.http.post(address, json=call, headers={**headers, **wrong})
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_the_server_takes_no_other_requests(company: Company, address):
    body = b"{}"
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Authorization": f"Bearer {token_of(company.id)}",
    }

    async def status(method: str = "POST", content: bytes = body, **changed: str) -> int:
        answer = await company.http.request(
            method, address, content=content, headers={**headers, **changed}
        )
        return answer.status_code

    # A page that has its name resolve to this machine.
    assert await status(Host="evil.example.com") == 421
    assert await status(Origin="https://evil.example.com") == 403
    assert await status(Host="media.example.com") == 400
    assert await status("GET") == 405
    assert await status("DELETE") == 405
    assert await status(content=b" " * 100_000) == 413
    assert await status(content=b"[" * 60_000) == 400


async def test_mediactl_serves_a_company_of_the_local_stack(company: Company):
    asset_id = (await company.sign())["assetId"]
    command = ["-P", "-m", "mediactl", "mcp", "--company", str(company.id)]
    variable("MEDIACTL_HOME")
    parameters = StdioServerParameters(command=sys.executable, args=command, env={**os.environ})
    async with Client(parameters) as client:
        (found,) = (await called(client, "list_assets"))["items"]
    assert found["asset_id"] == asset_id
