import { request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import type { HTTPGetAction, LifecycleHandler, Probe } from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import { enumeration, message, string } from "../../machinery/protobuf.ts";
import { GrpcClient } from "../../rpc/grpc-client.ts";
import type { Cri } from "../containerd/cri.ts";
import type { AnyContainer } from "./pod-facts.ts";
import { hostInUrl } from "./runtime-config.ts";

export interface HandlerTarget {
  readonly containerId: string;
  readonly container: AnyContainer;
  readonly podIp: string;
}

export interface HandlerResult {
  readonly ok: boolean;
  /** What it said, for events. */
  readonly output: string;
}

export interface HandlerOptions {
  readonly cri: Cri;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly userAgent?: string;
  /** A hook has reached whom it tells with any status of the answer; a probe asks for a good one. Default false. */
  readonly anyStatus?: boolean;
}

/** Output of checks that is kept for events, in bytes. */
const mostOutputBytes = 10 * 1024;

const healthCheck = {
  path: "/grpc.health.v1.Health/Check",
  request: message("HealthCheckRequest", { service: string(1) }),
  response: message("HealthCheckResponse", {
    status: enumeration(1, ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]),
  }),
};

/** A port by number or by the name that the container gives it. Throws for a name that it does not have. */
export function portOf(port: number | string, container: AnyContainer): number {
  if (typeof port === "number") return port;
  if (/^\d+$/.test(port)) return Number(port);
  const named = container.ports?.find(({ name }) => name === port);
  if (!named) throw new Error(`couldn't find port: "${port}" in container "${container.name}"`);
  return named.containerPort;
}

/** Runs a probe's or hook's action once. Never throws: what goes wrong is a failure with its text. */
export async function runHandler(
  handler: Probe | LifecycleHandler,
  target: HandlerTarget,
  options: HandlerOptions,
): Promise<HandlerResult> {
  try {
    if (handler.exec) return await runExec(handler.exec.command ?? [], target, options);
    if (handler.httpGet) return await runHttp(handler.httpGet, target, options);
    if (handler.tcpSocket) {
      const { host, port } = handler.tcpSocket;
      return await runTcp(host || target.podIp, portOf(port, target.container), options);
    }
    if ("grpc" in handler && handler.grpc)
      return await runGrpc(handler.grpc.port, handler.grpc.service ?? "", target, options);
    if ("sleep" in handler && handler.sleep) {
      await options.clock.sleep(handler.sleep.seconds * 1000, options.signal);
      return { ok: true, output: "" };
    }
    return { ok: false, output: "no action of a known kind" };
  } catch (error) {
    return { ok: false, output: (error as Error).message };
  }
}

async function runExec(
  command: readonly string[],
  target: HandlerTarget,
  options: HandlerOptions,
): Promise<HandlerResult> {
  const seconds = Number.isFinite(options.timeoutMs) ? Math.max(1, Math.round(options.timeoutMs / 1000)) : 0;
  try {
    const { exitCode, stdout, stderr } = await options.cri.execSync(
      target.containerId,
      command,
      seconds,
      options.signal,
    );
    const output = Buffer.concat([stdout, stderr]).subarray(0, mostOutputBytes).toString();
    return { ok: exitCode === 0, output };
  } catch (error) {
    if ((error as { code?: string }).code === "DEADLINE_EXCEEDED")
      return {
        ok: false,
        output: `command timed out: ${JSON.stringify(command.join(" "))} timed out after ${seconds}s`,
      };
    throw error;
  }
}

function runHttp(action: HTTPGetAction, target: HandlerTarget, options: HandlerOptions): Promise<HandlerResult> {
  const host = action.host || target.podIp;
  const port = portOf(action.port, target.container);
  const secure = action.scheme === "HTTPS";
  const path = action.path ? (action.path.startsWith("/") ? action.path : `/${action.path}`) : "/";
  const headers: Record<string, string | string[]> = {
    "user-agent": options.userAgent ?? "kube-probe/1.36",
    accept: "*/*",
    connection: "close",
  };
  for (const { name, value } of action.httpHeaders ?? []) {
    const before =
      name.toLowerCase() === "user-agent" || name.toLowerCase() === "accept" ? undefined : headers[name.toLowerCase()];
    headers[name.toLowerCase()] = before === undefined ? value : [before, value].flat();
  }
  const url = `${secure ? "https" : "http"}://${hostInUrl(host)}:${port}${path}`;
  return new Promise((resolve) => {
    const settings: RequestOptions & { rejectUnauthorized: boolean } = {
      host,
      port,
      path,
      headers,
      agent: false,
      rejectUnauthorized: false,
      ...(options.signal ? { signal: options.signal } : {}),
    };
    const call = (secure ? httpsRequest : httpRequest)(settings);
    const done = (result: HandlerResult) => {
      timer?.cancel();
      call.destroy();
      resolve(result);
    };
    const timer = Number.isFinite(options.timeoutMs)
      ? options.clock.after(options.timeoutMs, () =>
          done({
            ok: false,
            output: `Get "${url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
          }),
        )
      : undefined;
    call.on("error", (error) => done({ ok: false, output: `Get "${url}": ${dialText(error, host, port)}` }));
    call.on("response", (response) => {
      const status = response.statusCode ?? 0;
      const ok = options.anyStatus || (status >= 200 && status < 400);
      done({ ok, output: ok ? "" : `HTTP probe failed with statuscode: ${status}` });
    });
    call.end();
  });
}

function dialText(error: Error, host: string, port: number): string {
  const code = (error as NodeJS.ErrnoException).code;
  const known: Record<string, string> = {
    ECONNREFUSED: "connect: connection refused",
    EHOSTUNREACH: "connect: no route to host",
    ENETUNREACH: "connect: network is unreachable",
    ETIMEDOUT: "i/o timeout",
  };
  return code && known[code] ? `dial tcp ${hostInUrl(host)}:${port}: ${known[code]}` : error.message;
}

function runTcp(host: string, port: number, options: HandlerOptions): Promise<HandlerResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (result: HandlerResult) => {
      timer.cancel();
      options.signal?.removeEventListener("abort", onAbort);
      socket.destroy();
      resolve(result);
    };
    const onAbort = () => done({ ok: false, output: "cancelled" });
    const timer = options.clock.after(options.timeoutMs, () =>
      done({ ok: false, output: `dial tcp ${hostInUrl(host)}:${port}: i/o timeout` }),
    );
    options.signal?.addEventListener("abort", onAbort, { once: true });
    socket.on("connect", () => done({ ok: true, output: "" }));
    socket.on("error", (error) => done({ ok: false, output: dialText(error, host, port) }));
  });
}

async function runGrpc(
  port: number,
  service: string,
  target: HandlerTarget,
  options: HandlerOptions,
): Promise<HandlerResult> {
  const client = new GrpcClient({ host: target.podIp, port }, { clock: options.clock });
  try {
    const { status } = await client.unary(
      healthCheck,
      { service },
      { timeoutMs: options.timeoutMs, ...(options.signal ? { signal: options.signal } : {}) },
    );
    return status === "SERVING"
      ? { ok: true, output: "" }
      : { ok: false, output: `service unhealthy (responded with "${status}")` };
  } finally {
    client.close();
  }
}
