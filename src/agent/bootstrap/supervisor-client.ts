import { request as httpsRequest } from "node:https";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { checkServerIdentity } from "./server-identity.ts";
import { caHash, parseToken, type Token } from "./token.ts";

/** A reply of the supervisor that is not a success. */
export class SupervisorError extends Error {
  readonly code: number;
  constructor(path: string, code: number, text: string) {
    super(`the server answered ${code} to ${path}: ${text.trim().slice(0, 300)}`);
    this.code = code;
  }
}

interface Call {
  readonly method?: "GET" | "POST";
  readonly headers?: Record<string, string>;
  readonly body?: Buffer;
  /** Certificates to trust; "system" for the operating system's. */
  readonly trust: string | "system" | "unverified";
  readonly client?: { certificate: string; key: string };
  readonly timeoutMs: number;
}

/** For the first words to a server, which may not be there yet: then it is asked again. */
const trustTimeoutMs = 10_000;
/**
 * For everything after that. A failure ends this program, and a server that hashes the passwords of several new nodes with
 * little processor takes its time: seconds for each.
 */
const answerTimeoutMs = 120_000;

function call(base: URL, path: string, options: Call): Promise<Buffer> {
  const { timeoutMs } = options;
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      new URL(path, base),
      {
        method: options.method ?? "GET",
        agent: false,
        timeout: timeoutMs,
        headers: { ...options.headers, ...(options.body ? { "content-length": options.body.length } : {}) },
        rejectUnauthorized: options.trust !== "unverified",
        checkServerIdentity,
        ...(options.trust === "system" || options.trust === "unverified" ? {} : { ca: options.trust }),
        ...(options.client ? { cert: options.client.certificate, key: options.client.key } : {}),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const body = Buffer.concat(chunks);
          const code = response.statusCode ?? 0;
          if (code >= 200 && code < 300) resolve(body);
          else reject(new SupervisorError(path, code, messageOf(body)));
        });
      },
    );
    request.on("timeout", () => request.destroy(new Error(`no answer from ${base.host} within ${timeoutMs / 1000} s`)));
    request.on("error", reject);
    request.end(options.body);
  });
}

/** The message of a Status body, or the body itself. */
function messageOf(body: Buffer): string {
  const text = body.toString("utf8");
  return /"message":\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text;
}

/** The supervisor of a server, trusted: every call is verified against the CA that the token vouches for. */
export interface Supervisor {
  readonly url: URL;
  /** The bytes of /cacerts. */
  readonly ca: string;
  get(path: string, headers?: Record<string, string>): Promise<Buffer>;
  /** `client`: authenticate with this certificate instead of the token. */
  post(
    path: string,
    body: Buffer,
    headers?: Record<string, string>,
    client?: { certificate: string; key: string },
  ): Promise<Buffer>;
}

interface JoinContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** As whom the token speaks; default "node". */
  readonly user?: "node" | "server";
}

/** The trusted supervisor of a server that does not answer yet: as {@link joinThrough}. */
export function connectSupervisor(server: string, token: string, context: JoinContext): Promise<Supervisor> {
  return joinThrough([server], token, context, async (supervisor) => supervisor);
}

/** A server that starts at the same time is up in a second or two: only after that is there something to say. */
const silentMs = 2_000;

/** A tenth of the time that has been waited already, within these bounds, milliseconds. */
const [shortestPauseMs, longestPauseMs] = [100, 2_000];

/**
 * Runs `work` with the supervisor of the first of `servers` (https URLs) with which it can be done. Trust is established
 * before anything secret is sent (k3s documentation, "token"): fetch the CA unverified, fetch it again verified by
 * itself, then compare its hash with the token's. Tries again until `signal` aborts.
 * @throws ConfigurationError when the first server is not the token's, or trying again is of no use; another server that
 * is not the token's is passed over, since its address may be somebody else's by now
 */
export async function joinThrough<T>(
  servers: readonly string[],
  tokenText: string,
  { clock, logger, signal, user = "node" }: JoinContext,
  work: (supervisor: Supervisor) => Promise<T>,
): Promise<T> {
  const urls = servers.map(serverUrl);
  const token = parseToken(tokenText);
  const sinceMs = clock.now();
  let trusted = false;
  let said = false;
  for (;;) {
    const waitedMs = clock.now() - sinceMs;
    for (const url of urls) {
      try {
        const ca = await fetchCa(url, token);
        if (token.caHash === "" && !trusted) logger.warn(withoutHash);
        trusted = true;
        return await work(supervisor(url, ca, token, user));
      } catch (error) {
        signal.throwIfAborted();
        const final = error instanceof ConfigurationError && (url === urls[0] || !(error instanceof TrustError));
        if (final) throw error;
        if (waitedMs < silentMs || said) continue;
        logger.info(
          { server: url.origin, error: (error as Error).message },
          "Waiting to retrieve agent configuration; server is not ready",
        );
      }
    }
    // One line a server and outage.
    said ||= waitedMs >= silentMs;
    await clock.sleep(Math.min(longestPauseMs, Math.max(shortestPauseMs, waitedMs / 10)), signal);
  }
}

const withoutHash =
  "Cluster CA certificate is not trusted by the host CA bundle, and the token does not include a CA hash. Use the full token from the server's node-token file to enable Cluster CA validation.";

/** The server is not the one that the token was made for. */
export class TrustError extends ConfigurationError {
  override readonly name = "TrustError";
}

/** The server takes the token for nobody's: this one, or for this user. */
export class TokenRefusedError extends TrustError {}

/** @throws when the URL is not https */
export function serverUrl(server: string): URL {
  let url: URL;
  try {
    url = new URL(server);
  } catch {
    throw new TrustError(`invalid server URL "${server}": give it as https://<host>:6443`);
  }
  if (url.protocol !== "https:") throw new TrustError(`only https:// URLs are supported, got "${server}"`);
  return url;
}

async function fetchCa(url: URL, token: Token): Promise<string> {
  const ca = (await call(url, "/cacerts", { trust: "unverified", timeoutMs: trustTimeoutMs })).toString("utf8");
  const again = await call(url, "/cacerts", { trust: ca, timeoutMs: trustTimeoutMs });
  if (again.toString("utf8") !== ca) throw new Error("the server changed its CA between two calls");
  const hash = caHash(ca);
  if (token.caHash !== "" && token.caHash !== hash) {
    throw new TrustError(
      `token CA hash does not match the Cluster CA certificate hash: ${token.caHash} != ${hash}; ` +
        `is ${url.origin} the server that the token was made by?`,
    );
  }
  return ca;
}

function supervisor(url: URL, ca: string, token: Token, user: "node" | "server"): Supervisor {
  const authorization = token.bootstrap
    ? `Bearer ${token.password}`
    : `Basic ${Buffer.from(`${user}:${token.password}`).toString("base64")}`;
  return {
    url,
    ca,
    get: (path, headers) =>
      call(url, path, { trust: ca, timeoutMs: answerTimeoutMs, headers: { authorization, ...headers } }).catch(
        (error) => {
          throw explained(error, url, user);
        },
      ),
    post: (path, body, headers, client) =>
      call(url, path, {
        method: "POST",
        trust: ca,
        timeoutMs: answerTimeoutMs,
        body,
        headers: { ...(client ? {} : { authorization }), "content-type": "application/pkcs10", ...headers },
        ...(client ? { client } : {}),
      }).catch((error) => {
        throw explained(error, url, user);
      }),
  };
}

/** A token that is refused once is refused always. */
function explained(error: Error, url: URL, user: "node" | "server"): Error {
  if (!(error instanceof SupervisorError) || error.code !== 401) return error;
  const file = user === "server" ? "server/token" : "server/node-token";
  return new TokenRefusedError(
    `${url.origin} does not accept the token (401 Unauthorized); give the content of the server's file ${file}`,
  );
}
