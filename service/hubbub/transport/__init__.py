"""Connections and bytes: Socket.IO over Engine.IO, in order and without opinion. Nothing here knows what chat is."""
