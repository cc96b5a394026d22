import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { makeCertificate } from "../unit/apiserver/certificates.ts";
import type { Json } from "../unit/apiserver/harness.ts";

/** What a webhook got, and what it answers: a body, or a code with a text. */
export type WebhookHandler = (review: Json, path: string) => Json | Promise<Json>;

/** An answer that is no review. */
export class RawAnswer {
  readonly code: number;
  readonly text: string;

  constructor(code: number, text: string) {
    this.code = code;
    this.text = text;
  }
}

/** An HTTPS server for `localhost` with an authority of its own. */
export class WebhookServer {
  /** Of its authority, base64, as clientConfig.caBundle wants it. */
  readonly caBundle: string;
  /** Its own certificate, PEM. */
  readonly certificate: string;
  readonly url: string;
  /** Every review that came, in order. */
  readonly reviews: Json[] = [];
  /** Connections that were opened. */
  connections = 0;
  handler: WebhookHandler;
  readonly #server: Server;

  private constructor(server: Server, ca: string, certificate: string, handler: WebhookHandler) {
    this.#server = server;
    this.certificate = certificate;
    this.caBundle = Buffer.from(ca).toString("base64");
    this.url = `https://localhost:${(server.address() as AddressInfo).port}`;
    this.handler = handler;
    server.on("secureConnection", () => this.connections++);
    server.on("request", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", async () => {
        const review = JSON.parse(Buffer.concat(chunks).toString());
        this.reviews.push(review);
        const answer = await this.handler(review, request.url ?? "/");
        if (answer instanceof RawAnswer) {
          response.writeHead(answer.code, { "content-type": "text/plain" }).end(answer.text);
        } else {
          response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
        }
      });
    });
  }

  static async start(handler: WebhookHandler, dnsNames: readonly string[] = ["localhost"]): Promise<WebhookServer> {
    const authority = await makeCertificate({ subject: "CN=webhook-ca" });
    const leaf = await makeCertificate({ subject: "CN=webhook", issuer: authority, dnsNames, usage: "server" });
    // Tests count connections: only `dropConnections` closes those that are idle.
    const server = createServer({ cert: leaf.certificate, key: leaf.key, keepAliveTimeout: 0 });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new WebhookServer(server, authority.certificate, leaf.certificate, handler);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `clientConfig` for a path of this server. */
  at(path: string): { url: string; caBundle: string } {
    return { url: `${this.url}${path}`, caBundle: this.caBundle };
  }

  /** Closes connections that nobody uses just now, as a server does that is about to go. */
  dropConnections(): void {
    this.#server.closeAllConnections();
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    // After it takes no more: one that came in between would be waited for.
    this.#server.closeAllConnections();
    await closed;
  }
}
