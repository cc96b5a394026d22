import { parseQuantity } from "../../machinery/quantity.ts";
import type { PodSpec } from "../generated/core-v1.ts";
import { add } from "./quantities.ts";

type Resources = Readonly<Record<string, string>>;

/** cpu and memory, those that are asked for at all. */
function compute(resources: Resources | undefined): Record<string, string> {
  const result: Record<string, string> = {};
  for (const name of ["cpu", "memory"]) {
    const quantity = resources?.[name];
    if (quantity !== undefined && parseQuantity(quantity).sign > 0) result[name] = quantity;
  }
  return result;
}

/** The pod's quality of service class: who is evicted first when a node runs short. */
export function qosClass(spec: PodSpec): "Guaranteed" | "Burstable" | "BestEffort" {
  const parts = spec.resources ? [spec] : [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  let requests: Record<string, string> = {};
  let limits: Record<string, string> = {};
  let everyPartIsLimited = true;
  for (const { resources } of parts) {
    const own = compute(resources?.limits);
    requests = add(requests, compute(resources?.requests));
    limits = add(limits, own);
    if (own["cpu"] === undefined || own["memory"] === undefined) everyPartIsLimited = false;
  }
  if (Object.keys(requests).length === 0 && Object.keys(limits).length === 0) return "BestEffort";
  const sameRequests = Object.entries(requests).every(
    ([name, quantity]) =>
      limits[name] !== undefined && parseQuantity(limits[name]).compare(parseQuantity(quantity)) === 0,
  );
  const guaranteed = everyPartIsLimited && sameRequests && Object.keys(requests).length === Object.keys(limits).length;
  return guaranteed ? "Guaranteed" : "Burstable";
}
