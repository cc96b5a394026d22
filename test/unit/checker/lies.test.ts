import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ConfigMap, configMaps } from "../../../src/api/generated/core-v1.ts";
import type { Client, WatchEvent, WatchOptions } from "../../../src/client/client.ts";
import type { KubeList, KubeObject, ResourceType } from "../../../src/machinery/object.ts";
import { conflict } from "../../../src/machinery/status.ts";
import type { Change } from "../../store/checker/history.ts";
import { verify } from "../../store/checker/verify.ts";
import { isOwn, Workload } from "../../store/checker/workload.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";

/** The whole checker against the real API server, which seems to lie now and then. */

type Lies = Partial<Client>;

/** Whether it is time to lie. */
function everyFourth(): () => boolean {
  let count = 0;
  return () => ++count % 4 === 0;
}

const lying = (client: Client, lies: Lies): Client =>
  new Proxy(client, {
    get: (target, name: keyof Client) => lies[name] ?? (target[name] as () => unknown).bind(target),
  });

const next = ({ metadata }: KubeObject) => String(Number(metadata.resourceVersion) + 1);

const lies: Record<string, { tell: (truth: Client) => Lies; found: RegExp; keys?: number }> = {
  "acknowledges updates that it does not make": {
    tell: (truth) => {
      const now = everyFourth();
      return {
        update: async (type, object, options) =>
          now()
            ? { ...object, metadata: { ...object.metadata, resourceVersion: next(object) } }
            : truth.update(type, object, options),
      };
    },
    found: /was acknowledged and is lost/,
  },
  "writes over what its client has not seen": {
    tell: (truth) => ({
      update: (type, object, options) => {
        const { resourceVersion: _, ...metadata } = object.metadata;
        return truth.update(type, { ...object, metadata }, options);
      },
    }),
    found: /overwrote revision \d+, which it had not seen/,
    keys: 1,
  },
  "refuses updates and makes them": {
    tell: (truth) => {
      const now = everyFourth();
      return {
        update: async (type, object, options) => {
          const written = await truth.update(type, object, options);
          if (now()) throw conflict(type, object.metadata.name ?? "", "it is a lie");
          return written;
        },
      };
    },
    found: /was refused .* and happened at/,
  },
  "answers gets with what was there before": {
    tell: (truth) => {
      const before = new Map<string, KubeObject>();
      return {
        get: async <T extends KubeObject>(type: ResourceType<T>, name: string, options?: object) => {
          const found = await truth.get(type, name, options);
          const old = before.get(name) as T | undefined;
          before.set(name, found);
          return old ?? found;
        },
      };
    },
    found: /found revision \d+, older than \d+, acknowledged before it began/,
    keys: 2,
  },
  "answers lists with what was there before": {
    tell: (truth) => {
      let before: KubeList<KubeObject> | undefined;
      return {
        list: async <T extends KubeObject>(type: ResourceType<T>, options?: object) => {
          const found = await truth.list(type, options);
          const old = before as KubeList<T> | undefined;
          before = found;
          return old ?? found;
        },
      };
    },
    found: /read of all is of revision \d+, older than \d+/,
  },
  "keeps some changes from watchers": {
    tell: (truth) => ({ watch: (type, options) => events(truth, type, options, (now) => (now ? 0 : 1)) }),
    found: /watcher \d (saw .* was next|never saw)/,
  },
  "tells watchers some changes twice": {
    tell: (truth) => ({ watch: (type, options) => events(truth, type, options, (now) => (now ? 2 : 1)) }),
    found: /watcher \d saw .* (was next|nothing more was to come)/,
  },
};

/** The events of a watch, each as often as it is said. */
async function* events<T extends KubeObject>(
  truth: Client,
  type: ResourceType<T>,
  options: WatchOptions,
  times: (now: boolean) => number,
): AsyncGenerator<WatchEvent<T>> {
  const now = everyFourth();
  for await (const event of truth.watch(type, options)) {
    const often = times(now());
    for (let time = 0; time < often; time++) yield event;
  }
}

describe("the checker", { concurrency: 4 }, () => {
  test("finds nothing where nobody lies", async (t) => {
    assert.deepEqual(await check((await startControlPlane(t)).client, {}), []);
  });

  for (const [what, { tell, found, keys }] of Object.entries(lies)) {
    test(`finds a server that ${what}`, async (t) => {
      const { client } = await startControlPlane(t);
      assert.match((await check(client, tell(client), keys)).join("\n"), found);
    });
  }
});

/** Works through a server that lies, and asks one that does not for the truth. */
async function check(truth: Client, told: Lies, keys = 12): Promise<readonly string[]> {
  const liar = lying(truth, told);
  const workload = new Workload({
    targets: [{ name: "the server", client: () => liar }],
    namespace: "lies",
    seed: 1,
    keys,
  });
  try {
    await workload.start();
    await eventually(() => assert.ok(workload.acknowledged >= 60));
    return verify(await workload.finish((revision) => changesAfter(truth, revision)));
  } finally {
    await workload.stop();
  }
}

async function changesAfter(client: Client, revision: number): Promise<readonly Change[]> {
  const namespace = "lies";
  const changes: Change[] = [];
  const watched = client.watch(configMaps, { namespace, resourceVersion: String(revision), timeoutSeconds: 1 });
  for await (const { type, object } of watched) if (type !== "BOOKMARK") changes.push(changeOf(type, object));
  return changes.filter(isOwn);
}

function changeOf(type: string, { metadata, data }: ConfigMap): Change {
  const change = { key: metadata.name ?? "", revision: Number(metadata.resourceVersion), value: data?.["value"] ?? "" };
  return type === "DELETED" ? { ...change, value: "", type: "delete" } : { ...change, type: "put" };
}
