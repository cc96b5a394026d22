import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * Ports are taken from here: below those that systems give to whoever asks for any (from 32768 on by default), since one
 * of these may be some connection's by the time that it is used, or while the cluster is stopped; and below the ports of
 * services on nodes.
 */
const range = { from: 20_000, to: 30_000 };
/** Where so many are taken, something else is wrong with the host. */
const tries = 100;

/** A TCP port that nothing listens on now. It is fixed for the cluster's life: the engine would choose anew at each start. */
export async function freePort(host: string): Promise<number> {
  for (let left = tries; ; left--) {
    const port = randomInt(range.from, range.to);
    try {
      await listenOnce(host, port);
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || left <= 1) throw error;
    }
  }
}

function listenOnce(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, host, () => server.close(() => resolve()));
  });
}
