/** Whether an APIService can be reached, in the words of Kubernetes' conditions. */
import type { Service } from "../../api/generated/core-v1.ts";
import type { EndpointSlice } from "../../api/generated/discovery-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import { identityHeaders } from "./identity-headers.ts";
import { pathOf, type RemoteApi } from "./remote-api.ts";
import type { ServiceBackend } from "./service-backend.ts";

export interface Verdict {
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

export const localVerdict: Verdict = {
  status: "True",
  reason: "Local",
  message: "Local APIServices are always available",
};

const passed: Verdict = { status: "True", reason: "Passed", message: "all checks passed" };
const not = (reason: string, message: string): Verdict => ({ status: "False", reason, message });

/** Requests of one check, and how long one of them may take, milliseconds. */
const attempts = 5;
const probeMs = 5000;

/** What is wrong with the Service itself and the endpoints behind it; undefined: nothing that can be seen from here. */
export function judgeService(
  { service: { namespace, name, port } }: RemoteApi,
  service: Service | undefined,
  slices: readonly EndpointSlice[],
): Verdict | undefined {
  const where = `service/${name} in ${JSON.stringify(namespace)}`;
  if (!service) return not("ServiceNotFound", `${where} is not present`);
  if ((service.spec?.type ?? "ClusterIP") !== "ClusterIP") return undefined;
  const found = service.spec?.ports?.find((one) => one.port === port);
  if (!found) return not("ServicePortError", `${where} is not listening on port ${port}`);
  if (slices.length === 0) return not("EndpointsNotFound", `cannot find endpointslices for ${where}`);
  const portName = found.name ?? "";
  const reachable = slices.some(
    ({ endpoints, ports }) =>
      endpoints?.some(({ conditions }) => conditions?.ready !== false) &&
      ports?.some((one) => (one.name ?? "") === portName && one.port !== undefined),
  );
  if (reachable) return undefined;
  return not(
    "MissingEndpoints",
    `endpointslices for ${where} have no addresses with port name ${JSON.stringify(portName)}`,
  );
}

/** Asks the server for its discovery document: one endpoint that answers is enough. */
export async function probe(backend: ServiceBackend, clock: Clock, signal: AbortSignal): Promise<Verdict> {
  try {
    await ask(backend, clock, signal);
  } catch {
    const others = Array.from({ length: attempts - 1 }, () => ask(backend, clock, signal));
    try {
      await Promise.any(others);
    } catch (error) {
      const { errors } = error as AggregateError;
      return not("FailedDiscoveryCheck", (errors.at(-1) as Error).message);
    }
  }
  return passed;
}

async function ask(backend: ServiceBackend, clock: Clock, signal: AbortSignal): Promise<void> {
  const target = await backend.target();
  const path = pathOf(backend.api);
  const url = `https://${target.address}${path}`;
  const late = new AbortController();
  const timer = clock.after(probeMs, () => late.abort(new Error(`context deadline exceeded`)));
  try {
    const reply = await backend.send(
      { method: "GET", path, headers: aggregatorHeaders, signal: AbortSignal.any([signal, late.signal]) },
      target,
    );
    const { statusCode = 0 } = reply.response;
    reply.response.on("error", () => {}).resume();
    if (statusCode < 200 || statusCode >= 300) throw new Error(`bad status from ${url}: ${statusCode}`);
  } catch (error) {
    throw new Error(`failing or missing response from ${url}: ${(error as Error).message}`);
  } finally {
    timer.cancel();
  }
}

/** As whom this server itself asks the others: somebody who may read all discovery. */
export const aggregatorHeaders = identityHeaders({ name: "system:kube-aggregator", groups: ["system:masters"] });
