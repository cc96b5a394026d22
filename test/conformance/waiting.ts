import assert from "node:assert/strict";
import type { Client, WatchEvent, WatchOptions } from "../../src/client/client.ts";
import type { KubeObject, ResourceType } from "../../src/machinery/object.ts";
import { eventually } from "../support/eventually.ts";

/** Much more than anything here takes, for machines that do other things meanwhile. */
const patienceMs = 180_000;

/** Waits until `check` does not throw, and gives what it returns. */
export function soon<T>(check: () => T | Promise<T>): Promise<T> {
  return eventually(check, patienceMs);
}

/** Waits until the API answers 404 for an object. */
export async function isGone(
  client: Client,
  type: ResourceType,
  name: string,
  options: { namespace?: string } = {},
): Promise<void> {
  await soon(() => assert.rejects(client.get(type, name, options), { code: 404 }));
}

/** Watches until an event fits, and gives all up to it. */
export async function watchUntil<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  options: WatchOptions,
  fits: (event: WatchEvent<T>, events: readonly WatchEvent<T>[]) => boolean,
): Promise<WatchEvent<T>[]> {
  const events: WatchEvent<T>[] = [];
  for await (const event of client.watch(type, { ...options, signal: AbortSignal.timeout(patienceMs) })) {
    events.push(event);
    if (fits(event, events)) return events;
  }
  assert.fail(`the watch of ${type.resource} ended early, after ${events.map((event) => event.type).join(", ")}`);
}

/** "ADDED name", as a line of an expectation. */
export function summary(events: readonly WatchEvent[]): string[] {
  return events.map(({ type, object }) => `${type} ${object.metadata.name}`);
}
