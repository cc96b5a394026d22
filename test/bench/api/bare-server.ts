/**
 * The yardstick: a bare Node https server on one port for HTTP/1.1 and HTTP/2. A POST is one JSON parse and one durable
 * SQLite insert, in a transaction of its own; a GET of /object answers some bytes, one of /list the bytes of a file.
 *
 *     node bare-server.ts <directory with tls.crt, tls.key, object.json, list.json>
 */
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import Database from "better-sqlite3";

const directory = process.argv[2]!;
const read = (name: string) => readFileSync(join(directory, name));

const database = new Database(join(directory, "bare.db"));
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec("CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL)");
const insert = database.prepare("INSERT INTO log (key, value) VALUES (?, ?)");

/** Files that are written after the start. */
const files = new Map<string, Buffer>();
const file = (name: string) => {
  const bytes = files.get(name) ?? read(name);
  files.set(name, bytes);
  return bytes;
};

const server = createSecureServer(
  { cert: read("tls.crt"), key: read("tls.key"), allowHTTP1: true, settings: { initialWindowSize: 1024 * 1024 } },
  (request, response) => {
    const answer = (code: number, body: Buffer) => {
      response.writeHead(code, { "content-type": "application/json", "content-length": body.length });
      response.end(body);
    };
    if (request.method === "GET") {
      answer(200, file(request.url === "/list" ? "list.json" : "object.json"));
      return;
    }
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const bytes = Buffer.concat(chunks);
      const { metadata } = JSON.parse(bytes.toString()) as { metadata: { name: string } };
      insert.run(metadata.name, bytes);
      answer(201, bytes);
    });
  },
);
server.listen(0, "127.0.0.1", () => console.log(`listening on ${(server.address() as AddressInfo).port}`));
