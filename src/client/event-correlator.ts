/** What tells events apart; the parts of a core/v1 Event that its recorder chooses. */
export interface EventFacts {
  readonly source: string;
  readonly host: string;
  /** Identity of the object that the event is about. */
  readonly object: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** What to write: a new event, or a raised count on the one written under `name`. Absent: dropped as spam. */
export interface Correlated {
  readonly message: string;
  readonly count: number;
  /** Name of the event that is counted up; absent: a new one. */
  readonly name?: string;
  readonly namespace?: string;
  /** Tells the correlator under which name the event was written. */
  remember(name: string, namespace: string): void;
}

const maxSimilar = 10;
const similarIntervalMs = 600_000;
const burst = 25;
const refillMs = 300_000;
const maxEntries = 4096;

interface Similar {
  readonly messages: Set<string>;
  lastMs: number;
}
interface Logged {
  count: number;
  name?: string;
  namespace?: string;
}
interface Bucket {
  tokens: number;
  lastMs: number;
}

/**
 * Keeps events from flooding the store, as client-go does: at most 25 of a source and object at once and one more every
 * five minutes; more than ten that differ only in their message within ten minutes become one; equal ones are counted.
 */
export class EventCorrelator {
  readonly #similar = new Map<string, Similar>();
  readonly #logged = new Map<string, Logged>();
  readonly #buckets = new Map<string, Bucket>();

  correlate(event: EventFacts, nowMs: number): Correlated | undefined {
    const group = JSON.stringify([event.source, event.host, event.object, event.type, event.reason]);
    const similar = touch(this.#similar, group, () => ({ messages: new Set<string>(), lastMs: nowMs }));
    if (nowMs - similar.lastMs > similarIntervalMs) similar.messages.clear();
    similar.lastMs = nowMs;
    similar.messages.add(event.message);
    const combined = similar.messages.size > maxSimilar;
    // Which messages there were matters no more, and they must not pile up.
    if (combined) similar.messages.delete(similar.messages.values().next().value!);
    const message = combined ? `(combined from similar events): ${event.message}` : event.message;
    const key = combined ? group : `${group}${event.message}`;

    const bucket = touch(this.#buckets, JSON.stringify([event.source, event.host, event.object]), () => ({
      tokens: burst,
      lastMs: nowMs,
    }));
    bucket.tokens = Math.min(burst, bucket.tokens + (nowMs - bucket.lastMs) / refillMs);
    bucket.lastMs = nowMs;
    const logged = touch(this.#logged, key, (): Logged => ({ count: 0 }));
    logged.count++;
    if (bucket.tokens < 1) return undefined;
    bucket.tokens--;
    return {
      message,
      count: logged.count,
      ...(logged.name === undefined ? {} : { name: logged.name, namespace: logged.namespace! }),
      remember: (name, namespace) => {
        logged.name = name;
        logged.namespace = namespace;
      },
    };
  }
}

/** Gets or makes an entry and makes it the youngest; the oldest goes when there are too many. */
function touch<V>(map: Map<string, V>, key: string, make: () => V): V {
  const value = map.get(key) ?? make();
  map.delete(key);
  map.set(key, value);
  if (map.size > maxEntries) map.delete(map.keys().next().value!);
  return value;
}
