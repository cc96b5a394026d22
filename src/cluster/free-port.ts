import { createServer } from "node:net";

/** A TCP port that nothing listens on now. It is fixed for the cluster's life: the engine would choose anew at each start. */
export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, host, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
