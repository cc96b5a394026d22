import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { Wire, type WireEnd } from "./wire.ts";

/** A wire between two programs of a test, which can be cut and healed. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** Ends every connection and refuses new ones. */
  cut(): void;
  /** Lets nothing through any more and ends nothing, as a lost route does. */
  stall(): void;
  heal(): void;
  /** Ends every connection; new ones lead to another place. */
  lead(to: WireEnd): void;
}

/** Listens on 127.0.0.1 and passes everything on to a port there. */
export async function startTcpProxy(target: WireEnd): Promise<TcpProxy> {
  let end = target;
  const wire = new Wire();
  const server = createServer((near) => wire.carry(near, end));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => wire.cut(),
    stall: () => wire.stall(),
    heal: () => wire.heal(),
    lead(to) {
      end = to;
      wire.reset();
    },
    async [Symbol.asyncDispose]() {
      wire.cut();
      server.close();
      if (server.listening) await once(server, "close");
    },
  };
}
