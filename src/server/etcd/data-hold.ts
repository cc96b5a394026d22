import { rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import { ConfigurationError } from "../../machinery/configuration-error.ts";

/**
 * A socket beside the data of a member, on which its server listens while it runs. Containers that share a data directory
 * share no ports by which they would notice each other, and etcd's lock on its file lets a second one wait for ever.
 */
const socketOf = (serverDirectory: string) => join(serverDirectory, "db", "etcd-running");

/** @throws ConfigurationError while a server runs on the data, in whatever container */
export async function assertUnused(serverDirectory: string): Promise<void> {
  if (await answers(socketOf(serverDirectory)))
    throw new ConfigurationError(
      `this server's etcd runs, on the data in ${join(serverDirectory, "db")}; stop the server first`,
    );
}

/**
 * Tells others that a server runs on the data, until the function that it gives is called or the process ends.
 * @throws ConfigurationError when another server does
 */
export async function holdData(serverDirectory: string): Promise<() => void> {
  await assertUnused(serverDirectory);
  const path = socketOf(serverDirectory);
  // What a server that was killed has left.
  rmSync(path, { force: true });
  const listener = createServer((socket) => socket.destroy()).unref();
  await new Promise<void>((resolve) => {
    // A path may be too long for a socket, a file system have none: then etcd's lock has to do.
    listener.once("error", () => resolve());
    listener.listen(path, resolve);
  });
  return () => void listener.close();
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
