import { connect, type TLSSocket } from "node:tls";
import type { RawConnection, RawReply, RawRequest, RawTarget } from "./raw-connection.ts";

const endOfHeaders = Buffer.from("\r\n\r\n");

/** HTTP/1.1 with one request at a time; replies need a content-length. Rejects when the server cannot be reached. */
export function connectHttp1(target: RawTarget, onError: (error: Error) => void): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...target, ALPNProtocols: ["http/1.1"] }, () => {
      socket.off("error", reject);
      resolve(new RawHttp1(socket, target.host, onError));
    });
    socket.once("error", reject);
  });
}

class RawHttp1 implements RawConnection {
  readonly #socket: TLSSocket;
  readonly #host: string;
  #reply: RawReply | undefined;
  #ok = false;
  #head: Buffer | undefined;
  /** Bytes of the body that are still to come; undefined while headers are read. */
  #left: number | undefined;
  #closed = false;

  constructor(socket: TLSSocket, host: string, onError: (error: Error) => void) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => {
      try {
        this.#take(bytes);
      } catch (error) {
        onError(error as Error);
        socket.destroy();
      }
    });
    socket.on("error", (error) => this.#closed || onError(error));
    socket.on("close", () => this.#closed || onError(new Error("the server closed an HTTP/1.1 connection")));
  }

  send({ method, path, body }: RawRequest, reply: RawReply): void {
    this.#reply = reply;
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\naccept: application/json\r\nuser-agent: bench\r\n`;
    if (body === undefined) this.#socket.write(`${head}\r\n`);
    else {
      const length = Buffer.byteLength(body);
      this.#socket.write(`${head}content-type: application/json\r\ncontent-length: ${length}\r\n\r\n${body}`);
    }
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    let rest = bytes;
    if (this.#left === undefined) {
      if (this.#head) rest = Buffer.concat([this.#head, rest]);
      const end = rest.indexOf(endOfHeaders);
      this.#head = end < 0 ? rest : undefined;
      if (end < 0) return;
      const head = rest.toString("latin1", 0, end);
      const length = /\ncontent-length: (\d+)/i.exec(head)?.[1];
      if (length === undefined) throw new Error(`a reply without a length: ${head.slice(0, 100)}`);
      this.#ok = head.startsWith("HTTP/1.1 2");
      this.#left = Number(length);
      this.#reply?.open?.(this.#ok);
      rest = rest.subarray(end + endOfHeaders.length);
    }
    this.#left -= rest.length;
    if (this.#left < 0) throw new Error("a reply is longer than it says");
    if (rest.length > 0) this.#reply?.data?.(rest);
    if (this.#left > 0) return;
    this.#left = undefined;
    const reply = this.#reply;
    this.#reply = undefined;
    reply?.end(this.#ok);
  }
}
