import type { ChildProcess } from "node:child_process";
import { NetworkNamespace } from "./netns.ts";

/** A network namespace with a program in it that serves and asks; see traffic.ts. */
export class Peer {
  readonly namespace: NetworkNamespace;
  readonly #process: ChildProcess;
  #ids = 0;

  constructor(label: string, namespace = new NetworkNamespace(label)) {
    this.namespace = namespace;
    this.#process = namespace.start(new URL("./traffic.ts", import.meta.url));
    this.#process.setMaxListeners(100);
  }

  serve(name: string, port: number): Promise<string> {
    return this.#request({ kind: "serve", name, port });
  }

  /**
   * "name source-address" of whoever answered; rejects with an error whose message is the code. `timeoutMs` is for those
   * who expect silence: an answer takes as long as the machine wants.
   */
  tcp(host: string, port: number, timeoutMs = 30_000): Promise<string> {
    return this.#request({ kind: "tcp", host, port, timeoutMs });
  }

  /** The same over UDP, where what is not answered within a second is lost; with `localPort` the socket, and so the flow, stays for the next call. */
  udp(host: string, port: number, localPort = 0): Promise<string> {
    return this.#request({ kind: "udp", host, port, localPort });
  }

  /** What a resolver finds; for "PTR" the name is an address. Rejects with an error whose message is the code. */
  async dns(server: string, name: string, type: string): Promise<unknown> {
    return JSON.parse(await this.#request({ kind: "dns", server, name, type }));
  }

  /** Who answered in `count` connections, and from which address it saw them come: "name source" → times. */
  async sample(count: number, host: string, port: number): Promise<Map<string, number>> {
    const seen = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      const answer = await this.tcp(host, port);
      seen.set(answer, (seen.get(answer) ?? 0) + 1);
    }
    return new Map([...seen].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #request(request: object): Promise<string> {
    const id = this.#ids++;
    return new Promise((resolve, reject) => {
      const onMessage = (message: { id: number; result?: string; error?: string }) => {
        if (message.id !== id) return;
        this.#process.off("message", onMessage);
        if (message.error) reject(new Error(message.error));
        else resolve(message.result!);
      };
      this.#process.on("message", onMessage);
      this.#process.send({ ...request, id });
    });
  }
}
