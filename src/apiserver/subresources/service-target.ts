import { randomInt } from "node:crypto";
import { services } from "../../api/generated/core-v1.ts";
import { endpointSlices } from "../../api/generated/discovery-v1.ts";
import { badRequest, serviceUnavailable } from "../../machinery/status.ts";
import type { ServerContext } from "../request.ts";

/** What `ServerContext.dialNode` takes: a pod's `host:port`, and its node ("" when nobody says). */
export interface Target {
  readonly node: string;
  readonly address: string;
}

export function address(ip: string, port: number | string): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Whoever writes a pod's or endpoint's address must not reach what only this server can reach. Throws 400. */
export function checkProxyable(ip: string): void {
  const unreachable = /^(127\.|0\.|169\.254\.|224\.0\.0\.)|^(::1?|fe[89ab][0-9a-f]:.*|ff0[12]:.*|::ffff:.*)$/i;
  if (unreachable.test(ip)) throw badRequest("address not allowed");
}

/**
 * One of the ready endpoints behind a Service's port, which is given by name or number ("": its only one). Throws 404
 * when there is no such Service, 503 when it has no such port or nothing behind it is ready.
 */
export async function serviceTarget(
  context: ServerContext,
  namespace: string,
  name: string,
  port: string,
): Promise<Target> {
  const service = await context.client.get(services, name, { namespace });
  const ports = service.spec?.ports ?? [];
  const chosen = port
    ? ports.find((one) => one.name === port || String(one.port) === port)
    : ports.length === 1
      ? ports[0]
      : undefined;
  if (!chosen)
    throw serviceUnavailable(`no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`);
  const slices = (await context.client.list(endpointSlices, { namespace })).items.filter(
    (slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === name,
  );
  const ready: Target[] = [];
  for (const slice of slices) {
    const target = slice.ports?.find((one) => (one.name ?? "") === (chosen.name ?? ""))?.port;
    if (!target) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ip = endpoint.addresses?.[0];
      if (ip && endpoint.conditions?.ready !== false) {
        checkProxyable(ip);
        ready.push({ node: endpoint.nodeName ?? "", address: address(ip, target) });
      }
    }
  }
  const target = ready.length > 0 ? ready[randomInt(ready.length)] : undefined;
  if (!target) throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  return target;
}
