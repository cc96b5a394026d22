import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { parseJson } from "../machinery/json.ts";
import type { Logger } from "../machinery/log.ts";
import type { Entry, Store } from "../store/store.ts";
import {
  adoptBootstrapData,
  type BootstrapData,
  bootstrapKey,
  bootstrapPrefix,
  openBootstrapData,
  readBootstrapData,
  sealBootstrapData,
  writeBootstrapData,
} from "./bootstrap-data.ts";
import { assertSameSettings, type CriticalSettings, differingSettings } from "./critical-settings.ts";

/** Beside K3s' files, which pass over ids that they do not know. */
const settingsId = "CriticalSettings";
/** Servers that start together have not all begun to answer by then, milliseconds. */
const startingTogetherMs = 60_000;

export interface SharedBootstrapOptions<T> {
  readonly store: Store;
  /** `<data>/server` */
  readonly directory: string;
  /** The password of the cluster's token; with a fresh one nothing may be there yet. */
  readonly password: string;
  readonly settings: CriticalSettings;
  /** Makes from the authorities on the disk, or anew, whatever a server is made of. May be called twice. */
  readonly make: () => Promise<T>;
  /** Do other servers of this cluster work? */
  readonly othersRun: () => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Makes a server of the cluster that lives in a shared store: the first one brings its authorities into it, sealed with
 * the token's password, and all others take them out. Of two that are first at the same moment, one wins.
 * @throws ConfigurationError when the token opens nothing, critical settings differ, or files here are newer
 */
export async function shareBootstrapData<T>(options: SharedBootstrapOptions<T>): Promise<T> {
  const { store, directory, password, logger } = options;
  const key = bootstrapKey(password);
  const present = await find(store, key);
  if (present) {
    await takeOver(options, present);
    return options.make();
  }
  const made = await options.make();
  const sealed = await sealBootstrapData(password, withSettings(readBootstrapData(directory), options));
  const result = await store.create(key, sealed);
  if (result.ok) {
    await assertFirst(store, key, result.revision);
    logger.info({ key }, "Saved bootstrap data to the datastore");
    return made;
  }
  logger.info({ key }, "Another server was first; its bootstrap data is used");
  const winner = result.current ?? (await find(store, key));
  if (!winner) throw new Error("the bootstrap data of the cluster vanished from the datastore while it was read");
  const data = await openBootstrapData(password, winner.value);
  assertSameSettings(settingsOf(data), options.settings);
  // What was just made here has served nobody.
  writeBootstrapData(directory, data);
  return options.make();
}

/**
 * Puts the authorities of this server into a store that is its own, sealed with the password: for a snapshot, with which
 * another machine then goes on as the same cluster.
 */
export async function saveBootstrapData({
  store,
  directory,
  password,
}: Pick<SharedBootstrapOptions<never>, "store" | "directory" | "password">): Promise<void> {
  const key = bootstrapKey(password);
  const present = await store.get(key);
  const data = readBootstrapData(directory);
  if (present && isDeepStrictEqual(await openBootstrapData(password, present.value), data)) return;
  const sealed = await sealBootstrapData(password, data);
  await (present ? store.update(key, sealed, present.modRevision) : store.create(key, sealed));
}

/** @throws when there is bootstrap data, but none that this token opens */
async function find(store: Store, key: string): Promise<Entry | undefined> {
  const { entries } = await store.list(bootstrapPrefix);
  const mine = entries.find((entry) => entry.key === key);
  if (!mine && entries.length > 0) throw differentToken();
  return mine;
}

/** Two servers with two tokens may have found nothing at the same moment: the earlier one is the cluster. */
async function assertFirst(store: Store, key: string, revision: number): Promise<void> {
  const { entries } = await store.list(bootstrapPrefix);
  if (entries.every((entry) => entry.key === key || entry.createRevision > revision)) return;
  await store.delete(key, revision);
  throw differentToken();
}

function differentToken(): ConfigurationError {
  return new ConfigurationError(
    "bootstrap data already found and encrypted with different token; " +
      "give this server the token of the cluster with --token (K3S_TOKEN): the file server/token of another server holds it",
  );
}

async function takeOver<T>(options: SharedBootstrapOptions<T>, entry: Entry): Promise<void> {
  const { store, directory, password, settings, logger } = options;
  const data = await openBootstrapData(password, entry.value);
  if (!(await mayChangeSettings(options, data))) assertSameSettings(settingsOf(data), settings);
  const written = adoptBootstrapData(directory, data);
  if (written.length > 0) logger.info({ files: written }, "Updated bootstrap data on disk from datastore");
  const changed = differingSettings(settingsOf(data), settings);
  if (changed.length === 0) return;
  logger.warn({ settings: changed }, "Critical settings of the cluster have changed");
  const result = await store.update(
    entry.key,
    await sealBootstrapData(password, withSettings(data, options)),
    entry.modRevision,
  );
  if (!result.ok) throw new Error("another server changed the critical settings of the cluster at the same moment");
}

/** A cluster that stands still can be started with other settings; one that works, or is being started, cannot. */
async function mayChangeSettings<T>(options: SharedBootstrapOptions<T>, data: BootstrapData): Promise<boolean> {
  const saved = data[settingsId];
  if (!saved || differingSettings(settingsOf(data), options.settings).length === 0) return true;
  const ageMs = options.clock.now() - Date.parse(saved.Timestamp);
  return ageMs >= startingTogetherMs && !(await options.othersRun());
}

function withSettings<T>(
  data: BootstrapData,
  { settings, clock }: Pick<SharedBootstrapOptions<T>, "settings" | "clock">,
): BootstrapData {
  const Content = Buffer.from(JSON.stringify(settings)).toString("base64");
  return { ...data, [settingsId]: { Timestamp: new Date(clock.now()).toISOString(), Content } };
}

/** Empty where K3s wrote the data. */
function settingsOf(data: BootstrapData): CriticalSettings {
  const saved = data[settingsId];
  return saved ? (parseJson(Buffer.from(saved.Content, "base64")) as CriticalSettings) : {};
}
