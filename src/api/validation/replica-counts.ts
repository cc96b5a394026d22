import type { Errors } from "./errors.ts";

const counts = [
  "replicas",
  "fullyLabeledReplicas",
  "readyReplicas",
  "availableReplicas",
  "currentReplicas",
  "updatedReplicas",
  "unavailableReplicas",
  "terminatingReplicas",
  "observedGeneration",
  "collisionCount",
  "currentNumberScheduled",
  "numberMisscheduled",
  "desiredNumberScheduled",
  "numberReady",
  "updatedNumberScheduled",
  "numberAvailable",
  "numberUnavailable",
];
const parts = ["fullyLabeledReplicas", "updatedReplicas", "currentReplicas", "readyReplicas", "availableReplicas"];

/**
 * The counts of a status: none below zero, parts within the whole. `ready`: what available ones are a part of, as the
 * kind's texts call it; "" for kinds that count without a whole.
 */
export function checkCounts(errors: Errors, status: object, old: object, ready: string): void {
  const of = (holder: object, field: string) => (holder as Record<string, number | undefined>)[field];
  const value = (field: string) => of(status, field) ?? 0;
  for (const field of counts) errors.nonNegative(`status.${field}`, of(status, field));
  const [before, now] = [of(old, "collisionCount"), of(status, "collisionCount")];
  if (ready !== "") {
    for (const field of parts) {
      if (of(status, field) === undefined || value(field) <= value("replicas")) continue;
      errors.invalid(`status.${field}`, value(field), "cannot be greater than status.replicas");
    }
    if (value("availableReplicas") > value("readyReplicas")) {
      errors.invalid("status.availableReplicas", value("availableReplicas"), `cannot be greater than ${ready}`);
    }
  }
  if (before !== undefined && (now === undefined || now < before)) {
    errors.invalid("status.collisionCount", now ?? 0, "cannot be decremented");
  }
}
