import type { IncomingMessage, ServerResponse } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { keyOf } from "../../machinery/object.ts";
import type { Cri } from "../containerd/cri.ts";
import { type LogOptions, readLog } from "./log-reader.ts";
import { allContainers } from "./pod-facts.ts";
import type { PodWorker } from "./pod-worker.ts";
import { renderMetrics, renderResourceMetrics, statsSummary } from "./stats.ts";

export interface KubeletServerOptions {
  readonly cri: Cri;
  readonly workers: ReadonlyMap<string, PodWorker>;
  readonly logRoot: string;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

class HttpError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const truthy = (value: string | null): boolean => value === "1" || value === "true";

/** What the kubelet answers over https: logs, commands in containers, ports, and figures. */
export class KubeletServer {
  readonly #options: KubeletServerOptions;

  constructor(options: KubeletServerOptions) {
    this.#options = options;
  }

  /** Answers a plain request. Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      const code = error instanceof HttpError ? error.code : 500;
      if (!(error instanceof HttpError))
        this.#options.logger.warn({ path: request.url, error: (error as Error).message }, "Kubelet request failed");
      if (response.headersSent) response.destroy();
      else
        response.writeHead(code, { "content-type": "text/plain; charset=utf-8" }).end(`${(error as Error).message}\n`);
    }
  }

  /** Joins an upgrade (exec, attach, port-forward) to the runtime's streaming server, byte for byte. Never rejects. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on("error", () => {});
    try {
      const target = new URL(await this.#streamingUrl(request));
      const upstream = connect({ host: target.hostname, port: Number(target.port) });
      upstream.on("error", (error) => {
        this.#options.logger.debug({ error: error.message }, "Stream to the runtime ended");
      });
      // The runtime ends a stream once it has told the command's end: what the caller says after that resets the
      // connection, and the command's last words are still on their way out.
      upstream.on("close", () => {
        socket.end();
        socket.resume();
      });
      socket.on("close", () => upstream.destroy());
      const lines = [`${request.method} ${target.pathname}${target.search} HTTP/1.1`];
      for (let index = 0; index < request.rawHeaders.length; index += 2) {
        const name = request.rawHeaders[index]!;
        if (name.toLowerCase() === "host") lines.push(`Host: ${target.host}`);
        else lines.push(`${name}: ${request.rawHeaders[index + 1]}`);
      }
      upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
      if (head.length > 0) upstream.write(head);
      socket.pipe(upstream).pipe(socket);
    } catch (error) {
      const code = error instanceof HttpError ? error.code : 500;
      const text = `${(error as Error).message}\n`;
      const reason = { 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error" }[code] ?? "Error";
      socket.end(
        `HTTP/1.1 ${code} ${reason}\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
      );
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { cri, workers, clock, nodeName } = this.#options;
    const url = new URL(request.url ?? "/", "http://kubelet");
    const [, first = "", ...rest] = url.pathname.split("/").map(decodeURIComponent);
    const text = (body: string, type = "text/plain; charset=utf-8") =>
      void response.writeHead(200, { "content-type": type }).end(body);
    const json = (body: unknown) => text(JSON.stringify(body), "application/json");
    switch (first) {
      case "healthz":
        return text("ok");
      case "pods":
      case "runningpods":
        return json({
          kind: "PodList",
          apiVersion: "v1",
          metadata: {},
          items: [...workers.values()].map(({ pod }) => pod),
        });
      case "containerLogs":
        return this.#logs(url, rest, response);
      case "stats":
        if (rest[0] === "summary") return json(await statsSummary(cri, workers, nodeName, clock.now()));
        break;
      case "metrics":
        if (rest[0] === "resource")
          return text(await renderResourceMetrics(cri, workers, clock.now()), "text/plain; version=0.0.4");
        if (rest[0] === undefined || rest[0] === "cadvisor")
          return text(await renderMetrics(cri, workers, rest[0] === "cadvisor"), "text/plain; version=0.0.4");
        break;
      case "exec":
      case "attach":
      case "portForward":
        throw new HttpError(400, "unable to upgrade: request is missing the upgrade header");
    }
    throw new HttpError(404, `the kubelet serves no "${url.pathname}"`);
  }

  #worker(namespace: string, name: string): PodWorker {
    const key = `${namespace}/${name}`;
    const found = [...this.#options.workers.values()].filter(({ pod }) => keyOf(pod) === key);
    // A pod of the same name may still be ending.
    const worker = found.find(({ pod }) => !pod.metadata.deletionTimestamp) ?? found[0];
    if (!worker) throw new HttpError(404, `pod "${name}" in namespace "${namespace}" does not exist on this node`);
    return worker;
  }

  /** The streaming server's URL for /exec, /attach (…/<namespace>/<pod>[/<uid>]/<container>) and /portForward. */
  async #streamingUrl(request: IncomingMessage): Promise<string> {
    const { cri } = this.#options;
    const url = new URL(request.url ?? "/", "http://kubelet");
    const [, action = "", namespace = "", name = "", ...rest] = url.pathname.split("/").map(decodeURIComponent);
    const query = url.searchParams;
    if (action === "portForward") {
      const sandbox = this.#worker(namespace, name).observed.sandboxes[0];
      if (!sandbox?.ready) throw new HttpError(404, `pod "${name}" has no running sandbox`);
      return cri.portForward({
        podSandboxId: sandbox.id,
        port: query
          .getAll("port")
          .flatMap((list) => list.split(","))
          .map(Number),
      });
    }
    if (action !== "exec" && action !== "attach") throw new HttpError(404, `the kubelet upgrades no "${url.pathname}"`);
    const container = rest.at(-1) ?? "";
    const worker = this.#worker(namespace, name);
    const observed = worker.observed.containers.find((candidate) => candidate.name === container);
    if (observed?.state !== "running") throw new HttpError(404, `container not found ("${container}")`);
    const flag = (short: string, long: string) => truthy(query.get(short)) || truthy(query.get(long));
    const streams = {
      containerId: observed.id,
      stdin: flag("input", "stdin"),
      stdout: flag("output", "stdout"),
      stderr: flag("error", "stderr"),
      tty: flag("tty", "tty"),
    };
    if (action === "exec")
      return cri.exec({ ...streams, stderr: streams.stderr && !streams.tty, cmd: query.getAll("command") });
    const spec = allContainers(worker.pod).find((entry) => entry.container.name === container)?.container;
    const tty = spec?.tty ?? false;
    return cri.attach({ ...streams, tty, stderr: streams.stderr && !tty });
  }

  async #logs(
    url: URL,
    [namespace = "", name = "", container = ""]: string[],
    response: ServerResponse,
  ): Promise<void> {
    const { clock, cri } = this.#options;
    const worker = this.#worker(namespace, name);
    if (!allContainers(worker.pod).some((entry) => entry.container.name === container))
      throw new HttpError(404, `container "${container}" not found in pod "${name}"`);
    const query = url.searchParams;
    const containers = worker.observed.containers.filter((candidate) => candidate.name === container);
    // One that was made and has not started yet has no log; the one before it may.
    const started = containers.filter(({ state }) => state !== "created");
    const observed = truthy(query.get("previous")) ? started[1] : started[0];
    if (!observed) {
      if (truthy(query.get("previous")))
        throw new HttpError(400, `previous terminated container "${container}" in pod "${name}" not found`);
      const all = [
        ...(worker.pod.status?.containerStatuses ?? []),
        ...(worker.pod.status?.initContainerStatuses ?? []),
      ];
      const waiting = all.find((status) => status.name === container)?.state?.waiting?.reason ?? "ContainerCreating";
      throw new HttpError(400, `container "${container}" in pod "${name}" is waiting to start: ${waiting}`);
    }
    const number = (key: string) => (query.get(key) === null ? undefined : Number(query.get(key)));
    const sinceSeconds = number("sinceSeconds");
    const sinceTime = query.get("sinceTime");
    const stream = query.get("stream")?.toLowerCase();
    const options: LogOptions = {
      follow: truthy(query.get("follow")),
      timestamps: truthy(query.get("timestamps")),
      tailLines: number("tailLines"),
      limitBytes: number("limitBytes"),
      sinceMs: sinceTime
        ? Date.parse(sinceTime)
        : sinceSeconds === undefined
          ? undefined
          : clock.now() - sinceSeconds * 1000,
      stream: stream === "stdout" || stream === "stderr" ? stream : undefined,
    };
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const source = {
      path: observed.logPath,
      signal: gone.signal,
      running: async () => {
        try {
          return (await cri.containerStatus(observed.id)).state === "CONTAINER_RUNNING";
        } catch {
          return false;
        }
      },
    };
    // The end of a container writes nothing to its log: the pod's worker hears of it.
    if (options.follow) void this.#endWith(worker, observed.id, gone);
    response.writeHead(200, { "content-type": "text/plain" });
    response.flushHeaders();
    try {
      for await (const part of readLog(source, options)) {
        if (gone.signal.aborted && response.destroyed) return;
        if (!response.write(part)) await new Promise<void>((resolve) => onceDrained(response, resolve));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      response.write(`failed to open log file "${observed.logPath}": no such file or directory\n`);
    }
    response.end();
  }

  /** Lets a follower look again when the container's state has changed, by aborting its wait. */
  async #endWith(worker: PodWorker, id: string, gone: AbortController): Promise<void> {
    await worker.containerEnded(id, gone.signal);
    // What was written last is read before the stream ends.
    await this.#options.clock.sleep(50, gone.signal).catch(() => {});
    gone.abort();
  }
}

function onceDrained(response: ServerResponse, resolve: () => void): void {
  const done = () => {
    response.off("drain", done);
    response.off("close", done);
    resolve();
  };
  response.on("drain", done);
  response.on("close", done);
}
