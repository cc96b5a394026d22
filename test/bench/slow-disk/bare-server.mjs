/** The yardstick: a plain HTTP/2 server that parses each body, waits for the "disk", and answers it. */
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const server = createSecureServer({ cert: readFileSync("/bench/tls.crt"), key: readFileSync("/bench/tls.key") });
server.on("request", async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = JSON.stringify(JSON.parse(Buffer.concat(chunks).toString()));
  setTimeout(() => {
    response.writeHead(201, { "content-type": "application/json" });
    response.end(body);
  }, 10);
});
server.listen(6443, () => console.log("listening"));
