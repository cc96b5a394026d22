import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Timer } from "../../machinery/clock.ts";
import { parseJson, stringifyJson } from "../../machinery/json.ts";
import { type Backend, BackendAgent, connectBackend, type DialContext } from "./backend-agent.ts";
import { connectionErrorText } from "./connection-error.ts";
import { responseError } from "./response-error.ts";

/** Where a webhook is: as admissionregistration's and apiextensions' WebhookClientConfig say it. */
export interface WebhookClientConfig {
  readonly url?: string | undefined;
  readonly service?:
    | { readonly namespace?: string; readonly name?: string; readonly path?: string; readonly port?: number }
    | undefined;
  /** PEM as base64. */
  readonly caBundle?: string | undefined;
}

interface Target {
  readonly backend: Backend;
  /** "https://name.namespace.svc:443/path". */
  readonly url: string;
  readonly agent: BackendAgent;
  /** Calls under way. */
  busy: number;
  idle: Timer | undefined;
}

/** A configuration that names no place, or whose authorities cannot be read. */
export class NoBackendError extends Error {}

/** Connections that nobody used for this long are closed (Go's figure). */
const idleMs = 90_000;
const answerMaxBytes = 64 * 1024 * 1024;
/** What Kubernetes names itself by to webhooks. */
const userAgent = "kube-apiserver-admission";

/** Posts JSON to webhooks over HTTPS, to a URL or to an endpoint of a Service, over connections that it keeps. */
export class WebhookCaller {
  readonly #context: DialContext;
  readonly #signal: AbortSignal;
  readonly #targets = new Map<string, Target>();

  /** `signal` ends every connection. */
  constructor(context: DialContext, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#close(), { once: true });
  }

  /**
   * Sends a review and gives the answer. Throws an error with the text of Kubernetes' client; it is a StatusError when
   * the webhook answered with an error of HTTP. `timeoutMs`, whole seconds, is told to the webhook too.
   */
  async post(config: WebhookClientConfig, body: object, timeoutMs: number): Promise<unknown> {
    const target = this.#target(config);
    const url = `${target.url}?timeout=${timeoutMs / 1000}s`;
    const bytes = Buffer.from(stringifyJson(body));
    target.busy++;
    target.idle?.cancel();
    try {
      const { code, contentType, answer } = await this.#send(target, url, bytes, timeoutMs);
      if (code < 200 || code > 299) throw responseError(code, contentType, answer);
      if (answer.length === 0)
        throw new Error(`0-length response with status code: ${code} and content type: ${contentType}`);
      try {
        return parseJson(answer);
      } catch (error) {
        throw new Error(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
      }
    } finally {
      target.busy--;
      if (target.busy === 0) target.idle = this.#context.ioClock.after(idleMs, () => this.#forget(target));
    }
  }

  async #send(target: Target, url: string, bytes: Buffer, timeoutMs: number) {
    const deadline = new AbortController();
    const timer = this.#context.ioClock.after(timeoutMs, () => deadline.abort(new Error("context deadline exceeded")));
    const onStop = () => deadline.abort(new Error("context canceled"));
    this.#signal.addEventListener("abort", onStop, { once: true });
    if (this.#signal.aborted) onStop();
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await once(target, new URL(url), bytes, deadline.signal);
        } catch (error) {
          // A kept connection may have been closed by the webhook just as it was taken.
          if (error instanceof StaleConnection && attempt < idleRetries) continue;
          throw error instanceof StaleConnection ? error.cause : error;
        }
      }
    } catch (error) {
      const why = deadline.signal.aborted
        ? deadline.signal.reason.message
        : connectionErrorText(error, target.backend.address);
      throw new Error(`Post ${JSON.stringify(url)}: ${why}`);
    } finally {
      timer.cancel();
      this.#signal.removeEventListener("abort", onStop);
    }
  }

  #target(config: WebhookClientConfig): Target {
    const key = JSON.stringify([config.url, config.service, config.caBundle]);
    let target = this.#targets.get(key);
    if (!target) {
      const backend = backendOf(config);
      target = {
        ...backend,
        agent: new BackendAgent(() => connectBackend(this.#context, backend.backend, this.#signal)),
        busy: 0,
        idle: undefined,
      };
      this.#targets.set(key, target);
    }
    return target;
  }

  #forget(target: Target): void {
    target.idle?.cancel();
    target.agent.destroy();
    for (const [key, known] of this.#targets) if (known === target) this.#targets.delete(key);
  }

  #close(): void {
    for (const target of [...this.#targets.values()]) this.#forget(target);
  }
}

/** As many kept connections as there can be might all be stale. */
const idleRetries = 16;

class StaleConnection extends Error {}

/** One attempt. */
function once(
  { agent, backend }: Target,
  url: URL,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<{ code: number; contentType: string; answer: Buffer }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      agent,
      method: "POST",
      path: url.pathname + url.search,
      headers: {
        host: backend.address,
        "user-agent": userAgent,
        accept: "application/json, */*",
        "content-type": "application/json",
        "content-length": bytes.length,
      },
    });
    const onAbort = () => {
      request.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const done = () => signal.removeEventListener("abort", onAbort);
    request.on("error", (error: NodeJS.ErrnoException) => {
      done();
      const stale = request.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      reject(stale ? new StaleConnection("", { cause: error }) : error);
    });
    request.once("response", (response) => {
      readAnswer(response)
        .then(
          (answer) =>
            resolve({
              code: response.statusCode ?? 0,
              contentType: response.headers["content-type"] ?? "",
              answer,
            }),
          reject,
        )
        .finally(done);
    });
    if (signal.aborted) onAbort();
    else request.end(bytes);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > answerMaxBytes) throw new Error(`the answer is larger than ${answerMaxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function backendOf({ url, service, caBundle }: WebhookClientConfig): Pick<Target, "backend" | "url"> {
  const pem = caBundle ? Buffer.from(caBundle, "base64").toString("latin1") : "";
  const ca = pem.trim() === "" ? undefined : pem;
  if (ca !== undefined && !ca.includes("-----BEGIN CERTIFICATE-----")) {
    throw new NoBackendError("unable to load root certificates: unable to parse bytes as PEM block");
  }
  if (service) {
    const { name = "", namespace = "", port = 443, path = "" } = service;
    const address = `${name}.${namespace}.svc:${port}`;
    const absolute = path === "" || path.startsWith("/") ? path || "/" : `/${path}`;
    return { backend: { address, ca, service: { name, namespace, port } }, url: `https://${address}${absolute}` };
  }
  if (!url) throw new NoBackendError("webhook configuration must have either service or URL");
  if (!URL.canParse(url)) throw new NoBackendError(`Unparsable URL: parse ${JSON.stringify(url)}`);
  const parsed = new URL(url);
  const address = `${parsed.hostname}:${parsed.port || "443"}`;
  // As it was written, with a port that could have been left out.
  const host = /^https:\/\/([^/]*)/i.exec(url)?.[1] ?? parsed.host;
  return { backend: { address, ca }, url: `https://${host}${parsed.pathname}` };
}
