"""A bot that answers whoever says hello in the lobby. Needs: pip install "python-socketio[asyncio_client]"."""

import asyncio
import sys

import aiohttp
import socketio

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
chat = socketio.AsyncClient()


@chat.on("message", namespace="/chat")
async def greet(message):
    if not message["body"].startswith("Hello"):
        return
    # The key is made from what is answered, so that this sender never answers a message twice, edited or not.
    reply = {"room": "lobby", "key": f"greeter-{message['id']}", "body": f"Welcome, {message['sender']['name']}!"}
    ack = await chat.call("message:send", reply, namespace="/chat")
    print("answered" if ack["ok"] else ack["error"]["code"], flush=True)


async def main():
    async with aiohttp.ClientSession() as http, http.post(f"{URL}/api/guest", json={"name": "Greeter"}) as answer:
        token = (await answer.json())["token"]
    await chat.connect(URL, namespaces=["/chat"], auth={"token": token})
    await chat.call("room:create", {"id": "lobby", "title": "Lobby", "kind": "public"}, namespace="/chat")
    joined = await chat.call("room:join", {"room": "lobby"}, namespace="/chat")
    print("listening" if joined["ok"] else joined["error"]["code"], flush=True)
    await chat.wait()


asyncio.run(main())
