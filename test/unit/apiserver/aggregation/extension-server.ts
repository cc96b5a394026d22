import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { makeCertificate, type TestCertificate } from "../certificates.ts";

/** What an extension server saw of a request. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly clientName: string | undefined;
  readonly body: string;
}

export type Answer = (request: IncomingMessage, response: ServerResponse, seen: Seen) => void;

const group = "wardle.example.com";

export const flunders = {
  kind: "APIResourceList",
  apiVersion: "v1",
  groupVersion: `${group}/v1alpha1`,
  resources: [
    { name: "flunders", singularName: "flunder", namespaced: true, kind: "Flunder", verbs: ["get", "list", "watch"] },
    { name: "flunders/status", singularName: "", namespaced: true, kind: "Flunder", verbs: ["get"] },
  ],
};

/** A small API server behind HTTPS that wants a certificate of the front proxy's authority. */
export class ExtensionServer {
  readonly authority: TestCertificate;
  readonly proxyAuthority: TestCertificate;
  readonly proxy: TestCertificate;
  readonly seen: Seen[] = [];
  /** Answers by path; those of a path that is not there are 404. */
  readonly answers = new Map<string, Answer>();
  readonly #server: Server;
  #port = 0;

  private constructor(
    authority: TestCertificate,
    proxyAuthority: TestCertificate,
    proxy: TestCertificate,
    serving: TestCertificate,
  ) {
    this.authority = authority;
    this.proxyAuthority = proxyAuthority;
    this.proxy = proxy;
    this.#server = createServer(
      {
        cert: serving.certificate,
        key: serving.key,
        ca: proxyAuthority.certificate,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
      this.seen.push(seenOf(request, ""));
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      socket.pipe(socket);
    });
    this.answers.set(`/apis/${group}/v1alpha1`, (_request, response) => json(response, 200, flunders));
  }

  static async start(serverName = "sample-api.ext.svc"): Promise<ExtensionServer> {
    const authority = await makeCertificate({ subject: "CN=extension-ca" });
    const proxyAuthority = await makeCertificate({ subject: "CN=request-header-ca" });
    const made = new ExtensionServer(
      authority,
      proxyAuthority,
      await makeCertificate({ subject: "CN=system:auth-proxy", issuer: proxyAuthority, usage: "client" }),
      await makeCertificate({ subject: "CN=sample", issuer: authority, usage: "server", dnsNames: [serverName] }),
    );
    await new Promise<void>((resolve) => made.#server.listen(0, "127.0.0.1", resolve));
    made.#port = (made.#server.address() as AddressInfo).port;
    return made;
  }

  /** Connects to this server whatever address is asked for. */
  dial = (): Promise<Duplex> =>
    new Promise((resolve, reject) => {
      const socket = connect(this.#port, "127.0.0.1");
      socket.once("connect", () => resolve(socket));
      socket.once("error", reject);
    });

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const seen = seenOf(request, Buffer.concat(chunks).toString());
    this.seen.push(seen);
    const answer = this.answers.get(new URL(seen.url, "https://x").pathname);
    if (answer) answer(request, response, seen);
    else json(response, 404, { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404 });
  }
}

function seenOf(request: IncomingMessage, body: string): Seen {
  const { method = "", url = "", headers } = request;
  const name = (request.socket as TLSSocket).getPeerCertificate().subject?.CN;
  return { method, url, headers, clientName: typeof name === "string" ? name : undefined, body };
}

export function json(
  response: ServerResponse,
  code: number,
  value: object,
  headers: Record<string, string> = {},
): void {
  response.writeHead(code, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}
