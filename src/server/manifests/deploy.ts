import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, watch } from "node:fs";
import { extname, join } from "node:path";
import { type CustomResourceDefinition, customResourceDefinitions } from "../../api/generated/apiextensions-v1.ts";
import { builtInResources } from "../../api/registry.ts";
import type { Client } from "../../client/client.ts";
import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { type KubeObject, parseApiVersion, type ResourceType } from "../../machinery/object.ts";

export interface DeployOptions {
  /** "<data>/server/manifests" */
  readonly directory: string;
  /** Files that are left alone: base names without extension, or names of sub-directories. */
  readonly disabled: ReadonlySet<string>;
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface Deployer {
  stop(): void;
}

/** Files that are written in several steps are read once, after they settled. */
const settleMs = 300;
/** A file that failed is tried again, at growing intervals up to this one. */
const longestRetryMs = 60_000;

/**
 * Applies every manifest in a directory and its sub-directories, and each file again when it changes (K3s' deploy
 * controller): .yaml, .yml and .json; a file `<name>.skip` beside it keeps one from being applied. Objects of a file
 * that is deleted stay.
 */
export function deployManifests(options: DeployOptions): Deployer {
  const { directory, clock, logger } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const applied = new Map<string, string>();
  const failures = new Map<string, number>();
  let timer: Timer | undefined;
  let running: Promise<void> = Promise.resolve();
  let stopped = false;

  const schedule = (delayMs: number) => {
    if (stopped) return;
    timer?.cancel();
    timer = clock.after(delayMs, () => {
      running = running.then(pass);
    });
  };

  async function pass(): Promise<void> {
    let retryMs: number | undefined;
    for (const file of manifestFiles(directory, options.disabled)) {
      if (stopped) return;
      const text = readFileSync(file, "utf8");
      const checksum = createHash("sha256").update(text).digest("hex");
      if (applied.get(file) === checksum) continue;
      try {
        await applyManifest(options.client, text);
        applied.set(file, checksum);
        failures.delete(file);
        logger.info({ file }, "Applied manifest");
      } catch (error) {
        const count = (failures.get(file) ?? 0) + 1;
        failures.set(file, count);
        const delayMs = Math.min(longestRetryMs, 1000 * 2 ** (count - 1));
        retryMs = Math.min(retryMs ?? delayMs, delayMs);
        logger.error({ file, err: error }, "Failed to apply manifest, trying again");
      }
    }
    if (retryMs !== undefined) schedule(retryMs);
  }

  const watcher = watch(directory, { recursive: true, persistent: false }, () => schedule(settleMs));
  watcher.on("error", (error) => logger.error({ err: error, directory }, "Watching manifests failed"));
  running = pass();
  return {
    stop() {
      stopped = true;
      timer?.cancel();
      watcher.close();
    },
  };
}

/** Manifests below a directory in the order of their paths, without those that are disabled or skipped. */
export function manifestFiles(directory: string, disabled: ReadonlySet<string>): string[] {
  const entries = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  const names = new Set(entries);
  return entries
    .filter((entry) => [".yaml", ".yml", ".json"].includes(extname(entry)))
    .filter((entry) => entry.split("/").every((part) => !part.startsWith(".")))
    .filter((entry) => !names.has(`${entry}.skip`))
    .filter((entry) => !entry.split("/").some((part) => disabled.has(part.replace(/\.(ya?ml|json)$/, ""))))
    .map((entry) => join(directory, entry))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}

/** Applies each document of a manifest, server-side, taking fields over. @throws on the first one that fails */
export async function applyManifest(client: Client, text: string): Promise<void> {
  const { parseAllDocuments } = await import("yaml");
  for (const document of parseAllDocuments(text)) {
    if (document.errors.length > 0) throw document.errors[0]!;
    const value = document.toJS() as (KubeObject & { items?: KubeObject[] }) | null;
    if (!value) continue;
    for (const object of value.kind?.endsWith("List") && value.items ? value.items : [value]) {
      await applyObject(client, object);
    }
  }
}

async function applyObject(client: Client, object: KubeObject): Promise<void> {
  const { apiVersion, kind, metadata } = object;
  if (!apiVersion || !kind || !metadata?.name) {
    throw new Error("an object in the manifest lacks apiVersion, kind or metadata.name");
  }
  const type = await resourceOf(client, apiVersion, kind);
  const namespace = type.namespaced ? (metadata.namespace ?? "default") : undefined;
  await client.patch(
    type,
    metadata.name,
    { type: "apply", body: object },
    { fieldManager: "deploy@k3ts", force: true, ...(namespace ? { namespace } : {}) },
  );
}

/** The resource that holds a kind: a built-in one, or one that a CustomResourceDefinition defines. */
async function resourceOf(client: Client, apiVersion: string, kind: string): Promise<ResourceType> {
  const { group, version } = parseApiVersion(apiVersion);
  const builtIn = builtInResources.find(
    (facts) => facts.group === group && facts.version === version && facts.kind === kind,
  );
  if (builtIn) return builtIn;
  const { items } = await client.list<CustomResourceDefinition>(customResourceDefinitions);
  const definition = items.find(({ spec }) => spec.group === group && spec.names.kind === kind);
  if (!definition) throw new Error(`no matches for kind "${kind}" in version "${apiVersion}"`);
  const { names, scope } = definition.spec;
  return { group, version, resource: names.plural, kind, namespaced: scope === "Namespaced" };
}
