import {
  type Container,
  type LimitRangeItem,
  limitRanges,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  pods,
} from "../../api/generated/core-v1.ts";
import { type Amounts, podAmounts, readAmounts } from "../../api/quota/pod-usage.ts";
import type { Client } from "../../client/client.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";

const annotation = "kubernetes.io/limit-ranger";

/** Gives containers the namespace's default requests and limits, and refuses what is outside its ranges. */
export function limitRanger(client: Client): AdmissionPlugin {
  const itemsOf = async (namespace: string | undefined): Promise<LimitRangeItem[]> => {
    const all = await client.list(limitRanges, { namespace: namespace ?? "", resourceVersion: "0" });
    return all.items.flatMap((range) => range.spec?.limits ?? []);
  };
  return {
    name: "LimitRanger",
    async admit(attributes) {
      if (!isAbout(attributes, pods, "CREATE") && !isResize(attributes)) return;
      const pod = attributes.object as Pod;
      const set: string[] = [];
      for (const item of await itemsOf(attributes.namespace)) {
        if (item.type !== "Container") continue;
        for (const container of pod.spec?.containers ?? []) set.push(...fill(container, item, "container"));
        for (const container of pod.spec?.initContainers ?? []) set.push(...fill(container, item, "init container"));
      }
      // A resize leaves the annotations alone.
      if (set.length === 0 || isResize(attributes)) return;
      const text = `LimitRanger plugin set: ${set.join("; ")}`;
      pod.metadata.annotations = { ...pod.metadata.annotations, [annotation]: text };
    },
    async validate(attributes) {
      const errors: string[] = [];
      if (isAbout(attributes, pods, "CREATE") || isResize(attributes)) {
        const pod = attributes.object as Pod;
        for (const item of await itemsOf(attributes.namespace)) {
          if (item.type === "Pod") check(item, podAmounts(pod, "requests"), podAmounts(pod, "limits"), errors);
          if (item.type !== "Container") continue;
          for (const { resources } of [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]) {
            check(item, readAmounts(resources?.requests), readAmounts(resources?.limits), errors);
          }
        }
      } else if (isAbout(attributes, persistentVolumeClaims, "CREATE", "UPDATE")) {
        const requests = readAmounts((attributes.object as PersistentVolumeClaim).spec?.resources?.requests);
        for (const item of await itemsOf(attributes.namespace)) {
          if (item.type === "PersistentVolumeClaim") check(item, requests, requests, errors);
        }
      }
      if (errors.length > 0) throw refusedBy(attributes, errors.length === 1 ? errors[0]! : `[${errors.join(", ")}]`);
    },
  };
}

function isResize({ facts, subresource, operation }: AdmissionAttributes): boolean {
  return facts.group === "" && facts.resource === "pods" && subresource === "resize" && operation === "UPDATE";
}

/** Fills what the container leaves open, and says what that was. */
function fill(container: Container, item: LimitRangeItem, what: string): string[] {
  // What the range itself leaves open follows from the rest of it, as the API would have defaulted it.
  const limits = { ...item.max, ...item.default };
  const requests = { ...item.min, ...limits, ...item.defaultRequest };
  const said: string[] = [];
  const put = (kind: "requests" | "limits", defaults: Readonly<Record<string, string>>) => {
    const present = container.resources?.[kind] ?? {};
    const missing = Object.keys(defaults).filter((name) => present[name] === undefined);
    if (missing.length === 0) return;
    const merged = { ...present, ...Object.fromEntries(missing.map((name) => [name, defaults[name]!])) };
    container.resources = { ...container.resources, [kind]: merged };
    said.push(
      `${missing.sort().join(", ")} ${kind === "requests" ? "request" : "limit"} for ${what} ${container.name}`,
    );
  };
  // A request that is not given is the container's own limit before it is the range's default.
  const own = container.resources?.limits ?? {};
  put("requests", { ...requests, ...own });
  put("limits", limits);
  return said;
}

function check(item: LimitRangeItem, requests: Amounts, limits: Amounts, errors: string[]): void {
  for (const [name, text] of Object.entries(item.min ?? {})) {
    const request = requests.get(name);
    const head = `minimum ${name} usage per ${item.type} is ${text}`;
    if (!request) errors.push(`${head}. No request is specified`);
    else if (request.compare(parseQuantity(text)) < 0) errors.push(`${head}, but request is ${request}`);
  }
  for (const [name, text] of Object.entries(item.max ?? {})) {
    const most = parseQuantity(text);
    const limit = limits.get(name);
    const head = `maximum ${name} usage per ${item.type} is ${text}`;
    if (!limit) errors.push(`${head}. No limit is specified`);
    else if (limit.compare(most) > 0) errors.push(`${head}, but limit is ${limit}`);
    const request = requests.get(name);
    if (request && limit !== request && request.compare(most) > 0) errors.push(`${head}, but request is ${request}`);
  }
  for (const [name, text] of Object.entries(item.maxLimitRequestRatio ?? {})) {
    const limit = limits.get(name)?.toNumber() ?? 0;
    const request = requests.get(name)?.toNumber() ?? 0;
    const head = `${name} max limit to request ratio per ${item.type} is ${text}`;
    if (request === 0 || limit === 0) errors.push(`${head}, but no request is specified or request is 0`);
    else if (limit / request > parseQuantity(text).toNumber()) {
      errors.push(`${head}, but provided ratio is ${(limit / request).toFixed(6)}`);
    }
  }
}
