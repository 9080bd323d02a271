"""A bot that answers whoever says hello in the lobby. Needs: pip install python-socketio aiohttp."""

import asyncio
import sys

import aiohttp
import socketio

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
chat = socketio.AsyncClient()
seen = {}  # {since, epoch}: every change of the lobby up to the revision `since` is dealt with.
in_turn = asyncio.Lock()  # Events are dealt with one after the other, those of a new connection behind what was missed.


async def request(event, **fields):
    """The data of the ack, which is {ok: true, data} or {ok: false, error}."""
    ack = await chat.call(event, fields, namespace="/chat", timeout=10)
    if not ack["ok"]:
        raise RuntimeError(ack["error"]["code"])
    return ack["data"]


async def greet(message):
    if message["body"].startswith("Hello"):
        # The key is made from what is answered, so that this sender never answers a message twice, edited or not.
        reply = {"key": f"greeter-{message['id']}", "body": f"Welcome, {message['sender']['name']}!"}
        await request("message:send", room="lobby", **reply)
        print("answered", flush=True)


@chat.on("message", namespace="/chat")
async def on_message(message):
    async with in_turn:
        await greet(message)
        if message["rev"] == seen["since"] + 1:
            seen["since"] += 1


# Comes for each connection, so again after a break: then what was missed is asked for, page by page.
@chat.on("connect", namespace="/chat")
async def on_connect():
    async with in_turn:
        await join()
    print("listening", flush=True)


async def join():
    # That the lobby is there already is fine.
    await chat.call("room:create", {"id": "lobby", "title": "Lobby", "kind": "public"}, namespace="/chat")
    is_new = not seen
    page = await request("room:join", room="lobby", **seen)
    epoch = page["room"]["epoch"]
    while True:
        for message in [] if is_new else page["messages"]:
            await greet(message)
        seen.update(since=page["next"], epoch=epoch)
        if page["next"] >= page["head"]:
            break
        page = await request("history:sync", room="lobby", **seen)


async def main():
    async with aiohttp.ClientSession() as http, http.post(f"{URL}/api/guest", json={"name": "Greeter"}) as answer:
        token = (await answer.json())["token"]
    await chat.connect(URL, namespaces=["/chat"], auth={"token": token})
    await chat.wait()


asyncio.run(main())
