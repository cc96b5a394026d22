import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import type { SqlEndpoint } from "../../../../src/store/datastore-endpoint.ts";
import { MysqlDatabase } from "../../../../src/store/mysql/mysql-database.ts";
import { PostgresDatabase } from "../../../../src/store/postgres/postgres-database.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** A database that says what it is given to each connection, then to the log-in, and nothing to the first question. */
async function silentDatabase(t: TestContext, { greeting, welcome }: { greeting?: Buffer; welcome: Buffer }) {
  const asked = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => closed.resolve());
    if (greeting) socket.write(greeting);
    socket.once("data", () => {
      socket.write(welcome);
      socket.on("data", () => asked.resolve());
    });
  });
  server.listen(0, "127.0.0.1");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, "listening");
  const address = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
  const endpoint: SqlEndpoint = { address, user: "u", password: "p", database: "d", parameters: new Map() };
  return { endpoint, asked: asked.promise, closed: closed.promise };
}

test("a PostgreSQL that falls silent after the log-in is given up, and the connection with it", async (t) => {
  const clock = new FakeClock();
  // AuthenticationOk and ReadyForQuery.
  const welcome = Buffer.from("5200000008000000005a0000000549", "hex");
  const { endpoint, asked, closed } = await silentDatabase(t, { welcome });
  const options = { sslMode: "disable", files: {}, settings: new Map() } as const;
  const database = new PostgresDatabase({ endpoint, options, tls: {}, clock });
  const refused = assert.rejects(database.connect(), { kind: "late" });
  await asked;
  await clock.advance(5000);
  await refused;
  await closed;
});

test("a MySQL that falls silent after the log-in is given up, and the connection with it", async (t) => {
  const clock = new FakeClock();
  const packet = (sequence: number, body: Buffer) => Buffer.concat([Buffer.from([body.length, 0, 0, sequence]), body]);
  const text = (value: string) => Buffer.from(`${value}\0`, "latin1");
  // Version 10 of the handshake: who it is, a number, a salt in two parts, what it can do, and how to log in.
  const abilities = [Buffer.from("09a2210200090015", "hex"), Buffer.alloc(10)];
  const greeting = packet(
    0,
    Buffer.concat([
      ...[Buffer.from([10]), text("8.0.0"), Buffer.from([1, 0, 0, 0]), text("12345678"), ...abilities],
      ...[text("123456789012"), text("mysql_native_password")],
    ]),
  );
  const welcome = packet(2, Buffer.from("00000002000000", "hex"));
  const { endpoint, asked, closed } = await silentDatabase(t, { greeting, welcome });
  const options = { tls: "false", settings: [] } as const;
  const database = new MysqlDatabase({ endpoint, options, tls: {}, clock });
  const refused = assert.rejects(database.connect(), { kind: "late" });
  await asked;
  await clock.advance(5000);
  await refused;
  await closed;
});
