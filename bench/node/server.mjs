// Stock socket.io on Node and ws, as it comes, answering without checking or storing anything.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer((request, response) => response.end("alive"));
const chat = new Server(http).of("/chat");
const ok = { ok: true };

chat.on("connection", (socket) => {
  socket.on("message:send", (data, ack) => ack(ok));
  socket.on("room:join", (data, ack) => {
    socket.join(data.room);
    ack(ok);
  });
  socket.on("room:spread", (data, ack) => {
    chat.to(data.room).emit("message", data);
    ack(ok);
  });
});

http.listen(0, "127.0.0.1", 1024, () => {
  console.log(`Node socket.io is open at http://127.0.0.1:${http.address().port}`);
});
