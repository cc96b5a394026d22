import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A wire between two programs of a test, which can be cut and healed. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** Ends every connection and refuses new ones. */
  cut(): void;
  /** Lets nothing through any more and ends nothing, as a lost route does. */
  stall(): void;
  heal(): void;
}

/** Listens on 127.0.0.1 and passes everything on to a port there. */
export async function startTcpProxy(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  let state: "open" | "cut" | "stalled" = "open";
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((near) => {
    near.on("error", () => {});
    if (state === "cut") {
      near.resetAndDestroy();
      return;
    }
    const far = connect(target.port, target.host);
    far.on("error", () => {});
    const pair = [near, far] as const;
    pairs.add(pair);
    const end = () => {
      near.destroy();
      far.destroy();
      pairs.delete(pair);
    };
    near.once("close", end);
    far.once("close", end);
    if (state === "stalled") return;
    join(pair);
  });
  const join = ([near, far]: readonly [Socket, Socket]) => {
    near.pipe(far);
    far.pipe(near);
  };
  const cut = () => {
    state = "cut";
    for (const [near, far] of pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    stall() {
      state = "stalled";
      for (const [near, far] of pairs) {
        near.unpipe(far).pause();
        far.unpipe(near).pause();
      }
    },
    heal() {
      if (state === "stalled") for (const pair of pairs) join(pair);
      state = "open";
    },
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      if (server.listening) await once(server, "close");
    },
  };
}
