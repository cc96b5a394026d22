import { performance } from "node:perf_hooks";
import { type ConfigMap, configMaps, namespaces } from "../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../src/client/client.ts";
import { StatusError } from "../../../src/machinery/status.ts";
import { Random } from "../../fuzz/random.ts";
import { eventually } from "../../support/eventually.ts";
import type { Change, History, Outcome, Read, Seen, Watched, Write } from "./history.ts";

/** A server, as clients reach it. */
export interface Target {
  readonly name: string;
  /** The present client: a server that was started again has another one. */
  readonly client: () => Client;
}

export interface WorkloadOptions {
  readonly targets: readonly Target[];
  readonly namespace: string;
  /** The same seed makes the same choices; what happens between clients is another matter. */
  readonly seed: number;
  readonly writers?: number;
  readonly readers?: number;
  readonly watchers?: number;
  readonly keys?: number;
}

/** A call that takes longer tells nothing any more. */
const callTimeoutMs = 20_000;
const settleTimeoutMs = 120_000;

/** Clients that write, read and watch ConfigMaps through all servers at once, and note what they see. */
export class Workload {
  readonly #options: WorkloadOptions;
  readonly #random: Random;
  readonly #writes: Write[] = [];
  readonly #reads: Read[] = [];
  readonly #watchers: Watcher[] = [];
  readonly #stopping = new AbortController();
  #clients: Promise<void>[] = [];
  #serial = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  /** Makes the namespace and begins. */
  async start(): Promise<void> {
    const { namespace, targets, writers = 8, readers = 2, watchers = 4 } = this.#options;
    const beginning = await eventually(async () => {
      const client = this.#any().client();
      await client.create(namespaces, { metadata: { name: namespace } }).catch(unlessThere);
      return Number((await client.list(configMaps, { namespace })).metadata.resourceVersion);
    }, settleTimeoutMs);
    for (let index = 0; index < watchers; index++) {
      this.#watchers.push(new Watcher(`watcher ${index}`, namespace, beginning, targets, this.#random));
    }
    const run = (count: number, name: string, step: (client: string) => Promise<void>) =>
      Array.from({ length: count }, (_, index) => this.#repeat(() => step(`${name} ${index}`)));
    this.#clients = [
      ...run(writers, "writer", (client) => this.#write(client)),
      ...run(readers, "reader", (client) => this.#list(client)),
    ];
  }

  /** Writes that were acknowledged so far. */
  get acknowledged(): number {
    return this.#writes.filter(({ outcome }) => outcome.kind === "done").length;
  }

  /**
   * Ends the writing, waits until all servers show the same and all watchers have caught up, and gives what was seen.
   * @param changesAfter reads the truth from the store: every change of the namespace after a revision
   */
  async finish(changesAfter: (revision: number) => Promise<readonly Change[]>): Promise<History> {
    this.#stopping.abort();
    await Promise.all(this.#clients);
    const { namespace, targets } = this.#options;
    const finals = await Promise.all(
      targets.map(async ({ name, client }) => {
        const list = await eventually(
          () => client().list(configMaps, { namespace, signal: AbortSignal.timeout(callTimeoutMs) }),
          settleTimeoutMs,
        );
        return { server: name, found: list.items.map(seen).filter(isOwn) };
      }),
    );
    const changes = await eventually(() => changesAfter(this.#watchers[0]?.afterRevision ?? 0), settleTimeoutMs);
    const last = changes.at(-1)?.revision ?? 0;
    const watched = await Promise.all(this.#watchers.map((watcher) => watcher.finish(last)));
    return { writes: this.#writes, reads: this.#reads, watched, changes, finals };
  }

  /** Ends what is still under way, without a verdict. Calling it after {@link finish} does nothing more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#clients, ...this.#watchers.map((watcher) => watcher.stop())]);
  }

  #any(): Target {
    return this.#random.pick(this.#options.targets);
  }

  async #repeat(step: () => Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await step();
      // A server that refuses at once would be asked in a tight loop.
      await new Promise((resolve) => setTimeout(resolve, this.#random.below(20)));
    }
  }

  /** Reads a key, and writes over what it found, each through some server. */
  async #write(client: string): Promise<void> {
    const { namespace, keys = 12 } = this.#options;
    const key = `key-${this.#random.below(keys)}`;
    const present = await this.#get(client, key);
    if (present === "unknown") return;
    const startMs = performance.now();
    const expectedRevision = present && Number(present.metadata.resourceVersion);
    const note = (outcome: Outcome, value?: string) =>
      this.#writes.push({
        client,
        key,
        expectedRevision,
        startMs,
        endMs: performance.now(),
        outcome,
        ...(value === undefined ? {} : { value }),
      });
    const target = this.#any().client();
    const signal = AbortSignal.timeout(callTimeoutMs);
    if (present && this.#random.chance(0.2)) {
      const { uid = "", resourceVersion = "" } = present.metadata;
      const deleted = target.delete(configMaps, key, { namespace, preconditions: { uid, resourceVersion }, signal });
      note(await deleted.then(() => ({ kind: "done", revision: undefined }) as const, outcomeOf));
      return;
    }
    const value = `${client}-${this.#serial++}`;
    const object: ConfigMap = present
      ? { ...present, data: { value } }
      : { metadata: { name: key, namespace }, data: { value } };
    const written = present
      ? target.update(configMaps, object, { namespace, signal })
      : target.create(configMaps, object, { namespace, signal });
    const outcome = await written.then(
      ({ metadata }): Outcome => ({ kind: "done", revision: Number(metadata.resourceVersion) }),
      outcomeOf,
    );
    note(outcome, value);
  }

  async #get(client: string, key: string): Promise<ConfigMap | undefined | "unknown"> {
    const { namespace } = this.#options;
    const startMs = performance.now();
    try {
      const signal = AbortSignal.timeout(callTimeoutMs);
      const found = await this.#any().client().get(configMaps, key, { namespace, signal });
      const revision = Number(found.metadata.resourceVersion);
      this.#reads.push({ client, key, startMs, revision, found: [seen(found)] });
      return found;
    } catch (error) {
      if (!(error instanceof StatusError && error.code === 404)) return "unknown";
      this.#reads.push({ client, key, startMs, revision: undefined, found: [] });
      return undefined;
    }
  }

  async #list(client: string): Promise<void> {
    const { namespace } = this.#options;
    const startMs = performance.now();
    const signal = AbortSignal.timeout(callTimeoutMs);
    const list = await this.#any()
      .client()
      .list(configMaps, { namespace, signal })
      .catch(() => undefined);
    if (!list) return;
    const revision = Number(list.metadata.resourceVersion);
    this.#reads.push({ client, startMs, revision, found: list.items.map(seen).filter(isOwn) });
  }
}

/** Watches from a revision on, through one server after the other, whenever a watch ends or breaks. */
class Watcher {
  readonly afterRevision: number;
  readonly #name: string;
  readonly #namespace: string;
  readonly #targets: readonly Target[];
  readonly #random: Random;
  readonly #changes: Change[] = [];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #at: number;
  #failure: Error | undefined;

  constructor(name: string, namespace: string, afterRevision: number, targets: readonly Target[], random: Random) {
    this.#name = name;
    this.#namespace = namespace;
    this.afterRevision = afterRevision;
    this.#at = afterRevision;
    this.#targets = targets;
    this.#random = random;
    this.#running = this.#run();
  }

  async finish(upToRevision: number): Promise<Watched> {
    try {
      await eventually(() => {
        if (this.#failure) return;
        if (this.#at < upToRevision)
          throw new Error(`${this.#name} stands at ${this.#at} and waits for ${upToRevision}`);
      }, settleTimeoutMs);
    } catch {
      // What is missing is for the verdict to say.
    }
    await this.stop();
    if (this.#failure) throw this.#failure;
    const { afterRevision } = this;
    return { watcher: this.#name, afterRevision, upToRevision, changes: this.#changes };
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const stopped = this.#stopping.signal;
    while (!stopped.aborted) {
      const target = this.#random.pick(this.#targets);
      try {
        const events = target.client().watch(configMaps, {
          namespace: this.#namespace,
          resourceVersion: String(this.#at),
          timeoutSeconds: 2 + this.#random.below(5),
          // A server that is cut off says nothing; the watcher goes elsewhere.
          signal: AbortSignal.any([stopped, AbortSignal.timeout(callTimeoutMs)]),
        });
        for await (const { type, object } of events) this.#take(type, object);
      } catch (error) {
        if (error instanceof StatusError && error.code === 410) {
          this.#failure = new Error(`${this.#name} was told to list again at ${this.#at}: ${error.message}`);
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, this.#random.below(50)));
    }
  }

  #take(type: string, object: ConfigMap): void {
    if (type === "BOOKMARK") return;
    const change = seen(object);
    this.#at = change.revision;
    if (!isOwn(change)) return;
    this.#changes.push({ ...change, ...(type === "DELETED" ? { type: "delete", value: "" } : { type: "put" }) });
  }
}

const seen = ({ metadata, data }: ConfigMap): Seen => ({
  key: metadata.name ?? "",
  revision: Number(metadata.resourceVersion),
  value: data?.["value"] ?? "",
});

/** Controllers write into every namespace, too. */
export const isOwn = ({ key }: Seen): boolean => key.startsWith("key-");

function outcomeOf(error: unknown): Outcome {
  const why = (error as Error).message;
  // 503 is the store's word that nothing was written; 500 and 504 leave it open, as a broken connection does.
  const refused = error instanceof StatusError && [400, 403, 404, 409, 410, 422, 429, 503].includes(error.code);
  return { kind: refused ? "refused" : "unknown", why };
}

function unlessThere(error: unknown): void {
  if (!(error instanceof StatusError && error.code === 409)) throw error;
}
