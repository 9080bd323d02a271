"""What chat is, without aiohttp, Socket.IO, Redis or a database: rooms, messages, feeds, who may do what."""
